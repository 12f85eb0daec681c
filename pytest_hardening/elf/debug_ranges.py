"""Address ranges of units and functions: .debug_ranges of DWARF 3 and 4, .debug_rnglists of DWARF 5."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import ArtifactError
from .debug_abbreviations import Attribute, leb128
from .debug_sections import DebugSection
from .dwarf_codes import DW_AT_GNU_RANGES_BASE, DW_AT_RANGES, DW_AT_RNGLISTS_BASE, DW_FORM_RNGLISTX

if TYPE_CHECKING:
    from .debug_info import DebugUnit

__all__ = ["new_ranges", "old_ranges", "section_of_ranges"]

_MOST_RANGES = 1 << 14  # of one unit


def old_ranges(unit: DebugUnit, attribute: Attribute, base: int) -> Iterator[tuple[int, int]]:
    """DWARF 4, section 2.17.3."""
    section, place = _place(unit, attribute)
    width = unit.sizes.address
    for _ in range(_MOST_RANGES):
        start, end = section.word(place, width), section.word(place + width, width)
        place += 2 * width
        if start == (1 << 8 * width) - 1:
            base = end
        elif (start, end) == (0, 0):
            return
        else:
            yield base + start, base + end
    raise ArtifactError(f"a unit of more than {_MOST_RANGES} ranges")


def new_ranges(unit: DebugUnit, attribute: Attribute, base: int) -> Iterator[tuple[int, int]]:
    """DWARF 5, section 2.17.3 and 7.25."""
    section, place = _place(unit, attribute)
    width = unit.sizes.address

    def leb() -> int:
        nonlocal place
        data = section.read(place, 10)
        value, size = leb128(data, 0)
        place += size
        return value

    def address() -> int:
        nonlocal place
        place += width
        return section.word(place - width, width)

    for _ in range(_MOST_RANGES):
        kind = section.word(place, 1)
        place += 1
        if kind == 0:  # DW_RLE_end_of_list
            return
        if kind == 1:  # base_addressx
            base = unit.indexed_address(leb())
        elif kind == 2:  # startx_endx
            yield unit.indexed_address(leb()), unit.indexed_address(leb())
        elif kind == 3:  # startx_length
            start = unit.indexed_address(leb())
            yield start, start + leb()
        elif kind == 4:  # offset_pair
            yield base + leb(), base + leb()
        elif kind == 5:  # base_address
            base = address()
        elif kind == 6:  # start_end
            yield address(), address()
        elif kind == 7:  # start_length
            start = address()
            yield start, start + leb()
        else:
            raise ArtifactError(f"range list entry {kind} is not known")
    raise ArtifactError(f"a unit of more than {_MOST_RANGES} ranges")


def section_of_ranges(unit: DebugUnit, attribute: Attribute) -> int:
    """In an object file the index of the section that the first range lies in; else 0."""
    section, place = _place(unit, attribute)
    if unit.sizes.version < 5:
        return section.section_of(place)
    kind = section.word(place, 1)
    if kind in (1, 2, 3):
        return unit.section_of_address(leb128(section.read(place + 1, 10), 0)[0])
    return section.section_of(place + 1)


def _place(unit: DebugUnit, attribute: Attribute) -> tuple[DebugSection, int]:
    """The section and the offset in it at which a list of ranges begins."""
    place = _int(attribute.value)
    name = "rnglists" if unit.sizes.version >= 5 else "ranges"
    section = unit.info.require(name)
    if attribute.form == DW_FORM_RNGLISTX:
        table = unit.base(DW_AT_RNGLISTS_BASE, 0)
        return section, table + section.word(table + place * unit.sizes.offset, unit.sizes.offset)
    place = unit.info.section.relocated(attribute.place, unit.sizes.offset, place)
    if name == "ranges" and attribute is not unit.top[1].get(DW_AT_RANGES):
        place += unit.base(DW_AT_GNU_RANGES_BASE, 0)
    return section, place


def _int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ArtifactError("an offset in the form of a block")
    return value
