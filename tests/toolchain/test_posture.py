"""What toolchains make of mitigations: against their own macros and readelf, and behind wrappers that drop flags."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.errors import BuildError
from pytest_hardening.toolchain import (
    PROBES,
    Bench,
    BuildCache,
    Cell,
    Effect,
    FlagProbe,
    Posture,
    Prober,
    State,
    Toolchain,
    execute,
    posture_changes,
    posture_of,
)
from pytest_hardening.toolchain.probe_source import PROBE

from .toolchains_here import HERE

COMMANDS = [pytest.param(here.command, id=here.id) for here in HERE]
GCC = "gcc-12"

# Macros that a compiler predefines where it does something (GCC manual, "Common Predefined Macros"; clang defines the
# same), by probe.
MACROS = {
    "pie": "__PIE__",
    "stack-protector": "__SSP_(STRONG|ALL)__",
    "cf-protection": "__CET__|__ARM_FEATURE_BTI_DEFAULT",
}


def macros(toolchain: Toolchain, *flags: str) -> str:
    return execute((*toolchain.command, *flags, "-dM", "-E", "-x", "c", "/dev/null"), cwd=Path("/")).output


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.id not in ("tcc", "zig")])  # zig defines no __PIE__
def test_states_are_those_of_the_macros(
    command: str, toolchain_for: Callable[[str], Toolchain], posture_for: Callable[[str], Posture]
) -> None:
    toolchain, posture = toolchain_for(command), posture_for(command)
    for name, macro in MACROS.items():
        cell = posture.cells[name]
        pattern = re.compile(rf"^#define ({macro}) ", re.MULTILINE)
        by_default = bool(pattern.search(macros(toolchain)))
        by_flags = bool(pattern.search(macros(toolchain, *cell.flags)))
        assert (cell.state is State.DEFAULT) is by_default, name
        assert (cell.state in (State.FLAG, State.NOT_VISIBLE, State.DEFAULT)) is by_flags, name


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_flag_brings_is_there_for_readelf(
    command: str,
    toolchain_for: Callable[[str], Toolchain],
    posture_for: Callable[[str], Posture],
    readelf: Callable[..., str],
    shared: Path,
) -> None:
    bench = Bench(toolchain_for(command), BuildCache(shared))
    signs = {
        "bind-now": ("-d", r"\bNOW\b"),
        "relro": ("-l", r"GNU_RELRO"),
        "nx-stack": ("-l", r"GNU_STACK.* RW +0"),
        "build-id": ("-n", r"Build ID"),
        "static-pie": ("-h", r"DYN \(Position"),
        "fortify-1": ("-s", r"__\w+_chk\b"),
        "stack-protector": ("-s", r"__stack_chk_(fail|guard)|__tls_get_addr_opt"),
    }
    for name, (option, sign) in signs.items():
        cell = posture_for(command).cells[name]
        path = bench.build(cell.flags).path
        has = path is not None and bool(re.search(sign, readelf(option, path)))
        if name == "static-pie" and has and path is not None:
            has = "INTERP" not in readelf("-l", path)
        assert has is (cell.state in (State.DEFAULT, State.FLAG)), (name, cell)
    assert bench.runs == 0  # what the posture built is there


def test_a_row_for_every_mitigation(posture_for: Callable[[str], Posture]) -> None:
    cells = posture_for(GCC).cells
    assert list(cells) == [probe.name for probe in PROBES]
    for cell in cells.values():
        assert Cell.from_json(cell.to_json()) == cell
        assert cell.summary
        assert (cell.flags == ()) is (cell.state is State.DEFAULT)
        assert "/" not in cell.summary  # no path of this machine


def test_what_cannot_be_is_said(posture_for: Callable[[str], Posture]) -> None:
    """Facts that distributions and manuals state, each for its own reason."""

    def state(command: str, name: str) -> State:
        return posture_for(command).cells[name].state

    assert state("gcc-11", "auto-var-init") is State.UNAVAILABLE  # GCC 12's release notes
    assert state("clang-14", "zero-call-used-regs") is State.UNAVAILABLE  # clang 15's
    assert posture_for("clang-14").cells["auto-var-init"].flags == ("-ftrivial-auto-var-init=pattern",)  # clang 16's
    assert state("clang-16", "strict-flex-arrays") is State.FLAG
    assert state("musl-gcc", "fortify-2") is State.NOT_VISIBLE  # musl has none
    assert state("riscv64-linux-gnu-gcc", "stack-clash") is State.NO_EFFECT  # no back end in GCC 12
    assert state("tcc", "stack-protector") is State.NO_EFFECT  # it ignores every -f option
    assert state("tcc", "format-security") is State.NO_EFFECT
    assert state("tcc", "bind-now") is State.UNAVAILABLE


@pytest.mark.parametrize(
    ("dropped", "lost"),
    [
        ({"-fstack-protector-strong": ""}, {"stack-protector"}),
        ({"-Wl,-z,now": ""}, {"bind-now", "full-relro"}),
        ({f"-D_FORTIFY_SOURCE={level}": "" for level in (1, 2, 3)}, {"fortify-1", "fortify-2", "fortify-3"}),
        ({"-D_FORTIFY_SOURCE=3": "-D_FORTIFY_SOURCE=2"}, {"fortify-3"}),
        ({"-Werror=format-security": ""}, {"format-security"}),
        ({"-fcf-protection=full": "-fcf-protection=none"}, {"cf-protection"}),
        ({"-fstack-clash-protection": ""}, {"stack-clash"}),
        ({"-ftrivial-auto-var-init=zero": "", "-ftrivial-auto-var-init=pattern": ""}, {"auto-var-init"}),
        ({"-o": "-no-pie -o"}, {"pie"}),
        ({"-o": "-Wl,-z,noseparate-code -o"}, {"separate-code"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrapper_that_drops_a_flag_is_caught(
    dropped: dict[str, str],
    lost: set[str],
    wrapper: Callable[..., str],
    toolchain_for: Callable[[str], Toolchain],
    posture_for: Callable[[str], Posture],
    shared: Path,
) -> None:
    good, wrapped = posture_for(GCC), toolchain_for(wrapper(GCC, dropped))
    assert wrapped.id == good.id
    assert all(map(wrapped.accepts, (flags for name in lost for flags in [*good.cells[name].flags])))
    # the ones that are lost and some others: a whole posture would say no more
    names = {*lost, "relro", "nx-stack", "build-id"}
    probes = [probe for probe in PROBES if probe.name in names]
    changes = posture_changes(good, posture_of(wrapped, BuildCache(shared), probes))
    assert {change.mitigation for change in changes} == lost
    assert {change.effect for change in changes} == {Effect.LOST}


def test_flags_of_the_command_count(
    toolchain_for: Callable[[str], Toolchain], posture_for: Callable[[str], Posture], shared: Path
) -> None:
    """The same compiler with a set of flags: what they bring is on by default, what they take away is lost."""
    command = f"{GCC} -fstack-protector-strong -Wl,-z,now -Wl,-z,norelro"
    names = ("stack-protector", "bind-now", "relro", "stack-clash")
    probes = [probe for probe in PROBES if probe.name in names]
    posture = posture_of(toolchain_for(command), BuildCache(shared), probes)
    effects = {change.mitigation: change.effect for change in posture_changes(posture_for(GCC), posture)}
    assert effects == {"stack-protector": Effect.GAINED, "bind-now": Effect.GAINED, "relro": Effect.LOST}
    assert posture.cells["relro"].flags == ("-Wl,-z,relro",)


FHARDENED = (
    "-D_FORTIFY_SOURCE=3 -ftrivial-auto-var-init=zero -fPIE -pie -Wl,-z,relro -Wl,-z,now -fstack-protector-strong"
    " -fstack-clash-protection -fcf-protection=full"
)


@pytest.mark.parametrize("missing", ["", "-fstack-clash-protection", "-ftrivial-auto-var-init=zero"])
def test_fhardened_is_verified_part_by_part(
    missing: str, wrapper: Callable[..., str], toolchain_for: Callable[[str], Toolchain], shared: Path
) -> None:
    """No GCC 14 is here: a wrapper does what its manual says, or nearly."""
    toolchain = toolchain_for(wrapper(GCC, {"-fhardened": FHARDENED.replace(missing, "") if missing else FHARDENED}))
    cell = Prober(toolchain, BuildCache(shared)).cell("hardened")
    if missing:
        assert cell.state is State.NO_EFFECT
        assert cell.summary.startswith(f"lacks {'stack-clash' if 'clash' in missing else 'auto-var-init'}; brings pie,")
    else:
        assert cell.state is State.FLAG
        assert cell.summary == (
            "brings pie, relro, bind-now, stack-protector, stack-clash, fortify, auto-var-init, cf-protection"
        )


def test_probes_of_ones_own_and_at_run_time(toolchain_for: Callable[[str], Toolchain], shared: Path) -> None:
    no_stack = FlagProbe("no-relro", "for the test", "relro", (("-Wl,--no-such",), ("-Wl,-z,now",)), {"level": "full"})
    seen: list[tuple[str, str]] = []

    def runs(bench: Bench, cell: Cell) -> str:
        seen.append((bench.toolchain.id, cell.mitigation))
        program = bench.build(cell.flags).path
        return "runs" if program and execute((program,), cwd=Path("/")).succeeded else "does not run"

    toolchain = toolchain_for(GCC)
    posture = posture_of(toolchain, BuildCache(shared), (no_stack,), at_run_time=runs)
    assert posture.cells["no-relro"].state is State.FLAG
    assert posture.cells["no-relro"].flags == ("-Wl,-z,now",)
    assert posture.cells["no-relro"].at_run_time == "runs"
    assert seen == [(toolchain.id, "no-relro")]
    assert Posture.from_json(posture.to_json()) == posture


def test_a_compiler_that_is_killed_is_no_answer(
    wrapper: Callable[..., str], toolchain_for: Callable[[str], Toolchain], shared: Path
) -> None:
    for broken, message in {
        "; kill -9 $$": "broke down, killed by SIGKILL",
        "; echo fatal error: Killed signal terminated program cc1; exit 1": "broke down, exit status 1",
        "; echo internal compiler error: Segmentation fault; exit 4": "broke down, exit status 4",
    }.items():
        toolchain = toolchain_for(wrapper(GCC, {"-Wl,-z,now": broken}))
        prober = Prober(toolchain, BuildCache(shared))
        for _ in range(2):  # it is not kept
            with pytest.raises(BuildError, match=message):
                prober.cell("bind-now")


def test_a_warning_about_something_else_is_no_refusal(toolchain_for: Callable[[str], Toolchain], shared: Path) -> None:
    """As when a newer compiler finds fault with the probe itself: -Werror makes it fail, and the flag works."""
    source = f'#ifdef WARN\n#warning "about something else"\n#endif\n{PROBE}'
    bench = Bench(toolchain_for(GCC), BuildCache(shared))
    for flag, state in {
        "-fstack-clash-protection": State.FLAG,
        "-fno-stack-clash-protection": State.UNAVAILABLE,
        "-fno-such-option": State.UNAVAILABLE,
    }.items():
        cell = FlagProbe("warned", "", "stack-clash", ((flag, "-DWARN"),), source=source).run(bench)
        assert cell.state is state
        assert (bench.build((flag, "-DWARN"), source).path) is None


def test_few_commands_and_none_the_second_time(tmp_path: Path, toolchain_for: Callable[[str], Toolchain]) -> None:
    cache = BuildCache(tmp_path)
    for most in (40, 0):
        prober = Prober(toolchain_for(GCC), cache)
        prober.posture()
        assert prober.bench.runs <= most
