"""The log of a build: its calls of compilers, and the lines that hide one.

A line that names a compiler and may compile or link is either understood, or told as one that cannot be read.

Sources: what make, ninja, CMake, Meson, automake (its silent rules) and libtool print; for lines that only look like
commands, what `blhc` leaves out.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, Literal, NamedTuple

from ..elf.image import printable
from ..errors import ArtifactError
from ..recipe import words_of
from .build_systems.command_line import NO_CODE, Call, calls, commands, is_compiler, language_of_source

__all__ = ["BuildLog", "Logged", "Quiet", "Step", "read"]

Step = Literal["compile", "link"]

_MOST_BYTES = 1 << 28
_MOST_LINE = 1 << 20
_MOST_SHOWN = 500
_MOST_TAILS = 32
# a cheap look before a line is split into words
_NAMES = r"(?:cc|\+\+|clang|tcc|icx|icc|icpc|icpx|mpicxx|c89|c99)(?:-[\d.]+)?"
_HINT = re.compile(rf"{_NAMES}[\s\"'`]")
_RAW_HINT = re.compile(_HINT.pattern.encode())
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# of ninja and CMake, and the time that CI, OBS and docker write in front
_PROGRESS = re.compile(
    r"^(?:\s*(?:\[ *\d+%\]|\[\d+/\d+\]|\[ *[\d.]+s?\]|#\d+ \d+\.\d+(?= )|"
    r"\[?(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?(?= )))*\s*"
)
# what may stand before the compiler in a command that is judged
_KEYWORD = re.compile(r"if|then|elif|else|while|until|do|[{!]|\++")
_BEFORE = re.compile(
    rf"\w+\+?=.*|-.*|{_KEYWORD.pattern}|\d+[smh]?|CC|CXX|OBJC|__run_co_compile|libtool:|(?:re)?link:|compile:|"
    r"(?:.*/)?(?:ccache|distcc|sccache|icecc|env|exec|time|timeout|nice|cmake|zig|depcomp|compile|(?:\w+-)*libtool|(?:ba|da)?sh)"
)
# commands that compile nothing, whatever compilers and files they are given
_NO_COMPILERS = frozenset(
    "echo printf : true false test [ make gmake export unset rm mv cp ln ls cat grep sed awk touch chmod mkdir install "
    "ar ranlib strip dwz tar which type".split()
)
_NO_COMMAND = re.compile(r'checking |-- |#|"[^"]*clang[^"]*" -cc1')  # -cc1: what `clang -v` shows of itself
_ASSIGNMENT = re.compile(r"\w+\+?=(?!`)")
_PROBE = re.compile(
    r"(?:^|/)(?:(?:conftest\d*|_configtest|cmTC_\w+|CMakeC(?:XX)?CompilerId|sanitycheckc\w*)(?:\.\w+)*|"
    r"CMakeTmp|CMakeScratch|CompilerIdC(?:XX)?|meson-private)(?:/|$)"
)
_VERSION = re.compile(r"\.so(?:\.\d+)+$")
_LINKABLE = (".o", ".a", ".so", ".lo", ".la", ".obj")
_HEADERS = (".h", ".hh", ".hpp", ".hxx", ".H", ".gch", ".pch")
_NOT_FINAL = frozenset(("-r", "-Wl,-r", "-Wl,--relocatable"))
_PREFIX_MAP = re.compile(r"-f(?:file|debug)-prefix-map=(.+)=\.")
# what verbose builds do not print: automake's and Kbuild's short lines, those of CMake, Meson and of Makefiles
_END = r"(?: *\.\.\.)?(?: *->.*)?"
_FILE = r"[^\s'\"]+\.(?:c|cc|cp|cpp|cxx|c\+\+|C|CPP|m|mm|M|i|ii|s|S|o|lo|obj|os)"
_QUIET_COMPILE = re.compile(
    rf"(?:CC|CXX|OBJC|C\+\+|HOSTCC|HOSTCXX|CPPAS|CCAS)(?: \[M\])? +(\S+){_END}|"
    rf"\[?(?:CC|CXX|OBJC|C\+\+|HOSTCC|HOSTCXX|CPPAS|CCAS)\]?:? +({_FILE}){_END}|"
    r"(?:Building|Compiling) (?:C|CXX|C\+\+|OBJC|OBJCXX|ObjC|ObjC\+\+) object (\S+)|"
    rf"[Cc]ompil(?:e|ing):? (?:[A-Za-z+]+:? ){{0,3}}['\"]?({_FILE})['\"]?:?(?: .*|\.\.\.)?"
)
_QUIET_LINK = re.compile(
    rf"(?:CCLD|CXXLD|LD|LINK|OBJCLD)(?: \[M\])? +(\S+){_END}|\[?(?:CCLD|CXXLD|LD|LINK|OBJCLD)\]?:? +(\S+){_END}|"
    r"Linking (?:C|CXX|OBJC|OBJCXX) (?:executable|shared library|shared module) (\S+)|Linking target (\S+)|"
    rf"(?:Linking|Building (?:program|shared library)):? (\S+?){_END}"
)
_HIDDEN = "does not show the command"
_UNREADABLE = "names a compiler and cannot be read"
_TOO_LONG = f"names a compiler and is too long: more than {_MOST_LINE >> 20} MB"


class Logged(NamedTuple):
    """A call of a compiler in a log, for one file.

    Parameters
    ----------
    step: what it does to the file. name: the source, or the output of the link step, as the command has it; relative to
        the folder of the package where the command tells that folder (-ffile-prefix-map=FOLDER=.).
    language: of the source, as CMake calls it; empty for the link step.
    line: its number. text: the command.
    made: the output, named as `name` is; empty where the command has none.
    moved: whether the command goes into a folder before (`cd FOLDER && gcc ...`).
    """

    step: Step
    name: str
    language: str
    call: Call
    line: int
    text: str
    made: str
    moved: bool


class Quiet(NamedTuple):
    """A line that stands for a command and does not show it, or shows one that is not understood.

    Parameters
    ----------
    name: the file that it names; `line 12` where it names none.
    reason: what is wrong with it. is_hidden: whether a verbose build would show the command.
    """

    step: Step
    name: str
    line: int
    text: str
    reason: str
    is_hidden: bool


@dataclass(frozen=True, slots=True)
class BuildLog:
    """What a log shows.

    Parameters
    ----------
    found: in the log's order; each source of a call stands for itself.
    quiet: the lines without the command that they stand for, and those that are not understood.
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
            raise ArtifactError(f"too large: more than {_MOST_BYTES >> 20} MB")
        with open(path, "rb") as stream:
            return _read(_lines(stream))
    except OSError as error:
        raise ArtifactError(f"cannot be read: {error.strerror}") from None


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str, bool]]:
    """Lines with the number of their first one, those put together that end in a backslash; and whether they are whole.

    Of one that is too long the first part is told, and only if it has the name of a compiler somewhere.
    """
    number, first = 0, 1
    parts: list[bytes] = []
    size, is_hint, last = 0, False, b""
    while piece := stream.readline(_MOST_LINE):
        size += len(piece)
        is_end = piece.endswith(b"\n") or len(piece) < _MOST_LINE
        number += is_end
        line = piece.rstrip(b"\r\n")
        goes_on = not is_end or line.endswith(b"\\")
        line = line[:-1] if is_end and goes_on else line
        if size <= _MOST_LINE:
            parts.append(line)
        elif not is_hint:
            if len(parts) > 1 or not last:
                last = b"".join((*parts, b""))
                parts = [(last or line)[:_MOST_SHOWN]]
            is_hint = bool(_RAW_HINT.search(last + line + b" "))
            last = (last + line)[-64:] or b" "
        if goes_on:
            continue
        if size <= _MOST_LINE or is_hint:
            yield first, b"".join(parts).decode(errors="surrogateescape"), size <= _MOST_LINE
        first, parts, size, is_hint, last = number + 1, [], 0, False, b""
    if parts and (size <= _MOST_LINE or is_hint):
        yield first, b"".join(parts).decode(errors="surrogateescape"), size <= _MOST_LINE


