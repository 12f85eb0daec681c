"""What a reader of any format says of one member, and what its name may be."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from .limits import Limits, MemberError
from .streams import Reader

__all__ = ["Entry", "EntryKind", "name_within"]


class EntryKind(Enum):
    FILE = "file"
    HARD_LINK = "hard link"
    LINK = "link"
    FOLDER = "folder"
    OTHER = "other"  # devices and the like


class Entry(NamedTuple):
    """A member.

    Parameters
    ----------
    name: as it is stored; bytes that are not UTF-8 as surrogate escapes.
    kind: what it is.
    target: of links.
    mode: permissions, and S_IFREG; 0 where the format has none.
    size: what the package says of it.
    open: its data, before the next entry is asked for.
    """

    name: str
    kind: EntryKind
    target: str = ""
    mode: int = 0
    size: int = 0
    open: Callable[[], Reader] | None = None


def name_within(name: str) -> str:
    """A member's name without `./` and the like: relative, with no `..` in it.

    Raises
    ------
    MemberError: it leads out of the package, is absolute, or is no name.
    """
    if Limits.name_is_too_long(name):
        raise MemberError("its name is too long: not unpacked")
    if "\0" in name:
        raise MemberError("its name has a NUL in it: not unpacked")
    if name.startswith("/"):
        raise MemberError("its name is absolute: not unpacked")
    if ".." in name.split("/"):
        raise MemberError("its name leads out of the package: not unpacked")
    return posixpath.normpath(name) if name else "."
