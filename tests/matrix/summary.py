"""The table of the matrix at the end of the session, and the thresholds over all of it.

The items' counts come in their reports, so that the controller of pytest-xdist, which runs no test, can add them up.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .results import Results

__all__ = ["PROPERTY", "pytest_configure"]

#: The user property that carries an item's counts.
PROPERTY = "matrix"
_SHOWN = 40


class _Summary:
    def __init__(self) -> None:
        self.results = Results()
        self.shortfalls: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        for name, value in report.user_properties:
            if name == PROPERTY and isinstance(value, dict):
                self.results.items += 1
                self.results.tally.merge(value)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self.results.items or hasattr(session.config, "workerinput"):
            return
        if path := os.environ.get("MATRIX_REPORT"):
            tally = self.results.tally
            Path(path).write_text("\n\n".join((*tally.wrong, *tally.open)) + "\n", encoding="utf-8")
        self.shortfalls = self.results.shortfalls()
        if self.shortfalls and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.results.items:
            return
        terminalreporter.section("matrix: verdicts against the flags of the build")
        for line in self.results.table():
            terminalreporter.write_line(line)
        for line in self.shortfalls:
            terminalreporter.write_line(f"FAILED {line}", red=True)
        if self.shortfalls and self.results.tally.open:
            terminalreporter.write_line(f"open, the first {_SHOWN} of {len(self.results.tally.open)}:")
            for line in self.results.tally.open[:_SHOWN]:
                terminalreporter.write_line(f"  {line}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Summary(), "matrix-summary")
