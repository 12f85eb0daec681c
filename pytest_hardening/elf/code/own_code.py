"""Which functions of a file are its own: not those of start files, the compiler's library, the C library.

Linkers keep the order of their inputs. So behind `frame_dummy`, the last function of GCC's crtbegin, stands the user's
code, and behind that the libraries' (seen with GNU ld, gold and lld, glibc and musl). The first function whose name is
reserved or the C library's ends it: rather a function too few than a library's blamed on the user. Code in .text.hot,
.text.startup, sections of its own and so on stands elsewhere, the user's and the libraries': of it only `main` is
certain, and the rest are strays.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from .. import layout as elf
from ..facts import ElfFacts, Section, Units
from ..image import Image
from ..symbols import symbol_section
from .functions import FunctionList
from .pointer_arguments import BLOCKS, OBJECTS, TEXTS

__all__ = [
    "Own",
    "is_cold",
    "is_hidden_runtime",
    "is_runtime",
    "is_runtime_file",
    "is_start_file",
    "own_functions",
    "whole_name",
]

# Start files: glibc csu/ and sysdeps/*/{start,crti,crtn}.S, libgcc/crtstuff.c, musl crt/. libc_nonshared.a: glibc
# stdlib/at_quick_exit.c, stdlib/atexit.c, io/*stat*.c, nptl/pthread_atfork.c, debug/stack_chk_fail_local.c,
# csu/elf-init.c
_START = frozenset(
    """
    _start _start_c __start _init _fini deregister_tm_clones register_tm_clones __do_global_dtors_aux frame_dummy
    call_weak_fn set_fast_math abi_tag __libc_csu_init __libc_csu_fini _dl_relocate_static_pie __libc_csu_irel
    __gmon_start__ __do_global_ctors_aux load_gp _dl_start_profile __libc_start_main_impl
    atexit at_quick_exit __pthread_atfork pthread_atfork init_have_lse_atomics __stack_chk_fail_local __stack_chk_fail
    """.split()
)
# what a program may call its own functions, too: hidden ones of libc_nonshared.a
_HIDDEN = frozenset("stat stat64 fstat fstat64 lstat lstat64 fstatat fstatat64 mknod mknodat".split())
# what compilers and linkers make of their own accord, libgcc's unwinder, split stacks and profiles, which others may
# call; _savegpr0_14 and so on of Power, __riscv_save_*, the linker's own thunks and veneers
_RUNTIME = re.compile(
    r"__x86\.get_pc_thunk\.|_Unwind_|__(de)?register_frame|__frame_state_for|__gcc_personality|__morestack|"
    r"__generic_morestack|__splitstack|__gcov_|__llvm_|__aeabi_unwind_cpp_pr|_(save|rest)(gpr|fpr|vr)[01]?_\d|"
    r"__riscv_(save|restore)_|__[\w.]*(_veneer|_from_thumb|_from_arm)$|\d{8}\.plt_call\.|__[A-Za-z0-9]+Thunk_|"
    r"__ThumbV\w+$"
)
# libgcc: its manual "Routines for integer/soft float arithmetic", with modes behind the operation; Arm's "Run-time
# ABI"; out-of-line atomics and so on. All are hidden, and so local in a linked file
_HELPERS = re.compile(
    r"__(u?div|u?mod|u?divmod|mul|add|sub|ash[lr]|lshr|neg|u?cmp|popcount|parity|c[lt]z|clrsb|ffs|bswap|fix(uns)?|"
    r"float(uns?)?|extend|trunc|powi|mulv|addv|subv|negv|absv|abs|eq|ne|lt|le|gt|ge|unord|copysign)"
    r"([qhsdt]i|[hbsdxtk][fc]|[sdt]d){1,2}[234]?(_ppc|_hw|_sw|_resolve|_ifunc|_aux)?$|__udiv_w_sdiv$|__aeabi_|"
    r"__gnu_(thumb|h2f|f2h|d2h|ldiv|uldiv|f16|unwind)|__cpu_(indicator_init|model)|__emutls_|__clear_cache$|"
    r"__enable_execute_stack$|__aarch64_(cas|swp|ld(add|clr|eor|set)|sync_cache)|__arm_set_fast_math|__sync_\w+_\d$"
)
# libgcc's unwinder: local functions beside the one that gives it away (unwind-dw2.c, unwind-dw2-fde.c, unwind-pe.h)
_UNWINDER = "_Unwind_RaiseException"
_OF_UNWINDER = re.compile(
    r"_?unwind_|uw_|read_encoded_value|base_from|execute_(cfa|stack)|size_of_encoded|search_object|linear_search|"
    r"binary_search|fde_|add_fdes|count_fdes|init_object|frame_heapsort|frame_downheap|get_cie_encoding|"
    r"classify_object|init_dwarf_reg|extract_cie|btree_|version_lock|release_registered|read_[us]leb128"
)
_RUNTIME_FILES = re.compile(r"(unwind|crtstuff|libgcc|emutls|lib[12]funcs|enable-execute-stack|generic-morestack)")
# the C++ library's names; an own instantiation of a template in `std` is lost with them
_CPLUSPLUS = re.compile(
    r"_Z(T[hvc][^S]*)?(St|N[KVRO]*(St|9__gnu_cxx|10__cxxabiv1)|GVN?St|TW|d[al]P|n[aw][mj])|__cxa_|__gxx_|__gnu_cxx"
)
_RESERVED = re.compile(r"__|_[A-Z]|_(dl|nl|int|exit|setjmp|longjmp|start|init|fini|mcleanup|mcount)|pthread_|sem_")
_C_LIBRARY = (
    frozenset(BLOCKS) | frozenset(OBJECTS) | frozenset(TEXTS)
    | frozenset(
        """
        abort abs acos asin atan atan2 brk bsearch calloc cbrt ceil clearenv clock clock_gettime close closedir cos cosh
        div exit exp exp2 fabs fclose fcntl feof ferror fflush fgetc fileno floor fmod fork fprintf fputc free frexp
        fseek ftell getc getchar getopt getopt_long getpagesize getpid gettimeofday getuid gmtime hypot ioctl isatty
        kill labs ldexp localeconv localtime log log10 log2 lround lseek malloc
        mmap modf mprotect munmap nanosleep perror pow printf putc putchar putenv qsort_r raise rand realloc rint round
        sbrk scanf select setlocale sigaction signal sigprocmask sin sincos sinh sleep sqrt srand sysconf tan tanh time
        tolower toupper trunc ungetc usleep vfprintf vprintf wait waitpid
        """.split()
    )
)  # fmt: skip
# the C library's start-up code, which is the first of what is linked from it: glibc csu/libc-start.c, musl
# src/env/__libc_start_main.c
_FIRST_OF_LIBRARY = frozenset(
    (
        "call_init call_fini handle_zhaoxin handle_amd handle_intel libc_start_init libc_start_main_stage2 dummy dummy1"
    ).split()
)
_LIBRARY_STARTS = ("__libc_start_main", "__libc_start_main_impl", "__libc_start_call_main", "libc_start_main_stage2")
_LIBRARY_SECTION = re.compile(r"\.(plt|iplt|init$|fini$)|__libc_")  # glibc: __libc_freeres_fn
_COLD = re.compile(r"\.cold(\.\d+)?$")


def is_runtime(name: str) -> bool:
    """Whether a name is that of a start file's function, or of one that the compiler's library lets others call."""
    return is_start_file(name) or _RUNTIME.match(name) is not None


def is_start_file(name: str) -> bool:
    """Whether a name is that of a start file's function, or of one of the linker's, which call nothing of interest."""
    return name in _START or name.startswith("__x86.get_pc_thunk.")


def is_cold(name: str) -> bool:
    """Whether a name is that of code split off a function: its frame was made by the one it was split from."""
    return _COLD.search(name) is not None


def whole_name(name: str) -> str:
    """The name of the function that code was split off, or the name itself."""
    return _COLD.sub("", name)


def is_runtime_file(name: str) -> bool:
    """Whether a unit is one of the compiler's library, by the name of its source file."""
    return _RUNTIME_FILES.match(name.rpartition("/")[2]) is not None


