"""Commands that the build system has now, of files that other commands may have made: nothing passes by them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.artifacts.build_systems.ninja_log import logged_steps

from ..cmake_builds import GENERATORS, cmake, configured, make, run, write_files

if TYPE_CHECKING:
    from tests.plugin.conftest import User

GOOD = "-g -Wformat -Werror=format-security"
FILES = {
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.18)
project(demo C)
add_library(own STATIC "a b.c")
add_executable(program main.c)
target_link_libraries(program own)
target_compile_definitions(program PRIVATE "TEXT=\\"a b\\"")
""",
    "meson.build": """\
project('demo', 'c', default_options: ['buildtype=plain'])
own = static_library('own', 'a b.c')
executable('program', 'main.c', link_with: own, c_args: ['-DTEXT="a b"'])
executable('extra', 'main.c', build_by_default: false)
""",
    "a b.c": "int a(void);\nint a(void) { return 1; }\n",
    "main.c": "int a(void);\nint main(void) { return a(); }\n",
}
NAMES = {"program", "own"}
LOG = """\
# ninja log v7
0\t9\t1795345625144646644\ta\ta8efa760fb4ce569
0\t13\t1795345625150500636\tb\t5c8ac3defc51d216
9\t13\t1795345625156646644\tc\t2c9f6d8788b033da
"""
CHECK = ("--hardening-build", "b", "--hardening-check", "format-security")


@pytest.fixture
def source(user: User, tool_for: Callable[[str], str]) -> Path:
    for tool in ("cmake", "ninja", "meson"):
        tool_for(tool)
    return write_files(user.path / "s", FILES)


class _CMake:
    def __init__(self, generator: str) -> None:
        self._generator = generator

    def configure(self, source: Path, build: Path, flags: str) -> None:
        configured(source, build, f"-DCMAKE_C_FLAGS={flags}", generator=self._generator)

    def again(self, build: Path, flags: str = "") -> None:
        cmake(build, *([f"-DCMAKE_C_FLAGS={flags}"] if flags else []))

    def make(self, build: Path) -> None:
        make(build)


class _Meson:
    def configure(self, source: Path, build: Path, flags: str) -> None:
        run("meson", "setup", build, source, f"-Dc_args={flags}")

    def again(self, build: Path, flags: str = "") -> None:
        if flags:
            run("meson", "configure", build, f"-Dc_args={flags}")
        run("meson", "setup", "--reconfigure", build, build.parent / "s")

    def make(self, build: Path) -> None:
        run("ninja", "-C", build)


SYSTEMS: dict[str, _CMake | _Meson] = {**{name: _CMake(name) for name in GENERATORS}, "Meson": _Meson()}


def outcomes(user: User, *words: str) -> dict[str, str]:
    found = user.run(*CHECK, *words)
    told = {Path(name.partition("::")[0]).stem.removeprefix("lib"): what for name, what in found.verdicts.items()}
    for name, error in found.errors.items():
        assert error.startswith("stale: "), error
        told[Path(name).stem.removeprefix("lib")] = "stale"
    return told


def age(build: Path) -> None:
    """Let time go by, as far as files tell."""
    for path in (*build.rglob("*"), *(build.parent / "s").rglob("*")):
        if path.is_file() and not path.is_symlink():
            time = path.stat().st_mtime_ns - 10 * 10**9
            os.utime(path, ns=(time, time))


@pytest.mark.parametrize("name", SYSTEMS)
def test_options_that_changed_since(user: User, source: Path, name: str) -> None:
    system, build = SYSTEMS[name], user.path / "b"
    system.configure(source, build, "-g")
    system.make(build)
    assert outcomes(user) == dict.fromkeys(NAMES, "fail")
    age(build)
    system.again(build, GOOD)
    assert outcomes(user) == dict.fromkeys(NAMES, "stale" if name == GENERATORS[0] else "unknown")
    if name != GENERATORS[0]:
        found = user.run(*CHECK, "--hardening-strict")
        found.result.stdout.fnmatch_lines(["*.o was made before its command was written: build again*"])
    system.make(build)
    assert outcomes(user) == dict.fromkeys(NAMES, "pass")
    age(build)
    system.again(build)
    assert outcomes(user) == dict.fromkeys(NAMES, "pass")  # nothing has changed
    system.make(build)
    assert outcomes(user) == dict.fromkeys(NAMES, "pass")
    if name != GENERATORS[0]:
        (build / ".ninja_log").unlink()
        assert outcomes(user) == dict.fromkeys(NAMES, "unknown")  # nothing proves that nothing has


