"""Options, their ini equivalents, and what is said when one is wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC

if TYPE_CHECKING:
    from tests.plugin.conftest import User

WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])


@WORKERS
def test_ini_options(user: User, workers: tuple[str, ...]) -> None:
    user.build("out/build")
    (user.path / "policy").mkdir()
    (user.path / "policy/ours.toml").write_text("[checks]\npie = {}\nnx-stack = {}\n")
    user.pytester.makeini(
        """
        [pytest]
        hardening_paths =
            out/build
            *.so
        hardening_profile = policy/ours.toml
        hardening_report = out/report.json
        hardening_objects = true
        hardening_strict = true
        """
    )
    (user.path / "sub").mkdir()
    result = user.pytest("sub", *workers, subprocess=True)
    result.stdout.fnmatch_lines(["*[*].so*matches no file*"])
    if not workers:
        result.stdout.fnmatch_lines(["hardening: profile policy/ours.toml (2 checks, strict): pie, nx-stack"])
    document = json.loads((user.path / "out/report.json").read_text())
    judged = {(entry["path"], verdict["check"]) for entry in document["artifacts"] for verdict in entry["verdicts"]}
    assert {path for path, check in judged if check == "pie"} == {"out/build/PROGRAM", "out/build/HOST"}
    assert ("out/build/A.o", "nx-stack") in judged


def test_command_line_wins_over_ini(user: User) -> None:
    user.build("one")
    user.build("two")
    user.pytester.makeini(
        """
        [pytest]
        hardening_paths = one
        hardening_profile = no-such-profile
        hardening_checks = pic relro
        hardening_report = ini.json
        """
    )
    run = user.run("--hardening", "two/PROGRAM", "--hardening-profile", "kms-6.7", "--hardening-check", "pie")
    assert run.verdicts == {"two/PROGRAM::pie": "pass"}
    assert not (user.path / "ini.json").exists()


def test_native_toml_settings(user: User) -> None:
    user.build()
    toml = (
        '[tool.pytest.ini_options]\nhardening_paths = ["build"]\nhardening_checks = ["pie"]\nhardening_strict = true\n'
    )
    user.pytester.makepyprojecttoml(toml)
    user.pytest().assert_outcomes(passed=2)


@WORKERS
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hardening-profile", "kms-6.8"), "hardening: unknown profile 'kms-6.8'; did you mean 'kms-6.7'?"),
        (("--hardening-profile", "no.toml"), "hardening: profile no.toml: cannot be read: No such file or directory"),
        (
            ("--hardening-profile", "bad.toml"),
            "hardening: profile bad.toml: checks.pies: unknown check 'pies'; did you mean 'pie'?",
        ),
        (("--hardening-check", "relo"), "hardening: unknown check 'relo'; did you mean 'relro'?"),
    ],
)
def test_wrong_policy_is_one_line(
    user: User, arguments: tuple[str, ...], message: str, workers: tuple[str, ...]
) -> None:
    user.build()
    (user.path / "bad.toml").write_text("[checks]\npies = {}\n")
    result = user.pytest("--hardening", "build", *arguments, *workers, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert [line for line in result.errlines if line] == [line for line in result.errlines if "ERROR: " in line]
    assert "Traceback" not in str(result.stdout) + str(result.stderr)


def test_check_option_narrows_and_adds(user: User) -> None:
    user.build()
    arguments = ["--hardening", "build/PROGRAM", "--hardening-profile", "kms-6.6"]
    assert set(user.run(*arguments, "--hardening-check", "relro").verdicts) == {"build/PROGRAM::relro"}
    assert user.run(*arguments, "--hardening-check", "pie").verdicts == {"build/PROGRAM::pie": "pass"}


@WORKERS
def test_debug_files_are_looked_for_where_the_user_said(
    user: User, build: CompileC, tool_for: Callable[[str], str], workers: tuple[str, ...]
) -> None:
    """Flags are on record in the debug file only; without the option nothing but the program is opened."""
    built = build("int main(void) { return 0; }", flags=["-O2", "-g"])
    for name in ("debug", "build"):
        (user.path / name).mkdir()
    program, debug = user.path / "build/program", user.path / "debug/program.debug"
    subprocess.run([tool_for("objcopy"), "--only-keep-debug", built, debug], check=True)
    subprocess.run([tool_for("objcopy"), "-S", f"--add-gnu-debuglink={debug}", built, program], check=True)
    arguments = ["--hardening", "build", "--hardening-check", "optimization", *workers]
    assert user.run(*arguments, subprocess=True).verdicts == {"build/program::optimization": "unknown"}
    found = user.run(*arguments, "--hardening-debug-root", "debug", subprocess=True)
    assert found.verdicts == {"build/program::optimization": "pass"}
    user.pytester.makeini("[pytest]\nhardening_debug_root = debug\n")
    assert user.run(*arguments, subprocess=True).verdicts == {"build/program::optimization": "pass"}


def test_debug_root_must_be_a_folder(user: User) -> None:
    user.build()
    result = user.pytest("--hardening", "build", "--hardening-debug-root", "no/such/folder")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --hardening-debug-root needs a folder: 'no/such/folder' is none"])


def test_profile_decides_the_parameters(user: User) -> None:
    user.build("broken", "bind-now")
    arguments = ["--hardening", "broken/PROGRAM", "--hardening-check", "relro"]
    assert user.run(*arguments).verdicts == {"broken/PROGRAM::relro": "fail"}
    assert user.run(*arguments, "--hardening-profile", "kms-6.6").verdicts == {"broken/PROGRAM::relro": "pass"}


@WORKERS
def test_report_that_cannot_be_written(user: User, workers: tuple[str, ...]) -> None:
    user.build()
    arguments = ["--hardening", "build", "--hardening-check", "pie", *workers]
    result = user.pytest(*arguments, "--hardening-report", "no/such/folder.json", subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["report not written: */no/such/folder.json: No such file or directory"])
    nothing = user.pytest(*arguments, "-k", "nothing", "--hardening-report", "/dev/full", subprocess=True)
    nothing.stdout.fnmatch_lines(["report not written: /dev/full: No space left on device"])


def test_report_without_a_path_is_a_mistake(user: User) -> None:
    result = user.pytest("--hardening-report", "report.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --hardening-report FILE needs --hardening PATH*"])
    user.pytester.makeini("[pytest]\nhardening_report = report.json\n")
    user.pytester.makepyfile("def test_it(): pass")
    user.pytest().assert_outcomes(passed=1)
    assert not (user.path / "report.json").exists()


@WORKERS
def test_options_with_nothing_to_judge_are_read_all_the_same(user: User, workers: tuple[str, ...]) -> None:
    user.pytester.makepyfile("def test_it(): pass")
    for words, message in (
        (["--hardening-check", "relo"], "unknown check 'relo'; did you mean 'relro'?"),
        (["--hardening-profile", "kms-6.8"], "unknown profile 'kms-6.8'; did you mean 'kms-6.7'?"),
    ):
        result = user.pytest(*words, *workers, subprocess=True)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: hardening: {message}"])
    words = ["--hardening-strict", "--hardening-profile", "kms-6.7", "--hardening-check", "pie", *workers]
    result = user.pytest(*words, subprocess=True)
    result.assert_outcomes(passed=1)
    options = "--hardening-profile, --hardening-check, --hardening-strict"
    told = f"hardening: nothing is judged: no --hardening PATH ({options} here for the marker and the fixture alone)"
    if not workers:
        result.stdout.fnmatch_lines([told])
    user.pytest(*workers, subprocess=True).stdout.no_fnmatch_line("hardening: *")


def test_switch_that_is_neither_yes_nor_no(user: User) -> None:
    for name in ("hardening_strict", "hardening_objects"):
        user.pytester.makeini(f"[pytest]\n{name} = maybe")
        result = user.pytest()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {name} in tox.ini: invalid truth value 'maybe'"])


def test_checks_that_ask_for_nothing_are_a_mistake(user: User) -> None:
    user.build()
    text = "could never fail: say what recorded-flags (with_flags or without_flags) shall ask for"
    (user.path / "p.toml").write_text("[checks]\nrecorded-flags = {}\n")
    for words, where in (
        (["--hardening-profile", "p.toml"], "profile p.toml"),
        (["--hardening-check", "recorded-flags"], "--hardening-check"),
    ):
        result = user.pytest("--hardening", "build", *words)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: hardening: {where}: {text}"])


def test_empty_path_is_a_mistake(user: User) -> None:
    for words in (["--hardening="], ["--hardening", ""], ["--hardening", "build", "--hardening="]):
        result = user.pytest(*words)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: --hardening needs the path of a file or folder: its value is empty"])


def test_help_names_every_option(user: User) -> None:
    text = str(user.pytest("--help").stdout)
    for name in ("", "-profile", "-check", "-report", "-strict", "-objects", "-debug-root", "-show-policy"):
        assert f"--hardening{name}" in text
    for name in ("paths", "profile", "checks", "report", "strict", "objects", "debug_root", "cc", "cxx"):
        assert f"hardening_{name} (" in text
    assert "@pytest.mark.hardening(*globs, profile=None, checks=None): " in str(user.pytest("--markers").stdout)


def test_an_ini_file_that_pytest_missed_is_a_mistake(user: User, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "build"
    user.build().rename(elsewhere)
    user.pytester.makepyprojecttoml("[tool.pytest.ini_options]\nhardening_profile = 'kms-6.6'\n")
    result = user.pytester.runpytest_subprocess("--hardening", str(elsewhere))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pytest did not read pyproject.toml: write --hardening=PATH*"])
    result = user.pytester.runpytest_subprocess(f"--hardening={elsewhere}")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["hardening: profile kms-6.6 *"])
