"""Takes out of a package what is to be judged. What is wrong with it is a problem with a name, never an exception."""

from __future__ import annotations

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from ...elf.source import Source, SourceStream
from ...errors import ArtifactError
from ...model import Role
from ..archive import MAGIC_THIN, members
from ..names import shown
from .contents import INSIDE, Consider, Contents, Unpacked
from .entries import Entry, EntryKind, name_within
from .file_system import FileSystem, Stored
from .formats import HEAD, Format, format_of, is_opened_inside
from .images import Blobs, FolderBlobs, TarBlobs, images_of, is_layout, is_part
from .limits import CHUNK, Limits, MemberError
from .rpms import rpm_entries
from .streams import Reader, decompressed
from .tars import tar_entries
from .unopened import UNOPENED, may_hold_programs
from .wheels import is_wheel, role_in_wheel
from .zips import zip_entries

__all__ = ["unpack"]

#: The names of a package in the outermost one, more than one where it has hard links; that one itself has none.
_Names = tuple[str, ...]
_OUTERMOST: _Names = ("",)

_CONTROL = "DEBIAN/"  # where `dpkg-deb -R` puts the scripts of a package


def unpack(path: str, folder: str, consider: Consider) -> Contents:
    """Copy the files to be judged out of a package, or out of a container image that is a folder.

    Nothing is written but regular files with numbers for names, and no link is followed.

    Parameters
    ----------
    path: the package, its links resolved.
    folder: an empty folder of ours.
    consider: which files are judged.
    """
    if os.path.isdir(path):
        unpacker = _Unpacker(folder, consider, Limits(_size_of(path)))
        unpacker.image(FolderBlobs(path), _OUTERMOST)
        return unpacker.contents()
    try:
        with Source.open(path) as source:
            unpacker = _Unpacker(folder, consider, Limits(source.size))
            unpacker.package(source, _OUTERMOST, os.path.basename(path))
            return unpacker.contents()
    except ArtifactError as error:
        return Contents((), (("", str(error)),), {})


def _size_of(folder: str) -> int:
    """The size of an image's blobs."""
    files = (os.path.join(above, name) for above, _, names in os.walk(folder) for name in names)
    return sum(os.path.getsize(file) for file in files if os.path.isfile(file))


