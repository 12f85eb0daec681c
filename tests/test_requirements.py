"""A compiler that is missing is a failure where all must be installed, and a skip with the apt command elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_hardening.toolchain import Compiler


@pytest.mark.parametrize(("ci", "raised"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
@pytest.mark.parametrize("command", ["gcc-99", "alpha-linux-gnu-gcc", "gcc -m32 -no-such-flag"])
def test_missing_compiler(
    compiler_for: Callable[[str], Compiler],
    monkeypatch: pytest.MonkeyPatch,
    ci: str,
    raised: type[BaseException],
    command: str,
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(raised, match="apt-get install"):
        compiler_for(command)


@pytest.mark.parametrize(("ci", "raised"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_missing_tool(
    tool_for: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, ci: str, raised: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(raised, match="apt-get install llvm"):
        tool_for("llvm-objcopy")
