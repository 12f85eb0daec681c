"""What a run made of waivers and the baseline: told at the end, and written, in the controlling process."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

from .artifacts.names import shown
from .collection import RULING
from .gate import GATE
from .policy.baseline import Entry, write_baseline
from .policy.decision import Decision
from .policy.ledger import Ledger
from .policy.waiver import Waiver, template

__all__ = ["Accounts"]

_MOST_LINES = 10
_WILD = re.compile(r"[*?\[]")
_FINISHED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class Accounts:
    """A plugin object, registered where the reports of all workers arrive."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._gate = config.stash[GATE]
        self._acceptance = self._gate.acceptance
        self._ledger = Ledger(self._acceptance)
        self._collected: dict[int, int] = {}
        self._rejected: dict[tuple[str, str], Sequence[str]] = {}
        self._unused: list[int] = []
        self._gone: list[Entry] = []
        self._changes: list[str] = []
        self._problem = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        text = dict(report.user_properties).get(RULING) if report.when == "call" else None
        if isinstance(text, str):
            ruling = json.loads(text)
            self._ledger.add(ruling["check"], ruling["path"], ruling)
            if ruling["decision"] == Decision.REJECTED.value and not ruling["is_late"]:
                self._rejected[ruling["path"], ruling["check"]] = ruling["culprits"]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """pytest-xdist: a worker has ended; every worker collected the same items."""
        self._collected = dict(getattr(node, "workeroutput", {}).get("hardening_concerned", self._collected.items()))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._config.option.collectonly:
            return
        if exitstatus not in _FINISHED:
            if self._acceptance.update:
                self._problem = f"baseline {self._name}: not written, as the run did not come to its end"
            return
        self._collected = dict(self._gate.concerned) or self._collected
        self._unused = [number for number in self._ledger.unused(self._collected) if self._was_judged_whole(number)]
        failed = bool(self._unused)
        if self._acceptance.update:
            failed |= not self._written()
        else:
            self._gone = self._ledger.gone()
            failed |= bool(self._gone) and self._gate.policy.is_strict
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        verbosity = self._config.get_verbosity()
        if self._unused:
            terminalreporter.section("hardening: unused waivers", red=True, bold=True)
            for number in self._unused:
                terminalreporter.write_line(self._unused_line(number), red=True)
        if self._gone:
            is_error = self._gate.policy.is_strict
            terminalreporter.section("hardening: baseline", red=is_error, yellow=not is_error)
            gone = (
                f"{self._name}: {_entries(len(self._gone))} not needed any more: run with --hardening-update-baseline"
            )
            terminalreporter.write_line(gone, red=is_error)
            for line in _first([f"- {entry}" for entry in self._gone], everything=verbosity > 0):
                terminalreporter.write_line(line)
        if self._changes:
            terminalreporter.section("hardening: baseline")
            for line in _first(self._changes, everything=verbosity > 0):
                terminalreporter.write_line(line)
        if self._problem:
            terminalreporter.write_line(self._problem, red=True)
        if self._rejected and verbosity >= 0:
            self._tell_how_to_waive(terminalreporter, everything=verbosity > 0)

    def _was_judged_whole(self, number: int) -> bool:
        """Whether this run judged all checks and, for a glob, more than files named one by one."""
        waiver, settings = self._acceptance.waivers[number], self._gate.settings
        if settings.picked or (settings.checks and not set(waiver.checks) <= set(settings.checks)):
            return False
        if self._gate.policy.is_forced:  # which may not demand the check of what the waiver is for
            return False
        given = [os.path.relpath(path, self._config.rootpath) for path in settings.paths if not os.path.isfile(path)]
        if settings.builds and not settings.paths:  # what no target makes was not judged
            named = () if settings.targets else ("target:",)
            return all(_WILD.search(glob) is None or glob.startswith(named) for glob in waiver.path)
        return all(_WILD.search(glob) is None or _holds_all(given, glob) for glob in waiver.path)

    def _unused_line(self, number: int) -> str:
        waiver = self._acceptance.waivers[number]
        late = f"expired on {waiver.expires}, and " if waiver.expired(self._acceptance.today) else ""
        name = f"{self._acceptance.source}: waiver[{number}]"
        return f"{name}: {_subject(waiver)}: {late}covers nothing that falls short; remove it"

    @property
    def _name(self) -> str:
        return self._acceptance.baseline.name if self._acceptance.baseline is not None else ""

    def _written(self) -> bool:
        """Write the baseline; whether that went well."""
        entries, new, gone = self._ledger.updated()
        outside = self._ledger.outside
        self._changes = [f"{self._name}: {_entries(len(entries))}, {len(new)} added, {len(gone)} removed"]
        if outside:
            self._changes.append(f"{outside} not written: of files outside the project, which have no lasting name")
        self._changes += [*(f"+ {entry}" for entry in new), *(f"- {entry}" for entry in gone)]
        try:
            write_baseline(self._acceptance.file, entries)
        except OSError as error:
            self._changes = []
            self._problem = f"baseline not written: {shown(self._acceptance.file)}: {error.strerror}"
            return False
        return True

    def _tell_how_to_waive(self, terminalreporter: pytest.TerminalReporter, *, everything: bool) -> None:
        file = self._gate.policy.file or "hardening.toml"
        is_table = os.path.basename(file) == "pyproject.toml"
        failures = sorted(self._rejected.items())
        terminalreporter.section(f"hardening: to accept a failure, give a reason for it in {file}", sep="-")
        for (path, check), culprits in failures if everything else failures[:1]:
            table = "tool.pytest-hardening.waiver" if is_table else "waiver"
            terminalreporter.write_line(template(check, path, culprits, table))
        if len(failures) > 1 and not everything:
            terminalreporter.write_line(f"# and {len(failures) - 1} more; -v shows all")


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _holds_all(folders: Iterable[str], glob: str) -> bool:
    """Whether all that a glob may match lies below one of some folders, as far as the glob tells."""
    start = _WILD.split(glob, maxsplit=1)[0].rpartition("/")[0]
    return not start or any(start == folder or start.startswith(f"{folder}/") or folder == "." for folder in folders)


def _first(lines: Sequence[str], *, everything: bool) -> Iterator[str]:
    kept = lines if everything else lines[:_MOST_LINES]
    yield from kept
    if len(lines) > len(kept):
        yield f"... and {len(lines) - len(kept)} more; -v shows all"


def _subject(waiver: Waiver) -> str:
    """`build/libX.so, stack-protector, unit F.c, function copy`"""
    parts = [*waiver.path, *waiver.checks]
    parts += [f"{key} {value}" for key, value in (("unit", waiver.unit), ("function", waiver.function)) if value]
    return ", ".join(parts)
