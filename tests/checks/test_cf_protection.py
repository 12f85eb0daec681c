"""cf-protection: CET marks and landing pads on x86, BTI and PAC on AArch64."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.errors import BuildError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

LIBRARY = "int first(int i) { return i + 1; }\nint second(int i) { return first(i) * 2; }\n"
PROGRAM = LIBRARY + "int main(int c, char **v) { (void)v; return second(c); }\n"
X86 = ["gcc", "clang", "gcc -m32", "clang -m32"]
AARCH64 = "aarch64-linux-gnu-gcc"
BARE_LIBRARY = ["-fPIC", "-shared", "-nostdlib"]  # no start files, which lack the note on Debian 12


@pytest.mark.parametrize("compiler", X86)
@pytest.mark.parametrize(
    ("value", "ibt", "shstk"),
    [("full", True, True), ("branch", True, False), ("return", False, True), ("none", False, False)],
)
def test_x86_objects(build: CompileC, verdict: VerdictOf, compiler: str, value: str, ibt: bool, shstk: bool) -> None:
    path = build(LIBRARY, kind="object", flags=[f"-fcf-protection={value}", "-O2"], compiler=compiler)
    found = verdict(path, "cf-protection")
    assert found.observed == {"ibt": ibt, "shstk": shstk}
    assert found.outcome is (Outcome.PASS if value == "full" else Outcome.FAIL)
    if value != "full":
        assert found.remedy == "compile with -fcf-protection=full"
        missing = [name for name, present in (("IBT", ibt), ("SHSTK", shstk)) if not present]
        assert found.summary == f"not marked for {' and '.join(missing)}"


@pytest.mark.parametrize(
    ("compiler", "linker"),
    # gold 1.16 drops the property note of 32-bit files
    [
        ("gcc", "bfd"),
        ("gcc", "lld"),
        ("gcc", "gold"),
        ("clang", "bfd"),
        ("clang", "lld"),
        ("gcc -m32", "bfd"),
        ("gcc -m32", "lld"),
    ],
)
def test_x86_library(build: CompileC, verdict: VerdictOf, compiler: str, linker: str) -> None:
    flags = [*BARE_LIBRARY, "-O2", f"-fuse-ld={linker}"]
    full = verdict(build(LIBRARY, flags=[*flags, "-fcf-protection=full"], compiler=compiler), "cf-protection")
    assert (full.outcome, full.observed) == (Outcome.PASS, {"ibt": True, "shstk": True})
    branch = verdict(build(LIBRARY, flags=[*flags, "-fcf-protection=branch"], compiler=compiler), "cf-protection")
    assert (branch.outcome, branch.observed) == (Outcome.FAIL, {"ibt": True, "shstk": False})
    assert branch.remedy == "compile every unit with -fcf-protection=full"
    none = verdict(build(LIBRARY, flags=[*flags, "-fcf-protection=none"], compiler=compiler), "cf-protection")
    assert (none.outcome, none.observed) == (Outcome.FAIL, {"ibt": False, "shstk": False})
    assert "no function has a landing pad" in none.summary


def test_one_unit_without_clears_the_mark(build: CompileC, verdict: VerdictOf) -> None:
    sources = {"a.c": LIBRARY, "b.c": "int third(int i) { return i - 1; }\n"}
    path = build(
        sources,
        flags=[*BARE_LIBRARY, "-O2", "-g", "-fcf-protection=full"],
        unit_flags={"b.c": ["-fcf-protection=none"]},
    )
    found = verdict(path, "cf-protection")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"ibt": False, "shstk": False})
    assert found.culprits == ("b.c: third()",)
    assert found.remedy.startswith("compile every unit with -fcf-protection=full")
    archive = build(
        sources, kind="archive", flags=["-O2", "-fcf-protection=full"], unit_flags={"b.c": ["-fcf-protection=none"]}
    )
    assert verdict(archive, "cf-protection").culprits == ("b.o",)


@pytest.mark.parametrize("linker", ["bfd", "lld"])
def test_program_whose_start_files_lack_the_note(build: CompileC, verdict: VerdictOf, linker: str) -> None:
    """An own start file without the note stands for Debian 12's, so that the truth does not hang on the system's."""
    start = '.globl _start\n_start: call main\nhlt\n.section .note.GNU-stack,"",%progbits\n'
    flags = ["-nostdlib", "-pie", "-fPIE", "-O2", f"-fuse-ld={linker}"]
    sources = {"start.S": start, "main.c": PROGRAM}
    path = build(sources, flags=flags, unit_flags={"main.c": ["-fcf-protection=full"]})
    found = verdict(path, "cf-protection")
    assert found.outcome is Outcome.UNKNOWN
    assert "start file" in found.summary
    path = build(sources, flags=flags, unit_flags={"main.c": ["-fcf-protection=none"]})
    assert verdict(path, "cf-protection").outcome is Outcome.FAIL


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_whole_program_without_the_flag(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    path = build(PROGRAM, flags=["-pie", "-fPIE", "-O2", "-fcf-protection=none"], compiler=compiler)
    assert verdict(path, "cf-protection").outcome is Outcome.FAIL


@pytest.mark.parametrize("linker", ["bfd", "lld"])
def test_mark_forced_by_the_linker(build: CompileC, verdict: VerdictOf, linker: str) -> None:
    force = ["-Wl,-z,force-ibt", "-Wl,-z,shstk"] if linker == "lld" else ["-Wl,-z,ibt", "-Wl,-z,shstk"]
    flags = [*BARE_LIBRARY, "-O2", f"-fuse-ld={linker}"]
    path = build(LIBRARY, flags=[*flags, "-fcf-protection=none"], link_flags=force)
    found = verdict(path, "cf-protection")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"ibt": True, "shstk": True})
    assert "marked by the linker" in found.summary
    assert "ENDBR64" in str(found.evidence[1])
    path = build(LIBRARY, flags=[*flags, "-fcf-protection=full"], link_flags=force)
    assert verdict(path, "cf-protection").outcome is Outcome.PASS


def test_forced_mark_over_a_mixed_build(build: CompileC, verdict: VerdictOf) -> None:
    sources = {"a.c": LIBRARY, "b.c": "int third(int i) { return i - 1; }\n"}
    path = build(
        sources,
        flags=[*BARE_LIBRARY, "-O2", "-fcf-protection=full"],
        unit_flags={"b.c": ["-fcf-protection=none"]},
        link_flags=["-Wl,-z,ibt", "-Wl,-z,shstk"],
    )
    found = verdict(path, "cf-protection")
    assert found.outcome is Outcome.UNKNOWN
    assert "third()" in str(found.evidence[1])


@pytest.mark.parametrize(
    ("flag", "bti", "pac"),
    [("standard", True, True), ("bti", True, False), ("pac-ret", False, True), ("none", False, False)],
)
@pytest.mark.parametrize("compiler", [AARCH64, "clang --target=aarch64-linux-gnu"])
def test_aarch64_objects(build: CompileC, verdict: VerdictOf, compiler: str, flag: str, bti: bool, pac: bool) -> None:
    path = build(LIBRARY, kind="object", flags=[f"-mbranch-protection={flag}", "-O2"], compiler=compiler)
    found = verdict(path, "cf-protection")
    assert found.observed == {"bti": bti, "pac": pac}
    assert found.outcome is (Outcome.PASS if flag == "standard" else Outcome.FAIL)
    if flag != "standard":
        assert found.remedy == "compile with -mbranch-protection=standard"


def test_aarch64_library(build: CompileC, verdict: VerdictOf) -> None:
    def judge(flag: str, *link_flags: str) -> tuple[Outcome, dict[str, bool]]:
        path = build(
            LIBRARY,
            flags=[*BARE_LIBRARY, "-O2", f"-mbranch-protection={flag}"],
            link_flags=link_flags,
            compiler=AARCH64,
        )
        found = verdict(path, "cf-protection")
        return found.outcome, dict(found.observed)

    assert judge("standard") == (Outcome.PASS, {"bti": True, "pac": True})
    assert judge("bti") == (Outcome.FAIL, {"bti": True, "pac": False})
    assert judge("none") == (Outcome.FAIL, {"bti": False, "pac": False})
    assert judge("none", "-Wl,-z,force-bti") == (Outcome.FAIL, {"bti": True, "pac": False})


@pytest.mark.parametrize(
    "compiler", ["s390x-linux-gnu-gcc", "riscv64-linux-gnu-gcc", "powerpc64le-linux-gnu-gcc", "arm-linux-gnueabihf-gcc"]
)
def test_other_architectures(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    assert verdict(build(LIBRARY, kind="object", compiler=compiler), "cf-protection").outcome is Outcome.NOT_APPLICABLE
    assert verdict(build(PROGRAM, compiler=compiler), "cf-protection").outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("compiler", ["gcc", "gcc -m32"])
def test_other_properties_may_stand_in_front(
    build: CompileC, verdict: VerdictOf, readelf: Callable[..., str], compiler: str
) -> None:
    """-mno-direct-extern-access adds one, padded to 8 bytes in 64-bit files and to 4 in 32-bit ones."""
    flags = ["-fPIC", "-mno-direct-extern-access", "-O2"]
    path = build(LIBRARY, kind="object", flags=[*flags, "-fcf-protection=full"], compiler=compiler)
    assert "indirect external access" in readelf("-n", path)
    assert verdict(path, "cf-protection").observed == {"ibt": True, "shstk": True}
    linked = build([], objects=[path], flags=BARE_LIBRARY, compiler=compiler)
    assert verdict(linked, "cf-protection").observed == {"ibt": True, "shstk": True}


OTHER_NOTE_FIRST = """
.section .note.gnu.property,"a",@note
.p2align 3
.long 4, 16, 5
.asciz "GNU"
.long 0xb0008000, 4, 1, 0
.long 4, 16, 5
.asciz "GNU"
.long 0xc0000002, 4, 3, 0
.section .note.GNU-stack,"",@progbits
"""


def test_notes_in_the_other_order(build: CompileC, verdict: VerdictOf) -> None:
    path = build({"notes.S": OTHER_NOTE_FIRST}, kind="object")
    assert verdict(path, "cf-protection").observed == {"ibt": True, "shstk": True}


TWO_NOTES = """
.globl f
f: endbr64
 ret
