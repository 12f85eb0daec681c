"""What `inspect` prints: per artifact the lines that readers of Debian's hardening-check know."""

from __future__ import annotations

from ..checks.registry import get_check
from ..model import ArtifactReport, Outcome, Verdict
from .message import culprits_of

__all__ = ["listing"]

_WORDS = {
    Outcome.PASS: "yes",
    Outcome.FAIL: "no",
    Outcome.UNKNOWN: "unknown",
    Outcome.NOT_APPLICABLE: "not applicable",
}


def listing(report: ArtifactReport) -> str:
    """The lines of one artifact: its name and kind, then `label: yes|no|unknown|not applicable` with the reason;
    below a `no` what falls short, and below whatever can be mended how.
    """
    if report.error is not None:
        return f"{report.name}: error: {report.error}"
    machine = f", {report.machine}" if report.machine else ""
    lines = [f"{report.name}: ({report.kind.value}{machine})"]
    for verdict in report.verdicts:
        lines.append(f" {get_check(verdict.check).label}: {_answer(verdict)}")
        if verdict.outcome is Outcome.FAIL and verdict.culprits:
            lines.append(f"   {culprits_of(verdict)}")
        if verdict.outcome in (Outcome.FAIL, Outcome.UNKNOWN) and verdict.remedy:
            lines.append(f"   fix: {verdict.remedy}")
    return "\n".join(lines)


def _answer(verdict: Verdict) -> str:
    word = _WORDS[verdict.outcome]
    if verdict.outcome is Outcome.PASS:
        return f"{word} ({verdict.summary})"
    return f"{word}, {verdict.summary}"
