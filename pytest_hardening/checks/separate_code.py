from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..elf.facts import ElfFacts
from ..elf.layout import PF_W, PF_X, PT_LOAD, PT_PHDR, SHT_NOBITS, Segment
from ..model import Evidence, Verdict
from .base import LINKED, Check

__all__ = ["SeparateCode"]

_PAGE = 0x1000  # the smallest page of a Linux machine; where pages are larger, more is shared
_HEADER = 52  # bytes of the smaller ELF header
_SHOWN = 6
_MOST_CULPRITS = 64


class SeparateCode(Check):
    """Executable memory holds instructions and nothing else.

    What it protects
    ----------------
    Headers, strings and tables hold bytes that an attacker can know or choose. Mapped as executable memory, they are a
    quarry for code reuse attacks.

    Evidence
    --------
    The file's pages that the loader maps for a PT_LOAD with PF_X, whole pages of 4 KiB: no ELF header, no program
    headers, no part of another PT_LOAD and no section other than code may lie in them. lld's default gives code a
    segment of its own and lets it share its first and last page with other data: no separate code. Data that a source
    puts into .text (jump tables of hand-written assembly) cannot be told from code.

    When it does not apply
    ----------------------
    Files without executable segment; objects and archives: the link step decides.

    Fix
    ---
    Link with -Wl,-z,separate-code. GNU ld does so by default for x86 alone; lld needs the option on every machine; gold
    has none (its --rosegment leaves the ELF header among the code). Files grow by up to a few pages.

    References
    ----------
    ld manual (-z separate-code); lld manual page (-z separate-code); Linux fs/binfmt_elf.c, elf_map.
    """

    name = "separate-code"
    label = "Separate code"
    kinds = LINKED

    def inapplicable(self, facts: ElfFacts) -> str:
        return "" if _code(facts) else "no executable segment"

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        found = list(dict.fromkeys(name for segment in _code(facts) for name in _others(facts, segment)))
        seen = tuple(
            Evidence("program headers", f"PT_LOAD with PF_X: pages {start:#x}..{end:#x} of the file")
            for start, end in map(_pages, _code(facts))
        )
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            return self.failed(
                f"executable memory also holds {', '.join(found[:_SHOWN])}{more}",
                *seen[:_SHOWN],
                remedy="link with -Wl,-z,separate-code (GNU ld or lld)",
                culprits=tuple(found[:_MOST_CULPRITS]),
                separate=False,
            )
        if not facts.sections:
            return self.unknown(
                "no section headers: whether data lies among the code cannot be told", *seen[:_SHOWN], separate=None
            )
        return self.passed("executable pages hold nothing but code", *seen[:_SHOWN], separate=True)


def _code(facts: ElfFacts) -> tuple[Segment, ...]:
    return tuple(s for s in facts.segments if s.type == PT_LOAD and s.flags & PF_X and s.filesz)


def _pages(segment: Segment) -> tuple[int, int]:
    """The file offsets that a segment maps: begin and end of whole pages."""
    return segment.offset & -_PAGE, (segment.offset + segment.filesz + _PAGE - 1) & -_PAGE


def _others(facts: ElfFacts, code: Segment) -> Iterator[str]:
    """What else lies in the pages of an executable segment, by the names that people know."""
    start, end = _pages(code)
    if start < _HEADER:
        yield "the ELF header"
    headers = facts.segment(PT_PHDR)
    if headers is not None and start < headers.offset + headers.filesz and headers.offset < end:
        yield "the program headers"
    named = False
    for section in facts.sections:
        inside = start < section.offset + section.size and section.offset < end
        if inside and section.allocated and not section.executable and section.type != SHT_NOBITS:
            named = True
            yield section.name or "a section without name"
    if named:
        return
    for other in facts.segments:
        last = other.offset + other.filesz
        if other.type != PT_LOAD or other.flags & PF_X or last <= _HEADER:
            continue
        if start < last and other.offset < end:
            yield "writable data" if other.flags & PF_W else "read-only data"
