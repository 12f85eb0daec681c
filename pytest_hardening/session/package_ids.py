"""Packages and pytest: ids of files in packages among the arguments, and one unpacked copy for all of pytest-xdist."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from ..artifacts.packages.contents import INSIDE

__all__ = ["give_unpacked", "share_unpacked", "with_packages_found"]

_FOLDER = "hardening_unpacked"


def with_packages_found(config: pytest.Config) -> list[str]:
    """pytest's arguments, `x.whl!/x.so::relro` as `x.whl::x.whl!/x.so::relro`: it wants a path that exists first."""
    return list(_rewritten(config)) if any(INSIDE in argument for argument in config.args) else config.args


def _rewritten(config: pytest.Config) -> Iterator[str]:
    from ..artifacts.names import display

    here, base = str(config.invocation_params.dir), os.path.realpath(config.rootpath)
    for argument in config.args:
        path, colons, check = argument.partition("::")
        package, bang, inside = path.partition(INSIDE)
        file = os.path.join(here, package)
        if bang and inside and not os.path.lexists(os.path.join(here, path)) and os.path.isfile(file):
            name = f"{display(os.path.realpath(file), base)}{INSIDE}{inside}".replace(r":\x3a", "::")
            yield f"{package}::{name}{colons}{check}"
        else:
            yield argument


def give_unpacked(workerinput: dict[str, Any]) -> None:
    """Tell a worker where its controller unpacks packages."""
    from ..artifacts.packages.folder import folder_name

    workerinput[_FOLDER] = folder_name()


def share_unpacked(config: pytest.Config) -> None:
    """In a worker, unpack where its controller does; it may run on another machine."""
    folder = getattr(config, "workerinput", {}).get(_FOLDER)
    if folder is not None and os.path.isdir(os.path.dirname(folder)):
        from ..artifacts.packages.folder import share

        share(folder)
