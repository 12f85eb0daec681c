"""Which import a call stub leads to, on architectures other than x86.

A stub loads the address that the loader put into a slot and jumps to it. Each kind is found by its last instructions,
which nothing else in a program ends with, and then read backwards; section headers are not needed. A stub counts only
if what it loads is a slot of the relocations.

Sources: GNU ld bfd/elfnn-aarch64.c, elf32-arm.c, elf64-ppc.c, elf64-s390.c, elfnn-riscv.c; lld ELF/Arch; ELFv2 ABI,
"Call stubs".
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from .. import layout as elf
from ..image import Image
from ..machines import EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, Machine

__all__ = ["stub_names_other"]

_LONGEST = 32  # bytes of the longest stub, and what may stand in front of it
_MOST_STUBS = 1 << 18


def stub_names_other(image: Image, machine: Machine, slots: Mapping[int, str]) -> Mapping[int, str]:
    """Names of imports by the address of each stub that jumps to them; `slots` names the loader's slots."""
    if not slots:
        return {}
    if machine.number == EM_PPC64:
        return _power(image, slots)
    find = _FINDERS.get(machine.number)
    if find is None:
        return {}
    found: dict[int, str] = {}
    for start, data in _code(image):
        for address, slot in find(start, data):
            name = slots.get(slot)
            if name and len(found) < _MOST_STUBS:
                found[address] = name
    return found


def _code(image: Image) -> Iterator[tuple[int, bytes]]:
    """Executable segments in pieces that overlap by a stub's length, each with its address."""
    for segment in image.segments:
        if segment.type == elf.PT_LOAD and segment.flags & elf.PF_X:
            before, position = b"", 0
            for piece in image.source.chunks(segment.offset, segment.filesz, 1):
                yield segment.vaddr + position - len(before), before + piece
                position += len(piece)
                before = (before + piece)[-_LONGEST:]


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _words_before(data: bytes, position: int, count: int) -> tuple[int, ...]:
    """The little-endian words in front of a position; 0 for those in front of the data."""
    piece = data[max(0, position - 4 * count) : position]
    return struct.unpack(f"<{count}I", piece.rjust(4 * count, b"\0"))


_AARCH64_END = re.compile(rb"\x20\x02\x1f\xd6")  # br x17
_AARCH64_SIGNED = (0xD503211F, 0xD503219F)  # pacia1716, autia1716
_BTI_C = 0xD503245F


def _aarch64(start: int, data: bytes) -> Iterator[tuple[int, int]]:
    """adrp x16, page; ldr x17, [x16, #n]; add x16, x16, #n; br x17; bti c in front, autia1716 before the jump."""
    for match in _AARCH64_END.finditer(data):
        position = match.start()
        if _words_before(data, position, 1)[0] in _AARCH64_SIGNED:
            position -= 4
        landing, page, load, add = _words_before(data, position, 4)
        if page & 0x9F00001F != 0x90000010 or load & 0xFFC003FF != 0xF9400211 or add & 0xFFC003FF != 0x91000210:
            continue
        address = start + position - 12
        base = (address & ~0xFFF) + (_signed(page >> 5, 19) << 14) + ((page >> 29 & 3) << 12)
        slot = base + (load >> 10 & 0xFFF) * 8
        yield address, slot
        if landing == _BTI_C:
            yield address - 4, slot


_ARM_END = re.compile(rb"[\xf0-\xff][\xbc\x9c]\xe5|\x00\xf0\x9c\xe5")  # ldr pc, [ip, #n]!


_THUMB_ENTRIES = (0x46C04778, 0xE7FD4778)  # bx pc, and nop or a branch that is never taken


def _arm(start: int, data: bytes) -> Iterator[tuple[int, int]]:
    """add ip, pc, #a; add ip, ip, #b (once or twice); ldr pc, [ip, #n]!; in front bx pc for Thumb code. lld's long
    form: ldr ip, [pc, #4]; add ip, ip, pc; ldr pc, [ip]; and the distance.
    """
    for match in _ARM_END.finditer(data):
        position = match.end() - 4
        if position < 0:
            continue
        jump = int.from_bytes(data[position : position + 4], "little")
        words = _words_before(data, position, 4)
        if words[2:] == (0xE59FC004, 0xE08CC00F) and len(data) >= position + 8:
            address = start + position - 8
            slot = address + 12 + int.from_bytes(data[position + 4 : position + 8], "little") & 0xFFFFFFFF
            thumb = words[1]
        else:
            distance, count = jump & 0xFFF, 0
            for word in reversed(words[1:]):
                count += 1
                distance += _rotated(word)
                if word & 0xFFFFF000 != 0xE28CC000:
                    break
            if words[-count] & 0xFFFFF000 != 0xE28FC000:
                continue
            address = start + position - 4 * count
            slot = address + 8 + distance & 0xFFFFFFFF
            thumb = words[-count - 1]
        yield address, slot
        if thumb in _THUMB_ENTRIES:
            yield address - 4, slot
            yield address - 4 | 1, slot


