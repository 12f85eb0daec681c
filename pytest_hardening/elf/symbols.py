"""Symbols: undefined ones with the calls to them, and the first instructions of global functions."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator

from ..errors import ArtifactError
from . import layout as elf
from .facts import EntryPoint, Imports, Section
from .image import Image, string_at
from .layout import RawSymbol
from .machines import EM_ALPHA, EM_ARM, EM_MIPS, EM_S390, Machine
from .relocations import dynamic_tables, object_relocations_by_section, relocations_in

__all__ = [
    "FunctionIndex",
    "SymbolTable",
    "dynamic_symbols",
    "entry_points",
    "imports_of_image",
    "imports_of_object",
    "symbol_section",
    "units_of",
]

_MOST_ENTRIES = 64
_CODE_BYTES = 8
_MOST_SYMBOLS = 1 << 22
# what start files and the C library's start-up code define: their making says nothing of the user's flags
_START_FILES = frozenset(
    ("_start", "_init", "_fini", "__libc_csu_init", "__libc_csu_fini", "_dl_relocate_static_pie", "__libc_start_main")
)


class SymbolTable:
    """The symbols of one table; names are looked up when they are asked for."""

    __slots__ = ("_names", "symbols")

    def __init__(self, symbols: list[RawSymbol], names: bytes) -> None:
        self.symbols = symbols
        self._names = names

    def name(self, symbol: RawSymbol) -> str:
        return string_at(self._names, symbol.name)

    def name_at(self, index: int) -> str:
        """The name of a symbol by its index; empty for index 0.

        Raises
        ------
        ArtifactError: there is no such symbol.
        """
        if index >= len(self.symbols):
            raise ArtifactError(f"malformed: a relocation names symbol {index} of {len(self.symbols)}")
        return self.name(self.symbols[index])


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
            for symbol in table.symbols:
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
        return SymbolTable([], b"")
    count = _symbol_count(image)
    if count > _MOST_SYMBOLS:
        raise ArtifactError(f"malformed: {count} dynamic symbols")
    data = image.at(dynamic.tags[elf.DT_SYMTAB], count * image.layout.symbol.size)
    return SymbolTable(_symbols(image, data), image.dynamic_strings() if count else b"")


def _symbols(image: Image, data: bytes) -> list[RawSymbol]:
    """The symbols of a table; functions by the address of their first instruction."""
    symbols = image.layout.symbols(data)
    if image.header.machine != EM_ARM:
        return symbols
    # bit 0 of a function's value says that it is Thumb code (ELF for the Arm Architecture, "Symbol Values")
    return [s._replace(value=s.value & ~1) if s.info & 15 == elf.STT_FUNC else s for s in symbols]


def _symbol_count(image: Image) -> int:
    tags = image.dynamic.tags if image.dynamic else {}
    prefix = image.layout.prefix
    if elf.DT_HASH in tags:
        wide = image.layout.bits == 64 and image.header.machine in (EM_S390, EM_ALPHA)
        size, code = (16, "QQ") if wide else (8, "II")
        return int(struct.unpack(prefix + code, image.at(tags[elf.DT_HASH], size))[1])
    from_relocations = _highest_relocated_symbol(image) + 1
    if elf.DT_GNU_HASH not in tags:
        return from_relocations
    return max(_gnu_hash_count(image, tags[elf.DT_GNU_HASH]), from_relocations)


def _gnu_hash_count(image: Image, address: int) -> int:
    prefix = image.layout.prefix
    buckets, offset, bloom, _ = struct.unpack(prefix + "4I", image.at(address, 16))
    start = address + 16 + bloom * image.layout.word.size
    if buckets == 0:
        return int(offset)
    highest = max(struct.unpack(f"{prefix}{buckets}I", image.at(start, 4 * buckets)))
    if highest < offset:
        return int(offset)
    chain = start + 4 * buckets
    for index in range(highest, highest + _MOST_SYMBOLS):  # the lowest bit ends a chain
        if struct.unpack(prefix + "I", image.at(chain + 4 * (index - offset), 4))[0] & 1:
            return index + 1
    raise ArtifactError("malformed: a chain of DT_GNU_HASH does not end")


def _highest_relocated_symbol(image: Image) -> int:
    """Undefined symbols are not hashed; relocations name them."""
    highest = 0
    for offset, size, record in dynamic_tables(image, relative=False):
        for relocation in relocations_in(image, offset, size, record):
            highest = max(highest, relocation.symbol)
    return highest


def imports_of_image(image: Image, machine: Machine) -> Imports:
    """Undefined symbols of a linked file, and those that it calls through PLT slots."""
    table = dynamic_symbols(image)
    names, defined = set(), set()
    for symbol in table.symbols:
        if symbol.name == 0:
            continue
        if symbol.shndx == elf.SHN_UNDEF:
            names.add(table.name(symbol))
        elif symbol.info & 15 in (elf.STT_FUNC, elf.STT_GNU_IFUNC):
            defined.add(table.name(symbol))
    return Imports(frozenset(names), frozenset(_called(image, machine, table)), frozenset(defined))


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
            name = table.name_at(relocation.symbol)
            # an undefined symbol with a value: the slot stands for the function's address in code without -fPIE
            if not table.symbols[relocation.symbol].value:
                yield name


def symbol_section(image: Image, section: Section | None = None) -> SymbolTable:
    """The symbols of a SHT_SYMTAB section (by default the only one); an empty table where there is none."""
    sections = image.sections
    if section is None:
        section = next((s for s in sections if s.type == elf.SHT_SYMTAB), None)
    if section is None:
        return SymbolTable([], b"")
    size = image.layout.symbol.size
    if section.entsize != size or section.size % size or section.link >= len(sections):
        raise ArtifactError("malformed: the symbol table's entry size, size or string table is wrong")
    if section.size // size > _MOST_SYMBOLS:
        raise ArtifactError(f"malformed: {section.size // size} symbols")
    strings = sections[section.link]
    if strings.type == elf.SHT_NOBITS:
        raise ArtifactError("malformed: the symbol table's string table has no contents")
    symbols = _symbols(image, image.source.read(section.offset, section.size))
    return SymbolTable(symbols, image.source.read(strings.offset, strings.size))


def imports_of_object(image: Image, machine: Machine) -> Imports:
    """Undefined symbols of an object file, and those that a call relocation names."""
    table = symbol_section(image)
    names, defined = set(), set()
    for symbol in table.symbols:
        if symbol.name == 0:
            continue
        if symbol.shndx == elf.SHN_UNDEF:
            names.add(table.name(symbol))
        elif symbol.info & 15 in (elf.STT_FUNC, elf.STT_GNU_IFUNC) and symbol.info >> 4 != elf.STB_LOCAL:
            defined.add(table.name(symbol))
    calls: set[str] = set()
    for target, relocations in object_relocations_by_section(image):
        if target.executable:
            calls.update(table.name_at(r.symbol) for r in relocations if r.type in machine.call_types)
    return Imports(frozenset(names), frozenset(calls), frozenset(defined))


def units_of(image: Image) -> tuple[str, ...]:
    """The source files that were compiled, as the symbol table names them; empty where it is stripped."""
    table = symbol_section(image)
    return tuple(dict.fromkeys(table.name(symbol) for symbol in table.symbols if symbol.info & 15 == elf.STT_FILE))


def entry_points(image: Image) -> tuple[EntryPoint, ...]:
    """The first instructions of global functions, from .dynsym and .symtab; start files left out."""
    found: dict[int, EntryPoint] = {}
    for table in (dynamic_symbols(image), symbol_section(image)):
        for symbol in table.symbols:
            if len(found) >= _MOST_ENTRIES:
                break
            if _is_global_function(symbol) and symbol.value not in found and symbol.size >= 4:
                name = table.name(symbol)
                if name not in _START_FILES and not name.startswith("__x86.get_pc_thunk"):
                    found[symbol.value] = EntryPoint(name, symbol.value, _code_at(image, symbol))
    return tuple(found.values())


def _is_global_function(symbol: RawSymbol) -> bool:
    return (
        symbol.shndx != elf.SHN_UNDEF
        and symbol.info & 15 == elf.STT_FUNC
        and symbol.info >> 4 in (elf.STB_GLOBAL, elf.STB_WEAK)
        and symbol.other & 3 in (elf.STV_DEFAULT, elf.STV_PROTECTED)
    )


def _code_at(image: Image, symbol: RawSymbol) -> bytes:
    size = min(symbol.size, _CODE_BYTES)
    if image.header.type == elf.ET_REL:
        if symbol.shndx >= len(image.sections):
            return b""
        section = image.sections[symbol.shndx]
        return image.source.read(section.offset + symbol.value, size)
    return image.at(symbol.value, size)
