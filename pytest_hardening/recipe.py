"""How a build system says that a file is made: its target, the commands of its units, the options of its link step.

What stands here was recorded by a build system, not read from the file; where the two differ, the file is right.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["CompileCommand", "Fragment", "Recipe", "command_of", "commands_of", "words_of"]

# words of a shell (POSIX Shell Command Language, 2.2 Quoting); operators, and a mark without a partner, are words too
_WORD = re.compile(r"""(?:[^\s'"\\;&|<>()]+|'[^']*'|"(?:[^"\\]|\\.)*"|\\.)+|[;&|<>()]+|['"\\]""", re.DOTALL)
_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)""", re.DOTALL)
_ESCAPED = re.compile(r'\\([$`"\\\n])')
# what a compiler reads further options from, and may lie elsewhere or be gone: GCC and clang manuals
_UNREAD = ("@", "--config")
_MARKS = frozenset("'\"\\")
_PREFIX_MAPS = ("-ffile-prefix-map=", "-fdebug-prefix-map=")


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
            return words_of(self.text)
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

    @property
    def unread(self) -> str:
        """The option by which more options are read from a file that nobody read, as `@FILE`; empty where none is."""
        if not any(mark in fragment.text for fragment in self.fragments for mark in _UNREAD):
            return ""
        return next((argument for argument in self.arguments if argument.startswith(_UNREAD)), "")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one file is made.

    Parameters
    ----------
    target: the name that the build system has for it; empty where only compile commands are known.
    type: "EXECUTABLE", "SHARED", "MODULE", "STATIC" or "OBJECT"; empty where it is not known.
    configuration: "Release", "Debug" ...; empty where the build has none.
    units: the commands of its own units and of those of static libraries and object libraries of the same build that
        are linked into it. Where `target` is empty, those of the whole build: `commands_of` picks a unit's.
    from_archives: those of the units that come from static libraries of the build: the linker takes what is asked for.
    link: the options of the link step, in order; those of the compiler that are given there too are among them.
    foreign: what may bring code whose units are not among these: archives and objects that no target makes, `-static`,
        and libraries as `-lNAME`, which are archives or shared: see `foreign_beside`.
    defined_at: where the target is defined: `CMakeLists.txt:30`; empty where the build system does not say.
    """

    target: str = ""
    type: str = ""
    configuration: str = ""
    units: tuple[CompileCommand, ...] = ()
    from_archives: tuple[CompileCommand, ...] = ()
    link: tuple[Fragment, ...] = ()
    foreign: tuple[str, ...] = ()
    defined_at: str = ""
    _by_name: dict[str, list[CompileCommand]] = field(init=False, repr=False, compare=False)
    _by_path: dict[str, list[CompileCommand]] = field(init=False, repr=False, compare=False)
    _found: dict[tuple[str, str], tuple[CompileCommand, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[str, list[CompileCommand]] = {}
        for command in self.units:
            by_name.setdefault(posixpath.basename(command.source), []).append(command)
        object.__setattr__(self, "_by_name", by_name)
        object.__setattr__(self, "_by_path", {})
        object.__setattr__(self, "_found", {})

    def making(self, path: str) -> tuple[CompileCommand, ...]:
        """The commands that write an object file; two where it is written twice."""
        return tuple(command for command in self.units if path and command.object == path)

    def foreign_beside(self, needed: Iterable[str]) -> tuple[str, ...]:
        """What is foreign in a file that loads these libraries (DT_NEEDED): what is loaded does not lie inside."""
        loaded = {name.partition(".so")[0] for name in needed}
        return tuple(one for one in self.foreign if not one.startswith("-l") or f"lib{one[2:]}" not in loaded)

    def _of_path(self, path: str) -> list[CompileCommand]:
        """The commands of a source, by its path or by what debug information calls it."""
        if not self._by_path:
            for command in self.units:
                for name in {posixpath.normpath(command.source), _mapped(command)}:
                    self._by_path.setdefault(name, []).append(command)
        return self._by_path.get(path, [])

    def _of_tail(self, tail: str) -> Iterator[CompileCommand]:
        """The commands of the sources whose path ends so."""
        candidates = self._by_name.get(posixpath.basename(tail), ())
        return (command for command in candidates if posixpath.normpath(command.source).endswith(tail))

    @property
    def link_arguments(self) -> Iterator[str]:
        """All options of the link step, in order."""
        return (argument for fragment in self.link for argument in fragment.arguments)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a command line, as a shell would split it; operators such as `&&` are words of their own.

    Variables and patterns stay as they are.

    Raises
    ------
    ValueError: a quotation mark has no partner.
    """
    if not any(mark in text for mark in "'\"\\;&|<>()"):
        return tuple(text.split())
    found = _WORD.findall(text)
    if not _MARKS.isdisjoint(found):
        raise ValueError("a quotation mark without a partner")
    return tuple(_QUOTED.sub(_unquoted, word) if "'" in word or '"' in word or "\\" in word else word for word in found)


def _unquoted(found: re.Match[str]) -> str:
    if found[2] is not None:
        return _ESCAPED.sub(lambda escaped: "" if escaped[1] == "\n" else escaped[1], found[2])
    return found[1] if found[1] is not None else found[3].replace("\n", "")


def commands_of(recipe: Recipe, name: str, folder: str = "", member: str = "") -> tuple[CompileCommand, ...]:
    """The commands that may have compiled a unit: several where its source was compiled in several ways, none where the
    recipe has none of its source. Equal commands count once.

    Parameters
    ----------
    name: the source file as the compiled file has it, relative to `folder` or to a folder that is not known; a base
        name alone is that of any source that is called so.
    folder: where it was compiled (DW_AT_comp_dir); empty where the file does not tell.
    member: the name of the object file or archive member that the unit is; empty for linked files.
    """
    path = posixpath.normpath(posixpath.join(folder, name))
    is_tail = not path.startswith("/")
    if is_tail:
        path = posixpath.normpath(posixpath.join("/", name))  # which drops what leads upwards
    key = (f"*{path}" if is_tail else path, member)
    if key not in recipe._found:  # a build may have thousands of sources with one base name
        found: Iterable[CompileCommand] = recipe._of_tail(path) if is_tail else recipe._of_path(path)
        if member:
            named = posixpath.basename(member)
            found = (one for one in found if not one.object or posixpath.basename(one.object) == named)
        recipe._found[key] = tuple({command.fragments: command for command in found}.values())
    return recipe._found[key]


def command_of(recipe: Recipe, name: str, folder: str = "", member: str = "") -> CompileCommand | None:
    """The command that compiled a unit; None where the recipe has none, or several that differ. See `commands_of`."""
    found = commands_of(recipe, name, folder, member)
    return found[0] if len(found) == 1 else None


def _mapped(command: CompileCommand) -> str:
    """What a compiler calls the source in debug information: GCC manual, -ffile-prefix-map, the last that fits wins."""
    if not any("-prefix-map=" in fragment.text for fragment in command.fragments):
        return command.source
    for argument in reversed(command.arguments):
        if argument.startswith(_PREFIX_MAPS):
            old, _, new = argument.partition("=")[2].rpartition("=")
            if command.source.startswith(old):
                return posixpath.normpath(new + command.source[len(old) :])
    return command.source
