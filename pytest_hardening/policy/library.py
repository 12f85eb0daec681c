"""Where profiles are: data files in the package and those that plugins add by name, and users' own by path."""

from __future__ import annotations

import os
from functools import cache
from importlib.resources import files

from ..added import in_force
from ..artifacts.names import display
from ..errors import PolicyError

__all__ = ["built_in_profiles", "is_file_name", "profile_names", "profile_text"]


@cache
def built_in_profiles() -> tuple[str, ...]:
    """The names of the profiles in the package."""
    folder = files(__package__).joinpath("profiles")
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def profile_names() -> tuple[str, ...]:
    """The names of all profiles: the built-in ones, then those that plugins add."""
    return (*built_in_profiles(), *in_force().profiles)


def is_file_name(name: str) -> bool:
    """Whether a profile's name stands for a file: it ends in .toml or has a slash."""
    return name.endswith(".toml") or os.sep in name


def profile_text(name: str, folder: str) -> tuple[str, str, str]:
    """A profile's text, the name to show, and the folder that its `extends` is relative to.

    Raises
    ------
    PolicyError: there is no such profile, or its file cannot be read.
    """
    if name in built_in_profiles():
        return files(__package__).joinpath("profiles").joinpath(f"{name}.toml").read_text("utf-8"), name, folder
    added = in_force().profiles.get(name)
    if added is None and not is_file_name(name):
        from .fields import nearest

        raise PolicyError(f"unknown profile {name!r}{nearest(name, profile_names())}")
    path = added or os.path.abspath(os.path.join(folder, name))
    where = name if added else display(path, os.getcwd())
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read(), where, os.path.dirname(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise PolicyError(f"profile {where}: cannot be read: {reason}") from None
