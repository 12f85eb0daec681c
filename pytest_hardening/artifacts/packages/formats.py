"""Which files are packages: by their first bytes, and by name where other files look the same."""

from __future__ import annotations

import os
import re
from enum import Enum

from ...elf.source import Source
from ...errors import ArtifactError
from ..archive import is_archive
from .contents import PACKAGE_NAMES
from .limits import Limits
from .rpms import MAGIC as RPM_MAGIC
from .streams import compression, decompressed
from .tars import is_tar
from .zips import is_zip

__all__ = ["HEAD", "Format", "format_of", "is_opened_inside", "is_package"]

#: How many first bytes tell what a file is.
HEAD = 512
_ZIP_NAMES = (".zip", ".jar", ".aar", ".egg")
_TAR_NAME = re.compile(r"\.(tar|tar\.(gz|xz|bz2|zst|lzma)|tgz|txz|tbz2?|tzst)$")
_DEB_FIRST = b"debian-binary"  # deb(5): the first member


class Format(Enum):
    """What a package is made of."""

    TAR = "tar"  # also compressed: Alpine's packages are concatenated gzip streams of one tar archive
    ZIP = "zip"
    DEB = "deb"
    RPM = "rpm"


def is_package(path: str) -> bool:
    """Whether a file is a package, or is said to be one by its name."""
    try:
        source = Source.open(path)
    except ArtifactError:
        return False
    with source:
        try:
            return format_of(source, os.path.basename(path)) is not None
        except ArtifactError:
            return True  # one that cannot be read


def is_opened_inside(name: str, head: bytes) -> bool:
    """Whether a file of a package is a package itself.

    Parameters
    ----------
    head: its first `HEAD` bytes.
    """
    name = name.lower()
    if head.startswith((b"!<arch>\n" + _DEB_FIRST, RPM_MAGIC)) or name.endswith(PACKAGE_NAMES):
        return True
    if is_zip(head):
        return name.endswith(_ZIP_NAMES)
    return bool(_TAR_NAME.search(name)) and (is_tar(head) or bool(compression(head)))


def format_of(source: Source, name: str) -> Format | None:
    """What a package is made of; None where a file is no package.

    Raises
    ------
    ArtifactError: its name says that it is one and it is not, or a library is missing that could tell.
    """
    head = source.read(0, min(source.size, HEAD))
    name = name.lower()
    if is_zip(head):
        return Format.ZIP
    if head.startswith(RPM_MAGIC):
        return Format.RPM
    if is_archive(source) and head[8:].startswith(_DEB_FIRST):
        return Format.DEB
    if head.startswith(b"ADB"):
        raise ArtifactError("a package of Alpine's format 3: not read")
    if _TAR_NAME.search(name) or is_tar(head):
        return Format.TAR
    if compression(head) and is_tar(decompressed(source, Limits(source.size)).read(HEAD)):
        return Format.TAR
    if name.endswith(PACKAGE_NAMES):
        raise ArtifactError("named like a package, and is none" if head else "named like a package, and is empty")
    return None
