"""Symbols by which instrumented code and checked headers reach their run-time support, wherever they stand.

The imports do not show all of them: what libgcov and the static sanitizer libraries define is found only in the symbol
table that `strip` removes. Of that table nothing but the names is searched, unless one of them is of interest; where it
was removed, the names of the environment variables that these libraries read may still tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..model import Kind
from . import layout as elf
from .facts import ElfFacts, RuntimeSymbols
from .image import Image
from .symbols import dynamic_symbols, symbol_section

__all__ = ["runtime_symbols"]

# What to search for, and the beginnings of names that hold it; with a NUL, whole names. Short parts that end in a rare
# letter are found ten times as fast as others. Sources: compiler-rt/lib/*,
# *_interface_internal.h and lib/profile; GCC libsanitizer and libgcc/libgcov.h; GCC manual, -pg, -mfentry and
# -finstrument-functions
_INSTRUMENTATION: dict[bytes, tuple[bytes, ...]] = {
    b"san_": (b"__asan_", b"__ubsan_", b"__tsan_", b"__msan_", b"__hwasan_", b"__lsan_"),
    b"nitiz": (b"__sanitizer_cov_", b"__sanitizer_symbolize_"),
    b"scudo": (b"__scudo_",),
    b"gcov": (b"__gcov_", b"llvm_gcov_", b"__llvm_gcov_"),
    b"llvm_profi": (b"__llvm_profile_",),
    b"mcount\0": (b"mcount\0", b"_mcount\0", b"__mcount\0"),
    b"mcount_nc\0": (b"__gnu_mcount_nc\0",),
    b"fentry__\0": (b"__fentry__\0",),
    b"_cyg_prof": (b"__cyg_profile_func_",),
}
# libstdc++ bits/c++config.h; libc++ __verbose_abort
_ASSERTIONS: dict[bytes, tuple[bytes, ...]] = {
    b"glibcxx_assert_fail": (b"_ZSt21__glibcxx_assert_failPKciS0_S0_\0",),
    b"__replacement_assert": (b"_ZSt20__replacement_assertPKciS0_S0_\0",),
    b"libcpp_verbose_abort": (b"_ZNSt3__122__libcpp_verbose_abortEPKcz\0",),
}
# read by the run-time support: libgcov-driver-system.c and GCDAProfiling.c; sanitizer_flags; InstrProfilingFile.c;
# glibc gmon/gmon.c. In a dynamic file only coverage's hides completely
_COVERAGE = b"GCOV_PREFIX\0"
_VARIABLES = (_COVERAGE, b"SAN_OPTIONS\0", b"LLVM_PROFILE_FILE\0", b"GMON_OUT_PREFIX\0")
_IMPORTS_OF_COVERAGE = (b"\0fdopen\0", b"\0mkdir\0", b"\0getenv\0")
_OVERLAP = max(map(len, _VARIABLES))
# legacy mangling of rustc: 17 characters of a hash end the path; suffixes of LLVM follow
_RUST = re.compile(rb"17h[0-9a-f]{16}E(?:$|[.$@])")
# libc++ __config since LLVM 18, _LIBCPP_ODR_SIGNATURE: an ABI tag of hardening mode, exceptions and version
_LIBCXX_TAG = re.compile(rb"B8([nfsd])[en]\d{6}")
_LIBCXX_MODES = {b"n": "none", b"f": "fast", b"s": "extensive", b"d": "debug"}
_LONGEST_NAME = 1 << 12
_MOST_HITS = 1 << 14
_MOST_SEARCHED = 1 << 28  # bytes of read-only data


def runtime_symbols(image: Image, facts: ElfFacts) -> RuntimeSymbols:
    """The names of run-time support in both symbol tables, and traces of it where symbols were stripped.

    Raises
    ------
    ArtifactError: a symbol table is damaged.
    """
    undefined: set[str] = set()
    defined: set[str] = set()
    if image.dynamic is not None and len(dynamic_symbols(image)):
        _gather(image, None, _INSTRUMENTATION, undefined, defined)
    names = symbol_section(image).strings
    if names:
        _gather(image, names, {**_INSTRUMENTATION, **_ASSERTIONS}, undefined, defined)
    stripped = not names and facts.kind is not Kind.OBJECT
    return RuntimeSymbols(
        undefined=tuple(sorted(undefined)),
        defined=tuple(sorted(defined)),
        stripped=stripped,
        traces=_variables(image, facts) if stripped else (),
        libcxx_modes=_libcxx_modes(names),
        cplusplus=any(map(_is_cplusplus, (names, image.dynamic_strings() if image.dynamic is not None else b""))),
    )


def _is_cplusplus(names: bytes) -> bool:
    """Whether a string table holds a name that C++ mangled. Rust's older mangling looks alike but for its end."""
    found = names.find(b"\0_Z")
    for _ in range(_MOST_HITS):
        if found < 0:
            break
        end = names.find(b"\0", found + 1, found + _LONGEST_NAME)
        if not _RUST.search(names, found + 1, end if end > 0 else found + 1):
            return True
        found = names.find(b"\0_Z", found + 1)
    return False