def _read(lines: Iterator[tuple[int, str, bool]]) -> BuildLog:
    found: list[Logged] = []
    wrapped: list[Logged] = []
    quiet: list[Quiet] = []
    probes = 0
    shows_links = False  # libtool prints what it runs for its link steps
    for number, line, is_whole in lines:
        text = _PROGRESS.sub("", _COLOUR.sub("", line)).rstrip()
        if not is_whole:
            quiet.append(Quiet("compile", f"line {number}", number, printable(text), _TOO_LONG, False))
        elif (short := _quiet(text, number)) is not None:
            quiet.append(short)
        elif _HINT.search(text) and not _NO_COMMAND.match(text):
            shows_links = shows_links or text.startswith("libtool: link: ")
            for one in _told(text, number):
                if isinstance(one, Quiet):
                    quiet.append(one)
                elif _is_probe(one.call, one.name):
                    probes += 1
                else:
                    (wrapped if _is_libtools_link(one) else found).append(one)
    if not shows_links:
        found += (one for one in wrapped if not one.name.endswith(".la") or "-rpath" in one.call.words)
    return BuildLog(tuple(found), tuple(_without_shown(quiet, found)), probes)


def _without_shown(quiet: Sequence[Quiet], found: Sequence[Logged]) -> Iterator[Quiet]:
    """Without the lines that announce a command that the log shows: one command for each."""
    shown: Counter[str] = Counter()
    for one in found:
        # of libx.so.1.2 CMake says libx.so
        for name in {one.name, one.made, _VERSION.sub(".so", one.made)} - {""}:
            shown[name] += 1
            # CMake announces SUB/CMakeFiles/... and prints `cd /BUILD/SUB && cc -o CMakeFiles/...`
            parts = name.split("/") if one.moved else []
            shown.update("/".join(parts[at:]) for at in range(max(1, len(parts) - _MOST_TAILS), len(parts) - 1))
    for line in quiet:
        if line.is_hidden and shown[os.path.normpath(line.name)] > 0:
            shown[os.path.normpath(line.name)] -= 1
        else:
            yield line


