"""stack-clash: probes of large frames, frames that jump the guard, and frames that are too small to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

BIG = "void fill(char *); int big(void) { char block[200000]; fill(block); return block[7]; }\n"
OTHER = "void fill(char *); int other(void) { char block[300000]; fill(block); return block[9]; }\n"
SMALL = "void fill(char *); int small(void) { char block[100]; fill(block); return block[7]; }\n"
MAIN = "int big(void); int other(void); int main(void) { return big() + other(); }\nvoid fill(char *p) { *p = 1; }\n"
ON, OFF = "-fstack-clash-protection", "-fno-stack-clash-protection"
VISIBLE = [
    "gcc",
    "clang",
    "gcc -m32",
    "aarch64-linux-gnu-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
]


@pytest.mark.parametrize("optimisation", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("compiler", VISIBLE)
def test_large_frames(build: CompileC, verdict: VerdictOf, compiler: str, optimisation: str) -> None:
    flags = [optimisation, "-fno-stack-protector"]
    on = verdict(build({"big.c": BIG}, kind="object", flags=[*flags, ON], compiler=compiler), "stack-clash")
    assert on.outcome is Outcome.PASS
    off = verdict(build({"big.c": BIG}, kind="object", flags=[*flags, OFF], compiler=compiler), "stack-clash")
    assert (off.outcome, off.culprits) == (Outcome.FAIL, ("big.c: big()",))
    assert off.remedy == "compile every unit with -fstack-clash-protection"


@pytest.mark.parametrize("compiler", VISIBLE)
@pytest.mark.parametrize("protection", [ON, OFF])
def test_small_frames_need_none(build: CompileC, verdict: VerdictOf, compiler: str, protection: str) -> None:
    path = build(SMALL, kind="object", flags=["-O2", protection], compiler=compiler)
    assert verdict(path, "stack-clash").outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("strip", [[], ["-g"], ["-s"]], ids=["symbols", "debug", "stripped"])
@pytest.mark.parametrize("compiler", VISIBLE)
def test_one_unit_of_a_program(build: CompileC, verdict: VerdictOf, compiler: str, strip: list[str]) -> None:
    units = {"main.c": MAIN, "big.c": BIG, "other.c": OTHER}
    flags = ["-O2", "-fPIE", "-pie", "-fno-stack-protector", *strip]
    whole = build(units, flags=[*flags, ON], compiler=compiler)
    assert verdict(whole, "stack-clash").outcome is Outcome.PASS
    found = verdict(build(units, flags=[*flags, ON], unit_flags={"big.c": [OFF]}, compiler=compiler), "stack-clash")
    if strip == ["-s"] and compiler in ("gcc", "clang", "gcc -m32"):
        # what the callee is called decides on x86 whether the stack was made for a frame or for its arguments
        assert found.outcome in (Outcome.FAIL, Outcome.UNKNOWN)
        return
    assert found.outcome is Outcome.FAIL
    (culprit,) = found.culprits
    assert culprit == "big.c: big()" if strip == ["-g"] else culprit.startswith("0x") or culprit.endswith("big()")
    assert found.observed["unprobed"] == 1


@pytest.mark.parametrize("optimisation", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("compiler", ["gcc", "clang", "gcc -m32", "clang -m32"])
def test_sizes_made_at_run_time(build: CompileC, verdict: VerdictOf, compiler: str, optimisation: str) -> None:
    """Both compilers probe them; without that they prove nothing, but never pass beside a frame that is probed."""
    flags = [optimisation, "-fPIE", "-pie", "-fno-stack-protector"]
    for body in ("char b[n]; fill(b); return b[1];", "fill(0); char *b = __builtin_alloca(n); fill(b); return b[1];"):
        source = {"sized.c": f"void fill(char *); extern int n; int other(void) {{ {body} }}\nint n = 9;\n"}
        for protection, outcome in ((ON, Outcome.PASS), (OFF, Outcome.UNKNOWN)):
            path = build(source, kind="object", flags=[*flags, protection], compiler=compiler)
            assert verdict(path, "stack-clash").outcome is outcome
        units = {"main.c": MAIN, "big.c": BIG, **source}
        found = verdict(
            build(units, flags=[*flags, ON], unit_flags={"sized.c": [OFF]}, compiler=compiler), "stack-clash"
        )
        assert found.outcome is Outcome.UNKNOWN


def test_archive_names_the_member(build: CompileC, verdict: VerdictOf) -> None:
    units = {"big.c": BIG, "other.c": OTHER}
    found = verdict(build(units, kind="archive", flags=["-O2", ON], unit_flags={"big.c": [OFF]}), "stack-clash")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("big.o: big()",))


def test_record_without_the_option(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build({"big.c": BIG}, kind="object", flags=["-O2", "-g"]), "stack-clash")
    assert found.outcome is Outcome.FAIL
    assert "DWARF: big.c: no -fstack-clash-protection recorded" in map(str, found.evidence)
    found = verdict(build({"big.c": BIG}, kind="object", flags=["-O2", "-g", OFF]), "stack-clash")
    assert f"DWARF: big.c: recorded option: {OFF}" in map(str, found.evidence)


def test_functions_without_type_and_size(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build({"work.S": ".globl work\nwork: ret\n"}, kind="object"), "stack-clash")
    assert found.outcome is Outcome.UNKNOWN
    assert found.remedy == "in assembly, mark each function with .type NAME,%function and .size"


def test_object_without_code(build: CompileC, verdict: VerdictOf) -> None:
    assert verdict(build("int value = 3;\n", kind="object"), "stack-clash").outcome is Outcome.NOT_APPLICABLE
