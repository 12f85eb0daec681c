"""The translation units of a file: from DWARF, from recorded command lines, from the names in the symbol table."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from ..errors import ArtifactError
from . import layout as elf
from .debug_info import Budget, DebugInfo, DebugUnit
from .debug_ranges import Range
from .dwarf_codes import (
    DW_AT_ABSTRACT_ORIGIN,
    DW_AT_APPLE_FLAGS,
    DW_AT_COMP_DIR,
    DW_AT_DWO_NAME,
    DW_AT_GNU_DWO_NAME,
    DW_AT_LANGUAGE,
    DW_AT_LANGUAGE_NAME,
    DW_AT_NAME,
    DW_AT_PRODUCER,
    DW_TAG_COMPILE_UNIT,
    DW_TAG_INLINED_SUBROUTINE,
    DW_TAG_SKELETON_UNIT,
    DW_TAG_SUBPROGRAM,
)
from .facts import Unit, Units
from .hidden_units import Described, hidden_units
from .image import Image, printable
from .producer import language_of, language_of_file, producer_of, sources_of_command
from .symbols import symbol_section

__all__ = ["units_of"]

_MOST_UNITS = 20_000
_MOST_NOTES = 8
_MOST_SECONDS = 1.0
# sources of the compilers' own libraries, parts of which are linked into every program that uses them
_RUNTIME_FOLDER = re.compile(r"/(libsanitizer|libgcc|libstdc\+\+-v3|compiler-rt/lib)/")
_MOST_ENTRIES = 200_000  # of units that link-time optimisation made; 0.15 s
_MOST_RANGES = 1 << 18  # of all units; 1 s
_MOST_COMMANDS = 1 << 20  # bytes of .GCC.command.line
# start files of the toolchain: GCC's (libgcc/crtstuff.c, config/*/crt*.c), glibc's and musl's; GNU ld names objects
# without a file symbol by themselves: Scrt1.o
_START_FILES = frozenset(
    "crtstuff.c crtfastmath.c crtprec.c offloadstuff.c crt1.o Scrt1.o rcrt1.o Mcrt1.o gcrt1.o grcrt1.o crti.o crtn.o "
    "crtbegin.o crtbeginS.o crtbeginT.o crtend.o crtendS.o crtfastmath.o crt1.c Scrt1.c rcrt1.c crti.s crtn.s crti.S "
    "crtn.S".split()
)
# those of glibc's csu/ and sysdeps/ whose names are not theirs alone: only where the folder or the place tells
_GLIBC_FILES = frozenset(
    "init.c start.S abi-note.S abi-note.c abi-tag.c elf-init.c static-reloc.c static-reloc.S".split()
)
_LTO_RECORD = ".gnu.lto_.opts"
_QUOTED = re.compile(r"'((?:[^']|'\\'')*)'")
_GCC_VERSION = re.compile(rb"GCC: \([^)]*\) (\d{1,3}(?:\.\d{1,3})*)")


def units_of(
    image: Image, debug_image: Image, debug: DebugInfo | None, unread: tuple[str, ...] = (), *, static: bool = False
) -> Units:
    """The units of a file, the best source first: DWARF, .GCC.command.line, symbol table.

    Parameters
    ----------
    image: the file.
    debug_image: the file that holds its debug information, perhaps the same.
    debug: the debug information; None where there is none that can be read.
    unread: why there is none.
    static: whether it is a static program, which holds libraries' functions.

    Units without code are among them where the file does not tell that they are.
    """
    notes = list(unread)
    linked = image.header.type != elf.ET_REL
    explained: set[str] = set()
    described = Described()
    found = list(_dwarf_units(debug, notes, explained, described, linked=linked)) if debug is not None else []
    table = image if any(section.type == elf.SHT_SYMTAB for section in image.sections) else debug_image
    hidden = hidden_units(table, described, found, linked=linked, static=static)
    known = Counter(os.path.basename(unit.name) for unit in found)
    for unit in _symbol_table_units(table):
        if known[unit.name] > 0:  # several files of a project may have one name
            known[unit.name] -= 1
        else:
            found.append(unit)
    if any(section.name == ".stab" and section.size for section in image.sections):
        notes.append("debug information in the stabs format is not read")
    commands = _recorded(image, notes) or (_recorded(debug_image, notes) if debug_image is not image else [])
    found = _with_commands(found, commands, explained, linked=linked)
    if not linked:
        found = _with_lto_options(image, found)
    notes = list(dict.fromkeys(notes))
    if len(notes) > _MOST_NOTES:
        notes[_MOST_NOTES:] = [f"and {len(notes) - _MOST_NOTES} more of the kind"]
    return Units(tuple(found), tuple(notes), hidden)


def _dwarf_units(
    debug: DebugInfo, notes: list[str], explained: set[str], described: Described, *, linked: bool
) -> Iterator[Unit]:
    limit = time.monotonic() + _MOST_SECONDS
    found: dict[int, Unit] = {}
    moved: dict[int, list[tuple[int, int]]] = {}
    budget, ranges = Budget(_MOST_ENTRIES), Budget(_MOST_RANGES)
    try:
        for count, unit in enumerate(debug.units()):
            if count >= _MOST_UNITS or time.monotonic() > limit:
                notes.append(f"only the first {count} units of the debug information were read")
                break
            read = _dwarf_unit(unit, notes, explained)
            if read is None and _is_optimised_at_link_time(unit):
                described.inlined |= unit.declares(DW_TAG_INLINED_SUBROUTINE, without=DW_AT_ABSTRACT_ORIGIN)
                for source, place in _ranges_after_link_time_optimisation(unit, budget, ranges):
                    described.ranges.append(place)
                    if linked:
                        moved.setdefault(source.offset, []).append((place.start, place.end))
                continue
            places = tuple(unit.ranges(unit.top[1], ranges))
            described.ranges += places
            if read is not None:
                own = tuple((place.start, place.end) for place in places) if linked else ()
                found[unit.offset] = replace(read, ranges=own)
    except (ArtifactError, IndexError, ValueError) as error:
        notes.append(f"debug information is not readable: {error}")
    if budget.exceeded:
        notes.append("not all functions of link-time optimisation were read")
    notes += debug.notes
    for offset, unit_facts in found.items():
        more = tuple(moved.get(offset, ()))
        yield replace(unit_facts, ranges=unit_facts.ranges + more) if more else unit_facts


def _dwarf_unit(unit: DebugUnit, notes: list[str], explained: set[str]) -> Unit | None:
    """One unit; None where it is no compiler's, one of the toolchain's, or none that can be read."""
    abbreviation, top = unit.top
    split = top.get(DW_AT_DWO_NAME) or top.get(DW_AT_GNU_DWO_NAME)
    if split is not None or abbreviation.tag == DW_TAG_SKELETON_UNIT:
        notes.append(f"split debug information is not read: {unit.text(split) or 'a .dwo file'}")
        return None
    if abbreviation.tag != DW_TAG_COMPILE_UNIT:
        return None
    name, text = unit.text(top.get(DW_AT_NAME)), unit.text(top.get(DW_AT_PRODUCER))
    producer = producer_of(text)
    explained.add(text)
    base = os.path.basename(name)
    folder = unit.text(top.get(DW_AT_COMP_DIR))
    glibc = base in _GLIBC_FILES and _is_glibc(folder)
    if producer.whole or glibc or base in _START_FILES or _RUNTIME_FOLDER.search(name):
        return None
    codes = unit.constant(top.get(DW_AT_LANGUAGE)), unit.constant(top.get(DW_AT_LANGUAGE_NAME))
    language = language_of(producer, *codes)
    flags = producer.flags
    if flags is None and DW_AT_APPLE_FLAGS in top:
        flags = producer_of(f"{text} {unit.text(top[DW_AT_APPLE_FLAGS])}").flags
    return Unit(name, language, producer.compiler, producer.version, flags, source="DWARF", folder=folder)


def _is_optimised_at_link_time(unit: DebugUnit) -> bool:
    return producer_of(unit.text(unit.top[1].get(DW_AT_PRODUCER))).whole


def _is_glibc(folder: str) -> bool:
    return os.path.basename(folder) == "csu" and "glibc" in folder


def _ranges_after_link_time_optimisation(
    unit: DebugUnit, budget: Budget, ranges: Budget
) -> Iterator[tuple[DebugUnit, Range]]:
    """Whose the functions of a unit <artificial> are: GCC describes them in the units of the sources, and here only
    where their code is (DW_AT_abstract_origin leads from one to the other).
    """
    for _, tag, entry in unit.walk(budget):
        origin = entry.get(DW_AT_ABSTRACT_ORIGIN)
        offset = unit.reference(origin) if tag == DW_TAG_SUBPROGRAM and origin is not None else None
        if offset is None or unit.offset <= offset < unit.end:
            continue
        source = unit.info.unit_at(offset)
        for place in unit.ranges(entry, ranges):
            yield source, place


def _recorded(image: Image, notes: list[str]) -> list[str]:
    """The strings of .GCC.command.line, each once: the linker merges equal ones."""
    found: list[str] = []
    for section in image.sections:
        if section.name != ".GCC.command.line" or section.type == elf.SHT_NOBITS:
            continue
        if section.size > _MOST_COMMANDS:
            notes.append(".GCC.command.line is too large")
            continue
        data = image.source.read(section.offset, section.size)
        found += [printable(text.decode("utf-8", "backslashreplace")) for text in data.split(b"\0") if text]
    return list(dict.fromkeys(found))


def _with_commands(units: list[Unit], commands: list[str], explained: set[str], *, linked: bool) -> list[Unit]:
    """The units with the flags of recorded command lines. clang's name the source; GCC's do not, so that in a linked
    file they stand for themselves, unless a unit's DWARF has the same.
    """
    if commands and not any(producer_of(text).compiler for text in commands):
        # GCC before version 11: each option is a string of its own, among them the name of the source
        whole = producer_of(" ".join(["gcc", *commands]))
        if not linked and len(units) == 1 and units[0].flags is None:
            return [replace(units[0], compiler="gcc", flags=whole.flags, source=".GCC.command.line")]
        return units
    for text in commands:
        if text in explained:
            continue
        found = producer_of(text)
        names = {os.path.basename(name) for name in sources_of_command(text)}
        alike = [i for i, unit in enumerate(units) if os.path.basename(unit.name) in names]
        if not linked and len(units) == 1 and len(commands) == 1:
            alike = [0]
        if len(alike) == 1:
            unit = units[alike[0]]
            if unit.flags is None:
                units[alike[0]] = replace(
                    unit,
                    source=".GCC.command.line",
                    flags=found.flags,
                    compiler=unit.compiler or found.compiler,
                    version=unit.version or found.version,
                    language=unit.language or found.language,
                )
            continue
        units.append(Unit("", found.language, found.compiler, found.version, found.flags, source=".GCC.command.line"))
    return units


def _with_lto_options(image: Image, units: list[Unit]) -> list[Unit]:
    """The units of an object with the options that GCC stores beside its bytecode (lto_write_options in lto-opts.cc):
    for each unit a string, its words in quotation marks. What only the front end or the driver knows is not among them.
    """
    records = [
        tuple(word.replace("'\\''", "'") for word in _QUOTED.findall(text))
        for section in image.sections
        if section.name == _LTO_RECORD and section.type == elf.SHT_PROGBITS and section.size <= _MOST_COMMANDS
        for text in image.source.read(section.offset, section.size).decode("utf-8", "backslashreplace").split("\0")
        if text
    ]
    if not records or (units and not any(unit.flags is None for unit in units)):
        return units
    version = _version_of_gcc(image)
    if len(records) == len(units) and all(unit.flags is None for unit in units):
        return [
            replace(unit, compiler="gcc", version=version, flags=flags, source=_LTO_RECORD)
            for unit, flags in zip(units, records, strict=True)
        ]
    return units + [Unit("", "", "gcc", version, flags, source=_LTO_RECORD) for flags in records]


def _version_of_gcc(image: Image) -> str:
    """The version in .comment; empty where it does not name one alone."""
    comments = [s for s in image.sections if s.name == ".comment" and s.type == elf.SHT_PROGBITS]
    texts = [image.source.read(section.offset, min(section.size, 1 << 16)) for section in comments]
    found = {version for text in texts for version in _GCC_VERSION.findall(text)}
    return found.pop().decode() if len(found) == 1 else ""


def _symbol_table_units(image: Image) -> list[Unit]:
    """The files that the symbol table names, with the addresses of the local functions that follow each. Global
    functions come last, and nothing tells whose they are.
    """
    section = next((s for s in image.sections if s.type == elf.SHT_SYMTAB), None)
    if section is None:
        return []
    table = symbol_section(image)
    known = image.header.type != elf.ET_REL and _names_every_object(image)
    files: list[tuple[str, list[tuple[int, int]]]] = []
    for symbol in islice(table, section.info or None):  # local symbols come first (gABI, sh_info)
        kind = symbol.info & 15
        if kind == elf.STT_FILE:
            files.append((table.name(symbol), []))
        elif kind == elf.STT_FUNC and files and known and symbol.size and symbol.info >> 4 == elf.STB_LOCAL:
            files[-1][1].append((symbol.value, symbol.value + symbol.size))
    bases = [os.path.basename(name) for name, _ in files]
    first, last = _between_start_files(bases)
    return [
        Unit(name, language_of_file(name), ranges=tuple(sorted(ranges)), source="symbol table")
        for index, ((name, ranges), base) in enumerate(zip(files, bases, strict=True))
        if base
        and base not in _START_FILES
        and not base.endswith((".o", ".lo"))  # GNU ld: what it names an object that has no file symbol
        and not base.startswith("<")  # tcc: <command line>
        and not (base in _GLIBC_FILES and not first < index < last and not ranges)
    ]


def _between_start_files(names: list[str]) -> tuple[int, int]:
    """The places of the first and the last part of crtstuff.c, between which the linker puts the user's objects."""
    places = [index for index, name in enumerate(names) if name == "crtstuff.c"]
    return (places[0], places[-1]) if len(places) > 1 else (-1, len(names))


def _names_every_object(image: Image) -> bool:
    """Whether the linker writes a file symbol before the symbols of each object, also of those that have none: GNU ld
    does. With others the local functions of such an object would seem to belong to the one before.
    """
    for section in image.sections:
        if section.name == ".note.gnu.gold-version":
            return False
        if section.name == ".comment" and section.type == elf.SHT_PROGBITS:
            text = image.source.read(section.offset, min(section.size, 1 << 16))
            if b" LLD " in text or b"mold " in text:
                return False
    return True
