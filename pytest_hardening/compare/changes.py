"""From two records of a file to what changed, and from two builds to the changes of all their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from ..errors import ComparisonError
from ..model import Kind, Outcome
from .blame import are_named, fresh
from .matching import Match, matched, matched_members
from .records import Answer, Build, Member, Record

__all__ = ["Change", "Comparison", "Effect", "FileComparison", "compare", "compare_files", "failing_checks"]


class Effect(Enum):
    """What a change means."""

    LOST = "lost"  # something fails that did not
    UNPROVABLE = "no-longer-provable"  # it passed, and now the file shows neither the mitigation nor its absence
    GAINED = "gained"
    CHANGED = "changed"  # for neither better nor worse


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one check's answer on one file or archive member.

    Parameters
    ----------
    name: the file's path in the new build; of a member `path(member)`.
    before: what was said of the old file; None where an archive had no such member.
    after: what is said of the new one.
    parts: the culprits that were lost or gained; empty for the whole file.
    level: "full -> partial" where only a measured level changed.
    more: how many more parts fail, where they have no names to compare by; negative for fewer.
    """

    name: str
    check: str
    effect: Effect
    before: Outcome | None
    after: Outcome
    parts: tuple[str, ...] = ()
    level: str = ""
    more: int = 0
    summary: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class FileComparison:
    """What became of one file that is in both builds.

    Parameters
    ----------
    name, was: its path in the new and in the old build.
    same_path: whether these are the same but for leading folders, which the two builds do not share.
    problem: why it cannot be compared, or None; then nothing else is said of it.
    changes: of the file and of its members.
    notes: members that came or went, and verdicts that only one side has.
    compared: how many verdicts were compared.
    """

    name: str
    was: str
    same_path: bool
    problem: str | None
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    compared: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of a build.

    Parameters
    ----------
    old, new: what the two are called.
    files: those in both builds, sorted by path.
    added, removed: those in one of them only, sorted by path.
    notes: what could not be compared at all.
    """

    old: str
    new: str
    files: tuple[FileComparison, ...]
    added: tuple[Record, ...]
    removed: tuple[Record, ...]
    notes: tuple[str, ...]

    @property
    def changes(self) -> Iterator[Change]:
        """The changes of all files."""
        for file in self.files:
            yield from file.changes

    @property
    def problems(self) -> tuple[tuple[str, str], ...]:
        """(path, reason) of each file that could not be read or compared, on either side."""
        found = [(file.name, file.problem) for file in self.files if file.problem is not None]
        found += [(record.name, record.error) for record in (*self.added, *self.removed) if record.error is not None]
        return tuple(sorted(found))

    def is_loss(self, *, strict: bool = False) -> bool:
        """Whether anything was lost. With `strict` that is also what is no longer provable, a file that was removed,
        and one that was added and fails a check.
        """
        effects = {change.effect for change in self.changes}
        if Effect.LOST in effects or not strict:
            return Effect.LOST in effects
        return Effect.UNPROVABLE in effects or bool(self.removed) or any(map(failing_checks, self.added))


def failing_checks(record: Record) -> tuple[str, ...]:
    """The checks that a file fails."""
    return tuple(check for check, answer in record.answers.items() if answer.outcome is Outcome.FAIL)


def compare(old: Build, new: Build) -> Comparison:
    """What was lost, gained, added and removed between two builds.

    Files are the same by the rules of `matched`; two that the user named are, whatever their names. Where only one side
    is a single file, the others of the other side were neither added nor removed. Only checks that both sides judged a
    file by are compared.

    Raises
    ------
    ComparisonError: they have no file or no check in common.
    """
    for build in (old, new):
        if not build.files:
            raise ComparisonError(f"{build.name}: no file is in it")
    pairs = matched(old.files.keys(), new.files.keys())
    if old.single and new.single:
        ((one, other),) = zip(new.files, old.files, strict=True)
        pairs = {one: Match(other, one == other)}
    if not pairs:
        raise ComparisonError(f"no file of {old.name} is in {new.name}: nothing to compare")
    files = tuple(
        compare_files(old.files[match.old], new.files[path], same_path=match.same_path)
        for path, match in sorted(pairs.items())
    )
    if not old.checks & new.checks and not any(file.problem for file in files):
        raise ComparisonError(f"no check was run on both {old.name} and {new.name}: nothing to compare")
    added = () if old.single else sorted(new.files.keys() - pairs.keys())
    removed = () if new.single else sorted(old.files.keys() - {match.old for match in pairs.values()})
    return Comparison(
        old.name,
        new.name,
        files,
        tuple(new.files[path] for path in added),
        tuple(old.files[path] for path in removed),
        tuple(_one_sided(old, new)),
    )


def _one_sided(old: Build, new: Build) -> Iterator[str]:
    for build, other in ((old, new), (new, old)):
        only = sorted(build.checks - other.checks)
        if only and other.checks:
            yield f"not compared, only {build.name} was judged by it: {', '.join(only)}"


def compare_files(old: Record, new: Record, *, same_path: bool = True) -> FileComparison:
    """What became of a file."""
    problem = _problem(old, new)
    if problem is not None:
        return FileComparison(new.name, old.name, same_path, problem)
    changes: list[Change] = []
    notes: list[str] = []
    compared = 0
    kept = matched_members(old.members, new.members)
    for one, other in _pairs(old, new, kept):
        both = [check for check in one.answers if check in other.answers]
        compared += len(both)
        for check in both:
            changes += _changes(other.name, check, one.answers[check], other.answers[check])
        notes += _one_sided_answers(one, other)
    if old.members and new.members:
        gone = old.members.keys() - set(kept.values())
        notes += [f"{old.members[member].name} removed" for member in gone]
        for member in new.members.keys() - kept.keys():
            notes.append(f"{new.members[member].name} added")
            changes += _of_new_member(new.members[member], old)
        notes += [
            f"{new.members[member].name} compared with {old.members[was].name}"
            for member, was in kept.items()
            if member != was
        ]
    changes.sort(key=lambda change: change.name)  # stable: the checks stay in their order
    return FileComparison(new.name, old.name, same_path, None, tuple(changes), tuple(sorted(notes)), compared)


def _problem(old: Record, new: Record) -> str | None:
    if old.error is not None and new.error is not None:
        return f"not readable in either build: {new.error}"
    if new.error is not None:
        return f"not readable: {new.error}"
    if old.error is not None:
        return f"not readable in the old build: {old.error}"
    if _family(old.kind) != _family(new.kind):
        return f"was a file of kind {old.kind.value} and is one of kind {new.kind.value}: these cannot be compared"
    return None


def _family(kind: Kind) -> str:
    """Kinds that the same checks apply to."""
    if kind.is_executable:
        return "program"
    return "library" if kind.is_library else kind.value


def _pairs(old: Record, new: Record, kept: Mapping[Member, Member]) -> Iterator[tuple[Record, Record]]:
    """The pairs of records to compare: members, which say all that the archive's own verdicts say."""
    if not (old.members and new.members):
        yield old, new
    for member, was in kept.items():
        yield old.members[was], new.members[member]


