"""The fixed-size records of ELF for both classes and byte orders, and the constants that the reader needs.

Source: System V gABI, "Object Files" and "Program Loading and Dynamic Linking"; GNU values from glibc's elf.h.
Whole tables are unpacked at once: building one pyelftools object per record costs 2 ms a file, this 0.05 ms.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_PHDR, PT_TLS = 1, 2, 3, 4, 6, 7
PT_GNU_STACK, PT_GNU_RELRO, PT_GNU_PROPERTY = 0x6474E551, 0x6474E552, 0x6474E553
PF_X, PF_W, PF_R = 1, 2, 4
PN_XNUM = 0xFFFF

SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOTE, SHT_NOBITS, SHT_REL = 0, 1, 2, 3, 4, 7, 8, 9
SHT_SYMTAB_SHNDX = 18
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
SHN_UNDEF, SHN_XINDEX = 0, 0xFFFF

STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE, STT_TLS, STT_GNU_IFUNC = 1, 2, 3, 4, 6, 10
STV_DEFAULT, STV_INTERNAL, STV_HIDDEN, STV_PROTECTED = 0, 1, 2, 3

DT_NULL, DT_NEEDED, DT_PLTRELSZ, DT_PLTGOT, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA = 0, 1, 2, 3, 4, 5, 6, 7
DT_RELASZ, DT_STRSZ, DT_INIT, DT_FINI, DT_SONAME, DT_RPATH = 8, 10, 12, 13, 14, 15
DT_REL, DT_RELSZ, DT_PLTREL, DT_DEBUG = 17, 18, 20, 21
DT_TEXTREL, DT_JMPREL, DT_BIND_NOW, DT_INIT_ARRAY, DT_FINI_ARRAY = 22, 23, 24, 25, 26
DT_INIT_ARRAYSZ, DT_FINI_ARRAYSZ, DT_RUNPATH, DT_FLAGS = 27, 28, 29, 30
DT_RELRSZ, DT_RELR = 35, 36
DT_VERSYM, DT_VERDEF, DT_VERNEED = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFE
DT_AUXILIARY, DT_FILTER = 0x7FFFFFFD, 0x7FFFFFFF
DT_GNU_HASH, DT_RELACOUNT, DT_RELCOUNT, DT_FLAGS_1 = 0x6FFFFEF5, 0x6FFFFFF9, 0x6FFFFFFA, 0x6FFFFFFB
DT_ANDROID_REL, DT_ANDROID_RELSZ, DT_ANDROID_RELA, DT_ANDROID_RELASZ = 0x6000000F, 0x60000010, 0x60000011, 0x60000012
DT_MIPS_GOTSYM = 0x70000013
DT_DEPAUDIT, DT_AUDIT = 0x6FFFFEFB, 0x6FFFFEFC
DT_ANDROID_RELR, DT_ANDROID_RELRSZ = 0x6FFFE000, 0x6FFFE001
DF_TEXTREL, DF_BIND_NOW = 4, 8
DF_1_NOW, DF_1_NOOPEN, DF_1_PIE = 1, 0x40, 0x08000000

NT_GNU_PROPERTY_TYPE_0 = 5


class Header(NamedTuple):
    ident: bytes
    type: int
    machine: int
    version: int
    entry: int
    phoff: int
    shoff: int
    flags: int
    ehsize: int
    phentsize: int
    phnum: int
    shentsize: int
    shnum: int
    shstrndx: int


class Segment(NamedTuple):
    """One program header, in the field order of ELFCLASS64; addresses and sizes in bytes."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int

    @property
    def end(self) -> int:
        return self.vaddr + self.memsz

    def covers(self, address: int) -> bool:
        return self.vaddr <= address < self.vaddr + self.memsz


class RawSection(NamedTuple):
    name: int
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    addralign: int
    entsize: int


class RawSymbol(NamedTuple):
    """One symbol, in the field order of ELFCLASS64."""

    name: int
    info: int
    other: int
    shndx: int
    value: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The records of one class and byte order."""

    bits: Literal[32, 64]
    order: Literal["little", "big"]
    header: struct.Struct
    segment: struct.Struct
    section: struct.Struct
    dynamic: struct.Struct
    symbol: struct.Struct
    rel: struct.Struct
    rela: struct.Struct
    word: struct.Struct

    @property
    def prefix(self) -> str:
        return "<" if self.order == "little" else ">"

    def segments(self, data: bytes) -> tuple[Segment, ...]:
        if self.bits == 64:
            return tuple(map(Segment._make, self.segment.iter_unpack(data)))
        return tuple(
            Segment(kind, flags, offset, vaddr, paddr, filesz, memsz, align)
            for kind, offset, vaddr, paddr, filesz, memsz, flags, align in self.segment.iter_unpack(data)
        )

    def symbols(self, data: bytes) -> Iterator[RawSymbol]:
        if self.bits == 64:
            return map(RawSymbol._make, self.symbol.iter_unpack(data))
        return map(_symbol32, self.symbol.iter_unpack(data))

    def symbol_at(self, data: bytes, index: int) -> RawSymbol:
        fields = self.symbol.unpack_from(data, index * self.symbol.size)
        return RawSymbol._make(fields) if self.bits == 64 else _symbol32(fields)


def _symbol32(fields: tuple[int, ...]) -> RawSymbol:
    name, value, size, info, other, shndx = fields
    return RawSymbol(name, info, other, shndx, value, size)


@cache
def layout(bits: Literal[32, 64], order: Literal["little", "big"]) -> Layout:
    """The layout of ELFCLASS`bits` in `order` byte order."""
    prefix = "<" if order == "little" else ">"

    def record(format32: str, format64: str) -> struct.Struct:
        return struct.Struct(prefix + (format64 if bits == 64 else format32))

    return Layout(
        bits=bits,
        order=order,
        header=record("16sHHIIIIIHHHHHH", "16sHHIQQQIHHHHHH"),
        segment=record("8I", "IIQQQQQQ"),
        section=record("10I", "IIQQQQIIQQ"),
        dynamic=record("II", "QQ"),
        symbol=record("IIIBBH", "IBBHQQ"),
        rel=record("II", "QQ"),
        rela=record("IIi", "QQq"),
        word=record("I", "Q"),
    )
