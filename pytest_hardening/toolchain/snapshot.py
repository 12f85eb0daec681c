"""Postures in a file, and what changed since: a mitigation that was lost or gained, a toolchain that was replaced."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from operator import methodcaller
from typing import Any

from pytest_hardening.errors import ComparisonError, HardeningError
from pytest_hardening.toolchain.posture import Posture
from pytest_hardening.toolchain.probes import GOES_THROUGH, WORKS, Cell, State

__all__ = [
    "Change",
    "Effect",
    "changes_between",
    "counterpart",
    "document",
    "load_postures",
    "merged",
    "posture_changes",
    "save_postures",
]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

_SCHEMA_VERSION = 1
_MOST_BYTES = 1 << 24  # a posture has some 10 kB
_FACTS = ("version", "target", "libc", "linker", "configured", "defaults")
_WORDS = {
    State.DEFAULT: "on by default",
    State.FLAG: "on with {flags}",
    State.NOT_VISIBLE: "not visible with {flags}",
    State.NO_EFFECT: "without effect: {flags}",
    State.UNAVAILABLE: "not available ({flags})",
}


class Effect(Enum):
    """What a change means."""

    LOST = "lost"
    CHANGED = "changed"
    GAINED = "gained"


@dataclass(frozen=True, slots=True)
class Change:
    """One mitigation that is not what it was.

    `was` is None for a probe that the older posture lacks.
    """

    id: str
    mitigation: str
    effect: Effect
    was: Cell | None
    now: Cell

    def to_json(self) -> dict[str, Any]:
        return {
            "toolchain": self.id,
            "mitigation": self.mitigation,
            "effect": self.effect.value,
            "was": self.was.to_json() if self.was is not None else None,
            "now": self.now.to_json(),
        }

    def __str__(self) -> str:
        was = "not asked for" if self.was is None else cell_text(self.was)
        reason = f": {self.now.summary}" if self.effect is Effect.LOST and self.now.summary else ""
        return f"{self.id}: {self.mitigation} {self.effect.value}: was {was}, is {cell_text(self.now)}{reason}"


def cell_text(cell: Cell) -> str:
    """A cell in words: `on by default`, `on with -Wl,-z,now`."""
    text = _WORDS[cell.state].format(flags=" ".join(cell.flags))
    return f"{text}, {cell.at_run_time} at run time" if cell.at_run_time else text


def cell_change(id: str, was: Cell | None, now: Cell) -> Change | None:  # noqa: A002
    """What became of one mitigation; None where it is as it was."""
    ran = {was.at_run_time, now.at_run_time} if was is not None else set()
    if was is not None and ran == {WORKS, GOES_THROUGH}:
        is_lost = was.at_run_time == WORKS or now.state.rank < was.state.rank
        return Change(id, now.mitigation, Effect.LOST if is_lost else Effect.GAINED, was, now)
    if was is not None and (was.state, was.flags) == (now.state, now.flags):
        return None
    if was is None:
        effect = Effect.GAINED if now.state.rank else Effect.CHANGED
    elif now.state.rank == was.state.rank:
        effect = Effect.CHANGED
    else:
        effect = Effect.LOST if now.state.rank < was.state.rank else Effect.GAINED
    return Change(id, now.mitigation, effect, was, now)


def posture_changes(was: Posture, now: Posture) -> tuple[Change, ...]:
    """What one posture lost and gained against another, be they of the same toolchain or of two."""
    changes = (cell_change(now.id, was.cells.get(name), cell) for name, cell in now.cells.items())
    return tuple(change for change in changes if change is not None)


def changes_between(was: Mapping[str, Posture], now: Mapping[str, Posture]) -> tuple[Change, ...]:
    """What toolchains lost and gained, each against its counterpart; those without one have no changes."""
    found: list[Change] = []
    for posture in now.values():
        older = counterpart(posture.toolchain, was, now)
        if older is not None:
            found += posture_changes(older, posture)
    return tuple(found)


def counterpart(
    toolchain: Mapping[str, Any], postures: Mapping[str, Posture], others: Collection[str] = ()
) -> Posture | None:
    """The older posture of a toolchain: that of its id; else that of another version, the newest that is older or has
    the same major number, where that is not compared itself.

    - `toolchain`: its JSON form.
    - `others`: the ids of the toolchains that are compared now.
    """
    if same := postures.get(toolchain["id"]):
        return same
    kin = [
        posture
        for id, posture in postures.items()  # noqa: A001
        if id not in others and _kin(posture.toolchain) == _kin(toolchain) and _is_before(posture.toolchain, toolchain)
    ]
    return max(kin, key=lambda posture: _numbers(posture.toolchain), default=None)


def facts_changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What else is not what it was: version, C library, linker, configuration; one line each."""
    for name in _FACTS:
        old, new = was.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, list) and isinstance(new, list):
            gone, come = [one for one in old if one not in new], [one for one in new if one not in old]
            parts = (f"{word} {' '.join(some)}" for word, some in (("without", gone), ("with", come)) if some)
            yield f"{name}: {'; '.join(parts) or 'in another order'}"
        else:
            yield f"{name}: was {old}, is {new}"


