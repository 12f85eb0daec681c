from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from pytest_hardening.toolchain import BuildCache, Builder, Compiler, find_compiler

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
