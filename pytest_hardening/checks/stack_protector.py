from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need, StackUse, Unit
from ..model import Evidence, Kind, Outcome, Verdict
from .base import LINKED, Check, Parameter, without_c
from .functions import culprits_of, last_option, place_of, units_named, way_to_see

__all__ = ["StackProtector"]

# glibc, musl, bionic: __stack_chk_fail; i386 PIC code reaches it through a hidden helper; architectures without a
# thread-local canary read __stack_chk_guard; OpenBSD calls __stack_smash_handler (GCC gcc/targhooks.c, LLVM)
_CANARY = frozenset({"__stack_chk_fail", "__stack_chk_fail_local", "__stack_chk_guard", "__stack_smash_handler"})
_BASIC_BYTES = 8
_SHOWN = 6
_REMEDY = "compile with -fstack-protector-strong"
# what a recorded option asks for; -explicit protects only functions with the attribute
_OPTIONS = {
    "-fno-stack-protector": 0,
    "-fstack-protector-explicit": 0,
    "-fstack-protector": 1,
    "-fstack-protector-strong": 2,
    "-fhardened": 2,
    "-fstack-protector-all": 3,
}
_LEVELS = {"basic": 1, "strong": 2, "all": 3}
_FLAGS = {"basic": "-fstack-protector", "strong": "-fstack-protector-strong", "all": "-fstack-protector-all"}