.macro note bits
 .p2align 3
 .long 4, 16, 5
 .asciz "GNU"
 .long 0xc0000002, 4, \\bits, 0
.endm
.section .note.gnu.property,"a",@note,unique,1
 note {first}
.section .note.gnu.property,"a",@note,unique,2
 note {second}
.section .note.GNU-stack,"",@progbits
"""


@pytest.mark.parametrize(("first", "second"), [(3, 1), (1, 3)])
def test_two_notes_in_one_object(build: CompileC, verdict: VerdictOf, first: int, second: int) -> None:
    """What both have counts: linkers take the first, the last or both, so only that is sure to come true."""
    source = {"notes.S": TWO_NOTES.format(first=first, second=second)}
    path = build(source, kind="object", compiler="clang")
    assert verdict(path, "cf-protection").observed == {"ibt": True, "shstk": False}


def test_link_time_optimisation(build: CompileC, verdict: VerdictOf) -> None:
    path = build(LIBRARY, kind="object", flags=["-flto", "-O2", "-fcf-protection=full"])
    assert verdict(path, "cf-protection").outcome is Outcome.UNKNOWN


def test_object_without_code(build: CompileC, verdict: VerdictOf) -> None:
    """Data alone needs the note as well: the linker takes what all its inputs have."""
    data = build("int value = 3;\n", kind="object", flags=["-fcf-protection=none"])
    assert verdict(data, "cf-protection").outcome is Outcome.FAIL
    data = build("int value = 3;\n", kind="object", flags=["-fcf-protection=full"])
    assert verdict(data, "cf-protection").outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("compiler", "flag", "report"),
    [
        ("gcc", "-fcf-protection=full", "-Wl,-z,cet-report=warning"),
        (AARCH64, "-mbranch-protection=standard", "-Wl,-z,force-bti (GNU ld) or -Wl,-z,bti-report=warning (lld)"),
    ],
)
def test_input_without_the_note_is_to_be_looked_for(
    build: CompileC, verdict: VerdictOf, compiler: str, flag: str, report: str
) -> None:
    """Every unit has the flag: the fix is not the flag but how to find the input that spoils it."""
    note = {"note.S": '.section .note.GNU-stack,"",%progbits\n'}
    bare = build(note, kind="object", compiler=compiler)  # stands for a start file
    flags = [*BARE_LIBRARY, "-O2", flag, "-fuse-ld=bfd"]
    path = build(LIBRARY, objects=[bare], flags=flags, compiler=compiler)
    found = verdict(path, "cf-protection")
    assert found.outcome is Outcome.UNKNOWN
    assert "although functions have landing pads" in found.summary
    assert found.remedy == (
        f"link with {report} to learn which input lacks the note; where it is a start file (Debian 12), "
        "no flag of yours mends it"
    )


def test_linker_names_the_input_without_the_note(build: CompileC) -> None:
    bare = build({"note.S": '.section .note.GNU-stack,"",%progbits\n'}, kind="object", name="bare.o")
    flags = [*BARE_LIBRARY, "-O2", "-fcf-protection=full", "-fuse-ld=bfd"]
    with pytest.raises(BuildError, match=r"bare\.o: error: missing IBT and SHSTK properties"):
        build(LIBRARY, objects=[bare], flags=flags, link_flags=["-Wl,-z,cet-report=error"])


def test_stripped_program(build: CompileC, verdict: VerdictOf) -> None:
    """Only symbols show whose fault the missing mark is."""
    path = build(PROGRAM, flags=["-pie", "-fPIE", "-O2", "-fcf-protection=full", "-s"])
    found = verdict(path, "cf-protection")
    assert (found.outcome, found.remedy) == (Outcome.UNKNOWN, "judge it before it is stripped")


def test_forced_mark_of_a_stripped_program(build: CompileC, verdict: VerdictOf) -> None:
    source = "int x; void _start(void) { for (;;) { x = x * 3 + 1; if (x == 7) x = 8; } }\n"
    flags = ["-O0", "-static", "-nostdlib", "-s", "-fcf-protection=none"]
    found = verdict(build(source, flags=flags, link_flags=["-Wl,-z,ibt", "-Wl,-z,shstk"]), "cf-protection")
    assert "no function symbol is left to tell whether the linker forced it" in found.summary
    assert (found.outcome, found.remedy) == (Outcome.UNKNOWN, "judge it before it is stripped")
