"""Damaged files: truncated, with wild header fields, mutated at random. Each is an error or a verdict, in time."""

from __future__ import annotations

import random
import resource
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.engine import inspect
from pytest_hardening.errors import ArtifactError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Report
from pytest_hardening.toolchain import Kind

if TYPE_CHECKING:
    from tests.conftest import ElfEditor

CODE = """
#include <stdio.h>
#include <string.h>
extern int counter;
int counter = 3;
int (*const table[])(const char *) = {puts, puts};
_Thread_local int local = 1;
int work(const char *s, int n) { char b[64]; strcpy(b, s); printf("%s %d\\n", b, n + local); return table[n & 1](b); }
"""
MAIN = "int work(const char *, int); int main(int c, char **v) { return work(v[0], c); }\n"
FLAGS = ["-O2", "-g", "-fno-stack-protector"]  # so that DWARF is read as well
FORMS: dict[str, tuple[str, Kind, list[str]]] = {
    "pie": ("gcc", "executable", ["-fPIE", "-pie"]),
    "no-pie": ("gcc", "executable", ["-fno-pie", "-no-pie"]),
    "library": ("gcc", "shared-library", ["-fPIC"]),
    "library-lld": ("clang", "shared-library", ["-fPIC", "-fuse-ld=lld"]),
    "object": ("gcc", "object", ["-fPIC"]),
    "archive": ("gcc", "archive", ["-fPIC"]),
    "i386": ("gcc -m32", "shared-library", ["-fPIC"]),
    "aarch64": ("aarch64-linux-gnu-gcc", "executable", ["-fPIE", "-pie"]),
    "s390x": ("s390x-linux-gnu-gcc", "shared-library", ["-fPIC"]),
    "s390x-object": ("s390x-linux-gnu-gcc", "object", ["-fPIC"]),
    "arm-object": ("arm-linux-gnueabihf-gcc", "object", ["-fPIC"]),
}
UNEXPECTED = "please report this file"  # the engine's words for an exception that no reader should let out
MOST_SECONDS = 2.0


@pytest.fixture
def form(build: CompileC) -> Callable[[str], Path]:
    """`form("pie")`: one of FORMS, built."""

    def form(name: str) -> Path:
        compiler, kind, flags = FORMS[name]
        sources = {"work.c": CODE} if kind == "object" else {"work.c": CODE, "main.c": MAIN}
        return build(sources, kind=kind, flags=[*flags, *FLAGS], compiler=compiler)

    return form


def judged(path: Path) -> Report:
    """The report, which must come in time and be an error or verdicts."""
    start = time.perf_counter()
    report = inspect(path)
    assert time.perf_counter() - start < MOST_SECONDS
    for entry in report.artifacts:
        assert entry.error is None or UNEXPECTED not in entry.error, entry.error
        assert bool(entry.error) != bool(entry.verdicts)
    return report


def offsets(editor: ElfEditor) -> Iterator[int]:
    """Where structures begin and end: headers, segments, sections, dynamic entries."""
    yield from (16, 64, editor.header("phoff"), editor.header("shoff"))
    for segment in editor.segments():
        yield from (segment.position, segment.offset, segment.offset + segment.filesz)
        if segment.type == 2:
            yield from (entry.position for entry in editor.dynamic())
    wide, size = editor.is_64, editor.header("shentsize")
    for index in range(editor.header("shnum")):
        at = editor.header("shoff") + index * size
        yield at
        code, where, how_long = ("Q", 24, 32) if wide else ("I", 16, 20)
        if editor.get("I", at + 4) != 8:  # SHT_NOBITS has no bytes
            start = editor.get(code, at + where)
            yield from (start, start + editor.get(code, at + how_long))


