"""zip archives, wheels among them, read by `zipfile`."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator

from ...elf.source import Source, SourceStream
from ...errors import ArtifactError
from .entries import Entry, EntryKind
from .limits import Limits, MemberError
from .streams import Reader

__all__ = ["is_zip", "zip_entries"]

_MOST_DIRECTORY = 16 << 20  # zipfile reads it whole, and makes twenty times as much of it
_METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
_UNIX = 3
_LONGEST_TARGET = 4096  # PATH_MAX (linux/limits.h)


def is_zip(head: bytes) -> bool:
    """Whether it begins like a zip archive (PKWARE APPNOTE 6.3.10, 4.3.7 and 4.3.16)."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


class _Capped(SourceStream):
    """Reads that a damaged directory asks for are refused."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _MOST_DIRECTORY:
            raise ArtifactError(f"its directory is larger than {_MOST_DIRECTORY >> 20} MiB")
        return super().read(size)


def zip_entries(source: Source, limits: Limits, *, has_modes: bool) -> Iterator[Entry]:
    """The members in the order of the directory.

    Parameters
    ----------
    has_modes: whether who unpacks it gives the files the modes that stand in it: not of wheels, of which pip takes no
        more than whether a file can be executed. Where it does not, links and devices become files, too.

    Raises
    ------
    ArtifactError: it is damaged or truncated. What is wrong with one member is raised where that is opened.
    """
    try:
        archive = zipfile.ZipFile(_Capped(source))
        for info in archive.infolist():
            mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
            kind = EntryKind.FOLDER if info.is_dir() else EntryKind.FILE
            opener = _Opener(archive, info, limits)
            if has_modes and stat.S_ISLNK(mode) and _is_target(info, opener):
                kind = EntryKind.LINK
            mode = stat.S_IFREG | stat.S_IMODE(mode) if mode and has_modes else 0
            yield Entry(info.orig_filename, kind, "", mode, info.file_size, opener)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise ArtifactError(f"damaged zip archive: {error}") from None


def _is_target(info: zipfile.ZipInfo, opener: _Opener) -> bool:
    """Whether what a link holds can be a name; many a program that unpacks makes a file of it in any case."""
    if info.file_size > _LONGEST_TARGET:
        return False
    try:
        return b"\0" not in opener().read(_LONGEST_TARGET)
    except MemberError:
        return False  # told where it is taken for a file


class _Opener:
    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits) -> None:
        self._archive = archive
        self._info = info
        self._limits = limits

    def __call__(self) -> Reader:
        if self._info.flag_bits & 1:
            raise MemberError("encrypted: not unpacked")
        if self._info.compress_type not in _METHODS:  # zipfile sets no limit to what bzip2 and LZMA yield at once
            name = zipfile.compressor_names.get(self._info.compress_type, self._info.compress_type)  # type: ignore[attr-defined]
            raise MemberError(f"compressed by a method that is not read here: {name}")
        return _Member(self._archive, self._info, self._limits)


class _Member:
    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits) -> None:
        try:
            self._file = archive.open(info)
        except (zipfile.BadZipFile, RuntimeError, ValueError, OSError, NotImplementedError) as error:
            raise MemberError(f"damaged: {error}") from None
        self._limits = limits

    def read(self, size: int, /) -> bytes:
        try:
            data = self._file.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError) as error:
            raise MemberError(f"damaged: {error}") from None
        self._limits.read(len(data))
        return data
