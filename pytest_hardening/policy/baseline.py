"""The baseline: today's known failures in a text file, so that only new ones fail.

One entry a line, sorted: check, artifact, culprit, with tabs between. The culprit is what the verdict names, `-` for
the check as a whole where it names none that keep their names from build to build, `?` where the verdict was unknown.
Lines that begin with `#` are comments on the entry below them, or, where none follows at once, on the whole file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..artifacts.names import display, shown
from ..checks.registry import check_names, get_check
from ..errors import PolicyError
from ..model import Outcome
from .culprits import Culprit, Culprits, keys_of_culprits

__all__ = [
    "UNKNOWN",
    "WHOLE",
    "Baseline",
    "Entry",
    "has_lasting_name",
    "keys_of",
    "load_baseline",
    "updated",
    "write_baseline",
]

#: The culprit of an entry that stands for whatever falls short.
WHOLE = "-"
#: The culprit of an entry that stands for an unknown verdict.
UNKNOWN = "?"

_HEAD = """\
# Known failures: pytest-hardening fails on others only. Made with --hardening-update-baseline.
# check<TAB>artifact<TAB>what falls short (- for the whole check, ? for an unknown verdict; #2: the second of one name)
"""


class Entry(NamedTuple):
    """One known failure: a check's name, an artifact as reports show it, and a culprit, `-` or `?`."""

    check: str
    artifact: str
    culprit: str

    def __str__(self) -> str:
        named = "" if self.culprit == WHOLE else ": unknown" if self.culprit == UNKNOWN else f": {self.culprit}"
        return f"{self.artifact}::{self.check}{named}"


#: Lines of comment above an entry; under None those on the whole file.
Comments = Mapping[Entry | None, Sequence[str]]


class Baseline:
    """The entries of a file.

    Parameters
    ----------
    name: the file as it is shown.
    entries: all of them.
    comments: lines of comment above an entry; under None those on the whole file.
    """

    def __init__(self, name: str, entries: Iterable[Entry], comments: Comments | None = None) -> None:
        self.name = name
        self.entries = frozenset(entries)
        self.comments: Comments = comments or {}
        self._known: dict[tuple[str, str], set[str]] = {}
        for entry in self.entries:
            self._known.setdefault((entry.check, entry.artifact), set()).add(entry.culprit)

    def known(self, check: str, artifact: str) -> Collection[str]:
        """What is known to fall short in one artifact."""
        return self._known.get((check, artifact), ())


def keys_of(outcome: Outcome, culprits: Culprits, remaining: Iterable[Culprit], *, fail_on_unknown: bool) -> list[str]:
    """What a rejected verdict is compared by with the baseline.

    Parameters
    ----------
    culprits: all of the verdict.
    remaining: those of them that are not waived.
    fail_on_unknown: whether what is unknown of the rest is a failure too.
    """
    if outcome is Outcome.UNKNOWN:
        return [UNKNOWN]
    remaining = tuple(remaining)
    if culprits.rest in (None, Outcome.FAIL) or not all(culprit.is_stable for culprit in remaining):
        return [WHOLE]
    keys = keys_of_culprits(remaining)
    if fail_on_unknown and culprits.rest is Outcome.UNKNOWN:
        keys.append(UNKNOWN)
    return keys


def load_baseline(path: str) -> Baseline:
    """The baseline in a file.

    Raises
    ------
    PolicyError: it cannot be read, or lines in it are no entries; all of them are named.
    """
    name = display(path, os.getcwd())
    problems = []
    comments: dict[Entry | None, list[str]] = {}
    above: list[str] = []
    for number, line in enumerate([*_lines(path, name), ""], 1):
        if line.startswith("#"):
            above += [line] if line not in _HEAD.splitlines() else []
            continue
        fields = line.split("\t") if line.strip() else []
        entry = Entry(*fields) if len(fields) == len(Entry._fields) else None
        if fields and (problem := _problem(entry)):
            problems.append(f"baseline {name}, line {number}: {problem}: {shown(line[:200])}")
        comments.setdefault(entry, []).extend(above)
        above = []
    if problems:
        raise PolicyError("\n".join(problems))
    return Baseline(name, filter(None, comments), comments)


def _lines(path: str, name: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as stream:
            return [line.removesuffix("\r") for line in stream.read().split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        hint = "; --hardening-update-baseline makes it" if isinstance(error, FileNotFoundError) else ""
        raise PolicyError(f"baseline {name}: cannot be read: {reason}{hint}") from None


def _problem(entry: Entry | None) -> str:
    if entry is None:
        return "expected three fields with tabs between: check, artifact, culprit"
    if entry.check not in check_names():
        try:
            get_check(entry.check)
        except PolicyError as error:
            return str(error)
    if not all(field.strip() for field in entry):
        return "a field is empty"
    return ""


def has_lasting_name(artifact: str) -> bool:
    """Whether a file lies in the project: the name of any other may be another one on another machine."""
    return not artifact.startswith("/")


def updated(
    old: Iterable[Entry], judged: Mapping[tuple[str, str], Collection[str] | None], stale: Collection[Entry] = ()
) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """The entries for a new baseline, sorted; and of them those that are new, and those of `old` that are gone.

    Parameters
    ----------
    old: the entries so far; those of what was not judged stay.
    judged: check and artifact -> what falls short in it now; None where that could not be told.
    stale: of `old`, those that are about nothing.
    """
    before = set(old)
    after = {entry for entry in before.difference(stale) if judged.get((entry.check, entry.artifact)) is None}
    for (check, artifact), keys in judged.items():
        if has_lasting_name(artifact):
            after.update(Entry(check, artifact, key) for key in keys or ())
    return sorted(after), sorted(after - before), sorted(before - after)


def write_baseline(path: str, entries: Iterable[Entry], comments: Comments | None = None) -> None:
    """Write a baseline in one step: who reads meanwhile sees the old one or the new one.

    Parameters
    ----------
    comments: as `Baseline` has them; those on entries that are not written stand at the top.

    Raises
    ------
    OSError: it cannot be written.
    """
    path = os.path.realpath(path)
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=os.path.basename(path))
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(_HEAD)
            stream.writelines(f"{line}\n" for line in _body(entries, comments or {}))
        os.chmod(temporary, _mode(path))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _body(entries: Iterable[Entry], comments: Comments) -> Iterator[str]:
    written = dict.fromkeys(entries)
    if on_file := [line for entry, lines in comments.items() if entry not in written for line in lines]:
        yield from (*on_file, "")
    for entry in written:
        yield from (*comments.get(entry, ()), "\t".join(entry))


def _mode(path: str) -> int:
    """The permissions that a file has, or that a new one gets."""
    try:
        return os.stat(path).st_mode & 0o7777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
