from __future__ import annotations

import pytest

from pytest_hardening.model import Outcome
from pytest_hardening.policy.decision import Decision, decide


@pytest.mark.parametrize(
    ("outcome", "usual", "strict"),
    [
        (Outcome.PASS, Decision.ACCEPTED, Decision.ACCEPTED),
        (Outcome.FAIL, Decision.REJECTED, Decision.REJECTED),
        (Outcome.UNKNOWN, Decision.UNDECIDED, Decision.REJECTED),
        (Outcome.NOT_APPLICABLE, Decision.SKIPPED, Decision.SKIPPED),
    ],
)
def test_decide(outcome: Outcome, usual: Decision, strict: Decision) -> None:
    assert decide(outcome) is usual
    assert decide(outcome, strict=True) is strict


def test_every_outcome_has_a_decision() -> None:
    assert {decide(outcome) for outcome in Outcome} == set(Decision)
