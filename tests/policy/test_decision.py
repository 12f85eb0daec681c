"""Outcomes to decisions; waivers and the baseline over a verdict's culprits."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any, get_args

import pytest

from pytest_hardening.model import ArtifactReport, Kind, OnUnknown, Outcome, Report, Verdict
from pytest_hardening.policy.acceptance import Acceptance
from pytest_hardening.policy.baseline import Baseline, Entry
from pytest_hardening.policy.decision import Decision, Ruling, decide, rule
from pytest_hardening.policy.waiver import Waiver

CHECK, PATH = "stack-protector", "build/libX.so"


@pytest.mark.parametrize(
    ("outcome", "fail", "warn", "ignore"),
    [
        (Outcome.PASS, Decision.ACCEPTED, Decision.ACCEPTED, Decision.ACCEPTED),
        (Outcome.FAIL, Decision.REJECTED, Decision.REJECTED, Decision.REJECTED),
        (Outcome.UNKNOWN, Decision.REJECTED, Decision.UNDECIDED, Decision.IGNORED),
        (Outcome.NOT_APPLICABLE, Decision.SKIPPED, Decision.SKIPPED, Decision.SKIPPED),
    ],
)
def test_decide(outcome: Outcome, fail: Decision, warn: Decision, ignore: Decision) -> None:
    assert [decide(outcome, unknown) for unknown in ("fail", "warn", "ignore")] == [fail, warn, ignore]
    assert decide(outcome) is warn


def test_every_outcome_has_a_decision() -> None:
    found = {decide(outcome, unknown) for outcome in Outcome for unknown in get_args(OnUnknown)}
    assert found == set(Decision) - {Decision.WAIVED, Decision.KNOWN, Decision.UNCHANGED}


def report(*culprits: str, outcome: Outcome = Outcome.FAIL, rest: Outcome | None = Outcome.PASS) -> Report:
    verdict = Verdict(CHECK, outcome, "no canary", culprits=culprits, rest=rest)
    return Report((ArtifactReport(PATH, None, Kind.SHARED_LIBRARY, "x86-64", verdicts=(verdict,)),))


def archive(**members: Outcome) -> Report:
    """An archive whose verdict names the first failing member only."""
    worst = Outcome.FAIL if Outcome.FAIL in members.values() else Outcome.UNKNOWN
    first = tuple(name for name, outcome in members.items() if outcome is Outcome.FAIL)[:1]
    entries = [
        ArtifactReport(PATH, name, Kind.OBJECT, "x86-64", verdicts=(Verdict(CHECK, outcome, "so"),))
        for name, outcome in members.items()
    ]
    whole = ArtifactReport(PATH, None, Kind.ARCHIVE, "x86-64", verdicts=(Verdict(CHECK, worst, "so", culprits=first),))
    return Report((whole, *entries))


def waiver(**keys: Any) -> Waiver:
    return Waiver.model_validate({"path": PATH, "checks": [CHECK], "reason": "tested", **keys})


def ruling(judged: Report, *waivers: Waiver, known: tuple[str, ...] | None = None, **options: Any) -> Ruling:
    baseline = None if known is None else Baseline("base.txt", [Entry(CHECK, PATH, culprit) for culprit in known])
    artifact = replace(judged.artifact, unknown={CHECK: options.pop("unknown", "warn")})
    acceptance = Acceptance("hardening.toml", waivers, baseline, today=date(2026, 5, 1), **options)
    return rule(Report((artifact, *judged.members)), CHECK, acceptance)


def test_nothing_accepts_a_failure() -> None:
    named = Ruling(Decision.REJECTED, culprits=("F.c: copy()",), keys=("F.c: copy()",))
    assert ruling(report("F.c: copy()")) == named
    assert ruling(report("F.c: copy()", rest=None)) == Ruling(Decision.REJECTED, keys=("-",))


def test_waiver_of_everything_says_why() -> None:
    found = ruling(report(), waiver(expires=date(2027, 3, 1), owner="alice"))
    assert found.decision is Decision.WAIVED
    assert found.notes == ("tested (waiver[0] of hardening.toml, until 2027-03-01, alice)",)


def test_every_culprit_must_be_covered() -> None:
    judged = report("F.c: copy()", "G.c: grow()")
    both = ruling(judged, waiver(unit="F.c"), waiver(function="grow"))
    assert (both.decision, both.waivers) == (Decision.WAIVED, (0, 1))
    one = ruling(judged, waiver(unit="F.c"))
    assert (one.decision, one.waivers, one.culprits) == (Decision.REJECTED, (0,), ("G.c: grow()",))
    assert one.notes == ("waiver[0] of hardening.toml covers a part of it",)


def test_waivers_that_overlap_are_all_used() -> None:
    both = ruling(report("F.c: copy()"), waiver(unit="F.c"), waiver(), waiver(function="grow"))
    assert (both.decision, both.waivers, both.notes) == (
        Decision.WAIVED,
        (1, 0),
        ("tested (waiver[1] of hardening.toml)",),
    )


@pytest.mark.parametrize("rest", [None, Outcome.FAIL])
def test_units_and_functions_are_not_waived_where_others_may_fall_short(rest: Outcome | None) -> None:
    found = ruling(report("F.c: copy()", rest=rest), waiver(unit="F.c"))
    assert found.decision is Decision.REJECTED
    assert found.notes[-1] == "waivers of units and functions do not hold: not all that falls short is named"
    some = ruling(report("F.c: copy()", "G.c: grow()", rest=rest), waiver(unit="F.c"))
    assert (some.decision, some.is_part, some.culprits) == (Decision.REJECTED, False, ())
    assert ruling(report("F.c: copy()", rest=rest), waiver()).decision is Decision.WAIVED


def test_what_is_unknown_of_the_rest_decides_as_unknown_does() -> None:
    judged = report("F.c: copy()", rest=Outcome.UNKNOWN)
    assert ruling(judged, waiver(unit="F.c")).decision is Decision.WAIVED
    strict = ruling(judged, waiver(unit="F.c"), unknown="fail")
    assert strict.decision is Decision.REJECTED
    assert strict.notes[-1] == "whether anything else falls short is unknown, which fails here"


def test_unknown_that_fails_can_be_waived_as_a_whole() -> None:
    judged = report(outcome=Outcome.UNKNOWN)
    assert ruling(judged, waiver(), unknown="fail").decision is Decision.WAIVED
    assert ruling(judged, waiver(unit="F.c"), unknown="fail").decision is Decision.REJECTED
    assert ruling(judged, waiver(), unknown="warn") == Ruling(Decision.UNDECIDED, keys=None)


def test_expired_waiver_says_since_when() -> None:
    found = ruling(report("F.c: copy()"), waiver(expires=date(2026, 5, 1), owner="alice"))
    assert found.decision is Decision.REJECTED
    assert found.notes == ("waiver[0] of hardening.toml expired on 2026-05-01: tested, alice",)
    assert found.waivers == (0,)


def test_expired_waiver_is_not_written_into_the_baseline() -> None:
    found = ruling(report("F.c: copy()"), waiver(expires=date(2026, 5, 1)), known=(), update=True)
    assert (found.decision, found.keys) == (Decision.REJECTED, ())


def test_members_of_an_archive_are_all_looked_at() -> None:
    judged = archive(A=Outcome.PASS, B=Outcome.FAIL, C=Outcome.FAIL)
    assert ruling(judged, waiver(unit="B")).culprits == ("C",)
    assert ruling(judged, waiver(unit="[BC]")).decision is Decision.WAIVED
    assert ruling(judged, known=("B", "C")).decision is Decision.KNOWN
    doubtful = archive(A=Outcome.UNKNOWN, B=Outcome.FAIL)
    assert ruling(doubtful, waiver(unit="B")).decision is Decision.WAIVED
    assert ruling(doubtful, waiver(unit="B"), unknown="fail").decision is Decision.REJECTED
    assert ruling(doubtful, waiver(unit="B"), known=("?",), unknown="fail").decision is Decision.KNOWN


def test_new_culprits_fail_beside_known_ones() -> None:
    found = ruling(report("F.c: copy()", "G.c: grow()"), known=("F.c: copy()",))
    assert (found.decision, found.culprits) == (Decision.REJECTED, ("G.c: grow()",))
    assert found.notes == ("1 more in the baseline base.txt",)
    assert found.keys == ("F.c: copy()", "G.c: grow()")
    both = ruling(report("F.c: copy()", "G.c: grow()"), known=("F.c: copy()", "G.c: grow()", "H.c"))
    assert (both.decision, both.notes) == (Decision.KNOWN, ("in the baseline base.txt",))


def members(**functions: tuple[str, ...]) -> Report:
    """An archive whose failing members name their functions."""
    entries = [
        ArtifactReport(
            PATH,
            name,
            Kind.OBJECT,
            "x86-64",
            verdicts=(Verdict(CHECK, Outcome.FAIL, "so", culprits=names, rest=Outcome.PASS),),
        )
        for name, names in functions.items()
    ]
    whole = Verdict(CHECK, Outcome.FAIL, "so", culprits=tuple(functions))
    return Report((ArtifactReport(PATH, None, Kind.ARCHIVE, "x86-64", verdicts=(whole,)), *entries))


def test_new_functions_of_a_known_member_are_named_alone() -> None:
    found = ruling(members(B=("F.c: copy()", "F.c: grow()", "F.c: read()")), known=("B: copy()",))
    assert (found.is_part, found.culprits) == (True, ("B: grow()", "B: read()"))
    none = ruling(members(B=("F.c: copy()", "F.c: grow()")), known=())
    assert (none.is_part, none.culprits) == (False, ("B",))
    waived = ruling(members(A=("F.c: copy()",), B=("F.c: grow()",)), waiver(unit="A"))
    assert (waived.is_part, waived.culprits) == (True, ("B",))
    late = ruling(report("F.c: copy()"), waiver(expires=date(2026, 5, 1)), known=("F.c: copy()",))
    assert (late.decision, late.is_part) == (Decision.REJECTED, False)
    nameless = ruling(report("0x10-0x20"), waiver(expires=date(2026, 5, 1)), known=("-",))
    assert (nameless.decision, nameless.is_part) == (Decision.REJECTED, False)


def test_functions_of_a_member_are_covered_one_by_one() -> None:
    judged = members(B=("F.c: copy()", "F.c: grow()"), C=("G.c: read()",))
    copy, grow, read = (
        waiver(unit=unit, function=name) for unit, name in (("B", "copy"), ("F.c", "grow"), ("C", "read"))
    )
    every = ruling(judged, copy, grow, read)
    assert (every.decision, every.waivers) == (Decision.WAIVED, (0, 1, 2))
    left = ruling(judged, copy, read)
    assert (left.decision, left.waivers, left.is_part) == (Decision.REJECTED, (0, 1), True)
    assert left.culprits == left.keys == ("B: grow()",)
    assert ruling(judged, copy, read, known=("B: grow()",)).decision is Decision.KNOWN
    assert ruling(judged, grow, read, known=("B: grow()",)).decision is Decision.REJECTED
    one_path = waiver(path=f"{PATH}(B)", function="*")
    assert ruling(judged, one_path).culprits == ("C",)
    assert ruling(judged, one_path, read).decision is Decision.WAIVED
    late = waiver(unit="B", function="grow", expires=date(2026, 5, 1))
    assert ruling(judged, copy, read, late).decision is Decision.REJECTED


def test_functions_of_a_member_are_not_covered_where_others_may_fall_short() -> None:
    whole, member = members(B=("F.c: copy()",)).artifacts
    cut = replace(member, verdicts=(replace(member.verdicts[0], rest=None),))
    assert ruling(Report((whole, cut)), waiver(function="copy")).decision is Decision.REJECTED
    assert ruling(Report((whole, cut)), waiver(unit="B")).decision is Decision.WAIVED


def test_members_of_one_name_go_by_their_order() -> None:
    known = ruling(archive(**{"a.o": Outcome.FAIL, "a.o#2": Outcome.PASS}), known=()).keys
    assert known == ("a.o",)
    assert ruling(archive(**{"a.o": Outcome.FAIL, "a.o#2": Outcome.PASS}), known=known).decision is Decision.KNOWN
    for first in (Outcome.PASS, Outcome.FAIL):  # another one that fails, or one in front, is new
        changed = ruling(archive(**{"a.o": first, "a.o#2": Outcome.FAIL}), known=known)
        assert (changed.decision, changed.culprits) == (Decision.REJECTED, ("a.o#2",))


def test_units_of_linked_files_are_no_members() -> None:
    linked = report("F.c: copy()")
    assert ruling(linked, waiver(path=f"{PATH}(F.c)")).waivers == ()
    assert ruling(linked, waiver(path=f"{PATH}*")).decision is Decision.WAIVED
    assert ruling(archive(B=Outcome.FAIL), waiver(path=f"{PATH}(B)")).decision is Decision.WAIVED


def test_an_entry_of_the_whole_check_knows_everything() -> None:
    assert ruling(report("F.c: copy()"), known=("-",)).decision is Decision.KNOWN
    assert ruling(report(), known=("-",)).decision is Decision.KNOWN
    assert ruling(report(outcome=Outcome.UNKNOWN), known=("-",), unknown="fail").decision is Decision.KNOWN


def test_an_unknown_entry_knows_no_failure() -> None:
    assert ruling(report("F.c: copy()"), known=("?",)).decision is Decision.REJECTED
    assert ruling(report(), known=("?",)).decision is Decision.REJECTED
    assert ruling(report(outcome=Outcome.UNKNOWN), known=("?",), unknown="fail").decision is Decision.KNOWN


def test_known_functions_do_not_hide_what_is_not_named() -> None:
    found = ruling(report("F.c: copy()", rest=None), known=("F.c: copy()",))
    assert found.decision is Decision.REJECTED
    assert found.notes == ("the baseline base.txt does not help: not all that falls short is named",)


def test_what_is_waived_needs_no_entry() -> None:
    found = ruling(report("F.c: copy()", "G.c: grow()"), waiver(unit="F.c"), known=("G.c: grow()",))
    assert (found.decision, found.keys, found.waivers) == (Decision.KNOWN, ("G.c: grow()",), (0,))


def test_update_lets_new_failures_pass() -> None:
    found = ruling(report("F.c: copy()"), known=(), update=True)
    assert (found.decision, found.notes, found.keys) == (Decision.KNOWN, ("new in the baseline",), ("F.c: copy()",))
