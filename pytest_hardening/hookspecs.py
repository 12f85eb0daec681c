"""The hooks by which a conftest.py or a plugin adds checks, profiles, finders of artifacts, reporters, and probes.

Write a function of the name in the `conftest.py` of pytest's root folder, or in a plugin; leave out arguments that it
does not need. `docs/extending.md` has an example of each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .checks.base import Check
    from .model import Artifact
    from .toolchain import Probe

__all__ = [
    "pytest_hardening_checks",
    "pytest_hardening_find_artifacts",
    "pytest_hardening_probes",
    "pytest_hardening_profiles",
    "pytest_hardening_report",
]


@pytest.hookspec
def pytest_hardening_checks(config: pytest.Config) -> Iterable[Check] | None:
    """Checks to add: instances, that work wherever a built-in check does, until the session ends.

    All plugins are asked, once, when pytest is configured, in the controller and in every worker of pytest-xdist. A
    conftest.py that pytest loads later (below the root folder, and not above one of pytest's arguments) is refused.

    A check has a kebab-case name that no other has, a label, kinds, and a docstring with the five headings; else pytest
    ends with a usage error that names the plugin.

    Parameters
    ----------
    config: pytest's.
    """


@pytest.hookspec
def pytest_hardening_profiles(config: pytest.Config) -> Mapping[str, str | os.PathLike[str]] | None:
    """Profiles to add: TOML files by the name under which profiles and options find them.

    Asked like `pytest_hardening_checks`. A name is made of small letters, digits, '.' and '-', does not end in .toml
    and is not taken. A relative path is relative to pytest's root folder; files that a profile extends, to its folder.

    Parameters
    ----------
    config: pytest's.
    """


@pytest.hookspec(firstresult=True)
def pytest_hardening_find_artifacts(
    config: pytest.Config, path: Path
) -> Iterable[str | os.PathLike[str] | Artifact] | None:
    """The artifacts behind one PATH of --hardening or `hardening_paths`: of a package, a manifest, an image.

    Plugins are asked in turn until one does not return None; what it returns then stands for the path, and nothing else
    is looked for there. When all return None, the path is searched as usual. An empty answer is an item that fails.

    A path returned is treated as if the user had named it: a file is judged, whatever it is; a folder is searched. A
    relative one is relative to pytest's root folder. An `Artifact` may have another name than its file, such as
    "app.deb/usr/bin/app"; two files of one name are an item that fails.

    Asked at the end of collection, by every worker of pytest-xdist: the answer must be the same each time, so unpack to
    a folder that does not change from process to process.

    Parameters
    ----------
    config: pytest's.
    path: as the user gave it, absolute; a file, a folder, a glob, or nothing that exists.
    """


@pytest.hookspec
def pytest_hardening_report(config: pytest.Config, entries: Sequence[Mapping[str, Any]]) -> None:
    """Called once, at the end of a session that judged files, in the controller only; not with --collect-only.

    All plugins are called. An exception ends pytest with exit status 4, and is told at the end.

    Parameters
    ----------
    config: pytest's.
    entries: the `artifacts` of the JSON report (`reports/schema.json`), sorted by path and member, whether or not a
        report is written. They are shared with other reporters: do not change them.
    """


@pytest.hookspec
def pytest_hardening_probes(config: pytest.Config) -> Iterable[Probe] | None:
    """Probes to add to --hardening-posture: what else a toolchain is asked for.

    All plugins are asked, once, when pytest is configured with --hardening-posture. `FlagProbe` is the usual one:
    flags, a source, and the check that finds their effect in the program; any object with `name`, `title` and
    `run(bench)` will do. A name that another probe has is a usage error.

    Parameters
    ----------
    config: pytest's.
    """
