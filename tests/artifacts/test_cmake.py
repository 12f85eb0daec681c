"""What CMake's file API says of real builds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.artifacts.build_systems.build import read_build
from pytest_hardening.artifacts.build_systems.cmake import QUERY
from pytest_hardening.artifacts.build_systems.output import Build, Output
from pytest_hardening.errors import ArtifactError
from pytest_hardening.recipe import Fragment

from ..cmake_builds import GENERATORS, cmake, configured, make, write_files

ROOMY = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.18)
project(roomy C)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_compile_definitions(TEXT="a b")
add_link_options(-Wl,-z,relro)
add_library(objects OBJECT o.c)
add_library(archive STATIC s.c $<TARGET_OBJECTS:objects>)
add_subdirectory(sub)
add_library(interface INTERFACE)
add_library(imported SHARED IMPORTED)
set_target_properties(imported PROPERTIES IMPORTED_LOCATION /nowhere/libimported.so)
add_library(more OBJECT p.c)
add_executable(program main.c)
target_link_libraries(program PRIVATE inner more interface m ${CMAKE_CURRENT_SOURCE_DIR}/libforeign.a)
target_link_options(program PRIVATE LINKER:-z,now)
target_precompile_headers(program PRIVATE <stdio.h>)
set_source_files_properties(main.c PROPERTIES COMPILE_OPTIONS -fno-stack-protector)
set_target_properties(program PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/../out OUTPUT_NAME renamed)
add_custom_target(util COMMAND true)
add_executable(excluded EXCLUDE_FROM_ALL main.c)
add_library(versioned SHARED v.c)
set_target_properties(versioned PROPERTIES VERSION 1.2 SOVERSION 1)
""",
    "sub/CMakeLists.txt": """\
function(library name)
  add_library(${name} STATIC ${ARGN})
  target_compile_options(${name} PRIVATE -O1)
endfunction()
library(inner inner.c "deep/a b.c" ../up.c)
target_link_libraries(inner PUBLIC archive)
add_library(plugin MODULE ../v.c)
target_link_libraries(plugin PRIVATE archive)
""",
    "main.c": "int main(void) { return 0; }\n",
    **{
        name: f"int f{number}(void) {{ return 1; }}\n"
        for number, name in enumerate(("o.c", "s.c", "p.c", "v.c", "up.c"))
    },
    "sub/inner.c": "int g1(void) { return 1; }\n",
    "sub/deep/a b.c": "int g2(void) { return 1; }\n",
}


@pytest.fixture(scope="module", params=GENERATORS)
def roomy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tool_for: Callable[[str], str]
) -> Path:
    """The folder with the source `s`, and `b`, built in one configuration."""
    tool_for("cmake"), tool_for("ninja")
    folder = tmp_path_factory.mktemp("roomy")
    source = write_files(folder / "s", {**ROOMY, "libforeign.a": "!<arch>\n"})
    is_multi = request.param == GENERATORS[2]
    options = () if is_multi else ("-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_C_FLAGS=-fno-common")
    build = configured(source, folder / "b", *options, generator=request.param)
    make(build, *(("--config", "Release") if is_multi else ()))
    return folder


def outputs(build: Build) -> dict[str, Output]:
    return {output.name.rpartition("/")[2]: output for output in build.outputs}


def test_targets(roomy: Path) -> None:
    build = read_build(str(roomy / "b"))
    assert build.system == "CMake"
    assert build.folder == str(roomy / "b")
    assert build.problems == ()
    found = outputs(build)
    assert {name: output.recipe.type for name, output in found.items()} == {
        "archive": "STATIC",
        "excluded": "EXECUTABLE",
        "inner": "STATIC",
        "plugin": "MODULE",
        "program": "EXECUTABLE",
        "versioned": "SHARED",
    }
    assert {output.recipe.configuration for output in build.outputs} == {"Release"}
    assert len(found) == len(build.outputs)  # of the other configurations nothing was built
    assert [name for name, output in found.items() if not os.path.exists(output.path)] == ["excluded"]
    assert [name for name, output in found.items() if not output.is_usual] == ["excluded"]
    assert os.path.realpath(found["program"].path).startswith(str(roomy / "out"))
    assert os.path.basename(os.path.realpath(found["versioned"].path)) == "libversioned.so.1.2"


