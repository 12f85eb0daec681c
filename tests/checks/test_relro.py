"""relro: none, partial and full, by every linker, and the GOT that lies outside in spite of the flags."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = """
#include <stdio.h>
extern int shared_value;
int (*const table[])(const char *) = {puts, puts};
int main(int c, char **v) { printf("%d %s\\n", c, v[0]); return table[c & 1]("x"); }
"""
LIBRARY = """
#include <stdio.h>
#include <stdlib.h>
int (*const table[])(const char *) = {puts, puts};
__attribute__((constructor)) static void begin(void) { if (getenv("X")) abort(); }
int f(int c, char **v) { fprintf(stderr, "%d %s\\n", c, v[0]); return table[c & 1]("x"); }
"""
NONE, PARTIAL, FULL = ["-Wl,-z,norelro"], ["-Wl,-z,relro", "-Wl,-z,lazy"], ["-Wl,-z,relro", "-Wl,-z,now"]
LINKERS = ["bfd", "lld", "gold"]
PT_GNU_RELRO = 0x6474E552


@pytest.mark.parametrize("linker", LINKERS)
@pytest.mark.parametrize("kind", ["pie", "no-pie", "shared"])
@pytest.mark.parametrize(
    ("link_flags", "relro", "outcome"),
    [
        (NONE, "none", Outcome.FAIL),
        ([*NONE, "-Wl,-z,now"], "none", Outcome.FAIL),
        (PARTIAL, "partial", Outcome.FAIL),
        (FULL, "full", Outcome.PASS),
    ],
    ids=["norelro", "norelro-now", "partial", "full"],
)
def test_every_linker(
    build: CompileC, verdict: VerdictOf, linker: str, kind: str, link_flags: list[str], relro: str, outcome: Outcome
) -> None:
    flags = {"pie": ["-fPIE", "-pie"], "no-pie": ["-fno-pie", "-no-pie"], "shared": ["-fPIC", "-shared"]}[kind]
    source = LIBRARY if kind == "shared" else PROGRAM
    path = build(source, flags=flags, link_flags=[f"-fuse-ld={linker}", *link_flags])
    found = verdict(path, "relro")
    assert (found.outcome, found.observed["relro"]) == (outcome, relro)
    if outcome is Outcome.FAIL:
        assert found.remedy == "link with -Wl,-z,relro -Wl,-z,now"
    if relro == "partial":
        seen = [str(item) for item in found.evidence if item.where == "address"]
        assert any(re.fullmatch(r"address: GOT slots of calls .* are writable, outside PT_GNU_RELRO", s) for s in seen)
        assert all("GOT slots" in s or s.endswith(" is writable, outside PT_GNU_RELRO") for s in seen)
    found = verdict(path, "relro", level="partial")
    assert found.outcome is (Outcome.FAIL if relro == "none" else Outcome.PASS)
    if relro == "none":
        assert found.remedy == "link with -Wl,-z,relro"


@pytest.mark.parametrize(
    "compiler",
    [
        "gcc -m32",
        "aarch64-linux-gnu-gcc",
        "arm-linux-gnueabihf-gcc",
        "powerpc64le-linux-gnu-gcc",
        "s390x-linux-gnu-gcc",
        "musl-gcc",
    ],
)
@pytest.mark.parametrize(
    ("link_flags", "relro"), [(NONE, "none"), (PARTIAL, "partial"), (FULL, "full")], ids=["none", "partial", "full"]
)
@pytest.mark.parametrize("kind", ["pie", "shared"])
def test_every_architecture(
    build: CompileC, verdict: VerdictOf, compiler: str, kind: str, link_flags: list[str], relro: str
) -> None:
    flags = ["-fPIE", "-pie"] if kind == "pie" else ["-fPIC", "-shared"]
    path = build(PROGRAM if kind == "pie" else LIBRARY, flags=flags, link_flags=link_flags, compiler=compiler)
    assert verdict(path, "relro").observed == {"relro": relro}


@pytest.mark.parametrize("kind", ["pie", "shared"])
def test_riscv_ld_leaves_the_got_outside(
    build: CompileC, verdict: VerdictOf, readelf: Callable[..., str], kind: str
) -> None:
    """GNU ld 2.40 for RISC-V puts .got behind the end of RELRO whatever the flags: the bytes say so."""
    flags = ["-fPIE", "-pie"] if kind == "pie" else ["-fPIC", "-shared"]
    path = build(
        LIBRARY if kind == "shared" else PROGRAM, flags=flags, link_flags=FULL, compiler="riscv64-linux-gnu-gcc"
    )
    relro = re.search(r"GNU_RELRO +0x\w+ 0x(\w+) 0x\w+ 0x\w+ 0x(\w+)", readelf("-l", path))
    got = re.search(r" \.got +PROGBITS +(\w+)", readelf("-S", path))
    assert relro is not None
    assert got is not None
    assert int(got[1], 16) >= int(relro[1], 16) + int(relro[2], 16)
    found = verdict(path, "relro")
    assert (found.outcome, found.observed["relro"]) == (Outcome.FAIL, "partial")
    assert "another linker" in found.remedy
    assert verdict(path, "relro", level="partial").outcome is Outcome.PASS


def test_riscv_with_lld_is_full(build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str]) -> None:
    tool_for("ld.lld")
    source = 'int puts(const char *); extern int value; int f(void) { return puts("x") + value; }\n'
    flags = ["-fPIC", "-mno-relax", "-nostdlib", "-fuse-ld=lld"]
    compiler = "clang --target=riscv64-linux-gnu"
    full = build(source, kind="shared-library", flags=flags, link_flags=FULL, compiler=compiler)
    assert verdict(full, "relro").observed == {"relro": "full"}
    partial = build(source, kind="shared-library", flags=flags, link_flags=PARTIAL, compiler=compiler)
    assert verdict(partial, "relro").observed == {"relro": "partial"}


def test_calls_without_plt_need_no_immediate_binding(build: CompileC, verdict: VerdictOf) -> None:
    """With -fno-plt all slots are GLOB_DAT ones, which ld keeps inside RELRO without -z now."""
    path = build(
        LIBRARY, kind="shared-library", flags=["-fPIC", "-fno-plt", "-O2", "-nostartfiles"], link_flags=PARTIAL
    )
    assert verdict(path, "relro").observed == {"relro": "full"}


@pytest.mark.parametrize("linker", ["bfd", "lld"])
@pytest.mark.parametrize("flags", [["-static", "-no-pie"], ["-static-pie", "-fPIE"]], ids=["static", "static-pie"])
def test_static_programs(build: CompileC, verdict: VerdictOf, linker: str, flags: list[str]) -> None:
    link = [f"-fuse-ld={linker}"]
    full = build(PROGRAM.replace("extern int shared_value;", ""), flags=flags, link_flags=[*link, *FULL])
    assert verdict(full, "relro").outcome is Outcome.PASS
    none = build(PROGRAM, flags=flags, link_flags=[*link, *NONE, "-Wl,-z,now"])
    found = verdict(none, "relro")
    assert (found.outcome, found.observed["relro"]) == (Outcome.FAIL, "none")


def test_static_program_bound_lazily_has_its_irelative_slots_outside(
    build: CompileC, verdict: VerdictOf, readelf: Callable[..., str]
) -> None:
    path = build(PROGRAM, flags=["-static", "-no-pie"], link_flags=["-fuse-ld=bfd", *PARTIAL])
    assert " .got.plt " in readelf("-S", path)
    found = verdict(path, "relro")
    assert (found.outcome, found.observed["relro"]) == (Outcome.FAIL, "partial")
    assert ".got.plt" in str(found.evidence[1])


@pytest.mark.parametrize("link_flags", [PARTIAL, FULL], ids=["lazy", "now"])
def test_static_program_without_section_headers(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path, link_flags: list[str]
) -> None:
    """llvm-objcopy --strip-sections refuses static programs of glibc, so the copy's header forgets its sections."""
    editor = edit(build(PROGRAM, flags=["-static", "-no-pie"], link_flags=["-fuse-ld=bfd", *link_flags]))
    path = editor.without_sections().save(tmp_path)
    assert verdict(path, "relro").outcome is Outcome.UNKNOWN
    assert verdict(path, "relro", level="partial").outcome is Outcome.PASS


