"""Gathers the verdicts of a whole run in the controlling process: the table at the end and the JSON report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from ..artifacts.discovery import counted
from ..artifacts.names import shown
from ..checks.registry import check_names
from ..engine import NOT_DEMANDED
from ..extending import report_to_plugins
from ..reports.document import write_document
from ..reports.message import with_fix
from ..reports.table import table
from .collection import PROPERTY, UNJUDGED
from .gate import GATE

__all__ = ["Gatherer"]

_MOST_LINES = 10
_COUNTED = {
    "pass": "ok",
    "fail": "failed",
    "error": "could not be judged",
    "unknown": "unknown (?)",
    "waived": "waived",
    "known": "in the baseline",
}


class Gatherer:
    """A plugin object, registered where the reports of all workers arrive."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._entries: dict[tuple[str, str | None], dict[str, Any]] = {}
        self._unjudged: dict[str, str] = {}
        self._left_out: dict[str, int] = {}
        self._report_error = ""
        self._reporter_errors: list[str] = []
        self._judged_nothing = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        properties = dict(report.user_properties)
        text = properties.get(PROPERTY)
        if isinstance(text, str):
            data = json.loads(text)
            for entry in (data, *data.pop("members")):
                self._merge(entry)
        elif UNJUDGED in properties:
            self._unjudged[report.nodeid.partition("::")[0]] = str(properties[UNJUDGED])

    def _merge(self, entry: dict[str, Any]) -> None:
        known = self._entries.setdefault((entry["path"], entry["member"]), entry)
        if known is entry:
            return
        known["error"] = known["error"] or entry["error"]
        seen = {verdict["check"] for verdict in known["verdicts"]}
        known["verdicts"] += [verdict for verdict in entry["verdicts"] if verdict["check"] not in seen]
        if known["error"]:
            known["verdicts"] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """pytest-xdist: a worker has ended; every worker walked the same folders."""
        self._left_out = getattr(node, "workeroutput", {}).get("hardening_left_out", self._left_out)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        gate = self._config.stash[GATE]
        self._left_out = dict(gate.left_out) or self._left_out
        order = list(check_names())  # not the order of arrival, which the workers' speed decides
        self._entries = dict(sorted(self._entries.items(), key=lambda item: (item[0][0], item[0][1] or "")))
        for entry in self._entries.values():
            entry["verdicts"].sort(key=lambda verdict: order.index(verdict["check"]))
        if self._config.option.collectonly:
            return
        self._judged_nothing = self._is_all_needless() and self._config.stash[GATE].settings.compare is None
        if self._judged_nothing and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._write_report(session)
        self._reporter_errors = report_to_plugins(self._config, tuple(self._entries.values()))
        if self._reporter_errors:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _write_report(self, session: pytest.Session) -> None:
        gate = self._config.stash[GATE]
        if gate.settings.report is None:
            return
        try:
            with open(gate.settings.report, "w", encoding="utf-8") as stream:
                write_document(self._entries.values(), stream)
        except OSError as error:
            self._report_error = f"report not written: {shown(gate.settings.report)}: {error.strerror}"
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        gate = self._config.stash[GATE]
        rows = {
            path: {"error": "error"} if entry["error"] else {v["check"]: _cell(v) for v in entry["verdicts"]}
            for (path, member), entry in self._entries.items()
            if member is None
        }
        if not rows and not self._unjudged and not self._report_error and not self._reporter_errors:
            return
        verbose = self._config.get_verbosity() > 0
        terminalreporter.ensure_newline()
        terminalreporter.section(f"hardening: {gate.profile.name}", sep="=")
        width = self._config.get_terminal_writer().fullwidth
        named = {*gate.policy.checks, *(check for row in rows.values() for check in row)} - {"error"}
        shown_checks = [name for name in check_names() if name in named]  # plug-ins may need more than the policy says
        for line in table(rows, shown_checks, width, everything=verbose):
            terminalreporter.write_line(line)
        for lines in (self._unknown(), self._waived(), self._not_demanded()):
            for line in _first(lines, everything=verbose):
                terminalreporter.write_line(line)
        for path, reason in sorted(self._unjudged.items()):
            terminalreporter.write_line(f"- {path}: {reason}")
        if self._judged_nothing:
            for line in _first(self._needless(), everything=verbose):
                terminalreporter.write_line(line)
        outcomes = [outcome for row in rows.values() for outcome in row.values()]
        words = {**_COUNTED, "unchanged": f"already in {self._compared_with}"}
        counts = ", ".join(f"{outcomes.count(key)} {word}" for key, word in words.items() if outcomes.count(key))
        counts = counts or "no check applies"
        terminalreporter.write_line(f"{len(rows)} {'artifact' if len(rows) == 1 else 'artifacts'}: {counts}")
        if self._left_out:
            terminalreporter.write_line(f"left out: {counted(self._left_out)}")
        if self._judged_nothing:
            checks = ", ".join(gate.policy.checks)
            told = f"nothing was judged: no required check applies to any file that was given ({checks})"
            terminalreporter.write_line(told, red=True)
        if self._report_error:
            terminalreporter.write_line(self._report_error, red=True)
        elif gate.settings.report is not None:
            terminalreporter.write_line(f"report: {shown(gate.settings.report)}")
        for error in self._reporter_errors:
            terminalreporter.write_line(error, red=True)

    @property
    def _compared_with(self) -> str:
        """The old build's name in a comparison."""
        from .comparison import COMPARING

        return self._config.stash[COMPARING].name if COMPARING in self._config.stash else ""

    def _is_all_needless(self) -> bool:
        """Whether there are verdicts, and every one is that the check does not apply: then nothing could fail."""
        if any(entry["error"] for entry in self._entries.values()):
            return False
        outcomes = {verdict["outcome"] for _, verdict in self._verdicts()}
        return outcomes == {"not-applicable"}

    def _needless(self) -> Iterator[str]:
        """Why checks do not apply, besides those that are not demanded."""
        for path, verdict in self._verdicts():
            if not verdict["summary"].startswith(NOT_DEMANDED):
                yield f"- {path}: {verdict['check']}: {verdict['summary']}"

    def _unknown(self) -> Iterator[str]:
        """Why what is unknown is unknown: no failure message tells it."""
        for path, verdict in self._verdicts():
            if _cell(verdict) == "unknown":
                yield f"? {path}: {verdict['check']}: {with_fix(verdict['summary'], verdict['remedy'])}"

    def _waived(self) -> Iterator[str]:
        """What is accepted, and why."""
        for path, verdict in self._verdicts():
            if _cell(verdict) == "waived":
                yield f"waived {path}: {verdict['check']}: {verdict['reason']}"

    def _not_demanded(self) -> Iterator[str]:
        """What a policy does not demand of some artifacts, and why."""
        counts = Counter(
            (verdict["check"], verdict["summary"])
            for _, verdict in self._verdicts()
            if verdict["summary"].startswith(NOT_DEMANDED)
        )
        for (check, summary), count in counts.items():
            artifacts = "artifact" if count == 1 else "artifacts"
            yield f"- {check}: {count} {artifacts}: {summary}"

    def _verdicts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The verdicts on artifacts, without the members of archives."""
        for (path, member), entry in self._entries.items():
            if member is None:
                yield from ((path, verdict) for verdict in entry["verdicts"])


def _cell(verdict: Mapping[str, Any]) -> str:
    """What the table shows of a verdict: its outcome, or what the policy makes of it."""
    decision = verdict.get("decision")  # a verdict that is compared has none
    if decision in ("waived", "known", "unchanged"):
        return str(decision)
    return "not-applicable" if decision == "ignored" else str(verdict["outcome"])


def _first(lines: Iterable[str], *, everything: bool) -> Iterator[str]:
    """The first lines, and how many more there are."""
    lines = list(lines)
    kept = lines if everything else lines[:_MOST_LINES]
    yield from kept
    if len(lines) > len(kept):
        yield f"{lines[0].partition(' ')[0]} ... and {len(lines) - len(kept)} more; -v shows all"
