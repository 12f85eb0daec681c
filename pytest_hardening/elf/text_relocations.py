"""Run-time relocations whose target lies in a PT_LOAD that is not writable.

DT_TEXTREL and DF_TEXTREL only announce such relocations; a linker may set one, both, or none.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from itertools import islice

from . import layout as elf
from .facts import TextRelocation, TextRelocations
from .image import Image
from .relocations import dynamic_tables, relocations_in
from .symbols import FunctionIndex, dynamic_symbols, symbol_section

__all__ = ["packed_addresses", "text_relocations"]

_MOST_SHOWN = 16
_MOST_COUNTED = 100_000


def text_relocations(image: Image) -> TextRelocations:
    """All text relocations of a linked file, the first ones with their symbol and place."""
    read_only = [
        (s.vaddr, s.end) for s in image.segments if s.type == elf.PT_LOAD and not s.flags & elf.PF_W and s.memsz
    ]
    count = 0
    hit_tables = []
    for offset, size, record in dynamic_tables(image, relative=True):
        hits = sum(
            len(_inside(_offsets(image, chunk, record), read_only))
            for chunk in image.source.chunks(offset, size - size % record.size, record.size)
        )
        if hits:
            hit_tables.append((offset, size, record))
        count += hits
    packed_hits = list(islice(packed_addresses(image, read_only), _MOST_COUNTED))
    tags = image.dynamic.tags if image.dynamic else {}
    undecoded = elf.DT_ANDROID_REL in tags or elf.DT_ANDROID_RELA in tags
    found = _described(image, hit_tables, packed_hits, read_only) if count or packed_hits else ()
    return TextRelocations(found, count + len(packed_hits), undecoded)


def _offsets(image: Image, chunk: bytes, record: struct.Struct) -> array[int]:
    """The r_offset column of a table, at the speed of `array` instead of a loop."""
    words = array("Q" if image.layout.bits == 64 else "I")
    words.frombytes(chunk)
    if image.layout.order != sys.byteorder:
        words.byteswap()
    return words[:: record.size // words.itemsize]


def _inside(offsets: array[int], ranges: list[tuple[int, int]]) -> list[int]:
    if not offsets:
        return []
    low, high = min(offsets), max(offsets)
    near = [(start, end) for start, end in ranges if start <= high and low < end]
    if not near:
        return []
    return [offset for offset in offsets if any(start <= offset < end for start, end in near)]


def packed_addresses(image: Image, ranges: list[tuple[int, int]] | None = None) -> Iterator[int]:
    """Addresses in DT_RELR, of those in `ranges` where given: an even word is an address, an odd one a bit map of the
    words behind it (gABI; Android's tags are older numbers for the same).
    """
    word = image.layout.word
    span = (image.layout.bits - 1) * word.size
    ranges = [(0, 1 << image.layout.bits)] if ranges is None else ranges
    for tags in ((elf.DT_RELR, elf.DT_RELRSZ), (elf.DT_ANDROID_RELR, elf.DT_ANDROID_RELRSZ)):
        place = image.table(*tags)
        if place is None:
            continue
        base = 0
        for chunk in image.source.chunks(place[0], place[1] - place[1] % word.size, word.size):
            for (entry,) in word.iter_unpack(chunk):
                if entry & 1 == 0:
                    if any(low <= entry < high for low, high in ranges):
                        yield entry
                    base = entry + word.size
                    continue
                if any(low < base + span and base < high for low, high in ranges):
                    marked = (base + bit * word.size for bit in range(image.layout.bits - 1) if entry >> bit + 1 & 1)
                    yield from (at for at in marked if any(low <= at < high for low, high in ranges))
                base += span


def _described(
    image: Image,
    tables: list[tuple[int, int, struct.Struct]],
    packed: list[int],
    ranges: list[tuple[int, int]],
) -> tuple[TextRelocation, ...]:
    names = dynamic_symbols(image)
    functions = FunctionIndex(symbol_section(image), names)
    found: list[TextRelocation] = []
    for offset, size, record in tables:
        for relocation in relocations_in(image, offset, size, record):
            if any(low <= relocation.offset < high for low, high in ranges):
                symbol = names.name_at(relocation.symbol) if relocation.symbol else ""
                found.append(TextRelocation(relocation.offset, symbol, functions.name_at(relocation.offset)))
                if len(found) == _MOST_SHOWN:
                    return tuple(found)
    found += [TextRelocation(address, "", functions.name_at(address)) for address in packed]
    return tuple(found[:_MOST_SHOWN])
