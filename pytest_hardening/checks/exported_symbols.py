from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need
from ..model import Evidence, Kind, Outcome, Verdict
from .base import Check, Parameter

__all__ = ["ExportedSymbols"]

_SHOWN = 6
_MOST_CULPRITS = 200
# what linkers and start files make, and no source asks for: GNU ld's linker scripts (PROVIDE), crti.o, the processor
# supplements; Debian's dpkg-gensymbols leaves out the same (deb-src-symbols(5), allow-internal)
_OF_LINKERS = frozenset(
    "_DYNAMIC _GLOBAL_OFFSET_TABLE_ _PROCEDURE_LINKAGE_TABLE_ _init _fini __gmon_start__ _edata edata __data_start "
    "data_start _end end __end __end__ _etext etext __etext __bss_start __bss_start__ _bss_end__ __bss_end __bss_end__ "
    "__executable_start __exidx_start __exidx_end _fbss _fdata _ftext _gp _gp_disp __gnu_local_gp __global_pointer$ "
    "_SDA_BASE_ _SDA2_BASE_ __dso_handle".split()
)
# helpers that compilers call, and the linker takes from its own library into whoever needs them: Run-time ABI for the
# Arm Architecture; Power ABI, "Register Saving and Restoring Functions"; clang's -fsanitize-cfi-cross-dso
# (ld manual, "Input Section Example": __start_SECTION for sections with the name of a C identifier)
_OF_COMPILERS = re.compile(
    r"__aeabi_\w+|__cfi_check|__(start|stop)_[A-Za-z_]\w*|_(save|rest)[gf]pr_\d+(_x)?|\.gomp_critical_user_.*"
)


class ExportedSymbols(Check):
    """A shared library offers what it is meant to offer, and nothing else.

    What it protects
    ----------------
    Every function that a library exports can be called by others, replaced by another library that is loaded before
    (LD_PRELOAD, a plug-in with the same name), and is one more address that an attacker can ask dlsym for. What no one
    was meant to use is best not exported.

    Evidence
    --------
    Symbols that the dynamic symbol table defines with global, weak or unique binding and default or protected
    visibility, by their mangled names and without their version. Those that linkers and start files make by themselves
    (_edata, _end, __bss_start, _init, _fini and the like) and the names of version nodes do not count. Templates and
    type information that the C++ library left in a library (_ZNSt*, _ZTI*) do: -fvisibility=hidden does not hide them.

    When it does not apply
    ----------------------
    When no names are allowed, which is the default; programs, objects and archives.

    Fix
    ---
    Compile with -fvisibility=hidden and mark what is public with __attribute__((visibility("default"))), or link with
    a version script (-Wl,--version-script) that ends with `local: *;`. The parameter `allow` takes glob patterns.

    References
    ----------
    System V gABI, "Symbol Table"; ld manual, "VERSION Command"; GCC manual, -fvisibility; deb-src-symbols(5).
    """

    name = "exported-symbols"
    label = "Exports only its interface"
    kinds = frozenset({Kind.SHARED_LIBRARY, Kind.MODULE})
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "allow": Parameter((), (), 'glob patterns of the symbols that may be exported, such as "kms_*"')
    }

    def asks_nothing(self, parameters: Mapping[str, Any]) -> bool:
        return not parameters["allow"]

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return frozenset({Need.EXPORTS}) if parameters["allow"] else frozenset()

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if not parameters["allow"]:
            return self.not_applicable("no list of symbols that may be exported")
        exported = [name for name in facts.exports or () if not _is_internal(name)]
        allowed = re.compile("|".join(f"(?:{fnmatch.translate(pattern)})" for pattern in parameters["allow"]))
        extra = [name for name in exported if not allowed.match(name)]
        if not extra:
            return self.passed(
                f"{len(exported)} symbol(s) exported, all of them allowed", exported=len(exported), extra=0
            )
        return self.failed(
            f"exports {len(extra)} symbol(s) that are not allowed: {_list(extra)}",
            *(Evidence("dynamic symbol table", f"defines {name}") for name in extra[:_SHOWN]),
            remedy="compile with -fvisibility=hidden, or link with a version script that keeps other names local",
            culprits=tuple(extra[:_MOST_CULPRITS]),
            rest=Outcome.PASS if len(extra) <= _MOST_CULPRITS else None,
            exported=len(exported),
            extra=len(extra),
        )


def _is_internal(name: str) -> bool:
    return name in _OF_LINKERS or _OF_COMPILERS.fullmatch(name) is not None


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
