"""Traces of control-flow integrity that the compiler makes in software: clang's CFI, SafeStack, shadow call stacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from ..errors import ArtifactError
from . import layout as elf
from .facts import CfiTraces
from .image import Image
from .layout import RawSymbol
from .machines import EM_AARCH64, EM_RISCV
from .symbols import SymbolTable, bounded, dynamic_symbols, symbol_section

__all__ = ["cfi_traces"]

# LLVM LowerTypeTests.cpp (functions renamed to NAME.cfi or NAME.cfi_jt, __typeid_*), CrossDSOCFI.cpp (__cfi_check),
# clang CGExpr.cpp (__ubsan_handle_cfi_*), compiler-rt lib/safestack/safestack.cpp
_NAMES = re.compile(r"_start|.+\.cfi(_jt)?|__typeid_.+_global_addr|__cfi_check|__cfi_slowpath(_diag)?|__safestack_.+")
_ENTRY = "_start"  # every C library's start files define it; without it symbols were stripped
_OF_INTEREST = re.compile(rb"_start\0|cfi|__typeid_|__safestack_")
# pushes of the return address onto the shadow call stack, clang documentation, "ShadowCallStack":
# str x30, [x18], #8
_AARCH64 = b"\x5e\x86\x00\xf8"
# addi gp, gp, 8 (compressed or not), then sd ra, -8(gp)
_RISCV = (b"\xa1\x01\x23\xbc\x11\xfe", b"\x93\x81\x81\x00\x23\xbc\x11\xfe")
_PROLOGUE = 16  # bytes; landing pads and the signing of the return address may stand before
_MOST_FUNCTIONS = 1 << 14
_MOST_FOUND = 100


def cfi_traces(image: Image) -> CfiTraces:
    """The symbols of such instrumentation, and the functions that push their return address on a shadow call stack.

    Raises
    ------
    ArtifactError: a symbol table is damaged.
    """
    dynamic, stripped_away = dynamic_symbols(image), symbol_section(image)
    exported, others = _of_interest(dynamic), _of_interest(stripped_away)
    return CfiTraces(
        symbols=tuple(sorted((exported | others) - {_ENTRY})[:_MOST_FOUND]),
        shadow_calls=tuple(islice(_shadow_calls(image, [stripped_away, dynamic]), _MOST_FOUND)),
        has_symbols=_ENTRY in others,
    )


def _of_interest(table: SymbolTable) -> set[str]:
    if not table.mentions(_OF_INTEREST):
        return set()
    names = bounded(table.name(symbol) for symbol in table if symbol.name)
    return {name for name in names if _NAMES.fullmatch(name)}


def _shadow_calls(image: Image, tables: list[SymbolTable]) -> Iterator[str]:
    """Functions that begin with such a push; of stripped files those that are exported."""
    number = image.header.machine
    if image.layout.bits != 64 or image.layout.order != "little" or number not in (EM_AARCH64, EM_RISCV):
        return
    seen: set[tuple[int, int]] = set()
    for table in tables:
        for symbol in table:
            place = (symbol.shndx, symbol.value)
            if symbol.shndx == elf.SHN_UNDEF or symbol.info & 15 != elf.STT_FUNC or symbol.size < 4 or place in seen:
                continue
            if len(seen) >= _MOST_FUNCTIONS:
                return
            seen.add(place)
            if _pushes(number, _code_at(image, symbol)):
                yield table.name(symbol)


def _pushes(machine: int, code: bytes) -> bool:
    if machine == EM_AARCH64:
        return any(code[place : place + 4] == _AARCH64 for place in range(0, len(code), 4))
    return any(code.startswith(push, place) for push in _RISCV for place in range(0, len(code), 2))


def _code_at(image: Image, symbol: RawSymbol) -> bytes:
    size = min(symbol.size, _PROLOGUE)
    try:
        return _read_code(image, symbol, size)
    except ArtifactError:  # a symbol that lies, in a table that the loader does not read
        return b""


def _read_code(image: Image, symbol: RawSymbol, size: int) -> bytes:
    if image.header.type != elf.ET_REL:
        return image.at(symbol.value, size)
    if symbol.shndx >= len(image.sections) or image.sections[symbol.shndx].type != elf.SHT_PROGBITS:
        return b""
    return image.source.read(image.sections[symbol.shndx].offset + symbol.value, size)
