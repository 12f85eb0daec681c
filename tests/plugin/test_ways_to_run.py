"""However pytest is run, the outcomes and the JSON report are the same."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import User


@pytest.fixture
def mixed(user: User, bitcode_archive: Callable[[Path], None]) -> User:
    """A user whose folder `out` has every outcome in it, and a damaged file."""
    user.build("out/good")
    user.build("out/bad", "bind-now")
    (user.path / "out/cut.so").write_bytes((user.path / "out/good/libSHARED.so").read_bytes()[:5000])
    bitcode_archive(user.path / "out/lto.a")
    user.pytester.makepyfile(test_it="def test_it(): pass")
    return user


def outcomes(result: pytest.RunResult) -> dict[str, int]:
    return {name: number for name, number in result.parseoutcomes().items() if name not in ("warnings", "deselected")}


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n0",),
        ("-n2",),
        ("-n2", "--dist=loadfile"),
        ("-n2", "-v"),
        ("-p", "no:cacheprovider"),
        ("-v",),
        ("-vv", "-rA"),
        ("--junitxml=junit.xml",),
        ("-W", "error"),
        ("-k", "not test_it or test_it"),
        ("--lf",),
        ("--ff", "--nf"),
        ("-p", "no:terminal"),
    ],
    ids=" ".join,
)
def test_same_outcomes_and_report(mixed: User, arguments: tuple[str, ...]) -> None:
    plain = mixed.run("--hardening", "out")
    assert {"pass", "fail", "unknown"} == set(plain.verdicts.values())
    assert set(plain.errors) == {"out/cut.so"}
    mixed.pytest("--cache-clear", "--co", "-q")
    run = mixed.run("--hardening", "out", *arguments, subprocess=True)
    assert run.document == plain.document
    assert run.result.ret == plain.result.ret == pytest.ExitCode.TESTS_FAILED
    if "no:terminal" not in arguments:
        assert outcomes(run.result) == outcomes(plain.result)
        assert outcomes(plain.result)["passed"] == 1 + len(plain.having("pass"))


def test_quiet(mixed: User) -> None:
    plain = mixed.run("--hardening", "out")
    run = mixed.run("--hardening", "out", "-q")
    assert run.document == plain.document
    assert outcomes(run.result) == outcomes(plain.result)


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_last_failed_runs_the_failed_alone(mixed: User, workers: tuple[str, ...]) -> None:
    arguments = ["--hardening", "out", "--hardening-check", "bind-now", *workers]
    first = mixed.run(*arguments, subprocess=True)
    failed = first.having("fail")
    assert len(failed) == 4
    again = mixed.run(*arguments, "--lf", subprocess=True)
    assert set(again.verdicts) == failed
    assert set(again.errors) == {"out/cut.so"}
    shutil.rmtree(mixed.path / "out/bad")
    (mixed.path / "out/cut.so").unlink()
    mixed.build("out/bad")
    assert mixed.run(*arguments, "--lf", subprocess=True).result.ret == pytest.ExitCode.OK


def test_exitfirst_reports_what_was_judged(mixed: User) -> None:
    run = mixed.run("--hardening", "out/bad", "-x", "-k", "bind-now")
    assert run.verdicts == {"out/bad/HOST::bind-now": "fail"}
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    assert outcomes(run.result) == {"failed": 1}


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_collect_only_lists_and_writes_no_report(mixed: User, workers: tuple[str, ...]) -> None:
    report = mixed.path / "old.json"
    report.write_text("{}")
    result = mixed.pytest(
        "--hardening", "out/good", "--collect-only", "-q", "--hardening-report", report, *workers, subprocess=True
    )
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["test_it.py::test_it", "out/good/AB.a::pic", "out/good/plugin.so::fortify"])
    assert report.read_text() == "{}"


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_junit_carries_the_verdicts(mixed: User, workers: tuple[str, ...]) -> None:
    run = mixed.run("--hardening", "out", "--junitxml", "junit.xml", *workers, subprocess=True)
    cases: dict[str, str] = {}
    for case in ElementTree.parse(mixed.path / "junit.xml").iter("testcase"):  # noqa: S314 - our own file
        found = {item.attrib["name"]: item.attrib["value"] for item in case.iter("property")}
        if "hardening_outcome" in found:
            data = json.loads(found["hardening_verdict"])
            (verdict,) = data["verdicts"]
            assert verdict["summary"] == found["hardening_summary"]
            cases[f"{data['path']}::{verdict['check']}"] = found["hardening_outcome"]
            assert (case.find("failure") is not None) == (verdict["outcome"] == "fail")
            assert (case.find("skipped") is not None) == (verdict["outcome"] == "unknown")
    assert cases == run.verdicts


def test_worker_count_does_not_change_what_is_printed(mixed: User) -> None:
    def table(result: pytest.RunResult) -> list[str]:
        lines = result.outlines
        start = next(index for index, line in enumerate(lines) if "= hardening: " in line)
        stop = next(index for index, line in enumerate(lines) if index > start and line.startswith("="))
        return lines[start:stop]

    plain = table(mixed.pytest("--hardening", "out", subprocess=True))
    assert any(line.startswith("left out: objects (20)") for line in plain)
    assert table(mixed.pytest("--hardening", "out", "-n2", subprocess=True)) == plain
