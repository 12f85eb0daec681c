"""From the paths a user gives to artifacts: folders walked, links resolved, a build system's own probes left out."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ..model import Artifact, Packed
from .archive import MAGIC, MAGIC_THIN
from .names import display
from .packages.contents import INSIDE, PACKAGE_NAMES, Contents, Unpacked

__all__ = ["MISSING", "Discovery", "artifact_at", "counted", "discover", "leads_to_package"]

#: Reasons of paths that lead nowhere.
MISSING = (_ABSENT, _UNMATCHED) = ("does not exist", "matches no file")

_LIBRARY_NAME = re.compile(r"\.(so(\.\d\w*)*|a|ko)$")  # not libx.so.1.2.symbols, which Meson writes
_OBJECT_NAME = re.compile(r"\.(o|lo|obj)$")
_PROBE_NAME = re.compile(r"^(a\.out|conftest(\..*)?|cmTC_\w+|CMakeDetermineCompilerABI_\w+\.bin|feature_tests\.bin)$")
_PROBE_FOLDERS = frozenset({"CMakeTmp", "CMakeScratch", "CompilerIdC", "CompilerIdCXX", "CompilerIdASM"})
_BUILD_MARKS = ("CMakeCache.txt", "build.ninja", "meson-info", "config.status", ".ninja_log")
_ET_REL, _ET_CORE = 1, 4
_OBJECTS = "objects"
_WITHOUT_ELF = "packages without ELF files"


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found.

    Parameters
    ----------
    artifacts: sorted by display name, each file once, under the name that was found first.
    problems: (display name, reason) of paths that lead to nothing that could be judged.
    left_out: how many files were left out, by reason.
    """

    artifacts: tuple[Artifact, ...]
    problems: tuple[tuple[str, str], ...]
    left_out: dict[str, int]


def discover(
    paths: Iterable[str], *, objects: bool = False, base: str | None = None, objects_option: str = ""
) -> Discovery:
    """All artifacts that `paths` lead to.

    Files that are named are always artifacts, whatever they hold. In folders linked ELF files and static archives
    count, objects only with `objects`; a file named like a library counts even when it is no ELF file, so that an
    empty or damaged library is reported. Links are followed, except links to folders inside folders.

    A pattern names the files that it matches, unless its last part is `*` or `**`: those count as found in a folder.

    Parameters
    ----------
    paths: files, folders, and glob patterns that name no existing file; `**` stands for any number of folders, and
        names that begin with a dot match too. Packages are opened, in folders those of `PACKAGE_NAMES`;
        `PACKAGE!/PATTERN` leads to some of a package's files.
    objects: also collect relocatable objects found in folders.
    base: the folder that display names are relative to; default the current one.
    objects_option: what the user has to write for `objects`, to be named where nothing but objects is found.
    """
    walk = _Walk(objects, os.path.realpath(base or os.getcwd()), objects_option)
    for path in paths:
        walk.add(path)
    ordered = sorted(walk.artifacts(), key=lambda artifact: artifact.display)
    left_out = Counter(walk.left_out.values()) + walk.left_in_packages
    return Discovery(tuple(ordered), tuple(walk.problems), dict(left_out))


def artifact_at(path: str, base: str | None = None) -> Artifact:
    """The artifact that one path leads to, links followed; nothing is read, but of `PACKAGE!/NAME` the package."""
    if INSIDE in path and not os.path.lexists(path):
        found = discover([path], base=base).artifacts
        if len(found) == 1:
            return found[0]
    walk = _Walk(False, os.path.realpath(base or os.getcwd()))
    return walk.artifact(path)


