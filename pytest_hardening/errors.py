"""One exception tree: everything this package raises on purpose derives from `HardeningError`."""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "BuildError",
    "ComparisonError",
    "HardeningError",
    "NotHardened",
    "PolicyError",
    "ToolchainError",
]


class HardeningError(Exception):
    """Base of all errors of pytest-hardening."""


class ArtifactError(HardeningError):
    """A file cannot be judged: missing, unreadable, not ELF, truncated or malformed.

    The message is one line and does not repeat the file's name: callers that show it know the file.
    """


class PolicyError(HardeningError):
    """A profile, a parameter or an option is wrong; the message names the key and the nearest valid name."""


class ComparisonError(HardeningError):
    """Two builds cannot be compared: a report is damaged or of another version, or they have nothing in common."""


class ToolchainError(HardeningError):
    """A compiler or build tool that was asked for is missing; the message says how to get it."""


class BuildError(HardeningError):
    """A compiler or build command failed; the message holds the command and its whole output."""


class NotHardened(AssertionError):  # noqa: N818 - the name is read in front of every message
    """A file lacks what was asserted of it: the message holds the verdict; its first line stands alone."""


# pytest prints module and name in front of the message: the public place is the shorter one
for _class in (HardeningError, ArtifactError, ComparisonError, PolicyError, ToolchainError, BuildError, NotHardened):
    _class.__module__ = "pytest_hardening"
