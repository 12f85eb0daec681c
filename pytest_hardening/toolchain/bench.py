"""Where probes are built and judged: one toolchain, its builds cached by all that decides them."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any, Literal

from pytest_hardening.elf.image import Image
from pytest_hardening.elf.source import Source
from pytest_hardening.engine import inspect
from pytest_hardening.errors import ArtifactError, BuildError, HardeningError
from pytest_hardening.model import Kind, Outcome, Verdict
from pytest_hardening.toolchain.cache import BuildCache
from pytest_hardening.toolchain.commands import DEFAULT_TIMEOUT, CommandResult, execute
from pytest_hardening.toolchain.probe_source import PROBE
from pytest_hardening.toolchain.toolchains import Toolchain, first_error

__all__ = ["Bench", "Built"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

# Optimised, because FORTIFY is nothing without; with a record of flags and units, because checks ask for it.
_BASE = ("-O2", "-g")
# clang records its options only then (clang manual, -grecord-command-line).
_RECORD = {"clang": ("-grecord-command-line",), "zig": ("-grecord-command-line",)}
# What a driver says when a program behind it was killed, crashed or had no room: that is no answer, and is not kept.
_BREAKDOWN = re.compile(
    r"\bKilled\b|internal compiler error|PLEASE submit a bug report|No space left on device|[Cc]annot allocate memory"
    r"|memory exhausted|out of memory|Resource temporarily unavailable|Too many open files"
)
_REFUSED = "refused.txt"
_PRODUCTS = {"executable": "program", "object": "object.o"}


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one build.

    - `path`: the product, which must not be changed; None where the compiler refused.
    - `refused`: the line of its output that says why; empty where it did not.
    - `output`: all that it said.
    """

    path: Path | None
    refused: str = ""
    output: str = ""


class Bench:
    """One toolchain at work; threads may share it, each build is made once.

    - `runs`: how many commands were really started.
    """

    def __init__(self, toolchain: Toolchain, cache: BuildCache, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self.toolchain = toolchain
        self.runs = 0
        self._cache = cache
        self._timeout = timeout
        self._counting = threading.Lock()
        self._judging = threading.Lock()
        self._builds: dict[str, Built] = {}
        self._verdicts: dict[tuple[object, ...], tuple[Verdict, Kind]] = {}

    def build(
        self,
        flags: Sequence[str],
        source: str = PROBE,
        kind: Literal["executable", "object"] = "executable",
        *,
        werror: bool = True,
    ) -> Built:
        """Compile one unit with `-O2 -g` and `flags`; a compiler that refuses them is an answer, not an error.

        - `werror`: whether a mere warning refuses, too: compilers only warn of options that they do not know.

        Raises `BuildError` when the compiler was killed, crashed or took too long: that says nothing of the flags.
        """
        compiler = self.toolchain.compiler
        unit = "probe.cpp" if compiler.language == "c++" else "probe.c"
        words = (*_BASE, *_RECORD.get(compiler.family, ()), *(("-Werror",) if werror else ()), *flags)
        product = _PRODUCTS[kind]
        command = (*compiler.command, *words, *(("-c",) if kind == "object" else ()), unit, "-o", product)
        parts = (self.toolchain.identity, *command, source)
        key = "probe-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        if key in self._builds:
            return self._builds[key]

        def make(folder: Path, commands: list[CommandResult]) -> None:
            (folder / unit).write_text(source)
            result = execute(command, cwd=folder, timeout=self._timeout)
            commands.append(result)
            with self._counting:
                self.runs += 1
            if result.timed_out or result.returncode < 0 or (not result.succeeded and _BREAKDOWN.search(result.output)):
                raise BuildError(f"{self.toolchain.id} broke down, {result.outcome}: {result.text()}")
            # ld crashes are reported by the driver, which itself ends well
            if not result.succeeded or not (folder / product).is_file():
                (folder / _REFUSED).write_text(f"{first_error(result)}\n{result.output}")

        folder = self._cache.get(key, make, title=f"probe of {self.toolchain.id}")
        self._builds[key] = _outcome(folder, product)
        return self._builds[key]

    def verdict(self, path: Path, check: str, parameters: Mapping[str, Any] | None = None) -> tuple[Verdict, Kind]:
        """What one of our checks says of a product, and what kind of file that is."""
        key = (path, check, *sorted((parameters or {}).items()))
        # One thread at a time: readers are imported when they are needed, and where pytest rewrites what is imported,
        # Python 3.11 fails when two threads do that at once.
        with self._judging:
            if key not in self._verdicts:
                report = inspect(path, {check: parameters or {}}).artifact
                verdict = Verdict(check, Outcome.UNKNOWN, report.error or "")
                self._verdicts[key] = (report.verdicts[0] if report.error is None else verdict), report.kind
            return self._verdicts[key]

    def code(self, built: Built) -> bytes:
        """The machine code of a product: its section .text; empty where it has none."""
        if built.path is None:
            return b""
        try:
            with Source.open(built.path) as source:
                sections = [one for one in Image(source).sections if one.name == ".text"]
                return b"".join(source.read(one.offset, one.size) for one in sections)
        except ArtifactError:
            return b""


def _outcome(folder: Path, product: str) -> Built:
    refused = folder / _REFUSED
    if not refused.is_file():
        return Built(folder / product)
    reason, _, output = refused.read_text().partition("\n")
    # without the names of programs and files in front, which differ from machine to machine
    return Built(None, re.sub(r"^(\S+: )+?(?=error: |cannot find |undefined )", "", reason), output)
