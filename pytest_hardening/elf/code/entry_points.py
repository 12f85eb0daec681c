"""The first instructions of functions that other files may call through pointers."""

from __future__ import annotations

from .. import layout as elf
from ..facts import ENTRY, ElfFacts, EntryPoint, Units
from ..image import Image
from ..layout import RawSymbol
from ..symbols import dynamic_symbols, symbol_section
from .functions import functions_of
from .own_code import is_runtime, own_functions

__all__ = ["entry_points"]

_MOST_ENTRIES = 256
_CODE_BYTES = 8
_SHORTEST = 4


def entry_points(image: Image, facts: ElfFacts, units: Units) -> tuple[EntryPoint, ...]:
    """The first instructions of the first global functions, from .dynsym and .symtab; start files and the compiler's
    library left out, and of static programs the C library. Where there are none, those at the program's entry point.
    """
    own = _own_addresses(image, facts, units)
    found: dict[int, EntryPoint] = {}
    for table in (dynamic_symbols(image), symbol_section(image)):
        for symbol in table:
            if len(found) >= _MOST_ENTRIES:
                break
            if _is_global_function(symbol) and symbol.value not in found and (own is None or symbol.value in own):
                name = table.name(symbol)
                if not is_runtime(name):
                    found[symbol.value] = EntryPoint(name, symbol.value, _code_at(image, symbol))
    start = image.header.entry
    if not found and start and image.header.type != elf.ET_REL:
        return (EntryPoint(ENTRY, start, image.at(start, _SHORTEST)),)
    return tuple(found.values())


def _own_addresses(image: Image, facts: ElfFacts, units: Units) -> frozenset[int] | None:
    """The addresses of a static program's own functions; None where all functions are."""
    if not facts.kind.is_static:
        return None
    functions = functions_of(image, facts)
    own = own_functions(image, facts, functions, units)
    return frozenset(functions[index].address for index in own.indices if index not in own.strays)


def _is_global_function(symbol: RawSymbol) -> bool:
    return (
        symbol.shndx != elf.SHN_UNDEF
        and symbol.info & 15 == elf.STT_FUNC
        and symbol.info >> 4 in (elf.STB_GLOBAL, elf.STB_WEAK)
        and symbol.other & 3 in (elf.STV_DEFAULT, elf.STV_PROTECTED)
        and symbol.size >= _SHORTEST
    )


def _code_at(image: Image, symbol: RawSymbol) -> bytes:
    size = min(symbol.size, _CODE_BYTES)
    if image.header.type == elf.ET_REL:
        if symbol.shndx >= len(image.sections):
            return b""
        section = image.sections[symbol.shndx]
        return image.source.read(section.offset + symbol.value, size)
    return image.at(symbol.value, size)
