"""Whether what a toolchain has works when programs run: the posture's mitigations and the offences that they stop."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ToolchainError
from ..toolchain import Bench, Cell
from ..toolchain.probes import GOES_THROUGH, WORKS
from .behaviour import Ending, run_offence
from .offences import OFFENCES

__all__ = ["at_run_time"]

# the mitigations of a posture that stop an offence; of format-security the probe itself is the offence
_STOPPED_BY: Mapping[str, tuple[str, ...]] = {
    "pie": ("load-address",),
    "full-relro": ("got-write",),
    "nx-stack": ("stack-execution",),
    "stack-protector": ("stack-smash",),
    "stack-clash": ("stack-clash",),
    "fortify-1": ("fortify-overflow",),
    "fortify-2": ("fortify-overflow", "fortify-format"),
    "fortify-3": ("fortify-overflow", "fortify-format"),
    "auto-var-init": ("uninitialised",),
}


def at_run_time(bench: Bench, cell: Cell) -> str:
    """Whether the offences that a mitigation stops are stopped, in programs that are built as the cell says.

    Returns `WORKS`, `GOES_THROUGH`, or nothing: where no offence is known, where a program does not compile or ends in
    another way, and where no emulator runs it.
    """
    if bench.toolchain.compiler.language == "c++":  # the offences are written in C
        return ""
    endings = {_ending(bench, cell, name) for name in _STOPPED_BY.get(cell.mitigation, ())}
    if Ending.WENT_THROUGH in endings:
        return GOES_THROUGH
    return WORKS if endings == {Ending.STOPPED} else ""


def _ending(bench: Bench, cell: Cell, name: str) -> Ending:
    offence = OFFENCES[name]
    # what the program needs with the mitigation and without, as -pthread
    common = [flag for flag in offence.flags if flag in offence.control]
    (source,) = offence.source.values()
    built = bench.build((*common, *cell.flags), source, werror=False)
    if built.path is None:
        return Ending.UNKNOWN
    try:
        ending, _ = run_offence(str(built.path), offence)
    except ToolchainError:
        return Ending.UNKNOWN
    return ending
