"""The mitigations that a toolchain is asked for, and how each is proved: by a build and a check's verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from pytest_hardening.errors import ToolchainError
from pytest_hardening.model import Kind, Outcome, Verdict
from pytest_hardening.toolchain.bench import Bench, Built
from pytest_hardening.toolchain.probe_source import BAD_FORMAT, GOOD_FORMAT, PROBE

__all__ = ["GOES_THROUGH", "PROBES", "WORKS", "Cell", "FlagProbe", "FormatProbe", "HardenedProbe", "Probe", "State"]

Flags = tuple[str, ...]

# as GCC and clang name the warning that became an error
_FORMAT_SECURITY = "format-security"

#: What `Cell.at_run_time` says: the mitigation stopped what it is there to stop, or it did not.
WORKS = "works"
GOES_THROUGH = "GOES THROUGH"


class State(Enum):
    """What a toolchain makes of a mitigation, worst first."""

    UNAVAILABLE = "unavailable"  # the compiler refuses the flags
    NO_EFFECT = "no-effect"  # it takes them, and the file shows that they did nothing
    NOT_VISIBLE = "not-visible"  # it takes them, and the file does not tell
    FLAG = "flag"  # with the flags the file has it, without them it has not
    DEFAULT = "default"  # the file has it without being asked for

    @property
    def rank(self) -> int:
        """How much a user gets; refusing a flag is no worse than ignoring it."""
        return {"unavailable": 0, "no-effect": 0, "not-visible": 1, "flag": 2, "default": 3}[self.value]


@dataclass(frozen=True, slots=True)
class Cell:
    """One mitigation of one toolchain.

    - `mitigation`: the probe's name.
    - `flags`: what was given beside `-O2 -g`; empty for what is on by default.
    - `summary`: one line: what the file shows, or why the compiler refuses.
    - `evidence`: what was seen, and where.
    - `at_run_time`: whether it works when the program runs: `WORKS` or `GOES_THROUGH`; empty where nobody looked, or
      nothing could be told.
    """

    mitigation: str
    state: State
    flags: Flags = ()
    summary: str = ""
    evidence: tuple[str, ...] = ()
    at_run_time: str = ""

    @property
    def contradiction(self) -> str:
        """How the file and what programs do contradict each other; empty where they do not."""
        if self.at_run_time == GOES_THROUGH and self.state in (State.DEFAULT, State.FLAG):
            return "the file has it, but nothing stopped the offence when the program ran"
        if self.at_run_time == WORKS and self.state is State.NO_EFFECT:
            return "the file lacks it, but the offence was stopped when the program ran"
        return ""

    def to_json(self) -> dict[str, Any]:
        return {
            "mitigation": self.mitigation,
            "state": self.state.value,
            "flags": list(self.flags),
            "summary": self.summary,
            "evidence": list(self.evidence),
            "at_run_time": self.at_run_time,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cell:
        """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            str(data["mitigation"]),
            State(data["state"]),
            tuple(map(str, data["flags"])),
            str(data["summary"]),
            tuple(map(str, data.get("evidence", ()))),
            str(data.get("at_run_time", "")),
        )


