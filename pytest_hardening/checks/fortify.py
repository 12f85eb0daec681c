from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar

from ..elf.code.plain_calls import KEPT
from ..elf.facts import ElfFacts, LibraryCall, Need, Unit
from ..model import Evidence, Kind, Outcome, Verdict
from .base import LINKED, Check, Parameter, without_c
from .fortified_names import (
    CHECKED,
    CHECKED_AT_LEVEL_2,
    FORTIFIABLE,
    UNCHECKED_BELOW_LEVEL_1,
    UNCHECKED_BELOW_LEVEL_2,
)
from .fortify_commands import remedy_of, with_commands
from .functions import culprits_of, place_of, units_named, way_to_see

__all__ = ["Fortify"]

_SHOWN = 8
_FOREIGN = {"rustc": "Rust", "go": "Go", "d": "D", "ghc": "Haskell"}
_RUNTIMES = ("__gcov_", "__asan_", "__ubsan_", "__tsan_", "__msan_", "__hwasan_", "__llvm_profile_")
_PRINTF_IN_ASSERTIONS = 12  # c++config.h before: __replacement_assert calls __builtin_printf, which no header replaces
_FORMATTING = frozenset(("sprintf", "snprintf", "vsprintf", "vsnprintf", "vswprintf"))  # level 1 leaves them
# fortified in C++ for clang, too: they need no __va_arg_pack
_CLANG_CPLUSPLUS = frozenset(("vprintf", "vfprintf", "longjmp", "_longjmp", "siglongjmp"))
_ALL_CALLS_KNOWN = frozenset(("x86-64", "x32"))
# where compilers write instructions in place of some calls
_WITHOUT_CALLS = frozenset(("x86-64", "x32", "i386", "s390x"))
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
    printf or fprintf proves a unit below level 2, beside fortified ones too (a mixed build); the code tells which
    function of which unit. So does plain sprintf or snprintf of C whose format is neither "%s" nor free of %. Other
    plain calls, and the instructions that compilers write in their place, count by their arguments: where FORTIFY
    leaves them alone, because the size is constant or the object's unknown, they mean nothing; else their unit, or
    function where units are unknown, must make a checked call, or it is unknown. The flag of __printf_chk and its
    like tells each caller's level, and an object size that is computed tells level 3; where neither shows, level 3
    is unknown. -O0 switches FORTIFY off, whatever the flags: a unit recorded with it fails. Static programs hold
    the C library too: what the program's own functions call is told by symbols or DWARF, else unknown.

    Where all that leaves it unknown, the commands tell that a build system recorded (--hardening-build): a unit whose
    command takes -D_FORTIFY_SOURCE back, asks for a lower level or does not optimise fails; where the command of every
    unit asks for the level, the file passes. For level 3 one call must prove it too, as older compilers and glibc take
    it for 2. A command without _FORTIFY_SOURCE proves nothing: compilers are configured with it.

    When it does not apply
    ----------------------
    Files that call no function which FORTIFY could replace. musl has no such functions: unknown. Where clang may have
    compiled C++, plain printf is no proof: glibc's headers do not fortify it there. An object does not tell which C
    library it was compiled for: leave musl's objects out.

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
        if facts.bytecode or facts.libc == "musl":
            return frozenset()
        if facts.kind.is_static:
            return frozenset({Need.UNITS, Need.CALLS})
        wanted = {Need.IMPORTS}
        called = facts.imports is not None and facts.imports.names & (CHECKED | FORTIFIABLE)
        if called or facts.machine.name in _WITHOUT_CALLS:
            wanted |= {Need.UNITS, Need.CALLS, Need.SOURCE_FILES}
        return frozenset(wanted)

    def inapplicable(self, facts: ElfFacts) -> str:
        return without_c(facts)

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        level = parameters["level"]
        proven = {_origin(facts, call) for call in _calls(facts) if _proves(call, level)}
        units = frozenset(origin for origin in proven if isinstance(origin, str))
        return with_commands(self._by_code(facts, level), facts, level, units)

    def _by_code(self, facts: ElfFacts, level: int) -> Verdict:
        if facts.bytecode:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time", level=None)
        if facts.libc == "musl":
            return self.unknown("musl has no fortified functions: nothing in the file can show it", level=None)
        if facts.kind.is_static:
            if reason := self._static_unknown(facts):
                remedy = way_to_see(facts.calls.incomplete) if facts.calls is not None else ""
                return self.unknown(reason, remedy=remedy, level=None)
            names = frozenset(call.callee for call in facts.calls.found) if facts.calls else frozenset()
            if not names & (CHECKED | FORTIFIABLE):
                return self.not_applicable("its own code calls no function that FORTIFY replaces")
            called = names
        else:
            names, called = (facts.imports.names, facts.imports.calls) if facts.imports else (frozenset(), frozenset())
            names |= {call.callee for call in _calls(facts) if call.tells != "left"}
            if not names & (CHECKED | FORTIFIABLE):
                return self.not_applicable("calls no function that FORTIFY replaces")
        return self._by_calls(facts, names, called, level)

    def _static_unknown(self, facts: ElfFacts) -> str:
        if facts.libc != "glibc":
            return "static, and which C library it holds is not known: nothing in the file can show it"
        if facts.calls is None or facts.calls.incomplete:
            reason = facts.calls.incomplete if facts.calls else "its code was not read"
            return f"the C library's functions lie inside: {reason}"
        return ""

    def _by_calls(self, facts: ElfFacts, names: frozenset[str], called: frozenset[str], level: int) -> Verdict:
        checked = names & CHECKED
        callers = _callers(facts, names & _replaced(level)) + (_decided_by_format(facts) if level > 1 else ())
        guilty = tuple(call for call in callers if not _is_blameless(facts, call))
        plain = (called & _replaced(level)) - {call.callee for call in callers} | {call.callee for call in guilty}
        unoptimised = _callers_in(facts, _unoptimised(facts))
        if plain or unoptimised:
            blamed = tuple(dict.fromkeys((*guilty, *unoptimised)))
            rest = self._rest(facts, checked, plain, blamed, level)
            return self._unfortified(facts, checked, plain, blamed, level, rest)
        if below := tuple(call for call in _calls(facts) if 0 < _flag_level(call) < level):
            return self._below(facts, below, level)
        languages = _foreign_languages(facts)
        if not checked and languages:
            return self.not_applicable(f"no unit of C: {languages}")
        if not checked:
            return self.unknown(
                "no fortified call; its plain calls may be ones that FORTIFY leaves alone",
                Evidence("symbol table", f"undefined {_list(names & FORTIFIABLE)}"),
                level=None,
            )
        silent = names & _replaced(level) - {call.callee for call in callers}
        if silent:
            return self.unknown(
                f"fortified calls beside plain {_list(silent)}, called through the GOT or only pointed to",
                Evidence("symbol table", f"undefined {_list(checked)}"),
                level=None,
            )
        if reason := _unaccounted(facts, names, level):
            return self.unknown(
                f"some units are fortified; {reason}",
                Evidence("symbol table", f"undefined {_list(checked)}"),
                remedy="DWARF (-g) tells which unit a function comes from",
                level=None,
            )
        return self._fortified(facts, checked, level)

    def _rest(
        self,
        facts: ElfFacts,
        checked: frozenset[str],
        plain: frozenset[str],
        blamed: tuple[LibraryCall, ...],
        level: int,
    ) -> Outcome | None:
        if plain - {call.callee for call in blamed}:  # calls of which no caller is known
            return None
        if facts.calls is None or facts.calls.incomplete or not checked:
            return Outcome.UNKNOWN
        places = {(call.caller.unit, call.caller.function, call.caller.address) for call in blamed}
        others = tuple(
            call
            for call in facts.calls.found
            if (call.caller.unit, call.caller.function, call.caller.address) not in places
        )
        names = facts.imports.names if facts.imports is not None else frozenset()
        names -= {call.callee for call in facts.calls.found} - {call.callee for call in others}  # theirs alone
        mended = replace(facts, calls=replace(facts.calls, found=others))
        if _unaccounted(mended, names, level):
            return Outcome.UNKNOWN
        return self._fortified(mended, checked, level).outcome

    def _below(self, facts: ElfFacts, calls: tuple[LibraryCall, ...], level: int) -> Verdict:
        least = min(map(_flag_level, calls))
        return self.failed(
            f"fortified at level {least} only{_see(calls)}: the flag that {calls[0].callee} is given says so",
            *(
                Evidence(
                    "code", f"{place_of(call.caller)} calls {call.callee} with the flag of level {_flag_level(call)}"
                )
                for call in calls[:_SHOWN]
            ),
            remedy=remedy_of(level),
            culprits=culprits_of(call.caller for call in calls),
            level=least,
            mixed=any(_flag_level(call) >= level for call in _calls(facts)),
        )

    def _unfortified(
        self,
        facts: ElfFacts,
        checked: frozenset[str],
        plain: frozenset[str],
        guilty: tuple[LibraryCall, ...],
        level: int,
        rest: Outcome | None,
    ) -> Verdict:
        seen = [Evidence("relocations", f"calls to plain {_list(plain)}")] if plain else []
        seen += [Evidence("code", sentence) for sentence in _sentences(guilty)]
        if checked:
            seen.append(Evidence("symbol table", f"{_list(checked)}"))
        slow = _unoptimised(facts)
        doubt = "" if slow or any(_is_certain(facts, call) for call in guilty) else _doubt(facts, guilty)
        if doubt:
            return self.unknown(f"calls plain {_list(plain)}, which proves nothing here: {doubt}", *seen, level=None)
        seen += [Evidence(unit.source, f"{unit.name}: no -O1 or higher on record") for unit in slow[:_SHOWN]]
        return self.failed(
            _switched_off(slow, guilty) if slow else _too_low(checked, plain, guilty),
            *seen,
            remedy=remedy_of(level),
            culprits=culprits_of(call.caller for call in guilty),
            rest=rest,
            level=0,
            mixed=bool(checked),
        )

    def _fortified(self, facts: ElfFacts, checked: frozenset[str], level: int) -> Verdict:
        at_level_3 = [call for call in _calls(facts) if call.tells in ("computed", "level 3")]
        at_level_2 = checked & CHECKED_AT_LEVEL_2 or any(_flag_level(call) == 2 for call in _calls(facts))
        least = 3 if at_level_3 else 2 if at_level_2 else 1
        seen = [Evidence("symbol table", f"{_list(checked & CHECKED_AT_LEVEL_2 or checked)}")]
        seen += [
            Evidence("code", f"{place_of(call.caller)} {_shows_level_3(call)} {call.callee}") for call in at_level_3[:1]
        ]
        if least >= level and (level < 3 or _every_unit(facts, at_level_3)):
            return self.passed(f"fortified at level {least} or higher", *seen, level=least)
        return self.unknown(_too_vague(facts, least, level), *seen, level=least)


