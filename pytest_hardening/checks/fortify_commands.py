"""What the recorded commands tell of FORTIFY where the code does not.

GCC and clang hand -Wp, and -Xpreprocessor on behind all -D and -U, wherever they stand. glibc's features.h does nothing
without optimisation, and takes level 3 for 2 where GCC is older than 12 or glibc itself is too old; GCC's -fhardened
defines _FORTIFY_SOURCE unless the command does (GCC manual, "Program Instrumentation Options").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..elf.facts import ElfFacts, Unit
from ..model import Outcome, Verdict
from .format_security import way_to_commands
from .fortified_names import CHECKED
from .recorded import SEVERAL, Answer, RecordedCheck, is_hardened, options_of, told_by_commands

__all__ = ["remedy_of", "with_commands"]

_NAME = "_FORTIFY_SOURCE"
_NOT_GIVEN = f"no -D{_NAME} among its options"
_OTHERWISE = "the file records another optimisation than its command has, which is not the one that made it"
_OFF = "which switches FORTIFY off"


def remedy_of(level: int) -> str:
    """What to do about a unit that is not fortified."""
    return f"compile every unit with -O2 -U{_NAME} -D{_NAME}={level} (-O0 switches it off)"


def with_commands(verdict: Verdict, facts: ElfFacts, level: int, proven: frozenset[str]) -> Verdict:
    """An unknown verdict of `fortify`, or what the recorded commands make of it; any other as it is.

    Parameters
    ----------
    proven: the units of which the code proves the level, whatever their commands say.
    """
    silent = facts.recipe is None or facts.bytecode or facts.libc == "musl"
    if verdict.outcome is not Outcome.UNKNOWN or silent or (facts.kind.is_static and facts.libc is None):
        return verdict
    told = _Commands().judge(facts, {"level": level, "proven": proven})
    if told.outcome is Outcome.NOT_APPLICABLE:
        return verdict
    doubt = _doubt(facts, level, verdict.observed.get("level")) if Outcome.PASS in (told.outcome, told.rest) else ""
    if told.outcome is Outcome.FAIL:
        return replace(
            told,
            evidence=(*told.evidence, *verdict.evidence),
            rest=Outcome.UNKNOWN if doubt else told.rest,
            observed={"level": None, "mixed": bool(proven)},
        )
    evidence = (*verdict.evidence, *told.evidence)
    if told.outcome is Outcome.PASS and not doubt:
        return replace(
            verdict,
            outcome=Outcome.PASS,
            summary=f"fortified by the recorded commands: {told.summary}",
            evidence=evidence,
            observed={"level": level},
            remedy="",
        )
    more = doubt or (told.summary if _NOT_GIVEN in told.summary else "")
    summary = f"{verdict.summary}; {more}" if more else verdict.summary
    return replace(verdict, summary=summary, evidence=evidence, remedy=verdict.remedy or told.remedy)


def _doubt(facts: ElfFacts, level: int, proven_level: int | None) -> str:
    """Why options that ask for a level need not bring it; empty where they do."""
    if facts.libc is None and not (facts.imports is not None and facts.imports.names & CHECKED):
        return f"each command has -D{_NAME}, but for which C library is not told: musl has no FORTIFY"
    if level == 3 and (proven_level != 3 or len(facts.compilers) > 1):
        return f"each command has -D{_NAME}=3, which an older compiler or glibc takes for 2"
    return ""


class _Commands(RecordedCheck):
    """Whether FORTIFY is in force in the command of every unit."""

    name = "fortify"

    def answer(self, facts: ElfFacts, unit: Unit, parameters: Mapping[str, Any]) -> Answer:
        level = parameters["level"]
        if unit.name and unit.name in parameters["proven"]:
            return Answer(True, "with FORTIFY, as its code proves")
        if unit.whole or unit.compiler == "clang":  # which records -D as well
            return _judged(unit, level)
        found = told_by_commands(facts, unit)
        if not found:
            return self.unrecorded(facts)
        if any(_is_optimised(unit) is not _is_optimised(one) for one in found):
            return Answer(None, _OTHERWISE, "build it anew")
        answers = [_judged(one, level)._replace(told_by=one.source) for one in found]
        same = len({answer.conforms for answer in answers}) == 1
        return answers[0] if same else Answer(None, SEVERAL)

    def unrecorded(self, facts: ElfFacts) -> Answer:
        return Answer(None, "no compile command of it is known", way_to_commands(facts))

    def remedy(self, parameters: Mapping[str, Any]) -> str:
        return remedy_of(parameters["level"])


def _judged(unit: Unit, level: int) -> Answer:
    """What a whole command says."""
    given = next((option for option in reversed([*_preprocessed(unit.flags or ())]) if _is_about(option)), "")
    optimisation = _optimisation(unit)
    if unit.compiler not in ("", "gcc", "clang"):
        return Answer(None, f"compiled by {unit.compiler}, of which it is not known what it makes of -D{_NAME}")
    if not _is_optimised(unit):
        return Answer(False, f"with {optimisation}, {_OFF}" if optimisation else f"without -O1 or higher, {_OFF}")
    if not given and unit.compiler == "gcc" and is_hardened(unit):
        return Answer(True, f"with -fhardened {optimisation}")
    if not given:
        fix = f"give each unit -U{_NAME} -D{_NAME}={level}: what a compiler is configured with is not recorded"
        return Answer(None, _NOT_GIVEN, fix)
    if given.startswith("-U"):
        return Answer(False, f"with {given}, {_OFF}")
    value = given.partition("=")[2] if "=" in given else "1"
    if not re.fullmatch("[0-9]{1,2}", value):
        return Answer(None, f"with {given}, whose level is not known")
    if int(value) < level:
        return Answer(False, f"with {given}, {f'below level {level}' if int(value) else _OFF}")
    return Answer(True, f"with {given} {optimisation}")


def _preprocessed(words: Sequence[str]) -> Iterator[str]:
    """The options in the order in which the preprocessor gets them."""
    first: list[str] = []
    last: list[str] = []
    following = iter(words)
    for word in following:
        if word.startswith("-Wp,"):
            last += word.split(",")[1:]
        elif word == "-Xpreprocessor":
            last.append(next(following, ""))
        else:
            first.append(word)
    for part in (first, last):
        yield from options_of(Unit("", flags=tuple(part)))


def _is_about(option: str) -> bool:
    return option[:2] in ("-D", "-U") and option[2:].partition("=")[0] == _NAME


def _optimisation(unit: Unit) -> str:
    return next((option for option in reversed([*options_of(unit)]) if option.startswith("-O")), "")


def _is_optimised(unit: Unit) -> bool:
    return _optimisation(unit) not in ("", "-O0")
