"""The message of one verdict: what, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..checks.registry import built_in_names
from ..model import Outcome, Verdict

__all__ = ["culprits_of", "message", "with_fix"]

_WHY = "python -m pytest_hardening explain"

_SHOWN_CULPRITS = 8


def message(
    name: str, verdict: Verdict, notes: Iterable[str] = (), new: Sequence[str] = (), strictness: str = ""
) -> str:
    """Several lines: the first stands alone, then evidence, culprits, the fix, and where to read why it matters.

    Parameters
    ----------
    name: the artifact's display name.
    notes: what else there is to say, a line each, such as that a waiver has expired.
    new: the culprits that are neither waived nor known, where others are; only these are named then.
    strictness: what makes unknown a failure, where that should be said.
    """
    unknown = ""
    if verdict.outcome is Outcome.UNKNOWN:
        unknown = f"unknown, which {strictness} counts as a failure: " if strictness else "unknown: "
    if new:
        lines = [f"{name}: {verdict.check}: {_few(new)} besides what is accepted"]
    else:
        lines = [f"{name}: {unknown}{verdict.summary}"]
    lines += [f"  {note}" for note in notes]
    if not new:
        lines += [f"  {item}" for item in verdict.evidence]
        if verdict.culprits:
            lines.append(f"  {culprits_of(verdict)}")
    if verdict.remedy:
        lines.append(f"  fix: {verdict.remedy}")
    if verdict.check in built_in_names():  # what plugins add is known inside pytest only
        lines.append(f"  why: {_WHY} {verdict.check}")
    return "\n".join(lines)


def culprits_of(verdict: Verdict) -> str:
    """One line with the first culprits of a verdict that has any."""
    return f"culprits: {_few(verdict.culprits)}"


def _few(culprits: Sequence[str]) -> str:
    more = len(culprits) - _SHOWN_CULPRITS
    return ", ".join(culprits[:_SHOWN_CULPRITS]) + (f" and {more} more" if more > 0 else "")


def with_fix(summary: str, remedy: str) -> str:
    """A summary with its remedy behind it, if there is one: what is said of an unknown in one line."""
    return f"{summary} (fix: {remedy})" if remedy else summary
