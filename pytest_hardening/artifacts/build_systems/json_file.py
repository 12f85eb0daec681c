"""JSON that a build system left, with a limit to its size."""

from __future__ import annotations

import json
import os
import re
import stat
from typing import Any

from ...errors import ArtifactError

__all__ = ["load"]

_MOST_BYTES = 64 << 20  # a database of 10,000 units has some 20 MB; what is read of it takes many times that
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_LONE = re.compile("[\ud800-\udfff]")


def load(path: str, most: int = _MOST_BYTES) -> Any:
    """What a JSON file holds.

    Raises
    ------
    ArtifactError: it is missing, unreadable, too large, or no JSON.
    """
    name = os.path.basename(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ArtifactError(f"{name} is no file")
        with open(path, "rb") as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise ArtifactError(f"{name} is too large: more than {most >> 20} MB")
        found = json.loads(data)
    except OSError as error:
        raise ArtifactError(f"{name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise ArtifactError(f"{name} is no valid JSON ({text}): let the build write it again") from None
    if (_SURROGATE.search(data) or b"\\u0000" in data) and _has_no_path(found):
        raise ArtifactError(f"{name} holds characters that no path can have: let the build write it again")
    return found


def _has_no_path(found: Any) -> bool:
    """Whether a text in it can be no part of a path or command: half a character, or a NUL."""
    pending = [found]
    while pending:
        one = pending.pop()
        if isinstance(one, str) and ("\0" in one or _LONE.search(one)):
            return True
        if isinstance(one, dict):
            pending += (*one, *one.values())
        elif isinstance(one, list):
            pending += one
    return False
