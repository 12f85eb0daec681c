"""Judging units by the options that their compiler recorded: what is proof, what is not, and how options override.

GCC records every option for code generation that it was given, after its specs have spoken, with -g in DW_AT_producer
and with -frecord-gcc-switches in .GCC.command.line (gen_producer_string in GCC's opts.cc): what is not there was not
given. Beside its bytecode it keeps the options for the link step, in .gnu.lto_.opts, but not all of them: see
`tells_absence`. It records none of -D, -I, -U, -W, and no default that it was configured with. clang records its whole
command line, and only with -grecord-command-line or -frecord-command-line (clang manual). The last option of a switch
wins; the groups are the exception: GCC lets what was given explicitly win over -fhardened, wherever it stands (GCC
manual, "Program Instrumentation Options").

Where a file has no record of a unit, the command that a build system has of it stands in for one: `told_by_commands`.
Where both tell, the file is right, and what the command says otherwise is shown.
"""

from __future__ import annotations

import posixpath
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..elf.facts import ElfFacts, Need, Unit
from ..model import Evidence, Kind, Outcome, Verdict
from ..recipe import CompileCommand, commands_of
from .base import LINKED, Check, without_c
from .functions import UNSTRIPPED

__all__ = [
    "NO_RECORD",
    "SEVERAL",
    "Answer",
    "RecordedCheck",
    "explicit_option",
    "is_hardened",
    "missing_units",
    "needs_of_units",
    "options_of",
    "tells_absence",
    "told_by_commands",
    "version_of",
]

NO_RECORD = "no flags on record"
_HOW_TO_RECORD = "compile with -g or -frecord-gcc-switches (clang: -grecord-command-line)"
_SHOWN = 3
_MOST_SHOWN = 6
_MOST_CULPRITS = 200
_WITH_VALUE = ("-D", "-U", "-I", "-include", "-mllvm", "--param")
_COMPILERS_OF_C = ("", "gcc", "clang")
SEVERAL = "its source was compiled in several ways, and which of them made this is not told"
_LANGUAGES = {"C": "c", "CXX": "c++", "OBJC": "objective-c", "OBJCXX": "objective-c++"}  # as CMake calls them


class Answer(NamedTuple):
    """What the record of one unit says.

    Parameters
    ----------
    conforms: None where the record does not tell.
    seen: "with -O2", "without -ftrivial-auto-var-init": what follows the word "compiled"; where the record does not
        tell, the reason as a phrase.
    fix: how to mend the unit, where that is not the check's remedy; where the record does not tell, how to make it.
    told_by: the record that says so, where it is not the unit's own.
    """

    conforms: bool | None
    seen: str
    fix: str = ""
    told_by: str = ""


