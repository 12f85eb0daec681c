from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Imports, Need
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check, Parameter
from .fortified_names import (
    CHECKED,
    CHECKED_AT_LEVEL_2,
    FORTIFIABLE,
    UNCHECKED_BELOW_LEVEL_1,
    UNCHECKED_BELOW_LEVEL_2,
)

__all__ = ["Fortify"]

_SHOWN = 8
_FOREIGN = {"rustc": "Rust", "go": "Go", "d": "D", "ghc": "Haskell"}
_RUNTIMES = ("__gcov_", "__asan_", "__ubsan_", "__tsan_", "__msan_", "__hwasan_", "__llvm_profile_")
_FOREIGN_LIBRARIES = {"libgfortran.so": "Fortran", "libgnat": "Ada"}
_CPLUSPLUS_SUFFIXES = (".cpp", ".cc", ".cxx", ".c++", ".C", ".cp", ".CPP")  # GCC manual, "Overall Options"


class Fortify(Check):
    """Calls of the C library check the size of their buffers (_FORTIFY_SOURCE).

    What it protects
    ----------------
    Copies, reads and formatted output into a buffer whose size the compiler knows end the program instead of
    overflowing it; from level 2 on, %n in a writable format string does as well.

    Evidence
    --------
    Undefined symbols by their exact names: __memcpy_chk and its like prove level 1 or higher; __printf_chk,
    __fprintf_chk and their like prove level 2 or higher, because level 1 leaves them plain. A direct call to plain
    printf or fprintf proves a unit below level 2, beside fortified ones too (a mixed build). Plain memcpy, snprintf or
    read prove nothing: the compiler leaves them plain where it knows the size is right, or knows no size. Level 3
    leaves a trace only in the code and is answered unknown. -O0 switches FORTIFY off, whatever the flags.

    When it does not apply
    ----------------------
    Files that call no function which FORTIFY could replace. musl has no such functions, and a static program holds the
    C library's own: unknown. Where clang may have compiled C++, plain printf is no proof: glibc's headers do not
    fortify it there. An object does not tell which C library it was compiled for: leave musl's objects out.

    Fix
    ---
    Compile with -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 (or 3).

    References
    ----------
    glibc manual, "Source Fortification"; feature_test_macros(7); bits/stdio2.h; GCC manual, "Object Size Checking".
    """

    name = "fortify"
    label = "Fortify Source functions"
    kinds = LINKED | {Kind.OBJECT}
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "level": Parameter(2, (1, 2, 3), "the lowest _FORTIFY_SOURCE level accepted")
    }

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        if facts.kind.is_static or facts.bytecode:
            return frozenset()
        wanted = {Need.IMPORTS}
        if facts.imports is not None and _plain_calls(facts.imports, parameters["level"]):
            wanted.add(Need.SOURCE_FILES)
        return frozenset(wanted)

    def inapplicable(self, facts: ElfFacts) -> str:
        if facts.kind is Kind.OBJECT and not facts.has_code and not facts.bytecode:
            return "no code"
        if "go" in facts.compilers and facts.dynamic is None:
            return "a Go program without C"
        imports = facts.imports
        if imports is not None and not imports.names & (CHECKED | FORTIFIABLE):
            return "calls no function that FORTIFY replaces"
        return ""

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        level = parameters["level"]
        if facts.bytecode:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time", level=None)
        if facts.kind.is_static or facts.imports is None:
            return self.unknown(
                "static: the C library's own functions hide what the program calls; judge its objects", level=None
            )
        if facts.libc == "musl":
            return self.unknown("musl has no fortified functions: nothing in the file can show it", level=None)
        checked = facts.imports.names & CHECKED
        plain = _plain_calls(facts.imports, level)
        if plain:
            return self._unfortified(facts, checked, plain, level)
        if not checked:
            return self.unknown(
                "no fortified call; its plain calls may be ones that FORTIFY leaves alone",
                Evidence("symbol table", f"undefined {_list(facts.imports.names & FORTIFIABLE)}"),
                level=None,
            )
        silent = facts.imports.names & _replaced(level)
        if silent:
            return self.unknown(
                f"fortified calls beside plain {_list(silent)}, called through the GOT or only pointed to",
                Evidence("symbol table", f"undefined {_list(checked)}"),
                level=None,
            )
        return self._fortified(checked, level)

    def _unfortified(self, facts: ElfFacts, checked: frozenset[str], plain: frozenset[str], level: int) -> Verdict:
        doubt = _doubt(facts)
        seen = [Evidence("relocations", f"calls to plain {_list(plain)}")]
        if checked:
            seen.append(Evidence("symbol table", f"undefined {_list(checked)}"))
        if doubt:
            return self.unknown(f"calls plain {_list(plain)}, which proves nothing here: {doubt}", *seen, level=None)
        what = "not fortified"
        if checked & CHECKED_AT_LEVEL_2:
            what = "some units are not fortified"
        elif checked:
            what = "some units are not fortified, or all are below level 2"
        lowest = 1 if plain <= UNCHECKED_BELOW_LEVEL_1 else 2
        return self.failed(
            f"{what}: calls plain {_list(plain)}, which level {lowest} replaces",
            *seen,
            remedy=f"compile every unit with -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE={level} (-O0 switches it off)",
            level=0,
            mixed=bool(checked),
        )

    def _fortified(self, checked: frozenset[str], level: int) -> Verdict:
        least = 2 if checked & CHECKED_AT_LEVEL_2 else 1
        seen = Evidence("symbol table", f"undefined {_list(checked & CHECKED_AT_LEVEL_2 or checked)}")
        if least >= level:
            return self.passed(f"fortified at level {least} or higher", seen, level=least)
        return self.unknown(
            f"fortified at level {least} or higher: its calls do not tell level {level} from it", seen, level=least
        )


