"""What travels through the stages: outcome, evidence, verdict, artifact. Frozen, and JSON in and out."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from .recipe import Recipe

__all__ = [
    "Artifact",
    "ArtifactReport",
    "Evidence",
    "Kind",
    "Outcome",
    "Packed",
    "Report",
    "Verdict",
]

#: What an artifact is for, where that is known: loaded with dlopen; built by somebody else and brought along.
Role = Literal["", "plugin", "vendored"]

#: What an unknown verdict does to the gate: it fails, it is shown, or it passes over.
OnUnknown = Literal["fail", "warn", "ignore"]


class Outcome(Enum):
    """What a check found. There is no boolean form: absence of evidence is `UNKNOWN`, never a pass or a failure."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    NOT_APPLICABLE = "not-applicable"
    UNKNOWN = "unknown"


class Kind(Enum):
    """What a file is, decided as the loader and the linker decide it (see `pytest_hardening.elf.kind`)."""

    EXECUTABLE = "executable"  # ET_EXEC with a dynamic section: not position-independent
    PIE = "pie"
    STATIC = "static"  # ET_EXEC without dynamic section
    STATIC_PIE = "static-pie"
    SHARED_LIBRARY = "shared-library"
    MODULE = "module"  # a shared object without DT_SONAME and without a lib*.so name: a plug-in
    OBJECT = "object"
    ARCHIVE = "archive"
    KERNEL_MODULE = "kernel-module"
    DEBUG_ONLY = "debug-only"
    CORE = "core"
    NOT_ELF = "not-elf"

    @property
    def is_executable(self) -> bool:
        """Whether a process starts from such a file."""
        return self in _EXECUTABLES

    @property
    def is_library(self) -> bool:
        """Whether such a file is mapped into a running process: a shared library or a plug-in."""
        return self in (Kind.SHARED_LIBRARY, Kind.MODULE)

    @property
    def is_static(self) -> bool:
        """Whether such a file is linked statically, so that the C library's own code lies inside it."""
        return self in (Kind.STATIC, Kind.STATIC_PIE)

    @property
    def is_linked(self) -> bool:
        """Whether such a file came out of a final link and can be loaded."""
        return self.is_executable or self.is_library


_EXECUTABLES = frozenset({Kind.EXECUTABLE, Kind.PIE, Kind.STATIC, Kind.STATIC_PIE})


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was seen in the file.

    Parameters
    ----------
    where: the place in ELF terms: "dynamic section", "program headers", "relocation", "symbol table" ...
    what: what stands there, in the terms that readelf uses.
    """

    where: str
    what: str

    def to_json(self) -> dict[str, str]:
        return {"where": self.where, "what": self.what}

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check says of one file.

    Parameters
    ----------
    check: the check's name, for example "bind-now".
    outcome: one of the four outcomes.
    summary: one line that stands alone.
    observed: the measured values by name, JSON types only.
    evidence: what was seen, and where.
    culprits: the archive members, units or functions that fall short.
    remedy: which step lacks which flag; empty when there is nothing to mend.
    rest: what the check would say of the file without its culprits; None where they are not known to be all that falls
        short, so that nothing can be said of the rest.
    """

    check: str
    outcome: Outcome
    summary: str
    observed: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    culprits: tuple[str, ...] = ()
    remedy: str = ""
    rest: Outcome | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "outcome": self.outcome.value,
            "summary": self.summary,
            "observed": dict(self.observed),
            "evidence": [item.to_json() for item in self.evidence],
            "culprits": list(self.culprits),
            "remedy": self.remedy,
            "rest": self.rest.value if self.rest is not None else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        return cls(
            check=data["check"],
            outcome=Outcome(data["outcome"]),
            summary=data["summary"],
            observed=data["observed"],
            evidence=tuple(Evidence(**item) for item in data["evidence"]),
            culprits=tuple(data["culprits"]),
            remedy=data["remedy"],
            rest=Outcome(data["rest"]) if data.get("rest") else None,
        )


