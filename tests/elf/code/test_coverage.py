"""Code outside of all known functions that is no function's either."""

from __future__ import annotations

import struct

import pytest

from pytest_hardening.elf.code.coverage import _is_stubs

NOP, BACK, STORE, ZERO = 0xD503201F, 0x17FFFEB0, 0xB9000001, 0


def over(count: int) -> int:
    """A branch over as many words, itself among them."""
    return 0x14000000 | count


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # what GNU ld 2.40 writes, with less room
        ([NOP, over(8), NOP, STORE, BACK, ZERO, ZERO, ZERO, ZERO], True),
        ([over(7), NOP, STORE, BACK, STORE, BACK, ZERO], True),
        # a branch that leads elsewhere, code that is no stub, and neither
        ([NOP, over(5), NOP, STORE, BACK, ZERO, ZERO, ZERO, ZERO], False),
        ([NOP, over(7), NOP, STORE, STORE, STORE, STORE, BACK], False),
        ([STORE] * 12, False),
        ([NOP] * 3, False),
        ([], False),
    ],
)
def test_stubs_of_an_erratum(words: list[int], expected: bool) -> None:
    assert _is_stubs(struct.pack(f"<{len(words)}I", *words)) is expected
