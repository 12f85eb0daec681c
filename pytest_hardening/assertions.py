"""Assertions for tests: each judges one file, fails with the whole verdict as its message, and returns the verdict.

Common parameters and behaviour:

- `path` is a str, a path-like object or an `Artifact`: an ELF file or a static archive (all members are judged).
- `unknown="fail"` (the default) fails when the file does not tell; `unknown="ignore"` accepts that.
- A check that does not apply to the file (PIE of a shared library) does not fail; the verdict returned says why.
- `NotHardened` (an AssertionError) is raised on a failure, `ArtifactError` when the file cannot be judged.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from .errors import ArtifactError, NotHardened, PolicyError
from .model import Artifact, ArtifactReport, Outcome, Report, Verdict

if TYPE_CHECKING:
    from .policy.profile import Profile

__all__ = [
    "assert_bind_now",
    "assert_cf_protection",
    "assert_fortify",
    "assert_hardened",
    "assert_no_rpath",
    "assert_no_rwx_segments",
    "assert_no_text_relocations",
    "assert_nx_stack",
    "assert_pic",
    "assert_pie",
    "assert_relro",
    "assert_stack_protector",
]

Subject = str | os.PathLike[str] | Artifact
OnUnknown = Literal["fail", "ignore"]


def assert_pie(path: Subject, *, unknown: OnUnknown = "fail") -> Verdict:
    """The program is a position-independent executable."""
    __tracebackhide__ = True
    return _assert(path, "pie", unknown)


def assert_pic(path: Subject, *, shared_library: bool = False, unknown: OnUnknown = "fail") -> Verdict:
    """The library, object or archive holds position-independent code.

    With `shared_library`, code of objects that fits an executable only (-fPIE) fails.
    """
    __tracebackhide__ = True
    return _assert(path, "pic", unknown, destination="shared-library" if shared_library else "any")


def assert_no_text_relocations(path: Subject, *, unknown: OnUnknown = "fail") -> Verdict:
    """The loader never writes into read-only segments."""
    __tracebackhide__ = True
    return _assert(path, "text-relocations", unknown)


def assert_relro(path: Subject, *, full: bool = True, unknown: OnUnknown = "fail") -> Verdict:
    """Relocation tables are read-only after start-up; with `full` (default) the whole GOT."""
    __tracebackhide__ = True
    return _assert(path, "relro", unknown, level="full" if full else "partial")


def assert_bind_now(path: Subject, *, unknown: OnUnknown = "fail") -> Verdict:
    """All functions are bound at start-up."""
    __tracebackhide__ = True
    return _assert(path, "bind-now", unknown)


def assert_nx_stack(path: Subject, *, unknown: OnUnknown = "fail") -> Verdict:
    """The stack is not executable."""
    __tracebackhide__ = True
    return _assert(path, "nx-stack", unknown)


def assert_no_rwx_segments(path: Subject, *, unknown: OnUnknown = "fail") -> Verdict:
    """No memory is both writable and executable."""
    __tracebackhide__ = True
    return _assert(path, "rwx-segments", unknown)


def assert_no_rpath(path: Subject, *, allow: Iterable[str] = (), unknown: OnUnknown = "fail") -> Verdict:
    """Libraries are searched in no dangerous place; `allow` holds glob patterns of RPATH elements to accept."""
    __tracebackhide__ = True
    from .policy.arguments import strings

    try:
        patterns = strings("allow", allow)
    except PolicyError as error:
        raise PolicyError(str(error)) from None  # a traceback that ends at the caller
    return _assert(path, "rpath", unknown, allow=patterns)


def assert_stack_protector(path: Subject, *, unknown: OnUnknown = "fail") -> Verdict:
    """Functions with arrays on the stack check a canary."""
    __tracebackhide__ = True
    return _assert(path, "stack-protector", unknown)


def assert_fortify(path: Subject, *, level: int = 2, unknown: OnUnknown = "fail") -> Verdict:
    """Calls of the C library are fortified at `level` (1, 2 or 3) or higher."""
    __tracebackhide__ = True
    return _assert(path, "fortify", unknown, level=level)


def assert_cf_protection(path: Subject, *, unknown: OnUnknown = "fail") -> Verdict:
    """The file is marked for control-flow protection (x86 IBT and SHSTK, AArch64 BTI and PAC)."""
    __tracebackhide__ = True
    return _assert(path, "cf-protection", unknown)


def assert_hardened(
    path: Subject,
    *,
    profile: str = "recommended",
    checks: Iterable[str] | None = None,
    unknown: OnUnknown = "fail",
) -> Report:
    """The file has everything that a profile requires; all failures are reported at once.

    Parameters
    ----------
    profile: a built-in profile's name or a TOML file.
    checks: only these checks of the profile, a list of names.

    Raises
    ------
    PolicyError: the profile or a check is unknown.
    """
    __tracebackhide__ = True
    from .policy.profile import load_profile

    try:
        rules = load_profile(profile)
        rules = rules if checks is None else rules.narrowed(checks)
    except PolicyError as error:
        raise PolicyError(str(error)) from None  # a traceback that ends at the caller
    return require(path, rules, unknown=unknown)


def require(
    path: Subject, profile: Profile, *, unknown: OnUnknown | None = None, debug_roots: tuple[str, ...] = ()
) -> Report:
    """What `assert_hardened` does, for a profile that is loaded; without `unknown` the profile says what that does."""
    __tracebackhide__ = True
    report = _inspect(path, profile, debug_roots)
    entry = report.artifact
    rejected = [v for v in entry.verdicts if _rejects(v, unknown or _on_unknown(entry, v.check))]
    if rejected:
        cure = 'accept it with unknown="ignore"' if unknown else "the policy counts that as a failure"
        head = _headline(rejected, "" if profile.only is not None else profile.name, cure)
        texts = (_text(report.artifact.path, verdict) for verdict in rejected)
        raise NotHardened("\n".join((f"{report.artifact.path}: {head}", *texts)))
    return report


def _headline(rejected: list[Verdict], profile: str, cure: str) -> str:
    """What fails, and what is unknown, which is another thing."""
    failing = ", ".join(verdict.check for verdict in rejected if verdict.outcome is Outcome.FAIL)
    silent = [verdict for verdict in rejected if verdict.outcome is Outcome.UNKNOWN]
    required = f"not hardened as {profile} requires" if profile else "not hardened"
    parts = [f"{required}: {failing}"] if failing else []
    if len(silent) == 1 and not failing:
        parts.append(f"{silent[0].check} is unknown: {silent[0].summary}; {cure}")
    elif silent:
        parts.append(f"unknown: {', '.join(verdict.check for verdict in silent)}; {cure}")
    return "; ".join(parts)


def _assert(path: Subject, check: str, unknown: OnUnknown, **parameters: Any) -> Verdict:
    __tracebackhide__ = True
    report = _inspect(path, {check: parameters})
    verdict = report.artifact.verdicts[0]
    if _rejects(verdict, unknown):
        raise NotHardened(_text(report.artifact.path, verdict))
    return verdict


def _on_unknown(entry: ArtifactReport, check: str) -> OnUnknown:
    return "fail" if entry.unknown.get(check) == "fail" else "ignore"


def _inspect(
    path: Subject, checks: Mapping[str, Mapping[str, Any]] | Profile, debug_roots: tuple[str, ...] = ()
) -> Report:
    __tracebackhide__ = True
    from .engine import inspect

    try:
        report = inspect(path, checks, debug_roots)
    except PolicyError as error:
        raise PolicyError(str(error)) from None  # a traceback that ends at the caller
    if report.artifact.error is not None:
        raise ArtifactError(f"{report.artifact.path}: {report.artifact.error}")
    return report


def _rejects(verdict: Verdict, unknown: OnUnknown) -> bool:
    __tracebackhide__ = True
    if unknown not in ("fail", "ignore"):
        raise PolicyError(f"unknown={unknown!r}: expected 'fail' or 'ignore'")
    return verdict.outcome is Outcome.FAIL or (verdict.outcome is Outcome.UNKNOWN and unknown == "fail")


def _text(name: str, verdict: Verdict) -> str:
    from .reports.message import message

    return message(name, verdict)
