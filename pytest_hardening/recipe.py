"""How a build system says that a file is made: its target, the commands of its units, the options of its link step.

What stands here was recorded by a build system, not read from the file; where the two differ, the file is right.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["CompileCommand", "Fragment", "Recipe"]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a command line, as one place of the build description gave it.

    Parameters
    ----------
    text: one or more arguments, quoted for a shell: `-O2 -g`, `-DNAME="a b"`.
    where: the place that gave it, innermost first: `CMakeLists.txt:12`; empty where the build system does not say.
    """

    text: str
    where: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments in it; what no shell would accept is split at blanks."""
        try:
            return tuple(shlex.split(self.text))
        except ValueError:
            return tuple(self.text.split())


@dataclass(frozen=True, slots=True)
class CompileCommand:
    """How one translation unit is compiled.

    Parameters
    ----------
    source: absolute path of the source file.
    language: "C", "CXX", "ASM" ... as CMake calls them; empty where it is not known.
    fragments: the options that it is compiled with, in order; without compiler, source and output.
    object: absolute path of the object file; empty where it is not known.
    recorded_in: what it was read from, for people: "compile_commands.json", "CMake's file API".
    """

    source: str
    language: str
    fragments: tuple[Fragment, ...]
    object: str = ""
    recorded_in: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """All options, in order: of options that exclude each other the last one counts."""
        return tuple(argument for fragment in self.fragments for argument in fragment.arguments)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one file is made.

    Parameters
    ----------
    target: the name that the build system has for it; empty where only compile commands are known.
    type: "EXECUTABLE", "SHARED", "MODULE", "STATIC" or "OBJECT"; empty where it is not known.
    configuration: "Release", "Debug" ...; empty where the build has none.
    units: the commands of its own units and of those of static libraries and object libraries of the same build that
        are linked into it.
    link: the options of the link step, in order; those of the compiler that are given there too are among them.
    defined_at: where the target is defined: `CMakeLists.txt:30`; empty where the build system does not say.
    """

    target: str = ""
    type: str = ""
    configuration: str = ""
    units: tuple[CompileCommand, ...] = ()
    link: tuple[Fragment, ...] = ()
    defined_at: str = ""

    @property
    def link_arguments(self) -> Iterator[str]:
        """All options of the link step, in order."""
        return (argument for fragment in self.link for argument in fragment.arguments)