def is_hidden_runtime(functions: FunctionList, index: int) -> bool:
    """Whether a function of a linked file that is not static comes from the compiler's or the C library, going by a
    name that the user's may have, too: the libraries' are local in such a file, and the unwinder's stand beside a
    function that only it has.
    """
    if not functions.is_local(index):
        return False
    name = functions.name(index)
    if name in _HIDDEN or _HELPERS.match(name):
        return True
    return _OF_UNWINDER.match(name) is not None and functions.index_of(_UNWINDER) >= 0


class Own(NamedTuple):
    """The places of the file's own functions in its list.

    Parameters
    ----------
    strays: those that may also be a library's: no proof against the user, and no reason to call the file complete.
    incomplete: why others may be missing.
    """

    indices: Collection[int]
    strays: frozenset[int] = frozenset()
    incomplete: str = ""


def own_functions(image: Image, facts: ElfFacts, functions: FunctionList, units: Units) -> Own:
    """The functions that were compiled from the user's sources, as far as the file tells."""
    if not facts.kind.is_static:
        return Own(range(len(functions)))
    if not len(symbol_section(image)):
        reason = "static and stripped: which code is the program's and which the C library's cannot be told"
        return Own((), incomplete=reason)
    front, certain, outside = _in_front_of_libraries(image, facts, functions, units)
    found = set(front)
    by_units: set[int] = set()
    # where the C library tells its units, too, they say nothing of whose code it is
    markers = [index for name in _LIBRARY_STARTS if (index := functions.index_of(name)) >= 0]
    if units.tell_places and not any(units.at(functions[index].address & ~1) for index in markers):
        by_units = {index for index in range(len(functions)) if units.at(functions[index].address & ~1) is not None}
    complete = certain or (bool(by_units) and found <= by_units)
    reason = "static: only functions that certainly stand in front of the libraries' were looked at"
    own = found | by_units
    return Own(sorted(own | outside), frozenset(outside - own), "" if complete else reason)


