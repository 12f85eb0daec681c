"""From the verdicts on an archive's members to one verdict on the archive."""

from __future__ import annotations

from collections import Counter

from ..model import Evidence, Outcome, Verdict

__all__ = ["Summary"]

_MOST_CULPRITS = 200
_SHOWN = 3
_RANK = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS, Outcome.NOT_APPLICABLE)


class Summary:
    """Takes the members' verdicts of one check, in bounded memory.

    One member that fails makes the archive fail, because it may be the one that is linked in; else one that is unknown
    makes it unknown.
    """

    def __init__(self, check: str) -> None:
        self._check = check
        self._counts: Counter[Outcome] = Counter()
        self._names: dict[Outcome, list[str]] = {outcome: [] for outcome in _RANK}
        self._first: dict[Outcome, Verdict] = {}
        self._evidence: list[Evidence] = []
        self._passes: set[str] = set()

    def add(self, member: str, verdict: Verdict) -> None:
        """The verdict on one member."""
        outcome = verdict.outcome
        self._counts[outcome] += 1
        self._first.setdefault(outcome, verdict)
        if outcome in (Outcome.FAIL, Outcome.UNKNOWN) and len(self._names[outcome]) < _MOST_CULPRITS:
            self._names[outcome].append(member)
        if outcome is Outcome.PASS and len(self._passes) < 2:
            self._passes.add(verdict.summary)
        if outcome is Outcome.FAIL and len(self._evidence) < 2 * _SHOWN:
            self._evidence += [Evidence(f"{member}: {item.where}", item.what) for item in verdict.evidence[:2]]

    def verdict(self) -> Verdict:
        """The verdict on the archive."""
        outcome = next((outcome for outcome in _RANK if self._counts[outcome]), Outcome.NOT_APPLICABLE)
        first = self._first.get(outcome)
        if first is None:
            return Verdict(self._check, outcome, "no members")
        total = sum(self._counts.values())
        observed = {"members": {one.value: self._counts[one] for one in _RANK if self._counts[one]}}
        names = self._names[outcome]
        if outcome is Outcome.FAIL:
            summary = f"{self._counts[outcome]} of {total} members ({_list(names)}): {first.summary}"
            return Verdict(self._check, outcome, summary, observed, tuple(self._evidence), tuple(names), first.remedy)
        if outcome is Outcome.UNKNOWN:
            summary = f"{self._counts[outcome]} of {total} members ({_list(names)}): {first.summary}"
            return Verdict(self._check, outcome, summary, observed, remedy=first.remedy)
        if outcome is Outcome.PASS:
            needless = self._counts[Outcome.NOT_APPLICABLE]
            rest = f", {needless} need none" if needless else ""
            what = next(iter(self._passes)) if len(self._passes) == 1 else "all conform"
            return Verdict(self._check, outcome, f"{total - needless} of {total} members: {what}{rest}", observed)
        return Verdict(self._check, outcome, first.summary, observed)


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
