"""`@pytest.mark.hardening("build/*.so", profile="kms-6.7")`: one test, run for every artifact that matches."""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest

from ..artifacts.discovery import MISSING, discover
from ..artifacts.names import shown
from ..assertions import require as require_profile
from ..errors import ArtifactError, NotHardened, PolicyError
from ..model import Artifact, Outcome
from ..options import profile_in, settings_of
from ..policy.arguments import strings
from ..policy.profile import Profile
from .gate import Hardening

__all__ = ["NO_ARTIFACT", "Nothing", "artifacts_of", "require"]


class Nothing(NamedTuple):
    """Stands for globs that lead to nothing: the test then fails, where pytest would skip an empty parameter set.

    Parameters
    ----------
    display: the globs and why, in the test's id.
    reason: the same for the message, with where they were looked for.
    """

    display: str
    reason: str


#: A marked test that would judge nothing.
NO_ARTIFACT = "a test with @pytest.mark.hardening must take the fixture `artifact`"


def artifacts_of(marker: pytest.Mark, config: pytest.Config) -> list[Artifact | Nothing]:
    """The artifacts that a marker's globs match, relative to the root folder.

    Raises
    ------
    PolicyError: the marker has no glob, or an argument it does not know or that is no list.
    """
    usage = "@pytest.mark.hardening takes globs, profile= and checks="
    for name in marker.kwargs:
        if name not in ("profile", "checks"):
            raise PolicyError(f"{usage}, not {name}=")
    if not marker.args or not all(isinstance(glob, str | os.PathLike) for glob in marker.args):
        raise PolicyError(f"{usage}: at least one glob, each a text or a path")
    if marker.kwargs.get("checks") is not None:
        strings("@pytest.mark.hardening: checks", marker.kwargs["checks"])
    root = str(config.rootpath)
    globs = [os.path.join(root, os.fspath(glob)) for glob in marker.args]
    objects = settings_of(config).objects
    found = discover(globs, objects=objects, base=root, objects_option="--hardening-objects")
    if found.artifacts and not found.problems:
        return list(found.artifacts)
    reasons = [f"{name}: {reason}" for name, reason in found.problems]
    where = f" below {shown(root)} (pytest's root folder)"
    told = [f"{name}: {reason}{where if reason in MISSING else ''}" for name, reason in found.problems]
    return [*found.artifacts, Nothing("; ".join(reasons), "; ".join(told))]


class Told(NamedTuple):
    """What a test with the marker does not fail for, and should not hide.

    Parameters
    ----------
    nothing: why nothing of what is required applies; empty where something does.
    unknown: "check: summary" of each verdict that the file does not tell.
    """

    nothing: str = ""
    unknown: tuple[str, ...] = ()


def require(marker: pytest.Mark, artifact: Artifact, config: pytest.Config) -> Told:
    """Assert what the marker's profile and checks require.

    Fails the test with the verdicts' text, and no traceback, when the artifact falls short or cannot be judged.
    """
    try:
        profile = _profile(marker, artifact, config)
        report = require_profile(artifact, profile, debug_roots=settings_of(config).debug_roots)
    except (NotHardened, ArtifactError, PolicyError) as error:
        reason = str(error)
    else:
        verdicts = report.artifact.verdicts
        if any(verdict.outcome is not Outcome.NOT_APPLICABLE for verdict in verdicts):
            ignored = {check for check, what in report.artifact.unknown.items() if what == "ignore"}
            doubts = (v for v in verdicts if v.outcome is Outcome.UNKNOWN and v.check not in ignored)
            return Told(unknown=tuple(f"{verdict.check}: {verdict.summary}" for verdict in doubts))
        return Told(f"{artifact.display}: {'; '.join(f'{v.check} does not apply: {v.summary}' for v in verdicts)}")
    pytest.fail(reason, pytrace=False)  # not in the handler: pytest would show the error twice


def _profile(marker: pytest.Mark, artifact: Artifact, config: pytest.Config) -> Profile:
    """The profile that the marker names, else what the policy requires of the artifact; of its checks alone."""
    hardening = Hardening(config)
    name, checks = marker.kwargs.get("profile"), marker.kwargs.get("checks")
    if name is None:
        profile = hardening.profile_of(artifact)
    else:
        profile = hardening.policy.with_profile(profile_in(str(config.rootpath), name))
    return profile if checks is None else profile.narrowed(checks)
