"""What becomes of a program that commits an offence, and whether that fits what its file says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ..engine import inspect
from ..errors import ArtifactError, BuildError, NotHardened
from ..model import Artifact, Outcome, Verdict
from .offences import WENT_THROUGH, Offence, offence_of
from .sandbox import emulator_for, run_program, target_of

__all__ = ["Behaviour", "Ending", "assert_goes_through", "assert_stops", "commit", "observe"]

_RUNS = 4  # of one address in some million equal ones are no chance
_REJECTED = "format-security"  # GCC and clang name the warning that became an error


class Ending(Enum):
    """What became of an offence."""

    STOPPED = "stopped"
    WENT_THROUGH = "went-through"
    UNKNOWN = "unknown"  # the program ended in a way that says neither


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What became of one offence in one program.

    Parameters
    ----------
    offence: its name.
    ending: what became of it.
    summary: how the program ended, in one line.
    verdict: what the check says of the same file; None where the compiler made none.
    """

    offence: str
    ending: Ending
    summary: str
    verdict: Verdict | None = None

    @property
    def disagreement(self) -> str:
        """How the file and what it does contradict each other; empty where they do not."""
        if self.verdict is None:
            return ""
        if self.ending is Ending.WENT_THROUGH and self.verdict.outcome is Outcome.PASS:
            return f"the file passes {self.verdict.check} ({self.verdict.summary}), but nothing stopped the offence"
        if self.ending is Ending.STOPPED and self.verdict.outcome is Outcome.FAIL:
            return f"the file fails {self.verdict.check} ({self.verdict.summary}), but the offence was stopped"
        return ""

    def to_json(self) -> dict[str, Any]:
        return {
            "offence": self.offence,
            "ending": self.ending.value,
            "summary": self.summary,
            "verdict": self.verdict.to_json() if self.verdict is not None else None,
        }


def observe(
    program: str | os.PathLike[str] | Artifact, offence: Offence | str, emulator: Sequence[str] | None = None
) -> Behaviour:
    """Run a program that commits an offence, and judge its file by the check that belongs to it.

    Parameters
    ----------
    program: built from `Offence.source`, or one that ends with status 42 where its offence goes through.
    offence: an offence that shows when the program runs, or its name.
    emulator: the command in front of the program; by default qemu where this machine does not run it.

    Raises
    ------
    ArtifactError: it is no ELF file. ToolchainError: the emulator is missing. KeyError: no such offence.
    """
    wanted = offence_of(offence)
    path = os.fspath(program)
    ending, summary = run_offence(path, wanted, emulator)
    verdict = inspect(path, {wanted.check: wanted.parameters}).verdict(wanted.check)
    return Behaviour(wanted.name, ending, summary, verdict)


def run_offence(path: str, offence: Offence, emulator: Sequence[str] | None = None) -> tuple[Ending, str]:
    """What becomes of an offence when its program runs, and how that ended; parameters and errors as of `observe`."""
    try:
        machine, libc = target_of(path)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None
    in_front = emulator_for(machine) if emulator is None else tuple(emulator)
    return _places(path, in_front) if offence.when == "runs" else _end(path, offence, in_front, libc)


def commit(
    offence: Offence | str,
    compile_it: Callable[[Mapping[str, str], Sequence[str]], str | os.PathLike[str]],
    flags: Sequence[str] | None = None,
) -> Behaviour:
    """Compile an offence, run it where that shows anything, and say what became of it.

    In a test: `commit("bad-format", lambda source, flags: compile_c(source, flags=flags))`.

    Parameters
    ----------
    compile_it: makes a program of sources (text by name) and flags, and raises BuildError where that fails.
    flags: instead of those that switch the mitigation on.

    Raises
    ------
    BuildError: it does not compile, for another reason than the offence.
    """
    wanted = offence_of(offence)
    try:
        program = compile_it(wanted.source, wanted.flags if flags is None else flags)
    except BuildError as error:
        if wanted.when == "compile" and _REJECTED in str(error).partition("\n")[2]:
            return Behaviour(wanted.name, Ending.STOPPED, "the compiler rejects it")
        raise
    if wanted.when == "compile":
        return Behaviour(wanted.name, Ending.WENT_THROUGH, "the compiler accepts it")
    return observe(program, wanted)


