"""What fails in one build and not in the other, of files that fail in both."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable

from ..checks.functions import Named, each_once, parsed, source_function
from .records import Answer

__all__ = ["are_named", "fresh"]

#: Unit and function; one of them may be empty.
_Place = tuple[str, str]


def are_named(answer: Answer) -> bool:
    """Whether every part that fails has a name that is the same in the next build: address ranges of stripped
    functions are not, and of very many the verdict names only the first ones.
    """
    return 0 < answer.count <= len(answer.failing) and not any(parsed(name).is_range for name in answer.failing)


def fresh(old: Iterable[str], new: Iterable[str]) -> tuple[str, ...]:
    """The units and functions in `new` that are not in `old`, by the unit's base name and the function's name.

    Where one side names the unit alone, or the function alone, that covers the part: debug information on one side
    only is no difference. So are the pieces that a compiler makes of a function (`copy.part.0`).
    """
    before = each_once(map(parsed, old))
    left = Counter(map(_place, before))
    known = frozenset(left)
    exact = {name.text for name in before}
    found = []
    # the same names first, others take what is left
    for name in sorted(each_once(map(parsed, new)), key=lambda name: name.text not in exact):
        place = _place(name)
        if left[place] > 0:
            left[place] -= 1
        elif not _is_covered(place, known):
            found.append(name.text)
    return tuple(found)


def _is_covered(place: _Place, known: frozenset[_Place]) -> bool:
    unit, function = place
    if not function:
        return any(other == unit and what for other, what in known)
    if not unit:
        return any(what == function and other for other, what in known)
    return (unit, "") in known or ("", function) in known


def _place(name: Named) -> _Place:
    if name.is_entry:
        return name.text, ""
    return posixpath.basename(name.unit) or name.unit, source_function(name.function)
