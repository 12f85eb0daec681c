"""The pipeline: artifact -> facts -> verdicts. A bad file becomes an entry with an error, never an exception."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

from .added import in_force, raised
from .artifacts.archive import ArchiveMember, is_archive, members, open_member
from .artifacts.discovery import artifact_at, leads_to_package
from .artifacts.packages.contents import INSIDE, is_called_package
from .checks.base import Check
from .checks.members import Summary
from .checks.registry import check_names, get_check
from .checks.rules import mistakes_of_verdict
from .elf.debug_files import debug_folders
from .elf.image import printable
from .elf.reader import ElfReader
from .elf.source import Source
from .errors import ArtifactError
from .model import Artifact, ArtifactReport, Evidence, Kind, OnUnknown, Outcome, Report, Verdict
from .policy.target import Demands, Target

__all__ = ["NOT_DEMANDED", "Demanding", "Requests", "artifact_of", "inspect", "judge", "kind_of", "requests_of"]

#: The checks to run, each with all its parameters.
Requests = Mapping[str, Mapping[str, Any]]

#: How the summary of a verdict begins whose check is not demanded of its target; the reason follows.
NOT_DEMANDED = "not demanded: "
_NO_MEMBERS = "an ar archive without members"
_BITCODE = (b"BC\xc0\xde", b"\xde\xc0\x17\x0b")
_STRICTEST_FIRST: tuple[OnUnknown, ...] = ("fail", "warn", "ignore")


@runtime_checkable
class Demanding(Protocol):
    """Who says what is demanded of each target: a profile.

    `checks` are those demanded of any target, in the order of the verdicts.
    """

    @property
    def name(self) -> str: ...

    @property
    def checks(self) -> Requests: ...

    def demands(self, target: Target) -> Demands: ...


@dataclass(frozen=True, slots=True)
class _Everywhere:
    """The same demanded of every target."""

    checks: Requests
    name: str = ""

    def demands(self, target: Target) -> Demands:
        return Demands(self.checks)


def requests_of(checks: Mapping[str, Mapping[str, Any]] | Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """Checks with complete parameters, in the registry's order.

    Parameters
    ----------
    checks: names, or names with parameters; None for all checks with their strictest usual parameters.

    Raises
    ------
    PolicyError: a check or a parameter is unknown.
    """
    wanted: Mapping[str, Mapping[str, Any]]
    if checks is None:
        wanted = {name: {} for name in check_names()}
    elif isinstance(checks, Mapping):
        wanted = checks
    else:
        wanted = {name: {} for name in checks}
    for name in wanted:
        get_check(name)
    return {name: get_check(name).settings(wanted[name]) for name in check_names() if name in wanted}


def inspect(
    path: str | os.PathLike[str],
    checks: Requests | Demanding | Iterable[str] | None = None,
    debug_roots: tuple[str, ...] = (),
) -> Report:
    """Judge one file.

    Parameters
    ----------
    path: an ELF file or a static archive; links are followed.
    checks: which checks, with which parameters; by default all, with their strictest usual parameters. Of a
        profile, what it demands of the file, and of each member of an archive.
    debug_roots: folders in which debug files of stripped files are looked for, besides the file's own; without any,
        no other file is opened.

    Returns
    -------
    The verdicts on the file and, for a static archive, on every member. A file that cannot be judged has an `error`
    and no verdicts.

    Raises
    ------
    PolicyError: a check or a parameter is unknown.
    """
    wanted = checks if isinstance(checks, Demanding) else requests_of(checks)
    entries = list(judge(artifact_of(path), wanted, debug_roots))
    return Report((entries[-1], *entries[:-1]))


def artifact_of(path: str | os.PathLike[str]) -> Artifact:
    """The artifact that one path leads to; `path` may be an artifact already."""
    return path if isinstance(path, Artifact) else artifact_at(os.fspath(path))


def judge(
    artifact: Artifact, wanted: Requests | Demanding, debug_roots: tuple[str, ...] = ()
) -> Iterator[ArtifactReport]:
    """The members of a static archive one by one, and last the artifact itself.

    Members come first so that an archive's verdict needs no memory of theirs.

    Parameters
    ----------
    wanted: the checks with all their parameters, or who says what is demanded of each target.
    """
    demanding = wanted if isinstance(wanted, Demanding) else _Everywhere(wanted)
    target = printable(artifact.recipe.target) if artifact.recipe is not None else ""
    for entry in _judged(artifact, demanding, debug_roots):
        told = _vendored(entry) if artifact.role == "vendored" else entry
        yield replace(told, target=target) if target else told


def _vendored(entry: ArtifactReport) -> ArtifactReport:
    """The same where each finding says that somebody else built the file."""
    seen = Evidence("wheel", "a library that the wheel brings along, built elsewhere: its own build has to change")
    verdicts = (
        replace(one, evidence=(*one.evidence, seen)) if one.outcome in (Outcome.FAIL, Outcome.UNKNOWN) else one
        for one in entry.verdicts
    )
    return replace(entry, verdicts=tuple(verdicts))


def _judged(artifact: Artifact, demanding: Demanding, debug_roots: tuple[str, ...]) -> Iterator[ArtifactReport]:
    try:
        with _opened(artifact) as source:
            if is_archive(source):
                yield from _judge_archive(artifact, source, demanding)
            else:
                yield _judge_elf(artifact, None, source, demanding, _debug_folders(artifact, debug_roots))
    except ArtifactError as error:
        yield ArtifactReport(artifact.display, None, Kind.NOT_ELF, "", str(error), profile=demanding.name)
    except Exception as error:
        yield ArtifactReport(artifact.display, None, Kind.NOT_ELF, "", _unexpected(error), profile=demanding.name)


def kind_of(artifact: Artifact) -> Kind:
    """What an artifact is.

    Raises
    ------
    ArtifactError: it cannot be judged.
    """
    try:
        with _opened(artifact) as source:
            if _is_bitcode(source):
                return Kind.OBJECT
            if not is_archive(source):
                return ElfReader(source, artifact.file_name, artifact.build_root).facts.kind
            found = members(source, artifact.path)
            if not found:
                raise ArtifactError(_NO_MEMBERS)
            if broken := [problem for member in found if (problem := _not_code(source, member))]:
                raise ArtifactError(_of_members(broken))
            return Kind.ARCHIVE
    except ArtifactError:
        raise
    except Exception as error:
        raise ArtifactError(_unexpected(error)) from error


def _opened(artifact: Artifact) -> Source:
    """The file of an artifact; one that was unpacked has the mode that its package gives it."""
    if artifact.packed is None and is_called_package(artifact.path) and leads_to_package(artifact.path):
        raise ArtifactError("a package, of which single files are judged: name one as PACKAGE!/NAME")
    source = Source.open(artifact.path)
    if artifact.packed is not None:
        source.mode = artifact.packed.mode
    return source


def _debug_folders(artifact: Artifact, roots: tuple[str, ...]) -> tuple[str, ...]:
    """Where its debug file may lie: of a file of a package only where the user said, not beside the copy of it."""
    if artifact.packed is None or not roots:
        return debug_folders(artifact.path, roots)
    inside = os.path.dirname(artifact.packed.inside.rpartition(INSIDE)[2])
    return (*roots, *(os.path.join(root, inside) for root in roots))


def _judge_archive(artifact: Artifact, source: Source, demanding: Demanding) -> Iterator[ArtifactReport]:
    listed = members(source, artifact.path)
    summaries = {name: Summary(name) for name in demanding.checks}
    on_unknown: dict[str, OnUnknown] = {}
    machines: set[str] = set()
    broken: list[str] = []
    elf_members = 0
    for member in listed:
        entry = _judge_member(artifact, source, member, demanding)
        elf_members += entry.kind is not Kind.NOT_ELF
        if entry.error is not None:
            broken.append(f"{member.name}: {entry.error}")
        if entry.machine:
            machines.add(entry.machine)
        for verdict in entry.verdicts:
            summaries[verdict.check].add(member.name, verdict)
            if verdict.outcome is Outcome.UNKNOWN:
                on_unknown[verdict.check] = _stricter(on_unknown.get(verdict.check), entry.unknown.get(verdict.check))
        yield entry
    machine = machines.pop() if len(machines) == 1 else ""
    error = None
    if not elf_members and not broken:
        error = _NO_MEMBERS
    elif broken:
        error = _of_members(broken)
    verdicts = () if error else tuple(summary.verdict() for summary in summaries.values())
    yield ArtifactReport(artifact.display, None, Kind.ARCHIVE, machine, error, verdicts, demanding.name, on_unknown)


def _not_code(source: Source, member: ArchiveMember) -> str:
    """Why a member cannot be judged, as far as its first bytes tell; empty where they do not."""
    try:
        with open_member(source, member) as content:
            if not _is_bitcode(content) and content.read(0, min(4, content.size)) != b"\x7fELF":
                ElfReader(content, member.name, None)  # which says why it reads nothing of it
    except ArtifactError as error:
        return f"{member.name}: {error}"
    return ""


def _of_members(broken: list[str]) -> str:
    more = f" (and {len(broken) - 1} more members)" if len(broken) > 1 else ""
    return f"member {broken[0]}{more}"


def _stricter(one: OnUnknown | None, other: OnUnknown | None) -> OnUnknown:
    return next((name for name in _STRICTEST_FIRST if name in (one, other)), "warn")


def _judge_member(artifact: Artifact, source: Source, member: ArchiveMember, demanding: Demanding) -> ArtifactReport:
    try:
        with open_member(source, member) as content:
            return _judge_elf(artifact, member.name, content, demanding)
    except ArtifactError as error:
        return ArtifactReport(artifact.display, member.name, Kind.NOT_ELF, "", str(error), profile=demanding.name)


def _judge_elf(
    artifact: Artifact, member: str | None, source: Source, demanding: Demanding, folders: tuple[str, ...] = ()
) -> ArtifactReport:
    kind, machine, name = Kind.NOT_ELF, "", demanding.name
    try:
        if _is_bitcode(source):
            demands = demanding.demands(Target(Kind.OBJECT, "", None, member is not None, artifact.recipe is not None))
            verdicts = _verdicts(demanding, demands, _of_bitcode)
            return ArtifactReport(artifact.display, member, Kind.OBJECT, "", None, verdicts, name, demands.unknown)
        name_of_file = member or artifact.file_name
        with ElfReader(source, name_of_file, artifact.build_root, folders, artifact.recipe) as reader:
            kind, machine = reader.facts.kind, reader.facts.machine.name
            target = Target(kind, machine, reader.facts.libc, member is not None, artifact.recipe is not None)
            demands = demanding.demands(target)
            verdicts = _verdicts(demanding, demands, partial(_evaluate, reader))
    except ArtifactError as error:
        return ArtifactReport(artifact.display, member, kind, machine, str(error), profile=name)
    except Exception as error:
        return ArtifactReport(artifact.display, member, kind, machine, _unexpected(error), profile=name)
    return ArtifactReport(artifact.display, member, kind, machine, None, verdicts, name, demands.unknown)


def _verdicts(
    demanding: Demanding, demands: Demands, evaluate: Callable[[Check, Mapping[str, Any]], Verdict]
) -> tuple[Verdict, ...]:
    return tuple(
        _answer(evaluate, get_check(name), demands.requests[name])
        if name in demands.requests
        else get_check(name).not_applicable(NOT_DEMANDED + demands.dropped[name])
        for name in demanding.checks
    )


def _answer(
    evaluate: Callable[[Check, Mapping[str, Any]], Verdict], check: Check, parameters: Mapping[str, Any]
) -> Verdict:
    """What a check says. Where one that a plugin added is wrong, the file is not judged, and the plugin is named."""
    plugin = in_force().plugins.get(check.name)
    if plugin is None:
        return evaluate(check, parameters)
    try:
        verdict = evaluate(check, parameters)
        mistake = mistakes_of_verdict(check, verdict)
    except ArtifactError:
        raise
    except Exception as error:
        code = getattr(type(check).judge, "__code__", None)
        mistake = f"raised {raised(error, getattr(code, 'co_filename', ''))}"
    if mistake:
        raise ArtifactError(f"cannot be judged: the check {check.name!r} of {plugin} {mistake}")
    return verdict


def _is_bitcode(source: Source) -> bool:
    """Whether it is what clang -flto writes instead of an object file (LLVM Bitcode File Format, magic numbers)."""
    return source.size >= 4 and source.read(0, 4) in _BITCODE


def _of_bitcode(check: Check, parameters: Mapping[str, Any]) -> Verdict:
    reason = check.why_not_kind(Kind.OBJECT)
    return check.not_applicable(reason) if reason else check.judge_bitcode(parameters)


def _unexpected(error: Exception) -> str:
    """What to say of an error that is a defect of ours: one line, and the others are judged all the same."""
    text = " ".join(str(error).split())
    return f"cannot be judged ({type(error).__name__}: {text}); please report this file"


def _evaluate(reader: ElfReader, check: Check, parameters: Mapping[str, Any]) -> Verdict:
    if not check.why_not(reader.facts):
        while wanted := check.needs(reader.facts, parameters) - reader.facts.known:
            reader.extend(wanted)
    return check.evaluate(reader.facts, parameters)