def _too_vague(facts: ElfFacts, least: int, level: int) -> str:
    """Why a file that is fortified does not show at which level."""
    if level < 3:
        return f"at least level {least}; level {level} would look the same here (no call that tells them apart)"
    if least == 3:
        return "level 3 in some places; others would look the same at level 2 (their buffer sizes are constants)"
    if facts.calls is None or facts.calls.incomplete:
        reason = facts.calls.incomplete if facts.calls is not None else "its code was not read"
        return f"at least level {least}; cannot tell whether level 3: {reason}"
    sizes = {call.tells for call in _callers(facts, CHECKED - CHECKED_AT_LEVEL_2)}  # printf and its like take no buffer
    if sizes == {"constant"}:
        return f"at least level {least}; level 3 would look the same here (all buffer sizes are constants)"
    if not sizes:
        return f"at least level {least}; level 3 would look the same here (no call passes a buffer's size)"
    return f"at least level {least}; cannot tell whether level 3: the code does not show how buffer sizes are made"


def _calls(facts: ElfFacts) -> tuple[LibraryCall, ...]:
    return facts.calls.found if facts.calls else ()


def _flag_level(call: LibraryCall) -> int:
    """The level that the flag of a fortified call tells; 0 where it does not."""
    return int(call.tells[6:]) if call.tells.startswith("level ") else 0