def _libcxx_modes(names: bytes) -> tuple[str, ...]:
    found = set(_LIBCXX_TAG.findall(names))
    return tuple(mode for letter, mode in _LIBCXX_MODES.items() if letter in found)


def _gather(
    image: Image, names: bytes | None, wanted: dict[bytes, tuple[bytes, ...]], undefined: set[str], defined: set[str]
) -> None:
    """Look into the symbol table with these names, or into the dynamic one."""
    places = set(_places(image.dynamic_strings() if names is None else names, wanted))
    if not places:
        return
    table = dynamic_symbols(image) if names is None else symbol_section(image)
    for symbol in table:
        if symbol.name in places:
            (undefined if symbol.shndx == elf.SHN_UNDEF else defined).add(table.name(symbol))


def _places(names: bytes, wanted: dict[bytes, tuple[bytes, ...]]) -> Iterator[int]:
    """The offsets at which a name of interest begins; linkers let a name be the end of a longer one."""
    for part, beginnings in wanted.items():
        found = names.find(part)
        for _ in range(_MOST_HITS):
            if found < 0:
                break
            for beginning in beginnings:
                start = found - beginning.index(part)
                if start >= 0 and names.startswith(beginning, start):
                    yield start
            found = names.find(part, found + 1)


def _variables(image: Image, facts: ElfFacts) -> tuple[str, ...]:
    """The environment variables of runtimes that the read-only data names."""
    if "go" in facts.compilers and image.dynamic is None:
        return ()
    wanted: tuple[bytes, ...] = _VARIABLES
    if image.dynamic is not None and not facts.kind.is_static:
        strings = image.dynamic_strings()
        if not all(name in strings for name in _IMPORTS_OF_COVERAGE):
            return ()
        wanted = (_COVERAGE,)
    left = _MOST_SEARCHED
    found: dict[bytes, None] = {}
    for offset, size in _constants(image):
        before = b""
        for piece in image.source.chunks(offset, min(size, left), 1):
            edge = before + piece[:_OVERLAP]
            found.update(dict.fromkeys(text for text in wanted if text in piece or text in edge))
            before = piece[-_OVERLAP:]
            left -= len(piece)
    return tuple(text[:-1].decode() for text in found)


def _constants(image: Image) -> list[tuple[int, int]]:
    """Offset and size of what string literals lie in: a section, or segments where there are no section headers."""
    sections = [(s.offset, s.size) for s in image.sections if s.name == ".rodata" and s.type == elf.SHT_PROGBITS]
    return sections or [
        (s.offset, s.filesz) for s in image.segments if s.type == elf.PT_LOAD and not s.flags & elf.PF_W
    ]
