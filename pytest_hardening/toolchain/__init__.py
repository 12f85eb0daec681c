"""Compilers and toolchains: finding and identifying them, compiling with exactly the flags that are given, keeping what
was built, and saying which mitigations a toolchain has.

Nothing here knows pytest; `pytest_hardening.fixtures` puts it into fixtures. All paths that the builds return lie in
the cache and must be treated as read-only.

What judges files (`Posture` and its neighbours) is imported when it is first used (PEP 562): a session that only
compiles needs no check.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_hardening.toolchain.build import Builder, Kind
from pytest_hardening.toolchain.cache import BuildCache
from pytest_hardening.toolchain.commands import BuildLog, BuildRecord, CommandResult, execute, run
from pytest_hardening.toolchain.compilers import Compiler, Family, Language, find_archiver, find_compiler
from pytest_hardening.toolchain.environment import clean_environment
from pytest_hardening.toolchain.packages import debian_package, find_tool
from pytest_hardening.toolchain.project import Project, copy_project, shipped_sample_project
from pytest_hardening.toolchain.selection import Selection, Wanted, select_toolchains, toolchains_on_path
from pytest_hardening.toolchain.sources import Source, Sources
from pytest_hardening.toolchain.toolchains import Toolchain, find_toolchain

if TYPE_CHECKING:
    from pytest_hardening.toolchain.bench import Bench, Built
    from pytest_hardening.toolchain.posture import AtRunTime, Posture, Prober, posture_of
    from pytest_hardening.toolchain.probes import PROBES, Cell, FlagProbe, Probe, State
    from pytest_hardening.toolchain.snapshot import Change, Effect, load_postures, posture_changes, save_postures

__all__ = [
    "PROBES",
    "AtRunTime",
    "Bench",
    "BuildCache",
    "BuildLog",
    "BuildRecord",
    "Builder",
    "Built",
    "Cell",
    "Change",
    "CommandResult",
    "Compiler",
    "Effect",
    "Family",
    "FlagProbe",
    "Kind",
    "Language",
    "Posture",
    "Probe",
    "Prober",
    "Project",
    "Selection",
    "Source",
    "Sources",
    "State",
    "Toolchain",
    "Wanted",
    "clean_environment",
    "copy_project",
    "debian_package",
    "execute",
    "find_archiver",
    "find_compiler",
    "find_tool",
    "find_toolchain",
    "load_postures",
    "posture_changes",
    "posture_of",
    "run",
    "save_postures",
    "select_toolchains",
    "shipped_sample_project",
    "toolchains_on_path",
]

_JUDGING = {
    **dict.fromkeys(("Bench", "Built"), "bench"),
    **dict.fromkeys(("AtRunTime", "Posture", "Prober", "posture_of"), "posture"),
    **dict.fromkeys(("PROBES", "Cell", "FlagProbe", "Probe", "State"), "probes"),
    **dict.fromkeys(("Change", "Effect", "load_postures", "posture_changes", "save_postures"), "snapshot"),
}


def __getattr__(name: str) -> Any:
    if name not in _JUDGING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_JUDGING[name]}", __name__), name)
