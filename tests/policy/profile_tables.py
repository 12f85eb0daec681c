"""The tables of docs/profiles.md, made of the profiles themselves.

`python -m tests.policy.profile_tables` writes them into the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_hardening.checks.registry import check_names, get_check
from pytest_hardening.policy.profile import Profile, built_in_profiles, load_profile

__all__ = ["PAGE", "with_tables"]

PAGE = Path(__file__).parents[2] / "docs" / "profiles.md"


def with_tables(page: str) -> str:
    """The page with what stands between its markers made anew."""
    profiles = [load_profile(name) for name in built_in_profiles()]
    tables = {"demands": _demands(profiles), "exceptions": _exceptions(profiles)}
    return re.sub(
        r"<!-- (\w+): generated -->.*?<!-- /\1 -->",
        lambda found: f"<!-- {found[1]}: generated -->\n\n{tables[found[1]]}\n<!-- /{found[1]} -->",
        page,
        flags=re.DOTALL,
    )


def _demands(profiles: Iterable[Profile]) -> str:
    """Check by check, what each profile demands of files that no exception is made for."""
    profiles = tuple(profiles)
    demanded = [check for check in check_names() if any(check in profile.checks for profile in profiles)]
    rows = [
        [check, *(_shown(check, profile.checks[check]) if check in profile.checks else "" for profile in profiles)]
        for check in demanded
    ]
    return _table(["", *(profile.name for profile in profiles)], rows)


def _shown(check: str, parameters: Mapping[str, Any]) -> str:
    """The level or value that is demanded, or another parameter that is not as usual; else a mere `x`."""
    usual = get_check(check).settings({})
    told = [value for name, value in parameters.items() if name in ("level", "value") or value != usual[name]]
    return " ".join(str(value) for value in told if not isinstance(value, tuple)) or "x"


def _exceptions(profiles: Iterable[Profile]) -> str:
    """What profiles demand otherwise of some targets, and why."""
    rows = []
    for profile in profiles:
        for layer, when in profile.rules:
            if layer.source != f"profile {profile.name}":
                continue  # stands with the profile that it comes from
            recorded = {True: ("of known commands",), False: ("of unknown commands",), None: ()}[when.recorded]
            conditions = (when.kind or (), when.machine or (), when.libc or (), recorded)
            where = "; ".join(", ".join(names) for names in conditions if names)
            changes = [
                f"no {name}" if asked is None else f"{name} {_shown(name, asked.parameters)}"
                for name, asked in when.checks.items()
            ]
            rows.append([profile.name, where, ", ".join(changes), when.reason])
    return _table(["profile", "of these", "is demanded", "because"], rows)


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")
