"""The bytes of debug sections: in the file, compressed, and with the relocations of object files applied.

Source: gABI, "Section Compression" (SHF_COMPRESSED); the older .zdebug_* as binutils' bfd/compress.c reads them; the
relocations from the processor supplements. pyelftools applies none of RISC-V, where DWARF needs sums of relocations.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from ..errors import ArtifactError
from . import layout as elf
from .facts import Section
from .image import Image
from .machines import EM_386, EM_AARCH64, EM_ARM, EM_LOONGARCH, EM_PPC, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64
from .symbols import SymbolTable, symbol_section

__all__ = ["DebugSection", "debug_section"]

_MOST_DECOMPRESSED = 1 << 26  # bytes of one section
_MOST_RELOCATIONS = 1 << 18  # of one section
_SHF_GROUP, _SHF_COMPRESSED = 0x200, 0x800
_COMPRESSIONS = {1: "zlib", 2: "zstd"}

# machine -> relocations that put symbol + addend there
_ABSOLUTE = {
    EM_X86_64: frozenset((1, 10, 11)),
    EM_386: frozenset((1,)),
    EM_AARCH64: frozenset((1, 257, 258)),
    EM_ARM: frozenset((2,)),
    EM_PPC64: frozenset((38, 1)),
    EM_PPC: frozenset((1,)),
    EM_S390: frozenset((22, 4)),
    EM_RISCV: frozenset((1, 2, 54, 55, 56)),
    EM_LOONGARCH: frozenset((1, 2)),
}
# machine -> relocations that add symbol + addend to what is there, and those that subtract it
_SUMS = {
    EM_RISCV: (frozenset((33, 34, 35, 36)), frozenset((37, 38, 39, 40))),
    EM_LOONGARCH: (frozenset((47, 48, 50, 51)), frozenset((52, 53, 55, 56))),
}


class DebugSection:
    """One section.

    Parameters
    ----------
    image, section: where it stands. Its bytes are read where they are needed, if it is not compressed.

    Raises
    ------
    ArtifactError: it cannot be decompressed, or has too many relocations.
    """

    __slots__ = ("_data", "_image", "_offset", "_relocations", "_symbols", "size")

    def __init__(self, image: Image, section: Section) -> None:
        self._image = image
        self._offset = section.offset
        self._data = _decompressed(image, section)
        self.size = section.size if self._data is None else len(self._data)
        self._relocations: _Relocations | None = None
        self._symbols = SymbolTable(image, b"", b"")
        if image.header.type == elf.ET_REL:
            self._relocations = _Relocations(image, image.sections.index(section))
            self._symbols = symbol_section(image)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset` on, fewer than `size` at the section's end; relocations are not applied."""
        if not 0 <= offset <= self.size:
            raise ArtifactError(f"offset {offset:#x} lies outside a section of {self.size:#x} bytes")
        size = min(size, self.size - offset)
        if self._data is not None:
            return self._data[offset : offset + size]
        return self._image.source.read(self._offset + offset, size)

    def word(self, offset: int, size: int) -> int:
        """The number at `offset`, relocated."""
        data = self.read(offset, size)
        if len(data) < size:
            raise ArtifactError(f"it ends at {self.size:#x}, inside a number")
        return self.relocated(offset, size, int.from_bytes(data, self._image.layout.order))

    def relocated(self, offset: int, size: int, value: int) -> int:
        """`value`, which stands at `offset`, after the relocations there."""
        if self._relocations is None:
            return value
        machine = self._image.header.machine
        plus, minus = _SUMS.get(machine, (frozenset(), frozenset()))
        for kind, index, addend in self._relocations.at(offset):
            if machine not in _ABSOLUTE:
                raise ArtifactError("the relocations of this architecture's debug information are not known")
            target = self._symbols[index].value + (value if addend is None else addend)
            if kind in _ABSOLUTE[machine]:
                value = target
            elif kind in plus:
                value += target
            elif kind in minus:
                value -= target
            else:
                raise ArtifactError(f"relocation type {kind} in debug information is unknown")
        return value & ((1 << 8 * size) - 1)

    def section_of(self, offset: int) -> int:
        """The index of the section that the address at `offset` lies in, from its relocation; 0 where there is none."""
        found = next(self._relocations.at(offset), None) if self._relocations is not None else None
        return self._symbols[found[1]].shndx if found is not None else 0


