"""auto-var-init: the values of the option, and compilers without it. See test_recorded.py for the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

F = "void fill(int *); int first(void) { int a[4]; fill(a); return a[0]; }\n"
OPTION = "-ftrivial-auto-var-init"
RECORDS = [("gcc", ["-g"]), ("clang-19", ["-g", "-grecord-command-line"])]


@pytest.mark.parametrize(("compiler", "record"), RECORDS)
@pytest.mark.parametrize("value", ["zero", "pattern"])
def test_values(build: CompileC, verdict: VerdictOf, compiler: str, record: list[str], value: str) -> None:
    path = build({"F.c": F}, kind="object", flags=[*record, "-O2", f"{OPTION}={value}"], compiler=compiler)
    assert verdict(path, "auto-var-init").outcome is Outcome.PASS
    assert verdict(path, "auto-var-init", value=value).outcome is Outcome.PASS
    other = verdict(path, "auto-var-init", value="pattern" if value == "zero" else "zero")
    assert (other.outcome, other.summary) == (Outcome.FAIL, f"F.c compiled with {OPTION}={value}")


@pytest.mark.parametrize(("compiler", "record"), RECORDS)
def test_taken_back(build: CompileC, verdict: VerdictOf, compiler: str, record: list[str]) -> None:
    flags = [*record, f"{OPTION}=zero", f"{OPTION}=uninitialized"]
    found = verdict(build({"F.c": F}, kind="object", flags=flags, compiler=compiler), "auto-var-init")
    assert (found.outcome, found.summary) == (Outcome.FAIL, f"F.c compiled with {OPTION}=uninitialized")
    assert found.remedy == f"compile with {OPTION}=zero (GCC 12, clang 8 or later)"


def test_compiler_without_the_option(build: CompileC, verdict: VerdictOf) -> None:
    """It cannot protect its units, so they are not protected."""
    found = verdict(build({"F.c": F}, kind="object", flags=["-g", "-O2"], compiler="gcc-11"), "auto-var-init")
    assert (found.outcome, found.summary) == (Outcome.FAIL, f"F.c compiled without {OPTION}")


def test_configuration_file_of_clang(build: CompileC, verdict: VerdictOf, tmp_path: object) -> None:
    """A distribution's defaults stand there, and clang records them with the rest."""
    path = build(
        {"F.c": F, "own.cfg": f"{OPTION}=zero\n"},
        kind="object",
        flags=["--config", "./own.cfg", "-g", "-grecord-command-line"],
        compiler="clang-19",
    )
    assert verdict(path, "auto-var-init").outcome is Outcome.PASS
