from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need
from ..elf.layout import SHT_NOBITS
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check, Parameter

__all__ = ["LtoBytecode"]

_SHOWN = 3
# GCC lto-section-names.h (GIMPLE, and its debug information); LLVM: -fembed-bitcode, -ffat-lto-objects
_SECTIONS = (".gnu.lto_", ".gnu.debuglto_", ".llvmbc", ".llvm.lto")
# a common symbol of objects that hold nothing else (GCC, toplev.cc); left over where strip took the bytecode away
_SLIM = "__gnu_lto_slim"
_SLIM_WORDS = "holds only link-time-optimisation bytecode, which no other version of the compiler can read"
_REMEDY = (
    "compile what is shipped as objects or archives without -flto, or with -ffat-lto-objects and then "
    "strip -R '.gnu.lto_*' -R '.gnu.debuglto_*' -R .llvm.lto -R .llvmbc"
)


class LtoBytecode(Check):
    """No compiler's bytecode is left in what is shipped.

    What it protects
    ----------------
    Bytecode for link-time optimisation fits one version of one compiler: another cannot link it, or generates code from
    it with the flags of that day, not with those that were tested. It also is the program once more, in a form that is
    close to the source, and with paths of the build machine.

    Evidence
    --------
    Sections .gnu.lto_*, .gnu.debuglto_* (GCC), .llvmbc, .llvm.lto (LLVM) that are not empty; files and archive members
    that are LLVM bitcode themselves. `slim`: there is nothing else; `fat`: machine code beside it. The symbol
    __gnu_lto_slim without bytecode: it was stripped, and with it all code. Bytecode for accelerators
    (.gnu.offload_lto_*) belongs to the program.

    When it does not apply
    ----------------------
    Kernel modules, core dumps, detached debug files.

    Fix
    ---
    Use -flto for programs and shared libraries: nothing is left of it after the link step. What is shipped as objects:
    see the remedy. `allow = "fat"` accepts bytecode beside code, as in a build folder.

    References
    ----------
    GCC manual, -flto, -ffat-lto-objects; LLVM, "FatLTO"; Debian lintian, static-link-time-optimization and
    no-code-sections; rpm, brp-strip-lto; rpminspect, inspection lto.
    """

    name = "lto-bytecode"
    label = "No compiler bytecode"
    kinds = LINKED | {Kind.OBJECT}
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "allow": Parameter("none", ("none", "fat"), "the bytecode that is accepted: none, or only beside machine code")
    }

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return frozenset({Need.DEFINITIONS}) if facts.kind is Kind.OBJECT and not facts.has_code else frozenset()

    def judge_bitcode(self, parameters: Mapping[str, Any]) -> Verdict:
        return self._slim(Evidence("file header", "LLVM bitcode"))

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        found = _sections(facts)
        slim = facts.definitions is not None and _SLIM in facts.definitions.names
        if not found:
            if slim:
                return self.failed(
                    "empty: it held only link-time-optimisation bytecode, which was stripped",
                    Evidence("symbol table", _SLIM),
                    remedy="compile with -ffat-lto-objects, or without -flto",
                    bytecode="stripped",
                )
            return self.passed("no bytecode", bytecode="none")
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        seen = Evidence("section headers", ", ".join(found[:_SHOWN]) + more)
        if slim or (facts.bytecode and not _has_data(facts)):
            return self._slim(seen)
        if parameters["allow"] == "fat" and facts.kind is Kind.OBJECT:
            return self.passed("bytecode beside machine code, which is allowed", seen, bytecode="fat")
        return self.failed("holds a compiler's bytecode beside its code", seen, remedy=_REMEDY, bytecode="fat")

    def _slim(self, seen: Evidence) -> Verdict:
        return self.failed(_SLIM_WORDS, seen, remedy=_REMEDY, bytecode="slim")


def _sections(facts: ElfFacts) -> list[str]:
    return [
        section.name
        for section in facts.sections
        if section.name.startswith(_SECTIONS) and section.size and section.type != SHT_NOBITS
    ]


def _has_data(facts: ElfFacts) -> bool:
    """Whether an object without code holds data: a fat object of variables alone."""
    return any(section.allocated and section.size for section in facts.sections)
