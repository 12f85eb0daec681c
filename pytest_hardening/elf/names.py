"""What names a file offers to others, which ones a static program defines, and names that do not show what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import ArtifactError
from . import layout as elf
from .facts import Definitions, OddName, OddNames
from .image import Image, printable
from .layout import RawSymbol
from .symbols import bounded, dynamic_symbols, symbol_section

__all__ = ["definitions", "exports", "odd_names"]

_REACHABLE = (elf.STB_GLOBAL, elf.STB_WEAK, 10)  # STB_GNU_UNIQUE
_SHN_ABS = 0xFFF1
_ENTRY = "_start"  # every C library's start files define it
# Unicode Character Database, PropList.txt: Bidi_Control. These turn around what stands next to them
_BIDI = re.compile(rb"\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
# DerivedCoreProperties.txt: Default_Ignorable_Code_Point without the former. These are not shown at all
_INVISIBLE = re.compile(
    rb"\xc2\xad|\xcd\x8f|\xe1\x85[\x9f\xa0]|\xe1\x9e[\xb4\xb5]|\xe1\xa0[\x8b-\x8f]|\xe2\x80[\x8b-\x8d]"
    rb"|\xe2\x81[\xa0-\xa5\xaa-\xaf]|\xe3\x85\xa4|\xef\xb8[\x80-\x8f]|\xef\xbb\xbf|\xef\xbe\xa0|\xef\xbf[\xb0-\xb8]"
    rb"|\xf0\x9b\xb2[\xa0-\xa3]|\xf0\x9d\x85[\xb3-\xba]|\xf3\xa0[\x80-\xbf]"
)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_MOST_NAMES = 100
_LONGEST_NAME = 1 << 12
_MOST_SEARCHED = 1 << 27  # bytes of string tables
_MOST_HITS = 1 << 14


def exports(image: Image) -> tuple[str, ...]:
    """The names that a linked file offers to others, sorted: defined in the dynamic symbol table with global, weak or
    unique binding (gABI, "Symbol Table") and default or protected visibility.

    Left out are the symbols that GNU ld makes for version nodes (absolute objects of value 0, Symbol Versioning, LSB).
    """
    table = dynamic_symbols(image)
    return tuple(sorted(set(bounded(table.name(symbol) for symbol in table if _is_export(symbol)))))


def definitions(image: Image) -> Definitions:
    """The names in the symbol table that `strip` removes, local ones too: linkers make hidden ones local, and all of an
    archive's with --exclude-libs.
    """
    table = symbol_section(image)
    names = frozenset(bounded(table.name(symbol) for symbol in table if _is_definition(symbol)))
    # a part of the symbols may have been stripped (strip --keep-symbol)
    return Definitions(names, complete=_ENTRY in names if image.header.type != elf.ET_REL else bool(len(table)))


def _is_definition(symbol: RawSymbol) -> bool:
    kind = symbol.info & 15
    return symbol.shndx != elf.SHN_UNDEF and symbol.name != 0 and kind not in (elf.STT_SECTION, elf.STT_FILE)


def _is_reachable(symbol: RawSymbol) -> bool:
    return symbol.shndx != elf.SHN_UNDEF and symbol.info >> 4 in _REACHABLE and symbol.name != 0


def _is_export(symbol: RawSymbol) -> bool:
    is_version = symbol.shndx == _SHN_ABS and symbol.info & 15 == elf.STT_OBJECT and not symbol.value
    return _is_reachable(symbol) and symbol.other & 3 not in (elf.STV_HIDDEN, elf.STV_INTERNAL) and not is_version


def odd_names(image: Image) -> OddNames:
    """Names with characters outside of ASCII, in all string tables."""
    found: list[OddName] = []
    left = _MOST_SEARCHED
    unread = ""
    for place, table in _tables(image):
        if len(table) > left:
            unread = f"{place}: more than {_MOST_SEARCHED:#x} bytes of names"
            break
        left -= len(table)
        if table.isascii():
            continue
        for kind, pattern in (("bidi", _BIDI), ("invisible", _INVISIBLE), ("non-ascii", _NOT_ASCII)):
            found += [OddName(place, name, kind) for name in _matching(table, pattern)]
    return OddNames(tuple(dict.fromkeys(found)), unread)


def _tables(image: Image) -> Iterator[tuple[str, bytes]]:
    """The string tables, each once, with what they are; one at a time, as they can be large."""
    if image.dynamic is not None:
        yield "dynamic string table", image.dynamic_strings()
    sections = image.sections
    places = {}
    for section in sections:
        if section.type in (elf.SHT_SYMTAB, 11) and section.link < len(sections):  # SHT_DYNSYM
            places[section.link] = "symbol table"
    if 0 < image.header.shstrndx < len(sections):
        places.setdefault(image.header.shstrndx, "section headers")
    own = next((section.link for section in sections if section.type == elf.SHT_SYMTAB), None)  # as symbol_section
    for index, place in places.items():
        section = sections[index]
        if section.type != elf.SHT_STRTAB or (section.name == ".dynstr" and image.dynamic is not None):
            continue
        if section.size > _MOST_SEARCHED:
            raise ArtifactError(f"malformed: a string table of {section.size:#x} bytes")
        if index == own and image.symbol_data is not None and image.symbol_data[1]:
            yield place, image.symbol_data[1]  # others have read it
            continue
        yield place, image.source.read(section.offset, section.size)


def _matching(table: bytes, pattern: re.Pattern[bytes]) -> list[str]:
    """The first names that a pattern is found in, each once, with escapes for what cannot be seen."""
    found: dict[str, None] = {}
    match = pattern.search(table)
    for _ in range(_MOST_HITS):
        if match is None or len(found) >= _MOST_NAMES:
            break
        place = match.start()
        start = max(table.rfind(b"\0", max(0, place - _LONGEST_NAME), place) + 1, place - _LONGEST_NAME, 0)
        end = table.find(b"\0", place)
        end = len(table) if end < 0 else end
        text = table[start : min(end, start + 2 * _LONGEST_NAME)]
        found[printable(text.decode("utf-8", "backslashreplace"))] = None
        match = pattern.search(table, end)
    return list(found)
