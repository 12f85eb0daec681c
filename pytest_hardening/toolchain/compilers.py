"""Finding a compiler and finding out which one it is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from operator import methodcaller
from pathlib import Path
from typing import Literal

from pytest_hardening.errors import HardeningError, ToolchainError
from pytest_hardening.toolchain.commands import execute
from pytest_hardening.toolchain.packages import debian_package, find_tool, install_advice

__all__ = ["Compiler", "Family", "Language", "file_identity", "find_archiver", "find_compiler"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

Family = Literal["gcc", "clang", "tcc", "zig", "unknown"]
Language = Literal["c", "c++"]

# Seconds for one question to a compiler. It answers in milliseconds; a script that hangs must not hang the session.
_QUESTION_TIMEOUT = 20.0

# The first line or two of --version: "gcc (Debian 12.2.0-14) 12.2.0", "Debian clang version 14.0.6",
# "tcc version 0.9.27 (x86_64 Linux)".
_CLANG = re.compile(r"\bclang version (\S+)")
_TCC = re.compile(r"\btcc version (\S+)(?:.*\((\w+) (\w+)\))?")
_GCC = re.compile(r"\(.*\) (\d+(?:\.\d+)*)|(\d+\.\d+(?:\.\d+)*)\s*$")


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler driver that was found and has answered.

    - `path`: absolute, symbolic links kept: `clang++` is a link to `clang` and behaves by its name.
    - `arguments`: words that belong to the command itself: `("-m32",)` of "gcc -m32", `("gcc",)` of "ccache gcc".
    - `language`: which of the two the driver links for.
    - `family`, `version`: from its `--version` and `-dumpfullversion`, for example `gcc` and `12.2.0`; of `zig cc`, a
      clang that adds flags of its own, `zig` and zig's version.
    - `target`: the triple that `-dumpmachine` names. It is the driver's own answer: gcc does not count `-m32` in, and
      musl-gcc names the glibc compiler behind it.
    - `identity`: a text that differs whenever the compiler does: its files with size and time, its version text and
      its arguments. Assembler, linker and C library are not part of it.
    """

    path: Path
    arguments: tuple[str, ...]
    language: Language
    family: Family
    version: str
    target: str
    identity: str

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start the compiler; flags and files follow them."""
        return (str(self.path), *self.arguments)

    def __str__(self) -> str:
        return f"{shlex.join((self.path.name, *self.arguments))} ({self.family} {self.version}, {self.target})"


def find_compiler(command: str | Sequence[str], language: Language | None = None) -> Compiler:
    """Find a compiler and identify it by asking it.

    `command` is a name, a path or a command with arguments, as text (`"ccache gcc"`, read as a shell would split it)
    or as words. Without `language` it follows from the name: `c++` for g++, clang++ and their like, else `c`.

    Raises `ToolchainError` when the command does not exist, with the apt-get line that installs it, when it does not
    answer in time, and when its answer is not that of a compiler.
    """
    words = _split(command)
    if not words:
        raise ToolchainError("no compiler: the command is empty")
    path = find_tool(words[0])
    files = tuple(file_identity(file) for file in (path, *_wrapped_programs(words[1:])))
    return _identify(path, words[1:], language or _language_of(words), files)


@lru_cache(maxsize=64)
def find_archiver(compiler: Compiler) -> Path:
    """Find the `ar` that writes archives of the compiler's object files.

    The compiler is asked first. For a foreign target `TARGET-ar` and `llvm-ar`, which knows all targets, come before
    the plain `ar`, which would write an archive without an index.

    Raises `ToolchainError` when there is none.
    """
    plain = shutil.which("ar")
    native = _is_native(compiler.target)
    # aarch64-unknown-linux-gnu of clang is aarch64-linux-gnu in the names of programs.
    prefixed = [f"{triple}-ar" for triple in dict.fromkeys((compiler.target, compiler.target.replace("-unknown", "")))]
    candidates = ["ar", *prefixed, "llvm-ar"] if native else [*prefixed, "llvm-ar", "ar"]
    answer = _ask(compiler.path, compiler.arguments, "-print-prog-name=ar")
    # clang answers with the plain one when it has none for the target.
    if os.path.isabs(answer) and (native or plain is None or os.path.realpath(answer) != os.path.realpath(plain)):
        candidates.insert(0, answer)
    for candidate in candidates:
        if found := shutil.which(candidate):
            return Path(os.path.normpath(Path(found).absolute()))
    missing = "ar" if native else prefixed[-1]
    raise ToolchainError(f"no ar for {compiler} found: {install_advice(missing)}")


def file_identity(path: Path) -> str:
    """Return a text that changes when a program is replaced: its name, the file behind it, its size and time.

    Raises `ToolchainError` when the file cannot be looked at.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ToolchainError(f"cannot look at {path}: {error.strerror or error}") from None
    return f"{path} -> {os.path.realpath(path)} {status.st_size} {status.st_mtime_ns}"