def test_names_of_configurations_only_where_there_are_several(roomy: Path) -> None:
    build = read_build(str(roomy / "b"))
    is_multi = (roomy / "b" / "build-Release.ninja").exists()
    assert {output.name.startswith("Release/") for output in build.outputs} == {is_multi}


def test_lines(roomy: Path) -> None:
    found = outputs(read_build(str(roomy / "b")))
    assert found["program"].recipe.defined_at == "CMakeLists.txt:13"
    assert found["inner"].recipe.defined_at == "sub/CMakeLists.txt:2"
    main = next(unit for unit in found["program"].recipe.units if unit.source.endswith("main.c"))
    assert Fragment("-fno-stack-protector", "CMakeLists.txt:17") in main.fragments
    assert '-DTEXT="a b"' in main.arguments
    assert next(one.where for one in main.fragments if "TEXT" in one.text) == "CMakeLists.txt:4"
    assert [os.path.join(roomy, "s", one) for one in found["program"].recipe.foreign] == [f"{roomy}/s/libforeign.a"]
    assert Fragment("-Wl,-z,relro", "CMakeLists.txt:5") in found["program"].recipe.link
    assert Fragment("-Wl,-z,now", "CMakeLists.txt:15") in found["program"].recipe.link
    inner = next(unit for unit in found["inner"].recipe.units if unit.source.endswith("inner.c"))
    assert Fragment("-O1", "sub/CMakeLists.txt:3") in inner.fragments


def test_options_of_the_cache_name_their_variable(roomy: Path) -> None:
    found = outputs(read_build(str(roomy / "b")))
    (unit,) = found["versioned"].recipe.units
    places = {argument: one.where for one in unit.fragments for argument in one.arguments}
    assert places["-O3"] == places["-DNDEBUG"] == "CMAKE_C_FLAGS_RELEASE"
    assert places.get("-fno-common") == (None if (roomy / "b" / "build-Release.ninja").exists() else "CMAKE_C_FLAGS")
    assert places["-fPIC"] == ""


def test_units_of_what_is_linked_in(roomy: Path) -> None:
    found = outputs(read_build(str(roomy / "b")))

    def sources(name: str) -> list[str]:
        return sorted(os.path.relpath(unit.source, roomy / "s") for unit in found[name].recipe.units)

    of_archive, of_inner = ["o.c", "s.c"], ["sub/deep/a b.c", "sub/inner.c", "up.c"]
    assert sources("archive") == of_archive  # with the objects of an object library
    assert sources("inner") == of_inner  # an archive holds no other one
    assert sources("program") == sorted(["main.c", "p.c", *of_archive, *of_inner])  # no header compiled in advance
    assert sources("plugin") == sorted(["v.c", *of_archive])  # from a folder below
    for name in ("archive", "inner", "program", "plugin", "versioned"):
        for unit in found[name].recipe.units:
            assert os.path.isfile(unit.object), unit
            assert os.path.basename(unit.object).startswith(os.path.basename(unit.source)[:1])


