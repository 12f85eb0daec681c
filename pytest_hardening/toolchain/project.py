"""Building whole projects with make and CMake, without touching the folder they are in."""

from __future__ import annotations

import glob
import hashlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import methodcaller
from pathlib import Path, PurePath

from pytest_hardening.errors import BuildError, HardeningError
from pytest_hardening.toolchain.cache import BuildCache
from pytest_hardening.toolchain.commands import BuildLog, CommandResult, run
from pytest_hardening.toolchain.compilers import Compiler, file_identity, find_archiver
from pytest_hardening.toolchain.packages import find_tool

__all__ = ["Project", "copy_project", "shipped_sample_project"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

# Not part of a project's content: they change without it.
_IGNORED_FOLDERS = frozenset({".git", ".hg", ".svn", "__pycache__", ".pytest_cache"})

# What an earlier build left in the tree. make would take it for up to date, and a test would judge that build and not
# its own. By their first bytes: ELF (gABI, e_ident), ar archives and thin ones (ar(5); GNU ar), LLVM bitcode, as
# clang -flto writes it (LLVM Bitcode File Format, magic numbers). By name: CMake's memory of compilers and flags.
_BUILT = (b"\x7fELF", b"!<arch>\n", b"!<thin>\n", b"BC\xc0\xde", b"\xde\xc0\x17\x0b")
_MEMORY_OF_CMAKE = frozenset({"CMakeCache.txt", "CMakeFiles"})

# What CMake is asked to write beside the build files: which target is made of what, for whoever reads the build folder.
_CMAKE_QUERIES = ("codemodel-v2", "cache-v2", "toolchains-v1")

# Generators that need a program of their own; all others of CMake on Linux use make.
_GENERATOR_TOOLS = {"Ninja": "ninja", "Ninja Multi-Config": "ninja"}


@dataclass(frozen=True, slots=True)
class Project:
    """The source tree of a C or C++ project.

    - `path`: its folder. Builds run on a copy in the cache, so it stays as it is; change its files between two builds
      as you like.
    - `cache`, `log`: where build folders are kept, and what receives the commands of every build.
    - `compiler`, `cxx`: given to make as CC and CXX, to CMake as the C and the C++ compiler; without one, the build
      system takes its own default.
    - `timeout`: seconds for each command.
    - `keep`: globs of what an earlier build left in the tree and yet belongs to it; see `copy_project`.
    """

    path: Path
    cache: BuildCache
    log: BuildLog = field(default_factory=BuildLog)
    compiler: Compiler | None = None
    cxx: Compiler | None = None
    timeout: float = 600.0
    keep: Sequence[str] = ()

    def make(self, *targets: str, variables: Mapping[str, str] | None = None, jobs: int = 2) -> Path:
        """Run make and return the build folder, which is in the cache and must not be changed.

        make gets `BUILD=FOLDER`, the empty folder to build in, and with a compiler `CC`, `CXX` and the `AR` that
        belongs to it; `variables` come after them. A makefile that puts what it makes into `$(BUILD)` builds there, and
        that folder is returned; where it is called `OUT`, `variables={"OUT": "$(BUILD)"}` leads there. If nothing was
        written to that folder, the project builds within its tree, and the copy of the tree is returned.

        Raises `BuildError` when make fails, `ToolchainError` when make or `ar` is missing.
        """
        tool = find_tool("make")
        words = [f"-j{jobs}", *self._make_compilers(), *(f"{key}={value}" for key, value in (variables or {}).items())]

        def build(folder: Path, commands: list[CommandResult]) -> None:
            source, output = self._copy_into(folder)
            command = (str(tool), *words, f"BUILD={output}", *targets)
            run(command, cwd=source, timeout=self.timeout, log=commands)

        folder = self._build("make", [tool], (*words, *targets), build)
        output = folder / "build"
        return output if any(output.iterdir()) else folder / "source"

    def cmake(
        self,
        *definitions: str,
        build_type: str | None = None,
        generator: str | None = None,
        targets: Sequence[str] = (),
        jobs: int = 2,
        folder: str = ".",
    ) -> Path:
        """Configure and build with CMake and return the build folder, which is in the cache and must not be changed.

        - `definitions`: `-DNAME=value` or `NAME=value`; anything else that begins with `-` is passed on as it is.
        - `build_type`: CMAKE_BUILD_TYPE; none without it.
        - `generator`: as for `cmake -G`; CMake's default without it.
        - `targets`: what to build; the default target without any.
        - `folder`: where the CMakeLists.txt lies, relative to the project's folder; it may use what lies beside it.

        The build folder holds the replies of the CMake File API too.

        Raises `BuildError` when a step fails, `ToolchainError` when CMake or the generator's program is missing.
        """
        tools = [find_tool("cmake"), find_tool(_GENERATOR_TOOLS.get(generator or "", "make"))]
        options = ["-G", generator] if generator else []
        options += self._cmake_compilers()
        options += [f"-DCMAKE_BUILD_TYPE={build_type}"] if build_type else []
        options += [word if word.startswith("-") else f"-D{word}" for word in definitions]
        steps = ["--verbose", "--parallel", str(jobs), *(("--target", *targets) if targets else ())]

        def build(work: Path, commands: list[CommandResult]) -> None:
            source, output = self._copy_into(work)
            queries = output / ".cmake/api/v1/query"
            queries.mkdir(parents=True)
            for query in _CMAKE_QUERIES:
                (queries / query).touch()
            for words in (["-S", str(source / folder), "-B", str(output), *options], ["--build", str(output), *steps]):
                run((str(tools[0]), *words), cwd=work, timeout=self.timeout, log=commands)

        return self._build("cmake", tools, (folder, *options, *steps), build) / "build"

    def _build(
        self,
        system: str,
        tools: Sequence[Path],
        words: Sequence[str],
        build: Callable[[Path, list[CommandResult]], None],
    ) -> Path:
        digest = hashlib.sha256()
        compilers = [compiler.identity for compiler in (self.compiler, self.cxx) if compiler is not None]
        for part in (
            system,
            *map(file_identity, tools),
            *compilers,
            *words,
            *_describe_tree(self.path, _Selection(self.path, self.cache.root, self.keep)),
        ):
            digest.update(b"%d:" % len(part.encode()) + part.encode())
        title = f"{system} build of {self.path.name}"
        return self.cache.get(digest.hexdigest()[:32], build, title=title, log=self.log)

    def _copy_into(self, folder: Path) -> tuple[Path, Path]:
        """Prepare a build: the copied source tree and the empty build folder."""
        source, output = folder / "source", folder / "build"
        copy_project(self.path, source, leave_out=self.cache.root, keep=self.keep)
        output.mkdir()
        return source, output

    def _make_compilers(self) -> list[str]:
        words = []
        if self.compiler is not None:
            words.append(f"CC={shlex.join(self.compiler.command)}")
        if self.cxx is not None:
            words.append(f"CXX={shlex.join(self.cxx.command)}")
        # The host's ar gives an archive of foreign objects no index.
        if (compiler := self.compiler or self.cxx) is not None:
            words.append(f"AR={find_archiver(compiler)}")
        return words

    def _cmake_compilers(self) -> list[str]:
        """CMake takes a compiler with arguments as a list; it finds the archiver that belongs to it by itself."""
        pairs = (("C", self.compiler), ("CXX", self.cxx))
        return [f"-DCMAKE_{name}_COMPILER={';'.join(found.command)}" for name, found in pairs if found is not None]


def copy_project(
    source: Path, destination: Path, leave_out: Path | None = None, keep: Sequence[str] = ()
) -> tuple[str, ...]:
    """Copy a project's sources to a folder that does not exist yet: its tree without version control data and without
    what was built in it before, so that a build in the copy makes everything anew.

    What was built is told by its content, wherever it lies: ELF files (objects, libraries, programs), static archives,
    LLVM bitcode; links within the tree to such a file; and CMakeCache.txt and CMakeFiles, in which CMake remembers
    compilers and flags.

    - `leave_out`: a folder that is no part of the project should it lie within: mostly the one that copies go to.
    - `keep`: globs, relative to `source`, of files to copy although they were built: `["vendor/*.a"]`, for binaries
      that belong to the project. `**` stands for any folders, a folder for all that is in it, `.` for the whole tree.

    Returns the relative names of what was left out because it was built, sorted.

    Raises `BuildError` when `source` is no folder or cannot be read, and when a glob of `keep` matches nothing.
    """
    selection = _Selection(source, leave_out or destination, keep)

    def ignored(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if not selection.has(os.path.join(folder, name))}

    try:
        shutil.copytree(source, destination, symlinks=True, ignore=ignored)
    except OSError as error:
        # shutil.Error holds a list of all that went wrong; the first says enough.
        reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror or error
        raise BuildError(f"cannot copy the project {source}: {reason}") from None
    return tuple(sorted(selection.built))


def shipped_sample_project() -> Path:
    """Return the folder of the sample project: in the installed package, or beside it in a source checkout.

    Raises `BuildError` when it is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "sample_project", package.parent / "sample_project"):
        if folder.is_dir():
            return folder
    raise BuildError("the sample project is missing: this installation of pytest-hardening is incomplete")


class _Selection:
    """What of a tree is the project: see `copy_project`.

    Attributes
    ----------
    built: the relative names of what was asked for and is none of it because it was built before.
    """

    def __init__(self, source: Path, leave_out: Path, keep: Sequence[str]) -> None:
        if not source.is_dir():
            raise BuildError(f"there is no project folder {source}")
        if isinstance(keep, str):
            raise BuildError(f"keep={keep!r}: expected a list of strings, as in keep=[{keep!r}]")
        self._root = os.path.realpath(source)
        self._excluded = os.path.realpath(leave_out)
        self._kept: set[str] = set()
        self.built: set[str] = set()
        for pattern in keep:
            found = glob.glob(pattern, root_dir=self._root, recursive=True)
            if not found:
                raise BuildError(f"keep: {pattern!r} matches nothing in the project {source}")
            self._kept.update(map(os.path.normpath, found))

    def has(self, path: str) -> bool:
        """Whether a file, link or folder that lies in the tree belongs to it."""
        real = os.path.realpath(path)
        if os.path.basename(path) in _IGNORED_FOLDERS or real == self._excluded:
            return False
        name = self._name(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)))
        if not self._was_built(path, real) or self._is_kept(name) or self._is_kept(self._name(real)):
            return True
        self.built.add(name)
        return False

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._root)

    def _is_kept(self, name: str) -> bool:
        path = PurePath(name)
        return not self._kept.isdisjoint(map(str, (path, *path.parents)))

    def _was_built(self, path: str, real: str) -> bool:
        if os.path.basename(path) in _MEMORY_OF_CMAKE:
            return True
        if os.path.commonpath((real, self._root)) != self._root or not os.path.isfile(real):
            return False  # a link to a file elsewhere, a folder, a named pipe, which would never end
        try:
            with open(real, "rb") as file:
                return file.read(8).startswith(_BUILT)
        except OSError:
            return False  # copying it says why


def _describe_tree(folder: Path, selection: _Selection) -> Iterator[str]:
    """Names, kinds and contents of everything in a tree that `copy_project` copies, in a fixed order."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if selection.has(os.path.join(root, name)))
        for name in sorted((*folders, *files)):
            path = Path(root, name)
            if name in files and not selection.has(str(path)):
                continue
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink():
                yield f"{relative} -> {os.readlink(path)}"
            elif path.is_file():
                yield f"{relative} {os.access(path, os.X_OK)} {_content_digest(path)}"
            else:
                yield f"{relative}/"


def _content_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BuildError(f"cannot read {path} of the project: {error.strerror or error}") from None