def _end(program: str, offence: Offence, emulator: Sequence[str], libc: str) -> tuple[Ending, str]:
    """How one run ended, and what that means."""
    result = run_program(program, emulator)
    told = [line for line in result.output.splitlines() if line and not line.startswith("qemu: ")]
    said = f", and wrote {told[-1][:100]!r}" if told else ""
    summary = f"{offence.title}: the program {_phrase(result.outcome)}{said}"
    for stop in offence.stops:
        if stop.libc and stop.libc != libc:
            continue
        if not result.timed_out and result.returncode == stop.status and stop.says in result.output:
            return Ending.STOPPED, summary
    went_through = result.returncode == WENT_THROUGH and not result.timed_out
    return Ending.WENT_THROUGH if went_through else Ending.UNKNOWN, summary


def _phrase(outcome: str) -> str:
    """`ended with exit status 42`, `was killed by SIGABRT`, `timed out`."""
    if outcome.startswith("exit"):
        return f"ended with {outcome}"
    return f"was {outcome}" if outcome.startswith("killed") else outcome


def _places(program: str, emulator: Sequence[str]) -> tuple[Ending, str]:
    """Whether the program's code lies elsewhere in every run."""
    if emulator:
        return Ending.UNKNOWN, f"{os.path.basename(emulator[0])} puts every program at the same address"
    if _fixed_addresses():
        return Ending.UNKNOWN, "this system randomises no addresses (kernel.randomize_va_space, setarch -R)"
    found = set()
    for _ in range(_RUNS):
        result = run_program(program)
        if not result.succeeded or not result.output.strip():
            return Ending.UNKNOWN, f"the program {_phrase(result.outcome)}"
        found.add(result.output.strip())
    if len(found) > 1:
        return Ending.STOPPED, f"{_RUNS} runs lie at {len(found)} different addresses"
    return Ending.WENT_THROUGH, f"{_RUNS} runs all lie at {found.pop()[:40]}"


def _fixed_addresses() -> bool:
    """Whether addresses are not randomised (proc(5), personality(2): ADDR_NO_RANDOMIZE)."""
    try:
        off = Path("/proc/sys/kernel/randomize_va_space").read_text(encoding="ascii").strip() == "0"
        return off or bool(int(Path("/proc/self/personality").read_text(encoding="ascii"), 16) & 0x0040000)
    except (OSError, ValueError):
        return False


def assert_stops(
    program: str | os.PathLike[str] | Artifact, offence: Offence | str, emulator: Sequence[str] | None = None
) -> Behaviour:
    """The program's offence is stopped when it runs, and its file does not say otherwise.

    Parameters are those of `observe`, which this returns.

    Raises
    ------
    NotHardened: the offence went through, ended in a way that says neither, or the check fails on the same file.
    """
    __tracebackhide__ = True
    return _require(program, observe(program, offence, emulator), Ending.STOPPED)


def assert_goes_through(
    program: str | os.PathLike[str] | Artifact, offence: Offence | str, emulator: Sequence[str] | None = None
) -> Behaviour:
    """The control: nothing stops the program's offence, and its file does not say otherwise.

    Without it a test of `assert_stops` may pass because the program never gets to its offence.

    Raises
    ------
    NotHardened: the offence was stopped, ended in a way that says neither, or the check passes on the same file.
    """
    __tracebackhide__ = True
    return _require(program, observe(program, offence, emulator), Ending.WENT_THROUGH)


def _require(program: str | os.PathLike[str] | Artifact, behaviour: Behaviour, wanted: Ending) -> Behaviour:
    __tracebackhide__ = True
    name = program.display if isinstance(program, Artifact) else os.path.basename(program)
    if behaviour.ending is not wanted:
        words = {Ending.STOPPED: "not stopped", Ending.WENT_THROUGH: "did not go through"}[wanted]
        lines = [f"{name}: {behaviour.offence} {words}: {behaviour.summary}"]
        if behaviour.verdict is not None:
            lines.append(f"  {behaviour.verdict.check}: {behaviour.verdict.outcome.value}: {behaviour.verdict.summary}")
            lines += [f"  fix: {behaviour.verdict.remedy}"] if behaviour.verdict.remedy else []
        raise NotHardened("\n".join(lines))
    if behaviour.disagreement:
        raise NotHardened(f"{name}: {behaviour.offence}: {behaviour.disagreement}\n  {behaviour.summary}")
    return behaviour
