"""What a verdict says of the rest of a file: with the culprits mended, the same build must come out as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from pytest_hardening.fixtures import CompileC
    from tests.conftest import VerdictOf

COPY = """
#include <stdio.h>
#include <string.h>
void sink(char *);
int copy(const char *s) { char b[64]; strcpy(b, s); sink(b); return printf("%d", b[0]); }
"""
SAFE = """
#include <stdio.h>
#include <string.h>
void sink(char *b) { b[2] = 0; }
int safe(const char *s) { char b[16]; strcpy(b, s); sink(b); return printf("%d", b[0]); }
"""
PROTECTED = ["-g", "-O2", "-fPIC", "-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]


@pytest.mark.parametrize(
    ("check", "flags", "unit", "culprit"),
    [
        ("stack-protector", PROTECTED, ["-fno-stack-protector"], "F.c: copy()"),
        ("fortify", PROTECTED, ["-U_FORTIFY_SOURCE"], "F.c: copy()"),
        ("optimization", PROTECTED, ["-O0"], "F.c"),
    ],
)
def test_rest_is_what_the_mended_build_is(
    build: CompileC, verdict: VerdictOf, check: str, flags: list[str], unit: list[str], culprit: str
) -> None:
    sources = {"F.c": COPY, "G.c": SAFE}
    broken = verdict(build(sources, "shared-library", flags, unit_flags={"F.c": unit}), check)
    mended = verdict(build(sources, "shared-library", flags), check)
    assert (broken.outcome, broken.culprits) == (Outcome.FAIL, (culprit,))
    assert broken.rest is mended.outcome is Outcome.PASS


def test_culprits_that_are_cut_off_leave_the_rest_open(build: CompileC, verdict: VerdictOf) -> None:
    functions = "\n".join(
        f"int f{n}(const char *s) {{ char b[64]; b[0] = *s; sink(b); return b[0]; }}" for n in range(70)
    )
    source = {"F.c": f"void sink(char *);\n{functions}\n", "G.c": "void sink(char *b) { b[0] = 0; }"}
    found = verdict(build(source, "shared-library", ["-O2", "-fPIC", "-fno-stack-protector"]), "stack-protector")
    assert found.observed["unprotected"] == 70
    assert len(found.culprits) < 70
    assert found.rest is None


def test_a_second_fault_leaves_the_rest_open(build: CompileC, verdict: VerdictOf) -> None:
    weak = {"F.c": ["-fno-stack-protector"], "G.c": ["-fstack-protector"]}
    third = {"H.c": SAFE.replace("sink", "drain").replace("safe", "calm")}
    library = build({"F.c": COPY, "G.c": SAFE, **third}, "shared-library", PROTECTED, unit_flags=weak)
    found = verdict(library, "stack-protector")
    assert found.culprits == ("F.c: copy()",)
    assert found.rest is None


def test_units_without_a_record_leave_the_rest_unknown(build: CompileC, verdict: VerdictOf) -> None:
    flags = {"F.c": ["-g", "-O0"], "G.c": ["-g0", "-O2"]}
    found = verdict(build({"F.c": COPY, "G.c": SAFE}, "shared-library", ["-fPIC"], unit_flags=flags), "optimization")
    assert (found.outcome, found.culprits, found.rest) == (Outcome.FAIL, ("F.c",), Outcome.UNKNOWN)


@pytest.mark.parametrize("check", ["text-relocations", "pic"])
def test_every_text_relocation_must_be_placed(build: CompileC, verdict: VerdictOf, check: str) -> None:
    units = {"F.c": "int shared; int get(void) { return shared; }", "G.c": "int two(void) { return 2; }"}
    flags = {"F.c": ["-fno-pic"], "G.c": ["-fPIC"]}
    link = ["-m32", "-Wl,-z,notext"]
    found = verdict(build(units, "shared-library", ["-m32", "-g", "-O2"], link, unit_flags=flags), check)
    assert (found.culprits, found.rest) == (("F.c: get()",), Outcome.PASS)
    many = {"F.c": "\n".join(f"int s{n}; int g{n}(void) {{ return s{n}; }}" for n in range(40)), "G.c": units["G.c"]}
    found = verdict(build(many, "shared-library", ["-m32", "-g", "-O2"], link, unit_flags=flags), check)
    assert found.rest is None
