"""Files of a package that may hold programs and are not opened: archives of other kinds, and compressed files."""

from __future__ import annotations

import lzma
import zlib

from ..archive import MAGIC, MAGIC_THIN
from .streams import compression
from .tars import is_tar
from .zips import is_zip

__all__ = ["UNOPENED", "may_hold_programs"]

#: Why such files are left out.
UNOPENED = "archives and compressed files that were not opened"

# What file(1) tells them by.
_ARCHIVES = (
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"MSCF",
    b"hsqs",  # squashfs: snaps
    b"070701",  # cpio
    b"070702",
    b"070707",
    b"ADB",  # Alpine's packages of format 3
    b"\x04\x22\x4d\x18",  # lz4
    b"LZIP",
    b"\x89LZO\0\r\n\x1a\n",
    b"\x1f\x9d",  # compress
)
_PROGRAMS = (b"\x7fELF", MAGIC, MAGIC_THIN)
_MEMORY = 256 << 20
_ENOUGH = 512


def may_hold_programs(head: bytes) -> bool:
    """Whether a file may be an archive, or a compressed program or archive. A compressed page of a manual is none.

    Parameters
    ----------
    head: the first bytes of the file.
    """
    name = compression(head)
    return _holds(name, head) if name else _is_archive(head)


def _holds(name: str, head: bytes) -> bool:
    try:
        if name == "gzip":
            start = zlib.decompressobj(wbits=31).decompress(head, _ENOUGH)
        elif name in ("xz", "lzma"):
            start = lzma.LZMADecompressor(memlimit=_MEMORY).decompress(head, _ENOUGH)
        else:
            return True  # of bzip2 and zstd the first bytes yield nothing
    except (zlib.error, lzma.LZMAError, ValueError, EOFError):
        return True
    return not start or start.startswith(_PROGRAMS) or bool(compression(start)) or _is_archive(start)


def _is_archive(head: bytes) -> bool:
    return is_zip(head) or is_tar(head) or head.startswith(_ARCHIVES)
