"""Globs on shown names: of artifacts, members, units and functions."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable

__all__ = ["TARGET", "first_match", "is_wild", "lie_below", "literal", "matches", "matches_artifact", "matches_file"]

#: How a glob begins that matches targets of a build system, not files.
TARGET = "target:"

_WILD = re.compile(r"[*?\[]")


def matches(pattern: str, name: str) -> bool:
    """Whether a glob matches a whole name.

    `*` stands for any characters, `/` too, so that `third_party/*` is everything below that folder; `?` for one, `[ab]`
    for one of several. Upper and lower case differ.
    """
    return fnmatch.fnmatchcase(name, pattern)


def matches_artifact(pattern: str, name: str) -> bool:
    """Whether a glob matches an artifact, or may match members of it: `build/libAB.a(B.o)`."""
    return matches(pattern, name) or ("(" in pattern and matches(pattern.partition("(")[0], name))


def matches_file(pattern: str, name: str) -> bool:
    """Whether a glob matches a file's name, or its last part where the glob has no slash."""
    return matches(pattern, name) or ("/" not in pattern and matches(pattern, posixpath.basename(name)))


def first_match(name: str, patterns: Iterable[str]) -> str | None:
    """The first glob that matches a name, or None."""
    return next((pattern for pattern in patterns if matches(pattern, name)), None)


def lie_below(folders: Iterable[str], pattern: str) -> bool:
    """Whether all that a glob may match lies below some folders, as far as it tells: one that begins with a wild card
    does not, and any folder will do.
    """
    start = _WILD.split(pattern, maxsplit=1)[0].rpartition("/")[0]
    return any(not start or folder == "." or start == folder or start.startswith(f"{folder}/") for folder in folders)


def literal(name: str) -> str:
    """The glob that matches this name alone."""
    return _WILD.sub(r"[\g<0>]", name)


def is_wild(pattern: str) -> bool:
    """Whether a glob may match several names."""
    return _WILD.search(pattern) is not None
