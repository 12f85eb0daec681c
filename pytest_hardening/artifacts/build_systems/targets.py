"""From build folders to what is judged: the files of their targets, and those that ought to be there and are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ...elf.image import printable
from ...errors import ArtifactError
from ...model import Artifact
from ...recipe import Recipe
from ..discovery import artifact_at
from ..names import display
from .build import read_build
from .output import Build, Output

__all__ = ["Target", "Targets", "find_targets"]


@dataclass(frozen=True, slots=True)
class Target:
    """A file that a target of a build has made.

    Parameters
    ----------
    name: what its items are called: the target's name, with configuration and folder before it where names are equal.
    """

    name: str
    artifact: Artifact
    build: Build


@dataclass(frozen=True, slots=True)
class Targets:
    """All targets of some build folders.

    Parameters
    ----------
    found: by the file that they have made.
    problems: (name, reason) of targets that were not built and of folders that cannot be read.
    missing: the shown path and the target of those that were not built, by name.
    left_out: how many targets were not built and are left out, by reason.
    outputs: the shown name of the file, and the target, of whatever the builds make, left out or not.
    is_complete: whether all of the builds could be read.
    modules: the shown names of the files that are made to be loaded with dlopen, whether they are judged or not.
    """

    found: Mapping[Artifact, Target] = field(default_factory=dict)
    problems: tuple[tuple[str, str], ...] = ()
    missing: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    outputs: tuple[tuple[str, str], ...] = ()
    is_complete: bool = True
    modules: frozenset[str] = frozenset()

    @property
    def names(self) -> dict[str, str]:
        """The names of targets, as their build systems have them, by the shown names of their files."""
        recipes = ((artifact.display, artifact.recipe) for artifact in self.found)
        return {name: recipe.target for name, recipe in recipes if recipe is not None}


def find_targets(
    folders: Iterable[str], base: str, *, only: Collection[str] = (), allow_unbuilt: bool = False
) -> Targets:
    """The targets of build folders; nothing is run, and of the files no more than their names is read.

    Parameters
    ----------
    folders: build folders, absolute.
    base: the folder that shown names are relative to.
    only: names of targets, `SHARED` or `Debug/SHARED`: leave out all others; one that is nowhere is a problem.
    allow_unbuilt: leave out what was not built.
    """
    base = os.path.realpath(base)
    builds: dict[str, Build] = {}
    problems: list[tuple[str, str]] = []
    for folder in folders:
        real = os.path.realpath(folder)
        if real in builds:
            continue
        try:
            builds[real] = read_build(folder)
        except ArtifactError as error:
            problems.append((display(os.path.abspath(folder), base), str(error)))
    is_complete = not problems and not any(build.problems for build in builds.values())
    found: dict[Artifact, Target] = {}
    missing: dict[str, tuple[str, str]] = {}
    left_out: Counter[str] = Counter()
    modules: set[str] = set()
    wanted = set(only)
    recipes = _recipes(builds.values())
    for build, name, output in _named(builds.values(), base):
        recipe = recipes[output.path]
        if recipe.type == "MODULE" and os.path.lexists(output.path):
            modules.add(artifact_at(output.path, base).display)
        names = {name, output.name, output.recipe.target}
        if only and names.isdisjoint(only):
            continue
        wanted -= names
        if not os.path.lexists(output.path):
            if not output.is_usual:
                left_out["targets that were not built and that `all` does not build"] += 1
            elif allow_unbuilt:
                left_out["targets that were not built"] += 1
            else:
                path = display(output.path, base)
                missing[name] = (path, printable(output.recipe.target))
                problems.append((name, _not_built(path)))
            continue
        artifact = replace(artifact_at(output.path, base), recipe=recipe)
        found.setdefault(artifact, Target(name, artifact, build))
    if builds:
        problems += [(printable(name), "no such target in the build") for name in sorted(wanted)]
    problems += [
        (f"{display(build.folder, base)}: {printable(name)}", reason)
        for build in builds.values()
        for name, reason in build.problems
    ]
    if not found and not problems:
        problems += [(display(folder, base), "none of its targets was built") for folder in builds]
    outputs = tuple(
        (display(os.path.realpath(output.path), base), output.recipe.target)
        for build in builds.values()
        for output in build.outputs
    )
    return Targets(found, tuple(problems), missing, dict(left_out), outputs, is_complete, frozenset(modules))


def _recipes(builds: Iterable[Build]) -> dict[str, Recipe]:
    """How each file is made; of one that several configurations or targets make, by the units of all: which of them
    made it last is not told.
    """
    found: dict[str, Recipe] = {}
    for build in builds:
        for output in build.outputs:
            one, other = found.setdefault(output.path, output.recipe), output.recipe
            if one is not other:
                units = tuple(dict.fromkeys((*one.units, *other.units)))
                from_archives = tuple(dict.fromkeys((*one.from_archives, *other.from_archives)))
                foreign = tuple(dict.fromkeys((*one.foreign, *other.foreign)))
                found[output.path] = replace(one, units=units, from_archives=from_archives, foreign=foreign)
    return found


def _not_built(path: str) -> str:
    return f"not built: {path} does not exist; build it, or leave out what is not built: --hardening-allow-unbuilt"


def _named(builds: Iterable[Build], base: str) -> Iterator[tuple[Build, str, Output]]:
    """Every output with a name that no other one has."""
    listed = [(build, output) for build in builds for output in build.outputs]
    is_one = len({build.folder for build, _ in listed}) == 1
    named: list[tuple[Build, str, Output]] = []
    counts = Counter(output.name for _, output in listed)
    for build, output in listed:
        name = printable(output.name)
        if counts[output.name] > 1 or not is_one:
            name = f"{display(build.folder, base)}/{name}"
        named.append((build, name, output))
    again = Counter(name for _, name, _ in named)
    seen: Counter[str] = Counter()
    for build, name, output in named:
        seen[name] += 1
        yield build, name if again[name] == 1 else f"{name} #{seen[name]}", output
