"""The policy in force: who wins over whom, rules by path, and where each value comes from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pytest_hardening.errors import PolicyError
from pytest_hardening.model import Kind
from pytest_hardening.policy.given import COMMAND_LINE, Given
from pytest_hardening.policy.globs import lie_below
from pytest_hardening.policy.policy import Policy, load_policy
from pytest_hardening.policy.problems import parsed
from pytest_hardening.policy.profile import DEFAULT_PROFILE, Profile, Target, load_profile
from pytest_hardening.policy.shown import shown_policy

from .test_profile import KMS_66, KMS_67

TARGET = Target(Kind.PIE, "x86-64", "glibc")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def policy(folder: Path, text: str, **given: Any) -> Policy:
    (folder / "hardening.toml").write_text(text)
    return load_policy(str(folder), **given)


def demanded(profile: Profile) -> dict[str, dict[str, Any]]:
    return {name: dict(parameters) for name, parameters in profile.demands(TARGET).requests.items()}


def test_without_a_file(folder: Path) -> None:
    found = load_policy(str(folder))
    assert found.file == ""
    assert found.profile_named == (DEFAULT_PROFILE, "default")
    assert demanded(found.profile) == demanded(load_profile(DEFAULT_PROFILE))


def test_an_empty_file_changes_nothing(folder: Path) -> None:
    assert demanded(policy(folder, "").profile) == demanded(load_profile(DEFAULT_PROFILE))


def test_file_wins_over_ini_and_command_line_over_both(folder: Path) -> None:
    ini, line = Given("kms-6.6", "pytest.ini"), Given("kms-6.6", COMMAND_LINE)
    file = "profile = 'kms-6.7'\n[checks]\nfortify = {level = 3}\n[[when]]\nkind='pie'\nreason='x'\nchecks.pie=false"
    assert demanded(policy(folder, "", profile=ini).profile) == KMS_66
    found = policy(folder, file, profile=ini)
    assert found.profile_named == ("kms-6.7", "hardening.toml")
    assert demanded(found.profile) == {k: v for k, v in {**KMS_67, "fortify": {"level": 3}}.items() if k != "pie"}
    found = policy(folder, file, profile=line)
    assert found.profile_named == ("kms-6.6", COMMAND_LINE)
    assert demanded(found.profile) == KMS_66


@pytest.mark.parametrize(
    ("text", "strict", "unknown"),
    [
        ("", Given(), "warn"),
        ("", Given("yes", "pytest.ini"), "fail"),
        ("unknown = 'ignore'", Given("yes", "pytest.ini"), "ignore"),
        ("unknown = 'ignore'", Given("yes", COMMAND_LINE), "fail"),
        ("[checks]\nrelro = {unknown = 'ignore'}", Given(), "ignore"),
        ("[checks]\nrelro = {unknown = 'ignore'}", Given("yes", "pytest.ini"), "ignore"),
        ("[checks]\nrelro = {unknown = 'ignore'}", Given("yes", COMMAND_LINE), "fail"),
        ("[[artifact]]\npath = '*'\nunknown = 'ignore'", Given("yes", COMMAND_LINE), "fail"),
        ("unknown = 'fail'\n[[artifact]]\npath = '*'\nunknown = 'ignore'", Given(), "ignore"),
    ],
)
def test_what_unknown_does(folder: Path, text: str, strict: Given, unknown: str) -> None:
    found = policy(folder, text, strict=strict).for_artifact("build/PROGRAM", Kind.PIE)
    assert found.demands(TARGET).unknown["relro"] == unknown


RULES = """
profile = "kms-6.7"
exclude = ["build/third_party/*"]
[checks]
nx-stack = {}

[[artifact]]
path = ["plugins/*.so", "*.plugin"]
checks.fortify.level = 3

[[artifact]]
kind = "archive"
unknown = "fail"

[[artifact]]
path = "plugins/old/*"
profile = "kms-6.6"

