"""optimization: the last -O option on record, and the levels behind the names. See test_recorded.py for the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

F = "int twice(int a) { return a * 2; }\n"
LEVELS = [
    ([], 0),
    (["-O0"], 0),
    (["-O2", "-O0"], 0),
    (["-O"], 1),
    (["-O1"], 1),
    (["-Og"], 1),
    (["-O0", "-O2"], 2),
    (["-Os"], 2),
    (["-Oz"], 2),
    (["-O3"], 3),
    (["-Ofast"], 3),
]


@pytest.mark.parametrize(
    ("flags", "level"), LEVELS, ids=lambda value: "".join(value) if isinstance(value, list) else ""
)
@pytest.mark.parametrize(("compiler", "record"), [("gcc", ["-g"]), ("clang", ["-g", "-grecord-command-line"])])
def test_levels(
    build: CompileC, verdict: VerdictOf, compiler: str, record: list[str], flags: list[str], level: int
) -> None:
    path = build({"F.c": F}, kind="object", flags=[*record, *flags], compiler=compiler)
    for least in (1, 2, 3):
        found = verdict(path, "optimization", level=least)
        assert found.outcome is (Outcome.PASS if level >= least else Outcome.FAIL)
    if not flags:
        assert found.summary == "F.c compiled without -O option, that is -O0"


def test_levels_above_three(build: CompileC, verdict: VerdictOf) -> None:
    path = build({"F.c": F}, kind="object", flags=["-g", "-O9"])
    assert verdict(path, "optimization", level=3).outcome is Outcome.PASS


def test_remedy_asks_for_what_fortify_needs(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build({"F.c": F}, kind="object", flags=["-g", "-O0"]), "optimization")
    assert found.remedy == "compile with -O2, and let no lower -O option follow it"
    assert found.summary == "F.c compiled with -O0"
