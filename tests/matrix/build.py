"""From a scenario to artifacts, each with the flags that made it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .plan import Scenario
from .probes import CompileTruth, LinkTruth, compile_truth, link_truth
from .sources import UNITS, assembly, source
from .store import Store
from .toolchains import Toolchain

__all__ = ["Artifact", "BuiltUnit", "build"]


@dataclass(frozen=True, slots=True)
class BuiltUnit:
    """A unit and what is in effect in it; `truth` is None for assembly."""

    file: str
    compiler: Toolchain
    functions: tuple[str, ...]
    path: Path
    command: str
    truth: CompileTruth | None
    stack_note: bool = True
    writable_code: bool = False

    @property
    def object(self) -> str:
        return Path(self.file).stem + ".o"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file to be judged.

    Parameters
    ----------
    kind: "object", "archive", "library" or "program".
    units: all that is in it, but for the toolchain's own start files and libraries.
    link: None for objects and archives.
    commands: what made it, as one would type it.
    """

    title: str
    path: Path
    kind: str
    toolchain: Toolchain
    units: tuple[BuiltUnit, ...]
    link: LinkTruth | None
    debug: bool
    stripped: bool
    commands: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def compiled(self) -> int:
        return sum(unit.truth is not None for unit in self.units)

    @property
    def is_linked(self) -> bool:
        return self.link is not None

    @property
    def is_static(self) -> bool:
        return self.link is not None and self.link.static


def build(store: Store, scenario: Scenario) -> Iterator[Artifact]:
    """Build what the scenario asks for."""
    units = {letter: _compile(store, scenario, letter) for letter in _letters(scenario)}
    extra = _assemble(store, scenario)
    affected = [units[letter] for letter in units if letter in scenario.affected] or list(units.values())[:1]
    for unit in [*affected[:: 3 if scenario.scope == "all" else 1], *extra]:
        yield _artifact(scenario, unit.object, unit.path, "object", (unit,), None, (unit.command,))
    archived = extra if scenario.assembly is not None and scenario.assembly.archived else []
    beside = [] if archived else extra
    for product in scenario.products:
        name, pair, rest = ("AB.a", "AB", "CD") if product == "library" else ("EF.a", "EF", "GH")
        members = [units[letter] for letter in pair] + archived
        archive, command = _archive(store, scenario.toolchain, name, members)
        commands = (*(unit.command for unit in members), command)
        if archived or scenario.scope in ("all", "archive") or scenario.turn % 3 == 0:
            yield _artifact(scenario, name, archive, "archive", tuple(members), None, commands)
        direct = [units[letter] for letter in rest] + beside
        yield from _link(store, scenario, product, direct, members, (name, archive), commands)


def _letters(scenario: Scenario) -> str:
    if not scenario.products:
        return scenario.affected
    return "".join("ABCD" if product == "library" else "EFGH" for product in scenario.products)


def _compile(store: Store, scenario: Scenario, letter: str) -> BuiltUnit:
    toolchain, unit = scenario.toolchain, UNITS[letter]
    features = {**scenario.flags, **(scenario.off if letter in scenario.affected else {})}
    if letter in scenario.affected and scenario.other is not None:
        toolchain, features = scenario.other, dict(scenario.off)
    if toolchain.family != "tcc":
        features.setdefault("position", ("-fPIC",) if letter in "ABCD" else ("-fPIE",))
    flags = tuple(word for words in features.values() for word in words)
    file = letter + toolchain.suffix
    argv = (*toolchain.command, *flags, "-c", file, "-o", f"{letter}.o")
    path = store.product(f"{letter}.o", (), ((file, source(unit, toolchain.cplusplus)),), argv)
    truth = compile_truth(store, toolchain, flags)
    note = toolchain.family != "tcc"  # it writes no .note.GNU-stack
    return BuiltUnit(file, toolchain, unit.functions, path, shlex.join(argv), truth, note)


def _assemble(store: Store, scenario: Scenario) -> list[BuiltUnit]:
    unit = scenario.assembly
    if unit is None:
        return []
    file, name = f"{unit.name}.S", f"{unit.name}.o"
    argv = (*scenario.toolchain.command, "-c", file, "-o", name)
    path = store.product(name, (), ((file, assembly(unit.name, unit.note, unit.writable)),), argv)
    return [BuiltUnit(file, scenario.toolchain, (unit.name,), path, shlex.join(argv), None, unit.note, unit.writable)]


def _archive(store: Store, toolchain: Toolchain, name: str, members: Sequence[BuiltUnit]) -> tuple[Path, str]:
    argv = (toolchain.archiver, "rcsD", name, *(unit.object for unit in members))
    return store.product(name, [(unit.object, unit.path) for unit in members], (), argv), shlex.join(argv)


def _link(
    store: Store,
    scenario: Scenario,
    product: str,
    direct: Sequence[BuiltUnit],
    members: Sequence[BuiltUnit],
    archive: tuple[str, Path],
    commands: tuple[str, ...],
) -> Iterator[Artifact]:
    toolchain = scenario.toolchain
    shared = product == "library"
    name = "libSHARED.so" if shared else "PROGRAM"
    features = {**scenario.link, "kind": ("-shared",)} if shared else scenario.link
    if toolchain.lto:
        features = {**features, "lto": (*scenario.flags["lto"], *scenario.flags["optimize"])}
    flags = (*toolchain.link_flags, *(word for words in features.values() for word in words))
    # The whole archive, so that assembly which nothing calls is in the product as well.
    whole = ("-Wl,--whole-archive", archive[0], "-Wl,--no-whole-archive")
    files = (*(unit.object for unit in direct), *((archive[0],) if toolchain.linker == "tcc" else whole))
    argv = (*toolchain.command, *flags, "-o", name, *files)
    path = store.product(name, [*((unit.object, unit.path) for unit in direct), archive], (), argv)
    commands = (*commands, *(unit.command for unit in direct), shlex.join(argv))
    units = (*direct, *members)
    truth = link_truth(store, toolchain, flags)
    yield _artifact(scenario, name, path, product, units, truth, commands)
    strip = (toolchain.strip, "-o", name, "linked")
    stripped = store.product(name, [("linked", path)], (), strip)
    yield _artifact(scenario, name, stripped, product, units, truth, (*commands, f"strip {name}"), stripped=True)


def _artifact(
    scenario: Scenario,
    name: str,
    path: Path,
    kind: str,
    units: tuple[BuiltUnit, ...],
    link: LinkTruth | None,
    commands: tuple[str, ...],
    stripped: bool = False,
) -> Artifact:
    suffix = " stripped" if stripped else ""
    toolchain = scenario.toolchain
    return Artifact(
        title=f"{scenario.title}/{name}{suffix}",
        path=path,
        kind=kind,
        toolchain=toolchain,
        units=units,
        link=link,
        debug=scenario.debug and not stripped,
        stripped=stripped or (toolchain.linker == "tcc" and link is not None and not scenario.debug),
        commands=commands,
        parameters=scenario.parameters,
    )
