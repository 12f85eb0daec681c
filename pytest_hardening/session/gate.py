"""The engine as the session's options configure it."""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import replace

import pytest

from ..artifacts.build_systems.linker_map import stack_makers
from ..artifacts.build_systems.targets import Target, Targets, find_targets
from ..artifacts.names import display
from ..artifacts.packages.contents import INSIDE
from ..assertions import require
from ..causes.attribution import attributed
from ..causes.staleness import why_stale
from ..causes.were_run import why_unproven, without_proof
from ..engine import artifact_of, inspect, judge, kind_of
from ..errors import ArtifactError
from ..model import Artifact, ArtifactReport, Evidence, Kind, Outcome, Report, Verdict
from ..options import Settings, settings_of
from ..policy.acceptance import acceptance_of
from ..policy.given import COMMAND_LINE, DEFAULT
from ..policy.policy import PLUGINS, Policy, load_policy
from ..policy.profile import Profile
from ..policy.survey import Built, Survey, Surveyed

__all__ = ["GATE", "Gate", "Hardening", "policy_of"]

_KEPT = 32
_MOST_OBJECTS = 5
_POLICY = pytest.StashKey[Policy]()


def policy_of(config: pytest.Config) -> Policy:
    """The policy in force.

    Raises
    ------
    PolicyError: the policy file, a profile or an option is wrong.
    """
    if _POLICY not in config.stash:
        settings = settings_of(config)
        config.stash[_POLICY] = load_policy(str(config.rootpath), settings.profile, settings.strict, settings.checks)
    return config.stash[_POLICY]


