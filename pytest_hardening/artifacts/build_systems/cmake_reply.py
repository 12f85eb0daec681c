"""What CMake answers through its file API: JSON files to frozen objects, with limits, and with nothing taken on trust.

Format: cmake-file-api(7), version 1: the index, `codemodel` version 2 and `cache` version 2. CMake 3.14 and later.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeVar

from ...elf.image import printable
from ...elf.source import Source
from ...errors import ArtifactError
from ...recipe import Fragment

__all__ = ["REPLY", "Configuration", "Group", "Reply", "Target", "compiler_options", "read_reply"]

#: Where the reply is, below the build folder.
REPLY = ".cmake/api/v1/reply"

_INDEX = re.compile(r"(?:index|error)-[\w.:+-]+\.json")  # CMake 4.1 writes error-*.json where it could not generate
_VERSION = re.compile(r"[\w.+-]+")
_LANGUAGE = re.compile(r"\w+")
_MOST_BYTES = 1 << 26  # of one file; that of a target with 10,000 sources has some 3 million
_MOST_BYTES_OF_ALL = 1 << 30
_MOST_FRAMES = 1000
_MOST_FRAGMENT = 1 << 20
_T = TypeVar("_T", str, int, list[Any], dict[str, Any])
_NAMES: Mapping[type, str] = {str: "text", int: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True, slots=True)
class Group:
    """Sources that are compiled alike.

    Parameters
    ----------
    language: "C", "CXX", "ASM" ...
    fragments: definitions, include folders and options, in the order in which the generators write them.
    is_header: whether it compiles a header in advance, which makes no object.
    """

    language: str
    fragments: tuple[Fragment, ...]
    is_header: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """One target of one configuration.

    Parameters
    ----------
    type: "EXECUTABLE", "SHARED_LIBRARY", "MODULE_LIBRARY", "STATIC_LIBRARY", "OBJECT_LIBRARY", "UTILITY" ...
    artifacts: what it makes, absolute, the file that carries its name first.
    sources: absolute path of each source file, and the group that compiles it; None where none does.
    link: the options of the link step. libraries: what is linked, as it stands on the command line.
    linked_by: the language whose compiler links it; empty where none does.
    defined_at: where it is defined: `CMakeLists.txt:12`.
    folder: its own folder of the build tree, and source: of the source tree; absolute.
    """

    name: str
    type: str
    artifacts: tuple[str, ...]
    sources: tuple[tuple[str, Group | None], ...]
    link: tuple[Fragment, ...]
    libraries: tuple[Fragment, ...]
    linked_by: str
    defined_at: str
    folder: str
    source: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """One configuration ("Release"; empty where there is but one and it has no name) and its targets."""

    name: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole reply.

    Parameters
    ----------
    is_multi: whether the generator builds several configurations in one folder.
    cache: the variables of CMakeCache.txt; empty where they were not asked for.
    version: that of CMake: `3.25.1`; empty where the reply does not say.
    problems: (target, reason) of what is damaged.
    """

    configurations: tuple[Configuration, ...]
    is_multi: bool = False
    cache: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[tuple[str, str], ...] = ()
    version: str = ""


def read_reply(folder: str) -> Reply | None:
    """The newest reply in a build folder, an absolute path; None where there is none that tells the targets.

    Raises
    ------
    ArtifactError: it is damaged, or CMake says that its last run failed.
    """
    try:
        names = [name for name in os.listdir(os.path.join(folder, REPLY)) if _INDEX.fullmatch(name)]
    except OSError:
        return None
    if not names:
        return None
    name = max(names, key=lambda name: name.partition("-")[2])  # by time, says cmake-file-api(7)
    if name.startswith("error-"):
        raise ArtifactError(
            f"CMake's last run failed: mend what it says, and run `cmake {shlex.quote(printable(folder))}`"
        )
    files = _Files(os.path.join(folder, REPLY))
    index = files.read(name)
    with _At(name):
        objects = {
            (_get(one, "kind", str), _get(_get(one, "version", dict), "major", int)): _get(one, "jsonFile", str)
            for one in _get(index, "objects", list)
        }
        cmake = _get(index, "cmake", dict)
        is_multi = _get(cmake, "generator", dict, {}).get("multiConfig") is True
        modules = _get(_get(cmake, "paths", dict, {}), "root", str, "")
        version = _get(_get(cmake, "version", dict, {}), "string", str, "")
    if ("codemodel", 2) not in objects:
        return None
    reply = _Model(files, folder, modules).reply(objects["codemodel", 2], objects.get(("cache", 2)), is_multi=is_multi)
    return replace(reply, version=version)


