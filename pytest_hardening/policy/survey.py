"""What a session collected, beside what a policy and a baseline speak of: which parts of them are about nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from glob import has_magic
from pathlib import PurePath
from typing import NamedTuple

from ..artifacts.names import display
from ..artifacts.packages.contents import INSIDE
from ..model import Kind
from .acceptance import Acceptance
from .baseline import Entry
from .document import ArtifactRule
from .globs import TARGET, lie_below, matches, matches_artifact
from .policy import Policy

__all__ = ["Built", "Survey", "Surveyed"]

_JUDGED = "file that was judged"


class Surveyed(NamedTuple):
    """What a survey found, in types that cross from a worker to the controller.

    Parameters
    ----------
    concerned: how many items each waiver is about, as pairs, whether they are run or not.
    unmatched: a line for each glob that matches no file, though those given hold all that it could match.
    undemanded: a line for each waiver of checks that are demanded of none of the files that it matches.
    stale: entries of the baseline that no run like this one could need, each with the reason as fourth field.
    is_narrowed: whether items were deselected.
    """

    concerned: Sequence[tuple[int, int]] = ()
    unmatched: Sequence[str] = ()
    undemanded: Sequence[str] = ()
    stale: Sequence[tuple[str, str, str, str]] = ()
    is_narrowed: bool = False


class Built(NamedTuple):
    """What build systems say is built.

    Parameters
    ----------
    folders: build folders, absolute.
    outputs: the shown name of the file, and the target, of whatever they make, judged or not, built or not.
    is_complete: whether all that the build systems say could be read.
    """

    folders: Sequence[str] = ()
    outputs: Sequence[tuple[str, str]] = ()
    is_complete: bool = True


class Survey:
    """Takes the files of a session as they are collected.

    Parameters
    ----------
    paths: what the session was given to judge, absolute.
    root: the folder that names of files are relative to, absolute, without links.
    built: the build folders that it was given.
    """

    def __init__(
        self, policy: Policy, acceptance: Acceptance, paths: Iterable[str], root: str, built: Built | None = None
    ) -> None:
        self._policy, self._acceptance, self._root, self._built = policy, acceptance, root, built or Built()
        self._paths = tuple(paths)
        self._checks: dict[str, tuple[Kind, frozenset[str] | None]] = {}
        self._excluded: set[str] = set()
        self._concerned: Counter[int] = Counter()

    def add(self, name: str, kind: Kind, checks: Iterable[str] | None) -> None:
        """A file that is judged, and the checks that it has items of; None where it could not be read."""
        self._checks[name] = kind, None if checks is None else frozenset(checks)

    def exclude(self, names: Iterable[str]) -> None:
        """Files that the policy leaves out."""
        self._excluded.update(names)

    def count(self, items: Iterable[tuple[str, str]]) -> None:
        """The items collected: file and check."""
        for name, check in items:
            self._concerned.update(self._acceptance.concerning(check, name))

    def result(self, *, is_narrowed: bool) -> Surveyed:
        """What was found once everything is collected."""
        return Surveyed(
            list(self._concerned.items()),
            list(self._unmatched()),
            list(self._undemanded()),
            [(*entry, why) for entry in sorted(self._entries()) if (why := self._why_stale(entry))],
            is_narrowed,
        )

    def _unmatched(self) -> Iterator[str]:
        document = self._policy.written
        yield from self._without_match("exclude", document.exclude, self._excluded, "file that was found")
        for number, rule in enumerate(document.artifact):
            kinds = {*rule.kind, Kind.NOT_ELF.value} if rule.kind else None  # what cannot be read may be of any kind
            names = [name for name, (kind, _) in self._checks.items() if kinds is None or kind.value in kinds]
            what = f"{_JUDGED} and is of kind {' or '.join(rule.kind)}" if rule.kind else _JUDGED
            yield from self._without_match(f"artifact[{number}].path", rule.path or (), names, what)
            if not self._built.folders and self._demands_of_targets_alone(rule):
                told = f"{', '.join(rule.path or ())}: does not hold without --hardening-build"
                yield f"{self._policy.file}: artifact[{number}].path: {told}"
        for number, waiver in enumerate(document.waiver):
            yield from self._without_match(f"waiver[{number}].path", waiver.path, self._checks, _JUDGED)

    def _demands_of_targets_alone(self, rule: ArtifactRule) -> bool:
        """Whether a rule may demand something, and says by target alone of what."""
        if not rule.path or not all(glob.startswith(TARGET) for glob in rule.path):
            return False
        if rule.unknown == "fail" or self._policy.is_forced:  # then the command line alone says what is required
            return rule.unknown == "fail"
        asked = [name for name, change in rule.checks.items() if change is not None]
        return rule.profile is not None or any(not self._policy.only or name in self._policy.only for name in asked)

    def _without_match(self, place: str, globs: Sequence[str], names: Collection[str], what: str) -> Iterator[str]:
        """A line for each of some globs that matches none of some files."""
        for number, one in enumerate(globs):
            if self._is_within(one) and not any(self._matches(one, name) for name in names):
                where = f"{place}[{number}]" if len(globs) > 1 else place
                is_nowhere = one.startswith(TARGET) and not self._files_of(one)
                yield f"{self._policy.file}: {where}: {one}: matches no {'target of the build' if is_nowhere else what}"

    def _undemanded(self) -> Iterator[str]:
        for number, waiver in enumerate(self._policy.waivers):
            matched = [checks for name, (_, checks) in self._checks.items() if waiver.matches(name)]
            is_told = number not in self._concerned and bool(matched) and None not in matched
            globs = self._policy.written.waiver[number].path
            if is_told and all(map(self._is_within, globs)):
                told = f"{', '.join(globs)}: no file that it matches is judged by {' or '.join(waiver.checks)}"
                yield f"{self._policy.file}: waiver[{number}]: {told}"

    def _matches(self, glob: str, name: str) -> bool:
        return name in self._files_of(glob) if glob.startswith(TARGET) else matches_artifact(glob, name)

    def _files_of(self, glob: str) -> set[str]:
        """The files of the targets that a glob matches, judged or not."""
        return {name for name, target in self._built.outputs if matches(glob.removeprefix(TARGET), target)}

    def _is_within(self, glob: str) -> bool:
        """Whether the session was given all that a glob may match, as far as it tells."""
        is_told = bool(self._built.folders) and self._built.is_complete
        if glob.startswith(TARGET):
            return is_told and all(map(self._was_seen, self._files_of(glob)))
        if lie_below(self._folders, glob):
            return True
        if not is_told or not lie_below(map(self._relative, self._built.folders), glob):
            return False
        file = glob.partition(INSIDE)[0]
        return not any(matches_artifact(file, name) for name in self._unseen)  # which other runs may judge

    def _was_seen(self, name: str) -> bool:
        return name in self._checks or name in self._excluded

    @cached_property
    def _unseen(self) -> list[str]:
        """What the build folders hold or may hold that was not judged, as it is no target or was left out."""
        names = {name for name, _ in self._built.outputs}
        for folder in self._built.folders:
            for above, _, files in os.walk(os.path.realpath(folder)):
                names.update(display(os.path.join(above, file), self._root) for file in files)
        return [name for name in names if not self._was_seen(name)]

    def _relative(self, path: str) -> str:
        return os.path.relpath(os.path.realpath(path), self._root)

    @cached_property
    def _folders(self) -> list[str]:
        """The folders that were given, as the names of files below them begin."""
        return [self._relative(path) for path in self._paths if os.path.isdir(path)]

    def _entries(self) -> Iterable[Entry]:
        return self._acceptance.baseline.entries if self._acceptance.baseline is not None else ()

    def _why_stale(self, entry: Entry) -> str:
        """Why an entry is about nothing; empty where it is not known to be, or other runs may need it."""
        if entry.artifact in self._checks:
            _, checks = self._checks[entry.artifact]
            return "" if checks is None or entry.check in checks else "not judged by that check any more"
        if entry.artifact in self._excluded:
            return "the policy excludes the file"
        if any(entry.artifact == name for name, _ in self._built.outputs):
            return ""  # not built, or of a target that was left out
        path = os.path.join(self._root, entry.artifact)
        if "\\" in path or not self._was_given(path) or _may_exist(path):  # an escaped name leads to no file
            return ""
        return "no such file any more"

    def _was_given(self, path: str) -> bool:
        """Whether a file would have been judged, were it there: what is built elsewhere may lie in other folders."""
        return any(
            f"{path}/".startswith(f"{os.path.realpath(given)}/") or (has_magic(given) and PurePath(path).match(given))
            for given in (*self._paths, *(self._built.folders if self._built.is_complete else ()))
        )


def _may_exist(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):  # a folder that must not be looked into
        return True
    return True
