"""Which Debian package holds a compiler or build tool, so that "not found" can say what to install.

The names hold for Debian 11 and later and for Ubuntu; `apt-get install` with the wrong name would be worse than no
advice, so a command that no rule below covers gets a generic sentence instead.
"""

from __future__ import annotations

import os
import re
import shutil
from operator import methodcaller
from pathlib import Path

from pytest_hardening.errors import HardeningError, ToolchainError

__all__ = ["debian_package", "find_tool", "install_advice"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

# Commands whose package has another name than a rule below would give.
PACKAGES = {
    "ar": "binutils",
    "as": "binutils",
    "autoreconf": "autoconf",
    "automake": "automake",
    "avr-gcc": "gcc-avr",
    "bear": "bear",
    "c++": "g++",
    "c89": "gcc",
    "c99": "gcc",
    "cc": "gcc",
    "ccache": "ccache",
    "clang": "clang",
    "clang++": "clang",
    "cmake": "cmake",
    "dh": "debhelper",
    "dpkg-buildflags": "dpkg-dev",
    "dpkg-buildpackage": "dpkg-dev",
    "g++": "g++",
    "gcc": "gcc",
    "gmake": "make",
    "gold": "binutils",
    "gst-inspect-1.0": "gstreamer1.0-tools",
    "gst-launch-1.0": "gstreamer1.0-tools",
    "ld": "binutils",
    "ld.bfd": "binutils",
    "ld.gold": "binutils",
    "ld.lld": "lld",
    "libtoolize": "libtool",
    "lld": "lld",
    "llvm-ar": "llvm",
    "llvm-objcopy": "llvm",
    "llvm-strip": "llvm",
    "make": "make",
    "meson": "meson",
    "mold": "mold",
    "musl-gcc": "musl-tools",
    "ninja": "ninja-build",
    "nm": "binutils",
    "objcopy": "binutils",
    "objdump": "binutils",
    "patchelf": "patchelf",
    "pkg-config": "pkg-config",
    "prlimit": "util-linux",
    "ranlib": "binutils",
    "readelf": "binutils",
    "rpmbuild": "rpm",
    "setpriv": "util-linux",
    "strip": "binutils",
    "tcc": "tcc",
}

# Tried in order, on the whole command name; the groups fill the template.
RULES = (
    (re.compile(r"(gcc|g\+\+|clang)(-\d+)"), "{0}{1}"),
    (re.compile(r"clang\+\+(-\d+)"), "clang{0}"),
    (re.compile(r"(?:ld\.)?lld(-\d+)"), "lld{0}"),
    (re.compile(r"llvm-(?:ar|objcopy|strip|nm)(-\d+)"), "llvm{0}"),
    (re.compile(r"[a-z0-9_]+-linux-musl[a-z]*-gcc"), "musl-tools"),
    (re.compile(r"(arm-none-eabi|riscv64-unknown-elf)-gcc"), "gcc-{0}"),
    (re.compile(r"qemu-(?!system)\w+"), "qemu-user"),
)

# The targets that Debian 12 has cross compilers for; for any other triple the package's name is not known.
CROSS_TARGETS = frozenset(
    {
        "aarch64-linux-gnu",
        "alpha-linux-gnu",
        "arc-linux-gnu",
        "arm-linux-gnueabi",
        "arm-linux-gnueabihf",
        "hppa-linux-gnu",
        "i686-linux-gnu",
        "m68k-linux-gnu",
        "mips-linux-gnu",
        "mips64-linux-gnuabi64",
        "mips64el-linux-gnuabi64",
        "mipsel-linux-gnu",
        "mipsisa32r6-linux-gnu",
        "mipsisa32r6el-linux-gnu",
        "mipsisa64r6-linux-gnuabi64",
        "mipsisa64r6el-linux-gnuabi64",
        "powerpc-linux-gnu",
        "powerpc64-linux-gnu",
        "powerpc64le-linux-gnu",
        "riscv64-linux-gnu",
        "s390x-linux-gnu",
        "sh4-linux-gnu",
        "sparc64-linux-gnu",
        "x86_64-linux-gnu",
        "x86_64-linux-gnux32",
    }
)

# aarch64-linux-gnu-gcc-11 is in gcc-11-aarch64-linux-gnu, its ar in binutils-aarch64-linux-gnu.
_CROSS = re.compile(
    r"(?P<target>\w+-linux-gnu[a-z0-9]*)"
    r"-(?:(?P<driver>gcc|g\+\+)(?P<version>-\d+)?|ar|as|ld|nm|objcopy|objdump|ranlib|strip)"
)


def debian_package(command: str) -> str | None:
    """Return the Debian package that holds a command.

    `command` is a name such as `aarch64-linux-gnu-gcc`, or a path to one. None when no rule covers it.
    """
    name = command.rsplit("/", 1)[-1]
    if name in PACKAGES:
        return PACKAGES[name]
    for pattern, template in RULES:
        if match := pattern.fullmatch(name):
            return template.format(*match.groups())
    if (match := _CROSS.fullmatch(name)) and match["target"] in CROSS_TARGETS:
        package = (match["driver"] or "binutils") + (match["version"] or "")
        # The machine's own compiler answers to its full name too. A package's name holds no underscore.
        native = match["target"] == f"{os.uname().machine}-linux-gnu"
        return package if native else f"{package}-{match['target'].replace('_', '-')}"
    return None


def install_advice(command: str) -> str:
    """Return one clause that says how to get a missing command: the apt-get line where the package is known."""
    package = debian_package(command)
    if package is None:
        return "it is not on PATH, and no Debian package is known for it"
    return f"install it with: apt-get install {package}"


def find_tool(command: str) -> Path:
    """Find a build tool on PATH.

    `command` is a name such as `cmake`, or a path. The path returned is absolute; symbolic links in it are kept, as
    tools look at the name that they were started with.

    Raises `ToolchainError`, with the apt-get line that installs it, when there is none.
    """
    found = shutil.which(command)
    if found is None:
        raise ToolchainError(f"{command!r} not found: {install_advice(command)}")
    return Path(found).absolute()
