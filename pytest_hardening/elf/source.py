"""Bounded, read-only access to a file or to a slice of one (an archive member)."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from types import TracebackType

from ..errors import ArtifactError

__all__ = ["Source", "SourceStream"]

_CHUNK = 1 << 20
_HEAD = 4096


class Source:
    """A window on an open file. Every read outside the window is an error, so truncation cannot pass unnoticed.

    Nothing is mapped: a file that shrinks while it is read gives an error instead of SIGBUS.
    """

    __slots__ = ("_base", "_fd", "_head", "_owner", "mode", "size")

    def __init__(self, fd: int, base: int, size: int, mode: int, *, owner: bool = False) -> None:
        self._fd = fd
        self._base = base
        self.size = size
        self.mode = mode
        self._owner = owner
        self._head = b""
        self._head = self.read(0, min(size, _HEAD))  # the ELF header and the program headers, in one call

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Source:
        """Open `path`, which must be a regular file.

        Raises
        ------
        ArtifactError: it does not exist, cannot be read, or is something other than a regular file.
        """
        try:
            _require_regular(os.stat(path))  # before it is opened: opening a device may do something
            # O_NONBLOCK: should it be replaced by a FIFO meanwhile, opening that must not hang the session
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ArtifactError(_open_error(path, error)) from None
        except ValueError as error:
            raise ArtifactError(f"cannot be opened: {error}") from None
        try:
            status = os.fstat(fd)
            _require_regular(status)
            return cls(fd, 0, status.st_size, status.st_mode, owner=True)
        except BaseException:
            os.close(fd)
            raise

    def slice(self, offset: int, size: int) -> Source:
        """A window inside this one, sharing its file; it has no `mode` of its own.

        Raises
        ------
        ArtifactError: it does not lie inside this one.
        """
        self._require(offset, size)
        return Source(self._fd, self._base + offset, size, 0)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes at `offset`.

        Raises
        ------
        ArtifactError: the window ends before, or the file was cut while it was read.
        """
        if offset >= 0 and size >= 0 and offset + size <= len(self._head):
            return self._head[offset : offset + size]
        self._require(offset, size)
        data = b""
        while len(data) < size:
            try:
                part = os.pread(self._fd, size - len(data), self._base + offset + len(data))
            except OSError as error:
                raise ArtifactError(f"cannot be read: {error.strerror}") from None
            if not part:
                raise ArtifactError("changed while it was read: it is shorter than at first")
            data = data + part if data else part
        return data

    def chunks(self, offset: int, size: int, record: int) -> Iterator[bytes]:
        """`size` bytes at `offset` in pieces of whole records, so that memory does not follow the table's size."""
        self._require(offset, size)
        step = max(record, _CHUNK - _CHUNK % record)
        for position in range(0, size, step):
            yield self.read(offset + position, min(step, size - position))

    def _require(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ArtifactError(
                f"truncated or malformed: {size:#x} bytes at offset {offset:#x} are needed, it has {self.size:#x} bytes"
            )

    def close(self) -> None:
        if self._owner:
            os.close(self._fd)
            self._owner = False

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SourceStream(io.RawIOBase):
    """A `Source` as the binary stream that pyelftools reads from. Reads past the end are short, as of any file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._source.size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._source.read(self._position, wanted) if wanted else b""
        self._position += len(data)
        return data


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ArtifactError(f"{what}, not an ELF file")


def _open_error(path: str | os.PathLike[str], error: OSError) -> str:
    if error.errno == errno.ENOENT and os.path.islink(path):
        return "dangling link: its target does not exist"
    if error.errno == errno.ELOOP:
        return "a link that leads to itself"
    if error.errno == errno.ENOENT:
        return "does not exist"
    return f"cannot be opened: {error.strerror}"
