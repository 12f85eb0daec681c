"""The model of both kinds of file: a profile, and the policy of a project (hardening.toml).

Checks, their parameters and the values allowed come from the registry of checks, whatever it holds. The JSON Schema is
made of the same model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails

from ..checks.registry import built_in_names, check_names, get_check
from ..errors import PolicyError
from .fields import (
    KindName,
    LibcName,
    MachineName,
    OneOrMore,
    OnUnknown,
    Section,
    Text,
    mistake,
    mistake_of_section,
    nearest,
    spelled,
)
from .library import built_in_profiles, is_file_name, profile_names, profile_text
from .waiver import Waiver

__all__ = ["ArtifactRule", "Asked", "Checks", "PolicyDocument", "ProfileDocument", "Rules", "When"]

_UNKNOWN = get_args(OnUnknown)
_UNKNOWN_SCHEMA = {"description": "what an unknown verdict does", "enum": list(_UNKNOWN)}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a table says of one check: the parameters that it gives, and what unknown does."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    unknown: OnUnknown | None = None


class _Mistakes:
    """Gathers the mistakes inside one value."""

    def __init__(self) -> None:
        self._found: list[InitErrorDetails] = []

    def add(self, *place: str, text: str) -> None:
        self._found.append(InitErrorDetails(type=mistake(text), loc=place, input=None))

    def report(self) -> None:
        if self._found:
            raise ValidationError.from_exception_data("checks", self._found)


def _read_checks(value: object) -> dict[str, Asked | None]:
    """A table of checks; None stands for false: the check is not demanded."""
    if not isinstance(value, dict):
        raise mistake("expected a table: check = { parameters }, or check = false")
    mistakes = _Mistakes()
    read: dict[str, Asked | None] = {}
    for name, given in value.items():
        if name not in check_names():
            mistakes.add(name, text=f"unknown check {name!r}{nearest(name, check_names())}")
        elif given is False:
            read[name] = None
        elif isinstance(given, dict):
            read[name] = _read_check(name, given, mistakes)
        elif given is True:
            mistakes.add(name, text=f"true: write {name} = {{}} to require it, {name} = false to drop it")
        else:
            mistakes.add(name, text=f"expected a table of parameters, or false; not {given!r}")
    mistakes.report()
    return read


def _read_check(name: str, given: Mapping[str, Any], mistakes: _Mistakes) -> Asked:
    check = get_check(name)
    parameters: dict[str, Any] = {}
    for key, value in given.items():
        if key == "unknown":
            if value not in _UNKNOWN:
                mistakes.add(name, key, text=f"expected one of {_quoted(_UNKNOWN)}, not {spelled(value)}")
        elif key not in check.parameters:
            hint = nearest(key, (*check.parameters, "unknown"))
            mistakes.add(name, key, text=f"unknown parameter {key!r}{hint}")
        else:
            try:  # one by one, so that each mistake has its place; a check may want more than its parameters say
                parameters[key] = check.settings({key: value})[key]
            except PolicyError as error:
                mistakes.add(name, key, text=_words(str(error), name, key, value))
    return Asked(parameters, given.get("unknown"))


def _words(text: str, check: str, key: str, value: object) -> str:
    expected = text.removeprefix(f"{check}.{key} = {value!r}: ")
    return text if expected == text else f"{expected}, not {spelled(value)}"


def _quoted(values: tuple[object, ...]) -> str:
    return ", ".join(map(repr, values))


class _ChecksSchema:
    """The schema of a table of checks: of the built-in ones all is known, of those that plugins add the form."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        properties = {name: _check_schema(name) for name in built_in_names()}
        table = {"type": "object", "properties": {"unknown": _UNKNOWN_SCHEMA}}
        other = {"description": "a check that a plugin adds", "anyOf": [table, {"const": False}]}
        return {"type": "object", "additionalProperties": other, "properties": properties}


def _check_schema(name: str) -> dict[str, Any]:
    check = get_check(name)
    properties: dict[str, Any] = {}
    for key, parameter in check.parameters.items():
        allowed: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
        if parameter.choices:
            allowed = {"enum": list(parameter.choices), "default": parameter.default}
        properties[key] = {"description": parameter.meaning, **allowed}
    properties["unknown"] = _UNKNOWN_SCHEMA
    table = {"type": "object", "additionalProperties": False, "properties": properties}
    return {"description": check.manual().splitlines()[0], "anyOf": [table, {"const": False}]}


