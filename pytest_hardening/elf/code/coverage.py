"""How much of a linked file's code lies in functions that are known."""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator

from .. import layout as elf
from ..facts import ElfFacts
from ..image import Image
from ..machines import EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64
from .functions import FunctionList

__all__ = ["uncovered_code"]

# bytes of GCC's crtbegin: deregister_tm_clones, register_tm_clones, __do_global_dtors_aux, frame_dummy, of which no
# table tells anything. Measured with GCC 11 and 12, and rounded up to the next multiple of 8
_START_FILES = {
    "x86-64": 240, "i386": 264, "aarch64": 264, "arm": 256, "ppc64le": 816, "s390x": 256, "riscv64": 152,
}  # fmt: skip
_OTHER_START_FILES = 272
_PIECE = 1 << 18
_NOP = 0xD503201F
_LARGEST_STUBS = 1 << 14
_LONGEST_PADDING = 63  # between functions: some begin at a line of the cache
_STUB = 40  # Power: the linker's call stubs stand among the functions, with what saves and restores registers
_NO_CODE = re.compile(r"\.(plt|iplt|init$|fini$|glink)")  # made by linkers and start files

# What assemblers and linkers fill gaps with: no-operations, traps and zeros. binutils gas/config/tc-*.c,
# *_handle_align; bfd/cpu-*.c, fill functions; lld ELF/Arch/*.cpp, trapInstr
_X86 = (
    rb"[\x66\x2e\x90]*(?:\x0f\x1f(?:\x00|\x40.|\x44..|\x80.{4}|\x84.{5})|\x90)"
    rb"|\x2e?\x8d(?:[\x76\x7f]\x00|[\x74\x7c][\x26\x27]\x00|[\xb6\xbf]\0{4}|[\xb4\xbc][\x26\x27]\0{4})"
    rb"|\x89\xf6|[\xcc\x00]"
)
_FILLS = {
    EM_X86_64: _X86,
    EM_386: _X86,
    EM_AARCH64: rb"\x1f\x20\x03\xd5|.{4}\0{4}|\0",  # the large model keeps addresses behind its functions
    EM_ARM: rb"\0\0\xa0\xe1|\0\xf0\x20\xe3|\0\xbf|\xc0\x46|\xaf\xf3\0\x80|\xd4\xd4\xd4\xd4|\0",
    EM_PPC64: rb"\0\0\0\x60|\0|\x08\0\xe0\x7f",
    EM_S390: rb"\x07.|\x47\0\0\0|\xc0\x04\0{4}|\0",
    EM_RISCV: rb"\x13\0\0\0|\x01\0|\0",
}


def uncovered_code(image: Image, facts: ElfFacts, functions: FunctionList, stubs: Collection[int]) -> int:
    """Bytes of code outside of all known functions; 0 where that is no more than start files and padding.

    Parameters
    ----------
    image, facts: a linked file.
    functions: those that are known.
    stubs: the addresses of the linker's call stubs.
    """
    power = facts.machine.number == EM_PPC64
    fill = re.compile(rb"(?:" + _FILLS.get(facts.machine.number, rb".") + rb")*", re.DOTALL)
    allowed = _START_FILES.get(facts.machine.name, _OTHER_START_FILES) + (_STUB * len(stubs) if power else 0)
    if not any(section.executable and section.size for section in facts.sections):
        allowed += sum(size for _, size in _code_sizes(image)) // 4  # read-only data and stubs may lie beside the code
    total = others = 0
    for start, end in _code(image, facts):
        is_text = any(s.name == ".text" and s.addr == start for s in facts.sections) or not facts.sections
        code = _Bytes(image, start, end)
        for at, size in _gaps(functions, start, end, thumb=facts.machine.number == EM_ARM):
            if facts.machine.number == EM_AARCH64 and size <= _LARGEST_STUBS and _is_stubs(code.of(at, size)):
                continue
            if size > _LONGEST_PADDING or not fill.fullmatch(code.of(at, size)):
                total += size
                inside = sum(at <= stub < at + size for stub in stubs) if power and not is_text else 0
                others += 0 if is_text or size <= _STUB * inside else size  # start files are in .text
    return total if total > allowed or others else 0


def _is_stubs(data: bytes) -> bool:
    """Whether it is what GNU ld puts between functions of aarch64 for the erratum 843419 of Cortex-A53: a branch over
    all of it, stubs of the instruction that was moved there and a branch back, and zeros (bfd/elfnn-aarch64.c,
    _bfd_aarch64_resize_stubs).
    """
    words = struct.unpack(f"<{len(data) // 4}I", data[: len(data) & ~3])
    start = next((place for place, word in enumerate(words) if word != _NOP), 2)
    if start >= 2 or words[start] != 0x14000000 | len(words) - start:
        return False
    rest = words[start + 1 :]
    while rest and rest[0] == _NOP:
        rest = rest[1:]
    return all(not any(pair) or pair[-1] >> 26 == 5 for pair in (rest[at : at + 2] for at in range(0, len(rest), 2)))


class _Bytes:
    """Code, read once from its start to its end in pieces."""

    def __init__(self, image: Image, start: int, end: int) -> None:
        self._image = image
        self._end = end
        self._at = start
        self._data = b""

    def of(self, address: int, size: int) -> bytes:
        """Bytes that lie behind those that were asked for before, no more than a piece of them."""
        if address + size > self._at + len(self._data):
            self._at, self._data = address, self._image.at(address, min(_PIECE, self._end - address))
        return self._data[address - self._at : address - self._at + size]


def _code(image: Image, facts: ElfFacts) -> Iterator[tuple[int, int]]:
    """Address ranges of code that a compiler made: sections, or whole segments where there are no section headers."""
    code = [section for section in facts.sections if section.executable and section.size]
    if code:
        yield from ((s.addr, s.addr + s.size) for s in code if s.allocated and not _NO_CODE.match(s.name))
    else:
        yield from ((start, start + size) for start, size in _code_sizes(image))


def _code_sizes(image: Image) -> Iterator[tuple[int, int]]:
    for segment in image.segments:
        if segment.type == elf.PT_LOAD and segment.flags & elf.PF_X:
            yield segment.vaddr, segment.filesz


def _gaps(functions: FunctionList, start: int, end: int, *, thumb: bool) -> Iterator[tuple[int, int]]:
    """Start and size of what lies between the functions."""
    at = start
    for first, size in functions.spans():
        address = first & ~1 if thumb else first
        if address + size <= at:
            continue
        if address >= end:
            break
        if address > at:
            yield at, address - at
        at = address + size
    if end > at:
        yield at, end - at
