"""What a project accepts although it falls short: its waivers and its baseline."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from ..artifacts.names import display
from ..errors import PolicyError
from .baseline import Baseline, load_baseline
from .given import COMMAND_LINE, Given
from .waiver import Waiver

if TYPE_CHECKING:
    from .policy import Policy

__all__ = ["Acceptance", "acceptance_of"]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Waivers and baseline in force.

    Parameters
    ----------
    source: the name of the file with the waivers, for messages.
    waivers: in the file's order.
    baseline: the known failures, or None.
    file: where the baseline is, absolute; empty where there is none.
    update: whether new failures are put into the baseline.
    root: the project's root folder, absolute; empty where there is none.
    today: the day by which waivers expire.
    """

    source: str = ""
    waivers: tuple[Waiver, ...] = ()
    baseline: Baseline | None = None
    file: str = ""
    update: bool = False
    root: str = ""
    today: date = field(default_factory=date.today)

    def concerning(self, check: str, path: str) -> list[int]:
        """The numbers of the waivers that are about a check of an artifact."""
        return [number for number, waiver in enumerate(self.waivers) if waiver.concerns(check, path)]


def acceptance_of(policy: Policy, given: Given, *, update: bool) -> Acceptance:
    """What is accepted in a project.

    Parameters
    ----------
    given: the baseline's file, absolute, as the command line or the ini file names it.
    update: whether the baseline is going to be rewritten; then it need not be there.

    Raises
    ------
    PolicyError: the baseline is named nowhere or is not there, or lines in it are no entries.
    """
    file = given.value
    if policy.baseline is not None and given.source != COMMAND_LINE:
        file = os.path.abspath(policy.baseline)
    if not file:
        if update:
            named = "name it with --hardening-baseline FILE, or as `baseline` in hardening.toml"
            raise PolicyError(f"--hardening-update-baseline: there is no baseline; {named}")
        return Acceptance(policy.file, policy.waivers, root=policy.folder)
    is_new = update and not os.path.exists(file)
    if update and not is_new and not os.path.isfile(file):
        name = display(file, os.getcwd())
        raise PolicyError(f"--hardening-update-baseline: {name} is no regular file, so it is not replaced")
    baseline = Baseline(display(file, os.getcwd()), ()) if is_new else load_baseline(file)
    return Acceptance(policy.file, policy.waivers, baseline, file, update, policy.folder)