[[artifact]]
path = "plugins/old/*"
kind = ["module", "pie"]
checks.relro = false
"""


def test_rules_by_path_and_kind_in_order(folder: Path) -> None:
    found = policy(folder, RULES)
    usual = {**KMS_67, "nx-stack": {}}
    assert demanded(found.for_artifact("build/PROGRAM", Kind.PIE)) == usual
    assert demanded(found.for_artifact("plugins/a.so", Kind.MODULE)) == {**usual, "fortify": {"level": 3}}
    assert demanded(found.for_artifact("deep/x.plugin", Kind.PIE)) == {**usual, "fortify": {"level": 3}}
    archive = found.for_artifact("build/AB.a", Kind.ARCHIVE)
    assert demanded(archive) == usual
    assert set(archive.demands(TARGET).unknown.values()) == {"fail"}
    # another profile: its checks alone, and what later rules say of them
    assert demanded(found.for_artifact("plugins/old/a.so", Kind.SHARED_LIBRARY)) == KMS_66
    without = {check: parameters for check, parameters in KMS_66.items() if check != "relro"}
    assert demanded(found.for_artifact("plugins/old/a.so", Kind.MODULE)) == without
    assert found.checks == tuple(load_profile("recommended").narrowed({**usual, "format-security": {}}).checks)


def test_excluded(folder: Path) -> None:
    found = policy(folder, RULES)
    assert found.excluded("build/third_party/deep/x.so") == "build/third_party/*"
    assert found.excluded("build/x.so") is None


def test_the_command_lines_profile_alone_says_what_is_required(folder: Path) -> None:
    found = policy(folder, RULES, profile=Given("kms-6.6", COMMAND_LINE))
    for name in ("build/PROGRAM", "plugins/a.so", "plugins/old/a.so"):
        assert demanded(found.for_artifact(name, Kind.MODULE)) == KMS_66
    assert found.excluded("build/third_party/x.so")


def test_only_these_checks(folder: Path) -> None:
    found = policy(folder, RULES, only=("fortify", "rpath"))
    assert demanded(found.for_artifact("plugins/a.so", Kind.MODULE)) == {
        "rpath": {"allow": ()},
        "fortify": {"level": 3},
    }


def test_profile_files_are_relative_to_the_policy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "profiles").mkdir()
    (folder / "profiles/ours.toml").write_text("[checks]\npie = {}")
    (folder / "hardening.toml").write_text("profile = 'profiles/ours.toml'")
    monkeypatch.chdir("/")
    assert demanded(load_policy(str(folder)).profile) == {"pie": {}}


def test_pyproject(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.pytest-hardening]\nprofile = 'kms-6.6'\nchecks.relro = false")
    found = load_policy(str(folder))
    assert found.file == "pyproject.toml"
    assert set(demanded(found.profile)) == {"stack-protector", "fortify"}
    (folder / "pyproject.toml").write_text("[tool.pytest-hardening]\nchecks.relo = false\nunknown = 'no'")
    with pytest.raises(PolicyError) as caught:
        load_policy(str(folder))
    assert str(caught.value).splitlines() == [
        "pyproject.toml: 2 mistakes",
        "pyproject.toml: tool.pytest-hardening.unknown: expected one of 'fail', 'warn', 'ignore', not 'no'",
        "pyproject.toml: tool.pytest-hardening.checks.relo: unknown check 'relo'; did you mean 'relro'?",
    ]


def test_two_policies_are_an_error(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.pytest-hardening]\n")
    with pytest.raises(PolicyError, match=r"^there are two policies: hardening.toml and \[tool.pytest-hardening\]"):
        policy(folder, "")
    (folder / "pyproject.toml").write_text("[tool.other]\n")
    assert policy(folder, "").file == "hardening.toml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[checks", "hardening.toml: not valid TOML: "),
        (b"profile = '\xfc'", "hardening.toml: cannot be read: not UTF-8"),
        (b"profile = 'bad.toml'", "profile bad.toml: checks.pies: unknown check 'pies'; did you mean 'pie'?"),
        (b"profile = 'one.toml'\n[checks]\npie = false", "hardening.toml: requires no check, so it could never fail"),
        (b"[[artifact]]\npath='x'\nprofile='bad.toml'", "profile bad.toml: checks.pies: unknown check 'pies'"),
    ],
)
def test_files_that_cannot_be_used(folder: Path, text: bytes, message: str) -> None:
    (folder / "bad.toml").write_text("[checks]\npies = {}")
    (folder / "one.toml").write_text("[checks]\npie = {}")
    (folder / "hardening.toml").write_bytes(text)
    with pytest.raises(PolicyError, match=f"^{re.escape(message)}"):
        load_policy(str(folder))


def test_shown_policy_names_the_source_of_every_value(folder: Path) -> None:
    text = """
        profile = "ours.toml"
        exclude = ["x/*"]
        [checks]
        fortify = { unknown = "ignore" }
        pic = false
        [[artifact]]
        path = "a*"
        checks.relro.level = "partial"
    """
    ours = 'extends = "kms-6.7"\nunknown = "ignore"\n[checks]\nfortify.level = 3\n[[when]]\nlibc = "bionic"\n'
    (folder / "ours.toml").write_text(ours + 'reason = "so"\nchecks.pie = false')
    lines = list(shown_policy(policy(folder, text), [("hardening_paths", ("build",), "pytest.ini")]))
    told = {line.partition("#")[0].strip(): line.partition("#")[2].strip() for line in lines}
    assert told['hardening_paths = ["build"]'] == "pytest.ini"
    assert told['profile = "ours.toml"'] == "hardening.toml"
    assert told['unknown = "ignore"'] == "profile ours.toml"
    assert told['exclude = ["x/*"]'] == "hardening.toml"
    assert told["pie = {}"] == "profile kms-6.7"
    assert told['relro.level = "full"'] == "profile kms-6.7"
    assert told['stack-protector.level = "strong"'] == "default; demanded by profile kms-6.6"
    assert told["fortify.level = 3"] == "profile ours.toml"
    assert told['fortify.unknown = "ignore"'] == "hardening.toml"
    assert told["pic = false"] == "hardening.toml"
    assert lines.index('reason = "so"') < lines.index('path = ["a*"]')
    data = parsed("\n".join(lines), "shown")  # the lines are TOML
    assert data["checks"]["fortify"] == {"level": 3, "unknown": "ignore"}
    assert data["artifact"] == [{"path": ["a*"], "checks": {"relro": {"level": "partial"}}}]


def test_shown_policy_without_a_file(folder: Path) -> None:
    lines = list(shown_policy(load_policy(str(folder)), []))
    assert lines[0] == "# policy file: none (no hardening.toml, no [tool.pytest-hardening] in pyproject.toml)"
    assert any(re.fullmatch(r'profile = "recommended" +# default', line) for line in lines)


@pytest.mark.parametrize(
    ("folders", "glob", "whole"),
    [
        (["build"], "build/libX.so", True),
        (["build"], "build/*.so", True),
        (["build"], "build/deep/*.so", True),
        (["build/deep"], "build/*.so", False),
        (["build"], "build-arm/*.so", False),
        (["build"], "buil*/libX.so", True),  # as far as it tells
        (["build"], "*.so", True),
        ([], "*.so", False),
        ([], "build/libX.so", False),
        (["."], "build/*.so", True),
    ],
)
def test_globs_that_folders_hold(folders: list[str], glob: str, whole: bool) -> None:
    assert lie_below(folders, glob) is whole