def _of_new_member(member: Record, old: Record) -> Iterator[Change]:
    """What fails in a member that the archive did not have: it did not fail before."""
    judged = {check for check, _ in old.answers_within()}
    for check, answer in member.answers.items():
        if answer.outcome is Outcome.FAIL and check in judged:
            yield _change(member.name, check, Effect.LOST, None, answer, answer.failing)


def _one_sided_answers(old: Record, new: Record) -> Iterator[str]:
    """Verdicts that one side lacks though they would say something."""
    for side, answers, others in (("old", old.answers, new.answers), ("new", new.answers, old.answers)):
        only = [
            check
            for check, answer in answers.items()
            if check not in others and answer.outcome is not Outcome.NOT_APPLICABLE
        ]
        if only and others:
            yield f"{new.name}: not compared, judged in the {side} build only: {', '.join(only)}"


def _changes(name: str, check: str, old: Answer, new: Answer) -> Iterator[Change]:
    levels = list(_levels(name, check, old, new))
    has_fallen = any(change.effect is Effect.LOST for change in levels)
    if old.outcome is not new.outcome and (new.outcome is Outcome.FAIL or not has_fallen):
        yield _change(name, check, _effect(old.outcome, new.outcome), old.outcome, new, new.failing)
        return
    if new.outcome is Outcome.FAIL:
        yield from _still_failing(name, check, old, new)
    yield from levels


def _effect(before: Outcome, after: Outcome) -> Effect:
    if after is Outcome.FAIL:
        return Effect.LOST
    if before is Outcome.PASS:
        return Effect.UNPROVABLE
    if after is Outcome.PASS and before is not Outcome.NOT_APPLICABLE:
        return Effect.GAINED
    return Effect.CHANGED


def _still_failing(name: str, check: str, old: Answer, new: Answer) -> Iterator[Change]:
    """What else fails, of a file that failed already. Who is blamed on one side only is compared with no one."""
    if not (old.failing and new.failing):
        return
    if not (are_named(old) and are_named(new)):
        more = new.count - old.count
        if more:
            effect = Effect.LOST if more > 0 else Effect.GAINED
            yield _change(name, check, effect, old.outcome, new, more=more)
        return
    for effect, before, after in ((Effect.LOST, old, new), (Effect.GAINED, new, old)):
        parts = fresh(before.failing, after.failing)
        if parts:
            yield _change(name, check, effect, old.outcome, new, parts)


def _levels(name: str, check: str, old: Answer, new: Answer) -> Iterator[Change]:
    known = {key: (position, word) for key, position, word in old.levels}
    for key, position, word in new.levels:
        before, was = known.get(key, (position, word))
        if position != before:
            effect = Effect.LOST if position < before else Effect.GAINED
            yield _change(name, check, effect, old.outcome, new, level=f"{was} -> {word}")


def _change(
    name: str,
    check: str,
    effect: Effect,
    before: Outcome | None,
    new: Answer,
    parts: tuple[str, ...] = (),
    *,
    level: str = "",
    more: int = 0,
) -> Change:
    # where something is better and something else still fails, the verdict speaks of the latter
    summary = "" if effect is Effect.GAINED and new.outcome is Outcome.FAIL else new.summary
    remedy = "" if effect is Effect.GAINED else new.remedy
    return Change(name, check, effect, before, new.outcome, parts, level, more, summary, remedy)