def _rotated(word: int) -> int:
    """The constant of a data-processing instruction of A32."""
    number, turn = word & 0xFF, word >> 7 & 30
    return (number >> turn | number << (32 - turn)) & 0xFFFFFFFF


# larl %r1, slot; lg %r1, 0(%r1); br %r1
_S390 = re.compile(rb"\xc0\x10(.{4})\xe3\x10\x10\x00\x00\x04\x07\xf1", re.DOTALL)


def _s390(start: int, data: bytes) -> Iterator[tuple[int, int]]:
    for match in _S390.finditer(data):
        address = start + match.start()
        yield address, address + 2 * int.from_bytes(match[1], "big", signed=True)


_RISCV_END = re.compile(rb"\x67\x03\x0e\x00")  # jalr t1, t3


def _riscv(start: int, data: bytes) -> Iterator[tuple[int, int]]:
    """auipc t3, page; ld t3, n(t3); jalr t1, t3."""
    for match in _RISCV_END.finditer(data):
        page, load = _words_before(data, match.start(), 2)
        if page & 0xFFF == 0xE17 and load & 0xFFFFF == 0xE3E03:
            address = start + match.start() - 8
            yield address, address + (_signed(page >> 12, 20) << 12) + _signed(load >> 20, 12)


_FINDERS: dict[int, Callable[[int, bytes], Iterator[tuple[int, int]]]] = {
    EM_AARCH64: _aarch64,
    EM_ARM: _arm,
    EM_S390: _s390,
    EM_RISCV: _riscv,
}

_POWER_END = re.compile(rb"\xa6\x03\x89\x7d\x20\x04\x80\x4e")  # mtctr r12; bctr
_POWER_TOC = re.compile(
    rb"(..)([\x4c\x40]\x3c)(..)\x42\x38", re.DOTALL
)  # addis r2, r12, a (or lis r2, a); addi r2, r2, b
_SAVE_TOC = 0xF8410018  # std r2, 24(r1)


def _power(image: Image, slots: Mapping[int, str]) -> dict[int, str]:
    """std r2, 24(r1); addis r12, r2, a; ld r12, b(r12); mtctr r12; bctr: relative to the TOC pointer, which no header
    tells. Functions compute it when they are entered, and the section .got tells it where there are section headers;
    what most stubs find slots with is the right one. Power10's pld r12, n needs none.
    """
    pointers: Counter[int] = Counter(section.addr + 0x8000 for section in image.sections if section.name == ".got")
    relative: list[tuple[tuple[int, ...], int]] = []  # addresses of a stub, offset from the TOC pointer
    found: dict[int, str] = {}
    for start, data in _code(image):
        for match in _POWER_TOC.finditer(data):
            place = start + match.start()
            if not place & 3 and len(pointers) < 1 << 10:
                high, low = struct.unpack("<hh", match[1] + match[3])
                pointers[(high << 16) + low + (place if match[2][0] == 0x4C else 0)] += 1
        for match in _POWER_END.finditer(data):
            stub = _power_stub(start, data, match.start())
            if stub is None or len(relative) >= _MOST_STUBS:
                continue
            addresses, offset, absolute = stub
            if absolute:
                found.update((address, slots[offset]) for address in addresses if offset in slots)
            else:
                relative.append((addresses, offset))
    best: dict[int, str] = {}
    for pointer, _ in pointers.most_common(8):
        named = {
            address: slots[pointer + offset]
            for addresses, offset in relative
            if pointer + offset in slots
            for address in addresses
        }
        if len(named) > len(best):
            best = named
    return found | best


def _power_stub(start: int, data: bytes, position: int) -> tuple[tuple[int, ...], int, bool] | None:
    """The addresses at which a stub may be entered, its offset, and whether that is an address already."""
    save, high, load = _words_before(data, position, 3)
    place = start + position
    if load & 0xFFFF0000 == 0xE5800000 and high & 0xFFFC0000 == 0x04100000:  # pld r12, n(0), 1
        offset = _signed((high & 0x3FFFF) << 16 | load & 0xFFFF, 34)
        return ((place - 8, place - 12) if save == _SAVE_TOC else (place - 8,)), place - 8 + offset, True
    low = _signed(load & 0xFFFC, 16)
    if load & 0xFFFF0003 == 0xE9820000:  # ld r12, b(r2)
        return ((place - 4, place - 8) if high == _SAVE_TOC else (place - 4,)), low, False
    if (load & 0xFFFF0003 == 0xE98C0000 and high >> 16 == 0x3D82) or (
        load & 0xFFFF0003 == 0xE98B0000 and high >> 16 == 0x3D62
    ):
        addresses = (place - 8, place - 12) if save == _SAVE_TOC else (place - 8,)
        return addresses, (_signed(high, 16) << 16) + low, False
    return None