class RecordedCheck(Check):
    """A check that asks the same question of every unit of C, C++ and Objective-C, and of none in other languages.

    One unit that was compiled otherwise makes the file fail and is named. Else one whose record does not tell, or one
    that may be missing, makes it unknown.
    """

    kinds = LINKED | {Kind.OBJECT}

    @abstractmethod
    def answer(self, facts: ElfFacts, unit: Unit, parameters: Mapping[str, Any]) -> Answer:
        """What the record of a unit says, which has one."""

    def unrecorded(self, facts: ElfFacts) -> Answer:
        """What is said of a unit of which there is no record."""
        return Answer(None, NO_RECORD, _way_to_record(facts))

    @abstractmethod
    def remedy(self, parameters: Mapping[str, Any]) -> str:
        """What to do where a unit fails."""

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return needs_of_units(facts)

    def inapplicable(self, facts: ElfFacts) -> str:
        return without_c(facts)

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if facts.units is None or (facts.bytecode and all(unit.flags is None for unit in facts.units.found)):
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time")
        units = [unit for unit in facts.units.found if _may_be_c(unit)] or list(_units_of_target(facts))
        if not units:
            return self._without_c(facts)
        answers = list(_where_linked(facts, (self._told(facts, unit, parameters) for unit in units)))
        others = [
            item
            for unit, (_, answer) in zip(units, answers, strict=True)
            for item in self._otherwise(facts, unit, answer, parameters)
        ]
        failing = [(unit, answer) for unit, answer in answers if answer.conforms is False]
        silent = [(unit, answer) for unit, answer in answers if answer.conforms is None]
        observed = {"units": len(units), "failing": len(failing), "unknown": len(silent)}
        missing = missing_units(facts) or _nameless(facts, units)
        if failing:
            rest = Outcome.UNKNOWN if silent or missing else Outcome.PASS
            return self._failing(failing, parameters, observed, rest, others)
        if silent or missing:
            return self._silent(silent, missing, observed, self.unrecorded(facts).seen)
        kinds = list(dict.fromkeys(answer.seen for _, answer in answers))
        return self.passed(
            f"{len(units)} unit(s) compiled {_few(kinds, ' or ')}",
            *map(_evidence, answers[:_MOST_SHOWN]),
            *others[:_MOST_SHOWN],
            **observed,
        )

    def _told(self, facts: ElfFacts, unit: Unit, parameters: Mapping[str, Any]) -> tuple[Unit, Answer]:
        """What the file's record of a unit says; where it has none, what all commands that may have made it say, and
        the unit as they describe it.
        """
        if unit.flags is not None:
            return unit, self.answer(facts, unit, parameters)
        found = [(one, self.answer(facts, one, parameters)) for one in told_by_commands(facts, unit)]
        if not found:
            return unit, self.unrecorded(facts)
        agree = len({answer.conforms for _, answer in found}) == 1
        return found[0] if agree else (unit, Answer(None, SEVERAL))

    def _otherwise(
        self, facts: ElfFacts, unit: Unit, answer: Answer, parameters: Mapping[str, Any]
    ) -> Iterator[Evidence]:
        """What a unit's commands say against the file's own record."""
        if unit.flags is None or answer.conforms is None:
            return
        for one in told_by_commands(facts, unit):
            other = self.answer(facts, one, parameters)
            if other.conforms is (not answer.conforms):
                what = f"{unit.name}: {other.seen}; the file is right: it was compiled {answer.seen}"
                yield Evidence(one.source, what)

    def _without_c(self, facts: ElfFacts) -> Verdict:
        if facts.units is None or facts.units.unread:
            return self.unknown("; ".join(facts.units.unread) if facts.units else NO_RECORD)
        languages = sorted({unit.language for unit in facts.units.found})
        if languages:
            return self.not_applicable(f"no unit of C: {', '.join(languages)}")
        own = _own_command(facts)
        if own is not None and own.language and own.language not in _LANGUAGES:
            return self.not_applicable(f"no unit of C: {own.language} ({own.recorded_in})")
        answer = self.unrecorded(facts)
        return self.unknown(answer.seen, remedy=answer.fix)

    def _failing(
        self,
        failing: list[tuple[Unit, Answer]],
        parameters: Mapping[str, Any],
        observed: Mapping[str, Any],
        rest: Outcome,
        others: list[Evidence],
    ) -> Verdict:
        names = list(dict.fromkeys(unit.name for unit, _ in failing if unit.name))
        kinds = list(dict.fromkeys(answer.seen for _, answer in failing))
        return self.failed(
            f"{_few(names) if names else 'a unit'} compiled {_few(kinds, ' or ')}",
            *map(_evidence, failing[:_MOST_SHOWN]),
            *others[:_MOST_SHOWN],
            remedy=_fixes(failing, self.remedy(parameters)),
            culprits=tuple(names[:_MOST_CULPRITS]),
            rest=rest if len(names) <= _MOST_CULPRITS and all(unit.name for unit, _ in failing) else None,
            **observed,
        )

    def _silent(
        self,
        silent: list[tuple[Unit, Answer]],
        missing: str,
        observed: Mapping[str, Any],
        unrecorded: str,
    ) -> Verdict:
        if len(silent) == observed["units"] and all(answer.seen == unrecorded for _, answer in silent):
            return self.unknown(unrecorded, remedy=_fixes(silent), **observed)
        reasons = list(dict.fromkeys(answer.seen for _, answer in silent))
        names = list(dict.fromkeys(unit.name or "a unit" for unit, _ in silent))
        return self.unknown(
            f"{_few(names)}: {_few(reasons, '; ')}" if silent else missing,
            *map(_evidence, silent[:_MOST_SHOWN]),
            remedy=_fixes(silent),
            **observed,
        )


