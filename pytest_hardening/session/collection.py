"""Collectors and items: one collector per artifact, one item per required check."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ..artifacts.discovery import MISSING, artifact_at, discover, leads_to_package
from ..artifacts.names import display, shown
from ..artifacts.packages.contents import INSIDE
from ..checks.registry import check_names, get_check
from ..engine import kind_of
from ..errors import ArtifactError, NotHardened
from ..extending import find_artifacts
from ..model import Artifact, ArtifactReport, Kind, Outcome, Report, Verdict
from ..policy.decision import Decision, Ruling, rule
from ..policy.given import COMMAND_LINE
from ..reports.document import with_decision
from ..reports.message import message, with_fix
from .gate import GATE

__all__ = [
    "MAKE_ITEM",
    "PROPERTY",
    "RULING",
    "UNJUDGED",
    "ArtifactCollector",
    "CheckItem",
    "ProblemCollector",
    "ProblemItem",
    "UnjudgedItem",
    "collect_items",
    "collector_at",
    "each_once",
    "items_of",
    "none_judged",
    "problem_items",
]

#: The user property that carries a verdict from a worker to the controller, as JSON.
PROPERTY = "hardening_verdict"
#: The user property that carries what waivers and the baseline made of a verdict, as JSON.
RULING = "hardening_ruling"
#: The user property that says why no required check applies to a file that the user named.
UNJUDGED = "hardening_unjudged"


class ArtifactCollector(pytest.Collector):
    """One artifact; its node id is its display name, or what it is `called`. Who is `named` by the user always has an
    item.
    """

    def __init__(self, artifact: Artifact, named: bool, called: str = "", **arguments: Any) -> None:
        name = called or artifact.display
        super().__init__(name=name, nodeid=_node_id(name), **arguments)
        self.artifact = artifact
        self.named = named

    def collect(self) -> list[pytest.Item]:
        """An item per required check that applies to the artifact's kind; no more than headers are read."""
        gate = self.config.stash[GATE]
        try:
            kind = kind_of(self.artifact)
        except ArtifactError as error:
            gate.survey.add(self.artifact.display, Kind.NOT_ELF, None)
            return [ProblemItem.from_parent(self, name="artifact", reason=str(error))]
        judged_as = Kind.OBJECT if kind is Kind.ARCHIVE else kind
        profile = gate.profile_of(self.artifact, kind)
        recorded = self.artifact.recipe is not None
        required = [check for check in profile.checks if recorded or not profile.asks_for_records(check)]
        reasons = {check: get_check(check).why_not_kind(judged_as) for check in required}
        gate.survey.add(self.artifact.display, kind, (check for check, reason in reasons.items() if not reason))
        if self.named and all(reasons.values()):
            if all(get_check(check).why_not_kind(judged_as) for check in check_names()):
                return [ProblemItem.from_parent(self, name="artifact", reason=next(iter(reasons.values())))]
            reason = f"none of the required checks applies to a file of kind {kind.value} ({', '.join(reasons)})"
            return [UnjudgedItem.from_parent(self, name="artifact", reason=reason)]
        make = self.config.stash.get(MAKE_ITEM, _check_item)
        return [make(self, check) for check, reason in reasons.items() if not reason]


class PackageCollector(pytest.Collector):
    """A package among pytest's own arguments; ids find its files below it."""

    def collect(self) -> list[pytest.Collector]:
        """One collector per file, and one per problem."""
        gate = self.config.stash[GATE]
        base = os.path.realpath(self.config.rootpath)
        found = discover([str(self.path)], objects=gate.settings.objects, base=base)
        files = [one for one in map(gate.policy.kept, found.artifacts) if one is not None]
        return [
            *(ArtifactCollector.from_parent(self, artifact=one, named=False) for one in files),
            *(problem_collector(self, name, reason) for name, reason in found.problems),
        ]


