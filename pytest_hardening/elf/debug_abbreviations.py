"""How the entries of .debug_info are laid out: abbreviation tables, and what the sizes of forms depend on.

Source: DWARF Debugging Information Format, version 5, section 7.5.3 and 7.6.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import ArtifactError
from .debug_sections import DebugSection
from .dwarf_codes import DW_FORM_ADDR, DW_FORM_IMPLICIT_CONST, DW_FORM_REF_ADDR, FIXED_SIZES, OFFSETS, USED

__all__ = ["Abbreviation", "AbbreviationTable", "Attribute", "Entry", "Sizes", "leb128"]

_MOST_ABBREVIATIONS = 1 << 19  # bytes of one unit's table

# One declaration: code, tag, whether entries below it follow, pairs of attribute and form up to two zeros; after
# DW_FORM_implicit_const comes a value. One pattern for a declaration is ten times as fast as number after number. It
# matches in one way only, so there is nothing to try again.
_LEB = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_DECLARATION = re.compile(
    rb"(%(n)s)(%(n)s)([\x00\x01])((?:(?!\x00\x00)%(n)s(?:\x21%(n)s|(?!\x21)%(n)s)){0,256})\x00\x00" % {b"n": _LEB}, re.S
)
_SPECIFICATION = re.compile(rb"(%(n)s)(?:\x21(%(n)s)|(%(n)s))" % {b"n": _LEB}, re.S)


class Attribute(NamedTuple):
    """An attribute as it stands in the entry.

    Parameters
    ----------
    form: DW_FORM_*.
    value: a number that may still be an index or an offset; or the bytes of a block or of a string.
    place: its offset in .debug_info, by which relocations find it.
    """

    form: int
    value: int | bytes
    place: int


Entry = dict[int, Attribute]


class Sizes(NamedTuple):
    """What the size of some forms depends on; bytes."""

    address: int
    offset: int
    version: int

    def of(self, form: int) -> int | None:
        """The bytes that a form takes; None where that depends on the value."""
        if form == DW_FORM_ADDR:
            return self.address
        if form == DW_FORM_REF_ADDR:
            return self.address if self.version == 2 else self.offset
        return self.offset if form in OFFSETS else FIXED_SIZES.get(form)


class Abbreviation:
    """The layout of a kind of entry.

    Parameters
    ----------
    tag: DW_TAG_*.
    children: whether entries below it follow.
    specification: attribute, form, value of DW_FORM_implicit_const.
    sizes: of the unit's forms.
    """

    __slots__ = ("children", "forms", "parts", "places", "size", "tag")

    def __init__(self, tag: int, children: bool, specification: list[tuple[int, int, bytes]], sizes: Sizes) -> None:
        self.tag = tag
        self.children = children
        self.forms = {attribute: form for attribute, form, _ in specification}
        #: attribute, form, size (-1: depends on the value), constant. What nobody asks for has attribute 0
        self.parts: list[tuple[int, int, int, int]] = []
        #: where attributes stand, of those that always stand in the same place
        self.places: dict[int, int] = {}
        position = 0
        for attribute, form, constant in specification:
            size = sizes.of(form)
            if position >= 0:
                self.places[attribute] = position
                position = -1 if size is None else position + size
            used = attribute if attribute in USED else 0
            if not used and size is not None and self.parts and not self.parts[-1][0] and self.parts[-1][2] >= 0:
                size += self.parts.pop()[2]
            self.parts.append(
                (used, form, -1 if size is None else size, leb128(constant, 0, signed=True)[0] if constant else 0)
            )
        #: all its bytes where these are always the same; else -1
        self.size = position


class AbbreviationTable:
    """One abbreviation table, read as far as it is needed.

    Parameters
    ----------
    section: .debug_abbrev. offset: where the table begins in it. sizes: of the unit's forms.
    shared: the layouts of all tables so far: most units of a file have the same ones, under other codes.
    """

    def __init__(
        self, section: DebugSection, offset: int, sizes: Sizes, shared: dict[tuple[object, ...], Abbreviation]
    ) -> None:
        self._data = section.read(offset, _MOST_ABBREVIATIONS)
        self._position = 0
        self._sizes = sizes
        self._read: dict[int, re.Match[bytes]] = {}
        self._known: dict[int, Abbreviation] = {}
        self._shared = shared

    def get(self, code: int) -> Abbreviation:
        """The layout that a code stands for; ArtifactError where it is not declared."""
        known = self._known.get(code)
        if known is None:
            while code not in self._read:
                self._read_next(code)
            declaration = self._read[code].group(2, 3, 4)
            key = (*declaration, self._sizes)
            known = self._shared.get(key)
            if known is None:
                known = self._shared[key] = self._layout(*declaration)
            self._known[code] = known
        return known

    def _layout(self, tag: bytes, children: bytes, text: bytes) -> Abbreviation:
        specification = [
            (_number(name), _number(form) if form else DW_FORM_IMPLICIT_CONST, constant)
            for name, constant, form in _SPECIFICATION.findall(text)
        ]
        return Abbreviation(_number(tag), children == b"\1", specification, self._sizes)

    def _read_next(self, wanted: int) -> None:
        found = _DECLARATION.match(self._data, self._position)
        code = _number(found[1]) if found else 0
        if found is None or not code:
            raise ArtifactError(f"abbreviation {wanted} is not declared")
        self._position = found.end()
        self._read.setdefault(code, found)


def leb128(data: bytes, position: int, *, signed: bool = False) -> tuple[int, int]:
    """A LEB128 number, and where it ends.

    Raises
    ------
    IndexError: `data` ends before. ArtifactError: it has more than 64 bits.
    """
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value - (1 << shift) if signed and byte & 0x40 else value), position
        if shift > 63:
            raise ArtifactError("a number of more than 64 bits")


def _number(data: bytes) -> int:
    return data[0] if len(data) == 1 else leb128(data, 0)[0]
