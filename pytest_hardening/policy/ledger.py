"""What a whole session made of waivers and the baseline: what is unused, what is gone, what is new."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .acceptance import Acceptance
from .baseline import UNKNOWN, WHOLE, Entry, has_lasting_name, updated

__all__ = ["Ledger"]


class Ledger:
    """Takes the rulings of a session, in any order and as often as an item was run."""

    def __init__(self, acceptance: Acceptance) -> None:
        self._acceptance = acceptance
        self._judged: dict[tuple[str, str], tuple[str, ...] | None] = {}
        self._used: set[int] = set()
        self._settled: dict[int, set[tuple[str, str]]] = {}

    def add(self, check: str, path: str, ruling: Mapping[str, Any]) -> None:
        """One ruling in its JSON form."""
        keys = ruling["keys"]
        self._judged[check, path] = None if keys is None else tuple(keys)
        self._used.update(ruling["waivers"])
        if keys is not None and WHOLE not in keys and UNKNOWN not in keys:
            for number in self._acceptance.concerning(check, path):
                self._settled.setdefault(number, set()).add((check, path))

    def unused(self, collected: Mapping[int, int]) -> list[int]:
        """The numbers of the waivers that cover nothing, where all that they are about was judged, and could be.

        Parameters
        ----------
        collected: how many of the items collected each waiver is about, whether they were run or not.
        """
        return [
            number
            for number, items in sorted(self._settled.items())
            if number not in self._used and number in collected and len(items) >= collected[number]
        ]

    def gone(self, stale: Collection[Entry] = ()) -> list[Entry]:
        """The entries of the baseline that were judged and do not fall short any more, and those that are stale."""
        baseline = self._acceptance.baseline
        return sorted(
            entry for entry in (baseline.entries if baseline else ()) if entry in stale or self._is_gone(entry)
        )

    def _is_gone(self, entry: Entry) -> bool:
        keys = self._judged.get((entry.check, entry.artifact))
        if keys is None or entry.culprit in keys:
            return False
        return not keys if entry.culprit == WHOLE else not {WHOLE, UNKNOWN}.intersection(keys)

    def updated(self, stale: Collection[Entry] = ()) -> tuple[list[Entry], list[Entry], list[Entry]]:
        """The entries for the new baseline; and of them those that are new, and those that are gone."""
        baseline = self._acceptance.baseline
        return updated(baseline.entries if baseline else (), self._judged, stale)

    @property
    def outside(self) -> int:
        """How many failures no baseline takes, because their files lie outside the project."""
        return sum(len(keys or ()) for (_, path), keys in self._judged.items() if not has_lasting_name(path))
