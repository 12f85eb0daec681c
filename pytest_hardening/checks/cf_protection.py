from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..elf.facts import ENTRY, ElfFacts, EntryPoint, FunctionFinding, Need, Unit
from ..elf.machines import EM_386, EM_AARCH64, EM_X86_64
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check
from .functions import UNSTRIPPED, culprits_of, last_option, place_of

__all__ = ["CfProtection"]

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class _Scheme:
    """How one architecture marks control-flow protection."""

    features: tuple[tuple[str, int], ...]  # name and bit in FEATURE_1_AND
    landing_pads: tuple[bytes, ...]
    pad_name: str
    flag: str
    report: str  # how the linker names the inputs without the mark
    options: Mapping[str, bool]  # what a unit may be recorded with, and whether that is all of it; the last one wins


_X86_FEATURES = (("ibt", 1), ("shstk", 2))
_X86_OPTIONS = {
    f"-fcf-protection{value}": value in ("", "=full") for value in ("", "=full", "=branch", "=return", "=none")
}
_AARCH64_OPTIONS = {
    f"-mbranch-protection={value}": value in ("standard", "bti+pac-ret", "pac-ret+bti")
    for value in ("standard", "bti+pac-ret", "pac-ret+bti", "bti", "pac-ret", "pac-ret+leaf", "none")
}
_X86_REPORT = "-Wl,-z,cet-report=warning"
_AARCH64_REPORT = "-Wl,-z,force-bti (GNU ld) or -Wl,-z,bti-report=warning (lld)"
_SCHEMES = {
    EM_X86_64: _Scheme(
        _X86_FEATURES, (b"\xf3\x0f\x1e\xfa",), "ENDBR64", "-fcf-protection=full", _X86_REPORT, _X86_OPTIONS
    ),
    EM_386: _Scheme(
        _X86_FEATURES, (b"\xf3\x0f\x1e\xfb",), "ENDBR32", "-fcf-protection=full", _X86_REPORT, _X86_OPTIONS
    ),
    EM_AARCH64: _Scheme(
        (("bti", 1), ("pac", 2)),
        # bti c, bti jc, paciasp, pacibsp (Arm ARM, "Effect of entering a guarded page"), little-endian
        (b"\x5f\x24\x03\xd5", b"\xdf\x24\x03\xd5", b"\x3f\x23\x03\xd5", b"\x7f\x23\x03\xd5"),
        "BTI or PACIASP",
        "-mbranch-protection=standard",
        _AARCH64_REPORT,
        _AARCH64_OPTIONS,
    ),
}


