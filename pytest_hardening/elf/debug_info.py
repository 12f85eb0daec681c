"""DWARF as far as hardening needs it: the units, their first entries, and the layout of all others.

Source: DWARF Debugging Information Format, versions 2 to 5, section 7 for the encodings.

pyelftools is not used here: it reads a unit's whole abbreviation table before the first entry (2.7 ms a unit) and makes
an object of each entry (10 us). The head of a unit costs 0.05 ms here, an entry that is passed over 0.5 us. The tests
compare the two.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from ..errors import ArtifactError
from .debug_abbreviations import Abbreviation, AbbreviationTable, Attribute, Declarations, Entry, Sizes, leb128
from .debug_ranges import Range, new_ranges, old_ranges
from .debug_sections import DebugSection, debug_section
from .dwarf_codes import (
    ADDRESS_INDEXES,
    BLOCKS,
    CONSTANTS,
    DW_AT_ADDR_BASE,
    DW_AT_GNU_ADDR_BASE,
    DW_AT_HIGH_PC,
    DW_AT_LOCATION,
    DW_AT_LOW_PC,
    DW_AT_RANGES,
    DW_AT_SIBLING,
    DW_AT_STR_OFFSETS_BASE,
    DW_FORM_ADDR,
    DW_FORM_BLOCK1,
    DW_FORM_BLOCK2,
    DW_FORM_BLOCK4,
    DW_FORM_EXPRLOC,
    DW_FORM_IMPLICIT_CONST,
    DW_FORM_INDIRECT,
    DW_FORM_LINE_STRP,
    DW_FORM_REF_ADDR,
    DW_FORM_SDATA,
    DW_FORM_STRING,
    DW_FORM_STRP,
    DW_OP_FBREG,
    DW_TAG_CLASS_TYPE,
    DW_TAG_STRUCTURE_TYPE,
    DW_TAG_SUBPROGRAM,
    DW_TAG_UNION_TYPE,
    DW_TAG_VARIABLE,
    DW_UT_SKELETON,
    DW_UT_SPLIT_COMPILE,
    DW_UT_SPLIT_TYPE,
    DW_UT_TYPE,
    FIXED_SIZES,
    LISTS,
    NUMBERS,
    SHARED_STRINGS,
    STRING_INDEXES,
    UNIT_REFERENCES,
)
from .image import Image, string_at

__all__ = ["Budget", "DebugInfo", "DebugUnit"]

_LONGEST_STRING = 1 << 14
_LONGEST_ENTRY = 1 << 16
_LONGEST_BLOCK = 1 << 8  # bytes that are kept of one; the expressions that are looked at have at most twelve
_HEAD = 1 << 9  # bytes read for an entry; more where that is too little
_MOST_UNITS = 1 << 15


class Budget:
    """How many entries may be read yet; `exceeded` says that it ended before the work did."""

    __slots__ = ("entries", "exceeded")

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.exceeded = False

    def spend(self, what: str) -> None:
        """Count one more; ArtifactError when there were too many, named by `what`."""
        self.entries -= 1
        if self.entries < 0:
            self.exceeded = True
            raise ArtifactError(f"it has more {what} than are read of one file")


_PASS, _FUNCTION, _VARIABLE, _JUMP, _JUMP_OUTSIDE = range(5)
# below them is nothing of use, unless they are local to a function: then they may hold functions with code
_SIBLINGS = frozenset((0x11, 0x12, 0x13, 0x14))  # offsets in the unit, of fixed size
_TYPES = frozenset((DW_TAG_STRUCTURE_TYPE, DW_TAG_CLASS_TYPE, DW_TAG_UNION_TYPE, DW_TAG_SUBPROGRAM))


class DebugUnit:
    """One unit of .debug_info.

    Parameters
    ----------
    info: what it belongs to.
    offset, end: where it begins and ends in .debug_info.
    kind: DW_UT_*, 1 before version 5.
    first: the offset of its first entry.
    sizes: of its forms.
    abbreviations: the offset of its abbreviation table.

    Raises
    ------
    ArtifactError, IndexError: from every method, when the debug information is damaged.
    """

    def __init__(
        self, info: DebugInfo, offset: int, end: int, kind: int, first: int, sizes: Sizes, abbreviations: int
    ) -> None:
        self.info = info
        self.offset = offset
        self.end = end
        self.kind = kind
        self.first = first
        self.sizes = sizes
        self._abbreviations = info.abbreviations(abbreviations, sizes)

    def abbreviation(self, code: int) -> Abbreviation:
        """The layout that a code stands for."""
        return self._abbreviations.get(code)

    @cached_property
    def top(self) -> tuple[Abbreviation, Entry]:
        """The first entry, which describes the unit."""
        return self.at(self.first)

    @cached_property
    def data(self) -> bytes:
        """All its bytes, from `offset` on."""
        return self.info.section.read(self.offset, self.end - self.offset)

    def forget(self) -> None:
        """Let go of its bytes, so that memory does not follow the size of the debug information."""
        self.__dict__.pop("data", None)

    def at(self, offset: int) -> tuple[Abbreviation, Entry]:
        """The entry at an offset in .debug_info, which lies in this unit."""
        if not self.first <= offset < self.end:
            raise ArtifactError("a reference leads out of its unit")
        for size in (_HEAD, _LONGEST_ENTRY):
            data = self.info.section.read(offset, min(size, self.end - offset))
            try:
                code, position = leb128(data, 0)
                abbreviation = self.abbreviation(code)
                entry, position = self.entry(abbreviation, data, position, offset)
            except (IndexError, ValueError):
                continue
            if position <= len(data):
                return abbreviation, entry
        if self.end - offset > _LONGEST_ENTRY:
            raise ArtifactError(f"the entry at {offset:#x} has more than {_LONGEST_ENTRY} bytes")
        raise ArtifactError(f"the unit at {self.offset:#x} ends inside an entry")

    def walk(self, budget: Budget) -> Iterator[tuple[int, int, Entry]]:
        """Level, tag and attributes of the functions that have code, and of the variables in them at a fixed place of
        their stack frame. The first entry has level 0.
        """
        data, end, start = self.data, self.end - self.offset, self.offset
        position = self.first - start
        layouts: dict[int, tuple[int, int, bool, Abbreviation]] = {}
        level = count = 0
        inside = end  # the level of the outermost function that is open
        try:
            while position < end:
                count += 1
                code = data[position]
                position += 1
                if not code:
                    level -= 1
                    if level <= inside:
                        inside = end
                        if level <= 0:
                            return
                    continue
                if code >= 0x80:
                    code, position = leb128(data, position - 1)
                layout = layouts.get(code)
                if layout is None:
                    layout = layouts[code] = self._layout(code)
                action, place, children, abbreviation = layout
                if action == _JUMP or (action == _JUMP_OUTSIDE and level < inside):
                    place += position
                    width = FIXED_SIZES[abbreviation.forms[DW_AT_SIBLING]]
                    sibling = int.from_bytes(data[place : place + width], self.info.order)
                    if position < sibling <= end:
                        position = sibling
                        continue
                elif action == _FUNCTION or (
                    action == _VARIABLE and level > inside and (place < 0 or data[position + place + 1] == DW_OP_FBREG)
                ):
                    entry, position = self.entry(abbreviation, data, position, start)
                    yield level, abbreviation.tag, entry
                    if count >= budget.entries:
                        budget.exceeded = True
                        return
                    if children:
                        inside = min(inside, level)
                        level += 1
                    continue
                size = abbreviation.size
                position = position + size if size >= 0 else self._pass(abbreviation, data, position)
                if children:
                    level += 1
        finally:
            budget.entries -= count

    def _layout(self, code: int) -> tuple[int, int, bool, Abbreviation]:
        """What `walk` does with an entry, and the place of the attribute that it looks at first."""
        abbreviation = self.abbreviation(code)
        tag, forms, places = abbreviation.tag, abbreviation.forms, abbreviation.places
        action, place = _PASS, 0
        if tag == DW_TAG_SUBPROGRAM and (DW_AT_LOW_PC in forms or DW_AT_RANGES in forms):
            action = _FUNCTION
        elif tag == DW_TAG_VARIABLE and forms.get(DW_AT_LOCATION) in (DW_FORM_EXPRLOC, DW_FORM_BLOCK1):
            action, place = _VARIABLE, places.get(DW_AT_LOCATION, -1)
        elif abbreviation.children and DW_AT_SIBLING in places and forms[DW_AT_SIBLING] in _SIBLINGS:
            action = _JUMP if tag in LISTS else _JUMP_OUTSIDE if tag in _TYPES else _PASS
            place = places[DW_AT_SIBLING]
        return action, place, abbreviation.children, abbreviation

    def entry(self, abbreviation: Abbreviation, data: bytes, position: int, start: int) -> tuple[Entry, int]:
        """The attributes that stand at `position` of `data`, and where they end; `start` is the offset of `data`."""
        found: Entry = {}
        order = self.info.order
        for attribute, form, size, constant in abbreviation.parts:
            begin = position
            if size < 0:
                value, position, form = self._variable(form, data, position)
            else:
                position += size
                if not attribute:
                    continue
                value = constant if form == DW_FORM_IMPLICIT_CONST else int.from_bytes(data[begin:position], order)
            if attribute:
                found[attribute] = Attribute(form, value, start + begin)
        return found, position

    def _variable(self, form: int, data: bytes, position: int) -> tuple[int | bytes, int, int]:
        """The value of a form whose size depends on it, where it ends, and the form that it really has."""
        if form == DW_FORM_INDIRECT:
            form, position = leb128(data, position)
            size = self.sizes.of(form)
            if form in (DW_FORM_INDIRECT, DW_FORM_IMPLICIT_CONST):
                raise ArtifactError("an indirect form that leads to another")
            if size is not None:
                return int.from_bytes(data[position : position + size], self.info.order), position + size, form
        if form in NUMBERS:
            number, position = leb128(data, position, signed=form == DW_FORM_SDATA)
            return number, position, form
        if form == DW_FORM_STRING:
            end = data.index(0, position, position + _LONGEST_ENTRY)
            return data[position:end], end + 1, form
        width = {DW_FORM_BLOCK1: 1, DW_FORM_BLOCK2: 2, DW_FORM_BLOCK4: 4}.get(form)
        if width is not None:
            size = int.from_bytes(data[position : position + width], self.info.order)
            position += width
        elif form in BLOCKS:
            size, position = leb128(data, position)
        else:
            raise ArtifactError(f"DWARF form {form:#x} is not known")
        return data[position : position + min(size, _LONGEST_BLOCK)], position + size, form

    def _pass(self, abbreviation: Abbreviation, data: bytes, position: int) -> int:
        """Where the attributes of an entry end that begin at `position`."""
        for _, form, size, _ in abbreviation.parts:
            if size >= 0:
                position += size
            elif form == DW_FORM_EXPRLOC and data[position] < 0x80:
                position += 1 + data[position]
            else:
                position = self._variable(form, data, position)[1]
        return position

    def text(self, attribute: Attribute | None) -> str:
        """A string; empty where there is none."""
        if attribute is None:
            return ""
        form, value, place = attribute
        if isinstance(value, bytes):
            return string_at(value[:_LONGEST_STRING], 0)
        info = self.info
        if form in STRING_INDEXES:
            base = self.base(DW_AT_STR_OFFSETS_BASE, 0)
            value = info.require("str_offsets").word(base + value * self.sizes.offset, self.sizes.offset)
            return info.string("str", value)
        if form in SHARED_STRINGS:
            info.note("debug information that it shares with other files (dwz)")
            return ""
        if form in (DW_FORM_STRP, DW_FORM_LINE_STRP):
            value = info.section.relocated(place, self.sizes.offset, value)
            return info.string("str" if form == DW_FORM_STRP else "line_str", value)
        return ""

    def address(self, attribute: Attribute | None) -> int | None:
        """An address; None where the attribute holds none."""
        if attribute is None or isinstance(attribute.value, bytes):
            return None
        if attribute.form == DW_FORM_ADDR:
            return self.info.section.relocated(attribute.place, self.sizes.address, attribute.value)
        if attribute.form in ADDRESS_INDEXES:
            return self.indexed_address(attribute.value)
        return None

    def section_of(self, entry: Entry) -> int:
        """In an object file the index of the section that DW_AT_low_pc lies in; else 0."""
        low = entry.get(DW_AT_LOW_PC)
        if low is None:
            return 0
        if low.form in ADDRESS_INDEXES and isinstance(low.value, int):
            return self.section_of_address(low.value)
        return self.info.section.section_of(low.place)

    def section_of_address(self, index: int) -> int:
        """The same for an address in .debug_addr."""
        return self.info.require("addr").section_of(self._address_place(index))

    def indexed_address(self, index: int) -> int:
        return self.info.require("addr").word(self._address_place(index), self.sizes.address)

    def _address_place(self, index: int) -> int:
        base = self.base(DW_AT_ADDR_BASE, self.base(DW_AT_GNU_ADDR_BASE, 0))
        return base + index * self.sizes.address

    def constant(self, attribute: Attribute | None) -> int | None:
        """A constant; None where there is none, or where it is computed at run time."""
        if attribute is None or isinstance(attribute.value, bytes) or attribute.form not in CONSTANTS:
            return None
        return attribute.value

    def reference(self, attribute: Attribute) -> int | None:
        """The offset in .debug_info of the entry that an attribute names; None where it lies in another section."""
        if isinstance(attribute.value, bytes):
            return None
        if attribute.form in UNIT_REFERENCES:
            return self.offset + attribute.value
        if attribute.form == DW_FORM_REF_ADDR:
            size = self.sizes.of(DW_FORM_REF_ADDR) or 0
            return self.info.section.relocated(attribute.place, size, attribute.value)
        return None

    def base(self, attribute: int, default: int) -> int:
        found = self.top[1].get(attribute)
        if found is None or isinstance(found.value, bytes):
            return default
        return self.info.section.relocated(found.place, self.sizes.offset, found.value)

    def ranges(self, entry: Entry, budget: Budget) -> Iterator[Range]:
        """The ranges of an entry, in its order; those without an instruction left out."""
        if DW_AT_RANGES in entry:
            top = self.top[1]
            begin = self.address(top.get(DW_AT_LOW_PC)) or 0
            base = Range(begin, begin, self.section_of(top))
            found = new_ranges if self.sizes.version >= 5 else old_ranges
            yield from (item for item in found(self, entry[DW_AT_RANGES], base, budget) if item.start < item.end)
            return
        start, high = self.address(entry.get(DW_AT_LOW_PC)), entry.get(DW_AT_HIGH_PC)
        if start is None or high is None:
            return
        end = self.address(high)
        if end is None and isinstance(high.value, int):
            size = self.sizes.of(high.form) or 8
            end = start + self.info.section.relocated(high.place, size, high.value)
        if end is not None and start < end:
            yield Range(start, end, self.section_of(entry))

    def declares(self, tag: int, without: int) -> bool:
        """Whether any of its entries can be one of a tag without an attribute: a table declares what it is used for."""
        return any(item.tag == tag and without not in item.forms for item in self._abbreviations.all())


class DebugInfo:
    """The debug information of one file.

    Parameters
    ----------
    image: the file.

    Raises
    ------
    ArtifactError: from every method, when it is damaged or cannot be decompressed.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self.order = image.layout.order
        self.notes: dict[str, None] = {}
        self._sections: dict[str, DebugSection | None] = {}
        self._tables: dict[tuple[int, Sizes], AbbreviationTable] = {}
        self._units: list[DebugUnit] = []
        self._starts: list[int] = []
        self._next = 0
        self.section = self.require("info")

    def note(self, what: str) -> None:
        """Remember something that could not be read."""
        self.notes[what] = None

    def require(self, name: str) -> DebugSection:
        """The section .debug_NAME; ArtifactError where there is none."""
        if name not in self._sections:
            self._sections[name] = debug_section(self._image, name)
        section = self._sections[name]
        if section is None:
            raise ArtifactError(f"there is no .debug_{name}")
        return section

    def string(self, section: str, offset: int) -> str:
        """A string of .debug_str or .debug_line_str."""
        strings = self.require(section)
        text = strings.read(offset, 256)
        if b"\0" not in text:
            text = strings.read(offset, _LONGEST_STRING)
        return string_at(text, 0)

    def abbreviations(self, offset: int, sizes: Sizes) -> AbbreviationTable:
        table = self._tables.get((offset, sizes))
        if table is None:
            table = self._tables[offset, sizes] = AbbreviationTable(self._declarations, offset, sizes)
        return table

    @cached_property
    def _declarations(self) -> Declarations:
        return Declarations(self.require("abbrev"))

    def units(self) -> Iterator[DebugUnit]:
        """The units, without type units."""
        index = 0
        while index < len(self._units) or self._read_next():
            yield self._units[index]
            index += 1

    def unit_at(self, offset: int) -> DebugUnit:
        """The unit that an offset in .debug_info lies in."""
        while self._next <= offset and self._read_next():
            pass
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or offset >= self._units[index].end:
            raise ArtifactError("a reference leads into no unit")
        return self._units[index]

    def _read_next(self) -> bool:
        """Read the head of one more unit; False where there is none."""
        while self._next < self.section.size:
            unit, self._next = self._unit(self._next)
            if unit is not None:
                if len(self._units) >= _MOST_UNITS:
                    raise ArtifactError(f"more than {_MOST_UNITS} units")
                self._units.append(unit)
                self._starts.append(unit.offset)
                return True
        return False

    def _unit(self, offset: int) -> tuple[DebugUnit | None, int]:
        """The unit at an offset, and where the next one begins. DWARF 5, section 7.5.1."""
        section = self.section
        head = section.read(offset, 32)  # the longest header has 32 bytes
        position = 0

        def take(size: int) -> int:
            nonlocal position
            position += size
            if position > len(head):
                raise ArtifactError(f"the unit at {offset:#x} ends inside its header")
            return int.from_bytes(head[position - size : position], self.order)

        length, width = take(4), 4
        if length == 0xFFFFFFFF:
            length, width = take(8), 8
        end = offset + position + length
        if end > section.size:
            raise ArtifactError(f"the unit at {offset:#x} reaches to {end:#x}, .debug_info to {section.size:#x}")
        if not length:  # padding between units
            return None, end
        version = take(2)
        if not 2 <= version <= 5:
            raise ArtifactError(f"DWARF version {version} is not known")
        kind, address = (take(1), take(1)) if version == 5 else (1, 0)
        table = section.relocated(offset + position, width, take(width))
        address = address or take(1)
        if kind in (DW_UT_SKELETON, DW_UT_SPLIT_COMPILE):
            position += 8
        if kind in (DW_UT_TYPE, DW_UT_SPLIT_TYPE):
            return None, end
        if address not in (4, 8):
            raise ArtifactError(f"addresses of {address} bytes")
        return DebugUnit(self, offset, end, kind, offset + position, Sizes(address, width, version), table), end
