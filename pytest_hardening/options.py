"""Command line and ini options, and the one frozen object that they become."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from .policy.given import COMMAND_LINE, DEFAULT, Given

__all__ = ["SETTINGS", "Settings", "add_options", "profile_in", "settings_of"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user asked for.

    Parameters
    ----------
    paths: files, folders and globs to judge, absolute.
    named: ELF files and static archives among pytest's own arguments, absolute; they are judged as well.
    picked: whether one of these is a node id (`build/PROGRAM::bind-now`): then `paths` are not judged.
    profile: name or file of the profile, as the command line or the ini file gives it.
    checks: only these checks; empty for all of the profile.
    report: file to write the JSON document to, absolute, or None.
    strict: whether unknown fails, as the command line or the ini file gives it; the policy file may say otherwise.
    objects: whether object files found in folders are judged.
    debug_roots: folders in which the debug files of stripped files are looked for, absolute.
    compare: the build, or the report of it, that `paths` are compared with, absolute, or None.
    baseline: file of known failures as the command line or the ini file gives it, absolute.
    update_baseline: whether the baseline is rewritten.
    sources: where each of the other settings comes from, by field.
    """

    paths: tuple[str, ...]
    named: frozenset[str]
    picked: bool
    profile: Given
    checks: tuple[str, ...]
    report: str | None
    strict: Given
    objects: bool
    debug_roots: tuple[str, ...] = ()
    compare: str | None = None
    baseline: Given = field(default_factory=Given)
    update_baseline: bool = False
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def values(self) -> Iterator[tuple[str, object, str]]:
        """Name, value and source of what is not part of the policy."""
        for name in ("paths", "checks", "report", "objects", "debug_roots"):
            if value := getattr(self, name):
                yield f"hardening_{name}", value, self.sources[name]

    @property
    def active(self) -> bool:
        """Whether the session judges anything."""
        return bool(self.paths or self.named)


# where pytest looks for its settings, and what must stand there
_INI_FILES = {
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}
_MAGIC = (b"\x7fELF", b"!<arch>\n", b"!<thin>\n")

SETTINGS = pytest.StashKey[Settings]()


def add_options(parser: pytest.Parser) -> None:
    """Every option has an ini equivalent; the command line wins."""
    group = parser.getgroup("hardening", "hardening of compiled files (pytest-hardening)")
    group.addoption(
        "--hardening",
        action="append",
        default=[],
        metavar="PATH",
        dest="hardening_paths",
        help="judge this file, folder or glob (repeatable); a node id such as build/PROGRAM::relro among the other "
        "arguments picks what to judge",
    )
    group.addoption(
        "--hardening-profile",
        metavar="NAME|FILE",
        help="what is required: a built-in profile or a TOML file (default: recommended)",
    )
    group.addoption(
        "--hardening-check",
        action="append",
        default=[],
        metavar="NAME",
        dest="hardening_checks",
        help="require only this check (repeatable)",
    )
    group.addoption("--hardening-report", metavar="FILE", help="write all verdicts to this JSON file")
    group.addoption(
        "--hardening-compare",
        metavar="OLD",
        help="fail only where something was lost against this build: a folder, a file or a JSON report",
    )
    group.addoption(
        "--hardening-strict", action="store_true", default=None, help="fail where a file does not tell (unknown)"
    )
    group.addoption(
        "--hardening-objects", action="store_true", default=None, help="also judge object files found in folders"
    )
    group.addoption(
        "--hardening-debug-root",
        action="append",
        default=[],
        metavar="DIR",
        dest="hardening_debug_roots",
        help="look for the debug files of stripped files here and beside them (repeatable), e.g. /usr/lib/debug",
    )
    group.addoption("--hardening-baseline", metavar="FILE", help="known failures: only others fail")
    group.addoption(
        "--hardening-update-baseline",
        action="store_true",
        default=False,
        help="rewrite the baseline: what fails now is known from now on",
    )
    group.addoption(
        "--hardening-show-policy",
        action="store_true",
        help="print what is required, and where each value comes from, and run nothing",
    )
    parser.addini("hardening_baseline", "file of known failures, relative to the ini file", default="")
    parser.addini("hardening_paths", "files, folders and globs to judge, relative to the ini file", type="paths")
    parser.addini("hardening_profile", "what is required: a built-in profile or a TOML file", default=None)
    parser.addini("hardening_checks", "require only these checks", type="args", default=[])
    parser.addini("hardening_report", "JSON file to write all verdicts to", default="")
    parser.addini("hardening_compare", "build or JSON report to compare with", default="")
    parser.addini("hardening_strict", "fail where a file does not tell", type="bool", default=None)
    parser.addini("hardening_objects", "also judge object files found in folders", type="bool", default=False)
    parser.addini(
        "hardening_debug_root", "folders with the debug files of stripped files, relative to the ini file", type="paths"
    )
    parser.addini("hardening_cc", "C compiler of the fixtures cc, compile_c, c_project", default="gcc")
    parser.addini("hardening_cxx", "C++ compiler of the fixture cxx", default="g++")


def settings_of(config: pytest.Config) -> Settings:
    """The settings in force."""
    if SETTINGS not in config.stash:
        config.stash[SETTINGS] = _read(config)
    return config.stash[SETTINGS]