class _Walk:
    def __init__(self, objects: bool, base: str, objects_option: str = "") -> None:
        self._objects = objects
        self._base = base
        self._objects_option = objects_option
        self._roots: dict[str, str | None] = {}
        self._found: dict[tuple[int, int] | str, dict[str, Artifact]] = {}  # by file, by the name that is shown
        self.problems: list[tuple[str, str]] = []
        self.left_out: dict[str, str] = {}  # path -> reason
        self.left_in_packages: Counter[str] = Counter()
        self._packages: set[str] = set()

    def artifacts(self) -> Iterator[Artifact]:
        """What was found, each file once."""
        for first, *others in (names.values() for names in self._found.values()):
            yield replace(first, also=tuple(others)) if others else first

    def add(self, path: str) -> None:
        """One path as the user gave it."""
        if os.path.lexists(path):
            self._add_existing(path)
        elif INSIDE in path:
            self._add_inside(path)
        elif glob.has_magic(path):
            self._add_matches(path)
        else:
            self._problem(path, _ABSENT)

    def _add_matches(self, pattern: str) -> None:
        matches = _outer(_matches(os.path.abspath(pattern)))
        if not matches:
            self._problem(pattern, _UNMATCHED)
        elif os.path.basename(pattern) in ("*", "**"):
            self._add_found(pattern, (file for match in matches for file in self._files(match)), "matches no")
        else:
            for match in matches:
                self._add_existing(match)

    def _add_existing(self, path: str) -> None:
        if leads_to_package(path):
            self._add_package(path, is_named=True)
        elif os.path.isdir(path):
            self._add_found(path, self._files(os.path.realpath(path)), "a folder without")
        else:
            self.artifact(path)

    def _add_found(self, path: str, files: Iterator[str], without: str) -> None:
        before = len(self.problems)
        reasons = Counter(self._consider(file) for file in files)
        if reasons.pop(None, 0) or len(self.problems) > before:  # what could not be listed may hold anything
            return
        out = {reason: number for reason, number in reasons.items() if reason}
        hint = f"; left out: {counted(out)}" if out else ""
        if _OBJECTS in out and self._objects_option:
            hint += f" (judge objects with {self._objects_option})"
        self._problem(path, f"{without} linked ELF files or static archives{hint}")

    def _add_inside(self, path: str) -> None:
        """What a pattern matches in a package, or in each of those that a pattern matches."""
        package, _, pattern = path.partition(INSIDE)
        packages = [package] if os.path.lexists(package) else sorted(_matches(os.path.abspath(package)))
        taken = 0
        for one in packages:
            real = os.path.realpath(one)
            contents = self._contents(real)
            chosen = tuple(_chosen(contents.files, pattern))
            problems = tuple((name, why) for name, why in contents.problems if not name or _is_inside(name, pattern))
            self._take_packed(real, Contents(chosen, problems, {}))
            taken += len(chosen) + len(problems)
        if not taken:
            self._problem(path, _UNMATCHED if packages else _ABSENT)

    def _add_package(self, path: str, *, is_named: bool) -> str | None:
        """Take what is in a package: None, or why there is nothing to be told of it."""
        real = os.path.realpath(path)
        if real in self._packages:
            return None
        self._packages.add(real)
        contents = self._contents(real)
        self.left_in_packages.update(contents.left_out)
        self._take_packed(real, contents)
        if contents.files or contents.problems:
            return None
        if is_named:
            out = f"; left out: {counted(contents.left_out)}" if contents.left_out else ""
            self._problem(real, f"holds no linked ELF file or static archive{out}")
            return None
        self.left_out[real] = _WITHOUT_ELF
        return _WITHOUT_ELF

    def _contents(self, real: str) -> Contents:
        from .packages.folder import contents_of

        return contents_of(real, self._reason_inside, f"objects={self._objects}")

    def _take_packed(self, real: str, contents: Contents) -> None:
        name = display(real, self._base)
        for file in contents.files:
            names = self._found.setdefault(file.path, {})
            for inside in (file.inside, *file.also):
                packed = Packed(real, inside, file.mode)
                shown_as = f"{name}{INSIDE}{inside}"
                names.setdefault(shown_as, Artifact(file.path, shown_as, packed=packed, role=file.role))
        self.problems += [(f"{name}{INSIDE}{inside}" if inside else name, why) for inside, why in contents.problems]

    def _reason_inside(self, name: str, head: bytes) -> str | None:
        """As `_consider` returns it, of a file of a package."""
        return self._reason_to_leave(name, head, bool(_LIBRARY_NAME.search(name)))

    def _problem(self, path: str, reason: str) -> None:
        self.problems.append((display(os.path.abspath(path), self._base), reason))

    def artifact(self, path: str) -> Artifact:
        """Take a file, under its real name."""
        try:
            real = os.path.realpath(path)
            status = os.stat(real)
            key: tuple[int, int] | str = (status.st_dev, status.st_ino)
        except (OSError, ValueError):
            real = os.path.abspath(path)  # a dangling link has no other name
            key = real
        names = self._found.setdefault(key, {})
        name = display(real, self._base)
        if name not in names:
            names[name] = Artifact(real, name, self._build_root(os.path.dirname(real)))
        return next(iter(names.values()))

    def _files(self, top: str) -> Iterator[str]:
        """`top`, or the files below it where it is a folder; a loop, as folders can lie deeper than Python recurses."""
        if os.path.islink(top) or not os.path.isdir(top):
            yield top
            return
        folders = [top]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    ordered = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self._problem(folder, f"cannot be listed: {error.strerror}")
                continue
            for entry in ordered:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    yield entry.path

    def _consider(self, path: str) -> str | None:
        """Take a file of a walked folder (None), or leave it out: the reason, empty for what is no business of ours."""
        like_library = bool(_LIBRARY_NAME.search(path))
        try:
            regular = stat.S_ISREG(os.stat(path).st_mode)
        except OSError:
            regular = like_library  # a dangling link where a library should be is reported
        if not regular:
            return ""
        try:
            head = _head(path)
            if path.lower().endswith(PACKAGE_NAMES) and not head.startswith(b"\x7fELF"):
                return self._add_package(path, is_named=False)
            reason = self._reason_to_leave(path, head, like_library)
            if head.startswith(b"\x7fELF") and _is_probe(path):
                reason = "probes of the build system"
        except OSError:
            reason = None  # unreadable: it may be anything, so it is reported
        if reason is None:
            self.artifact(path)
        elif reason:
            self.left_out[path] = reason
        return reason

    def _reason_to_leave(self, path: str, head: bytes, like_library: bool) -> str | None:
        """As `_consider` returns it."""
        if head.startswith(b"\x7fELF"):
            kind = int.from_bytes(head[16:18], "big" if head[5:6] == b"\x02" else "little")
            if kind == _ET_REL and not path.endswith(".ko"):
                return None if self._objects else _OBJECTS
            return "core dumps" if kind == _ET_CORE else None
        if head.startswith((MAGIC, MAGIC_THIN)):
            if len(head) == len(MAGIC):  # glibc installs such for libraries that it took into libc.a
                return "archives without members"
            return "" if head[8:].startswith(b"debian-binary") else None
        if like_library and _is_linker_script(head):
            return "linker scripts"
        if like_library or (self._objects and _OBJECT_NAME.search(path)):
            return None
        return ""

    def _build_root(self, folder: str) -> str | None:
        below: list[str] = []
        root: str | None = None
        while root is None and folder not in self._roots:
            below.append(folder)
            if any(os.path.exists(os.path.join(folder, mark)) for mark in _BUILD_MARKS):
                root = folder
            elif os.path.dirname(folder) == folder:
                break
            else:
                folder = os.path.dirname(folder)
        root = root or self._roots.get(folder)
        self._roots.update(dict.fromkeys(below, root))
        return root


