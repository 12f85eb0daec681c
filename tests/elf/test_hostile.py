"""Files made to be read differently by the loader and by us: each is an error or judged as the loader takes it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening import Kind, Outcome, inspect
from pytest_hardening.fixtures import CompileC

if TYPE_CHECKING:
    from tests.conftest import ElfEditor

PT_NULL, PT_LOAD, PT_NOTE, PT_GNU_STACK, PT_GNU_RELRO = 0, 1, 4, 0x6474E551, 0x6474E552
PT_GNU_EH_FRAME = 0x6474E550
LIBRARY = '#include <stdio.h>\nvoid greet(const char *name) { printf("hello %s\\n", name); }\n'
Edit = Callable[[Path], "ElfEditor"]


@pytest.fixture
def library(build: CompileC) -> Path:
    return build(LIBRARY, kind="shared-library", flags=["-O2", "-fPIC"], name="libgreet.so")


@pytest.mark.parametrize("kind", [PT_GNU_STACK, PT_GNU_RELRO])
def test_two_of_what_linkers_write_once(edit: Edit, library: Path, tmp_path: Path, kind: int) -> None:
    """Kernel and glibc take the last one, other readers the first."""
    editor = edit(library)
    editor.set_segment_type(PT_GNU_EH_FRAME, kind)
    report = inspect(editor.save(tmp_path))
    assert "more than one PT_GNU_" in str(report.artifact.error)
    assert report.artifact.verdicts == ()


def test_overlapping_segments(edit: Edit, library: Path, tmp_path: Path) -> None:
    """Of two segments for one page the last stays, which is not the one that a search from the front finds."""
    editor = edit(library)
    writable = [segment for segment in editor.segments() if segment.type == PT_LOAD][-1]
    note = next(segment for segment in editor.segments() if segment.type == PT_NOTE)
    editor.data[note.position : note.position + 56] = editor.data[writable.position : writable.position + 56]
    assert inspect(editor.save(tmp_path)).artifact.error == "malformed: PT_LOAD segments overlap"


@pytest.mark.parametrize("flags", [["-shared", "-fPIC"], ["-static", "-no-pie"]], ids=["dynamic", "static"])
def test_sections_that_claim_to_be_empty(edit: Edit, build: CompileC, tmp_path: Path, flags: list[str]) -> None:
    """With such sections a file looks like a detached debug file, and the loader never reads them."""
    path = build("int main(void) { return 0; }", flags=["-O2", "-g", *flags], link_flags=["-Wl,-z,norelro"])
    editor = edit(path)
    for index in range(editor.header("shnum")):
        at = editor.header("shoff") + index * 64
        if editor.get("Q", at + 8) & 2 and editor.get("I", at + 4) not in (0, 7):  # SHF_ALLOC, no note
            editor.put("I", at + 4, 8)  # SHT_NOBITS
    report = inspect(editor.save(tmp_path), ["relro"])
    if report.artifact.error is None:
        assert report.artifact.kind is not Kind.DEBUG_ONLY
        assert report.verdict("relro").outcome is Outcome.FAIL
    else:
        assert "what it is cannot be told" in report.artifact.error


def test_names_of_half_a_megabyte(library: Path, tmp_path: Path) -> None:
    """Many names that are one long text must not take memory for each."""
    path = tmp_path / "long.o"
    source = "\n".join(f'.section .text.{"x" * 3000}{index},"ax"\nnop' for index in range(50))
    (tmp_path / "long.s").write_text(source + f'\n.section .{"y" * 70000},"ax"\nnop\n')
    subprocess.run(["gcc", "-c", tmp_path / "long.s", "-o", path], check=True)
    assert "a name of more than" in str(inspect(path).artifact.error)


def test_control_characters_in_names_are_escaped(edit: Edit, build: CompileC, tmp_path: Path) -> None:
    assembly = ".text; .globl evilname; .type evilname,@function; evilname: .quad target; .size evilname,8"
    source = f'char target; __asm__("{assembly}");'
    path = build(source, kind="shared-library", flags=["-fPIC"], link_flags=["-Wl,-z,notext"])
    data = path.read_bytes().replace(b"evilname", b"ev\x1b[7m\nx")
    (tmp_path / "escapes.so").write_bytes(data)
    verdict = inspect(tmp_path / "escapes.so").verdict("text-relocations")
    assert verdict.outcome is Outcome.FAIL
    assert verdict.culprits == (r"source.c: ev\x1b[7m\nx()",)


@pytest.mark.parametrize("name", ["__.SYMDEFx.o", "__.SYMDEF"])
def test_members_named_like_an_index(build: CompileC, tmp_path: Path, name: str) -> None:
    """The linker takes such a member for what it is when it does not stand in front."""
    good = build("int good(void) { return 1; }", kind="object", flags=["-fPIC"])
    bad = build("int value; int *bad(void) { return &value; }", kind="object", flags=["-fno-pic", "-mcmodel=large"])
    (tmp_path / "good.o").write_bytes(good.read_bytes())
    (tmp_path / name).write_bytes(bad.read_bytes())
    subprocess.run(["ar", "rcs", "both.a", "good.o", name], cwd=tmp_path, check=True)
    assert inspect(tmp_path / "both.a").verdict("pic").culprits == (name,)


def test_thin_archive_that_names_one_file_again_and_again(build: CompileC, tmp_path: Path) -> None:
    path = build("int one(void) { return 1; }", kind="object")
    (tmp_path / "one.o").write_bytes(path.read_bytes())
    subprocess.run(["ar", "qcsT", "thin.a", *["one.o"] * 20], cwd=tmp_path, check=True)
    assert "more than 8 times" in str(inspect(tmp_path / "thin.a").artifact.error)
