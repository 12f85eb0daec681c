"""Which step and which option decide what a check finds: for saying what a build description lacks.

Sources: GCC manual ("Options for Code Generation Conventions", "Program Instrumentation Options", "Options That Control
Optimization", "Options for Linking"), clang manual, ld manual (`-z`), feature_test_macros(7).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ..recipe import Fragment

__all__ = ["COMPILE", "LINK", "PIC", "SWITCHES", "Given", "Switch", "compiler_options", "linker_options"]

COMPILE, LINK = "compile", "link"


class Given(NamedTuple):
    """One option as it was given.

    Parameters
    ----------
    option: in one form: `-z now`, `-D_FORTIFY_SOURCE=2`.
    text: the argument that holds it: `-Wl,-z,relro,-z,now`.
    where: the place that gave it; empty where that is not known.
    """

    option: str
    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch of a step; the last option of it counts.

    Parameters
    ----------
    step: `COMPILE` or `LINK`.
    wanted: the option that mends it, as a compiler driver takes it; empty where nothing need be given.
    on, off: patterns of the options that switch it on and off.
    """

    step: str
    wanted: str
    on: str = ""
    off: str = ""

    def last(self, options: Iterable[Given]) -> Given | None:
        """The option that counts, or None where none of it was given."""
        found = None
        for given in options:
            if re.fullmatch(self.on, given.option) or re.fullmatch(self.off, given.option):
                found = given
        return found

    def is_on(self, given: Given) -> bool:
        return re.fullmatch(self.on, given.option) is not None


#: What code in a shared library needs.
PIC = Switch(COMPILE, "-fPIC", r"-f(PIC|pic)", r"-fno-(pic|PIC|pie|PIE)|-f(PIE|pie)")
_NOW = Switch(LINK, "-Wl,-z,now", "-z now", "-z lazy")
_OPTIMIZED = Switch(COMPILE, "-O2", r"-O([1-9]|s|z|g|fast)?", "-O0")

#: By check. What is not here depends on more than an option.
SWITCHES: Mapping[str, tuple[Switch, ...]] = {
    "pie": (Switch(LINK, "-pie", "-pie|-static-pie", "-no-pie|-nopie"),),
    "pic": (PIC,),
    "text-relocations": (PIC, Switch(LINK, "", "-z text", "-z notext")),
    "relro": (Switch(LINK, "-Wl,-z,relro", "-z relro", "-z norelro"), _NOW),
    "bind-now": (_NOW,),
    "nx-stack": (Switch(LINK, "-Wl,-z,noexecstack", "-z noexecstack", "-z execstack"),),
    "rwx-segments": (Switch(LINK, "", "", "-N|--omagic"),),
    "rpath": (Switch(LINK, "", "", r"--?rpath=.*"),),
    "stack-protector": (
        Switch(COMPILE, "-fstack-protector-strong", r"-fstack-protector(-strong|-all)", "-f(no-)?stack-protector"),
    ),
    "stack-clash": (
        Switch(COMPILE, "-fstack-clash-protection", "-fstack-clash-protection", "-fno-stack-clash-protection"),
    ),
    "fortify": (
        Switch(
            COMPILE, "-D_FORTIFY_SOURCE=2", r"-D_FORTIFY_SOURCE=[2-9]", r"-U_FORTIFY_SOURCE|-D_FORTIFY_SOURCE(=[01]?)?"
        ),
        _OPTIMIZED,
    ),
    "optimization": (_OPTIMIZED,),
    "cf-protection": (
        Switch(
            COMPILE,
            "",
            r"-fcf-protection(=full)?|-mbranch-protection=.+",
            r"-fcf-protection=\w+|-mbranch-protection=none",
        ),
    ),
    "auto-var-init": (
        Switch(
            COMPILE,
            "-ftrivial-auto-var-init=zero",
            r"-ftrivial-auto-var-init=(zero|pattern)",
            r"-ftrivial-auto-var-init=.*",
        ),
    ),
    "strict-flex-arrays": (
        Switch(COMPILE, "-fstrict-flex-arrays=3", r"-fstrict-flex-arrays(=3)?", r"-f(no-)?strict-flex-arrays(=\d)?"),
    ),
    "zero-call-used-regs": (
        Switch(COMPILE, "-fzero-call-used-regs=used-gpr", r"-fzero-call-used-regs=.+", r"-fzero-call-used-regs=skip"),
    ),
    "glibcxx-assertions": (
        Switch(COMPILE, "-D_GLIBCXX_ASSERTIONS", r"-D_GLIBCXX_ASSERTIONS(=.*)?", "-U_GLIBCXX_ASSERTIONS"),
    ),
    "sanitizers": (Switch(COMPILE, "", "", r"-fsanitize=.+|--coverage|-fprofile-arcs|-ftest-coverage|-pg|-p"),),
    "separate-code": (Switch(LINK, "-Wl,-z,separate-code", "-z separate-code", "-z noseparate-code"),),
    "build-id": (Switch(LINK, "-Wl,--build-id", r"--build-id(=.+)?", "--build-id=none"),),
    "lto-bytecode": (Switch(COMPILE, "", "-fno-lto", r"-flto(=.*)?"),),
}

