from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..elf.facts import ElfFacts
from ..elf.layout import DF_1_PIE
from ..model import Evidence, Kind, Verdict
from .base import Check

__all__ = ["Pie"]


class Pie(Check):
    """The program is a position-independent executable.

    What it protects
    ----------------
    Only a position-independent executable is loaded at a random address. In any other, code and data of the program
    stand at addresses that an attacker knows beforehand.

    Evidence
    --------
    e_type DYN together with DF_1_PIE, or with DT_DEBUG, which linkers write into executables only (binutils before
    2.26 sets no DF_1_PIE). PT_INTERP, PT_PHDR and DT_SONAME decide nothing: libraries have the first two as well.

    When it does not apply
    ----------------------
    Shared libraries and plug-ins: see the pic check. Objects and archives: whether their code fits a PIE is the pic
    check's question, whether the program is one is decided by the link step.

    Fix
    ---
    Compile with -fPIE (or -fPIC) and link with -pie; a static program with -static-pie. With CMake:
    POSITION_INDEPENDENT_CODE reaches the link step only with policy CMP0083 NEW and include(CheckPIESupported).

    References
    ----------
    System V gABI, "ELF Header"; glibc elf.h (DF_1_PIE); GCC manual, "Link Options" (-pie, -static-pie).
    """

    name = "pie"
    label = "Position Independent Executable"
    kinds = frozenset({Kind.EXECUTABLE, Kind.PIE, Kind.STATIC, Kind.STATIC_PIE})

    def why_not_kind(self, kind: Kind) -> str:
        if kind.is_library:
            return "a shared library is no executable: see pic"
        return super().why_not_kind(kind)

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if facts.kind in (Kind.PIE, Kind.STATIC_PIE):
            marked = facts.dynamic is not None and bool(facts.dynamic.flags_1 & DF_1_PIE)
            seen = "DT_FLAGS_1 has PIE" if marked else "DT_DEBUG present, DF_1_PIE absent (old linker)"
            return self.passed(
                "position-independent executable",
                Evidence("ELF header", "e_type DYN"),
                Evidence("dynamic section", seen),
                type="DYN",
            )
        flag = "-static-pie" if facts.kind is Kind.STATIC else "-pie"
        return self.failed(
            "linked at a fixed address: not a position-independent executable",
            Evidence("ELF header", "e_type EXEC"),
            remedy=f"link with {flag}, and compile every unit with -fPIE or -fPIC",
            type="EXEC",
        )
