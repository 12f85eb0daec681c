"""What falls short, taken apart again: archive member, unit, function; as waivers and the baseline compare it."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..checks.functions import Named, each_once, parsed, source_function
from ..elf.image import printable
from ..model import ArtifactReport, Outcome, Report, Verdict

__all__ = ["Culprit", "Culprits", "culprits_of", "keys_of_culprits", "read_culprit", "without_number"]

_NUMBER = re.compile(r" #\d+$")


@dataclass(frozen=True, slots=True)
class Culprit:
    """One of a verdict's culprits.

    Parameters
    ----------
    name: as it is shown, but relative to the project: `src/F.c: copy()`, `copy()`, `F.c`, `F.o`, `0x1149-0x11a0`.
    unit: the translation unit or archive member, relative to the project's root folder where it lies below it; else the
        symbol, the library or the element of a search path, with `<root>` for that folder. Empty when unknown.
    function: the symbol; empty when unknown.
    parts: of an archive's member, what falls short in it; None where that is not known in full.
    source: the unit as the file names it.
    is_stable: whether the name means the same after the next build: an address range does not.
    is_entry: whether it is an entry of the dynamic section.
    is_member: whether it is a member of a static archive.
    """

    name: str
    unit: str = ""
    function: str = ""
    parts: tuple[Culprit, ...] | None = None
    source: str = ""
    is_stable: bool = True
    is_entry: bool = False
    is_member: bool = False


@dataclass(frozen=True, slots=True)
class Culprits:
    """The culprits of one verdict.

    Parameters
    ----------
    found: in order; empty where the verdict names none.
    rest: what the check says of the file without them; None where they are not all that falls short.
    """

    found: tuple[Culprit, ...]
    rest: Outcome | None


def culprits_of(report: Report, check: str, root: str = "") -> Culprits:
    """What makes a check fail, or leaves it unknown, in one artifact.

    In a static archive these are the members, all of them, even where the verdict names the first ones only.

    Parameters
    ----------
    root: the project's root folder, absolute; empty where there is none.
    """
    verdict = report.verdict(check)
    if not report.members:
        return Culprits(_read(verdict, root), verdict.rest if verdict.culprits else None)
    judged = [(member, verdict) for member in report.members for verdict in member.verdicts if verdict.check == check]
    found = tuple(_member(*one, root) for one in judged if one[1].outcome is verdict.outcome)
    return Culprits(found, _worst(one.outcome for _, one in judged if one.outcome is not verdict.outcome))


def _read(verdict: Verdict, root: str) -> tuple[Culprit, ...]:
    return tuple(read_culprit(name, root) for name in verdict.culprits)


def _member(member: ArtifactReport, verdict: Verdict, root: str) -> Culprit:
    name = member.member or ""
    is_whole = verdict.culprits and verdict.rest in (Outcome.PASS, Outcome.NOT_APPLICABLE)
    return Culprit(name, name, parts=_read(verdict, root) if is_whole else None, source=name, is_member=True)


def _worst(outcomes: Iterable[Outcome]) -> Outcome:
    found = set(outcomes)
    return next((one for one in (Outcome.FAIL, Outcome.UNKNOWN) if one in found), Outcome.PASS)


def read_culprit(name: str, root: str = "") -> Culprit:
    """The parts of a name that `checks/functions.py` wrote."""
    found = parsed(name)
    below = root.rstrip("/") + "/"
    if found.is_entry:
        unit, name = (text.replace(below, "<root>/") if root else text for text in (found.unit, name))
    else:
        unit = posixpath.normpath(found.unit) if found.unit.startswith("/") else found.unit
        unit = unit.removeprefix(below) if root else unit
        name = unit + name.removeprefix(found.unit)
    return Culprit(name, unit, found.function, None, found.unit, not found.is_range, found.is_entry)


def keys_of_culprits(culprits: Iterable[Culprit]) -> list[str]:
    """Names for some culprits that are the same after the next build, also on another machine; each once.

    Units outside the project go by their base names. A function goes by the name in the source, whatever pieces the
    compiler made of it. The second of one name ends in ` #2`, so that a further one is another name.
    """
    names = each_once(name for culprit in culprits for name in _named(culprit))
    seen: Counter[str] = Counter()
    keys = []
    for key in map(_key, names):
        seen[key] += 1
        keys.append(key if seen[key] == 1 else f"{key} #{seen[key]}")
    return keys


def without_number(key: str) -> str:
    """A key as the name of its culprit."""
    return _NUMBER.sub("", key)


def _named(culprit: Culprit) -> Iterator[Named]:
    """A culprit, or what falls short in an archive's member, where that is known and has lasting names."""
    if culprit.parts and all(part.is_stable and (part.function or part.is_entry) for part in culprit.parts):
        for part in culprit.parts:
            yield Named(f"{culprit.name}: {part.name}", culprit.unit, part.function)
    else:
        yield Named(culprit.name, culprit.unit, culprit.function, is_entry=culprit.is_entry)


def _key(name: Named) -> str:
    unit = posixpath.basename(name.unit) if name.unit.startswith("/") else name.unit
    if name.is_entry:
        key = name.text
    elif name.function:
        key = f"{unit}: {source_function(name.function)}()" if unit else f"{source_function(name.function)}()"
    else:
        key = unit or name.text
    key = printable(key)
    # a source may have the name that stands for the whole check, or none that can be seen: `clang -x c -`
    return "".join(f"\\x{ord(char):02x}" for char in key) if key in ("-", "?") or not key.strip() else key
