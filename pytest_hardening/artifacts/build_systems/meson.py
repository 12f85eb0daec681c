"""Meson: targets and the options of their units from `meson-info`, objects and link steps from `build.ninja`.

Source: Meson manual, "IDE integration" (intro-targets.json, intro-buildoptions.json, meson-info.json). Meson 1.0 tells
there how units are compiled, later versions also how targets are linked; `build.ninja` has the rest.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ...errors import ArtifactError
from ...recipe import CompileCommand, Fragment, Recipe
from .command_line import is_compiler, language_of_source
from .foreign import foreign_code, is_object
from .json_file import load
from .ninja_file import Step, steps
from .output import Build, Output

__all__ = ["read"]

_SYSTEM = "Meson"
_INFO = "meson-info"
# the words of Meson, and of CMake
_TYPES = {
    "executable": "EXECUTABLE",
    "shared library": "SHARED",
    "shared module": "MODULE",
    "static library": "STATIC",
}
_LANGUAGES = {
    "c": "C",
    "cpp": "CXX",
    "objc": "OBJC",
    "objcpp": "OBJCXX",
    "fortran": "Fortran",
    "d": "D",
    "rust": "Rust",
}
_MOST_PROBLEMS = 20
_MOST_WORDS = 4096  # in which the options of the build are looked for


def read(folder: str) -> Build:
    """The targets of a build folder that Meson configured; it need not have been built.

    Parameters
    ----------
    folder: the build folder, which has `meson-info` in it.

    Raises
    ------
    ArtifactError: there is nothing of Meson's in it, or it cannot be read.
    """
    folder = os.path.abspath(folder)
    path = os.path.join(folder, _INFO, "intro-targets.json")
    if not os.path.lexists(path):
        raise ArtifactError(f"no {_INFO}/intro-targets.json in it: `meson setup DIR` writes it")
    targets = load(path)
    if not isinstance(targets, list):
        raise ArtifactError(f"{_INFO}/intro-targets.json holds no list of targets: run `meson setup --reconfigure`")
    reader = _Reader(folder)
    found: list[tuple[_Target, Output]] = []
    problems: list[tuple[str, str]] = []
    for number, data in enumerate(targets, 1):
        try:
            if (target := _target(data)) is not None:
                reader.add(target)
                is_usual = data.get("build_by_default") is not False
                found.append((target, Output(target.name, target.path, Recipe(), is_usual)))
        except ValueError as error:
            name = data.get("name") if isinstance(data, dict) else None
            problems.append((name if isinstance(name, str) else f"target {number}", str(error)))
    outputs = [replace(output, recipe=reader.recipe(target)) for target, output in found]
    if len(problems) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [(_INFO, f"and {len(problems) - _MOST_PROBLEMS} more of the kind")]
    return Build(
        _SYSTEM, folder, tuple(sorted(outputs, key=lambda output: (output.name, output.path))), tuple(problems)
    )


@dataclass(frozen=True, slots=True)
class _Target:
    """A target of a kind that is linked or archived; `linker` is what later versions tell of that, or None."""

    name: str
    type: str
    path: str
    defined_in: str
    sources: tuple[tuple[str, str, tuple[str, ...]], ...]  # path, language, parameters
    linker: tuple[str, ...] | None
    compilers: Mapping[str, tuple[str, ...]]  # by Meson's language, what stands behind the compiler's name


class _Reader:
    """What the parts of a build folder say of each target."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._making = {self._absolute(output): step for step in steps(folder) for output in step.outputs}
        self._own: dict[str, tuple[CompileCommand, ...]] = {}
        self._options = _options(folder)
        self._root = _source_folder(folder)

    def _absolute(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._folder, path))

    def add(self, target: _Target) -> None:
        """Note the units that a target compiles itself."""
        step = self._making.get(target.path)
        objects: dict[str, list[str]] = {}
        for made in map(self._absolute, step.inputs if step is not None else ()):
            compiling = self._making.get(made)
            if compiling is not None and "_COMPILER" in compiling.rule and compiling.inputs:
                objects.setdefault(self._absolute(compiling.inputs[0]), []).append(made)
        commands = [
            CompileCommand(path, language, self._fragments(parameters, "args"), made, f"{_INFO}/intro-targets.json")
            for path, language, parameters in target.sources
            for made in objects.pop(path, [""])
        ]
        commands += [
            self._command(target, source, made, self._making[made])
            for source, names in objects.items()
            for made in names
        ]
        self._own[target.path] = tuple(commands)

    def _command(self, target: _Target, source: str, made: str, step: Step) -> CompileCommand:
        """A unit that only build.ninja names: one that unites several sources (the option `unity`)."""
        by = step.rule.partition("_")[0]
        language = language_of_source(source) or _LANGUAGES.get(by, "")
        before = shlex.join(target.compilers.get(by, ()))
        fragments = tuple(Fragment(text) for text in (before, step.variables.get("ARGS", "")) if text)
        return CompileCommand(source, language, fragments, made, "build.ninja")

    def recipe(self, target: _Target) -> Recipe:
        """What is known of a target, with the units of static libraries of the build that go into it."""
        units: dict[CompileCommand, None] = {}
        foreign: dict[str, None] = {}
        seen: set[str] = set()
        pending = [target.path]
        own = set(self._own.get(target.path, ()))
        while pending:
            path = pending.pop()
            if path in seen:
                continue
            seen.add(path)
            units.update(dict.fromkeys(self._own.get(path, ())))
            step = self._making.get(path)
            for made in map(self._absolute, step.inputs if step is not None else ()):
                if self._is_made_by(made, "STATIC_LINKER"):
                    pending.append(made)
                elif is_object(made) and not self._is_made_by(made, "_COMPILER"):
                    foreign[made] = None
        foreign.update(dict.fromkeys(self._foreign(target, seen)))
        return Recipe(
            target=target.name,
            type=_TYPES[target.type],
            configuration=str(self._options.get("buildtype", "")),
            units=tuple(units),
            from_archives=tuple(unit for unit in units if unit not in own),
            foreign=tuple(foreign),
            link=self._link(target),
            defined_at=os.path.relpath(target.defined_in, self._root) if target.defined_in else "",
        )

    def _is_made_by(self, path: str, rule: str) -> bool:
        return path in self._making and rule in self._making[path].rule

    def _foreign(self, target: _Target, own: Collection[str]) -> tuple[str, ...]:
        """See `Recipe.foreign`: of the link step."""
        if _TYPES[target.type] == "STATIC":
            return ()
        if target.path not in self._making:
            return ("its link step, which build.ninja does not have",)
        words = [word for fragment in self._link(target) for word in fragment.arguments]
        if target.linker is not None:  # which lacks what build.ninja adds
            words += Fragment(self._making[target.path].variables.get("LINK_ARGS", "")).arguments
        return foreign_code(words, lambda word: self._absolute(word) in own)

    def _link(self, target: _Target) -> tuple[Fragment, ...]:
        if _TYPES[target.type] == "STATIC":
            return ()
        if target.linker is not None:
            return self._fragments(target.linker, "link_args")
        step = self._making.get(target.path)
        if step is None:
            return ()
        before = target.compilers.get(step.rule.partition("_")[0], ())
        words = (*before, *Fragment(step.variables.get("LINK_ARGS", "")).arguments)
        return self._fragments(words, "link_args")

    def _fragments(self, words: tuple[str, ...], kind: str) -> tuple[Fragment, ...]:
        """Options, those apart that come from an option of the build: `-Dc_args=`, `-Dc_link_args=`."""
        for language in _LANGUAGES:
            given = self._options.get(f"{language}_{kind}")
            if isinstance(given, list) and given and all(isinstance(word, str) for word in given):
                at = _place(words, tuple(given))
                if at is not None:
                    end = at + len(given)
                    parts = ((words[:at], ""), (words[at:end], f"option {language}_{kind}"), (words[end:], ""))
                    return tuple(Fragment(shlex.join(part), where) for part, where in parts if part)
        return (Fragment(shlex.join(words)),) if words else ()


