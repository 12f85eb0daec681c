"""From paths to artifacts: heads of files are enough here, nothing is judged."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_hardening import inspect
from pytest_hardening.artifacts.discovery import Discovery, artifact_at, counted, discover

OBJECT, EXECUTABLE, LIBRARY, CORE = 1, 2, 3, 4


def elf(kind: int, order: str = "<") -> bytes:
    """The first bytes of an ELF file."""
    return b"\x7fELF\2" + (b"\1" if order == "<" else b"\2") + bytes(10) + struct.pack(order + "H", kind)


FILES = {
    "bin/tool": elf(EXECUTABLE),
    "bin/big-endian": elf(LIBRARY, ">"),
    "bin/script": b"#!/bin/sh\n",
    "lib/libA.so.1.2": elf(LIBRARY),
    "lib/libA.a": b"!<arch>\nA.o/  ",
    "lib/libThin.a": b"!<thin>\nA.o/  ",
    "lib/libA.so.1.2.symbols": b"T libA_open\n",
    "lib/empty.so": b"",
    "lib/linker.so": b"/* GNU ld script */ INPUT(-lA)",
    "lib/group.a": b"GROUP ( libA.a )",
    "lib/module.ko": elf(OBJECT),
    "lib/.libs/hidden.so": elf(LIBRARY),
    "obj/A.o": elf(OBJECT),
    "obj/big.o": elf(OBJECT, ">"),
    "obj/empty.o": b"",
    "obj/core": elf(CORE),
    "obj/notes.txt": b"notes",
}
TAKEN = {
    "bin/tool", "bin/big-endian", "lib/libA.so.1.2", "lib/libA.a", "lib/libThin.a", "lib/empty.so", "lib/module.ko",
    "lib/.libs/hidden.so",
}  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all kinds of files, as current folder."""
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(found: Discovery) -> set[str]:
    shown = [artifact.display for artifact in found.artifacts]
    assert shown == sorted(set(shown))
    return set(shown)


def test_folder(tree: Path) -> None:
    found = discover(["."])
    assert names(found) == TAKEN
    assert found.problems == ()
    assert found.left_out == {"objects": 2, "core dumps": 1, "linker scripts": 2}


def test_objects(tree: Path) -> None:
    found = discover(["obj"], objects=True)
    assert names(found) == {"obj/A.o", "obj/big.o", "obj/empty.o"}
    assert found.left_out == {"core dumps": 1}


def test_named_files_are_taken_whatever_they_hold(tree: Path) -> None:
    paths = ["obj/A.o", "obj/core", "bin/script", "lib/linker.so"]
    assert names(discover(paths)) == set(paths)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("lib/*.so", {"lib/empty.so", "lib/linker.so"}),
        ("**/*.so", {"lib/empty.so", "lib/linker.so", "lib/.libs/hidden.so"}),
        ("obj/?.o", {"obj/A.o"}),
        ("*/lib[A].a", {"lib/libA.a"}),
        ("[lb]i[bn]/tool", {"bin/tool"}),
        ("lib/../bin/t*", {"bin/tool"}),
        # the last part stands for everything: the files count as found in a folder
        ("*", TAKEN),
        ("**", TAKEN),
        ("**/*", TAKEN),
        ("lib/*", {name for name in TAKEN if name.startswith("lib/")}),
        ("**/lib", {name for name in TAKEN if name.startswith("lib/")}),
    ],
)
def test_patterns(tree: Path, pattern: str, expected: set[str]) -> None:
    for base in ("", f"{tree}/"):
        found = discover([base + pattern])
        assert names(found) == expected
        assert found.problems == ()


def test_left_out_is_counted_once(tree: Path) -> None:
    expected = {"objects": 2, "core dumps": 1, "linker scripts": 2}
    assert discover([".", "obj", "**/*", "*"]).left_out == expected


