"""How much of a linked file's code lies in functions that are known."""

from __future__ import annotations

from collections.abc import Iterator

from .. import layout as elf
from ..facts import ElfFacts
from ..image import Image
from ..machines import EM_ARM, EM_PPC64
from .functions import FunctionList

__all__ = ["uncovered_code"]

# bytes of GCC's crtbegin: deregister_tm_clones, register_tm_clones, __do_global_dtors_aux, frame_dummy, of which no
# table tells anything. Measured with GCC 11 and 12, and rounded up to the next multiple of 8
_START_FILES = {
    "x86-64": 240, "i386": 264, "aarch64": 264, "arm": 256, "ppc64le": 816, "s390x": 256, "riscv64": 152,
}  # fmt: skip
_OTHER_START_FILES = 272
_PADDING = 63  # between functions: some begin at a line of the cache
_STUB = 40  # Power: the linker's call stubs stand among the functions, with what saves and restores registers


def uncovered_code(image: Image, facts: ElfFacts, functions: FunctionList, stubs: int) -> int:
    """Bytes of code outside of all known functions; 0 where that is no more than start files and padding.

    Parameters
    ----------
    image, facts: a linked file.
    functions: those that are known.
    stubs: how many of the linker's call stubs are known.
    """
    power = facts.machine.number == EM_PPC64
    gaps = []
    for start, end in _code(image, facts):
        gaps += list(_gaps(functions, start, end, thumb=facts.machine.number == EM_ARM))
    allowed = _START_FILES.get(facts.machine.name, _OTHER_START_FILES) + (_STUB * stubs if power else 0)
    if not any(section.name == ".text" for section in facts.sections):
        allowed += sum(size for _, size in _code_sizes(image)) // 4  # read-only data and stubs may lie beside the code
    total = sum(size for size in gaps if size > _PADDING)
    return total if total > allowed else 0


def _code(image: Image, facts: ElfFacts) -> Iterator[tuple[int, int]]:
    """Address ranges of code that a compiler made: .text, or whole segments where there are no section headers."""
    named = [section for section in facts.sections if section.name == ".text" and section.size]
    if named:
        yield from ((section.addr, section.addr + section.size) for section in named)
    else:
        yield from ((start, start + size) for start, size in _code_sizes(image))


def _code_sizes(image: Image) -> Iterator[tuple[int, int]]:
    for segment in image.segments:
        if segment.type == elf.PT_LOAD and segment.flags & elf.PF_X:
            yield segment.vaddr, segment.filesz


def _gaps(functions: FunctionList, start: int, end: int, *, thumb: bool) -> Iterator[int]:
    at = start
    for first, size in functions.spans():
        address = first & ~1 if thumb else first
        if address + size <= at:
            continue
        if address >= end:
            break
        if address > at:
            yield address - at
        at = address + size
    if end > at:
        yield end - at
