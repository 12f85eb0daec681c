"""Code of other languages than C and its relatives, whose compilers know nothing of the mitigations of C.

A linked file does not say which function was compiled from what, unless debug information tells. Names tell for some;
for what is stripped, what the languages' run-time libraries leave in a file tells that there may be such code.
"""

from __future__ import annotations

import re

from .. import layout as elf
from ..facts import ElfFacts
from ..image import Image

__all__ = ["calls_rust_main", "is_foreign", "languages_in"]

# symbol names: Rust (RFC 2603, and the older mangling with a hash), D (its ABI, "Name Mangling"), Go (package.function,
# path/package.function), OCaml, Swift, Ada's library and elaboration procedures
_NAMES = re.compile(
    r"_R[NIMXY]\w*C(s[0-9A-Za-z]*_)?\d|_ZN.*17h[0-9a-f]{16}E|_D\d|caml[A-Z]\w*__\w*(_\d+|entry)$|\$s\w|(main|runtime|reflect|sync|syscall|go)\.[A-Za-z(*]|"
    r"[\w.]+/[\w./]*\w\.[A-Za-z(*]|ada__|\w+___elab[bs]$"
)

# libraries that only programs of a language need
_LIBRARIES = {
    "Rust": re.compile(r"lib(std|rustc_driver|test)-[0-9a-f]{16}\.so"),
    "Go": re.compile(r"libgo\.so"),
    "Ada": re.compile(r"libgna(t|rl)-"),
    "Fortran": re.compile(r"libgfortran\.so|libflang"),
    "D": re.compile(r"lib(g?phobos|druntime|phobos2-ldc)"),
    "Haskell": re.compile(r"libHS"),
    "Swift": re.compile(r"libswiftCore"),
}
# texts that the run-time libraries leave in a stripped file: paths in the messages of Rust's core and std, OCaml's and
# GHC's run-time options, Pascal's version string
_TEXTS = {
    "Rust": (b"library/core/src/", b"library/std/src/", b"src/libcore/", b"src/libstd/", b"/rustc/"),
    "OCaml": (b"OCAMLRUNPARAM\0",),
    "Haskell": (b"GHCRTS\0",),
    "Pascal": (b"FPC 2.", b"FPC 3."),
    "Go": (b"\xff Go build ID:",),
    "Ada": (b"GNAT Version: ",),
}
# what GCC and LLVM append to the names of clones: gcc/cgraphclones.cc, ipa-split.cc; LLVM's ThinLTO
_CLONE = re.compile(r"\.(constprop|isra|part|lto_priv|cold|localalias|llvm|resolver|default|avx|sse|arch_)")
_COMPILERS = {"rustc": "Rust", "go": "Go", "d": "D", "ghc": "Haskell"}
_MOST_SEARCHED = 1 << 26  # bytes
_OVERLAP = 32


def is_foreign(name: str) -> bool:
    """Whether a symbol's name is one that only other languages' compilers make."""
    return _NAMES.match(name) is not None and _CLONE.search(name) is None


def calls_rust_main(names: bytes) -> bool:
    """Whether the names in a symbol table tell that `main` is what rustc makes: it calls std::rt::lang_start."""
    return b"2rt19lang_start_internal" in names or b"2rt10lang_start" in names


def languages_in(image: Image, facts: ElfFacts) -> tuple[str, ...]:
    """Other languages that some of the code may be compiled from."""
    found = {_COMPILERS[name] for name in facts.compilers if name in _COMPILERS}
    if facts.dynamic is not None:
        for library in facts.dynamic.needed:
            found.update(language for language, pattern in _LIBRARIES.items() if pattern.match(library))
    left = _MOST_SEARCHED
    loaded = [s for s in image.segments if s.type == elf.PT_LOAD]
    constant = [s for s in loaded if not s.flags & (elf.PF_X | elf.PF_W)] or loaded
    for offset, size in ((s.offset, s.filesz) for s in constant):
        before = b""
        for piece in image.source.chunks(offset, min(size, left), 1):
            left -= len(piece)
            text = before + piece
            for language, marks in _TEXTS.items():
                if language not in found and any(mark in text for mark in marks):
                    found.add(language)
            before = piece[-_OVERLAP:]
    return tuple(sorted(found))