def _script(linker: str, flags: list[str]) -> str:
    """The linker's own script, with .got moved behind the end of RELRO."""
    shown = subprocess.run([linker, *flags, "--verbose"], capture_output=True, text=True, check=True).stdout
    script = shown.split("=" * 50)[1]
    got = next(line for line in script.splitlines() if re.match(r"\s*\.got +:", line))
    end = next(line for line in script.splitlines() if "DATA_SEGMENT_RELRO_END" in line)
    assert script.index(got) < script.index(end)
    return script.replace(got, "").replace(end, f"{end}\n{got}")


@pytest.mark.parametrize("kind", ["pie", "shared"])
def test_linker_script_that_moves_the_got(
    build: CompileC, verdict: VerdictOf, readelf: Callable[..., str], kind: str
) -> None:
    shared = kind == "shared"
    script = _script("ld.bfd", ["-shared" if shared else "-pie", "-z", "now"])
    path = build(
        {"main.c": LIBRARY if shared else PROGRAM, "moved.ld": script},
        flags=["-fPIC", "-shared"] if shared else ["-fPIE", "-pie"],
        link_flags=["-fuse-ld=bfd", "-Wl,-T,moved.ld", *FULL],
    )
    assert "BIND_NOW" in readelf("-d", path)
    found = verdict(path, "relro")
    assert (found.outcome, found.observed["relro"]) == (Outcome.FAIL, "partial")
    assert "linker script" in found.remedy
    assert "GOT slots" in str(found.evidence[1])


