"""What the files of a Python wheel are for."""

from __future__ import annotations

import re

from ...model import Role

__all__ = ["is_wheel", "role_in_wheel"]

# PEP 3149; importlib.machinery.EXTENSION_SUFFIXES
_TAGGED = re.compile(r"\.(abi3|cpython-|pypy|graalpy)[^/.]*\.so$")
_MODULE = re.compile(r"(?!lib)[^\W\d]\w*\.so$")
_FOLDERS = re.compile(r"([^/]+\.data/(plat|pure)lib/)?([^\W\d]\w*/)*")


def is_wheel(name: str) -> bool:
    return name.lower().endswith(".whl")


def role_in_wheel(inside: str) -> Role:
    """The role of a file of a wheel.

    `NAME.libs` is where auditwheel puts the libraries that it copies into a wheel. A shared object elsewhere is an
    extension module where Python would import it: it has a tag of Python's (`_x.cpython-311-x86_64-linux-gnu.so`,
    `_x.abi3.so`), or a module's name, is not named like a library, and lies in folders that can be packages.
    """
    *folders, name = inside.split("/")
    if any(folder.endswith(".libs") for folder in folders):
        return "vendored"
    if _TAGGED.search(name):
        return "plugin"
    above = "".join(f"{folder}/" for folder in folders)
    return "plugin" if _MODULE.fullmatch(name) and _FOLDERS.fullmatch(above) else ""
