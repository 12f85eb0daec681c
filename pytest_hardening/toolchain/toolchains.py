"""A toolchain: a compiler together with the C library and the linker that it uses, as it tells itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from operator import methodcaller
from pathlib import Path
from typing import Any

from pytest_hardening.errors import HardeningError, ToolchainError
from pytest_hardening.toolchain.cache import BuildCache
from pytest_hardening.toolchain.commands import CommandResult, execute
from pytest_hardening.toolchain.compilers import Compiler, Language, file_identity, find_compiler

__all__ = ["Toolchain", "find_toolchain"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

# Seconds for one trial. zig builds its own C library before the first program.
_TRIAL_TIMEOUT = 120.0
# The C library's headers that the probes include: what these are made of decides what the probes become.
_TRIAL = (
    "#include <stdarg.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint main(void) { return 0; }\n"
)
_TINY = "int main(void) { return 0; }\n"
_DEFINE = re.compile(r"^#define (\w+) ?(.*)$", re.MULTILINE)
# What the linkers print for -v: "GNU ld (GNU Binutils for Debian) 2.40", "GNU gold (... 2.40) 1.16",
# "Debian LLD 19.1.7 (compatible with GNU linkers)", "mold 1.10.1 (compatible with GNU ld)".
_LINKERS = (
    ("GNU ld", re.compile(r"^GNU ld \(.*\) (\d[\w.]*)", re.MULTILINE)),
    ("GNU gold", re.compile(r"^GNU gold \(.*?([\d.]+)\) [\d.]+", re.MULTILINE)),
    ("LLD", re.compile(r"^(?:.* )?LLD (\d[\w.]*)", re.MULTILINE)),
    ("mold", re.compile(r"^mold (\d[\w.]*)", re.MULTILINE)),
)
# A name that the driver makes up anew each time: /tmp/ccW3xQ2b.o of gcc, /tmp/null-1a2b3c.o of clang.
_MADE_UP = re.compile(r"[^\s\"'=]*/(?:cc\w{6}|[\w.]*-\w{6})\.\w+")
_CONFIGURED = re.compile(r"^Configured with: (.*)$", re.MULTILINE)
_MUSL = re.compile(r"\bld-musl-|/libc/musl/|/musl/include/")
# The version that musl's libc.so prints of itself (ldso/dynlink.c); its headers tell none.
_MUSL_VERSION = re.compile(rb"\0(1\.\d+\.\d+)(?:-git[\w-]*)?\0")
_MOST_LIBC = 1 << 23  # bytes: musl's has 800 kB
# By predefined macros (the psABIs; `cc -dM -E`), the first that fits.
_MACHINES = (
    ("x32", "__x86_64__ __ILP32__"),
    ("x86_64", "__x86_64__"),
    ("i386", "__i386__"),
    ("aarch64_be", "__aarch64__ __AARCH64EB__"),
    ("aarch64", "__aarch64__"),
    ("armhf", "__arm__ __ARM_PCS_VFP"),
    ("arm", "__arm__"),
    ("ppc64le", "__powerpc64__ __LITTLE_ENDIAN__"),
    ("ppc64", "__powerpc64__"),
    ("ppc", "__powerpc__"),
    ("s390x", "__s390x__"),
    ("riscv64", "__riscv __riscv_xlen=64"),
    ("riscv32", "__riscv __riscv_xlen=32"),
    ("loongarch64", "__loongarch64"),
    ("mips64", "__mips64"),
    ("mips", "__mips__"),
    ("sparc64", "__sparc__ __arch64__"),
)
# Arguments that the machine in the id tells already.
_MACHINE_ARGUMENT = re.compile(r"-m(32|64|x32)|--?target=.*")
_SAME_MACHINE = {"x86_64": ("x86_64", "amd64"), "i386": ("i386", "i486", "i586", "i686")}


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler with the C library and the linker that it uses.

    - `compiler`: how it is started, and what it says of itself.
    - `id`: a readable name: `gcc-12.2-x86_64`, `clang-14.0-x86_64`, `gcc-12.2-x86_64-musl`, with arguments of the
      command behind it: `clang-19.1-x86_64+-fuse-ld=lld`. Two toolchains of one selection never have the same id.
    - `machine`, `target`: what it makes code for, `i386` and `i386-linux-gnu` for `gcc -m32`: by the macros that it
      predefines, as `-dumpmachine` does not count arguments in.
    - `libc`, `libc_version`: `glibc`, `musl`, `bionic`, `uclibc`, or empty where it has none.
    - `linker`, `linker_version`: what the linker that it runs prints: `GNU ld`, `GNU gold`, `LLD`, `mold`, or empty.
    - `configured`: the options that gcc was configured with.
    - `defaults`: what the driver gives to the compiler and the linker behind it without being asked.
    - `problem`: why it cannot make a program, in one line; empty where it can. Mostly its C library is not installed.
    - `identity`: a text that differs whenever the toolchain does: all programs, headers, libraries and start files that
      a trial program is made of, each with size and time, and the commands that the driver would start.
    """

    compiler: Compiler
    id: str
    machine: str
    target: str
    libc: str
    libc_version: str
    linker: str
    linker_version: str
    configured: tuple[str, ...] = field(repr=False)
    defaults: tuple[str, ...] = field(repr=False)
    problem: str
    identity: str = field(repr=False)

    @property
    def family(self) -> str:
        """`gcc`, `clang`, `tcc`, `zig` or `unknown`."""
        return self.compiler.family

    @property
    def version(self) -> str:
        """The compiler's version, for example `12.2.0`."""
        return self.compiler.version

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start the compiler."""
        return self.compiler.command

    def accepts(self, *flags: str) -> bool:
        """Whether the compiler takes flags without a word of doubt: a tiny program is compiled and linked with
        -Werror. That it takes them does not say that they have an effect: see `Posture`.
        """
        return _accepts(self, flags)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, without what differs from machine to machine (paths, files)."""
        return {
            "id": self.id,
            "command": shlex.join((self.compiler.path.name, *self.compiler.arguments)),
            "family": self.family,
            "language": self.compiler.language,
            "version": self.version,
            "machine": self.machine,
            "target": self.target,
            "libc": f"{self.libc} {self.libc_version}".strip(),
            "linker": f"{self.linker} {self.linker_version}".strip(),
            "configured": list(self.configured),
            "defaults": list(self.defaults),
        }

    def __str__(self) -> str:
        return self.id


