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
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        found = tuple(value)
        if all(isinstance(one, str) for one in found):
            return found
    raise PolicyError(f"{name}={value!r}: expected a list of strings")
