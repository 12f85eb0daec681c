"""Whether a build system's commands are those that were run: where nothing but a command tells how a unit was compiled,
that has to be shown.

Ninja logs a hash of each command that it has run. CMake's Makefile generators touch `flags.make` only where it changes.
Else what is younger than the commands was made by them. What is neither may have been made by others, and its verdict
becomes unknown. Databases that no such generator wrote hold, as Bear's do, what was run.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..artifacts.archive import is_archive, members
from ..artifacts.build_systems.ninja_log import Logged, logged_steps
from ..artifacts.build_systems.output import Build
from ..artifacts.names import display
from ..elf.facts import Need
from ..elf.reader import ElfReader
from ..elf.source import Source
from ..errors import ArtifactError
from ..model import Artifact, ArtifactReport, OnUnknown, Outcome, Verdict
from ..recipe import CompileCommand, words_of

__all__ = ["why_unproven", "without_proof"]

_SLACK = 2_000_000_000  # nanoseconds between what a generator writes first and last
_LANGUAGES = ("", "C", "CXX", "OBJC", "OBJCXX")
_WRITTEN = {"CMake": ".cmake/api/v1/reply", "Meson": "meson-info/intro-targets.json"}
_DATABASE = "compile_commands.json"
_REMEDY = "build again"


def why_unproven(artifact: Artifact, build: Build, base: str = "/") -> str:
    """Why the commands that a build system has now may not be those by which a file was made; empty where they are.

    Parameters
    ----------
    base: the folder that names of files are relative to.
    """
    recipe = artifact.recipe
    if recipe is None:
        return ""
    units = recipe.units if build.of_any_file is None else _of(artifact, recipe.units)
    judge = _Judge(build)
    for command in units:
        if command.language in _LANGUAGES:
            built = command.object if command.object and os.path.isfile(command.object) else artifact.path
            if not judge.was_run(command, built):
                return f"{display(built, base)} was made before its command was written: {_REMEDY}"
            if judge.is_later(built, artifact.path):
                return f"{display(built, base)} is newer than what it goes into: {_REMEDY}"
    return ""


def without_proof(
    entries: Iterable[ArtifactReport], others: Iterable[ArtifactReport], why: str
) -> Iterator[ArtifactReport]:
    """Reports in which nothing passes by its command alone.

    Parameters
    ----------
    entries: the members of an archive, and last the file. others: the same, judged without commands.
    """
    on_unknown: dict[str, OnUnknown] = {}
    for entry, other in zip(entries, others, strict=True):
        told = {verdict.check: verdict for verdict in other.verdicts}
        verdicts = tuple(_doubted(one, told.get(one.check), why) for one in entry.verdicts)
        changed = [
            one.check for one, old in zip(verdicts, entry.verdicts, strict=True) if one.outcome is not old.outcome
        ]
        on_unknown.update({check: entry.unknown[check] for check in changed if check in entry.unknown})
        missing = {check: on_unknown[check] for check in changed if check in on_unknown}
        yield replace(entry, verdicts=verdicts, unknown={**missing, **entry.unknown})


def _doubted(verdict: Verdict, other: Verdict | None, why: str) -> Verdict:
    if other is not None and other.outcome is Outcome.PASS:
        return verdict
    if verdict.outcome is Outcome.PASS:
        return replace(verdict, outcome=Outcome.UNKNOWN, summary=why, remedy=_REMEDY)
    if verdict.rest is Outcome.PASS and (other is None or other.rest is not Outcome.PASS):
        return replace(verdict, rest=Outcome.UNKNOWN)
    return verdict


def _of(artifact: Artifact, units: tuple[CompileCommand, ...]) -> Iterator[CompileCommand]:
    """Of the commands of a whole build those that may be about a file: all where it names no unit."""
    try:
        with Source.open(artifact.path) as source:
            if is_archive(source):
                objects = {member.name for member in members(source, artifact.path)}
                yield from (one for one in units if not one.object or os.path.basename(one.object) in objects)
                return
            with ElfReader(source, artifact.file_name, None) as reader:
                reader.extend(frozenset({Need.UNITS}))
                found = reader.facts.units.found if reader.facts.units is not None else ()
    except ArtifactError:
        return  # whoever judges it says why
    names = {os.path.basename(unit.name) for unit in found}
    yield from (one for one in units if not names or os.path.basename(one.source) in names)


class _Judge:
    """Knows what a build folder holds beside the commands."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._folders: dict[str, str] = {}
        self._logs: dict[str, Mapping[str, Logged]] = {}
        self._is_database = build.of_any_file is not None

    def was_run(self, command: CompileCommand, built: str) -> bool:
        """Whether a command made a file, or whether nothing is known that speaks against it."""
        time = _time(built)
        if ninja := self._ninja(os.path.dirname(built)):
            written = os.path.join(ninja, "build.ninja")
            if self._is_before(written, time):
                return True
            if ninja not in self._logs:
                self._logs[ninja] = logged_steps(os.path.realpath(ninja))
            step = self._logs[ninja].get(os.path.realpath(built))
            return step is not None and bool(step.command) and (not self._is_database or _holds(step.command, command))
        if os.path.isfile(written := _flags(built)):
            return self._is_before(written, time)
        if self._is_database:
            return True
        return self._is_before(os.path.join(self._build.folder, _WRITTEN.get(self._build.system, "")), time)

    def is_later(self, built: str, path: str) -> bool:
        """Whether an object is newer than the file that it goes into. What Ninja made, its log tells better."""
        if self._is_database or self._ninja(os.path.dirname(built)):
            return False
        return _time(path) < _time(built)

    def _is_before(self, written: str, time: int) -> bool:
        """Whether commands were written before a file was made, and a database of them not before that."""
        if self._is_database and _time(os.path.join(self._build.folder, _DATABASE)) + _SLACK < _time(written):
            return False
        return _time(written) <= time

    def _ninja(self, folder: str) -> str:
        """The folder that a file is built from by Ninja; empty where it is not."""
        if folder not in self._folders:
            if os.path.isfile(os.path.join(folder, "build.ninja")):
                self._folders[folder] = folder
            else:
                above = os.path.dirname(folder)
                self._folders[folder] = "" if above == folder else self._ninja(above)
        return self._folders[folder]


def _flags(built: str) -> str:
    """Where CMake's Makefile generators put the options of an object; empty where that is not known."""
    before, mark, after = built.rpartition("/CMakeFiles/")
    return os.path.join(before + mark + after.partition("/")[0], "flags.make") if mark else ""


def _time(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _holds(text: str, command: CompileCommand) -> bool:
    """Whether a command line has all options of a command."""
    try:
        return not Counter(command.arguments) - Counter(words_of(text))
    except ValueError:
        return False
