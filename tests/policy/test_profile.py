"""Profiles: the built-in ones, users' own, and what is said when one is wrong."""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pytest_hardening.checks.registry import check_names, get_check
from pytest_hardening.errors import PolicyError
from pytest_hardening.model import Kind
from pytest_hardening.policy.profile import DEFAULT_PROFILE, Target, built_in_profiles, load_profile

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


RECORDED: dict[str, dict[str, Any]] = {"format-security": {}}  # where commands are known
DROP_ALL = "".join(f"{check} = false\n" for check in check_names())


def write(folder: Path, text: str, name: str = "ours.toml") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def checks(name: str) -> dict[str, dict[str, Any]]:
    return {check: dict(parameters) for check, parameters in load_profile(name).checks.items()}


def test_names() -> None:
    assert {"debian-all", "kms-6.6", "kms-6.7", "recommended"} <= set(built_in_profiles())
    assert DEFAULT_PROFILE in built_in_profiles()


@pytest.mark.parametrize("name", built_in_profiles())
def test_built_in_profile_has_what_its_file_says(name: str) -> None:
    data = tomllib.loads(files("pytest_hardening").joinpath(f"policy/profiles/{name}.toml").read_text("utf-8"))
    profile = load_profile(name)
    assert profile.name == name
    assert profile.description == data["description"] != ""
    own = data.get("checks", {})
    assert {check for check, parameters in own.items() if parameters is not False} <= set(profile.checks)
    of_some = {check for when in data.get("when", ()) for check, asked in when["checks"].items() if asked is not False}
    assert "extends" in data or set(profile.checks) == set(own) | of_some
    for check, parameters in own.items():
        for key, value in (parameters or {}).items():
            assert key == "unknown" or profile.checks[check][key] == get_check(check).settings({key: value})[key]
    assert list(profile.checks) == [check for check in check_names() if check in profile.checks]


def test_kms_profiles() -> None:
    assert checks("kms-6.6") == {**KMS_66, **RECORDED}
    assert checks("kms-6.7") == {**KMS_67, **RECORDED}


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
    expected = {**KMS_67, **RECORDED, "fortify": {"level": 3}, "nx-stack": {}}
    del expected["pic"]
    assert checks(path) == expected


def test_extends_alone(tmp_path: Path) -> None:
    assert checks(write(tmp_path, "extends = 'kms-6.6'")) == {**KMS_66, **RECORDED}


