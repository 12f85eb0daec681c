"""What a comparison keeps of a report: per file the outcome of each check, and what it blames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..elf.image import printable
from ..errors import ComparisonError
from ..model import ArtifactReport, Kind, Outcome, Verdict

__all__ = ["Answer", "Build", "Member", "Record", "records_of"]

#: A member of an archive: its name, and which one of that name it is.
Member = tuple[str, int]

# Measured values with an order, the weakest first, as the checks' `observed` names them: one that falls is a loss,
# whatever was asked for. Of FORTIFY it is the level that is sure: sizes computed at run time prove level 3, and a file
# without any may still have it; but that is rarer than a lost flag. Below level 2 outcomes tell all.
_SCALES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "relro": {"relro": ("none", "partial", "full")},
    "fortify": {"level": (2, 3)},
    "cf-protection": dict.fromkeys(("ibt", "shstk", "bti", "pac"), (False, True)),
}
# Where `observed` counts what fails: `culprits` name each once, and only the first ones.
_COUNTS = ("unprotected", "unprobed", "failing")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one check said of one file, without what a comparison does not need.

    Parameters
    ----------
    outcome: the verdict's.
    levels: measured values that have an order, each with its position on its scale and its name for people.
    failing: the verdict's culprits.
    count: how many fall short; more than `failing` names where the verdict cuts them.
    summary, remedy: the verdict's; empty where it passes.
    """

    outcome: Outcome
    levels: tuple[tuple[str, int, str], ...] = ()
    failing: tuple[str, ...] = ()
    count: int = 0
    summary: str = ""
    remedy: str = ""


@dataclass(slots=True)
class Record:
    """One file, or one member of an archive.

    Parameters
    ----------
    name: the path in its build; of a member `path(member)`.
    answers: check name -> answer; empty where there is an error.
    members: of a static archive.
    """

    name: str
    kind: Kind
    error: str | None
    answers: Mapping[str, Answer]
    members: dict[Member, Record] = field(default_factory=dict)

    def answers_within(self) -> Iterator[tuple[str, Answer]]:
        """The answers on the file and on its members."""
        yield from self.answers.items()
        for member in self.members.values():
            yield from member.answers.items()


@dataclass(frozen=True, slots=True)
class Build:
    """One side of a comparison.

    Parameters
    ----------
    name: what to call it.
    files: path -> record.
    single: whether it is one file that the user named, and no folder and no report.
    """

    name: str
    files: Mapping[str, Record]
    single: bool = False

    @classmethod
    def of(
        cls, name: str, reports: Iterable[ArtifactReport], only: Container[str] | None = None, *, single: bool = False
    ) -> Build:
        """The build that some reports tell of, from wherever they come; each is forgotten once it is recorded.

        Parameters
        ----------
        only: the checks to keep; all by default.

        Raises
        ------
        ComparisonError: two reports have one path.
        """
        return cls(name, records_of(reports, only), single)

    @property
    def checks(self) -> frozenset[str]:
        """All checks that any file was judged by."""
        return frozenset(check for record in self.files.values() for check, _ in record.answers_within())


def records_of(reports: Iterable[ArtifactReport], only: Container[str] | None = None) -> dict[str, Record]:
    """Reports by path, those of members inside their archives', in whatever order they come.

    Raises
    ------
    ComparisonError: two reports have one path.
    """
    same: dict[Answer, Answer] = {}  # most files of a build give the same answers
    files: dict[str, Record] = {}
    members: dict[str, dict[Member, Record]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for report in reports:
        answers = {
            verdict.check: same.setdefault(answer, answer)
            for verdict in report.verdicts
            if only is None or verdict.check in only
            for answer in (_answer(verdict),)
        }
        record = Record(report.name, report.kind, report.error, answers)
        if report.member is not None:
            number = seen[report.path, report.member]
            seen[report.path, report.member] += 1
            members.setdefault(report.path, {})[report.member, number] = record
        elif report.path in files:
            raise ComparisonError(printable(f"{report.path} is in it twice"))
        else:
            files[report.path] = record
    for path, found in members.items():
        if path not in files:
            raise ComparisonError(printable(f"{path}: its members are in it, the archive is not"))
        files[path].members = found
    return files


def _answer(verdict: Verdict) -> Answer:
    levels = _levels(verdict)
    if verdict.outcome is Outcome.PASS:
        return Answer(verdict.outcome, levels, summary=verdict.summary if levels else "")
    failing = verdict.culprits if verdict.outcome is Outcome.FAIL else ()
    counts = [verdict.observed.get(key) for key in _COUNTS]
    count = max([len(failing), *(count for count in counts if isinstance(count, int))])
    return Answer(verdict.outcome, levels, failing, count, verdict.summary, verdict.remedy)


def _levels(verdict: Verdict) -> tuple[tuple[str, int, str], ...]:
    scales = _SCALES.get(verdict.check, {})
    return tuple(
        (key, scale.index(verdict.observed[key]), _word(key, verdict.observed[key]))
        for key, scale in scales.items()
        if key in verdict.observed and verdict.observed[key] in scale
    )


def _word(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key.upper() if value else f"no {key.upper()}"
    return f"{key} {value}" if isinstance(value, int) else str(value)
