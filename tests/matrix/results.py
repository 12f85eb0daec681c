"""Verdicts against the truth: categories, counts, the table, and what must hold over all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_hardening.model import Outcome, Verdict

from .build import BuiltUnit
from .truth import Expectation

__all__ = ["Judged", "Results", "Tally", "compare", "compare_outcome", "is_named"]

RIGHT, FALSE_OK, FALSE_ALARM, UNKNOWN = "right", "false OK", "false alarm", "unknown"
CANNOT, WRONG_UNIT, NAMED, UNNAMED = "cannot be told", "wrong unit", "named", "not named"
FOUND, MISSED, OPEN = "found stripped", "missed stripped", "unknown in spite of symbols"

_GOOD = (Outcome.PASS, Outcome.NOT_APPLICABLE)

#: What must hold at the end.
MOST_UNKNOWN = 0.10  # of all that can be told
LEAST_NAMED = 0.95  # of the mixed artifacts that have symbols or debug information
LEAST_FOUND = 0.80  # of the mixed artifacts that are stripped


class Judged(Protocol):
    """What must be known of a file to compare verdicts with the truth: an `Artifact` or a `Program`."""

    @property
    def title(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def units(self) -> tuple[BuiltUnit, ...]: ...
    @property
    def compiled(self) -> int:
        """How many units a compiler made, those of other languages too."""

    @property
    def stripped(self) -> bool: ...
    @property
    def commands(self) -> tuple[str, ...]: ...


@dataclass(slots=True)
class Tally:
    """Counts per check and category, and one text for each wrong verdict."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    artifacts: int = 0

    def add(self, check: str, category: str) -> None:
        self.counts.setdefault(check, Counter())[category] += 1

    def to_json(self) -> dict[str, Any]:
        return {
            "counts": {check: dict(counter) for check, counter in self.counts.items()},
            "wrong": self.wrong,
            "open": self.open,
            "artifacts": self.artifacts,
        }

    def merge(self, data: dict[str, Any]) -> None:
        """Add what `to_json` of another one gave."""
        for check, counter in data["counts"].items():
            self.counts.setdefault(check, Counter()).update(counter)
        self.wrong += data["wrong"]
        self.open += data["open"]
        self.artifacts += data["artifacts"]


def compare(tally: Tally, artifact: Judged, truth: Expectation, verdict: Verdict) -> None:
    """Count one verdict."""
    category = compare_outcome(truth, verdict.outcome)
    check = verdict.check
    tally.add(check, category)
    if category in (FALSE_OK, FALSE_ALARM):
        tally.wrong.append(_describe(artifact, truth, verdict, category))
    if truth.answer == "cannot-be-told":
        return
    if category == UNKNOWN and not artifact.stripped:
        tally.add(check, OPEN)
        tally.open.append(f"{check} of {artifact.title}: {verdict.summary}")
    if not 0 < len(truth.culprits) < artifact.compiled:
        return
    if artifact.stripped:
        tally.add(check, FOUND if verdict.outcome is Outcome.FAIL else MISSED)
        return
    named = any(is_named(unit, _texts(verdict)) for unit in truth.culprits)
    tally.add(check, NAMED if named and verdict.outcome is Outcome.FAIL else UNNAMED)
    if not named and verdict.outcome is Outcome.FAIL:
        tally.open.append(f"{check} of {artifact.title}: fails, but does not name the unit: {_text(verdict)}")
    others = [unit for unit in artifact.units if unit not in truth.culprits]
    if blamed := [unit.file for unit in others if is_named(unit, verdict.culprits)]:
        tally.add(check, WRONG_UNIT)
        tally.wrong.append(_describe(artifact, truth, verdict, f"wrong unit {', '.join(blamed)}"))


