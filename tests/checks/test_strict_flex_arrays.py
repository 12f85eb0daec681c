"""strict-flex-arrays: the levels, and compilers without the option. See test_recorded.py for the records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

F = "struct line { int size; char text[1]; }; char last(struct line *a) { return a->text[a->size]; }\n"
OPTION = "-fstrict-flex-arrays"
RECORD = ["-g", "-grecord-command-line"]


@pytest.mark.parametrize(("compiler", "name"), [("clang-19", "F.c"), ("clang++-19", "F.cc")])
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_levels(build: CompileC, verdict: VerdictOf, compiler: str, name: str, level: int) -> None:
    path = build({name: F}, kind="object", flags=[*RECORD, "-O2", f"{OPTION}={level}"], compiler=compiler)
    for least in (1, 2, 3):
        found = verdict(path, "strict-flex-arrays", level=least)
        assert found.outcome is (Outcome.PASS if level >= least else Outcome.FAIL)


def test_the_last_one_counts(build: CompileC, verdict: VerdictOf) -> None:
    flags = [*RECORD, f"{OPTION}=3", f"{OPTION}=0"]
    found = verdict(build({"F.c": F}, kind="object", flags=flags, compiler="clang-19"), "strict-flex-arrays")
    assert (found.outcome, found.summary) == (Outcome.FAIL, f"F.c compiled with {OPTION}=0")
    found = verdict(build({"F.c": F}, kind="object", flags=RECORD, compiler="clang-19"), "strict-flex-arrays")
    assert (found.outcome, found.summary) == (Outcome.FAIL, f"F.c compiled without {OPTION}")
    assert found.remedy == f"compile with {OPTION}=3"
    assert "F.c (clang 19" in str(found.evidence[0])


@pytest.mark.parametrize(
    ("compiler", "record", "words"),
    [("gcc-11", ["-g"], "by gcc 11"), ("gcc-12", ["-g"], "by gcc 12"), ("clang-14", RECORD, "by clang 14")],
)
def test_compilers_without_the_option(
    build: CompileC, verdict: VerdictOf, compiler: str, record: list[str], words: str
) -> None:
    """They cannot protect their units, so these are not protected; the summary says whose fault it is."""
    found = verdict(build({"F.c": F}, kind="object", flags=[*record, "-O2"], compiler=compiler), "strict-flex-arrays")
    assert found.outcome is Outcome.FAIL
    assert words in found.summary
    assert f"which has no {OPTION}" in found.summary
    assert found.remedy == f"needs GCC 13, clang 16 or later; then add {OPTION}=3"
    (seen,) = found.evidence
    assert re.fullmatch(rf"DWARF: F\.c: {words}[0-9.]*, which has no {OPTION}", str(seen))  # the compiler once
