from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need
from ..model import Evidence, Kind, Outcome, Verdict
from .base import LINKED, Check, Parameter

__all__ = ["ForbiddenImports", "spellings"]

_SHOWN = 6
_MOST_CULPRITS = 200
# glibc warns at link time that these are dangerous (link_warning in gets.c, getwd.c, getpw.c, sigstack.c, mktemp.c,
# tempnam.c, tmpnam.c, tmpnam_r.c), and what it or the manual pages recommend in their place
_DANGEROUS = {
    "gets": "fgets or getline",
    "getwd": "getcwd",
    "getpw": "getpwuid_r",
    "sigstack": "sigaltstack",
    "mktemp": "mkstemp or mkdtemp",
    "tempnam": "mkstemp",
    "tmpnam": "mkstemp",
    "tmpnam_r": "mkstemp",
}
# other names that headers of glibc give to a function: FORTIFY (also __open_2), C99 and C23 semantics, stdio's own
_RENAMED = re.compile(r"__(?P<chk>\w+)_chk|__(?P<two>open(at)?(64)?)_2|__isoc(99|23)_(?P<iso>\w+)|_IO_(?P<io>\w+)")
# large-file interfaces whose plain form means the same (Large File Summit, appendix A; glibc, stdio.h to unistd.h)
_LARGE_FILE = frozenset(
    "creat fopen fstat fstatat freopen ftruncate ftw glob lockf lseek lstat mkostemp mkostemps mkstemp mkstemps mmap "
    "nftw open openat pread pwrite readdir scandir sendfile stat statfs statvfs tmpfile truncate".split()
)


class ForbiddenImports(Check):
    """No function is used that no program should use, or that the policy forbids.

    What it protects
    ----------------
    gets() cannot be called safely: it writes what it reads, however long that is. mktemp(), tmpnam() and tempnam() give
    away a file's name before the file exists: who is faster owns it. A project may have reasons of its own: no shell
    (system, popen), no strcpy.

    Evidence
    --------
    Undefined symbols: of linked files in the dynamic symbol table, of objects and archive members in theirs. A name
    stands for all forms that headers turn it into: gets for __gets_chk, scanf for __isoc99_scanf, open for open64 and
    __open_2. What the compiler replaced or inlined (strcpy by memcpy) and what is looked up by dlsym is not there to
    see. In a static program nothing is undefined: without a symbol of that name it passes, with one it is unknown who
    calls it, the C library or the program; so is it once the symbols are stripped.

    When it does not apply
    ----------------------
    When the list is empty; Go programs without C.

    Fix
    ---
    Call what the failure names. The parameter `forbid` takes names or glob patterns, and replaces the list.

    References
    ----------
    glibc, link_warning: "the `gets' function is dangerous"; gets(3), mktemp(3), tmpnam(3), tempnam(3); C11 (gets
    removed); CWE-242, CWE-377; rpminspect's inspection badfuncs.
    """

    name = "forbidden-imports"
    label = "No dangerous functions"
    kinds = LINKED | {Kind.OBJECT}
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "forbid": Parameter(tuple(_DANGEROUS), (), 'functions that must not be used, such as "system" or "str*cpy"')
    }

    def asks_nothing(self, parameters: Mapping[str, Any]) -> bool:
        return not parameters["forbid"]

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        if facts.bytecode or not parameters["forbid"]:
            return frozenset()
        if facts.kind.is_static:
            return frozenset({Need.DEFINITIONS})
        wanted = {Need.IMPORTS}
        if facts.kind is Kind.OBJECT and facts.imports and _found(facts.imports.names, parameters["forbid"]):
            wanted.add(Need.UNITS)  # to name the source file
        return frozenset(wanted)

    def inapplicable(self, facts: ElfFacts) -> str:
        return "a Go program without C" if "go" in facts.compilers and facts.dynamic is None else ""

    def judge_bitcode(self, parameters: Mapping[str, Any]) -> Verdict:
        return super().judge_bitcode(parameters) if parameters["forbid"] else self._nothing()

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        forbid = parameters["forbid"]
        if not forbid:
            return self._nothing()
        if facts.bytecode:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time")
        if facts.kind.is_static:
            return self._static(facts, forbid)
        found = _found(facts.imports.names if facts.imports else frozenset(), forbid)
        if not found:
            return self.passed("uses no forbidden function", found=[])
        units = facts.units.found if facts.units is not None else ()
        unit = f"{units[0].name}: " if len(units) == 1 and units[0].name else ""
        functions = list(dict.fromkeys(found.values()))
        return self.failed(
            f"uses {_list(list(found))}",
            Evidence("symbol table", f"undefined {_list(list(found))}"),
            remedy="; ".join(dict.fromkeys(map(_instead, list(found.values())[:_SHOWN]))),
            culprits=tuple(f"{unit}{function}()" for function in functions[:_MOST_CULPRITS]),
            rest=Outcome.PASS if len(functions) <= _MOST_CULPRITS else None,
            found=list(found),
        )

    def _static(self, facts: ElfFacts, forbid: tuple[str, ...]) -> Verdict:
        if facts.definitions is None or not facts.definitions.complete:
            return self.unknown(
                "static and stripped: no symbol is left to tell", remedy="judge it before it is stripped", found=None
            )
        found = list(_found(facts.definitions.names, forbid))
        if not found:
            return self.passed("holds no forbidden function", found=[])
        return self.unknown(
            f"static, and holds {_list(found)}: whether the program or the C library calls it cannot be told",
            Evidence("symbol table", f"defines {_list(found)}"),
            remedy="judge its objects",
            found=found,
        )

    def _nothing(self) -> Verdict:
        return self.not_applicable("no function is forbidden")


def _found(names: frozenset[str], forbid: tuple[str, ...]) -> dict[str, str]:
    """The forbidden ones of some symbols, each with the function that it is a form of."""
    exact = frozenset(name for name in forbid if not re.search(r"[*?[]", name))
    globs = [name for name in forbid if name not in exact]
    found = {}
    for name in sorted(names):
        for function in spellings(name):
            if function in exact or any(fnmatch.fnmatchcase(function, pattern) for pattern in globs):
                found[name] = function
                break
    return found


def spellings(symbol: str) -> tuple[str, ...]:
    """A symbol without its version, and the functions that it is a form of: "__gets_chk" is "gets"."""
    name = symbol.partition("@")[0]
    found = [name]
    if match := _RENAMED.fullmatch(name):
        found += [part for part in match.groupdict().values() if part]
    for form in tuple(found):
        if form.endswith("64") and form[:-2] in _LARGE_FILE:
            found.append(form[:-2])
    return tuple(found)


def _instead(function: str) -> str:
    better = _DANGEROUS.get(function)
    return f"use {better} instead of {function}" if better else f"do without {function}"


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