def compare_outcome(truth: Expectation, outcome: Outcome) -> str:
    """The category of one outcome."""
    if truth.answer == "cannot-be-told":
        if outcome is Outcome.UNKNOWN or outcome in truth.accepted:
            return CANNOT
        return FALSE_ALARM if outcome is Outcome.FAIL else FALSE_OK
    if outcome is Outcome.UNKNOWN:
        return UNKNOWN
    if truth.answer == "violation":
        return RIGHT if outcome is Outcome.FAIL else FALSE_OK
    return RIGHT if outcome in _GOOD else FALSE_ALARM


def _texts(verdict: Verdict) -> tuple[str, ...]:
    return (*verdict.culprits, verdict.summary, *map(str, verdict.evidence))


def is_named(unit: BuiltUnit, texts: Iterable[str]) -> bool:
    """Whether the unit's source, its object or one of its functions stands in a text."""
    names = (unit.file, unit.object, *unit.functions)
    return any(name in text for text in texts for name in names)


def _describe(artifact: Judged, truth: Expectation, verdict: Verdict, category: str) -> str:
    culprits = ", ".join(unit.file for unit in truth.culprits)
    lines = [
        f"{category}: {verdict.check} of {artifact.title}",
        f"  truth: {truth.answer}{f' of {culprits}' if culprits else ''}{f' ({truth.reason})' if truth.reason else ''}",
        f"  verdict: {verdict.outcome.value}: {_text(verdict)}",
        f"  file: {artifact.path}",
        *(f"  $ {command}" for command in artifact.commands),
    ]
    return "\n".join(lines)


def _text(verdict: Verdict) -> str:
    shown = "; ".join(map(str, verdict.evidence[:3]))
    culprits = f" culprits: {', '.join(verdict.culprits[:4])}" if verdict.culprits else ""
    return f"{verdict.summary} [{shown}]{culprits}"


class Results:
    """The table over all items."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.items = 0

    def table(self) -> Iterator[str]:
        """Its lines: one per check, and the sum."""
        titles = ("right", "false OK", "false alarm", "unknown", "cannot be told", "culprit named", "found stripped")
        yield f"{'':22}" + "".join(f"{title:>16}" for title in titles)
        total: Counter[str] = Counter()
        for check, counts in self.tally.counts.items():
            total.update(counts)
            yield self._row(check, counts)
        yield self._row("all", total)
        yield f"{self.tally.artifacts} artifacts, {self.items} items"

    @staticmethod
    def _row(name: str, counts: Counter[str]) -> str:
        named, found = counts[NAMED], counts[FOUND]
        cells = [str(counts[category]) for category in (RIGHT, FALSE_OK, FALSE_ALARM, UNKNOWN, CANNOT)]
        cells.append(f"{named} of {named + counts[UNNAMED]}" if named + counts[UNNAMED] else "")
        cells.append(f"{found} of {found + counts[MISSED]}" if found + counts[MISSED] else "")
        return f"{name:22}" + "".join(f"{cell:>16}" for cell in cells)

    def shortfalls(self) -> list[str]:
        """What does not hold of that which must hold over all; wrong verdicts fail their own items."""
        total: Counter[str] = Counter()
        for counts in self.tally.counts.values():
            total.update(counts)
        told = total[RIGHT] + total[FALSE_OK] + total[FALSE_ALARM] + total[UNKNOWN]
        found = []
        if total[UNKNOWN] > MOST_UNKNOWN * told:
            found.append(f"{total[UNKNOWN]} of {told} verdicts are unknown: more than {MOST_UNKNOWN:.0%}")
        if total[OPEN]:
            found.append(f"{total[OPEN]} verdicts are unknown in spite of symbols or debug information")
        named, mixed = total[NAMED], total[NAMED] + total[UNNAMED]
        if named < LEAST_NAMED * mixed:
            found.append(f"the culprit is named in {named} of {mixed} mixed artifacts: fewer than {LEAST_NAMED:.0%}")
        seen, stripped = total[FOUND], total[FOUND] + total[MISSED]
        if seen < LEAST_FOUND * stripped:
            found.append(f"{seen} of {stripped} violations are found in stripped mixed artifacts: fewer than "
                         f"{LEAST_FOUND:.0%}")  # fmt: skip
        return found
