"""The posture of a toolchain: what it makes of each mitigation, found out by building and judging programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import methodcaller
from typing import Any

from pytest_hardening.errors import BuildError, HardeningError, ToolchainError
from pytest_hardening.toolchain.bench import Bench
from pytest_hardening.toolchain.cache import BuildCache
from pytest_hardening.toolchain.probes import PROBES, Cell, Probe, State
from pytest_hardening.toolchain.toolchains import Toolchain

__all__ = ["AtRunTime", "Posture", "Prober", "posture_of"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

#: Says whether a mitigation works when programs run that are built as the cell says: `WORKS`, `GOES_THROUGH`, or
#: nothing; it is given where to build them.
AtRunTime = Callable[[Bench, Cell], str]

# Compilers run side by side. More would only wait for each other on the machines that tests run on.
_SIDE_BY_SIDE = 2


@dataclass(frozen=True, slots=True)
class Posture:
    """What one toolchain makes of each mitigation.

    - `toolchain`: what it is: the JSON form of a `Toolchain`.
    - `cells`: by mitigation.
    """

    toolchain: Mapping[str, Any]
    cells: Mapping[str, Cell]

    @property
    def id(self) -> str:
        """The toolchain's id."""
        return str(self.toolchain["id"])

    def to_json(self) -> dict[str, Any]:
        return {"toolchain": dict(self.toolchain), "mitigations": [cell.to_json() for cell in self.cells.values()]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Posture:
        """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        cells = map(Cell.from_json, data["mitigations"])
        toolchain = data["toolchain"]
        if not isinstance(toolchain, Mapping) or not isinstance(toolchain["id"], str):
            raise TypeError("a toolchain without id")
        return cls(toolchain, {cell.mitigation: cell for cell in cells})


class Prober:
    """Asks one toolchain, each probe once and no more than is asked for.

    - `bench`: where it builds.
    """

    def __init__(
        self,
        toolchain: Toolchain,
        cache: BuildCache,
        probes: Iterable[Probe] = PROBES,
        at_run_time: AtRunTime | None = None,
    ) -> None:
        self.toolchain = toolchain
        self.bench = Bench(toolchain, cache)
        self.probes = {probe.name: probe for probe in probes}
        self._at_run_time = at_run_time
        self._cells: dict[str, Cell] = {}

    def cell(self, name: str) -> Cell:
        """What the toolchain makes of one mitigation.

        Raises `ToolchainError` when it does not compile the probe at all, `BuildError` when it was killed or hangs.
        """
        if name not in self._cells:
            cell = self.probes[name].run(self.bench)
            if self._at_run_time is not None and cell.state is not State.UNAVAILABLE:
                cell = replace(cell, at_run_time=self._at_run_time(self.bench, cell))
            self._cells[name] = cell
        return self._cells[name]

    def prepare(self, names: Iterable[str]) -> None:
        """Find out several at once, side by side; what goes wrong is raised when the single one is asked for."""
        missing = [name for name in names if name not in self._cells]
        if not missing:
            return
        first, *others = missing
        self._try(first)  # all others need its default build, too
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            list(pool.map(self._try, others))

    def _try(self, name: str) -> None:
        try:
            self.cell(name)
        except (ToolchainError, BuildError):
            return

    def posture(self) -> Posture:
        """All of it."""
        self.prepare(self.probes)
        return Posture(self.toolchain.to_json(), {name: self.cell(name) for name in self.probes})


def posture_of(
    toolchain: Toolchain,
    cache: BuildCache,
    probes: Iterable[Probe] = PROBES,
    at_run_time: AtRunTime | None = None,
) -> Posture:
    """Find out what a toolchain makes of each mitigation.

    - `cache`: where the programs are kept; the next time nothing is built that is there.
    - `probes`: what to ask; `(*PROBES, own)` adds one.
    - `at_run_time`: a function that says whether a mitigation works when the program runs.

    Raises `ToolchainError` when the toolchain does not compile the probe, `BuildError` when it was killed or hangs.
    """
    return Prober(toolchain, cache, probes, at_run_time).posture()
