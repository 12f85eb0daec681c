"""From the paths a user gives to artifacts: folders walked, links resolved, a build system's own probes left out."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..model import Artifact
from .archive import MAGIC, MAGIC_THIN
from .names import display

__all__ = ["Discovery", "artifact_at", "discover"]

_LIBRARY_NAME = re.compile(r"\.(so(\.[\w.]+)?|a|ko)$")
_OBJECT_NAME = re.compile(r"\.(o|lo|obj)$")
_PROBE_NAME = re.compile(r"^(a\.out|conftest(\..*)?|cmTC_\w+|CMakeDetermineCompilerABI_\w+\.bin|feature_tests\.bin)$")
_PROBE_FOLDERS = frozenset({"CMakeTmp", "CMakeScratch", "CompilerIdC", "CompilerIdCXX", "CompilerIdASM"})
_BUILD_MARKS = ("CMakeCache.txt", "build.ninja", "meson-info", "config.status", ".ninja_log")
_ET_REL, _ET_CORE = 1, 4


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found.

    Parameters
    ----------
    artifacts: sorted by display name, each file once.
    problems: (display name, reason) of paths that lead to nothing that could be judged.
    left_out: how many files were left out, by reason.
    """

    artifacts: tuple[Artifact, ...]
    problems: tuple[tuple[str, str], ...]
    left_out: dict[str, int]


def discover(paths: Iterable[str], *, objects: bool = False, base: str | None = None) -> Discovery:
    """All artifacts that `paths` lead to.

    Files that are named are always artifacts, whatever they hold. In folders linked ELF files and static archives
    count, objects only with `objects`; a file named like a library counts even when it is no ELF file, so that an
    empty or damaged library is reported. Links are followed, except links to folders inside folders.

    Parameters
    ----------
    paths: files, folders, and glob patterns (`**` included) that name no existing file.
    objects: also collect relocatable objects found in folders.
    base: the folder that display names are relative to; default the current one.
    """
    walk = _Walk(objects, os.path.realpath(base or os.getcwd()))
    for path in paths:
        walk.add(path)
    ordered = sorted(walk.found.values(), key=lambda artifact: artifact.display)
    return Discovery(tuple(ordered), tuple(walk.problems), dict(walk.left_out))


def artifact_at(path: str, base: str | None = None) -> Artifact:
    """The artifact that one path leads to, links followed; nothing is read."""
    walk = _Walk(False, os.path.realpath(base or os.getcwd()))
    return walk.artifact(path)


class _Walk:
    def __init__(self, objects: bool, base: str) -> None:
        self._objects = objects
        self._base = base
        self._roots: dict[str, str | None] = {}
        self.found: dict[tuple[int, int] | str, Artifact] = {}
        self.problems: list[tuple[str, str]] = []
        self.left_out: Counter[str] = Counter()

    def add(self, path: str) -> None:
        """One path as the user gave it."""
        if os.path.lexists(path):
            self._add_existing(path)
        elif glob.has_magic(path):
            matches = sorted(glob.glob(path, recursive=True))
            if not matches:
                self._problem(path, "matches no file")
            for match in matches:
                self._add_existing(match)
        else:
            self._problem(path, "does not exist")

    def _add_existing(self, path: str) -> None:
        if not os.path.isdir(path):
            self.artifact(path)
            return
        before = self.left_out.copy()
        taken = sum(self._consider(file) for file in self._files(os.path.realpath(path)))
        if not taken:
            out = self.left_out - before
            hint = f"; left out: {_counts(out)}" if out else ""
            self._problem(path, f"a folder without linked ELF files or static archives{hint}")

    def _problem(self, path: str, reason: str) -> None:
        self.problems.append((display(os.path.abspath(path), self._base), reason))

    def artifact(self, path: str) -> Artifact:
        """Take a file, under its real name."""
        real = os.path.realpath(path)
        try:
            status = os.stat(real)
            key: tuple[int, int] | str = (status.st_dev, status.st_ino)
        except OSError:
            real = os.path.abspath(path)  # a dangling link has no other name
            key = real
        if key not in self.found:
            name = display(real, self._base)
            self.found[key] = Artifact(real, name, self._build_root(os.path.dirname(real)))
        return self.found[key]

    def _files(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._problem(folder, f"cannot be listed: {error.strerror}")
            return
        for entry in ordered:
            if entry.is_dir(follow_symlinks=False):
                yield from self._files(entry.path)
            else:
                yield entry

    def _consider(self, entry: os.DirEntry[str]) -> bool:
        """Take a file of a walked folder, or leave it out; whether it was taken."""
        like_library = bool(_LIBRARY_NAME.search(entry.name))
        try:
            regular = stat.S_ISREG(entry.stat().st_mode)
        except OSError:
            regular = like_library  # a dangling link where a library should be is reported
        if not regular:
            return False
        try:
            reason = self._reason_to_leave(entry, _head(entry.path), like_library)
        except OSError:
            reason = None  # unreadable: it may be anything, so it is reported
        if reason:
            self.left_out[reason] += 1
        elif reason is None:
            self.artifact(entry.path)
        return reason is None

    def _reason_to_leave(self, entry: os.DirEntry[str], head: bytes, like_library: bool) -> str | None:
        """None to take the file, a reason to count, or an empty string for a file that is no business of ours."""
        is_elf = head.startswith(b"\x7fELF")
        if is_elf and _is_probe(entry.path, entry.name):
            return "probes of the build system"
        if is_elf:
            kind = int.from_bytes(head[16:18], "big" if head[5:6] == b"\x02" else "little")
            if kind == _ET_REL and not entry.name.endswith(".ko"):
                return None if self._objects else "objects"
            return "core dumps" if kind == _ET_CORE else None
        if head.startswith((MAGIC, MAGIC_THIN)):
            return "" if head[8:].startswith(b"debian-binary") else None
        if like_library and _is_linker_script(head):
            return "linker scripts"
        if like_library or (self._objects and _OBJECT_NAME.search(entry.name)):
            return None
        return ""

    def _build_root(self, folder: str) -> str | None:
        if folder not in self._roots:
            parent = os.path.dirname(folder)
            marked = any(os.path.exists(os.path.join(folder, mark)) for mark in _BUILD_MARKS)
            self._roots[folder] = folder if marked else None if parent == folder else self._build_root(parent)
        return self._roots[folder]


def _head(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(fd, 256)
    finally:
        os.close(fd)


def _is_probe(path: str, name: str) -> bool:
    """Whether a build system made this file to try out the compiler."""
    folders = path.split("/")[:-1]
    if "CMakeFiles" in folders:
        inside = folders[folders.index("CMakeFiles") + 1 :]
        return bool(_PROBE_NAME.match(name)) or any(folder in _PROBE_FOLDERS for folder in inside)
    if "meson-private" in folders:
        return True
    return name == "conftest" or name.startswith("conftest.")


def _is_linker_script(head: bytes) -> bool:
    text = head.lstrip()
    return b"\0" not in head and (
        b"GNU ld script" in head or text.startswith((b"INPUT", b"GROUP", b"OUTPUT_FORMAT", b"SEARCH_DIR"))
    )


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(counter.items()))
