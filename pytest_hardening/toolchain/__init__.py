"""Compilers: finding and identifying them, compiling with exactly the flags that are given, keeping what was built.

Nothing here knows pytest; `pytest_hardening.fixtures` puts it into fixtures. All paths that the builds return lie in
the cache and must be treated as read-only.
"""

from __future__ import annotations

from pytest_hardening.toolchain.build import Builder, Kind
from pytest_hardening.toolchain.cache import BuildCache
from pytest_hardening.toolchain.commands import BuildLog, BuildRecord, CommandResult, execute, run
from pytest_hardening.toolchain.compilers import Compiler, Family, Language, find_archiver, find_compiler
from pytest_hardening.toolchain.environment import clean_environment
from pytest_hardening.toolchain.packages import debian_package, find_tool
from pytest_hardening.toolchain.project import Project, copy_project, shipped_sample_project
from pytest_hardening.toolchain.sources import Source, Sources

__all__ = [
    "BuildCache",
    "BuildLog",
    "BuildRecord",
    "Builder",
    "CommandResult",
    "Compiler",
    "Family",
    "Kind",
    "Language",
    "Project",
    "Source",
    "Sources",
    "clean_environment",
    "copy_project",
    "debian_package",
    "execute",
    "find_archiver",
    "find_compiler",
    "find_tool",
    "run",
    "shipped_sample_project",
]
