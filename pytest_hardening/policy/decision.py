"""What a verdict means for the gate."""

from __future__ import annotations

from enum import Enum

from ..model import Outcome

__all__ = ["Decision", "decide"]


class Decision(Enum):
    """What happens to the test item."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNDECIDED = "undecided"  # unknown, shown and counted, and tolerated
    SKIPPED = "skipped"  # the check does not apply


def decide(outcome: Outcome, *, strict: bool = False) -> Decision:
    """The decision on an outcome; with `strict` what is unknown is rejected."""
    if outcome is Outcome.UNKNOWN:
        return Decision.REJECTED if strict else Decision.UNDECIDED
    return {
        Outcome.PASS: Decision.ACCEPTED,
        Outcome.FAIL: Decision.REJECTED,
        Outcome.NOT_APPLICABLE: Decision.SKIPPED,
    }[outcome]
