"""The harness for authors of checks: it accepts what is right, and says what is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pytest_hardening import (
    ArtifactError,
    Check,
    ElfFacts,
    Evidence,
    Kind,
    Need,
    Outcome,
    Parameter,
    PolicyError,
    Verdict,
)
from pytest_hardening.added import in_force
from pytest_hardening.checks.base import LINKED
from pytest_hardening.checks.registry import check_names
from pytest_hardening.fixtures import CompileC
from pytest_hardening.testing import assert_manual, assert_only, assert_verdict, judge

MAIN = "int main(void) { return 0; }"


class NoTelltale(Check):
    """No function has a name of a list.

    What it protects
    ----------------
    Against names that tell too much.

    Evidence
    --------
    The names that the symbol table defines.

    When it does not apply
    ----------------------
    It applies to every file.

    Fix
    ---
    Rename the functions.

    References
    ----------
    System V gABI, symbol table.
    """

    name = "no-telltale"
    label = "Discreet names"
    kinds = LINKED | {Kind.OBJECT}
    parameters: ClassVar[Mapping[str, Parameter]] = {"names": Parameter((), (), "names that are not wanted")}

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return frozenset({Need.DEFINITIONS})

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        names = facts.definitions.names if facts.definitions is not None else ()
        found = tuple(f"{name}()" for name in sorted(parameters["names"]) if name in names)
        if "crash" in parameters["names"]:
            raise LookupError("crash")
        if found:
            seen = Evidence("symbol table", found[0])
            return self.failed(f"{len(found)} names", seen, remedy="rename them", culprits=found)
        return self.passed("no such name")


@pytest.fixture
def program(build: CompileC) -> Path:
    source = "int secret(void) { return 1; } int hidden(void) { return 2; } " + MAIN
    return build(source, link_flags=["-pie"], flags=["-fPIE"])


def test_judge(program: Path, build: CompileC) -> None:
    assert judge(NoTelltale(), program).outcome is Outcome.PASS
    assert judge(NoTelltale(), program, names=["secret"]).culprits == ("secret()",)
    archive = build({"a.c": "int secret;", "b.c": "int other;"}, kind="archive")
    assert judge(NoTelltale(), archive, names=["secret"]).culprits == ("a.o: secret()",)
    assert judge("pie", program).outcome is Outcome.PASS
    assert "no-telltale" not in check_names()


def test_what_cannot_be_judged(program: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="none: does not exist"):
        judge(NoTelltale(), tmp_path / "none")
    line = r"'no-telltale' of \S*test_testing raised LookupError: crash \(test_testing.py:\d+\)"
    with pytest.raises(ArtifactError, match=line):
        judge(NoTelltale(), program, names=["crash"])
    with pytest.raises(PolicyError, match="no-telltale: unknown parameter 'name'; it has: names"):
        judge(NoTelltale(), program, name=["x"])
    with pytest.raises(PolicyError, match="unknown check 'no-telltale'"):
        judge("no-telltale", program)
    assert in_force().checks == {}


def test_a_check_that_breaks_the_rules(program: Path) -> None:
    class Taken(NoTelltale):
        name = "pie"

    with pytest.raises(PolicyError, match="Taken: the name 'pie' is taken by a built-in check"):
        judge(Taken(), program)
    with pytest.raises(PolicyError, match="is a class: give an instance"):
        judge(NoTelltale, program)  # type: ignore[arg-type]


def test_assert_verdict(program: Path) -> None:
    check, names = NoTelltale(), ["secret", "hidden"]
    verdict = assert_verdict(check, program, Outcome.FAIL, culprits=("hidden()", "secret()"), names=names)
    assert verdict.summary == "2 names"
    text = "expected pass, not fail: no-telltale: 2 names\n  symbol table: hidden()"
    with pytest.raises(AssertionError, match=re.escape(text)):
        assert_verdict(check, program, Outcome.PASS, names=names)
    with pytest.raises(AssertionError, match=re.escape("expected the culprits ('x()',), not ('hidden()', 'secret()')")):
        assert_verdict(check, program, Outcome.FAIL, culprits=("x()",), names=names)


def test_assert_only(build: CompileC) -> None:
    full = ["-Wl,-z,relro,-z,now"]
    secret = f"int secret(void) {{ return 1; }} {MAIN}"
    conforming, violating = build(MAIN, link_flags=full), build(secret, link_flags=full)
    verdict = assert_only(NoTelltale(), violating, conforming, names=["secret"])
    assert verdict.culprits == ("secret()",)
    with pytest.raises(AssertionError, match="conforms, and is expected to pass, not fail: no-telltale: 1 names"):
        assert_only(NoTelltale(), violating, violating, names=["secret"])
    with pytest.raises(AssertionError, match="violates, and is expected to fail, not pass: no-telltale"):
        assert_only(NoTelltale(), conforming, conforming, names=["secret"])
    worse = build(secret, link_flags=[*full, "-Wl,-z,execstack"])
    with pytest.raises(AssertionError, match=r"violates more than no-telltale:\nfail: nx-stack: "):
        assert_only(NoTelltale(), worse, conforming, names=["secret"])


def test_assert_only_of_a_built_in_check(build: CompileC) -> None:
    full = ["-Wl,-z,relro,-z,now"]
    assert_only("nx-stack", build(MAIN, link_flags=[*full, "-Wl,-z,execstack"]), build(MAIN, link_flags=full))


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("", "no docstring: it is the manual page"),
        ((NoTelltale.__doc__ or "").replace("of a list.", "of a list"), "no sentence that ends with a full stop"),
        ((NoTelltale.__doc__ or "").replace("    Fix\n    ---\n", ""), "lacks the heading Fix, underlined"),
        ((NoTelltale.__doc__ or "").replace("    ---\n", "    ----\n"), "below the heading Fix is not as long as it"),
        ((NoTelltale.__doc__ or "").replace("Rename the functions.", ""), "nothing stands below the heading Fix"),
        (
            (NoTelltale.__doc__ or "") + "\n    More\n    ----\n    And more of it.",
            "headings are What it protects, .*More;",
        ),
    ],
)
def test_assert_manual(page: str, message: str) -> None:
    assert_manual(NoTelltale())
    own = type("Own", (NoTelltale,), {"__doc__": page})
    with pytest.raises(AssertionError, match=f"the manual page of no-telltale:\n(.*\n)*.*{message}"):
        assert_manual(own())
