"""Whether a file was built with other options than its build system would use now.

A reply of CMake is always newer than what was built before it, so its time proves nothing. Two things do:

- GCC records the options that change code with -g (see `checks/recorded.py`). An option that CMake gives now and that
  the record lacks was not given when the unit was compiled. The other way round proves nothing: compiler wrappers add
  options.
- CMake's Makefile generators rewrite `flags.make` and `link.txt` only when what stands in them changes
  (cmMakefileTargetGenerator.cxx, SetCopyIfDifferent), and make builds again what is older. A tree that was copied
  without its times, though, has times that mean nothing: there other files of CMake, which did not change, are younger
  as well.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..artifacts.build_systems.ninja_log import logged_steps
from ..artifacts.build_systems.output import Build
from ..artifacts.names import display
from ..elf.facts import Need, Unit
from ..elf.reader import ElfReader
from ..elf.source import Source
from ..errors import ArtifactError
from ..model import Artifact
from ..recipe import CompileCommand, Recipe
from .switches import Given, compiler_options

__all__ = ["why_stale"]

_SLACK = 2_000_000_000  # nanoseconds: how long it may take to copy a target's folder
_UNCHANGED = ("build.make", "DependInfo.cmake")
_FOLDER = re.compile(r"(?P<folder>.*/CMakeFiles/(?P<target>[^/]+)\.dir)/.*")
# switches of which GCC records every option that it is given
_RECORDED = (
    r"-O.*",
    r"-f(no-)?stack-protector(-\w+)?",
    r"-f(no-)?(PIC|pic|PIE|pie)",
    r"-fcf-protection=\w+",
    r"-f(no-)?stack-clash-protection",
    r"-ftrivial-auto-var-init=\w+",
)
_SAME = {"-O": "-O1", "-fcf-protection": "-fcf-protection=full"}


def why_stale(artifact: Artifact, recipe: Recipe, build: Build, base: str = "/") -> str:
    """Why a file is not what its build system would build now; empty where nothing proves that.

    Parameters
    ----------
    base: the folder that names of sources are relative to.
    """
    if build.of_any_file is not None:
        return ""  # which file holds which unit is not told
    by_cmake = build.system == "CMake"
    found = (by_cmake and (_contradicted(artifact, recipe, base) or _outrun(artifact, recipe, base))) or _outlived(
        artifact, recipe, build, base
    )
    return f"stale: {found}: build it again" if found else ""


class _Doubt(NamedTuple):
    """An option that CMake gives, and the one on record in its place; empty where none is."""

    given: Given
    recorded: str


def _contradicted(artifact: Artifact, recipe: Recipe, base: str) -> str:
    for command, unit in _pairs(artifact, recipe):
        doubt = _doubt(command, unit)
        if doubt is not None:
            had = (
                f"was compiled with {doubt.recorded}"
                if doubt.recorded
                else f"was compiled without {doubt.given.option}"
            )
            where = f" from {doubt.given.where}" if doubt.given.where else ""
            return f'{display(command.source, base)} {had} (DWARF), and CMake now has "{doubt.given.text}"{where}'
    return ""


def _pairs(artifact: Artifact, recipe: Recipe) -> Iterator[tuple[CompileCommand, Unit]]:
    """Units of GCC with their options on record, and the commands that they are compiled by now."""
    if any(argument.startswith("-flto") for argument in recipe.link_arguments):
        return  # there the link step compiles
    if recipe.type == "STATIC":
        for command in recipe.units:
            found = [unit for unit in _units(command.object) if _is_on_record(unit)] if command.object else []
            if len(found) == 1:
                yield command, found[0]
        return
    by_source: dict[str, list[CompileCommand]] = {}
    for command in recipe.units:
        by_source.setdefault(command.source, []).append(command)
    units = _units(artifact.path)
    named = Counter(os.path.normpath(unit.name) for unit in units)
    for unit in filter(_is_on_record, units):
        name = os.path.normpath(unit.name)
        if os.path.isabs(name) and len(by_source.get(name, ())) == named[name] == 1:
            yield by_source[name][0], unit


def _units(path: str) -> tuple[Unit, ...]:
    try:
        with Source.open(path) as source, ElfReader(source, os.path.basename(path), None) as reader:
            reader.extend(frozenset({Need.UNITS}))
            return reader.facts.units.found if reader.facts.units is not None else ()
    except ArtifactError:
        return ()  # whoever judges it says why


def _is_on_record(unit: Unit) -> bool:
    return unit.source == "DWARF" and unit.compiler == "gcc" and unit.is_c_family and unit.flags is not None


def _doubt(command: CompileCommand, unit: Unit) -> _Doubt | None:
    options = [one._replace(option=_SAME.get(one.option, one.option)) for one in compiler_options(command.fragments)]
    if any(one.option.startswith(("@", "-flto", "-fhardened")) for one in options):
        return None
    flags = [_SAME.get(flag, flag) for flag in unit.flags or ()]
    for pattern in _RECORDED:
        given = [one for one in options if re.fullmatch(pattern, one.option)]
        recorded = [flag for flag in flags if re.fullmatch(pattern, flag)]
        if given and given[-1].option not in recorded[-1:]:
            return _Doubt(given[-1], recorded[-1] if recorded else "")
    return None


def _outrun(artifact: Artifact, recipe: Recipe, base: str) -> str:
    """What make would build again, as what it is built with has changed since."""
    for command in recipe.units:
        match = _FOLDER.fullmatch(command.object)
        if match and _is_older(command.object, match["folder"], "flags.make"):
            return f"the options of {display(command.source, base)} have changed since it was compiled (flags.make)"
    for folder in _folders(recipe.units, recipe.target):
        if _is_older(artifact.path, folder, "link.txt"):
            return "the command that links it has changed since (link.txt)"
    return ""


def _outlived(artifact: Artifact, recipe: Recipe, build: Build, base: str) -> str:
    """The object that was compiled again since the file was made that it goes into."""
    steps = logged_steps(build.folder)
    own = steps.get(artifact.path)
    for command in recipe.units:
        step = steps.get(command.object)
        match = _FOLDER.fullmatch(command.object)
        if own is not None and step is not None:
            is_newer = 0 < own.time < step.time
        else:
            is_newer = match is not None and _is_older(artifact.path, match["folder"], command.object)
        if is_newer:
            return f"{display(command.object, base)} was compiled again since, and is not in it"
    return ""


def _folders(units: Iterable[CompileCommand], target: str) -> Iterator[str]:
    found = filter(None, (_FOLDER.fullmatch(unit.object) for unit in units))
    yield from dict.fromkeys(match["folder"] for match in found if match["target"] == target)


def _is_older(built: str, folder: str, name: str) -> bool:
    """Whether a file is older than one that decides how it is built, in a tree of which the times mean something."""
    try:
        time = os.stat(built).st_mtime_ns
        unchanged = max(os.stat(os.path.join(folder, other)).st_mtime_ns for other in _UNCHANGED)
        return unchanged < time and time + _SLACK < os.stat(os.path.join(folder, name)).st_mtime_ns
    except OSError:
        return False
