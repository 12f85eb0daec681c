"""`pytest --hardening NEW --hardening-compare OLD`: what fails, what is judged as usual, what is said."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.reports.document import write_document

if TYPE_CHECKING:
    from tests.plugin.conftest import User

COMPARE = ("--hardening", "build", "--hardening-compare", "old")
LOST = {
    f"build/{name}::keeps-{check}"
    for name in ("HOST", "PROGRAM", "libSHARED.so", "plugin.so")
    for check in ("relro", "bind-now")
}


def failed(result: pytest.RunResult) -> set[str]:
    """The ids in the short summary."""
    return {line.split(" ")[1] for line in result.outlines if line.startswith("FAILED ")}


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_what_was_lost_is_red(user: User, workers: tuple[str, ...]) -> None:
    user.build("old")
    user.build("build", "bind-now")
    run = user.run(*COMPARE, *workers, subprocess=bool(workers))
    assert failed(run.result) == LOST
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    run.result.stdout.fnmatch_lines(
        ["build/PROGRAM lost bind-now: not bound at start-up: *", "  fix: link with -Wl,-z,now", "  dynamic section: *"]
    )
    run.result.stdout.fnmatch_lines(["=* hardening: compared with old =*", "46 verdicts compared: 8 lost"])
    if not workers:
        run.result.stdout.fnmatch_lines(["hardening: compared with old"])
    assert run.verdicts["build/PROGRAM::bind-now"] == "fail"  # so that the report serves as the next OLD


def test_what_failed_before_is_green(user: User) -> None:
    user.build("old", "bind-now")
    user.build("build", "bind-now")
    run = user.run(*COMPARE)
    assert run.result.ret == pytest.ExitCode.OK
    run.result.stdout.fnmatch_lines(
        ["failing as before, no loss: build/HOST (bind-now), build/HOST (relro), *", "46 verdicts compared: no change"]
    )
    run.result.stdout.fnmatch_lines(["6 artifacts: *, 8 already in old"])
    run.result.stdout.no_fnmatch_line("*baseline*")
    told = {(v["decision"], v["reason"]) for e in run.document["artifacts"] for v in e["verdicts"] if "decision" in v}
    assert ("unchanged", "already in old") in told
    verbose = user.pytest(*COMPARE, "-v", "-n2", subprocess=True)
    verbose.stdout.fnmatch_lines(["build/PROGRAM * as before *as before*", "6 artifacts: *, 8 already in old"])
    verbose.stdout.no_fnmatch_line("*known*")
    better = user.pytest("--hardening", "old", "--hardening-compare", "build")
    assert better.ret == pytest.ExitCode.OK


def test_what_was_gained_is_said(user: User) -> None:
    user.build("old", "bind-now")
    user.build("build")
    result = user.pytest(*COMPARE)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["build/PROGRAM gained bind-now", "46 verdicts compared: 8 gained"])


def test_another_unit_of_a_file_that_failed_already(user: User) -> None:
    user.build("old", "stack-protector-unit")
    user.build("build", "stack-protector")
    result = user.pytest(*COMPARE, "--hardening-check", "stack-protector")
    assert "build/PROGRAM::keeps-stack-protector" in failed(result)
    result.stdout.fnmatch_lines(["build/PROGRAM lost stack-protector in * as well: *"])
    text = result.stdout.str()
    line = next(line for line in text.splitlines() if line.startswith("build/PROGRAM lost stack-protector"))
    assert "F.c" not in line.partition(" as well")[0]


def test_added_and_removed(user: User) -> None:
    old, new = user.build("old"), user.build("build")
    shutil.copy(old / "plugin.so", old / "gone.so")
    shutil.copy(user.build("broken", "relro") / "plugin.so", new / "libadded.so")
    result = user.pytest(*COMPARE)
    assert failed(result) == {"build/libadded.so::relro"}
    result.stdout.fnmatch_lines(["removed: gone.so", "added, judged by the profile: build/libadded.so"])
    for workers in ((), ("-n2",)):
        strict = user.pytest(*COMPARE, "--hardening-strict", *workers, "-k", "gone or plugin", subprocess=True)
        assert failed(strict) == {"gone.so::kept"}
        strict.stdout.fnmatch_lines(["gone.so removed: it is in old only"])


def test_another_version_of_a_library(user: User) -> None:
    old, new = user.build("old"), user.build("build", "relro")
    (old / "libSHARED.so").rename(old / "libSHARED.so.1.2")
    (new / "libSHARED.so").rename(new / "libSHARED.so.1.3")
    result = user.pytest(*COMPARE, "--hardening-check", "relro", "-k", "SHARED")
    assert failed(result) == {"build/libSHARED.so.1.3::keeps-relro"}


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_a_report_as_the_old_build(user: User, workers: tuple[str, ...]) -> None:
    user.build("release")
    user.run("--hardening", "release", "--hardening-check", "relro", "--hardening-check", "pie")
    (user.path / "report.json").rename(user.path / "old.json")
    user.build("build", "bind-now")
    words = ("--hardening", "build", "--hardening-compare", "old.json", *workers)
    result = user.pytest(*words, subprocess=bool(workers))
    names = ("HOST", "PROGRAM", "libSHARED.so", "plugin.so")
    # the old build was not judged by bind-now: the profile decides, as for a new file
    assert failed(result) == {f"build/{name}::{item}" for name in names for item in ("keeps-relro", "bind-now")}
    result.stdout.fnmatch_lines(["=* hardening: compared with old.json =*", "6 verdicts compared: 4 lost"])


def test_one_file(user: User) -> None:
    old, new = user.build("old"), user.build("build", "relro")
    (new / "PROGRAM").rename(new / "PROGRAM2")
    result = user.pytest("--hardening", "build/PROGRAM2", "--hardening-compare", "old/PROGRAM")
    assert failed(result) == {"build/PROGRAM2::keeps-relro"}
    shutil.copy(new / "PROGRAM2", new / "PROGRAM")
    result = user.pytest("--hardening", "build/PROGRAM", "--hardening-compare", old, "--hardening-strict")
    assert failed(result) == {"build/PROGRAM::keeps-relro"}  # the rest of the old build was not asked for
    result.stdout.no_fnmatch_line("removed: *")


def test_selecting_items(user: User) -> None:
    user.build("old")
    user.build("build", "bind-now")
    user.pytest(*COMPARE, "-k", "bind-now and PROGRAM").assert_outcomes(failed=1, deselected=45)
    user.pytest(*COMPARE, "build/PROGRAM::keeps-bind-now").assert_outcomes(failed=1)
    user.pytest(*COMPARE)
    assert failed(user.pytest(*COMPARE, "--lf")) == LOST
    user.pytest(*COMPARE, "--lf").assert_outcomes(failed=8, deselected=38)
    user.pytest(*COMPARE, "-k", "keeps").assert_outcomes(failed=8, passed=38, skipped=0)
    user.pytest(*COMPARE, "-m", "not hardening").assert_outcomes(deselected=46)


def test_junitxml(user: User) -> None:
    user.build("old")
    user.build("build", "bind-now")
    user.pytest(*COMPARE, "--junitxml=junit.xml", "-n2", subprocess=True)
    cases = ElementTree.parse(user.path / "junit.xml").iter("testcase")  # noqa: S314 - it is our own
    found = {f"{case.get('classname')}::{case.get('name')}" for case in cases if case.find("failure") is not None}
    assert found == {name.replace("/", ".", 1) for name in LOST}


def test_no_longer_provable(user: User) -> None:
    user.build("old")
    user.build("build")
    for name in ("old", "build"):
        for path in (user.path / name).iterdir():
            if path.name != "PROGRAM":
                path.unlink()
    words = (*COMPARE, "--hardening-check", "optimization")
    assert user.pytest(*words).ret == pytest.ExitCode.OK
    user.pytester.run("strip", user.path / "build/PROGRAM")
    result = user.pytest(*words)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["build/PROGRAM: optimization pass -> unknown (no longer provable): *"])
    result.stdout.fnmatch_lines(["1 verdict compared: 1 no longer provable"])
    assert failed(user.pytest(*words, "--hardening-strict")) == {"build/PROGRAM::keeps-optimization"}


def test_files_that_cannot_be_read(user: User) -> None:
    old, new = user.build("old"), user.build("build")
    (new / "plugin.so").write_bytes((new / "plugin.so").read_bytes()[:700])
    (old / "libSHARED.so").write_bytes((old / "libSHARED.so").read_bytes()[:700])
    result = user.pytest(*COMPARE, "--hardening-check", "relro")
    assert failed(result) == {"build/plugin.so::artifact", "build/libSHARED.so::keeps-relro"}
    result.stdout.fnmatch_lines(["build/libSHARED.so: not readable in the old build: *"])


def test_nothing_in_common_is_red(user: User) -> None:
    user.build("old")
    new = user.build("build")
    for path in list(new.iterdir()):
        path.rename(new / f"other-{path.name}") if path.name == "PROGRAM" else path.unlink()
    for workers in ((), ("-n2",)):
        result = user.pytest(*COMPARE, *workers, subprocess=True)
        assert failed(result) == {"old::kept"}
        result.stdout.fnmatch_lines(["old no file of it is in the new build: nothing to compare"])


def test_ini_option(user: User) -> None:
    user.build("old")
    user.build("build", "bind-now")
    user.pytester.makeini("[pytest]\nhardening_paths = build\nhardening_compare = old\n")
    assert failed(user.pytest()) == LOST
    (user.path / "report.json").unlink(missing_ok=True)


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
@pytest.mark.parametrize(
    ("old", "message"),
    [
        ("nowhere", "hardening: nowhere: does not exist"),
        ("half.json", "hardening: half.json: damaged JSON: it ends early"),
        ("later.json", "hardening: later.json: a report of schema version 2; this version reads 1"),
        ("empty", "hardening: empty: a folder without linked ELF files or static archives"),
    ],
)
def test_wrong_old_builds_are_usage_errors(user: User, workers: tuple[str, ...], old: str, message: str) -> None:
    user.build("build")
    (user.path / "empty").mkdir()
    with open(user.path / "half.json", "w") as stream:
        write_document([], stream)
    text = (user.path / "half.json").read_text()
    (user.path / "half.json").write_text(text[:-4])
    (user.path / "later.json").write_text(text.replace('"schema_version": 1', '"schema_version": 2'))
    result = user.pytest("--hardening", "build", "--hardening-compare", old, *workers, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}*"])


def test_an_old_build_alone_is_a_usage_error(user: User) -> None:
    result = user.pytest("--hardening-compare", "old")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--hardening-compare OLD needs --hardening NEW*"])


def test_an_old_build_outside_the_project(user: User, tmp_path_factory: pytest.TempPathFactory) -> None:
    user.pytester.makeini("[pytest]\n")
    user.build("build", "bind-now")
    old: Path = tmp_path_factory.mktemp("release") / "old"
    user.build("old").rename(old)
    assert failed(user.pytest("--hardening=build", f"--hardening-compare={old}")) == LOST
