"""hardening.toml in a project: real builds judged by it, in one process and in several."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC

from ..policy.test_document import MISTAKES, PLACES

if TYPE_CHECKING:
    from tests.plugin.conftest import User

WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
PRINT = '#include <stdio.h>\nint main(int n, char **v) { return printf("%d %s", n, v[0]); }'
HARDENED = ["-O2", "-fstack-protector-strong", "-fPIE"]
LINKED = ["-pie", "-Wl,-z,relro,-z,now"]


def policy(user: User, text: str, name: str = "hardening.toml") -> None:
    (user.path / name).write_text(text)


@WORKERS
def test_artifacts_by_glob_have_another_profile(user: User, workers: tuple[str, ...]) -> None:
    user.build()
    user.build("legacy", "bind-now")
    policy(user, 'profile = "kms-6.7"\n[[artifact]]\npath = "legacy/*"\nprofile = "kms-6.6"')
    run = user.run("--hardening", "build", "--hardening", "legacy", *workers, subprocess=True)
    assert run.result.ret == pytest.ExitCode.OK
    assert run.verdicts["build/PROGRAM::bind-now"] == "pass"
    assert "legacy/PROGRAM::bind-now" not in run.verdicts
    assert run.verdicts["legacy/PROGRAM::relro"] == "pass"  # partial, which is all that kms-6.6 wants
    profiles = {entry["path"]: entry["profile"] for entry in run.document["artifacts"]}
    assert profiles["build/PROGRAM"] == "kms-6.7"
    assert profiles["legacy/PROGRAM"] == profiles["legacy/EF.a"] == "kms-6.6"
    if not workers:
        run.result.stdout.fnmatch_lines(["hardening: policy hardening.toml, profile kms-6.7 (*"])
    without = user.run("--hardening", "legacy", "--hardening-profile", "kms-6.7", *workers, subprocess=True)
    assert {"legacy/PROGRAM::bind-now", "legacy/PROGRAM::relro"} <= without.having("fail")


@WORKERS
def test_a_check_that_is_not_demanded_of_musl_says_why(user: User, build: CompileC, workers: tuple[str, ...]) -> None:
    """Built without FORTIFY for both libraries: of glibc's it is demanded."""
    for name, compiler in (("musl", "musl-gcc"), ("glibc", "gcc")):
        path = build(PRINT, flags=HARDENED, link_flags=LINKED, compiler=compiler, name=name)
        (user.path / "build").mkdir(exist_ok=True)
        (user.path / "build" / name).write_bytes(path.read_bytes())
    (user.path / "ours.toml").write_text("[checks]\nfortify = {}\npie = {}")
    policy(
        user, 'profile = "ours.toml"\n[[when]]\nlibc = "musl"\nreason = "musl has no FORTIFY"\nchecks.fortify = false'
    )
    run = user.run("--hardening", "build", *workers, subprocess=True)
    assert run.verdicts == {
        "build/musl::pie": "pass",
        "build/musl::fortify": "not-applicable",
        "build/glibc::pie": "pass",
        "build/glibc::fortify": "fail",
    }
    run.result.stdout.fnmatch_lines(["- fortify: 1 artifact: not demanded: musl has no FORTIFY"])


def test_members_of_archives_are_targets_of_their_own(user: User) -> None:
    user.build(break_="stack-protector")
    rule = '[[when]]\nkind = "archive"\nreason = "judged where they are linked in"\nchecks.stack-protector = false'
    policy(user, f'profile = "kms-6.7"\n{rule}')
    run = user.run("--hardening", "build")
    assert run.verdicts["build/EF.a::stack-protector"] == "not-applicable"
    assert run.verdicts["build/PROGRAM::stack-protector"] == "fail"
    found = {
        verdict["summary"]
        for entry in run.document["artifacts"]
        if entry["member"] is not None
        for verdict in entry["verdicts"]
        if verdict["check"] == "stack-protector"
    }
    assert found == {"not demanded: judged where they are linked in"}


@WORKERS
def test_every_mistake_is_told_in_one_run(user: User, workers: tuple[str, ...]) -> None:
    user.build()
    policy(user, MISTAKES)
    result = user.pytest("--hardening", "build", *workers, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line.removeprefix("ERROR: hardening: ") for line in result.errlines]
    for pattern in PLACES.strip().splitlines():
        assert any(re.fullmatch(f"hardening\\.toml: {pattern}", line) for line in lines), pattern
    assert "Traceback" not in str(result.stdout) + str(result.stderr)


@WORKERS
def test_excluded(user: User, workers: tuple[str, ...]) -> None:
    user.build()
    user.build("build/third_party", "relro")
    policy(user, 'exclude = ["build/third_party/*"]\nprofile = "kms-6.7"')
    run = user.run("--hardening", "build", *workers, subprocess=True)
    assert run.result.ret == pytest.ExitCode.OK
    assert [name for name in run.verdicts if "third_party" in name] == []
    run.result.stdout.fnmatch_lines(["left out: *files that hardening.toml excludes (6)*"])


