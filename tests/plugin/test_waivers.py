"""Waivers in a run: what fails no more, what is told of it, and which of them fail the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Run, User

X = "build/libX.so::stack-protector"
Y = "build/libY.so::relro"
PROFILE = 'profile = "kms-6.6"'
WAIVED_Y = """
[[waiver]]
path = "build/libY.so"
checks = ["relro"]
reason = "loaded by the legacy host only"
expires = 2999-01-01
owner = "alice"
"""
COPY = """
[[waiver]]
path = "build/*.so"
checks = ["stack-protector"]
function = "copy"
reason = "bounded by the caller"
"""
GROW = COPY.replace("copy", "grow").replace("[[waiver]]", '[[waiver]]\nunit = "F.c"')
UNUSED = "*= hardening: unused waivers and rules =*"
FAILS = "a waiver that covers nothing fails the run: it would hide the next failure"
FAIL_EACH = "each of these fails the run (--hardening-strict)"


def decisions(run: Run) -> dict[str, str]:
    """What the policy decided, of what is not simply accepted."""
    return {
        f"{entry['path']}::{verdict['check']}": verdict["decision"]
        for entry in run.document["artifacts"]
        for verdict in entry["verdicts"]
        if verdict.get("decision") not in (None, "accepted", "skipped", "undecided")
    }


def verdict_in(document: dict[str, Any], name: str) -> dict[str, Any]:
    path, _, check = name.partition("::")
    return next(v for e in document["artifacts"] if e["path"] == path for v in e["verdicts"] if v["check"] == check)


def test_waived_failure_is_expected_and_told_everywhere(legacy: User) -> None:
    legacy.policy(PROFILE, WAIVED_Y, COPY, GROW)
    run = legacy.run("--hardening", "build", "--junitxml", "junit.xml", "-rx")
    assert run.result.ret == pytest.ExitCode.OK
    assert decisions(run) == {X: "waived", Y: "waived"}
    assert run.verdicts[Y] == "fail"
    reason = "loaded by the legacy host only (waiver[0] of hardening.toml, until 2999-01-01, alice)"
    assert verdict_in(run.document, Y)["reason"] == reason
    run.result.stdout.fnmatch_lines(
        [
            "artifact       relro   stack-protector  fortify",
            "build/libX.so  ok      waived           [?]",
            "build/libY.so  waived  ok               [?]",
            f"waived build/libY.so: relro: {reason.replace('[', '[[]')}",
            "2 artifacts: 2 ok, 2 unknown (?), 2 waived",
            f"XFAIL {Y} - waived: loaded by the legacy host only*",
        ]
    )
    junit = (legacy.path / "junit.xml").read_text("utf-8")
    assert '<property name="hardening_decision" value="waived"' in junit
    assert f'<property name="hardening_reason" value="{reason}"' in junit


def test_runxfail_shows_what_is_waived(legacy: User) -> None:
    legacy.policy(PROFILE, WAIVED_Y, COPY, GROW)
    result = legacy.pytest("--hardening", "build", "--runxfail")
    result.stdout.fnmatch_lines([f"FAILED {X} - *", f"FAILED {Y} - *"])


def test_only_what_is_not_covered_is_named(legacy: User) -> None:
    legacy.policy(PROFILE, WAIVED_Y, COPY)
    result = legacy.pytest("--hardening", "build")
    result.stdout.fnmatch_lines(
        [
            "build/libX.so: stack-protector: F.c: grow() besides what is accepted",
            "  waiver[[]1] of hardening.toml covers a part of it",
            "  fix: compile with -fstack-protector-strong",
            "*- hardening: to accept a failure, give a reason for it in hardening.toml -*",
            "[[][[]waiver]]",
            'path = "build/libX.so"',
            'checks = [[]"stack-protector"]',
            'unit = "F.c"',
            'function = "grow"',
            'reason = ""',
        ]
    )
    result.stdout.no_fnmatch_line(UNUSED)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_what_is_pasted_holds_once_it_has_a_reason(legacy: User) -> None:
    lines = legacy.pytest("--hardening", "build", "-v").stdout.lines
    start = next(number for number, line in enumerate(lines) if "to accept a failure" in line)
    pasted = "\n".join(
        line for line in lines[start + 1 :] if line.startswith(("[[", "path", "checks", "unit", "reason"))
    )
    legacy.policy(PROFILE, pasted)
    refused = legacy.pytest("--hardening", "build")
    refused.stderr.fnmatch_lines(["*hardening.toml: waiver[[]0].reason: *"])
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    legacy.policy(PROFILE, pasted.replace('reason = ""', 'reason = "known"'))
    assert legacy.pytest("--hardening", "build").ret == pytest.ExitCode.OK


def test_policy_in_pyproject_gets_a_waiver_for_there(legacy: User) -> None:
    (legacy.path / "hardening.toml").unlink()
    (legacy.path / "pyproject.toml").write_text(f"[tool.pytest-hardening]\n{PROFILE}\n", "utf-8")
    legacy.pytest("--hardening", "build").stdout.fnmatch_lines(
        ["*give a reason for it in pyproject.toml*", "[[][[]tool.pytest-hardening.waiver]]"]
    )


def test_expired_waiver_fails_and_says_since_when(legacy: User) -> None:
    legacy.policy(PROFILE, WAIVED_Y.replace("2999-01-01", "2026-01-01"), COPY, GROW)
    result = legacy.pytest("--hardening", "build")
    result.stdout.fnmatch_lines(
        [
            "  waiver[[]0] of hardening.toml expired on 2026-01-01: loaded by the legacy host only, alice",
            f"FAILED {Y} - *",
        ]
    )
    result.stdout.no_fnmatch_line(UNUSED)
    result.stdout.no_fnmatch_line("*to accept a failure*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_waiver_that_covers_nothing_fails_the_run(legacy: User, workers: list[str]) -> None:
    nothing = '[[waiver]]\npath = "build/libX.so"\nchecks = ["relro"]\nreason = "old"'
    legacy.policy(PROFILE, nothing, WAIVED_Y, COPY, GROW)
    result = legacy.pytest("--hardening", "build", *workers)
    result.stdout.fnmatch_lines(
        [UNUSED, "hardening.toml: waiver[[]0]: build/libX.so, relro: covers nothing that falls short; remove it", FAILS]
    )
    result.stdout.no_fnmatch_line("*waiver[[]1]: *")
    result.assert_outcomes(xfailed=2, passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


NARROWED = [
    ["-k", "libX and relro"],  # one of the two checks
    ["-k", "libX and not relro"],
    ["--deselect", "build/libX.so::fortify"],
    ["--hardening-check", "relro"],
    ["--collect-only"],
]


@pytest.mark.parametrize("arguments", NARROWED)
def test_waiver_is_not_unused_where_not_all_was_judged(legacy: User, arguments: list[str]) -> None:
    some = '[[waiver]]\npath = "build/libX.so"\nchecks = ["relro", "fortify"]\nreason = "old"'
    legacy.policy(PROFILE, some, WAIVED_Y, COPY, GROW)
    legacy.pytest("--hardening", "build", *arguments).stdout.no_fnmatch_line(UNUSED)


def test_one_item_or_one_file_tells_nothing_of_a_wide_waiver(legacy: User) -> None:
    legacy.policy(PROFILE, WAIVED_Y.replace("libY", "lib*"), COPY, GROW)
    for arguments in (["--hardening", "build", "build/libX.so::relro"], ["--hardening", "build/libX.so"]):
        result = legacy.pytest(*arguments)
        result.stdout.no_fnmatch_line(UNUSED)
        assert result.ret == pytest.ExitCode.OK


def test_last_failed_tells_nothing_of_what_was_not_run(legacy: User) -> None:
    nothing = '[[waiver]]\npath = "build/libX.so"\nchecks = ["relro"]\nreason = "old"'
    legacy.policy(PROFILE, COPY, nothing)
    legacy.pytest("--hardening", "build").stdout.fnmatch_lines([UNUSED])
    result = legacy.pytest("--hardening", "build", "--lf")
    result.stdout.no_fnmatch_line(UNUSED)
    result.assert_outcomes(failed=2, deselected=4)


def test_waiver_of_a_file_that_cannot_be_judged_is_not_unused(legacy: User) -> None:
    (legacy.path / "build" / "libY.so").write_bytes(b"\x7fELF")
    legacy.policy(PROFILE, WAIVED_Y, COPY, GROW)
    result = legacy.pytest("--hardening", "build")
    result.stdout.no_fnmatch_line(UNUSED)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_unknown_that_fails_can_be_waived(user: User, bitcode_archive: Callable[[Path], None]) -> None:
    bitcode_archive(user.path / "lto.a")
    waiver = '[[waiver]]\npath = "lto.a(*.o)"\nchecks = ["pic"]\nreason = "judged after the link"'
    user.policy('profile = "recommended"\nunknown = "fail"', waiver)
    run = user.run("--hardening", "lto.a", "--hardening-check", "pic")
    assert decisions(run) == {"lto.a::pic": "waived"}
    run.result.stdout.fnmatch_lines(["lto.a     waived", "1 artifact: 1 waived"])
    assert run.result.ret == pytest.ExitCode.OK


def test_unknown_that_is_tolerated_needs_no_waiver_and_uses_none(
    user: User, bitcode_archive: Callable[[Path], None]
) -> None:
    bitcode_archive(user.path / "lto.a")
    user.policy('[[waiver]]\npath = "lto.a"\nchecks = ["pic"]\nreason = "judged after the link"')
    result = user.pytest("--hardening", "lto.a", "--hardening-check", "pic")
    result.stdout.no_fnmatch_line(UNUSED)
    assert result.ret == pytest.ExitCode.OK


def test_members_of_an_archive_are_waived_by_name(user: User) -> None:
    user.build("build", "pic-member")
    waiver = '[[waiver]]\npath = "build/AB.a(B.o)"\nchecks = ["pic"]\nreason = "linked into programs only"'
    user.policy(waiver)
    run = user.run("--hardening", "build", "--hardening-check", "pic")
    assert decisions(run) == {"build/AB.a::pic": "waived", "build/libSHARED.so::pic": "rejected"}
    user.policy(waiver.replace("B.o", "A.o"))
    other = user.run("--hardening", "build", "--hardening-check", "pic")
    assert decisions(other)["build/AB.a::pic"] == "rejected"
    other.result.stdout.fnmatch_lines(["hardening.toml: waiver[[]0]: build/AB.a(A.o), pic: covers nothing*"])


def test_report_is_the_same_from_workers(legacy: User) -> None:
    legacy.policy(PROFILE, WAIVED_Y, COPY, GROW)
    alone = legacy.run("--hardening", "build")
    spread = legacy.run("--hardening", "build", "-n", "2")
    assert json.dumps(alone.document) == json.dumps(spread.document)


IN_VAIN = """
exclude = ["build/left_*", "build/third_party/*"]
checks.fortify = false
[[artifact]]
path = "build/plugins/*"
unknown = "fail"
[[artifact]]
path = ["build/libY.so", "build/libZ.so"]
kind = "shared-library"
unknown = "fail"
[[artifact]]
path = "build/libX.so"
kind = "pie"
unknown = "fail"
[[artifact]]
kind = "pie"
unknown = "fail"
[[waiver]]
path = ["build/old.so", "build/libX.so", "*/codecs/*.a(dct*.o)", "elsewhere/*.so"]
checks = ["relro", "stack-protector"]
reason = "old"
[[waiver]]
path = "build/libX.so"
checks = ["pie"]
reason = "not judged by it"
"""
NOTES = [
    "hardening.toml: exclude[1]: build/third_party/*: matches no file that was found",
    "hardening.toml: artifact[0].path: build/plugins/*: matches no file that was judged",
    "hardening.toml: artifact[1].path[1]: build/libZ.so: matches no file that was judged and is of kind shared-library",
    "hardening.toml: artifact[2].path: build/libX.so: matches no file that was judged and is of kind pie",
    "hardening.toml: waiver[0].path[0]: build/old.so: matches no file that was judged",
    "hardening.toml: waiver[0].path[2]: */codecs/*.a(dct*.o): matches no file that was judged",
    "hardening.toml: waiver[1]: build/libX.so: no file that it matches is judged by pie",
]


@pytest.fixture
def in_vain(legacy: User) -> User:
    """A policy of which some globs match nothing."""
    (legacy.path / "build" / "left_out.so").write_bytes((legacy.path / "build" / "libX.so").read_bytes())
    legacy.policy(PROFILE, IN_VAIN, WAIVED_Y)
    return legacy


def notes(result: pytest.RunResult) -> list[str]:
    """The lines on what is unused."""
    return [line for line in result.outlines if line.startswith("hardening.toml: ")]


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_what_matches_nothing_is_told_and_fails_only_when_strict(in_vain: User, workers: list[str]) -> None:
    result = in_vain.pytest("--hardening", "build", *workers)
    assert notes(result) == NOTES
    result.stdout.fnmatch_lines([UNUSED])
    result.assert_outcomes(xfailed=2, passed=2)
    assert result.ret == pytest.ExitCode.OK
    strict = in_vain.pytest("--hardening", "build", "--hardening-strict", *workers)
    assert notes(strict) == NOTES
    strict.stdout.fnmatch_lines([UNUSED, FAIL_EACH])
    strict.assert_outcomes(xfailed=2, passed=2)
    assert strict.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hardening", "build", "-k", "relro"],
        ["--hardening", "build", "-k", "relro", "-n", "2"],
        ["--hardening", "build", "--deselect", "build/libX.so::relro"],
        ["--hardening", "build/libX.so"],
        ["--hardening", "build", "build/libX.so::relro"],
        ["build/libX.so"],
    ],
)
def test_what_matches_nothing_is_not_told_of_a_part(in_vain: User, arguments: list[str]) -> None:
    result = in_vain.pytest(*arguments, "--hardening-strict")
    assert notes(result) == []
    assert result.ret == pytest.ExitCode.OK


def test_other_checks_say_nothing_of_what_the_policy_demands(in_vain: User) -> None:
    for arguments in (["--hardening-check", "relro"], ["--hardening-profile", "kms-6.6"]):
        assert notes(in_vain.pytest("--hardening", "build", *arguments)) == NOTES[:-1]
    (in_vain.path / "build" / "left_out.so").unlink()
    (in_vain.path / "build").rename(in_vain.path / "old")
    in_vain.pytest("--hardening", "old", "--hardening-report", "old.json")
    (in_vain.path / "old").rename(in_vain.path / "build")
    result = in_vain.pytest("--hardening", "build", "--hardening-compare", "old.json", "--hardening-strict")
    assert notes(result) == []
    assert result.ret == pytest.ExitCode.OK


def test_last_failed_says_nothing_of_what_it_does_not_run(in_vain: User) -> None:
    in_vain.policy(PROFILE, IN_VAIN)
    in_vain.pytest("--hardening", "build").assert_outcomes(failed=1, xfailed=1, passed=2)
    assert notes(in_vain.pytest("--hardening", "build", "--lf", "--hardening-strict")) == []


def test_wide_waiver_is_not_unused_where_files_were_named(legacy: User) -> None:
    legacy.policy(PROFILE, COPY, GROW, WAIVED_Y.replace("build/libY.so", "*.so"))
    result = legacy.pytest("--hardening", "build/libX.so")
    result.stdout.no_fnmatch_line(UNUSED)
    assert result.ret == pytest.ExitCode.OK


def test_units_of_linked_files_are_not_in_the_path(legacy: User) -> None:
    legacy.policy(
        PROFILE, WAIVED_Y, COPY.replace("build/*.so", "build/libX.so(F.c)").replace('function = "copy"\n', "")
    )
    result = legacy.pytest("--hardening", "build")
    result.stdout.fnmatch_lines(["hardening.toml: waiver[[]1]: build/libX.so(F.c), *: covers nothing*", FAILS])
    result.assert_outcomes(failed=1, xfailed=1, passed=2)
