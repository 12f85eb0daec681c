"""entry-point: where programs begin, by options of the linker and in edited files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = "int data = 3; int main(void) { return data - 3; }\n"
LIBRARY = "int data = 3; int twice(int a) { return 2 * a; }\n"
BARE = "int data = 3; void _start(void) { data++; for (;;) ; }\n"
ARCHITECTURES = [
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
    "gcc -m32",
    "musl-gcc",
]

KINDS = {
    "pie": ["-fPIE", "-pie"],
    "no-pie": ["-no-pie", "-fno-pie"],
    "static": ["-static", "-no-pie"],
    "static-pie": ["-static-pie", "-fPIE"],
}
DATA = "lies in memory that is not executable"


@pytest.mark.parametrize(
    ("linker", "kind"),
    [(linker, kind) for linker in ("bfd", "lld", "gold") for kind in KINDS if (linker, kind) != ("gold", "static-pie")],
)  # gold cannot link one
def test_entry_in_the_data(build: CompileC, verdict: VerdictOf, linker: str, kind: str) -> None:
    flags = [*KINDS[kind], f"-fuse-ld={linker}"]
    good = verdict(build(PROGRAM, flags=flags), "entry-point")
    assert good.outcome is Outcome.PASS
    path = build(PROGRAM, flags=flags, link_flags=["-Wl,-e,data"])
    bad = verdict(path, "entry-point")
    assert (bad.outcome, bad.summary) == (Outcome.FAIL, f"e_entry {bad.observed['e_entry']:#x} {DATA}")
    assert bad.remedy == "link without -Wl,-e or name a function with it, and without -Wl,-N"
    assert verdict(path, "rwx-segments").outcome is Outcome.PASS


@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_every_architecture(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    assert verdict(build(PROGRAM, compiler=compiler), "entry-point").outcome is Outcome.PASS
    bad = verdict(build(PROGRAM, compiler=compiler, link_flags=["-Wl,-e,data"]), "entry-point")
    assert (bad.outcome, bad.summary.partition(" ")[0]) == (Outcome.FAIL, "e_entry")


@pytest.mark.parametrize("instructions", ["-mthumb", "-marm"])
def test_instruction_set_in_the_lowest_bit(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], instructions: str
) -> None:
    flags = ["-static", "-no-pie", "-nostdlib", instructions]
    path = build(BARE, flags=flags, compiler="arm-linux-gnueabihf-gcc")
    assert edit(path).header("entry") % 2 == (instructions == "-mthumb")
    assert verdict(path, "entry-point").outcome is Outcome.PASS


@pytest.mark.parametrize(("option", "tag"), [("-init", "DT_INIT"), ("-fini", "DT_FINI")])
@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
def test_functions_of_the_loader(build: CompileC, verdict: VerdictOf, linker: str, option: str, tag: str) -> None:
    flags = ["-fPIC", f"-fuse-ld={linker}"]
    good = build(LIBRARY, kind="shared-library", flags=flags, link_flags=[f"-Wl,{option},twice"])
    assert verdict(good, "entry-point").outcome is Outcome.PASS
    bad = verdict(build(LIBRARY, kind="shared-library", flags=flags, link_flags=[f"-Wl,{option},data"]), "entry-point")
    assert (bad.outcome, bad.summary) == (Outcome.FAIL, f"{tag} {bad.observed[tag]:#x} {DATA}")
    assert option in bad.remedy


def test_writable_code(build: CompileC, verdict: VerdictOf) -> None:
    path = build(BARE, flags=["-static", "-no-pie", "-nostdlib", "-fuse-ld=bfd"], link_flags=["-Wl,-N"])
    found = verdict(path, "entry-point")
    assert (found.outcome, found.summary.partition(" lies ")[2]) == (Outcome.FAIL, "in memory that is writable")


@pytest.mark.parametrize("entry", [0, 0x7FFF0000])
def test_entry_outside_of_the_file(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path, entry: int
) -> None:
    editor = edit(build(PROGRAM, flags=["-no-pie", "-fno-pie"]))
    editor.set_header("entry", entry)
    found = verdict(editor.save(tmp_path), "entry-point")
    assert (found.outcome, found.summary) == (Outcome.FAIL, f"e_entry {entry:#x} lies outside of what is loaded")


def test_entry_behind_the_bytes_of_the_file(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    """An executable segment that is larger in memory than in the file: zeros are no program."""
    editor = edit(build(PROGRAM, flags=["-no-pie", "-fno-pie"]))
    code = next(segment for segment in editor.segments() if segment.type == 1 and segment.flags & 1)
    editor.put("Q", code.position + 40, code.memsz + 8)
    editor.set_header("entry", code.vaddr + code.filesz)
    found = verdict(editor.save(tmp_path), "entry-point")
    assert found.outcome is Outcome.FAIL
    assert found.summary.endswith("lies behind the bytes that the file has for its segment")


def test_libraries(build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
    """e_entry of a library that cannot be run is nothing; where it has an interpreter, it is one."""
    bare = build(LIBRARY, kind="shared-library", flags=["-fPIC", "-nostdlib"])
    editor = edit(bare)
    editor.set_header("entry", 0x7FFF0000)
    assert verdict(editor.save(tmp_path), "entry-point").outcome is Outcome.NOT_APPLICABLE
    text = 'const char loader[] __attribute__((section(".interp"))) = "/lib64/ld-linux-x86-64.so.2";\n'
    runs = build(LIBRARY + text, kind="shared-library", flags=["-fPIC", "-nostdlib"], link_flags=["-Wl,-e,twice"])
    found = verdict(runs, "entry-point")
    assert (found.outcome, list(found.observed)) == (Outcome.PASS, ["e_entry"])
    wrong = build(LIBRARY + text, kind="shared-library", flags=["-fPIC", "-nostdlib"], link_flags=["-Wl,-e,data"])
    assert verdict(wrong, "entry-point").outcome is Outcome.FAIL


def test_function_descriptors_are_unknown(build: CompileC, verdict: VerdictOf) -> None:
    """The first ABI of big-endian 64-bit Power: e_entry names a descriptor in .opd, which is data."""
    flags = ["-static", "-no-pie", "-nostdlib", "-mbig-endian", "-mabi=elfv1"]
    found = verdict(build(BARE, flags=flags, compiler="powerpc64le-linux-gnu-gcc"), "entry-point")
    assert found.outcome is Outcome.UNKNOWN


def test_physical_address(build: CompileC, verdict: VerdictOf) -> None:
    """As in a kernel image: the boot loader jumps to a physical address."""
    script = "ENTRY(physical) physical = _start - 0x40000000; PHDRS { all PT_LOAD FLAGS(5); }\n"
    script += "SECTIONS { . = 0x48000000; .text : AT(ADDR(.text) - 0x40000000) { *(.text*) } :all\n"
    script += "/DISCARD/ : { *(.eh_frame*) *(.note*) *(.comment) } }\n"
    source = "void _start(void) { for (;;) ; }\n"
    flags = ["-static", "-no-pie", "-nostdlib", "-fno-pie", "-fuse-ld=bfd"]
    found = verdict(build({"k.c": source, "k.ld": script}, flags=flags, link_flags=["-Wl,-T,k.ld"]), "entry-point")
    assert found.outcome is Outcome.UNKNOWN


def test_objects_and_archives(build: CompileC, verdict: VerdictOf) -> None:
    for kind in ("object", "archive"):
        assert verdict(build({"F.c": LIBRARY}, kind=kind), "entry-point").outcome is Outcome.NOT_APPLICABLE