@WORKERS
def test_excluding_everything_is_an_error(user: User, workers: tuple[str, ...]) -> None:
    user.build()
    policy(user, 'exclude = ["build/*"]')
    result = user.pytest("--hardening", "build", *workers, subprocess=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*hardening.toml excludes everything in it, so nothing would be judged*"])


def test_command_line_wins(user: User) -> None:
    user.build(break_="bind-now")
    policy(user, 'profile = "kms-6.6"\n[checks]\nrelro = false')
    assert user.run("--hardening", "build").having("fail") == set()
    run = user.run("--hardening", "build", "--hardening-profile", "kms-6.7")
    assert {"build/PROGRAM::bind-now", "build/PROGRAM::relro"} <= run.having("fail")
    only = user.run("--hardening", "build/PROGRAM", "--hardening-check", "bind-now")
    assert only.verdicts == {"build/PROGRAM::bind-now": "fail"}


def test_file_wins_over_ini(user: User) -> None:
    user.build()
    user.pytester.makeini("[pytest]\nhardening_profile = kms-6.6\nhardening_paths = build/PROGRAM")
    policy(user, "[checks]\nrelro = false\n")
    assert set(user.run().verdicts) == {"build/PROGRAM::stack-protector", "build/PROGRAM::fortify"}
    policy(user, 'profile = "kms-6.7"\n')
    assert "build/PROGRAM::bind-now" in user.run().verdicts


def test_pyproject(user: User) -> None:
    user.build()
    policy(user, '[tool.pytest-hardening]\nprofile = "kms-6.6"\n', "pyproject.toml")
    run = user.run("--hardening", "build/PROGRAM")
    assert set(run.verdicts) == {f"build/PROGRAM::{check}" for check in ("relro", "stack-protector", "fortify")}
    run.result.stdout.fnmatch_lines(["hardening: policy pyproject.toml, profile kms-6.6 *"])
    policy(user, "")
    result = user.pytest("--hardening", "build")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: hardening: there are two policies: hardening.toml and *pyproject.toml*"])


def test_unknown(user: User, bitcode_archive: object) -> None:
    (user.path / "build").mkdir()
    assert callable(bitcode_archive)
    bitcode_archive(user.path / "build/lib.a")
    policy(user, 'profile = "kms-6.6"\nunknown = "fail"\n[checks]\nfortify = { unknown = "warn" }')
    result = user.pytest("--hardening", "build")
    result.stdout.fnmatch_lines(["FAILED build/lib.a::stack-protector *"])
    assert "FAILED build/lib.a::fortify" not in str(result.stdout)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    policy(user, 'profile = "kms-6.6"\nunknown = "ignore"')
    assert user.pytest("--hardening", "build").ret == pytest.ExitCode.OK


@WORKERS
def test_show_policy(user: User, workers: tuple[str, ...]) -> None:
    user.pytester.makepyfile("def test_it(): assert False")
    policy(user, 'profile = "kms-6.7"\n[checks]\nfortify = { level = 3 }')
    result = user.pytest("--hardening-show-policy", "--hardening-strict", *workers, subprocess=True)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "# policy file: hardening.toml",
            'profile = "kms-6.7" *# hardening.toml',
            'unknown = "fail" *# command line',
            'relro.level = "full" *# profile kms-6.7',
            "fortify.level = 3 *# hardening.toml",
        ]
    )
    assert "test_it" not in str(result.stdout)
    policy(user, 'profil = "kms-6.7"')
    result = user.pytest("--hardening-show-policy", subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: hardening: hardening.toml: profil: unknown key *; did you mean 'profile'?"])


def test_fixture_and_marker_follow_the_policy(user: User) -> None:
    user.build(break_="bind-now")
    policy(user, 'profile = "kms-6.7"\n[[artifact]]\npath = "build/PROGRAM"\nprofile = "kms-6.6"')
    user.pytester.makepyfile(
        """
        import pytest
        from pytest_hardening import NotHardened

        def test_fixture(hardening):
            assert hardening.check("build/PROGRAM").artifact.profile == "kms-6.6"
            with pytest.raises(NotHardened, match="not hardened as kms-6.7 requires"):
                hardening.check("build/HOST")

        @pytest.mark.hardening("build/PROGRAM", checks=["relro"])
        def test_marker(artifact): pass

        @pytest.mark.hardening("build/PROGRAM", profile="kms-6.7")
        def test_other_profile(artifact): pass
        """
    )
    result = user.pytest()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*build/PROGRAM: not hardened as kms-6.7 requires: relro, bind-now*"])


def test_a_policy_that_pytest_would_miss_is_a_mistake(user: User, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "build"
    user.build().rename(elsewhere)
    policy(user, 'profile = "kms-6.6"')
    result = user.pytest("--hardening", str(elsewhere), subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*hardening.toml of this folder would not be read*write --hardening=PATH*"])
    result = user.pytest(f"--hardening={elsewhere}", subprocess=True)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["hardening: policy hardening.toml, profile kms-6.6 *"])


def test_a_session_that_judges_nothing_does_not_read_the_policy(user: User) -> None:
    policy(user, "profil = 1")
    user.pytester.makepyfile("import sys\ndef test_it(): assert 'pydantic' not in sys.modules")
    result = user.pytest(subprocess=True)
    result.assert_outcomes(passed=1)
    assert os.path.exists(user.path / "hardening.toml")
