from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Unit
from .base import Parameter
from .recorded import Answer, RecordedCheck, explicit_option, is_hardened, tells_absence, version_of

__all__ = ["AutoVarInit"]

_OPTION = "-ftrivial-auto-var-init"
_ACCEPTED = {"any": ("zero", "pattern"), "zero": ("zero",), "pattern": ("pattern",)}


class AutoVarInit(RecordedCheck):
    """Local variables that the source leaves without a value begin with a known one.

    What it protects
    ----------------
    A variable that is used before it is set holds what an earlier function left on the stack: pointers and secrets
    leak, or an attacker chooses the value.

    Evidence
    --------
    The last -ftrivial-auto-var-init in each unit's record (DW_AT_producer, .GCC.command.line, for GCC's bytecode
    .gnu.lto_.opts); GCC's -fhardened stands for zero unless the option is given beside it. No compiler has it on by
    default, so a unit whose record lacks it fails, that of a compiler which has no such option (GCC before 12, clang
    before 8) as well: it is not protected. Where there is no record it is unknown: files without -g or stripped ones,
    clang without -grecord-command-line; linked files in which a unit without record may hide, after link-time
    optimisation or -Wl,-x. The attribute `uninitialized` of single variables is not seen.

    When it does not apply
    ----------------------
    Objects without code; files without a unit of C, C++ or Objective-C.

    Fix
    ---
    Compile every unit with -ftrivial-auto-var-init=zero. The value pattern finds more bugs and is less forgiving.

    References
    ----------
    GCC manual, "Optimize Options", -ftrivial-auto-var-init, and "Program Instrumentation Options", -fhardened; OpenSSF
    Compiler Options Hardening Guide.
    """

    name = "auto-var-init"
    label = "Automatic variables initialised"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "value": Parameter("any", tuple(_ACCEPTED), "the first value that variables must have")
    }

    def answer(self, facts: ElfFacts, unit: Unit, parameters: Mapping[str, Any]) -> Answer:
        given = explicit_option(unit, _OPTION)
        if given:
            return Answer(given.partition("=")[2] in _ACCEPTED[parameters["value"]], f"with {given}")
        if is_hardened(unit):
            return Answer("zero" in _ACCEPTED[parameters["value"]], "with -fhardened")
        if not tells_absence(unit) and not () < version_of(unit) < (14,):  # -fhardened, of GCC 14, may have brought it
            return Answer(None, f"{unit.source} does not tell -fhardened")
        return Answer(False, f"without {_OPTION}")

    def remedy(self, parameters: Mapping[str, Any]) -> str:
        return f"compile with {_OPTION}={_ACCEPTED[parameters['value']][0]} (GCC 12, clang 8 or later)"
