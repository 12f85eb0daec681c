"""For authors of checks: judge a file with a check that no plugin needs to have added, and assert what it says.

All functions take a `Check`, or the name of one that is known; `path` is an ELF file or a static archive; `parameters`
are those of the check, by default its defaults. They raise `PolicyError` when the check breaks the rules of
`pytest_hardening_checks` or a parameter is wrong, and `ArtifactError` when a file cannot be judged, also when the
check itself raised an exception: the message names its type and line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .added import Added, in_force, put_in_force, withdraw
from .checks.base import Check
from .checks.registry import check_names, get_check
from .checks.rules import mistakes_of, mistakes_of_manual
from .engine import inspect
from .errors import ArtifactError, PolicyError
from .model import Outcome, Verdict

__all__ = ["assert_manual", "assert_only", "assert_verdict", "judge"]

Subject = str | os.PathLike[str]


def judge(check: Check | str, path: Subject, **parameters: Any) -> Verdict:
    """What a check says of a file; of a static archive, of all its members together."""
    with _known(check) as name:
        return _verdicts(path, {name: parameters})[name]


def assert_verdict(
    check: Check | str, path: Subject, outcome: Outcome, *, culprits: tuple[str, ...] | None = None, **parameters: Any
) -> Verdict:
    """The check says `outcome` of a file, and names `culprits` where they are given, all of them in this order.

    Returns
    -------
    The verdict, of which a test may ask more.
    """
    __tracebackhide__ = True
    verdict = judge(check, path, **parameters)
    if verdict.outcome is not outcome:
        raise AssertionError(f"expected {outcome.value}, not {_told(verdict)}")
    if culprits is not None and verdict.culprits != tuple(culprits):
        raise AssertionError(f"expected the culprits {tuple(culprits)!r}, not {verdict.culprits!r}: {_told(verdict)}")
    return verdict


def assert_only(check: Check | str, violating: Subject, conforming: Subject, **parameters: Any) -> Verdict:
    """The conforming build passes the check; the violating one fails it, and no other check that the conforming passes.

    The other checks are all that are known, with their default parameters. So a test proves that the check sees one
    mitigation and not another that was lost by the same change of flags.

    Returns
    -------
    The verdict on the violating build.
    """
    __tracebackhide__ = True
    with _known(check) as name:
        wanted = {**{other: {} for other in check_names()}, name: parameters}
        good, bad = _verdicts(conforming, wanted), _verdicts(violating, wanted)
    if good[name].outcome is not Outcome.PASS:
        raise AssertionError(f"{os.fspath(conforming)} conforms, and is expected to pass, not {_told(good[name])}")
    if bad[name].outcome is not Outcome.FAIL:
        raise AssertionError(f"{os.fspath(violating)} violates, and is expected to fail, not {_told(bad[name])}")
    passing = (other for other, verdict in good.items() if verdict.outcome is Outcome.PASS and other != name)
    if lost := [bad[other] for other in passing if bad[other].outcome is Outcome.FAIL]:
        lines = [f"{os.fspath(violating)} violates more than {name}:", *map(_told, lost)]
        raise AssertionError("\n".join(lines))
    return bad[name]


def assert_manual(check: Check | str) -> None:
    """The check's docstring is a manual page: a first sentence, and the fixed headings with something below each."""
    __tracebackhide__ = True
    found = get_check(check) if isinstance(check, str) else check
    if mistakes := list(mistakes_of_manual(found)):
        raise AssertionError("\n".join((f"the manual page of {found.name}:", *mistakes)))


@contextmanager
def _known(check: Check | str) -> Iterator[str]:
    """The check's name, by which the engine knows it meanwhile."""
    if isinstance(check, str):
        yield get_check(check).name
        return
    if check is _registered(check):
        yield check.name
        return
    if mistakes := list(mistakes_of(check)):
        raise PolicyError("; ".join(mistakes))
    now = in_force()
    plugins = {**now.plugins, check.name: type(check).__module__}
    added = Added({**now.checks, check.name: check}, now.profiles, plugins)
    put_in_force(added)
    try:
        yield check.name
    finally:
        withdraw(added)


def _registered(check: Check) -> Check | None:
    name = getattr(check, "name", None)
    return get_check(name) if name in check_names() else None


def _verdicts(path: Subject, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Verdict]:
    entry = inspect(path, wanted).artifact
    if entry.error is not None:
        raise ArtifactError(f"{entry.path}: {entry.error}")
    return {verdict.check: verdict for verdict in entry.verdicts}


def _told(verdict: Verdict) -> str:
    """`fail: relro: SUMMARY`, and the evidence."""
    lines = [f"{verdict.outcome.value}: {verdict.check}: {verdict.summary}", *map(str, verdict.evidence)]
    return "\n  ".join(lines)
