"""Where the two sides of a comparison come from: a folder, a file, a pattern or a JSON report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace

from .artifacts.discovery import Discovery, discover
from .artifacts.names import shown
from .artifacts.packages.contents import INSIDE
from .compare.records import Build
from .engine import Demanding, Requests, judge
from .errors import ComparisonError
from .model import ArtifactReport, Kind
from .reports.reading import read_document

__all__ = ["build_at", "found_at", "is_report", "is_single"]


def build_at(
    path: str, requests: Requests | Demanding, *, objects: bool = False, debug_roots: tuple[str, ...] = ()
) -> Build:
    """The build at a path, every file of it judged; of a JSON report the verdicts that stand in it.

    Other sources of reports need no more than `Build.of`.

    Parameters
    ----------
    requests: the checks to run, or to take from a report, which was judged with parameters of its own.
    objects: also judge object files found in folders.

    Raises
    ------
    ComparisonError: there is nothing at the path, or no report that can be read. The message does not repeat the path.
    """
    if is_report(path):
        names = requests if isinstance(requests, Mapping) else requests.checks
        return Build.of(shown(path), _report_entries(path), names)
    found = found_at(path, objects=objects)
    return Build.of(shown(path), _judged(found, requests, debug_roots), single=is_single(path, found))


def is_report(path: str) -> bool:
    """Whether a file holds JSON, and nothing that could be judged."""
    try:
        with open(path, "rb") as stream:
            return stream.read(256).lstrip().startswith(b"{")
    except OSError:
        return False


def _report_entries(path: str) -> Iterator[ArtifactReport]:
    """The entries of a JSON report.

    Raises
    ------
    ComparisonError: it cannot be read, or is none. The message does not repeat the path.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            yield from read_document(stream)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ComparisonError(f"cannot be read: {reason}") from None


def found_at(path: str, *, objects: bool = False) -> Discovery:
    """The artifacts at a path, with names relative to it: a path in one build is the same in another.

    Those of a package are names in it, as the name of the package has its version.

    Raises
    ------
    ComparisonError: there are none. The message does not repeat the path.
    """
    real = os.path.realpath(path)
    found = discover([path], objects=objects, base=real if os.path.isdir(real) else os.path.dirname(real))
    if any(artifact.packed is not None and artifact.packed.package == real for artifact in found.artifacts):
        found = _within(found)
    if not found.artifacts:
        reasons = "; ".join(reason for _, reason in found.problems)
        raise ComparisonError(reasons or "nothing to judge")
    return found


def _within(found: Discovery) -> Discovery:
    """The same with names inside the package; a problem of the package itself keeps its name."""
    inside = (replace(one, display=one.packed.inside) for one in found.artifacts if one.packed is not None)
    problems = ((name.partition(INSIDE)[2] or name, reason) for name, reason in found.problems)
    return replace(found, artifacts=tuple(inside), problems=tuple(problems))


def is_single(path: str, found: Discovery) -> bool:
    """Whether a path is that of one file, which is compared with one file whatever both are called."""
    return os.path.isfile(path) and not any(artifact.packed for artifact in found.artifacts)


def _judged(found: Discovery, requests: Requests | Demanding, debug_roots: tuple[str, ...]) -> Iterator[ArtifactReport]:
    for name, reason in found.problems:
        yield ArtifactReport(name, None, Kind.NOT_ELF, "", reason)
    for artifact in found.artifacts:
        yield from judge(artifact, requests, debug_roots)
