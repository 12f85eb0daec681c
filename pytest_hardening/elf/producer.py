"""What compilers write of themselves: DW_AT_producer, .GCC.command.line, DW_AT_language; names of source files.

Sources: the strings that GCC 11 and 12, clang 14 to 19, Go 1.19, rustc 1.95, gas and GNAT write, read from real files;
those of flang, LDC, zig and Swift from LLVM IR in public repositories. GCC's gen_producer_string (opts.cc) records
options that were given: none of -D, -I, -W, no defaults. clang's manual for -grecord-command-line: the whole command
line, spaces and backslashes escaped with a backslash. DW_LANG_* from DWARF 5, table 7.17; DW_LNAME_* of DWARF 6 and
newer languages from the lists at dwarfstd.org.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Producer", "language_of", "language_of_file", "producer_of", "sources_of_command"]

#: DW_LANG_*
LANGUAGES = {
    0x01: "c", 0x02: "c", 0x03: "ada", 0x04: "c++", 0x05: "cobol", 0x06: "cobol", 0x07: "fortran", 0x08: "fortran",
    0x09: "pascal", 0x0A: "modula-2", 0x0B: "java", 0x0C: "c", 0x0D: "ada", 0x0E: "fortran", 0x0F: "pli",
    0x10: "objective-c", 0x11: "objective-c++", 0x12: "upc", 0x13: "d", 0x14: "python", 0x15: "opencl", 0x16: "go",
    0x17: "modula-3", 0x18: "haskell", 0x19: "c++", 0x1A: "c++", 0x1B: "ocaml", 0x1C: "rust", 0x1D: "c",
    0x1E: "swift", 0x1F: "julia", 0x20: "dylan", 0x21: "c++", 0x22: "fortran", 0x23: "fortran", 0x24: "renderscript",
    0x25: "bliss", 0x26: "kotlin", 0x27: "zig", 0x28: "crystal", 0x2A: "c++", 0x2B: "c++", 0x2C: "c", 0x2D: "fortran",
    0x2E: "ada", 0x2F: "ada", 0x8001: "assembler",
}  # fmt: skip

#: DW_LNAME_*
LANGUAGE_NAMES = {
    0x01: "ada", 0x02: "bliss", 0x03: "c", 0x04: "c++", 0x05: "cobol", 0x06: "crystal", 0x07: "d", 0x08: "dylan",
    0x09: "fortran", 0x0A: "go", 0x0B: "haskell", 0x0C: "java", 0x0D: "julia", 0x0E: "kotlin", 0x0F: "modula-2",
    0x10: "modula-3", 0x11: "objective-c", 0x12: "objective-c++", 0x13: "ocaml", 0x14: "opencl", 0x15: "pascal",
    0x16: "pli", 0x17: "python", 0x18: "renderscript", 0x19: "rust", 0x1A: "swift", 0x1B: "upc", 0x1C: "zig",
}  # fmt: skip

_EXTENSIONS = {
    ".c": "c", ".i": "c", ".cc": "c++", ".cpp": "c++", ".cxx": "c++", ".c++": "c++", ".C": "c++", ".cp": "c++",
    ".ii": "c++", ".m": "objective-c", ".mm": "objective-c++", ".s": "assembler", ".S": "assembler",
    ".sx": "assembler", ".asm": "assembler", ".nasm": "assembler", ".f": "fortran", ".F": "fortran",
    ".for": "fortran", ".f77": "fortran", ".f90": "fortran", ".F90": "fortran", ".f95": "fortran", ".F95": "fortran",
    ".f03": "fortran", ".f08": "fortran", ".adb": "ada", ".ads": "ada", ".rs": "rust", ".go": "go", ".d": "d",
    ".pas": "pascal", ".pp": "pascal", ".mod": "modula-2", ".zig": "zig", ".swift": "swift",
}  # fmt: skip

_GNU_LANGUAGES = {"C": "c", "C++": "c++", "Objective-C": "objective-c", "Objective-C++": "objective-c++",
                  "Ada": "ada", "Go": "go", "D": "d", "AS": "assembler", "Rust": "rust", "Pascal": "pascal",
                  "Modula-": "modula-2"}  # fmt: skip
_GNU = re.compile(r"GNU (C\+\+|C|Objective-C\+\+|Objective-C|Fortran|[A-Za-z0-9-]+?)(\d+[a-zA-Z]?|) (\d+(?:\.\d+)*)")
_VERSION = r"(\d+(?:\.\d+)*)"
_COMPILERS = (
    (re.compile(rf"rustc version {_VERSION}"), "rustc"),
    (re.compile(rf"^flang(?:-new)? version {_VERSION}"), "flang"),
    (re.compile(rf"\bclang version {_VERSION}"), "clang"),
    (re.compile(rf"^tcc {_VERSION}"), "tcc"),
    (re.compile(rf"^Go cmd/compile go{_VERSION}"), "go"),
    (re.compile(rf"^LDC {_VERSION}"), "ldc"),
    (re.compile(rf"^zig {_VERSION}"), "zig"),
    (re.compile(rf"^(?:Apple )?Swift version {_VERSION}"), "swift"),
)
# compilers of one language; zig, for one, writes DW_LANG_C99 for its own
_ONE_LANGUAGE = {
    "rustc": "rust", "flang": "fortran", "go": "go", "ldc": "d", "zig": "zig", "swift": "swift", "gas": "assembler",
}  # fmt: skip
_WORD = re.compile(r"(?:\\.|[^\s\\])+|\\$")
_WITH_VALUE = frozenset(("--param", "-mllvm", "-Xclang"))
_WITH_FILE = frozenset("-o -I -isystem -iquote -idirafter -include -imacros -MF -MT -MQ -x".split())


class Producer(NamedTuple):
    """What a producer string says.

    Parameters
    ----------
    compiler, version: "gcc", "12.2.0"; empty when unknown.
    language: where the string tells it; else empty.
    flags: options on record; None where there are none, because then the compiler records none.
    whole: whether it is GCC's optimiser at link time, whose units hold the code of others.
    """

    compiler: str = ""
    version: str = ""
    language: str = ""
    flags: tuple[str, ...] | None = None
    whole: bool = False


@lru_cache(maxsize=64)  # most units of a file have the same
def producer_of(text: str) -> Producer:
    """Compiler, version and flags of a producer string or of a recorded command line."""
    found = _GNU.match(text)
    if found:
        name = found[1]
        language = "fortran" if name == "Fortran" else _GNU_LANGUAGES.get(name, "")
        compiler = "gas" if name == "AS" else "gcc"
        return Producer(compiler, found[3], language, _flags(text[found.end() :]), name == "GIMPLE")
    for pattern, compiler in _COMPILERS:
        found = pattern.search(text)
        if found:
            return Producer(compiler, found[1], _ONE_LANGUAGE.get(compiler, ""), _flags(text[found.end() :]))
    words = _words(text)
    if words and os.path.basename(words[0]).startswith(("clang", "gcc", "g++")):  # a whole command line
        compiler = "clang" if "clang" in os.path.basename(words[0]) else "gcc"
        return Producer(compiler, "", _language_of_command(words), _flags(text))
    return Producer()


def language_of(producer: Producer, code: int | None, name: int | None) -> str:
    """The language of a unit, from its producer, DW_AT_language and DW_AT_language_name; empty when unknown."""
    if producer.compiler in _ONE_LANGUAGE:
        return producer.language
    return LANGUAGES.get(code or 0) or LANGUAGE_NAMES.get(name or 0) or producer.language


def sources_of_command(text: str) -> list[str]:
    """The source files that a whole command line names."""
    words = _words(text)[1:]
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not word.startswith("-") and before != "-o" and language_of_file(word)
    ]


def _language_of_command(words: list[str]) -> str:
    if os.path.basename(words[0]).startswith(("clang++", "g++")):
        return "c++"
    found = {language_of_file(word) for word in words[1:] if not word.startswith("-")} - {""}
    return found.pop() if len(found) == 1 else ""


def _words(text: str) -> list[str]:
    return [re.sub(r"\\(.)", r"\1", word) for word in _WORD.findall(text)]


def _flags(text: str) -> tuple[str, ...] | None:
    """The options in `text`, `-D NAME` as one word; without the names of files."""
    flags: list[str] = []
    before = ""
    for word in _words(text):
        if before in ("-D", "-U"):
            flags[-1] += word
        elif before in _WITH_VALUE or (word.startswith("-") and before not in _WITH_FILE):
            flags.append(word)
        before = word
    return tuple(flag for flag in flags if flag not in _WITH_FILE) or None


def language_of_file(name: str) -> str:
    """The language that a file's extension stands for; empty when unknown."""
    return _EXTENSIONS.get(os.path.splitext(name)[1], "")
