"""The rules that every check keeps: a test module, a manual page with its headings, parameters that are judged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_hardening.checks.registry import check_names, get_check
from pytest_hardening.errors import PolicyError
from pytest_hardening.testing import assert_manual


@pytest.mark.parametrize("name", check_names())
def test_every_check_has_a_test_module(name: str) -> None:
    module = type(get_check(name)).__module__.rpartition(".")[2]
    assert module == name.replace("-", "_")
    text = (Path(__file__).parent / f"test_{module}.py").read_text()
    assert f'"{name}"' in text
    assert "Outcome.FAIL" in text
    assert "Outcome.PASS" in text


@pytest.mark.parametrize("name", check_names())
def test_manual_page(name: str) -> None:
    assert_manual(get_check(name))


@pytest.mark.parametrize("name", check_names())
def test_name_and_label(name: str) -> None:
    check = get_check(name)
    assert check.name == name
    assert re.fullmatch("[a-z]+(-[a-z]+)*", name)
    assert check.label
    assert check.kinds


@pytest.mark.parametrize("name", check_names())
def test_defaults_are_allowed_values(name: str) -> None:
    check = get_check(name)
    assert check.settings({}) == {key: parameter.default for key, parameter in check.parameters.items()}
    with pytest.raises(PolicyError, match=f"{name}: unknown parameter 'no-such'"):
        check.settings({"no-such": 1})
    for key in check.parameters:
        with pytest.raises(PolicyError, match=rf"{name}\.{key} = "):
            check.settings({key: object()})


def test_unknown_check_names_the_nearest() -> None:
    with pytest.raises(PolicyError, match="did you mean 'relro'"):
        get_check("rello")
