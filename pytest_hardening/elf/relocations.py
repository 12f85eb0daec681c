"""Relocations that the loader applies (PT_DYNAMIC) and relocations that the linker applies (object files)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import ArtifactError
from . import layout as elf
from .facts import Got, Section
from .image import Image
from .machines import EM_MIPS, Machine

__all__ = [
    "Relocation",
    "dynamic_tables",
    "got_of",
    "object_relocations_by_section",
    "relocations_in",
]


class Relocation(NamedTuple):
    """One relocation: an address or a section offset, the index of a symbol, a type."""

    offset: int
    symbol: int
    type: int


def relocations_in(image: Image, offset: int, size: int, record: struct.Struct) -> Iterator[Relocation]:
    """The relocations of a table at a file offset; `record` says whether they carry addends."""
    bits, shift = image.layout.bits, 32 if image.layout.bits == 64 else 8
    mask = (1 << shift) - 1
    little_mips64 = image.header.machine == EM_MIPS and bits == 64 and image.layout.order == "little"
    for chunk in image.source.chunks(offset, size - size % record.size, record.size):
        for fields in record.iter_unpack(chunk):
            info = fields[1]
            if little_mips64:  # r_sym is a word of its own, in front (MIPS ABI, 64-bit)
                yield Relocation(fields[0], info & 0xFFFFFFFF, info >> 56)
            else:
                yield Relocation(fields[0], info >> shift, info & mask)


def dynamic_tables(image: Image, *, relative: bool) -> list[tuple[int, int, struct.Struct]]:
    """File offset, size and record of DT_RELA, DT_REL and DT_JMPREL.

    With `relative` False the relative relocations that the linker counted in DT_RELACOUNT are left out: they come
    first, name no symbol, and are most of the table.
    """
    tags = image.dynamic.tags if image.dynamic else {}
    tables = []
    for address, size_tag, count_tag, record in (
        (elf.DT_RELA, 8, elf.DT_RELACOUNT, image.layout.rela),
        (elf.DT_REL, elf.DT_RELSZ, elf.DT_RELCOUNT, image.layout.rel),
    ):
        place = image.table(address, size_tag)
        if place is not None:
            skip = 0 if relative else min(tags.get(count_tag, 0) * record.size, place[1])
            tables.append((place[0] + skip, place[1] - skip, record))
    slots = image.table(elf.DT_JMPREL, elf.DT_PLTRELSZ)
    if slots is not None:
        with_addend = tags.get(elf.DT_PLTREL) == elf.DT_RELA
        tables.append((*slots, image.layout.rela if with_addend else image.layout.rel))
    return tables


def got_of(image: Image, machine: Machine) -> Got:
    """Where the loader's slots lie: GLOB_DAT relocations for data, the DT_JMPREL table for calls."""
    data: list[int] = []
    if machine.glob_dat is not None:
        for offset, size, record in dynamic_tables(image, relative=False):
            data += [r.offset for r in relocations_in(image, offset, size, record) if r.type == machine.glob_dat]
    calls: list[int] = []
    slots = image.table(elf.DT_JMPREL, elf.DT_PLTRELSZ)
    if slots is not None:
        calls = [r.offset for r in relocations_in(image, *slots, dynamic_tables(image, relative=False)[-1][2])]
    return Got((min(data), max(data)) if data else None, (min(calls), max(calls)) if calls else None)


def object_relocations_by_section(image: Image) -> Iterator[tuple[Section, Iterator[Relocation]]]:
    """The relocation sections of an object file, each with the section that it changes."""
    sections = image.sections
    total = 0  # sections may lie over each other
    for section in sections:
        if section.type not in (elf.SHT_REL, elf.SHT_RELA):
            continue
        record = image.layout.rela if section.type == elf.SHT_RELA else image.layout.rel
        total += section.size
        if section.info >= len(sections) or section.size % record.size or total > image.source.size:
            raise ArtifactError(f"malformed: relocation section {section.name}")
        yield sections[section.info], relocations_in(image, section.offset, section.size, record)
