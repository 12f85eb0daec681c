"""Ways in which a policy could be passed over, or swallow what it is not about, without a word."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import User

WAIVER = """
[[waiver]]
path = "build/*.so"
checks = ["relro"]
reason = "loaded by the legacy host only"
"""


def test_policy_of_a_folder_above_is_not_passed_over(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    user.build()
    user.policy('profile = "openssf"')
    (user.path / "pytest.ini").unlink(missing_ok=True)
    monkeypatch.chdir(user.path / "build")
    result = user.pytest("--hardening=.", f"--rootdir={user.path / 'build'}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*hardening.toml would not be read, as pytest's root folder is *: put a pytest.ini *"])


def test_misspelt_table_is_named(user: User) -> None:
    user.build()
    (user.path / "pyproject.toml").write_text('[tool.pytest_hardening]\nprofile = "openssf"\n')
    result = user.pytest("--hardening", "build")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*[[]tool.pytest_hardening[]]: unknown table; did you mean *tool.pytest-hardening*"])


def test_policy_that_is_no_file_is_an_error(user: User) -> None:
    user.build()
    (user.path / "hardening.toml").symlink_to("nowhere.toml")
    result = user.pytest("--hardening", "build")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*hardening.toml: cannot be read: No such file or directory*"])


def test_expired_waiver_is_told_beside_the_baseline(legacy: User) -> None:
    known = ("--hardening", "build", "--hardening-baseline", "known.txt")
    legacy.policy('profile = "kms-6.6"')
    assert legacy.run(*known, "--hardening-update-baseline").result.ret == pytest.ExitCode.OK
    legacy.policy('profile = "kms-6.6"', WAIVER + "expires = 2020-01-01\n")
    run = legacy.run(*known)
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    run.result.stdout.fnmatch_lines(["FAILED build/libY.so::relro*"])


def test_waiver_of_a_glob_is_not_unused_in_a_folder_below(legacy: User) -> None:
    legacy.policy('profile = "kms-6.6"', WAIVER.replace("build/*.so", "build/*"))
    below = legacy.path / "build" / "below"
    below.mkdir()
    (below / "libX.so").write_bytes((legacy.path / "build" / "libX.so").read_bytes())
    run = legacy.run("--hardening", "build/below", "--hardening-check", "relro")
    assert run.result.ret == pytest.ExitCode.OK
    assert legacy.run("--hardening", "build", "--hardening-check", "relro").result.ret == pytest.ExitCode.OK


def test_comparison_leaves_out_what_is_excluded(user: User) -> None:
    user.build("old")
    user.build()
    user.policy('exclude = ["build/plugin.so", "build/new.so"]')
    shutil.copy(user.path / "build" / "plugin.so", user.path / "build" / "new.so")
    (user.path / "build" / "plugin.so").unlink()
    run = user.run("--hardening", "build", "--hardening-compare", "old", "--hardening-strict")
    assert "added" not in run.result.stdout.str()
    assert "plugin.so::kept" not in run.result.stdout.str()


def test_baseline_is_not_updated_by_a_comparison(user: User) -> None:
    user.build("old")
    user.build()
    words = ("--hardening", "build", "--hardening-compare", "old", "--hardening-baseline", "known.txt")
    result = user.pytest(*words, "--hardening-update-baseline")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not Path(user.path / "known.txt").exists()