def needs_of_units(facts: ElfFacts) -> frozenset[Need]:
    """What tells the units, and whether some may be missing."""
    return frozenset({Need.UNITS})


def missing_units(facts: ElfFacts) -> str:
    """Why a file may hold units that nothing names; empty where all are known."""
    if facts.units is None:
        return "its units were not read"
    if foreign := _vouched_for_by_none(facts):
        return f"what came from {_few(list(foreign))} is not told"
    return facts.units.unread[0] if facts.units.unread else facts.units.hidden


def told_by_commands(facts: ElfFacts, unit: Unit) -> tuple[Unit, ...]:
    """A unit as each of the commands describes it that a build system has of its source; none where it has no command,
    or where the file does not tell which of several units it is that the command made.
    """
    recipe = facts.recipe
    if recipe is None or not unit.name:
        return ()
    if "/" not in unit.name and not unit.folder:
        alike = facts.units.found if facts.units is not None else ()
        tail = f"/{unit.name}"
        if sum(one.name == unit.name or one.name.endswith(tail) for one in alike) > 1:
            return ()
    if not posixpath.isabs(posixpath.join(unit.folder, unit.name)) and _foreign(facts):
        return ()  # one of those units may be called so
    found = commands_of(recipe, unit.name, unit.folder, facts.name if facts.kind is Kind.OBJECT else "")
    if any(command.unread for command in found):
        return ()
    compilers = [name for name in facts.compilers if name in _COMPILERS_OF_C]
    compiler = unit.compiler or (compilers[0] if len(compilers) == 1 else "")
    return tuple(
        replace(unit, compiler=compiler, flags=command.arguments, source=command.recorded_in, whole=True)
        for command in found
    )


def _foreign(facts: ElfFacts) -> tuple[str, ...]:
    """What may have brought code into a linked file whose units the build system does not know."""
    if facts.recipe is None or not facts.kind.is_linked:
        return ()
    return facts.recipe.foreign_beside(facts.dynamic.needed if facts.dynamic is not None else ())


def _vouched_for_by_none(facts: ElfFacts) -> tuple[str, ...]:
    """Foreign code of which nothing tells whether its units are among those that are known: debug information tells
    it of its own (`Units.hidden`).
    """
    units = facts.units.found if facts.units is not None else ()
    return () if units and all(unit.source == "DWARF" or unit.folder for unit in units) else _foreign(facts)


def _own_command(facts: ElfFacts) -> CompileCommand | None:
    """The command that writes this object file, of which nothing but the name is known."""
    if facts.kind is not Kind.OBJECT or facts.recipe is None or len(facts.recipe.units) != 1:
        return None
    command = facts.recipe.units[0]
    return command if posixpath.basename(command.object) == facts.name else None


def _units_of_target(facts: ElfFacts) -> Iterator[Unit]:
    """The units of C that a build system names of a linked file which names none itself: a stripped one."""
    recipe = facts.recipe
    if recipe is None or not recipe.target or not facts.kind.is_linked or (facts.units and facts.units.found):
        return
    for command in recipe.units:
        if command.language in _LANGUAGES:
            yield Unit(command.source, _LANGUAGES[command.language], source=command.recorded_in)


def _where_linked(facts: ElfFacts, answers: Iterable[tuple[Unit, Answer]]) -> Iterator[tuple[Unit, Answer]]:
    """The answers; of a file that names no unit, those which say that one of a static library fails become unknown: the
    linker takes from it what is asked for.
    """
    recipe = facts.recipe
    doubtful: set[str] = set()
    if recipe is not None and facts.units is not None and not facts.units.found:
        taken = set(map(id, recipe.from_archives))
        doubtful = {command.source for command in recipe.from_archives}
        doubtful -= {command.source for command in recipe.units if id(command) not in taken}
    for unit, answer in answers:
        if answer.conforms is False and unit.name in doubtful:
            answer = answer._replace(conforms=None, seen=f"{answer.seen}, if it was linked from its static library")
        yield unit, answer


