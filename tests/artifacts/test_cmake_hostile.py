"""Replies of CMake's file API that are damaged on purpose: a clear error or a problem, never anything else."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_hardening.artifacts.build_systems.build import read_build
from pytest_hardening.artifacts.build_systems.cmake import QUERY, place_query
from pytest_hardening.artifacts.build_systems.cmake_all import built_by_all
from pytest_hardening.errors import ArtifactError

from ..cmake_builds import configured, write_files

SOURCES = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.18)
project(two C)
add_compile_definitions(X=1)
include_directories(.)
add_library(archive STATIC main.c)
add_executable(program main.c)
target_link_options(program PRIVATE LINKER:-z,now)
target_link_libraries(program PRIVATE archive)
""",
    "main.c": "int main(void) { return 0; }\n",
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, tool_for: Callable[[str], str]) -> Path:
    tool_for("cmake")
    folder = tmp_path_factory.mktemp("original")
    return configured(write_files(folder / "s", SOURCES), folder / "b")


@pytest.fixture
def build(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "b", copy_function=shutil.copy2)


def reply_file(build: Path, name: str) -> Path:
    (path,) = (build / ".cmake/api/v1/reply").glob(f"{name}-*.json")
    return path


def error_of(build: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        read_build(str(build))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["index", "codemodel", "cache"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ('{"a": ', "Expecting value"),
        ("[]", "no object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ("9" * 10_000, ""),  # of a number, or of an object that it is not
        ("\udcff", "Expecting value"),
    ],
)
def test_no_json(build: Path, name: str, text: str, reason: str) -> None:
    path = reply_file(build, name)
    path.write_text(text, "utf-8", "surrogateescape")
    found = error_of(build)
    assert found.startswith(f"CMake's reply is damaged: {path.name}: ")
    assert reason in found


@pytest.mark.parametrize("name", ["index", "codemodel", "cache", "target-program"])
def test_truncated_anywhere(build: Path, name: str) -> None:
    path = reply_file(build, name)
    data = path.read_bytes()
    for size in range(0, len(data) - 2, max(1, len(data) // 25)):
        path.write_bytes(data[:size])
        if name.startswith("target"):
            found = read_build(str(build))
            assert [output.name for output in found.outputs] == ["archive"]
            assert [name for name, _ in found.problems] == ["program"]
        else:
            assert error_of(build).startswith("CMake's reply is damaged: ")


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document."""
    yield path
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(value, (*path, key))


@pytest.mark.parametrize("name", ["index", "codemodel", "cache", "target-program", "target-archive"])
def test_values_of_any_other_type(build: Path, name: str) -> None:
    path = reply_file(build, name)
    text = path.read_text()
    values: list[Any] = [None, True, 1.5, -7, 10**30, "", "\0", "\ud800", "../../../x", [], [[]], {}, {"path": 1}]
    spots = [spot for spot in places(json.loads(text)) if spot]
    for spot in spots[:: max(1, len(spots) // 60)]:
        for value in values:
            data = json.loads(text)
            inner = data
            for key in spot[:-1]:
                inner = inner[key]
            inner[spot[-1]] = value
            path.write_text(json.dumps(data))
            try:
                found = read_build(str(build))
            except ArtifactError:
                continue
            for output in found.outputs:
                os.fsencode(output.path)
                list(output.recipe.link_arguments)


@pytest.mark.parametrize("name", ["../../../../../etc/passwd", "/etc/passwd", "..", "", "sub/x.json"])
def test_files_outside_of_the_reply_are_not_read(build: Path, name: str) -> None:
    path = reply_file(build, "codemodel")
    data = json.loads(path.read_text())
    data["configurations"][0]["targets"][0]["jsonFile"] = name
    path.write_text(json.dumps(data))
    ((_, reason),) = read_build(str(build)).problems
    assert reason == f"CMake's reply is damaged: it names the file {name!r}"


def test_backtraces_in_a_ring(build: Path) -> None:
    path = reply_file(build, "target-program")
    data = json.loads(path.read_text())
    for number, node in enumerate(data["backtraceGraph"]["nodes"]):
        node.pop("line", None)
        node["parent"] = (number + 1) % len(data["backtraceGraph"]["nodes"])
    path.write_text(json.dumps(data))
    recipes = {output.name: output.recipe for output in read_build(str(build)).outputs}
    assert recipes["program"].defined_at == ""
    assert recipes["archive"].defined_at == "CMakeLists.txt:5"


def test_one_target_named_again_and_again_is_read_once(build: Path) -> None:
    path = reply_file(build, "codemodel")
    data = json.loads(path.read_text())
    data["configurations"][0]["targets"] *= 5_000
    path.write_text(json.dumps(data))
    start = time.monotonic()
    read_build(str(build))
    assert time.monotonic() - start < 20


def test_huge_files_are_not_read(build: Path) -> None:
    for name in ("target-program", "codemodel"):
        path = reply_file(build, name)
        os.truncate(path, 1 << 40)
        if name == "codemodel":
            assert error_of(build).endswith(f"{path.name}: too large")
        else:
            ((_, reason),) = read_build(str(build)).problems
            assert reason.endswith("too large")


def test_a_command_that_is_too_long(build: Path) -> None:
    path = reply_file(build, "target-program")
    data = json.loads(path.read_text())
    data["link"]["commandFragments"] = [{"fragment": "-x " * (1 << 20), "role": "flags"}]
    path.write_text(json.dumps(data))
    start = time.monotonic()
    ((name, reason),) = read_build(str(build)).problems
    assert (name, reason.rpartition(": ")[2]) == ("program", "a fragment that is too long for any command line")
    assert time.monotonic() - start < 10


def test_what_is_no_file(build: Path) -> None:
    path = reply_file(build, "codemodel")
    path.unlink()
    os.mkfifo(path)
    assert error_of(build).startswith(f"CMake's reply cannot be read: {path.name}: ")
    path.unlink()
    assert "does not exist" in error_of(build)
    index = reply_file(build, "index")
    index.unlink()
    index.mkdir()
    assert error_of(build).startswith(f"CMake's reply cannot be read: {index.name}: ")


def test_names_that_a_terminal_would_obey(build: Path) -> None:
    path = reply_file(build, "codemodel")
    data = json.loads(path.read_text())
    data["configurations"][0]["targets"][0]["jsonFile"] = "\x1b[2J.json"
    path.write_text(json.dumps(data))
    ((_, reason),) = read_build(str(build)).problems
    assert "\x1b" not in reason
    assert r"\x1b[2J.json" in reason


def test_a_failed_run_of_cmake(build: Path) -> None:
    index = reply_file(build, "index")
    shutil.copy(index, index.with_name("error-9999-01-01T00-00-00-0000.json"))
    assert error_of(build) == f"CMake's last run failed: mend what it says, and run `cmake {build}`"


@pytest.mark.parametrize(
    "text", ["all: " + "a/" * 200_000, "build " + "$" * 200_000, "build all: phony all\nall: all\n"]
)
def test_generators_files_that_take_long(tmp_path: Path, text: str) -> None:
    (tmp_path / "CMakeFiles").mkdir()
    for name in ("CMakeFiles/Makefile2", "build.ninja"):
        (tmp_path / name).write_text(text)
        start = time.monotonic()
        built_by_all(str(tmp_path))
        assert time.monotonic() - start < 10
        (tmp_path / name).unlink()


def test_the_question_overwrites_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    build, query = tmp_path / "b", tmp_path / "b" / QUERY
    query.parent.mkdir(parents=True)
    for number in range(os.getpid() - 5, os.getpid() + 5):
        Path(f"{query}.{number}").symlink_to(victim)
    query.symlink_to(victim)
    assert place_query(str(build)) == ""
    assert victim.read_text() == "precious"
    assert not query.is_symlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / ".cmake").symlink_to(elsewhere)
    assert place_query(str(other)).endswith("a link leads out of the build folder")
    assert list(elsewhere.iterdir()) == []
    query.unlink()
    os.mkfifo(query)
    assert place_query(str(build)) == ""


def test_a_target_in_a_folder_with_a_blank(tmp_path: Path, tool_for: Callable[[str], str]) -> None:
    tool_for("ninja")
    text = "cmake_minimum_required(VERSION 3.14)\nproject(p C)\nadd_executable(prog main.c)\n"
    files = {
        "CMakeLists.txt": text + 'add_subdirectory("my dir")\n',
        "main.c": "int main(void) { return 0; }\n",
        "my dir/CMakeLists.txt": "add_executable(inner ../main.c)\nadd_executable(no EXCLUDE_FROM_ALL ../main.c)\n",
    }
    source = write_files(tmp_path / "s", files)
    for generator in ("Unix Makefiles", "Ninja"):
        build = configured(source, tmp_path / generator[0], generator=generator)
        usual = {output.name: output.is_usual for output in read_build(str(build)).outputs}
        assert usual == {"prog": True, "inner": True, "no": False}
