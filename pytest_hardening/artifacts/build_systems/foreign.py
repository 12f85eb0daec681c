"""What a link step takes in that no unit of the build is known to be in: archives and objects of others, libraries."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from .command_line import calls

__all__ = ["foreign_code", "is_object"]

# what every system has as shared libraries; another one may be an archive
_SHARED_LIBRARIES = frozenset("atomic c dl gcc gcc_s m pthread resolv rt stdc++ util".split())
_STATIC = frozenset(("-static", "-static-pie", "-static-libstdc++"))
_SHARED = re.compile(r".*\.so(\.[\w.]*)?")
_OBJECTS = (".a", ".o", ".lo", ".obj", ".la", ".lib", ".bc")
_LIBRARY = re.compile(r"(?:-l|--library=)(.+)", re.DOTALL)


def is_object(path: str) -> bool:
    """Whether a file is called as an object or an archive."""
    return path.endswith(_OBJECTS)


def foreign_code(words: Sequence[str], is_own: Callable[[str], bool]) -> tuple[str, ...]:
    """Of the words behind the compiler of a link step, those that may bring code whose units are not known.

    Parameters
    ----------
    is_own: whether a file is one that the build makes of units that are known.

    Returns
    -------
    Archives, objects, files with further options, `-static`, and libraries as `-lNAME`: see `Recipe.foreign`.
    """
    found: dict[str, None] = {}
    for call in calls(("cc", *words)):
        files = (*call.inputs, *(name for name, _ in call.sources))
        found.update((name, None) for name in files if not _SHARED.fullmatch(name) and not is_own(name))
        found.update((name, None) for name in _of_options(call.options) if _is_foreign(name, is_own))
    return tuple(found)


def _is_foreign(name: str, is_own: Callable[[str], bool]) -> bool:
    if not name.startswith("-l"):
        return not is_own(name)
    return name[2:] not in _SHARED_LIBRARIES and not _SHARED.fullmatch(os.path.basename(name))


def _of_options(options: Iterable[str]) -> Iterator[str]:
    """Libraries, objects and further options among options; those for the linker are taken out of -Wl and -Xlinker."""
    words = iter(options)
    for word in words:
        if word.startswith("-Wl,"):
            yield from _of_linker(word.split(",")[1:])
        elif word == "-Xlinker":
            yield from _of_linker([next(words, "")])
        elif word == "-l":
            yield f"-l{next(words, '')}"
        elif word in _STATIC or word.startswith(("@", "-l")):
            yield word


def _of_linker(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if library := _LIBRARY.fullmatch(word):
            yield f"-l{library[1]}"
        elif word.startswith("@") or (is_object(word) and not word.startswith("-")):
            yield word
