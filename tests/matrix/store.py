"""Products that are made once: a folder, found by what went into it, safe for several processes at a time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytest_hardening.toolchain.commands import run

__all__ = ["Store"]


class Store:
    """Two processes that make the same product at the same time both make it; the first one's stays."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._root.mkdir(parents=True, exist_ok=True)

    def product(
        self, name: str, inputs: Sequence[tuple[str, Path]], texts: Sequence[tuple[str, str]], argv: Sequence[str]
    ) -> Path:
        """The file that a command writes.

        Parameters
        ----------
        name: its file name; the command runs in an empty folder and writes it there.
        inputs: files that the command finds in its folder, under the names given; all are of this store, so that their
        paths stand for their content. texts: files to be written there first.
        """
        key = self._key(name, [(short, os.fspath(path)) for short, path in inputs], texts, list(argv))

        def make(folder: Path) -> None:
            for short, path in inputs:
                os.link(path, folder / short)
            for short, text in texts:
                (folder / short).write_text(text, encoding="utf-8")
            run(argv, cwd=folder)
            for path in folder.iterdir():
                if path.name != name:
                    path.unlink()

        return self._once(key, make) / name

    def answer(self, question: Sequence[str], texts: Sequence[tuple[str, str]] = ()) -> str:
        """What a command prints; the same question is asked once."""
        key = self._key("answer", list(question), texts)

        def make(folder: Path) -> None:
            for short, text in texts:
                (folder / short).write_text(text, encoding="utf-8")
            (folder / "answer").write_text(run(question, cwd=folder).output, encoding="utf-8")

        return (self._once(key, make) / "answer").read_text(encoding="utf-8")

    @staticmethod
    def _key(*parts: Any) -> str:
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]

    def _once(self, key: str, make: Callable[[Path], None]) -> Path:
        folder = self._root / key[:2] / key[2:]
        if folder.is_dir():
            return folder
        folder.parent.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=self._root))
        try:
            make(fresh)
            try:
                fresh.rename(folder)  # refused when another process was first
            except OSError:
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return folder
