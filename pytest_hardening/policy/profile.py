"""Profiles: TOML files that name the required checks and their parameters, for some targets other than for the rest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..checks.registry import check_names, get_check
from ..errors import PolicyError
from ..model import Kind, OnUnknown
from .arguments import strings
from .document import Asked, ProfileDocument, Rules, When
from .library import built_in_profiles, profile_text
from .problems import parsed, read
from .target import Demands, Target

__all__ = ["DEFAULT_PROFILE", "Demands", "Layer", "Profile", "Target", "built_in_profiles", "load_profile"]

DEFAULT_PROFILE = "recommended"
_DEFAULT_UNKNOWN: OnUnknown = "warn"


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says; a later layer wins.

    Parameters
    ----------
    source: the place, for people: "profile kms-6.7", "hardening.toml".
    rules: what it says.
    """

    source: str
    rules: Rules


@dataclass(frozen=True)
class Profile:
    """The checks that are required.

    Of all layers `checks` and `unknown` hold first, in order; then every `[[when]]` that fits the target, in order. So
    a layer that changes a check's parameters does not bring it back where a `[[when]]` drops it; but one that drops a
    check ends whatever earlier layers say of it. In one layer `unknown` of a check wins over that of all checks; a
    later layer's wins over both.

    Parameters
    ----------
    name: the built-in name, or the file it was read from.
    description: one line for people.
    layers: where it comes from: the profiles that it extends, itself, what a policy lays over it.
    only: the names of the checks that are left, or None for all.
    """

    name: str
    description: str
    layers: tuple[Layer, ...]
    only: frozenset[str] | None = None
    _known: dict[Target, Demands] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def checks(self) -> dict[str, dict[str, Any]]:
        """Every check that is demanded of some target, with complete parameters, in the order in which they are shown.

        The parameters are those of targets that no `[[when]]` fits, if it is demanded of these.
        """
        asked = {**self._conditional(), **_general(self.layers)[0]}
        return {
            name: get_check(name).settings(asked[name].parameters)
            for name in check_names()
            if name in asked and (self.only is None or name in self.only)
        }

    @property
    def why_idle(self) -> str:
        """Why nothing could ever fail; empty where something can."""
        asked = [*self.checks.items()]
        for _, when in self.rules:
            asked += [
                (name, get_check(name).settings({**self.checks[name], **change.parameters}))
                for name, change in when.checks.items()
                if change is not None and name in self.checks
            ]
        if not asked:
            return "requires no check, so it could never fail"
        if not all(get_check(name).asks_nothing(parameters) for name, parameters in asked):
            return ""
        needed = (f"{name} ({' or '.join(get_check(name).parameters)})" for name in self.checks)
        return f"could never fail: say what {' and '.join(needed)} shall ask for"

    @property
    def unknown(self) -> OnUnknown:
        """What unknown does where nothing is said of a check."""
        return _general(self.layers)[1]

    @property
    def rules(self) -> Iterator[tuple[Layer, When]]:
        """Every `[[when]]` with what it still says of checks, as a later false ends that, and where it stands."""
        for number, layer in enumerate(self.layers):
            later = self.layers[number + 1 :]
            dropped = {name for one in later for name, change in one.rules.checks.items() if change is None}
            for when in layer.rules.when:
                left = {name: change for name, change in when.checks.items() if name not in dropped}
                yield layer, when.model_copy(update={"checks": left})

    def demands(self, target: Target) -> Demands:
        """What is demanded of a target."""
        if target not in self._known:
            self._known[target] = self._demands(target)
        return self._known[target]

    def _demands(self, target: Target) -> Demands:
        asked, unknown = _general(self.layers)
        dropped: dict[str, str] = {}
        for _, when in self.rules:
            if _fits(when, target):
                for name, change in when.checks.items():
                    if change is None and asked.pop(name, None) is not None:
                        dropped[name] = when.reason
                    elif change is not None:
                        asked[name] = _merged(asked.get(name), change)
        names = tuple(self.checks)
        elsewhere = {
            name: f"only {_condition(when)}: {when.reason}"
            for _, when in self.rules
            for name, change in when.checks.items()
            if change is not None
        }
        return Demands(
            {name: get_check(name).settings(asked[name].parameters) for name in names if name in asked},
            {name: asked[name].unknown or unknown for name in names if name in asked},
            {name: dropped.get(name) or elsewhere[name] for name in names if name not in asked},
        )

    def asks_for_records(self, check: str) -> bool:
        """Whether a check is demanded only of files of which a build system tells how they were made."""
        demanding = [when for _, when in self.rules if when.checks.get(check) is not None]
        return check not in _general(self.layers)[0] and all(when.recorded for when in demanding)

    def _conditional(self) -> dict[str, Asked]:
        """The checks that some `[[when]]` demands."""
        found: dict[str, Asked] = {}
        for _, when in self.rules:
            for name, change in when.checks.items():
                if change is not None:
                    found.setdefault(name, change)
        return found

    def narrowed(self, names: Iterable[str]) -> Profile:
        """The same with the named checks alone; one that the profile lacks comes with its default parameters.

        Raises
        ------
        PolicyError: a check is unknown, or none is named.
        """
        wanted = frozenset(get_check(name).name for name in strings("checks", names))
        if not wanted:
            raise PolicyError("checks names no check, so nothing could ever fail")
        lacking = {name: Asked() for name in sorted(wanted.difference(self.checks))}
        return replace(self, only=wanted).over(Layer("narrowed", Rules.model_construct(checks=lacking)))

    def over(self, *layers: Layer) -> Profile:
        """The same with more layers."""
        return replace(self, layers=(*self.layers, *layers))


