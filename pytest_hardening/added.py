"""What plugins add for the time of a session: checks and profiles. Light: it is imported whether or not anybody does.

Sessions lie inside one another where a test runs pytest in its own process, so they form a stack; the innermost is in
force, and sees nothing of what the others added.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checks.base import Check

__all__ = ["Added", "in_force", "put_in_force", "raised", "withdraw"]


@dataclass(frozen=True, eq=False)
class Added:
    """What plugins add.

    Parameters
    ----------
    checks: by name.
    profiles: absolute path of the TOML file, by name.
    plugins: who added each check, as messages name them.
    """

    checks: Mapping[str, Check] = field(default_factory=dict)
    profiles: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)


_stack = [Added()]


def in_force() -> Added:
    """What the innermost session added."""
    return _stack[-1]


def put_in_force(added: Added) -> None:
    """From now on `added` holds, until it is withdrawn."""
    _stack.append(added)


def withdraw(added: Added) -> None:
    """What held before holds again; in whatever order sessions end."""
    _stack[:] = [one for one in _stack if one is not added]


def raised(error: BaseException, file: str) -> str:
    """An exception in one line, with the last place in a file of its author's: `KeyError: 'x' (conftest.py:12)`."""
    frames = traceback.extract_tb(error.__traceback__)
    place = next((frame for frame in reversed(frames) if frame.filename == file), None)
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if place is None else f"{text} ({os.path.basename(place.filename)}:{place.lineno})"