def _in_front_of_libraries(
    image: Image, facts: ElfFacts, functions: FunctionList, units: Units
) -> tuple[list[int], bool, set[int]]:
    """The functions that stand in front of the libraries', whether these are all of .text, and those that stand
    elsewhere and whose names tell of no library.
    """
    main = functions.index_of("main")
    found = [main] if main >= 0 else []
    weak, local, start = _bindings(image)
    if not start:
        return found, False, set()
    first = end = functions.index_behind(start)
    while end < len(functions):
        name = functions.name(end)
        if _is_library(name) and name != "main" and not _is_own_template(functions, end, weak):
            break
        end += 1
    last = functions.name(end) if end < len(functions) else ""
    certain = main >= 0 and last in _FIRST_OF_LIBRARY
    # local functions in front of it may belong to the same object
    while end > first and functions[end - 1].address in local and units.at(functions[end - 1].address & ~1) is None:
        end -= 1
        certain = False
    found += [index for index in range(first, end) if not _CPLUSPLUS.match(functions.name(index))]
    return found, certain, _elsewhere(facts, functions, first)


def _is_library(name: str) -> bool:
    return name in _C_LIBRARY or name in _FIRST_OF_LIBRARY or _RESERVED.match(name) is not None


def _elsewhere(facts: ElfFacts, functions: FunctionList, first: int) -> set[int]:
    """Functions in front of the first of .text that came from a section of that name, and those of other sections."""
    code = [section for section in facts.sections if section.executable and section.name != ".text"]
    others = [section for section in code if not _LIBRARY_SECTION.match(section.name)]
    found = {index for index in range(first) if _section_of(functions, index, code) is None}
    found |= {index for index in range(len(functions)) if others and _section_of(functions, index, others) is not None}
    names = {index: functions.name(index) for index in found}
    return {
        index
        for index, name in names.items()
        if not (is_runtime(name) or is_cold(name) or _HELPERS.match(name) or (index < first and _is_library(name)))
    }


def _section_of(functions: FunctionList, index: int, sections: list[Section]) -> Section | None:
    address = functions[index].address
    return next((s for s in sections if s.addr <= address < s.addr + s.size), None)


def _is_own_template(functions: FunctionList, index: int, weak: frozenset[int]) -> bool:
    return functions.name(index).startswith("_Z") and (
        functions[index].address in weak or not _CPLUSPLUS.match(functions.name(index))
    )


def _bindings(image: Image) -> tuple[frozenset[int], frozenset[int], int]:
    """The addresses of weak and of local functions, and that of frame_dummy, 0 where there is none."""
    weak, local = set(), set()
    start = 0
    table = symbol_section(image)
    for symbol in table.as_stored():
        if symbol.info & 15 == elf.STT_FUNC:
            if table.name(symbol) == "frame_dummy":
                start = symbol.value
            if symbol.info >> 4 == elf.STB_WEAK:
                weak.add(symbol.value)
            elif symbol.info >> 4 == elf.STB_LOCAL:
                local.add(symbol.value)
    return frozenset(weak), frozenset(local), start
