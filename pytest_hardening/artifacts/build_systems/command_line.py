"""Command lines of compilers: which words are options, sources and output; wrappers and shell operators left aside.

Sources: GCC manual, "Option Summary", and clang's command line reference, for the options that take a further word; the
manuals of ccache, distcc, sccache, icecream and libtool for what stands before the compiler.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...elf.producer import language_of_file
from ...recipe import CompileCommand, Fragment

__all__ = ["NO_CODE", "Call", "calls", "commands", "compile_commands_of", "is_compiler", "language_of_source"]

# a cross compiler's prefix and a version may stand around the name: aarch64-linux-gnu-gcc-12
_COMPILER = re.compile(
    r"(?:[\w.]+-)*(?:gcc|g\+\+|cc|c\+\+|c89|c99|clang|clang\+\+|tcc|icc|icpc|icx|icpx|mpicc|mpicxx)(?:-[\d.]+)?"
)
_CPLUSPLUS = re.compile(r"(?:\+\+|icpc|icpx|mpicxx)(?:-[\d.]+)?$")
_OPERATORS = ";&|<>()"
_REDIRECTIONS = frozenset("< > >> >& <& &> &>> >| <> <<".split())
_ASSIGNMENT = re.compile(r"\w+\+?=")
_WITH_WORD = frozenset(
    "-o -I -D -U -L -l -u -T -z -e -x -B -isystem -iquote -idirafter -include -imacros -iprefix "
    "-iwithprefix -iwithprefixbefore -isysroot -imultilib -cxx-isystem -MF -MT -MQ -MJ -Xlinker -Xclang -Xassembler "
    "-Xpreprocessor -mllvm -mthread-model --param -arch -target -wrapper -aux-info -dumpbase -dumpbase-ext -dumpdir "
    "--sysroot --target -specs -framework -gcc-toolchain -ivfsoverlay -iframework -include-pch --serialize-diagnostics "
    "-serialize-diagnostics -main-file-name -fmodule-file -rpath -soname".split()
)
_DEPENDENCIES = frozenset("-MD -MMD -MP -MG -MF -MT -MQ -MJ".split())
# what makes a compiler stop before there is code: GCC manual, "Overall Options" and "Preprocessor Options"; -v is not
# among them: with a source it compiles
NO_CODE = frozenset("-E -M -MM -fsyntax-only --version -dumpversion -dumpmachine --help -###".split())
_LANGUAGES = {
    "c": "C", "c++": "CXX", "objective-c": "OBJC", "objective-c++": "OBJCXX", "assembler": "ASM", "fortran": "Fortran",
    "ada": "Ada", "d": "D", "go": "Go", "rust": "Rust", "swift": "Swift",
}  # fmt: skip
# what -x takes (GCC manual, "Overall Options")
_GIVEN = {
    "cpp-output": "c",
    "c++-cpp-output": "c++",
    "assembler-with-cpp": "assembler",
    "f77": "fortran",
    "f95": "fortran",
}
# -xLANG; icc has options of that form, too
_JOINED = re.compile(rf"-x({'|'.join(map(re.escape, (*_LANGUAGES, *_GIVEN, 'none', 'cuda', 'hip')))}|[\w+-]+-header)")


class Call(NamedTuple):
    """A call of a compiler.

    Parameters
    ----------
    compiler: the word that names it: "gcc", "/usr/bin/clang-19".
    words: what follows it.
    options: the words without the sources, the output, -c and what asks for a list of dependencies (-MD, -MF FILE ...);
        an option's value stays behind it.
    sources: the source files, as they were given, each with its language as CMake calls it.
    inputs: objects, archives and other files that only a link step takes.
    output: the word behind -o; empty where there is none.
    compiles_only: whether it stops before the link step (-c, -S).
    makes_code: whether it compiles or links at all, and does not only preprocess, check or tell its version.
    by_libtool: whether libtool calls it, which may make two objects of one source, neither of them the output.
    """

    compiler: str
    words: tuple[str, ...]
    options: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]
    inputs: tuple[str, ...]
    output: str
    compiles_only: bool
    makes_code: bool
    by_libtool: bool


def is_compiler(word: str) -> bool:
    """Whether a word names a compiler of C or C++."""
    return bool(_COMPILER.fullmatch(os.path.basename(word))) and not (word[:1] == "-" or _ASSIGNMENT.match(word))


def calls(words: Sequence[str], *, first_is_compiler: bool = False) -> Iterator[Call]:
    """The calls of compilers in a shell's command line, in their order.

    Parameters
    ----------
    first_is_compiler: whether the first word is a compiler where no word has the name of one.
    """
    found = [call for part in commands(words) if (call := _call(part, _place_of_compiler(part))) is not None]
    if not found and first_is_compiler and (call := _call(words, 0)) is not None:
        found = [call]
    yield from found


def commands(words: Sequence[str]) -> Iterator[list[str]]:
    """The commands between a shell's operators, without their redirections."""
    part: list[str] = []
    is_file = False
    for word in (*words, ";"):
        if not word or word.strip(_OPERATORS):
            if not is_file:
                part.append(word)
            is_file = False
            continue
        is_file = word in _REDIRECTIONS
        if is_file:
            if part and part[-1] in ("1", "2"):
                part.pop()
        elif part:
            yield part
            part = []