def find_toolchain(
    command: str | Sequence[str], language: Language | None = None, *, cache: BuildCache | None = None
) -> Toolchain:
    """Find a compiler and identify the toolchain by asking it: its predefined macros, a trial program.

    `command` and `language` are those of `find_compiler`. With `cache`, what a compiler answered is kept there, and
    is asked again when a file of the toolchain changed.

    Raises `ToolchainError` where `find_compiler` does. A toolchain that cannot make programs has a `problem`.
    """
    return _identified(find_compiler(command, language), cache)


def base_id(compiler: Compiler, machine: str, libc: str) -> str:
    """The readable id: name, two numbers of the version, machine, a C library other than glibc, arguments."""
    names = {"gcc": "g++", "clang": "clang++", "zig": "zig-c++"}
    name = compiler.family if compiler.language == "c" else names.get(compiler.family, compiler.family)
    name = compiler.path.name if name == "unknown" else name
    version = ".".join(compiler.version.split(".")[:2])
    parts = [name, version, machine or compiler.target, *([libc] if libc not in ("", "glibc") else [])]
    options = [word for word in compiler.arguments if word.startswith("-") and not _MACHINE_ARGUMENT.fullmatch(word)]
    if compiler.family == "zig":  # the -m of python -m ziglang
        options = [word for word in options if word != "-m"]
    # A node id ends at '::' and at '[', and -k splits at blanks.
    text = "+".join(("-".join(part for part in parts if part), *options))
    return re.sub(r"[\s\[\]]|::", "_", text)


# What this process knows of compilers and the commands behind them, with the files that it rests on.
_KNOWN: dict[tuple[Compiler, str], tuple[Toolchain, tuple[str, ...]]] = {}


def _identified(compiler: Compiler, cache: BuildCache | None) -> Toolchain:
    """From this process's memory, else from the cache's, else by asking."""
    behind = _commands(compiler)
    known = _KNOWN.get((compiler, behind))
    if known is not None and _are_unchanged(known[1]):
        return known[0]
    known = _read(compiler, behind, cache)
    if known is None:
        known = _ask(compiler, behind)
        if cache is not None:
            _write(cache, behind, *known)
    _KNOWN[compiler, behind] = known
    return known[0]


