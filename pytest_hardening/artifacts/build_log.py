"""The log of a build: its calls of compilers, and the lines that hide one.

Sources: what make, ninja, CMake, Meson, automake (its silent rules) and libtool print.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..elf.image import printable
from ..errors import ArtifactError
from ..recipe import words_of
from .build_systems.command_line import Call, calls, is_compiler

__all__ = ["BuildLog", "Logged", "Quiet", "Step", "read"]

Step = Literal["compile", "link"]

_MOST_BYTES = 1 << 30
_MOST_LINE = 1 << 20
# a cheap look before a line is split into words
_HINT = re.compile(r"(?:cc|\+\+|clang|tcc|icx|icc|icpc|icpx|mpicxx|c89|c99)(?:-[\d.]+)?\s")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PROGRESS = re.compile(r"^\s*(?:\[ *\d+%\]|\[\d+/\d+\])\s*")
# what may stand before the compiler in a command
_BEFORE = re.compile(
    r"\w+=.*|-.*|__run_co_compile|libtool:|(?:re)?link:|compile:|"
    r"(?:.*/)?(?:ccache|distcc|sccache|icecc|env|time|nice|cmake|(?:\w+-)*libtool|(?:ba|da)?sh)"
)
_PROBE = re.compile(
    r"(?:^|/)(?:conftest|_configtest|cmTC_|CMakeC(?:XX)?CompilerId|sanitycheckc|CMakeTmp|CMakeScratch|CompilerIdC|meson-private)"
)
_LINKABLE = (".o", ".a", ".so", ".lo", ".la", ".obj")
_NOT_FINAL = frozenset(("-r", "-Wl,-r", "-Wl,--relocatable"))
_PREFIX_MAP = re.compile(r"-f(?:file|debug)-prefix-map=(.+)=\.")
# what verbose builds do not print: automake's and Kbuild's short lines, those of CMake and Meson
_QUIET_COMPILE = re.compile(
    r"(?:CC|CXX|OBJC|C\+\+|HOSTCC|HOSTCXX|CPPAS|CCAS)(?: \[M\])? +(\S+)|"
    r"(?:Building|Compiling) (?:C|CXX|C\+\+|OBJC|OBJCXX|ObjC|ObjC\+\+) object (\S+)|"
    r"[Cc]ompiling (\S+\.(?:c|cc|cpp|cxx|C))(?:\.\.\.)?"
)
_QUIET_LINK = re.compile(
    r"(?:CCLD|CXXLD|LD|LINK|OBJCLD)(?: \[M\])? +(\S+)|"
    r"Linking (?:C|CXX|OBJC|OBJCXX) (?:executable|shared library|shared module) (\S+)|Linking target (\S+)"
)


class Logged(NamedTuple):
    """A call of a compiler in a log, for one file.

    Parameters
    ----------
    step: what it does to the file. name: the source, or the output of the link step, as the command has it; relative to
        the folder of the package where the command tells that folder (-ffile-prefix-map=FOLDER=.).
    language: of the source, as CMake calls it; empty for the link step.
    line: its number. text: the command.
    """

    step: Step
    name: str
    language: str
    call: Call
    line: int
    text: str


class Quiet(NamedTuple):
    """A line that stands for a command and does not show it."""

    step: Step
    name: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class BuildLog:
    """What a log shows.

    Parameters
    ----------
    found: in the log's order; each source of a call stands for itself.
    quiet: the lines without the command that they stand for.
    probes: how many calls of configure, CMake and Meson were left out, that try out the compiler.
    """

    found: tuple[Logged, ...]
    quiet: tuple[Quiet, ...]
    probes: int


def read(path: str) -> BuildLog:
    """The calls of compilers in a log.

    Raises
    ------
    ArtifactError: the file cannot be read, or is too large.
    """
    try:
        if not os.path.isfile(path):
            raise ArtifactError("no file" if os.path.lexists(path) else "does not exist")
        if os.path.getsize(path) > _MOST_BYTES:
            raise ArtifactError(f"too large: more than {_MOST_BYTES >> 30} GB")
        with open(path, encoding="utf-8", errors="backslashreplace") as stream:
            return _read(_lines(stream))
    except OSError as error:
        raise ArtifactError(f"cannot be read: {error.strerror}") from None


def _lines(stream: Iterator[str]) -> Iterator[tuple[int, str]]:
    """Lines with the number of their first one; those put together that end in a backslash."""
    parts: list[str] = []
    size = 0
    for number, line in enumerate(stream, 1):
        parts.append(line.rstrip("\r\n"))
        size += len(line)
        if parts[-1].endswith("\\") and size < _MOST_LINE:
            parts[-1] = parts[-1][:-1]
            continue
        yield number - len(parts) + 1, "".join(parts)
        parts, size = [], 0
    if parts:
        yield number - len(parts) + 1, "".join(parts)


def _read(lines: Iterator[tuple[int, str]]) -> BuildLog:
    found: list[Logged] = []
    wrapped: list[Logged] = []
    quiet: list[Quiet] = []
    probes = 0
    shows_links = False  # libtool prints what it runs for its link steps
    for number, line in lines:
        text = _PROGRESS.sub("", _COLOUR.sub("", line)).strip()
        if (short := _quiet(text, number)) is not None:
            quiet.append(short)
        elif len(text) <= _MOST_LINE and _HINT.search(text):
            shows_links = shows_links or text.startswith("libtool: link: ")
            for logged in _calls(text, number):
                if _PROBE.search(logged.name) or any(map(_PROBE.search, logged.call.inputs)):
                    probes += 1
                else:
                    (wrapped if _is_libtools_link(logged) else found).append(logged)
    if not shows_links:
        found += (one for one in wrapped if not one.name.endswith(".la") or "-rpath" in one.call.words)
    shown = {os.path.basename(made) for one in found for made in (one.call.output, one.name) if made}
    return BuildLog(tuple(found), tuple(one for one in quiet if os.path.basename(one.name) not in shown), probes)


def _quiet(text: str, number: int) -> Quiet | None:
    steps: tuple[tuple[Step, re.Pattern[str]], ...] = (("compile", _QUIET_COMPILE), ("link", _QUIET_LINK))
    for step, pattern in steps:
        if found := pattern.fullmatch(text):
            return Quiet(step, printable(next(filter(None, found.groups()))), number, text)
    return None


def _is_libtools_link(logged: Logged) -> bool:
    return logged.step == "link" and logged.call.by_libtool


def _calls(text: str, number: int) -> Iterator[Logged]:
    try:
        words = words_of(text)
    except ValueError:  # prose with an apostrophe
        return
    folder, shown = "", printable(text)
    for part in _commands(words):
        if part[0] == "cd" and len(part) == 2:
            folder = part[1]
            continue
        at = next((index for index, word in enumerate(part) if is_compiler(word)), None)
        if at is None or not all(map(_BEFORE.fullmatch, part[:at])):
            continue
        for call in calls(part):
            yield from _logged(call, folder, number, shown)


def _commands(words: Sequence[str]) -> Iterator[list[str]]:
    """The commands between a shell's operators; what follows a redirection belongs to none."""
    part: list[str] = []
    for word in (*words, ";"):
        if word[0] in ";&|<>()" and not word.strip(";&|<>()"):
            if part:
                yield part
            part = []
        else:
            part.append(word)


def _logged(call: Call, folder: str, number: int, text: str) -> Iterator[Logged]:
    if not call.makes_code:
        return
    for source, language in call.sources:
        yield Logged("compile", _name(call, folder, source), language, call, number, text)
    is_link = call.output or any(name.endswith(_LINKABLE) or ".so." in name for name in call.inputs)
    if not call.compiles_only and (call.sources or is_link) and _NOT_FINAL.isdisjoint(call.words):
        yield Logged("link", _name(call, folder, call.output or "a.out"), "", call, number, text)


def _name(call: Call, folder: str, name: str) -> str:
    path = os.path.normpath(os.path.join(folder, name))
    for word in call.words:
        if (mapped := _PREFIX_MAP.fullmatch(word)) and path.startswith(mapped[1].rstrip("/") + "/"):
            path = path[len(mapped[1].rstrip("/")) + 1 :]
            break
    return printable(path)
