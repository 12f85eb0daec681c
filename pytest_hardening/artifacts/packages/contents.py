"""What was found in a package."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...model import Role

__all__ = ["INSIDE", "PACKAGE_NAMES", "Consider", "Contents", "Unpacked", "is_called_package"]

#: What stands between the name of a package and the name of a file in it.
INSIDE = "!/"

#: How the names of packages end that are opened in folders; other archives are opened when they are named.
PACKAGE_NAMES = (".deb", ".rpm", ".whl", ".apk")

#: Why a file is left out, from its name and its first bytes: None where it is judged, empty where it is no business of
#: ours.
Consider = Callable[[str, bytes], str | None]


_OTHER_NAMES = re.compile(r"\.(zip|jar|aar|egg|udeb|ipk|tar|tar\.(gz|xz|bz2|zst|lzma)|tgz|txz|tbz2?|tzst)$")


def is_called_package(name: str) -> bool:
    """Whether a file is called as packages and archives are."""
    return name.lower().endswith(PACKAGE_NAMES) or bool(_OTHER_NAMES.search(name.lower()))


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A file of a package that was copied out of it.

    Parameters
    ----------
    path: the copy.
    inside: its name in the package, as it is shown: `usr/lib/libx.so`, of a package in the package `b.whl!/c.so`.
    mode: type and permissions that the package gives it (`st_mode`); 0 where it gives none.
    role: as in `Artifact`.
    also: its other names in the package, as hard links give them.
    """

    path: str
    inside: str
    mode: int
    role: Role
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a package.

    Parameters
    ----------
    files: sorted by name.
    problems: (name inside, reason); the name is empty for the package itself.
    left_out: how many files were left out, by reason.
    """

    files: tuple[Unpacked, ...]
    problems: tuple[tuple[str, str], ...]
    left_out: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        files = [[one.path, one.inside, one.mode, one.role, one.also] for one in self.files]
        return {"files": files, "problems": [list(one) for one in self.problems], "left_out": dict(self.left_out)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Contents:
        problems = tuple((name, reason) for name, reason in data["problems"])
        files = tuple(
            Unpacked(path, inside, mode, role, tuple(also)) for path, inside, mode, role, also in data["files"]
        )
        return cls(files, problems, Counter(data["left_out"]))
