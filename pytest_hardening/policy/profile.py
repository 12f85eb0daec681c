"""Profiles: TOML files that name the required checks and their parameters."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..artifacts.names import display
from ..checks.registry import CHECK_NAMES, get_check
from ..errors import PolicyError
from .arguments import strings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["DEFAULT_PROFILE", "Profile", "built_in_profiles", "load_profile"]

DEFAULT_PROFILE = "recommended"
_KEYS = ("description", "extends", "checks")


@dataclass(frozen=True, slots=True)
class Profile:
    """The checks that are required.

    Parameters
    ----------
    name: the built-in name, or the file it was read from.
    description: one line for people.
    checks: check name -> complete parameters, in the order in which they are shown.
    """

    name: str
    description: str
    checks: Mapping[str, Mapping[str, Any]]

    def narrowed(self, names: Iterable[str]) -> Profile:
        """The same with the named checks alone; one that the profile lacks comes with its default parameters.

        Raises
        ------
        PolicyError: a check is unknown, or none is named.
        """
        wanted = {get_check(name).name for name in strings("checks", names)}
        if not wanted:
            raise PolicyError("checks names no check, so nothing could ever fail")
        checks = {name: self.checks.get(name, get_check(name).settings({})) for name in CHECK_NAMES if name in wanted}
        return Profile(self.name, self.description, checks)


def built_in_profiles() -> tuple[str, ...]:
    """The names of the profiles in the package."""
    folder = files(__package__).joinpath("profiles")
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_profile(name: str) -> Profile:
    """A built-in profile by name, or a user's by the path of its TOML file.

    A file has the keys `description` (text), `extends` (a built-in name, or a file relative to this one) and the table
    `checks`: check name = table of parameters, or false to drop a check of the profile that is extended.

    Raises
    ------
    PolicyError: there is no such profile, or a key, check, parameter or value is wrong.
    """
    return _load(name, os.getcwd(), ())


def _load(name: str, folder: str, chain: tuple[str, ...]) -> Profile:
    text, where, folder = _text(name, folder)
    if where in chain:
        raise PolicyError(f"profile {where}: extends itself through {' -> '.join((*chain, where))}")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"profile {where}: not valid TOML: {error}") from None
    for key in data:
        if key not in _KEYS:
            raise PolicyError(f"profile {where}: unknown key {key!r}{_nearest(key, _KEYS)}")
    checks: dict[str, Mapping[str, Any]] = {}
    if "extends" in data:
        if not isinstance(data["extends"], str):
            raise PolicyError(f"profile {where}: extends must be the name or the file of a profile")
        checks.update(_load(data["extends"], folder, (*chain, where)).checks)
    _apply(checks, data.get("checks", {}), where)
    if not checks:
        raise PolicyError(f"profile {where}: requires no check, so it could never fail")
    description = data.get("description", "")
    if not isinstance(description, str):
        raise PolicyError(f"profile {where}: description must be a text")
    return Profile(where, description, {key: checks[key] for key in CHECK_NAMES if key in checks})


def _text(name: str, folder: str) -> tuple[str, str, str]:
    """A profile's text, the name to show, and the folder that its `extends` is relative to."""
    if name in built_in_profiles():
        return files(__package__).joinpath("profiles").joinpath(f"{name}.toml").read_text("utf-8"), name, folder
    if not (name.endswith(".toml") or os.sep in name):
        raise PolicyError(f"unknown profile {name!r}{_nearest(name, built_in_profiles())}")
    path = os.path.abspath(os.path.join(folder, name))
    where = display(path, os.getcwd())
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read(), where, os.path.dirname(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise PolicyError(f"profile {where}: cannot be read: {reason}") from None


def _apply(checks: dict[str, Mapping[str, Any]], table: object, where: str) -> None:
    if not isinstance(table, dict):
        raise PolicyError(f"profile {where}: checks must be a table")
    for check, parameters in table.items():
        try:
            if parameters is False:
                get_check(check)
                checks.pop(check, None)
            elif isinstance(parameters, dict):
                checks[check] = get_check(check).settings(parameters)
            else:
                raise PolicyError(f"checks.{check} = {parameters!r}: expected a table of parameters, or false")
        except PolicyError as error:
            raise PolicyError(f"profile {where}: {error}") from None


def _nearest(name: str, known: Iterable[str]) -> str:
    known = tuple(known)
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"
