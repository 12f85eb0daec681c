"""The offences: small C programs that do what a mitigation is there to stop, and how each is stopped.

A program that nothing stopped says so and ends with the status `WENT_THROUGH`. The programs are in `offences/`.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["OFFENCES", "WENT_THROUGH", "Offence", "Stop", "offence_of"]

#: The exit status of a program whose offence went through.
WENT_THROUGH = 42

_HEADER = "offence.h"


@dataclass(frozen=True, slots=True)
class Stop:
    """How a program ends that was stopped.

    Parameters
    ----------
    status: the exit status, or the negative number of a signal.
    says: what it writes; empty where it need not write anything.
    libc: the C library of which this holds; empty for all.
    """

    status: int
    says: str = ""
    libc: str = ""


@dataclass(frozen=True, slots=True)
class Offence:
    """Something that a program does and a mitigation stops.

    Parameters
    ----------
    name: such as "stack-smash".
    check: the check that says of the same file whether it has the mitigation.
    title: what the program does, as a phrase.
    flags: switch the mitigation on; for the compile and the link step.
    control: build the same program without it.
    stops: how the program ends when the mitigation works; empty where that shows otherwise.
    parameters: of the check: the least strict that the offence is stopped by.
    when: "run"; "compile", where the compiler is what stops it; "runs" where several runs are compared.
    """

    name: str
    check: str
    title: str
    flags: tuple[str, ...]
    control: tuple[str, ...]
    stops: tuple[Stop, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    when: str = "run"

    @property
    def file(self) -> str:
        """The name of the source file."""
        return f"{self.name.replace('-', '_')}.c"

    @property
    def source(self) -> Mapping[str, str]:
        """The program as `compile_c` takes it: the text by the name of the file."""
        return {self.file: _text(self.file)}


@cache
def _text(file: str) -> str:
    folder = files(__package__).joinpath("offences")
    text = folder.joinpath(file).read_text(encoding="utf-8")
    return text.replace(f'#include "{_HEADER}"\n', folder.joinpath(_HEADER).read_text(encoding="utf-8"))


_ABORT, _SEGV = -signal.SIGABRT, -signal.SIGSEGV
# glibc: debug/stack_chk_fail.c, debug/chk_fail.c, stdio-common/vfprintf-internal.c; musl: src/env/__stack_chk_fail.c,
# which ends with an instruction that the kernel answers with SIGSEGV (a_crash)
_OFFENCES = (
    Offence(
        "stack-smash",
        "stack-protector",
        "a function writes beyond an array on its stack",
        ("-O2", "-fstack-protector-strong"),
        ("-O2", "-fno-stack-protector"),
        (Stop(_ABORT, "stack smashing detected"), Stop(_SEGV, libc="musl")),
    ),
    Offence(
        "fortify-overflow",
        "fortify",
        "strcpy() writes beyond the array that it copies to",
        ("-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"),
        ("-O2", "-U_FORTIFY_SOURCE"),
        (Stop(_ABORT, "buffer overflow detected"),),
        {"level": 1},
    ),
    Offence(
        "fortify-format",
        "fortify",
        "printf() is given a format with %n from writable memory",
        ("-O2", "-w", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"),
        ("-O2", "-w", "-U_FORTIFY_SOURCE"),
        (Stop(_ABORT, "%n in writable segment"),),
        {"level": 2},
    ),
    Offence(
        "got-write",
        "relro",
        "the program writes into its global offset table",
        ("-O2", "-Wl,-z,relro", "-Wl,-z,now"),
        ("-O2", "-Wl,-z,norelro", "-Wl,-z,lazy"),
        (Stop(_SEGV),),
        {"level": "full"},
    ),
    Offence(
        "stack-execution",
        "nx-stack",
        "the program jumps to code on its stack",
        ("-O2", "-Wl,-z,noexecstack"),
        ("-O2", "-Wl,-z,execstack"),
        (Stop(_SEGV),),
    ),
    Offence(
        "stack-clash",
        "stack-clash",
        "a large stack frame reaches over the guard page",
        ("-O2", "-pthread", "-fstack-clash-protection"),
        ("-O2", "-pthread", "-fno-stack-clash-protection"),
        (Stop(_SEGV),),
    ),
    Offence(
        "uninitialised",
        "auto-var-init",
        "a function reads a variable that was never set",
        ("-O2", "-g", "-ftrivial-auto-var-init=zero"),
        ("-O2", "-g"),
        (Stop(0, "had no effect"),),
        {"value": "zero"},
    ),
    Offence(
        "load-address",
        "pie",
        "several runs of the program print where its code lies",
        ("-O2", "-fPIE", "-pie"),
        ("-O2", "-fno-pie", "-no-pie"),
        when="runs",
    ),
    Offence(
        "bad-format",
        "format-security",
        "printf() is given a format that is no constant",
        ("-O2", "-Wformat", "-Werror=format-security"),
        ("-O2", "-Wno-format-security"),
        when="compile",
    ),
)

#: All offences by name.
OFFENCES: Mapping[str, Offence] = {offence.name: offence for offence in _OFFENCES}


def offence_of(offence: Offence | str) -> Offence:
    """An offence by its name.

    Raises
    ------
    KeyError: there is none of that name; the message lists them.
    """
    if isinstance(offence, Offence):
        return offence
    if offence not in OFFENCES:
        raise KeyError(f"no offence {offence!r}; there are: {', '.join(OFFENCES)}")
    return OFFENCES[offence]
