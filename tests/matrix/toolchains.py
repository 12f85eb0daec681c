"""The toolchains of the matrix: everything Debian 12 offers that makes ELF files of C or C++."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["TOOLCHAINS", "Toolchain"]

Linker = Literal["bfd", "gold", "lld", "tcc"]
Link = Literal["dynamic", "static", "static-pie"]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler with a linker and the way it is used.

    Parameters
    ----------
    name: how test items and artifacts call it.
    command: the compiler with the arguments that belong to it.
    family: "gcc", "clang" or "tcc".
    machine: "x86-64", "x86", "aarch64", "arm", "ppc64le", "s390x" or "riscv64".
    libc: "glibc" or "musl".
    prefix: what the names of its binutils begin with.
    linker: which linker its driver runs; `link_flags` choose it.
    link: how its programs are linked; there are no libraries where it is not "dynamic".
    lto: whether units are compiled to bytecode (`-flto`).
    absolute: flags that make code that is not position-independent, and yet one that the linker accepts with
    `-z notext` in what `absolute_products` names.
    """

    name: str
    command: tuple[str, ...]
    family: Literal["gcc", "clang", "tcc"] = "gcc"
    cplusplus: bool = False
    machine: str = "x86-64"
    libc: Literal["glibc", "musl"] = "glibc"
    prefix: str = ""
    linker: Linker = "bfd"
    link_flags: tuple[str, ...] = ()
    link: Link = "dynamic"
    lto: bool = False
    absolute: tuple[str, ...] = ("-fno-pic", "-mcmodel=large")
    absolute_products: tuple[str, ...] = ("library", "program")

    @property
    def suffix(self) -> str:
        return ".cc" if self.cplusplus else ".c"

    @property
    def is_x86(self) -> bool:
        return self.machine in ("x86-64", "x86")

    @property
    def archiver(self) -> str:
        """An `ar` that writes the index of archives of bytecode too; lld needs no index."""
        return "gcc-ar" if self.lto and self.family == "gcc" else f"{self.prefix}ar"

    @property
    def strip(self) -> str:
        return f"{self.prefix}strip"

    @property
    def fortify_levels(self) -> tuple[int, ...]:
        """The levels that differ in code: GCC 11 takes 3 for 2 (features.h), tcc and musl know none."""
        if self.family == "tcc" or self.libc == "musl":
            return ()
        return (1, 2) if self.command[0].endswith("-11") else (1, 2, 3)


_GCC = Toolchain("gcc-12", ("gcc-12",))
_AARCH64 = Toolchain("aarch64", ("aarch64-linux-gnu-gcc",), machine="aarch64", prefix="aarch64-linux-gnu-")
_CLANG_19 = Toolchain("clang-19", ("clang-19",), family="clang")
_MUSL = Toolchain("musl", ("musl-gcc",), libc="musl")

TOOLCHAINS = (
    _GCC,
    Toolchain("gcc-11", ("gcc-11",)),
    Toolchain("clang-14", ("clang-14",), family="clang"),
    _CLANG_19,
    Toolchain("g++-12", ("g++-12",), cplusplus=True),
    Toolchain("g++-11", ("g++-11",), cplusplus=True),
    Toolchain("clang++-14", ("clang++-14",), family="clang", cplusplus=True),
    replace(_GCC, name="gcc-12-lld", linker="lld", link_flags=("-fuse-ld=lld",)),
    replace(_GCC, name="gcc-12-gold", linker="gold", link_flags=("-fuse-ld=gold",)),
    replace(_CLANG_19, name="clang-19-lld", linker="lld", link_flags=("-fuse-ld=lld",)),
    Toolchain("gcc-12-m32", ("gcc", "-m32"), machine="x86", absolute=("-fno-pic",)),
    _AARCH64,
    Toolchain(
        "armhf",
        ("arm-linux-gnueabihf-gcc",),
        machine="arm",
        prefix="arm-linux-gnueabihf-",
        absolute=("-fno-pic", "-mword-relocations", "-mlong-calls"),
    ),
    Toolchain(
        "ppc64le",
        ("powerpc64le-linux-gnu-gcc",),
        machine="ppc64le",
        prefix="powerpc64le-linux-gnu-",
        absolute=("-fno-pic",),
    ),
    Toolchain(
        "s390x",
        ("s390x-linux-gnu-gcc",),
        machine="s390x",
        prefix="s390x-linux-gnu-",
        absolute=("-fno-pic",),
        absolute_products=("library",),
    ),
    # GNU ld 2.40 refuses its non-PIC code, and crashes
    Toolchain(
        "riscv64",
        ("riscv64-linux-gnu-gcc",),
        machine="riscv64",
        prefix="riscv64-linux-gnu-",
        absolute=("-fno-pic",),
        absolute_products=(),
    ),
    _MUSL,
    Toolchain("tcc", ("tcc",), family="tcc", linker="tcc"),
    replace(_GCC, name="gcc-12-lto", lto=True),
    replace(_CLANG_19, name="clang-19-lto", lto=True, linker="lld", link_flags=("-fuse-ld=lld",)),
    replace(_GCC, name="gcc-12-static", link="static"),
    replace(_GCC, name="gcc-12-static-pie", link="static-pie"),
    replace(_CLANG_19, name="clang-19-static", link="static", linker="lld", link_flags=("-fuse-ld=lld",)),
    replace(_AARCH64, name="aarch64-static", link="static"),
    replace(_MUSL, name="musl-static", link="static"),
)
