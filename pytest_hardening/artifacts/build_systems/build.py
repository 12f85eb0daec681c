"""Which reader fits a build folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from ...errors import ArtifactError
from . import cmake, compile_commands, meson
from .output import Build

__all__ = ["read_build"]


class _System(NamedTuple):
    """A build system: its name, what lies in its build folders, and its reader."""

    name: str
    mark: str
    read: Callable[[str], Build]


# the first whose mark is there: a folder of CMake or Meson may also hold compile_commands.json, which knows less
_SYSTEMS = (
    _System("CMake", "CMakeCache.txt", cmake.read),
    _System("Meson", "meson-info", meson.read),
    _System("compile_commands.json", "compile_commands.json", compile_commands.read),
)


def read_build(folder: str) -> Build:
    """What a build system says of its build folder; nothing is run.

    Raises
    ------
    ArtifactError: it is no folder or no build folder, or what the build system left there cannot be used.
    """
    if not os.path.isdir(folder):
        raise ArtifactError("not a folder" if os.path.lexists(folder) else "there is no such folder")
    for system in _SYSTEMS:
        if os.path.lexists(os.path.join(folder, system.mark)):
            return system.read(folder)
    known = ", ".join(
        system.name if system.name == system.mark else f"{system.name} ({system.mark})" for system in _SYSTEMS
    )
    raise ArtifactError(f"not a build folder of any build system known here: {known}")
