"""Units that leave no record of themselves: whether a file with debug information may hold one.

A unit without debug information shows in the symbol table: by functions that no other unit holds, and by the name of
its source. All that is lost where local symbols were dropped (-Wl,-x), the name after link-time optimisation, too.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from . import layout as elf
from .debug_ranges import Range
from .facts import Unit
from .image import Image
from .layout import RawSymbol
from .symbols import symbol_section

__all__ = ["Described", "hidden_units"]

# functions that come with the toolchain and that no unit describes: of start files (the same sources, and musl's crt/),
# of glibc's libc_nonshared.a, of libgcc (its manual, "The GCC low-level runtime library"), of SafeStack
# (compiler-rt/lib/safestack); what compilers and linkers make themselves: thunks and veneers, virtual thunks and
# wrappers of thread-local variables (Itanium C++ ABI)
_OF_TOOLCHAIN = re.compile(
    r"(_start|_start_c|__start|_init|_fini|(de)?register_tm_clones|frame_dummy|__do_global_[cd]tors_aux|call_weak_fn|"
    r"set_fast_math|_dl_relocate_static_pie|__libc_csu_(init|fini|irel)|__gmon_start__|__stack_chk_fail_local|"
    r"__clang_call_terminate|__clear_cache|__aarch64_sync_cache_range|__trampoline_setup|__cpu_indicator_init|"
    r"_dl_start_profile)$|__x86[._](get_pc_thunk|indirect_thunk|return_thunk)|_Unwind_|__aeabi_|"
    r"__aarch64_(cas|swp|ld(add|clr|eor|set))\d|__gnu_(f2h|h2f|d2h|thumb|ldiv|uldiv)|_(save|rest)(gpr|fpr|vr)[01]?_|"
    r"__riscv_(save|restore)_|__(u?div(mod)?|u?mod|mul|add|sub|neg|abs|ashl?r?|lshr|u?cmp|popcount|parity|c[lt]z|ffs|"
    r"bswap|fix(uns)?|float(un)?|extend|trunc|powi|mulv|addv|subv|negv|absv|eq|ne|lt|le|gt|ge|unord)"
    r"[sdtxhqo][icf][a-z]{0,2}[1-4]?$|_ZT[hvcWH]|_ZN1[14]__(sanitizer|interception)|__interceptor_|__safestack_|"
    r"__get_unsafe_stack_|_ZN12_GLOBAL__N_1(12thread_startEPv|22thread_cleanup_handlerEPv)$|"
    r"__\w+(_veneer|_from_thumb|_from_arm|Thunk_\w+)$|\d{8}\.plt_call\."
)
# more of libc_nonshared.a and libgcc: hidden ones, which are local in linked files, and static ones (glibc stdlib/,
# io/, nptl/; libgcc config/aarch64/lse-init.c, config/i386/cpuinfo.c); SafeStack's weak pthread_create
_LOCAL_OF_TOOLCHAIN = frozenset(
    "atexit at_quick_exit stat stat64 fstat fstat64 lstat lstat64 fstatat fstatat64 mknod mknodat pthread_atfork "
    "__pthread_atfork init_have_lse_atomics has_cpu_feature get_available_features set_cpu_feature "
    "cpu_indicator_init get_intel_cpu get_amd_cpu get_zhaoxin_cpu pthread_create".split()
)
_NO_NAMES = "the symbol table does not name the sources, so that units without debug information leave no trace"
_NO_TABLE = "no symbol table can be read, so that units without debug information leave no trace"
_LTO = "link-time optimisation leaves no trace of units without debug information"
_LTO_INLINED = "link-time optimisation made functions of a unit without debug information part of others"


class Described:
    """The code that the debug information describes.

    Parameters
    ----------
    ranges: by section in object files.
    inlined: whether link-time optimisation put functions into others whose unit has no debug information. GCC then
        writes a DW_TAG_inlined_subroutine that leads nowhere.
    """

    def __init__(self) -> None:
        self.ranges: list[Range] = []
        self.inlined = False

    def without(self, symbols: Iterable[RawSymbol], *, linked: bool) -> Iterator[RawSymbol]:
        """The symbols whose address no range covers."""
        starts: dict[int, list[int]] = {}
        ends: dict[int, list[int]] = {}
        for start, end, section in sorted(self.ranges):
            reach = ends.setdefault(section, [])
            starts.setdefault(section, []).append(start)
            reach.append(max(end, reach[-1]) if reach else end)
        for symbol in symbols:
            section = 0 if linked else symbol.shndx
            index = bisect_right(starts.get(section, []), symbol.value) - 1
            if index < 0 or symbol.value >= ends[section][index]:
                yield symbol


def hidden_units(image: Image, described: Described, units: list[Unit], *, linked: bool, static: bool) -> str:
    """Why there may be a unit that nothing names, as a sentence; empty where all are known.

    Parameters
    ----------
    image: the file that holds the symbol table.
    described: what the debug information describes. units: the units that it names.
    linked: whether addresses are the program's, not those of sections. static: whether libraries' functions lie inside.

    Raises
    ------
    ArtifactError: the symbol table is damaged.
    """
    if not units:
        return ""
    table = symbol_section(image)
    if not len(table):
        return _NO_TABLE
    optimised = [unit for unit in units if any(flag.startswith("-flto") for flag in unit.flags or ())]
    whole = any(section.name == ".llvm.lto" for section in image.sections)  # an object with bytecode beside its code
    if (static and optimised) or (not whole and any(unit.compiler != "gcc" for unit in optimised)):
        return _LTO
    if described.inlined:
        return _LTO_INLINED
    if not static and (stray := _stray_function(image, described, linked=linked)):
        return f"{stray}() lies in no unit that the debug information describes"
    names = {os.path.basename(table.name(symbol)) for symbol in table if symbol.info & 15 == elf.STT_FILE}
    sources = {os.path.basename(unit.name) for unit in units if unit.is_c_family or not unit.language}
    if sources <= names or (optimised and names):
        return ""
    return _NO_NAMES


def _stray_function(image: Image, described: Described, *, linked: bool) -> str:
    """The first function that no unit holds, but for those that come with the toolchain; empty where there is none."""
    table = symbol_section(image)
    executable = {index for index, section in enumerate(image.sections) if section.executable}
    functions = (
        symbol
        for symbol in table
        if symbol.info & 15 in (elf.STT_FUNC, elf.STT_GNU_IFUNC) and symbol.size and symbol.shndx in executable
    )
    if linked:  # what the linker left out seems to begin at 0
        first = min((image.sections[index].addr for index in executable), default=0)
        described.ranges = [place for place in described.ranges if place.start >= first]
    for symbol in described.without(functions, linked=linked):
        name = table.name(symbol)
        local = symbol.info >> 4 != elf.STB_GLOBAL and name.partition(".")[0] in _LOCAL_OF_TOOLCHAIN
        if not local and not _OF_TOOLCHAIN.match(name):
            return name
    return ""
