"""Arguments that tests give: what would be taken for something else is refused."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import PolicyError

__all__ = ["strings"]


def strings(name: str, value: Iterable[str]) -> tuple[str, ...]:
    """The strings in `value`; one alone is refused, as its characters would be taken for the list.

    Raises
    ------
    PolicyError: `value` is no list of strings.
    """
    found = () if isinstance(value, str | bytes) or not isinstance(value, Iterable) else tuple(value)
    if isinstance(value, str | bytes) or not isinstance(value, Iterable) or any(not isinstance(s, str) for s in found):
        raise PolicyError(f"{name}={value!r}: expected a list of strings")
    return found
