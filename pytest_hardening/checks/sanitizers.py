from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need, RuntimeSymbols, Unit
from ..errors import PolicyError
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check, Parameter

__all__ = ["Sanitizers"]

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class _Family:
    """How one kind of instrumentation shows.

    Parameters
    ----------
    what: its name for people.
    symbols: beginnings of the names that a compiler emits, never those of the interface that a program may use or
        offer by itself (__lsan_default_suppressions, __gcov_dump): projects keep weak references to these.
    libraries, sections: beginnings of the names of its shared run-time libraries and of its sections.
    flags: beginnings of the recorded options that ask for it.
    """

    what: str
    symbols: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def _names(prefix: str, *words: str) -> tuple[str, ...]:
    return tuple(prefix + name for word in words for name in word.split())


_PROFILER = ("mcount", "_mcount", "__mcount", "__gnu_mcount_nc", "__fentry__", "__cyg_profile_func_")
# compiler-rt/lib/*/*_interface_internal.h and lib/profile; GCC sanitizer.def, libgcc/libgcov.h; GCC manual, -pg
_FAMILIES = {
    "address": _Family(
        "AddressSanitizer",
        _names(
            "__asan_",
            "init version_mismatch_check report_load report_store report_exp_ load store exp_ register_ unregister_",
            "stack_malloc stack_free set_shadow_ poison_stack_memory unpoison_stack_memory alloca_poison",
            "allocas_unpoison before_dynamic_init after_dynamic_init poison_cxx_array_cookie option_detect_stack",
        ),
        ("libasan.so", "libclang_rt.asan"),
        ("asan_globals",),
        ("-fsanitize=address", "-fsanitize=kernel-address"),
    ),
    "hwaddress": _Family(
        "HWAddressSanitizer",
        _names("__hwasan_", "init load store generate_tag tls shadow_memory_dynamic tag_mismatch"),
        ("libhwasan.so", "libclang_rt.hwasan"),
        ("hwasan_globals",),
        ("-fsanitize=hwaddress",),
    ),
    "thread": _Family(
        "ThreadSanitizer",
        _names(
            "__tsan_", "init func_entry func_exit read write unaligned_ volatile_ vptr_ atomic memcpy memset memmove"
        ),
        ("libtsan.so", "libclang_rt.tsan"),
        (),
        ("-fsanitize=thread",),
    ),
    "memory": _Family(
        "MemorySanitizer",
        _names("__msan_", "init warning param_tls retval_tls va_arg_ track_origins keep_going maybe_ chain_origin"),
        ("libclang_rt.msan",),
        (),
        ("-fsanitize=memory",),
    ),
    "leak": _Family("LeakSanitizer", ("__lsan_init",), ("liblsan.so", "libclang_rt.lsan"), (), ("-fsanitize=leak",)),
    "undefined": _Family(
        "UndefinedBehaviorSanitizer",
        ("__ubsan_handle_",),
        ("libubsan.so", "libclang_rt.ubsan_standalone"),
        (),
        ("-fsanitize=undefined", "-fsanitize=integer", "-fsanitize=signed-integer-overflow", "-fsanitize=bounds"),
    ),
    "coverage": _Family(
        "coverage or profile-guided optimisation's counters",
        (
            *_names(
                "__gcov_", "init exit merge_ indirect_call time_profiler interval_profiler pow2_ average_ ior_ topn_"
            ),
            *_names("__llvm_profile_", "runtime raw_version instrument_ register_ begin_counters"),
            *_names("", "__llvm_gcov_ llvm_gcov_ llvm_gcda_"),
            *_names("__sanitizer_cov_", "trace_ 8bit_counters_init bool_flag_init pcs_init"),
        ),
        (),
        ("__llvm_prf_cnts", "__llvm_covmap", "__sancov_"),
        (
            "--coverage",
            "-coverage",
            "-fprofile-arcs",
            "-fprofile-generate",
            "-fprofile-instr-generate",
            "-fsanitize-coverage",
        ),
    ),
    "profiling": _Family(
        "calls of a profiler in every function",
        _PROFILER,
        (),
        ("xray_instr_map",),
        ("-pg", "-p", "-finstrument-functions", "-fxray-instrument"),
    ),
}
# weak references of every full sanitizer library (sanitizer_symbolizer_posix_libcdep.cpp); they survive `strip`
_SYMBOLIZER = "__sanitizer_symbolize_"
_OF_EVERY_LIBRARY = "__ubsan_handle_cfi_bad_type"  # (ubsan_handlers.cpp)
# clang's libraries that hold UBSan's functions, whether or not code calls them, by a function that each defines
_WITH_UBSAN = {
    "__asan_init": "AddressSanitizer",
    "__hwasan_init": "HWAddressSanitizer",
    "__tsan_init": "ThreadSanitizer",
    "__msan_init": "MemorySanitizer",
    "__scudo_print_stats": "Scudo",
}
# made for production by its documentation (clang, UndefinedBehaviorSanitizer, "Minimal Runtime")
_MINIMAL = ("_minimal", "_minimal_abort")


