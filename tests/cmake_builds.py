"""Builds with the real CMake, in folders that a test may change."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pytest_hardening.artifacts.build_systems.cmake import place_query

__all__ = ["GENERATORS", "cmake", "configured", "make", "write_files"]

GENERATORS = ("Unix Makefiles", "Ninja", "Ninja Multi-Config")
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")


def run(*words: str | Path, folder: Path | None = None) -> str:
    """Run a command without the flags of the environment, and return what it prints."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def cmake(*words: str | Path) -> str:
    return run("cmake", *words)


def configured(source: Path, build: Path, *options: str, generator: str = GENERATORS[0]) -> Path:
    """Configure, with CMake's description of the targets."""
    build.mkdir(parents=True, exist_ok=True)
    assert place_query(str(build)) == ""
    cmake("-G", generator, "-S", source, "-B", build, *options)
    return build


def make(build: Path, *words: str) -> Path:
    """Build what is configured."""
    cmake("--build", build, *words)
    return build