class Hardening:
    """Policy and settings in force, for tests: the value of the fixture `hardening`.

    Parameters
    ----------
    profile: what is required of artifacts that no rule of the policy matches.

    Raises
    ------
    PolicyError: the policy file, a profile or an option is wrong.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.settings: Settings = settings_of(config)
        self.policy: Policy = policy_of(config)
        self.profile: Profile = self.policy.profile
        self._base = os.path.realpath(config.rootpath)

    def profile_of(self, artifact: Artifact, kind: Kind | None = None) -> Profile:
        """What is required of an artifact; its kind is read where it is not given."""
        if kind is None:
            try:
                kind = kind_of(artifact)
            except ArtifactError:
                kind = Kind.NOT_ELF
        return self.policy.for_artifact(self._name(artifact), kind, artifact.role)

    def _name(self, artifact: Artifact) -> str:
        """The name that rules by path match: relative to the root folder, wherever the test runs."""
        packed = artifact.packed
        name = display(artifact.path if packed is None else packed.package, self._base)
        return name if packed is None else f"{name}{INSIDE}{packed.inside}"

    def inspect(self, path: str | os.PathLike[str]) -> Report:
        """Judge one file with the checks of the profile; a file that cannot be judged has an `error`."""
        report = inspect(path, self.profile_of(artifact_of(path)), self.settings.debug_roots)
        if not self.settings.checks:
            return report
        is_option = self.settings.sources["checks"] == COMMAND_LINE
        return replace(report, limited_by="--hardening-check" if is_option else "hardening_checks")

    def check(self, path: str | os.PathLike[str]) -> Report:
        """Like `inspect`, and raise NotHardened unless the file has what is required; of waivers only items know.

        Raises
        ------
        NotHardened: a required check fails, or is unknown where the policy makes that a failure.
        ArtifactError: the file cannot be judged.
        """
        __tracebackhide__ = True
        return require(path, self.profile_of(artifact_of(path)), debug_roots=self.settings.debug_roots)


class Gate(Hardening):
    """The same for the items of one session: keeps the verdicts of the artifacts judged last."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self.targets = self._targets()
        self.policy = self.policy.with_targets(self.targets.names, self.targets.modules)
        self.acceptance = acceptance_of(self.policy, self.settings.baseline, update=self.settings.update_baseline)
        built = Built(self.settings.builds, self.targets.outputs, self.targets.is_complete)
        self.survey = Survey(self.policy, self.acceptance, self.settings.paths, self._base, built)
        self.left_out: Counter[str] = Counter()
        self._profiles: dict[Artifact, Profile] = {}
        self._collected: int | None = None
        self._selected: dict[Artifact, list[str]] = {}
        self._reports: OrderedDict[Artifact, Report] = OrderedDict()

    def _targets(self) -> Targets:
        """What build systems say is built; in every process, as it decides which waivers are about what."""
        settings = self.settings
        builds = () if settings.picked else settings.builds
        return find_targets(builds, self._base, only=settings.targets, allow_unbuilt=settings.allow_unbuilt)

    def profile_of(self, artifact: Artifact, kind: Kind | None = None) -> Profile:
        """What is required of an artifact; asked once, so that its headers are not read again."""
        if artifact not in self._profiles:
            self._profiles[artifact] = super().profile_of(artifact, kind)
        return self._profiles[artifact]

    def _name(self, artifact: Artifact) -> str:
        return artifact.display  # relative to the root folder, or as a plugin named it

    @property
    def title(self) -> str:
        """What is required, in one line."""
        policy, profile = self.policy, self.profile
        parts = [f"policy {policy.file}"] if policy.file else []
        checks = f"{len(profile.checks)} {'check' if len(profile.checks) == 1 else 'checks'}"
        if policy.only:  # some of which the profile may not require
            named = policy.profile_named
            parts += [] if named.source == DEFAULT else [f"profile {profile.name}"]
            parts += [checks, *(["strict"] if policy.is_strict else [])]
        else:
            parts += [f"profile {profile.name} ({checks}{', strict' if policy.is_strict else ''})"]
            parts += [f"{PLUGINS} for MODULE targets"] if policy.has_plugins else []
        return f"{', '.join(parts)}: {', '.join(profile.checks)}"

    @property
    def strictness(self) -> str:
        """What makes unknown fail, where it does."""
        if self.policy.strict_given.source == COMMAND_LINE:
            return "--hardening-strict"
        return "hardening_strict" if self.policy.strict_given.value and not self.policy.file else "the policy"

    def _explained(self, artifact: Artifact, entry: ArtifactReport) -> ArtifactReport:
        """The same with what the build system says of what falls short; an error where it would build another file."""
        target = self.targets.found.get(artifact)
        if target is None or target.artifact.recipe is None:
            return entry
        recipe = target.artifact.recipe
        if entry.error is None and (error := why_stale(artifact, recipe, target.build, self._base)):
            return replace(entry, error=error, verdicts=())
        verdicts = (attributed(one, recipe, target.build, self._base) for one in entry.verdicts)
        return replace(entry, verdicts=tuple(self._with_objects(one, artifact, target) for one in verdicts))

    def _with_objects(self, verdict: Verdict, artifact: Artifact, target: Target) -> Verdict:
        """The same, where the stack is executable with the objects that made it so."""
        recipe = target.artifact.recipe
        if verdict.check != "nx-stack" or verdict.outcome is not Outcome.FAIL or recipe is None:
            return verdict
        found = stack_makers(artifact.path, recipe, target.build.folder)
        seen = (Evidence("objects", f"{display(str(one), self._base)} asks for it") for one in found[:_MOST_OBJECTS])
        return replace(verdict, evidence=(*verdict.evidence, *seen))

    def _judged(self, artifact: Artifact, profile: Profile) -> list[ArtifactReport]:
        """The members of an archive, and last the file: none passes by a command that may not have been run."""
        entries = list(judge(artifact, profile, self.settings.debug_roots))
        target = self.targets.found.get(artifact)
        why = why_unproven(target.artifact, target.build, self._base) if target is not None else ""
        if not why:
            return entries
        others = judge(replace(artifact, recipe=None), profile, self.settings.debug_roots)
        return list(without_proof(entries, others, why))

    def judge_alike(self, artifact: Artifact, other: Artifact) -> None:
        """Require of an artifact what is required of another one, wherever it lies."""
        self._profiles[artifact] = self.profile_of(other)

    def note_collected(self, items: Iterable[tuple[Artifact, str]]) -> None:
        """Note all items, before any is deselected."""
        names = [(artifact.display, check) for artifact, check in items]
        self._collected = len(names)
        self.survey.count(names)

    def surveyed(self) -> Surveyed | None:
        """What was collected; None in a process that leaves it to others."""
        if self._collected is None:
            return None
        return self.survey.result(is_narrowed=sum(map(len, self._selected.values())) < self._collected)

    def select(self, items: Iterable[tuple[Artifact, str]]) -> None:
        """Note which checks were left after deselection, so that no other is run."""
        for artifact, check in items:
            self._selected.setdefault(artifact, []).append(check)

    def report(self, artifact: Artifact) -> Report:
        """The verdicts on an artifact; its file is read once for all its items."""
        report = self._reports.get(artifact)
        if report is None:
            profile = self.profile_of(artifact)
            wanted = self._selected.get(artifact)
            wanted_profile = profile if wanted is None else profile.narrowed(wanted)
            entries = self._judged(artifact, wanted_profile)
            report = self._reports[artifact] = Report((self._explained(artifact, entries[-1]), *entries[:-1]))
            if len(self._reports) > _KEPT:
                self._reports.popitem(last=False)
        return report


#: The gate of a session that was given paths.
GATE = pytest.StashKey[Gate]()
