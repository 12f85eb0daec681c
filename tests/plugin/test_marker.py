"""`@pytest.mark.hardening(glob, profile=..., checks=[...])` and the fixtures `artifact` and `hardening`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import User


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_one_run_per_artifact(user: User, workers: tuple[str, ...]) -> None:
    user.build()
    user.pytester.makepyfile(
        """
        import pytest
        from pytest_hardening import Artifact, assert_bind_now, assert_pie

        @pytest.mark.hardening("build/*.so", "build/PROGRAM")
        def test_bound(artifact):
            assert isinstance(artifact, Artifact)
            assert assert_bind_now(artifact).outcome.value == "pass"

        @pytest.mark.hardening("build/PROGRAM", "build/HOST", profile="kms-6.7")
        class TestPrograms:
            def test_pie(self, artifact):
                assert assert_pie(artifact).check == "pie"
        """
    )
    result = user.pytest("-v", *workers, subprocess=True)
    result.assert_outcomes(passed=5)
    names = ["bound[[]build/libSHARED.so]", "bound[[]build/plugin.so]", "bound[[]build/PROGRAM]"]
    result.stdout.fnmatch_lines_random([f"*test_{name}*" for name in [*names, "pie[[]build/PROGRAM]"]])
    user.pytest("-m", "hardening").assert_outcomes(passed=5)


def test_profile_and_checks_are_required(user: User) -> None:
    user.build("broken", "bind-now")
    user.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.hardening("broken/PROGRAM", profile="kms-6.7")
        def test_profile(artifact):
            raise SystemError("the body must not run")

        @pytest.mark.hardening("broken/PROGRAM", checks=["bind-now", "pie"])
        def test_checks(artifact): pass

        @pytest.mark.hardening("broken/PROGRAM", profile="kms-6.6")
        def test_weaker(artifact): pass

        @pytest.mark.hardening("broken/PROGRAM")
        def test_nothing_required(artifact): pass
        """
    )
    result = user.pytest()
    result.assert_outcomes(failed=2, passed=2)
    result.stdout.fnmatch_lines(
        [
            "*_ test_profile[[]broken/PROGRAM] _*",
            "broken/PROGRAM: not hardened as kms-6.7 requires: relro, bind-now",
            "broken/PROGRAM: partial RELRO*",
            "  fix: link with -Wl,-z,relro -Wl,-z,now",
            "broken/PROGRAM: not bound at start-up*",
            "  fix: link with -Wl,-z,now",
            "*_ test_checks[[]broken/PROGRAM] _*",
            "broken/PROGRAM: not hardened: bind-now",
        ]
    )
    assert str(result.stdout).count("broken/PROGRAM: partial RELRO") == 1
    result.stdout.no_fnmatch_line("*raceback *")
    result.stdout.no_fnmatch_line("*During handling*")


def test_command_line_decides_profile_and_strictness(user: User, bitcode_archive: Callable[[Path], None]) -> None:
    user.build("broken", "bind-now")
    bitcode_archive(user.path / "lto.a")
    user.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.hardening("broken/PROGRAM", checks=["relro"])
        def test_relro(artifact): pass

        @pytest.mark.hardening("lto.a", checks=["pic"])
        def test_unknown(artifact): pass
        """
    )
    user.pytest().assert_outcomes(failed=1, passed=1)
    user.pytest("--hardening-profile", "kms-6.6").assert_outcomes(passed=2)
    result = user.pytest("--hardening-profile", "kms-6.6", "--hardening-strict")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["lto.a: pic is unknown: 1 of 1 members*; the policy counts that as a failure", "lto.a: unknown: 1 of 1 *"]
    )


@pytest.mark.parametrize("globs", ["'nope/*.so'", "'build/PROGRAM', 'nope/*.so'"])
def test_glob_without_a_match_is_an_error(user: User, globs: str) -> None:
    user.build()
    user.pytester.makepyfile(f"import pytest\n@pytest.mark.hardening({globs})\ndef test_it(artifact): pass")
    result = user.pytest()
    result.assert_outcomes(errors=1, passed=globs.count(","))
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_it[[]nope/*.so: matches no file[]]*",
            f"nope/[*].so: matches no file below {user.path} (pytest's root folder)",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("profil='kms-6.7'", "takes globs, profile= and checks=, not profil="),
        ("profile='kms-6.7'", "takes globs, profile= and checks=: at least one glob, each a text or a path"),
        ("'build/PROGRAM', checks='relro'", "checks='relro': expected a list of strings"),
        ("None", "takes globs, profile= and checks=: at least one glob, each a text or a path"),
    ],
)
def test_wrong_marker_is_one_line(user: User, marker: str, message: str) -> None:
    glob = "'build/*', " if "profil=" in marker else ""
    user.pytester.makepyfile(f"import pytest\n@pytest.mark.hardening({glob}{marker})\ndef test_it(artifact): pass")
    result = user.pytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*.py::test_it: @pytest.mark.hardening*{message}"])
    result.stdout.no_fnmatch_line("*pluggy/*")


def test_checks_that_do_not_apply_skip_the_test(user: User) -> None:
    user.build()
    user.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.hardening("build/plugin.so", checks=["pie"])
        def test_nothing_applies(artifact): pass

        @pytest.mark.hardening("build/plugin.so", checks=["pie"])
        def test_body_runs(artifact): raise SystemError("it ran")

        @pytest.mark.hardening("build/plugin.so", checks=["pie", "pic"])
        def test_something_applies(artifact): pass
        """
    )
    result = user.pytest("-rs")
    result.assert_outcomes(skipped=1, failed=1, passed=1)
    result.stdout.fnmatch_lines(["*SystemError: it ran", "SKIPPED *: build/plugin.so: pie does not apply: *"])


