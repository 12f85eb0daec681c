from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..elf.facts import ElfFacts
from ..elf.layout import DT_FINI, DT_INIT, PF_W, PF_X, PT_LOAD
from ..elf.machines import EM_ARM, EM_MIPS, EM_PPC64
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check

__all__ = ["EntryPointCheck"]

# of e_flags; with what is older, an entry point is the address of a function descriptor, which is data
_PPC64_ABI, _ELF_V2 = 3, 2


class EntryPointCheck(Check):
    """A program starts in code, and code that nobody can write.

    What it protects
    ----------------
    Kernel and loader jump to the entry point and to the functions of DT_INIT and DT_FINI without asking. One that
    lies among the data, or where nothing of the file is, is the mark of a damaged or infected file, or of a wrong -e;
    one in writable memory can be overwritten before it runs.

    Evidence
    --------
    e_entry, DT_INIT and DT_FINI: each lies in a PT_LOAD with PF_X and without PF_W, inside the bytes that the file has
    for it. The lowest bit, which selects the instruction set on Arm and MIPS, is left out. A library's e_entry counts
    where it has PT_INTERP and can be run. What the instructions do there is not looked at, nor are the pointers in
    DT_INIT_ARRAY.

    When it does not apply
    ----------------------
    Libraries that cannot be run and have neither DT_INIT nor DT_FINI; objects and archives. Of big-endian 64-bit Power
    programs of the first ABI it is unknown: they name descriptors.

    Fix
    ---
    Drop -Wl,-e, -Wl,-init and -Wl,-fini, or name a function with them; link without -Wl,-N. A file that nobody linked
    so is not the one that was built.

    References
    ----------
    System V gABI, "ELF Header" (e_entry), "Dynamic Section" (DT_INIT); ld manual (-e, -init, -fini); Linux
    fs/binfmt_elf.c; 64-bit PowerPC ELF ABI Supplement, "Function Descriptors".
    """

    name = "entry-point"
    label = "Entry point in code"
    kinds = LINKED

    def inapplicable(self, facts: ElfFacts) -> str:
        judged = any(True for _ in _places(facts))
        return "" if judged else "a library that is not run and has neither DT_INIT nor DT_FINI"

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        places = tuple(_places(facts))
        observed: dict[str, Any] = dict(places)
        if facts.machine.number == EM_PPC64 and facts.flags & _PPC64_ABI != _ELF_V2:
            return self.unknown("its entry points are function descriptors, which are not read", **observed)
        wrong = [(name, address, why) for name, address in places if (why := _wrong(facts, address))]
        if not wrong:
            seen = (Evidence(_where(name), f"{name} {address:#x}") for name, address in places)
            return self.passed("starts in executable memory that is not writable", *seen, **observed)
        name, address, why = wrong[0]
        if facts.kind is Kind.STATIC and any(
            s.paddr != s.vaddr and _in(s.paddr, s.memsz, address) for s in _loads(facts)
        ):
            return self.unknown("its entry point is a physical address: for a boot loader, not for Linux", **observed)
        return self.failed(
            f"{name} {address:#x} {why}",
            *(Evidence(_where(name), f"{name} {address:#x}: {why}") for name, address, why in wrong),
            remedy=_REMEDIES[name],
            **observed,
        )


_REMEDIES = {
    "e_entry": "link without -Wl,-e or name a function with it, and without -Wl,-N",
    "DT_INIT": "link without -Wl,-init or name a function with it, and without -Wl,-N",
    "DT_FINI": "link without -Wl,-fini or name a function with it, and without -Wl,-N",
}


def _places(facts: ElfFacts) -> Iterator[tuple[str, int]]:
    if facts.kind.is_executable or (facts.interpreter is not None and facts.entry):
        yield "e_entry", facts.entry
    for name, tag in (("DT_INIT", DT_INIT), ("DT_FINI", DT_FINI)):
        if facts.dynamic is not None and tag in facts.dynamic:
            yield name, facts.dynamic.tags[tag]


def _where(name: str) -> str:
    return "ELF header" if name == "e_entry" else "dynamic section"


def _wrong(facts: ElfFacts, address: int) -> str:
    """What is wrong with an address that is jumped to; empty when nothing is."""
    if facts.machine.number in (EM_ARM, EM_MIPS):
        address &= ~1
    found = [segment for segment in _loads(facts) if _in(segment.vaddr, segment.memsz, address)]
    if not found:
        return "lies outside of what is loaded"
    segment = found[0]
    if not segment.flags & PF_X:
        return "lies in memory that is not executable"
    if segment.flags & PF_W:
        return "lies in memory that is writable"
    return (
        "" if _in(segment.vaddr, segment.filesz, address) else "lies behind the bytes that the file has for its segment"
    )


def _loads(facts: ElfFacts) -> tuple[Any, ...]:
    return tuple(segment for segment in facts.segments if segment.type == PT_LOAD)


def _in(start: int, size: int, address: int) -> bool:
    return start <= address < start + size