def test_extends_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "extends = '../base.toml'\n[checks]\npie = {}\n", "teams/media.toml")
    write(tmp_path, "extends = 'kms-6.6'\n[checks]\nfortify = false\n", "base.toml")
    monkeypatch.chdir("/")
    expected = {"pie": {}, "relro": {"level": "partial"}, "stack-protector": {"level": "strong"}, **RECORDED}
    assert checks(str(tmp_path / "teams/media.toml")) == expected
    monkeypatch.chdir(tmp_path)
    assert checks("./teams/media.toml") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("check = {}", "check: unknown key 'check'; did you mean 'checks'?"),
        ("zzz = 1\n[checks]\npie = {}", "zzz: unknown key 'zzz'; there are: *description, extends"),
        ("[checks]\nstack-protecter = {}", "checks.stack-protecter: unknown check *; did you mean 'stack-protector'?"),
        ("[checks]\nzzz = {}", f"checks.zzz: unknown check 'zzz'; there are: {', '.join(check_names())}"),
        ("[checks]\nzzz = false", f"checks.zzz: unknown check 'zzz'; there are: {', '.join(check_names())}"),
        ("[checks]\nrelro = {levl = 'full'}", "checks.relro.levl: unknown parameter 'levl'; did you mean 'level'?"),
        ("[checks]\npie = {lvl = 1}", "checks.pie.lvl: unknown parameter 'lvl'; there are: unknown"),
        ("[checks]\nrelro = {level = 'most'}", "checks.relro.level: expected one of 'partial', 'full', not 'most'"),
        ("[checks]\nfortify = {level = '2'}", "checks.fortify.level: expected one of 1, 2, 3, not '2'"),
        ("[checks]\nfortify = {level = true}", "checks.fortify.level: expected one of 1, 2, 3, not true"),
        ("[checks]\nrpath = {allow = '/opt'}", "checks.rpath.allow: expected a list of strings, not '/opt'"),
        ("[checks]\nrpath = {allow = [1]}", "checks.rpath.allow: expected a list of strings, not [1]"),
        ("[checks]\nrelro = {unknown = 1}", "checks.relro.unknown: expected one of 'fail', 'warn', 'ignore', not 1"),
        ("[checks]\npie = true", "checks.pie: true: write pie = {} to require it, pie = false to drop it"),
        ("[checks]\npie = 'yes'", "checks.pie: expected a table of parameters, or false; not 'yes'"),
        ("checks = ['pie']", "checks: expected a table: check = { parameters }, or check = false"),
        ("", "requires no check, so it could never fail"),
        ("[checks]\nexported-symbols = {}", "could never fail: say what exported-symbols (allow) shall ask for"),
        (
            "[checks]\ndebug-info = {}\nsoftware-cfi = {}\nforbidden-imports = { forbid = [] }",
            "could never fail: say what forbidden-imports (forbid) and debug-info (expect) and software-cfi (require) "
            "shall ask for",
        ),
        ("extends = 'debian-all'\n[checks]\n" + DROP_ALL, "requires no check, so it could never fail"),
        ("extends = 6.7", "extends: expected a list of texts, not 6.7"),
        ("extends = []", "extends: an empty list: name at least one"),
        ("extends = ['kms-6.7', 'kms-6.8']", "extends[1]: unknown profile 'kms-6.8'; did you mean 'kms-6.7'?"),
        ("extends = 'no.toml'", "extends: profile *no.toml: cannot be read: No such file or directory"),
        ("description = 1\n[checks]\npie = {}", "description: expected a text, not 1"),
        ("unknown = 'no'\n[checks]\npie = {}", "unknown: expected one of 'fail', 'warn', 'ignore', not 'no'"),
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
    with pytest.raises(PolicyError, match=f"^profile {re.escape(base)}: checks.pies: unknown check 'pies'"):
        load_profile(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kms-6.8", "unknown profile 'kms-6.8'; did you mean 'kms-6.7'?"),
        ("zzz", f"unknown profile 'zzz'; there are: {', '.join(built_in_profiles())}"),
        ("", f"unknown profile ''; there are: {', '.join(built_in_profiles())}"),
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


GLIBC, MUSL = Target(Kind.PIE, "x86-64", "glibc"), Target(Kind.PIE, "x86-64", "musl")


def test_later_layers_change_single_parameters(tmp_path: Path) -> None:
    """Of one check the parameters that a layer does not name stay, and so does what unknown does."""
    write(tmp_path, "[checks]\nfortify = {level = 1, unknown = 'fail'}\nrelro = {level = 'partial'}", "base.toml")
    profile = load_profile(write(tmp_path, "extends = 'base.toml'\n[checks]\nfortify = {level = 3}\nrelro = {}"))
    assert dict(profile.checks) == {"relro": {"level": "partial"}, "fortify": {"level": 3}}
    assert profile.demands(GLIBC).unknown == {"relro": "warn", "fortify": "fail"}


def test_of_several_bases_the_later_wins_and_what_they_share_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "[checks]\nfortify = {level = 1}\npie = {}", "base.toml")
    write(tmp_path, "extends = 'base.toml'\n[checks]\nfortify = {level = 3}\nrelro = {level = 'partial'}", "one.toml")
    write(tmp_path, "extends = 'base.toml'\n[checks]\nrelro = {level = 'full'}", "two.toml")
    path = write(tmp_path, "extends = ['one.toml', 'two.toml']")
    assert checks(path) == {"pie": {}, "relro": {"level": "full"}, "fortify": {"level": 3}}


def test_a_later_unknown_wins_over_an_earlier_one_of_a_check(tmp_path: Path) -> None:
    base = write(tmp_path, "unknown = 'ignore'\n[checks]\npie = {}\nrelro = {unknown = 'warn'}", "base.toml")
    assert load_profile(base).demands(GLIBC).unknown == {"pie": "ignore", "relro": "warn"}
    path = write(tmp_path, "extends = 'base.toml'\nunknown = 'fail'\n[checks]\nfortify = {unknown = 'ignore'}")
    assert load_profile(path).demands(GLIBC).unknown == {"pie": "fail", "relro": "fail", "fortify": "ignore"}


def test_when_drops_changes_and_adds(tmp_path: Path) -> None:
    text = """
        [checks]
        fortify = {level = 3}
        relro = {}
        [[when]]
        libc = "musl"
        reason = "musl has no FORTIFY"
        checks.fortify = false
        checks.relro = {level = "partial", unknown = "fail"}
        checks.nx-stack = {}
    """
    profile = load_profile(write(tmp_path, text))
    assert dict(profile.checks) == {"relro": {"level": "full"}, "nx-stack": {}, "fortify": {"level": 3}}
    everywhere, on_musl = profile.demands(GLIBC), profile.demands(MUSL)
    assert everywhere.requests == {"relro": {"level": "full"}, "fortify": {"level": 3}}
    assert everywhere.dropped == {"nx-stack": "only where libc is musl: musl has no FORTIFY"}
    assert on_musl.requests == {"relro": {"level": "partial"}, "nx-stack": {}}
    assert on_musl.dropped == {"fortify": "musl has no FORTIFY"}
    assert on_musl.unknown == {"relro": "fail", "nx-stack": "warn"}


