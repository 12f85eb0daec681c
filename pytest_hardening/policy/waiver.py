"""Waivers: a failure that somebody has looked at and accepts, with the reason, perhaps until a day."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import date

from pydantic import field_validator

from ..checks.functions import source_function
from .culprits import Culprit, read_culprit, without_number
from .fields import CheckName, OneOrMore, Section, Text, mistake
from .globs import literal, matches, matches_artifact, matches_file

__all__ = ["Waiver", "template"]

_MOST_UNITS = 3


class Waiver(Section):
    """One `[[waiver]]` of a policy file.

    Parameters
    ----------
    path: globs on the name that is shown: `build/*.so`, `build/libAB.a`, `build/libAB.a(B.o)`.
    checks: names of checks.
    unit: a glob: only what falls short in units, or archive members, that it matches.
    function: a glob: only functions that it matches.
    reason: why this is accepted.
    expires: from that day on the waiver no longer holds.
    owner: whom to ask.
    """

    path: OneOrMore[Text]
    checks: OneOrMore[CheckName]
    unit: Text | None = None
    function: Text | None = None
    reason: Text
    expires: date | None = None
    owner: str = ""

    @field_validator("function")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        name = value.removesuffix("()") if value is not None else None
        if name == "":
            raise mistake("'()' names no function")
        return name

    def expired(self, today: date) -> bool:
        """Whether it no longer holds."""
        return self.expires is not None and today >= self.expires

    @property
    def is_partial(self) -> bool:
        """Whether it covers some units or functions only."""
        return self.unit is not None or self.function is not None

    def concerns(self, check: str, path: str) -> bool:
        """Whether it is about a check of an artifact, or of members of it."""
        return check in self.checks and self.matches(path)

    def matches(self, path: str) -> bool:
        """Whether it names an artifact, or members of it."""
        return any(matches_artifact(glob, path) for glob in self.path)

    def covers_all(self, check: str, path: str) -> bool:
        """Whether it covers whatever falls short in an artifact."""
        return not self.is_partial and check in self.checks and any(matches(glob, path) for glob in self.path)

    def covers(self, check: str, path: str, culprit: Culprit, member: str = "") -> bool:
        """Whether it covers one culprit of a verdict on an artifact, or one in an archive's member."""
        member = culprit.unit if culprit.is_member else member
        names = (path, f"{path}({member})") if member else (path,)
        if check not in self.checks or not any(matches(glob, name) for glob in self.path for name in names):
            return False
        units = [name for name in (culprit.unit, culprit.source, member) if name]
        if self.unit is not None and not any(matches_file(self.unit, name) for name in units):
            return False
        if self.function is None:
            return True
        functions = {culprit.function, source_function(culprit.function)} - {""}
        return any(matches(self.function, name) for name in functions)


def template(check: str, path: str, culprits: Sequence[str], table: str = "waiver") -> str:
    """A waiver in TOML for one failure, to which a reason must be added.

    Parameters
    ----------
    culprits: what falls short, where a waiver may be for these alone; else empty.
    table: the key that waivers stand under.
    """
    found = [read_culprit(without_number(name)) for name in culprits]
    units = dict.fromkeys(culprit.unit for culprit in found)
    if not all(culprit.is_stable for culprit in found) or len(units) > _MOST_UNITS:
        found, units = [], {"": None}
    functions = {unit: {source_function(one.function) for one in found if one.unit == unit} for unit in units or [""]}
    return "\n".join(
        "\n".join((f"[[{table}]]", *_keys(check, path, _glob(unit, units), sorted(names))))
        for unit, names in functions.items()
    )


def _glob(unit: str, units: Collection[str]) -> str:
    """The glob for one of some units. One inside the project is its path there; of another one the folders above it may
    differ on other machines: the shortest end that no other unit has, with a folder at least.
    """
    if not unit.startswith("/"):
        return literal(unit)
    parts = unit.split("/")
    ends = ["/" + "/".join(parts[-count:]) for count in range(2, len(parts))]
    end = next((end for end in ends if not any(one.endswith(end) for one in units if one != unit)), unit)
    return "*" + literal(end) if end != unit else literal(unit)


def _keys(check: str, path: str, unit: str, functions: Sequence[str]) -> Iterator[str]:
    keys = {"path": literal(path), "checks": [check]}
    if unit:
        keys["unit"] = unit
    if len(functions) == 1 and functions[0]:
        keys["function"] = literal(functions[0])
    for key, value in {**keys, "reason": ""}.items():
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
