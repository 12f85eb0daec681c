"""`pytest --hardening NEW --hardening-compare OLD`: items that fail only where something was lost."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest

from ..artifacts.discovery import discover
from ..artifacts.names import shown
from ..builds import build_at, found_at, is_report, is_single
from ..compare.changes import Change, Effect, compare_files
from ..compare.matching import Match, matched
from ..compare.records import Build, Record, records_of
from ..elf.image import printable
from ..errors import ArtifactError, ComparisonError, NotHardened
from ..model import Artifact, Outcome, Report, Verdict
from ..policy.decision import Decision, Ruling, decide
from ..reports.comparison import change_lines, counted
from ..reports.message import with_fix
from .collection import MAKE_ITEM, ArtifactCollector, CheckItem, ProblemItem
from .gate import GATE, Gate

__all__ = ["COMPARING", "ComparedItem", "Comparing", "LossItem"]

#: The user property that says what became of a verdict since the old build, as JSON.
PROPERTY = "hardening_compared"
_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class _Old:
    """The old build: a report that was read, or files that are judged when an item asks."""

    report: Build | None
    artifacts: dict[str, Artifact]

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(self.report.files if self.report is not None else self.artifacts)

    def was_judged(self, path: str, check: str) -> bool:
        if self.report is None:
            return True
        record = self.report.files[path]
        return record.error is not None or any(check == name for name, _ in record.answers_within())

    def record(self, path: str, gate: Gate) -> Record:
        if self.report is not None:
            return self.report.files[path]
        return records_of(gate.report(self.artifacts[path]).artifacts)[self.artifacts[path].display]


class Comparing:
    """A plugin object: the old build, which of its files is which of the new one, and what to say at the end.

    Raises
    ------
    ComparisonError: there is no old build, or its report cannot be read.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._gate = config.stash[GATE]
        path = self._gate.settings.compare or ""
        self.name = shown(os.path.relpath(path, config.rootpath))
        try:
            self._old, self._single = self._read(path)
        except ComparisonError as error:
            raise ComparisonError(f"{self.name}: {error}") from None
        self._effects: Counter[str] = Counter()
        self._lines: list[str] = []
        self._failing_before: list[str] = []
        config.stash[MAKE_ITEM] = self._item

    def _read(self, path: str) -> tuple[_Old, bool]:
        if is_report(path):
            return _Old(build_at(path, self._gate.profile), {}), False
        found = found_at(path, objects=self._gate.settings.objects)
        for name, reason in found.problems:
            raise ComparisonError(f"{name}: {reason}")
        return _Old(None, {artifact.display: artifact for artifact in found.artifacts}), is_single(path, found)

    @cached_property
    def _found(self) -> tuple[Artifact, ...]:
        settings = self._gate.settings
        paths = (*settings.paths, *sorted(settings.named))
        return discover(paths, objects=settings.objects, base=os.path.realpath(self._config.rootpath)).artifacts

    @cached_property
    def _new(self) -> frozenset[str]:
        """The paths of the new build, whichever items are run."""
        artifacts = (*self._found, *self._gate.targets.found)
        return frozenset(kept.display for kept in map(self._gate.policy.kept, artifacts) if kept is not None)

    @cached_property
    def _pairs(self) -> dict[str, Match]:
        """The file in the old build by the path in the new one."""
        paths = (*self._gate.settings.paths, *self._gate.settings.named)
        if self._single and len(self._new) == len(set(paths)) == 1 and os.path.isfile(paths[0]):
            return {path: Match(next(iter(self._old.paths)), False) for path in self._new}
        return matched(self._old.paths, self._new)

    def old_record(self, path: str) -> Record:
        """What is said of a file of the old build."""
        return self._old.record(path, self._gate)

    def _item(self, parent: ArtifactCollector, check: str) -> CheckItem:
        """A comparison where the old build was judged by the check; else the profile decides, as without an old one."""
        match = self._pairs.get(parent.artifact.display)
        item: CheckItem
        if match is None or not self._old.was_judged(match.old, check):
            item = CheckItem.from_parent(parent, name=check, artifact=parent.artifact)
        else:
            if match.old in self._old.artifacts:
                self._gate.judge_alike(self._old.artifacts[match.old], parent.artifact)
            item = ComparedItem.from_parent(
                parent, name=f"keeps-{check}", artifact=parent.artifact, check=check, was=match.old
            )
        return item

    def pytest_report_header(self) -> str:
        return f"hardening: compared with {self.name}"

    @pytest.hookimpl(tryfirst=True)  # before the items of the new build, and before -k and -m deselect
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        if self._gate.settings.picked or not self._new:
            return
        if not self._pairs:
            reason = "no file of it is in the new build: nothing to compare"
            items += _LossCollector.from_parent(session, name=self.name, nodeid=self.name, reason=reason).collect()
        elif self._gate.settings.strict.value:
            for path in self._removed():
                node_id = path.replace("::", r":\x3a")
                reason = f"removed: it is in {self.name} only"
                items += _LossCollector.from_parent(session, name=path, nodeid=node_id, reason=reason).collect()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        compared = [item for item in session.items if isinstance(item, ComparedItem)]
        artifacts = self._old.artifacts
        self._gate.select((artifacts[item.was], item.check) for item in compared if item.was in artifacts)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        text = dict(report.user_properties).get(PROPERTY) if report.when == "call" else None
        if not isinstance(text, str):
            return
        data = json.loads(text)
        self._effects.update(["compared", *data["effects"]])
        self._lines += data["lines"]
        if data["failing_before"]:
            self._failing_before.append(data["failing_before"])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._config.option.collectonly:
            return
        terminalreporter.ensure_newline()
        terminalreporter.section(f"hardening: compared with {self.name}", sep="=")
        for line in self._summary():
            terminalreporter.write_line(printable(line))

    def _summary(self) -> Iterator[str]:
        lines = sorted(self._lines)
        kept = lines if self._config.get_verbosity() > 0 else lines[:_MOST_LINES]
        yield from kept
        if len(lines) > len(kept):
            yield f"... and {len(lines) - len(kept)} more; -v shows all"
        if self._failing_before:
            yield f"failing as before, no loss: {', '.join(sorted(self._failing_before))}"
        removed: tuple[str, ...] = ()
        added: tuple[str, ...] = ()
        if not self._gate.settings.picked:
            removed, added = self._removed(), tuple(sorted(self._new - self._pairs.keys()))
        if removed:
            yield f"removed: {', '.join(removed)}"
        if added:
            yield f"added, judged by the profile: {', '.join(added)}"
        words = {Effect.LOST: "lost", Effect.UNPROVABLE: "no longer provable", Effect.GAINED: "gained"}
        counts = [
            f"{self._effects[effect.value]} {word}" for effect, word in words.items() if self._effects[effect.value]
        ]
        yield f"{counted(self._effects['compared'], 'verdict')} compared: {', '.join(counts) or 'no change'}"

    def _removed(self) -> tuple[str, ...]:
        """What the new build lacks; of files and patterns alone nobody expects to be the whole build."""
        if not any(map(os.path.isdir, self._gate.settings.paths)) and not any(one.packed for one in self._found):
            return ()
        left = self._old.paths - {match.old for match in self._pairs.values()}
        return tuple(sorted(path for path in left if not self._was_excluded(path)))

    def _was_excluded(self, path: str) -> bool:
        """Whether the policy would leave it out, were it in the new build at the same place."""
        folders = (os.path.relpath(folder, self._config.rootpath) for folder in self._gate.settings.paths)
        return any(self._gate.policy.excluded(os.path.join(folder, path)) for folder in folders)


