from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import CfiTraces, ElfFacts, Need, Unit
from ..errors import PolicyError
from ..model import Evidence, Kind, Outcome, Verdict
from .base import Parameter
from .recorded import Answer, RecordedCheck, options_of

__all__ = ["SoftwareCfi"]

_SHOWN = 3
# the members of the group -fsanitize=cfi (clang documentation, "Control Flow Integrity")
_CFI = ("cfi-derived-cast", "cfi-unrelated-cast", "cfi-nvcall", "cfi-vcall", "cfi-icall", "cfi-mfcall")
_GROUPS = {"cfi": frozenset(_CFI)}
_KNOWN = ("cfi", "safe-stack", "shadow-call-stack")
_SYMBOLS = {
    "cfi": re.compile(r".+\.cfi(_jt)?|__typeid_.+|__cfi_(check|slowpath(_diag)?)"),
    "safe-stack": re.compile(r"__safestack_.+"),
}
_RUNTIME = "__safestack_init"
# machines with a register for it: clang documentation, "ShadowCallStack"; GCC manual, -fsanitize=shadow-call-stack
_SHADOW_CALLS = ("aarch64", "riscv64")
_REMEDIES = {
    "cfi": "-fsanitize=cfi -flto -fvisibility=hidden (clang, and lld)",
    "safe-stack": "-fsanitize=safe-stack (clang, programs only)",
    "shadow-call-stack": "-fsanitize=shadow-call-stack -ffixed-x18",
}


class SoftwareCfi(RecordedCheck):
    """Every unit was built with the control-flow integrity in software that the project names.

    What it protects
    ----------------
    cfi: calls through pointers and virtual calls reach only functions of the right type. safe-stack: arrays on the
    stack live apart from return addresses. shadow-call-stack: the return address is kept once more, where no overflow
    reaches it.

    Evidence
    --------
    The record of each unit (see recorded-flags): clang's with -grecord-command-line; GCC has the shadow call stack
    alone, so that a unit of GCC's is without the others. Else what the code and the symbols show: NAME.cfi, __typeid_*,
    __cfi_check; __safestack_unsafe_stack_ptr; `str x30, [x18], #8` on AArch64 and `sd ra, -8(gp)` on RISC-V at the
    beginning of functions. That proves it for an object of one unit; of a linked file it shows that some unit has it,
    and whether all have is unknown. A program with symbols, and without SafeStack's run-time library, was linked
    without it: it fails. Other files without a trace are unknown: not every function needs any of these.

    When it does not apply
    ----------------------
    When nothing is required, which is the default; objects without code; files without a unit of C, C++ or
    Objective-C; the shadow call stack on machines other than AArch64 and RISC-V.

    Fix
    ---
    Compile every unit, and link, with the option that the failure names.

    References
    ----------
    clang documentation, "Control Flow Integrity", "SafeStack", "ShadowCallStack"; LLVM, LowerTypeTests.cpp; GCC manual,
    -fsanitize=shadow-call-stack.
    """

    name = "software-cfi"
    label = "Control-flow integrity in software"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "require": Parameter((), (), f"what every unit must have, of {', '.join(_KNOWN)}")
    }

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        settings = super().settings(values)
        for scheme in settings["require"]:
            if scheme not in _KNOWN:
                raise PolicyError(f"{self.name}.require = {scheme!r}: expected some of {', '.join(_KNOWN)}")
        return settings

    def asks_nothing(self, parameters: Mapping[str, Any]) -> bool:
        return not parameters["require"]

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        if not _required(facts, parameters):
            return frozenset()
        return super().needs(facts, parameters) | ({Need.CFI_TRACES} if not facts.bytecode else set())

    def judge_bitcode(self, parameters: Mapping[str, Any]) -> Verdict:
        return super().judge_bitcode(parameters) if parameters["require"] else self._nothing()

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if not parameters["require"]:
            return self._nothing()
        required = _required(facts, parameters)
        if not required:
            return self.not_applicable(f"no compiler has a shadow call stack for {facts.machine.name}")
        by_record = super().judge(facts, {"require": required})
        traces = facts.cfi_traces
        if by_record.outcome is not Outcome.UNKNOWN or traces is None:
            return by_record
        if (
            "safe-stack" in required
            and facts.kind.is_executable
            and traces.has_symbols
            and not _seen("safe-stack", traces)
        ):
            return self.failed(
                "without SafeStack's run-time library: not linked with -fsanitize=safe-stack",
                Evidence("symbol table", f"no {_RUNTIME}"),
                remedy=self.remedy({"require": ("safe-stack",)}),
                **by_record.observed,
            )
        seen = {scheme: _seen(scheme, traces) for scheme in required}
        evidence = [Evidence(_where(scheme), ", ".join(names[:_SHOWN])) for scheme, names in seen.items() if names]
        if not all(seen.values()):
            return self.unknown(
                by_record.summary, *evidence, remedy=self.remedy({"require": required}), **by_record.observed
            )
        if facts.kind is Kind.OBJECT and facts.units is not None and len(facts.units.found) == 1:
            return self.passed(f"its code has {', '.join(required)}", *evidence, **by_record.observed)
        return self.unknown(
            f"some unit has {', '.join(required)}; whether all have cannot be told", *evidence, **by_record.observed
        )

    def answer(self, facts: ElfFacts, unit: Unit, parameters: Mapping[str, Any]) -> Answer:
        states = {scheme: _in_force(unit, scheme) for scheme in parameters["require"]}
        for state, word in ((False, "without"), (None, "the record does not tell"), (True, "with")):
            if schemes := [scheme for scheme, found in states.items() if found is state]:
                return Answer(state, f"{word} {', '.join(schemes)}")
        return Answer(None, "nothing asked for")

    def remedy(self, parameters: Mapping[str, Any]) -> str:
        options = " and ".join(_REMEDIES[scheme] for scheme in parameters["require"])
        return f"compile every unit and link with {options}"

    def _nothing(self) -> Verdict:
        return self.not_applicable("nothing required")


def _required(facts: ElfFacts, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """What is required and can be had on the machine."""
    possible = facts.machine.name in _SHADOW_CALLS
    return tuple(scheme for scheme in parameters["require"] if scheme != "shadow-call-stack" or possible)


def _in_force(unit: Unit, scheme: str) -> bool | None:
    """Whether the options of a unit ask for a scheme; None where the record does not tell."""
    if unit.compiler == "gcc" and scheme != "shadow-call-stack":
        return False
    if unit.compiler not in ("gcc", "clang"):
        return None
    wanted = _GROUPS.get(scheme, frozenset((scheme,)))
    on: set[str] = set()
    for option in options_of(unit):
        name, _, values = option.partition("=")
        if name in ("-fsanitize", "-fno-sanitize"):
            given = frozenset().union(*(_GROUPS.get(value, frozenset((value,))) for value in values.split(",")))
            if name == "-fsanitize":
                on |= given
            else:
                on = set() if "all" in given else on - given
    return wanted <= on


def _seen(scheme: str, traces: CfiTraces) -> list[str]:
    """The names that show a scheme."""
    if scheme == "shadow-call-stack":
        return list(traces.shadow_calls)
    return [name for name in traces.symbols if _SYMBOLS[scheme].fullmatch(name)]


def _where(scheme: str) -> str:
    return "first instructions" if scheme == "shadow-call-stack" else "symbol table"
