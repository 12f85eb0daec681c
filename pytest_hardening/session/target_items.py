"""The items of `--hardening-build`: what the targets of build folders make, named by target."""

from __future__ import annotations

import pytest

from .collection import ArtifactCollector, items_of, problem_items
from .gate import GATE

__all__ = ["collect_targets"]


def collect_targets(session: pytest.Session) -> list[pytest.Item]:
    """The items of all targets of the build folders; a target that was not built is an item that fails."""
    gate = session.config.stash[GATE]
    targets = gate.targets
    gate.left_out.update(targets.left_out)
    excluded = [artifact for artifact in targets.found if gate.policy.excluded(artifact.display)]
    gate.survey.exclude(artifact.display for artifact in excluded)
    if excluded:
        gate.left_out[f"files that {gate.policy.file} excludes"] += len(excluded)
    items: list[pytest.Item] = []
    for artifact, target in targets.found.items():
        if artifact in excluded:
            continue
        collector = ArtifactCollector.from_parent(session, artifact=artifact, named=False, called=target.name)
        found = items_of(collector)
        if not found:
            gate.left_out["files that no required check applies to"] += 1
        items += found
    return items + problem_items(session, targets.problems, targets.missing)
