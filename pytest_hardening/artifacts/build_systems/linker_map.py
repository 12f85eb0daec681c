"""Link maps (`-Wl,-Map=FILE`): which objects and archive members went into a linked file.

Sources: the maps that GNU ld 2.40, gold 1.16 and lld 14 and 19 write; ld manual, -Map. Where a file has no debug
information and no symbols, its map is all that names its objects.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from ...checks.registry import get_check
from ...elf.reader import ElfReader
from ...elf.source import Source
from ...errors import ArtifactError
from ...model import Outcome
from ...recipe import Recipe
from ..archive import is_archive, members, open_member

__all__ = ["LinkedObject", "map_of", "read", "stack_makers", "with_executable_stack"]

_MOST_BYTES = 1 << 30
_MOST_LINE = 1 << 14
_MOST_OBJECTS = 100_000
# " .text  0x1140  0x2a  x.o", the section on a line of its own where it is long (GNU ld, gold)
_GNU = re.compile(r"^ {1,40}(?:[^\s(][^\s]{0,1000} +)?0x[0-9a-f]+ +0x[0-9a-f]+ (\S.*)$")
# " 1140  1140  2a  16   x.o:(.text)" (lld)
_LLD = re.compile(r"^ *[0-9a-f]+ +[0-9a-f]+ +[0-9a-f]+ +\d+ +(\S.*):\([^()]*\)$")
_MEMBER = re.compile(r"^(.+)\(([^()]+)\)$")
_OPTION = re.compile(r"-Wl,(?:.*,)?-{1,2}Map(?:=|,)([^,]+)(?:,.*)?")


class LinkedObject(NamedTuple):
    """An object that was linked.

    Parameters
    ----------
    path: of the object or its archive, as the linker was given it: often relative to the folder of the link step.
    member: its name in the archive; empty for an object file.
    """

    path: str
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}({self.member})" if self.member else self.path


def read(path: str) -> tuple[LinkedObject, ...]:
    """The objects that a map names, in the order in which they come first.

    Raises
    ------
    ArtifactError: the file cannot be read, is too large, or is no map of a linker known here.
    """
    found: dict[LinkedObject, None] = {}
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > _MOST_BYTES:
            raise ArtifactError("no file, or too large for a link map")
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            for line in stream:
                if len(line) < _MOST_LINE and (match := _GNU.match(line) or _LLD.match(line)):
                    name = match[1].rstrip()
                    member = _MEMBER.match(name)
                    one = LinkedObject(member[1], member[2]) if member else LinkedObject(name)
                    if one.path.endswith((".o", ".obj", ".a", ".lo")) and len(found) < _MOST_OBJECTS:
                        found[one] = None
    except OSError as error:
        raise ArtifactError(f"the link map cannot be read: {error.strerror}") from None
    if not found:
        raise ArtifactError("no link map of GNU ld, gold or lld: it names no object")
    return tuple(found)


def map_of(path: str, recipe: Recipe | None = None, folder: str = "") -> str:
    """The link map of a linked file: the one that its link step was told to write, or FILE.map beside it; empty where
    there is none.

    Parameters
    ----------
    folder: the folder of the link step, to which the option is relative.
    """
    words = recipe.link_arguments if recipe is not None else ()
    named = [os.path.join(folder, found[1]) for word in words if (found := _OPTION.fullmatch(word))]
    return next((name for name in (*named, f"{path}.map") if os.path.isfile(name)), "")


def with_executable_stack(objects: Iterable[LinkedObject], folders: Iterable[str]) -> Iterator[LinkedObject]:
    """Of some objects those that make the stack of what they are linked into executable. Those that are no longer
    there, or cannot be read, are passed over.

    Parameters
    ----------
    folders: where relative paths are looked for, the likeliest first.
    """
    folders = tuple(folders)
    check = get_check("nx-stack")
    for one in objects:
        places = (os.path.join(folder, one.path) for folder in folders)
        path = next((place for place in places if os.path.isfile(place)), "")
        try:
            if path and any(check.evaluate(reader.facts, {}).outcome is Outcome.FAIL for reader in _readers(path, one)):
                yield one
        except ArtifactError:
            continue


def stack_makers(path: str, recipe: Recipe, folder: str) -> tuple[LinkedObject, ...]:
    """The objects that make the stack of a linked file executable, as far as they are still there: of its target's
    units, and where its link step wrote a map, of all that it names.

    Parameters
    ----------
    path: of the linked file.
    folder: the build folder.
    """
    objects = [LinkedObject(unit.object) for unit in recipe.units if unit.object]
    if written := map_of(path, recipe, folder):
        with suppress(ArtifactError):  # the units are known all the same
            objects += read(written)
    found = with_executable_stack(objects, (folder, os.path.dirname(path)))
    return tuple({os.path.join(folder, str(one)): one for one in found}.values())


def _readers(path: str, one: LinkedObject) -> Iterator[ElfReader]:
    """The object; of a member all that are called so, as archives may hold several."""
    with Source.open(path) as source:
        if not one.member:
            with ElfReader(source, os.path.basename(path), None) as reader:
                yield reader
        elif is_archive(source):
            for member in members(source, path):
                if member.name == one.member:
                    with open_member(source, member) as content, ElfReader(content, member.name, None) as reader:
                        yield reader
