from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..elf.facts import ElfFacts, Unit
from .format_warnings import given_warnings, refuses_format
from .functions import UNSTRIPPED
from .recorded import SEVERAL, Answer, RecordedCheck, options_of, told_by_commands

__all__ = ["FormatSecurity", "way_to_commands"]

_NOT_TOLD = "warnings leave no trace in the file, and no compile command of it is known"
_FIX = "say where the build's record lies: --hardening-build DIR (CMake, Meson, compile_commands.json)"
_MISSING = "the build's record has no command of it: let it record a whole build, made anew"
_WARNS = ("-Wformat", "-Wall")
_GCC_REFUSES = "with -Werror=format-security and without -Wformat, which only some compilers are configured with"


class FormatSecurity(RecordedCheck):
    """Every unit was compiled so that a format string that is no literal is an error.

    What it protects
    ----------------
    `printf(text)` lets whoever chooses the text read the stack, and with %n write to memory. The compiler refuses such
    calls where it is told to; nothing is left of that in the file.

    Evidence
    --------
    The command that the build system recorded for each unit (--hardening-build), and for clang the one that the file
    holds (-grecord-command-line). -Wformat, which -Wall and -Wformat=2 bring, and -Werror=format-security must be in
    force, or -Werror with -Wformat-security or -Wformat=2; what follows may take them back, and -w all of it. clang has
    the warnings on by itself, and needs the error alone. A unit's command is found by its source, as the file has it;
    of a stripped file, the commands of its target hold. Where a file without -g was linked with code that no target of
    the build makes (objects, archives, -lNAME which is not loaded, -static), it is unknown; so is a stripped program
    of which only a unit of a static library fails, as the linker may have left that out. Where no command is known,
    where it reads options from a file (@FILE), or where the source was compiled in several ways that differ in this, it
    is unknown; so is a linked file without -g where compile_commands.json is all that is known, unless one of its units
    fails. `#pragma GCC diagnostic` and calls behind wrappers without the attribute `format` are not seen.

    When it does not apply
    ----------------------
    Objects without code; files without a unit of C, C++ or Objective-C.

    Fix
    ---
    Compile every unit with -Wformat -Werror=format-security, and let no -Wno-format, -Wno-format-security,
    -Wno-error=format-security or -w follow.

    References
    ----------
    GCC manual, "Warning Options"; clang, "Diagnostic flags"; dpkg-buildflags(1), hardening=format; CWE-134.
    """

    name = "format-security"
    label = "Format strings checked"

    def answer(self, facts: ElfFacts, unit: Unit, parameters: Mapping[str, Any]) -> Answer:
        if unit.whole or unit.compiler == "clang":
            return _judged(unit)
        answers = [_judged(one)._replace(told_by=one.source) for one in told_by_commands(facts, unit)]
        if not answers:
            return self.unrecorded(facts)
        same = len({answer.conforms for answer in answers}) == 1
        return answers[0] if same else Answer(None, SEVERAL)

    def unrecorded(self, facts: ElfFacts) -> Answer:
        return Answer(None, _NOT_TOLD, way_to_commands(facts))

    def remedy(self, parameters: Mapping[str, Any]) -> str:
        return "compile with -Wformat -Werror=format-security, and let nothing that takes them back follow"


def way_to_commands(facts: ElfFacts) -> str:
    """How the command of a unit comes into reach that none is known of."""
    if facts.recipe is None:
        return _FIX
    if facts.kind.is_linked and not facts.recipe.target and (facts.units is None or not facts.units.found):
        return f"{UNSTRIPPED}: it names no unit, and so which of the build's commands made it is not told"
    return _MISSING


def _judged(unit: Unit) -> Answer:
    options = list(options_of(unit))
    given = list(dict.fromkeys(given_warnings(options)))
    refused = refuses_format(options, unit.compiler)
    if refused is None and "-Werror=format-security" in given:
        return Answer(None, _GCC_REFUSES, "compile with -Wformat as well")
    if refused is None:
        return Answer(None, f"with {' '.join(given)}, and by which compiler is not known")
    if refused:
        return Answer(True, f"with {' '.join(given)}")
    lacking = [] if any(option.startswith(_WARNS) for option in given) else ["-Wformat"]
    if "-Werror=format-security" not in given:
        lacking.append("-Werror=format-security")
    if not lacking or any(option.startswith("-Wno-") or option in ("-w", "-Wformat=0") for option in given):
        return Answer(False, f"with {' '.join(given)}, which is no error")
    return Answer(False, f"without {' '.join(lacking)}")