@pytest.mark.parametrize("name", [name for name in FORMS if name != "archive"])
def test_truncated_elf_file_gets_no_verdict(
    form: Callable[[str], Path], edit: Callable[[Path], ElfEditor], tmp_path: Path, name: str
) -> None:
    editor = edit(form(name))
    data, path = bytes(editor.data), tmp_path / "file.so"
    cuts = {cut for offset in offsets(editor) for cut in (offset - 1, offset, offset + 1)}
    cuts |= set(range(0, len(data), max(1, len(data) // 200)))
    cuts |= set(range(len(data) - 65, len(data)))
    for cut in sorted(cut for cut in cuts if 0 <= cut < len(data)):
        path.write_bytes(data[:cut])
        report = judged(path)
        assert report.artifact.error, f"cut at {cut:#x} of {len(data):#x}"
        assert report.artifact.verdicts == ()


def test_truncated_file_without_section_headers(
    form: Callable[[str], Path], edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    """What the loader maps ends before the sections that it does not need: behind that nothing of weight is cut."""
    editor = edit(form("pie")).without_sections()
    mapped = max(segment.offset + segment.filesz for segment in editor.segments())
    path = tmp_path / "file"
    whole = judged(editor.save(tmp_path, "whole")).artifact.verdicts
    for cut in range(0, mapped, 61):
        path.write_bytes(editor.data[:cut])
        assert judged(path).artifact.error, hex(cut)
    path.write_bytes(editor.data[: mapped - 1])
    assert judged(path).artifact.error
    path.write_bytes(editor.data[:mapped])
    assert judged(path).artifact.verdicts == whole


def test_truncated_archive(form: Callable[[str], Path], tmp_path: Path) -> None:
    """Cut anywhere, between two members too: the symbol index still names what is gone."""
    data = form("archive").read_bytes()
    boundaries, position = {0}, 8
    while position < len(data):
        position += 60 + int(data[position + 48 : position + 58])
        boundaries.add(position)
        position += position & 1
        boundaries.add(position)
    cuts = {cut for at in boundaries for cut in range(at - 2, at + 3)} | set(range(0, len(data), len(data) // 200))
    cuts |= {at + extra for at in boundaries for extra in (16, 48, 58, 59, 60, 61)}
    path = tmp_path / "file.a"
    for cut in sorted(cut for cut in cuts if 0 <= cut < len(data)):
        path.write_bytes(data[:cut])
        assert judged(path).artifact.error, f"cut at {cut:#x} of {len(data):#x}"


@pytest.mark.parametrize("name", FORMS)
def test_identification_bytes(form: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    """The wrong class, the wrong byte order, an unknown version: nothing behind them can be read."""
    data = bytearray(form(name).read_bytes())
    start = data.index(b"\x7fELF")
    path = tmp_path / "file"
    for index, values in ((0, (0,)), (4, (0, 3, 3 - data[start + 4])), (5, (0, 3, 3 - data[start + 5])), (6, (0, 2))):
        for value in values:
            changed = bytearray(data)
            changed[start + index] = value
            path.write_bytes(changed)
            assert judged(path).artifact.error, (index, value)


WILD = (0xFFFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFF, 0x8000)


@pytest.mark.parametrize("name", ["pie", "library", "object", "i386", "s390x"])
@pytest.mark.parametrize("field", ["phoff", "shoff", "phnum", "shnum", "shstrndx", "phentsize", "shentsize", "ehsize"])
def test_wild_header_fields(
    form: Callable[[str], Path], edit: Callable[[Path], ElfEditor], tmp_path: Path, name: str, field: str
) -> None:
    editor = edit(form(name))
    if name == "object" and field in ("phoff", "phentsize"):  # there are no program headers: nobody reads the field
        editor.set_header(field, 0xFFFF)
        assert judged(editor.save(tmp_path)).artifact.verdicts
        return
    _, code = editor.header_fields[field]
    width = 8 * struct.calcsize("=" + code)
    original = editor.header(field)
    for value in {*(wild & ((1 << width) - 1) for wild in WILD), (len(editor.data) - 1) & ((1 << width) - 1)}:
        editor.set_header(field, value)
        report = judged(editor.save(tmp_path))
        if field == "shstrndx" and name != "object":
            # the loader needs no section names: they are lost, the verdicts stay
            continue
        assert report.artifact.error, hex(value)
    editor.set_header(field, original)
    assert judged(editor.save(tmp_path)).artifact.verdicts


DT = {
    "STRTAB": 5, "SYMTAB": 6, "RELA": 7, "RELASZ": 8, "STRSZ": 10, "SONAME": 14, "JMPREL": 23, "PLTRELSZ": 2,
    "GNU_HASH": 0x6FFFFEF5, "NEEDED": 1,
}  # fmt: skip


@pytest.mark.parametrize("tag", DT)
def test_wild_dynamic_entries(
    form: Callable[[str], Path], edit: Callable[[Path], ElfEditor], tmp_path: Path, tag: str
) -> None:
    editor = edit(form("library" if tag != "SONAME" else "library-lld"))
    if tag == "SONAME":  # neither has one: DT_NEEDED becomes it
        editor.set_tag(DT["NEEDED"], DT["SONAME"])
    original = editor.tag(DT[tag]).value
    for value in (0xFFFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFF0, 1 << 40, 0xFFFFFFFF, len(editor.data)):
        editor.set_tag(DT[tag], DT[tag], value)
        assert judged(editor.save(tmp_path)).artifact.error, hex(value)
    editor.set_tag(DT[tag], DT[tag], original)
    assert judged(editor.save(tmp_path)).artifact.verdicts


def test_endless_hash_chain(build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
    """The lowest bit ends a chain of DT_GNU_HASH; where no bit is set, the walk ends at the end of the segment."""
    path = build(CODE, kind="shared-library", flags=["-fPIC", "-O2"], link_flags=["-Wl,--hash-style=gnu"])
    editor = edit(path)
    start = editor.tag(DT["GNU_HASH"]).value
    buckets, _, bloom, _ = struct.unpack_from("<4I", editor.data, start)
    chain = start + 16 + 8 * bloom + 4 * buckets
    first = next(segment for segment in editor.segments() if segment.type == 1)
    assert chain < first.filesz
    for at in range(chain, first.filesz - 3, 4):
        editor.put("I", at, editor.get("I", at) & ~1)
    assert judged(editor.save(tmp_path)).artifact.error


@pytest.mark.parametrize(("field", "value"), [(0, 0xFFFFFFFF), (4, 0xFFFFFFFF), (8, 0xFFFFFFFF)])
def test_wild_hash_header(
    form: Callable[[str], Path], edit: Callable[[Path], ElfEditor], tmp_path: Path, field: int, value: int
) -> None:
    editor = edit(form("library"))
    editor.put("I", editor.tag(DT["GNU_HASH"]).value + field, value)
    assert judged(editor.save(tmp_path)).artifact.error


@pytest.mark.parametrize("name", ["pie", "library"])
def test_overlapping_headers(
    form: Callable[[str], Path], edit: Callable[[Path], ElfEditor], tmp_path: Path, name: str
) -> None:
    """Program headers on top of the ELF header, the dynamic section on top of both, sections on top of segments."""
    for change in ("phoff", "shoff", "dynamic"):
        editor = edit(form(name))
        if change == "dynamic":
            segment = next(segment for segment in editor.segments() if segment.type == 2)
            editor.put("Q", segment.position + 8, 0)
            editor.put("Q", segment.position + 16, 0)
        else:
            editor.set_header(change, 0)
        assert judged(editor.save(tmp_path)).artifact.error, change


@pytest.mark.parametrize("name", ["pie", "object"])
@pytest.mark.parametrize("field", ["offset", "size"])
def test_section_beyond_the_file(
    form: Callable[[str], Path], edit: Callable[[Path], ElfEditor], tmp_path: Path, name: str, field: str
) -> None:
    editor = edit(form(name))
    position = {"offset": 24, "size": 32}[field]
    header = editor.header("shoff") + 2 * 64
    for value in (len(editor.data) + 1, 1 << 40, 0xFFFFFFFFFFFFFFFF):
        editor.put("Q", header + position, value)
        assert "a section ends at" in str(judged(editor.save(tmp_path)).artifact.error), hex(value)


def test_dynamic_section_at_two_places(
    form: Callable[[str], Path], edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    """The loader goes by the address, other readers by the offset: who writes two means to fool one of them."""
    editor = edit(form("library"))
    segment = next(segment for segment in editor.segments() if segment.type == 2)
    editor.put("Q", segment.position + 8, segment.offset + 16)
    assert "different places" in str(judged(editor.save(tmp_path)).artifact.error)


def test_dynamic_section_without_end(
    form: Callable[[str], Path], edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    editor = edit(form("library"))
    segment = next(segment for segment in editor.segments() if segment.type == 2)
    for at in range(segment.offset, segment.offset + segment.filesz, 16):
        if editor.get("Q", at) == 0:
            editor.put("Q", at, 0x6FFFFEF0)
    report = judged(editor.save(tmp_path))
    assert "DT_NULL" in str(report.artifact.error)


def test_reader_alone_raises_its_own_error(form: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(form("pie").read_bytes()[:5000])
    with Source.open(path) as source, pytest.raises(ArtifactError, match="truncated"):
        ElfReader(source, "file")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"\x7fEL", "not an ELF file"), (b"\x7fELF\2\1\1", "truncated"), (b"#!/bin/sh\n", "not an ELF")],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert words in str(judged(path).artifact.error)


def mutations(data: bytes, hot: list[int], chance: random.Random) -> Iterator[bytes]:
    """The file with a few fields overwritten, mostly in its headers and tables."""
    values = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, len(data))
    while True:
        changed = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            where = chance.choice(hot) + chance.randrange(64) if chance.random() < 0.8 else chance.randrange(len(data))
            width = chance.choice((1, 1, 2, 4, 8))
            where = min(where, len(data) - width)
            value = chance.choice(values) if chance.random() < 0.6 else chance.getrandbits(64)
            changed[where : where + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        if chance.random() < 0.05:
            del changed[chance.randrange(len(changed)) :]
        yield bytes(changed)


@pytest.mark.parametrize("name", FORMS)
def test_random_mutations(
    form: Callable[[str], Path], edit: Callable[[Path], ElfEditor], tmp_path: Path, name: str
) -> None:
    chance = random.Random(f"pytest-hardening {name}")  # noqa: S311
    source = form(name)
    data = source.read_bytes()
    editor = edit(source)
    hot = [0, 8, 60, 68] if name == "archive" else [*offsets(editor)]
    hot = [offset for offset in hot if offset < len(data)]
    path = tmp_path / "file.so"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = set()
    for _, changed in zip(range(400), mutations(data, hot, chance), strict=False):
        path.write_bytes(changed)
        outcomes.add(judged(path).artifact.error is None)
    assert outcomes == {True, False}  # some mutations spoil the file, some do no harm
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200_000, f"{grown} KiB"
