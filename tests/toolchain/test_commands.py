from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pytest_hardening.errors import BuildError, ToolchainError
from pytest_hardening.toolchain import BuildLog, BuildRecord, CommandResult, clean_environment, run
from pytest_hardening.toolchain.commands import MAX_OUTPUT


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_result_holds_both_streams_in_order(tmp_path: Path) -> None:
    result = run(["sh", "-c", "echo one; echo two >&2; echo three"], cwd=tmp_path)
    assert result.output == "one\ntwo\nthree\n"
    assert (result.returncode, result.cwd, result.succeeded) == (0, tmp_path, True)
    assert CommandResult.from_json(result.to_json()) == result


def test_failure_names_command_folder_status_and_output(tmp_path: Path) -> None:
    log: list[CommandResult] = []
    with pytest.raises(BuildError) as caught:
        run(["sh", "-c", "echo it broke; exit 3"], cwd=tmp_path, log=log)
    assert (
        str(caught.value)
        == f"command failed with exit status 3: sh -c 'echo it broke; exit 3'\nin {tmp_path}\nit broke"
    )
    assert [result.returncode for result in log] == [3]


def test_death_by_signal_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="failed with killed by SIGSEGV: sh -c"):
        run(["sh", "-c", "kill -SEGV $$"], cwd=tmp_path)


def test_timeout_kills_the_whole_process_group(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(BuildError, match=r"(?s)^command timed out after 0\.5 s: sh .*started$"):
        run(["sh", "-c", "sleep 60 & echo $! > child; echo started; wait"], cwd=tmp_path, timeout=0.5)
    assert time.monotonic() - began < 10
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def test_timeout_holds_for_a_command_that_closed_its_output(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="timed out"):
        run(["sh", "-c", "exec >&- 2>&-; sleep 60"], cwd=tmp_path, timeout=0.3)


def test_a_process_left_behind_does_not_hold_the_command(tmp_path: Path) -> None:
    began = time.monotonic()
    result = run(["sh", "-c", "sleep 5 & echo done"], cwd=tmp_path, timeout=60)
    assert result.output == "done\n"
    assert time.monotonic() - began < 4


def test_standard_input_is_empty(tmp_path: Path) -> None:
    assert run(["cat"], cwd=tmp_path, timeout=10).output == ""


def test_output_is_bounded_and_keeps_both_ends(tmp_path: Path) -> None:
    output = run(["sh", "-c", "echo first; yes | head -c 3000000; echo last"], cwd=tmp_path).output
    assert len(output) < MAX_OUTPUT + 100
    assert output.startswith("first\ny\n")
    assert "bytes of output left out" in output
    assert output.endswith("last\n")


def test_output_that_is_no_text_is_shown(tmp_path: Path) -> None:
    assert run(["printf", r"\377x"], cwd=tmp_path).output == "\ufffdx"


def test_missing_program_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="'meson' not found: install it with: apt-get install meson"):
        run(["meson"], cwd=tmp_path, env={"PATH": "/nowhere"})
    with pytest.raises(BuildError, match="there is no folder"):
        run(["true"], cwd=tmp_path / "absent")


def test_environment_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CFLAGS", "CC", "LD_PRELOAD", "MAKEFLAGS", "CMAKE_GENERATOR", "REALGCC", "DEB_CFLAGS_APPEND", "PWD"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    seen = dict(line.split("=", 1) for line in run(["env"], cwd=tmp_path).output.splitlines())
    assert set(seen) <= {*clean_environment(), "_"}
    assert seen["LC_ALL"] == "C"
    assert seen["SOURCE_DATE_EPOCH"].isdigit()
    assert seen["PATH"] == os.environ["PATH"]
    assert clean_environment({"CFLAGS": "-O1"})["CFLAGS"] == "-O1"


def test_log_reads_like_a_terminal(tmp_path: Path) -> None:
    log = BuildLog()
    assert log.text() == ""
    good = CommandResult(("gcc", "-c", "a b.c"), tmp_path, 0, "")
    bad = CommandResult(("ld",), tmp_path, 1, "no\n")
    log.add(BuildRecord("build of P", (good, bad), cached=True))
    assert log.text().splitlines() == [
        "build of P",
        "(built before; these are the commands that built it)",
        f"$ cd {tmp_path}",
        "$ gcc -c 'a b.c'",
        "$ ld",
        "no",
        "[exit status 1]",
    ]