@dataclass(frozen=True, slots=True)
class Packed:
    """Where a file that was copied out of a package comes from.

    Parameters
    ----------
    package: path of the package, links resolved.
    inside: the file's name in it, as it is shown: `usr/lib/libx.so`, of a package in the package `b.whl!/c.so`.
    mode: type and permissions that the package gives it (`st_mode`); 0 where it gives none.
    """

    package: str
    inside: str
    mode: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that was built, under its real name.

    Parameters
    ----------
    path: path of the file, links resolved; may hold surrogate escapes where the name is not UTF-8.
    display: the name shown to people and written to reports: relative where possible, always valid UTF-8.
    build_root: the build tree the file lies in (a folder with CMakeCache.txt or the like), or None.
    recipe: how a build system says that it is made; None where nothing is known of that.
    packed: where it comes from, when `path` is a copy of a file of a package.
    role: what it is for; empty where nothing is known of that.
    also: the same file under its other names: hard links that were found, too.
    """

    path: str
    display: str
    build_root: str | None = None
    recipe: Recipe | None = field(default=None, compare=False, repr=False)
    packed: Packed | None = field(default=None, compare=False)
    role: Role = field(default="", compare=False)
    also: tuple[Artifact, ...] = field(default=(), compare=False, repr=False)

    @property
    def names(self) -> tuple[Artifact, ...]:
        """The file under each of its names."""
        return (self, *self.also)

    @property
    def file_name(self) -> str:
        """The name that the file has, or has in its package, without folders."""
        return posixpath.basename(self.path if self.packed is None else self.packed.inside)

    def __fspath__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class ArtifactReport:
    """The verdicts on one artifact or on one member of a static archive.

    Parameters
    ----------
    path: the artifact's display name.
    member: the archive member's name, or None.
    kind: what the file is.
    machine: for example "x86-64"; empty where there is none (archives of several machines, files that are not ELF).
    error: why the file could not be judged, or None. A file with an error has no verdicts.
    verdicts: in the order in which the checks were asked for.
    profile: the name of the profile whose checks were asked for; empty where these were named one by one.
    unknown: what an unknown verdict of each check does to the gate, as the profile says. Of an archive: the
        strictest that its unknown members ask for. Does not travel in JSON.
    target: the build system's name for what makes it; empty where no build system was asked.
    """

    path: str
    member: str | None
    kind: Kind
    machine: str
    error: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    profile: str = ""
    unknown: Mapping[str, OnUnknown] = field(default_factory=dict, compare=False)
    target: str = ""

    @property
    def name(self) -> str:
        """`path`, or `path(member)` as the linker writes it."""
        return self.path if self.member is None else f"{self.path}({self.member})"

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "member": self.member,
            "kind": self.kind.value,
            "machine": self.machine,
            "error": self.error,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "profile": self.profile or None,
            "target": self.target or None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ArtifactReport:
        return cls(
            path=data["path"],
            member=data["member"],
            kind=Kind(data["kind"]),
            machine=data["machine"],
            error=data["error"],
            verdicts=tuple(Verdict.from_json(item) for item in data["verdicts"]),
            profile=data.get("profile") or "",
            target=data.get("target") or "",
        )


@dataclass(frozen=True, slots=True)
class Report:
    """All verdicts on one path: the file itself first, then the members where it is a static archive.

    Parameters
    ----------
    limited_by: the option that leaves out checks that would have been run without it; empty where there is none.
    """

    artifacts: tuple[ArtifactReport, ...]
    limited_by: str = field(default="", compare=False)

    @property
    def artifact(self) -> ArtifactReport:
        """The entry of the file itself."""
        return self.artifacts[0]

    @property
    def members(self) -> tuple[ArtifactReport, ...]:
        """The entries of the archive's members; empty for any other file."""
        return self.artifacts[1:]

    def verdict(self, check: str) -> Verdict:
        """The verdict of `check` on the file itself.

        Raises
        ------
        KeyError: the check was not run, or the file could not be judged; the message says which.
        """
        for verdict in self.artifact.verdicts:
            if verdict.check == check:
                return verdict
        if self.artifact.error is not None:
            raise KeyError(f"no verdict of {check!r}: {self.artifact.path}: {self.artifact.error}")
        names = [verdict.check for verdict in self.artifact.verdicts]
        near = difflib.get_close_matches(check, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        limited = f" (limited by {self.limited_by})" if self.limited_by else ""
        raise KeyError(f"no verdict of {check!r}; there are: {', '.join(names) or 'none'}{limited}{hint}")
