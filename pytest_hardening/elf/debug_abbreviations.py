"""How the entries of .debug_info are laid out: abbreviation tables, and what the sizes of forms depend on.

Source: DWARF Debugging Information Format, version 5, section 7.5.3 and 7.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import ArtifactError
from .debug_sections import DebugSection
from .dwarf_codes import DW_FORM_ADDR, DW_FORM_IMPLICIT_CONST, DW_FORM_REF_ADDR, FIXED_SIZES, OFFSETS, USED

__all__ = ["Abbreviation", "AbbreviationTable", "Attribute", "Declarations", "Entry", "Sizes", "leb128"]

_MOST_ABBREVIATIONS = 1 << 25  # bytes of .debug_abbrev
_MOST_DECLARATIONS = 1 << 18  # that are read of one file; 0.2 s
_MOST_LAYOUTS = 1 << 19  # bytes of the different ones among them; 30 MB

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


class Declarations:
    """The section .debug_abbrev, which all units share: several may begin anywhere in one table.

    Parameters
    ----------
    section: .debug_abbrev.

    Raises
    ------
    ArtifactError: it is larger than those of programs are; from every method, when more is asked for than they need.
    """

    def __init__(self, section: DebugSection) -> None:
        if section.size > _MOST_ABBREVIATIONS:
            raise ArtifactError(f"abbreviation tables of {section.size} bytes")
        self._data = section.read(0, section.size)
        self._left = _MOST_DECLARATIONS
        self._layouts_left = _MOST_LAYOUTS
        self._layouts: dict[tuple[object, ...], Abbreviation] = {}

    def code_at(self, position: int) -> tuple[int, int]:
        """The code that is declared at an offset, and where the declaration ends; code 0 where none is."""
        self._left -= 1
        if self._left < 0:
            raise ArtifactError(f"more than {_MOST_DECLARATIONS} abbreviations")
        found = _DECLARATION.match(self._data, position)
        return (_number(found[1]), found.end()) if found else (0, position)

    def layout_at(self, position: int, sizes: Sizes) -> Abbreviation:
        """What is declared at an offset, where `code_at` found something; most tables have the same ones."""
        found = _DECLARATION.match(self._data, position)
        tag, children, text = found.group(2, 3, 4) if found else (b"\0", b"\0", b"")
        key = (tag, children, text, sizes)
        known = self._layouts.get(key)
        if known is None:
            self._layouts_left -= len(text)
            if self._layouts_left < 0:
                raise ArtifactError("too many different abbreviations")
            specification = [
                (_number(name), _number(form) if form else DW_FORM_IMPLICIT_CONST, constant)
                for name, constant, form in _SPECIFICATION.findall(text)
            ]
            known = self._layouts[key] = Abbreviation(_number(tag), children == b"\1", specification, sizes)
        return known


class AbbreviationTable:
    """One abbreviation table, read as far as it is needed.

    Parameters
    ----------
    declarations: the section. offset: where the table begins in it. sizes: of the unit's forms.
    """

    __slots__ = ("_declarations", "_known", "_places", "_position", "_sizes")

    def __init__(self, declarations: Declarations, offset: int, sizes: Sizes) -> None:
        self._declarations = declarations
        self._position = offset
        self._sizes = sizes
        self._places: dict[int, int] = {}
        self._known: dict[int, Abbreviation] = {}

    def get(self, code: int) -> Abbreviation:
        """The layout that a code stands for; ArtifactError where it is not declared."""
        known = self._known.get(code)
        if known is None:
            while code not in self._places:
                if not self._read_next():
                    raise ArtifactError(f"abbreviation {code} is not declared")
            known = self._known[code] = self._declarations.layout_at(self._places[code], self._sizes)
        return known

    def all(self) -> Iterator[Abbreviation]:
        """All that are declared."""
        while self._read_next():
            pass
        return (self.get(code) for code in tuple(self._places))

    def _read_next(self) -> bool:
        code, end = self._declarations.code_at(self._position)
        if code:
            self._places.setdefault(code, self._position)
            self._position = end
        return bool(code)


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