def test_existing_name_is_no_pattern(tree: Path) -> None:
    (tree / "a[1].so").write_bytes(elf(LIBRARY))
    assert names(discover(["a[1].so"])) == {"a[1].so"}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nope", "does not exist"),
        ("bin/tool/nope", "does not exist"),
        ("*.so", "matches no file"),
        ("nope/**/*.so", "matches no file"),
        ("none", "a folder without linked ELF files or static archives"),
        ("obj", "a folder without linked ELF files or static archives; left out: core dumps (1), objects (2)"),
        ("obj/*", "matches no linked ELF files or static archives; left out: core dumps (1), objects (2)"),
    ],
)
def test_problems(tree: Path, path: str, reason: str) -> None:
    (tree / "none").mkdir()
    assert discover([path]).problems == ((path, reason),)
    assert discover([str(tree / path)], base=str(tree / "lib/.libs")).problems == ((str(tree / path), reason),)


def test_links_lead_to_the_real_name_once(tree: Path) -> None:
    (tree / "lib/libA.so").symlink_to("libA.so.1")
    (tree / "lib/libA.so.1").symlink_to("libA.so.1.2")
    (tree / "lib/libA.hard").hardlink_to(tree / "lib/libA.so.1.2")
    (tree / "elsewhere").symlink_to("lib")
    found = discover(["elsewhere/libA.so", "lib/libA.so.1", "lib/libA.hard"])
    assert names(found) == {"lib/libA.so.1.2"}
    assert names(discover(["elsewhere"])) == {name for name in TAKEN if name.startswith("lib/")} - {
        "lib/libA.so.1.2"
    } | {"lib/libA.hard"}


def test_all_names_of_a_file_are_known(tree: Path) -> None:
    """So that a policy that leaves out one of them does not leave out the others."""
    (tree / "bin/second").hardlink_to(tree / "bin/tool")
    (tree / "lib/third").hardlink_to(tree / "bin/tool")
    (tree / "lib/link").symlink_to("../bin/second")
    found = discover(["bin", "lib"])
    (tool,) = [one for one in found.artifacts if one.also]
    assert [one.display for one in tool.names] == ["bin/second", "bin/tool", "lib/third"]
    assert [one.path for one in tool.names] == [str(tree / one.display) for one in tool.names]
    assert discover(["bin/tool", "lib/third", "bin/tool"]).artifacts[0].names == tool.names[1:]


def test_dangling_and_looping_links(tree: Path) -> None:
    (tree / "lib/dangling.so").symlink_to("nowhere")
    (tree / "lib/loop.so").symlink_to("loop.so")
    (tree / "lib/dangling.txt").symlink_to("nowhere")
    (tree / "lib/up").symlink_to("..")
    assert names(discover(["lib"])) == {name for name in TAKEN if name.startswith("lib/")} | {
        "lib/dangling.so",
        "lib/loop.so",
    }


def test_pattern_does_not_follow_links_in_circles(tree: Path) -> None:
    for name in ("one", "two", "three"):
        (tree / "lib" / name).symlink_to(".")  # glob.glob would try 3**40 paths
    assert names(discover(["**/hidden.so"])) == {"lib/.libs/hidden.so"}
    assert names(discover(["lib/**/*.ko"])) == {"lib/module.ko"}


