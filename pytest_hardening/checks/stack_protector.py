from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..elf.facts import ElfFacts, Need, StackArray
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check

__all__ = ["StackProtector"]

# glibc, musl, bionic: __stack_chk_fail; i386 PIC code reaches it through a hidden helper; architectures without a
# thread-local canary read __stack_chk_guard; OpenBSD calls __stack_smash_handler (GCC gcc/targhooks.c, LLVM)
_CANARY = frozenset({"__stack_chk_fail", "__stack_chk_fail_local", "__stack_chk_guard", "__stack_smash_handler"})
_SHOWN = 6


class StackProtector(Check):
    """Functions with arrays on the stack check a canary before they return.

    What it protects
    ----------------
    An overflow of a stack buffer runs over the canary before it reaches the return address; the function sees it and
    ends the program.

    Evidence
    --------
    An undefined symbol __stack_chk_fail (or __stack_chk_guard): some function of the file checks a canary. Where there
    is none: functions with local arrays, from DWARF, prove the lack and are named. Neither: unknown, because a program
    without stack arrays needs no canary. A static program holds the C library's canaries, which say nothing of its own
    code: unknown. The answer is for the whole file: units that lack the flag beside others that have it do not show.

    When it does not apply
    ----------------------
    Objects without code; Go programs without C.

    Fix
    ---
    Compile with -fstack-protector-strong.

    References
    ----------
    GCC manual, "Program Instrumentation Options"; glibc debug/stack_chk_fail.c; LSB, __stack_chk_fail.
    """

    name = "stack-protector"
    label = "Stack protected"
    kinds = LINKED | {Kind.OBJECT}

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        if facts.bytecode:
            return frozenset()
        if facts.kind.is_static:
            return frozenset({Need.SWITCHED_OFF_ARRAYS})
        if facts.imports is None:
            return frozenset({Need.IMPORTS})
        # a canary somewhere: only recorded flags tell of units without; none at all: any array does
        return frozenset({Need.SWITCHED_OFF_ARRAYS if self._canary(facts) else Need.STACK_ARRAYS})

    def inapplicable(self, facts: ElfFacts) -> str:
        if facts.kind is Kind.OBJECT and not facts.has_code and not facts.bytecode:
            return "no code"
        if "go" in facts.compilers and facts.dynamic is None:
            return "a Go program without C"
        return ""

    def _canary(self, facts: ElfFacts) -> tuple[str, ...]:
        return tuple(sorted(_CANARY & facts.imports.names)) if facts.imports is not None else ()

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if facts.bytecode:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time", canary=None)
        if facts.switched_off_arrays:
            return self._unprotected(facts, facts.switched_off_arrays)
        if facts.kind.is_static:
            return self.unknown(
                "static: the C library's own canaries hide whether the program's code has any; judge its objects",
                canary=None,
            )
        canary = self._canary(facts)
        if canary:
            return self.passed(
                "stack protector in use", Evidence("symbol table", f"undefined {', '.join(canary)}"), canary=True
            )
        if facts.imports is not None and "__stack_chk_fail" in facts.imports.defined:
            return self.unknown("it defines __stack_chk_fail itself, so its calls to it do not show", canary=None)
        if facts.stack_arrays:
            return self._unprotected(facts, facts.stack_arrays)
        language = next((name for name in ("rustc", "go") if name in facts.compilers), "")
        if language:
            return self.unknown(f"no canary; {language} places none, and no unit of C is known", canary=False)
        return self.unknown(
            "no canary: built without stack protector, or no function has an array on the stack",
            Evidence("symbol table", "no undefined __stack_chk_fail"),
            remedy="compile with -fstack-protector-strong; DWARF (-g, not compressed) shows which functions need it",
            canary=False,
        )

    def _unprotected(self, facts: ElfFacts, arrays: tuple[StackArray, ...]) -> Verdict:
        first = arrays[0]
        if facts.switched_off_arrays:
            summary = f"a unit without stack protector: {first.function}() in {first.unit} has an array on the stack"
            seen = Evidence("DWARF", f"flags of {first.unit} end in -fno-stack-protector")
        else:
            summary = f"no stack protector: {first.function}() has an array on the stack and nothing checks a canary"
            seen = Evidence("symbol table", "no undefined __stack_chk_fail")
        return self.failed(
            summary,
            seen,
            *(Evidence("DWARF", f"{a.unit}: {a.function}() has the array {a.variable}") for a in arrays[:_SHOWN]),
            remedy="compile with -fstack-protector-strong",
            culprits=tuple(dict.fromkeys(f"{a.unit}: {a.function}()" for a in arrays)),
            canary=bool(self._canary(facts)),
        )