def _place_of_compiler(words: Sequence[str]) -> int | None:
    first = next((index for index, word in enumerate(words) if word in ("-c", "-o")), len(words))
    return next((index for index, word in enumerate(words[:first]) if is_compiler(word)), None)


def compile_commands_of(call: Call, folder: str, recorded_in: str) -> Iterator[CompileCommand]:
    """The units that a call compiles.

    Parameters
    ----------
    folder: absolute path of the folder that the call's paths are relative to.
    """
    if not call.makes_code:
        return
    fragments = (Fragment(shlex.join(call.options)),)
    for source, language in call.sources:
        path = os.path.normpath(os.path.join(folder, source))
        yield CompileCommand(path, language, fragments, _object(call, source, folder), recorded_in)


def _object(call: Call, source: str, folder: str) -> str:
    if call.by_libtool or not call.compiles_only or "-S" in call.options:
        return ""
    # GCC manual, -c: "the object file name for a source file is made by replacing the suffix"
    name = call.output or f"{os.path.splitext(os.path.basename(source))[0]}.o"
    return os.path.normpath(os.path.join(folder, name))


def _call(words: Sequence[str], at: int | None) -> Call | None:
    """The call of the compiler that stands at a place; None where there is none."""
    if at is None or at >= len(words):
        return None
    before = [os.path.basename(word) for word in words[:at]]
    rest = tuple(words[at + 1 :])
    options: list[str] = []
    sources: list[tuple[str, str]] = []
    inputs: list[str] = []
    output, given = "", ""
    following = iter(rest)
    for word in following:
        if word[:1] in ("-", "@") and word != "-":
            value = [next(following, "")] if word in _WITH_WORD else []
            if word == "-x":
                given = value[0]
            elif joined := _JOINED.fullmatch(word):
                given = joined[1]
            if word.startswith("-o"):
                output = value[0] if value else word[2:]
            elif word not in _DEPENDENCIES:
                options += [word, *value]
        elif language := language_of_source(word, given, words[at]):
            sources.append((word, language))
        else:
            inputs.append(word)
    compiles_only = "-c" in rest or "-S" in rest
    return Call(
        compiler=words[at],
        words=rest,
        options=tuple(option for option in options if option != "-c"),
        sources=tuple(sources),
        inputs=tuple(inputs),
        output=output,
        compiles_only=compiles_only,
        makes_code=bool(sources or inputs) and NO_CODE.isdisjoint(rest),
        by_libtool=any(name.endswith("libtool") for name in before),
    )


def language_of_source(name: str, given: str = "", compiler: str = "") -> str:
    """The language of a source file as CMake calls it; empty for what is no source.

    Parameters
    ----------
    given: what stands behind -x.
    compiler: what compiles it: g++ takes C for C++.
    """
    if given and given != "none":
        return "" if given.endswith("-header") else _LANGUAGES.get(_GIVEN.get(given, given), given)
    found = _LANGUAGES.get(language_of_file(name), "")
    return "CXX" if found == "C" and _CPLUSPLUS.search(compiler) else found