def _known_profile(value: str, info: ValidationInfo) -> str:
    if value in profile_names():
        return value
    if not is_file_name(value):
        raise mistake(f"unknown profile {value!r}{nearest(value, profile_names())}")
    try:
        profile_text(value, (info.context or {}).get("folder", ""))
    except PolicyError as error:
        raise mistake(str(error)) from None
    return value


class _ProfileSchema:
    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "enum": list(built_in_profiles())}, {"type": "string"}]}


def _tables(value: object) -> object:
    if not isinstance(value, list):
        raise mistake("expected an array of tables, written with two brackets: [[...]]")
    return tuple(value)


_Table = TypeVar("_Table")

Checks = Annotated[dict[str, Asked | None], PlainValidator(_read_checks), _ChecksSchema()]
ProfileName = Annotated[str, AfterValidator(_known_profile), _ProfileSchema()]
Tables = Annotated[tuple[_Table, ...], BeforeValidator(_tables)]


class When(Section):
    """What is demanded otherwise of some targets, and why."""

    kind: OneOrMore[KindName] | None = Field(
        default=None, description="kinds of file; archive: the members of static archives"
    )
    machine: OneOrMore[MachineName] | None = Field(default=None, description="machines, as reports show them")
    recorded: bool | None = Field(
        default=None, description="whether a build system tells how the file was made (--hardening-build)"
    )
    libc: OneOrMore[LibcName] | None = Field(
        default=None, description="C libraries; unknown: where the file does not tell", validate_default=True
    )
    reason: Text = Field(description="why; shown wherever a check is not demanded because of this")
    checks: Checks = Field(description="check = { parameters }, or false: not demanded of these targets")

    @field_validator("libc")
    @classmethod
    def _has_condition(cls, value: object, info: ValidationInfo) -> object:
        # a key with a mistake of its own is not in `data`
        if value is None and all(info.data.get(key, "") is None for key in ("kind", "machine", "recorded")):
            raise mistake_of_section(
                "one of kind, machine, libc and recorded is needed: else it would hold for every file"
            )
        return value


class Rules(Section):
    """What is demanded: the form that profile, policy file and rules by path share."""

    unknown: OnUnknown | None = Field(default=None, description="what an unknown verdict does")
    checks: Checks = Field(default_factory=dict, description="check = { parameters }, or false: not demanded")
    when: Tables[When] = Field(default=(), description="what is demanded otherwise of some targets")


class ProfileDocument(Rules):
    """A profile's file."""

    description: str = Field(default="", description="one line for people")
    extends: OneOrMore[ProfileName] = Field(
        default=(), description="profiles to start from: names or files; later ones win"
    )


class ArtifactRule(Section):
    """What is demanded of some artifacts."""

    path: OneOrMore[Text] | None = Field(
        default=None, description="globs on the artifact's shown name; * matches / too"
    )
    kind: OneOrMore[KindName] | None = Field(default=None, description="kinds of file", validate_default=True)
    profile: ProfileName | None = Field(default=None, description="judged by this profile: a name, or a file")
    unknown: OnUnknown | None = Field(default=None, description="what an unknown verdict does")
    checks: Checks = Field(
        default_factory=dict, description="check = { parameters }, or false: not demanded", validate_default=True
    )

    @field_validator("kind")
    @classmethod
    def _has_condition(cls, value: object, info: ValidationInfo) -> object:
        if value is None and info.data.get("path", "") is None:
            raise mistake_of_section("path or kind is needed: else it would hold for every file")
        return value

    @field_validator("checks")
    @classmethod
    def _says_something(cls, value: object, info: ValidationInfo) -> object:
        if not value and all(info.data.get(key, "") is None for key in ("profile", "unknown")):
            raise mistake_of_section("one of profile, unknown and checks is needed: else the rule changes nothing")
        return value


class PolicyDocument(Rules):
    """The policy of a project: hardening.toml, or the table tool.pytest-hardening of pyproject.toml."""

    profile: ProfileName | None = Field(default=None, description="what is required: a built-in profile, or a file")
    exclude: OneOrMore[Text] = Field(default=(), description="globs on shown names: artifacts left out")
    baseline: Text | None = Field(default=None, description="file of known failures, relative to this one")
    artifact: Tables[ArtifactRule] = Field(default=(), description="rules by path, in order; later ones win")
    waiver: Tables[Waiver] = Field(default=(), description="failures that are accepted, each with a reason")
