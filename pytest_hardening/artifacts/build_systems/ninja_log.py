"""Which commands of `build.ninja` are those that were run last: `.ninja_log` holds a hash of each.

Sources: "The Ninja build system" manual, "Ninja file reference"; Ninja's build_log.cc (version 5: MurmurHash64A of the
command; from version 6, Ninja 1.12, rapidhash) and graph.cc (what a command is: Edge::EvaluateCommand).
"""

from __future__ import annotations

import os
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from typing import NamedTuple

from ...elf.source import Source
from ...errors import ArtifactError
from .ninja_file import WORD, joined

__all__ = ["Logged", "logged_steps"]

_MOST_BYTES = 64 << 20
_MOST_FILES = 100
_REFERENCE = re.compile(r"\$(?:\{([\w.-]+)\}|([\w-]+)|(.))", re.DOTALL)
_PLAIN = re.compile(r"[\w+./-]*", re.ASCII)
_MOST_DEPTH = 20
_MASK = (1 << 64) - 1


class Logged(NamedTuple):
    """What is known of the last run of a step.

    Parameters
    ----------
    time: the one that the log has for its output, in nanoseconds: of steps that need one another, the later is greater.
    command: what was run, where `build.ninja` has that very command now; else empty.
    """

    time: int
    command: str = ""


def logged_steps(folder: str) -> Mapping[str, Logged]:
    """The last run of each step, by the absolute path of each output; what nothing is known of is not there."""
    times = []
    for name in ("build.ninja", ".ninja_log"):
        try:
            times.append(os.stat(os.path.join(folder, name)).st_mtime_ns)
        except OSError:
            return {}
    return _read(folder, *times)


@lru_cache(maxsize=4)
def _read(folder: str, *_times: int) -> Mapping[str, Logged]:
    found: dict[str, Logged] = {}
    try:
        logged, hashed = _log(folder)
        found = {_absolute(folder, name): Logged(time) for name, (time, _) in logged.items()}
        for outputs, command in _Reader(folder).steps("build.ninja", {}, {}):
            known = [name for name in outputs if name in logged]
            value = hashed(command.encode("utf-8", "surrogateescape")) if known else None
            for name in known:
                time, wanted = logged[name]
                if value == wanted:
                    found[_absolute(folder, name)] = Logged(time, command)
    except (ArtifactError, ValueError, RecursionError):
        pass  # which proves less
    return found


def _absolute(folder: str, name: str) -> str:
    return os.path.normpath(os.path.join(folder, name))


def _text(path: str) -> str:
    with Source.open(path) as source:
        if source.size > _MOST_BYTES:
            raise ArtifactError("too large")
        return source.read(0, source.size).decode("utf-8", "surrogateescape")


def _log(folder: str) -> tuple[dict[str, tuple[int, int]], Callable[[bytes], int]]:
    """Time and hash of each output, the last entry counts; and how they are hashed."""
    first, _, rest = _text(os.path.join(folder, ".ninja_log")).partition("\n")
    hashes: dict[str, Callable[[bytes], int]] = {"5": _murmur, "6": _rapid, "7": _rapid}
    hashed = hashes.get(first.removeprefix("# ninja log v"))
    if hashed is None:
        raise ArtifactError("a log of another version")
    found: dict[str, tuple[int, int]] = {}
    for line in rest.split("\n"):
        words = line.split("\t")
        if len(words) == 5:
            found[words[3]] = int(words[2]), int(words[4], 16)
    return found, hashed


