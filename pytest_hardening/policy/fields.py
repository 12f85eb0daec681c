"""What the sections of policy and profile files are made of: names that are known, globs, lists of them.

The model is pydantic's: it reads a file, finds every mistake in it at once, and yields the JSON Schema. A mistake that
pydantic has no words for is raised with `mistake`; `problems.py` words the others.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from datetime import date, time
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

from ..checks.registry import built_in_names, check_names
from ..elf.machines import KNOWN_MACHINES, machine_names
from ..model import Kind, OnUnknown

__all__ = [
    "CheckName",
    "KindName",
    "LibcName",
    "MachineName",
    "OnUnknown",
    "OneOrMore",
    "Section",
    "Text",
    "mistake",
    "mistake_of_section",
    "nearest",
    "spelled",
]

# to the others no check applies
_KINDS = tuple(kind.value for kind in Kind if kind not in (Kind.DEBUG_ONLY, Kind.CORE, Kind.NOT_ELF))
_LIBCS = ("glibc", "musl", "bionic", "unknown")


class Section(BaseModel):
    """A table of a file: frozen, without conversions, and with no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def mistake(text: str) -> PydanticCustomError:
    """A mistake in our words; `problems.py` adds the file and the key."""
    return PydanticCustomError("mistake", "{text}", {"text": text})


def mistake_of_section(text: str) -> PydanticCustomError:
    """A mistake of the table that the field is in."""
    return PydanticCustomError("mistake_of_section", "{text}", {"text": text})


def nearest(name: object, known: Iterable[str]) -> str:
    """The hint behind an unknown name: the nearest known one, or all of them."""
    known = tuple(known)
    near = difflib.get_close_matches(name, known, 1) if isinstance(name, str) else []
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"


def spelled(value: object) -> str:
    """A value as TOML spells it: not as Python does, where `true` would be `True`."""
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else repr(value)


class _Known:
    """A text that is one of some names, and of some more that the schema does not list.

    Parameters
    ----------
    names: those that the schema lists and messages suggest.
    more: the others, asked whenever a text is read: they may be costly to know, or change.
    suggested: whether messages suggest these too.
    """

    def __init__(
        self,
        what: str,
        names: tuple[str, ...],
        more: Callable[[], Collection[str]] | None = None,
        *,
        suggested: bool = False,
    ) -> None:
        self._what, self._names, self._more, self._suggested = what, names, more, suggested

    def __call__(self, value: str) -> str:
        if value not in self._names and not (self._more and value in self._more()):
            names = self._more() if self._more and self._suggested else self._names
            raise mistake(f"unknown {self._what} {value!r}{nearest(value, names)}")
        return value

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        known = {"type": "string", "enum": list(self._names)}
        return {"anyOf": [known, {"type": "string"}]} if self._more else known


class _OneOrMore:
    """In the schema: one item, or a list that is not empty."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        listed = handler(core)
        return {"anyOf": [listed["items"], {**listed, "minItems": 1}]}


def _listed(value: object) -> object:
    if isinstance(value, list) and not value:
        raise mistake("an empty list: name at least one")
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, str) else value


_KNOWN_CHECK = _Known("check", built_in_names(), check_names, suggested=True)
_KNOWN_KIND = _Known("kind", _KINDS)
_KNOWN_MACHINE = _Known("machine", KNOWN_MACHINES, machine_names)
_KNOWN_LIBC = _Known("libc", _LIBCS)

_Item = TypeVar("_Item")

#: One item, or a list of them that is not empty; a tuple once read.
OneOrMore = Annotated[tuple[_Item, ...], BeforeValidator(_listed), _OneOrMore()]
#: A text that says something.
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
CheckName = Annotated[str, AfterValidator(_KNOWN_CHECK), _KNOWN_CHECK]
KindName = Annotated[str, AfterValidator(_KNOWN_KIND), _KNOWN_KIND]
MachineName = Annotated[str, AfterValidator(_KNOWN_MACHINE), _KNOWN_MACHINE]
LibcName = Annotated[str, AfterValidator(_KNOWN_LIBC), _KNOWN_LIBC]