def _general(layers: Iterable[Layer]) -> tuple[dict[str, Asked], OnUnknown]:
    """What is asked of targets that no `[[when]]` fits, and what unknown does where a check does not say."""
    asked: dict[str, Asked] = {}
    unknown = _DEFAULT_UNKNOWN
    for layer in layers:
        if layer.rules.unknown is not None:
            unknown = layer.rules.unknown
            asked = {name: Asked(one.parameters) for name, one in asked.items()}
        for name, change in layer.rules.checks.items():
            if change is None:
                asked.pop(name, None)
            else:
                asked[name] = _merged(asked.get(name), change)
    return asked, unknown


def _merged(asked: Asked | None, change: Asked) -> Asked:
    if asked is None:
        return change
    return Asked({**asked.parameters, **change.parameters}, change.unknown or asked.unknown)


def _fits(when: When, target: Target) -> bool:
    """Whether all conditions of a `[[when]]` hold."""
    kinds = {target.kind.value, *((Kind.ARCHIVE.value,) if target.in_archive else ())}
    return (
        (when.kind is None or not kinds.isdisjoint(when.kind))
        and (when.machine is None or target.machine in when.machine)
        and (when.libc is None or (target.libc or "unknown") in when.libc)
        and when.recorded in (None, target.recorded)
    )


def _condition(when: When) -> str:
    """`where kind is module and machine is arm or armeb`"""
    given = (("kind", when.kind), ("machine", when.machine), ("libc", when.libc))
    parts = [f"{key} is {' or '.join(names)}" for key, names in given if names]
    if when.recorded is not None:
        parts.append(f"{'a' if when.recorded else 'no'} build system tells how it was made")
    return "where " + " and ".join(parts)


def load_profile(name: str, folder: str | None = None) -> Profile:
    """A built-in profile by name, or a user's by the path of its TOML file.

    A file has the keys `description` (text), `unknown`, `extends` (a built-in name or a file relative to this one, or
    several), the table `checks` (check name = table of parameters, or false to drop what a profile that is extended
    demands), and tables `[[when]]`, which say otherwise of some targets.

    Parameters
    ----------
    folder: what a file's name is relative to; default the current one.

    Raises
    ------
    PolicyError: there is no such profile, or keys, checks, parameters or values are wrong.
    """
    layers: dict[str, Layer] = {}
    where, description = _load(name, os.getcwd() if folder is None else folder, (), layers)
    profile = Profile(where, description, tuple(layers.values()))
    if profile.why_idle:
        raise PolicyError(f"profile {where}: {profile.why_idle}")
    return profile


def _load(name: str, folder: str, chain: tuple[str, ...], layers: dict[str, Layer]) -> tuple[str, str]:
    """Add the layers of a profile and of those that it extends, each once; return its shown name and description."""
    text, where, folder = profile_text(name, folder)
    if where in chain:
        raise PolicyError(f"profile {where}: extends itself through {' -> '.join((*chain, where))}")
    source = f"profile {where}"
    document = read(ProfileDocument, parsed(text, source), source, folder)
    for base in document.extends:
        _load(base, folder, (*chain, where), layers)
    layers.setdefault(where, Layer(source, document))
    return where, document.description
