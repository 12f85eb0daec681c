"""How command lines are split: as the shell does."""

from __future__ import annotations

import random
import subprocess
import time

import pytest

from pytest_hardening.recipe import CompileCommand, Fragment, Recipe, commands_of, words_of


def test_words_are_those_of_the_shell() -> None:
    """Random lines of quotes and backslashes; the shell says what their words are."""
    source = random.Random(7)  # noqa: S311
    lines = ["".join(source.choice("ab =\t'\"\\-") for _ in range(source.randrange(16))) for _ in range(3000)]
    split = {line: words for line in lines if (words := _words(line)) is not None}
    assert len(split) > 500
    script = "".join(f"printf '%s\\0' X {line} Y\n" for line in split)
    told = subprocess.run(["dash"], input=script, capture_output=True, text=True, check=True).stdout.split("\0")
    expected = [word for words in split.values() for word in ("X", *words, "Y")]
    assert told[:-1] == expected


def _words(line: str) -> tuple[str, ...] | None:
    try:
        return words_of(line)
    except ValueError:
        return None


def test_operators_are_words() -> None:
    assert words_of(": && gcc -c 'a;b.c';(ar x)2>&1") == (
        *(":", "&&", "gcc", "-c", "a;b.c", ";(", "ar", "x", ")", "2", ">&", "1"),
    )


@pytest.mark.parametrize("text", ["'a", '"a', "a\\", '"\\"'])
def test_quotes_without_partner(text: str) -> None:
    with pytest.raises(ValueError, match="without a partner"):
        words_of(text)
    assert Fragment(text).arguments == (text,)  # as a build description may have it


@pytest.mark.parametrize("text", ['"\\' * 200_000, "'\"\\" * 200_000, "a" * 1_000_000 + '"', "'a'" * 200_000 + "'"])
def test_long_lines_take_no_time(text: str) -> None:
    start = time.monotonic()
    _words(text)
    assert time.monotonic() - start < 2


def test_many_sources_of_one_name_take_no_time() -> None:
    options = (Fragment("-O2 -Wformat"), Fragment("-ffile-prefix-map=/s=/usr/src"))
    units = tuple(CompileCommand(f"/s/{i}/main.c", "C", options, f"/b/{i}/main.c.o") for i in range(5000))
    recipe = Recipe("t", "STATIC", units=units)
    start = time.monotonic()
    for number, unit in enumerate(units):
        assert commands_of(recipe, unit.source) == commands_of(recipe, f"{number}/main.c", "/usr/src") == (unit,)
        assert len(commands_of(recipe, "main.c", "", "main.c.o")) == 1
    assert time.monotonic() - start < 2


def test_a_library_that_is_loaded_lies_not_inside() -> None:
    recipe = Recipe("t", "EXECUTABLE", foreign=("-lz", "-lq", "/x/liba.a"))
    assert recipe.foreign_beside(["libz.so.1", "liba.so", "libqq.so.5"]) == ("-lq", "/x/liba.a")