def _quiet(text: str, number: int) -> Quiet | None:
    steps: tuple[tuple[Step, re.Pattern[str]], ...] = (("compile", _QUIET_COMPILE), ("link", _QUIET_LINK))
    for step, pattern in steps:
        if (found := pattern.fullmatch(text)) and not is_compiler(name := next(filter(None, found.groups()))):
            if name in ("yes", "no", "=") or (step == "link" and name.endswith(".a")):
                return None
            return Quiet(step, printable(name), number, _shown(text), _HIDDEN, True)
    return None


def _shown(text: str) -> str:
    return printable(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} ...")


def _is_probe(call: Call, name: str) -> bool:
    """Whether a call only tries the compiler."""
    return call.output == "/dev/null" or any(map(_PROBE.search, (name, *call.inputs)))


def _is_libtools_link(logged: Logged) -> bool:
    return logged.step == "link" and logged.call.by_libtool


def _told(text: str, number: int) -> Iterator[Logged | Quiet]:
    """What a line does, and what of it is not understood."""
    try:
        words = words_of(text)
    except ValueError:  # cut off, or prose with an apostrophe
        for each in re.split("[;&|]+", text):
            yield from _not_understood([word.strip("'\"`()") for word in each.split()], number, text)
        return
    folder, shown = "", printable(text)
    for part in commands(words):
        if part[0] == "cd" and len(part) == 2:
            folder = os.path.join(folder, part[1])
            continue
        at = next((index for index, word in enumerate(part) if is_compiler(word)), None)
        known = at is not None and all(map(_BEFORE.fullmatch, part[:at]))
        made = [one for call in calls(part) for one in _logged(call, folder, number, shown)] if known else []
        yield from made or _not_understood(part, number, text)


