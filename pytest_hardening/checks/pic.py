from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need, ObjectRelocations, Reference
from ..model import Evidence, Kind, Verdict
from .base import Check, Parameter
from .text_relocations import (
    text_relocation_culprits,
    text_relocation_evidence,
    text_relocation_needs,
    text_relocation_rest,
)

__all__ = ["Pic"]

_SHOWN = 4


class Pic(Check):
    """The code is position-independent.

    What it protects
    ----------------
    A shared library is mapped at an address that nobody knows at link time. Code that is not position-independent
    has to be patched in memory: its pages become writable, are no longer shared, and hardened systems refuse to load
    it. One object that went into a library through a static archive is enough.

    Evidence
    --------
    Shared libraries: run-time relocations in segments that are not writable. Objects and archive members: the kinds of
    their relocations, per architecture. Absolute addresses in instructions or in read-only data are position-dependent;
    direct references to symbols that may be preempted, and thread-local offsets fixed at link time, fit an executable
    only; an object without any such relocation fits everywhere.

    When it does not apply
    ----------------------
    Executables: see the pie check.

    Fix
    ---
    Compile the named units with -fPIC (for an executable -fPIE is enough); with CMake set POSITION_INDEPENDENT_CODE on
    the static library's target as well.

    References
    ----------
    The processor supplements of the psABI; GCC manual, "Code Gen Options" (-fPIC, -fPIE); Drepper, "How To Write Shared
    Libraries".
    """

    name = "pic"
    label = "Position independent code"
    kinds = frozenset({Kind.SHARED_LIBRARY, Kind.MODULE, Kind.OBJECT})
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "destination": Parameter(
            "any",
            ("any", "shared-library"),
            "what objects are linked into: with shared-library, code that fits a PIE only fails",
        )
    }

    def why_not_kind(self, kind: Kind) -> str:
        return "an executable: see pie" if kind.is_executable else super().why_not_kind(kind)

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return frozenset({Need.OBJECT_RELOCATIONS}) if facts.kind is Kind.OBJECT else text_relocation_needs(facts)

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        return self._object(facts, parameters) if facts.kind is Kind.OBJECT else self._library(facts)

    def _library(self, facts: ElfFacts) -> Verdict:
        relocations = facts.text_relocations
        if relocations is None or (relocations.packed and not relocations.count):
            return self.unknown("its packed relocation table (DT_ANDROID_RELA) cannot be read", code="unknown")
        if relocations.count:
            return self.failed(
                f"code that is not position-independent: {relocations.count} text relocation(s)",
                *text_relocation_evidence(facts),
                remedy="compile every object of the library with -fPIC, those from static archives too",
                culprits=text_relocation_culprits(facts),
                rest=text_relocation_rest(facts),
                code="position-dependent",
            )
        return self.passed(
            "position-independent: no relocation patches its code",
            Evidence("relocations", "none in a segment that is not writable"),
            code="position-independent",
        )

    def _object(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if facts.bytecode:
            return self.unknown(
                "only link-time-optimisation bytecode: its code is generated at link time", code="bytecode"
            )
        relocations = facts.object_relocations
        if relocations is None:
            return self.unknown(f"relocation types of {facts.machine.name} are not known here", code="unknown")
        if relocations.position_dependent:
            return self.failed(
                "position-dependent code: compiled without -fPIC and without -fPIE",
                *_shown(relocations.position_dependent),
                remedy="compile this unit with -fPIC (-fPIE is enough for an executable)",
                code="position-dependent",
            )
        if relocations.undecided:
            types = ", ".join(relocations.undecided)
            return self.unknown(f"relocation types {types} of {facts.machine.name} are not known here", code="unknown")
        return self._fitting(relocations, parameters["destination"])

    def _fitting(self, relocations: ObjectRelocations, destination: str) -> Verdict:
        if relocations.executable_only:
            evidence = _shown(relocations.executable_only)
            if destination == "shared-library":
                return self.failed(
                    "code for executables only, and its destination is a shared library",
                    *evidence,
                    remedy="compile this unit with -fPIC instead of -fPIE",
                    code="pie-only",
                )
            return self.passed("fits a PIE, not a shared library", *evidence, code="pie-only")
        if relocations.count == 0:
            return self.passed("no relocation at all: its code runs at any address", code="position-independent")
        return self.passed(
            "position-independent: fits shared libraries and executables",
            Evidence("relocations", f"{relocations.count} in loaded sections, none needs a fixed address"),
            code="position-independent",
        )


def _shown(references: tuple[Reference, ...]) -> tuple[Evidence, ...]:
    return tuple(Evidence("relocation", _sentence(item)) for item in references[:_SHOWN])


def _sentence(item: Reference) -> str:
    place = f"{item.section}+{item.offset:#x}"
    inside = f" in {item.function}()" if item.function else ""
    against = f" against {item.symbol}" if item.symbol else ""
    return f"{item.relocation}{against} at {place}{inside}"
