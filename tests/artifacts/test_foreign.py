"""Code that no unit of a build is known to be in, and options that stand beside the compiler's name: real builds.

The foreign code is compiled without what format-security asks for; the truth is in the options.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.artifacts.build_systems.cmake import place_query
from pytest_hardening.artifacts.build_systems.foreign import foreign_code
from pytest_hardening.artifacts.build_systems.targets import find_targets
from pytest_hardening.engine import inspect
from pytest_hardening.model import Outcome, Verdict

from ..cmake_builds import run, write_files

CHECKED = "-Wformat -Werror=format-security"
BAD = "#include <stdio.h>\nvoid show(const char *s);\nvoid show(const char *s) { printf(s); }\n"
MAIN = "void show(const char *); int main(int c, char **v) { show(v[0]); return c; }\n"
FILES = {
    "main.c": MAIN,
    "alone.c": "int main(void) { return 0; }\n",
    "ext/util.c": BAD,
    "own/util.c": "int own_unused(void);\nint own_unused(void) { return 3; }\n",
    "own/other.c": "int own_other(void);\nint own_other(void) { return 3; }\n",
}
HEAD = "cmake_minimum_required(VERSION 3.14)\nproject(p C)\nset(EXT ${CMAKE_SOURCE_DIR}/ext)\n"
LINKED = {
    "library": "link_directories(ext)\nadd_executable(prog main.c)\ntarget_link_libraries(prog foreign)\n",
    "archive": "add_executable(prog main.c)\ntarget_link_libraries(prog ${EXT}/libforeign.a)\n",
    "whole": 'add_executable(prog main.c)\ntarget_link_libraries(prog "-Wl,--whole-archive,${EXT}/libforeign.a" '
    '"-Wl,--no-whole-archive")\n',
    "object": "add_executable(prog main.c ${EXT}/util.o)\n",
    "made": "add_custom_command(OUTPUT u.o COMMAND cp ${EXT}/util.o u.o)\nadd_executable(prog main.c u.o)\n",
    "inside": "add_library(own STATIC own/other.c ${EXT}/util.o)\nadd_executable(prog main.c)\n"
    "target_link_libraries(prog own)\n",
    "same": "add_library(own STATIC own/util.c own/other.c)\nadd_executable(prog main.c)\n"
    "target_link_libraries(prog own ${EXT}/libforeign.a)\n",
}


@pytest.fixture
def source(tmp_path: Path, tool_for: Callable[[str], str]) -> Path:
    """The sources, and foreign code as Debian ships it: without names of sources."""
    tool_for("cmake"), tool_for("ninja"), tool_for("meson")
    folder = write_files(tmp_path / "s", FILES)
    run("gcc", "-w", "-c", "util.c", folder=folder / "ext")
    run("strip", "-g", "util.o", folder=folder / "ext")
    run("ar", "rc", "libforeign.a", "util.o", folder=folder / "ext")
    return folder


def cmake(source: Path, text: str, *options: str, generator: str = "Ninja", cc: str = "gcc") -> Path:
    (source / "CMakeLists.txt").write_text(HEAD + text)
    build = source.parent / "b"
    build.mkdir()
    assert place_query(str(build)) == ""
    run("env", f"CC={cc}", "cmake", "-G", generator, "-S", source, "-B", build, *options)
    run("cmake", "--build", build)
    return build


def meson(source: Path, text: str, cc: str = "gcc") -> Path:
    (source / "meson.build").write_text("project('p', 'c')\n" + text)
    build = source.parent / "b"
    run("env", f"CC={cc}", "meson", "setup", build, source)
    run("ninja", "-C", build)
    return build


def judged(build: Path, name: str = "prog", check: str = "format-security") -> Verdict:
    found = {one.name: one.artifact for one in find_targets([str(build)], str(build.parent)).found.values()}
    return inspect(found[name], [check]).verdict(check)


@pytest.mark.parametrize("is_stripped", [True, False])
@pytest.mark.parametrize("generator", ["Ninja", "Unix Makefiles"])
@pytest.mark.parametrize("case", LINKED)
def test_own_commands_do_not_vouch_for_foreign_code(source: Path, case: str, generator: str, is_stripped: bool) -> None:
    options = [f"-DCMAKE_C_FLAGS={CHECKED}", f"-DCMAKE_EXE_LINKER_FLAGS={'-s' if is_stripped else ''}"]
    found = judged(cmake(source, LINKED[case], *options, generator=generator))
    assert found.outcome is Outcome.UNKNOWN, found
    assert not is_stripped or "is not told" in found.summary


@pytest.mark.parametrize(
    "target",
    [
        "'main.c', objects: ['ext/util.o']",
        "'main.c', link_args: ['-L' + meson.current_source_dir() / 'ext', '-lforeign']",
        "'main.c', dependencies: meson.get_compiler('c').find_library('foreign', "
        "dirs: meson.current_source_dir() / 'ext')",
        "'main.c', custom_target('u', input: 'ext/util.o', output: 'u.o', command: ['cp', '@INPUT@', '@OUTPUT@'])",
    ],
)
def test_meson(source: Path, target: str) -> None:
    options = ", ".join(f"'{option}'" for option in (CHECKED).split())
    found = judged(
        meson(source, f"add_project_arguments({options}, language: 'c')\nexecutable('prog', {target})\n"), "prog"
    )
    assert found.outcome is not Outcome.PASS, found


def test_code_of_the_build_is_not_foreign(source: Path) -> None:
    text = (
        "add_library(objects OBJECT own/other.c)\nadd_library(own STATIC own/util.c $<TARGET_OBJECTS:objects>)\n"
        "add_library(shared SHARED ext/util.c)\nset_source_files_properties(ext/util.c PROPERTIES COMPILE_OPTIONS "
        "-Wno-format-security)\nadd_executable(prog main.c)\n"
        "target_link_libraries(prog own objects shared m z)\n"
    )
    build = cmake(source, text, f"-DCMAKE_C_FLAGS={CHECKED}", "-DCMAKE_EXE_LINKER_FLAGS=-s -Wl,--no-as-needed")
    recipes = {one.name: one.artifact.recipe for one in find_targets([str(build)], str(build.parent)).found.values()}
    recipe = recipes["prog"]
    assert recipe is not None
    assert recipe.foreign == ("-lz",)
    assert judged(build).outcome is Outcome.PASS  # DT_NEEDED has libz.so.1
    assert judged(build, "shared").outcome is Outcome.FAIL


def test_meson_code_of_the_build_is_not_foreign(source: Path) -> None:
    options = ", ".join(f"'{option}'" for option in (CHECKED).split())
    text = (
        f"add_project_arguments({options}, language: 'c')\nown = static_library('own', 'own/util.c')\n"
        "more = shared_library('more', 'own/other.c')\n"
        "executable('prog', 'alone.c', link_with: [own, more], link_args: ['-s'])\n"
    )
    assert judged(meson(source, text)).outcome is Outcome.PASS


def test_a_unit_that_was_not_linked_accuses_nobody(source: Path) -> None:
    """The linker takes nothing from the archive; that a stripped program holds nothing of it cannot be told."""
    text = (
        "add_library(own STATIC ext/util.c own/other.c)\n"
        "set_source_files_properties(ext/util.c PROPERTIES COMPILE_OPTIONS -w)\n"
        "add_executable(prog alone.c)\ntarget_link_libraries(prog own)\n"
    )
    build = cmake(source, text, f"-DCMAKE_C_FLAGS={CHECKED}", "-DCMAKE_EXE_LINKER_FLAGS=-s")
    found = judged(build)
    assert (found.outcome, "if it was linked" in found.summary) == (Outcome.UNKNOWN, True)
    assert judged(build, "own").outcome is Outcome.FAIL


def test_member_of_another_source(source: Path) -> None:
    write_files(source, {"util.c": "int f(void);\nint f(void) { return 1; }\n"})
    run("gcc", "-g", "-w", "-c", "ext/util.c", "-o", "ext/util.c.o", folder=source)
    text = "add_library(own STATIC util.c)\nadd_custom_command(TARGET own POST_BUILD COMMAND ar r $<TARGET_FILE:own> "
    build = cmake(source, f"{text} ${{EXT}}/util.c.o)\n", f"-DCMAKE_C_FLAGS=-g {CHECKED}")
    assert judged(build, "own").outcome is Outcome.UNKNOWN


ALONE = {"cmake": "add_executable(prog alone.c)\n", "meson": "executable('prog', 'alone.c')\n"}


@pytest.mark.parametrize(
    ("cc", "outcome"), [(f"gcc {CHECKED}", Outcome.PASS), ("gcc -Wformat", Outcome.FAIL), ("gcc -w", Outcome.FAIL)]
)
@pytest.mark.parametrize("system", ALONE)
def test_options_beside_the_compilers_name(source: Path, system: str, cc: str, outcome: Outcome) -> None:
    build = cmake(source, ALONE["cmake"], cc=cc) if system == "cmake" else meson(source, ALONE["meson"], cc=cc)
    assert judged(build).outcome is outcome
    [target] = find_targets([str(build)], str(build.parent)).found.values()
    assert target.artifact.recipe is not None
    assert cc.split()[-1] in target.artifact.recipe.link_arguments


def test_options_beside_the_compilers_name_in_a_toolchain_file(source: Path) -> None:
    """There the cache has nothing of them."""
    write_files(source, {"t.cmake": "set(CMAKE_C_COMPILER gcc -w)\n"})
    build = cmake(source, ALONE["cmake"], f"-DCMAKE_TOOLCHAIN_FILE={source}/t.cmake", f"-DCMAKE_C_FLAGS={CHECKED}")
    found = judged(build)
    assert (found.outcome, "-w" in found.summary) == (Outcome.FAIL, True)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("-O2 -Wl,-z,now -Wl,-rpath,/x/lib -o prog", ""),
        ("main.o /b/libown.a libx.so /y/libz.so.1.2", "main.o"),
        ("-lm -ldl -lz -l png -l:libq.a -l:libr.so.1", "-lz -lpng -l:libq.a"),
        ("-Wl,-lz -Wl,--library=q,x.a -Xlinker y.o -Xlinker -lk", "-lz -lq x.a y.o -lk"),
        ("-Wl,--whole-archive /b/libown.a -Wl,--no-whole-archive -Wl,-Map,x.map", ""),
        ("-static -lc", "-static"),
        ("-static-pie @more.rsp -Wl,@again", "-static-pie @more.rsp @again"),
        ("-L /x -T script.ld -u symbol x.c", "x.c"),
    ],
)
def test_what_may_bring_code(words: str, found: str) -> None:
    own = {"/b/libown.a"}
    assert sorted(foreign_code(words.split(), lambda name: os.path.normpath(name) in own)) == sorted(found.split())
