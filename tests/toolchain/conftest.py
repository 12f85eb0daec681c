from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from pytest_hardening.errors import ToolchainError
from pytest_hardening.toolchain import (
    BuildCache,
    Builder,
    Compiler,
    Posture,
    Toolchain,
    find_compiler,
    find_toolchain,
    posture_of,
)

from ..conftest import missing

# What the plugin itself provides once it is installed.
FIXTURES_ALONE = """
pytest_plugins = ["pytest_hardening.fixtures"]

def pytest_addoption(parser):
    parser.addini("hardening_cc", "", default="gcc")
    parser.addini("hardening_cxx", "", default="g++")
"""


@pytest.fixture
def user(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project whose tests have our fixtures, through the installed plugin or, without one, through a conftest."""
    if not importlib.metadata.entry_points(group="pytest11", name="hardening"):
        pytester.makeconftest(FIXTURES_ALONE)
    return pytester


@pytest.fixture(scope="session")
def gcc() -> Compiler:
    return find_compiler("gcc")


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(BuildCache(tmp_path / "cache"))


@pytest.fixture
def counting_gcc(tmp_path: Path) -> tuple[Compiler, Path]:
    """The real gcc behind a script that writes each of its command lines into a file."""
    count = tmp_path / "calls"
    count.touch()
    script = tmp_path / "counting-gcc"
    script.write_text(f'#!/bin/sh\necho "$*" >> {count}\nexec gcc "$@"\n')
    script.chmod(0o755)
    compiler = find_compiler(str(script))
    count.write_text("")
    return compiler, count


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all tests and workers of the session: what one of them asked a toolchain need not be asked again."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if hasattr(pytestconfig, "workerinput") else base) / "hardening-toolchains"


@pytest.fixture(scope="session")
def toolchain_for(shared: Path) -> Callable[[str], Toolchain]:
    """`toolchain_for("gcc -m32")`: a toolchain that works, with what is known of it kept for the session."""

    def toolchain_for(command: str) -> Toolchain:
        try:
            found = find_toolchain(command, cache=BuildCache(shared))
        except ToolchainError as error:
            missing(str(error))
        if found.problem:
            missing(f"{command}: {found.problem}")
        return found

    return toolchain_for


@pytest.fixture(scope="session")
def posture_for(toolchain_for: Callable[[str], Toolchain], shared: Path) -> Callable[[str], Posture]:
    """`posture_for("gcc -m32")`: what that toolchain makes of each mitigation."""

    @cache
    def posture_for(command: str) -> Posture:
        return posture_of(toolchain_for(command), BuildCache(shared))

    return posture_for


@pytest.fixture
def wrapper(tmp_path: Path) -> Callable[..., str]:
    """`wrapper("gcc-12", {"-Wl,-z,now": ""})`: a script that starts a compiler with some arguments replaced."""

    def wrapper(compiler: str, replaced: dict[str, str], name: str = "cc") -> str:
        cases = "".join(f"    '{old}') set -- \"$@\" {new} ;;\n" for old, new in replaced.items())
        script = tmp_path / name
        script.write_text(
            f'#!/bin/bash\ngiven=("$@"); set --\nfor one in "${{given[@]}}"; do\n  case "$one" in\n{cases}'
            f'    *) set -- "$@" "$one" ;;\n  esac\ndone\nexec {compiler} "$@"\n'
        )
        script.chmod(0o755)
        return str(script)

    return wrapper