def debug_section(image: Image, name: str) -> DebugSection | None:
    """The section `.debug_NAME` or `.zdebug_NAME`; None where there is none.

    Object files may have several: those in groups, of which the linker keeps one, hold types.
    """
    names = (f".debug_{name}", f".zdebug_{name}")
    found = [s for s in image.sections if s.name in names and s.type != elf.SHT_NOBITS and s.size]
    found.sort(key=lambda section: section.flags & _SHF_GROUP)
    return DebugSection(image, found[0]) if found else None


def _decompressed(image: Image, section: Section) -> bytes | None:
    """The contents of a compressed section; None where it is not compressed."""
    source = image.source
    if section.flags & _SHF_COMPRESSED:
        record = struct.Struct(image.layout.prefix + ("IIQQ" if image.layout.bits == 64 else "III"))
        if section.size < record.size:
            raise ArtifactError(f"{section.name} is smaller than its compression header")
        fields = record.unpack(source.read(section.offset, record.size))
        kind, size, start = fields[0], fields[-2], record.size
        if kind != 1:
            raise ArtifactError(f"{section.name} is compressed with {_COMPRESSIONS.get(kind, f'method {kind}')}")
    elif section.name.startswith(".zdebug_"):
        if section.size < 12 or source.read(section.offset, 4) != b"ZLIB":
            raise ArtifactError(f"{section.name} does not begin with ZLIB")
        start = 12
        size = int.from_bytes(source.read(section.offset + 4, 8), "big")
    else:
        return None
    if size > _MOST_DECOMPRESSED or section.size > _MOST_DECOMPRESSED:
        raise ArtifactError(f"{section.name} has {size} bytes when decompressed")
    try:
        stream = zlib.decompressobj()
        data = stream.decompress(source.read(section.offset + start, section.size - start), size + 1)
    except zlib.error as error:
        raise ArtifactError(f"{section.name} cannot be decompressed: {error}") from None
    if len(data) != size:
        raise ArtifactError(f"{section.name} has another size when decompressed than it says")
    return data


class _Relocations:
    """The relocations of one section of an object file, kept as the file's bytes."""

    __slots__ = ("_data", "_places", "_record", "_shift")

    def __init__(self, image: Image, target: int) -> None:
        sections = [s for s in image.sections if s.type in (elf.SHT_REL, elf.SHT_RELA) and s.info == target]
        self._record = image.layout.rel
        self._data = b""
        self._shift = 32 if image.layout.bits == 64 else 8
        if len(sections) > 1:
            raise ArtifactError(f"two sections of relocations for {image.sections[target].name}")
        for section in sections:
            self._record = image.layout.rela if section.type == elf.SHT_RELA else image.layout.rel
            if section.size // self._record.size > _MOST_RELOCATIONS:
                raise ArtifactError(f"{section.name} has more than {_MOST_RELOCATIONS} relocations")
            self._data = image.source.read(section.offset, section.size - section.size % self._record.size)
        self._places: dict[int, int] = {}  # offset -> the first relocation there; others follow it
        for index, fields in enumerate(self._record.iter_unpack(self._data)):
            self._places.setdefault(fields[0], index)

    def at(self, offset: int) -> Iterator[tuple[int, int, int | None]]:
        """Type, symbol and addend (None where it stands in the section) of the relocations at an offset."""
        index = self._places.get(offset)
        while index is not None and (index + 1) * self._record.size <= len(self._data):
            place, info, *addend = self._record.unpack_from(self._data, index * self._record.size)
            if place != offset:
                return
            yield info & ((1 << self._shift) - 1), info >> self._shift, addend[0] if addend else None
            index += 1
