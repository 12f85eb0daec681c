"""Which unit or function fails that did not: names, as checks write them."""

from __future__ import annotations

import pytest

from pytest_hardening.compare.blame import are_named, fresh
from pytest_hardening.compare.records import Answer
from pytest_hardening.model import Outcome


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (["F.c: copy()"], ["F.c: copy()", "F.c: fill()"], ["F.c: fill()"]),
        (["F.c: copy()"], ["G.c: copy()"], ["G.c: copy()"]),
        # the same source in another folder
        (["/old/src/F.c: copy()"], ["/new-1.3/src/F.c: copy()"], []),
        (["/old/F.c"], ["F.c"], []),
        # ... but two of one name were one
        (["a/F.c: copy()"], ["a/F.c: copy()", "b/F.c: copy()"], ["b/F.c: copy()"]),
        (["a/F.c: copy()", "b/F.c: copy()"], ["b/F.c: copy()"], []),
        # what compilers make of a function
        (["F.c: copy()"], ["F.c: copy.part.0()"], []),
        (["F.c: copy.isra.0()"], ["F.c: copy.constprop.1()"], []),
        (["F.c: copy()"], ["F.c: copy()", "F.c: copy.part.0()"], []),
        (["F.c: copy()", "F.c: copy.part.0()"], ["F.c: copy()"], []),
        (["copy()"], ["copy()", "copy()"], ["copy()"]),
        (["main.copy()"], ["main.copy()", "main.read()"], ["main.read()"]),  # Go
        (["DT_RUNPATH '/tmp/lib'"], ["DT_RUNPATH '/var/tmp/lib'"], ["DT_RUNPATH '/var/tmp/lib'"]),
        (["/opt/a/libx.so"], ["/opt/b/libx.so"], ["/opt/b/libx.so"]),
        # one side knows less
        (["copy()"], ["F.c: copy()"], []),
        (["F.c: copy()"], ["copy()"], []),
        (["F.c: copy()"], ["fill()"], ["fill()"]),
        (["F.c"], ["F.c: copy()", "G.c: fill()"], ["G.c: fill()"]),
        (["F.c: copy()"], ["F.c"], []),
        # members of archives
        (["B.o"], ["A.o", "B.o"], ["A.o"]),
    ],
)
def test_fresh(old: list[str], new: list[str], expected: list[str]) -> None:
    assert list(fresh(old, new)) == expected


@pytest.mark.parametrize(
    ("failing", "count", "expected"),
    [
        (("F.c: copy()",), 1, True),
        (("F.c: copy()",), 70, False),
        (("0x1149-0x11a0",), 1, False),
        (("F.c: copy()", "F.c: 0x1149-0x11a0"), 2, False),
        ((), 0, False),
    ],
)
def test_are_named(failing: tuple[str, ...], count: int, expected: bool) -> None:
    assert are_named(Answer(Outcome.FAIL, (), failing, count)) is expected
