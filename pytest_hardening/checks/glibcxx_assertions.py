from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..elf.facts import ElfFacts, Need, Unit
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check, without_c
from .recorded import explicit_option, is_hardened, missing_units, needs_of_units, options_of

__all__ = ["GlibcxxAssertions"]

_SHOWN = 3
# libstdc++ bits/c++config.h: since GCC 12 std::__glibcxx_assert_fail; before, the inline std::__replacement_assert
_ASSERTIONS = frozenset(("_ZSt21__glibcxx_assert_failPKciS0_S0_", "_ZSt20__replacement_assertPKciS0_S0_"))
# libc++ __verbose_abort: assertions of some versions and modes call it, and so does code without exceptions
_ABORT_OF_LIBCXX = "_ZNSt3__122__libcpp_verbose_abortEPKcz"
# std::vector<T>::operator[](size_t), T other than bool, whose test of the index stands in another class
_SUBSCRIPT = re.compile(r"_ZNK?St6vectorI(?!b).*EixE[mj]")
_DEFINE = "-D_GLIBCXX_ASSERTIONS"
_MODES_OF_LIBCXX = tuple(f"_LIBCPP_HARDENING_MODE_{mode}" for mode in ("FAST", "EXTENSIVE", "DEBUG"))
_REMEDY = "compile every C++ unit with -D_GLIBCXX_ASSERTIONS"
_REMEDY_LIBCXX = "compile every C++ unit with -D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_FAST"
_RECORD = "put the option on record: clang with -grecord-command-line, GCC 14 with -fhardened"


class GlibcxxAssertions(Check):
    """The containers of the C++ library check their arguments (_GLIBCXX_ASSERTIONS).

    What it protects
    ----------------
    An index beyond the end of a vector, front() of an empty one or a null smart pointer ends the program instead of
    reading and writing memory that belongs to others.

    Evidence
    --------
    libstdc++: a call of std::__glibcxx_assert_fail (GCC 12 and later) or std::__replacement_assert (before). libc++ of
    LLVM 18 and later: the hardening mode in the ABI tag of its templates' names ([abi:fe190107] is fast, with
    exceptions; s extensive, d debug, n none). For an object or linked file with one C++ unit this is enough; with
    several it is unknown whether all have it, so judge the objects. Stripped linked files do not tell how many there
    are, and nothing of libc++. Calls of std::__1::__libcpp_verbose_abort prove nothing: code without exceptions has
    them in any mode, and the modes fast and extensive trap without a call.
    Proof of the contrary: a name of libc++ with the mode none; an out-of-line std::vector<T>::operator[] of libstdc++
    in a file that calls none of its functions. Else the records of the units: -D_GLIBCXX_ASSERTIONS or
    -D_LIBCPP_HARDENING_MODE, which clang alone writes down (-grecord-command-line), and GCC's -fhardened, which brings
    the former; each counts for its own library. No trace at all proves nothing: the unit may use no container, a header
    may define the macro.

    When it does not apply
    ----------------------
    Files without C++: no mangled names, no C++ library, no C++ unit.

    Fix
    ---
    Compile every C++ unit with -D_GLIBCXX_ASSERTIONS, for libc++ with
    -D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_FAST.

    References
    ----------
    libstdc++ manual, "Macros", _GLIBCXX_ASSERTIONS; GCC manual, -fhardened; libc++ documentation, "Hardening Modes".
    """

    name = "glibcxx-assertions"
    label = "C++ library assertions"
    kinds = LINKED | {Kind.OBJECT}

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        if facts.bytecode:
            return frozenset()
        if facts.runtime_symbols is None or not _shows_cplusplus(facts):
            return frozenset({Need.RUNTIME_SYMBOLS})
        return frozenset({Need.RUNTIME_SYMBOLS, Need.IMPORTS}) | needs_of_units(facts)

    def inapplicable(self, facts: ElfFacts) -> str:
        if reason := without_c(facts):
            return reason
        if facts.runtime_symbols is None or _shows_cplusplus(facts) or _may_hide_cplusplus(facts):
            return ""
        return "no C++"

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        imports = facts.imports
        if facts.bytecode:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time")
        if imports is None or not _shows_cplusplus(facts):
            return self.unknown("stripped: whether there is C++ in it cannot be told", assertions=None)
        units = _cplusplus_units(facts)
        libcxx = _is_libcxx(facts)
        recorded = [unit for unit in units if _is_recorded(unit, libcxx=libcxx)]
        whole = bool(units) and not missing_units(facts)
        modes = _modes(facts)
        if "none" in modes:
            return self._without_mode(units)
        if whole and len(recorded) == len(units):
            return self.passed(
                f"{len(units)} C++ unit(s) compiled with assertions, by their record",
                *(Evidence(unit.source, f"{unit.name}: {_recorded_as(unit)}") for unit in units[:_SHOWN]),
                assertions=True,
            )
        if modes:
            return self._with_mode(facts, modes, alone=whole and len(units) == 1)
        called = sorted(_called(facts))
        if called:
            return self._called(facts, called, alone=whole and len(units) == 1)
        unchecked = _unchecked(facts)
        if unchecked and "abort" not in imports.names and not libcxx:
            return self.failed(
                "no assertions: std::vector's operator[] does not check its index",
                Evidence(
                    "symbol table", f"defines {', '.join(unchecked[:_SHOWN])}; nothing calls __glibcxx_assert_fail"
                ),
                remedy=_REMEDY,
                culprits=tuple(unit.name for unit in units) if len(units) == 1 else (),
                assertions=False,
            )
        aborts = _ABORT_OF_LIBCXX in imports.names
        return self.unknown(
            "calls libc++'s abort, as code without exceptions does in any hardening mode"
            if aborts
            else "no call of an assertion, which proves nothing: the code may use no container",
            remedy="" if libcxx else _RECORD,
            assertions=None,
        )

    def _without_mode(self, units: list[Unit]) -> Verdict:
        return self.failed(
            "libc++ without hardening: its functions' names carry the mode none",
            Evidence("symbol table", "an ABI tag of libc++ with the mode none"),
            remedy=_REMEDY_LIBCXX,
            culprits=tuple(unit.name for unit in units) if len(units) == 1 else (),
            assertions=False,
            mode="none",
        )

    def _with_mode(self, facts: ElfFacts, modes: tuple[str, ...], *, alone: bool) -> Verdict:
        seen = Evidence("symbol table", f"ABI tags of libc++ with the mode {' and '.join(modes)}")
        if alone:
            return self.passed(f"libc++'s hardening mode {modes[0]}", seen, assertions=True, mode=modes[0])
        return self.unknown(
            f"libc++'s hardening mode {' or '.join(modes)} in some unit, perhaps not in all: judge the objects",
            seen,
            remedy=_REMEDY_LIBCXX,
            assertions=None,
        )

    def _called(self, facts: ElfFacts, called: list[str], *, alone: bool) -> Verdict:
        seen = Evidence("symbol table", ", ".join(called))
        # where the C++ library lies inside a file, the call may be its own
        if alone and (facts.kind is Kind.OBJECT or _needs_library(facts)):
            return self.passed("calls the C++ library's assertions", seen, assertions=True)
        return self.unknown(
            "some unit calls the C++ library's assertions; whether all do cannot be told",
            seen,
            remedy="judge the objects",
            assertions=None,
        )