def compiler_options(folder: str, version: str, language: str) -> str | None:
    """The options that CMake writes behind a compiler's name wherever it calls it: where the compiler was given with
    options, as in CC="gcc -m32", they are in no other list (CMakeDetermineCompiler.cmake). None where it does not say.
    """
    if not _VERSION.fullmatch(version) or not _LANGUAGE.fullmatch(language):
        return None
    try:
        with Source.open(os.path.join(folder, "CMakeFiles", version, f"CMake{language}Compiler.cmake")) as source:
            text = source.read(0, min(source.size, _MOST_FRAGMENT)).decode("utf-8", "surrogateescape")
    except ArtifactError:
        return None
    found = re.search(rf'^set\(CMAKE_{language}_COMPILER_ARG1 "((?:[^"\\]|\\.)*)"\)$', text, re.MULTILINE)
    return re.sub(r"\\(.)", r"\1", found[1]) if found and "\0" not in found[1] else None


class _Files:
    """The files of the reply, together no more than memory can bear."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._left = _MOST_BYTES_OF_ALL

    def read(self, name: str) -> dict[str, Any]:
        if os.path.basename(name) != name or name in ("", ".", ".."):
            raise ArtifactError(f"CMake's reply is damaged: it names the file {printable(name)!r}")
        try:
            with Source.open(os.path.join(self._folder, name)) as source:
                if source.size > min(_MOST_BYTES, self._left):
                    raise ArtifactError("too large")
                self._left -= source.size
                text = source.read(0, source.size).decode("utf-8", "surrogateescape")
            data = json.loads(text)
        except ArtifactError as error:
            raise ArtifactError(f"CMake's reply cannot be read: {printable(name)}: {error}") from None
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else printable(str(error))
            raise ArtifactError(f"CMake's reply is damaged: {printable(name)}: {reason}") from None
        if not isinstance(data, dict):
            raise ArtifactError(f"CMake's reply is damaged: {printable(name)}: no object")
        return data


class _DamagedError(Exception):
    """Something is not as cmake-file-api(7) says."""


class _At:
    """Says in which file something is wrong."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _DamagedError):
            raise ArtifactError(f"CMake's reply is damaged: {printable(self._name)}: {error}") from None


class _Model:
    """Reads the targets of one reply."""

    def __init__(self, files: _Files, folder: str, modules: str) -> None:
        self._files = files
        self._folder = folder
        self._modules = modules.rstrip("/") + "/" if modules else ""
        self._source = self._build = ""
        self._known: dict[str, Target] = {}
        self._problems: list[tuple[str, str]] = []

    def reply(self, codemodel: str, cache: str | None, *, is_multi: bool) -> Reply:
        data = self._files.read(codemodel)
        with _At(codemodel):
            paths = _get(data, "paths", dict)
            self._source, self._build = _get(paths, "source", str), _get(paths, "build", str)
            configurations = tuple(map(self._configuration, _get(data, "configurations", list)))
        return Reply(configurations, is_multi, self._cache(cache) if cache else {}, tuple(self._problems))

    def _cache(self, name: str) -> dict[str, str]:
        data = self._files.read(name)
        with _At(name):
            return {_get(one, "name", str): _get(one, "value", str) for one in _get(data, "entries", list)}

    def _configuration(self, data: object) -> Configuration:
        return Configuration(_get(data, "name", str), tuple(self._targets(data)))

    def _targets(self, data: object) -> Iterator[Target]:
        for one in _get(data, "targets", list):
            file = _get(one, "jsonFile", str)
            if file not in self._known:
                try:
                    target = self._files.read(file)
                    with _At(file):
                        self._known[file] = self._target(target)
                except ArtifactError as error:
                    self._problems.append((_get(one, "name", str), str(error)))
                    continue
            yield self._known[file]

    def _target(self, data: dict[str, Any]) -> Target:
        traces = _Traces(_get(data, "backtraceGraph", dict, {}), self._modules)
        paths = _get(data, "paths", dict)
        groups = [_group(one, traces) for one in _get(data, "compileGroups", list, [])]
        files = [self._built(_get(one, "path", str)) for one in _get(data, "artifacts", list, [])]
        name = _get(data, "nameOnDisk", str, "")
        files.sort(key=lambda file: os.path.basename(file) != name)
        step = "archive" if "archive" in data else "link"
        pieces = list(_pieces(_get(data, step, dict, {}), traces))
        return Target(
            name=_get(data, "name", str),
            type=_get(data, "type", str),
            artifacts=tuple(files),
            sources=tuple(self._sources(data, groups)),
            link=tuple(piece for role, piece in pieces if role != "libraries" or piece.text.startswith("-")),
            libraries=tuple(piece for role, piece in pieces if role == "libraries"),
            linked_by=_get(_get(data, "link", dict, {}), "language", str, ""),
            defined_at=traces.place(data),
            folder=self._built(_get(paths, "build", str)),
            source=os.path.normpath(os.path.join(self._source, _get(paths, "source", str))),
        )

    def _sources(self, data: dict[str, Any], groups: list[Group]) -> Iterator[tuple[str, Group | None]]:
        for one in _get(data, "sources", list, []):
            path = os.path.normpath(os.path.join(self._source, _get(one, "path", str)))
            number = _get(one, "compileGroupIndex", int, -1)
            yield path, groups[number] if 0 <= number < len(groups) else None

    def _built(self, path: str) -> str:
        """A path of the build tree, which may have been moved since CMake was run."""
        absolute = os.path.normpath(os.path.join(self._build, path))
        inside = os.path.normpath(self._build).rstrip("/") + "/"
        if absolute + "/" == inside:
            return self._folder
        return os.path.join(self._folder, absolute[len(inside) :]) if absolute.startswith(inside) else absolute


