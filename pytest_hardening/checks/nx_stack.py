from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..elf.facts import ElfFacts
from ..elf.layout import PF_R, PF_W, PF_X, PT_GNU_STACK
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check

__all__ = ["NxStack"]

_NOTE = ".note.GNU-stack"


class NxStack(Check):
    """The stack is not executable.

    What it protects
    ----------------
    Without it, bytes that an attacker wrote into a buffer on the stack run as code. One object is enough to make the
    stack of a whole program executable; a plug-in does so while the program runs, or is refused (glibc 2.41).

    Evidence
    --------
    Linked files: PF_X in PT_GNU_STACK. A missing PT_GNU_STACK means what the architecture's ABI says: executable on
    x86, arm, s390 and mips; not executable on aarch64, ppc64 and riscv. Objects: the flags of the section
    .note.GNU-stack; where it is missing, the linker assumes the architecture's default.

    When it does not apply
    ----------------------
    Kernel modules, core dumps, detached debug files.

    Fix
    ---
    Hand-written assembly needs `.section .note.GNU-stack,"",%progbits`; code that uses GCC's nested functions through
    pointers needs another design. -Wl,-z,noexecstack overrides the objects: right only when no trampoline is used.

    References
    ----------
    glibc sysdeps/*/stackinfo.h (DEFAULT_STACK_PERMS); Linux fs/binfmt_elf.c; ld manual (-z noexecstack).
    """

    name = "nx-stack"
    label = "Non-executable stack"
    kinds = LINKED | {Kind.OBJECT}

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if facts.bytecode:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time")
        return self._object(facts) if facts.kind is Kind.OBJECT else self._linked(facts)

    def _linked(self, facts: ElfFacts) -> Verdict:
        segment = facts.segment(PT_GNU_STACK)
        if segment is None:
            return self._default(
                facts,
                Evidence("program headers", "no PT_GNU_STACK"),
                "link with -Wl,-z,noexecstack, and give every assembly source a .note.GNU-stack section",
            )
        flags = "".join(
            letter if segment.flags & bit else " " for letter, bit in (("R", PF_R), ("W", PF_W), ("E", PF_X))
        ).rstrip()
        seen = Evidence("program headers", f"PT_GNU_STACK flags {flags}")
        if segment.flags & PF_X:
            return self.failed(
                "executable stack",
                seen,
                remedy="find the object without .note.GNU-stack (assembly) or with trampolines (nested functions) and "
                "mend it; drop -z execstack from the link step",
                stack="executable",
            )
        return self.passed("stack not executable", seen, stack="not-executable")

    def _object(self, facts: ElfFacts) -> Verdict:
        note = facts.section(_NOTE)
        if note is None:
            return self._default(
                facts,
                Evidence("section headers", f"no {_NOTE}"),
                'end the assembly source with: .section .note.GNU-stack,"",%progbits',
            )
        if note.executable:
            return self.failed(
                "asks for an executable stack",
                Evidence("section headers", f"{_NOTE} has SHF_EXECINSTR"),
                remedy="avoid nested functions whose address is taken; -Wa,--noexecstack only when there is none",
                stack="executable",
            )
        return self.passed(
            "does not ask for an executable stack", Evidence("section headers", _NOTE), stack="not-executable"
        )

    def _default(self, facts: ElfFacts, seen: Evidence, remedy: str) -> Verdict:
        machine = facts.machine
        if machine.executable_stack_by_default is None:
            summary = f"no stack mark, and the default of {machine.name} is not known here"
            return self.unknown(summary, seen, stack="unknown")
        if machine.executable_stack_by_default:
            return self.failed(
                f"executable stack: no stack mark, and the default of {machine.name} is executable",
                seen,
                remedy=remedy,
                stack="executable",
            )
        return self.passed(
            f"no stack mark, and the default of {machine.name} is not executable", seen, stack="not-executable"
        )