def _shows_level_3(call: LibraryCall) -> str:
    return "computes the object size for" if call.tells == "computed" else "passes the flag of level 3 to"


def _decided_by_format(facts: ElfFacts) -> tuple[LibraryCall, ...]:
    """Plain calls that level 2 replaces because of their format. C++ is left out: clang's is not fortified there, and
    libstdc++'s headers call vsnprintf themselves.
    """
    found = []
    # a static libstdc++ leaves no name in a stripped file, but its tables for exceptions
    tables = not facts.sections or any(section.name.startswith(".gcc_except_table") for section in facts.sections)
    cplusplus = _has_cplusplus(facts, facts.dynamic.needed if facts.dynamic else ())
    mixed = tables or cplusplus or _holds_runtime(facts)
    for call in _calls(facts):
        unit = _unit_of(facts, call)
        if call.tells == "replaced" and (unit.language == "c" if unit is not None and unit.language else not mixed):
            found.append(call)
    return tuple(found)


def _holds_runtime(facts: ElfFacts) -> bool:
    """Whether the library of a sanitizer or of coverage is in it, or is called: these are built without FORTIFY."""
    symbols = facts.imports.names | facts.imports.defined if facts.imports is not None else frozenset()
    libgcov = any(unit.startswith("libgcov") for unit in facts.source_files or ())
    return libgcov or any(name.startswith(_RUNTIMES) for name in symbols)


