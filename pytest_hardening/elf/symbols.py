"""Symbols: tables, undefined symbols with the calls to them, the functions that addresses lie in."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from ..errors import ArtifactError
from . import layout as elf
from .facts import Imports
from .image import Image, string_at
from .layout import RawSymbol
from .machines import EM_ALPHA, EM_ARM, EM_MIPS, EM_S390, Machine
from .relocations import dynamic_tables, object_relocations_by_section, relocations_in

__all__ = [
    "FunctionIndex",
    "SymbolTable",
    "bounded",
    "dynamic_symbols",
    "imports_of_image",
    "imports_of_object",
    "source_files",
    "symbol_section",
]

_MOST_SYMBOLS = 1 << 22
_LONGEST_CHAIN = 1 << 12  # linkers make about one bucket for each symbol
_MOST_NAMES = 1 << 25
_STD = re.compile(rb"_ZN?K?St").match  # Itanium C++ ABI, "Mangling": what lies in namespace std
_MOST_TEXT = 1 << 27  # characters of all names together; those of the largest browsers have some ten million


class SymbolTable:
    """The symbols of one table, kept as the file's bytes: the objects of 100,000 symbols would take 30 MB.

    Parameters
    ----------
    image: whose class, byte order and machine the bytes have.
    data, names: the table and its string table.
    """

    __slots__ = ("_data", "_layout", "_names", "_thumb")

    def __init__(self, image: Image, data: bytes, names: bytes) -> None:
        self._layout = image.layout
        self._data = data
        self._names = names
        self._thumb = image.header.machine == EM_ARM

    @property
    def strings(self) -> bytes:
        """The string table."""
        return self._names

    def __len__(self) -> int:
        return len(self._data) // self._layout.symbol.size

    def __iter__(self) -> Iterator[RawSymbol]:
        symbols = self._layout.symbols(self._data)
        return map(_first_instruction, symbols) if self._thumb else symbols

    def __getitem__(self, index: int) -> RawSymbol:
        """A symbol by its index.

        Raises
        ------
        ArtifactError: there is no such symbol.
        """
        if index >= len(self):
            raise ArtifactError(f"malformed: a relocation names symbol {index} of {len(self)}")
        symbol = self._layout.symbol_at(self._data, index)
        return _first_instruction(symbol) if self._thumb else symbol

    def as_stored(self) -> Iterator[RawSymbol]:
        """The symbols with the bit in their value by which Arm marks Thumb code."""
        return self._layout.symbols(self._data)

    def stored(self, index: int) -> RawSymbol:
        """A symbol by its index, which must be one of the table's, as `as_stored` gives it."""
        return self._layout.symbol_at(self._data, index)

    def name(self, symbol: RawSymbol) -> str:
        return string_at(self._names, symbol.name)

    def mentions(self, pattern: re.Pattern[bytes]) -> bool:
        """Whether any name may match, without the cost of reading the names."""
        return pattern.search(self._names) is not None

    def begins_with_underscore(self, symbol: RawSymbol) -> bool:
        """Whether the name does, without the cost of reading it."""
        return self._names[symbol.name : symbol.name + 1] == b"_"

    def name_at(self, index: int) -> str:
        """The name of a symbol by its index; ArtifactError when there is none."""
        return self.name(self[index])


def _first_instruction(symbol: RawSymbol) -> RawSymbol:
    """An Arm symbol with the function's address: bit 0 says that it is Thumb code (ELF for the Arm Architecture)."""
    return symbol._replace(value=symbol.value & ~1) if symbol.info & 15 == elf.STT_FUNC else symbol


def bounded(names: Iterable[str]) -> Iterator[str]:
    """The same names, as long as they are not much larger together than any table of them: they may overlap.

    Raises
    ------
    ArtifactError: they are.
    """
    left = _MOST_TEXT
    for name in names:
        left -= len(name)
        if left < 0:
            raise ArtifactError("malformed: symbol names larger than their table")
        yield name