def _head(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(fd, 256)
    finally:
        os.close(fd)


def leads_to_package(path: str) -> bool:
    """Whether a path leads to a package; who needs none pays for no reader of them."""
    if os.path.isdir(path):
        return os.path.isfile(os.path.join(path, "oci-layout"))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) or _head(path).startswith(b"\x7fELF"):
            return False
    except (OSError, ValueError):
        return False
    from .packages.formats import is_package

    return is_package(path)


def _chosen(files: Iterable[Unpacked], pattern: str) -> Iterator[Unpacked]:
    """The files of a package that a pattern leads to, under those names that it matches."""
    for file in files:
        names = [name for name in (file.inside, *file.also) if _is_inside(name, pattern)]
        if names:
            yield replace(file, inside=names[0], also=tuple(names[1:]))


def _is_inside(name: str, pattern: str) -> bool:
    """Whether a pattern leads to a file of a package: its name, a folder or a package above it, or a glob."""
    pattern = pattern.rstrip("/")
    return name.startswith((f"{pattern}/", pattern + INSIDE)) or name == pattern or fnmatch.fnmatchcase(name, pattern)


def _is_probe(path: str) -> bool:
    """Whether a build system made this file to try out the compiler."""
    *folders, name = path.split("/")
    if "CMakeFiles" in folders:
        inside = folders[folders.index("CMakeFiles") + 1 :]
        return bool(_PROBE_NAME.match(name)) or any(folder in _PROBE_FOLDERS for folder in inside)
    if "meson-private" in folders:
        return True
    return name == "conftest"


def _is_linker_script(head: bytes) -> bool:
    text = head.lstrip()
    return b"\0" not in head and (
        b"GNU ld script" in head or text.startswith((b"INPUT", b"GROUP", b"OUTPUT_FORMAT", b"SEARCH_DIR"))
    )


def _matches(pattern: str) -> set[str]:
    """What an absolute pattern matches. Unlike glob.glob, `**` follows no links: two that lead up would never end."""
    found: set[str] = set()
    pending = [("/", tuple(part for part in pattern.split("/") if part))]
    while pending:
        path, parts = pending.pop()
        if not parts:
            found.add(path)
            continue
        part, rest = parts[0], parts[1:]
        if part == "**":
            pending.append((path, rest))
            pending += [(entry.path, parts) for entry in _entries(path) if entry.is_dir(follow_symlinks=False)]
        elif glob.has_magic(part):
            pending += [(entry.path, rest) for entry in _entries(path) if fnmatch.fnmatchcase(entry.name, part)]
        elif os.path.lexists(os.path.join(path, part)):
            pending.append((os.path.join(path, part), rest))
    return found


def _outer(matches: set[str]) -> list[str]:
    """Without folders that lie in another one, which is walked as a whole."""
    found: list[str] = []
    last = "//"
    for match in sorted(matches, key=lambda match: match.split("/")):
        if os.path.isdir(match):
            if match.startswith(last + "/"):
                continue
            last = match
        found.append(match)
    return found


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def counted(left_out: Mapping[str, int]) -> str:
    """`objects (10), linker scripts (1)`."""
    return ", ".join(f"{reason} ({number})" for reason, number in sorted(left_out.items()))
