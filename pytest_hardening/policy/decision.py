"""What a verdict means for the gate, with waivers and the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from ..model import OnUnknown, Outcome, Report, Verdict
from .acceptance import Acceptance
from .baseline import UNKNOWN, WHOLE, has_lasting_name, keys_of
from .culprits import Culprit, Culprits, culprits_of
from .waiver import Waiver

__all__ = ["Decision", "Ruling", "decide", "rule"]

_MOST_CULPRITS = 20


class Decision(Enum):
    """What happens to the test item."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNDECIDED = "undecided"  # unknown, shown and counted, and tolerated
    IGNORED = "ignored"  # unknown, and the policy passes over it
    SKIPPED = "skipped"  # the check does not apply
    WAIVED = "waived"  # falls short, and a waiver accepts it
    KNOWN = "known"  # falls short, and the baseline knows it
    UNCHANGED = "unchanged"  # falls short, as it does in the build that it is compared with


def decide(outcome: Outcome, unknown: OnUnknown = "warn") -> Decision:
    """The decision on an outcome alone."""
    if outcome is Outcome.UNKNOWN:
        return {"fail": Decision.REJECTED, "warn": Decision.UNDECIDED, "ignore": Decision.IGNORED}[unknown]
    return {
        Outcome.PASS: Decision.ACCEPTED,
        Outcome.FAIL: Decision.REJECTED,
        Outcome.NOT_APPLICABLE: Decision.SKIPPED,
    }[outcome]


@dataclass(frozen=True, slots=True)
class Ruling:
    """The decision on a verdict, and why.

    Parameters
    ----------
    decision: what happens to the item.
    notes: why it is waived or known, or what is said of waivers and the baseline beside a failure; a line each.
    waivers: the numbers of the waivers that cover something of it.
    culprits: what falls short and is neither waived nor known, where waivers for these alone would hold; else empty.
    is_part: whether other culprits are waived or known.
    is_late: whether an expired waiver covers something of it.
    keys: what the baseline would hold of it; None where that cannot be told.
    """

    decision: Decision
    notes: tuple[str, ...] = ()
    waivers: tuple[int, ...] = ()
    culprits: tuple[str, ...] = ()
    is_part: bool = False
    is_late: bool = False
    keys: tuple[str, ...] | None = ()

    def to_json(self) -> dict[str, Any]:
        """What the controller's `Ledger` takes."""
        return {
            "decision": self.decision.value,
            "waivers": self.waivers,
            "culprits": self.culprits[:_MOST_CULPRITS],
            "is_late": self.is_late,
            "keys": self.keys,
        }


def rule(report: Report, check: str, acceptance: Acceptance) -> Ruling:
    """The decision on one check of an artifact; `report` says what unknown does.

    A waiver for some units or functions holds only where all that falls short is known, and is covered. What remains is
    compared with the baseline.
    """
    verdict = report.verdict(check)
    unknown = report.artifact.unknown.get(check, "warn")
    decision = decide(verdict.outcome, unknown)
    if decision is not Decision.REJECTED:
        return Ruling(decision, keys=None if verdict.outcome is Outcome.UNKNOWN else ())
    return _Case(report, verdict, unknown, acceptance).ruling()


