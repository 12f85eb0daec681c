"""What a caller gives as source, brought into one form: named files, some of which are translation units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path, PurePosixPath

from pytest_hardening.errors import BuildError, HardeningError
from pytest_hardening.toolchain.compilers import Language

__all__ = ["Source", "SourceFile", "Sources", "read_sources", "write_sources"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

Source = str | Path | Mapping[str, str]
Sources = Source | Sequence[Source]

# What gcc and clang compile or assemble by these suffixes; every other file is one that a unit or the linker reads.
PREPROCESSED_SUFFIXES = frozenset({".c", ".cc", ".cpp", ".cxx", ".c++", ".C", ".S", ".sx"})
UNIT_SUFFIXES = PREPROCESSED_SUFFIXES | {".s"}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a build.

    `name` is its path in the build's folder, `text` its bytes, `folder` where it came from if it was a file: headers
    beside it are found there.
    """

    name: str
    text: bytes
    folder: Path | None = None

    @property
    def is_unit(self) -> bool:
        """Whether the file is compiled or assembled, rather than read by one that is."""
        return PurePosixPath(self.name).suffix in UNIT_SUFFIXES

    @property
    def is_preprocessed(self) -> bool:
        """Whether the unit goes through the preprocessor."""
        return PurePosixPath(self.name).suffix in PREPROCESSED_SUFFIXES


def read_sources(sources: Sources, language: Language, base: Path | None = None) -> tuple[SourceFile, ...]:
    """Return the files of a build in the order given.

    A `str` is source text (`source.c`, `source2.c` ... by its place, `.cpp` for C++), a `Path` a file, relative ones
    starting at `base`, a mapping file names with their texts; a sequence may hold any of these.

    Raises `BuildError` for a file that cannot be read, for a name that leaves the build's folder or stands twice, and
    when there is no unit to compile among the files.
    """
    every = [sources] if isinstance(sources, (str, Path, Mapping)) else sources
    files: dict[str, SourceFile] = {}
    for file in _each_file(every, language, base):
        if file.name in files:
            raise BuildError(f"two source files have the name {file.name!r}: rename one, or give them as a mapping")
        files[file.name] = file
    return tuple(files.values())


def write_sources(files: Sequence[SourceFile], folder: Path) -> None:
    """Write the files into an empty folder."""
    for file in files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.text)


def _each_file(sources: Sequence[Source], language: Language, base: Path | None) -> Iterator[SourceFile]:
    texts = 0
    for source in sources:
        if isinstance(source, Path):
            yield _read_file(source if base is None else base / source)
        elif isinstance(source, str):
            if _looks_like_file_name(source):
                raise BuildError(f"{source!r} is source text, but looks like a file name: give a pathlib.Path instead")
            texts += 1
            suffix = ".cpp" if language == "c++" else ".c"
            yield SourceFile(f"source{texts if texts > 1 else ''}{suffix}", source.encode())
        else:
            for name, text in source.items():
                yield SourceFile(_checked_name(name), text.encode())


def _read_file(path: Path) -> SourceFile:
    try:
        return SourceFile(path.name, path.read_bytes(), path.absolute().parent)
    except OSError as error:
        raise BuildError(f"cannot read the source file {path}: {error.strerror or error}") from None


def _looks_like_file_name(text: str) -> bool:
    return len(text.split()) == 1 and not set(text) & set(";{}#") and PurePosixPath(text).suffix in UNIT_SUFFIXES


def _checked_name(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) == ".":
        raise BuildError(f"the source name {name!r} does not stay in the build's folder")
    if name.startswith("-"):
        raise BuildError(f"the source name {name!r} would be read as an option")
    return str(path)
