from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Unit
from .base import Parameter
from .recorded import Answer, RecordedCheck, explicit_option, tells_absence, version_of

__all__ = ["StrictFlexArrays"]

_OPTION = "-fstrict-flex-arrays"
_FIRST = {"gcc": 13, "clang": 16}
_LEVELS = {_OPTION: 3, "-fno-strict-flex-arrays": 0, **{f"{_OPTION}={level}": level for level in range(4)}}


class StrictFlexArrays(RecordedCheck):
    """An array at the end of a structure has the size that its declaration says.

    What it protects
    ----------------
    Without it the compiler takes every array at the end of a structure for one that may be larger than declared, and
    neither FORTIFY nor the bounds checks of sanitizers look at accesses to it.

    Evidence
    --------
    The last -fstrict-flex-arrays in each unit's record (DW_AT_producer, .GCC.command.line); without a value it
    means 3, and the default is 0. A unit whose record lacks it fails, that of a compiler which has no such option
    (GCC before 13, clang before 16) as well: it is not protected. Where there is no record it is unknown: files
    without -g or stripped ones, clang without -grecord-command-line; linked files in which a unit without record
    may hide, after link-time optimisation or -Wl,-x. The attribute strict_flex_array of single members is not seen.

    When it does not apply
    ----------------------
    Objects without code; files without a unit of C, C++ or Objective-C.

    Fix
    ---
    Compile every unit with -fstrict-flex-arrays=3; declare arrays that are meant to be flexible as `type name[];`.

    References
    ----------
    GCC manual, "C Dialect Options", -fstrict-flex-arrays; clang manual; OpenSSF Compiler Options Hardening Guide.
    """

    name = "strict-flex-arrays"
    label = "Strict flexible arrays"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "level": Parameter(3, (1, 2, 3), "the lowest level accepted; 3 takes only `type name[];` for flexible")
    }

    def answer(self, facts: ElfFacts, unit: Unit, parameters: Mapping[str, Any]) -> Answer:
        given = explicit_option(unit, _OPTION)
        if given in _LEVELS:
            return Answer(_LEVELS[given] >= parameters["level"], f"with {given}")
        if given:
            return Answer(None, f"{given} is not known here")
        version = version_of(unit)
        if version and version[0] < _FIRST.get(unit.compiler, 0):
            return Answer(
                False,
                f"by {unit.compiler} {unit.version}, which has no {_OPTION}",
                f"needs GCC 13, clang 16 or later; then add {_OPTION}={parameters['level']}",
            )
        if not tells_absence(unit):
            return Answer(None, f"{unit.source} does not tell {_OPTION}")
        return Answer(False, f"without {_OPTION}")

    def remedy(self, parameters: Mapping[str, Any]) -> str:
        return f"compile with {_OPTION}={parameters['level']}"
