from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts
from ..elf.layout import DF_1_NOOPEN
from ..model import Evidence, Kind, Verdict
from .base import Check, Parameter

__all__ = ["Nodlopen"]


class Nodlopen(Check):
    """A plug-in can be loaded with dlopen(), and a library only where that is wanted.

    What it protects
    ----------------
    -z nodlopen makes dlopen() refuse a library: an attacker who can choose the argument of dlopen() gains nothing by
    it. The same mark on a plug-in makes it useless: "shared object cannot be dlopen()ed".

    Evidence
    --------
    DF_1_NOOPEN in DT_FLAGS_1. A plug-in, which is a shared object without DT_SONAME and without a lib*.so name, must
    not have it. Of libraries the parameter `expect` decides: `plugins` (the default) asks nothing, `required`
    that they have it, `forbidden` that they have not: for plug-ins that are named like libraries. glibc alone
    obeys the mark.

    When it does not apply
    ----------------------
    Programs, which dlopen() refuses anyway, and for which GNU ld drops the option; objects and archives; files for musl
    and bionic; libraries while `expect` is `plugins`.

    Fix
    ---
    Link libraries that nothing opens by name with -Wl,-z,nodlopen, and plug-ins without it.

    References
    ----------
    ld manual (-z nodlopen); glibc elf/dl-load.c (_dl_map_object_from_fd, DF_1_NOOPEN); OpenSSF "Compiler Options
    Hardening Guide for C and C++" (-Wl,-z,nodlopen).
    """

    name = "nodlopen"
    label = "dlopen() as wanted"
    kinds = frozenset({Kind.SHARED_LIBRARY, Kind.MODULE})
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "expect": Parameter(
            "plugins",
            ("plugins", "required", "forbidden"),
            "plugins: plug-ins lack the mark, libraries may have it; required: libraries have it; forbidden: none has",
        )
    }

    def why_not_kind(self, kind: Kind) -> str:
        return "a program: dlopen() refuses it" if kind.is_executable else super().why_not_kind(kind)

    def inapplicable(self, facts: ElfFacts) -> str:
        if facts.libc in ("musl", "bionic"):
            return f"{facts.libc} does not look at the mark"
        return "" if facts.dynamic is not None else "no dynamic section"

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        marked = facts.dynamic is not None and bool(facts.dynamic.flags_1 & DF_1_NOOPEN)
        expect, plugin = parameters["expect"], facts.kind is Kind.MODULE
        if expect == "plugins" and not plugin:
            return self.not_applicable("a library, of which nothing is asked (parameter expect)")
        seen = Evidence("dynamic section", f"DT_FLAGS_1 {'has' if marked else 'without'} NOOPEN")
        if expect == "required" and not plugin:
            if marked:
                return self.passed("dlopen() refuses it", seen, nodlopen=True)
            return self.failed(
                "dlopen() may load it: not linked with -z nodlopen",
                seen,
                remedy="link with -Wl,-z,nodlopen",
                nodlopen=False,
            )
        if not marked:
            return self.passed("dlopen() may load it", seen, nodlopen=False)
        what = "a plug-in" if plugin else "a library"
        return self.failed(f"{what} that dlopen() refuses", seen, remedy="link without -Wl,-z,nodlopen", nodlopen=True)
