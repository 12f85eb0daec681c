"""Which file of one build is which of the other: by path, then by name, then by name without version."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import NamedTuple

__all__ = ["Match", "matched", "matched_members", "without_version"]

_VERSION = re.compile(r"-\d+(\.\d+)+(?=\.so|\.a$|$)")
_AFTER_SO = re.compile(r"(?<=\.so)\.[\w.]+$")
_DEEPEST = 16  # leading folders that are tried


class Match(NamedTuple):
    """The path in the old build, and whether the new one is the same but for the leading folders."""

    old: str
    same_path: bool


def matched(old: Collection[str], new: Collection[str]) -> dict[str, Match]:
    """For each path in `new` the path in `old`, where there is one.

    The folders that all paths of a side begin with are left off, as many as makes the most paths of both sides equal
    but for versions, and no more. Then the same path is the same file. Of the files that are left, those are the same
    that have the same folder and name but for the version (`libx.so.1.2` and `libx.so.1.3`, `libx-1.2.so`), the same
    name, or the same name but for the version: in this order, and only where no other file left on either side has it.
    """
    off_old, off_new = _leading(old, new)
    rest_old = {path: _without(path, off_old) for path in sorted(old)}
    rest_new = {path: _without(path, off_new) for path in sorted(new)}
    found: dict[str, Match] = {}
    for key in _KEYS:
        there, here = _unique(rest_old, key), _unique(rest_new, key)
        for same in here.keys() & there.keys():
            found[here[same]] = Match(there[same], key is str)
            del rest_new[here[same]], rest_old[there[same]]
    return found


def matched_members(
    old: Iterable[tuple[str, int]], new: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], tuple[str, int]]:
    """For each member of an archive in `new` the one in `old`, where there is one: by the name and which one of that
    name it is; of those left by the name up to its first dot, where no other has it: CMake says `F.c.o` for `F.o`.
    """
    rest_old, rest_new = set(old), set(new)
    found = {member: member for member in rest_old & rest_new}
    stems = [Counter(name.partition(".")[0] for name, _ in rest - found.keys()) for rest in (rest_old, rest_new)]
    there = {member[0].partition(".")[0]: member for member in rest_old - found.keys()}
    for member in rest_new - found.keys():
        stem = member[0].partition(".")[0]
        if stems[0][stem] == stems[1][stem] == 1:
            found[member] = there[stem]
    return found


def without_version(path: str) -> str:
    """A path without the version in its file's name: `lib/libx.so.1.2` and `lib/libx-1.2.so` are `lib/libx.so`."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, _AFTER_SO.sub("", _VERSION.sub("", name)))


_KEYS: tuple[Callable[[str], Hashable], ...] = (
    str,
    without_version,
    posixpath.basename,
    lambda path: posixpath.basename(without_version(path)),
)


def _unique(rest: dict[str, str], key: Callable[[str], Hashable]) -> dict[Hashable, str]:
    """The paths that no other one shares its key with, by key."""
    groups: dict[Hashable, list[str]] = {}
    for path, short in rest.items():
        groups.setdefault(key(short), []).append(path)
    return {same: paths[0] for same, paths in groups.items() if len(paths) == 1}


def _leading(old: Collection[str], new: Collection[str]) -> tuple[int, int]:
    """How many leading folders to leave off on each side."""
    shorter_old, shorter_new = (
        [{without_version(_without(path, off)) for path in paths} for off in range(_shared(paths) + 1)]
        for paths in (old, new)
    )
    tried = (
        (-len(paths & others), off_old + off_new, off_old, off_new)
        for off_old, paths in enumerate(shorter_old)
        for off_new, others in enumerate(shorter_new)
    )
    return min(tried)[2:]


def _shared(paths: Iterable[str]) -> int:
    """How many leading folders all paths share."""
    folders = [path.split("/")[:-1] for path in paths]
    if not folders:
        return 0
    low, high = min(folders), max(folders)
    same = next((i for i, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), len(low))
    return min(same, len(high), _DEEPEST)


def _without(path: str, off: int) -> str:
    return "/".join(path.split("/")[off:])
