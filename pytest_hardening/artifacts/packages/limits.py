"""How much of a package is read: a small file must not fill the disk, the memory or the day."""

from __future__ import annotations

from ...errors import ArtifactError

__all__ = ["CHUNK", "MOST_HEADER", "Limits", "MemberError"]

#: How much is read at once.
CHUNK = 1 << 20
#: What a tar archive may say of one member before its data: names, PAX records, maps of sparse files.
MOST_HEADER = 1 << 20
_GIB = 1 << 30
_LARGEST_MEMBER = 4 * _GIB
_MOST_BYTES = 32 * _GIB
_FREE, _RATIO = 1 << 28, 200  # what xz makes of zeros is 1:7000, of programs 1:3 to 1:10
_MOST_MEMBERS = 1_000_000
_MOST_NAMES = 64 << 20
_LONGEST_NAME = 4096
_MOST_PROBLEMS = 20
_DEEPEST = 6


class MemberError(ArtifactError):
    """One member is not unpacked; the others are."""


class Limits:
    """What one package, with all that is packed in it, has used up. Every method raises ArtifactError at its limit:
    `MemberError` where it is that of one member.

    Parameters
    ----------
    size: of the package's file, in bytes.
    """

    def __init__(self, size: int) -> None:
        self._most_bytes = min(_MOST_BYTES, _FREE + _RATIO * size)
        self._bytes = 0
        self._members = 0
        self._names = 0

    def read(self, size: int) -> None:
        """Count bytes that came out of a decompressor or were copied."""
        self._bytes += size
        if self._bytes > self._most_bytes:
            why = "a decompression bomb?" if self._most_bytes < _MOST_BYTES else "too large"
            raise ArtifactError(f"not read to its end: more than {_size(self._most_bytes)} unpacked ({why})")

    def member(self, name: str) -> None:
        """Count a member."""
        self._members += 1
        self._names += len(name)
        if self._members > _MOST_MEMBERS:
            raise ArtifactError(f"not read to its end: more than {_MOST_MEMBERS} members")
        if self._names > _MOST_NAMES:
            raise ArtifactError(f"not read to its end: the names of its members take more than {_size(_MOST_NAMES)}")

    @staticmethod
    def name_is_too_long(name: str) -> bool:
        return len(name) > _LONGEST_NAME

    @staticmethod
    def size_of_member(size: int) -> None:
        """Refuse a member that is too large."""
        if size > _LARGEST_MEMBER:
            raise MemberError(f"larger than {_size(_LARGEST_MEMBER)}: not unpacked")

    @staticmethod
    def depth(depth: int) -> None:
        """Refuse packages in packages in packages ..."""
        if depth > _DEEPEST:
            raise ArtifactError(f"not opened: more than {_DEEPEST} packages inside one another")

    @staticmethod
    def is_enough(problems: int) -> bool:
        """Whether so many problems of one package are told that the others are only counted."""
        return problems >= _MOST_PROBLEMS


def _size(number: int) -> str:
    return f"{number / _GIB:.0f} GiB" if number >= 2 * _GIB else f"{number >> 20} MiB"
