"""Two builds, compared as the command line does it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_hardening.builds import build_at
from pytest_hardening.compare.changes import Comparison, compare
from pytest_hardening.engine import requests_of

Compared = Callable[..., Comparison]


@pytest.fixture
def compared() -> Compared:
    """`compared(old, new, relro={"level": "partial"})`: two paths by some checks, or by all."""

    def compared(old: Path, new: Path, **checks: Mapping[str, Any]) -> Comparison:
        requests = requests_of({name.replace("_", "-"): values for name, values in checks.items()} or None)
        return compare(build_at(str(old), requests), build_at(str(new), requests))

    return compared


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """`folder("old", {"lib/libx.so": path})`: a folder with copies of files under the names given."""

    def folder(name: str, files: Mapping[str, Path]) -> Path:
        for where, path in files.items():
            target = tmp_path / name / where
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        return tmp_path / name

    return folder
