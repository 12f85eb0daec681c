"""How checks name what falls short, and how such a name is read again: a function with its unit where that is known, by
its address range where the file is stripped; and what helps where the functions cannot be seen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from ..elf.facts import FunctionFinding, Unit, Units

__all__ = [
    "UNSTRIPPED",
    "Named",
    "culprit_of",
    "culprits_of",
    "each_once",
    "entry_culprit",
    "last_option",
    "parsed",
    "place_of",
    "source_function",
    "units_named",
    "way_to_see",
]

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

_RANGE = re.compile(r"0x[0-9a-f]+-0x[0-9a-f]+")
_ENTRY = re.compile(r"\w+ (?P<quote>['\"])(?P<value>.*)(?P=quote)")
_LIBRARY = re.compile(r".*/[^/]*\.so[.\d]*")
# pieces and copies that GCC (ipa-split.cc, ipa-sra.cc, ipa-cp.cc, bb-reorder.cc, symtab.cc) and LLVM (HotColdSplitting,
# FunctionSpecialization) make of one function
_PIECE = re.compile(r"\.(?:part|isra|constprop|cold|specialized|localalias)(?:\.\d+)*(?=\.|$)")
# what tells functions of one name apart: GCC's lto-partition.cc and nested functions, LLVM's ThinLTO and
# -funique-internal-linkage-names
_RENAMED = re.compile(r"(?:\.(?:lto_priv|llvm|__uniq)(?:\.\d+)*|\.\d+)+$")


class Named(NamedTuple):
    """One culprit, taken apart again.

    Parameters
    ----------
    text: as it is shown.
    unit: the translation unit or archive member, or what the file holds: a symbol, a library, an element of a search
        path; empty when unknown.
    function: empty when unknown.
    is_range: whether it is an address range, which the next build does not keep.
    is_entry: whether it is an entry of the dynamic section, of which every character counts.
    """

    text: str
    unit: str = ""
    function: str = ""
    is_range: bool = False
    is_entry: bool = False


def culprit_of(finding: FunctionFinding) -> str:
    """`F.c: copy()`, `copy()` or `0x1149-0x11a0`."""
    function = f"{finding.function}()" if finding.function else _range(finding)
    return f"{finding.unit}: {function}" if finding.unit else function


def culprits_of(findings: Iterable[FunctionFinding]) -> tuple[str, ...]:
    """The culprits in order, each once: two functions of one name are two."""
    places = {(finding.function, finding.unit, finding.address, finding.size): finding for finding in findings}
    return tuple(map(culprit_of, places.values()))


def entry_culprit(tag: str, value: str) -> str:
    """`DT_RUNPATH '/tmp/lib'`."""
    return f"{tag} {value!r}"


def parsed(text: str) -> Named:
    """The parts of a name that `culprit_of` or `entry_culprit` wrote; any other name is that of a unit or a library."""
    if match := _ENTRY.fullmatch(text):
        return Named(text, match["value"] or "''", is_entry=True)
    if _LIBRARY.fullmatch(text):
        return Named(text, text, is_entry=True)
    if text.endswith("()"):
        unit, _, function = text[:-2].rpartition(": ")
        return Named(text, unit, function)
    unit, _, last = text.rpartition(": ")
    if _RANGE.fullmatch(last):
        return Named(text, unit, is_range=True)
    return Named(text, text)


def source_function(symbol: str) -> str:
    """The function in the source that a symbol is made of: `work` of `work.constprop.0` and `work.lto_priv.1`."""
    return _RENAMED.sub("", _whole(symbol)) or symbol


def each_once(names: Iterable[Named]) -> list[Named]:
    """Names without the further pieces that a compiler made of a function; two functions of one name stay two."""
    symbols: dict[tuple[str, str], Counter[str]] = {}
    found = []
    for name in names:
        seen = symbols.setdefault((name.unit, _whole(name.function)), Counter())
        most = max(seen.values(), default=0)
        seen[name.function] += 1
        if not name.function or seen[name.function] > most:
            found.append(name)
    return found


def _whole(symbol: str) -> str:
    return _PIECE.sub("", symbol) or symbol


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
