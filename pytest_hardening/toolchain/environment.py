"""The environment that compilers and build tools run in: nothing in it may change a flag.

A test that compiles with `flags=()` asks what the compiler does by itself. With CFLAGS, GCC_EXEC_PREFIX, CPATH,
DEB_CFLAGS_APPEND or CMAKE_TOOLCHAIN_FILE in the environment it would get another answer, and make turns *every*
variable into one of its own. A list of what to remove would never be complete (REALGCC changes the compiler behind
musl-gcc, CCC_OVERRIDE_OPTIONS the flags of clang, NIX_CFLAGS_COMPILE those of the wrappers of Nix), so this is a list
of what stays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

__all__ = ["KEPT_VARIABLES", "SOURCE_DATE_EPOCH", "clean_environment"]

# Where programs are, where temporary files go, and where ccache keeps its files: none decides what code comes out.
KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TMP",
    "TEMP",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "CCACHE_DIR",
    "CCACHE_CONFIGPATH",
    "ZIG_GLOBAL_CACHE_DIR",
)

# 1980-01-01: the first second that archives of every kind, zip included, can hold.
SOURCE_DATE_EPOCH = "315532800"


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a build, taken from this process's own.

    Only `KEPT_VARIABLES` stay. LC_ALL is C, so that messages are in English, and SOURCE_DATE_EPOCH is fixed, so that
    the same sources give the same bytes. `extra` is added last: variables that the caller wants in the build.
    """
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    environment.setdefault("PATH", os.defpath)
    environment["LC_ALL"] = "C"
    environment["SOURCE_DATE_EPOCH"] = SOURCE_DATE_EPOCH
    environment.update(extra or {})
    return environment
