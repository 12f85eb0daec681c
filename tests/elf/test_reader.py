"""The reader's tables: without section headers, by either hash, packed relocations, symbols of other compilers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.elf.facts import ElfFacts, Need
from pytest_hardening.elf.image import Image
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.elf.symbols import dynamic_symbols
from pytest_hardening.elf.text_relocations import packed_addresses
from pytest_hardening.fixtures import CompileC
from pytest_hardening.toolchain import Kind

if TYPE_CHECKING:
    from tests.conftest import ElfEditor

LIBRARY = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int shared_one = 1, shared_two = 2;
static int hidden(int n) { return n * 3; }
int (*const table[])(int) = {hidden, abs};
char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
int work(int n) { printf("%d %s\\n", n, getenv("HOME")); return shared_one + table[n & 1](n); }
int more(const char *s) { return (int)strlen(s) + hidden(shared_two) + names[*s & 7][0]; }
int _reserved(int n) { return n + 1; }
"""
EMPTY = "int unused_and_not_exported;\n"
COMPILERS = [
    "gcc",
    "clang",
    "gcc -m32",
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
]
LINKED = [Need.IMPORTS, Need.TEXT_RELOCATIONS, Need.GOT, Need.PROPERTIES]
DT_HASH, DT_GNU_HASH = 4, 0x6FFFFEF5


def read(path: Path, *needs: Need) -> ElfFacts:
    with Source.open(path) as source:
        return ElfReader(source, path.name).extend(needs)


def symbol_count(path: Path) -> int:
    with Source.open(path) as source:
        return len(dynamic_symbols(Image(source)))


@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
@pytest.mark.parametrize(
    ("source", "flags"),
    # without start files no symbol is undefined, so that no relocation names one
    [(LIBRARY, []), (EMPTY, []), (EMPTY, ["-nostdlib"])],
    ids=["library", "empty", "bare"],
)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_symbols_are_counted_by_either_hash(
    build: CompileC, readelf: Callable[..., str], compiler: str, source: str, flags: list[str], style: str
) -> None:
    link_flags = [*flags, f"-Wl,--hash-style={style}"]
    path = build(source, kind="shared-library", flags=["-fPIC"], link_flags=link_flags, compiler=compiler)
    shown = readelf("--dyn-syms", path)
    found = re.search(r"Symbol table '\.dynsym' contains (\d+) entr", shown)
    assert found is not None
    assert symbol_count(path) == int(found[1])
    tags = readelf("-d", path)
    assert ("(HASH)" in tags, "(GNU_HASH)" in tags) == (style != "gnu", style != "sysv")


@pytest.mark.parametrize("style", ["sysv", "gnu"])
def test_program_that_exports_nothing(build: CompileC, readelf: Callable[..., str], style: str) -> None:
    """Its hash table is empty: the undefined symbols are known from the relocations alone."""
    path = build(
        '#include <stdio.h>\nint main(void) { return puts("x"); }\n',
        flags=["-fPIE", "-pie"],
        link_flags=[f"-Wl,--hash-style={style}"],
    )
    names = {
        line.split()[7].split("@")[0]
        for line in readelf("--dyn-syms", path).splitlines()
        if " UND " in line and len(line.split()) > 7
    }
    facts = read(path, Need.IMPORTS)
    assert facts.imports is not None
    assert facts.imports.names == names
    assert "puts" in facts.imports.calls


@pytest.mark.parametrize("linker", ["bfd", "lld"])
@pytest.mark.parametrize("compiler", COMPILERS[:4])
def test_file_without_section_headers_gives_the_same_facts(
    build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path, compiler: str, linker: str
) -> None:
    if compiler.startswith("aarch64") and linker == "lld":
        compiler = "clang --target=aarch64-linux-gnu"
        flags = ["-fPIC", "-fuse-ld=lld", "-nostdlib", "-ffreestanding"]
        source = "extern int other(int); int value = 1; int work(int n) { return other(n) + value; }\n"
    else:
        flags, source = ["-fPIC", f"-fuse-ld={linker}"], LIBRARY
    path = build(source, kind="shared-library", flags=flags, compiler=compiler)
    stripped = edit(path).without_sections().save(tmp_path)
    before, after = read(path, *LINKED), read(stripped, *LINKED)
    assert before.sections
    assert after.sections == ()
    for name in (
        "kind",
        "machine",
        "interpreter",
        "segments",
        "dynamic",
        "libc",
        "imports",
        "text_relocations",
        "got",
        "properties",
    ):
        assert getattr(after, name) == getattr(before, name), name
    assert after.imports is not None
    assert after.imports.names


def test_objcopy_strips_sections(build: CompileC, tool_for: Callable[[str], str], tmp_path: Path) -> None:
    path = build(LIBRARY, kind="shared-library", flags=["-fPIC"])
    stripped = tmp_path / path.name
    subprocess.run([tool_for("llvm-objcopy"), "--strip-sections", path, stripped], check=True)
    before, after = read(path, *LINKED), read(stripped, *LINKED)
    assert after.sections == ()
    for name in ("kind", "machine", "interpreter", "dynamic", "libc", "imports", "text_relocations", "got"):
        assert getattr(after, name) == getattr(before, name), name