class Probe(Protocol):
    """What a toolchain can be asked for. `name` is a kebab-case word, `title` a phrase for people."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    def run(self, bench: Bench) -> Cell:
        """Build what proves it, and say what came out; BuildError where that could not be found out."""


@dataclass(frozen=True, slots=True)
class FlagProbe:
    """A mitigation that flags turn on and that a check of ours finds in the program.

    - `check`, `parameters`: the check, and what is asked of it.
    - `ways`: flags that turn it on; the first ones that work are taken.
    - `source`: what is compiled.
    - `makes`: the kind of file that must come out, where that is the point.
    - `changes_code`: the check knows the recorded flags alone, so the machine code must also differ.
    - `marks_objects`: where a program is not marked, objects tell whether the compiler does its part.
    """

    name: str
    title: str
    check: str
    ways: tuple[Flags, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = PROBE
    makes: Kind | None = None
    changes_code: bool = False
    marks_objects: bool = False

    def run(self, bench: Bench) -> Cell:
        def taken(cell: Cell) -> bool:
            return cell.state is not State.UNAVAILABLE

        plain = default_build(bench, self.source)
        without = self._verdict(bench, plain)
        if without.outcome is Outcome.PASS:
            return _cell(self, State.DEFAULT, (), without)
        best: Cell | None = None
        for flags in self.ways:
            cell = self._with(bench, flags, plain)
            # what is taken in vain comes before what is refused
            if best is None or (cell.state.rank, taken(cell)) > (best.state.rank, taken(best)):
                best = cell
            if cell.state is State.FLAG:
                break
        return best or _cell(self, State.UNAVAILABLE, (), without)

    def _with(self, bench: Bench, flags: Flags, plain: Built) -> Cell:
        built = bench.build(flags, self.source)
        if built.path is None:
            return self._despite_warnings(bench, flags, plain, built.refused)
        return self._judged(bench, flags, plain, built)

    def _despite_warnings(self, bench: Bench, flags: Flags, plain: Built, refused: str) -> Cell:
        """A warning may be about something else: what is in the file then counts, and only that."""
        built = bench.build(flags, self.source, werror=False)
        if built.path is not None and (cell := self._judged(bench, flags, plain, built)).state is State.FLAG:
            return cell
        return Cell(self.name, State.UNAVAILABLE, flags, refused)

    def _judged(self, bench: Bench, flags: Flags, plain: Built, built: Built) -> Cell:
        verdict = self._verdict(bench, built)
        if self.changes_code and bench.code(built) == bench.code(plain) != b"":
            return Cell(self.name, State.NO_EFFECT, flags, "the machine code is the same as without it")
        if verdict.outcome is Outcome.PASS:
            return _cell(self, State.FLAG, flags, verdict)
        if self.marks_objects and (cell := self._in_objects(bench, flags, verdict)) is not None:
            return cell
        return _cell(self, State.NO_EFFECT if verdict.outcome is Outcome.FAIL else State.NOT_VISIBLE, flags, verdict)

    def _in_objects(self, bench: Bench, flags: Flags, program: Verdict) -> Cell | None:
        """What objects show of it, where the program shows nothing."""
        built = bench.build(flags, self.source, "object")
        if built.path is None:
            return None
        verdict, _ = bench.verdict(built.path, self.check, self.parameters)
        if verdict.outcome is Outcome.FAIL:
            return _cell(self, State.NO_EFFECT, flags, verdict)
        if verdict.outcome is Outcome.PASS:
            summary = f"objects have it, programs do not: {program.summary}"
            return Cell(self.name, State.NOT_VISIBLE, flags, summary, tuple(map(str, program.evidence)))
        return None

    def _verdict(self, bench: Bench, built: Built) -> Verdict:
        if built.path is None:
            raise ToolchainError(f"{bench.toolchain.id} does not compile the probe: {built.refused}")
        verdict, kind = bench.verdict(built.path, self.check, self.parameters)
        if self.makes is not None and kind is not self.makes:
            return Verdict(self.check, Outcome.FAIL, f"the program is of kind {kind.value}, not {self.makes.value}")
        return verdict


@dataclass(frozen=True, slots=True)
class FormatProbe:
    """-Werror=format-security: a source that uses its argument as a format is refused."""

    name: str = "format-security"
    title: str = "formats that are not literals are refused"
    flags: Flags = ("-Wformat", "-Werror=format-security")

    def run(self, bench: Bench) -> Cell:
        plain = bench.build((), BAD_FORMAT, "object", werror=False)
        if plain.path is None:
            state = State.DEFAULT if _FORMAT_SECURITY in plain.output else State.NO_EFFECT
            return Cell(self.name, state, (), plain.refused)
        good = bench.build(self.flags, GOOD_FORMAT, "object", werror=False)
        if good.path is None:
            return Cell(self.name, State.UNAVAILABLE, self.flags, good.refused)
        bad = bench.build(self.flags, BAD_FORMAT, "object", werror=False)
        if bad.path is not None:
            return Cell(self.name, State.NO_EFFECT, self.flags, "printf(text) is compiled without an error")
        if _FORMAT_SECURITY not in bad.output:
            return Cell(self.name, State.NO_EFFECT, self.flags, f"refused for another reason: {bad.refused}")
        return Cell(self.name, State.FLAG, self.flags, bad.refused)


@dataclass(frozen=True, slots=True)
class HardenedProbe:
    """-fhardened (GCC 14): each mitigation that the manual promises must be in the file.

    GCC manual, "Program Instrumentation Options", -fhardened; what else it names (-D_GLIBCXX_ASSERTIONS) has nothing to
    do in C.
    """

    name: str = "hardened"
    title: str = "-fhardened brings what it promises"
    flags: Flags = ("-fhardened",)
    parts: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("pie", {}),
        ("relro", {"level": "full"}),
        ("bind-now", {}),
        ("stack-protector", {}),
        ("stack-clash", {}),
        ("fortify", {"level": 2}),
        ("auto-var-init", {"value": "zero"}),
    )

    def run(self, bench: Bench) -> Cell:
        built = bench.build(self.flags)
        refused = built.refused
        if built.path is None:  # for a warning (-Whardened), or because it has no such option
            built = bench.build(self.flags, werror=False)
        if built.path is None:
            return Cell(self.name, State.UNAVAILABLE, self.flags, refused)
        verdicts = [bench.verdict(built.path, check, parameters)[0] for check, parameters in self.parts]
        if bench.toolchain.machine in ("x86_64", "i386"):  # the one part that is for some machines only
            marked = bench.build(self.flags, kind="object")
            if marked.path is not None:
                verdicts.append(bench.verdict(marked.path, "cf-protection")[0])
        evidence = tuple(f"{verdict.check}: {verdict.outcome.value}: {verdict.summary}" for verdict in verdicts)
        lacking = [verdict.check for verdict in verdicts if verdict.outcome is Outcome.FAIL]
        brought = [verdict.check for verdict in verdicts if verdict.outcome is Outcome.PASS]
        silent = [verdict.check for verdict in verdicts if verdict.check not in (*lacking, *brought)]
        summary = "; ".join(
            f"{word} {', '.join(checks)}"
            for word, checks in (("lacks", lacking), ("brings", brought), ("not told:", silent))
            if checks
        )
        state = State.NO_EFFECT if lacking else State.NOT_VISIBLE if silent else State.FLAG
        return Cell(self.name, state, self.flags, summary, evidence)


def default_build(bench: Bench, source: str = PROBE) -> Built:
    """The probe as the toolchain compiles it without being asked for anything.

    Raises `ToolchainError` when it does not.
    """
    built = bench.build((), source)
    if built.path is None:
        raise ToolchainError(f"{bench.toolchain.id} does not compile the probe: {built.refused}")
    return built


def _cell(probe: Probe, state: State, flags: Flags, verdict: Verdict) -> Cell:
    return Cell(probe.name, state, flags, verdict.summary, tuple(map(str, verdict.evidence)))


def _fortify(level: int) -> FlagProbe:
    flags = ("-U_FORTIFY_SOURCE", f"-D_FORTIFY_SOURCE={level}")
    return FlagProbe(f"fortify-{level}", f"FORTIFY level {level}", "fortify", (flags,), {"level": level})


#: The probes that every posture has. Flags as in the manuals of GCC, clang and GNU ld, and in the OpenSSF Compiler
#: Options Hardening Guide.
PROBES: tuple[Probe, ...] = (
    FlagProbe("pie", "position-independent executable", "pie", (("-fPIE", "-pie"),)),
    FlagProbe(
        "static-pie",
        "static position-independent executable",
        "pie",
        (("-static-pie", "-fPIE"),),
        makes=Kind.STATIC_PIE,
    ),
    FlagProbe("relro", "read-only relocations", "relro", (("-Wl,-z,relro",),), {"level": "partial"}),
    FlagProbe("full-relro", "read-only GOT", "relro", (("-Wl,-z,relro", "-Wl,-z,now"),), {"level": "full"}),
    FlagProbe("bind-now", "functions bound at start-up", "bind-now", (("-Wl,-z,now",),)),
    FlagProbe("nx-stack", "stack not executable", "nx-stack", (("-Wl,-z,noexecstack",),)),
    FlagProbe("separate-code", "code in pages of its own", "separate-code", (("-Wl,-z,separate-code",),)),
    FlagProbe("build-id", "build identifier", "build-id", (("-Wl,--build-id=sha1",),)),
    FlagProbe("stack-protector", "canaries", "stack-protector", (("-fstack-protector-strong",),)),
    FlagProbe("stack-clash", "large frames probed", "stack-clash", (("-fstack-clash-protection",),)),
    *map(_fortify, (1, 2, 3)),
    FlagProbe(
        "cf-protection",
        "marked for control-flow protection",
        "cf-protection",
        (("-fcf-protection=full",), ("-mbranch-protection=standard",)),
        marks_objects=True,
    ),
    FlagProbe(
        "auto-var-init",
        "locals initialised",
        "auto-var-init",
        (("-ftrivial-auto-var-init=zero",), ("-ftrivial-auto-var-init=pattern",)),
        changes_code=True,
    ),
    FlagProbe(
        "zero-call-used-regs",
        "registers cleared on return",
        "zero-call-used-regs",
        (("-fzero-call-used-regs=used-gpr",),),
        changes_code=True,
    ),
    FlagProbe(
        "strict-flex-arrays",
        "trailing arrays have the size they declare",
        "strict-flex-arrays",
        (("-fstrict-flex-arrays=3",),),
        changes_code=True,
    ),
    FormatProbe(),
    HardenedProbe(),
)
