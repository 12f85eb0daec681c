from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..elf import layout as elf
from ..elf.facts import Dynamic, ElfFacts
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check

__all__ = ["DynamicSection"]

_PAGE = 0x1000  # as in relro: what is not covered with the smallest page is covered with none

# what the loader reads by the dynamic section, with the tag of its size where it has one
_TABLES = {
    "DT_STRTAB": (elf.DT_STRTAB, elf.DT_STRSZ),
    "DT_SYMTAB": (elf.DT_SYMTAB, None),
    "DT_HASH": (elf.DT_HASH, None),
    "DT_GNU_HASH": (elf.DT_GNU_HASH, None),
    "DT_VERSYM": (elf.DT_VERSYM, None),
    "DT_VERDEF": (elf.DT_VERDEF, None),
    "DT_VERNEED": (elf.DT_VERNEED, None),
    "DT_REL": (elf.DT_REL, elf.DT_RELSZ),
    "DT_RELA": (elf.DT_RELA, elf.DT_RELASZ),
    "DT_RELR": (elf.DT_RELR, elf.DT_RELRSZ),
    "DT_JMPREL": (elf.DT_JMPREL, elf.DT_PLTRELSZ),
    "DT_ANDROID_REL": (elf.DT_ANDROID_REL, elf.DT_ANDROID_RELSZ),
    "DT_ANDROID_RELA": (elf.DT_ANDROID_RELA, elf.DT_ANDROID_RELASZ),
    "DT_ANDROID_RELR": (elf.DT_ANDROID_RELR, elf.DT_ANDROID_RELRSZ),
}


class DynamicSection(Check):
    """The tables by which the loader finds symbols and relocations are read-only.

    What it protects
    ----------------
    Lazy binding, dlsym() and every library loaded later read the names of symbols, the hash tables and the relocations
    while the program runs. Who can overwrite one of them chooses which function a call or a look-up ends in
    ("ret2dlresolve").

    Evidence
    --------
    The addresses that DT_STRTAB, DT_SYMTAB, DT_HASH, DT_GNU_HASH, DT_VERSYM, DT_VERDEF, DT_VERNEED, DT_REL, DT_RELA,
    DT_RELR and DT_JMPREL name, first and last byte where the size is known: each lies in a PT_LOAD, and in one that is
    not writable or inside what PT_GNU_RELRO protects. A table of size 0 is none. That the dynamic section itself
    becomes read-only is the question of relro; that it lies inside a PT_LOAD and ends is a condition for the file to be
    read at all.

    When it does not apply
    ----------------------
    Static programs: they look nothing up. Objects and archives: the link step decides.

    Fix
    ---
    Drop the linker script, or the -Wl,-N, that moves .dynstr, .dynsym or .rela.plt among the data. `patchelf` moves the
    sections that it makes larger into a new segment that is writable: set the search path or the interpreter when
    linking instead.

    References
    ----------
    System V gABI, "Dynamic Section"; glibc elf/dl-runtime.c (_dl_fixup), elf/dl-reloc.c (_dl_protect_relro); annocheck,
    "writable-got".
    """

    name = "dynamic-section"
    label = "Read-only dynamic tables"
    kinds = LINKED

    def why_not_kind(self, kind: Kind) -> str:
        return "static: nothing is looked up while it runs" if kind.is_static else super().why_not_kind(kind)

    def inapplicable(self, facts: ElfFacts) -> str:
        return "" if facts.dynamic is not None else "no dynamic section"

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        tables = tuple(_tables(facts.dynamic)) if facts.dynamic is not None else ()
        lost = [table for table in tables if not all(_segments(facts, address) for address in table[1])]
        writable = [table for table in tables if any(_writable(facts, address) for address in table[1])]
        if lost:
            return self.failed(
                f"{', '.join(name for name, _ in lost)}: outside of what is loaded",
                *_evidence(lost, "in no PT_LOAD"),
                remedy="link it again: no linker writes such a file",
                writable=[name for name, _ in writable],
            )
        if writable:
            return self.failed(
                f"tables of the loader stay writable: {', '.join(name for name, _ in writable)}",
                *_evidence(writable, "in a writable PT_LOAD and not protected by PT_GNU_RELRO"),
                remedy="link without the linker script or -Wl,-N that moves them among the data; "
                "set search path and interpreter when linking instead of with patchelf",
                writable=[name for name, _ in writable],
            )
        return self.passed(
            "the loader's tables are read-only",
            *_evidence(tables[:1], "in a PT_LOAD that is not writable"),
            writable=[],
        )


_Table = tuple[str, tuple[int, ...]]  # the tag's name, and the first and the last address


def _tables(dynamic: Dynamic) -> Iterator[_Table]:
    for name, (tag, size_tag) in _TABLES.items():
        if tag not in dynamic:
            continue
        address, size = dynamic.tags[tag], 1 if size_tag is None else dynamic.tags.get(size_tag, 0)
        if size:
            yield name, (address, address + size - 1)


def _segments(facts: ElfFacts, address: int) -> list[elf.Segment]:
    return [segment for segment in facts.segments if segment.type == elf.PT_LOAD and segment.covers(address)]


def _writable(facts: ElfFacts, address: int) -> bool:
    relro = facts.segment(elf.PT_GNU_RELRO)
    protected = relro is not None and relro.vaddr & -_PAGE <= address < relro.end & -_PAGE
    return facts.writable(address) and not protected


def _evidence(tables: tuple[_Table, ...] | list[_Table], where: str) -> Iterator[Evidence]:
    for name, addresses in tables:
        yield Evidence("dynamic section", f"{name} {addresses[0]:#x}: {where}")
