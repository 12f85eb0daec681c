from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..elf.facts import ElfFacts, Need, StackUse
from ..model import Evidence, Kind, Outcome, Verdict
from .base import LINKED, Check, without_c
from .functions import culprits_of, last_option, place_of, units_named, way_to_see

__all__ = ["StackClash"]

_SHOWN = 6
# where compilers probe, and where an allocation without probe can be told from one with (elf/code/*.py)
_VISIBLE = frozenset(("x86-64", "x32", "i386", "aarch64", "arm", "ppc64le", "s390x"))
_NO_OPTION = "no -fstack-clash-protection recorded"
_REMEDY = "compile every unit with -fstack-clash-protection"
_REMEDIES = {  # where compilers take the option and have no code for it
    "riscv64": "keep large arrays off the stack, or compile with a compiler that probes on riscv64: GCC 12 and "
    "clang 19 leave frames of a fixed size unprobed there, even with -fstack-clash-protection; GCC 15 has code for it"
}
_OPTIONS = frozenset({"-fstack-clash-protection", "-fno-stack-clash-protection", "-fhardened"})


class StackClash(Check):
    """Large stack frames touch every page while they are allocated (-fstack-clash-protection).

    What it protects
    ----------------
    The guard page below the stack stops a stack that grows into other memory, unless one allocation jumps over it.
    With probes in every page no allocation can.

    Evidence
    --------
    The code, function by function: one that allocates more than the guard allows at once and does not touch it proves
    that its unit was compiled without the option, and is named. Functions that probe prove the option. Functions with
    smaller frames look the same with and without. docs/evidence.md says what is visible on which architecture.

    When it does not apply
    ----------------------
    Objects without code; files in which no function allocates that much at once.

    Fix
    ---
    Compile every unit with -fstack-clash-protection.

    References
    ----------
    GCC manual, "Program Instrumentation Options"; Qualys, "The Stack Clash" (2017); Clang's DiagnosticsReference and
    UsersManual, -fstack-clash-protection.
    """

    name = "stack-clash"
    label = "Stack clash protection"
    kinds = LINKED | {Kind.OBJECT}

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return frozenset() if facts.bytecode else frozenset({Need.UNITS, Need.STACK_USE})

    def inapplicable(self, facts: ElfFacts) -> str:
        return without_c(facts)

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        use = facts.stack_use
        if facts.bytecode or use is None:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time")
        observed: dict[str, Any] = {"functions": use.functions, "probed": use.probed, "unprobed": use.unprobed_count}
        if use.unprobed:
            return self._unprobed(facts, use, observed, self._rest(facts, use, parameters))
        if facts.machine.name not in _VISIBLE:
            return self.unknown(f"whether large frames are probed is not visible on {facts.machine.name}", **observed)
        if use.incomplete:
            return self.unknown(
                f"not all code could be looked at: {use.incomplete}", remedy=way_to_see(use.incomplete), **observed
            )
        if use.unclear:
            return self.unknown(
                f"{use.unclear} function(s) allocate much at once, or a size made at run time, and whether they had to "
                "touch it cannot be told",
                remedy=_REMEDY,
                **observed,
            )
        if use.probed:
            return self.passed(
                "functions with large frames probe them",
                Evidence("code", f"{use.probed} function(s) touch each page, none of {use.functions} jumps over one"),
                **observed,
            )
        return self.not_applicable("no function allocates so much of the stack at once that it could jump the guard")

    def _rest(self, facts: ElfFacts, use: StackUse, parameters: Mapping[str, Any]) -> Outcome | None:
        if len(use.unprobed) < use.unprobed_count:
            return None
        probed = replace(use, unprobed=(), unprobed_count=0)
        return self.judge(replace(facts, stack_use=probed), parameters).outcome

    def _unprobed(self, facts: ElfFacts, use: StackUse, observed: dict[str, Any], rest: Outcome | None) -> Verdict:
        first = use.unprobed[0]
        others = f" (and {use.unprobed_count - 1} more)" if use.unprobed_count > 1 else ""
        mixed = f"; {use.probed} other function(s) probe theirs" if use.probed else ""
        return self.failed(
            f"no stack clash protection in {place_of(first)}{others}: it {first.what}{mixed}",
            *(Evidence("code", f"{place_of(item)} {item.what}") for item in use.unprobed[:_SHOWN]),
            *(
                Evidence(unit.source, f"{unit.name}: {f'recorded option: {option}' if option else _NO_OPTION}")
                for unit in units_named(facts.units, (item.unit for item in use.unprobed))[:_SHOWN]
                if (option := last_option(unit, _OPTIONS)) is not None
            ),
            remedy=_REMEDIES.get(facts.machine.name, _REMEDY),
            culprits=culprits_of(use.unprobed),
            rest=rest,
            **observed,
        )
