"""From the verdicts on an archive's members to one verdict on the archive."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..model import Evidence, Outcome, Verdict
from .functions import parsed

__all__ = ["Summary"]

_MOST_CULPRITS = 200
_MOST_PARTS = 8  # of one member
_MOST_CAUSES = 16
_SHOWN = 3
_RANK = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS, Outcome.NOT_APPLICABLE)


@dataclass(slots=True)
class _Cause:
    """The members for which the same is to be done.

    Parameters
    ----------
    first: the verdict on the first of them.
    names: the first ones. count: how many there are.
    alike: whether the summary is the same for all.
    evidence: of the first ones, by member.
    """

    first: Verdict
    names: list[str] = field(default_factory=list)
    count: int = 0
    alike: bool = True
    evidence: list[tuple[Evidence, ...]] = field(default_factory=list)

    def add(self, member: str, verdict: Verdict) -> None:
        self.count += 1
        self.alike = self.alike and verdict.summary == self.first.summary
        if len(self.names) < _SHOWN:
            self.names.append(member)
            self.evidence.append(tuple(Evidence(f"{member}: {e.where}", e.what) for e in verdict.evidence[:2]))

    @property
    def label(self) -> str:
        return _list(self.names, self.count)

    @property
    def example(self) -> str:
        """A summary with the member, or the members, that it holds for."""
        return f"{self.label if self.alike else self.names[0]}: {self.first.summary}"


class Summary:
    """Takes the members' verdicts of one check, in bounded memory.

    One member that fails makes the archive fail, because it may be the one that is linked in; else one that is unknown
    makes it unknown. Members are grouped by what is to be done about them, so that no remedy is given to those that it
    does not help.
    """

    def __init__(self, check: str) -> None:
        self._check = check
        self._counts: Counter[Outcome] = Counter()
        self._names: dict[Outcome, list[str]] = {outcome: [] for outcome in _RANK}
        self._causes: dict[Outcome, dict[str, _Cause]] = {outcome: {} for outcome in _RANK}
        self._parts: list[tuple[str, tuple[str, ...]]] = []
        self._passes: set[str] = set()

    def add(self, member: str, verdict: Verdict) -> None:
        """The verdict on one member."""
        outcome = verdict.outcome
        self._counts[outcome] += 1
        if len(self._names[outcome]) < _SHOWN:
            self._names[outcome].append(member)
        causes = self._causes[outcome]
        cause = verdict.remedy or (verdict.summary if outcome is Outcome.UNKNOWN else "")
        if cause in causes or len(causes) < _MOST_CAUSES:
            causes.setdefault(cause, _Cause(verdict)).add(member, verdict)
        if outcome is Outcome.PASS and len(self._passes) < 2:
            self._passes.add(verdict.summary)
        if outcome is Outcome.FAIL and len(self._parts) < _MOST_CULPRITS:
            self._parts.append((member, _functions_in(verdict)))

    def verdict(self) -> Verdict:
        """The verdict on the archive."""
        outcome = next((outcome for outcome in _RANK if self._counts[outcome]), Outcome.NOT_APPLICABLE)
        causes = list(self._causes[outcome].values())
        if not causes:
            return Verdict(self._check, outcome, "no members")
        total = sum(self._counts.values())
        observed = {"members": {one.value: self._counts[one] for one in _RANK if self._counts[one]}}
        if outcome in (Outcome.FAIL, Outcome.UNKNOWN):
            summary = f"{self._counts[outcome]} of {total} members {self._reason(outcome, causes)}"
            if outcome is Outcome.UNKNOWN:
                return Verdict(self._check, outcome, summary, observed, remedy=_remedy(causes))
            evidence = [item for cause in causes[:_SHOWN] for item in _some_evidence(cause, len(causes))]
            return Verdict(self._check, outcome, summary, observed, tuple(evidence), self._culprits(), _remedy(causes))
        if outcome is Outcome.PASS:
            needless = self._counts[Outcome.NOT_APPLICABLE]
            rest = f"; {needless} {'needs' if needless == 1 else 'need'} none" if needless else ""
            what = next(iter(self._passes)) if len(self._passes) == 1 else "all conform"
            return Verdict(self._check, outcome, f"{total - needless} of {total} members: {what}{rest}", observed)
        return Verdict(self._check, outcome, causes[0].first.summary, observed)

    def _reason(self, outcome: Outcome, causes: list[_Cause]) -> str:
        names = f"({_list(self._names[outcome], self._counts[outcome])})"
        if len(causes) == 1 and causes[0].alike:
            return f"{names}: {causes[0].first.summary}"
        return f"{names}; {_few([cause.example for cause in causes])}"

    def _culprits(self) -> tuple[str, ...]:
        """`F.o: copy()`, or `F.o` where nothing in it is named: as many functions as there is room for each member."""
        room = max(1, _MOST_CULPRITS // max(1, len(self._parts)))
        return tuple(
            culprit
            for member, functions in self._parts
            for culprit in ([f"{member}: {function}" for function in functions[:room]] or [member])
        )


def _functions_in(verdict: Verdict) -> tuple[str, ...]:
    """The functions among a member's culprits, without the unit: the member stands for it."""
    names = map(parsed, verdict.culprits)
    found = (name.text.removeprefix(f"{name.unit}: ") for name in names if name.function or name.is_range)
    return tuple(dict.fromkeys(found))[:_MOST_PARTS]


def _some_evidence(cause: _Cause, causes: int) -> list[Evidence]:
    """That of the first members; of fewer, where there are other causes to be shown."""
    return [item for items in cause.evidence[: max(1, _SHOWN // causes)] for item in items]


def _remedy(causes: list[_Cause]) -> str:
    """What is to be done: with the members that it is for, where it is not the same for all."""
    remedies = [f"{cause.label}: {cause.first.remedy}" for cause in causes if cause.first.remedy]
    return causes[0].first.remedy if len(causes) == 1 else _few(remedies)


def _few(texts: list[str]) -> str:
    return "; ".join((*texts[:_SHOWN], *(["and other causes"] if len(texts) > _SHOWN else [])))


def _list(names: list[str], count: int) -> str:
    more = f" and {count - _SHOWN} more" if count > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
