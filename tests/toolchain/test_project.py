from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_hardening.errors import BuildError, ToolchainError
from pytest_hardening.toolchain import (
    BuildCache,
    Compiler,
    Project,
    copy_project,
    find_compiler,
    shipped_sample_project,
)

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


def test_cmake_lists_below_the_top_of_the_tree(project: Project) -> None:
    (project.path / "cpp").mkdir()
    text = (project.path / "CMakeLists.txt").read_text().replace("main.c", "../main.c")
    (project.path / "cpp/CMakeLists.txt").write_text(text)
    (project.path / "CMakeLists.txt").unlink()
    assert exit_status(project.cmake("VALUE=5", folder="cpp") / "prog") == 5


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


# builds among its sources; -frecord-gcc-switches writes into each object how it was compiled
STALE_MAKEFILE = """\
OUT = build
$(OUT)/prog: $(OUT)/main.o $(OUT)/libmore.a
\t$(CC) $(SP) -o $@ $^
$(OUT)/%.o: %.c
\t@mkdir -p $(OUT)
\t$(CC) -O2 $(SP) -frecord-gcc-switches -c -o $@ $<
$(OUT)/libmore.a: $(OUT)/more.o
\t$(AR) rcs $@ $^
"""


def text_of(path: Path) -> str:
    return path.read_bytes().decode("latin-1")


@pytest.fixture
def stale(tree: Path) -> Path:
    """A tree with a finished build of the other flags, newer than the sources, and a CMake build among the sources."""
    (tree / "Makefile").write_text(STALE_MAKEFILE)
    (tree / "main.c").write_text("int more(void); int main(void) { char b[64]; b[0] = 1; return more() + b[0]; }\n")
    (tree / "more.c").write_text("int more(void) { return 6; }\n")
    subprocess.run(["make", "SP=-fstack-protector-all"], cwd=tree, check=True, capture_output=True)
    (tree / "build/latest").symlink_to("prog")
    (tree / "CMakeFiles").mkdir()
    (tree / "CMakeFiles/progress.marks").write_text("2\n")
    (tree / "CMakeCache.txt").write_text("CMAKE_C_FLAGS:STRING=-fstack-protector-all\n")
    (tree / "build/notes.txt").write_text("no product of a compiler\n")
    return tree


def test_stale_build_in_the_tree_is_made_anew(stale: Path, tmp_path: Path) -> None:
    """Copied along, make would call it up to date, and a test would judge other flags and another compiler."""
    assert "-fstack-protector-all" in text_of(stale / "build/main.o")
    assert subprocess.run(["make", "-q", "SP=-fno-stack-protector"], cwd=stale, check=False).returncode == 0
    project = Project(stale, BuildCache(tmp_path / "cache"), compiler=find_compiler("clang"))
    folder = project.make(variables={"SP": "-fno-stack-protector", "OUT": "build"})
    assert exit_status(folder / "build/prog") == 7
    assert "clang version" in text_of(folder / "build/main.o")
    assert "GCC: (" not in text_of(folder / "build/more.o")
    for name in ("build/main.o", "build/more.o", "build/libmore.a"):
        assert "__stack_chk_fail" not in text_of(folder / name)


def test_makefile_with_another_name_for_its_build_folder(stale: Path, tmp_path: Path) -> None:
    project = Project(stale, BuildCache(tmp_path / "cache"))
    folder = project.make(variables={"SP": "", "OUT": "$(BUILD)"})
    assert exit_status(folder / "prog") == 7


def test_copy_leaves_out_what_was_built(stale: Path, tmp_path: Path) -> None:
    left = copy_project(stale, tmp_path / "copy")
    assert left == (
        "CMakeCache.txt",
        "CMakeFiles",
        "build/latest",
        "build/libmore.a",
        "build/main.o",
        "build/more.o",
        "build/prog",
    )
    files = sorted(path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*"))
    assert files == ["CMakeLists.txt", "Makefile", "build", "build/notes.txt", "main.c", "more.c"]


def test_bitcode_and_thin_archives_are_built_things_too(tree: Path, tmp_path: Path) -> None:
    (tree / "bit.o").write_bytes(b"BC\xc0\xde....")
    (tree / "thin.a").write_bytes(b"!<thin>\n")
    os.mkfifo(tree / "pipe")
    (tree / "compiler").symlink_to(os.path.realpath("/bin/sh"))
    (tree / "gone").symlink_to("nowhere")
    with pytest.raises(BuildError, match="pipe"):
        copy_project(tree, tmp_path / "first")
    (tree / "pipe").unlink()
    assert copy_project(tree, tmp_path / "copy") == ("bit.o", "thin.a")
    assert (tmp_path / "copy/compiler").is_symlink()  # it leads out of the project: nobody built that here
    assert (tmp_path / "copy/gone").is_symlink()


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (["build/*.a"], {"build/libmore.a"}),
        (["**/*.o", "CMakeCache.txt"], {"build/main.o", "build/more.o", "CMakeCache.txt"}),
        (["build/prog"], {"build/prog", "build/latest"}),
        (["build"], {"build/libmore.a", "build/main.o", "build/more.o", "build/prog", "build/latest"}),
    ],
    ids=["glob", "any-folder", "file", "folder"],
)
def test_keep_takes_built_files_along(stale: Path, tmp_path: Path, keep: list[str], kept: set[str]) -> None:
    everything = set(copy_project(stale, tmp_path / "without"))
    left = copy_project(stale, tmp_path / "copy", keep=keep)
    assert everything - set(left) == kept
    assert all((tmp_path / "copy" / name).is_file() for name in kept)
    assert copy_project(stale, tmp_path / "whole", keep=["."]) == ()


def test_keep_that_leads_to_nothing(stale: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"keep: 'vendor/\*\.a' matches nothing in the project"):
        copy_project(stale, tmp_path / "copy", keep=["vendor/*.a"])
    with pytest.raises(BuildError, match=r"keep='build': expected a list of strings, as in keep=\['build'\]"):
        copy_project(stale, tmp_path / "copy", keep="build")


def test_what_was_built_does_not_make_a_build_another_one(stale: Path, tmp_path: Path) -> None:
    project = Project(stale, BuildCache(tmp_path / "cache"))
    first = project.make(variables={"SP": ""})
    (stale / "build/main.o").unlink()
    assert project.make(variables={"SP": ""}) == first
    (stale / "more.c").write_text("int more(void) { return 7; }\n")
    assert exit_status(project.make(variables={"SP": ""}) / "build/prog") == 8
