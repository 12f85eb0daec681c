"""Where a setting comes from."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COMMAND_LINE", "DEFAULT", "Given"]

#: Where a value comes from that nobody set, and one of the command line.
DEFAULT, COMMAND_LINE = "default", "command line"


class Given(NamedTuple):
    """A setting from outside the policy file.

    Parameters
    ----------
    value: as it was written; empty where it was not given.
    source: `DEFAULT`, the ini file's name or `COMMAND_LINE`.
    """

    value: str = ""
    source: str = DEFAULT
