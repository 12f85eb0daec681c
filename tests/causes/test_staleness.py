"""Files that were built with other options than CMake would use now; and all that only looks so."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_hardening.artifacts.build_systems.targets import find_targets
from pytest_hardening.causes.staleness import why_stale
from pytest_hardening.toolchain import Compiler

from ..cmake_builds import GENERATORS, cmake, configured, make, write_files

FILES = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.18)
project(stale C)
add_library(archive STATIC a.c)
add_library(shared SHARED b.c)
target_link_libraries(shared PRIVATE archive)
add_executable(program main.c)
target_link_options(program PRIVATE ${LINK})
""",
    "a.c": "int a(void) { return 1; }\n",
    "b.c": "int a(void);\nint b(void) { return a(); }\n",
    "main.c": "int main(void) { return 0; }\n",
}


@pytest.fixture
def source(tmp_path: Path, tool_for: Callable[[str], str]) -> Path:
    tool_for("cmake"), tool_for("ninja")
    return write_files(tmp_path / "s", FILES)


def stale(build: Path) -> dict[str, str]:
    """The targets that are stale, and why."""
    found = find_targets([str(build)], str(build))
    assert found.problems == ()
    reasons = {
        target.name.rpartition("/")[2]: why_stale(artifact, artifact.recipe, target.build, str(build.parent / "s"))
        for artifact, target in found.found.items()
        if artifact.recipe is not None
    }
    assert len(reasons) == 3
    return {name: reason for name, reason in reasons.items() if reason}


def age(build: Path, seconds: int = 10) -> None:
    """Let time go by, as far as files tell."""
    for path in build.rglob("*"):
        if path.is_file() and not path.is_symlink():
            time = path.stat().st_mtime_ns - seconds * 10**9
            os.utime(path, ns=(time, time))


@pytest.mark.parametrize(
    ("generator", "flags"),
    [
        *((generator, "-O2 -g -fstack-protector-strong -fcf-protection") for generator in GENERATORS),
        (GENERATORS[0], ""),
        (GENERATORS[1], "-O -g -fno-stack-protector"),
        (GENERATORS[1], "-g -Os -fPIE -fPIC"),
    ],
)
def test_running_cmake_again_without_a_change(source: Path, tmp_path: Path, generator: str, flags: str) -> None:
    build = make(configured(source, tmp_path / "b", f"-DCMAKE_C_FLAGS={flags}", generator=generator))
    assert stale(build) == {}
    age(build)
    cmake(build)
    assert stale(build) == {}


@pytest.mark.parametrize("generator", GENERATORS)
def test_options_on_record_that_are_others_now(source: Path, tmp_path: Path, generator: str) -> None:
    build = make(configured(source, tmp_path / "b", "-DCMAKE_C_FLAGS=-g -O1", generator=generator))
    for flags, why in (
        ("-g -O2", 'was compiled with -O1 (DWARF), and CMake now has "-O2" from CMAKE_C_FLAGS'),
        ("-g -O1 -fstack-protector-all", 'was compiled without -fstack-protector-all (DWARF), and CMake now has "-fst'),
    ):
        cmake(build, f"-DCMAKE_C_FLAGS={flags}")
        found = stale(build)
        assert set(found) == {"archive", "shared", "program"}
        assert found["program"].startswith(f"stale: main.c {why}"), found
        assert found["program"].endswith(": build it again")
        assert found["archive"].startswith("stale: a.c was")
    make(build)
    assert stale(build) == {}


