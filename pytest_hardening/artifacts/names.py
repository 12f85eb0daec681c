"""How paths are shown: valid UTF-8, nothing a terminal would obey, relative where that is shorter."""

from __future__ import annotations

import os

from ..elf.image import printable

__all__ = ["display", "shown"]


def shown(name: str | bytes) -> str:
    """A file name for people: bytes that are not UTF-8 and control characters as \\xNN escapes.

    A backslash is doubled, so that two names are never shown alike.
    """
    return printable(os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace"))


def display(path: str, base: str) -> str:
    """`path` relative to `base` where it lies below it, else absolute."""
    if path.startswith(base.rstrip("/") + "/"):
        path = path[len(base.rstrip("/")) + 1 :]
    return shown(path)
