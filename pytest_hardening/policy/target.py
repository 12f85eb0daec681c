"""What a profile tells apart, and what it then demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model import Kind, OnUnknown

__all__ = ["Demands", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """What `[[when]]` tells apart.

    Parameters
    ----------
    kind: of the file, or of the archive's member.
    machine: as reports show it: "x86-64"; empty where there is none (LLVM bitcode).
    libc: "glibc", "musl", "bionic", or None where the file does not tell, as no object does.
    in_archive: whether it is a member of a static archive.
    recorded: whether a build system tells how it was made.
    """

    kind: Kind
    machine: str
    libc: str | None
    in_archive: bool = False
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Demands:
    """What is demanded of one target.

    Parameters
    ----------
    requests: the checks to run, each with all its parameters.
    unknown: what an unknown verdict of each of them does.
    dropped: the checks that are demanded of other targets only, and why.
    """

    requests: Mapping[str, Mapping[str, Any]]
    unknown: Mapping[str, OnUnknown] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
