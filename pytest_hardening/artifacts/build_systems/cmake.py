"""CMake: the targets of a build folder, from what CMake's file API (cmake-file-api(7)) says of it.

CMake answers where somebody has asked, when it is run: without a reply the question is placed, and the user must run
CMake again. That question is the one file that this package writes into somebody's folder.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ...elf.image import printable
from ...errors import ArtifactError
from ...recipe import CompileCommand, Fragment, Recipe
from .cmake_all import built_by_all
from .cmake_reply import Configuration, Group, Reply, Target, compiler_options, read_reply
from .foreign import foreign_code, is_object
from .output import Build, Output

__all__ = ["QUERY", "place_query", "read"]

#: The question, below the build folder.
QUERY = ".cmake/api/v1/query/client-pytest-hardening/query.json"
_REQUESTS = {"requests": [{"kind": "codemodel", "version": 2}, {"kind": "cache", "version": 2}]}
_RECORD = "CMake's file API"
_TYPES = {
    "EXECUTABLE": "EXECUTABLE",
    "SHARED_LIBRARY": "SHARED",
    "MODULE_LIBRARY": "MODULE",
    "STATIC_LIBRARY": "STATIC",
    "OBJECT_LIBRARY": "OBJECT",
}
# the variables that the options of a link step come from (cmake-variables(7))
_LINKER_FLAGS = {
    "EXECUTABLE": "CMAKE_EXE_LINKER_FLAGS",
    "SHARED": "CMAKE_SHARED_LINKER_FLAGS",
    "MODULE": "CMAKE_MODULE_LINKER_FLAGS",
    "STATIC": "CMAKE_STATIC_LINKER_FLAGS",
}
_FLAGS = re.compile(r"CMAKE_\w+_FLAGS(_\w+)?|CMAKE_BUILD_TYPE|CMAKE_POSITION_INDEPENDENT_CODE")


def read(folder: str) -> Build:
    """The targets of a build folder.

    Raises
    ------
    ArtifactError: it is no build folder of CMake, CMake has to be run again, or its reply is damaged.
    """
    folder = os.path.realpath(folder)
    if not os.path.isfile(os.path.join(folder, "CMakeCache.txt")):
        raise ArtifactError("not a CMake build folder: it has no CMakeCache.txt")
    asked = _is_asked(folder)
    reply = read_reply(folder) if asked else None
    if reply is None:
        problem = place_query(folder)
        why = (
            f"CMake's file API cannot be asked: {problem}" if problem else "CMake has not said yet what its targets are"
        )
        raise ArtifactError(f"{why}: run `cmake {shlex.quote(printable(folder))}` (CMake 3.14 or later), and build")
    return _Reading(folder, reply).build()


def place_query(folder: str) -> str:
    """Ask CMake to describe its targets when it is run next; return why that cannot be done, or an empty text."""
    path = os.path.join(folder, QUERY)
    inside, parent = os.path.realpath(folder), os.path.dirname(path)
    if os.path.commonpath((inside, os.path.realpath(parent))) != inside:
        return f"{printable(path)}: a link leads out of the build folder"
    text = json.dumps(_REQUESTS) + "\n"
    try:
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as stream:
                if stream.read(len(text) + 1) == text:
                    return ""
        os.makedirs(parent, exist_ok=True)
        # a new file: processes of pytest-xdist ask at the same time, and what lies there may be a link
        handle, whole = tempfile.mkstemp(prefix="query.json.", dir=parent)
        try:
            with open(handle, "w", encoding="utf-8") as stream:
                os.fchmod(handle, 0o644)
                stream.write(text)
            os.replace(whole, path)
        except OSError:
            os.unlink(whole)
            raise
    except OSError as error:
        return f"{printable(path)}: {error.strerror}"
    return ""


def _is_asked(folder: str) -> bool:
    """Whether anybody asks: CMake renews its reply only then, and an old one tells of an older build."""
    try:
        with os.scandir(os.path.join(folder, ".cmake/api/v1/query")) as entries:
            return any(True for _ in entries)
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class _Made:
    """A target of a known type, with the commands of its own units and of object libraries that it takes in."""

    target: Target
    type: str
    units: tuple[CompileCommand, ...]


class _Reading:
    """Makes outputs of the targets of a reply."""

    def __init__(self, folder: str, reply: Reply) -> None:
        self._folder = folder
        self._reply = reply
        self._compilers: dict[str, tuple[Fragment, ...]] = {"": ()}

    def build(self) -> Build:
        outputs: list[Output] = []
        for configuration in self._reply.configurations:
            found = self._expected(list(self._outputs(configuration)), configuration.name)
            if not self._reply.is_multi or any(os.path.exists(output.path) for output in found):
                outputs += found
        problems = list(self._reply.problems)
        if not outputs and not problems:
            problems.append(("targets", "CMake names no target that makes a program, a library or an archive"))
            if self._reply.is_multi and any(configuration.targets for configuration in self._reply.configurations):
                problems = [("targets", "no configuration was built")]
        settings = {name: value for name, value in self._reply.cache.items() if _FLAGS.fullmatch(name)}
        ordered = sorted(outputs, key=lambda output: (output.name, output.path))
        return Build("CMake", self._folder, tuple(ordered), tuple(problems), settings)

    def _expected(self, found: list[tuple[Target, Output]], configuration: str) -> list[Output]:
        """The outputs, those that are missing with what CMake's target `all` has to do with them."""
        outputs = [output for _, output in found]
        if all(os.path.exists(output.path) for output in outputs):
            return outputs
        usual = built_by_all(self._folder, configuration if self._reply.is_multi else "")
        if usual is None:
            return outputs
        return [
            replace(output, is_usual=not usual.isdisjoint((target.name, *target.artifacts))) for target, output in found
        ]

    def _outputs(self, configuration: Configuration) -> Iterator[tuple[Target, Output]]:
        made = [
            _Made(target, _TYPES[target.type], tuple(self._units(target, configuration.name)))
            for target in configuration.targets
            if target.type in _TYPES
        ]
        by_object = {path: one for one in made if one.type == "OBJECT" for path in one.target.artifacts}
        made = [_Made(one.target, one.type, (*one.units, *_taken_in(one.target, by_object))) for one in made]
        by_archive = {path: one for one in made if one.type == "STATIC" for path in one.target.artifacts}
        for one in made:
            if one.type != "OBJECT" and one.target.artifacts:
                yield one.target, self._output(one, by_archive, configuration.name)

    def _output(self, made: _Made, by_archive: Mapping[str, _Made], configuration: str) -> Output:
        target = made.target
        linked = self._linked(target, by_archive) if made.type != "STATIC" else ()
        own = {path for one in linked for path in one.target.artifacts} | {unit.object for unit in made.units}
        ids = set(map(id, made.units))
        taken = tuple(unit for one in linked for unit in one.units if id(unit) not in ids)
        names = self._variables((_LINKER_FLAGS[made.type],), configuration)
        languages = {unit.language: None for unit in made.units}
        names += self._variables((f"CMAKE_{language}_FLAGS" for language in languages), configuration)
        recipe = Recipe(
            target=target.name,
            type=made.type,
            configuration=configuration,
            units=(*made.units, *taken),
            from_archives=taken,
            link=(
                *self._of_compiler(target.linked_by),
                *(piece for one in target.link for piece in self._placed(one, names)),
            ),
            foreign=self._foreign(target, linked, own),
            defined_at=target.defined_at,
        )
        name = f"{configuration}/{target.name}" if self._reply.is_multi else target.name
        return Output(name, target.artifacts[0], recipe)

    def _linked(self, target: Target, by_archive: Mapping[str, _Made]) -> tuple[_Made, ...]:
        """The static libraries of the build that are linked into a target: the link step names them all."""
        found: dict[str, _Made] = {}
        for fragment in target.libraries:
            for word in fragment.arguments:
                for path in self._candidates(word, target):
                    if path in by_archive:
                        found.setdefault(path, by_archive[path])
        return tuple(found.values())

    def _foreign(self, target: Target, linked: tuple[_Made, ...], own: Collection[str]) -> tuple[str, ...]:
        """See `Recipe.foreign`: of the link step, and objects among the sources, those of the static libraries too."""
        sources = [path for one in (target, *(one.target for one in linked)) for path, _ in one.sources]
        known = {*own, *(unit.object for one in linked for unit in one.units)}
        objects = [path for path in sources if is_object(path) and path not in known]
        pieces = [*self._of_compiler(target.linked_by), *target.link]
        pieces += [piece for piece in target.libraries if not piece.text.startswith("-")]
        words = [word for piece in pieces for word in piece.arguments]
        named = foreign_code(words, lambda word: not known.isdisjoint(self._candidates(word, target)))
        return tuple(dict.fromkeys((*objects, *named)))

    def _of_compiler(self, language: str) -> tuple[Fragment, ...]:
        """The options that stand behind the compiler's name wherever it is called, as `gcc -m32` in CC gives them."""
        if language not in self._compilers:
            name = f"CMAKE_{language}_COMPILER_ARG1"
            text = compiler_options(self._folder, self._reply.version, language)
            text = self._reply.cache.get(name, "") if text is None else text
            self._compilers[language] = (Fragment(text.strip(), name),) if text.strip() else ()
        return self._compilers[language]

    def _candidates(self, word: str, target: Target) -> Iterator[str]:
        """What a file of a link step may be: the generators differ in the folder that they start from."""
        for folder in (self._folder, target.folder):
            yield os.path.normpath(os.path.join(folder, word))

    def _units(self, target: Target, configuration: str) -> Iterator[CompileCommand]:
        placed: dict[int, tuple[Fragment, ...]] = {}  # sources of one group share their options
        for path, group in target.sources:
            if group is None or group.is_header:
                continue
            if id(group) not in placed:
                placed[id(group)] = tuple(self._placed_of(group, configuration))
            built = self._object(target, path, configuration)
            yield CompileCommand(path, group.language, placed[id(group)], built, _RECORD)

    def _placed_of(self, group: Group, configuration: str) -> Iterator[Fragment]:
        yield from self._of_compiler(group.language)
        names = self._variables((f"CMAKE_{group.language}_FLAGS",), configuration)
        for fragment in group.fragments:
            yield from self._placed(fragment, names)

    def _variables(self, names: Iterable[str], configuration: str) -> tuple[str, ...]:
        """Variables, each followed by the one that holds more for the configuration."""
        suffix = f"_{configuration.upper()}"
        return tuple(one for name in names for one in ((name, name + suffix) if configuration else (name,)))

    def _placed(self, fragment: Fragment, names: tuple[str, ...]) -> Iterator[Fragment]:
        """A fragment for which CMake gives no line, in pieces: those that stand in the cache name their variable."""
        values = {name: frozenset(Fragment(self._reply.cache.get(name, "")).arguments) for name in names}
        if fragment.where or not any(values.values()):
            yield fragment
            return
        pieces: list[tuple[str, list[str]]] = []
        for argument in fragment.arguments:
            where = next((name for name, value in values.items() if argument in value), "")
            if not pieces or pieces[-1][0] != where:
                pieces.append((where, []))
            pieces[-1][1].append(argument)
        for where, arguments in pieces:
            yield Fragment(shlex.join(arguments), where)

    def _object(self, target: Target, source: str, configuration: str) -> str:
        """The object of a source, if it is where CMake's generators put it (cmLocalGenerator.cxx,
        GetObjectFileNameWithoutTarget); else an empty text.
        """
        top = os.path.join(target.folder, "CMakeFiles", f"{target.name}.dir")
        folders = (os.path.join(top, configuration), top) if self._reply.is_multi else (top,)
        for base in (target.source, target.folder):
            name = _object_name(os.path.relpath(source, base))
            for folder in folders:
                for path in (f"{name}.o", f"{os.path.splitext(name)[0]}.o"):
                    if os.path.isfile(found := os.path.join(folder, path)):
                        return found
        return ""


def _object_name(source: str) -> str:
    """How CMake names the object of a source outside of its folder, or of one with blanks."""
    return "/".join("__" if part == ".." else part for part in source.split("/")).replace(" ", "_")


def _taken_in(target: Target, by_object: Mapping[str, _Made]) -> Iterator[CompileCommand]:
    """The units of object libraries whose objects are among the sources of a target."""
    for path, _ in target.sources:
        if path in by_object:
            yield from (unit for unit in by_object[path].units if unit.object == path)