class Sanitizers(Check):
    """No sanitizer, no coverage counters and no profiling calls in what is shipped.

    What it protects
    ----------------
    Sanitizers are made to find bugs: their run-time libraries read environment variables, write files and offer
    attackers a known map of memory; a set-uid program with one can be told to overwrite files. Coverage and profiling
    write files wherever the program runs.

    Evidence
    --------
    Symbols that the compiler emits into instrumented code, undefined or defined (__asan_init, __ubsan_handle_*,
    __tsan_func_entry, __gcov_init, mcount, __fentry__ ...), in the dynamic symbol table and in .symtab; DT_NEEDED of a
    sanitizer's library; the sections of LLVM's counters and of XRay. References to the interface of a sanitizer that
    code uses only where there is one (__lsan_ignore_object, __gcov_dump) are none. clang's libraries of other
    sanitizers, and Scudo's, hold UBSan's functions: whether code calls these is unknown. A stripped file that names a
    run-time library's environment variable (ASAN_OPTIONS, GCOV_PREFIX) may hold that library: unknown. A stripped
    static program tells nothing: unknown. -fsanitize-trap and UBSan's minimal run-time library leave nothing behind
    that is forbidden here.

    When it does not apply
    ----------------------
    Kernel modules, core dumps, detached debug files.

    Fix
    ---
    Build what is shipped without -fsanitize=..., --coverage, -fprofile-generate, -fprofile-instr-generate and -pg, in a
    folder of its own: objects of an instrumented build must not be used again.

    References
    ----------
    GCC manual, "Program Instrumentation Options"; clang manual, "Controlling Code Generation" and the sanitizers'
    pages; compiler-rt, *_interface_internal.h; oss-security, "Address Sanitizer local root" (CVE-2016-2853).
    """

    name = "sanitizers"
    label = "No sanitizers or profiling"
    kinds = LINKED | {Kind.OBJECT}
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "forbidden": Parameter(tuple(_FAMILIES), (), "the kinds of instrumentation that must be absent")
    }

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        settings = super().settings(values)
        for family in settings["forbidden"]:
            if family not in _FAMILIES:
                raise PolicyError(f"{self.name}.forbidden = {family!r}: expected some of {', '.join(_FAMILIES)}")
        return settings

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        if facts.bytecode:
            return frozenset()
        wanted = {Need.RUNTIME_SYMBOLS}
        if facts.runtime_symbols is not None and any(_seen(facts, family) for family in parameters["forbidden"]):
            wanted.add(Need.UNITS)  # to say which unit it is
        return frozenset(wanted)

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        symbols = facts.runtime_symbols
        if facts.bytecode or symbols is None:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time")
        found = {family: seen for family in parameters["forbidden"] if (seen := _seen(facts, family))}
        if found:
            return self._instrumented(facts, found)
        if "undefined" in parameters["forbidden"] and (holder := _holder_of_ubsan(symbols)):
            return self.unknown(
                f"UndefinedBehaviorSanitizer's functions lie inside, as in every program with {holder}: whether code "
                "calls them cannot be told",
                remedy="judge the objects",
                found=None,
            )
        traces = symbols.traces or tuple(s for s in symbols.undefined if s.startswith(_SYMBOLIZER))[:1]
        if symbols.stripped and traces:
            return self.unknown(
                f"stripped, and it names {', '.join(traces)} as a sanitizer's or coverage's library does",
                remedy="judge it before it is stripped",
                found=None,
            )
        if symbols.stripped and facts.kind.is_static:
            return self.unknown(
                "static and stripped: no symbol is left to tell", remedy="judge it before it is stripped", found=None
            )
        return self.passed("no trace of any instrumentation", found=[])

    def _instrumented(self, facts: ElfFacts, found: Mapping[str, tuple[Evidence, ...]]) -> Verdict:
        units = _units(facts, found)
        where = f" in {', '.join(unit.name for unit in units[:_SHOWN])}" if units else ""
        return self.failed(
            f"instrumented with {', '.join(_FAMILIES[family].what for family in found)}{where}",
            *(item for seen in found.values() for item in seen),
            remedy="build without "
            + " and ".join(dict.fromkeys(f"{_FAMILIES[family].flags[0]}" for family in found))
            + ", every object anew",
            culprits=tuple(dict.fromkeys(unit.name for unit in units)),
            found=list(found),
        )