def test_verdict_that_the_command_line_leaves_out(user: User) -> None:
    user.build()
    user.pytester.makepyfile(
        """
        def test_it(hardening):
            hardening.inspect("build/PROGRAM").verdict("bind-now")
        """
    )
    result = user.pytest("--hardening-check", "relro")
    result.stdout.fnmatch_lines(["*no verdict of 'bind-now'; there are: relro (limited by --hardening-check)*"])
    user.pytester.makeini("[pytest]\nhardening_checks = relro")
    user.pytest().stdout.fnmatch_lines(["*there are: relro (limited by hardening_checks)*"])


def test_wrong_names_in_a_marker_fail_the_test(user: User) -> None:
    user.build()
    user.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.hardening("build/PROGRAM", profile="kms-6.8")
        def test_profile(artifact): pass

        @pytest.mark.hardening("build/PROGRAM", checks=["relo"])
        def test_check(artifact): pass
        """
    )
    result = user.pytest()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["unknown profile 'kms-6.8'; did you mean 'kms-6.7'?", "unknown check 'relo'; did you mean 'relro'?"]
    )


def test_artifact_without_the_marker(user: User) -> None:
    user.pytester.makepyfile("def test_it(artifact): pass")
    result = user.pytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["the fixture `artifact` needs @pytest.mark.hardening(glob) on the test"])


def test_damaged_artifact_fails_without_a_traceback(user: User) -> None:
    (user.path / "empty.so").touch()
    user.pytester.makepyfile(
        "import pytest\n@pytest.mark.hardening('*.so', profile='kms-6.7')\ndef test_it(artifact): pass"
    )
    result = user.pytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["empty.so: empty file"])
    result.stdout.no_fnmatch_line("*raceback *")


def test_hardening_fixture_follows_the_options(user: User) -> None:
    user.build("broken", "bind-now")
    user.pytester.makepyfile(
        """
        import pytest
        from pytest_hardening import ArtifactError, NotHardened, Report

        def test_inspect(hardening):
            report = hardening.inspect("broken/PROGRAM")
            assert isinstance(report, Report)
            checks = {verdict.check for verdict in report.artifact.verdicts}
            assert checks == {"relro", "stack-protector", "fortify", "format-security"}

        def test_check(hardening):
            assert hardening.check("broken/PROGRAM").artifact.error is None

        def test_not_elf(hardening):
            assert "does not exist" in hardening.inspect("nope").artifact.error
            with pytest.raises(ArtifactError, match="nope: does not exist"):
                hardening.check("nope")

        def test_fails(hardening):
            hardening.check("broken/PROGRAM")
        """
    )
    user.pytest("--hardening-profile", "kms-6.6").assert_outcomes(passed=4)
    result = user.pytest("-k", "test_fails or not_elf")
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    result.stdout.fnmatch_lines(
        [
            '>       hardening.check("broken/PROGRAM")',
            "E       pytest_hardening.NotHardened: broken/PROGRAM: not hardened as recommended requires: relro, bind*",
            "FAILED *::test_fails - pytest_har*",
        ]
    )
    user.policy('[checks]\nrelro = { unknwon = "fail" }')  # a mistake that only those meet who judge something
    result = user.pytest("-k", "test_check")
    result.assert_outcomes(errors=1, deselected=3)
    result.stdout.fnmatch_lines(["hardening.toml: checks.relro.unknwon: unknown parameter *"])
    result.stdout.no_fnmatch_line("*pytest_hardening/*")


def test_marker_without_the_fixture_is_an_error(user: User) -> None:
    user.build()
    user.pytester.makepyfile(
        test_function="""
        import pytest

        @pytest.mark.hardening("build/PROGRAM", profile="kms-6.7")
        def test_it(): pass
        """,
        test_method="""
        import unittest
        import pytest

        @pytest.mark.hardening("build/PROGRAM", profile="kms-6.7")
        class TestIt(unittest.TestCase):
            def test_it(self): pass
        """,
    )
    message = "a test with @pytest.mark.hardening must take the fixture `artifact`"
    result = user.pytest("test_function.py")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"test_function.py::test_it: {message}"])
    result = user.pytest("test_method.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


def test_profile_of_a_marker_is_relative_to_the_root(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    user.build()
    user.pytester.makeini("[pytest]")
    (user.path / "ours.toml").write_text("[checks]\npie = {}\n")
    user.pytester.makepyfile(
        "import pytest\n@pytest.mark.hardening('build/PROGRAM', profile='ours.toml')\ndef test_it(artifact): pass"
    )
    monkeypatch.chdir(user.path / "build")
    user.pytest("..").assert_outcomes(passed=1)


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_unknown_is_told(user: User, workers: tuple[str, ...]) -> None:
    """A test with the marker passes where the file does not tell, but not in silence."""
    (user.path / "plain.c").write_text("int main(void) { return 0; }\n")
    user.pytester.run("gcc", "-O2", "-s", user.path / "plain.c", "-o", user.path / "plain")
    user.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.hardening("plain", checks=["auto-var-init", "pie"])
        def test_it(artifact): pass
        """
    )
    result = user.pytest(*workers, subprocess=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*hardening: unknown in tests that passed*", "? *::test_it[[]plain]: auto-var-init: no flags on record"]
    )
    result = user.pytest("--hardening-strict", *workers, subprocess=True)
    result.assert_outcomes(failed=1)