@pytest.mark.parametrize("generator", GENERATORS[:2])
def test_options_that_leave_no_record(source: Path, tmp_path: Path, generator: str) -> None:
    """Only the times of what the Makefile generator writes tell of them."""
    build = make(configured(source, tmp_path / "b", "-DCMAKE_C_FLAGS=-O2", generator=generator))
    age(build)
    cmake(build, "-DCMAKE_C_FLAGS=-O2 -D_FORTIFY_SOURCE=2")
    is_make = generator == GENERATORS[0]
    reason = "stale: the options of {} have changed since it was compiled (flags.make): build it again"
    names = {"archive": "a.c", "shared": "b.c", "program": "main.c"} if is_make else {}
    assert stale(build) == {name: reason.format(unit) for name, unit in names.items()}
    make(build)
    assert stale(build) == {}
    age(build)
    cmake(build, "-DLINK=-Wl,-z,now")
    reason = "stale: the command that links it has changed since (link.txt): build it again"
    assert stale(build) == ({"program": reason} if is_make else {})
    make(build)
    assert stale(build) == {}


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_unit_that_was_compiled_again_and_is_not_in_it(source: Path, tmp_path: Path, generator: str) -> None:
    build = make(configured(source, tmp_path / "b", generator=generator))
    age(build)
    (source / "a.c").write_text("int a(void) { return 2; }\n")
    make(build, "--target", "archive")
    (reason,) = stale(build).values()
    assert re.fullmatch(r"stale: .*/a\.c\.o was compiled again since, and is not in it: build it again", reason)
    assert set(stale(build)) == {"shared"}
    make(build)
    assert stale(build) == {}


def orders(build: Path) -> Iterator[list[Path]]:
    """Orders in which a copy may make the files of a build."""
    files = sorted(path for path in build.rglob("*") if path.is_file() and not path.is_symlink())
    yield files
    yield files[::-1]
    yield sorted(files, key=lambda path: path.name)
    yield sorted(files, key=lambda path: (path.suffix != ".o", path.name))
    yield sorted(files, key=lambda path: (path.suffix == ".make", path.name))


def test_a_copy_without_the_times(source: Path, tmp_path: Path) -> None:
    build = make(configured(source, tmp_path / "b"))
    for step in (1, 10**6, 10**8):
        for files in orders(build):
            for number, path in enumerate(files):
                os.utime(path, ns=(10**18 + number * step, 10**18 + number * step))
            assert stale(build) == {}


@pytest.mark.parametrize("extra", ["-fstack-protector-strong -O1", "-fPIC"])
def test_options_that_a_compiler_wrapper_adds(source: Path, tmp_path: Path, extra: str) -> None:
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec gcc {extra} "$@"\n')
    wrapper.chmod(0o755)
    build = make(configured(source, tmp_path / "b", f"-DCMAKE_C_COMPILER={wrapper}", "-DCMAKE_C_FLAGS=-g"))
    assert stale(build) == {}


@pytest.mark.parametrize("flags", ["-g -O2 -flto", "-g -O2 -flto -ffat-lto-objects"])
def test_link_time_optimisation(source: Path, tmp_path: Path, flags: str) -> None:
    options = ("-DCMAKE_AR=/usr/bin/gcc-ar", "-DCMAKE_RANLIB=/usr/bin/gcc-ranlib")
    build = make(configured(source, tmp_path / "b", f"-DCMAKE_C_FLAGS={flags}", *options))
    assert stale(build) == {}


@pytest.mark.parametrize("flags", ["-g -O2", "-g -O2 -grecord-command-line"])
def test_clang(source: Path, tmp_path: Path, flags: str, compiler_for: Callable[[str], Compiler]) -> None:
    compiler_for("clang")
    build = make(
        configured(source, tmp_path / "b", "-DCMAKE_C_COMPILER=clang", f"-DCMAKE_C_FLAGS={flags}", generator="Ninja")
    )
    assert stale(build) == {}
    cmake(build, "-DCMAKE_C_FLAGS=-g -O1")
    assert stale(build) == {}  # its records are no complete ones


def test_a_source_that_two_targets_compile_otherwise(source: Path, tmp_path: Path) -> None:
    text = FILES["CMakeLists.txt"] + "target_sources(program PRIVATE a.c)\ntarget_link_libraries(program archive)\n"
    text += "target_compile_options(program PRIVATE -O1)\ntarget_compile_options(archive PRIVATE -O2)\n"
    write_files(source, {"CMakeLists.txt": text})
    build = make(configured(source, tmp_path / "b", "-DCMAKE_C_FLAGS=-g"))
    assert stale(build) == {}
