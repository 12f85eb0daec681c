"""The policy file: what may stand in it, and that every mistake is named with its place, all at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_hardening.checks.registry import check_names, get_check
from pytest_hardening.errors import PolicyError
from pytest_hardening.policy.document import PolicyDocument
from pytest_hardening.policy.policy import load_policy
from pytest_hardening.policy.problems import parsed, read

MISTAKES = """
profile = "kms-6.8"
unknown = "perhaps"
exclude = ["third_party/*", 3]
baselin = "known.txt"

[checks]
stack-protecter = {}
relro = { level = "most" }
fortify = { levl = 3 }
rpath = { allow = "/opt" }
recorded-flags = { with_flags = ["two words"] }
pie = true

[[when]]
machine = ["amd64", "arm"]
libc = []
checks.fortify = false

[[when]]
reason = "everywhere"
checks.pie = false

[[artifact]]
unknown = "fail"

[[artifact]]
path = "build/*.so"
kind = "shared-libary"
checks.relro.level = 2

[[artifact]]
path = "build/*.a"

[[waiver]]
path = "build/libLEGACY.so"
checks = ["stack-protecto"]
expires = "2027-03-01"
resson = "old"
"""

PLACES = r"""
profile: unknown profile 'kms-6.8'; did you mean 'kms-6.7'\?
unknown: expected one of 'fail', 'warn', 'ignore', not 'perhaps'
exclude\[1\]: expected a text, not 3
baselin: unknown key 'baselin'; did you mean 'baseline'\?
checks\.stack-protecter: unknown check 'stack-protecter'; did you mean 'stack-protector'\?
checks\.relro\.level: expected one of 'partial', 'full', not 'most'
checks\.fortify\.levl: unknown parameter 'levl'; did you mean 'level'\?
checks\.rpath\.allow: expected a list of strings, not '/opt'
checks\.recorded-flags\.with_flags: .*expected one option in one word
checks\.pie: true: write pie = \{\} to require it, pie = false to drop it
when\[0\]\.machine\[0\]: unknown machine 'amd64'.*
when\[0\]\.libc: an empty list.*
when\[0\]\.reason: missing, and mandatory
when\[1\]: one of kind, machine, libc and recorded is needed.*
artifact\[0\]: path or kind is needed.*
artifact\[1\]\.kind: unknown kind 'shared-libary'; did you mean 'shared-library'\?
artifact\[1\]\.checks\.relro\.level: expected one of 'partial', 'full', not 2
artifact\[2\]: one of profile, unknown and checks is needed.*
waiver\[0\]\.checks\[0\]: unknown check 'stack-protecto'; did you mean 'stack-protector'\?
waiver\[0\]\.reason: missing, and mandatory
waiver\[0\]\.expires: expected a date such as 2027-03-01, without quotes or time, not '2027-03-01'
waiver\[0\]\.resson: unknown key 'resson'; did you mean 'reason'\?
"""


A_DATE = "expected a date such as 2027-03-01, without quotes or time"
TIMES = {
    "2027-03-01T00:00:00": "2027-03-01T00:00:00",
    "2027-03-01 10:30:00+02:00": "2027-03-01T10:30:00+02:00",
    "07:32:00": "07:32:00",
    "'2027-03-01'": "'2027-03-01'",
    "20270301": "20270301",
}
KINDS = "executable, pie, static, static-pie, shared-library, module, object, archive, kernel-module"


def test_one_run_tells_every_mistake_and_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hardening.toml").write_text(MISTAKES)
    with pytest.raises(PolicyError) as caught:
        load_policy(str(tmp_path))
    head, *lines = str(caught.value).splitlines()
    wanted = PLACES.strip().splitlines()
    assert head == f"hardening.toml: {len(wanted)} mistakes"
    for pattern in wanted:
        matching = [line for line in lines if re.fullmatch(f"hardening\\.toml: {pattern}", line)]
        assert len(matching) == 1, pattern
    assert len(lines) == len(wanted)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[when]\nlibc='musl'", "when: expected an array of tables, written with two brackets: [[...]]"),
        ("when = 3", "when: expected an array of tables, written with two brackets: [[...]]"),
        ("when = [3]", "when[0]: expected a table, not 3"),
        ("exclude = ['']", "exclude[0]: an empty text"),
        ("exclude = ''", "exclude: an empty text"),
        ("exclude = []", "exclude: an empty list: name at least one"),
        ("[[waiver]]\npath=[]\nchecks='pie'\nreason='x'", "waiver[0].path: an empty list: name at least one"),
        ("[[artifact]]\npath=[]\nunknown='fail'", "artifact[0].path: an empty list: name at least one"),
        ("profile = 3", "profile: expected a text, not 3"),
        ("profile = 'no/such.toml'", "profile: profile *no/such.toml: cannot be read: No such file or directory"),
        ("checks = false", "checks: expected a table: check = { parameters }, or check = false"),
        ("[checks]\npie.unknown = ['fail']", "checks.pie.unknown: expected one of * not ['fail']"),
        ("[[when]]\nkind=[['pie']]\nreason='x'\nchecks.pie=false", "when[0].kind[0]: expected a text, not ['pie']"),
        ("[[when]]\nkind='pie'\nreason='x'\nchecks=[]", "when[0].checks: expected a table: *"),
        ("[[waiver]]\npath='x'\nchecks='pie'\nreason=' '", "waiver[0].reason: *"),
        ("[[waiver]]\npath='x'\nchecks='pie'\nreason='x'\nexpires=1", "waiver[0].expires: expected a date *"),
        *(
            (
                f"[[waiver]]\npath='x'\nchecks='pie'\nreason='x'\nexpires={given}",
                f"waiver[0].expires: {A_DATE}, not {shown}",
            )
            for given, shown in TIMES.items()
        ),
        ("[[artifact]]\nkind='core'\nunknown='fail'", f"artifact[0].kind: unknown kind 'core'; there are: {KINDS}"),
        ("[[artifact]]\nkind='debug-only'\nunknown='fail'", "artifact[0].kind: unknown kind 'debug-only'; *"),
        ("a = 1\na = 2", "not valid TOML: *"),
        ("a = " + "[" * 5000 + "]" * 5000, "not valid TOML: *"),
    ],
)
def test_single_mistakes(text: str, message: str) -> None:
    pattern = re.escape(f"hardening.toml: {message}").replace(r"\*", ".*")
    with pytest.raises(PolicyError, match=f"^{pattern}$"):
        read(PolicyDocument, parsed(text, "hardening.toml"), "hardening.toml", "/")


def test_one_or_several(tmp_path: Path) -> None:
    text = (
        "[[when]]\nlibc = 'musl'\nreason = 'x'\nchecks.pie = false\n[[artifact]]\npath = ['a', 'b']\nunknown = 'fail'"
    )
    document = read(PolicyDocument, parsed(text, "x"), "x", "/")
    assert document.when[0].libc == ("musl",)
    assert document.artifact[0].path == ("a", "b")
    for exclude in ("'a'", "['a']"):
        assert read(PolicyDocument, parsed(f"exclude = {exclude}", "x"), "x", "/").exclude == ("a",)


@pytest.mark.parametrize("check", check_names())
def test_every_check_and_choice_may_be_demanded(check: str) -> None:
    parameters = get_check(check).parameters
    assert "unknown" not in parameters  # the key that stands beside every check's own
    for name, parameter in parameters.items():
        for value in parameter.choices or ([],):
            document = read(PolicyDocument, {"checks": {check: {name: value, "unknown": "fail"}}}, "x", "/")
            assert document.checks[check] is not None
