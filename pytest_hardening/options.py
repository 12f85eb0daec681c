"""Command line and ini options, and the one frozen object that they become."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

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
    picked: whether one of pytest's own arguments is a node id (`build/PROGRAM::bind-now`, `test_x.py::test_it`): then
        ids say what runs, and `paths` are not judged.
    profile: name or file of the profile, as the command line or the ini file gives it.
    checks: only these checks; empty for all of the profile.
    report: file to write the JSON document to, absolute, or None.
    strict: whether unknown fails, as the command line or the ini file gives it; the policy file may say otherwise.
    objects: whether object files found in folders are judged.
    debug_roots: folders in which the debug files of stripped files are looked for, absolute.
    compare: the build, or the report of it, that `paths` are compared with, absolute, or None.
    baseline: file of known failures as the command line or the ini file gives it, absolute.
    update_baseline: whether the baseline is rewritten.
    builds: build folders of which the targets are judged, absolute.
    targets: of these build folders only these targets; empty for all.
    allow_unbuilt: whether targets that were not built are left out.
    sources: where each of the other settings comes from, by field.
    idle: the options of the command line that say how to judge, in a session that is given nothing to judge.
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
    builds: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    allow_unbuilt: bool = False
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    idle: tuple[str, ...] = ()

    @property
    def values(self) -> Iterator[tuple[str, object, str]]:
        """Name, value and source of what is not part of the policy."""
        for name in ("paths", "builds", "checks", "report", "objects", "debug_roots"):
            if value := getattr(self, name):
                yield f"hardening_{_INI.get(name, name)}", value, self.sources[name]

    @property
    def active(self) -> bool:
        """Whether the session judges anything."""
        return bool(self.named or ((self.paths or self.builds) and not self.picked))


# where pytest looks for its settings, and what must stand there
_INI_FILES = {
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}
_MAGIC = (b"\x7fELF", b"!<arch>\n", b"!<thin>\n")
# options that say how to judge, and without anything to judge serve the marker and the fixture alone
_HOW_TO_JUDGE = ("profile", "checks", "strict", "objects", "debug_roots", "baseline")
_INI = {"builds": "build"}
_SPELLED = {"checks": "check", "debug_roots": "debug-root"}

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
        "--hardening-build",
        action="append",
        default=[],
        metavar="DIR",
        dest="hardening_builds",
        help="judge what the targets of this build folder (CMake, Meson, compile_commands.json) make (repeatable); "
        "nothing is run",
    )
    group.addoption(
        "--hardening-target",
        action="append",
        default=[],
        metavar="NAME",
        dest="hardening_targets",
        help="of the build folders judge only this target (repeatable)",
    )
    group.addoption(
        "--hardening-allow-unbuilt",
        action="store_true",
        default=False,
        help="leave out targets that were not built, instead of failing",
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
    group.addoption(
        "--hardening-build-log",
        action="append",
        default=[],
        metavar="FILE",
        dest="hardening_build_logs",
        help="judge the commands in this log of a build by the hardening that dpkg-buildflags asks for (repeatable)",
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
    parser.addini("hardening_build", "build folders to judge the targets of, relative to the ini file", type="paths")
    parser.addini("hardening_profile", "what is required: a built-in profile or a TOML file", default=None)
    parser.addini("hardening_checks", "require only these checks", type="args", default=[])
    parser.addini("hardening_report", "JSON file to write all verdicts to", default="")
    parser.addini("hardening_compare", "build or JSON report to compare with", default="")
    parser.addini("hardening_strict", "fail where a file does not tell", type="bool", default=None)
    parser.addini("hardening_objects", "also judge object files found in folders", type="bool", default=False)
    parser.addini(
        "hardening_debug_root", "folders with the debug files of stripped files, relative to the ini file", type="paths"
    )
    parser.addini("hardening_build_log", "logs of builds to judge, relative to the ini file", type="paths")
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
    builds = _builds(config, here)
    if "" in config.getoption("hardening_paths"):
        raise pytest.UsageError("--hardening needs the path of a file or folder: its value is empty")
    paths = [os.path.join(here, path) for path in config.getoption("hardening_paths")]
    if not paths:
        paths = [os.fspath(path) for path in config.getini("hardening_paths")]
    for path in config.getoption("hardening_paths"):
        _require_no_id(here, path)
    for argument in config.args:
        _require_a_name_for_pytest(here, argument)
    named = frozenset(path for path in _arguments(config, here) if os.path.isfile(path) and _is_artifact(path))
    picked = any("::" in argument for argument in config.args)
    if _compare(config, here) and config.getoption("hardening_update_baseline"):
        raise pytest.UsageError("--hardening-update-baseline goes without --hardening-compare: one of them judges")
    judges = bool(named or ((paths or builds) and not picked))
    if not judges:
        _require_nothing_to_write(config, picked=picked and bool(paths or builds))
    report = config.getoption("hardening_report")
    folder = here
    if report is None:
        report, folder = config.getini("hardening_report"), str(config.rootpath)
    return Settings(
        paths=tuple(paths),
        named=named,
        picked=picked,
        profile=_profile(config, here),
        checks=tuple(config.getoption("hardening_checks") or config.getini("hardening_checks")),
        report=os.path.join(folder, report) if report else None,
        strict=_strict(config),
        objects=bool(_flag(config, "hardening_objects")),
        debug_roots=tuple(_debug_roots(config, here)),
        compare=_compare(config, here),
        baseline=_baseline(config, here),
        update_baseline=bool(config.getoption("hardening_update_baseline")),
        builds=builds,
        targets=_targets(config, builds),
        allow_unbuilt=_allows_unbuilt(config),
        sources={
            "paths": _source(config, "hardening_paths", bool(paths)),
            "builds": _source(config, "hardening_builds", bool(builds)),
            "checks": _source(config, "hardening_checks", bool(config.getini("hardening_checks"))),
            "report": _source(config, "hardening_report", bool(report)),
            "objects": _source(config, "hardening_objects", bool(_switch(config, "hardening_objects"))),
            "debug_roots": _source(config, "hardening_debug_roots", bool(config.getini("hardening_debug_root"))),
        },
        idle=() if judges else tuple(_given_in_vain(config)),
    )


def _builds(config: pytest.Config, here: str) -> tuple[str, ...]:
    given = config.getoption("hardening_builds")
    if "" in given:
        raise pytest.UsageError("--hardening-build needs a build folder: its value is empty")
    if given:
        return tuple(os.path.abspath(os.path.join(here, folder)) for folder in given)
    return tuple(os.fspath(folder) for folder in config.getini("hardening_build"))


def _targets(config: pytest.Config, builds: tuple[str, ...]) -> tuple[str, ...]:
    targets = tuple(config.getoption("hardening_targets"))
    for name, given in (("--hardening-target", targets), ("--hardening-allow-unbuilt", _allows_unbuilt(config))):
        if given and not builds:
            raise pytest.UsageError(f"{name} needs --hardening-build DIR")
    return targets


def _allows_unbuilt(config: pytest.Config) -> bool:
    return bool(config.getoption("hardening_allow_unbuilt"))


def _require_no_id(here: str, path: str) -> None:
    file = path.partition("::")[0]
    if file != path and not os.path.lexists(os.path.join(here, path)) and os.path.exists(os.path.join(here, file)):
        folder = os.path.dirname(file) or "."
        raise pytest.UsageError(
            f"--hardening takes paths, not ids; to run one check: pytest --hardening {folder} {path}"
        )


def _require_a_name_for_pytest(here: str, argument: str) -> None:
    """pytest takes what stands in brackets for parameters, and `::` for the end of the name (ids have it escaped)."""
    name, _, check = argument.partition("::")
    name = name.replace(r":\x3a", "::")
    if ("[" in name or "::" in name) and _is_artifact(os.path.join(here, name)):
        narrowed = f" -k {check}" if check else ""
        raise pytest.UsageError(
            f"pytest takes no file with '[' or '::' in its name as an argument; write --hardening={shlex.quote(name)}"
            f"{narrowed}"
        )


def _require_nothing_to_write(config: pytest.Config, *, picked: bool) -> None:
    """What a session that judges nothing was asked to write would be empty."""
    why = "the ids among the arguments pick no file" if picked else "nothing is judged without it"
    for name, usage in (
        ("hardening_report", "--hardening-report FILE needs --hardening PATH"),
        ("hardening_compare", "--hardening-compare OLD needs --hardening NEW"),
        ("hardening_update_baseline", "--hardening-update-baseline needs --hardening PATH"),
    ):
        if config.getoption(name):
            raise pytest.UsageError(f"{usage}: {why}")


def _given_in_vain(config: pytest.Config) -> Iterator[str]:
    for name in _HOW_TO_JUDGE:
        if config.getoption(f"hardening_{name}"):
            yield f"--hardening-{_SPELLED.get(name, name)}"


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
    option = "--hardening=PATH" if config.getoption("hardening_paths") else "--hardening-build=DIR"
    if not config.getoption("hardening_paths") and not config.getoption("hardening_builds"):
        return
    if os.path.isfile(os.path.join(here, "hardening.toml")) and not os.path.samefile(here, config.rootpath):
        raise pytest.UsageError(
            f"hardening.toml of this folder would not be read, as pytest's root folder is {config.rootpath}: "
            f"write {option}, with '=', or give --rootdir"
        )
    for folder in _above(config.rootpath):
        if os.path.isfile(folder / "hardening.toml"):
            raise pytest.UsageError(
                f"{folder}/hardening.toml would not be read, as pytest's root folder is {config.rootpath}: put a "
                "pytest.ini beside it, or give --rootdir"
            )
    if config.inipath is not None:
        return
    for name, mark in _INI_FILES.items():
        path = os.path.join(here, name)
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as stream:
                if mark in stream.read():
                    raise pytest.UsageError(f"pytest did not read {name}: write {option}, with '=', for this path")


def _above(folder: Path) -> Iterator[Path]:
    """The folders above one, no further than that of its repository."""
    for inner, outer in pairwise((folder, *folder.parents)):
        if (inner / ".git").exists():
            return
        yield outer


def _arguments(config: pytest.Config, here: str) -> Iterator[str]:
    """The paths among pytest's own arguments, those of ids too."""
    for argument in config.args:
        yield os.path.abspath(os.path.join(here, argument.partition("::")[0]))


def _is_artifact(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            head = stream.read(8)
    except OSError:
        return False
    if head.startswith(_MAGIC):
        return True
    from .artifacts.packages.contents import is_called_package

    if not is_called_package(path):
        return False
    from .artifacts.discovery import leads_to_package

    return leads_to_package(path)


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
    return Given("yes", _ini_name(config)) if _switch(config, "hardening_strict") else Given()


def profile_in(folder: str, name: str) -> str:
    """A profile's name as it is, or its file relative to `folder`."""
    from .policy.library import is_file_name

    return os.path.join(folder, name) if is_file_name(name) else name


def _switch(config: pytest.Config, name: str) -> object:
    """A yes or no of the ini file."""
    try:
        return config.getini(name)
    except (ValueError, pytest.UsageError) as error:  # pytest's own does not say of which setting
        raise pytest.UsageError(f"{name} in {_ini_name(config)}: {error}") from None


def _flag(config: pytest.Config, name: str) -> object:
    given = config.getoption(name)
    return _switch(config, name) if given is None else given
