"""Running one build command: bounded in time and in output, and remembered for the failure report."""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import IO, Any

from pytest_hardening.errors import BuildError, HardeningError, ToolchainError
from pytest_hardening.toolchain.environment import clean_environment
from pytest_hardening.toolchain.packages import install_advice

__all__ = ["DEFAULT_TIMEOUT", "MAX_OUTPUT", "BuildLog", "BuildRecord", "CommandResult", "execute", "run"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

# Seconds. A compiler needs a fraction of one; a loaded machine that emulates another one still stays below.
DEFAULT_TIMEOUT = 120.0

# Bytes of output kept of one command: its first and its last half. Errors stand at either end of a build's output.
MAX_OUTPUT = 256 * 1024

# Seconds. How long output is awaited from a process that outlives the command and holds its output open, as compile
# servers do.
_GRACE = 0.2


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What one command did.

    `returncode` is negative when a signal ended it. `output` is standard output and standard error as they came, with
    a line that says so where the middle was left out. `cwd` is absolute.
    """

    argv: tuple[str, ...]
    cwd: Path
    returncode: int
    output: str
    timed_out: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the command ended in time with exit status 0."""
        return self.returncode == 0 and not self.timed_out

    @property
    def outcome(self) -> str:
        """How the command ended, as a clause: `exit status 1`, `killed by SIGSEGV`, `timed out`."""
        if self.timed_out:
            return "timed out"
        if self.returncode < 0:
            try:
                return f"killed by {signal.Signals(-self.returncode).name}"
            except ValueError:
                return f"killed by signal {-self.returncode}"
        return f"exit status {self.returncode}"

    def text(self) -> str:
        """The command as one would type it, its output, and how it ended if that was not well."""
        lines = [f"$ {shlex.join(self.argv)}"]
        if self.output:
            lines.append(self.output.rstrip("\n"))
        if not self.succeeded:
            lines.append(f"[{self.outcome}]")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values; `from_json` reads them back."""
        return {
            "argv": list(self.argv),
            "cwd": str(self.cwd),
            "returncode": self.returncode,
            "output": self.output,
            "timed_out": self.timed_out,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CommandResult:
        """Read what `to_json` wrote. Raises KeyError or TypeError for anything else."""
        return cls(
            argv=tuple(value["argv"]),
            cwd=Path(value["cwd"]),
            returncode=value["returncode"],
            output=value["output"],
            timed_out=value["timed_out"],
        )


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """The commands of one build.

    `title` names the product; `cached` is true when the commands ran earlier, here or in another process.
    """

    title: str
    commands: tuple[CommandResult, ...]
    cached: bool

    def text(self) -> str:
        """The commands with their output, for a failure report; the working folder stands where it changes."""
        lines = ["(built before; these are the commands that built it)"] if self.cached else []
        cwd = None
        for command in self.commands:
            if command.cwd != cwd:
                cwd = command.cwd
                lines.append(f"$ cd {shlex.quote(str(cwd))}")
            lines.append(command.text())
        return "\n".join(lines)


class BuildLog:
    """Collects the builds of one test. A subclass may override `add` to pass them on as they come."""

    def __init__(self) -> None:
        self.records: list[BuildRecord] = []

    def add(self, record: BuildRecord) -> None:
        """Take a build, whether it succeeded or not."""
        self.records.append(record)

    def text(self) -> str:
        """All builds so far, each under its title; empty without any."""
        return "\n\n".join(f"{record.title}\n{record.text()}" for record in self.records)


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    timeout: float = DEFAULT_TIMEOUT,
    env: Mapping[str, str] | None = None,
    log: list[CommandResult] | None = None,
) -> CommandResult:
    """Run a command and return what it did.

    `argv` is the command; no shell reads it. Standard input is empty. After `timeout` seconds the command is killed
    with all processes that it started. `env` is the whole environment; the clean one of `clean_environment` without
    it. `log` receives the result before a failure is raised.

    Raises `BuildError` when it fails or takes too long: the first line names the command, the rest is its output.
    Raises `ToolchainError` when the program does not exist.
    """
    result = execute(argv, cwd=cwd, timeout=timeout, env=env)
    if log is not None:
        log.append(result)
    if not result.succeeded:
        ending = f"timed out after {timeout:g} s" if result.timed_out else f"failed with {result.outcome}"
        output = result.output.rstrip("\n") or "(no output)"
        raise BuildError(f"command {ending}: {shlex.join(result.argv)}\nin {result.cwd}\n{output}")
    return result


def execute(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    timeout: float = DEFAULT_TIMEOUT,
    env: Mapping[str, str] | None = None,
    leave_none: bool = False,
) -> CommandResult:
    """Run a command as `run` does and return what it did, be it success, failure or time-out.

    With `leave_none` what it started and did not wait for is killed too; compile servers are to live on.

    Raises `ToolchainError` when the program does not exist or is none, `BuildError` when there is no folder `cwd`.
    """
    words = tuple(os.fspath(word) for word in argv)
    folder = cwd.absolute()
    deadline = time.monotonic() + timeout
    process = _start(words, folder, clean_environment() if env is None else env)
    output = _BoundedOutput(MAX_OUTPUT)
    with process:
        try:
            timed_out = not _read_until_exit(process, output, deadline)
        except BaseException:
            _kill_group(process)
            raise
        if timed_out:
            _kill_group(process)
        returncode = process.wait()
        if leave_none:
            _kill_group(process)
    return CommandResult(words, folder, returncode, output.text(), timed_out)


def _start(argv: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        # Its own session makes it the leader of a process group: make and its compilers can be killed at once.
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        if not cwd.is_dir():
            raise BuildError(f"cannot run {shlex.join(argv)}: there is no folder {cwd}") from None
        if isinstance(error, FileNotFoundError):
            raise ToolchainError(f"{argv[0]!r} not found: {install_advice(argv[0])}") from None
        raise ToolchainError(f"cannot run {argv[0]!r}: {error.strerror or error}") from None


def _read_until_exit(process: subprocess.Popen[bytes], output: _BoundedOutput, deadline: float) -> bool:
    """Collect the output until the process has ended; False when the deadline passed before."""
    stream: IO[bytes] | None = process.stdout
    if stream is None:  # cannot be: it was opened as a pipe
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(min(left, _GRACE)):
                if process.poll() is not None:
                    return True
                continue
            chunk = os.read(stream.fileno(), 65536)
            if not chunk:
                break
            output.add(chunk)
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


class _BoundedOutput:
    """The first and the last half of a stream of bytes, however long it is."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, chunk: bytes) -> None:
        room = self._half - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        if (excess := len(self._tail) - self._half) > 0:
            del self._tail[:excess]
            self._dropped += excess

    def text(self) -> str:
        gap = f"\n[... {self._dropped} bytes of output left out ...]\n".encode() if self._dropped else b""
        return bytes(self._head + gap + self._tail).decode("utf-8", "replace")
