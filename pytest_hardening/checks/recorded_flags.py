from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need, Unit
from ..errors import PolicyError
from ..model import Verdict
from .base import Parameter
from .recorded import Answer, RecordedCheck, is_hardened, options_of, tells_absence, told_by_commands

__all__ = ["RecordedFlags", "option_in_force"]

# other spellings of the same option (GCC and clang manuals); GCC records -p for -pg
_SAME = {
    "-O": "-O1",
    "-pg": "-p",
    "-fcf-protection": "-fcf-protection=full",
    "-fno-cf-protection": "-fcf-protection=none",
    "-fstrict-flex-arrays": "-fstrict-flex-arrays=3",
    "-fno-strict-flex-arrays": "-fstrict-flex-arrays=0",
}
_PIC = "-fpic"
_PROTECTOR = "-fstack-protector"
_SWITCHES = {
    **{f"-f{no}{name}": _PIC for no in ("", "no-") for name in ("pic", "PIC", "pie", "PIE")},
    **{f"{_PROTECTOR}{kind}": _PROTECTOR for kind in ("", "-strong", "-all", "-explicit")},
}
# compilers are configured with these on, and record no default (GCC: --enable-default-pie, --enable-default-ssp)
_DEFAULTS = frozenset((_PIC, _PROTECTOR, "-fcf-protection", "-fstack-clash-protection"))
# several values may be in force, each until it is taken back
_SETS = ("-fsanitize", "-fsanitize-trap", "-fsanitize-recover", "-fsanitize-coverage")
# what GCC's -fhardened stands for (GCC manual, "Program Instrumentation Options")
_HARDENED = frozenset(
    "-D_GLIBCXX_ASSERTIONS=1 -ftrivial-auto-var-init=zero -fPIE -fstack-protector-strong -fstack-clash-protection "
    "-fcf-protection=full".split()
)
_BY_GCC = ("-f", "-m", "-O", "-std=", "--param=")
# options of the link step, in no command that compiles
_OF_LINK = ("-Wl,", "-Xlinker", "-l", "-L", "-pie", "-no-pie", "-static", "-shared", "-rdynamic", "-fuse-ld=")
_NOT_BY_GCC = re.compile(r"-f(dump|diagnostics|plugin|\w+-prefix-map|message-length|working-directory|preprocessed)")


class RecordedFlags(RecordedCheck):
    """Every unit was compiled with the options that a project asks for, and without those that it forbids.

    What it protects
    ----------------
    Whatever the options do that a project names: for those that no other check knows, and for those that leave no trace
    in the code.

    Evidence
    --------
    Each unit's record (DW_AT_producer, .GCC.command.line). The last option of a switch is in force: -fno-x and
    -fx=none take -fx back, the last -O, -fstack-protector and -fPIC of their families win, -fsanitize= adds up;
    GCC's -fhardened brings its options unless they are given beside it. Nothing else that one option implies is
    looked into. GCC records options of code generation only (-f, -m, -O, -std=, --param): of others it is unknown,
    and so it is where the compiler may have been configured with the option on (-fPIE, -fstack-protector...,
    -fcf-protection, -fstack-clash-protection) or where it writes down something else (-march=native). What the file
    does not tell is judged by the command that the build system recorded for the unit, where one is known
    (--hardening-build); what the file tells holds against it. Else it is unknown: files without -g or stripped ones,
    clang without -grecord-command-line; linked files in which a unit without record may hide, after link-time
    optimisation or -Wl,-x.

    When it does not apply
    ----------------------
    When no flags are asked for, which is the default; objects without code; files without a unit of C, C++ or
    Objective-C.

    Fix
    ---
    Give the option to every unit, last where several of its kind are given, or take it away.

    References
    ----------
    GCC manual, "Code Gen Options", -frecord-gcc-switches; clang manual, -grecord-command-line; DWARF, DW_AT_producer.
    """

    name = "recorded-flags"
    label = "Recorded flags"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "with_flags": Parameter((), (), 'options that every unit must have, such as "-fstack-clash-protection"'),
        "without_flags": Parameter((), (), 'options that no unit may have, such as "-ffast-math"'),
    }

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        settings = super().settings(values)
        for name, flags in settings.items():
            for flag in flags:
                if not re.fullmatch(r"-\S+", flag):
                    raise PolicyError(f"{self.name}.{name} = {flag!r}: expected one option in one word")
        return settings

    def asks_nothing(self, parameters: Mapping[str, Any]) -> bool:
        return not any(parameters.values())

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return super().needs(facts, parameters) if any(parameters.values()) else frozenset()

    def judge_bitcode(self, parameters: Mapping[str, Any]) -> Verdict:
        return super().judge_bitcode(parameters) if any(parameters.values()) else self._nothing()

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if not any(parameters.values()):
            return self._nothing()
        return super().judge(facts, parameters)

    def _nothing(self) -> Verdict:
        return self.not_applicable("no flags asked for")

    def answer(self, facts: ElfFacts, unit: Unit, parameters: Mapping[str, Any]) -> Answer:
        conforming: list[str] = []
        lacking: list[str] = []
        doubtful: list[str] = []
        amiss: dict[str, list[str]] = {"with_flags": [], "without_flags": []}
        ways: list[str] = []
        for names, wanted in (("with_flags", True), ("without_flags", False)):
            for flag in parameters[names]:
                state, told_by = _told(facts, unit, flag)
                if state is None:
                    doubtful.append(f"the record does not tell {flag}")
                    ways.append(_way(unit, flag, names))
                else:
                    words = f"{'with' if state else 'without'} {flag}{told_by}"
                    (conforming if state is wanted else lacking).append(words)
                    if state is not wanted:
                        amiss[names].append(flag)
        if lacking:
            return Answer(False, ", ".join(lacking), self.remedy(amiss))
        if doubtful:
            return Answer(None, ", ".join(doubtful), "; ".join(ways))
        return Answer(True, ", ".join(conforming))

    def remedy(self, parameters: Mapping[str, Any]) -> str:
        wanted, forbidden = " ".join(parameters["with_flags"]), " ".join(parameters["without_flags"])
        parts = [f"with {wanted}" if wanted else "", f"without {forbidden}" if forbidden else ""]
        return f"compile every unit {' and '.join(filter(None, parts))}"


