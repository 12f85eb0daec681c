from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..elf.facts import Dynamic, ElfFacts
from ..elf.layout import DF_1_NOW, DF_1_PIE, DF_BIND_NOW, DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1, DT_JMPREL, DT_MIPS_GOTSYM
from ..elf.machines import EM_MIPS
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check

__all__ = ["BindNow", "bind_now_tags"]


class BindNow(Check):
    """All functions are bound at start-up, none at its first call.

    What it protects
    ----------------
    Lazy binding needs a writable table of function pointers for as long as the program runs. With immediate binding the
    loader fills the table at start-up, and RELRO can make all of it read-only.

    Evidence
    --------
    DT_BIND_NOW, or BIND_NOW in DT_FLAGS, or NOW in DT_FLAGS_1: linkers write one, two or all three, any is enough.

    When it does not apply
    ----------------------
    Static programs, the dynamic loader itself (it relocates itself), and files without a table of lazily bound calls
    (no DT_JMPREL): there is nothing to bind late. Objects and archives: the link step decides.

    Fix
    ---
    Link with -Wl,-z,now. It costs start-up time in programs with thousands of imported functions.

    References
    ----------
    System V gABI, "Dynamic Section" (DT_BIND_NOW, DF_BIND_NOW); glibc elf.h (DF_1_NOW); ld manual (-z now).
    """

    name = "bind-now"
    label = "Immediate binding"
    kinds = LINKED - {Kind.STATIC, Kind.STATIC_PIE}

    def why_not_kind(self, kind: Kind) -> str:
        return "static: nothing is bound at run time" if kind.is_static else super().why_not_kind(kind)

    def inapplicable(self, facts: ElfFacts) -> str:
        dynamic = facts.dynamic
        if dynamic is None:
            return "no dynamic section: nothing is bound at run time"
        if bind_now_tags(dynamic):
            return ""
        if not dynamic.needed and (dynamic.soname or "").startswith(("ld-linux", "ld-musl-", "ld64.so", "ld.so")):
            return "the dynamic loader binds itself before anything else runs"
        lazy = DT_JMPREL in dynamic or (facts.machine.number == EM_MIPS and DT_MIPS_GOTSYM in dynamic)
        return "" if lazy else "no lazily bound calls (no DT_JMPREL)"

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        tags = bind_now_tags(facts.dynamic)
        if tags:
            return self.passed("bound at start-up", Evidence("dynamic section", ", ".join(tags)), tags=list(tags))
        return self.failed(
            "not bound at start-up: lazy PLT relocations and none of DT_BIND_NOW, DF_BIND_NOW, DF_1_NOW",
            Evidence("dynamic section", _flags(facts.dynamic)),
            remedy="link with -Wl,-z,now",
            tags=[],
        )


def bind_now_tags(dynamic: Dynamic | None) -> tuple[str, ...]:
    """The encodings of immediate binding that a dynamic section holds."""
    if dynamic is None:
        return ()
    seen = (
        ("DT_BIND_NOW", DT_BIND_NOW in dynamic),
        ("DF_BIND_NOW", dynamic.flags & DF_BIND_NOW),
        ("DF_1_NOW", dynamic.flags_1 & DF_1_NOW),
    )
    return tuple(name for name, present in seen if present)


def _flags(dynamic: Dynamic | None) -> str:
    if dynamic is None:
        return "absent"
    parts = []
    for name, tag, value in (("DT_FLAGS", DT_FLAGS, dynamic.flags), ("DT_FLAGS_1", DT_FLAGS_1, dynamic.flags_1)):
        if tag not in dynamic:
            parts.append(f"{name} absent")
        elif tag == DT_FLAGS_1 and value == DF_1_PIE:
            parts.append(f"{name} = PIE")
        else:
            parts.append(f"{name} = {value:#x}")
    return ", ".join(parts)
