"""What the built-in profiles are tried on: a hardened build, and for each check a build that lacks only it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Artifact
from pytest_hardening.recipe import CompileCommand, Fragment, Recipe
from pytest_hardening.toolchain import Kind

__all__ = [
    "BREAKS",
    "CET",
    "PRODUCTS",
    "TOOLCHAINS",
    "Break",
    "Product",
    "Toolchain",
    "make",
    "recorded",
    "toolchain_of",
]

# FORTIFY: a size that is known at run time only (level 3), and a printf that is not folded (level 2). Canary: an array
# whose address is given away. Stack clash: a frame of many pages. Position-independence: an exported variable.
UNIT = """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int shown;
int shown;
int *counter(void) { return &shown; }

char *copy_of(const char *text, size_t size)
{
    char *copy = malloc(size);

    if (copy != NULL)
        strcpy(copy, text);
    return copy;
}

size_t first_block(const char *path)
{
    char block[200000];
    FILE *stream = fopen(path, "r");
    size_t size = 0;

    if (stream != NULL) {
        size = fread(block, 1, sizeof block, stream);
        fclose(stream);
    }
    return size;
}

int show(const char *text)
{
    char line[64];

    snprintf(line, sizeof line - 1, "%d: %s", ++*counter(), text);
    return printf("%s %zu\\n", line, first_block(line));
}
"""
MAIN = "int show(const char *); int main(int count, char **words) { return show(words[count - 1]) < 0; }\n"
# what the library exports cannot be inlined, so its operator[] tells whether it checks its index
CONTAINER = "#include <vector>\ntemplate class std::vector<int>;\n"
WRITABLE_CODE = '__asm__(".pushsection .patchable, \\"awx\\", %progbits\\n.zero 64\\n.popsection");\n'

COMPILE = (
    *("-Wformat", "-Werror=format-security"),
    *("-O2", "-g", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3", "-D_GLIBCXX_ASSERTIONS"),
    *("-fstack-protector-strong", "-fstack-clash-protection"),
    *("-ftrivial-auto-var-init=zero", "-fno-delete-null-pointer-checks", "-fno-strict-aliasing"),
)
LINK = ("-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack")
BIDI_NAME = 'int sum(int) __asm__("sum\u202emus");\nint sum(int a) { return a + a; }\n'
SONAME = "-Wl,-soname,plugin.so"
CET = "-fcf-protection=full"
ABSOLUTE = ("-fno-pic", "-mcmodel=large")

#: A plug-in, a program, an object, and a plug-in of C++.
Product = Literal["module", "program", "object", "c++"]
PRODUCTS: tuple[Product, ...] = ("module", "program", "object", "c++")
_KINDS: Mapping[Product, Kind] = {
    "module": "shared-library",
    "program": "executable",
    "object": "object",
    "c++": "shared-library",
}


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Compilers and what they are told besides `COMPILE` and `LINK`."""

    cc: str
    cxx: str = ""
    compile: tuple[str, ...] = ()
    link: tuple[str, ...] = ()


# What each profile is about: GCC and GNU ld, musl, and clang with lld, which alone has all that OpenSSF asks for. There
# is no Android here: of its profile all but the C library is tried, on files for glibc that Android's tools would link.
TOOLCHAINS: Mapping[str, Toolchain] = {
    "gcc": Toolchain("gcc", "g++", (CET,)),
    "musl": Toolchain("musl-gcc", "g++", (CET,)),
    "clang": Toolchain(
        "clang-19", "clang++-19", (CET, "-grecord-command-line", "-fstrict-flex-arrays=3"), ("-fuse-ld=lld",)
    ),
    "android": Toolchain("clang-19", "clang++-19", (CET,), ("-fuse-ld=lld", SONAME)),
}
_OTHERS = {"alpine": "musl", "android": "android", "openssf": "clang"}


def toolchain_of(profile: str) -> Toolchain:
    return TOOLCHAINS[_OTHERS.get(profile, "gcc")]


