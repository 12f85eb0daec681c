"""The private folder that files are unpacked to, and what was unpacked already.

It exists until the process ends. The workers of pytest-xdist share their controller's, so that each package is unpacked
once, all of them see the same, and nothing is left when one of them is killed.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import stat
import tempfile
import uuid

from ...errors import ArtifactError
from .contents import Consider, Contents

__all__ = ["contents_of", "folder_name", "share"]

_DONE = "contents.json"


class _State:
    folder = ""


def folder_name() -> str:
    """What the folder is called, below TMPDIR as all temporary files are; it is made when something is unpacked."""
    if not _State.folder:
        _State.folder = os.path.join(tempfile.gettempdir(), f"pytest-hardening-{uuid.uuid4().hex}")
        atexit.register(_remove, _State.folder, os.getpid())
    return _State.folder


def share(folder: str) -> None:
    """Unpack to the folder of another process, which removes it."""
    _State.folder = folder


def _made() -> str:
    """The folder, for us alone."""
    folder = folder_name()
    os.makedirs(folder, 0o700, exist_ok=True)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ArtifactError(f"cannot be unpacked: {folder} is not ours alone")
    return folder


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child leaves it to its parent
        shutil.rmtree(folder, ignore_errors=True)


def contents_of(path: str, consider: Consider, variant: str) -> Contents:
    """What is in a package, unpacked where no process that shares the folder has done it.

    Parameters
    ----------
    path: the package, its links resolved.
    consider: which files are judged.
    variant: what tells this `consider` from others.
    """
    from filelock import FileLock

    from .unpacking import unpack

    try:
        place = os.path.join(_made(), _key(path, variant))
        with FileLock(f"{place}.lock"):
            done = os.path.join(place, _DONE)
            if os.path.exists(done):
                with open(done, encoding="utf-8") as stream:
                    return Contents.from_json(json.load(stream))
            shutil.rmtree(place, ignore_errors=True)  # of a worker that was killed
            os.mkdir(place, 0o700)
            contents = unpack(path, place, consider)
            with open(f"{done}.new", "w", encoding="utf-8") as stream:
                json.dump(contents.to_json(), stream)
            os.rename(f"{done}.new", done)
            return contents
    except (ArtifactError, OSError) as error:
        reason = f"cannot be unpacked: {error.strerror}" if isinstance(error, OSError) else str(error)
        return Contents((), (("", reason),), {})


def _key(path: str, variant: str) -> str:
    """What tells a package from others, and from what it was before it was built anew."""
    status = os.stat(os.path.join(path, "index.json") if os.path.isdir(path) else path)
    text = f"{variant}\0{path}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32]
