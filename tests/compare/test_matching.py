"""Which file of one build is which of the other: the rules, one by one."""

from __future__ import annotations

import pytest

from pytest_hardening.compare.matching import matched, matched_members, without_version


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("lib/libx.so", "lib/libx.so"),
        ("lib/libx.so.1", "lib/libx.so"),
        ("libx.so.1.2.3", "libx.so"),
        ("libx-1.2.so", "libx.so"),
        ("libx-1.2.so.4", "libx.so"),
        ("libgtk-3.so.0", "libgtk-3.so"),
        ("bin/prog-2.10.1", "bin/prog"),
        ("bin/prog", "bin/prog"),
        ("lib-1.2/x.a", "lib-1.2/x.a"),
        ("libx-1.2.a", "libx.a"),
    ],
)
def test_without_version(path: str, expected: str) -> None:
    assert without_version(path) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # the same path
        (["bin/p", "lib/x.so"], ["bin/p", "lib/x.so"], {"bin/p": "bin/p", "lib/x.so": "lib/x.so"}),
        # reports name the build folder: what all paths share in front is left off
        (
            ["build/p", "build/x.so"],
            ["out/new/p", "out/new/x.so"],
            {"out/new/p": "build/p", "out/new/x.so": "build/x.so"},
        ),
        (["/tmp/a/lib/x.so"], ["lib/x.so"], {"lib/x.so": "/tmp/a/lib/x.so"}),
        # ... but no folder that tells two files apart
        (["bin/p", "lib/p"], ["lib/p"], {"lib/p": "lib/p"}),
        (["lib/a/p", "lib/b/p", "bin/p"], ["lib/a/p", "lib/b/p"], {"lib/a/p": "lib/a/p", "lib/b/p": "lib/b/p"}),
        # another version in the same folder, before the same name elsewhere
        (["lib/x.so.1.2", "p"], ["lib/x.so.1.3", "p"], {"lib/x.so.1.3": "lib/x.so.1.2", "p": "p"}),
        (
            ["a/x.so.1", "b/x.so.1", "p"],
            ["a/x.so.2", "b/x.so.2", "p"],
            {"a/x.so.2": "a/x.so.1", "b/x.so.2": "b/x.so.1", "p": "p"},
        ),
        # a file that moved, with and without another version
        (["lib/x.so", "p"], ["lib64/x.so", "p"], {"lib64/x.so": "lib/x.so", "p": "p"}),
        (["lib/x.so.1", "p"], ["lib64/x.so.2", "p"], {"lib64/x.so.2": "lib/x.so.1", "p": "p"}),
        # not where it could be two
        (["lib/x.so.1", "p"], ["lib/x.so.2", "lib/x.so.3", "p"], {"p": "p"}),
        (["a/x.so", "b/x.so", "p"], ["c/x.so", "p"], {"p": "p"}),
        # nothing in common
        (["a.so"], ["b.so"], {}),
        ([], ["b.so"], {}),
    ],
)
def test_matched(old: list[str], new: list[str], expected: dict[str, str]) -> None:
    assert {path: match.old for path, match in matched(old, new).items()} == expected


def test_an_exact_path_wins_over_a_version() -> None:
    found = matched(["x.so.1", "x.so.2"], ["x.so.2", "x.so.3"])
    assert found == {"x.so.2": ("x.so.2", True), "x.so.3": ("x.so.1", False)}


def test_members() -> None:
    def names(*members: str) -> list[tuple[str, int]]:
        return [(member, members[:place].count(member)) for place, member in enumerate(members)]

    assert matched_members(names("a.o", "b.o"), names("b.o", "c.o")) == {("b.o", 0): ("b.o", 0)}
    assert matched_members(names("a.o"), names("a.c.o")) == {("a.c.o", 0): ("a.o", 0)}
    assert matched_members(names("a.o"), names("a.c.o", "a.cpp.o")) == {}
    assert matched_members(names("a.o", "a.c.o"), names("a.c.o")) == {("a.c.o", 0): ("a.c.o", 0)}
    assert matched_members(names("a.o", "a.o"), names("a.o")) == {("a.o", 0): ("a.o", 0)}
    assert len(matched_members(names("a.o", "a.o"), names("a.o", "a.o"))) == 2
