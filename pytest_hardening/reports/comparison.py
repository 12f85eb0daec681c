"""A comparison of two builds as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, TextIO

from ..compare.changes import Change, Comparison, Effect, FileComparison, failing_checks
from ..compare.records import Record
from ..elf.image import printable
from ..model import Outcome
from .document import tool

__all__ = ["COMPARISON_VERSION", "change_lines", "comparison_lines", "counted", "write_comparison"]

COMPARISON_VERSION = 1
_SHOWN_PARTS = 5
_WORDS = {
    Effect.LOST: "lost",
    Effect.UNPROVABLE: "no longer provable",
    Effect.GAINED: "gained",
    Effect.CHANGED: "changed otherwise",
}


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """What changed, file by file; what was added and removed; how much was compared. Reports may come from anywhere,
    so nothing in them reaches the terminal but printable characters.
    """
    for line in _lines(comparison):
        yield printable(line)


def _lines(comparison: Comparison) -> Iterator[str]:
    for file in comparison.files:
        yield from _file_lines(file)
    for record in comparison.removed:
        yield f"{record.name} removed" + (f"; it was not readable: {record.error}" if record.error else "")
    for record in comparison.added:
        yield f"{record.name} added: {_of_added(record)}"
    yield from comparison.notes
    yield _counts(comparison)


def _file_lines(file: FileComparison) -> Iterator[str]:
    if not file.same_path:
        yield f"{file.name} compared with {file.was}"
    if file.problem is not None:
        yield f"{file.name}: error: {file.problem}"
    for change in file.changes:
        yield from change_lines(change)
    yield from file.notes


def change_lines(change: Change) -> Iterator[str]:
    """The line of a change, and for a loss the line of its fix."""
    yield f"{change.name}{_what(change)}{_parts(change)}{f': {change.summary}' if change.summary else ''}"
    if change.effect is Effect.LOST and change.remedy:
        yield f"  fix: {change.remedy}"


def _what(change: Change) -> str:
    before, after = change.before, change.after
    if change.effect in (Effect.LOST, Effect.GAINED):
        word = f" {change.effect.value} {change.check}"
        if change.level:
            return f"{word}, {change.level}"
        if change.more:
            what = "fail" if change.more > 0 else "fewer fail"
            return f"{word}: {abs(change.more)} {'more ' if change.more > 0 else ''}{what} (by number: without names)"
        if before is None:
            return f"{word} (a new member)"
        if change.effect is Effect.LOST and before is not Outcome.PASS and before is not after:
            return f"{word}, {_outcome(before)} -> {_outcome(after)}"
        return word
    suffix = " (no longer provable)" if change.effect is Effect.UNPROVABLE else ""
    return f": {change.check} {_outcome(before)} -> {_outcome(after)}{suffix}"


def _outcome(outcome: Outcome | None) -> str:
    return outcome.value.replace("-", " ") if outcome is not None else "nothing"


def _parts(change: Change) -> str:
    if not change.parts:
        return ""
    more = len(change.parts) - _SHOWN_PARTS
    also = " as well" if change.before is change.after is Outcome.FAIL and change.effect is Effect.LOST else ""
    return f" in {', '.join(change.parts[:_SHOWN_PARTS])}{f' and {more} more' if more > 0 else ''}{also}"


def _of_added(record: Record) -> str:
    if record.error is not None:
        return f"error: not readable: {record.error}"
    failing = failing_checks(record)
    return f"fails {', '.join(failing)}" if failing else "no check fails"


def _counts(comparison: Comparison) -> str:
    effects = Counter(change.effect for change in comparison.changes)
    counts = [f"{effects[effect]} {word}" for effect, word in _WORDS.items() if effects[effect]]
    sides = ((comparison.added, "added"), (comparison.removed, "removed"))
    counts += [f"{len(found)} {word}" for found, word in sides if found]
    if comparison.problems:
        counts.append(f"{len(comparison.problems)} not comparable")
    files, compared = len(comparison.files), sum(file.compared for file in comparison.files)
    return f"{counted(files, 'file')}, {counted(compared, 'verdict')} compared: {', '.join(counts) or 'no change'}"


def counted(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def write_comparison(comparison: Comparison, stream: TextIO, *, strict: bool) -> None:
    """The JSON document that docs/compare.md describes."""
    document = {
        "comparison_version": COMPARISON_VERSION,
        "tool": tool(),
        "old": comparison.old,
        "new": comparison.new,
        "strict": strict,
        "loss": comparison.is_loss(strict=strict),
        "files": [
            {"path": file.name, "was": file.was, "compared": file.compared, "notes": list(file.notes)}
            for file in comparison.files
        ],
        "changes": [_change_json(file, change) for file in comparison.files for change in file.changes],
        "added": [{"path": record.name, "fails": list(failing_checks(record))} for record in comparison.added],
        "removed": [{"path": record.name} for record in comparison.removed],
        "problems": [{"path": path, "reason": reason} for path, reason in comparison.problems],
        "notes": list(comparison.notes),
    }
    json.dump(document, stream, indent=1)
    stream.write("\n")


def _change_json(file: FileComparison, change: Change) -> dict[str, Any]:
    return {
        "path": file.name,
        "name": change.name,
        "check": change.check,
        "effect": change.effect.value,
        "before": change.before.value if change.before is not None else None,
        "after": change.after.value,
        "parts": list(change.parts),
        "level": change.level,
        "more": change.more,
        "summary": change.summary,
        "remedy": change.remedy,
    }