@lru_cache(maxsize=64)
def _place(words: tuple[str, ...], run: tuple[str, ...]) -> int | None:
    """Where some words stand in a row; sources of one group share their options, so that it is asked again."""
    if len(words) > _MOST_WORDS or len(run) > _MOST_WORDS:
        return None
    size, first = len(run), run[0]
    for at in range(len(words) - size + 1):
        if words[at] == first and words[at : at + size] == run:
            return at
    return None


def _target(data: Any) -> _Target | None:
    """A target of intro-targets.json; None for one of another kind.

    Raises
    ------
    ValueError: something is missing.
    """
    if not isinstance(data, dict):
        raise ValueError("is no object")
    name, type_, names = data.get("name"), data.get("type"), data.get("filename")
    if type_ not in _TYPES:
        return None
    if not isinstance(name, str) or not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise ValueError("lacks `name` or `filename`")
    groups = data.get("target_sources")
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise ValueError("lacks `target_sources`")
    linker: tuple[str, ...] | None = None
    sources: list[tuple[str, str, tuple[str, ...]]] = []
    compilers: dict[str, tuple[str, ...]] = {}
    for group in groups:
        if "linker" in group:
            linker = (*_options_of(_texts(group, "linker")), *_texts(group, "parameters"))
            continue
        by, before = str(group.get("language")), _options_of(_texts(group, "compiler"))
        parameters = (*before, *_texts(group, "parameters"))
        compilers[by] = before
        for path in (*_texts(group, "sources"), *_texts(group, "generated_sources")):
            language = language_of_source(path) or _LANGUAGES.get(by, "")
            if language:  # else it is a header
                sources.append((os.path.normpath(path), language, parameters))
    defined_in = data.get("defined_in")
    where = defined_in if isinstance(defined_in, str) else ""
    return _Target(name, type_, os.path.normpath(names[0]), where, tuple(sources), linker, compilers)


def _options_of(words: tuple[str, ...]) -> tuple[str, ...]:
    """What follows the compiler's name where it was given with options, as `gcc -m32` in CC: in no other list."""
    at = next((at for at, word in enumerate(words) if is_compiler(word)), 0)
    return words[at + 1 :]


def _texts(group: dict[str, Any], key: str) -> tuple[str, ...]:
    found = group.get(key, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"has `{key}` that is no list of texts")
    return tuple(found)


def _options(folder: str) -> dict[str, Any]:
    """The options of the build, by name; empty where they cannot be read."""
    return {str(option["name"]): option.get("value") for option in _entries(folder) if "name" in option}


def _entries(folder: str) -> Iterator[dict[str, Any]]:
    try:
        found = load(os.path.join(folder, _INFO, "intro-buildoptions.json"))
    except ArtifactError:
        return
    yield from (option for option in found if isinstance(option, dict)) if isinstance(found, list) else ()


def _source_folder(folder: str) -> str:
    """The folder of the sources, to which places of definition are shown relative; the build folder where unknown."""
    try:
        found = load(os.path.join(folder, _INFO, "meson-info.json"))
        return os.path.abspath(str(found["directories"]["source"]))
    except (ArtifactError, LookupError, TypeError):
        return folder
