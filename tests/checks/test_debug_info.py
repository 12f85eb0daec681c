"""debug-info: every state in which strip and objcopy leave a file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.errors import PolicyError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

F = "int twice(int a) { return a * 2; }\n"
PROGRAM = F + "int main(void) { return twice(0); }\n"
ASSEMBLY = '.globl twice\n.text\ntwice:\n ret\n.section .note.GNU-stack,"",%progbits\n'
# what each state conforms to
STATES = {
    "as linked": {"symbols"},
    "-g": {"present"},
    "stripped": {"stripped", "separate"},
    "strip -g": {"symbols"},
    "split": {"stripped", "separate"},
    "without build ID": {"stripped"},
    "minidebug": {"stripped", "separate"},
    "compressed": {"present"},
}
EXPECT = ["stripped", "symbols", "separate", "present"]


@pytest.fixture
def state(build: CompileC, tool_for: Callable[[str], str], tmp_path: Path) -> Callable[[str], Path]:
    """The program in a state."""

    def run(*words: str | Path) -> None:
        subprocess.run([tool_for(str(words[0])), *words[1:]], check=True, cwd=tmp_path)

    def state(name: str) -> Path:
        flags = [] if name == "as linked" else ["-gz", "-g"] if name == "compressed" else ["-g"]
        link = [f"-Wl,--build-id={'none' if name == 'without build ID' else 'sha1'}"]
        path, made = build({"F.c": PROGRAM}, flags=flags, link_flags=link), tmp_path / "program"
        if name in ("as linked", "-g", "compressed"):
            return path
        run("strip", *(["-g"] if name == "strip -g" else []), "-o", made, path)
        if name == "split":
            run("objcopy", "--only-keep-debug", path, tmp_path / "program.debug")
            run("objcopy", "--add-gnu-debuglink=program.debug", made)
        if name == "minidebug":
            (tmp_path / "symbols.xz").write_bytes(b"\xfd7zXZ")
            run("objcopy", "--add-section", ".gnu_debugdata=symbols.xz", made)
        return made

    return state


@pytest.mark.parametrize("name", STATES)
def test_states(state: Callable[[str], Path], verdict: VerdictOf, name: str) -> None:
    path = state(name)
    for expect in EXPECT:
        found = verdict(path, "debug-info", expect=expect)
        assert found.outcome is (Outcome.PASS if expect in STATES[name] else Outcome.FAIL), (expect, found.summary)
        assert bool(found.remedy) is (found.outcome is Outcome.FAIL)
    assert verdict(path, "debug-info").outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("compiler", ["gcc", "clang-19", "gcc -m32", "aarch64-linux-gnu-gcc", "g++"])
@pytest.mark.parametrize("flags", [["-g"], ["-g1"], ["-gdwarf-4", "-g"]])
def test_objects(build: CompileC, verdict: VerdictOf, compiler: str, flags: list[str]) -> None:
    source = {"F.cc" if compiler == "g++" else "F.c": F}
    path = build(source, kind="object", flags=flags, compiler=compiler)
    assert verdict(path, "debug-info", expect="present").outcome is Outcome.PASS
    found = verdict(path, "debug-info", expect="stripped")
    assert (found.outcome, found.summary) == (Outcome.FAIL, "holds debug information, and should hold none")
    plain = build(source, kind="object", compiler=compiler)
    assert verdict(plain, "debug-info", expect="present").outcome is Outcome.FAIL
    assert verdict(plain, "debug-info", expect="stripped").outcome is Outcome.PASS


def test_split_debug_information_is_not_in_the_object(build: CompileC, verdict: VerdictOf) -> None:
    path = build({"F.c": F}, kind="object", flags=["-g", "-gsplit-dwarf"])
    assert verdict(path, "debug-info", expect="present").outcome is Outcome.UNKNOWN
    assert verdict(path, "debug-info", expect="stripped").outcome is Outcome.FAIL


def test_archive_names_the_member(build: CompileC, verdict: VerdictOf) -> None:
    units = {"one.c": F, "two.c": F.replace("twice", "two")}
    path = build(units, kind="archive", unit_flags={"two.c": ["-g"]})
    assert verdict(path, "debug-info", expect="stripped").culprits == ("two.o",)
    assert verdict(path, "debug-info", expect="present").culprits == ("one.o",)


def test_assembly_alone_is_no_debug_information(build: CompileC, verdict: VerdictOf) -> None:
    path = build({"F.s": ASSEMBLY}, kind="object", flags=["-g"])
    assert verdict(path, "debug-info", expect="present").outcome is Outcome.FAIL


def test_without_section_headers(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    path = edit(build({"F.c": PROGRAM}, flags=["-g"])).without_sections().save(tmp_path)
    assert verdict(path, "debug-info", expect="stripped").outcome is Outcome.PASS
    assert verdict(path, "debug-info", expect="present").outcome is Outcome.FAIL


@pytest.mark.parametrize("compiler", ["gcc", "clang-19"])
def test_bytecode_is_unknown(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    path = build({"F.c": F}, kind="object", flags=["-flto", "-g"], compiler=compiler)
    assert verdict(path, "debug-info", expect="stripped").outcome is Outcome.UNKNOWN
    assert verdict(path, "debug-info").outcome is Outcome.NOT_APPLICABLE


def test_words(build: CompileC, verdict: VerdictOf) -> None:
    with pytest.raises(PolicyError, match=r"debug-info\.expect = 'gone': expected one of 'anything', 'stripped'"):
        verdict(build({"F.c": PROGRAM}), "debug-info", expect="gone")