class StackProtector(Check):
    """Functions with arrays on the stack check a canary before they return.

    What it protects
    ----------------
    An overflow of a stack buffer runs over the canary before it reaches the return address; the function sees it and
    ends the program.

    Evidence
    --------
    The code, function by function: one that keeps an array on the stack, or lets the address of a local out of hand,
    and checks no canary is the proof of a violation and is named with its unit. Arrays are known from DWARF and from
    the code (x86-64, i386, aarch64, arm, ppc64le, s390x, riscv64). Functions that check a canary and none that lacks
    one: pass. No function that would need one: not applicable. In static programs the C library's functions are told
    apart by symbols or DWARF; without both it is unknown. Recorded flags (DW_AT_producer, .GCC.command.line) tell
    `basic`, `strong` and `all` apart; no trace in the code does. Where the code cannot be read, an undefined
    __stack_chk_fail proves only that some function is protected: unknown.

    When it does not apply
    ----------------------
    Objects without code; files whose functions keep nothing on the stack that could overflow; code in Go, Rust and
    other languages that place no canary.

    Fix
    ---
    Compile every unit with -fstack-protector-strong.

    References
    ----------
    GCC manual, "Program Instrumentation Options"; glibc debug/stack_chk_fail.c; LSB, __stack_chk_fail.
    """

    name = "stack-protector"
    label = "Stack protected"
    kinds = LINKED | {Kind.OBJECT}
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "level": Parameter("strong", tuple(_LEVELS), "the weakest -fstack-protector option accepted, where recorded")
    }

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        if facts.bytecode:
            return frozenset({Need.UNITS})
        first = frozenset({Need.UNITS, Need.STACK_ARRAYS} | (set() if facts.kind.is_static else {Need.IMPORTS}))
        return first | {Need.STACK_USE} if facts.stack_arrays is not None else first  # which looks at the arrays' code

    def inapplicable(self, facts: ElfFacts) -> str:
        return without_c(facts)

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if facts.bytecode and (verdict := self._recorded(facts, parameters["level"])):
            return verdict
        if facts.bytecode or facts.stack_use is None:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time")
        use = facts.stack_use if parameters["level"] != "basic" else _at_basic_level(facts, facts.stack_use)
        observed: dict[str, Any] = {
            "functions": use.functions,
            "protected": use.protected,
            "unprotected": use.unprotected_count,
        }
        if use.unprotected:
            return self._unprotected(facts, use, observed, self._rest(facts, use, parameters))
        weaker = self._weaker_units(facts, _LEVELS[parameters["level"]])
        if weaker and (use.protected or use.doubtful or use.incomplete):
            rest = Outcome.UNKNOWN if use.incomplete else Outcome.PASS
            return self._weaker(weaker, parameters["level"], observed, rest)
        if use.incomplete:
            return self._incomplete(facts, use, observed)
        if use.doubtful:
            some = f"{use.protected} of {use.functions} functions check" if use.protected else "no function checks"
            return self.unknown(
                f"{some} a canary; {use.doubtful} function(s) take addresses in their frame, which may be those of "
                "arrays, and come from no unit that is known to be protected",
                remedy="compile with -g: DWARF shows which functions need a canary",
                **observed,
            )
        if use.protected:
            return self.passed(
                "every function that needs a canary checks one",
                Evidence(
                    "code",
                    f"{use.protected} of {use.functions} functions check one; none of the others keeps an array or "
                    "gives away the address of a local",
                ),
                **observed,
            )
        return self.not_applicable(self._needless(facts))

    def _rest(self, facts: ElfFacts, use: StackUse, parameters: Mapping[str, Any]) -> Outcome | None:
        weaker = {unit.name for unit in self._weaker_units(facts, _LEVELS[parameters["level"]])}
        if len(use.unprotected) < use.unprotected_count or weaker - {item.unit for item in use.unprotected}:
            return None
        return Outcome.UNKNOWN if use.incomplete or use.doubtful else Outcome.PASS

    def _unprotected(self, facts: ElfFacts, use: StackUse, observed: dict[str, Any], rest: Outcome | None) -> Verdict:
        first = use.unprotected[0]
        others = f" (and {use.unprotected_count - 1} more)" if use.unprotected_count > 1 else ""
        mixed = f"; {use.protected} other function(s) check one" if use.protected else ""
        return self.failed(
            f"no stack protector in {place_of(first)}{others}: it {first.what} and checks no canary{mixed}",
            *(Evidence("code", f"{place_of(item)} {item.what}; no canary") for item in use.unprotected[:_SHOWN]),
            *map(_record, units_named(facts.units, (item.unit for item in use.unprotected))[:_SHOWN]),
            remedy=_REMEDY,
            culprits=culprits_of(use.unprotected),
            rest=rest,
            **observed,
        )

    def _recorded(self, facts: ElfFacts, level: str) -> Verdict | None:
        """What the options beside GCC's bytecode tell: its functions keep them through link-time optimisation."""
        units = [unit for unit in (facts.units.found if facts.units else ()) if unit.is_c_family or not unit.language]
        if weaker := self._weaker_units(facts, _LEVELS[level]):
            return self._weaker(weaker, level, {}, Outcome.UNKNOWN)
        options = [last_option(unit, _OPTIONS) for unit in units]
        if units and all(option and _OPTIONS[option] >= _LEVELS[level] for option in options):
            return self.passed(
                f"{len(units)} unit(s) compiled with {_FLAGS[level]} or more", *map(_record, units[:_SHOWN])
            )
        return None

    def _weaker_units(self, facts: ElfFacts, level: int) -> tuple[Unit, ...]:
        """Units of C whose record ends in an option below the level; one without any says nothing of the default."""
        units = facts.units.found if facts.units is not None else ()
        return tuple(
            unit
            for unit in units
            if unit.is_c_family and (option := last_option(unit, _OPTIONS)) and _OPTIONS[option] < level
        )

    def _weaker(self, units: tuple[Unit, ...], level: str, observed: dict[str, Any], rest: Outcome) -> Verdict:
        names = ", ".join(unit.name or "a unit" for unit in units[:_SHOWN])
        return self.failed(
            f"{names}: compiled with {last_option(units[0], _OPTIONS)}, which is weaker than {level}",
            *map(_record, units[:_SHOWN]),
            remedy=f"compile with {_FLAGS[level]}, and let no weaker option follow it",
            culprits=tuple(unit.name for unit in units if unit.name),
            rest=rest if all(unit.name for unit in units) else None,
            **observed,
        )

    def _incomplete(self, facts: ElfFacts, use: StackUse, observed: dict[str, Any]) -> Verdict:
        names = facts.imports.names if facts.imports is not None else frozenset()
        canary = () if facts.kind.is_static else sorted(_CANARY & names)
        seen = (Evidence("symbol table", f"undefined {', '.join(canary)}"),) if canary else ()
        doubt = "cannot tell whether functions check a canary"
        if canary or use.protected:
            doubt = "some function checks a canary; cannot tell whether all that need one do"
        return self.unknown(f"{doubt}: {use.incomplete}", *seen, remedy=way_to_see(use.incomplete), **observed)

    def _needless(self, facts: ElfFacts) -> str:
        units = facts.units.found if facts.units is not None else ()
        languages = sorted({unit.language for unit in units if unit.language})
        if languages and not any(unit.is_c_family for unit in units):
            return f"no unit of C: {', '.join(languages)}"
        return "no function keeps an array on the stack or gives away the address of a local"


def _at_basic_level(facts: ElfFacts, use: StackUse) -> StackUse:
    """What is proof of a function without -fstack-protector: an array of eight characters or more, and nothing less
    (GCC manual, -fstack-protector and --param ssp-buffer-size).
    """
    arrays = facts.stack_arrays.found if facts.stack_arrays is not None else ()
    needing = {(array.unit, array.function) for array in arrays if array.characters >= _BASIC_BYTES}
    proven = tuple(item for item in use.unprotected if (item.unit, item.function) in needing)
    doubtful = use.doubtful + use.unprotected_count - len(proven)
    return replace(use, unprotected=proven, unprotected_count=len(proven), doubtful=doubtful)


def _record(unit: Unit) -> Evidence:
    option = last_option(unit, _OPTIONS)
    recorded = "no options recorded"
    if option is not None:
        recorded = f"recorded option: {option}" if option else "no -fstack-protector... option recorded"
    return Evidence(unit.source, f"{unit.name}: {recorded}")
