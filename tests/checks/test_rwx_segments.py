"""rwx-segments: memory that is writable and executable, through options, sections and scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = "int value = 3; int main(void) { return value - 3; }\n"
WAX = (
    '.section .patchable,"awx",%progbits\n.globl patchable\npatchable: .long 0\n.section .note.GNU-stack,"",%progbits\n'
)
BARE = "int value = 3; void _start(void) { value++; for (;;) ; }\n"
# one output section takes code and data, as scripts for small systems do
SCRIPT = "SECTIONS { . = SIZEOF_HEADERS; .all : { *(.text*) *(.data*) *(.bss*) } }\n"
PT_DYNAMIC, PT_TLS, PT_GNU_RELRO = 2, 7, 0x6474E552
ARCHITECTURES = [
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
    "gcc -m32",
    "musl-gcc",
]


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
def test_omagic(build: CompileC, verdict: VerdictOf, linker: str) -> None:
    flags = ["-static", "-no-pie", "-nostdlib", f"-fuse-ld={linker}"]
    good = verdict(build(BARE, flags=flags), "rwx-segments")
    assert (good.outcome, good.observed) == (Outcome.PASS, {"count": 0})
    bad = verdict(build(BARE, flags=flags, link_flags=["-Wl,-N"]), "rwx-segments")
    assert (bad.outcome, bad.observed) == (Outcome.FAIL, {"count": 1})
    assert "-Wl,-N" in bad.remedy
    assert "PT_LOAD" in str(bad.evidence[0])


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize("kind", ["executable", "shared-library"])
def test_section_with_write_and_execute(build: CompileC, verdict: VerdictOf, linker: str, kind: str) -> None:
    base = ["-fPIC", "-shared"] if kind == "shared-library" else ["-fPIE", "-pie"]
    flags = [*base, f"-fuse-ld={linker}"]
    bad = verdict(build({"main.c": PROGRAM, "patchable.S": WAX}, flags=flags), "rwx-segments")
    assert bad.outcome is Outcome.FAIL
    assert bad.culprits == (".patchable",)
    assert verdict(build({"main.c": PROGRAM}, flags=flags), "rwx-segments").outcome is Outcome.PASS


def test_linker_script(build: CompileC, verdict: VerdictOf) -> None:
    path = build(
        {"main.c": PROGRAM, "one.ld": SCRIPT},
        kind="shared-library",
        flags=["-fPIC", "-nostdlib"],
        link_flags=["-fuse-ld=bfd", "-Wl,-T,one.ld"],
    )
    found = verdict(path, "rwx-segments")
    assert (found.outcome, found.observed, found.culprits) == (Outcome.FAIL, {"count": 1}, (".all",))


@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_every_architecture(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    good = build(PROGRAM, compiler=compiler)
    assert verdict(good, "rwx-segments").outcome is Outcome.PASS
    bad = build({"main.c": PROGRAM, "patchable.S": WAX}, compiler=compiler)
    assert verdict(bad, "rwx-segments").culprits == (".patchable",)


@pytest.mark.parametrize(
    ("kind", "name"), [(PT_DYNAMIC, "PT_DYNAMIC"), (PT_GNU_RELRO, "PT_GNU_RELRO"), (PT_TLS, "PT_TLS")]
)
def test_other_segments(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path, kind: int, name: str
) -> None:
    """No linker gives these segments all three permissions; a copy of the program headers does."""
    editor = edit(build("_Thread_local int t = 1;" + PROGRAM))
    segment = next(segment for segment in editor.segments() if segment.type == kind)
    editor.put("I", segment.position + 4, 7)
    found = verdict(editor.save(tmp_path), "rwx-segments")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"count": 1})
    assert found.evidence[0].what.startswith(name)


def test_executable_stack_is_another_matter(build: CompileC, verdict: VerdictOf) -> None:
    path = build(PROGRAM, link_flags=["-Wl,-z,execstack"])
    assert verdict(path, "rwx-segments").outcome is Outcome.PASS


def test_objects_and_archives(build: CompileC, verdict: VerdictOf) -> None:
    assert verdict(build(PROGRAM, kind="object"), "rwx-segments").outcome is Outcome.PASS
    found = verdict(build({"patchable.S": WAX}, kind="object"), "rwx-segments")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, (".patchable",))
    found = verdict(build({"main.c": PROGRAM, "patchable.S": WAX}, kind="archive"), "rwx-segments")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("patchable.o",))
