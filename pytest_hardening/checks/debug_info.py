from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need, Section
from ..elf.layout import SHT_NOBITS, SHT_SYMTAB
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check, Parameter

__all__ = ["DebugInfo"]

_SHOWN = 4
_DEBUG = (".debug_", ".zdebug_", ".stab", ".gnu.debuglto_.debug_")
_WHAT = {
    "stripped": "hold neither symbol table nor debug information",
    "symbols": "hold its symbol table, and no debug information",
    "present": "hold debug information",
    "separate": "be stripped, and name the file that holds its debug information",
}


class DebugInfo(Check):
    """Debug information and symbols are where the project wants them: stripped, in a file of their own, or kept.

    What it protects
    ----------------
    What is shipped with symbols and DWARF tells names, types, and paths of the build machine to who takes it apart, and
    is several times as large. What was stripped without a debug file leaves no trace of a crash, and hides from other
    checks which unit falls short.

    Evidence
    --------
    The section headers: .symtab; .debug_*, .zdebug_* and .stab* that are not loaded; .gnu_debuglink,
    .note.gnu.build-id, .gnu_debugdata (compressed symbols for stack traces, which are no debug information here).
    `stripped`: neither symbol table nor debug information; for objects and archive members, which cannot do without
    symbols, no debug information. `symbols`: a symbol table without debug information (strip -g). `separate`: as
    stripped, with a debug link or a build ID by which debuggers find it. `present`: DWARF of at least one unit that is
    no assembly; a debug file beside it does not count.

    When it does not apply
    ----------------------
    Where nothing is expected, which is the default; detached debug files, kernel modules.

    Fix
    ---
    strip --strip-unneeded; objcopy --only-keep-debug and --add-gnu-debuglink; or compile every unit with -g and do not
    strip.

    References
    ----------
    strip(1), objcopy(1); GDB manual, "Debugging Information in Separate Files" and "MiniDebugInfo"; Debian Policy 10.1
    and lintian's tags unstripped-binary-or-object and unstripped-static-library.
    """

    name = "debug-info"
    label = "Debug information as expected"
    kinds = LINKED | {Kind.OBJECT}
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "expect": Parameter("anything", ("anything", *_WHAT), "where symbols and debug information must be")
    }

    def asks_nothing(self, parameters: Mapping[str, Any]) -> bool:
        return bool(parameters["expect"] == "anything")

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return frozenset({Need.UNITS}) if parameters["expect"] == "present" and _debug(facts) else frozenset()

    def judge_bitcode(self, parameters: Mapping[str, Any]) -> Verdict:
        if parameters["expect"] == "anything":
            return self._nothing()
        return super().judge_bitcode(parameters)

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        expect = parameters["expect"]
        if expect == "anything":
            return self._nothing()
        if facts.bytecode:
            return self.unknown("only link-time-optimisation bytecode: its code is generated at link time")
        debug, symbols = _debug(facts), any(section.type == SHT_SYMTAB for section in facts.sections)
        link = facts.section(".gnu_debuglink") is not None or facts.section(".note.gnu.build-id") is not None
        observed: dict[str, Any] = {
            "symbols": symbols,
            "debug": bool(debug),
            "separate": link,
            "compressed_symbols": facts.section(".gnu_debugdata") is not None,
        }
        if expect == "present":
            return self._present(facts, debug, observed)
        if facts.kind is Kind.OBJECT:
            wrong = "holds debug information" if debug else ""
        elif debug or (symbols and expect != "symbols"):
            wrong = "holds " + " and ".join(["symbols"] * symbols + ["debug information"] * bool(debug))
        elif expect == "symbols" and not symbols:
            wrong = "has no symbol table"
        else:
            wrong = "does not name its debug file" if expect == "separate" and not link else ""
        seen = [Evidence("section headers", name) for name in _names(facts, debug)]
        if not wrong:
            return self.passed("symbols and debug information are as expected", *seen, **observed)
        should = "hold none" if facts.kind is Kind.OBJECT else _WHAT[expect]
        return self.failed(f"{wrong}, and should {should}", *seen, remedy=_remedy(expect, wrong), **observed)

    def _present(self, facts: ElfFacts, debug: tuple[Section, ...], observed: Mapping[str, Any]) -> Verdict:
        units = facts.units
        if facts.kind is Kind.OBJECT and not facts.has_code:
            return self.not_applicable("no code")
        if debug and units is not None:
            own = [unit for unit in units.found if unit.source == "DWARF" and unit.language != "assembler"]
            if own:
                return self.passed(
                    f"holds debug information of {len(own)} unit(s)",
                    Evidence("section headers", debug[0].name),
                    **observed,
                )
            if units.unread:
                return self.unknown(units.unread[0], **observed)
        seen = ", ".join(section.name for section in debug[:_SHOWN]) or "no .debug_info"
        return self.failed(
            f"should {_WHAT['present']}, and has none",
            Evidence("section headers", seen),
            remedy="compile every unit with -g, and do not strip",
            **observed,
        )

    def _nothing(self) -> Verdict:
        return self.not_applicable("nothing expected")


def _debug(facts: ElfFacts) -> tuple[Section, ...]:
    """Sections of debug information; what is loaded (.debug_gdb_scripts) serves the program, or was asked for."""
    return tuple(
        section
        for section in facts.sections
        if section.name.startswith(_DEBUG) and not section.allocated and section.type != SHT_NOBITS and section.size
    )


def _names(facts: ElfFacts, debug: tuple[Section, ...]) -> list[str]:
    symbols = [section.name for section in facts.sections if section.type == SHT_SYMTAB]
    links = [name for name in (".gnu_debuglink", ".note.gnu.build-id", ".gnu_debugdata") if facts.section(name)]
    return [*symbols, *links, *(section.name for section in debug[:_SHOWN])]


def _remedy(expect: str, wrong: str) -> str:
    if wrong == "does not name its debug file":
        return "link with -Wl,--build-id, or add objcopy --add-gnu-debuglink=FILE"
    if wrong == "has no symbol table":
        return "strip with strip -g, which keeps the symbols"
    return "strip -g" if expect == "symbols" else "strip it (objects and archives: strip -g) before it is shipped"
