"""JSON that a build system left, with a limit to its size."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

from ...errors import ArtifactError

__all__ = ["load"]

_MOST_BYTES = 256 << 20  # a database of all of Chromium's units has some 200 MB


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
        return json.loads(data)
    except OSError as error:
        raise ArtifactError(f"{name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise ArtifactError(f"{name} is no valid JSON ({text}): let the build write it again") from None