def _unaccounted(facts: ElfFacts, names: frozenset[str], level: int) -> str:
    """Which plain calls a unit without FORTIFY may have made; empty where each stands beside a fortified one, or is one
    that FORTIFY leaves alone.
    """
    ambiguous = names & FORTIFIABLE - KEPT - _replaced(level)
    if not ambiguous and facts.machine.name in _WITHOUT_CALLS and facts.calls is not None and facts.calls.incomplete:
        return (
            f"instructions may stand in place of plain calls, and not all code was looked at: {facts.calls.incomplete}"
        )
    if not ambiguous:
        return ""
    if facts.calls is None or facts.calls.incomplete:
        reason = facts.calls.incomplete if facts.calls else "its code was not read"
        return f"whether those that call plain {_list(ambiguous)} are cannot be told: {reason}"
    proofs = {_origin(facts, call) for call in _calls(facts) if _proves(call, level)}
    checked = proofs if level == 3 else {_origin(facts, call) for call in _callers(facts, CHECKED)}
    left = ("left",) if level == 3 else ("left", "left at level 2")
    doubtful: dict[str | int, LibraryCall] = {}
    for call in _calls(facts):
        if call.callee in ambiguous and call.tells not in left and not _is_blameless(facts, call):
            origin = _origin(facts, call)
            if origin not in (proofs if call.callee in _FORMATTING else checked):
                doubtful.setdefault(origin, call)
    if not doubtful:
        return _uncalled(facts, ambiguous)
    first = next(iter(doubtful.values()))
    known = "its unit" if facts.calls.one_unit or isinstance(next(iter(doubtful)), str) else "it"
    more = f" (and {len(doubtful) - 1} more)" if len(doubtful) > 1 else ""
    return (
        f"{place_of(first.caller)}{more} calls plain {first.callee}, which FORTIFY may have replaced, and {known} "
        "makes no fortified call that would tell"
    )


def _uncalled(facts: ElfFacts, names: frozenset[str]) -> str:
    """Which imports no call was found of, in a file all of whose code was looked at: it may be called in a way that is
    not known here. Of x86-64 all ways are; there such an import is only pointed to.
    """
    if facts.calls is None or facts.calls.left_out or facts.imports is None:
        return ""
    lost = names & facts.imports.names - {call.callee for call in facts.calls.found}
    if facts.machine.name in _ALL_CALLS_KNOWN:
        lost &= facts.imports.calls
    return f"no call of plain {_list(lost)} was found in its code" if lost else ""


