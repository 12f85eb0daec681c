"""The JSON Schema of policy files: it is the published one, and it and the reader accept and refuse the same."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from pytest_hardening.__main__ import main
from pytest_hardening.checks.registry import built_in_names, check_names, get_check
from pytest_hardening.policy.problems import parsed
from pytest_hardening.policy.profile import built_in_profiles
from pytest_hardening.policy.schema import policy_schema, profile_schema, written

from .test_document import MISTAKES

RIGHT = """
profile = "kms-6.7"
unknown = "warn"
exclude = ["build/third_party/*"]
baseline = "hardening-baseline.txt"
[checks]
relro = { level = "full" }
fortify = { level = 3, unknown = "fail" }
rpath = { allow = ["/opt/lib"] }
stack-clash = false
[[when]]
kind = ["module"]
machine = "arm"
libc = ["musl"]
reason = "musl has no FORTIFY"
checks.fortify = false
[[artifact]]
path = "plugins/*.so"
profile = "plugin"
unknown = "fail"
[[waiver]]
path = "build/libLEGACY.so"
checks = ["stack-protector"]
unit = "asm.c"
function = "copy*"
reason = "hand-written"
owner = "alice"
"""


def validator(schema: dict[str, Any]) -> jsonschema.Draft7Validator:
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def test_published_schema_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    """After a change: `python -m pytest_hardening schema > pytest_hardening/policy/hardening.schema.json`."""
    published = files("pytest_hardening").joinpath("policy/hardening.schema.json").read_text("utf-8")
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == published == written(policy_schema())


def test_what_is_right_is_valid() -> None:
    assert list(validator(policy_schema()).iter_errors(parsed(RIGHT, "right"))) == []


@pytest.mark.parametrize("name", built_in_profiles())
def test_built_in_profiles_are_valid(name: str) -> None:
    text = files("pytest_hardening").joinpath(f"policy/profiles/{name}.toml").read_text("utf-8")
    assert list(validator(profile_schema()).iter_errors(parsed(text, name))) == []


def test_profile_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--profile"]) == 0
    assert json.loads(capsys.readouterr().out) == profile_schema()


def test_mistakes_are_invalid() -> None:
    errors = list(validator(policy_schema()).iter_errors(parsed(MISTAKES, "wrong")))
    places = {str(error.absolute_path[0]) if error.absolute_path else "" for error in errors}
    assert {"unknown", "exclude", "", "checks", "when", "artifact", "waiver"} <= places


def test_schema_knows_every_check_and_choice() -> None:
    checks = policy_schema()["properties"]["checks"]["properties"]
    assert tuple(checks) == built_in_names() == check_names()
    for name, schema in checks.items():
        table, dropped = schema["anyOf"]
        assert dropped == {"const": False}
        assert list(table["properties"]) == [*get_check(name).parameters, "unknown"]
        for key, parameter in get_check(name).parameters.items():
            assert table["properties"][key].get("enum", []) == list(parameter.choices)


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("checks.own-check = { size = 5, unknown = 'fail' }", True),
        ("checks.own-check = false", True),
        ("[[waiver]]\npath = 'x'\nchecks = ['own-check', 'relro']\nreason = 'known'", True),
        ("checks.own-check = true", False),
        ("checks.own-check = { unknown = 'never' }", False),
        ("checks.relro = { levle = 'full' }", False),
    ],
)
def test_schema_lets_checks_of_plugins_be(text: str, is_valid: bool) -> None:
    assert validator(policy_schema()).is_valid(parsed(text, "own")) is is_valid
