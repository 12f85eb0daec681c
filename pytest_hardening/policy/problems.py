"""Every mistake of a file in one message, each with its place and the nearest valid name."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from ..errors import PolicyError
from .fields import Section, nearest, spelled

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["parsed", "read"]

_Location = tuple[int | str, ...]
_Document = TypeVar("_Document", bound=Section)

_WORDS = {
    "missing": "missing, and mandatory",
    "string_type": "expected a text",
    "string_too_short": "an empty text",
    "string_pattern_mismatch": "an empty text",
    "tuple_type": "expected a list of texts",
    "model_type": "expected a table",
    "model_attributes_type": "expected a table",
    "date_type": "expected a date such as 2027-03-01, without quotes or time",
}


def parsed(text: str, where: str) -> dict[str, Any]:
    """A TOML document.

    Raises
    ------
    PolicyError: it is not TOML.
    """
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"{where}: not valid TOML: {error}") from None
    return data


def read(model: type[_Document], data: object, where: str, folder: str, table: str = "") -> _Document:
    """The document in `data`.

    Parameters
    ----------
    where: the file's name in messages.
    folder: what names of files inside it are relative to.
    table: the key that the data stands under in its file.

    Raises
    ------
    PolicyError: there are mistakes; the message has one line for each.
    """
    try:
        return model.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        top = (table,) if table else ()
        found = [((*top, *_as_written(data, at)), text) for at, text in _problems(model, error)]
    lines = [f"{where}: {_place(at)}: {text}" for at, text in found]
    if len(lines) == 1:
        raise PolicyError(lines[0])
    raise PolicyError("\n".join((f"{where}: {len(lines)} mistakes", *lines)))


def _problems(model: type[BaseModel], error: ValidationError) -> Iterator[tuple[_Location, str]]:
    for detail in error.errors(include_url=False):
        location = detail["loc"]
        shown = location[:-1] if detail["type"] == "mistake_of_section" else location
        yield shown, _text(model, detail["type"], location, detail.get("ctx", {}), detail)


def _as_written(data: object, location: _Location) -> _Location:
    """A place without the number of an item that was written alone, without a list."""
    for number, part in enumerate(location):
        if isinstance(part, int) and not isinstance(data, list):
            return location[:number]
        try:
            data = data[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            break
    return location


def _place(location: _Location) -> str:
    """`artifact[2].checks.relro.level`"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _text(model: type[BaseModel], kind: str, location: _Location, context: Mapping[str, Any], detail: Any) -> str:
    if kind.startswith("mistake"):
        return str(context["text"])
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return f"unknown key {location[-1]!r}{nearest(location[-1], _keys(model, location[:-1]))}"
    if kind == "literal_error":
        return f"expected one of {context['expected'].replace(' or ', ', ')}, not {spelled(detail['input'])}"
    text = _WORDS.get(kind, detail["msg"][:1].lower() + detail["msg"][1:])
    return text if kind == "missing" or text.startswith("an empty") else f"{text}, not {spelled(detail['input'])}"


def _keys(model: type[BaseModel], location: _Location) -> tuple[str, ...]:
    """The keys of the table at a place."""
    for part in location:
        if isinstance(part, str):
            model = _table(model.model_fields[part].annotation) or model
    return tuple(model.model_fields)


def _table(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _table(argument))), None)