class _Unpacker:
    """One package with all that is packed in it."""

    def __init__(self, folder: str, consider: Consider, limits: Limits) -> None:
        self._folder = folder
        self._consider = consider
        self._limits = limits
        self._copies = 0
        self._files: list[Unpacked] = []
        self._problems: list[tuple[str, str]] = []
        self._untold = 0
        self._left_out: Counter[str] = Counter()

    def contents(self) -> Contents:
        """What was found."""
        problems = [*self._problems, *([("", f"and {self._untold} more problems")] if self._untold else [])]
        return Contents(tuple(sorted(self._files, key=lambda file: file.inside)), tuple(problems), self._left_out)

    def package(self, source: Source, inside: _Names, name: str, depth: int = 1) -> None:
        """Take the files out of a package, and out of those in it.

        Parameters
        ----------
        inside: its names in the outermost package.
        name: its file name.
        """
        taken: dict[str, Stored] = {}
        blobs = TarBlobs()
        try:
            self._limits.depth(depth)
            format_ = format_of(source, name)
            if format_ is None:
                raise ArtifactError("not a package")
            seen: dict[str, str] = {}
            for entry in self._entries(source, format_, name):
                self._take(entry, inside, seen, taken, blobs if format_ is Format.TAR else None)
        except Exception as error:
            self._problem(inside, _reason(error))
        if is_layout(blobs):
            self.image(blobs, inside, depth)
        else:
            self._take_kept(blobs, inside, taken)
        for copy in blobs.found.values():
            os.unlink(copy)
        self._finish(taken.items(), inside, name, depth)

    def image(self, blobs: Blobs, inside: _Names, depth: int = 1) -> None:
        """Take the files out of a container image."""
        try:
            images = images_of(blobs)
        except Exception as error:
            self._problem(inside, _reason(error))
            return
        for image in images:
            file_system = FileSystem()
            above = _below(inside, image.label) if image.label else inside
            for layer in image.layers:
                try:
                    file_system.next_layer()
                    self._apply(file_system, blobs, layer, above)
                except Exception as error:
                    self._problem(above, f"layer {layer.rpartition('/')[2][:12]}: {_reason(error)}")
            self._finish(file_system.files(), above, "", depth)

    def _apply(self, file_system: FileSystem, blobs: Blobs, layer: str, inside: _Names) -> None:
        failed: dict[str, str] = {}
        with blobs.open(layer) as source:
            for entry in tar_entries(decompressed(source, self._limits)):
                self._limits.member(entry.name)
                path = ""
                try:
                    path = name_within(entry.name.lstrip("/"))  # engines take all names for ones below the root
                    if path == "." or file_system.whiteout(path):
                        continue
                    if entry.kind is EntryKind.FOLDER:
                        file_system.folder(path)
                    elif entry.kind is EntryKind.LINK:
                        file_system.link(path, entry.target)
                    elif entry.kind is EntryKind.HARD_LINK:
                        target = name_within(entry.target.lstrip("/"))
                        if target in failed:
                            raise MemberError(failed[target])
                        file_system.hard_link(path, target)
                    else:
                        file_system.put(path, self._stored(entry, path))
                except MemberError as error:
                    failed[path] = str(error)
                    self._problem(_below(inside, entry.name), str(error))

    def _entries(self, source: Source, format_: Format, name: str) -> Iterator[Entry]:
        if format_ is Format.ZIP:
            has_modes = not is_wheel(name) and not name.lower().endswith(".apk")
            return zip_entries(source, self._limits, has_modes=has_modes)
        if format_ is Format.RPM:
            return rpm_entries(source, self._limits)
        if format_ is Format.DEB:
            return _deb_entries(source, self._limits)
        return tar_entries(decompressed(source, self._limits))

    def _take(
        self, entry: Entry, inside: _Names, seen: dict[str, str], taken: dict[str, Stored], blobs: TarBlobs | None
    ) -> None:
        """Copy a member that is to be judged. Links name no second file; devices and folders are not ours.

        What is wrong with a file is so under all its names: `seen` has it by name, empty for nothing.
        """
        self._limits.member(entry.name)
        if entry.kind not in (EntryKind.FILE, EntryKind.HARD_LINK, EntryKind.LINK):
            return
        name = ""
        try:
            name = name_within(entry.name)
            if blobs is not None and is_part(name) and self._keep(entry, name, blobs):
                return
            if entry.kind is EntryKind.LINK:
                return
            if name in seen:
                raise MemberError("occurs more than once in the package: only the first one is judged")
            seen[name] = ""
            if entry.kind is EntryKind.HARD_LINK:
                target = name_within(entry.target)
                if seen.get(target):
                    raise MemberError(seen[target])
                if blobs is not None and (part := blobs.hard_links.get(target, target)) in blobs.found:
                    blobs.hard_links[name] = part
                stored = taken.get(target)
            else:
                stored = self._stored(entry, name)
        except MemberError as error:
            if entry.kind is not EntryKind.LINK:
                seen[name] = str(error)
                self._problem(_below(inside, entry.name), str(error))
            return
        if stored is not None:
            taken[name] = stored

    def _keep(self, entry: Entry, name: str, blobs: TarBlobs) -> bool:
        """Keep what may be a part of a container image until it shows whether there is one."""
        if entry.kind is EntryKind.LINK:
            blobs.links[name] = entry.target
        elif entry.kind is EntryKind.FILE and entry.open is not None and name not in blobs.found:
            blobs.found[name] = self._copy(b"", entry.open(), entry.size)
        else:
            return False
        return True

    def _take_kept(self, blobs: TarBlobs, inside: _Names, taken: dict[str, Stored]) -> None:
        """Take what looked like parts of a container image where there is none."""
        all_names = {name: [name] for name in blobs.found}
        for name, target in blobs.hard_links.items():
            all_names[target].append(name)
        for (name, copy), names in zip(blobs.found.items(), all_names.values(), strict=True):
            try:
                with Source.open(copy) as source:
                    entry = Entry(name, EntryKind.FILE, "", stat.S_IFREG, source.size, partial(SourceStream, source))
                    stored = self._stored(entry, name)
            except ArtifactError as error:
                for one in names:
                    self._problem(_below(inside, one), str(error))
            else:
                taken.update({} if stored is None else dict.fromkeys(names, stored))

    def _stored(self, entry: Entry, name: str) -> Stored | None:
        """A copy of a file; None where it is not to be judged."""
        if entry.open is None:
            return None
        stream = entry.open()
        head = stream.read(HEAD)
        is_package = is_opened_inside(name, head)
        if not is_package:
            reason = self._consider(name, head)
            if reason is not None:
                reason = reason or (UNOPENED if may_hold_programs(head) else "")
                self._left_out.update([reason] if reason else [])
                return None
            if head.startswith(MAGIC_THIN):
                raise MemberError("a thin archive: it names its members and does not hold them")
        return Stored(self._copy(head, stream, entry.size), entry.mode, is_package)

    def _copy(self, head: bytes, stream: Reader, size: int) -> str:
        """Write the rest of a stream to a file with a number for a name."""
        self._limits.size_of_member(size)
        self._copies += 1
        path = os.path.join(self._folder, f"{self._copies}")
        copied = 0
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                while head or not copied:
                    copied += file.write(head)
                    self._limits.read(len(head))
                    self._limits.size_of_member(copied)
                    head = stream.read(CHUNK)
                    if not head:
                        break
        except BaseException as error:
            os.unlink(path)
            if isinstance(error, OSError):
                raise ArtifactError(f"cannot be unpacked: {error.strerror or error}") from None
            raise
        return path

    def _finish(self, taken: Iterable[tuple[str, Stored]], inside: _Names, package: str, depth: int) -> None:
        """Note the files that were taken, each once with all its names, and open the packages among them."""
        found: dict[str, tuple[Stored, list[str]]] = {}
        for name, stored in sorted(taken, key=lambda one: one[0]):
            found.setdefault(stored.path, (stored, []))[1].append(name)
        for stored, names in found.values():
            name, below = names[0], self._all_names(inside, names)
            if not stored.is_package:
                role: Role = role_in_wheel(name) if is_wheel(package) else ""
                self._files.append(Unpacked(stored.path, below[0], stored.mode, role, below[1:]))
                continue
            with Source.open(stored.path) as source:
                self.package(source, below, posixpath.basename(name), depth + 1)
            os.unlink(stored.path)

    def _all_names(self, inside: _Names, names: Iterable[str]) -> _Names:
        """The names in the outermost package of a file that has some names in a package that has some."""
        found: list[str] = []
        try:
            for name in names:
                for one in _below(inside, name):
                    if found:
                        self._limits.member(one)
                    found.append(one)
        except ArtifactError as error:
            self._problem(_OUTERMOST, str(error))
        return tuple(found)

    def _problem(self, inside: _Names, reason: str) -> None:
        for one in inside:
            if self._limits.is_enough(len(self._problems)):
                self._untold += 1
            elif (one, reason) not in self._problems:
                self._problems.append((one, reason))


def _deb_entries(source: Source, limits: Limits) -> Iterator[Entry]:
    """The files of a Debian package, its scripts below DEBIAN/ (deb(5))."""
    has_data = False
    for member in members(source, ""):
        kind = member.name.partition(".tar")[0]
        if kind not in ("control", "data") or member.path is not None:
            continue
        has_data = has_data or kind == "data"
        for entry in tar_entries(decompressed(source.slice(member.offset, member.size), limits)):
            yield entry if kind == "data" else entry._replace(name=_CONTROL + name_within(entry.name))
    if not has_data:
        raise ArtifactError("damaged: a Debian package without data.tar")


def _below(inside: _Names, name: str) -> _Names:
    return tuple(f"{one}{INSIDE if one else ''}{shown(name)}" for one in inside)


def _reason(error: Exception) -> str:
    if isinstance(error, ArtifactError):
        return str(error)
    return f"damaged or malformed ({type(error).__name__}: {' '.join(str(error).split())})"
