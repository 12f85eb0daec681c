from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need
from ..elf.layout import DT_FINI_ARRAY, DT_FINI_ARRAYSZ, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, PT_GNU_RELRO, Segment
from ..model import Evidence, Verdict
from .base import LINKED, Check, Parameter
from .bind_now import bind_now_tags

__all__ = ["Relro"]

_SLOTS = "GOT slots"
_PAGE = 0x1000  # the smallest page size in use: what is not covered with it is covered with none


class Relro(Check):
    """The loader's tables are read-only after start-up.

    What it protects
    ----------------
    The global offset table, the constructors' and destructors' tables and the dynamic section hold pointers that the
    program calls. With RELRO the loader makes them read-only once they are filled in. Partial RELRO leaves the slots
    of lazily bound calls writable; full RELRO, together with immediate binding, leaves none.

    Evidence
    --------
    PT_GNU_RELRO with a size, the range that it really protects (the end is rounded down to a page, as the loader does
    it), and whether the slots that relocations fill lie inside. -z now without PT_GNU_RELRO protects nothing.

    A static program's RELRO is applied by its own C library: glibc does it, musl does not, so without glibc's mark the
    answer is unknown.

    When it does not apply
    ----------------------
    Objects and archives: the link step decides. Static programs in which nothing is relocated and no table of addresses
    is filled, such as Go's.

    Fix
    ---
    Link with -Wl,-z,relro and, for full RELRO, -Wl,-z,now. GNU ld for RISC-V (2.40) leaves the GOT outside RELRO
    whatever the flags; lld does not.

    References
    ----------
    ld manual (-z relro, -z now); glibc elf/dl-reloc.c (_dl_protect_relro); LSB, PT_GNU_RELRO.
    """

    name = "relro"
    label = "Read-only relocations"
    kinds = LINKED
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "level": Parameter("full", ("partial", "full"), "partial: PT_GNU_RELRO is there; full: it covers the whole GOT")
    }

    def inapplicable(self, facts: ElfFacts) -> str:
        if facts.dynamic is None and facts.sections and facts.segment(PT_GNU_RELRO) is None:
            relocated = (s for s in facts.sections if s.allocated and s.size and _RELOCATED.match(s.name))
            return "" if any(relocated) else "static, without any relocation, GOT or table of constructors"
        return ""

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return frozenset({Need.GOT}) if facts.dynamic is not None else frozenset()

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        segment = facts.segment(PT_GNU_RELRO)
        if segment is None and facts.dynamic is None and not facts.sections:
            return self.unknown("static, without RELRO and section headers: whether it needs any is not told")
        if segment is None or segment.memsz == 0:
            return self.failed(
                "no RELRO: relocation tables and GOT stay writable",
                Evidence("program headers", "no PT_GNU_RELRO" if segment is None else "PT_GNU_RELRO is empty"),
                remedy="link with -Wl,-z,relro" + (" -Wl,-z,now" if parameters["level"] == "full" else ""),
                relro="none",
            )
        seen = Evidence("program headers", f"PT_GNU_RELRO {segment.vaddr:#x}..{segment.end:#x}")
        missed = [item for item in _tables(facts) if _exposed(facts, segment, item[1])]
        if missed:
            return self.failed(
                f"RELRO does not cover {', '.join(name for name, _ in missed)}",
                seen,
                *map(_writable, missed),
                remedy="link with -Wl,-z,relro and without a linker script that moves these sections out of it",
                relro="none",
            )
        return self._level(facts, segment, seen, parameters["level"])

    def _level(self, facts: ElfFacts, segment: Segment, seen: Evidence, wanted: str) -> Verdict:
        exposed = [item for item in _slots(facts) if _exposed(facts, segment, item[1])]
        if not exposed:
            if facts.kind.is_static and facts.libc != "glibc":
                return self.unknown(
                    "RELRO, which a static program's own C library must apply, and it is not known to be glibc",
                    seen,
                    relro="unknown",
                )
            if _shows_got(facts):
                return self.passed("full RELRO: the whole GOT is read-only after start-up", seen, relro="full")
            if wanted == "partial":
                return self.passed("RELRO (at least partial)", seen, relro="partial")
            return self.unknown("RELRO; the file does not show where its GOT lies", seen, relro="unknown")
        if wanted == "partial":
            return self.passed("partial RELRO: some GOT slots stay writable", seen, relro="partial")
        summary, remedy = "partial RELRO: GOT slots stay writable", "link with -Wl,-z,relro -Wl,-z,now"
        if bind_now_tags(facts.dynamic):
            summary = "RELRO does not cover the GOT although it is bound at start-up"
            remedy = "this linker leaves the GOT outside RELRO: use another linker (lld) or linker script"
        return self.failed(summary, seen, *map(_writable, exposed), remedy=remedy, relro="partial")


# what the link step fills with addresses, or start-up code does, in a program without dynamic section
_RELOCATED = re.compile(
    r"\.(got|plt|iplt|rela?(\.|$)|data\.rel\.ro|(pre)?init_array|fini_array|ctors|dtors|tdata|tbss)"
)

_Range = tuple[str, tuple[int, int]]


def _writable(item: _Range) -> Evidence:
    name, (low, high) = item
    verb = "are" if name.startswith(_SLOTS) else "is"
    return Evidence("address", f"{name} {low:#x}..{high:#x} {verb} writable, outside PT_GNU_RELRO")


def _tables(facts: ElfFacts) -> list[_Range]:
    """What even partial RELRO covers: the dynamic section and the tables of constructors and destructors."""
    dynamic = facts.dynamic
    if dynamic is None:
        return []
    ranges: list[_Range] = [("the dynamic section", (dynamic.address, dynamic.address + max(dynamic.size, 1) - 1))]
    for name, address, size in (
        ("the constructors' table", DT_INIT_ARRAY, DT_INIT_ARRAYSZ),
        ("the destructors' table", DT_FINI_ARRAY, DT_FINI_ARRAYSZ),
    ):
        if dynamic.tags.get(size, 0):
            low = dynamic.tags.get(address, 0)
            ranges.append((name, (low, low + dynamic.tags[size] - 1)))
    return ranges


def _slots(facts: ElfFacts) -> list[_Range]:
    """The slots that full RELRO covers: by the relocations that fill them, and by the section where it is named.

    A static file's GOT is filled by relocations that only symbols lead to, so there the sections alone tell.
    """
    found: list[_Range] = []
    sections = [".got", ".got.plt"]
    if facts.got is not None:
        named = ((f"{_SLOTS} of data", facts.got.data_slots), (f"{_SLOTS} of calls", facts.got.call_slots))
        found = [(name, slots) for name, slots in named if slots is not None]
        sections = [] if facts.got.data_slots is not None else [".got"]
    for section in facts.sections:
        if section.allocated and section.size and section.name in sections:
            found.append((section.name, (section.addr, section.addr + section.size - 1)))
    return found


def _shows_got(facts: ElfFacts) -> bool:
    """Whether relocations or section headers tell where the whole GOT lies."""
    by_relocations = facts.got is not None and facts.machine.glob_dat is not None
    return by_relocations or facts.section(".got") is not None


def _exposed(facts: ElfFacts, segment: Segment, span: tuple[int, int]) -> bool:
    """Whether any byte of the range stays writable; `span` holds the first and the last address."""
    low, high = span
    start, end = segment.vaddr & -_PAGE, segment.end & -_PAGE
    return any(facts.writable(address) and not start <= address < end for address in (low, high))
