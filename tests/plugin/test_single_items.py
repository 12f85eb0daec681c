"""Node ids on the command line: what people try after a failure."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import User

WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])


@WORKERS
@pytest.mark.parametrize("gate", [("--hardening", "broken"), ()], ids=["gate", "alone"])
def test_one_item(user: User, gate: tuple[str, ...], workers: tuple[str, ...]) -> None:
    user.build("broken", "bind-now")
    user.pytester.makepyfile(test_it="def test_it(): pass")
    run = user.run(*gate, "broken/PROGRAM::bind-now", *workers, subprocess=True)
    assert run.verdicts == {"broken/PROGRAM::bind-now": "fail"}
    run.result.assert_outcomes(failed=1)
    run.result.stdout.fnmatch_lines(["FAILED broken/PROGRAM::bind-now - not bound*"])
    run = user.run(*gate, "broken/PROGRAM::pie", *workers, subprocess=True)
    assert run.verdicts == {"broken/PROGRAM::pie": "pass"}
    assert run.result.ret == pytest.ExitCode.OK


@WORKERS
def test_several_items_and_a_test(user: User, workers: tuple[str, ...]) -> None:
    user.build()
    user.pytester.makepyfile(test_it="def test_it(): pass")
    run = user.run(
        "--hardening", "build", "build/PROGRAM::pie", "build/AB.a", "build/A.o::nx-stack", "test_it.py", *workers,
        subprocess=True,
    )  # fmt: skip
    assert {name.partition("::")[0] for name in run.verdicts} == {"build/PROGRAM", "build/AB.a", "build/A.o"}
    assert len(run.verdicts) == 1 + 5 + 1
    assert run.result.parseoutcomes()["passed"] == 1 + len(run.having("pass"))


@WORKERS
@pytest.mark.parametrize("given", ["--hardening", "hardening_paths"])
def test_the_id_of_a_test_runs_that_test_alone(user: User, given: str, workers: tuple[str, ...]) -> None:
    user.build("build", "bind-now")
    user.pytester.makepyfile(test_it="def test_it(): pass\ndef test_other(): pass")
    words = ["--hardening", "build"] if given == "--hardening" else []
    if not words:
        user.pytester.makeini("[pytest]\nhardening_paths = build")
    result = user.pytest("test_it.py::test_it", *words, *workers, subprocess=True)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    if not workers:
        told = f"hardening: the paths of {given} are not judged: the ids among the arguments say what runs"
        result.stdout.fnmatch_lines([told])
    both = user.run("test_it.py::test_it", "build/PROGRAM::bind-now", *words, *workers, subprocess=True)
    both.result.assert_outcomes(passed=1, failed=1)
    user.pytest("test_it.py", *words, "-k", "test_it or bind", subprocess=True).assert_outcomes(passed=2, failed=4)


def test_the_id_of_a_test_leaves_nothing_to_report(user: User) -> None:
    user.build()
    user.pytester.makepyfile(test_it="def test_it(): pass")
    result = user.pytest("--hardening", "build", "test_it.py::test_it", "--hardening-report", "r.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--hardening-report FILE needs *: the ids among the arguments pick no file"])


def test_an_id_behind_hardening_is_a_mistake(user: User) -> None:
    user.build()
    result = user.pytest("--hardening", "build/PROGRAM::bind-now")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *to run one check: pytest --hardening build build/PROGRAM::bind-now"])


def test_every_id_that_is_printed_can_be_given_back(user: User) -> None:
    user.build()
    arguments = ["--hardening", "build", "--hardening-profile", "kms-6.7"]
    listed = user.pytest(*arguments, "--collect-only", "-q").outlines
    ids = [line for line in listed if "::" in line]
    assert len(ids) == 2 * 3 + 4 * 6
    run = user.run(*arguments, *ids)
    assert set(run.verdicts) == set(ids)


def test_same_item_twice_is_judged_once(user: User) -> None:
    build = user.build()
    (build / "libSHARED.so.1").symlink_to("libSHARED.so")
    run = user.run("build/libSHARED.so.1::pic", "build/libSHARED.so::pic")
    assert run.verdicts == {"build/libSHARED.so::pic": "pass"}
    run.result.assert_outcomes(passed=1)


def test_from_another_folder_and_outside_of_the_root(
    user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.pytester.makeini("[pytest]")
    build = user.build()
    shutil.copy(build / "PROGRAM", tmp_path / "tool")
    monkeypatch.chdir(build)
    assert user.run("PROGRAM::pie", "../build/HOST::pie").having("pass") == {"build/PROGRAM::pie", "build/HOST::pie"}
    monkeypatch.chdir(user.path)
    run = user.run("-c", "tox.ini", "--rootdir", user.path, f"--hardening={tmp_path}", f"{tmp_path}/tool::pie")
    assert run.having("pass") == {f"{tmp_path}/tool::pie"}


@WORKERS
def test_narrowed_by_k_and_by_last_failed(user: User, workers: tuple[str, ...]) -> None:
    user.build("broken", "bind-now")
    run = user.run("broken/PROGRAM", "-k", "relro or pie", *workers, subprocess=True)
    assert run.verdicts == {"broken/PROGRAM::relro": "fail", "broken/PROGRAM::pie": "pass"}
    run = user.run("broken/PROGRAM", "--lf", *workers, subprocess=True)
    assert run.verdicts == {"broken/PROGRAM::relro": "fail"}


@pytest.mark.parametrize("check", ["bindnow", "pic"])
def test_check_that_the_file_has_not(user: User, check: str) -> None:
    user.build()
    result = user.pytest("--hardening", "build", f"build/PROGRAM::{check}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: not found: */build/PROGRAM::{check}"])


def test_damaged_file_by_name(user: User) -> None:
    build = user.build()
    (build / "cut.so").write_bytes((build / "libSHARED.so").read_bytes()[:5000])
    run = user.run("build/cut.so")
    assert set(run.errors) == {"build/cut.so"}
    assert run.verdicts == {}
    run.result.assert_outcomes(failed=1)


def test_other_files_stay_pytests_business(user: User) -> None:
    user.build()
    (user.path / "notes").write_text("!<arch>")
    result = user.pytest("--hardening", "build", "notes")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: not found: */notes"])


@WORKERS
def test_a_glob_that_the_shell_expanded(user: User, workers: tuple[str, ...]) -> None:
    """`--hardening build/*.so` arrives as `--hardening build/a.so build/b.so`: both are judged."""
    user.build("broken", "bind-now")
    files = ["broken/libSHARED.so", "broken/plugin.so"]
    options = ["--hardening-check", "bind-now", *workers]
    run = user.run("--hardening", *files, *options, subprocess=True)
    assert run.verdicts == {f"{file}::bind-now": "fail" for file in files}
    run = user.run("--hardening", "broken", files[1], *options, subprocess=True)  # once each, not twice
    assert len(run.verdicts) == 4
    run.result.assert_outcomes(failed=4)


@WORKERS
def test_ids_pick_and_plain_paths_are_judged_whole(user: User, workers: tuple[str, ...]) -> None:
    user.build()
    run = user.run(
        "--hardening", "build", "build/PROGRAM::pie", "build/HOST", "--hardening-check", "pie",
        "--hardening-check", "relro", *workers, subprocess=True,
    )  # fmt: skip
    assert set(run.verdicts) == {"build/PROGRAM::pie", "build/HOST::pie", "build/HOST::relro"}


@WORKERS
def test_named_file_that_no_required_check_applies_to(user: User, workers: tuple[str, ...]) -> None:
    build = user.build()
    pie = ["--hardening-check", "pie", *workers]
    for words in (["--hardening=build/PROGRAM", "--hardening=build/plugin.so"], ["build/PROGRAM", "build/plugin.so"]):
        run = user.run(*words, *pie, subprocess=True)
        run.result.assert_outcomes(passed=1)
        assert run.result.ret == pytest.ExitCode.OK
        reason = "none of the required checks applies to a file of kind module (pie)"
        run.result.stdout.fnmatch_lines([f"- build/plugin.so: {reason}"])
        run.result.stdout.fnmatch_lines(["*1 passed, 1 not applicable in*"])
    alone = user.run("build/plugin.so", *pie, subprocess=True)
    alone.result.assert_outcomes(failed=1)
    alone.result.stdout.fnmatch_lines(["build/plugin.so: nothing in it that the required checks apply to (pie)"])
    run = user.run("--hardening", "build", *pie, subprocess=True)
    run.result.assert_outcomes(passed=2)
    run.result.stdout.fnmatch_lines(["left out: files that no required check applies to (4), objects (10)"])
    subprocess.run(["objcopy", "--only-keep-debug", build / "PROGRAM", build / "PROGRAM.debug"], check=True)
    debug = "build/PROGRAM.debug"
    for words in (["--hardening=build/PROGRAM", f"--hardening={debug}"], ["build/PROGRAM", debug]):
        run = user.run(*words, *pie, subprocess=True)
        run.result.assert_outcomes(passed=1, failed=1)
        assert run.errors == {debug: "a detached debug file: judge the file it was split from"}


@WORKERS
def test_names_that_pytest_takes_for_something_else(user: User, workers: tuple[str, ...]) -> None:
    build = user.build("broken", "bind-now")
    names = ["x[1].so", "y::z.so"]
    for name in names:
        shutil.copy(build / "libSHARED.so", user.path / name)
    gate = [f"--hardening={name}" for name in names]
    failing = {f"{name}::{check}" for name in names for check in ("relro", "bind-now")}
    run = user.run(*gate, *workers, subprocess=True)
    assert run.having("fail") == failing
    again = user.run(*gate, "--lf", *workers, subprocess=True)
    assert set(again.verdicts) == failing
    picked = user.run(*gate, "-k", "x[1].so and relro", *workers, subprocess=True)
    assert picked.verdicts == {"x[1].so::relro": "fail"}
    ids = [line.split(" ")[1] for line in run.result.outlines if line.startswith("FAILED")]
    assert len(ids) == len(failing)
    for printed in ids:
        refused = user.pytest(printed, *workers, subprocess=True)
        assert refused.ret == pytest.ExitCode.USAGE_ERROR
        line = next(line for line in refused.errlines if "; write " in line)
        told = user.run(*shlex.split(line.partition("; write ")[2]), *workers, subprocess=True)
        assert set(told.verdicts) == {printed.replace(r":\x3a", "::")}
    whole = user.pytest(names[0])
    whole.stderr.fnmatch_lines(["ERROR: *; write --hardening='x[[]1].so'"])