def _proves(call: LibraryCall, level: int) -> bool:
    """Whether a call proves that its unit was compiled at a level or a higher one."""
    if level == 3:
        return call.tells in ("computed", "level 3")
    return _flag_level(call) >= level or call.callee in (CHECKED_AT_LEVEL_2 if level == 2 else CHECKED)


def _origin(facts: ElfFacts, call: LibraryCall) -> str | int:
    """The unit that a call comes from, its function where the unit is not known."""
    if facts.calls is not None and facts.calls.one_unit:
        return ""
    if call.caller.unit and len(units_named(facts.units, (call.caller.unit,))) == 1:
        return call.caller.unit
    return call.caller.address


def _replaced(level: int) -> frozenset[str]:
    """The functions that FORTIFY at a level always replaces."""
    return UNCHECKED_BELOW_LEVEL_1 if level == 1 else UNCHECKED_BELOW_LEVEL_1 | UNCHECKED_BELOW_LEVEL_2


def _callers(facts: ElfFacts, names: frozenset[str]) -> tuple[LibraryCall, ...]:
    return tuple(call for call in (facts.calls.found if facts.calls else ()) if call.callee in names)


def _callers_in(facts: ElfFacts, units: tuple[Unit, ...]) -> tuple[LibraryCall, ...]:
    names = {unit.name for unit in units}
    found = facts.calls.found if facts.calls else ()
    return tuple(call for call in found if call.caller.unit in names and call.callee in FORTIFIABLE)


def _too_low(checked: frozenset[str], plain: frozenset[str], guilty: tuple[LibraryCall, ...]) -> str:
    """What a file is that calls plain functions, in one sentence."""
    lowest = 1 if plain <= UNCHECKED_BELOW_LEVEL_1 else 2
    what = "not fortified" if lowest == 1 else "not fortified, or only at level 1"
    if checked & CHECKED_AT_LEVEL_2:
        what = f"some units are {what}"
    return f"{what}{_see(guilty)}: calls plain {_list(plain)}, which level {lowest} replaces"


def _see(calls: tuple[LibraryCall, ...]) -> str:
    """Which functions make the calls, for the middle of a sentence."""
    places = list(_plain_calls(calls))
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f", see {places[0]}{more}" if places else ""


def _switched_off(units: tuple[Unit, ...], guilty: tuple[LibraryCall, ...]) -> str:
    """The same for one of which units were compiled without optimisation."""
    names = list(dict.fromkeys(unit.name or "a unit" for unit in units))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    verb = "were" if len(names) > 1 else "was"
    text = f"{', '.join(names[:_SHOWN])}{more} {verb} compiled without optimisation, which switches FORTIFY off"
    called = _plain_calls(call for call in guilty if call.caller.unit in names)
    if not called:
        return text
    place, callees = next(iter(called.items()))
    others = f" (and {len(called) - 1} more)" if len(called) > 1 else ""
    where = place.removesuffix(f" of {names[0]}") if len(names) == 1 else place
    return f"{text}: {where} calls plain {_list(frozenset(callees))}{others}"


def _plain_calls(guilty: Iterable[LibraryCall]) -> dict[str, list[str]]:
    """By calling function, as a sentence names it: what it calls."""
    called: dict[str, list[str]] = {}
    for call in guilty:
        callees = called.setdefault(place_of(call.caller), [])
        if call.callee not in callees:
            callees.append(call.callee)
    return called


def _sentences(guilty: tuple[LibraryCall, ...]) -> Iterator[str]:
    """Which functions call what, a sentence for each of the first ones."""
    called = _plain_calls(guilty)
    for place, callees in islice(called.items(), _SHOWN):
        yield f"{place} calls plain {_list(frozenset(callees))}"
    if len(called) > _SHOWN:
        yield f"and {len(called) - _SHOWN} more functions"


