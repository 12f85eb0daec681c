"""The file system that the layers of a container image make, of which only what is to be judged is kept.

Source: OCI image specification, "Image Layer Filesystem Changeset" (whiteouts, opaque whiteouts); what containerd's
archive/tar.go does where that is silent: folders above a name are looked up through links, inside the root.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from ...errors import ArtifactError
from .limits import MemberError

__all__ = ["FileSystem", "Stored"]

_MOST_FOLDERS = 500_000
_MOST_STEPS = 50_000_000
_MOST_LINKS = 40  # as in the kernel (MAXSYMLINKS)
_WHITEOUT, _OPAQUE, _RESERVED = ".wh.", ".wh..wh..opq", ".wh..wh."


@dataclass(slots=True)
class Stored:
    """A copy of a file, and how many names it has."""

    path: str
    mode: int
    is_package: bool
    names: int = 0


@dataclass(frozen=True, slots=True)
class _File:
    stored: Stored
    layer: int


@dataclass(frozen=True, slots=True)
class _Link:
    target: str
    layer: int


_Folder = dict[str, Union["_Folder", _File, _Link]]


class FileSystem:
    """Files by name, changed layer by layer."""

    def __init__(self) -> None:
        self._root: _Folder = {}
        self._layer = 0
        self._folders = 0
        self._steps = 0

    def next_layer(self) -> None:
        self._layer += 1

    def put(self, path: str, stored: Stored | None) -> None:
        """A file, or with None one that is not to be judged, replaces whatever has this name."""
        self._replace(path, None if stored is None else _File(stored, self._layer))

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._replace(path, _Link(target, self._layer))

    def hard_link(self, path: str, target: str) -> None:
        """Another name of a file."""
        parent = self._parent(target, make=False)
        node = None if parent is None else parent.get(target.rpartition("/")[2])
        self.put(path, node.stored if isinstance(node, _File) else None)

    def folder(self, path: str) -> None:
        """A folder keeps what is in the one that it replaces, and replaces anything else."""
        parent = self._parent(path, make=False)
        if parent is not None and not isinstance(parent.get(path.rpartition("/")[2]), dict):
            self._remove(parent, path.rpartition("/")[2])

    def whiteout(self, path: str) -> bool:
        """Whether a name is a whiteout, which is then applied to the layers below."""
        above, _, name = path.rpartition("/")
        if not name.startswith(_WHITEOUT):
            return False
        if name == _OPAQUE:
            parent = self._parent(f"{above}/x", make=False)
            if parent is not None:
                self._prune(parent)
        elif not name.startswith(_RESERVED):
            parent = self._parent(path, make=False)
            hidden = name[len(_WHITEOUT) :]
            node = None if parent is None else parent.get(hidden)
            if isinstance(node, dict):
                self._prune(node)
            elif parent is not None and node is not None and node.layer < self._layer:
                self._remove(parent, hidden)
        return True

    def files(self) -> Iterator[tuple[str, Stored]]:
        """What is there in the end, each file under each of its names."""
        pending = [("", self._root)]
        while pending:
            above, folder = pending.pop()
            for name, node in folder.items():
                if isinstance(node, dict):
                    pending.append((f"{above}{name}/", node))
                elif isinstance(node, _File):
                    yield above + name, node.stored

    def _replace(self, path: str, node: _File | _Link | None) -> None:
        name = path.rpartition("/")[2]
        parent = self._parent(path, make=node is not None)
        if parent is None:
            return
        if isinstance(node, _File):
            node.stored.names += 1  # before the other is removed, which may be the same file
        self._remove(parent, name)
        if node is not None:
            parent[name] = node

    def _parent(self, path: str, *, make: bool) -> _Folder | None:
        """The folder that a name is in, links on the way followed inside the root; None where there is none.

        Raises
        ------
        MemberError: they go round in circles.
        """
        stack = [self._root]
        pending = deque(path.split("/")[:-1])
        links = 0
        while pending:
            self._step()
            part = pending.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                if len(stack) > 1:
                    stack.pop()
                continue
            node = stack[-1].get(part)
            if isinstance(node, _Link):
                links += 1
                if links > _MOST_LINKS:
                    raise MemberError("its folder is a link that leads to itself: not unpacked")
                if node.target.startswith("/"):
                    del stack[1:]
                pending.extendleft(reversed(node.target.split("/")))
                continue
            if not isinstance(node, dict):
                if not make:
                    return None
                self._remove(stack[-1], part)
                node = stack[-1][part] = self._new_folder()
            stack.append(node)
        return stack[-1]

    def _new_folder(self) -> _Folder:
        self._folders += 1
        if self._folders > _MOST_FOLDERS:
            raise ArtifactError(f"not read to its end: more than {_MOST_FOLDERS} folders")
        return {}

    def _remove(self, parent: _Folder, name: str) -> None:
        """Take away a file, a link, or a folder with everything in it."""
        pending = [parent.pop(name, None)]
        while pending:
            self._step()
            node = pending.pop()
            if isinstance(node, dict):
                self._folders -= 1
                pending += node.values()
            elif isinstance(node, _File):
                _release(node.stored)

    def _prune(self, folder: _Folder) -> None:
        """Take away what the layers below put into a folder; what this one put there stays."""
        pending = [folder]
        while pending:
            current = pending.pop()
            for name, node in list(current.items()):
                self._step()
                if isinstance(node, dict):
                    pending.append(node)
                elif node.layer < self._layer:
                    self._remove(current, name)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise ArtifactError("not read to its end: its layers undo one another too often")


def _release(stored: Stored) -> None:
    stored.names -= 1
    if not stored.names:
        os.unlink(stored.path)
