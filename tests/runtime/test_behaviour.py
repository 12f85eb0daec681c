"""The assertions, what they say, and the limits that a program runs in."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pytest_hardening import ArtifactError, BuildError, NotHardened, ToolchainError, assert_goes_through, assert_stops
from pytest_hardening.fixtures import CompileC
from pytest_hardening.runtime import OFFENCES, Ending, commit, observe
from pytest_hardening.runtime.sandbox import emulator_for, run_program

SMASH = OFFENCES["stack-smash"]


def test_a_program_that_is_stopped(compile_c: CompileC) -> None:
    behaviour = assert_stops(compile_c(SMASH.source, flags=SMASH.flags), "stack-smash")
    assert behaviour.ending is Ending.STOPPED
    assert "killed by SIGABRT, and wrote '*** stack smashing detected" in behaviour.summary
    assert behaviour.to_json()["verdict"]["outcome"] == "pass"


def test_a_program_that_is_not_stopped(compile_c: CompileC) -> None:
    program = compile_c(SMASH.source, flags=SMASH.control, name="careless")
    assert_goes_through(program, SMASH)
    with pytest.raises(NotHardened) as caught:
        assert_stops(program, SMASH)
    first, verdict, fix = str(caught.value).splitlines()
    assert first == (
        "careless: stack-smash not stopped: a function writes beyond an array on its stack: the program ended with "
        "exit status 42, and wrote 'offence: went through'"
    )
    assert verdict.startswith("  stack-protector: fail: ")
    assert fix.startswith("  fix: compile with -fstack-protector-strong")


def test_a_control_that_is_stopped(compile_c: CompileC) -> None:
    with pytest.raises(NotHardened, match="stack-smash did not go through"):
        assert_goes_through(compile_c(SMASH.source, flags=SMASH.flags), SMASH)


def test_file_and_behaviour_that_disagree(compile_c: CompileC) -> None:
    """A program that pretends to have been stopped: its file says that it cannot have been."""
    source = """
    #include <stdio.h>
    #include <stdlib.h>
    int main(int count, char **words) {
        char line[64];
        if (count > 1)
            return snprintf(line, sizeof line, "%s", words[1]);
        fputs("*** stack smashing detected ***", stderr);
        abort();
    }
    """
    with pytest.raises(NotHardened, match=r"the file fails stack-protector .* but the offence was stopped"):
        assert_stops(compile_c(source, flags=["-O2", "-g", "-fno-stack-protector"]), "stack-smash")


def test_an_end_that_says_neither(compile_c: CompileC) -> None:
    program = compile_c("int main(void) { return 3; }")
    behaviour = observe(program, "got-write")
    assert behaviour.ending is Ending.UNKNOWN
    for assertion in (assert_stops, assert_goes_through):
        with pytest.raises(NotHardened, match="the program ended with exit status 3"):
            assertion(program, "got-write")


def test_a_program_that_never_ends(compile_c: CompileC, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_hardening.runtime.sandbox._SECONDS", 0.5)
    assert observe(compile_c("int main(void) { for (;;); }"), "got-write").summary.endswith("the program timed out")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('FILE *file = fopen("x", "w"); return !file || fputs("text", file) < 0 || fclose(file) ? 7 : 0;', None),
        ("char *large = malloc(3u << 30); return large ? 0 : 7;", 7),
        ("char text[9]; return read(0, text, 9) == 0 ? 7 : 0;", 7),
        ('return getenv("HOME") || getenv("LD_PRELOAD") ? 0 : 7;', 7),
        ("return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 7 : 0;", 7),
    ],
    ids=["files", "memory", "input", "environment", "privileges"],
)
def test_what_a_program_cannot_do(
    body: str, status: int | None, compile_c: CompileC, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    head = "#include <stdio.h>\n#include <stdlib.h>\n#include <sys/prctl.h>\n#include <unistd.h>\n"
    result = run_program(compile_c(f"{head}int main(void) {{ {body} }}", flags=["-O0"]))
    assert result.returncode == status if status is not None else result.returncode != 0, result.outcome


def test_what_a_program_leaves_behind_is_ended(compile_c: CompileC, tmp_path: Path) -> None:
    source = """
    #include <stdio.h>
    #include <unistd.h>
    int main(void) {
        int child = fork();
        if (!child) { close(0); close(1); close(2); pause(); }
        printf("%d", child);
        return 0;
    }
    """
    child = Path(f"/proc/{run_program(compile_c(source)).output}/stat")
    for _ in range(100):  # until it is gone, or a zombie that nobody asks for
        if not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("it lives on")


def test_no_core_file_and_no_folder_stay(compile_c: CompileC, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = run_program(compile_c("#include <stdlib.h>\nint main(void) { abort(); }"))
    assert result.outcome == "killed by SIGABRT"
    assert os.listdir(tmp_path) == []


def test_what_is_no_program(compile_c: CompileC, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 42\n")
    script.chmod(stat.S_IRWXU)
    with pytest.raises(ArtifactError, match=f"{script}: not an ELF file"):
        observe(script, "got-write")
    with pytest.raises(ArtifactError, match="nothing: does not exist"):
        observe(tmp_path / "nothing", "got-write")
    with pytest.raises(KeyError, match="no offence 'smash'; there are: stack-smash"):
        observe(compile_c("int main(void) { return 0; }"), "smash")


def test_an_emulator_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert emulator_for("x86-64") == ()
    with pytest.raises(ToolchainError, match="apt-get install qemu-user"):
        emulator_for("aarch64")
    with pytest.raises(ToolchainError, match="no emulator is known"):
        emulator_for("alpha")


def test_another_reason_why_it_does_not_compile(compile_c: CompileC) -> None:
    def compile_it(source: Mapping[str, str], flags: Sequence[str]) -> Path:
        return compile_c(source, flags=[*flags, "-fno-such-option"])

    for name in ("stack-smash", "bad-format"):
        with pytest.raises(BuildError, match="no-such-option"):
            commit(name, compile_it)
