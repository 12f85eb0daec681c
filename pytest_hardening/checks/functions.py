"""How checks name a function: with its unit where that is known, by its address range where the file is stripped; and
what helps where the functions cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..elf.facts import FunctionFinding, Unit, Units

__all__ = ["UNSTRIPPED", "culprit_of", "culprits_of", "last_option", "place_of", "units_named", "way_to_see"]

#: What helps where `strip` took away what would tell.
UNSTRIPPED = "judge it before it is stripped"
_MARKS = "in assembly, mark each function with .type NAME,%function and .size"
# by the beginnings of the reasons that elf/code gives (StackUse.incomplete, Calls.incomplete)
_WAYS = {
    "static and stripped": UNSTRIPPED,
    "static: only functions": "compile every unit with -g",
    "no symbol tells where": _MARKS,
    "neither symbols nor unwind tables": f"{UNSTRIPPED}; {_MARKS}",
    "unwind tables of Arm": UNSTRIPPED,
    "it holds code of": f"compile its units of C with -g, and {UNSTRIPPED}",
}


def culprit_of(finding: FunctionFinding) -> str:
    """`F.c: copy()`, `copy()` or `0x1149-0x11a0`."""
    function = f"{finding.function}()" if finding.function else _range(finding)
    return f"{finding.unit}: {function}" if finding.unit else function


def culprits_of(findings: Iterable[FunctionFinding]) -> tuple[str, ...]:
    """Each culprit once, in order."""
    return tuple(dict.fromkeys(map(culprit_of, findings)))


def place_of(finding: FunctionFinding) -> str:
    """`copy() of F.c`, `copy()` or `the function at 0x1149-0x11a0`, for a sentence."""
    function = f"{finding.function}()" if finding.function else f"the function at {_range(finding)}"
    return f"{function} of {finding.unit}" if finding.unit else function


def way_to_see(incomplete: str) -> str:
    """How to make visible what could not be looked at; empty where nothing helps.

    Parameters
    ----------
    incomplete: why not all code could be looked at; see `StackUse` and `Calls`.
    """
    return "; ".join(way for reason, way in _WAYS.items() if reason in incomplete)


def _range(finding: FunctionFinding) -> str:
    return f"{finding.address:#x}-{finding.address + finding.size:#x}"


def last_option(unit: Unit, options: Iterable[str]) -> str | None:
    """The last of some options in a unit's record: it wins. Empty where none was given, None without record."""
    if unit.flags is None:
        return None
    wanted = frozenset(options)
    return next((flag for flag in reversed(unit.flags) if flag in wanted), "")


def units_named(units: Units | None, names: Iterable[str]) -> tuple[Unit, ...]:
    """The units of some names, in the file's order."""
    wanted = frozenset(names)
    return tuple(unit for unit in (units.found if units is not None else ()) if unit.name in wanted)