def test_a_database_of_commands(user: User, source: Path) -> None:
    """Of Ninja's; in a folder without any generator it is taken for a record of what was run."""
    build = user.path / "b"
    configured(source, build, "-DCMAKE_C_FLAGS=-g", generator="Ninja")
    make(build)
    database = build / "compile_commands.json"

    def export() -> None:
        database.write_text(run("ninja", "-t", "compdb", folder=build))

    age(build)
    cmake(build, f"-DCMAKE_C_FLAGS={GOOD}")
    export()
    hidden = (build / "CMakeCache.txt").rename(user.path / "cache")
    assert outcomes(user) == dict.fromkeys(NAMES, "unknown")
    hidden.rename(build / "CMakeCache.txt")
    make(build)
    export()
    hidden = (build / "CMakeCache.txt").rename(user.path / "cache")
    assert outcomes(user) == dict.fromkeys(NAMES, "pass")
    hidden.rename(build / "CMakeCache.txt")
    age(build)
    cmake(build, "-DCMAKE_C_FLAGS=-g")
    make(build)
    (build / "CMakeCache.txt").unlink()
    assert "pass" not in outcomes(user).values()  # the database has become old
    (build / "build.ninja").unlink()
    assert outcomes(user) == dict.fromkeys(NAMES, "pass")


def test_what_the_file_tells_itself(user: User, source: Path) -> None:
    configured(source, user.path / "b", "-DCMAKE_C_FLAGS=-g -O2", generator="Ninja")
    make(user.path / "b")
    age(user.path / "b")
    cmake(user.path / "b", "-DCMAKE_C_FLAGS=-g -O2 -Wall")
    user.policy("[checks]", 'recorded-flags = { with_flags = ["-O2"] }')
    found = user.run("--hardening-build", "b")
    assert {what for name, what in found.verdicts.items() if name.endswith("recorded-flags")} == {"pass"}


def test_targets_that_meson_does_not_build_by_default(user: User, source: Path) -> None:
    SYSTEMS["Meson"].configure(source, user.path / "b", GOOD)
    SYSTEMS["Meson"].make(user.path / "b")
    found = user.run(*CHECK)
    assert found.errors == {}
    found.result.stdout.fnmatch_lines(["left out: targets that were not built and that `all` does not build (1)"])


def test_a_log_of_a_later_ninja(tmp_path: Path) -> None:
    """Ninja 1.13 has written this one."""
    (tmp_path / "build.ninja").write_text(
        'rule r\n  command = printf %s "$text" > $out\nbuild a: r\n  text = short\nbuild b: r\n'
        "  text = 0123456789 0123456789 0123456789 0123456789 0123456789\nbuild c: r\n  text = other text\n"
    )
    (tmp_path / ".ninja_log").write_text(LOG)
    found = logged_steps(str(tmp_path))
    assert {Path(name).name for name, step in found.items() if step.command} == {"a", "b"}
    assert found[f"{tmp_path}/a"].command == 'printf %s "short" > a'
    assert set(found) == {f"{tmp_path}/{name}" for name in "abc"}


def test_a_log_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "build.ninja").write_text("rule r\n  command = $command\nbuild a: r\n")
    for text in ("", "# ninja log v9\n0\t1\t2\ta\tff\n", "# ninja log v5\n0\t1\tx\ta\tff\n", "# ninja log v7\n1\t1\n"):
        (tmp_path / ".ninja_log").write_text(text)
        assert not any(step.command for step in logged_steps(str(tmp_path)).values())
    (tmp_path / ".ninja_log").write_text("# ninja log v5\n0\t1\t2\ta\tff\n")
    assert not any(step.command for step in logged_steps(str(tmp_path)).values())
    (tmp_path / "build.ninja").write_text("include build.ninja\n")
    assert not any(step.command for step in logged_steps(str(tmp_path)).values())