def _are_unchanged(files: Sequence[str]) -> bool:
    try:
        return all(file_identity(Path(line.partition(" -> ")[0])) == line for line in files)
    except ToolchainError:
        return False


def _commands(compiler: Compiler) -> str:
    """What the driver would start, which it says without doing it (-###).

    A file that came into being since it was asked, such as gcc's `specs`, a configuration file of clang or what a
    script reads, is none of those that were looked at then: it shows here. zig has none of these.
    """
    if compiler.family == "zig":  # which starts to work, and makes up other names
        return ""
    words = ("-###", "-x", compiler.language, os.devnull, "-o", "trial")
    result = execute((*compiler.command, *words), cwd=Path("/"), timeout=_TRIAL_TIMEOUT)
    return _MADE_UP.sub("", result.output)


def _place(cache: BuildCache, compiler: Compiler, behind: str) -> Path:
    key = "\n".join((compiler.identity, os.environ.get("PATH", ""), _TRIAL, behind))
    return cache.root / f"toolchain-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _read(compiler: Compiler, behind: str, cache: BuildCache | None) -> tuple[Toolchain, tuple[str, ...]] | None:
    """What the cache holds, where no file has changed since; a damaged entry is none."""
    if cache is None:
        return None
    try:
        data = json.loads(_place(cache, compiler, behind).read_text("utf-8"))
        files = tuple(map(str, data.pop("files")))
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else str(value) for name, value in data.items()
        }
        found = Toolchain(compiler=compiler, **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (found, files) if _are_unchanged(files) else None


def _write(cache: BuildCache, behind: str, toolchain: Toolchain, files: tuple[str, ...]) -> None:
    data: dict[str, Any] = {one.name: getattr(toolchain, one.name) for one in fields(toolchain)}
    del data["compiler"]
    place = _place(cache, toolchain.compiler, behind)
    cache.root.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({**data, "files": files}), "utf-8")
    os.replace(partial, place)


def _ask(compiler: Compiler, behind: str) -> tuple[Toolchain, tuple[str, ...]]:
    suffix = ".cpp" if compiler.language == "c++" else ".c"
    with tempfile.TemporaryDirectory(prefix="hardening-toolchain-") as name:
        folder = Path(name)
        unit = folder / f"trial{suffix}"
        unit.write_text(_TRIAL)
        macros = dict(_DEFINE.findall(_run(compiler, folder, "-dM", "-E", unit.name).output))
        # -H: the headers; -v: programs and start files; the linker's -v and -t: itself, and what it links
        trial = _run(compiler, folder, "-v", "-H", "-Wl,-v", "-Wl,-t", unit.name, "-o", "trial")
        if not trial.succeeded:  # a driver that knows no such options, as tcc
            trial = _run(compiler, folder, "-v", "-v", unit.name, "-o", "trial")
        files = tuple(dict.fromkeys(_files_in(trial.output, folder)))
    problem = "" if trial.succeeded else f"it makes no program: {first_error(trial)}"
    machine = _machine(macros)
    libc, libc_version = _libc(macros, trial.output, files)
    linker, linker_version = next(
        ((name, found[1]) for name, pattern in _LINKERS if (found := pattern.search(trial.output))), ("", "")
    )
    if not linker and compiler.family == "tcc":  # it links by itself
        linker, linker_version = "tcc", compiler.version
    configured = _CONFIGURED.search(trial.output)
    identities = tuple(map(file_identity, map(Path, files)))
    digest = hashlib.sha256("\n".join((compiler.identity, *identities, behind)).encode())
    return Toolchain(
        compiler=compiler,
        id=base_id(compiler, machine, libc),
        machine=machine,
        target=_target(compiler.target, machine, libc),
        libc=libc,
        libc_version=libc_version,
        linker=linker,
        linker_version=linker_version,
        configured=tuple(_options(configured[1])) if configured else (),
        defaults=tuple(_defaults(trial.output)),
        problem=problem,
        identity=digest.hexdigest(),
    ), identities


def _run(compiler: Compiler, folder: Path, *words: str) -> CommandResult:
    result = execute((*compiler.command, *words), cwd=folder, timeout=_TRIAL_TIMEOUT)
    if result.timed_out:
        raise ToolchainError(f"{compiler}: {shlex.join(result.argv)} takes longer than {_TRIAL_TIMEOUT:g} s")
    return result


