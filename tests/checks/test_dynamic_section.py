"""dynamic-section: tables of the loader among the data, by linker scripts, by each linker and on each architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = (
    '#include <stdio.h>\nint value = 3;\nint main(int c, char **v) { return printf("%s%d\\n", v[0], value + c) < 0; }\n'
)
LIBRARY = "int value = 3; int twice(int a) { return 2 * a + value; }\n"
ARCHITECTURES = [
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
    "gcc -m32",
    "musl-gcc",
]

TABLES = {
    ".dynstr": "DT_STRTAB",
    ".dynsym": "DT_SYMTAB",
    ".gnu.hash": "DT_GNU_HASH",
    ".gnu.version": "DT_VERSYM",
    ".gnu.version_r": "DT_VERNEED",
    ".rela.plt": "DT_JMPREL",
}
PT_GNU_RELRO, DT_SYMTAB = 0x6474E552, 6


def moved(section: str) -> str:
    """A script for GNU ld that puts a section among the data and leaves the rest as it is."""
    return f"SECTIONS {{ {section} : {{ *({section}) }} }} INSERT AFTER .data;\n"


@pytest.mark.parametrize(("section", "tag"), TABLES.items())
def test_table_among_the_data(build: CompileC, verdict: VerdictOf, section: str, tag: str) -> None:
    flags = ["-fuse-ld=bfd", "-Wl,-z,lazy"]
    path = build({"main.c": PROGRAM, "moved.ld": moved(section)}, flags=flags, link_flags=["-Wl,-T,moved.ld"])
    found = verdict(path, "dynamic-section")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"writable": [tag]})
    assert found.summary == f"tables of the loader stay writable: {tag}"
    for other in ("rwx-segments", "entry-point", "interpreter", "forbidden-needed", "rpath"):
        assert verdict(path, other).outcome is Outcome.PASS


@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_every_architecture(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    good = verdict(build(PROGRAM, compiler=compiler), "dynamic-section")
    assert (good.outcome, good.observed) == (Outcome.PASS, {"writable": []})
    sources = {"main.c": PROGRAM, "moved.ld": moved(".dynstr")}
    bad = verdict(build(sources, compiler=compiler, link_flags=["-Wl,-T,moved.ld"]), "dynamic-section")
    assert (bad.outcome, bad.observed) == (Outcome.FAIL, {"writable": ["DT_STRTAB"]})


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize("flags", [["-fPIE", "-pie"], ["-no-pie", "-fno-pie"], ["-fPIC", "-shared"]], ids="".join)
@pytest.mark.parametrize("relro", ["-Wl,-z,relro", "-Wl,-z,norelro"])
def test_every_linker(build: CompileC, verdict: VerdictOf, linker: str, flags: list[str], relro: str) -> None:
    """Without RELRO the GOT is writable, and the tables are not."""
    path = build(PROGRAM, flags=[*flags, f"-fuse-ld={linker}"], link_flags=[relro, "-Wl,--hash-style=both"])
    assert verdict(path, "dynamic-section").outcome is Outcome.PASS


def test_packed_relocations_and_tcc(build: CompileC, verdict: VerdictOf) -> None:
    packed = build(PROGRAM, flags=["-fuse-ld=lld"], link_flags=["-Wl,--pack-dyn-relocs=android+relr"])
    assert verdict(packed, "dynamic-section").outcome is Outcome.PASS
    assert verdict(build(PROGRAM, compiler="tcc"), "dynamic-section").outcome is Outcome.PASS


def test_what_relro_protects_is_read_only(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    """PT_GNU_RELRO made as large as its segment's last page: nothing in it stays writable."""
    sources = {"main.c": PROGRAM, "moved.ld": moved(".dynstr")}
    editor = edit(build(sources, flags=["-fuse-ld=bfd"], link_flags=["-Wl,-T,moved.ld", "-Wl,-z,relro"]))
    relro = next(segment for segment in editor.segments() if segment.type == PT_GNU_RELRO)
    assert (relro.vaddr + relro.memsz) % 0x1000 == 0
    assert verdict(editor.save(tmp_path, "less"), "dynamic-section").outcome is Outcome.FAIL
    editor.put("Q", relro.position + 40, relro.memsz + 0x1000)
    assert verdict(editor.save(tmp_path, "more"), "dynamic-section").outcome is Outcome.PASS


def test_table_outside_of_the_file(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    editor = edit(build(PROGRAM))
    editor.set_tag(DT_SYMTAB, DT_SYMTAB, 0x7FFF0000)
    found = verdict(editor.save(tmp_path), "dynamic-section")
    assert (found.outcome, found.summary) == (Outcome.FAIL, "DT_SYMTAB: outside of what is loaded")


def test_without_section_headers(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    sources = {"main.c": PROGRAM, "moved.ld": moved(".dynstr")}
    bad = edit(build(sources, flags=["-fuse-ld=bfd"], link_flags=["-Wl,-T,moved.ld"])).without_sections()
    assert verdict(bad.save(tmp_path), "dynamic-section").outcome is Outcome.FAIL


def test_not_applicable(build: CompileC, verdict: VerdictOf) -> None:
    for flags in (["-static", "-no-pie"], ["-static-pie", "-fPIE"]):
        found = verdict(build(PROGRAM, flags=flags), "dynamic-section")
        assert (found.outcome, found.summary) == (Outcome.NOT_APPLICABLE, "static: nothing is looked up while it runs")
    for kind in ("object", "archive"):
        assert verdict(build({"F.c": LIBRARY}, kind=kind), "dynamic-section").outcome is Outcome.NOT_APPLICABLE
