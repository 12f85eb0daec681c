"""Whether a mitigation works when the program runs: programs that commit an offence, and what becomes of them.

Nothing here is run unless a test or a user asks for it; programs run with limits on time and memory, and those of other
machines under qemu.
"""

from __future__ import annotations

from .at_run_time import at_run_time
from .behaviour import Behaviour, Ending, assert_goes_through, assert_stops, commit, observe
from .offences import OFFENCES, Offence

__all__ = [
    "OFFENCES",
    "Behaviour",
    "Ending",
    "Offence",
    "assert_goes_through",
    "assert_stops",
    "at_run_time",
    "commit",
    "observe",
]