class _Case:
    """A rejected verdict, and what may be said for it."""

    def __init__(self, report: Report, verdict: Verdict, unknown: OnUnknown, acceptance: Acceptance) -> None:
        self._check, self._path = verdict.check, report.artifact.path
        self._outcome = verdict.outcome
        self._fail_on_unknown = unknown == "fail"
        self._acceptance = acceptance
        self._culprits: Culprits = culprits_of(report, verdict.check, acceptance.root)
        concerning = acceptance.concerning(self._check, self._path)
        self._valid = [n for n in concerning if not acceptance.waivers[n].expired(acceptance.today)]
        self._expired = [n for n in concerning if n not in self._valid]

    def ruling(self) -> Ruling:
        used, remaining = self._waived(self._valid, self._culprits.found)
        if remaining is None:
            enough = used[:1] if self._covers_all(used[0]) else used
            return Ruling(Decision.WAIVED, tuple(map(self._accepted, enough)), tuple(used))
        late, _ = self._waived(self._expired, remaining)
        numbers = (*used, *late)
        keys = keys_of(self._outcome, self._culprits, remaining, fail_on_unknown=self._fail_on_unknown)
        known = self._known(keys)
        new = [key for key in keys if key not in known]
        notes = (*map(self._too_late, late), *self._told(used), *self._compared(keys, new))
        accepted = map(self._accepted, used)
        baseline = self._acceptance.baseline
        if baseline is not None and not new and not late:
            return Ruling(Decision.KNOWN, (f"in the baseline {baseline.name}", *accepted), numbers, keys=tuple(keys))
        if self._acceptance.update and not late and has_lasting_name(self._path):
            return Ruling(Decision.KNOWN, ("new in the baseline", *accepted), numbers, keys=tuple(keys))
        is_divided = bool(known) or not set(remaining) <= set(self._culprits.found)
        by_key = is_divided and WHOLE not in keys  # a member's functions, where some of them are waived or known
        named = [key for key in new if key != UNKNOWN] if by_key else [culprit.name for culprit in remaining]
        can_hold = self._culprits.rest not in (None, Outcome.FAIL)
        is_part = can_hold and bool(named) and (by_key or len(remaining) < len(self._culprits.found))
        culprits = tuple(named) if can_hold else ()
        # what an expired waiver was for does not slip into the baseline
        lasting = tuple(known if late else keys)
        return Ruling(Decision.REJECTED, notes, numbers, culprits, is_part, bool(late), lasting)

    def _waived(self, numbers: Iterable[int], culprits: Sequence[Culprit]) -> tuple[list[int], list[Culprit] | None]:
        """Which of some waivers cover something, those of everything first, and what they leave uncovered; None where
        nothing is left.
        """
        numbers = tuple(numbers)
        whole = [number for number in numbers if self._covers_all(number)]
        used = dict.fromkeys(whole)
        remaining = []
        for culprit in culprits:
            covering, left = self._uncovered(numbers, culprit)
            used.update(dict.fromkeys(covering))
            remaining += [left] if left is not None else []
        is_all = bool(whole) or (bool(used) and not remaining and self._rest_is_fine())
        return list(used), None if is_all else remaining

    def _uncovered(self, numbers: Sequence[int], culprit: Culprit) -> tuple[list[int], Culprit | None]:
        """Which of some waivers cover a culprit, or parts of a member, and what they leave of it; None for nothing."""
        covering = [number for number in numbers if self._covers(number, culprit)]
        if covering or not culprit.parts:
            return covering, None if covering else culprit
        found = {part: [n for n in numbers if self._covers(n, part, culprit.unit)] for part in culprit.parts}
        left = tuple(part for part in culprit.parts if not found[part])
        covering = [number for part in found for number in found[part]]
        return covering, replace(culprit, parts=left) if left else None

    def _covers_all(self, number: int) -> bool:
        return self._acceptance.waivers[number].covers_all(self._check, self._path)

    def _covers(self, number: int, culprit: Culprit, member: str = "") -> bool:
        return self._acceptance.waivers[number].covers(self._check, self._path, culprit, member)

    def _rest_is_fine(self) -> bool:
        rest = self._culprits.rest
        return rest not in (None, Outcome.FAIL) and not (rest is Outcome.UNKNOWN and self._fail_on_unknown)

    def _known(self, keys: Sequence[str]) -> list[str]:
        """Those of some keys that the baseline has."""
        baseline = self._acceptance.baseline
        known = baseline.known(self._check, self._path) if baseline is not None else ()
        return [key for key in keys if key in known or WHOLE in known]

    def _name(self, number: int) -> str:
        return f"waiver[{number}] of {self._acceptance.source}"

    def _accepted(self, number: int) -> str:
        waiver = self._acceptance.waivers[number]
        return f"{waiver.reason} ({', '.join((self._name(number), *_terms(waiver)))})"

    def _told(self, used: Sequence[int]) -> Iterator[str]:
        """What to say of waivers that cover a part of it."""
        for number in used:
            yield f"{self._name(number)} covers a part of it"
        if used and self._culprits.rest in (None, Outcome.FAIL):
            yield "waivers of units and functions do not hold: not all that falls short is named"
        elif used and not self._rest_is_fine():
            yield "whether anything else falls short is unknown, which fails here"

    def _compared(self, keys: Sequence[str], new: Sequence[str]) -> Iterator[str]:
        """What to say of the baseline, where it knows something of it."""
        baseline = self._acceptance.baseline
        if baseline is None or not baseline.known(self._check, self._path):
            return
        if len(new) < len(keys):
            yield f"{len(keys) - len(new)} more in the baseline {baseline.name}"
        elif WHOLE in keys:
            yield f"the baseline {baseline.name} does not help: not all that falls short is named"

    def _too_late(self, number: int) -> str:
        waiver = self._acceptance.waivers[number]
        owner = f", {waiver.owner}" if waiver.owner else ""
        return f"{self._name(number)} expired on {waiver.expires}: {waiver.reason}{owner}"


def _terms(waiver: Waiver) -> Iterator[str]:
    if waiver.expires is not None:
        yield f"until {waiver.expires}"
    if waiver.owner:
        yield waiver.owner