#: The comparison of a session that was given an old build.
COMPARING = pytest.StashKey[Comparing]()


class ComparedItem(CheckItem):
    """One check of one file that is in both builds: `build/PROGRAM::keeps-bind-now`."""

    def __init__(self, check: str, was: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.check = check
        self.was = was

    def settle(self, report: Report, verdict: Verdict) -> None:
        """Fail the item where something was lost, whatever the policy says."""
        (record,) = records_of(report.artifacts, {self.check}).values()
        compared = compare_files(self.config.stash[COMPARING].old_record(self.was), record)
        if compared.problem is not None:
            self.note_ruling(report, verdict, Ruling(Decision.REJECTED, (compared.problem,)))
            raise ArtifactError(printable(f"{self.artifact.display}: {compared.problem}"))
        self._note_changes(compared.changes, verdict)
        strict = self.config.stash[GATE].settings.strict.value
        bad = {Effect.LOST, Effect.UNPROVABLE} if strict else {Effect.LOST}
        losses = [change for change in compared.changes if change.effect in bad]
        self.note_ruling(report, verdict, self._ruling(verdict, bool(losses)))
        if losses:
            raise NotHardened(_message(losses, verdict))
        unprovable = [change for change in compared.changes if change.effect is Effect.UNPROVABLE]
        if verdict.outcome in (Outcome.UNKNOWN, Outcome.NOT_APPLICABLE):
            word = "unknown" if verdict.outcome is Outcome.UNKNOWN else "not applicable"
            lost = "no longer provable: " if unprovable else ""
            pytest.skip(f"{word}: {lost}{with_fix(verdict.summary, verdict.remedy)}")

    def _ruling(self, verdict: Verdict, is_lost: bool) -> Ruling:
        """The decision, in the policy's terms."""
        if is_lost:
            return Ruling(Decision.REJECTED, (f"lost since {self.config.stash[COMPARING].name}",))
        if verdict.outcome is Outcome.FAIL:
            return Ruling(Decision.UNCHANGED, (f"already in {self.config.stash[COMPARING].name}",))
        return Ruling(decide(verdict.outcome))

    def _note_changes(self, changes: tuple[Change, ...], verdict: Verdict) -> None:
        """What the summary shows besides the losses, whose messages pytest prints."""
        other = [change for change in changes if change.effect is not Effect.LOST]
        as_before = verdict.outcome is Outcome.FAIL and len(other) == len(changes)
        data = {
            "effects": [change.effect.value for change in changes],
            "lines": [printable(line) for change in other for line in change_lines(change)],
            "failing_before": f"{self.artifact.display} ({self.check})" if as_before else "",
        }
        self.user_properties.append((PROPERTY, json.dumps(data)))


class _LossCollector(pytest.Collector):
    def __init__(self, reason: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.reason = reason

    def collect(self) -> list[pytest.Item]:
        return [LossItem.from_parent(self, name="kept", reason=self.reason)]


class LossItem(ProblemItem):
    """A file of the old build that the new one lacks, which --hardening-strict does not let pass; or all of them."""

    def runtest(self) -> None:
        name = self.parent.name if self.parent is not None else ""
        raise NotHardened(printable(f"{name} {self.reason}"))


def _message(losses: list[Change], verdict: Verdict) -> str:
    """What was lost; its first line stands alone. Then the fix and the evidence."""
    lines = [line for change in losses for line in change_lines(change)]
    return "\n".join(printable(line) for line in (*lines, *(f"  {item}" for item in verdict.evidence)))