def _nameless(facts: ElfFacts, units: list[Unit]) -> str:
    """Why there may be units that neither the file nor a build system names: no debug information says whose the code
    is, and the symbol table need not name every object. Empty where that is not so.
    """
    if not facts.kind.is_linked or (facts.recipe is not None and facts.recipe.target):
        return ""
    if any(unit.source != "symbol table" for unit in units):
        return ""
    return "without debug information (-g) it may hold units that nothing names"


def _may_be_c(unit: Unit) -> bool:
    return unit.is_c_family or (not unit.language and unit.compiler in _COMPILERS_OF_C)


def _evidence(judged: tuple[Unit, Answer]) -> Evidence:
    unit, answer = judged
    compiler = f"{unit.compiler} {unit.version}".rstrip()
    compiler = f" ({compiler})" if compiler and compiler not in answer.seen else ""
    return Evidence(answer.told_by or unit.source, f"{unit.name or 'a unit'}{compiler}: {answer.seen}")


def _fixes(judged: list[tuple[Unit, Answer]], otherwise: str = "") -> str:
    """What the answers advise, each once; `otherwise` stands for those that advise nothing."""
    return _few(list(dict.fromkeys(filter(None, (answer.fix or otherwise for _, answer in judged)))), "; ")


def _way_to_record(facts: ElfFacts) -> str:
    """How flags come onto record, or the record that there is into reach."""
    read = facts.units is not None and any(unit.source == "DWARF" for unit in facts.units.found)
    if not read and facts.section(".gnu_debuglink") is not None:
        return "its debug file (.gnu_debuglink) was not read: say where it is, --hardening-debug-root DIR"
    if facts.kind.is_linked and facts.section(".symtab") is None:
        return f"{UNSTRIPPED}, and {_HOW_TO_RECORD}"
    return _HOW_TO_RECORD


def _few(names: list[str], separator: str = ", ") -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return separator.join(names[:_SHOWN]) + more


def version_of(unit: Unit) -> tuple[int, ...]:
    """The compiler's version as numbers; empty when unknown."""
    return tuple(int(part) for part in unit.version.split(".") if part.isdecimal())


def tells_absence(unit: Unit) -> bool:
    """Whether an option that its record lacks was not given. GCC keeps with its bytecode (.gnu.lto_.opts) neither those
    of the C family alone nor those that its driver knows, -fhardened among them: there it is so for -O, and before GCC
    14 for what -fhardened may bring.
    """
    return unit.source != ".gnu.lto_.opts"


def options_of(unit: Unit) -> Iterator[str]:
    """The recorded options, each with its value in one word: `-D NAME` becomes `-DNAME`, `-Wp,-DNAME` too. What clang's
    driver hands on unseen (-Xclang) stands last, as it does for its compiler (Clang.cpp, ConstructJob).
    """
    yield from _with_values(unit.flags or ())


def _with_values(given: Iterable[str]) -> Iterator[str]:
    flags = iter(given)
    handed_on: list[str] = []
    for flag in flags:
        if flag.startswith("-Wp,"):
            yield from flag.split(",")[1:]
        elif flag == "-Xclang":
            handed_on.append(next(flags, ""))
        elif flag in _WITH_VALUE:
            value = next(flags, "")
            yield f"{flag}={value}" if flag.startswith("--") else f"{flag}{value}"
        else:
            yield flag
    if handed_on:
        yield from _with_values([word for word in handed_on if word != "-Xclang"])


def explicit_option(unit: Unit, name: str) -> str:
    """The last option of a switch: for "-fname" of -fname, -fname=VALUE and -fno-name; empty where none was given."""
    off = f"{name[:2]}no-{name[2:]}"
    return _last(options_of(unit), lambda option: option in (name, off) or option.startswith(f"{name}="))


def _last(options: Iterable[str], is_wanted: Any) -> str:
    found = ""
    for option in options:
        if is_wanted(option):
            found = option
    return found


def is_hardened(unit: Unit) -> bool:
    """Whether GCC's -fhardened is in force (GCC 14 and later)."""
    return explicit_option(unit, "-fhardened") == "-fhardened"
