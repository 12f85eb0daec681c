from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts
from ..elf.layout import PT_INTERP
from ..model import Evidence, Verdict
from .base import LINKED, Check, Parameter

__all__ = ["Interpreter"]


def _mips(name: str, order: str, folder: str) -> tuple[str, ...]:
    """glibc's for both encodings of NaN, musl's for both revisions and both ways to pass floating-point numbers."""
    musl = (f"/lib/ld-musl-{name}{r6}{order}{soft}.so.1" for r6 in ("", "r6") for soft in ("", "-sf"))
    return (f"{folder}/ld.so.1", f"{folder}/ld-linux-mipsn8.so.1", *musl)


# by the names in elf/machines.py; GCC gcc/config/*/linux*.h (GLIBC_, MUSL_ and BIONIC_DYNAMIC_LINKER), glibc
# sysdeps/unix/sysv/linux/*/shlib-versions, musl configure and ldso names
_KNOWN: dict[str, tuple[str, ...]] = {
    "x86-64": ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1", "/system/bin/linker64"),
    "x32": ("/libx32/ld-linux-x32.so.2", "/lib/ld-musl-x32.so.1"),
    "i386": ("/lib/ld-linux.so.2", "/lib/ld-musl-i386.so.1", "/system/bin/linker"),
    "aarch64": ("/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1", "/system/bin/linker64"),
    "aarch64_be": ("/lib/ld-linux-aarch64_be.so.1", "/lib/ld-musl-aarch64_be.so.1"),
    "aarch64_ilp32": ("/lib/ld-linux-aarch64_ilp32.so.1",),
    "arm": (
        "/lib/ld-linux-armhf.so.3",
        "/lib/ld-linux.so.3",
        "/lib/ld-musl-armhf.so.1",
        "/lib/ld-musl-arm.so.1",
        "/system/bin/linker",
    ),
    "armeb": (
        "/lib/ld-linux-armhf.so.3",
        "/lib/ld-linux.so.3",
        "/lib/ld-musl-armebhf.so.1",
        "/lib/ld-musl-armeb.so.1",
    ),
    "ppc64le": ("/lib64/ld64.so.2", "/lib/ld-musl-powerpc64le.so.1"),
    "ppc64": ("/lib64/ld64.so.1", "/lib64/ld64.so.2", "/lib/ld-musl-powerpc64.so.1"),
    "ppc": ("/lib/ld.so.1", "/lib/ld-musl-powerpc.so.1", "/lib/ld-musl-powerpc-sf.so.1"),
    "s390x": ("/lib/ld64.so.1", "/lib/ld-musl-s390x.so.1"),
    "s390": ("/lib/ld.so.1",),
    "riscv64": (
        "/lib/ld-linux-riscv64-lp64d.so.1",
        "/lib/ld-linux-riscv64-lp64.so.1",
        "/lib/ld-musl-riscv64.so.1",
        "/lib/ld-musl-riscv64-sf.so.1",
        "/lib/ld-musl-riscv64-sp.so.1",
        "/system/bin/linker64",
    ),
    "riscv32": (
        "/lib/ld-linux-riscv32-ilp32d.so.1",
        "/lib/ld-linux-riscv32-ilp32.so.1",
        "/lib/ld-musl-riscv32.so.1",
        "/lib/ld-musl-riscv32-sf.so.1",
        "/lib/ld-musl-riscv32-sp.so.1",
    ),
    "loongarch64": ("/lib64/ld-linux-loongarch-lp64d.so.1", "/lib/ld-musl-loongarch64.so.1"),
    **{f"mips{order}": _mips("mips", order, "/lib") + _mips("mipsn32", order, "/lib32") for order in ("", "el")},
    **{f"mips64{order}": _mips("mips64", order, "/lib64") for order in ("", "el")},
}


class Interpreter(Check):
    """The program names the system's loader as its interpreter.

    What it protects
    ----------------
    The kernel runs the program interpreter first, with all rights of the program, before any library is searched. A
    path of the build machine does not exist where the program runs, or belongs to someone else there.

    Evidence
    --------
    PT_INTERP: an absolute path, ended by a NUL inside its segment, and one of those that GCC gives to programs for
    this machine with glibc, musl or bionic. Where other paths are right (another prefix, /nix/store, uClibc), the
    parameter `allow` takes glob patterns. A program that needs libraries and names no interpreter fails: nothing loads
    them. Whether the path exists is not looked at.

    When it does not apply
    ----------------------
    Libraries without PT_INTERP, which most have not; programs that need no library and name no interpreter; objects
    and archives. For machines of which no path is known here, an absolute one is unknown.

    Fix
    ---
    Drop -Wl,--dynamic-linker (-Wl,-I), or allow the path.

    References
    ----------
    System V gABI, "Program Interpreter"; Linux fs/binfmt_elf.c (load_elf_binary); GCC gcc/config/*/linux*.h
    (GLIBC_DYNAMIC_LINKER, MUSL_DYNAMIC_LINKER, BIONIC_DYNAMIC_LINKER); glibc shlib-versions.
    """

    name = "interpreter"
    label = "Known program interpreter"
    kinds = LINKED
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "allow": Parameter((), (), "glob patterns of further paths that are accepted, for example /nix/store/*")
    }

    def inapplicable(self, facts: ElfFacts) -> str:
        if facts.interpreter is not None:
            return ""
        if facts.kind.is_library:
            return "a library without program interpreter"
        needs = facts.dynamic is not None and facts.dynamic.needed
        return "" if needs else "needs no library and no program interpreter"

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        path, segment = facts.interpreter, facts.segment(PT_INTERP)
        if path is None or segment is None:
            needed = facts.dynamic.needed if facts.dynamic is not None else ()
            return self.failed(
                f"no program interpreter: nothing loads {', '.join(needed[:3])}",
                Evidence("program headers", "no PT_INTERP"),
                remedy="link without -Wl,--no-dynamic-linker, or statically",
                interpreter=None,
            )
        known = _KNOWN.get(facts.machine.name)
        seen = Evidence("program headers", f"PT_INTERP {path}")
        if "\\" not in path and segment.filesz <= len(path.encode()):  # escapes are longer than what they stand for
            why = "is not ended by a NUL: the kernel refuses it"
        elif any(fnmatch.fnmatchcase(path, pattern) for pattern in parameters["allow"]):
            return self.passed(f"interpreter {path} (allowed)", seen, interpreter=path)
        elif not path.startswith("/"):
            why = "is no absolute path: it lies below the current directory of whoever starts the program"
        elif known is None:
            summary = f"interpreter {path}: none is known here for {facts.machine.name}"
            return self.unknown(summary, seen, remedy="allow the path if it is right", interpreter=path)
        elif path not in known:
            why = f"is none of those known for {facts.machine.name}"
        else:
            return self.passed(f"interpreter {path}", seen, interpreter=path)
        return self.failed(
            f"program interpreter {path!r} {why}",
            seen,
            remedy="drop -Wl,--dynamic-linker, or name the path in the parameter allow",
            interpreter=path,
        )
