"""`python -m pytest_hardening`, as users run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_hardening.checks.registry import check_names, get_check
from pytest_hardening.fixtures import CompileC, SampleProject
from pytest_hardening.model import Kind
from pytest_hardening.policy.profile import built_in_profiles, load_profile

COMMAND = [sys.executable, "-m", "pytest_hardening"]


def run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], cwd=cwd, capture_output=True, text=True, timeout=60)


def document(*words: str | Path, cwd: Path | None = None) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(run("inspect", "--format", "json", *words, cwd=cwd).stdout)
    jsonschema.validate(data, json.loads(files("pytest_hardening").joinpath("reports/schema.json").read_text("utf-8")))
    return data


@pytest.fixture
def good(sample_project: SampleProject) -> Path:
    """The hardened build."""
    return sample_project()


@pytest.fixture
def broken(sample_project: SampleProject) -> Path:
    """A build without immediate binding."""
    return sample_project("bind-now")


def test_text(good: Path) -> None:
    assert run("inspect", "PROGRAM", "--profile", "kms-6.7", cwd=good).returncode == 0
    result = run("inspect", "PROGRAM", cwd=good)
    assert (result.returncode, result.stderr) == (1, "")  # it was compiled without -ftrivial-auto-var-init
    lines = result.stdout.splitlines()
    assert lines[0] == "PROGRAM: (pie, x86-64)"
    for label in (
        "Position Independent Executable",
        "Stack protected",
        "Fortify Source functions",
        "Read-only relocations",
        "Immediate binding",
    ):
        assert any(line.startswith(f" {label}: yes (") for line in lines), label


def test_text_of_a_failure_says_the_fix(broken: Path) -> None:
    result = run("inspect", "PROGRAM", "--check", "bind-now", cwd=broken)
    assert result.returncode == 1
    title, answer, fix = result.stdout.splitlines()
    assert title == "PROGRAM: (pie, x86-64)"
    assert answer.startswith(" Immediate binding: no, not bound at start-up")
    assert fix == "   fix: link with -Wl,-z,now"


def test_folder(good: Path) -> None:
    result = run("inspect", ".", "--check", "nx-stack", cwd=good)
    names = [line.partition(": (")[0] for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert names == ["AB.a", "EF.a", "HOST", "PROGRAM", "libSHARED.so", "plugin.so"]
    assert result.stderr == "left out: objects (10)\n"
    with_objects = run("inspect", ".", "--check", "nx-stack", "--objects", cwd=good)
    assert "\nhost.o: (object, x86-64)\n" in with_objects.stdout
    assert with_objects.stderr == ""


def test_debug_root(build: CompileC, tool_for: Callable[[str], str], tmp_path: Path) -> None:
    built = build("int main(void) { return 0; }", flags=["-O2", "-g"])
    program, debug = tmp_path / "program", tmp_path / "debug/program.debug"
    debug.parent.mkdir()
    subprocess.run([tool_for("objcopy"), "--only-keep-debug", built, debug], check=True)
    subprocess.run([tool_for("objcopy"), "-S", f"--add-gnu-debuglink={debug}", built, program], check=True)
    words = ["inspect", "program", "--check", "optimization"]
    assert "Optimised: unknown, " in run(*words, cwd=tmp_path).stdout
    assert "Optimised: yes " in run(*words, "--debug-root", "debug", cwd=tmp_path).stdout
    wrong = run(*words, "--debug-root", "nowhere", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (2, "error: --debug-root needs a folder: 'nowhere' is none\n")


def test_members(good: Path) -> None:
    plain = run("inspect", "AB.a", "--check", "pic", cwd=good).stdout
    assert "AB.a(A.o)" not in plain
    assert "AB.a(A.o): (object, x86-64)\n" in run("inspect", "AB.a", "--check", "pic", "--members", cwd=good).stdout


def test_json(good: Path, broken: Path) -> None:
    data = document("PROGRAM", "AB.a", cwd=good)
    assert [(entry["path"], entry["member"]) for entry in data["artifacts"]] == [
        ("AB.a", "A.o"),
        ("AB.a", "B.o"),
        ("AB.a", None),
        ("PROGRAM", None),
    ]
    for entry in data["artifacts"]:
        assert [verdict["check"] for verdict in entry["verdicts"]] == list(check_names())
    (entry,) = document("PROGRAM", "--check", "bind-now", cwd=broken)["artifacts"]
    (verdict,) = entry["verdicts"]
    assert (verdict["outcome"], verdict["remedy"]) == ("fail", "link with -Wl,-z,now")


@pytest.mark.parametrize("format_", ["text", "json"])
def test_exit_status(good: Path, broken: Path, tmp_path: Path, format_: str) -> None:
    (tmp_path / "empty.so").touch()
    arguments = ["--format", format_, "--check", "bind-now"]
    assert run("inspect", good / "PROGRAM", *arguments).returncode == 0
    assert run("inspect", good / "PROGRAM", broken / "PROGRAM", *arguments).returncode == 1
    assert run("inspect", tmp_path / "empty.so", broken / "PROGRAM", *arguments).returncode == 2
    assert run("inspect", broken / "PROGRAM", tmp_path / "nope", *arguments).returncode == 2
    assert run("inspect", good / "AB.a", *arguments).returncode == 0  # it does not apply


def test_unknown_does_not_change_the_exit_status(tmp_path: Path) -> None:
    header = b"unit.o/".ljust(16) + b"0".ljust(12) + b"0".ljust(6) + b"0".ljust(6) + b"644".ljust(8) + b"4".ljust(10)
    (tmp_path / "lto.a").write_bytes(b"!<arch>\n" + header + b"`\nBC\xc0\xde")
    # bytecode is what the one forbids; the others must be asked for something
    decided = ("lto-bytecode", "debug-info", "software-cfi", "recorded-flags")
    on_objects = [
        name for name in check_names() if not get_check(name).why_not_kind(Kind.OBJECT) and name not in decided
    ]
    words = [word for name in on_objects for word in ("--check", name)]
    result = run("inspect", "lto.a", *words, cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.count(": unknown, 1 of 1 members (unit.o): LLVM bitcode") == len(on_objects)


def test_errors_are_listed_and_the_others_judged(good: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.so").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    shutil.copy(good / "PROGRAM", tmp_path)
    words = ["empty.so", "dangling", "nope", "*.dll", "PROGRAM", "--check", "pie"]
    result = run("inspect", *words, cwd=tmp_path)
    lines = result.stdout.splitlines()
    assert set(lines) >= {
        "empty.so: error: empty file",
        "dangling: error: dangling link: its target does not exist",
        "nope: error: does not exist",
        "*.dll: error: matches no file",
        "PROGRAM: (pie, x86-64)",
    }
    errors = {entry["path"]: entry["error"] for entry in document(*words, cwd=tmp_path)["artifacts"] if entry["error"]}
    assert {f"{path}: error: {error}" for path, error in errors.items()} == {
        line for line in lines if ": error: " in line
    }


PLUGIN = " (a check that a plugin adds is only known inside pytest)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("inspect", "x", "--check", "relo"), "error: unknown check 'relo'; did you mean 'relro'?"),
        (("explain", "relo"), f"error: unknown check or profile 'relo'; did you mean 'relro'?{PLUGIN}"),
        (("explain", "kms-6.8"), f"error: unknown check or profile 'kms-6.8'; did you mean 'kms-6.7'?{PLUGIN}"),
        (("explain", "our-own"), f"error: unknown check or profile 'our-own'{PLUGIN}"),
        (("inspect",), "python -m pytest_hardening inspect: error: the following arguments are required: PATH"),
        ((), "python -m pytest_hardening: error: the following arguments are required: COMMAND"),
    ],
)
def test_wrong_command_line(words: tuple[str, ...], message: str) -> None:
    result = run(*words)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == message
    assert "Traceback" not in result.stderr


def test_explain(good: Path) -> None:
    names = [line.split()[0] for line in run("explain").stdout.splitlines()]
    assert names == list(check_names())
    page = run("explain", "relro").stdout
    assert page.startswith("relro\n=====\n\n")
    assert get_check("relro").manual() in page
    assert "\nParameter level (one of partial, full), default full: " in page
    *_, last = page.splitlines()
    assert last.startswith("Required by: ")
    assert {"kms-6.6", "recommended"} <= set(last.removeprefix("Required by: ").split(", "))
    demanded = {check for name in built_in_profiles() for check in load_profile(name).checks}
    for name in [name for name in check_names() if name not in demanded][:1]:
        assert run("explain", name).stdout.endswith("\nRequired by: no built-in profile\n")


def test_explain_a_profile(tmp_path: Path) -> None:
    for name in built_in_profiles():
        lines = run("explain", name).stdout.splitlines()
        profile = load_profile(name)
        assert lines[0] == f"# {name}: {profile.description}"
        keys = [line.removeprefix("checks.").split()[0] for line in lines if " = " in line]
        assert set(profile.checks) <= {key.partition(".")[0] for key in keys}
    assert re.search(r'^relro\.level = "full" +# profile kms-6\.7$', run("explain", "kms-6.7").stdout, re.MULTILINE)
    (tmp_path / "own.toml").write_text("[checks]\nfortify = { level = 3 }")
    assert re.search(r"^fortify\.level = 3 +# profile ", run("explain", tmp_path / "own.toml").stdout, re.MULTILINE)


def test_help_tells_the_exit_status() -> None:
    text = run("inspect", "--help").stdout
    for status in ("0 every file was judged", "1 a check fails", "2 a file could not be judged"):
        assert status in text
    assert "inspect" in run("--help").stdout


BUFFERING = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])


def run_into(stdout: int, words: tuple[str, ...], cwd: Path, unbuffered: str) -> tuple[int, list[str]]:
    """Exit status and messages of a command whose output goes to an open file."""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    result = subprocess.run(
        [*COMMAND, *words], cwd=cwd, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60
    )
    return result.returncode, [line for line in result.stderr.splitlines() if not line.startswith("left out: ")]


@BUFFERING
@pytest.mark.parametrize("words", [("inspect", "."), ("inspect", "--format=json", "."), ("explain", "pic")])
def test_closed_pipe_is_no_traceback(good: Path, words: tuple[str, ...], unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert run_into(writing, words, good, unbuffered) == (2, [])
    os.close(writing)


@BUFFERING
def test_full_disk_is_told(good: Path, unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        status, messages = run_into(full.fileno(), ("inspect", "PROGRAM"), good, unbuffered)
    assert (status, messages) == (2, ["error: output not written: No space left on device"])


def test_second_opinion_agrees(good: Path) -> None:
    result = run("inspect", "--second-opinion", "PROGRAM", "libSHARED.so", "AB.a", "--check", "pie", cwd=good)
    assert result.returncode == 0
    assert "disagree" not in result.stdout


def test_profile(broken: Path, tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text("[checks]\npie = {}\n")
    for words, status in (
        (["--profile", "kms-6.7"], 1),
        (["--profile", "kms-6.6"], 0),
        (["--profile", "kms-6.6", "--check", "bind-now"], 1),
        (["--profile", tmp_path / "ours.toml"], 0),
    ):
        assert run("inspect", "PROGRAM", *words, cwd=broken).returncode == status
    (entry,) = document("PROGRAM", "--profile", tmp_path / "ours.toml", cwd=broken)["artifacts"]
    assert [verdict["check"] for verdict in entry["verdicts"]] == ["pie"]
    nothing = run("inspect", "plugin.so", "--profile", tmp_path / "ours.toml", cwd=broken)
    assert (nothing.returncode, nothing.stderr) == (2, "error: nothing that the required checks apply to\n")
    wrong = run("inspect", "PROGRAM", "--profile", "kms-6.8", cwd=broken)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: unknown profile 'kms-6.8'; did you mean 'kms-6.7'?\n"
