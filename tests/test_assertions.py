"""The assertions: each returns the verdict, or fails with all of it as the message."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pytest_hardening
from pytest_hardening import (
    ArtifactError,
    Kind,
    NotHardened,
    Outcome,
    PolicyError,
    Report,
    Verdict,
    assert_bind_now,
    assert_fortify,
    assert_hardened,
    assert_no_rpath,
    assert_pic,
    assert_pie,
    assert_relro,
    inspect,
)
from pytest_hardening.fixtures import CompileC, SampleProject

# not those that run a program, which tests/runtime is about
OTHERS = {"assert_hardened", "assert_stops", "assert_goes_through"}
ALL = [name for name in pytest_hardening.__all__ if name.startswith("assert_") and name not in OTHERS]
ON_OBJECTS = ["assert_pic", "assert_nx_stack", "assert_stack_protector", "assert_fortify", "assert_cf_protection"]
# assertion, BREAK= of the sample project, a product that falls short
BREAKS = [
    ("assert_pie", "pie-link", "PROGRAM"),
    ("assert_pic", "pic-member", "AB.a"),
    ("assert_no_text_relocations", "pic-member", "libSHARED.so"),
    ("assert_relro", "relro", "PROGRAM"),
    ("assert_bind_now", "bind-now", "libSHARED.so"),
    ("assert_nx_stack", "nx-stack", "PROGRAM"),
    ("assert_no_rwx_segments", "rwx-segments", "PROGRAM"),
    ("assert_no_rpath", "rpath", "PROGRAM"),
    ("assert_stack_protector", "stack-protector", "PROGRAM"),
    ("assert_fortify", "fortify", "PROGRAM"),
    ("assert_cf_protection", "cf-protection", "EF.a"),
]


@pytest.fixture
def unknown(tmp_path: Path) -> Path:
    """An archive of LLVM bitcode: every check that applies to objects says unknown."""
    header = b"unit.o/".ljust(16) + b"0".ljust(12) + b"0".ljust(6) + b"0".ljust(6) + b"644".ljust(8) + b"4".ljust(10)
    path = tmp_path / "lto.a"
    path.write_bytes(b"!<arch>\n" + header + b"`\nBC\xc0\xde")
    return path


def test_every_assertion_has_a_break() -> None:
    assert sorted(name for name, _, _ in BREAKS) == sorted(ALL)


@pytest.mark.parametrize(("name", "break_", "product"), BREAKS, ids=[name for name, _, _ in BREAKS])
def test_passes_and_fails(sample_project: SampleProject, name: str, break_: str, product: str) -> None:
    assertion: Callable[..., Verdict] = getattr(pytest_hardening, name)
    verdict = assertion(sample_project() / product)
    assert isinstance(verdict, Verdict)
    assert verdict.outcome is Outcome.PASS
    with pytest.raises(NotHardened) as caught:
        assertion(str(sample_project(break_) / product), unknown="ignore")
    failed = inspect(sample_project(break_) / product, [verdict.check]).verdict(verdict.check)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{sample_project(break_) / product}: {failed.summary}"
    assert rest[-2:] == [f"  fix: {failed.remedy}", f"  why: python -m pytest_hardening explain {failed.check}"]
    assert failed.remedy
    assert all(str(evidence) in str(caught.value) for evidence in failed.evidence)


@pytest.mark.parametrize("name", ON_OBJECTS)
def test_unknown_fails_unless_ignored(unknown: Path, name: str) -> None:
    assertion = getattr(pytest_hardening, name)
    with pytest.raises(NotHardened, match=r"lto\.a: unknown: 1 of 1 members \(unit\.o\): LLVM bitcode"):
        assertion(unknown)
    assert assertion(unknown, unknown="ignore").outcome is Outcome.UNKNOWN
    with pytest.raises(PolicyError, match="unknown='Ignore': expected 'fail' or 'ignore'"):
        assertion(unknown, unknown="Ignore")


def test_check_that_does_not_apply_passes_and_says_why(sample_project: SampleProject) -> None:
    verdict = assert_pie(sample_project() / "libSHARED.so")
    assert verdict.outcome is Outcome.NOT_APPLICABLE
    assert verdict.summary


def test_parameters(sample_project: SampleProject, compile_c: CompileC) -> None:
    lazy = sample_project("bind-now") / "PROGRAM"
    assert assert_relro(lazy, full=False).outcome is Outcome.PASS
    with pytest.raises(NotHardened):
        assert_relro(lazy)
    archive = sample_project() / "EF.a"  # compiled with -fPIE
    assert assert_pic(archive).outcome is Outcome.PASS
    with pytest.raises(NotHardened):
        assert_pic(archive, shared_library=True)
    assert assert_no_rpath(sample_project("rpath") / "PROGRAM", allow=["/tmp/lib"]).outcome is Outcome.PASS
    program = sample_project() / "PROGRAM"
    assert assert_fortify(program, level=1).outcome is Outcome.PASS
    with pytest.raises(PolicyError, match=r"fortify\.level = 4: expected one of 1, 2, 3"):
        assert_fortify(program, level=4)


def test_paths_of_all_types(sample_project: SampleProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = sample_project() / "PROGRAM"
    (tmp_path / "link").symlink_to(program)
    monkeypatch.chdir(program.parent)
    for path in (program, str(program), "PROGRAM", "./PROGRAM", tmp_path / "link", path_like(program)):
        assert assert_pie(path).outcome is Outcome.PASS


def path_like(path: Path) -> os.PathLike[str]:
    """Some other path-like object."""

    class Like:
        def __fspath__(self) -> str:
            return str(path)

    return Like()


BAD: list[tuple[Any, str]] = [
    ("nope", "does not exist"),
    ("", "a folder, not an ELF file"),
    (".", "a folder, not an ELF file"),
    ("/dev/null", "not a regular file, not an ELF file"),
    ("/proc/self/mem", "empty file"),
    ("x" * 300, "cannot be opened: File name too long"),
    ("/etc/passwd/x", "cannot be opened: Not a directory"),
    ("nul\0byte", "cannot be opened: embedded null byte"),
]


@pytest.mark.parametrize(("path", "reason"), BAD, ids=["-".join(reason.split()) for _, reason in BAD])
def test_file_that_cannot_be_judged(path: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert inspect(path).artifact.error == reason
    assert inspect(path).artifact.kind is Kind.NOT_ELF
    with pytest.raises(ArtifactError, match=reason):
        assert_bind_now(path)
    with pytest.raises(ArtifactError, match=reason):
        assert_hardened(path)


def test_hardened_returns_the_report(sample_project: SampleProject) -> None:
    report = assert_hardened(sample_project() / "PROGRAM", profile="kms-6.7")
    assert isinstance(report, Report)
    assert {verdict.check for verdict in report.artifact.verdicts} >= {"pie", "relro", "bind-now"}
    assert report.verdict("pie").outcome is Outcome.PASS


def test_hardened_reports_all_failures_at_once(sample_project: SampleProject) -> None:
    program = sample_project("bind-now") / "PROGRAM"
    with pytest.raises(NotHardened) as caught:
        assert_hardened(program, profile="kms-6.7")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{program}: not hardened as kms-6.7 requires: relro, bind-now"
    assert [line for line in lines if line.startswith(str(program))][1:] == [
        f"{program}: partial RELRO: GOT slots stay writable",
        next(line for line in lines if "not bound at start-up" in line),
    ]
    assert sum(line.startswith("  fix: ") for line in lines) == 2
    assert_hardened(program, profile="kms-6.6")
    assert_hardened(program, checks=["pie", "nx-stack"])


def test_one_text_is_no_list(sample_project: SampleProject) -> None:
    with pytest.raises(PolicyError, match=r"allow='/opt/\*': expected a list of strings"):
        assert_no_rpath(sample_project("rpath") / "PROGRAM", allow="/opt/*")
    with pytest.raises(PolicyError, match="checks='relro': expected a list of strings"):
        assert_hardened(sample_project() / "PROGRAM", checks="relro")


def test_hardened_with_own_profile_and_wrong_names(sample_project: SampleProject, tmp_path: Path) -> None:
    program = sample_project() / "PROGRAM"
    (tmp_path / "ours.toml").write_text("[checks]\npie = {}\n")
    report = assert_hardened(program, profile=str(tmp_path / "ours.toml"))
    assert [verdict.check for verdict in report.artifact.verdicts] == ["pie"]
    with pytest.raises(PolicyError, match=r"unknown profile 'kms-6\.8'"):
        assert_hardened(program, profile="kms-6.8")
    with pytest.raises(PolicyError, match="unknown check 'relo'"):
        assert_hardened(program, checks=["relo"])


def test_hardened_treats_unknown_as_told(unknown: Path) -> None:
    cure = 'accept it with unknown="ignore"'
    with pytest.raises(NotHardened, match=rf"lto\.a: pic is unknown: 1 of 1 .*; {cure}\n"):
        assert_hardened(unknown, checks=["pic"])
    with pytest.raises(NotHardened, match=rf"lto\.a: unknown: pic, nx-stack; {cure}\n"):
        assert_hardened(unknown, checks=["pic", "nx-stack"])
    with pytest.raises(NotHardened, match=rf"lto\.a: not hardened: lto-bytecode; unknown: pic; {cure}\n"):
        assert_hardened(unknown, checks=["pic", "lto-bytecode"])
    assert assert_hardened(unknown, checks=["pic"], unknown="ignore").verdict("pic").outcome is Outcome.UNKNOWN


def test_inspect(sample_project: SampleProject) -> None:
    report = inspect(sample_project() / "AB.a", {"pic": {"destination": "shared-library"}, "nx-stack": {}})
    assert report.artifact.kind is Kind.ARCHIVE
    assert [member.member for member in report.members] == ["A.o", "B.o"]
    assert [verdict.check for verdict in report.artifact.verdicts] == ["pic", "nx-stack"]
    assert inspect(sample_project() / "PROGRAM").members == ()
    for checks in (["relo"], {"relro": {"levl": "full"}}, {"relro": {"level": "most"}}):
        with pytest.raises(PolicyError):
            inspect(sample_project() / "PROGRAM", checks)


def test_failure_reads_well_in_the_short_summary(pytester: pytest.Pytester, sample_project: SampleProject) -> None:
    lazy = sample_project("bind-now") / "PROGRAM"
    (pytester.path / "app").write_bytes(lazy.read_bytes())
    pytester.makepyfile(
        """
        from pytest_hardening import assert_bind_now, assert_fortify, assert_hardened

        def test_one(): assert_bind_now("app")
        def test_all(): assert_hardened("app")
        def test_profile(): assert_hardened("app", profile="kms-6.8")
        def test_level(): assert_fortify("app", level=9)
        """
    )
    result = pytester.runpytest_inprocess("-vv")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            '>   *assert_bind_now("app")',
            "E   pytest_hardening.NotHardened: app: not bound at start-up*",
            "E     fix: link with -Wl,-z,now",
            "E   pytest_hardening.NotHardened: app: not hardened as recommended requires: relro, bind-now",
            "E   pytest_hardening.PolicyError: unknown profile 'kms-6.8'; did you mean 'kms-6.7'?",
            "E   pytest_hardening.PolicyError: fortify.level = 9: expected one of 1, 2, 3",
            "FAILED test_*.py::test_one - pytest_hardening.NotHardened: app: not bound at start-up*",
            "FAILED test_*.py::test_all - pytest_hardening.NotHardened: app: not hardened as recommended requires*",
        ]
    )
    result.stdout.no_fnmatch_line("*site-packages*")
