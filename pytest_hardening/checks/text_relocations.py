from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..elf.facts import ElfFacts, Need, TextRelocation
from ..elf.layout import DF_TEXTREL, DT_TEXTREL
from ..model import Evidence, Outcome, Verdict
from .base import LINKED, Check

__all__ = [
    "TextRelocationsCheck",
    "text_relocation_culprits",
    "text_relocation_evidence",
    "text_relocation_needs",
    "text_relocation_rest",
]

_SHOWN = 4


class TextRelocationsCheck(Check):
    """The loader never writes into read-only segments.

    What it protects
    ----------------
    A text relocation makes the loader remap code as writable, patch it, and map it back. While it does so, or for good
    where the remapping back fails, code can be overwritten. SELinux and Android refuse such files.

    Evidence
    --------
    A run-time relocation whose address lies in a PT_LOAD that is not writable; DT_TEXTREL or DF_TEXTREL, which announce
    it. Any one of the three is enough: linkers write one tag, both or none.

    When it does not apply
    ----------------------
    Static executables without dynamic section, objects and archives (see pic).

    Fix
    ---
    Compile every object with -fPIC (or -fPIE for an executable); hand-written assembly must reach data through the GOT.
    Linking with -Wl,-z,text turns a text relocation into a link error; lld writes the tags for -Wl,-z,notext alone.

    References
    ----------
    System V gABI, "Dynamic Section" (DT_TEXTREL, DF_TEXTREL); ld manual (-z text).
    """

    name = "text-relocations"
    label = "No text relocations"
    kinds = LINKED

    def inapplicable(self, facts: ElfFacts) -> str:
        return "" if facts.dynamic is not None else "static, without dynamic section: nothing is relocated at run time"

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return text_relocation_needs(facts)

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        relocations, dynamic = facts.text_relocations, facts.dynamic
        if relocations is None or dynamic is None:
            return self.unknown("its relocations were not read")
        tags = []
        if DT_TEXTREL in dynamic:
            tags.append("DT_TEXTREL")
        if dynamic.flags & DF_TEXTREL:
            tags.append("DF_TEXTREL")
        if relocations.count or tags:
            announced = Evidence("dynamic section", " and ".join(tags) + " present" if tags else "no TEXTREL tag")
            counted = f"{relocations.count} text relocation(s)" if relocations.count else "announces text relocations"
            remedy = "compile every object with -fPIC (-fPIE for an executable); link with -Wl,-z,text to be told"
            if not relocations.count and not relocations.packed:  # lld writes the tags for the option alone
                remedy = "link without -Wl,-z,notext: no relocation needs the tag"
            return self.failed(
                f"{counted}: the loader writes into read-only segments",
                announced,
                *text_relocation_evidence(facts),
                remedy=remedy,
                culprits=text_relocation_culprits(facts),
                rest=text_relocation_rest(facts),
                count=relocations.count,
                tags=tags,
            )
        if relocations.packed:
            return self.unknown("its packed relocation table (DT_ANDROID_RELA) cannot be read", count=None, tags=tags)
        return self.passed("no text relocations", count=0, tags=tags)


def text_relocation_needs(facts: ElfFacts) -> frozenset[Need]:
    """What to read: the relocations, and where there are any, the units to blame."""
    relocations = facts.text_relocations
    return frozenset(
        {Need.TEXT_RELOCATIONS, Need.UNITS} if relocations and relocations.count else {Need.TEXT_RELOCATIONS}
    )


def text_relocation_evidence(facts: ElfFacts) -> tuple[Evidence, ...]:
    """The first text relocations as evidence: address, function, unit, symbol; and how many more there are."""
    shown = []
    for item in (facts.text_relocations.found if facts.text_relocations else ())[:_SHOWN]:
        against = f" against {item.symbol}" if item.symbol else ""
        place = _place(facts, item)
        shown.append(Evidence("relocation", f"at {item.address:#x}{f' in {place}' if place else ''}{against}"))
    more = (facts.text_relocations.count if facts.text_relocations else 0) - len(shown)
    return (*shown, Evidence("relocation", f"and {more} more")) if shown and more > 0 else tuple(shown)


def text_relocation_culprits(facts: ElfFacts) -> tuple[str, ...]:
    """The functions and units that are patched, as far as the file tells."""
    found = facts.text_relocations.found if facts.text_relocations else ()
    return tuple(dict.fromkeys(place for item in found if (place := _place(facts, item))))


def text_relocation_rest(facts: ElfFacts) -> Outcome | None:
    """What a file without the text relocations in its culprits would be; None where others are not placed."""
    relocations = facts.text_relocations
    if relocations is None or relocations.count != len(relocations.found):
        return None
    if not all(_place(facts, item) for item in relocations.found):
        return None
    return Outcome.UNKNOWN if relocations.packed else Outcome.PASS


def _place(facts: ElfFacts, item: TextRelocation) -> str:
    """`F.c: copy()`, `copy()`, `F.c`, or nothing."""
    unit = facts.units.at(item.address) if facts.units is not None else None
    function = f"{item.location}()" if item.location else ""
    return ": ".join(part for part in (unit.name if unit else "", function) if part)