class FunctionIndex:
    """Which function an address lies in.

    Parameters
    ----------
    tables: symbol tables; names of the first one win.
    section: for object files the index of the section that addresses are relative to.
    """

    __slots__ = ("_functions", "_starts")

    def __init__(self, *tables: SymbolTable, section: int | None = None) -> None:
        found: dict[int, tuple[int, str]] = {}
        for table in tables:
            for symbol in table:
                wanted = symbol.shndx != elf.SHN_UNDEF if section is None else symbol.shndx == section
                if wanted and symbol.size and symbol.info & 15 == elf.STT_FUNC:
                    found.setdefault(symbol.value, (symbol.value + symbol.size, table.name(symbol)))
        self._functions = found
        self._starts = sorted(found)

    def name_at(self, address: int) -> str:
        """The function's name; empty where no symbol covers the address."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return ""
        end, name = self._functions[self._starts[index]]
        return name if address < end else ""


def dynamic_symbols(image: Image) -> SymbolTable:
    """The dynamic symbol table, without the help of section headers.

    Its length stands nowhere: it follows from DT_HASH or DT_GNU_HASH (gABI; GNU hash as ld and glibc's dl-lookup do
    it).
    """
    dynamic = image.dynamic
    if dynamic is None or elf.DT_SYMTAB not in dynamic:
        return SymbolTable(image, b"", b"")
    if image.dynamic_symbol_data is None:  # several groups of facts need it
        count = _symbol_count(image)
        if count > _MOST_SYMBOLS:
            raise ArtifactError(f"malformed: {count} dynamic symbols")
        image.dynamic_symbol_data = image.at(dynamic.tags[elf.DT_SYMTAB], count * image.layout.symbol.size)
    data = image.dynamic_symbol_data
    return SymbolTable(image, data, image.dynamic_strings() if data else b"")


def _symbol_count(image: Image) -> int:
    tags = image.dynamic.tags if image.dynamic else {}
    prefix = image.layout.prefix
    if elf.DT_HASH in tags:
        wide = image.layout.bits == 64 and image.header.machine in (EM_S390, EM_ALPHA)
        size, code = (16, "QQ") if wide else (8, "II")
        return int(struct.unpack(prefix + code, image.at(tags[elf.DT_HASH], size))[1])
    hashed = _gnu_hash_count(image, tags[elf.DT_GNU_HASH]) if elf.DT_GNU_HASH in tags else 0
    # no symbol is hashed: nothing is exported, and only relocations name the undefined ones
    return hashed or _highest_relocated_symbol(image) + 1


def _gnu_hash_count(image: Image, address: int) -> int:
    """The number of symbols; 0 when none is hashed. Undefined symbols stand in front of the hashed ones."""
    prefix = image.layout.prefix
    buckets, offset, bloom, _ = struct.unpack(prefix + "4I", image.at(address, 16))
    start = address + 16 + bloom * image.layout.word.size
    if buckets == 0:
        return 0
    if buckets > _MOST_SYMBOLS:
        raise ArtifactError(f"malformed: DT_GNU_HASH has {buckets} buckets")
    highest = max(struct.unpack(f"{prefix}{buckets}I", image.at(start, 4 * buckets)))
    if highest == 0:
        return 0
    if highest < offset:
        raise ArtifactError(f"malformed: DT_GNU_HASH hashes symbol {highest}, and none below {offset}")
    place = image.offset_of(start + 4 * (buckets + highest - offset), 4)
    size = min(4 * _LONGEST_CHAIN, image.source.size - place & ~3)
    for index, (value,) in enumerate(struct.iter_unpack(prefix + "I", image.source.read(place, size)), highest):
        if value & 1:  # the lowest bit ends a chain
            return index + 1
    raise ArtifactError("malformed: a chain of DT_GNU_HASH does not end")


def _highest_relocated_symbol(image: Image) -> int:
    highest = 0
    for offset, size, record in dynamic_tables(image, relative=False):
        for relocation in relocations_in(image, offset, size, record):
            highest = max(highest, relocation.symbol)
    return highest


def imports_of_image(image: Image, machine: Machine) -> Imports:
    """Undefined symbols of a linked file, and those that it calls through PLT slots."""
    table = dynamic_symbols(image)
    names, defined = _names(table)
    return Imports(names, frozenset(_called(image, machine, table)), defined)


def _names(table: SymbolTable) -> tuple[frozenset[str], frozenset[str]]:
    """The undefined symbols, and the functions with reserved names that other files can reach. Of the names that C++
    mangled, those of std and one other: a large library has 100,000.
    """
    names, defined = set(), set()
    mangled = False
    left = _MOST_TEXT
    for symbol in table:
        if symbol.name == 0:
            continue
        name = ""
        if symbol.shndx == elf.SHN_UNDEF:
            names.add(name := table.name(symbol))
        elif (
            symbol.info & 15 in (elf.STT_FUNC, elf.STT_GNU_IFUNC)
            and symbol.info >> 4 != elf.STB_LOCAL
            and table.begins_with_underscore(symbol)
            and not (mangled and table.strings.startswith(b"_Z", symbol.name) and not _STD(table.strings, symbol.name))
        ):
            defined.add(name := table.name(symbol))
            mangled = mangled or name.startswith("_Z")
        left -= len(name)
        if left < 0:
            raise ArtifactError("malformed: symbol names larger than their table")
    return frozenset(names), frozenset(defined)


def _called(image: Image, machine: Machine, table: SymbolTable) -> Iterator[str]:
    if machine.number == EM_MIPS or machine.jump_slot is None:
        return
    slots = image.table(elf.DT_JMPREL, elf.DT_PLTRELSZ)
    if slots is None:
        return
    tags = image.dynamic.tags if image.dynamic else {}
    record = image.layout.rela if tags.get(elf.DT_PLTREL) == elf.DT_RELA else image.layout.rel
    for relocation in relocations_in(image, *slots, record):
        if relocation.type == machine.jump_slot:
            symbol = table[relocation.symbol]
            # an undefined symbol with a value: the slot stands for the function's address in code without -fPIE
            if not symbol.value:
                yield table.name(symbol)


def symbol_section(image: Image) -> SymbolTable:
    """The symbols of the SHT_SYMTAB section; an empty table where there is none."""
    if image.symbol_data is None:  # several groups of facts need it
        image.symbol_data = _symbol_data(image)
    return SymbolTable(image, *image.symbol_data)


def _symbol_data(image: Image) -> tuple[bytes, bytes]:
    sections = image.sections
    section = next((s for s in sections if s.type == elf.SHT_SYMTAB), None)
    if section is None:
        return b"", b""
    size = image.layout.symbol.size
    if section.entsize != size or section.size % size or section.link >= len(sections):
        raise ArtifactError("malformed: the symbol table's entry size, size or string table is wrong")
    if section.size // size > _MOST_SYMBOLS:
        raise ArtifactError(f"malformed: {section.size // size} symbols")
    strings = sections[section.link]
    if strings.size > _MOST_NAMES:
        if image.header.type != elf.ET_REL:
            return b"", b""  # as if it were stripped: memory must not follow the file's size
        raise ArtifactError(f"a string table of {strings.size:#x} bytes, more than an object file has")
    if strings.type == elf.SHT_NOBITS:
        raise ArtifactError("malformed: the symbol table's string table has no contents")
    return image.source.read(section.offset, section.size), image.source.read(strings.offset, strings.size)


def imports_of_object(image: Image, machine: Machine) -> Imports:
    """Undefined symbols of an object file, and those that a call relocation names."""
    table = symbol_section(image)
    names, defined = _names(table)
    calls: set[str] = set()
    for target, relocations in object_relocations_by_section(image):
        if target.executable:
            calls.update(table.name_at(r.symbol) for r in relocations if r.type in machine.call_types)
    return Imports(names, frozenset(calls), defined)


def source_files(image: Image) -> tuple[str, ...]:
    """The source files that were compiled, as the symbol table names them; empty where it is stripped."""
    table = symbol_section(image)
    files = (table.name(symbol) for symbol in table if symbol.info & 15 == elf.STT_FILE)
    return tuple(dict.fromkeys(bounded(files)))