def test_relro_header_that_is_empty_or_covers_nothing(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    """No linker writes these; sizes in a copy of the program header are overwritten."""
    path = build(PROGRAM, flags=["-fPIE", "-pie"], link_flags=FULL)
    for size, summary in ((0, "no RELRO"), (0x10, "RELRO does not cover")):
        editor = edit(path)
        segment = next(segment for segment in editor.segments() if segment.type == PT_GNU_RELRO)
        editor.put("Q", segment.position + 40, size)
        found = verdict(editor.save(tmp_path, f"size{size}"), "relro")
        assert (found.outcome, found.observed["relro"]) == (Outcome.FAIL, "none")
        assert found.summary.startswith(summary)


def test_flags_of_the_relro_header_mean_nothing(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    """Go writes PT_GNU_RELRO with p_flags 0."""
    editor = edit(build(PROGRAM, flags=["-fPIE", "-pie"], link_flags=FULL))
    segment = next(segment for segment in editor.segments() if segment.type == PT_GNU_RELRO)
    editor.put("I", segment.position + 4, 0)
    assert verdict(editor.save(tmp_path), "relro").observed == {"relro": "full"}


def test_objects_and_archives(build: CompileC, verdict: VerdictOf) -> None:
    assert verdict(build(LIBRARY, kind="object"), "relro").outcome is Outcome.NOT_APPLICABLE
    assert verdict(build(LIBRARY, kind="archive"), "relro").outcome is Outcome.NOT_APPLICABLE


def test_static_program_without_anything_to_protect(build: CompileC, verdict: VerdictOf) -> None:
    """The linker writes no PT_GNU_RELRO there, whatever its flags; Go's programs are so, too."""
    source = 'void _start(void) { __asm__ volatile("mov $60, %eax; xor %edi, %edi; syscall"); }\n'
    flags = ["-static", "-nostdlib", "-fno-pie", "-no-pie", "-Wl,-z,relro", "-Wl,-z,now"]
    found = verdict(build(source, link_flags=flags), "relro")
    assert (found.outcome, found.summary) == (
        Outcome.NOT_APPLICABLE,
        "static, without any relocation, GOT or table of constructors",
    )
    assert (
        verdict(build("int main(void) { return 0; }", link_flags=["-static", *NONE]), "relro").outcome is Outcome.FAIL
    )
