from __future__ import annotations

from typing import Any

import pytest

from pytest_hardening import PolicyError
from pytest_hardening.policy.arguments import strings


@pytest.mark.parametrize(
    "value", [["a", "b"], ("a", "b"), iter("ab"), {"a": 1, "b": 2}], ids=lambda v: type(v).__name__
)
def test_lists(value: Any) -> None:
    assert strings("allow", value) == ("a", "b")


@pytest.mark.parametrize("value", ["a", "", b"a", None, 3, [3], ["a", None]], ids=repr)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(PolicyError, match=r"^allow=.*: expected a list of strings$"):
        strings("allow", value)
