"""Decompressed streams, and the forward-only file that tar archives are read from: both bounded."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from ...elf.source import Source, SourceStream
from ...errors import ArtifactError
from .limits import CHUNK, MOST_HEADER, Limits

__all__ = ["Forward", "Reader", "compression", "decompressed"]

_LZMA_MEMORY = 256 << 20  # xz -9 needs 65 MiB
_ZSTD_WINDOW = 1 << 27  # zstd --long
_INPUT = 1 << 16
_BLOCK = 512
_LONG_NUMBER = re.compile(rb"\d{65}")  # takes an unpatched tarfile quadratic time (CVE-2024-6232)


class Reader(Protocol):
    """What data is read from: `read(n)` returns n bytes, fewer only at the end."""

    def read(self, size: int, /) -> bytes: ...


def compression(head: bytes) -> str:
    """How a file is compressed, from its first bytes; empty where it is not.

    Source: RFC 1952 (gzip), the .xz file format 1.2.0, the bzip2 manual, RFC 8878 (zstd), LZMA SDK (`lzma` alone).
    """
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    return ""


_MAGIC = {
    b"\x1f\x8b\x08": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x5d\0\0": "lzma",
}


def decompressed(source: Source, limits: Limits) -> Reader:
    """A file's contents, decompressed where its first bytes say that they are compressed.

    Raises
    ------
    ArtifactError: it needs a library that is not installed; the message has the command.
    """
    name = compression(source.read(0, min(source.size, 8)))
    stream = SourceStream(source)
    if not name:
        return stream
    if name == "zstd":
        return _Counted(_zstd(stream), limits)
    return _Counted(_Decompressed(stream, _MAKE[name], name), limits)


def _zstd(stream: SourceStream) -> Reader:
    try:
        import zstandard
    except ImportError:
        raise ArtifactError(
            "compressed with zstd, which needs a library: pip install 'pytest-hardening[packages]'"
        ) from None
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    reader = decompressor.stream_reader(stream, read_across_frames=True)  # type: ignore[arg-type]
    return _Zstd(reader, zstandard.ZstdError)


class _Zstd:
    """A zstd stream whose errors are ours. One that was cut has no error: what is in it has an end mark of its own."""

    def __init__(self, stream: Reader, error: type[Exception]) -> None:
        self._stream = stream
        self._error = error

    def read(self, size: int, /) -> bytes:
        try:
            return self._stream.read(size)
        except self._error as error:
            raise ArtifactError(f"damaged: {error}") from None


class _Inflate:
    """zlib's decompressor with the interface of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self._tail = b""

    def decompress(self, data: bytes, most: int) -> bytes:
        result = self._zlib.decompress(self._tail + data, most)
        self._tail = self._zlib.unconsumed_tail
        return result

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data


_MAKE: dict[str, Callable[[], Any]] = {
    "gzip": _Inflate,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY),
    "bzip2": bz2.BZ2Decompressor,
}


class _Decompressed:
    """One compressed stream after the other, as gzip, xz and bzip2 decompress concatenated files.

    Not gzip.GzipFile and its like: these cannot limit the memory of xz, and read a gzip header byte by byte.
    """

    def __init__(self, stream: SourceStream, make: Callable[[], Any], name: str) -> None:
        self._stream = stream
        self._make = make
        self._name = name
        self._current = make()
        self._input = b""
        self._at_end = False

    def read(self, size: int, /) -> bytes:
        parts: list[bytes] = []
        while size > 0 and not self._at_end:
            data = self._some(size)
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def _some(self, size: int) -> bytes:
        try:
            if self._current.eof:
                self._next()
                return b""
            if self._current.needs_input and not self._input:
                self._input = self._stream.read(_INPUT)
                if not self._input:
                    raise ArtifactError(f"truncated: the {self._name} stream has no end")
            data: bytes = self._current.decompress(self._input, size)
            self._input = b""
        except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
            raise ArtifactError(f"damaged: {self._name}: {error}") from None
        return data

    def _next(self) -> None:
        """Go on behind the end of one stream: zeros are padding, then another stream, or nothing."""
        rest = self._current.unused_data.lstrip(b"\0")
        while not rest:
            more = self._stream.read(_INPUT)
            if not more:
                self._at_end = True
                return
            rest = more.lstrip(b"\0")
        rest += self._stream.read(8)
        if compression(rest) != self._name:
            raise ArtifactError(f"damaged: data behind the end of the {self._name} stream")
        self._current = self._make()
        self._input = rest


class _Counted:
    """What a decompressor yields, counted."""

    def __init__(self, stream: Reader, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._limits.read(len(data))
        return data


class Forward(io.RawIOBase):
    """A stream as the seekable file that `tarfile` wants, of which it only ever seeks forward.

    Until `data` is set, what is read is a member's header, and has a limit: `tarfile` believes any size that it finds
    there. `last` is the block read last, by which the mark at the end is told from damage.
    """

    def __init__(self, stream: Reader) -> None:
        self._stream = stream
        self._position = 0
        self._header = 0
        self.last = b""
        self.is_data = False

    def next_header(self) -> None:
        """What is read from now on belongs to the next member's header."""
        self.is_data = False
        self._header = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._position:
            raise ArtifactError("damaged: a tar header leads backwards")
        if isinstance(self._stream, SourceStream):
            self._position = self._stream.seek(offset)
        while self._position < offset:
            skipped = len(self._stream.read(min(CHUNK, offset - self._position)))
            if not skipped:
                break
            self._position += skipped
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            raise ArtifactError("damaged: a tar header has no size")
        if not self.is_data:
            self._header += size
            if self._header > MOST_HEADER:
                raise ArtifactError(f"a member's header is larger than {MOST_HEADER >> 20} MiB")
        data = self._stream.read(size)
        self._position += len(data)
        self.last = data
        if not self.is_data and size > _BLOCK and _LONG_NUMBER.search(data):
            raise ArtifactError("damaged: a tar header with a number of more than 64 digits")
        return data
