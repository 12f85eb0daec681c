"""Debug information in a file of its own, which the file names by .gnu_debuglink or by its build identifier.

Source: GDB manual, "Separate Debug Files": the places where it is looked for, and the checksum (CRC-32 as in zlib).
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress

from ..errors import ArtifactError
from . import layout as elf
from .image import Image, printable
from .notes import build_id_of
from .source import Source

__all__ = ["debug_folders", "find_debug_file", "has_debug_info"]

_MOST_LINK = 1 << 12
_MOST_BYTES = 1 << 32


def debug_folders(path: str, roots: tuple[str, ...]) -> tuple[str, ...]:
    """The folders in which the debug file of the file at `path` may lie, when the user named `roots`."""
    if not roots:
        return ()
    folder = os.path.dirname(os.path.abspath(path))
    below = (os.path.join(root, folder.lstrip(os.sep)) for root in roots)
    return (folder, os.path.join(folder, ".debug"), *roots, *below)


def has_debug_info(image: Image) -> bool:
    """Whether a file holds DWARF itself."""
    return any(
        section.name in (".debug_info", ".zdebug_info") and section.type != elf.SHT_NOBITS and section.size
        for section in image.sections
    )


def find_debug_file(image: Image, folders: tuple[str, ...]) -> tuple[Source | None, tuple[str, ...]]:
    """The debug file of a file, open, and what was wrong with those that were not taken.

    Parameters
    ----------
    image: the file.
    folders: where to look; nothing else is opened.
    """
    problems: list[str] = []
    build_id = build_id_of(image)
    name, checksum = _debug_link(image)
    tries: list[tuple[str, int | None]] = []
    if build_id:
        digits = build_id.hex()
        tries += [(os.path.join(f, ".build-id", digits[:2], f"{digits[2:]}.debug"), None) for f in folders]
    if name:
        tries += [(os.path.join(folder, name), checksum) for folder in folders]
    for path, expected in tries:
        if not os.path.isfile(path):
            continue
        try:
            source = Source.open(path)
        except ArtifactError as error:
            problems.append(f"debug file {printable(path)}: {error}")
            continue
        problem = "it is not readable"
        with suppress(ArtifactError):
            problem = _mismatch(image, source, build_id, expected)
        if not problem:
            return source, ()
        source.close()
        problems.append(f"debug file {printable(path)}: {problem}")
    return None, tuple(dict.fromkeys(problems))


def _debug_link(image: Image) -> tuple[str, int]:
    """Name and checksum in .gnu_debuglink; empty where there is none."""
    for section in image.sections:
        if section.name == ".gnu_debuglink" and 8 <= section.size <= _MOST_LINK and section.type != elf.SHT_NOBITS:
            data = image.source.read(section.offset, section.size)
            name = os.fsdecode(data.partition(b"\0")[0])
            if name and os.sep not in name and name not in (".", ".."):
                return name, int.from_bytes(data[-4:], image.layout.order)
    return "", 0


def _mismatch(image: Image, source: Source, build_id: bytes, checksum: int | None) -> str:
    """Why a file is not the debug file of `image`; empty where it is."""
    other = Image(source)
    if (other.layout, other.header.machine) != (image.layout, image.header.machine):
        return "it is of another architecture"
    if not has_debug_info(other):
        return "it holds no DWARF"
    if checksum is None:
        return "" if build_id_of(other) == build_id else "it belongs to another build: its build identifier differs"
    if source.size > _MOST_BYTES:
        return "it is too large to be verified"
    found = 0
    for chunk in source.chunks(0, source.size, 1):
        found = zlib.crc32(chunk, found)
    return "" if found == checksum else "it belongs to another build: its checksum differs from that in .gnu_debuglink"
