from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Unit
from ..errors import PolicyError
from ..model import Kind
from .base import Parameter
from .recorded import Answer, RecordedCheck, explicit_option

__all__ = ["ZeroCallUsedRegs"]

_OPTION = "-fzero-call-used-regs"
_VALUES = tuple(f"{which}{kind}" for which in ("used", "all", "leafy") for kind in ("-gpr-arg", "-gpr", "-arg", ""))


class ZeroCallUsedRegs(RecordedCheck):
    """Functions clear the registers that they used before they return.

    What it protects
    ----------------
    Values that a function leaves in registers help code reuse attacks: gadgets find their arguments there. Secrets stay
    in registers as well. Programs grow and get slower, so this is for kernels and for code that handles keys.

    Evidence
    --------
    The last -fzero-call-used-regs in each unit's record (DW_AT_producer, .GCC.command.line); `skip` and a record
    without it fail, that of a compiler which has no such option (GCC before 11, clang before 15, clang for other
    machines than x86 and AArch64) as well: it is not protected. Where there is no record it is unknown: files
    without -g or stripped ones, clang without -grecord-command-line; linked files in which a unit without record
    may hide, after link-time optimisation or -Wl,-x. GCC's link-time optimisation takes the option from the link
    step, and no unit's record tells that: unknown. Function attributes are not seen.

    When it does not apply
    ----------------------
    Objects without code; files without a unit of C, C++ or Objective-C.

    Fix
    ---
    Compile every unit with -fzero-call-used-regs=used-gpr; with GCC and -flto, link with it too.

    References
    ----------
    GCC manual, "Program Instrumentation Options" and "Common Function Attributes"; clang manual.
    """

    name = "zero-call-used-regs"
    label = "Registers cleared on return"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "values": Parameter(_VALUES, (), "the values of the option that are accepted")
    }

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        settings = super().settings(values)
        for value in settings["values"]:
            if value not in _VALUES:
                raise PolicyError(f"{self.name}.values = {value!r}: expected some of {', '.join(_VALUES)}")
        return settings

    def answer(self, facts: ElfFacts, unit: Unit, parameters: Mapping[str, Any]) -> Answer:
        if (facts.kind is not Kind.OBJECT or facts.bytecode) and unit.compiler == "gcc" and _is_lto(unit):
            return Answer(None, f"link-time optimisation takes {_OPTION} from the link step, which is not on record")
        given = explicit_option(unit, _OPTION)
        if not given:
            return Answer(False, f"without {_OPTION}")
        return Answer(given.partition("=")[2] in parameters["values"], f"with {given}")

    def remedy(self, parameters: Mapping[str, Any]) -> str:
        value = next((value for value in ("used-gpr", *parameters["values"]) if value in parameters["values"]), "used")
        return f"compile with {_OPTION}={value} (GCC 11, clang 15 or later)"


def _is_lto(unit: Unit) -> bool:
    return explicit_option(unit, "-flto").startswith("-flto")