def _files_in(text: str, folder: Path) -> Iterator[str]:
    """The files that the output of a trial names: programs, start files, libraries, headers; not those of the trial,
    of which the driver's own are gone by now.
    """
    own = os.path.realpath(folder) + os.sep
    for line in text.splitlines():
        if line.startswith(" ") and (words := line.split()) and (program := shutil.which(words[0].strip('"'))):
            yield program  # "as", which gcc starts without a path
        for word in re.findall(r'/[^\s":=,]+', line):
            if os.path.isfile(word) and not (real := os.path.realpath(word)).startswith(own):
                yield real


def _machine(macros: Mapping[str, str]) -> str:
    defined = {*macros, *(f"{name}={value}" for name, value in macros.items())}
    return next((machine for machine, wanted in _MACHINES if defined.issuperset(wanted.split())), "")


def _libc(macros: Mapping[str, str], text: str, files: Sequence[str]) -> tuple[str, str]:
    """The C library: glibc, bionic and uClibc by the macros of their headers; musl, which has none, by its files."""
    if "__GLIBC__" in macros and "__UCLIBC__" not in macros:
        return "glibc", f"{macros['__GLIBC__']}.{macros.get('__GLIBC_MINOR__', '')}"
    if "__UCLIBC__" in macros:
        return "uclibc", macros.get("__UCLIBC_MAJOR__", "")
    if "__BIONIC__" in macros:
        return "bionic", ""
    if not _MUSL.search(text):
        return "", ""
    for file in files:
        if os.path.basename(file) == "libc.so":
            with open(file, "rb") as stream:
                found = set(_MUSL_VERSION.findall(stream.read(_MOST_LIBC)))
            if len(found) == 1:
                return "musl", found.pop().decode()
    return "musl", ""


def _target(triple: str, machine: str, libc: str) -> str:
    """The driver's triple, corrected where arguments or specs make it another."""
    architecture, _, rest = triple.partition("-")
    names = _SAME_MACHINE.get(machine)
    if names and architecture not in names and architecture in (name for one in _SAME_MACHINE.values() for name in one):
        architecture = machine
    if libc == "musl":
        rest = rest.replace("-gnu", "-musl")
    return f"{architecture}-{rest}" if rest else architecture


def _defaults(text: str) -> Iterator[str]:
    """What the driver adds for the compiler proper and the linker: options of code and link, no paths, no tuning."""
    kept = re.compile(
        r"-(f(?!debug|coverage|error|gnuc|no-diag)|m(?!ain|llvm)|stack-prot|pic|static|pie\b|z\b|D_|-build-id)"
    )
    for line in text.splitlines():
        words = [word.strip('"') for word in line.split()]
        program = os.path.basename(words[0]) if words else ""
        if not line.startswith(" ") or not re.fullmatch(r"cc1(plus)?|clang\S*|zig|collect2|(\S+-)?ld[\w.-]*", program):
            continue
        for place, word in enumerate(words[1:], 1):
            if kept.match(word) and "/" not in word:
                follows = word in ("-z", "-m", "-mrelocation-model", "-pic-level", "-stack-protector")
                yield f"{word} {words[place + 1]}" if follows and place + 1 < len(words) else word


def _options(text: str) -> list[str]:
    try:
        return [word for word in shlex.split(text) if word.startswith("-")]
    except ValueError:
        return text.split()


def first_error(result: CommandResult) -> str:
    """The line of a failed command's output that says why."""
    lines = [line.strip() for line in result.output.splitlines()]
    wrong = [line for line in lines if re.search(r"\berror:|cannot find|undefined reference", line)]
    return (wrong[0] if wrong else lines[-1] if lines else "(no output)")[:300]


@lru_cache(maxsize=1024)
def _accepts(toolchain: Toolchain, flags: tuple[str, ...]) -> bool:
    suffix = ".cpp" if toolchain.compiler.language == "c++" else ".c"
    with tempfile.TemporaryDirectory(prefix="hardening-flags-") as name:
        (Path(name) / f"tiny{suffix}").write_text(_TINY)
        return _run(toolchain.compiler, Path(name), "-Werror", *flags, f"tiny{suffix}", "-o", "tiny").succeeded


def renamed(toolchain: Toolchain, id: str) -> Toolchain:  # noqa: A002
    """The same toolchain under another id."""
    return replace(toolchain, id=id)
