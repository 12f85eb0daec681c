"""Names read from files that lie: bounded in time and memory, and never another exception than ArtifactError."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.elf.facts import Need
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.errors import ArtifactError
from pytest_hardening.fixtures import CompileC

if TYPE_CHECKING:
    from tests.conftest import ElfEditor

PATIENCE = 20  # seconds; each takes less than two here


def object_file(strings: bytes, symbols: int, info: int = 0x12, section: int = 0xFFF1) -> bytes:
    """An object for x86-64 whose symbols begin at every byte of a string table: global functions, absolute."""
    table = bytes(24) + b"".join(struct.pack("<IBBHQQ", 1 + i, info, 0, section, 0, 0) for i in range(symbols))
    names = b"\0.symtab\0.strtab\0.shstrtab\0"
    offsets = [64, 64 + len(table), 64 + len(table) + len(strings)]
    rows = [
        (0,) * 10,
        (1, 2, 0, 0, offsets[0], len(table), 2, 1, 8, 24),
        (9, 3, 0, 0, offsets[1], len(strings), 0, 0, 1, 0),
        (17, 3, 0, 0, offsets[2], len(names), 0, 0, 1, 0),
    ]
    end = offsets[2] + len(names)
    header = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, end, 0, 64, 0, 0, 64, 4, 3)
    return header + table + strings + names + b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows)


def read(path: Path, need: Need) -> ElfReader:
    with Source.open(path) as source, ElfReader(source, path.name) as reader:
        reader.extend([need])
        return reader


@pytest.mark.parametrize(
    ("need", "info", "section"),
    [
        (Need.DEFINITIONS, 0x12, 0xFFF1),
        (Need.CFI_TRACES, 0x12, 0xFFF1),
        (Need.IMPORTS, 0x10, 0),
        (Need.IMPORTS, 0x12, 0xFFF1),
        (Need.SOURCE_FILES, 4, 0xFFF1),
    ],
)
def test_names_that_overlap(tmp_path: Path, need: Need, info: int, section: int) -> None:
    """Thirty thousand names of thirty thousand characters: a gigabyte from a file of a megabyte."""
    path = tmp_path / "F.o"
    path.write_bytes(object_file(b"\0" + b"cfi" + b"_" * 60000 + b"\0", 40000, info, section))
    start = time.monotonic()
    with pytest.raises(ArtifactError, match="malformed: symbol names larger than their table"):
        read(path, need)
    assert time.monotonic() - start < PATIENCE


@pytest.mark.parametrize(
    "strings",
    [
        b"\0" + "\u202e\0".encode() * 5_000_000,  # the same name over and over
        b"\0" + "\u202e".encode() * 5_000_000 + b"\0",  # one name that does not end
        b"\0" + "\u00b7\0".encode() * 5_000_000,
        b"\0" + b"".join(f"f{i}\u200b\0".encode() for i in range(1_000_000)),
    ],
)
def test_millions_of_odd_names(tmp_path: Path, strings: bytes) -> None:
    path = tmp_path / "F.o"
    path.write_bytes(object_file(strings, 10))
    start = time.monotonic()
    odd = read(path, Need.ODD_NAMES).facts.odd_names
    assert time.monotonic() - start < PATIENCE
    assert odd is not None
    assert odd.found
    assert max(len(item.name) for item in odd.found) < 1 << 17


def test_string_tables_that_overlap(build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
    """A table that ends outside of the file is an error; that two are the same one is not."""
    source = {"F.c": 'int f(void) __asm__("is_\u202enimda"); int f(void) { return 3; }\n'}
    editor = edit(build(source, "object", compiler="clang-19"))
    count, at = editor.header("shnum"), editor.header("shoff")
    strings = [at + i * 64 for i in range(count) if editor.get("I", at + i * 64 + 4) == 3]
    editor.put("Q", strings[0] + 32, 1 << 40)
    with pytest.raises(ArtifactError, match="truncated or malformed"):
        read(editor.save(tmp_path), Need.ODD_NAMES)
