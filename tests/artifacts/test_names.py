from __future__ import annotations

import os

import pytest

from pytest_hardening.artifacts.names import display, shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"libA.so", "libA.so"),
        ("größe.so".encode(), "größe.so"),
        (b"latin-\xe9", r"latin-\xe9"),
        (rb"latin-\xe9", r"latin-\\xe9"),
        (b"a\nb\tc", r"a\nb\tc"),
        (b"\x1b[2J", r"\x1b[2J"),
        ("a\u202eb".encode(), r"a\u202eb"),
        ("a\u2028b".encode(), r"a\u2028b"),
        (b"\xed\xb3\xa9", r"\xed\xb3\xa9"),  # a surrogate that somebody encoded
        (b"back\\slash", r"back\\slash"),
    ],
)
def test_shown(name: bytes, expected: str) -> None:
    assert shown(name) == expected
    assert shown(os.fsdecode(name)) == expected
    assert shown(name).isprintable()
    shown(name).encode("utf-8")


def test_two_names_are_never_shown_alike() -> None:
    parts = [b"\xff", rb"\xff", b"\\", b"\n", rb"\n", "\ufffd".encode(), b"x"]
    names = {one + two for one in parts for two in parts}
    assert len({shown(name) for name in names}) == len(names)


def test_display_is_relative_below_the_base() -> None:
    assert display("/base/sub/file", "/base") == "sub/file"
    assert display("/base/sub/file", "/base/") == "sub/file"
    assert display("/based/file", "/base") == "/based/file"
    assert display("/base/file", "/base/sub") == "/base/file"
    assert display("/file", "/") == "file"
