"""A folder of finished builds: each is made once and found by what went into it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path

from pytest_hardening.errors import BuildError, HardeningError
from pytest_hardening.toolchain.commands import BuildLog, BuildRecord, CommandResult

__all__ = ["BuildCache"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

# Written last and renamed into place: an entry that has it is whole.
_MARKER = "commands.json"


class BuildCache:
    """Builds kept under one folder, shared by the threads and processes that are given the same folder.

    An entry is `ROOT/KEY/files`, with the record of its commands beside it. It is built in its final place, because
    the build trees of CMake and debug information hold absolute paths; renaming the finished record into place is
    what makes the entry exist. Who finds an entry without it, under the entry's lock, knows that its builder failed or
    was killed, and starts afresh.

    What `get` returns must be treated as read-only: the next test gets the same files.
    """

    def __init__(self, root: Path) -> None:
        """`root` is created when it is needed."""
        self.root = root.absolute()

    def get(
        self,
        key: str,
        build: Callable[[Path, list[CommandResult]], None],
        *,
        title: str = "",
        log: BuildLog | None = None,
    ) -> Path:
        """Return the folder of a finished build, which is made first if there is none.

        `key` is a file name that stands for everything that decides the result. `build` gets the empty folder to fill
        and a list to which it adds the commands as it runs them; one process at a time is in it for one key. `log`
        receives them under `title`: those that ran now, those of the earlier build when there is one, and those up to
        the failing one when `build` raises.

        Whatever `build` raises is passed on, and no entry is left.
        """
        built: list[CommandResult] = []
        stored: list[CommandResult] | None = None
        try:
            stored = self._read(key)
            if stored is None:
                stored = self._build_once(key, build, built)
        finally:
            if log is not None:
                commands = built if stored is None else stored
                log.add(BuildRecord(title or key, tuple(commands), cached=stored is not None))
        return self._files(key)

    def _build_once(
        self, key: str, build: Callable[[Path, list[CommandResult]], None], commands: list[CommandResult]
    ) -> list[CommandResult] | None:
        """Build the entry; or return its commands, if another process built it while this one waited for the lock."""
        # Here, not above: filelock brings asyncio along, 60 ms for a session that compiles nothing.
        from filelock import FileLock

        entry = self.root / key
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f"{key}.lock"):
            stored = self._read(key)
            if stored is not None:
                return stored
            shutil.rmtree(entry, ignore_errors=True)
            try:
                self._files(key).mkdir(parents=True)
                build(self._files(key), commands)
                self._write(key, commands)
            except BaseException:
                shutil.rmtree(entry, ignore_errors=True)
                raise
        return None

    def _files(self, key: str) -> Path:
        return self.root / key / "files"

    def _read(self, key: str) -> list[CommandResult] | None:
        """The commands of a finished entry; None when there is none."""
        marker = self.root / key / _MARKER
        try:
            text = marker.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BuildError(f"cannot read the build cache's {marker}: {error.strerror or error}") from None
        try:
            return [CommandResult.from_json(value) for value in json.loads(text)]
        except (ValueError, KeyError, TypeError) as error:
            raise BuildError(f"the build cache's {marker} is damaged; remove its folder: {error}") from error

    def _write(self, key: str, commands: list[CommandResult]) -> None:
        marker = self.root / key / _MARKER
        partial = marker.with_suffix(".partial")
        partial.write_text(json.dumps([command.to_json() for command in commands]), encoding="utf-8")
        os.replace(partial, marker)
