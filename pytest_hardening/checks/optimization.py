from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Unit
from .base import Parameter
from .recorded import Answer, RecordedCheck, options_of

__all__ = ["Optimization"]

# GCC manual, "Options That Control Optimization"; clang manual, "Code Generation Options". -Og is -O1 without what
# hinders a debugger, -Os and -Oz are -O2 without what makes code larger. All but -O0 define __OPTIMIZE__
_LEVELS = {"": 0, "-O0": 0, "-O": 1, "-O1": 1, "-Og": 1, "-O2": 2, "-Os": 2, "-Oz": 2, "-O3": 3, "-Ofast": 3}


class Optimization(RecordedCheck):
    """Every unit was compiled with optimisation.

    What it protects
    ----------------
    Without it FORTIFY is off, whatever _FORTIFY_SOURCE says: glibc's headers need __OPTIMIZE__, and the compiler finds
    the sizes of buffers only when it optimises. A debug build that is shipped by mistake loses it without a word.

    Evidence
    --------
    The last -O option in each unit's record (DW_AT_producer, .GCC.command.line, for GCC's bytecode .gnu.lto_.opts). A
    record without any means -O0.
    Where there is no record it is unknown: files without -g or stripped ones, clang without -grecord-command-line;
    linked files in which a unit without record may hide, after link-time optimisation or -Wl,-x. Function
    attributes (optimize) are not seen.

    When it does not apply
    ----------------------
    Objects without code; files without a unit of C, C++ or Objective-C.

    Fix
    ---
    Compile every unit with -O2; see that the build type (CMAKE_BUILD_TYPE, meson's buildtype) is not one for debugging.

    References
    ----------
    feature_test_macros(7), _FORTIFY_SOURCE; GCC manual, "Options That Control Optimization"; clang manual.
    """

    name = "optimization"
    label = "Optimised"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "level": Parameter(1, (1, 2, 3), "the lowest -O level accepted; -Og counts as 1, -Os and -Oz count as 2")
    }

    def answer(self, facts: ElfFacts, unit: Unit, parameters: Mapping[str, Any]) -> Answer:
        given = ""
        for option in options_of(unit):
            if option.startswith("-O"):
                given = option
        level = _LEVELS.get(given)
        if level is None:
            level = 3 if given[2:].isdecimal() else None  # -O4 and more are -O3
        if level is None:
            return Answer(None, f"{given} is not known here")
        return Answer(level >= parameters["level"], f"with {given}" if given else "without -O option, that is -O0")

    def remedy(self, parameters: Mapping[str, Any]) -> str:
        return f"compile with -O{max(2, parameters['level'])}, and let no lower -O option follow it"
