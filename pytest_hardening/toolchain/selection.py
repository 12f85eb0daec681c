"""Which toolchains: those on PATH, those that a user names, those that a marker wants."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from operator import methodcaller
from typing import NamedTuple

from pytest_hardening.errors import HardeningError, ToolchainError
from pytest_hardening.toolchain.cache import BuildCache
from pytest_hardening.toolchain.compilers import Language, find_compiler
from pytest_hardening.toolchain.toolchains import Toolchain, find_toolchain, renamed

__all__ = ["ALL", "NATIVE", "Selection", "Wanted", "select_toolchains", "toolchains_on_path"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

#: The specification that stands for all C compilers on PATH.
ALL = "all"
#: The compiler that stands for "the" compiler of the machine (POSIX c99, GNU coding standards).
NATIVE = "cc"

# gcc-12, aarch64-linux-gnu-gcc-12, clang-19, musl-gcc, tcc; not gcc-ar, c99-gcc (a script for gcc -std=c99), clang-cpp.
_TRIPLE = r"(?:[a-z0-9_]+-){1,3}"
_DRIVER = re.compile(rf"(?:cc|tcc|zig|(?!c89-|c99-)(?:{_TRIPLE})?(?:gcc|clang)(?:-\d+(?:\.\d+)*)?)")
_DRIVER_CXX = re.compile(rf"(?:c\+\+|zig|(?:{_TRIPLE})?(?:g\+\+|clang\+\+)(?:-\d+(?:\.\d+)*)?)")
# Tools that only look like compilers: rustc's own clang, gcc for Ada.
_NOT_OURS = re.compile(r"rust-clang|.*gnatgcc")
_NUMBERS = re.compile(r"\d+")


class Selection(NamedTuple):
    """What specifications lead to.

    Parameters
    ----------
    toolchains: each once, under an id of its own, in the order in which they were asked for.
    left_out: of those found on PATH the ones that make no program: command and reason.
    """

    toolchains: tuple[Toolchain, ...]
    left_out: tuple[tuple[str, str], ...] = ()


class Wanted(NamedTuple):
    """What a test wants of a toolchain; every value that is given must fit.

    Parameters
    ----------
    family: `gcc`, `clang`, `tcc` or `zig`.
    min, max: bounds of the version, both inclusive: max="12" includes 12.2.
    target: a glob on the target triple, `aarch64-*`.
    libc: `glibc` or `musl`.
    language: `c` or `c++`.
    """

    family: str | None = None
    min: str | None = None
    max: str | None = None
    target: str | None = None
    libc: str | None = None
    language: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Wanted:
        """Read the keyword arguments of a marker.

        Raises
        ------
        ToolchainError: one of them is unknown or no text.
        """
        for name, value in values.items():
            if name not in cls._fields:
                raise ToolchainError(f"unknown argument {name}=: it takes {', '.join(cls._fields)}")
            if not isinstance(value, str):
                raise ToolchainError(f"{name}={value!r}: expected a text, as in {name}='12'")
        for name in ("min", "max"):
            if name in values and not _numbers(str(values[name])):
                raise ToolchainError(f"{name}={values[name]!r} is no version")
        return cls(**{name: str(value) for name, value in values.items()})

    def fits(self, toolchain: Toolchain) -> bool:
        """Whether a toolchain is such a one."""
        version = _numbers(toolchain.version)
        return (
            self.family in (None, toolchain.family)
            and self.libc in (None, toolchain.libc)
            and self.language in (None, toolchain.compiler.language)
            and (self.min is None or version >= _numbers(self.min))
            and (self.max is None or version[: len(_numbers(self.max))] <= _numbers(self.max))
            and (self.target is None or fnmatchcase(toolchain.target, self.target))
        )

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._asdict().items() if value is not None)


def toolchains_on_path(language: Language | None = "c", *, cache: BuildCache | None = None) -> Selection:
    """All compilers on PATH, each once, sorted by id; None as the language for C and C++.

    What has several names is found once. A name that is no compiler, and a compiler that makes no program, is left out,
    with the reason.
    """
    patterns = [_DRIVER] if language == "c" else [_DRIVER_CXX] if language == "c++" else [_DRIVER, _DRIVER_CXX]
    found: list[Toolchain] = []
    left_out: list[tuple[str, str]] = []
    for pattern in patterns:
        for name in _names_on_path(pattern):
            command = name if name != "zig" else f"zig {'cc' if pattern is _DRIVER else 'c++'}"
            try:
                toolchain = find_toolchain(command, cache=cache)
            except ToolchainError as error:
                left_out.append((command, str(error)))
                continue
            if toolchain.problem:
                left_out.append((command, toolchain.problem))
            else:
                found.append(toolchain)
    return Selection(tuple(sorted(_each_once(found), key=lambda one: one.id)), tuple(left_out))


def select_toolchains(specs: Iterable[str], *, cache: BuildCache | None = None) -> Selection:
    """The toolchains that specifications name; the native `cc` without any.

    A specification is `all` (every C compiler on PATH), a command (`gcc-12`, `"gcc-12 -m32"`), an id, or a glob on the
    ids of what is on PATH (`clang-*-x86_64`).

    Raises
    ------
    ToolchainError: one of them leads to nothing, or to a compiler that makes no program.
    """
    found: list[Toolchain] = []
    left_out: list[tuple[str, str]] = []
    for spec in specs or [NATIVE]:
        words = spec.split()
        if not words:
            raise ToolchainError("an empty toolchain: expected a command such as gcc-12, a glob on ids, or all")
        if spec == ALL:
            every = toolchains_on_path(cache=cache)
            if not every.toolchains:
                raise ToolchainError(f"all: no C compiler on PATH makes a program{_reasons(every.left_out)}")
            found += every.toolchains
            left_out += every.left_out
        elif shutil.which(words[0]) is not None:
            toolchain = find_toolchain(spec, cache=cache)
            if toolchain.problem:
                raise ToolchainError(f"{spec}: {toolchain.problem}")
            found.append(toolchain)
        else:
            found += _by_id(spec, cache)
    return Selection(_with_own_ids(_each_once(found)), tuple(left_out))


def _by_id(spec: str, cache: BuildCache | None) -> list[Toolchain]:
    if not re.search(r"[*?\[]|-\d+\.\d+-", spec):  # a command
        find_compiler(spec)  # which says how to install it
    every = toolchains_on_path(None, cache=cache).toolchains
    if matching := [one for one in every if fnmatchcase(one.id, spec)]:
        return matching
    raise ToolchainError(f"{spec}: neither a command nor the id of a toolchain; found: {_ids(every)}")


def _names_on_path(pattern: re.Pattern[str]) -> list[str]:
    """The names of drivers in the folders of PATH, first short ones that tell the version: gcc-12 is found before gcc
    and x86_64-linux-gnu-gcc-12, which are the same file.
    """
    names: dict[str, None] = {}
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        try:
            listed = sorted(os.listdir(folder or "."))
        except OSError:
            continue
        names.update(
            dict.fromkeys(name for name in listed if pattern.fullmatch(name) and not _NOT_OURS.fullmatch(name))
        )
    return sorted(names, key=lambda name: (not re.search(r"-\d", name), len(name)))


def _each_once(toolchains: Sequence[Toolchain]) -> list[Toolchain]:
    """Without those that are others under another name: the same file that gives the same answers.

    ccache and its like look at the name that they were started with: the file alone does not tell.
    """
    seen: set[tuple[object, ...]] = set()
    kept = []
    for one in toolchains:
        compiler = one.compiler
        key = (os.path.realpath(compiler.path), compiler.arguments, one.id, one.target, compiler.version)
        if key not in seen:
            seen.add(key)
            kept.append(one)
    return kept


def _with_own_ids(toolchains: Sequence[Toolchain]) -> tuple[Toolchain, ...]:
    """The first of an id keeps it, the next has its command's name behind it; a script, which only starts a compiler,
    comes after compilers, wherever it was asked for.
    """
    taken: Counter[str] = Counter()
    result: dict[int, Toolchain] = {}
    for place, one in sorted(enumerate(toolchains), key=lambda item: (_is_script(item[1]), item[0])):
        wanted = one.id
        if taken[wanted]:
            wanted = f"{one.id}+{one.compiler.path.name}"
        if taken[wanted]:
            wanted = f"{wanted}-{taken[wanted] + 1}"
        taken[one.id] += 1
        if wanted != one.id:
            taken[wanted] += 1
        result[place] = one if wanted == one.id else renamed(one, wanted)
    return tuple(result[place] for place in range(len(toolchains)))


def _is_script(toolchain: Toolchain) -> bool:
    with open(toolchain.compiler.path, "rb") as stream:
        return stream.read(2) == b"#!"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, _NUMBERS.findall(version)))


def _ids(toolchains: Iterable[Toolchain]) -> str:
    return ", ".join(one.id for one in toolchains) or "none"


def _reasons(left_out: Iterable[tuple[str, str]]) -> str:
    return "".join(f"; {command}: {reason}" for command, reason in left_out)