class _Traces:
    """The backtrace graph: which line of which file gave something."""

    def __init__(self, data: dict[str, Any], modules: str) -> None:
        self._files: list[Any] = _get(data, "files", list, [])
        self._nodes: list[Any] = _get(data, "nodes", list, [])
        self._modules = modules

    def place(self, data: object) -> str:
        """The innermost line outside of CMake's own modules that `data` has its `backtrace` from; empty without one."""
        number = _get(data, "backtrace", int, -1)
        for _ in range(_MOST_FRAMES):  # the nodes may form a ring
            if not 0 <= number < len(self._nodes):
                break
            node = self._nodes[number]
            file = self._file(_get(node, "file", int))
            line = _get(node, "line", int, 0)
            if line and not (self._modules and file.startswith(self._modules)):
                return printable(f"{file}:{line}")
            number = _get(node, "parent", int, -1)
        return ""

    def _file(self, number: int) -> str:
        if not 0 <= number < len(self._files) or not isinstance(self._files[number], str):
            raise _DamagedError("a backtrace without file")
        return str(self._files[number])


def _group(data: object, traces: _Traces) -> Group:
    """The generators write `$DEFINES $INCLUDES $FLAGS`."""
    fragments = [
        *(
            Fragment(f"-D{_quoted(_get(one, 'define', str))}", traces.place(one))
            for one in _get(data, "defines", list, [])
        ),
        *(
            Fragment(
                f"{'-isystem ' if _get_object(one).get('isSystem') else '-I'}{_quoted(_get(one, 'path', str))}",
                traces.place(one),
            )
            for one in _get(data, "includes", list, [])
        ),
        *(Fragment(_fragment(one), traces.place(one)) for one in _get(data, "compileCommandFragments", list, [])),
    ]
    if "sysroot" in _get_object(data):
        fragments.append(Fragment(f"--sysroot={_quoted(_get(_get(data, 'sysroot', dict), 'path', str))}"))
    likely = [fragment for fragment in fragments if "-header" in fragment.text]
    arguments = [argument for fragment in likely for argument in fragment.arguments]
    is_header = any(before == "-x" and word.endswith("-header") for before, word in pairwise(arguments))
    return Group(_get(data, "language", str), tuple(one for one in fragments if one.text), is_header)


def _pieces(data: dict[str, Any], traces: _Traces) -> Iterator[tuple[str, Fragment]]:
    """The role of each piece of a link step, and the piece."""
    for one in _get(data, "commandFragments", list, []):
        piece = Fragment(_fragment(one), traces.place(one))
        if piece.text:
            yield _get(one, "role", str), piece
    if "sysroot" in data:
        yield "flags", Fragment(f"--sysroot={_quoted(_get(_get(data, 'sysroot', dict), 'path', str))}")


def _fragment(data: object) -> str:
    text = _get(data, "fragment", str).strip()
    if len(text) > _MOST_FRAGMENT:
        raise _DamagedError("a fragment that is too long for any command line")
    return text


def _quoted(text: str) -> str:
    return shlex.quote(text)


def _get_object(data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _DamagedError(f"{printable(repr(data)[:40])} where an object is expected")
    return data


def _get(data: object, key: str, kind: type[_T], default: _T | None = None) -> _T:
    """A value of an object, which must be of its kind; `default` where it is missing."""
    value = _get_object(data).get(key, default)
    if isinstance(value, bool) or not isinstance(value, kind):
        raise _DamagedError(f"{key!r} is no {_NAMES[kind].split()[-1]}" if value is not None else f"no {key!r}")
    if isinstance(value, str) and ("\0" in value or not _can_be_a_path(value)):
        raise _DamagedError(f"{key!r} holds characters that no path can have")
    return value


def _can_be_a_path(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True