class ProblemCollector(pytest.Collector):
    """A path that leads to nothing that can be judged; of a `target` that was not built, to the missing file."""

    def __init__(self, reason: str, where: str, path: str = "", target: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.reason = reason
        self.where = where
        self.entry = ArtifactReport(path or self.name, None, Kind.NOT_ELF, "", reason, target=target)

    def collect(self) -> list[pytest.Item]:
        """The one item that fails."""
        return [ProblemItem.from_parent(self, name="artifact", reason=self.reason, where=self.where)]


class _HardeningItem(pytest.Item):
    """What both kinds of item share: where they are, and that a failure is a message, not a traceback."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.add_marker("hardening")

    @property
    def location(self) -> tuple[str, int | None, str]:
        name = self.parent.nodeid if self.parent is not None else ""
        return name, None, f"{name} :: {self.name}"

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.path, None, self.location[2]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, NotHardened | ArtifactError):
            shown = excinfo.getrepr(style="value", chain=False)
            if shown.reprcrash is not None:  # what the short summary, --tb=line and JUnit XML show, behind the id
                shown.reprcrash.message = self._without_name(str(excinfo.value))
                shown.reprcrash.path, shown.reprcrash.lineno = self.location[0], 0
            if self.config.getoption("tbstyle", "auto") == "line":  # pytest prints that line below all the others
                shown.reprtraceback.reprentries = []
            return shown
        return super().repr_failure(excinfo, style)

    def _without_name(self, text: str) -> str:
        """A message without the file that it begins with, where it does."""
        name = self.parent.name if self.parent is not None else ""
        if isinstance(self.parent, ArtifactCollector):
            name = self.parent.artifact.display
        return text[len(name) :].lstrip(": ") if name and text.startswith((f"{name}: ", f"{name} ")) else text

    def note(self, entry: ArtifactReport, verdicts: list[dict[str, Any]], members: list[dict[str, Any]]) -> None:
        """Attach the verdict to the report; user properties cross xdist workers and land in JUnit XML."""
        data = {**entry.to_json(), "verdicts": verdicts, "members": members}
        self.user_properties.append((PROPERTY, json.dumps(data)))


class ProblemItem(_HardeningItem):
    """A path that leads to nothing that can be judged: always fails, and the others are judged all the same.

    Parameters
    ----------
    where: what to say of where it was looked for; no part of the report, as it differs from machine to machine.
    """

    def __init__(self, reason: str, where: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.reason = reason
        self.where = where

    def runtest(self) -> None:
        path = self.parent.name if self.parent is not None else ""
        entry = ArtifactReport(path, None, Kind.NOT_ELF, "", self.reason)
        self.note(self.parent.entry if isinstance(self.parent, ProblemCollector) else entry, [], [])
        raise ArtifactError(f"{path}: {self.reason}{self.where}")


class UnjudgedItem(_HardeningItem):
    """A file that the user named and no required check applies to: skipped, so that it does not vanish."""

    def __init__(self, reason: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.reason = reason

    def runtest(self) -> None:
        self.user_properties.append(("hardening_outcome", Outcome.NOT_APPLICABLE.value))
        self.user_properties.append(("hardening_decision", Decision.SKIPPED.value))
        self.user_properties.append((UNJUDGED, self.reason))
        pytest.skip(f"not applicable: {self.reason}")


class CheckItem(_HardeningItem):
    """One check of one artifact: `build/PROGRAM::bind-now`."""

    def __init__(self, artifact: Artifact, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.artifact = artifact
        self.check = self.name

    def runtest(self) -> None:
        gate = self.config.stash[GATE]
        report = gate.report(self.artifact)
        entry = report.artifact
        if entry.error is not None:
            self.note(entry, [], [member.to_json() for member in report.members if member.error is not None])
            raise ArtifactError(f"{entry.path}: {entry.error}")
        verdict = report.verdict(self.check)
        self.settle(report, verdict)

    def settle(self, report: Report, verdict: Verdict) -> None:
        """Fail or skip the item, as the policy says."""
        ruling = rule(report, self.check, self.config.stash[GATE].acceptance)
        self.note_ruling(report, verdict, ruling)
        self.user_properties.append(
            (RULING, json.dumps({"path": report.artifact.path, "check": verdict.check, **ruling.to_json()}))
        )
        if ruling.decision is Decision.ACCEPTED:
            return
        if ruling.decision in (Decision.WAIVED, Decision.KNOWN):
            word = "waived: " if ruling.decision is Decision.WAIVED else ""
            pytest.xfail(word + "; ".join(ruling.notes))  # with --runxfail it returns
        if ruling.decision in (Decision.REJECTED, Decision.WAIVED, Decision.KNOWN):
            culprits = ruling.culprits if ruling.is_part else ()
            strictness = self.config.stash[GATE].strictness
            raise NotHardened(message(report.artifact.path, verdict, ruling.notes, culprits, strictness))
        word = "unknown" if verdict.outcome is Outcome.UNKNOWN else "not applicable"
        pytest.skip(f"{word}: {with_fix(verdict.summary, verdict.remedy)}")

    def note_ruling(self, report: Report, verdict: Verdict, ruling: Ruling) -> None:
        """Attach the verdict and what was decided, with the members' verdicts."""
        self.note(report.artifact, [with_decision(verdict, ruling)], list(_member_entries(report, self.check)))
        self.user_properties.append(("hardening_outcome", verdict.outcome.value))
        self.user_properties.append(("hardening_summary", verdict.summary))
        self.user_properties.append(("hardening_decision", ruling.decision.value))
        if ruling.notes:
            self.user_properties.append(("hardening_reason", "; ".join(ruling.notes)))


def _check_item(parent: ArtifactCollector, check: str) -> CheckItem:
    item: CheckItem = CheckItem.from_parent(parent, name=check, artifact=parent.artifact)
    return item


#: What makes the item of a check in this session, where it is not a plain `CheckItem`.
MAKE_ITEM = pytest.StashKey[Callable[[ArtifactCollector, str], CheckItem]]()


def _member_entries(report: Report, check: str) -> Iterator[dict[str, Any]]:
    """The members of an archive with the verdict of one check each."""
    for member in report.members:
        data = member.to_json()
        data["verdicts"] = [verdict for verdict in data["verdicts"] if verdict["check"] == check]
        yield data


def collector_at(path: Path, parent: pytest.Collector) -> pytest.Collector:
    """The collector of a file among pytest's own arguments, which pytest finds again by `path`."""
    if leads_to_package(str(path)):
        name = display(os.path.realpath(path), os.path.realpath(parent.config.rootpath))
        package: pytest.Collector = PackageCollector.from_parent(parent, name=name, nodeid=_node_id(name), path=path)
        return package
    artifact = artifact_at(str(path), str(parent.config.rootpath))
    return ArtifactCollector.from_parent(parent, artifact=artifact, named=True, path=path)


def each_once(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """`items` without the second and later ones of the same check of the same file."""
    seen: set[str] = set()
    kept = []
    for item in items:
        if not isinstance(item, _HardeningItem):
            kept.append(item)
        elif item.nodeid not in seen:
            seen.add(item.nodeid)
            kept.append(item)
    return kept


def collect_items(session: pytest.Session, paths: tuple[str, ...]) -> list[pytest.Item]:
    """The items of all artifacts that `paths` lead to; a path that leads to nothing is an item that fails."""
    gate = session.config.stash[GATE]
    base = os.path.realpath(session.config.rootpath)
    found, named = find_artifacts(session.config, paths, objects=gate.settings.objects, base=base)
    gate.left_out.update(found.left_out)
    names = (one.display for artifact in found.artifacts for one in artifact.names)
    gate.survey.exclude(name for name in names if gate.policy.excluded(name))
    kept = [one for one in map(gate.policy.kept, found.artifacts) if one is not None]
    excluded = len(found.artifacts) - len(kept)
    if excluded:
        gate.left_out[f"files that {gate.policy.file} excludes"] += excluded
    if excluded and not kept:
        reason = f"{gate.policy.file} excludes everything in it, so nothing would be judged"
        return problem_items(session, [*((display(path, base), reason) for path in paths), *found.problems])
    problems = [(name, why) for name, why in found.problems if INSIDE not in name or not gate.policy.excluded(name)]
    items: list[pytest.Item] = []
    for artifact in kept:
        if artifact in gate.targets.found:
            continue
        is_named = any(one.path in named for one in artifact.names)
        collected = items_of(ArtifactCollector.from_parent(session, artifact=artifact, named=is_named))
        if not collected:
            gate.left_out["files that no required check applies to"] += 1
        items += collected
    return items + problem_items(session, problems)


def none_judged(session: pytest.Session, items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Items that fail when `items` judge nothing, one for each path given: no run is green because of that."""
    if any(isinstance(item, CheckItem | ProblemItem) for item in items):
        return []
    gate = session.config.stash[GATE]
    base = os.path.realpath(session.config.rootpath)
    reason = f"nothing in it that the required checks apply to ({', '.join(gate.policy.checks)})"
    given = () if gate.settings.picked else (*gate.settings.paths, *gate.settings.builds)
    paths = (*given, *sorted(gate.settings.named))
    return problem_items(session, ((display(path, base), reason) for path in paths))


def problem_items(
    session: pytest.Session,
    problems: Iterable[tuple[str, str]],
    missing: Mapping[str, tuple[str, str]] | None = None,
) -> list[pytest.Item]:
    """Items that fail, each called as its path, with the reason.

    Parameters
    ----------
    missing: of those that are called otherwise, the path and the target, by what they are called.
    """
    items: list[pytest.Item] = []
    for name, reason in dict.fromkeys(problems):
        items += items_of(problem_collector(session, name, reason, *(missing or {}).get(name, ("", ""))))
    return items


def problem_collector(
    parent: pytest.Collector, name: str, reason: str, path: str = "", target: str = ""
) -> pytest.Collector:
    """The collector of an item that fails."""
    where = _looked_for(parent.config, name) if reason in MISSING else ""
    collector: pytest.Collector = ProblemCollector.from_parent(
        parent, name=name, nodeid=_node_id(name), reason=reason, where=where, path=path, target=target
    )
    return collector


def _looked_for(config: pytest.Config, name: str) -> str:
    """Where a path was looked for that is not there."""
    below = "" if os.path.isabs(name) else f" below {shown(str(config.rootpath))}"
    source = config.stash[GATE].settings.sources["paths"]
    return below + ("" if source == COMMAND_LINE else f" (hardening_paths in {source})")


def _node_id(name: str) -> str:
    """A name as the file's part of a node id, which ends at the first `::`."""
    return name.replace("::", r":\x3a")


def items_of(collector: pytest.Collector) -> list[pytest.Item]:
    """The items of a collector, announced as pytest's own are, so that they are counted while they are collected."""
    report = collector.ihook.pytest_make_collect_report(collector=collector)
    collector.ihook.pytest_collectreport(report=report)
    return [node for node in report.result if isinstance(node, pytest.Item)]
