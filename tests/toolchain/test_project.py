from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_hardening.errors import BuildError, ToolchainError
from pytest_hardening.toolchain import BuildCache, Compiler, Project, find_compiler, shipped_sample_project

MAKEFILE = """\
CFLAGS ?= -O2
$(BUILD)/prog: $(BUILD)/main.o
\t$(CC) $(CFLAGS) -o $@ $^
$(BUILD)/%.o: %.c
\t$(CC) $(CFLAGS) -DVALUE=$(VALUE) -c -o $@ $<
"""
MAIN = "#ifndef VALUE\n#define VALUE 7\n#endif\nint main(void) { return VALUE; }\n"
CMAKELISTS = """\
cmake_minimum_required(VERSION 3.18)
project(tiny C)
add_executable(prog main.c)
target_compile_definitions(prog PRIVATE VALUE=${VALUE})
set_target_properties(prog PROPERTIES EXPORT_COMPILE_COMMANDS ON)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "CMakeLists.txt").write_text(CMAKELISTS)
    (folder / "main.c").write_text(MAIN)
    return folder


@pytest.fixture
def project(tree: Path, tmp_path: Path, gcc: Compiler) -> Project:
    return Project(tree, BuildCache(tmp_path / "cache"), compiler=gcc)


def exit_status(program: Path) -> int:
    return subprocess.run([program], check=False).returncode


def machine(path: Path) -> str:
    text = subprocess.run(["readelf", "-h", path], capture_output=True, text=True, check=True).stdout
    return next(line.split(":")[1].strip() for line in text.splitlines() if "Machine" in line)


def test_make_builds_into_its_own_folder_once(project: Project) -> None:
    before = sorted(path.name for path in project.path.iterdir())
    first = project.make(variables={"VALUE": "3"})
    assert exit_status(first / "prog") == 3
    assert project.make(variables={"VALUE": "3"}) == first
    assert [record.cached for record in project.log.records] == [False, True]
    assert exit_status(project.make(variables={"VALUE": "4"}) / "prog") == 4
    assert sorted(path.name for path in project.path.iterdir()) == before


def test_make_gets_no_flags_from_the_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CFLAGS", "MAKEFLAGS", "GNUMAKEFLAGS", "VALUE", "MAKEFILES"):
        monkeypatch.setenv(variable, "--no-such-option")
    assert exit_status(project.make(variables={"VALUE": "3"}) / "prog") == 3
    assert "-O2" in project.log.text()


def test_changed_tree_is_built_again(project: Project) -> None:
    first = project.make(variables={"VALUE": "3"})
    (project.path / "main.c").write_text("int main(void) { return 9; }\n")
    assert exit_status(project.make(variables={"VALUE": "3"}) / "prog") == 9
    assert exit_status(first / "prog") == 3


def test_cache_within_the_tree_is_no_part_of_it(tree: Path, gcc: Compiler) -> None:
    project = Project(tree, BuildCache(tree / "cache"), compiler=gcc)
    first = project.make(variables={"VALUE": "3"})
    assert project.make(variables={"VALUE": "3"}) == first
    assert not list(tree.glob("cache/*/files/source/cache"))


def test_tree_that_cannot_be_copied_is_named(project: Project) -> None:
    os.mkfifo(project.path / "pipe")
    with pytest.raises(BuildError, match=r"cannot copy the project .*pipe"):
        project.make()


def test_makefile_without_build_folder_gives_its_tree(project: Project) -> None:
    (project.path / "Makefile").write_text("prog: main.c\n\t$(CC) -o $@ $<\n")
    folder = project.make("prog")
    assert exit_status(folder / "prog") == 7
    assert not (project.path / "prog").exists()


def test_failing_make_shows_its_output(project: Project) -> None:
    (project.path / "main.c").write_text("int main(void) { return nonsense; }\n")
    with pytest.raises(BuildError, match=r"(?s)^command failed with exit status 2: \S*make -j2 CC=.*'nonsense' undecl"):
        project.make(variables={"VALUE": "3"})


@pytest.mark.parametrize("generator", [None, "Ninja"])
def test_cmake_builds_and_records_its_targets(project: Project, generator: str | None) -> None:
    folder = project.cmake("VALUE=3", "-DUNUSED=1", build_type="Release", generator=generator, targets=["prog"])
    assert exit_status(folder / "prog") == 3
    assert "-O3 -DNDEBUG" in project.log.text()
    replies = list((folder / ".cmake/api/v1/reply").glob("target-prog-*.json"))
    assert len(replies) == 1
    (commands,) = json.loads((folder / "compile_commands.json").read_text())
    assert Path(commands["file"]).is_file()
    assert Path(commands["directory"]) == folder
    assert project.cmake("VALUE=3", "-DUNUSED=1", build_type="Release", generator=generator, targets=["prog"]) == folder


def test_cmake_gets_nothing_from_the_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAKE_GENERATOR", "No Such Generator")
    monkeypatch.setenv("CMAKE_TOOLCHAIN_FILE", "/nowhere")
    monkeypatch.setenv("CFLAGS", "--no-such-option")
    monkeypatch.setenv("CC", "/nowhere/cc")
    assert exit_status(project.cmake("VALUE=3") / "prog") == 3


@pytest.mark.parametrize("command", ["aarch64-linux-gnu-gcc", "clang", "gcc -m64"])
def test_compiler_reaches_both_systems(tree: Path, tmp_path: Path, command: str) -> None:
    compiler = find_compiler(command)
    project = Project(tree, BuildCache(tmp_path / "cache"), compiler=compiler)
    expected = "AArch64" if "aarch64" in command else "Advanced Micro Devices X86-64"
    for folder in (project.make(variables={"VALUE": "3"}), project.cmake("VALUE=3")):
        assert machine(folder / "prog") == expected
        comment = subprocess.run(
            ["readelf", "-p", ".comment", folder / "prog"], capture_output=True, text=True, check=True
        )
        assert ("clang version" in comment.stdout) == (command == "clang")


def test_missing_tool_and_missing_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Project(project.path / "absent", project.cache)
    with pytest.raises(BuildError, match="there is no project folder"):
        gone.make()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolchainError, match=r"apt-get install cmake$"):
        project.cmake()
    with pytest.raises(ToolchainError, match=r"apt-get install make$"):
        project.make()


def test_missing_ninja_is_named(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    cmake = shutil.which("cmake")
    assert cmake is not None
    (tmp_path / "bin/cmake").symlink_to(cmake)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ToolchainError, match="'ninja' not found: install it with: apt-get install ninja-build"):
        project.cmake(generator="Ninja")


def test_sample_project_is_found() -> None:
    assert (shipped_sample_project() / "Makefile").is_file()