def document(postures: Iterable[Posture]) -> dict[str, Any]:
    """Postures as JSON values: of the command's `--format json` and of the saved file."""
    listed = sorted(postures, key=lambda posture: posture.id)
    return {"schema_version": _SCHEMA_VERSION, "toolchains": [posture.to_json() for posture in listed]}


def merged(old: Mapping[str, Posture], new: Iterable[Posture]) -> dict[str, Posture]:
    """What to save: the new ones in place of the old; of the old, what was not asked for this time stays."""
    result = dict(old)
    for posture in new:
        kept = result[posture.id].cells if posture.id in result else {}
        result[posture.id] = replace(posture, cells={**kept, **posture.cells})
    return result


def save_postures(path: str, postures: Iterable[Posture]) -> None:
    """Write a file that `load_postures` reads. Raises OSError when that fails; then the old file is as it was."""
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=folder, suffix=".partial", delete=False) as stream:
        try:
            json.dump(document(postures), stream, indent=1, ensure_ascii=False)
            stream.write("\n")
            stream.flush()
            os.chmod(stream.name, 0o666 & ~_umask())
            os.replace(stream.name, path)
        except BaseException:
            os.unlink(stream.name)
            raise


def load_postures(path: str) -> dict[str, Posture]:
    """The postures in a file, by id.

    Raises
    ------
    ComparisonError: it cannot be read, or is not what `save_postures` or `--format json` wrote.
    """
    try:
        if os.path.getsize(path) > _MOST_BYTES:
            raise ComparisonError(f"{path}: no file of postures: it is larger than {_MOST_BYTES >> 20} MB")
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except OSError as error:
        raise ComparisonError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ComparisonError(f"{path}: no JSON: it is damaged, or no file of postures") from None
    try:
        version = data["schema_version"]
        if version != _SCHEMA_VERSION:
            raise ComparisonError(f"{path}: schema version {version!r}, this version reads {_SCHEMA_VERSION}")
        return {posture.id: posture for posture in map(Posture.from_json, data["toolchains"])}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ComparisonError(f"{path}: damaged, or no file of postures: {error!r}") from None


def _kin(toolchain: Mapping[str, Any]) -> tuple[object, ...]:
    """What two versions of one toolchain have in common."""
    suffix = str(toolchain.get("id")).partition("+")[2]
    libc = str(toolchain.get("libc")).partition(" ")[0]
    return (*(toolchain.get(name) for name in ("family", "language", "machine")), libc, suffix)


def _is_before(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return _numbers(old) < _numbers(new) or _numbers(old)[:1] == _numbers(new)[:1]


def _numbers(toolchain: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d{1,9}", str(toolchain.get("version")))))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