class _Reader:
    """Evaluates the commands of a ninja file and of those that it includes."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files = 0

    def steps(
        self, name: str, variables: MutableMapping[str, str], rules: dict[str, dict[str, str]]
    ) -> Iterator[tuple[tuple[str, ...], str]]:
        """The outputs of each step, and its command."""
        self._files += 1
        if self._files > _MOST_FILES:
            raise ArtifactError("too many files")
        edge: tuple[list[str], list[str], list[str], str] | None = None
        block: dict[str, str] | None = None
        for line in joined(iter(_text(os.path.join(self._folder, name)).split("\n"))):
            if line[:1] in (" ", "\t"):
                key, equals, value = line.partition("=")
                if block is not None and equals:
                    value = value.lstrip(" ")
                    block[key.strip()] = value if edge is None else _expanded(value, variables)
                continue
            if edge is not None and block is not None:
                yield _evaluated(edge, block, rules, variables)
            edge, block = None, None
            word, _, rest = line.partition(" ")
            if word == "build":
                edge, block = _edge(rest, variables), {}
            elif word == "rule":
                block = rules.setdefault(rest.strip(), {})
            elif word == "include":
                yield from self.steps(_expanded(rest.strip(), variables), variables, rules)
            elif word == "subninja":
                inner = ChainMap({}, variables)
                yield from self.steps(_expanded(rest.strip(), variables), inner, dict(rules))
            elif "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                variables[key.strip()] = _expanded(value.lstrip(" "), variables)
        if edge is not None and block is not None:
            yield _evaluated(edge, block, rules, variables)


def _edge(text: str, variables: Mapping[str, str]) -> tuple[list[str], list[str], list[str], str] | None:
    """All outputs, those that $out names, the inputs that $in names, and the rule."""
    words = WORD.findall(text)
    if ":" not in words or words[-1] == ":":
        return None
    colon = words.index(":")
    before, (rule, *after) = words[:colon], words[colon + 1 :]

    def paths(words: list[str]) -> list[str]:
        return [os.path.normpath(_expanded(word, variables)) for word in words]

    named = before[: before.index("|")] if "|" in before else before
    ends = [after.index(mark) for mark in ("|", "||", "|@") if mark in after]
    return paths([word for word in before if word != "|"]), paths(named), paths(after[: min(ends, default=None)]), rule


def _evaluated(
    edge: tuple[list[str], list[str], list[str], str],
    own: dict[str, str],
    rules: Mapping[str, Mapping[str, str]],
    variables: Mapping[str, str],
) -> tuple[tuple[str, ...], str]:
    outputs, named, inputs, name = edge
    rule = rules.get(name, {})
    given = {"in": " ".join(map(_quoted, inputs)), "in_newline": "\n".join(map(_quoted, inputs))}
    given["out"] = " ".join(map(_quoted, named))

    def value(key: str, depth: int = 0) -> str:
        if depth > _MOST_DEPTH:
            raise ArtifactError("a rule that refers to itself")
        if key in given or key in own:
            return given.get(key, own.get(key, ""))
        if key in rule:
            return _REFERENCE.sub(lambda found: _replaced(found, lambda one: value(one, depth + 1)), rule[key])
        return variables.get(key, "")

    content = value("rspfile_content")
    return tuple(outputs), value("command") + (f";rspfile={content}" if content else "")


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda found: _replaced(found, lambda key: variables.get(key, "")), text)


def _replaced(found: re.Match[str], value: Callable[[str], str]) -> str:
    return found[3] if found[3] is not None else value(found[1] or found[2])


def _quoted(path: str) -> str:
    """A path as Ninja quotes it for a shell (util.cc, GetShellEscapedString)."""
    return path if _PLAIN.fullmatch(path) else "'" + path.replace("'", "'\\''") + "'"


def _murmur(data: bytes) -> int:
    """MurmurHash64A, public domain, with Ninja's seed."""
    by = 0xC6A4A7935BD1E995
    value = 0xDECAFBADDECAFBAD ^ (len(data) * by & _MASK)
    whole = len(data) & ~7
    for at in range(0, whole, 8):
        word = int.from_bytes(data[at : at + 8], "little") * by & _MASK
        word = (word ^ word >> 47) * by & _MASK
        value = (value ^ word) * by & _MASK
    if data[whole:]:
        value = (value ^ int.from_bytes(data[whole:], "little")) * by & _MASK
    value = (value ^ value >> 47) * by & _MASK
    return value ^ value >> 47


_SECRET = (0x2D358DCCAA6C78A5, 0x8BB84B93962EACC9, 0x4B33A62ED433D4A3)


def _rapid(data: bytes) -> int:
    """rapidhash, first version, of more than 16 bytes: no command of a compiler is shorter."""
    size = len(data)
    if size <= 16:
        raise ValueError("too short")

    def word(at: int) -> int:
        return int.from_bytes(data[at : at + 8], "little")

    one, two, three = _SECRET
    seed = 0xBDD89AA982704029
    seed ^= _mix(seed ^ one, two) ^ size
    at, left = 0, size
    if left > 48:
        lanes = [seed, seed, seed]
        while left >= 48:
            lanes = [
                _mix(word(at + 16 * number) ^ _SECRET[number], word(at + 16 * number + 8) ^ lane)
                for number, lane in enumerate(lanes)
            ]
            at, left = at + 48, left - 48
        seed = lanes[0] ^ lanes[1] ^ lanes[2]
    if left > 16:
        seed = _mix(word(at) ^ three, word(at + 8) ^ seed ^ two)
        if left > 32:
            seed = _mix(word(at + 16) ^ three, word(at + 24) ^ seed)
    product = (word(size - 16) ^ two) * (word(size - 8) ^ seed)
    return _mix((product & _MASK) ^ one ^ size, (product >> 64) ^ two)


def _mix(one: int, other: int) -> int:
    product = one * other
    return (product & _MASK) ^ (product >> 64)
