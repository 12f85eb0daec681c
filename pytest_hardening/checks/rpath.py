from __future__ import annotations

import fnmatch
import posixpath
import stat
from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts
from ..model import Evidence, Outcome, Verdict
from .base import LINKED, Check, Parameter
from .functions import entry_culprit

__all__ = ["Rpath", "classify"]

# world-writable on every distribution (Filesystem Hierarchy Standard 3.0)
_WORLD_WRITABLE = ("/tmp", "/var/tmp", "/dev/shm", "/run/shm", "/run/lock", "/var/lock", "/var/crash")  # noqa: S108
# where people and build services build; nobody installs libraries there
_BUILD_PLACES = (
    "/home", "/root", "/build", "/builds", "/builddir", "/buildroot", "/usr/src", "/workspace", "/__w", "/github",
    "/var/lib/jenkins", "/Users", "/mnt", "/media",
)  # fmt: skip
# what stands there depends on the process: its current directory, its open files
_PROCESS = ("/proc", "/dev")
_MOST_CULPRITS = 200
_FAR = 3  # $ORIGIN/../../lib is a usual layout; more steps that end in /tmp are none
_SAFE = frozenset({"origin", "absolute", "allowed"})
_MEANING = {
    "empty": "an empty element: the current directory of whoever starts the program",
    "relative": "relative: below the current directory of whoever starts the program",
    "origin-escapes": "$ORIGIN left by so many steps that it ends where others may write",
    "world-writable": "in or below a directory where every user may create files",
    "build-directory": "in a build directory: it does not exist, or belongs to someone else, where the program runs",
    "origin-setuid": "$ORIGIN in a set-user-ID program: whoever links to the program chooses the libraries",
}


class Rpath(Check):
    """Libraries are not searched in places that others control.

    What it protects
    ----------------
    DT_RPATH and DT_RUNPATH put directories in front of the system's. Who can create a file in one of them runs code in
    the program.

    Evidence
    --------
    Every element of DT_RPATH and DT_RUNPATH, read through PT_DYNAMIC, and what the loader opens as it stands: DT_AUDIT,
    PT_INTERP, names in DT_NEEDED that hold a slash. Empty, relative (/proc and /dev are), world-writable,
    build-directory, $ORIGIN in a set-user-ID program or left for such a place: all fail. $ORIGIN-relative and absolute
    system directories pass.

    When it does not apply
    ----------------------
    Static programs without dynamic section, objects and archives.

    Fix
    ---
    Drop -Wl,-rpath, or use '$ORIGIN/../lib'. CMake: gate installed files, or set CMAKE_BUILD_RPATH_USE_ORIGIN; libtool:
    relink at install; `patchelf --remove-rpath` as a last resort. The parameter `allow` takes glob patterns of
    elements.

    References
    ----------
    System V gABI, "Shared Object Dependencies"; ld.so(8); CWE-426.
    """

    name = "rpath"
    label = "Safe library search path"
    kinds = LINKED
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "allow": Parameter((), (), "glob patterns of elements that are accepted, for example /opt/vendor/*")
    }

    def inapplicable(self, facts: ElfFacts) -> str:
        return "" if facts.dynamic is not None else "static, without dynamic section: no library is searched"

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        dynamic = facts.dynamic
        found: list[tuple[str, str, str]] = []
        for tag, value in (
            ("DT_RPATH", dynamic.rpath if dynamic else None),
            ("DT_RUNPATH", dynamic.runpath if dynamic else None),
        ):
            if value is not None:
                found += [(tag, element, _judged(element, facts, parameters["allow"])) for element in value.split(":")]
        if dynamic is not None:
            # the same question for what the loader opens by a path of its own
            for tag, values in (("DT_AUDIT", dynamic.audit), ("DT_NEEDED", _with_slash(dynamic.needed))):
                found += [(tag, value, _judged(value, facts, parameters["allow"])) for value in values]
            if facts.interpreter is not None:
                kind = _judged(facts.interpreter, facts, parameters["allow"])
                found += [("PT_INTERP", facts.interpreter, kind)] if kind not in _SAFE else []
        observed: dict[str, Any] = {
            "rpath": dynamic.rpath if dynamic else None,
            "runpath": dynamic.runpath if dynamic else None,
            "elements": [{"tag": tag, "element": element, "class": kind} for tag, element, kind in found],
        }
        if not found:
            return self.passed("no RPATH and no RUNPATH", **observed)
        bad = [item for item in found if item[2] not in _SAFE]
        if not bad:
            seen = (Evidence("dynamic section", f"{tag} {element} ({kind})") for tag, element, kind in found)
            return self.passed("library search path is safe", *seen, **observed)
        tag, element, kind = bad[0]
        return self.failed(
            f"{tag} {element!r} is {_MEANING[kind]}",
            *(Evidence("dynamic section", f"{tag} {element!r}: {kind}") for tag, element, kind in bad),
            remedy=_REMEDIES.get(tag, "drop -Wl,-rpath (CMake: set CMAKE_BUILD_RPATH_USE_ORIGIN), or use '$ORIGIN'"),
            culprits=tuple(dict.fromkeys(entry_culprit(tag, element) for tag, element, _ in bad))[:_MOST_CULPRITS],
            rest=Outcome.PASS if len(bad) <= _MOST_CULPRITS else None,
            **observed,
        )


_REMEDIES = {
    "DT_NEEDED": "give the library a SONAME (-Wl,-soname) and link it with -l",
    "DT_AUDIT": "drop -Wl,--audit and -Wl,--depaudit",
    "PT_INTERP": "drop -Wl,--dynamic-linker",
}


def _with_slash(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of libraries that are not searched for but opened as they stand (ld.so(8))."""
    return tuple(name for name in names if "/" in name)


def _judged(element: str, facts: ElfFacts, allow: tuple[str, ...]) -> str:
    if any(fnmatch.fnmatchcase(element, pattern) for pattern in allow):
        return "allowed"
    return classify(element, facts.build_root, setuid=bool(facts.mode & (stat.S_ISUID | stat.S_ISGID)))


def classify(element: str, build_root: str | None = None, *, setuid: bool = False) -> str:
    """The class of one search path element: empty, relative, origin, origin-setuid, origin-escapes, world-writable,
    build-directory or absolute.

    Parameters
    ----------
    element: one element of DT_RPATH or DT_RUNPATH.
    build_root: the build tree that the file lies in, if it does.
    setuid: whether the file is set-user-ID or set-group-ID.
    """
    if element == "":
        return "empty"
    plain = element.replace("${ORIGIN}", "$ORIGIN")
    if plain == "$ORIGIN" or plain.startswith("$ORIGIN/"):
        if setuid:
            return "origin-setuid"
        climbed = posixpath.normpath(plain.removeprefix("$ORIGIN").lstrip("/") or ".").split("/")
        rest = "/" + "/".join(part for part in climbed if part != "..")
        far = climbed.count("..") >= _FAR and _below(rest, _WORLD_WRITABLE + _BUILD_PLACES)
        return "origin-escapes" if far else "origin"
    if not plain.startswith("/"):
        return "relative"
    path = posixpath.normpath("/" + plain.lstrip("/"))
    if _below(path, _PROCESS) and not _below(path, _WORLD_WRITABLE):
        return "relative"
    if _below(path, _WORLD_WRITABLE):
        return "world-writable"
    if _below(path, _BUILD_PLACES) or (build_root is not None and _below(path, (build_root,))):
        return "build-directory"
    return "absolute"


def _below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(place.rstrip("/") + "/") for place in places)