def _read(config: pytest.Config) -> Settings:
    here = str(config.invocation_params.dir)
    _require_ini_was_read(config, here)
    if "" in config.getoption("hardening_paths"):
        raise pytest.UsageError("--hardening needs the path of a file or folder: its value is empty")
    paths = [os.path.join(here, path) for path in config.getoption("hardening_paths")]
    if not paths:
        paths = [os.fspath(path) for path in config.getini("hardening_paths")]
    named = {path: ids for path, ids in _arguments(config, here) if os.path.isfile(path) and _is_artifact(path)}
    report = config.getoption("hardening_report")
    if report and not paths and not named:
        raise pytest.UsageError("--hardening-report FILE needs --hardening PATH: nothing is judged without it")
    if config.getoption("hardening_compare") and not paths and not named:
        raise pytest.UsageError("--hardening-compare OLD needs --hardening NEW: nothing is judged without it")
    if config.getoption("hardening_update_baseline") and not paths and not named:
        raise pytest.UsageError("--hardening-update-baseline needs --hardening PATH: nothing is judged without it")
    folder = here
    if report is None:
        report, folder = config.getini("hardening_report"), str(config.rootpath)
    return Settings(
        paths=tuple(paths),
        named=frozenset(named),
        picked=any(named.values()),
        profile=_profile(config, here),
        checks=tuple(config.getoption("hardening_checks") or config.getini("hardening_checks")),
        report=os.path.join(folder, report) if report else None,
        strict=_strict(config),
        objects=bool(_flag(config, "hardening_objects")),
        debug_roots=tuple(_debug_roots(config, here)),
        compare=_compare(config, here),
        baseline=_baseline(config, here),
        update_baseline=bool(config.getoption("hardening_update_baseline")),
        sources={
            "paths": _source(config, "hardening_paths", bool(paths)),
            "checks": _source(config, "hardening_checks", bool(config.getini("hardening_checks"))),
            "report": _source(config, "hardening_report", bool(report)),
            "objects": _source(config, "hardening_objects", bool(config.getini("hardening_objects"))),
            "debug_roots": _source(config, "hardening_debug_roots", bool(config.getini("hardening_debug_root"))),
        },
    )


def _compare(config: pytest.Config, here: str) -> str | None:
    old, folder = config.getoption("hardening_compare"), here
    if old is None:
        old, folder = config.getini("hardening_compare"), str(config.rootpath)
    return os.path.join(folder, old) if old else None


def _source(config: pytest.Config, option: str, is_in_ini: bool) -> str:
    """Where an option's value comes from."""
    if config.getoption(option):
        return COMMAND_LINE
    return _ini_name(config) if is_in_ini else DEFAULT


def _ini_name(config: pytest.Config) -> str:
    return config.inipath.name if config.inipath is not None else "ini option"


def _debug_roots(config: pytest.Config, here: str) -> Iterator[str]:
    given = config.getoption("hardening_debug_roots")
    for root in given or config.getini("hardening_debug_root"):
        path = os.path.join(here, root)
        if not os.path.isdir(path):
            raise pytest.UsageError(f"--hardening-debug-root needs a folder: {os.fspath(root)!r} is none")
        yield path


def _require_ini_was_read(config: pytest.Config, here: str) -> None:
    """pytest looks for its ini file before it knows our options, and takes the path in `--hardening PATH` for a test
    path: with one outside the project it may look elsewhere, and a profile set in the ini file would be ignored.
    """
    if not config.getoption("hardening_paths"):
        return
    if os.path.isfile(os.path.join(here, "hardening.toml")) and not os.path.samefile(here, config.rootpath):
        raise pytest.UsageError(
            f"hardening.toml of this folder would not be read, as pytest's root folder is {config.rootpath}: "
            "write --hardening=PATH, with '=', or give --rootdir"
        )
    if config.inipath is not None:
        return
    for name, mark in _INI_FILES.items():
        path = os.path.join(here, name)
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as stream:
                if mark in stream.read():
                    raise pytest.UsageError(
                        f"pytest did not read {name}: write --hardening=PATH, with '=', for this path"
                    )


def _arguments(config: pytest.Config, here: str) -> Iterator[tuple[str, bool]]:
    """The paths among pytest's own arguments, and whether any of a path's arguments picks a part of it."""
    found: dict[str, bool] = {}
    for argument in config.args:
        path, picks, _ = argument.partition("::")
        path = os.path.abspath(os.path.join(here, path))
        found[path] = found.get(path, False) or bool(picks)
    yield from found.items()


def _is_artifact(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(8).startswith(_MAGIC)
    except OSError:
        return False


def _profile(config: pytest.Config, here: str) -> Given:
    """The profile's name, or its file relative to where it was named."""
    name = config.getoption("hardening_profile")
    if name is not None:
        return Given(profile_in(here, name), COMMAND_LINE)
    name = config.getini("hardening_profile")
    return Given() if name is None else Given(profile_in(str(config.rootpath), str(name)), _ini_name(config))


def _baseline(config: pytest.Config, here: str) -> Given:
    name = config.getoption("hardening_baseline")
    if name is not None:
        return Given(os.path.abspath(os.path.join(here, name)), COMMAND_LINE)
    name = config.getini("hardening_baseline")
    return Given(os.path.abspath(os.path.join(config.rootpath, name)), _ini_name(config)) if name else Given()


def _strict(config: pytest.Config) -> Given:
    if config.getoption("hardening_strict"):
        return Given("yes", COMMAND_LINE)
    return Given("yes", _ini_name(config)) if config.getini("hardening_strict") else Given()


def profile_in(folder: str, name: str) -> str:
    """A profile's name as it is, or its file relative to `folder`."""
    is_file = name.endswith(".toml") or os.sep in name
    return os.path.join(folder, name) if is_file else name


def _flag(config: pytest.Config, name: str) -> object:
    given = config.getoption(name)
    return config.getini(name) if given is None else given