def test_a_layer_that_changes_a_parameter_does_not_undo_when(tmp_path: Path) -> None:
    base = "[checks]\nfortify={}\npie={}\n[[when]]\nlibc='musl'\nreason='none'\nchecks.fortify=false"
    write(tmp_path, base, "base.toml")
    path = write(tmp_path, "extends = 'base.toml'\n[checks]\nfortify = {level = 3}")
    assert load_profile(path).demands(MUSL).dropped == {"fortify": "none"}
    again = "\n[[when]]\nlibc='musl'\nreason='ours has it'\nchecks.fortify={}"
    assert "fortify" in load_profile(write(tmp_path, Path(path).read_text() + again)).demands(MUSL).requests


@pytest.mark.parametrize(
    ("condition", "target", "fits"),
    [
        ("kind = 'module'", Target(Kind.MODULE, "arm", None), True),
        ("kind = ['pie', 'module']", Target(Kind.PIE, "arm", None), True),
        ("kind = 'module'", Target(Kind.PIE, "arm", None), False),
        ("kind = 'archive'", Target(Kind.OBJECT, "arm", None, in_archive=True), True),
        ("kind = 'archive'", Target(Kind.OBJECT, "arm", None), False),
        ("kind = 'object'", Target(Kind.OBJECT, "arm", None, in_archive=True), True),
        ("machine = ['arm', 'armeb']", Target(Kind.PIE, "arm", "glibc"), True),
        ("machine = 'arm'", Target(Kind.PIE, "aarch64", "glibc"), False),
        ("machine = 'sparcv9'", Target(Kind.PIE, "sparcv9", "glibc"), True),
        ("libc = 'unknown'", Target(Kind.PIE, "arm", None), True),
        ("libc = 'musl'", Target(Kind.PIE, "arm", None), False),
        ("recorded = true", Target(Kind.PIE, "arm", None, recorded=True), True),
        ("recorded = true", Target(Kind.PIE, "arm", None), False),
        ("recorded = false\nkind = 'pie'", Target(Kind.PIE, "arm", None), True),
        ("recorded = false", Target(Kind.PIE, "arm", None, recorded=True), False),
        ("libc = 'musl'\nkind = 'pie'", Target(Kind.PIE, "arm", "musl"), True),
        ("libc = 'musl'\nkind = 'pie'", Target(Kind.MODULE, "arm", "musl"), False),
    ],
)
def test_conditions(tmp_path: Path, condition: str, target: Target, fits: bool) -> None:
    text = f"[checks]\npie = {{}}\n[[when]]\nreason = 'so'\nchecks.pie = false\n{condition}"
    assert load_profile(write(tmp_path, text)).demands(target).dropped == ({"pie": "so"} if fits else {})


def test_narrowed_keeps_conditions_and_brings_back_what_was_dropped(tmp_path: Path) -> None:
    text = "[checks]\nfortify={level=3}\npie={}\n[[when]]\nlibc='musl'\nreason='none'\nchecks.fortify=false"
    profile = load_profile(write(tmp_path, text)).narrowed(["fortify", "relro"])
    assert profile.demands(GLIBC).requests == {"relro": {"level": "full"}, "fortify": {"level": 3}}
    assert profile.demands(MUSL).dropped == {"fortify": "none"}
    without = write(tmp_path, "extends = 'kms-6.7'\n[checks]\npie = false")
    assert dict(load_profile(without).narrowed(["pie"]).checks) == {"pie": {}}


def test_a_later_false_ends_what_earlier_layers_say_of_some_targets(tmp_path: Path) -> None:
    write(tmp_path, "[checks]\npie={}\n[[when]]\nlibc='musl'\nreason='so'\nchecks.relro={level='partial'}", "base.toml")
    profile = load_profile(write(tmp_path, "extends = 'base.toml'\n[checks]\nrelro = false"))
    assert dict(profile.checks) == profile.demands(MUSL).requests == {"pie": {}}


def test_a_check_that_some_targets_ask_for_something_can_fail(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    rule = "[[when]]\nkind='module'\nreason='plug-ins'\nchecks.exported-symbols = { allow = ['init'] }"
    file.write_text(f"[checks]\nexported-symbols = {{}}\n{rule}")
    assert load_profile(str(file)).why_idle == ""


def test_what_is_demanded_of_recorded_files_alone(tmp_path: Path) -> None:
    text = (
        "[checks]\npie = {}\n[[when]]\nrecorded = true\nreason = 'so'\nchecks = {relro = {}, pie = {}, soname = {}}\n"
    )
    also = "[[when]]\nlibc = 'musl'\nreason = 'so'\nchecks.soname = {}\n"
    profile = load_profile(write(tmp_path, text + also))
    assert [check for check in profile.checks if profile.asks_for_records(check)] == ["relro"]
    assert "a build system tells how it was made: so" in profile.demands(GLIBC).dropped["relro"]