_WITH_VALUE = ("-z", "-rpath", "--rpath", "-R")


def compiler_options(fragments: Iterable[Fragment]) -> tuple[Given, ...]:
    """The options of a compile step, `-D NAME` as `-DNAME`, those behind `-Wp,` too."""
    return _compiler_options(tuple(fragments))


@lru_cache(maxsize=1024)  # units of one target share theirs, and there may be thousands
def _compiler_options(fragments: tuple[Fragment, ...]) -> tuple[Given, ...]:
    return tuple(_read_compiler_options(fragments))


def _read_compiler_options(fragments: Iterable[Fragment]) -> Iterator[Given]:
    before = ""
    for fragment in fragments:
        for argument in fragment.arguments:
            if before:
                yield Given(before + argument, f"{before} {argument}", fragment.where)
                before = ""
            elif argument in ("-D", "-U"):
                before = argument
            elif argument.startswith("-Wp,"):
                yield from (Given(part, argument, fragment.where) for part in argument.split(",")[1:])
            else:
                yield Given(argument, argument, fragment.where)


def linker_options(fragments: Iterable[Fragment]) -> tuple[Given, ...]:
    """The options of a link step, those for the linker as it sees them: `-z now`, `--rpath=/lib`."""
    return _linker_options(tuple(fragments))


@lru_cache(maxsize=1024)  # every failure asks what the other targets are linked with
def _linker_options(fragments: tuple[Fragment, ...]) -> tuple[Given, ...]:
    return tuple(_read_linker_options(fragments))


def _read_linker_options(fragments: Iterable[Fragment]) -> Iterator[Given]:
    pending: Given | None = None
    for word in _words(fragments):
        if pending is not None:
            joint = "=" if "rpath" in pending.option or pending.option == "-R" else " "
            name = "-rpath" if pending.option == "-R" else pending.option
            text = pending.text if pending.text == word.text else f"{pending.text} {word.text}"
            yield Given(f"{name}{joint}{word.option}", text, word.where)
            pending = None
        elif word.option in _WITH_VALUE:
            pending = word
        elif re.fullmatch(r"-z\w[\w-]*", word.option):
            yield word._replace(option=f"-z {word.option[2:]}")
        else:
            yield word


def _words(fragments: Iterable[Fragment]) -> Iterator[Given]:
    """The arguments, and what is behind -Wl, and -Xlinker as arguments of their own."""
    is_next = False
    for fragment in fragments:
        for argument in fragment.arguments:
            if argument.startswith("-Wl,"):
                yield from (Given(part, argument, fragment.where) for part in argument.split(",")[1:])
            elif is_next or argument != "-Xlinker":
                yield Given(argument, f"-Xlinker {argument}" if is_next else argument, fragment.where)
                is_next = False
            else:
                is_next = True