def _called(facts: ElfFacts) -> set[str]:
    """The assertions' functions that the file calls or holds; libstdc++ itself holds them for others."""
    soname = (facts.dynamic.soname if facts.dynamic else None) or ""
    found = set[str]()
    if facts.imports is not None:
        found |= _ASSERTIONS & facts.imports.names
    if facts.runtime_symbols is not None:
        found |= _ASSERTIONS.intersection(facts.runtime_symbols.undefined)
        if not soname.startswith(("libstdc++", "libc++")):
            found |= _ASSERTIONS.intersection(facts.runtime_symbols.defined)
    return found


def _unchecked(facts: ElfFacts) -> list[str]:
    """Functions of the file's own code that would call them, had they been compiled with assertions."""
    if facts.imports is None or not (facts.kind is Kind.OBJECT or _needs_library(facts)):
        return []
    return sorted(
        name
        for name in facts.imports.defined
        if name.startswith(("_ZNSt6vector", "_ZNKSt6vector")) and _SUBSCRIPT.fullmatch(name)
    )


def _needs_library(facts: ElfFacts) -> bool:
    needed = facts.dynamic.needed if facts.dynamic else ()
    return any(name.startswith(("libstdc++", "libc++.")) for name in needed)


def _shows_cplusplus(facts: ElfFacts) -> bool:
    return _needs_library(facts) or (facts.runtime_symbols is not None and facts.runtime_symbols.cplusplus)


def _may_hide_cplusplus(facts: ElfFacts) -> bool:
    """Whether a file without mangled names may hold C++ all the same: a stripped static program, or one linked with
    -static-libstdc++ whose tables of exceptions are neither C's nor another language's.
    """
    if facts.runtime_symbols is None or not facts.runtime_symbols.stripped:
        return False
    return facts.kind.is_static or (
        facts.section(".gcc_except_table") is not None
        and not {"rustc", "d", "go", "ghc"} & set(facts.compilers)
        and "ld-linux" not in ((facts.dynamic.soname if facts.dynamic else None) or "")
    )


def _modes(facts: ElfFacts) -> tuple[str, ...]:
    """The hardening modes of libc++ in the file's own code: where the library lies inside, it has names of its own."""
    own = facts.kind is Kind.OBJECT or _needs_library(facts)
    return facts.runtime_symbols.libcxx_modes if facts.runtime_symbols is not None and own else ()


def _is_libcxx(facts: ElfFacts) -> bool:
    if facts.runtime_symbols is not None and facts.runtime_symbols.libcxx_modes:
        return True
    names = facts.imports.names | facts.imports.defined if facts.imports is not None else frozenset()
    return any(name.startswith(("_ZNSt3__1", "_ZNKSt3__1", "_ZSt3__1")) for name in names)


def _cplusplus_units(facts: ElfFacts) -> list[Unit]:
    units = facts.units.found if facts.units is not None else ()
    return [unit for unit in units if unit.language in ("c++", "objective-c++")]


def _is_recorded(unit: Unit, *, libcxx: bool) -> bool:
    """Whether the record says that the macro of the unit's C++ library was defined."""
    library = explicit_option(unit, "-stdlib").partition("=")[2]
    libcxx = library == "libc++" if library else libcxx
    found = is_hardened(unit) and not libcxx
    for option in options_of(unit):
        name, _, value = option.partition("=")
        if libcxx and name in ("-D_LIBCPP_HARDENING_MODE", "-U_LIBCPP_HARDENING_MODE"):
            found = value.endswith(_MODES_OF_LIBCXX)
        elif not libcxx and name in (_DEFINE, "-D_GLIBCXX_DEBUG"):
            found = True
        elif not libcxx and name == "-U_GLIBCXX_ASSERTIONS":
            found = False
    return found


def _recorded_as(unit: Unit) -> str:
    return f"{_DEFINE} or -fhardened" if _is_recorded(unit, libcxx=False) else "-D_LIBCPP_HARDENING_MODE"