def _seen(facts: ElfFacts, name: str) -> tuple[Evidence, ...]:
    """What shows a kind of instrumentation."""
    family = _FAMILIES[name]
    found = []
    if facts.runtime_symbols is not None:
        undefined = [s for s in facts.runtime_symbols.undefined if _is_of(family, s)]
        defined = [s for s in facts.runtime_symbols.defined if _is_of(family, s)]
        defined = [s for s in defined if _defined_counts(facts, facts.runtime_symbols, s)]
        found += [Evidence("symbol table", f"undefined {_list(undefined)}")] if undefined else []
        found += [Evidence("symbol table", f"defines {_list(defined)}")] if defined else []
    libraries = [s for s in (facts.dynamic.needed if facts.dynamic else ()) if s.startswith(family.libraries)]
    found += [Evidence("dynamic section", f"DT_NEEDED {_list(libraries)}")] if family.libraries and libraries else []
    sections = [s.name for s in facts.sections if s.allocated and s.name.startswith(family.sections)]
    found += [Evidence("section headers", _list(sections))] if family.sections and sections else []
    return tuple(found)


def _is_of(family: _Family, symbol: str) -> bool:
    return symbol.startswith(family.symbols) and not symbol.endswith(_MINIMAL) and symbol != _OF_EVERY_LIBRARY


def _defined_counts(facts: ElfFacts, symbols: RuntimeSymbols, symbol: str) -> bool:
    """Whether a definition tells of instrumented code. glibc itself defines what profiled code calls, and a static
    program holds of that only what is called; clang's sanitizer libraries hold the calls of its coverage, and all but
    UBSan's own those of UBSan.
    """
    if symbol.startswith(_PROFILER):
        return facts.kind.is_static
    if symbol.startswith("__sanitizer_cov_"):
        return "__sanitizer_cov_dump" not in symbols.defined
    return not (symbol.startswith("__ubsan_") and _holder_of_ubsan(symbols))


def _holder_of_ubsan(symbols: RuntimeSymbols) -> str:
    """The sanitizer whose library inside a file brings UBSan's functions; empty where none does."""
    if not any(name.startswith("__ubsan_handle_") for name in symbols.defined):
        return ""
    return next((name for function, name in _WITH_UBSAN.items() if function in symbols.defined), "")


def _units(facts: ElfFacts, families: Mapping[str, Any]) -> list[Unit]:
    """The units whose recorded options ask for it."""
    flags = tuple(flag for family in families for flag in _FAMILIES[family].flags)
    units = facts.units.found if facts.units is not None else ()
    return [unit for unit in units if unit.name and any(_asks(flag, flags) for flag in unit.flags or ())]


def _asks(option: str, flags: tuple[str, ...]) -> bool:
    name, separator, values = option.partition("=")
    if name != "-fsanitize":
        return option in flags or name in flags
    return any(f"{name}{separator}{value}" in flags for value in values.split(","))


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