def _split(command: str | Sequence[str]) -> tuple[str, ...]:
    if not isinstance(command, str):
        return tuple(command)
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise ToolchainError(f"cannot read the compiler command {command!r}: {error}") from None


def _wrapped_programs(arguments: Sequence[str]) -> list[Path]:
    """The programs among the arguments of a wrapper, as gcc in `ccache gcc`."""
    found = (shutil.which(word) for word in arguments if not word.startswith("-"))
    return [Path(path).absolute() for path in found if path is not None]


def _language_of(words: Sequence[str]) -> Language:
    """`c++` if a word before the first option is the name of a C++ driver, with or without a version behind it."""
    if (zig := _place_of_zig(words)) is not None:
        return "c++" if words[zig + 1] == "c++" else "c"
    for word in words:
        if word.startswith("-"):
            break
        if re.search(r"\+\+(-[\d.]+)?$", word):
            return "c++"
    return "c"


def _place_of_zig(words: Sequence[str]) -> int | None:
    """Where `zig` of "zig cc" stands, or `ziglang` of "python -m ziglang cc", as PyPI's package is started."""
    for place, (word, following) in enumerate(pairwise(words)):
        if following in ("cc", "c++") and os.path.basename(word) in ("zig", "ziglang"):
            return place
    return None


@lru_cache(maxsize=64)
def _identify(path: Path, arguments: tuple[str, ...], language: Language, files: tuple[str, ...]) -> Compiler:
    """Ask a compiler who it is; `files` is in the cache's key, so that a replaced compiler is asked again."""
    # tcc prints its version and then complains that there is nothing to compile.
    text = _ask(path, arguments, "--version", despite_failure=True)
    family, version, target = _read_version(text)
    target = _first_word(_ask(path, arguments, "-dumpmachine")) or target
    if not target:
        raise ToolchainError(_not_a_compiler(path, arguments, text))
    if family in {"gcc", "unknown"}:
        version = _first_word(_ask(path, arguments, "-dumpfullversion")) or version
    if (zig := _place_of_zig((str(path), *arguments))) is not None:
        family, version = "zig", _first_word(_ask(path, arguments[:zig], "version"))
    identity = "\n".join((*files, shlex.join(arguments), language, target, text))
    return Compiler(path, arguments, language, family, version, target, identity)


def _ask(path: Path, arguments: tuple[str, ...], option: str, despite_failure: bool = False) -> str:
    """The compiler's answer to one option; empty when it fails, unless what it says then is wanted too.

    Raises `ToolchainError` when it does not answer in time or cannot be started.
    """
    result = execute((path, *arguments, option), cwd=Path("/"), timeout=_QUESTION_TIMEOUT)
    if result.timed_out:
        raise ToolchainError(f"{shlex.join(result.argv)} does not answer within {_QUESTION_TIMEOUT:g} s")
    return result.output.strip() if result.succeeded or despite_failure else ""


def _read_version(text: str) -> tuple[Family, str, str]:
    """Family, version and, from tcc alone, the target triple that a `--version` text tells."""
    head = "\n".join(text.splitlines()[:2])
    if match := _CLANG.search(head):
        return "clang", match[1], ""
    if match := _TCC.search(head):
        return "tcc", match[1], f"{match[2]}-{match[3].lower()}" if match[2] else ""
    match = _GCC.search(head)
    version = (match[1] or match[2]) if match else ""
    return ("gcc" if "Free Software Foundation" in head else "unknown"), version, ""


def _first_word(answer: str) -> str:
    """An answer of one word; empty for an error message or nothing."""
    return answer if answer and not re.search(r"\s", answer) else ""


def _not_a_compiler(path: Path, arguments: tuple[str, ...], version_text: str) -> str:
    """Say why a command that exists is none: mostly a wrapper whose compiler is missing."""
    for word in arguments:
        if not word.startswith("-") and shutil.which(word) is None and debian_package(word):
            return f"{word!r}, started by {path}, not found: {install_advice(word)}"
    first = version_text.splitlines()[0] if version_text else "(no output)"
    return f"{shlex.join((str(path), *arguments))} is no compiler: it has no answer to -dumpmachine; --version: {first}"


def _is_native(target: str) -> bool:
    """Whether a triple names this machine's architecture; clang's i386 is no other one for binutils on x86-64."""
    machine = os.uname().machine
    architecture = target.partition("-")[0]
    x86 = {"x86_64", "i386", "i486", "i586", "i686"}
    return architecture == machine or {architecture, machine} <= x86
