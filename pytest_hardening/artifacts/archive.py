"""Static archives (ar), ordinary and thin.

Format: ar(5), binutils "ar" manual and bfd/archive.c. Read here because the libraries at hand fail on thin archives or
GNU long names: `ar` raises, `arpy` yields only the first member, `unix-ar` does not know long names.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..elf.source import Source
from ..errors import ArtifactError
from .names import shown

__all__ = ["MAGIC", "MAGIC_THIN", "ArchiveMember", "is_archive", "members", "open_member"]

MAGIC, MAGIC_THIN = b"!<arch>\n", b"!<thin>\n"
_HEADER = 60
_MOST_MEMBERS = 1 << 18
_MOST_TIMES = 8  # a small thin archive must not make us read one large file over and over
_BSD_INDEXES = (b"__.SYMDEF", b"__.SYMDEF SORTED", b"__.SYMDEF_64", b"__.SYMDEF_64 SORTED")
_INDEX_WORDS = {b"/": ">I", b"/SYM64/": ">Q"}


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One member: at `offset` with `size` in the archive, or in the file `path` where the archive is thin."""

    name: str
    offset: int
    size: int
    path: str | None


def is_archive(source: Source) -> bool:
    """Whether a file is an ar archive of either kind."""
    return source.size >= 8 and source.read(0, 8) in (MAGIC, MAGIC_THIN)


def members(source: Source, path: str) -> tuple[ArchiveMember, ...]:
    """All members but the symbol and name tables; a name that occurs again gets #2, #3 ...

    Raises
    ------
    ArtifactError: a header is damaged or a member reaches beyond the file.
    """
    thin = source.read(0, 8) == MAGIC_THIN
    names = b""
    found: list[ArchiveMember] = []
    seen: dict[str, int] = {}
    named: Counter[str] = Counter()
    position = 8
    while position < source.size:
        if len(found) >= _MOST_MEMBERS:
            raise ArtifactError(f"archive has more than {_MOST_MEMBERS} members")
        raw, size = _header(source, position)
        start = position + _HEADER
        # tables stand in front of the members (bfd/archive.c); behind them a name like theirs is a member's
        special = not found and raw in (b"/", b"/SYM64/", b"//", *_BSD_INDEXES)
        stored = size if special or not thin else 0
        if start + stored > source.size:
            raise ArtifactError(f"archive is truncated: the member at {position:#x} reaches beyond the file")
        if special and raw in _INDEX_WORDS:
            _check_index(source, start, size, _INDEX_WORDS[raw])
        elif special and raw == b"//":
            names = source.read(start, min(size, 1 << 26))
        elif not special:
            name, skip = _name(raw, names, source, start, size)
            if found or name not in _BSD_INDEXES:
                text = shown(name)
                seen[text] = seen.get(text, 0) + 1
                label = text if seen[text] == 1 else f"{text}#{seen[text]}"
                outside = os.path.normpath(os.path.join(os.path.dirname(path), os.fsdecode(name))) if thin else None
                if outside is not None:
                    named[outside] += 1
                    if named[outside] > _MOST_TIMES:
                        raise ArtifactError(f"archive names {text} more than {_MOST_TIMES} times")
                found.append(ArchiveMember(label, start + skip, size - skip, outside))
        position = start + stored + (stored & 1)
    return tuple(found)


def _check_index(source: Source, start: int, size: int, word: str) -> None:
    """Raise ArtifactError when the symbol index names members behind the end: the archive was cut between two members.

    The index is a count and as many offsets of member headers, big-endian in both widths (ar(5)).
    """
    width = struct.calcsize(word)
    if size < width:
        return
    (count,) = struct.unpack(word, source.read(start, width))
    if width * (count + 1) > size:
        raise ArtifactError("archive is damaged: its symbol index is larger than its member")
    for chunk in source.chunks(start + width, count * width, width):
        if any(offset + _HEADER > source.size for (offset,) in struct.iter_unpack(word, chunk)):
            raise ArtifactError("archive is truncated: its symbol index names members behind the end")


def _header(source: Source, position: int) -> tuple[bytes, int]:
    if position + _HEADER > source.size:
        raise ArtifactError(f"archive is truncated inside the header at {position:#x}")
    header = source.read(position, _HEADER)
    size = header[48:58].rstrip(b" ")
    if header[58:60] != b"`\n" or not size.isdigit():
        raise ArtifactError(f"archive is damaged: no member header at {position:#x}")
    return header[:16].rstrip(b" "), int(size)


def _name(raw: bytes, names: bytes, source: Source, start: int, size: int) -> tuple[bytes, int]:
    """A member's name and how many bytes of its data the name takes (BSD)."""
    if raw.startswith(b"#1/") and raw[3:].isdigit():
        length = int(raw[3:])
        if length > size:
            raise ArtifactError(f"archive is damaged: a name of {length} bytes in a member of {size}")
        return source.read(start, length).rstrip(b"\0"), length
    if raw.startswith(b"/") and raw[1:].isdigit():
        offset = int(raw[1:])
        end = names.find(b"\n", offset)
        if offset >= len(names) or end < 0:
            raise ArtifactError("archive is damaged: a long name lies outside the name table")
        return names[offset:end].removesuffix(b"/"), 0
    return raw.removesuffix(b"/"), 0


@contextmanager
def open_member(source: Source, member: ArchiveMember) -> Iterator[Source]:
    """The bytes of a member, of a thin archive's from the file it names.

    Raises
    ------
    ArtifactError: that file is missing or cannot be read.
    """
    if member.path is None:
        yield source.slice(member.offset, member.size)
        return
    with Source.open(member.path) as outside:
        yield outside
