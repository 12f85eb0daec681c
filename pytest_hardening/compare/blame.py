"""What fails in one build and not in the other, of files that fail in both."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable

from .records import Answer

__all__ = ["are_named", "fresh"]

_RANGE = re.compile(r"(^|: )0x[0-9a-f]+-0x[0-9a-f]+$")
_FUNCTION = re.compile(r"^(?:(?P<unit>.*): )?(?P<function>.+)\(\)$")

#: Unit and function; one of them may be empty.
_Place = tuple[str, str]


def are_named(answer: Answer) -> bool:
    """Whether every part that fails has a name that is the same in the next build: address ranges of stripped
    functions are not, and of very many the verdict names only the first ones.
    """
    return 0 < answer.count <= len(answer.failing) and not any(map(_RANGE.search, answer.failing))


def fresh(old: Iterable[str], new: Iterable[str]) -> tuple[str, ...]:
    """The units and functions in `new` that are not in `old`, by the unit's base name and the function's name.

    Where one side names the unit alone, or the function alone, that covers the part: debug information on one side
    only is no difference. So are the pieces that a compiler makes of a function (`copy.part.0`).
    """
    left = Counter(map(_place, old))
    known = frozenset(left)
    exact = Counter(old)
    found = []
    for name in sorted(new, key=lambda name: name not in exact):  # the same names first, others take what is left
        place = _place(name)
        if left[place] > 0:
            left[place] -= 1
        elif not _is_covered(place, known):
            found.append(name)
    return tuple(found)


def _is_covered(place: _Place, known: frozenset[_Place]) -> bool:
    unit, function = place
    if not function:
        return any(other == unit and what for other, what in known)
    if not unit:
        return any(what == function and other for other, what in known)
    return (unit, "") in known or ("", function) in known


def _place(name: str) -> _Place:
    match = _FUNCTION.match(name)
    if match is None:
        return posixpath.basename(name) or name, ""
    function = match["function"]
    return posixpath.basename(match["unit"] or ""), function.partition(".")[0] or function
