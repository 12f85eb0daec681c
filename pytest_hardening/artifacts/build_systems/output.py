"""What every reader of a build system returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...recipe import Recipe

__all__ = ["Build", "Output"]


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a target makes.

    Parameters
    ----------
    name: the target's name, with the configuration before it where the build has several: `SHARED`, `Debug/SHARED`.
    path: absolute path of the file; it need not exist.
    recipe: how it is made.
    is_usual: whether a build that names no target makes it.
    """

    name: str
    path: str
    recipe: Recipe
    is_usual: bool = True


@dataclass(frozen=True, slots=True)
class Build:
    """A build folder as its build system describes it.

    Parameters
    ----------
    system: the build system, for people: "CMake", "Meson", "compile_commands.json".
    folder: absolute path of the build folder.
    outputs: the linked files and static archives of all targets, sorted by name.
    problems: (name, reason) of what could not be read; the rest is judged all the same.
    settings: variables of the whole build that hold options, such as `CMAKE_EXE_LINKER_FLAGS`, as they are stored.
    of_any_file: where a build system tells how units are compiled but not what they are linked into: the commands of
        all units, of which `compile_commands.recipe_of` makes that of one file. Else None.
    """

    system: str
    folder: str
    outputs: tuple[Output, ...]
    problems: tuple[tuple[str, str], ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    of_any_file: Recipe | None = None