def _told(facts: ElfFacts, unit: Unit, flag: str) -> tuple[bool | None, str]:
    """Whether an option is in force; where the file does not tell, whether it is in all commands that may have made the
    unit, and in which record these stand.
    """
    state = option_in_force(unit, flag)
    if state is not None or unit.whole:
        return state, ""
    found = told_by_commands(facts, unit)
    states = {option_in_force(one, flag) for one in found}
    return (states.pop(), f" ({found[0].source})") if len(states) == 1 else (None, "")


def option_in_force(unit: Unit, flag: str) -> bool | None:
    """Whether an option was given to a unit and not taken back; None where the record does not tell."""
    wanted = _spelled(flag)
    switch, values = _switch(wanted), wanted.partition("=")[2]
    if switch in _SETS:
        return None if not tells_absence(unit) else all(_is_in_set(unit, switch, value) for value in values.split(","))
    if values == "native":
        return None
    given = [option for option in map(_spelled, options_of(unit)) if _switch(option) == switch]
    if given:
        return given[-1] == wanted
    if wanted in _HARDENED and is_hardened(unit):
        return True
    if switch in _DEFAULTS or (switch != "-O" and not tells_absence(unit)) or unit.compiler not in ("gcc", "clang"):
        return None
    if unit.whole:
        return None if wanted.startswith(_OF_LINK) else False
    told = unit.compiler == "clang" or wanted == "-p" or (wanted.startswith(_BY_GCC) and not _NOT_BY_GCC.match(wanted))
    return False if told else None


def _way(unit: Unit, flag: str, parameter: str) -> str:
    """What to do about a flag of which the record does not tell: see `option_in_force`."""
    if flag.endswith("=native"):
        return f"name the machine that {flag} stands for: the record does"
    if _switch(_spelled(flag)) in _DEFAULTS:
        given = flag if parameter == "with_flags" else f"the opposite of {flag}"
        return f"compile every unit with {given}: what a compiler is configured with is not recorded"
    compiler = "GCC" if unit.compiler == "gcc" else unit.compiler or "its compiler"
    return f"remove {flag} from {parameter}: {compiler} never records it"


def _spelled(option: str) -> str:
    """An option in the spelling that others are compared with."""
    if option.startswith("-D") and "=" not in option:
        return f"{option}=1"
    return _SAME.get(option, option)


def _switch(option: str) -> str:
    """What options have in common of which the last one wins."""
    if option.startswith("-O"):
        return "-O"
    if option in _SWITCHES:
        return _SWITCHES[option]
    if option.startswith("--param="):
        return option.rpartition("=")[0]
    name = option.partition("=")[0]
    if name.startswith("-U"):
        return f"-D{name[2:]}"
    if name in ("-Werror", "-Wno-error") and name != option:  # of one warning each
        return f"-Werror={option.partition('=')[2]}"
    found = re.match(r"(-[fmW])no-(.+)", name)
    name = f"{found[1]}{found[2]}" if found else name
    return _SWITCHES.get(name, name)


def _is_in_set(unit: Unit, switch: str, value: str) -> bool:
    on = False
    for option in options_of(unit):
        name, _, values = option.partition("=")
        if _switch(option) == switch and ({value, "all"} if name != switch else {value}) & set(values.split(",")):
            on = name == switch
    return on
