"""The policy in force as text: every value, and where it comes from; the lines are TOML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from .document import Asked, Checks
from .given import COMMAND_LINE, Given
from .policy import PLUGINS, Policy
from .profile import Layer, Profile

__all__ = ["shown_policy", "shown_profile"]

_WIDTH = 48


def shown_policy(
    policy: Policy, settings: Iterable[tuple[str, Any, str]] = (), baseline: Given | None = None
) -> Iterator[str]:
    """The lines.

    Parameters
    ----------
    settings: name, value and source of what the command line and the ini file say besides.
    baseline: the file that they name.
    """
    yield f"# policy file: {policy.file or 'none (no hardening.toml, no [tool.pytest-hardening] in pyproject.toml)'}"
    for name, value, source in settings:
        yield _line(name, value, source)
    yield from _general(policy, baseline or Given())
    yield ""
    yield "[checks]"
    yield from _checks(policy.profile)
    yield from _conditions(policy.profile)
    if not policy.is_forced:
        yield f"# MODULE targets of --hardening-build: below this also what the profile {PLUGINS} demands"
    for number, rule in enumerate(policy.document.artifact):
        given = rule.model_dump(include={"path", "kind", "profile", "unknown"}, exclude_none=True)
        yield from _table("artifact", given, rule.checks, f"{policy.file}, artifact[{number}]")
        if policy.is_forced:
            yield "# profile and checks of this rule do not hold: the command line names the profile"
    for number, waiver in enumerate(policy.waivers):
        given = waiver.model_dump(exclude_defaults=True)
        yield from _table("waiver", given, {}, f"{policy.file}, waiver[{number}]")


def shown_profile(profile: Profile) -> Iterator[str]:
    """The lines of one profile: what it requires, and which of those that it extends says so."""
    yield f"# {profile.name}: {profile.description}" if profile.description else f"# {profile.name}"
    yield f"unknown = {_value(profile.unknown)}"
    yield ""
    yield "[checks]"
    yield from _checks(profile)
    yield from _conditions(profile)


def _conditions(profile: Profile) -> Iterator[str]:
    for layer, when in profile.rules:
        given = when.model_dump(exclude={"checks"}, exclude_none=True)
        yield from _table("when", given, when.checks, layer.source)


def _general(policy: Policy, baseline: Given) -> Iterator[str]:
    profile = policy.profile
    yield _line("profile", policy.profile_named.value, policy.profile_named.source)
    sources = [layer.source for layer in profile.layers if layer.rules.unknown is not None]
    yield _line("unknown", profile.unknown, sources[-1] if sources else "default")
    if policy.document.exclude:
        yield _line("exclude", policy.document.exclude, policy.file)
    if policy.document.baseline is not None and baseline.source != COMMAND_LINE:
        baseline = Given(policy.document.baseline, policy.file)
    if baseline.value:
        yield _line("baseline", baseline.value, baseline.source)


def _checks(profile: Profile) -> Iterator[str]:
    sources = _sources(profile.layers)
    dropped = _dropped(profile.layers)
    for check, parameters in profile.checks.items():
        if check not in sources:  # some [[when]] alone demands it
            continue
        where = sources[check]
        if not parameters and "unknown" in where:
            yield _line(check, {"unknown": _unknown(profile.layers, check)}, where["unknown"])
            continue
        if not parameters:
            yield _line(check, {}, where[""])
        for name, value in parameters.items():
            yield _line(f"{check}.{name}", value, where.get(name, f"default; demanded by {where['']}"))
        if "unknown" in where:
            yield _line(f"{check}.unknown", _unknown(profile.layers, check), where["unknown"])
    for check, source in dropped.items():
        if profile.only is None or check in profile.only:
            yield _line(check, False, source)


def _sources(layers: Iterable[Layer]) -> dict[str, dict[str, str]]:
    """Per check and parameter the layer whose value holds; under "" the one that demands the check."""
    found: dict[str, dict[str, str]] = {}
    for layer in layers:
        if layer.rules.unknown is not None:
            for where in found.values():
                where.pop("unknown", None)
        for check, change in layer.rules.checks.items():
            if change is None:
                found.pop(check, None)
                continue
            where = found.setdefault(check, {"": layer.source})
            where.update(dict.fromkeys(change.parameters, layer.source))
            if change.unknown is not None:
                where["unknown"] = layer.source
    return found


def _dropped(layers: Iterable[Layer]) -> dict[str, str]:
    """The checks that some layer drops, and which."""
    found: dict[str, str] = {}
    for layer in layers:
        for check, change in layer.rules.checks.items():
            found.pop(check, None)
            if change is None:
                found[check] = layer.source
    return found


def _unknown(layers: Iterable[Layer], check: str) -> str | None:
    changes = (layer.rules.checks.get(check) for layer in layers)
    return [change.unknown for change in changes if change is not None and change.unknown is not None][-1]


def _table(name: str, given: dict[str, Any], checks: Checks, source: str) -> Iterator[str]:
    yield ""
    yield _line(f"[[{name}]]", None, source)
    for key, value in given.items():
        yield f"{key} = {_value(value)}"
    for check, change in checks.items():
        yield f"checks.{check} = {_value(_given(change))}"


def _given(change: Asked | None) -> object:
    if change is None:
        return False
    return {**change.parameters, **({"unknown": change.unknown} if change.unknown else {})}


def _line(key: str, value: object, source: str) -> str:
    text = key if value is None else f"{key} = {_value(value)}"
    return f"{text.ljust(_WIDTH)}  # {source}"


def _value(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_value(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | int | str) else str(value)
