"""tar archives, read by `tarfile` from front to end.

Three traps of `tarfile` are closed here: it takes a damaged header behind the first one for the end, so that the rest
would vanish in silence; it does not look behind the end mark, where `tar --ignore-zeros` finds more members; and it
keeps every member. What it spends time or memory on without limit is limited here.
"""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator

from ...errors import ArtifactError
from .entries import Entry, EntryKind
from .limits import CHUNK
from .streams import Forward, Reader

__all__ = ["is_tar", "tar_entries"]

_BLOCK = 512
_MOST_PADDING = 1 << 30
_MOST_GLOBAL = 100  # tarfile goes through them for each member


def is_tar(head: bytes) -> bool:
    """Whether its first 512 bytes begin a tar archive with the magic of POSIX or GNU (POSIX pax, "ustar")."""
    return len(head) >= _BLOCK and head[257:262] == b"ustar"


def tar_entries(stream: Reader) -> Iterator[Entry]:
    """The members in their order; the data of one must be read before the next is asked for.

    Raises
    ------
    ArtifactError: it is damaged or truncated.
    """
    file = Forward(stream)
    try:
        archive = tarfile.TarFile(fileobj=file, mode="r", errorlevel=1)
        while True:
            file.next_header()
            info = archive.next()
            if info is None:
                break
            if len(archive.pax_headers) > _MOST_GLOBAL:
                raise ArtifactError(f"a tar archive with more than {_MOST_GLOBAL} PAX records for all members")
            archive.members.clear()  # type: ignore[attr-defined]
            file.is_data = True
            yield _entry(archive, info)
    except (tarfile.TarError, ValueError, OSError, RecursionError, EOFError) as error:
        raise ArtifactError(f"damaged tar archive: {error}") from None
    if file.last.strip(b"\0"):
        raise ArtifactError(f"damaged tar archive: no header at {file.tell() - len(file.last):#x}")
    if len(file.last) < _BLOCK:
        raise ArtifactError("truncated tar archive: it has no end mark")
    _require_padding(stream)


def _require_padding(stream: Reader) -> None:
    """Behind the end mark there may be zeros alone."""
    for _ in range(_MOST_PADDING // CHUNK):
        data = stream.read(CHUNK)
        if not data:
            return
        if data.strip(b"\0"):
            raise ArtifactError("a tar archive with data behind its end mark, which is not judged")
    raise ArtifactError(f"a tar archive with more than {_MOST_PADDING >> 30} GiB behind its end mark")


def _entry(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Entry:
    if info.isreg():
        mode = stat.S_IFREG | info.mode & 0o7777
        return Entry(info.name, EntryKind.FILE, "", mode, info.size, lambda: _data(archive, info))
    if info.islnk():
        return Entry(info.name, EntryKind.HARD_LINK, info.linkname)
    if info.issym():
        return Entry(info.name, EntryKind.LINK, info.linkname)
    return Entry(info.name, EntryKind.FOLDER if info.isdir() else EntryKind.OTHER)


def _data(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Reader:
    file = archive.extractfile(info)
    if file is None:
        raise ArtifactError("damaged tar archive: a file without data")
    return file
