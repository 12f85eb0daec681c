"""RPM packages: two headers, and a compressed cpio archive.

Format: RPM documentation, "Package Format" (lead, header structure, payload); cpio(5), "New ASCII Format". Read here
because `rpmfile` reads a whole zstd payload into memory, skips what it does not understand, and drops the modes.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator

from ...elf.source import Source
from ...errors import ArtifactError
from .entries import Entry, EntryKind
from .limits import CHUNK, Limits
from .streams import Reader, decompressed

__all__ = ["MAGIC", "rpm_entries"]

MAGIC = b"\xed\xab\xee\xdb"
_LEAD = 96
_HEADER = b"\x8e\xad\xe8\x01"
_MOST_HEADER = 256 << 20  # what rpm itself accepts (lib/header.c, HEADER_DATA_MAX)
_CPIO = (b"070701", b"070702")
_LARGE_FILES = b"07070X"
_LONGEST_NAME = 1 << 16
_LONGEST_TARGET = 1 << 12
_END = "TRAILER!!!"


def rpm_entries(source: Source, limits: Limits) -> Iterator[Entry]:
    """The members in their order; the data of one must be read before the next is asked for.

    Raises
    ------
    ArtifactError: it is damaged or truncated.
    """
    signature = _end_of_header(source, _LEAD)
    start = _end_of_header(source, signature + -signature % 8)
    return _cpio_entries(decompressed(source.slice(start, source.size - start), limits))


def _end_of_header(source: Source, position: int) -> int:
    magic, _, count, size = struct.unpack(">4s4sII", source.read(position, 16))
    if magic != _HEADER:
        raise ArtifactError(f"damaged: no RPM header at {position:#x}")
    if size > _MOST_HEADER or count > _MOST_HEADER // 16:
        raise ArtifactError("damaged: an RPM header that is too large")
    end = position + 16 + 16 * int(count) + int(size)
    if end > source.size:
        raise ArtifactError("truncated inside an RPM header")
    return end


class _Cpio:
    """The stream of a cpio archive, at a position."""

    def __init__(self, stream: Reader) -> None:
        self._stream = stream
        self.position = 0

    def exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.position += len(data)
        if len(data) < size:
            raise ArtifactError("truncated cpio archive")
        return data

    def skip_to(self, position: int) -> None:
        while self.position < position:
            self.exactly(min(CHUNK, position - self.position))


class _Data:
    """The data of one member."""

    def __init__(self, cpio: _Cpio, size: int) -> None:
        self._cpio = cpio
        self._left = size

    def read(self, size: int, /) -> bytes:
        data = self._cpio.exactly(min(size, self._left))
        self._left -= len(data)
        return data


def _cpio_entries(stream: Reader) -> Iterator[Entry]:
    cpio = _Cpio(stream)
    waiting: dict[tuple[int, ...], list[str]] = {}
    while True:
        fields = _fields(cpio)
        inode, mode, links, size = fields[0], fields[1], fields[4], fields[6]
        if not 0 < fields[11] <= _LONGEST_NAME:
            raise ArtifactError("damaged cpio archive: a name without length")
        name = cpio.exactly(fields[11])[:-1].decode("utf-8", "surrogateescape")
        if name == _END:
            break
        cpio.skip_to(cpio.position + -cpio.position % 4)
        end = cpio.position + size
        if stat.S_ISREG(mode):
            file = (inode, fields[7], fields[8])
            if links > 1 and not size:
                waiting.setdefault(file, []).append(name)  # the last link to a file has its data
            else:
                yield Entry(name, EntryKind.FILE, "", mode, size, lambda size=size: _Data(cpio, size))  # type: ignore[misc]
                for other in waiting.pop(file, ()):
                    yield Entry(other, EntryKind.HARD_LINK, name)
        elif stat.S_ISLNK(mode):
            if size > _LONGEST_TARGET:
                raise ArtifactError("damaged cpio archive: a link with too long a target")
            yield Entry(name, EntryKind.LINK, cpio.exactly(size).decode("utf-8", "surrogateescape"))
        else:
            yield Entry(name, EntryKind.FOLDER if stat.S_ISDIR(mode) else EntryKind.OTHER)
        cpio.skip_to(end + -end % 4)


def _fields(cpio: _Cpio) -> list[int]:
    """Inode, mode, owner, group, links, time, size, device (2), special device (2), length of the name, checksum."""
    magic = cpio.exactly(6)
    if magic == _LARGE_FILES:
        raise ArtifactError("an RPM with files larger than 4 GiB: not read")
    if magic not in _CPIO:
        raise ArtifactError(f"damaged cpio archive: no header at {cpio.position - 6:#x}")
    text = cpio.exactly(104)
    try:
        return [int(text[at : at + 8], 16) for at in range(0, 104, 8)]
    except ValueError:
        raise ArtifactError(f"damaged cpio archive: no header at {cpio.position - 110:#x}") from None
