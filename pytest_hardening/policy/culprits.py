"""What falls short, taken apart again: archive member, unit, function; as waivers and the baseline compare it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..model import ArtifactReport, Outcome, Report, Verdict

__all__ = ["Culprit", "Culprits", "culprits_of", "parsed"]

_RANGE = re.compile(r"0x[0-9a-f]+-0x[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Culprit:
    """One of a verdict's culprits.

    Parameters
    ----------
    name: as it is shown: `F.c: copy()`, `copy()`, `F.c`, `F.o`, `0x1149-0x11a0`.
    unit: the translation unit or archive member; empty when unknown.
    function: empty when unknown.
    parts: of an archive's member, what falls short in it; None where that is not known in full.
    """

    name: str
    unit: str = ""
    function: str = ""
    parts: tuple[Culprit, ...] | None = None

    @property
    def is_stable(self) -> bool:
        """Whether the name means the same after the next build: an address range does not."""
        return bool(self.unit or self.function) and not _RANGE.search(self.name)


@dataclass(frozen=True, slots=True)
class Culprits:
    """The culprits of one verdict.

    Parameters
    ----------
    found: in order; empty where the verdict names none.
    rest: what the check says of the file without them; None where they are not all that falls short.
    """

    found: tuple[Culprit, ...]
    rest: Outcome | None


def culprits_of(report: Report, check: str) -> Culprits:
    """What makes a check fail, or leaves it unknown, in one artifact.

    In a static archive these are the members, all of them, even where the verdict names the first ones only.
    """
    verdict = report.verdict(check)
    if not report.members:
        return Culprits(tuple(map(parsed, verdict.culprits)), verdict.rest if verdict.culprits else None)
    judged = [(member, verdict) for member in report.members for verdict in member.verdicts if verdict.check == check]
    found = tuple(_member(*one) for one in judged if one[1].outcome is verdict.outcome)
    return Culprits(found, _worst(one.outcome for _, one in judged if one.outcome is not verdict.outcome))


def _member(member: ArtifactReport, verdict: Verdict) -> Culprit:
    name = member.member or ""
    is_whole = verdict.culprits and verdict.rest in (Outcome.PASS, Outcome.NOT_APPLICABLE)
    return Culprit(name, unit=name, parts=tuple(map(parsed, verdict.culprits)) if is_whole else None)


def _worst(outcomes: Iterable[Outcome]) -> Outcome:
    found = set(outcomes)
    return next((one for one in (Outcome.FAIL, Outcome.UNKNOWN) if one in found), Outcome.PASS)


def parsed(name: str) -> Culprit:
    """The parts of a name that `checks/functions.py` wrote."""
    if name.endswith("()"):
        unit, _, function = name[:-2].rpartition(": ")
        return Culprit(name, unit, function)
    unit, _, last = name.rpartition(": ")
    return Culprit(name, unit if _RANGE.fullmatch(last) else name)
