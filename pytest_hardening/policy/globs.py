"""Globs on shown names: of artifacts, members, units and functions."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable

__all__ = ["first_match", "literal", "matches", "matches_file"]


def matches(pattern: str, name: str) -> bool:
    """Whether a glob matches a whole name.

    `*` stands for any characters, `/` too, so that `third_party/*` is everything below that folder; `?` for one, `[ab]`
    for one of several. Upper and lower case differ.
    """
    return fnmatch.fnmatchcase(name, pattern)


def matches_file(pattern: str, name: str) -> bool:
    """Whether a glob matches a file's name, or its last part where the glob has no slash."""
    return matches(pattern, name) or ("/" not in pattern and matches(pattern, posixpath.basename(name)))


def first_match(name: str, patterns: Iterable[str]) -> str | None:
    """The first glob that matches a name, or None."""
    return next((pattern for pattern in patterns if matches(pattern, name)), None)


def literal(name: str) -> str:
    """The glob that matches this name alone."""
    return re.sub(r"[*?[]", r"[\g<0>]", name)
