"""Profiles: the built-in ones, users' own, and what is said when one is wrong."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pytest_hardening.checks.registry import CHECK_NAMES, get_check
from pytest_hardening.errors import PolicyError
from pytest_hardening.policy.profile import DEFAULT_PROFILE, built_in_profiles, load_profile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KMS_66 = {"relro": {"level": "partial"}, "stack-protector": {"level": "strong"}, "fortify": {"level": 2}}
KMS_67 = {
    **KMS_66,
    "pie": {},
    "pic": {"destination": "any"},
    "text-relocations": {},
    "relro": {"level": "full"},
    "bind-now": {},
}


DROP_ALL = "".join(f"{check} = false\n" for check in CHECK_NAMES)


def write(folder: Path, text: str, name: str = "ours.toml") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def checks(name: str) -> dict[str, dict[str, Any]]:
    return {check: dict(parameters) for check, parameters in load_profile(name).checks.items()}


def test_names() -> None:
    assert built_in_profiles() == ("debian-all", "kms-6.6", "kms-6.7", "recommended")
    assert DEFAULT_PROFILE in built_in_profiles()


@pytest.mark.parametrize("name", ["debian-all", "kms-6.6", "recommended"])
def test_built_in_profile_has_what_its_file_says(name: str) -> None:
    data = tomllib.loads(files("pytest_hardening").joinpath(f"policy/profiles/{name}.toml").read_text("utf-8"))
    profile = load_profile(name)
    assert profile.name == name
    assert profile.description == data["description"] != ""
    assert set(profile.checks) == set(data["checks"])
    for check, parameters in data["checks"].items():
        assert dict(profile.checks[check]) == get_check(check).settings(parameters)
    assert list(profile.checks) == [check for check in CHECK_NAMES if check in profile.checks]


def test_kms_profiles() -> None:
    assert checks("kms-6.6") == KMS_66
    assert checks("kms-6.7") == KMS_67


def test_own_profile(tmp_path: Path) -> None:
    path = write(tmp_path, "description = 'Ours'\n[checks]\nrelro = {level = 'partial'}\npie = {}\n")
    profile = load_profile(path)
    assert (profile.name, profile.description) == (path, "Ours")
    assert checks(path) == {"pie": {}, "relro": {"level": "partial"}}
    assert list(profile.checks) == ["pie", "relro"]


def test_name_of_a_file_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "[checks]\npie = {}\n", "policy/ours.toml")
    monkeypatch.chdir(tmp_path)
    assert load_profile(path).name == load_profile("policy/ours.toml").name == "policy/ours.toml"


def test_extends_adds_changes_and_drops(tmp_path: Path) -> None:
    text = "extends = 'kms-6.7'\n[checks]\nfortify = {level = 3}\npic = false\nnx-stack = {}\nrpath = false"
    path = write(tmp_path, text)
    expected = {**KMS_67, "fortify": {"level": 3}, "nx-stack": {}}
    del expected["pic"]
    assert checks(path) == expected


def test_extends_alone(tmp_path: Path) -> None:
    assert checks(write(tmp_path, "extends = 'kms-6.6'")) == KMS_66


def test_extends_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "extends = '../base.toml'\n[checks]\npie = {}\n", "teams/media.toml")
    write(tmp_path, "extends = 'kms-6.6'\n[checks]\nfortify = false\n", "base.toml")
    monkeypatch.chdir("/")
    expected = {"pie": {}, "relro": {"level": "partial"}, "stack-protector": {"level": "strong"}}
    assert checks(str(tmp_path / "teams/media.toml")) == expected
    monkeypatch.chdir(tmp_path)
    assert checks("./teams/media.toml") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("check = {}", "unknown key 'check'; did you mean 'checks'?"),
        ("zzz = 1\n[checks]\npie = {}", "unknown key 'zzz'; there are: description, extends, checks"),
        ("[checks]\nstack-protecter = {}", "unknown check 'stack-protecter'; did you mean 'stack-protector'?"),
        ("[checks]\nzzz = {}", f"unknown check 'zzz'; there are: {', '.join(CHECK_NAMES)}"),
        ("[checks]\nzzz = false", f"unknown check 'zzz'; there are: {', '.join(CHECK_NAMES)}"),
        ("[checks]\nrelro = {levl = 'full'}", "relro: unknown parameter 'levl'; it has: level"),
        ("[checks]\npie = {level = 1}", "pie: unknown parameter 'level'; it has: none"),
        ("[checks]\nrelro = {level = 'most'}", "relro.level = 'most': expected one of 'partial', 'full'"),
        ("[checks]\nfortify = {level = '2'}", "fortify.level = '2': expected one of 1, 2, 3"),
        ("[checks]\nfortify = {level = true}", "fortify.level = True: expected one of 1, 2, 3"),
        ("[checks]\nrpath = {allow = '/opt'}", "rpath.allow = '/opt': expected a list of strings"),
        ("[checks]\nrpath = {allow = [1]}", "rpath.allow = [1]: expected a list of strings"),
        ("[checks]\npie = true", "checks.pie = True: expected a table of parameters, or false"),
        ("[checks]\npie = 'yes'", "checks.pie = 'yes': expected a table of parameters, or false"),
        ("checks = ['pie']", "checks must be a table"),
        ("", "requires no check, so it could never fail"),
        ("extends = 'debian-all'\n[checks]\n" + DROP_ALL, "requires no check, so it could never fail"),
        ("extends = 6.7", "extends must be the name or the file of a profile"),
        ("extends = ['kms-6.7']", "extends must be the name or the file of a profile"),
        ("description = 1\n[checks]\npie = {}", "description must be a text"),
        ("[checks", "not valid TOML: *"),
    ],
)
def test_mistakes_name_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    pattern = re.escape(f"profile {path}: {message}").replace(r"\*", ".*")
    with pytest.raises(PolicyError, match=f"^{pattern}$"):
        load_profile(path)


def test_mistake_in_an_extended_profile_names_that_file(tmp_path: Path) -> None:
    base = write(tmp_path, "[checks]\npies = {}", "base.toml")
    path = write(tmp_path, "extends = 'base.toml'")
    with pytest.raises(PolicyError, match=f"^profile {re.escape(base)}: unknown check 'pies'"):
        load_profile(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kms-6.8", "unknown profile 'kms-6.8'; did you mean 'kms-6.7'?"),
        ("zzz", "unknown profile 'zzz'; there are: debian-all, kms-6.6, kms-6.7, recommended"),
        ("", "unknown profile ''; there are: debian-all, kms-6.6, kms-6.7, recommended"),
        ("/nope/ours.toml", "profile /nope/ours.toml: cannot be read: No such file or directory"),
        ("/", "profile /: cannot be read: Is a directory"),
    ],
)
def test_missing_profile(name: str, message: str) -> None:
    with pytest.raises(PolicyError, match=f"^{re.escape(message)}$"):
        load_profile(name)


def test_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"description = 'f\xfcr uns'")
    with pytest.raises(PolicyError, match=r"cannot be read: not UTF-8$"):
        load_profile(str(path))


@pytest.mark.parametrize("spelling", ["{name}", "./{name}", "../{folder}/{name}"])
def test_profile_that_extends_itself(tmp_path: Path, spelling: str) -> None:
    other = spelling.format(name="other.toml", folder=tmp_path.name)
    ours = spelling.format(name="ours.toml", folder=tmp_path.name)
    path = write(tmp_path, f"extends = '{other}'")
    write(tmp_path, f"extends = '{ours}'", "other.toml")
    names = " -> ".join(re.escape(str(tmp_path / name)) for name in ("ours.toml", "other.toml", "ours.toml"))
    with pytest.raises(PolicyError, match=f"^profile {re.escape(path)}: extends itself through {names}$"):
        load_profile(path)


def test_equal_names_in_other_folders_are_other_profiles(tmp_path: Path) -> None:
    path = write(tmp_path, "extends = 'sub/ours.toml'")
    write(tmp_path, "extends = 'sub/ours.toml'\n[checks]\npie = {}", "sub/ours.toml")
    write(tmp_path, "[checks]\nrpath = {}", "sub/sub/ours.toml")
    assert set(checks(path)) == {"pie", "rpath"}


def test_narrowed() -> None:
    profile = load_profile("kms-6.6").narrowed(["pie", "relro", "relro"])
    assert profile.name == "kms-6.6"
    assert {name: dict(parameters) for name, parameters in profile.checks.items()} == {
        "pie": {},
        "relro": {"level": "partial"},
    }
    with pytest.raises(PolicyError, match="unknown check 'relo'; did you mean 'relro'"):
        load_profile("kms-6.6").narrowed(["relo"])
    with pytest.raises(PolicyError, match="checks='relro': expected a list of strings"):
        load_profile("kms-6.6").narrowed("relro")
    with pytest.raises(PolicyError, match="checks names no check"):
        load_profile("kms-6.6").narrowed([])