@dataclass(frozen=True, slots=True)
class Break:
    """How a build loses one mitigation.

    Parameters
    ----------
    product: what is built.
    compile, link: flags that come after the others and win.
    sources: files that are added.
    drop: flags of the toolchain that are left out.
    full_relro: whether full RELRO is lost with it, because it cannot be had without.
    """

    product: Product
    compile: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    full_relro: bool = False


BREAKS: Mapping[str, Break] = {
    "pie": Break("program", link=("-no-pie",)),
    "pic": Break("object", compile=ABSOLUTE),
    # in a program, because the code of a library that has them is not position-independent either
    "text-relocations": Break("program", compile=ABSOLUTE, link=("-Wl,-z,notext",)),
    "relro": Break("module", link=("-Wl,-z,norelro",)),
    "bind-now": Break("module", link=("-Wl,-z,lazy",), full_relro=True),
    "nx-stack": Break("module", link=("-Wl,-z,execstack",)),
    "rwx-segments": Break("module", sources=(("patchable.c", WRITABLE_CODE),)),
    "rpath": Break("module", link=("-Wl,-rpath,/tmp/lib",)),
    "stack-protector": Break("module", compile=("-fno-stack-protector",)),
    "stack-clash": Break("module", compile=("-fno-stack-clash-protection",)),
    "fortify": Break("module", compile=("-U_FORTIFY_SOURCE",)),
    "cf-protection": Break("module", compile=("-fcf-protection=none",)),
    "format-security": Break("module", compile=("-Wno-format-security",)),
    "optimization": Break("module", compile=("-O1",)),
    "glibcxx-assertions": Break("c++", compile=("-U_GLIBCXX_ASSERTIONS",)),
    "auto-var-init": Break("module", compile=("-ftrivial-auto-var-init=uninitialized",)),
    "strict-flex-arrays": Break("module", compile=("-fstrict-flex-arrays=2",)),
    "recorded-flags": Break("module", compile=("-fstrict-aliasing",)),
    "sanitizers": Break("module", compile=("-pg",)),
    "lto-bytecode": Break("object", compile=("-flto", "-ffat-lto-objects")),
    "bidi-names": Break("module", sources=(("name.c", BIDI_NAME),)),
    "soname": Break("module", drop=(SONAME,)),
    "nodlopen": Break("module", link=("-Wl,-z,nodlopen",)),
    "build-id": Break("module", link=("-Wl,--build-id=none",)),
}


_NAMES: Mapping[Product, str] = {"module": "plugin.so", "program": "program", "object": "unit.o", "c++": "container.so"}
_CODE: Mapping[Product, tuple[str, ...]] = {
    "module": ("-fPIC",),
    "program": ("-fPIE",),
    "object": ("-fPIC",),
    "c++": ("-fPIC",),
}


def make(build: CompileC, toolchain: Toolchain, how: Break) -> Path:
    """Build a product; `Break(product)` alone breaks nothing."""
    units = _units(how)
    chosen = [flag for flag in toolchain.link if flag not in how.drop]
    link = [*LINK, *chosen, *(["-pie"] if how.product == "program" else []), *how.link]
    return build(
        units,
        kind=_KINDS[how.product],
        flags=_flags(toolchain, how),
        link_flags=[] if how.product == "object" else link,
        compiler=toolchain.cxx if how.product == "c++" else toolchain.cc,
        name=_NAMES[how.product],
    )


def recorded(path: Path, toolchain: Toolchain, how: Break) -> Artifact:
    """The product with the commands that made it, as a build system records them."""
    fragments = (Fragment(shlex.join(_flags(toolchain, how))),)
    language = "CXX" if how.product == "c++" else "C"
    units = tuple(CompileCommand(str(path.parent / name), language, fragments) for name in _units(how))
    return Artifact(str(path), path.name, recipe=Recipe(units=units))


def _units(how: Break) -> dict[str, str]:
    units = {"container.cc": CONTAINER} if how.product == "c++" else {"unit.c": UNIT, **dict(how.sources)}
    return {**units, "main.c": MAIN} if how.product == "program" else units


def _flags(toolchain: Toolchain, how: Break) -> list[str]:
    return [*COMPILE, *toolchain.compile, *_CODE[how.product], *how.compile]
