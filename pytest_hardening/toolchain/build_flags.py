"""What dpkg-buildflags asks builds of Debian packages for, of hardening alone.

Source: dpkg-buildflags(1), which is run: its tables differ between releases and architectures. What hardening is, is
the difference between what it prints with `hardening=+all` and with `hardening=-all`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import ToolchainError
from .commands import execute
from .environment import clean_environment
from .packages import find_tool

__all__ = ["VARIABLES", "hardening_flags"]

VARIABLES = ("CPPFLAGS", "CFLAGS", "CXXFLAGS", "LDFLAGS")
_TOOL = "dpkg-buildflags"
_OPTIONS = "DEB_BUILD_MAINT_OPTIONS"
_EVERYTHING, _NOTHING = "hardening=+all", "hardening=-all"
_TIMEOUT = 60.0


def hardening_flags() -> dict[str, tuple[str, ...]]:
    """The options of each of the `VARIABLES`. DEB_BUILD_MAINT_OPTIONS of the environment says which, if it is set, as
    in debian/rules; else all.

    Raises
    ------
    ToolchainError: dpkg-buildflags is missing or failed; the message says what to install.
    """
    tool = find_tool(_TOOL)
    wanted = _printed(tool, os.environ.get(_OPTIONS, _EVERYTHING))
    plain = _printed(tool, _NOTHING)
    found = {
        name: tuple(word for word in wanted.get(name, ()) if word not in plain.get(name, ())) for name in VARIABLES
    }
    if not any(found.values()):
        raise ToolchainError(f"{_TOOL} asks for no hardening here ({_OPTIONS}={os.environ.get(_OPTIONS, _EVERYTHING)})")
    return found


def _printed(tool: Path, options: str) -> dict[str, tuple[str, ...]]:
    own: Mapping[str, str] = {name: value for name, value in os.environ.items() if name.startswith("DEB_")}
    result = execute(
        (str(tool), "--dump"), cwd=Path("/"), timeout=_TIMEOUT, env=clean_environment({**own, _OPTIONS: options})
    )
    if not result.succeeded:
        raise ToolchainError(f"{_TOOL} failed: {result.output.strip()}")
    lines = (line.partition("=") for line in result.output.splitlines())
    return {name: tuple(value.split()) for name, _, value in lines}