def _foreign_languages(facts: ElfFacts) -> str:
    """The languages of all units, where they are known and none is C or C++; else empty."""
    units = facts.units
    if units is None or units.unread or not all(unit.language for unit in units.found):
        return ""
    return "" if any(unit.is_c_family for unit in units.found) else ", ".join(sorted({u.language for u in units.found}))


def _unoptimised(facts: ElfFacts) -> tuple[Unit, ...]:
    """Units of C whose record holds no optimisation: there glibc's headers ignore _FORTIFY_SOURCE (features.h)."""
    units = facts.units.found if facts.units is not None else ()
    return tuple(
        unit
        for unit in units
        if unit.is_c_family
        and unit.flags is not None
        and next((flag for flag in reversed(unit.flags) if flag.startswith("-O")), "-O0") == "-O0"
    )


def _unit_of(facts: ElfFacts, call: LibraryCall) -> Unit | None:
    return next(iter(units_named(facts.units, (call.caller.unit,))), None) if call.caller.unit else None


def _is_certain(facts: ElfFacts, call: LibraryCall) -> bool:
    """Whether the call comes from a unit that is known, and FORTIFY would have replaced it."""
    unit = _unit_of(facts, call)
    return unit is not None and unit.is_c_family and facts.libc != "bionic" and not _reason_for_doubt(facts, unit, call)


def _is_blameless(facts: ElfFacts, call: LibraryCall) -> bool:
    """Whether the call comes from a unit that FORTIFY cannot reach, or of which other calls prove the level."""
    unit = _unit_of(facts, call)
    if unit is None or not unit.language:
        return False
    if not unit.is_c_family:
        return True
    proofs = _callers(facts, CHECKED_AT_LEVEL_2)
    return bool(_reason_for_doubt(facts, unit, call)) and any(proof.caller.unit == unit.name for proof in proofs)


def _reason_for_doubt(facts: ElfFacts, unit: Unit, call: LibraryCall) -> str:
    """Why a plain call of a unit of C++ proves nothing; empty where it does."""
    if unit.language != "c++" or call.callee in _CLANG_CPLUSPLUS:
        return ""
    if not (unit.compiler == "gcc" or (not unit.compiler and facts.compilers == ("gcc",))):
        return f"{unit.name} is C++ and perhaps compiled by clang, where glibc's headers do not fortify it"
    oldest = int(unit.version.partition(".")[0]) if unit.version[:1].isdecimal() else facts.oldest_gcc
    if call.callee == "printf" and oldest is not None and oldest < _PRINTF_IN_ASSERTIONS:
        return f"libstdc++ before GCC {_PRINTF_IN_ASSERTIONS} reports failed assertions with plain printf"
    return ""


def _every_unit(facts: ElfFacts, at_level_3: list[LibraryCall]) -> bool:
    """Whether each unit that makes a checked call makes one whose object size is computed."""
    return {_origin(facts, call) for call in _callers(facts, CHECKED)} == {_origin(facts, call) for call in at_level_3}


def _doubt(facts: ElfFacts, calls: tuple[LibraryCall, ...]) -> str:
    """Why plain calls may come from code that FORTIFY cannot reach; empty where they cannot."""
    for call in calls:
        unit = _unit_of(facts, call)
        if unit is not None and (reason := _reason_for_doubt(facts, unit, call)):
            return reason
    for compiler, language in _FOREIGN.items():
        if compiler in facts.compilers:
            return f"part of the file is {language}"
    if facts.libc == "bionic":
        return "bionic does not replace them"
    if _holds_runtime(facts):
        return "a coverage or sanitizer runtime calls them too"
    needed = facts.dynamic.needed if facts.dynamic else ()
    for library, language in _FOREIGN_LIBRARIES.items():
        if any(name.startswith(library) for name in needed):
            return f"part of the file is {language}"
    if all(call.callee in _CLANG_CPLUSPLUS for call in calls) and calls:
        return ""
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
