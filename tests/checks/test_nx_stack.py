"""nx-stack: marks in linked files and objects, and what a missing mark means on each architecture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = "int main(void) { return 0; }\n"
NESTED = """
extern int apply(int (*)(int), int);
int outer(int x) { int inner(int y) { return x + y; } return apply(inner, 1); }
"""
ASSEMBLER = ".text\n.globl work\nwork:\n"
MARK, EXECUTABLE_MARK = '.section .note.GNU-stack,"",%progbits\n', '.section .note.GNU-stack,"x",%progbits\n'
PT_GNU_STACK = 0x6474E551
# glibc, sysdeps/*/stackinfo.h
EXECUTABLE_BY_DEFAULT = {
    "gcc": True,
    "gcc -m32": True,
    "arm-linux-gnueabihf-gcc": True,
    "s390x-linux-gnu-gcc": True,
    "musl-gcc": True,
    "aarch64-linux-gnu-gcc": False,
    "powerpc64le-linux-gnu-gcc": False,
    "riscv64-linux-gnu-gcc": False,
}


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize("kind", ["executable", "shared-library"])
def test_link_option(build: CompileC, verdict: VerdictOf, linker: str, kind: str) -> None:
    base = ["-fPIC", "-shared"] if kind == "shared-library" else ["-fPIE", "-pie"]
    link = [f"-fuse-ld={linker}"]
    good = verdict(build(PROGRAM, flags=base, link_flags=[*link, "-Wl,-z,noexecstack"]), "nx-stack")
    assert (good.outcome, good.observed, good.remedy) == (Outcome.PASS, {"stack": "not-executable"}, "")
    bad = verdict(build(PROGRAM, flags=base, link_flags=[*link, "-Wl,-z,execstack"]), "nx-stack")
    assert (bad.outcome, bad.observed) == (Outcome.FAIL, {"stack": "executable"})
    assert "-z execstack" in bad.remedy


@pytest.mark.parametrize(("compiler", "executable"), EXECUTABLE_BY_DEFAULT.items())
def test_program_without_mark(
    build: CompileC,
    verdict: VerdictOf,
    edit: Callable[[Path], ElfEditor],
    tmp_path: Path,
    compiler: str,
    executable: bool,
) -> None:
    """No linker at hand leaves PT_GNU_STACK out; in a copy it becomes PT_NULL."""
    path = build(PROGRAM, compiler=compiler)
    assert verdict(path, "nx-stack").outcome is Outcome.PASS
    editor = edit(path)
    editor.set_segment_type(PT_GNU_STACK, 0)
    found = verdict(editor.save(tmp_path), "nx-stack")
    assert found.outcome is (Outcome.FAIL if executable else Outcome.PASS)
    assert found.observed == {"stack": "executable" if executable else "not-executable"}
    assert "no stack mark" in found.summary
    if executable:
        assert "-Wl,-z,noexecstack" in found.remedy
        assert ".note.GNU-stack" in found.remedy


@pytest.mark.parametrize(("compiler", "executable"), EXECUTABLE_BY_DEFAULT.items())
def test_assembler_object(build: CompileC, verdict: VerdictOf, compiler: str, executable: bool) -> None:
    def judge(text: str) -> tuple[Outcome, str]:
        found = verdict(build({"work.S": ASSEMBLER + text}, kind="object", compiler=compiler), "nx-stack")
        return found.outcome, found.observed["stack"]

    assert judge(MARK) == (Outcome.PASS, "not-executable")
    assert judge(EXECUTABLE_MARK) == (Outcome.FAIL, "executable")
    assert judge("") == ((Outcome.FAIL, "executable") if executable else (Outcome.PASS, "not-executable"))


def test_remedy_of_an_object_without_mark(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build({"work.S": ASSEMBLER}, kind="object"), "nx-stack")
    assert found.remedy == 'end the assembly source with: .section .note.GNU-stack,"",%progbits'


@pytest.mark.parametrize("compiler", [*EXECUTABLE_BY_DEFAULT, "clang"])
def test_compiled_object(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    assert verdict(build(PROGRAM, kind="object", compiler=compiler), "nx-stack").outcome is Outcome.PASS


def test_nested_function_through_a_pointer(build: CompileC, verdict: VerdictOf) -> None:
    path = build(NESTED, kind="object", flags=["-O1"])
    found = verdict(path, "nx-stack")
    assert found.outcome is Outcome.FAIL
    assert "nested functions" in found.remedy
    library = build([], kind="shared-library", objects=[path], flags=["-nostdlib"])
    assert verdict(library, "nx-stack").outcome is Outcome.FAIL


def test_one_object_without_mark_spoils_the_program(build: CompileC, verdict: VerdictOf) -> None:
    sources = {"main.c": PROGRAM, "work.S": ASSEMBLER}
    bad = build(sources, link_flags=["-fuse-ld=bfd", "-Wl,--no-warn-execstack"])
    assert verdict(bad, "nx-stack").outcome is Outcome.FAIL
    overridden = build(sources, link_flags=["-fuse-ld=bfd", "-Wl,-z,noexecstack"])
    assert verdict(overridden, "nx-stack").outcome is Outcome.PASS
    # lld takes no notice of the objects
    assert verdict(build(sources, link_flags=["-fuse-ld=lld"]), "nx-stack").outcome is Outcome.PASS


def test_static_program(build: CompileC, verdict: VerdictOf) -> None:
    assert verdict(build(PROGRAM, flags=["-static"]), "nx-stack").outcome is Outcome.PASS
    bad = build(PROGRAM, flags=["-static"], link_flags=["-Wl,-z,execstack"])
    assert verdict(bad, "nx-stack").outcome is Outcome.FAIL


def test_archive_names_the_member(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build({"main.c": PROGRAM, "work.S": ASSEMBLER}, kind="archive"), "nx-stack")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("work.o",))
