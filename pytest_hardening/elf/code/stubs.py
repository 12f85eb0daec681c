"""Which import a call leads to: PLT stubs and GOT slots by name.

The dynamic relocations say which slot the loader fills with which function. A stub is a few instructions that jump
through a slot; it is found by its bytes in the executable segments, so no section header is needed.

Sources: psABI of x86-64 and i386, "Procedure Linkage Table"; GNU ld bfd/elfxx-x86.c and elf{64-x86-64,32-i386}.c (.plt,
.plt.got, .plt.sec), lld ELF/Arch/X86_64.cpp.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from .. import layout as elf
from ..image import Image
from ..machines import EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64, Machine
from ..relocations import dynamic_tables, relocations_in
from ..symbols import dynamic_symbols

__all__ = ["slot_names", "stub_names"]

_MOST_SLOTS = 1 << 18
_IRELATIVE = {EM_X86_64: 37, EM_386: 42, EM_AARCH64: 1032, EM_ARM: 160, EM_PPC64: 248, EM_S390: 61, EM_RISCV: 58}
_RISCV_64 = 2
_OVERLAP = 16
_OFFSET = struct.Struct("<i")


def stub_names(image: Image, machine: Machine) -> Mapping[int, str]:
    """Names of imports by the address of each stub that jumps to them, and of each slot that holds their address.

    Raises
    ------
    ArtifactError: a table is damaged.
    """
    slots = slot_names(image, machine)
    if not slots:
        return slots
    if machine.is_x86:
        return slots | dict(_x86_stubs(image, machine, slots))
    from .stubs_other import stub_names_other

    return slots | dict(stub_names_other(image, machine, slots))


def slot_names(image: Image, machine: Machine) -> dict[int, str]:
    """Names of imports by the address of the slot that the loader, or a static program's start code, fills."""
    if image.dynamic is None:
        return _static_slots(image, machine)
    types = {machine.jump_slot, machine.glob_dat}
    if machine.number == EM_RISCV:  # it has no type of its own for the GOT
        types.add(_RISCV_64)
    table = dynamic_symbols(image)
    found: dict[int, str] = {}
    for offset, size, record in dynamic_tables(image, relative=False):
        for relocation in relocations_in(image, offset, size, record):
            if relocation.type in types and relocation.symbol:
                found[relocation.offset] = table.name_at(relocation.symbol)
                if len(found) >= _MOST_SLOTS:
                    return found
    return found | (_static_slots(image, machine) if not image.dynamic.needed else {})


def _static_slots(image: Image, machine: Machine) -> dict[int, str]:
    """The slots of indirect functions in a static program: the relocation's addend is the address of the function that
    chooses, which bears the name.
    """
    kind = _IRELATIVE.get(machine.number)
    places: dict[int, int] = {}
    for section in image.sections:
        if section.type not in (elf.SHT_RELA, elf.SHT_REL) or not section.allocated:
            continue
        record = image.layout.rela if section.type == elf.SHT_RELA else image.layout.rel
        mask = (1 << (32 if image.layout.bits == 64 else 8)) - 1
        for chunk in image.source.chunks(section.offset, section.size - section.size % record.size, record.size):
            for fields in record.iter_unpack(chunk):
                if fields[1] & mask == kind and len(places) < _MOST_SLOTS:
                    word = image.layout.word
                    addend = fields[2] if len(fields) > 2 else word.unpack(image.at(fields[0], word.size))[0]
                    places[fields[0]] = addend
    if not places:
        return {}
    from ..symbols import symbol_section

    names: dict[int, str] = {}
    wanted = set(places.values())
    table = symbol_section(image)
    for symbol in table.as_stored():
        # the chooser's own name may be strcpy_ifunc, that of the indirect function is strcpy
        if symbol.value in wanted and symbol.info & 15 == elf.STT_GNU_IFUNC:
            known = names.get(symbol.value, "_")
            if known.startswith("_"):
                names[symbol.value] = table.name(symbol)
    return {slot: names[resolver] for slot, resolver in places.items() if resolver in names}


def _x86_stubs(image: Image, machine: Machine, slots: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    """Stubs begin with `jmp *slot`, perhaps behind endbr64 or endbr32 and with a bnd prefix: 25 is relative to the next
    instruction on x86-64 and absolute on i386, a3 is relative to the GOT, in ebx.
    """
    base = image.dynamic.tags.get(elf.DT_PLTGOT, 0) if image.dynamic else 0
    long = machine.number == EM_X86_64
    mask = (1 << (64 if long else 32)) - 1
    for start, data in _code(image):
        for jump in (b"\xff\x25",) if long else (b"\xff\x25", b"\xff\xa3"):
            position = data.find(jump)
            while 0 <= position <= len(data) - 6:
                place = start + position
                (offset,) = _OFFSET.unpack_from(data, position + 2)
                start_of_slots = place + 6 if long else base if jump == b"\xff\xa3" else 0
                name = slots.get((start_of_slots + offset) & mask)
                if name:
                    yield from ((address, name) for address in _beginnings(data, position, place))
                position = data.find(jump, position + 1)


def _beginnings(data: bytes, position: int, place: int) -> Iterator[int]:
    yield place
    if data[position - 1 : position] == b"\xf2":
        position, place = position - 1, place - 1
        yield place
    if data[position - 4 : position] in (b"\xf3\x0f\x1e\xfa", b"\xf3\x0f\x1e\xfb"):
        yield place - 4


def _code(image: Image) -> Iterator[tuple[int, bytes]]:
    """Executable segments in pieces that overlap by a stub's length, each with its address."""
    for segment in image.segments:
        if segment.type != elf.PT_LOAD or not segment.flags & elf.PF_X:
            continue
        before = b""
        position = 0
        for chunk in image.source.chunks(segment.offset, segment.filesz, 1):
            yield segment.vaddr + position - len(before), before + chunk
            position += len(chunk)
            before = chunk[-_OVERLAP:]
