"""Which of the options that a distribution asks for a command lacks: not given, or taken back by what follows.

Sources: GCC manual, of options that exclude each other; ld manual, -z KEYWORD; dpkg-buildflags(1), area "hardening".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from ..elf.facts import Unit
from .format_warnings import refuses_format
from .recorded import options_of
from .recorded_flags import option_in_force

__all__ = ["missing_in_compile", "missing_in_link"]

_FORMAT = ("-Wformat", "-Wformat-security", "-Werror=format-security")
_FORTIFY = "-D_FORTIFY_SOURCE="
_STRONGER = {"-fstack-protector-strong": ("-fstack-protector-all",)}
_OPPOSITES = {"now": "lazy", "lazy": "now"}
_NOT_OPTIMISED = ("", "-O0")


def missing_in_compile(words: Sequence[str], wanted: Iterable[str], compiler: str) -> Iterator[str]:
    """Of some options those that are not in force in a command that compiles.

    Parameters
    ----------
    compiler: "gcc" or "clang"; empty where its name does not tell.
    """
    unit = Unit("", compiler=compiler or "gcc", flags=tuple(words), whole=True)
    options = list(options_of(unit))
    refused = refuses_format(options, compiler)
    for option in wanted:
        if option in _FORMAT:
            if refused or (refused is None and option_in_force(unit, option)):
                continue
            if option != "-Wformat" or not any(given.startswith(("-Wformat", "-Wall")) for given in options):
                yield option
        elif option.startswith(_FORTIFY):
            yield from _fortify(options, option)
        elif not any(option_in_force(unit, one) for one in (option, *_STRONGER.get(option, ()))):
            yield option


def _fortify(options: Iterable[str], wanted: str) -> Iterator[str]:
    level, optimised = 0, ""
    for option in options:
        if option.startswith(_FORTIFY):
            text = option[len(_FORTIFY) :]
            level = int(text) if text.isdecimal() else 0
        elif option in ("-D_FORTIFY_SOURCE", "-U_FORTIFY_SOURCE"):
            level = int(option.startswith("-D"))
        elif option.startswith("-O"):
            optimised = option
    least = wanted[len(_FORTIFY) :]
    if least.isdecimal() and level < int(least):
        yield wanted
    elif optimised in _NOT_OPTIMISED:
        yield f"-O2, as {wanted} does nothing without,"


def missing_in_link(words: Sequence[str], wanted: Iterable[str]) -> Iterator[str]:
    """Of some options those that are not in force in a command that links."""
    given = list(_linker_words(words))
    keywords = [word for before, word in pairwise(given) if before == "-z"]
    for option in wanted:
        asked = list(_linker_words([option]))
        if asked[:1] != ["-z"]:
            if not set(asked or [option]) <= {*given, *words}:
                yield option
            continue
        for keyword in asked[1::2]:
            opposite = _OPPOSITES.get(keyword, keyword[2:] if keyword.startswith("no") else f"no{keyword}")
            last = next((word for word in reversed(keywords) if word in (keyword, opposite)), "")
            if last != keyword:
                yield f"-Wl,-z,{keyword}"


def _linker_words(words: Iterable[str]) -> Iterator[str]:
    """What the compiler passes to the linker: -z and now of `-Wl,-z,now`, `-Xlinker -z -Xlinker now` and `-z now`."""
    following = iter(words)
    for word in following:
        if word.startswith("-Wl,"):
            for part in word.split(",")[1:]:
                yield from ("-z", part[2:]) if part.startswith("-z") and part != "-z" else (part,)
        elif word == "-Xlinker":
            yield next(following, "")
        elif word == "-z":
            yield from ("-z", next(following, ""))
        elif word.startswith("-z"):
            yield from ("-z", word[2:])