def test_special_files_in_folders_are_not_opened(tree: Path) -> None:
    os.mkfifo(tree / "lib/fifo.so")
    (tree / "lib/null.so").symlink_to("/dev/null")
    (tree / "lib/folder.so").mkdir()
    assert names(discover(["lib"])) == {name for name in TAKEN if name.startswith("lib/")}


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[str]:
    """A folder so deep that neither Python's recursion nor a whole path reaches the end; rm(1) clears it away."""
    top = os.path.join(tmp_path, "deep")
    os.mkdir(top)
    folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for level in range(2200):
        if level == 1500:
            os.close(os.open("deep.so", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    yield top
    subprocess.run(["rm", "-rf", top], check=True)


@pytest.mark.parametrize("pattern", ["", "/**", "/**/*", "/**/*.so"])
def test_deep_folders(deep: str, pattern: str) -> None:
    found = discover([deep + pattern], base=deep)
    assert names(found) == {"d/" * 1500 + "deep.so"}
    if not pattern.endswith(".so"):
        ((_, reason),) = found.problems
        assert reason == "cannot be listed: File name too long"


def test_what_cannot_be_listed_is_one_problem(deep: str) -> None:
    os.unlink(deep + "/d" * 1500 + "/deep.so")
    ((_, reason),) = discover([deep]).problems
    assert reason == "cannot be listed: File name too long"


def test_hint_for_a_folder_of_objects(tree: Path) -> None:
    ((_, reason),) = discover(["obj"], objects_option="--objects").problems
    assert reason.endswith("left out: core dumps (1), objects (2) (judge objects with --objects)")
    (tree / "dumps").mkdir()
    (tree / "obj/core").rename(tree / "dumps/core")
    ((_, reason),) = discover(["dumps"], objects_option="--objects").problems
    assert reason.endswith("left out: core dumps (1)")


PROBES = [
    "CMakeFiles/a.out",
    "CMakeFiles/3.25.1/CompilerIdC/a.out",
    "CMakeFiles/3.25.1/CompilerIdCXX/deep/whatever",
    "CMakeFiles/3.25.1/CMakeDetermineCompilerABI_C.bin",
    "CMakeFiles/feature_tests.bin",
    "CMakeFiles/CMakeTmp/cmTC_1a2b3",
    "CMakeFiles/CMakeScratch/TryCompile-x/tool",
    "meson-private/sanitycheckc.exe",
    "conftest",
]
PRODUCTS = ["CMakeFiles/tool.dir/libinner.so", "a.out", "sanitycheckc.exe", "myconftest", "cmTC_1a2b3", "conftest.so"]


def test_probes_of_build_systems(tmp_path: Path) -> None:
    for name in [*PROBES, *PRODUCTS]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(elf(EXECUTABLE))
    found = discover([str(tmp_path)], base=str(tmp_path))
    assert names(found) == set(PRODUCTS)
    assert found.left_out == {"probes of the build system": len(PROBES)}
    assert names(discover([str(tmp_path / "conftest")], base=str(tmp_path))) == {"conftest"}


@pytest.mark.parametrize("mark", ["CMakeCache.txt", "build.ninja", "meson-info", "config.status", ".ninja_log"])
def test_build_root(tmp_path: Path, mark: str) -> None:
    for folder in ("build/deep/er", "other"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "tool").write_bytes(elf(EXECUTABLE))
    (tmp_path / "build" / mark).touch()
    roots = {
        artifact.display: artifact.build_root for artifact in discover([str(tmp_path)], base=str(tmp_path)).artifacts
    }
    assert roots == {"build/deep/er/tool": str(tmp_path / "build"), "other/tool": None}


def test_artifact_at(tree: Path) -> None:
    (tree / "link").symlink_to("bin/tool")
    found = artifact_at("link")
    assert (found.path, found.display, os.fspath(found)) == (f"{tree}/bin/tool", "bin/tool", f"{tree}/bin/tool")
    assert artifact_at("bin/tool", base=str(tree / "lib")).display == f"{tree}/bin/tool"
    assert artifact_at("nope").display == "nope"


def test_counted() -> None:
    assert counted({"objects": 10, "core dumps": 1}) == "core dumps (1), objects (10)"


def test_archives_without_members_are_left_out_of_folders(tmp_path: Path) -> None:
    (tmp_path / "libempty.a").write_bytes(b"!<arch>\n")
    found = discover([str(tmp_path)])
    assert found.artifacts == ()
    assert found.left_out == {"archives without members": 1}
    named = discover([str(tmp_path / "libempty.a")]).artifacts
    assert inspect(named[0]).artifact.error == "an ar archive without members"
