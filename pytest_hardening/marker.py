"""`@pytest.mark.hardening("build/*.so", profile="kms-6.7")`: one test, run for every artifact that matches."""

from __future__ import annotations

import os

import pytest

from .artifacts.discovery import discover
from .assertions import require as require_profile
from .errors import ArtifactError, NotHardened, PolicyError
from .gate import Hardening
from .model import Artifact
from .options import profile_in, settings_of
from .policy.arguments import strings
from .policy.profile import Profile

__all__ = ["NOTHING", "NO_ARTIFACT", "artifacts_of", "require"]

#: Stands for a marker whose globs match nothing: the test then fails, where pytest would skip an empty parameter set.
NOTHING = "nothing-matches"

#: A marked test that would judge nothing.
NO_ARTIFACT = "a test with @pytest.mark.hardening must take the fixture `artifact`"


def artifacts_of(marker: pytest.Mark, config: pytest.Config) -> list[Artifact]:
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
    found = discover(globs, objects=settings_of(config).objects, base=root)
    if found.artifacts and not found.problems:
        return list(found.artifacts)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in found.problems)
    return [*found.artifacts, Artifact("", f"{NOTHING}: {reasons}")]


def require(marker: pytest.Mark, artifact: Artifact, config: pytest.Config) -> None:
    """Assert what the marker's profile and checks require.

    Fails the test with the verdicts' text, and no traceback, when the artifact falls short or cannot be judged.
    """
    try:
        require_profile(artifact, _profile(marker, artifact, config), debug_roots=settings_of(config).debug_roots)
    except (NotHardened, ArtifactError, PolicyError) as error:
        reason = str(error)
    else:
        return
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
