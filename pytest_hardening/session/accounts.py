"""What a run made of waivers and the baseline: told at the end, and written, in the controlling process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ..artifacts.names import shown
from ..policy.baseline import Entry, write_baseline
from ..policy.decision import Decision
from ..policy.globs import TARGET, is_wild, lie_below
from ..policy.ledger import Ledger
from ..policy.survey import Surveyed
from ..policy.waiver import Waiver, template
from .collection import RULING
from .gate import GATE

__all__ = ["Accounts"]

_MOST_LINES = 10
_FINISHED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class Accounts:
    """A plugin object, registered where the reports of all workers arrive."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._gate = config.stash[GATE]
        self._acceptance = self._gate.acceptance
        self._ledger = Ledger(self._acceptance)
        self._survey = Surveyed()
        self._rejected: dict[tuple[str, str], Sequence[str]] = {}
        self._unused: list[int] = []
        self._idle: list[str] = []
        self._gone: list[Entry] = []
        self._stale: dict[Entry, str] = {}
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
        if found := getattr(node, "workeroutput", {}).get("hardening_survey"):
            self._survey = Surveyed(*found)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._config.option.collectonly:
            return
        if exitstatus not in _FINISHED:
            if self._acceptance.update:
                self._problem = f"baseline {self._name}: not written, as the run did not come to its end"
            return
        self._survey = self._gate.surveyed() or self._survey
        concerned = dict(self._survey.concerned)
        self._unused = [number for number in self._ledger.unused(concerned) if self._was_judged_whole(number)]
        self._idle = list(self._found_idle())
        failed = bool(self._unused) or (bool(self._idle) and self._is_strict)
        self._stale = self._found_stale()
        if self._acceptance.update:
            failed |= not self._written()
        else:
            self._gone = self._ledger.gone(self._stale)
            failed |= bool(self._gone) and self._is_strict
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        verbosity = self._config.get_verbosity()
        if self._unused or self._idle:
            self._tell_what_is_unused(terminalreporter, everything=verbosity > 0)
        if self._gone:
            is_error = self._is_strict
            terminalreporter.section("hardening: baseline", red=is_error, yellow=not is_error)
            gone = f"{self._name}: {_entries(len(self._gone))} not needed any more"
            fails = ", which fails the run" if is_error else ""
            terminalreporter.write_line(f"{gone}{fails}: run with --hardening-update-baseline", red=is_error)
            for line in _first(list(map(self._gone_line, self._gone)), everything=verbosity > 0):
                terminalreporter.write_line(line)
        if self._changes:
            terminalreporter.section("hardening: baseline")
            for line in _first(self._changes, everything=verbosity > 0):
                terminalreporter.write_line(line)
        if self._problem:
            terminalreporter.write_line(self._problem, red=True)
        if self._rejected and verbosity >= 0:
            self._tell_how_to_waive(terminalreporter, everything=verbosity > 0)

    @property
    def _is_strict(self) -> bool:
        """Whether the session was asked to be: a policy's `unknown = "fail"` is about verdicts alone."""
        return bool(self._gate.settings.strict.value)

    def _was_judged_whole(self, number: int) -> bool:
        """Whether this run judged all checks and, for a glob, more than files named one by one."""
        waiver, settings = self._waiver(number), self._gate.settings
        if settings.picked or (settings.checks and not set(waiver.checks) <= set(settings.checks)):
            return False
        if self._gate.policy.is_forced:  # which may not demand the check of what the waiver is for
            return False
        given = [os.path.relpath(path, self._config.rootpath) for path in settings.paths if not os.path.isfile(path)]
        all_targets = bool(settings.builds) and not settings.targets
        return all(
            not is_wild(glob) or (all_targets if glob.startswith(TARGET) else lie_below(given, glob))
            for glob in self._waiver(number).path
        )

    def _waiver(self, number: int) -> Waiver:
        """A waiver as the user wrote it."""
        return self._gate.policy.written.waiver[number]

    def _found_idle(self) -> Iterator[str]:
        """What to say of parts of the policy that are about nothing, where a whole build was collected."""
        settings = self._gate.settings
        if settings.picked or settings.compare is not None or self._survey.is_narrowed:
            return
        yield from self._survey.unmatched
        if not settings.checks and not self._gate.policy.is_forced:
            yield from self._survey.undemanded

    def _found_stale(self) -> dict[Entry, str]:
        """The entries of the baseline that are about nothing, and why, where the policy alone said what to judge."""
        settings = self._gate.settings
        if settings.picked or settings.compare is not None or settings.checks or self._gate.policy.is_forced:
            return {}
        return {Entry(*entry): why for *entry, why in self._survey.stale}

    def _gone_line(self, entry: Entry) -> str:
        why = self._stale.get(entry)
        return f"- {entry} ({why})" if why else f"- {entry}"

    def _tell_what_is_unused(self, terminalreporter: pytest.TerminalReporter, *, everything: bool) -> None:
        is_error = self._is_strict
        fails = bool(self._unused) or is_error
        terminalreporter.section("hardening: unused waivers and rules", red=fails, yellow=not fails, bold=True)
        for number in self._unused:
            terminalreporter.write_line(self._unused_line(number), red=True)
        for line in _first(self._idle, everything=everything):
            terminalreporter.write_line(line, red=is_error, yellow=not is_error)
        if self._idle and is_error:
            terminalreporter.write_line("each of these fails the run (--hardening-strict)", red=True)
        elif self._unused:
            terminalreporter.write_line("a waiver that covers nothing fails the run: it would hide the next failure")

    def _unused_line(self, number: int) -> str:
        waiver = self._waiver(number)
        late = f"expired on {waiver.expires}, and " if waiver.expired(self._acceptance.today) else ""
        name = f"{self._acceptance.source}: waiver[{number}]"
        return f"{name}: {_subject(waiver)}: {late}covers nothing that falls short; remove it"

    @property
    def _name(self) -> str:
        return self._acceptance.baseline.name if self._acceptance.baseline is not None else ""

    def _written(self) -> bool:
        """Write the baseline; whether that went well."""
        entries, new, gone = self._ledger.updated(self._stale)
        outside = self._ledger.outside
        self._changes = [f"{self._name}: {_entries(len(entries))}, {len(new)} added, {len(gone)} removed"]
        if outside:
            self._changes.append(f"{outside} not written: of files outside the project, which have no lasting name")
        self._changes += [*(f"+ {entry}" for entry in new), *map(self._gone_line, gone)]
        try:
            baseline = self._acceptance.baseline
            write_baseline(self._acceptance.file, entries, baseline.comments if baseline is not None else None)
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
