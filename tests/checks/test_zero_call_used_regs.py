"""zero-call-used-regs: the values of the option, and what link-time optimisation makes of it. See test_recorded.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_hardening.errors import PolicyError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

F = "int product(int a, int b) { return a * b + 3; }\n"
OPTION = "-fzero-call-used-regs"
RECORDS = [("gcc", ["-g"]), ("gcc-11", ["-g"]), ("clang-19", ["-g", "-grecord-command-line"])]


@pytest.mark.parametrize(("compiler", "record"), RECORDS)
@pytest.mark.parametrize("value", ["used-gpr-arg", "used-gpr", "used-arg", "used", "all-gpr", "all", "skip"])
def test_values(build: CompileC, verdict: VerdictOf, compiler: str, record: list[str], value: str) -> None:
    path = build({"F.c": F}, kind="object", flags=[*record, "-O2", f"{OPTION}={value}"], compiler=compiler)
    found = verdict(path, "zero-call-used-regs")
    assert found.outcome is (Outcome.FAIL if value == "skip" else Outcome.PASS)
    assert f"with {OPTION}={value}" in found.summary


def test_accepted_values(build: CompileC, verdict: VerdictOf) -> None:
    path = build({"F.c": F}, kind="object", flags=["-g", f"{OPTION}=used-gpr-arg"])
    found = verdict(path, "zero-call-used-regs", values=["used", "all"])
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("F.c",))
    assert found.remedy == f"compile with {OPTION}=used (GCC 11, clang 15 or later)"


def test_values_that_do_not_exist(build: CompileC, verdict: VerdictOf) -> None:
    path = build({"F.c": F}, kind="object", flags=["-g"])
    with pytest.raises(PolicyError, match=r"zero-call-used-regs.values = 'skip': expected some of used-gpr-arg"):
        verdict(path, "zero-call-used-regs", values=["skip"])


@pytest.mark.parametrize("compiled", [True, False])
def test_gcc_takes_it_from_the_link_step(build: CompileC, verdict: VerdictOf, compiled: bool) -> None:
    """Lost where the link step lacks it, there where only the link step has it: the units' records tell neither."""
    source = {
        "F.c": F,
        "main.c": "int product(int, int); int main(int c, char **v) { return v ? product(c, c) : 0; }\n",
    }
    option = [f"{OPTION}=used"]
    path = build(
        source,
        flags=["-g", "-O2", "-flto"],
        unit_flags=dict.fromkeys(source, option) if compiled else None,
        link_flags=[] if compiled else option,
    )
    found = verdict(path, "zero-call-used-regs")
    assert found.outcome is Outcome.UNKNOWN
    assert "link-time optimisation" in found.summary


def test_clang_takes_it_from_the_compile_step(build: CompileC, verdict: VerdictOf) -> None:
    flags = ["-g", "-grecord-command-line", "-O2", "-flto"]
    source = {"main.c": "int main(int c, char **v) { return v ? c * c : 0; }\n"}
    path = build(source, flags=flags, link_flags=["-fuse-ld=lld", f"{OPTION}=used"], compiler="clang-19")
    assert verdict(path, "zero-call-used-regs").outcome is Outcome.FAIL
