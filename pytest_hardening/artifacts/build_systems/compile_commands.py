"""`compile_commands.json`: how units were compiled, as CMake, Ninja (`-t compdb`), Meson and Bear write it.

Source: "JSON Compilation Database Format Specification" of clang. Such a file names no linked files and no archives:
those in the build folder are taken for its outputs. Which of its commands made what is in a file is told by the file's
units, see `pytest_hardening.recipe.commands_of`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import ArtifactError
from ...recipe import CompileCommand, Recipe, words_of
from ..discovery import discover
from .command_line import Call, calls, compile_commands_of, language_of_source
from .json_file import load
from .output import Build, Output

__all__ = ["NAME", "read", "recipe_of"]

NAME = "compile_commands.json"
_MOST_PROBLEMS = 20
_NOTHING_MADE = (
    "no linked file and no archive lies in its folder or below it: build them, or put it into the folder that they lie "
    "in or below, and name that one"
)
_MOST_ENTRIES = 500_000


def read(folder: str) -> Build:
    """The commands in a build folder's database, and the linked files and static archives that lie in the folder.

    Parameters
    ----------
    folder: the build folder.

    Raises
    ------
    ArtifactError: there is no such file, or nothing of it can be read.
    """
    folder = os.path.abspath(folder)
    path = os.path.join(folder, NAME)
    if not os.path.lexists(path):
        raise ArtifactError(
            f"no {NAME} in it: cmake -DCMAKE_EXPORT_COMPILE_COMMANDS=ON, meson, `bear -- make` and "
            f"`ninja -t compdb > {NAME}` write one"
        )
    entries = load(path)
    if not isinstance(entries, list):
        raise ArtifactError(f"{NAME} holds no list of commands: let the build write it again")
    if len(entries) > _MOST_ENTRIES:
        raise ArtifactError(f"{NAME} holds too many entries: more than {_MOST_ENTRIES}")
    found: dict[CompileCommand, None] = {}
    problems = _Problems()
    for number, entry in enumerate(entries, 1):
        try:
            found.update(dict.fromkeys(_commands(entry, folder)))
        except ValueError as error:
            problems.add(f"{NAME}, entry {number}", str(error))
    if not found:
        first = f": {problems.first[0][1]}" if problems.first else ""
        raise ArtifactError(f"{NAME} holds no command that compiles a unit{first}")
    for command in found:
        if option := command.unread:
            reason = f"compiled with {option}, which is not read: its options are not known"
            problems.add(os.path.basename(command.source), reason)
    recipe = Recipe(units=tuple(found))
    made = discover([folder], base=folder)
    # what lies in a package was not linked here: it is judged where the package is named
    files = (artifact for artifact in made.artifacts if artifact.packed is None)
    outputs = tuple(Output(artifact.display, artifact.path, recipe) for artifact in files)
    unread = (one for one in made.problems if one[0] not in (folder, os.path.realpath(folder), "."))
    nothing = () if outputs else ((NAME, _NOTHING_MADE),)
    return Build(NAME, folder, outputs, (*nothing, *problems.all, *unread), of_any_file=recipe)


class _Problems:
    """The first of many problems, and how many there are."""

    def __init__(self) -> None:
        self.first: list[tuple[str, str]] = []
        self._count = 0

    def add(self, name: str, reason: str) -> None:
        self._count += 1
        if len(self.first) < _MOST_PROBLEMS:
            self.first.append((name, reason))

    @property
    def all(self) -> tuple[tuple[str, str], ...]:
        more = self._count - len(self.first)
        return (*self.first, *([(NAME, f"and {more} more of the kind")] if more else ()))


def recipe_of(build: Build, path: str) -> Recipe | None:
    """What is known of a file that the build made: of an object the commands that write it, of any other file all
    commands of the build, of which `commands_of` picks those of its units. None where the build has no such commands.

    Parameters
    ----------
    path: absolute path of the file.
    """
    recipe = build.of_any_file
    own = recipe.making(path) if recipe is not None else ()
    return Recipe(units=own) if own else recipe


def _commands(entry: Any, folder: str) -> Iterator[CompileCommand]:
    """The units that an entry compiles; none of entries for other steps, which Ninja writes too.

    Raises
    ------
    ValueError: it lacks what the specification demands.
    """
    if not isinstance(entry, dict):
        raise ValueError("is no object")
    directory, file, output = entry.get("directory"), entry.get("file"), entry.get("output", "")
    if not isinstance(directory, str) or not isinstance(file, str) or not isinstance(output, str):
        raise ValueError("lacks `directory` or `file`")
    words = _words(entry)
    directory = os.path.join(folder, directory)
    for call in calls(words, first_is_compiler=bool(language_of_source(file))):
        for command in compile_commands_of(call, directory, NAME):
            yield command if command.object or not output else _made(command, call, directory, output)


def _made(command: CompileCommand, call: Call, folder: str, output: str) -> CompileCommand:
    if call.by_libtool or len(call.sources) != 1:
        return command
    path = os.path.normpath(os.path.join(folder, output))
    return CompileCommand(command.source, command.language, command.fragments, path, command.recorded_in)


def _words(entry: dict[str, Any]) -> Sequence[str]:
    arguments, command = entry.get("arguments"), entry.get("command")
    if isinstance(arguments, list) and all(isinstance(argument, str) for argument in arguments):
        return arguments
    if isinstance(command, str):
        return words_of(command)
    raise ValueError("has neither `arguments` nor `command`")