def _not_understood(words: Sequence[str], number: int, text: str) -> Iterator[Quiet]:
    """The line, if a compiler is named in it and what follows may be a call that makes code."""
    if os.path.basename(_program(words)) in _NO_COMPILERS:
        return
    for part in (words, *_inner(words)):
        at = next((index for index, word in enumerate(part) if is_compiler(word.rpartition("`")[2])), None)
        if at is None or os.path.basename(_program(part)) in _NO_COMPILERS:
            continue
        after = [word.rstrip("`") for word in part[at + 1 :]]
        if _may_make_code(after):
            sources = [word for word in after if word[:1] not in "-@$`" and language_of_source(word)]
            output = next((name for word, name in pairwise(after) if word == "-o"), "")
            step: Step = "compile" if sources or not {"-c", "-S"}.isdisjoint(after) else "link"
            name = sources[0] if sources else output if output and step == "link" else f"line {number}"
            yield Quiet(step, printable(os.path.normpath(name)), number, _shown(text), _UNREADABLE, False)


def _program(words: Sequence[str]) -> str:
    """What a command runs."""
    return next((word for word in words if not _KEYWORD.fullmatch(word) and not _ASSIGNMENT.match(word)), "")


def _inner(words: Sequence[str]) -> Iterator[list[str]]:
    """The commands within a word: sh -c 'gcc -c a.c'"""
    for word in words:
        if word[:1] != "-" and not _ASSIGNMENT.match(word) and _HINT.search(word):
            yield from (re.split(r"[\s()<>'\"]+", part.strip()) for part in re.split(r"[;&|]+", word))


def _may_make_code(words: Sequence[str]) -> bool:
    """Whether a compiler that is given these words may compile or link something."""
    if not (NO_CODE | _NOT_FINAL).isdisjoint(words) or any(word.endswith("-header") for word in words):
        return False
    files = [word for word in words if word[:1] != "-"]
    if ("-o", "/dev/null") in pairwise(words) or any(map(_PROBE.search, files)):
        return False
    if any(name.endswith(_LINKABLE) or language_of_source(name) or name[:1] in ("@", "$", "`") for name in files):
        return True
    return not {"-c", "-S", "-o"}.isdisjoint(words) and not any(name.endswith(_HEADERS) for name in files)


def _logged(call: Call, folder: str, number: int, text: str) -> Iterator[Logged]:
    if not call.makes_code or (not call.sources and all(name.endswith(_HEADERS) for name in call.inputs)):
        return
    output = call.output or (f"{_stem(call.sources[0][0])}.o" if call.compiles_only and call.sources else "")
    made = _name(call, folder, output) if output else ""
    for source, language in call.sources:
        yield Logged("compile", _name(call, folder, source), language, call, number, text, made, bool(folder))
    is_link = call.output or any(name.endswith(_LINKABLE) or ".so." in name for name in call.inputs)
    if not call.compiles_only and (call.sources or is_link) and _NOT_FINAL.isdisjoint(call.words):
        yield Logged("link", _name(call, folder, call.output or "a.out"), "", call, number, text, made, bool(folder))


def _stem(name: str) -> str:
    return os.path.splitext(os.path.basename(name))[0]


def _name(call: Call, folder: str, name: str) -> str:
    path = os.path.normpath(os.path.join(folder, name))
    for word in call.words:
        if (mapped := _PREFIX_MAP.fullmatch(word)) and path.startswith(mapped[1].rstrip("/") + "/"):
            path = path[len(mapped[1].rstrip("/")) + 1 :]
            break
    return printable(path)
