from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..elf.facts import ElfFacts
from ..elf.layout import PF_W, PF_X, PT_DYNAMIC, PT_GNU_RELRO, PT_LOAD, PT_TLS
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check

__all__ = ["RwxSegments"]

_NAMES = {PT_LOAD: "PT_LOAD", PT_TLS: "PT_TLS", PT_DYNAMIC: "PT_DYNAMIC", PT_GNU_RELRO: "PT_GNU_RELRO"}


class RwxSegments(Check):
    """No memory is both writable and executable.

    What it protects
    ----------------
    Memory that can be written and executed turns any write primitive into code execution.

    Evidence
    --------
    PF_W and PF_X together in a PT_LOAD, PT_TLS, PT_DYNAMIC or PT_GNU_RELRO. Objects: a loaded section with SHF_WRITE
    and SHF_EXECINSTR, which makes such a segment.

    When it does not apply
    ----------------------
    Kernel modules, core dumps, detached debug files.

    Fix
    ---
    Look for -Wl,-N (--omagic), a linker script without separate segments, or a section declared with flags "awx". GNU
    ld 2.39 and later warn (--warn-rwx-segments), 2.42 can refuse (--error-rwx-segments).

    References
    ----------
    System V gABI, "Segment Permissions"; ld manual (--warn-rwx-segments).
    """

    name = "rwx-segments"
    label = "No writable and executable memory"
    kinds = LINKED | {Kind.OBJECT}

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if facts.bytecode:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time")
        if facts.kind is Kind.OBJECT:
            names = tuple(s.name for s in facts.sections if s.allocated and s.writable and s.executable)
            return self._verdict(names, tuple(Evidence("section headers", f"{name} has flags WAX") for name in names))
        found = [s for s in facts.segments if s.type in _NAMES and s.flags & PF_W and s.flags & PF_X and s.memsz]
        names = tuple(dict.fromkeys(filter(None, (_section(facts, s.vaddr, s.end) for s in found))))
        seen = tuple(
            Evidence("program headers", f"{_NAMES[s.type]} {s.vaddr:#x}..{s.end:#x} has flags RWE") for s in found
        )
        return self._verdict(names, seen)

    def _verdict(self, sections: tuple[str, ...], seen: tuple[Evidence, ...]) -> Verdict:
        if not seen:
            return self.passed("nothing is both writable and executable", count=0)
        return self.failed(
            "memory that is both writable and executable",
            *seen,
            remedy="drop -Wl,-N or the linker script, and section attributes with both w and x",
            culprits=sections,
            count=len(seen),
        )


def _section(facts: ElfFacts, low: int, high: int) -> str:
    """The section that asks for both, where section headers tell."""
    return next(
        (
            section.name
            for section in facts.sections
            if section.allocated and section.writable and section.executable and low <= section.addr < high
        ),
        "",
    )
