"""The files to measure with: linked ELF files of Debian's packages, in an order that is the same on every run."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator

__all__ = ["system_files"]


def system_files(*folders: str) -> list[str]:
    """Linked ELF files below the folders (default /usr/bin and /usr/lib), ordered by a hash of their name.

    Only what a Debian package owns: the rest of a machine says nothing to anybody else.
    """
    found = {os.path.realpath(path) for folder in folders or ("/usr/bin", "/usr/lib") for path in _linked(folder)}
    owned = _owned()
    found = {path for path in found if path in owned or path.removeprefix("/usr") in owned}
    return sorted(found, key=lambda path: hashlib.sha256(os.fsencode(path)).digest())


def _owned() -> set[str]:
    owned: set[str] = set()
    for listing in glob.glob("/var/lib/dpkg/info/*.list"):
        with open(listing, encoding="utf-8") as stream:
            owned.update(stream.read().splitlines())
    return owned


def _linked(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as stream:
                head = stream.read(18)
            # e_type EXEC or DYN, in either byte order
            if head[:4] == b"\x7fELF" and {head[16], head[17]} & {2, 3}:
                yield path
