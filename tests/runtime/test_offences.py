"""Every offence with every compiler: stopped where it was built with the mitigation, and not where without.

What is expected stands here, by compiler; the programs themselves say what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from pytest_hardening import Outcome
from pytest_hardening.fixtures import CompileC
from pytest_hardening.runtime import OFFENCES, Behaviour, Ending, commit

STOPPED, WENT_THROUGH, UNKNOWN = Ending.STOPPED, Ending.WENT_THROUGH, Ending.UNKNOWN
NATIVE = ["gcc-12", "gcc-11", "clang-14", "clang-19", "gcc -m32", "musl-gcc"]
EMULATED = {
    "aarch64-linux-gnu-gcc": "qemu-aarch64",
    "arm-linux-gnueabihf-gcc": "qemu-arm",
    "powerpc64le-linux-gnu-gcc": "qemu-ppc64le",
    "s390x-linux-gnu-gcc": "qemu-s390x",
    "riscv64-linux-gnu-gcc": "qemu-riscv64",
}
# what the flags that should stop an offence really bring about, where it is not that
EXPECTED = {
    ("musl-gcc", "fortify-overflow"): WENT_THROUGH,  # musl has no FORTIFY
    ("musl-gcc", "fortify-format"): WENT_THROUGH,
    ("riscv64-linux-gnu-gcc", "got-write"): WENT_THROUGH,  # GNU ld 2.40 leaves the GOT outside of PT_GNU_RELRO
    ("riscv64-linux-gnu-gcc", "stack-clash"): WENT_THROUGH,  # GCC 12 accepts the flag and places no probes
    **{(compiler, "load-address"): UNKNOWN for compiler in EMULATED},  # qemu randomises nothing
}
# flags that a compiler does not have, or wants said in another way
ZERO = ["-O2", "-g", "-ftrivial-auto-var-init=zero"]
FLAGS: Mapping[tuple[str, str], Sequence[str] | None] = {
    ("gcc-11", "uninitialised"): None,
    ("clang-14", "uninitialised"): [*ZERO, "-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang"],
}


@pytest.fixture
def committed(build: CompileC, tool_for: Callable[[str], str]) -> Callable[..., Behaviour]:
    def committed(compiler: str, name: str, flags: Sequence[str] | None = None) -> Behaviour:
        if compiler in EMULATED:
            tool_for(EMULATED[compiler])

        def compile_it(source: Mapping[str, str], flags: Sequence[str]) -> Path:
            return build(source, flags=flags, compiler=compiler)

        return commit(name, compile_it, flags)

    return committed


@pytest.mark.parametrize("name", OFFENCES)
@pytest.mark.parametrize("compiler", [*NATIVE, *EMULATED])
def test_an_offence_is_stopped_and_its_control_is_not(
    compiler: str, name: str, committed: Callable[..., Behaviour]
) -> None:
    control = committed(compiler, name, OFFENCES[name].control)
    expected = UNKNOWN if EXPECTED.get((compiler, name)) is UNKNOWN else WENT_THROUGH
    assert control.ending is expected, control.summary
    assert not control.disagreement
    flags = FLAGS.get((compiler, name), OFFENCES[name].flags)
    if flags is not None:
        behaviour = committed(compiler, name, flags)
        assert behaviour.ending is EXPECTED.get((compiler, name), STOPPED), behaviour.summary
        assert not behaviour.disagreement


@pytest.mark.parametrize("compiler", ["gcc-12", "clang-19"])
def test_filling_a_frame_is_no_probing_of_it(compiler: str, committed: Callable[..., Behaviour]) -> None:
    behaviour = committed(compiler, "stack-clash", [*OFFENCES["stack-clash"].control, *ZERO])
    assert behaviour.ending is WENT_THROUGH, behaviour.summary


@pytest.mark.parametrize("name", [name for name, offence in OFFENCES.items() if offence.when != "compile"])
def test_the_file_says_what_the_program_does(name: str, committed: Callable[..., Behaviour]) -> None:
    """Where the file tells at all; so that a disagreement is a defect of somebody, not of the offence."""
    with_it, without = committed("gcc-12", name), committed("gcc-12", name, OFFENCES[name].control)
    assert with_it.verdict is not None
    assert without.verdict is not None
    # a plain strcpy() alone proves nothing: the compiler may know that it fits
    expected = Outcome.UNKNOWN if name == "fortify-overflow" else Outcome.FAIL
    assert (with_it.verdict.outcome, without.verdict.outcome) == (Outcome.PASS, expected)
