"""The engine as the session's options configure it."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Iterable

import pytest

from .assertions import OnUnknown, require
from .engine import inspect, judge
from .model import Artifact, Report
from .options import Settings, settings_of
from .policy.profile import Profile, load_profile

__all__ = ["GATE", "Gate", "Hardening"]

_KEPT = 32


class Hardening:
    """Profile and settings in force, for tests: the value of the fixture `hardening`.

    Raises
    ------
    PolicyError: the profile or a check is unknown.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.settings: Settings = settings_of(config)
        profile = load_profile(self.settings.profile)
        self.profile: Profile = profile.narrowed(self.settings.checks) if self.settings.checks else profile

    def inspect(self, path: str | os.PathLike[str]) -> Report:
        """Judge one file with the checks of the profile; a file that cannot be judged has an `error`."""
        return inspect(path, self.profile.checks, self.settings.debug_roots)

    def check(self, path: str | os.PathLike[str]) -> Report:
        """Like `inspect`, and raise NotHardened unless the gate would let the file through.

        Raises
        ------
        NotHardened: a required check fails (with --hardening-strict also: is unknown).
        ArtifactError: the file cannot be judged.
        """
        __tracebackhide__ = True
        unknown: OnUnknown = "fail" if self.settings.strict else "ignore"
        return require(path, self.profile, unknown=unknown, debug_roots=self.settings.debug_roots)


class Gate(Hardening):
    """The same for the items of one session: keeps the verdicts of the artifacts judged last."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self.left_out: Counter[str] = Counter()
        self._selected: dict[Artifact, list[str]] = {}
        self._reports: OrderedDict[Artifact, Report] = OrderedDict()

    def select(self, items: Iterable[tuple[Artifact, str]]) -> None:
        """Note which checks were left after deselection, so that no other is run."""
        for artifact, check in items:
            self._selected.setdefault(artifact, []).append(check)

    def report(self, artifact: Artifact) -> Report:
        """The verdicts on an artifact; its file is read once for all its items."""
        report = self._reports.get(artifact)
        if report is None:
            wanted = self._selected.get(artifact, list(self.profile.checks))
            requests = {name: self.profile.checks[name] for name in self.profile.checks if name in wanted}
            entries = list(judge(artifact, requests, self.settings.debug_roots))
            report = self._reports[artifact] = Report((entries[-1], *entries[:-1]))
            if len(self._reports) > _KEPT:
                self._reports.popitem(last=False)
        return report


#: The gate of a session that was given paths.
GATE = pytest.StashKey[Gate]()