@pytest.mark.parametrize(
    ("linker", "option"), [("bfd", "-Wl,-z,pack-relative-relocs"), ("lld", "-Wl,--pack-dyn-relocs=relr")]
)
@pytest.mark.parametrize("pointers", [3, 64, 65, 300])
def test_packed_relocations(
    build: CompileC,
    edit: Callable[[Path], ElfEditor],
    readelf: Callable[..., str],
    tmp_path: Path,
    linker: str,
    option: str,
    pointers: int,
) -> None:
    """DT_RELR lists addresses to relocate. They lie in writable memory; in a copy of which none is, all are hits."""
    path = build(
        f"{LIBRARY}static int value;\nint *pointers[] = {{{'&value, ' * pointers}}};\n",
        kind="shared-library",
        flags=["-fPIC", "-nostdlib"],
        link_flags=[f"-fuse-ld={linker}", option],
    )
    assert "(RELR)" in readelf("-d", path)
    facts = read(path, Need.TEXT_RELOCATIONS)
    assert facts.text_relocations is not None
    assert (facts.text_relocations.count, facts.text_relocations.packed) == (0, False)
    editor = edit(path)
    for segment in editor.segments():
        if segment.type == 1:
            editor.put("I", segment.position + 4, segment.flags & ~2)
    facts = read(editor.save(tmp_path), Need.TEXT_RELOCATIONS)
    shown = readelf("-r", path)
    packed = re.search(r"\.relr\.dyn' .*contains (\d+) entr\w+:\s+(\d+) offsets", shown)
    others = sum(int(count) for name, count in re.findall(r"'(\.rela\.\w+)' .*contains (\d+) entr", shown))
    assert packed is not None
    assert facts.text_relocations is not None
    assert facts.text_relocations.count == int(packed[2]) + others
    listed = shown[packed.end() :].split("\n\n")[0].split()
    with Source.open(path) as opened:
        assert list(packed_addresses(Image(opened))) == [int(address, 16) for address in listed]


def test_android_relocations_are_unknown(build: CompileC, tool_for: Callable[[str], str]) -> None:
    """lld can write Android's packed format, which is not decoded: its absence of findings proves nothing."""
    tool_for("ld.lld")
    path = build(
        LIBRARY, kind="shared-library", flags=["-fPIC"], link_flags=["-fuse-ld=lld", "-Wl,--pack-dyn-relocs=android"]
    )
    facts = read(path, Need.TEXT_RELOCATIONS)
    assert facts.text_relocations is not None
    assert facts.text_relocations.packed


def test_imports_calls_and_definitions(build: CompileC) -> None:
    kinds: tuple[Kind, ...] = ("object", "shared-library")
    for kind in kinds:
        path = build(LIBRARY, kind=kind, flags=["-fPIC", "-O2"])
        facts = read(path, Need.IMPORTS)
        assert facts.imports is not None
        assert facts.imports.names >= {"printf", "getenv", "strlen", "abs"}
        assert facts.imports.calls >= {"printf", "getenv", "strlen"}
        assert "abs" not in facts.imports.calls  # its address is taken, nobody calls it by name
        assert "_reserved" in facts.imports.defined
        assert not facts.imports.defined & {"work", "more", "hidden"}


@pytest.mark.parametrize(
    ("compiler", "family"), [("gcc", "gcc"), ("clang", "clang"), ("g++", "gcc"), ("aarch64-linux-gnu-gcc", "gcc")]
)
def test_compiler_is_named_by_its_comment(build: CompileC, compiler: str, family: str) -> None:
    assert read(build("int f(void);\nint f(void) { return 1; }\n", kind="object", compiler=compiler)).compilers == (
        family,
    )


@pytest.mark.parametrize(
    ("compiler", "libc"),
    [
        ("gcc", "glibc"),
        ("musl-gcc", "musl"),
        ("gcc -m32", "glibc"),
        ("s390x-linux-gnu-gcc", "glibc"),
        ("powerpc64le-linux-gnu-gcc", "glibc"),
    ],
)
@pytest.mark.parametrize("kind", ["executable", "shared-library"])
def test_c_library(build: CompileC, compiler: str, libc: str, kind: Kind) -> None:
    source = LIBRARY + "int main(void) { return work(1); }\n"
    path = build(source, kind=kind, flags=["-fPIC"], compiler=compiler)
    assert read(path).libc == libc


def test_many_sections(build: CompileC) -> None:
    """More than 65279 sections: e_shnum is 0, the count stands in the first section header."""
    text = "".join(f'.section .t{index},"ax"\n nop\n' for index in range(66000))
    path = build({"many.s": text + '.section .note.GNU-stack,"",%progbits\n'}, kind="object")
    facts = read(path)
    assert len(facts.sections) > 66000
    assert facts.section(".note.GNU-stack") is not None
