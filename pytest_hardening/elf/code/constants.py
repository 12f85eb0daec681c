"""Constant texts that code points to: format strings decide what FORTIFY makes of a call."""

from __future__ import annotations

from ...errors import ArtifactError
from .. import layout as elf
from ..image import Image
from ..machines import EM_X86_64
from ..symbols import symbol_section

__all__ = ["NO_TEXTS", "Texts", "texts_of_object", "texts_of_program"]

_MOST_TEXT = 4096
_MOST_RELOCATIONS = 1 << 20
_RELATIVE = frozenset((2, 4))  # R_X86_64_PC32, R_X86_64_PLT32: from the field's end, where no immediate follows it
_ABSOLUTE = frozenset((10, 11))  # R_X86_64_32, R_X86_64_32S
_PF_W = 2


class Texts:
    """The read-only data that the code of one section, or of a whole program, refers to.

    Parameters
    ----------
    image: the file; None knows nothing.
    places: in objects, where each relocated field points to in the file, and where that section ends; (0, 0) where it
    points to something else than read-only data.
    slots: addresses of the global offset table, first and end.
    """

    def __init__(
        self,
        image: Image | None,
        places: dict[int, tuple[int, int]] | None = None,
        slots: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self._image = image
        self._places = places
        self._slots = slots

    def at(self, reference: int) -> bytes | None:
        """The text at an address, in objects the one that the relocated field points to; None where it is not known."""
        if self._image is None:
            return None
        if self._places is not None:
            start, end = self._places.get(reference, (0, 0))
        else:
            start, end = self._in_program(reference)
        data = self._image.source.read(start, min(end - start, _MOST_TEXT)) if start < end else b""
        text, ended, _ = data.partition(b"\0")
        return text if ended else None

    def is_slot(self, address: int) -> bool:
        """Whether the loader stores an address there."""
        return any(first <= address < end for first, end in self._slots)

    def is_relocated(self, field: int) -> bool:
        """Whether the field is filled by the linker; only in objects."""
        return self._places is not None and field in self._places

    def _in_program(self, address: int) -> tuple[int, int]:
        image = self._image
        for segment in image.segments if image is not None else ():
            if segment.type == elf.PT_LOAD and 0 <= address - segment.vaddr < segment.filesz:
                if segment.flags & _PF_W:
                    return 0, 0
                return segment.offset + address - segment.vaddr, segment.offset + segment.filesz
        return 0, 0


NO_TEXTS = Texts(None)


def texts_of_program(image: Image) -> Texts:
    """Those of a linked file."""
    slots = [(s.addr, s.addr + s.size) for s in image.sections if s.name in (".got", ".got.plt")]
    return Texts(image, None, tuple(slots))


def texts_of_object(image: Image) -> dict[int, Texts]:
    """Those of an object for x86-64, by the index of the section whose code refers to them.

    Raises
    ------
    ArtifactError: a table is damaged or too large.
    """
    sections = image.sections
    if image.header.machine != EM_X86_64 or image.layout.bits != 64:
        return {}
    symbols = symbol_section(image)
    record = image.layout.rela
    found: dict[int, dict[int, tuple[int, int]]] = {}
    left = _MOST_RELOCATIONS
    for section in sections:
        if section.type != elf.SHT_RELA or section.info >= len(sections) or not sections[section.info].executable:
            continue
        places = found.setdefault(section.info, {})
        left -= section.size // record.size
        if left < 0:
            raise ArtifactError(f"more than {_MOST_RELOCATIONS} relocations of code")
        for chunk in image.source.chunks(section.offset, section.size - section.size % record.size, record.size):
            for field, info, addend in record.iter_unpack(chunk):
                kind = info & 0xFFFFFFFF
                if kind not in _RELATIVE and kind not in _ABSOLUTE:
                    continue
                symbol = symbols[info >> 32]
                places[field] = (0, 0)
                if not 0 < symbol.shndx < len(sections):
                    continue
                target = sections[symbol.shndx]
                offset = symbol.value + addend + (4 if kind in _RELATIVE else 0)
                if not target.writable and target.type == elf.SHT_PROGBITS and 0 <= offset < target.size:
                    places[field] = (target.offset + offset, target.offset + target.size)
    return {index: Texts(image, places) for index, places in found.items()}
