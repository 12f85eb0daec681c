"""The message of one verdict: what, where, and what to do."""

from __future__ import annotations

from ..model import Outcome, Verdict

__all__ = ["culprits_of", "message", "with_fix"]

_SHOWN_CULPRITS = 8


def message(name: str, verdict: Verdict) -> str:
    """Several lines: the first stands alone, then evidence, culprits and the fix.

    Parameters
    ----------
    name: the artifact's display name.
    """
    unknown = "unknown: " if verdict.outcome is Outcome.UNKNOWN else ""
    lines = [f"{name}: {unknown}{verdict.summary}"]
    lines += [f"  {item}" for item in verdict.evidence]
    if verdict.culprits:
        lines.append(f"  {culprits_of(verdict)}")
    if verdict.remedy:
        lines.append(f"  fix: {verdict.remedy}")
    return "\n".join(lines)


def culprits_of(verdict: Verdict) -> str:
    """One line with the first culprits of a verdict that has any."""
    shown = ", ".join(verdict.culprits[:_SHOWN_CULPRITS])
    more = len(verdict.culprits) - _SHOWN_CULPRITS
    return f"culprits: {shown}" + (f" and {more} more" if more > 0 else "")


def with_fix(summary: str, remedy: str) -> str:
    """A summary with its remedy behind it, if there is one: what is said of an unknown in one line."""
    return f"{summary} (fix: {remedy})" if remedy else summary
