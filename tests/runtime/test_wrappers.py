"""Compiler wrappers that lose a flag and say nothing: the file tells, and so does the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_hardening import NotHardened, Outcome, assert_stops, inspect
from pytest_hardening.fixtures import CompileC
from pytest_hardening.runtime import OFFENCES

DROP = """#!/bin/sh
for word do
    shift
    case $word in {pattern}) ;; *) set -- "$@" "$word" ;; esac
done
exec gcc "$@"
"""
ACCEPT = '#!/bin/sh\nexec gcc "$@" -U_FORTIFY_SOURCE\n'


@pytest.mark.parametrize(
    ("script", "offence", "extra"),
    [
        pytest.param(
            DROP.format(pattern="-fstack-protector-strong"), "stack-smash", ["-fno-stack-protector"], id="drops"
        ),
        pytest.param(DROP.format(pattern="-Wl,-z,now"), "got-write", ["-Wl,-z,lazy"], id="drops-now"),
        pytest.param(ACCEPT, "fortify-format", [], id="accepts-and-ignores"),
    ],
)
def test_a_wrapper_is_caught_twice(
    script: str, offence: str, extra: list[str], tmp_path: Path, compile_c: CompileC
) -> None:
    """`extra` stands for what the distribution's compiler may do by itself; the flag after it takes it back."""
    wrapper = tmp_path / "wrapped-gcc"
    wrapper.write_text(script)
    wrapper.chmod(0o755)
    committed = OFFENCES[offence]
    flags = [*extra, *committed.flags]
    assert_stops(compile_c(committed.source, flags=flags), offence)
    program = compile_c(committed.source, flags=flags, compiler=str(wrapper))
    verdict = inspect(program, {committed.check: committed.parameters}).verdict(committed.check)
    assert verdict.outcome is Outcome.FAIL
    with pytest.raises(NotHardened, match=f"{offence} not stopped") as caught:
        assert_stops(program, offence)
    assert verdict.summary in str(caught.value)
