"""Running a program that misbehaves: limits on time, memory and files, no new privileges, other machines under qemu."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..elf.reader import ElfReader
from ..elf.source import Source
from ..errors import ToolchainError
from ..toolchain.commands import CommandResult, execute
from ..toolchain.packages import find_tool

__all__ = ["emulator_for", "run_program", "target_of"]

_SECONDS = 20.0
_CPU_SECONDS = 10
_MEMORY = 1 << 30  # bytes of address space; qemu reserves that of a whole machine
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "LIBC_FATAL_STDERR_": "1"}  # glibc would write to the terminal

# machine -> qemu's name of it (qemu-user manual), triple of Debian's cross libraries
_EMULATED = {
    "i386": ("i386", "i686-linux-gnu"),
    "x86-64": ("x86_64", "x86_64-linux-gnu"),
    "aarch64": ("aarch64", "aarch64-linux-gnu"),
    "arm": ("arm", "arm-linux-gnueabihf"),
    "ppc64le": ("ppc64le", "powerpc64le-linux-gnu"),
    "s390x": ("s390x", "s390x-linux-gnu"),
    "riscv64": ("riscv64", "riscv64-linux-gnu"),
}
_NATIVE = {"x86_64": ("x86-64", "i386"), "aarch64": ("aarch64",), "ppc64le": ("ppc64le",), "s390x": ("s390x",),
           "riscv64": ("riscv64",)}  # fmt: skip


def target_of(program: str | os.PathLike[str]) -> tuple[str, str]:
    """The machine and the C library of a program; an empty C library where it does not tell.

    Raises
    ------
    ArtifactError: it is no ELF file, or a damaged one.
    """
    with Source.open(os.fspath(program)) as source:
        facts = ElfReader(source, os.path.basename(program)).facts
        return facts.machine.name, facts.libc or ""


def emulator_for(machine: str) -> tuple[str, ...]:
    """The command in front of a program of another machine; empty where this one runs it.

    Raises
    ------
    ToolchainError: there is none, or it is not installed; the message says how to get it.
    """
    if machine in _NATIVE.get(os.uname().machine, ()):
        return ()
    if machine not in _EMULATED:
        raise ToolchainError(f"programs for {machine} cannot be run here: no emulator is known")
    name, triple = _EMULATED[machine]
    return str(find_tool(f"qemu-{name}")), "-L", f"/usr/{triple}"


def run_program(program: str | os.PathLike[str], emulator: Sequence[str] = ()) -> CommandResult:
    """Run a program in an empty folder of its own and say how it ended.

    It gets no input, no environment to speak of, no core file, no privileges that its user has not, and is ended after
    20 seconds. What it started and left in its process group is ended with it.

    Parameters
    ----------
    program: the file; it must be executable.
    emulator: the command in front of it.

    Raises
    ------
    ToolchainError: the emulator, `prlimit` or `setpriv` (util-linux) is missing.
    """
    limits = ["--core=0", f"--cpu={_CPU_SECONDS}", "--nofile=64"]
    # qemu writes the list of mappings, which glibc reads for %n, into a file that has no name
    limits += [f"--fsize={1 << 20}"] if emulator else ["--fsize=0", f"--as={_MEMORY}"]
    command = [str(find_tool("prlimit")), *limits, str(find_tool("setpriv")), "--no-new-privs", "--"]
    with tempfile.TemporaryDirectory(prefix="offence-") as folder:
        words = [*command, *emulator, os.path.realpath(program)]
        return execute(words, cwd=Path(folder), timeout=_SECONDS, env=_ENVIRONMENT, leave_none=True)