def test_a_moved_build_tree(roomy: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (roomy / "b").rename(moved)
    try:
        found = outputs(read_build(str(moved)))
        assert os.path.isfile(found["archive"].path)
        assert found["archive"].path.startswith(str(moved))
        assert all(unit.object.startswith(str(moved)) for unit in found["archive"].recipe.units)
    finally:
        moved.rename(roomy / "b")


SMALL = {
    "CMakeLists.txt": "cmake_minimum_required(VERSION 3.18)\nproject(small C)\nadd_executable(program main.c)\n",
    "main.c": "int main(void) { return 0; }\n",
}


@pytest.fixture
def small(tmp_path: Path, tool_for: Callable[[str], str]) -> Path:
    """A build folder, configured without anybody asking for a description."""
    tool_for("cmake")
    source = write_files(tmp_path / "s", SMALL)
    cmake("-S", source, "-B", tmp_path / "b")
    return tmp_path / "b"


def test_without_a_reply_the_question_is_placed(small: Path) -> None:
    before = set(small.rglob("*"))
    message = f"CMake has not said yet what its targets are: run `cmake {small}` \\(CMake 3.14 or later\\), and build"
    with pytest.raises(ArtifactError, match=message):
        read_build(str(small))
    written = {path.relative_to(small).as_posix() for path in small.rglob("*") if path not in before and path.is_file()}
    assert written == {QUERY}
    time = (small / QUERY).stat().st_mtime_ns
    with pytest.raises(ArtifactError, match=message):
        read_build(str(small))
    assert (small / QUERY).stat().st_mtime_ns == time
    cmake(small)
    (output,) = read_build(str(small)).outputs
    assert (output.name, output.path, output.is_usual) == ("program", str(small / "program"), True)


def test_a_reply_that_nobody_keeps_up_to_date_is_not_used(small: Path) -> None:
    with pytest.raises(ArtifactError):
        read_build(str(small))
    cmake(small)
    (small / QUERY).unlink()
    (small / QUERY).parent.rmdir()
    with pytest.raises(ArtifactError, match="run `cmake "):
        read_build(str(small))


def test_a_reply_that_somebody_else_asked_for(small: Path) -> None:
    (small / ".cmake/api/v1/query/client-ide").mkdir(parents=True)
    (small / ".cmake/api/v1/query/client-ide/codemodel-v2").touch()
    cmake(small)
    build = read_build(str(small))
    assert [output.name for output in build.outputs] == ["program"]
    assert build.settings == {}  # the cache was not asked for
    assert not (small / QUERY).exists()


def test_where_nothing_can_be_written(small: Path) -> None:
    (small / ".cmake").write_text("")
    with pytest.raises(ArtifactError, match=r"CMake's file API cannot be asked: .*query\.json: Not a directory"):
        read_build(str(small))


def test_what_is_no_build_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in (("", "not a build folder"), ("nope", "there is no such folder"), ("file", "not a folder")):
        with pytest.raises(ArtifactError, match=reason):
            read_build(str(tmp_path / path))


def test_places_inside_cmake_s_own_modules_are_passed_over(small: Path) -> None:
    with pytest.raises(ArtifactError):
        read_build(str(small))
    cmake(small)
    reply = small / ".cmake/api/v1/reply"
    root = json.loads(next(reply.glob("index-*")).read_text())["cmake"]["paths"]["root"]
    path = next(reply.glob("target-program-*"))
    data = json.loads(path.read_text())
    graph = data["backtraceGraph"]
    graph["files"].append(f"{root}/Modules/Some.cmake")
    graph["nodes"].append({"command": 0, "file": len(graph["files"]) - 1, "line": 7, "parent": data["backtrace"]})
    data["backtrace"] = len(graph["nodes"]) - 1
    path.write_text(json.dumps(data))
    (output,) = read_build(str(small)).outputs
    assert output.recipe.defined_at == "CMakeLists.txt:3"


def test_no_target_that_makes_anything(tmp_path: Path, tool_for: Callable[[str], str]) -> None:
    tool_for("cmake")
    text = "cmake_minimum_required(VERSION 3.18)\nproject(none NONE)\nadd_custom_target(util COMMAND true)\n"
    build = configured(write_files(tmp_path / "s", {"CMakeLists.txt": text}), tmp_path / "b")
    found = read_build(str(build))
    assert found.outputs == ()
    assert found.problems == (("targets", "CMake names no target that makes a program, a library or an archive"),)


def test_nothing_built_in_any_configuration(tmp_path: Path, tool_for: Callable[[str], str]) -> None:
    tool_for("ninja")
    build = configured(write_files(tmp_path / "s", SMALL), tmp_path / "b", generator=GENERATORS[2])
    found = read_build(str(build))
    assert found.outputs == ()
    assert found.problems == (("targets", "no configuration was built"),)
