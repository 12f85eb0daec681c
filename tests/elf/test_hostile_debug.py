"""Debug information made to cost much: it ends in little time and memory, and says why it was not read."""

from __future__ import annotations

import struct
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.elf import debug_abbreviations
from pytest_hardening.elf.facts import ElfFacts, Need
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source

# declarations: a unit with its language; a function with ranges, its variable; types
UNIT = bytes((1, 0x11, 0, 0x13, 0x0B, 0, 0))
ALL = (
    bytes((1, 0x11, 1, 0x13, 0x0B, 0, 0))
    + bytes((2, 0x2E, 1, 0x55, 0x17, 0, 0))
    + bytes((3, 0x34, 0, 0x02, 0x18, 0x49, 0x13, 0, 0))
    + bytes((4, 0x01, 1, 0x49, 0x13, 0, 0))
    + bytes((5, 0x21, 0, 0x2F, 0x0B, 0, 0))
    + bytes((6, 0x24, 0, 0x3E, 0x0B, 0x0B, 0x0B, 0, 0))
    + bytes((7, 0x24, 0, 0x03, 0x08, 0, 0))
    + b"\0"
)
TOP = b"\1\x0c"  # DW_LANG_C99
HEADER = 11
MEGABYTE = 1 << 20


def unit(entries: bytes, abbreviations: int = 0) -> bytes:
    """A unit of DWARF 4 with addresses of 8 bytes."""
    body = struct.pack("<HIB", 4, abbreviations, 8) + entries
    return struct.pack("<I", len(body)) + body


def function(variables: bytes) -> bytes:
    """With the ranges at offset 0 of .debug_ranges."""
    return b"\2" + bytes(4) + variables + b"\0"


def variable(type_offset: int) -> bytes:
    """At a fixed place of the stack frame."""
    return b"\3\3\x91\x80\x7f" + struct.pack("<I", type_offset)


def unit_with_arrays(count: int) -> bytes:
    """So many functions with an array of 64 characters."""
    base = HEADER + len(TOP)
    types = b"\6\6\1" + b"\4" + struct.pack("<I", base) + b"\5\x3f\0"
    return unit(TOP + types + function(variable(base + 3)) * count + b"\0")


@pytest.fixture
def library(tool_for: Callable[[str], str], tmp_path: Path) -> Callable[..., Path]:
    """`library(info=..., abbrev=...)`: a shared library with these debug sections."""

    def library(**sections: bytes) -> Path:
        text = ".globl f\n.type f,@function\nf: ret\n.size f,.-f\n"
        for name, data in sections.items():
            (tmp_path / name).write_bytes(data)
            text += f'.section .debug_{name},"",@progbits\n.incbin "{tmp_path / name}"\n'
        (tmp_path / "f.s").write_text(text)
        path = tmp_path / "f.so"
        subprocess.run([tool_for("gcc"), "-shared", "-nostdlib", tmp_path / "f.s", "-o", path], check=True)
        return path

    return library


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the file was read, and how many bytes."""
    seen = {"calls": 0, "bytes": 0}
    read = Source.read

    def counted(source: Source, offset: int, size: int) -> bytes:
        seen["calls"] += 1
        seen["bytes"] += size
        return read(source, offset, size)

    monkeypatch.setattr(Source, "read", counted)
    return seen


def facts_of(path: Path) -> tuple[ElfFacts, int]:
    """What is read of it, and the most memory that this took."""
    tracemalloc.start()
    try:
        with Source.open(path) as source, ElfReader(source, path.name) as reader:
            return reader.extend((Need.UNITS, Need.STACK_ARRAYS)), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_units_that_begin_anywhere_in_one_table(library: Callable[..., Path]) -> None:
    """Each at another offset of half a megabyte of abbreviations."""
    count, table = 1000, UNIT + b"\0"
    info = b"".join(unit(TOP, index * len(table)) for index in range(count))
    facts, peak = facts_of(library(info=info, abbrev=table * count + bytes(MEGABYTE // 2)))
    assert facts.units is not None
    assert len(facts.units.found) == count
    assert peak < 8 * MEGABYTE


def test_units_with_tables_of_their_own(library: Callable[..., Path]) -> None:
    count = 1000
    table = b"".join(bytes((code,)) + UNIT[1:] for code in range(1, 50)) + b"\0"
    info = b"".join(unit(TOP, index * len(table)) for index in range(count))
    facts, peak = facts_of(library(info=info, abbrev=table * count))
    assert facts.units is not None
    assert len(facts.units.found) == count
    assert peak < 8 * MEGABYTE


def test_tables_that_overlap(library: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each unit needs the last of many declarations."""
    monkeypatch.setattr(debug_abbreviations, "_MOST_DECLARATIONS", 10_000)
    table = b"".join(b"\2" + UNIT[1:] for _ in range(3000)) + UNIT + b"\0"
    info = b"".join(unit(TOP, index * len(UNIT)) for index in range(1000))
    facts, _ = facts_of(library(info=info, abbrev=table))
    assert facts.units is not None
    assert facts.units.unread == ("debug information is not readable: more than 10000 abbreviations",)
    assert facts.stack_arrays is not None
    assert not facts.stack_arrays.complete


def test_functions_that_share_a_list_of_ranges(library: Callable[..., Path], work: dict[str, int]) -> None:
    """A function begins with its first range; the others are not read."""
    ranges = b"".join(struct.pack("<QQ", 0x1000 + 16 * index, 0x1008 + 16 * index) for index in range(16_000))
    facts, _ = facts_of(library(info=unit_with_arrays(500), abbrev=ALL, ranges=ranges + bytes(16)))
    assert facts.stack_arrays is not None
    assert {(found.address, found.size) for found in facts.stack_arrays.found} == {(0x1000, 8)}
    assert len(facts.stack_arrays.found) == 500
    assert work["calls"] < 5000


def test_lists_of_ranges_without_an_instruction(library: Callable[..., Path], work: dict[str, int]) -> None:
    """There all of a list is read, but not for every function."""
    ranges = struct.pack("<QQ", 0x1000, 0x1000) * 16_000 + bytes(16)
    facts, _ = facts_of(library(info=unit_with_arrays(4000), abbrev=ALL, ranges=ranges))
    assert facts.stack_arrays is not None
    assert not facts.stack_arrays.complete
    assert work["calls"] < 200_000


@pytest.mark.parametrize("length", [4_000_000, 60_000])
def test_types_inside_one_long_name(library: Callable[..., Path], work: dict[str, int], length: int) -> None:
    """Each reference leads to another place in the same string."""
    count = 1000
    names = HEADER + len(TOP) + 5 + 9 * count + 2
    variables = b"".join(variable(names + index) for index in range(count))
    info = unit(TOP + function(variables) + b"\0" + b"\7" * length + b"\0\0")
    ranges = struct.pack("<QQ", 0x1000, 0x1008) + bytes(16)
    facts, peak = facts_of(library(info=info, abbrev=ALL, ranges=ranges))
    assert facts.stack_arrays is not None
    assert facts.stack_arrays.complete is (length < 1 << 16)
    assert work["bytes"] < 100 * MEGABYTE
    assert peak < 12 * MEGABYTE