class CfProtection(Check):
    """The processor checks indirect branches and return addresses (x86 CET; AArch64 BTI and PAC).

    What it protects
    ----------------
    Indirect branches land only where a landing pad stands (IBT, BTI), and returns go only where the call came from
    (shadow stack, pointer authentication): code reuse attacks lose their gadgets.

    Evidence
    --------
    The FEATURE_1_AND bits of the GNU property note. The linker ANDs them over all inputs, so one object without the
    note clears them; `-z ibt`, `-z shstk` and `-z force-bti` set them whatever the objects say, so the first
    instructions of the global functions are looked at as well. A file that is not marked although its functions carry
    landing pads was compiled with the flag: unknown, because often the toolchain's own start files lack the note
    (Debian 12), and its maker's flags are not to blame.

    When it does not apply
    ----------------------
    Architectures other than x86 and AArch64.

    Fix
    ---
    x86: compile with -fcf-protection=full; AArch64: -mbranch-protection=standard. Assembly needs the note and landing
    pads by hand. Linkers name the inputs that lack it: with -Wl,-z,cet-report=warning, on AArch64 GNU ld with
    -Wl,-z,force-bti and lld with -Wl,-z,bti-report=warning. Those of the toolchain itself no flag of yours can mend.

    References
    ----------
    x86-64 psABI, "Program Property"; "ELF for the Arm 64-bit Architecture", program properties; Linux Extensions to
    gABI.
    """

    name = "cf-protection"
    label = "Control flow integrity"
    kinds = LINKED | {Kind.OBJECT}

    def inapplicable(self, facts: ElfFacts) -> str:
        return "" if facts.machine.number in _SCHEMES else f"{facts.machine.name} has no such protection"

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        if facts.machine.number not in _SCHEMES or facts.bytecode:
            return frozenset()
        if facts.kind is Kind.OBJECT:
            return frozenset({Need.PROPERTIES})
        return frozenset({Need.PROPERTIES, Need.ENTRY_POINTS, Need.UNITS})

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        scheme = _SCHEMES[facts.machine.number]
        if facts.bytecode or facts.properties is None:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time")
        mask = facts.properties.features
        observed: dict[str, Any] = {name: bool((mask or 0) & bit) for name, bit in scheme.features}
        missing = [name.upper() for name, present in observed.items() if not present]
        lacking = f"without {', '.join(missing)}" if missing else "complete"
        seen = Evidence("GNU property note", "absent" if mask is None else f"FEATURE_1_AND = {mask:#x}, {lacking}")
        if facts.kind is Kind.OBJECT:
            if not missing:
                return self.passed("marked for control-flow protection", seen, **observed)
            return self.failed(
                f"not marked for {' and '.join(missing)}", seen, remedy=f"compile with {scheme.flag}", **observed
            )
        return self._linked(facts, scheme, missing, seen, observed)

    def _linked(
        self, facts: ElfFacts, scheme: _Scheme, missing: list[str], seen: Evidence, observed: dict[str, Any]
    ) -> Verdict:
        entries = tuple(entry for entry in facts.entry_points or () if entry.name != ENTRY)
        start = next((entry for entry in facts.entry_points or () if entry.name == ENTRY), None)
        bare = [_named(facts, entry) for entry in entries if not entry.code.startswith(scheme.landing_pads)]
        shown = tuple(Evidence("code", f"{place_of(e)} does not begin with {scheme.pad_name}") for e in bare[:_SHOWN])
        remedy = f"compile every unit with {scheme.flag}"
        names = " and ".join(missing)
        if missing and len(missing) < len(scheme.features):
            return self.failed(f"not marked for {names}", seen, remedy=remedy, **observed)
        if entries and len(bare) == len(entries):
            what = f"not marked for {names}" if missing else "marked by the linker"
            return self.failed(f"{what}, and no function has a landing pad", seen, *shown, remedy=remedy, **observed)
        if missing and bare:
            return self.failed(
                f"not marked for {names}: {place_of(bare[0])} has no landing pad, others have",
                seen,
                *shown,
                remedy=f"{remedy}; assembly needs landing pads and the note by hand",
                culprits=culprits_of(bare),
                **observed,
            )
        weaker = _weaker_units(facts, scheme) if missing else ()
        if weaker:
            return self.failed(
                f"not marked for {names}: {weaker[0].name} was compiled with {last_option(weaker[0], scheme.options)}",
                seen,
                *(
                    Evidence(unit.source, f"{unit.name}: {last_option(unit, scheme.options)}")
                    for unit in weaker[:_SHOWN]
                ),
                remedy=remedy,
                culprits=tuple(unit.name for unit in weaker),
                **observed,
            )
        if missing:
            if not entries:
                why = "and no function symbol is left to tell why"
                return self.unknown(f"not marked for {names}, {why}", seen, remedy=UNSTRIPPED, **observed)
            return self.unknown(
                f"not marked for {names}, although functions have landing pads: an object without the note was linked "
                "in, often a start file",
                seen,
                remedy=f"link with {scheme.report} to learn which input lacks the note; where it is a start file "
                "(Debian 12), no flag of yours mends it",
                **observed,
            )
        if not entries and (start is None or not start.code.startswith(scheme.landing_pads)):
            return self.unknown(
                "marked, but no function symbol is left to tell whether the linker forced it",
                seen,
                remedy=UNSTRIPPED,
                **observed,
            )
        if bare:
            return self.unknown("marked, but some functions have no landing pad", seen, *shown, **observed)
        return self.passed("marked for control-flow protection", seen, **observed)


def _weaker_units(facts: ElfFacts, scheme: _Scheme) -> tuple[Unit, ...]:
    """Units of C that are recorded with an option which leaves out a part of the protection."""
    units = facts.units.found if facts.units is not None else ()
    return tuple(
        unit
        for unit in units
        if unit.is_c_family and (option := last_option(unit, scheme.options)) and not scheme.options[option]
    )


def _named(facts: ElfFacts, entry: EntryPoint) -> FunctionFinding:
    unit = facts.units.at(entry.address) if facts.units is not None else None
    return FunctionFinding(entry.name, entry.address, len(entry.code), unit.name if unit else "", "")
