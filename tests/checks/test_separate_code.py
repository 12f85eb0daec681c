"""separate-code: what linkers put into the pages of the code, by option and by default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = '#include <stdio.h>\nint main(int c, char **v) { (void)v; return printf("%d, and some text\\n", c) < 0; }\n'
SEPARATE, TOGETHER = "-Wl,-z,separate-code", "-Wl,-z,noseparate-code"
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
    "shared": ["-fPIC", "-shared"],
    "static": ["-static", "-no-pie"],
    "static-pie": ["-static-pie", "-fPIE"],
}


@pytest.mark.parametrize("linker", ["bfd", "lld"])
@pytest.mark.parametrize("kind", KINDS)
def test_linkers(build: CompileC, verdict: VerdictOf, linker: str, kind: str) -> None:
    flags = [*KINDS[kind], f"-fuse-ld={linker}"]
    good = verdict(build(PROGRAM, flags=flags, link_flags=[SEPARATE]), "separate-code")
    assert (good.outcome, good.observed) == (Outcome.PASS, {"separate": True})
    bad = verdict(build(PROGRAM, flags=flags, link_flags=[TOGETHER]), "separate-code")
    assert (bad.outcome, bad.observed) == (Outcome.FAIL, {"separate": False})
    assert ".eh_frame" in bad.culprits
    assert bad.remedy == "link with -Wl,-z,separate-code (GNU ld or lld)"


@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_every_architecture(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    good = build(PROGRAM, compiler=compiler, link_flags=[SEPARATE])
    assert verdict(good, "separate-code").outcome is Outcome.PASS
    bad = verdict(build(PROGRAM, compiler=compiler, link_flags=[TOGETHER]), "separate-code")
    assert bad.outcome is Outcome.FAIL
    assert bad.summary.startswith("executable memory also holds the ELF header")


@pytest.mark.parametrize(
    ("flags", "outcome"),
    [
        (["-fuse-ld=bfd"], Outcome.PASS),
        (["-fuse-ld=lld"], Outcome.FAIL),  # code has a segment of its own, and shares its pages
        (["-fuse-ld=lld", "-Wl,-z,separate-loadable-segments"], Outcome.PASS),
        (["-fuse-ld=lld", "-Wl,--no-rosegment"], Outcome.FAIL),
        (["-fuse-ld=gold"], Outcome.FAIL),
        (["-fuse-ld=gold", "-Wl,--rosegment"], Outcome.FAIL),  # the ELF header stays with the code
    ],
    ids=lambda value: "".join(value) if isinstance(value, list) else "",
)
def test_defaults_and_other_options(build: CompileC, verdict: VerdictOf, flags: list[str], outcome: Outcome) -> None:
    assert verdict(build(PROGRAM, flags=flags), "separate-code").outcome is outcome


def test_a_large_program_of_lld_shares_the_edges_of_its_code(build: CompileC, verdict: VerdictOf) -> None:
    source = PROGRAM + "const char table[20000] = {1}; const char *volatile keep = table;\n"
    found = verdict(build(source, flags=["-fuse-ld=lld"]), "separate-code")
    assert found.outcome is Outcome.FAIL
    assert "the ELF header" not in found.culprits
    assert ".eh_frame" in found.culprits


def test_data_in_a_segment_of_code(build: CompileC, verdict: VerdictOf) -> None:
    """A linker script that keeps the headers apart, and read-only data among the code."""
    script = "PHDRS { head PT_LOAD FILEHDR PHDRS FLAGS(4); all PT_LOAD FLAGS(5); }\n"
    script += "SECTIONS { . = 0x400000 + SIZEOF_HEADERS; .first : { *(.note*) } :head . = ALIGN(0x1000);\n"
    script += ".text : { *(.text*) } :all .rodata : { *(.rodata*) } :all /DISCARD/ : { *(.eh_frame*) } }\n"
    source = 'const char *text(void) { return "some text"; } void _start(void) { text(); for (;;) ; }\n'
    flags = ["-static", "-no-pie", "-nostdlib", "-fno-pie", "-fuse-ld=bfd"]
    path = build({"main.c": source, "one.ld": script}, flags=flags, link_flags=["-Wl,-T,one.ld"])
    found = verdict(path, "separate-code")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, (".rodata",))


def test_without_section_headers(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    """The segments show headers among the code; of data among the code only sections tell."""
    bad = edit(build(PROGRAM, link_flags=[TOGETHER])).without_sections().save(tmp_path, "bad")
    assert verdict(bad, "separate-code").outcome is Outcome.FAIL
    lld = edit(build(PROGRAM, flags=["-fuse-ld=lld"])).without_sections().save(tmp_path, "lld")
    assert verdict(lld, "separate-code").culprits[-2:] == ("read-only data", "writable data")
    good = edit(build(PROGRAM, link_flags=[SEPARATE])).without_sections().save(tmp_path, "good")
    assert verdict(good, "separate-code").outcome is Outcome.UNKNOWN


def test_objects_and_archives(build: CompileC, verdict: VerdictOf) -> None:
    for kind in ("object", "archive"):
        assert verdict(build({"F.c": PROGRAM}, kind=kind), "separate-code").outcome is Outcome.NOT_APPLICABLE


def test_library_without_code(build: CompileC, verdict: VerdictOf) -> None:
    flags = ["-fPIC", "-nostdlib", "-Wl,-z,separate-code"]
    found = verdict(build("const int value = 3;\n", kind="shared-library", flags=flags), "separate-code")
    assert (found.outcome, found.summary) == (Outcome.NOT_APPLICABLE, "no executable segment")
