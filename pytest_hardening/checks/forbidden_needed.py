from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..elf.facts import Dynamic, ElfFacts
from ..model import Evidence, Outcome, Verdict
from .base import LINKED, Check, Parameter

__all__ = ["ForbiddenNeeded"]

_MOST = 256  # names shown; real files need a few dozen libraries
_SHOWN = 16


class ForbiddenNeeded(Check):
    """No library is needed by its path, and none that is forbidden.

    What it protects
    ----------------
    A name with a slash in DT_NEEDED is not searched for but opened as it stands: a path of the build machine that does
    not exist where the program runs, or that someone else can create there. And every library that is needed is attack
    surface: a project may forbid some, or all but a few.

    Evidence
    --------
    DT_NEEDED, DT_FILTER and DT_AUXILIARY, which all make the loader open a library: an empty name or one with a slash
    fails, $ORIGIN/... as well; so does one that a glob pattern of the parameter `forbid` matches. `allow` takes
    glob patterns of names that are accepted whatever else holds: forbid = ["*"] with a list in allow admits these
    alone. What the needed libraries need, and what dlopen() loads, stands in other files.

    When it does not apply
    ----------------------
    Static programs without dynamic section, objects and archives.

    Fix
    ---
    Give the library a SONAME (-Wl,-soname) and link it with -L and -l instead of its path; drop the -l of a library
    that is forbidden, and see with -Wl,--as-needed whether it was used at all.

    References
    ----------
    System V gABI, "Shared Object Dependencies"; ld.so(8); ld manual (-soname, --as-needed, -f, -F); CWE-426.
    """

    name = "forbidden-needed"
    label = "No forbidden library"
    kinds = LINKED
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "forbid": Parameter((), (), 'glob patterns of names that must not be needed, such as "libcurl.so*"'),
        "allow": Parameter((), (), 'glob patterns of names that are accepted whatever else holds, such as "libc.so.6"'),
    }

    def inapplicable(self, facts: ElfFacts) -> str:
        return "" if facts.dynamic is not None else "static, without dynamic section: no library is needed"

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        names = tuple(_names(facts.dynamic)) if facts.dynamic is not None else ()
        observed: dict[str, Any] = {"needed": [name for _, name in names[:_MOST]]}
        if not names:
            return self.passed("needs no library", **observed)
        bad = [(tag, name, why) for tag, name in names if (why := _why(name, parameters))]
        if not bad:
            return self.passed("no library by its path, and none that is forbidden", **observed)
        tag, name, why = bad[0]
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        return self.failed(
            f"{tag} {name!r} {why}{more}",
            *(Evidence("dynamic section", f"{tag} {name!r} {why}") for tag, name, why in bad[:_SHOWN]),
            remedy="give the library a SONAME (-Wl,-soname) and link it with -l"
            if why != _FORBIDDEN
            else "link without the library, or with -Wl,--as-needed where nothing of it is used",
            culprits=tuple(dict.fromkeys(name for _, name, _ in bad[:_MOST])),
            rest=Outcome.PASS if len(bad) <= _MOST else None,
            **observed,
        )


_FORBIDDEN = "is forbidden"


def _names(dynamic: Dynamic) -> Iterator[tuple[str, str]]:
    for name in dynamic.needed:
        yield "DT_NEEDED", name
    for name in dynamic.filters:
        yield "DT_FILTER or DT_AUXILIARY", name


def _why(name: str, parameters: Mapping[str, Any]) -> str:
    """Why a library must not be needed so; empty when it may."""

    def matches(patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    if matches(parameters["allow"]):
        return ""
    if not name:
        return "is no name"
    if "/" in name:
        return "is a path: it is opened as it stands"
    return _FORBIDDEN if matches(parameters["forbid"]) else ""
