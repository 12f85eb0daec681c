"""What a waiver is about, what it covers, and what it must not be."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from pytest_hardening.errors import PolicyError
from pytest_hardening.policy.culprits import Culprit, read_culprit
from pytest_hardening.policy.problems import read
from pytest_hardening.policy.waiver import Waiver, template

COPY = Culprit("F.c: copy()", "F.c", "copy")
NAMELESS = Culprit("0x1149-0x11a0")


def waiver(**keys: Any) -> Waiver:
    return Waiver.model_validate({"path": "build/libX.so", "checks": ["stack-protector"], "reason": "tested", **keys})


def test_without_unit_and_function_it_covers_everything_of_its_checks() -> None:
    assert waiver().covers_all("stack-protector", "build/libX.so")
    assert waiver().covers("stack-protector", "build/libX.so", NAMELESS)
    assert not waiver().covers_all("relro", "build/libX.so")
    assert not waiver().covers_all("stack-protector", "build/libY.so")


@pytest.mark.parametrize(
    ("keys", "covered"),
    [
        ({"unit": "F.c"}, True),
        ({"unit": "*.c"}, True),
        ({"unit": "G.c"}, False),
        ({"function": "copy"}, True),
        ({"function": "copy()"}, True),
        ({"function": "c*"}, True),
        ({"function": "grow"}, False),
        ({"unit": "F.c", "function": "copy"}, True),
        ({"unit": "G.c", "function": "copy"}, False),
        ({"unit": "F.c", "function": "grow"}, False),
    ],
)
def test_unit_and_function_both_must_match(keys: dict[str, str], covered: bool) -> None:
    assert waiver(**keys).covers("stack-protector", "build/libX.so", COPY) is covered
    assert not waiver(**keys).covers_all("stack-protector", "build/libX.so")
    assert not waiver(**keys).covers("stack-protector", "build/libX.so", NAMELESS)


def test_unit_without_a_folder_is_a_file_name() -> None:
    culprit = Culprit("/home/alice/src/F.c: copy()", "/home/alice/src/F.c", "copy")
    assert waiver(unit="F.c").covers("stack-protector", "build/libX.so", culprit)
    assert waiver(unit="*/src/F.c").covers("stack-protector", "build/libX.so", culprit)
    assert not waiver(unit="src/F.c").covers("stack-protector", "build/libX.so", culprit)


def test_members_of_an_archive_are_named_in_the_path_or_as_units() -> None:
    member = Culprit("B.o", "B.o", parts=(COPY,), is_member=True)
    for keys in ({"path": "build/X.a(B.o)"}, {"path": "build/X.a", "unit": "B.o"}, {"path": "*.a(B*)"}):
        assert waiver(**keys).concerns("stack-protector", "build/X.a")
        assert waiver(**keys).covers("stack-protector", "build/X.a", member)
        assert not waiver(**keys).covers("stack-protector", "build/X.a", Culprit("C.o", "C.o", is_member=True))
        assert not waiver(**keys).covers_all("stack-protector", "build/X.a")


def test_functions_of_a_member() -> None:
    keys = {"path": "build/X.a(B.o)", "unit": "B.o", "function": "copy"}
    assert waiver(**keys).covers("stack-protector", "build/X.a", COPY, "B.o")
    assert not waiver(**keys).covers("stack-protector", "build/X.a", COPY, "C.o")
    assert not waiver(**keys).covers("stack-protector", "build/X.a", Culprit("F.c: grow()", "F.c", "grow"), "B.o")
    assert not waiver(**keys).covers("stack-protector", "build/X.a", Culprit("B.o", "B.o", is_member=True))


def test_it_expires_on_the_day_itself() -> None:
    assert not waiver().expired(date(2999, 1, 1))
    limited = waiver(expires=date(2027, 3, 1))
    assert not limited.expired(date(2027, 2, 28))
    assert limited.expired(date(2027, 3, 1))


def test_all_mistakes_are_told_at_once() -> None:
    data = {
        "path": [],
        "checks": ["relo"],
        "unit": "",
        "function": "()",
        "reason": " ",
        "expires": "2027-03-01",
        "a": 1,
    }
    with pytest.raises(PolicyError) as caught:
        read(Waiver, data, "hardening.toml", "")
    assert str(caught.value).splitlines() == [
        "hardening.toml: 7 mistakes",
        "hardening.toml: path: an empty list: name at least one",
        "hardening.toml: checks[0]: unknown check 'relo'; did you mean 'relro'?",
        "hardening.toml: unit: an empty text",
        "hardening.toml: function: '()' names no function",
        "hardening.toml: reason: an empty text",
        "hardening.toml: expires: expected a date such as 2027-03-01, without quotes or time, not '2027-03-01'",
        "hardening.toml: a: unknown key 'a'; there are: path, checks, unit, function, reason, expires, owner",
    ]


@pytest.mark.parametrize("missing", ["path", "checks", "reason"])
def test_path_checks_and_reason_are_mandatory(missing: str) -> None:
    data = {"path": "a", "checks": ["relro"], "reason": "tested"}
    del data[missing]
    with pytest.raises(PolicyError, match=f"{missing}: missing"):
        read(Waiver, data, "hardening.toml", "")


def test_a_time_is_no_day() -> None:
    with pytest.raises(PolicyError, match="expires: expected a date"):
        read(Waiver, {"path": "a", "checks": ["pie"], "reason": "b", "expires": datetime(2027, 3, 1)}, "h.toml", "")


def test_proposed_waiver_is_for_one_unit() -> None:
    core, net = (read_culprit(f"/src/{folder}/util.c: init()", "/src") for folder in ("core", "net"))
    assert 'unit = "core/util.c"\nfunction = "init"' in template("stack-protector", "build/libX.so", [core.name])
    assert waiver(unit="core/util.c").covers("stack-protector", "build/libX.so", core)
    assert not waiver(unit="core/util.c").covers("stack-protector", "build/libX.so", net)
    assert waiver(unit="/src/core/*").covers("stack-protector", "build/libX.so", core)
    outside = [f"/home/alice/{folder}/util.c: init()" for folder in ("a/core", "b/core", "net")]
    proposed = template("stack-protector", "build/libX.so", outside)
    assert [line for line in proposed.splitlines() if line.startswith("unit")] == [
        'unit = "*/a/core/util.c"',
        'unit = "*/b/core/util.c"',
        'unit = "*/net/util.c"',
    ]


def test_function_is_covered_in_all_that_the_compiler_makes_of_it() -> None:
    for symbol in ("work", "work.constprop.0", "work.part.1.cold"):
        assert waiver(function="work").covers("stack-protector", "build/libX.so", read_culprit(f"a.c: {symbol}()"))
        proposed = template("stack-protector", "build/libX.so", [f"a.c: {symbol}()"])
        assert 'function = "work"' in proposed
    assert 'function = "init"' in template("stack-protector", "build/libX.so", ["util.c: init() #2"])
    copy = read_culprit("main.copy()")
    assert not waiver(function="main").covers("stack-protector", "build/libX.so", copy)