def _plain_calls(imports: Imports, level: int) -> frozenset[str]:
    return imports.calls & _replaced(level)


def _replaced(level: int) -> frozenset[str]:
    """The functions that FORTIFY at a level always replaces."""
    return UNCHECKED_BELOW_LEVEL_1 if level == 1 else UNCHECKED_BELOW_LEVEL_1 | UNCHECKED_BELOW_LEVEL_2


def _doubt(facts: ElfFacts) -> str:
    """Why a plain printf may come from code that FORTIFY cannot reach; empty where it cannot."""
    for compiler, language in _FOREIGN.items():
        if compiler in facts.compilers:
            return f"part of the file is {language}"
    if facts.libc == "bionic":
        return "bionic does not replace them"
    runtime = next((unit for unit in facts.source_files or () if unit.startswith("libgcov")), "")
    symbols = facts.imports.names | facts.imports.defined if facts.imports is not None else frozenset()
    if runtime or any(name.startswith(_RUNTIMES) for name in symbols):
        return "a coverage or sanitizer runtime calls them too"
    needed = facts.dynamic.needed if facts.dynamic else ()
    for library, language in _FOREIGN_LIBRARIES.items():
        if any(name.startswith(library) for name in needed):
            return f"part of the file is {language}"
    if _has_cplusplus(facts, needed) and ("clang" in facts.compilers or not facts.compilers):
        return "clang may have compiled its C++, where glibc's headers do not fortify it"
    return ""


def _has_cplusplus(facts: ElfFacts, needed: tuple[str, ...]) -> bool:
    """Whether anything in the file tells of C++: a library, a mangled name, the name of a source file."""
    symbols = facts.imports.names | facts.imports.defined if facts.imports is not None else frozenset()
    return (
        any(name.startswith(("libstdc++", "libc++")) for name in needed)
        or any(name.startswith("_Z") for name in symbols)
        or any(unit.endswith(_CPLUSPLUS_SUFFIXES) for unit in facts.source_files or ())
    )


def _list(names: frozenset[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(ordered[:_SHOWN]) + more
