"""The toolchains that the tests ask: all that apt-packages.txt and the test extra bring, each with what it must be."""

from __future__ import annotations

import shlex
import sys
from typing import NamedTuple

__all__ = ["HERE", "Here"]


class Here(NamedTuple):
    """A command, and what the toolchain must say of itself; ids without the version."""

    command: str
    family: str
    machine: str
    target: str
    libc: str = "glibc"
    linker: str = "GNU ld"

    @property
    def id(self) -> str:
        """What tests are called, wherever Python lies."""
        return "zig" if self.family == "zig" else self.command


HERE = (
    Here("gcc-12", "gcc", "x86_64", "x86_64-linux-gnu"),
    Here("gcc-11", "gcc", "x86_64", "x86_64-linux-gnu"),
    Here("gcc -m32", "gcc", "i386", "i386-linux-gnu"),
    Here("clang-14", "clang", "x86_64", "x86_64-pc-linux-gnu"),
    Here("clang-16", "clang", "x86_64", "x86_64-pc-linux-gnu"),
    Here("clang-19", "clang", "x86_64", "x86_64-pc-linux-gnu"),
    Here("musl-gcc", "gcc", "x86_64", "x86_64-linux-musl", libc="musl"),
    Here("tcc", "tcc", "x86_64", "x86_64-linux", linker="tcc"),
    Here("aarch64-linux-gnu-gcc", "gcc", "aarch64", "aarch64-linux-gnu"),
    Here("arm-linux-gnueabihf-gcc", "gcc", "armhf", "arm-linux-gnueabihf"),
    Here("powerpc64le-linux-gnu-gcc", "gcc", "ppc64le", "powerpc64le-linux-gnu"),
    Here("s390x-linux-gnu-gcc", "gcc", "s390x", "s390x-linux-gnu"),
    Here("riscv64-linux-gnu-gcc", "gcc", "riscv64", "riscv64-linux-gnu"),
    Here(f"{shlex.quote(sys.executable)} -m ziglang cc", "zig", "x86_64", "x86_64-unknown-linux-musl", linker=""),
)
