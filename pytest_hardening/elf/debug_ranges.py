"""Address ranges of units and functions: .debug_ranges of DWARF 3 and 4, .debug_rnglists of DWARF 5."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ArtifactError
from .debug_abbreviations import Attribute, leb128
from .debug_sections import DebugSection
from .dwarf_codes import DW_AT_GNU_RANGES_BASE, DW_AT_RANGES, DW_AT_RNGLISTS_BASE, DW_FORM_RNGLISTX

if TYPE_CHECKING:
    from .debug_info import Budget, DebugUnit

__all__ = ["Range", "new_ranges", "old_ranges"]

_MOST_RANGES = 1 << 14  # of one unit


class Range(NamedTuple):
    """A half-open range of addresses; in object files they are relative to the section of index `section`, else 0."""

    start: int
    end: int
    section: int = 0


def old_ranges(unit: DebugUnit, attribute: Attribute, base: Range, budget: Budget) -> Iterator[Range]:
    """DWARF 4, section 2.17.3. `base`: where the unit begins."""
    section, place = _place(unit, attribute)
    width = unit.sizes.address
    for _ in range(_MOST_RANGES):
        budget.spend("ranges")
        start, end = section.word(place, width), section.word(place + width, width)
        index = section.section_of(place)
        place += 2 * width
        if start == (1 << 8 * width) - 1:
            base = Range(end, end, section.section_of(place - width))
        elif (start, end) == (0, 0) and not index:
            return
        else:
            yield Range(base.start + start, base.start + end, index or base.section)
    raise ArtifactError(f"a unit of more than {_MOST_RANGES} ranges")


def new_ranges(unit: DebugUnit, attribute: Attribute, base: Range, budget: Budget) -> Iterator[Range]:
    """DWARF 5, section 2.17.3 and 7.25. `base`: where the unit begins."""
    section, place = _place(unit, attribute)
    width = unit.sizes.address

    def leb() -> int:
        nonlocal place
        data = section.read(place, 10)
        value, size = leb128(data, 0)
        place += size
        return value

    def address() -> tuple[int, int]:
        nonlocal place
        place += width
        return section.word(place - width, width), section.section_of(place - width)

    def indexed() -> tuple[int, int]:
        index = leb()
        return unit.indexed_address(index), unit.section_of_address(index)

    for _ in range(_MOST_RANGES):
        budget.spend("ranges")
        kind = section.word(place, 1)
        place += 1
        if kind == 0:  # DW_RLE_end_of_list
            return
        if kind == 1:  # base_addressx
            start, index = indexed()
            base = Range(start, start, index)
        elif kind == 2:  # startx_endx
            start, index = indexed()
            yield Range(start, indexed()[0], index)
        elif kind == 3:  # startx_length
            start, index = indexed()
            yield Range(start, start + leb(), index)
        elif kind == 4:  # offset_pair
            yield Range(base.start + leb(), base.start + leb(), base.section)
        elif kind == 5:  # base_address
            start, index = address()
            base = Range(start, start, index)
        elif kind == 6:  # start_end
            start, index = address()
            yield Range(start, address()[0], index)
        elif kind == 7:  # start_length
            start, index = address()
            yield Range(start, start + leb(), index)
        else:
            raise ArtifactError(f"range list entry {kind} is not known")
    raise ArtifactError(f"a unit of more than {_MOST_RANGES} ranges")


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
