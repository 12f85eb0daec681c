"""Compiling source text or files into an object, an archive, a shared library or an executable."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import methodcaller
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from pytest_hardening.errors import BuildError, HardeningError
from pytest_hardening.toolchain.cache import BuildCache
from pytest_hardening.toolchain.commands import DEFAULT_TIMEOUT, BuildLog, CommandResult, execute, run
from pytest_hardening.toolchain.compilers import Compiler, file_identity, find_archiver
from pytest_hardening.toolchain.sources import SourceFile, Sources, read_sources, write_sources

__all__ = ["Builder", "Kind"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

Kind = Literal["object", "archive", "shared-library", "executable"]

_DEFAULT_NAMES = {"archive": "archive.a", "shared-library": "library.so", "executable": "program"}


@dataclass(frozen=True, slots=True)
class Builder:
    """Compiles with nothing but the flags it is given, each build once per cache.

    - `cache`: where products are kept.
    - `log`: receives the commands of every build, also of those found in the cache.
    - `base`: folder that relative source files and objects start from; the working folder without it.
    - `timeout`: seconds for each command.
    - `hide_folder`: whether a compiler that knows -ffile-prefix-map leaves the build's folder, which differs from
      machine to machine, out of debug information; it is the one flag that is not given by the caller.
    """

    cache: BuildCache
    log: BuildLog = field(default_factory=BuildLog)
    base: Path | None = None
    timeout: float = DEFAULT_TIMEOUT
    hide_folder: bool = False

    def compile(
        self,
        compiler: Compiler,
        sources: Sources,
        *,
        kind: Kind = "executable",
        flags: Sequence[str] = (),
        link_flags: Sequence[str] = (),
        name: str | None = None,
        unit_flags: Mapping[str, Sequence[str]] | None = None,
        objects: Sequence[str | Path] = (),
    ) -> Path:
        """Build a product and return its path, a file in the cache that must not be changed.

        - `sources`: a `str` is source text, a `Path` a file, a mapping file names with their texts (headers and linker
          scripts too), a sequence several of these. Text alone is called `source.c`.
        - `kind`: `object` (of one unit), `archive` (one member per unit, named after it: `F.c` becomes `F.o`),
          `shared-library` or `executable`.
        - `flags` go to the compile steps and to the link step, as a user of gcc who writes one command expects;
          `link_flags` to the end of the link step only; `unit_flags`, by the name of the source file, behind `flags` in
          the compile step of that unit.
        - `objects`: finished objects, archives and libraries to link, or to add to an archive. A text among them that
          begins with `-` is a linker option that belongs at its place, such as `-Wl,--whole-archive`.
        - `name`: file name of the product; `archive.a`, `library.so`, `program`, or the object's own without it.

        Relative paths in flags start in the build's own folder, which holds the files of the mapping. The product is
        built anew when anything changed that the compiler reads; a file that a flag names to the linker alone (`-T`,
        `-l`) is not looked at: give it as one of `objects`, or by a path that changes with it.

        The compiler gets no other flag than `-c`, `-o`, `-shared` for a library, `-I.` if the mapping holds files to
        include, and `-iquote FOLDER` for the folder of a source file. The commands run in the product's folder in the
        cache with relative names, so DWARF and the symbol table show `F.c`.

        Raises `BuildError` when a command fails, and for arguments that contradict each other; `ToolchainError` when
        the compiler's `ar` is missing.
        """
        for argument, value in (("flags", flags), ("link_flags", link_flags), ("objects", objects)):
            _refuse_text(argument, value)
        for unit, words in (unit_flags or {}).items():
            _refuse_text(f"unit_flags[{unit!r}]", words)
        job = _Job(
            compiler=compiler,
            files=read_sources(sources, compiler.language, self.base),
            kind=kind,
            flags=tuple(flags),
            link_flags=tuple(link_flags),
            name=name,
            unit_flags={unit: tuple(words) for unit, words in (unit_flags or {}).items()},
            objects=_read_objects(objects, self.base),
            timeout=self.timeout,
            hide_folder=self.hide_folder and _hides_folders(compiler),
        )
        job.check()
        folder = self.cache.get(job.key(self.cache.root), job.build, title=f"build of {job.product}", log=self.log)
        return folder / job.product


@dataclass(frozen=True, slots=True)
class _Input:
    """A finished file to link: `name` is what the linker sees; it becomes DT_NEEDED of a library without SONAME."""

    name: str
    path: Path

    def digest(self) -> bytes:
        """The hash of the content."""
        return hashlib.sha256(self.path.read_bytes()).digest()


@dataclass(frozen=True, slots=True)
class _Job:
    """One product: its key and the commands that make it."""

    compiler: Compiler
    files: tuple[SourceFile, ...]
    kind: Kind
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    name: str | None
    unit_flags: Mapping[str, tuple[str, ...]]
    objects: tuple[str | _Input, ...]
    timeout: float
    hide_folder: bool = False

    @property
    def units(self) -> tuple[SourceFile, ...]:
        return tuple(file for file in self.files if file.is_unit)

    @property
    def product(self) -> str:
        if self.name is not None:
            return self.name
        return PurePosixPath(self.units[0].name).stem + ".o" if self.kind == "object" else _DEFAULT_NAMES[self.kind]

    @property
    def inputs(self) -> tuple[_Input, ...]:
        return tuple(item for item in self.objects if isinstance(item, _Input))

    def check(self) -> None:
        """Raise `BuildError` for arguments that contradict each other."""
        if self.kind not in get_args(Kind):
            raise BuildError(f"unknown kind {self.kind!r}: it is one of {', '.join(get_args(Kind))}")
        if not self.units and (self.kind == "object" or not self.inputs):
            raise BuildError("there is nothing to compile: no source file has a suffix such as .c, .cpp or .S")
        if self.kind == "object" and (len(self.units) != 1 or self.objects):
            raise BuildError("an object comes from one source file alone; kind='archive' takes several")
        if unknown := sorted(set(self.unit_flags) - {unit.name for unit in self.units}):
            units = ", ".join(unit.name for unit in self.units)
            raise BuildError(f"unit_flags names {', '.join(unknown)}; the source files are: {units}")
        if self.product != PurePosixPath(self.product).name or self.product in {"", ".", ".."}:
            raise BuildError(f"the product's name {self.product!r} is not a plain file name")
        if self.product in {file.name for file in self.files} | {item.name for item in self.inputs}:
            raise BuildError(f"the product and one of its inputs have the same name {self.product!r}")

    def key(self, cache_root: Path) -> str:
        """Hash everything that decides the product: compiler, flags, texts, headers actually read, linked files."""
        parts: list[bytes] = [self.compiler.identity.encode(), self.kind.encode(), self.product.encode()]
        parts += [repr((self.flags, self.link_flags, sorted(self.unit_flags.items()), self.hide_folder)).encode()]
        for file in self.files:
            parts += [file.name.encode(), str(file.folder or "").encode(), file.text]
        for item in self.objects:
            parts += (
                [item.encode()]
                if isinstance(item, str)
                else [item.name.encode(), hashlib.sha256(item.path.read_bytes()).digest()]
            )
        if self.kind == "archive":
            parts.append(file_identity(find_archiver(self.compiler)).encode())
        preprocessed = self._preprocessed(cache_root)
        if preprocessed is None:
            # Not to be known what it depends on: build it, and let the compile step itself tell what is wrong.
            return f"unkeyed-{uuid.uuid4().hex}"
        digest = hashlib.sha256()
        for part in (*parts, *preprocessed):
            digest.update(b"%d:" % len(part) + part)
        return digest.hexdigest()[:32]

    def _preprocessed(self, cache_root: Path) -> list[bytes] | None:
        """What the preprocessor makes of each unit, and so of every header; None when it fails on one."""
        cache_root.mkdir(parents=True, exist_ok=True)
        results = []
        with tempfile.TemporaryDirectory(prefix="preprocess-", dir=cache_root) as name:
            folder = Path(name)
            write_sources(self.files, folder)
            for unit in self.units:
                if not unit.is_preprocessed:
                    continue
                output = folder / "preprocessed.out"
                command = (*self._compile_command(unit), "-E", "-o", output.name, unit.name)
                if not execute(command, cwd=folder, timeout=self.timeout).succeeded or not output.is_file():
                    return None
                # With -g, gcc writes the working folder into the output, and this one has a random name.
                results.append(output.read_bytes().replace(name.encode(), b""))
        return results

    def build(self, folder: Path, commands: list[CommandResult]) -> None:
        """Make the product in an empty folder."""
        write_sources(self.files, folder)
        for item in self.inputs:
            (folder / item.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.path, folder / item.name)
        objects = self._object_names()
        for unit in self.units:
            hidden = (f"-ffile-prefix-map={folder}=.",) if self.hide_folder else ()
            words = (*self._compile_command(unit), *hidden, "-c", "-o", objects[unit.name], unit.name)
            run(words, cwd=folder, timeout=self.timeout, log=commands)
        if self.kind != "object":
            run(self._last_command(list(objects.values())), cwd=folder, timeout=self.timeout, log=commands)
        if not (folder / self.product).is_file():
            raise BuildError(f"the commands succeeded, but did not write {self.product} in {folder}")

    def _compile_command(self, unit: SourceFile) -> tuple[str, ...]:
        include = "-I" if self.compiler.family == "tcc" else "-iquote"  # tcc has no -iquote
        origins = dict.fromkeys(str(file.folder) for file in self.files if file.folder is not None)
        own = ["-I."] if any(not file.is_unit and file.folder is None for file in self.files) else []
        flags = (*self.flags, *self.unit_flags.get(unit.name, ()))
        quoted = [word for origin in origins for word in (include, origin)]
        return (*self.compiler.command, *flags, *own, *quoted)

    def _object_names(self) -> dict[str, str]:
        """The object file of each unit: `F.o` for F.c; F.S beside it becomes `F.S.o`."""
        if self.kind == "object":
            return {self.units[0].name: self.product}
        names: dict[str, str] = {}
        taken = {item.name for item in self.inputs} | {self.product}
        for unit in self.units:
            path = PurePosixPath(unit.name)
            plain = str(path.with_suffix(".o"))
            names[unit.name] = f"{path}.o" if plain in taken else plain
            taken.add(names[unit.name])
        return names

    def _last_command(self, units: list[str]) -> tuple[str, ...]:
        """The command that turns the objects into the product."""
        objects = [item if isinstance(item, str) else item.name for item in self.objects]
        if self.kind == "archive":
            # D, Debian's default, keeps times and owners out of the archive.
            return (str(find_archiver(self.compiler)), "rcsD", self.product, *units, *objects)
        shared = ("-shared",) if self.kind == "shared-library" else ()
        return (*self.compiler.command, *shared, *self.flags, "-o", self.product, *units, *objects, *self.link_flags)


@lru_cache(maxsize=64)
def _hides_folders(compiler: Compiler) -> bool:
    """Whether a compiler knows -ffile-prefix-map (GCC 8, clang 10)."""
    with tempfile.TemporaryDirectory(prefix="hardening-flags-") as name:
        Path(name, "empty.c").touch()
        words = ("-Werror", f"-ffile-prefix-map={name}=.", "-c", "empty.c", "-o", "empty.o")
        return execute((*compiler.command, *words), cwd=Path(name)).succeeded


def _refuse_text(argument: str, value: object) -> None:
    """A text is a sequence of characters, each of which would be one flag."""
    if isinstance(value, str | bytes | Path):
        raise BuildError(f"{argument}={value!r}: expected a list of strings, as in {argument}=[{value!r}]")


def _read_objects(objects: Sequence[str | Path], base: Path | None) -> tuple[str | _Input, ...]:
    """Options as they are, files under names that do not collide."""
    result: list[str | _Input] = []
    taken: set[str] = set()
    for item in objects:
        if isinstance(item, str) and item.startswith("-"):
            result.append(item)
            continue
        path = Path(item) if base is None else base / item
        if not path.is_file():
            raise BuildError(f"the object to link does not exist: {path}")
        name = path.name
        for number in range(2, len(objects) + 2):
            if name not in taken:
                break
            name = f"{number}/{path.name}"
        taken.add(name)
        result.append(_Input(name, path))
    return tuple(result)
