"""Which targets CMake's target `all` builds: nobody expects one that was added with EXCLUDE_FROM_ALL to be there.

The file API does not tell, so this reads what the generators wrote: `CMakeFiles/Makefile2`
(cmGlobalUnixMakefileGenerator3, WriteDirectoryRule2) or the `phony` edges of build.ninja (cmGlobalNinjaGenerator,
WriteTargetAll).
"""

from __future__ import annotations

import os
import re

from ...elf.source import Source
from ...errors import ArtifactError

__all__ = ["built_by_all"]

_MOST_BYTES = 1 << 26
_MAKE = re.compile(r"^((?:(?:\\.|[^\s\\])*/)?all): ((?:\\.|[^\s\\])*/all)$", re.MULTILINE)
_NINJA = re.compile(r"^build ((?:[^\s:$]|\$.)*?all(?:\$:\w+)?): phony ?(.*)$", re.MULTILINE)
_MAKE_NODE = re.compile(r"(?:(?P<folder>.+)/)?CMakeFiles/(?P<target>[^/]+)\.dir/all")


def built_by_all(folder: str, configuration: str = "") -> frozenset[str] | None:
    """The names of targets, and the absolute paths of files, that a build without a named target makes.

    What only another target needs may be missing. None where the generator's files do not tell.

    Parameters
    ----------
    folder: the build folder, absolute.
    configuration: of a generator that builds several in one folder; else empty.
    """
    ninja = os.path.join("CMakeFiles", f"impl-{configuration}.ninja") if configuration else "build.ninja"
    for name, pattern in ((os.path.join("CMakeFiles", "Makefile2"), _MAKE), (ninja, _NINJA)):
        text = _text(os.path.join(folder, name))
        if text:
            start = f"all:{configuration}" if configuration else "all"
            reached = _reached(start, text, pattern)
            return frozenset(_named(node, folder) for node in reached) if reached else None
    return None


def _text(path: str) -> str:
    try:
        with Source.open(path) as source:
            return source.read(0, source.size).decode("utf-8", "surrogateescape") if source.size < _MOST_BYTES else ""
    except ArtifactError:
        return ""


def _reached(start: str, text: str, pattern: re.Pattern[str]) -> set[str]:
    """All that a node leads to, itself not."""
    edges: dict[str, list[str]] = {}
    for match in pattern.finditer(text):
        words = [_plain(word) for word in re.findall(r"(?:[$\\].|\S)+", match[2])]
        edges.setdefault(_plain(match[1]), []).extend(words)
    reached: set[str] = set()
    pending = [start]
    while pending:
        for node in edges.pop(pending.pop(), ()):
            reached.add(node)
            pending.append(node)
    return reached


def _plain(word: str) -> str:
    """A name without the escapes of ninja and make."""
    return re.sub(r"[$\\](.)", r"\1", word)


def _named(node: str, folder: str) -> str:
    """The target of a node of Makefile2; of ninja's, its file."""
    match = _MAKE_NODE.fullmatch(node)
    return match["target"] if match else os.path.normpath(os.path.join(folder, node))
