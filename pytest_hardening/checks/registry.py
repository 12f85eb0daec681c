"""All checks by name: the built-in ones, imported when first asked for, and those that plugins add to a session."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from importlib import import_module

from ..added import in_force
from ..errors import PolicyError
from .base import Check

__all__ = ["built_in_names", "check_names", "get_check", "get_checks"]

# the order in which verdicts are shown
_WHERE = {
    "pie": "pie:Pie",
    "pic": "pic:Pic",
    "text-relocations": "text_relocations:TextRelocationsCheck",
    "relro": "relro:Relro",
    "bind-now": "bind_now:BindNow",
    "nx-stack": "nx_stack:NxStack",
    "rwx-segments": "rwx_segments:RwxSegments",
    "rpath": "rpath:Rpath",
    "stack-protector": "stack_protector:StackProtector",
    "stack-clash": "stack_clash:StackClash",
    "fortify": "fortify:Fortify",
    "cf-protection": "cf_protection:CfProtection",
    "format-security": "format_security:FormatSecurity",
    "optimization": "optimization:Optimization",
    "glibcxx-assertions": "glibcxx_assertions:GlibcxxAssertions",
    "auto-var-init": "auto_var_init:AutoVarInit",
    "strict-flex-arrays": "strict_flex_arrays:StrictFlexArrays",
    "zero-call-used-regs": "zero_call_used_regs:ZeroCallUsedRegs",
    "sanitizers": "sanitizers:Sanitizers",
    "separate-code": "separate_code:SeparateCode",
    "forbidden-imports": "forbidden_imports:ForbiddenImports",
    "lto-bytecode": "lto_bytecode:LtoBytecode",
    "bidi-names": "bidi_names:BidiNames",
    "exported-symbols": "exported_symbols:ExportedSymbols",
    "debug-info": "debug_info:DebugInfo",
    "software-cfi": "software_cfi:SoftwareCfi",
    "recorded-flags": "recorded_flags:RecordedFlags",
    "dynamic-section": "dynamic_section:DynamicSection",
    "entry-point": "entry_point:EntryPointCheck",
    "interpreter": "interpreter:Interpreter",
    "forbidden-needed": "forbidden_needed:ForbiddenNeeded",
    "soname": "soname:Soname",
    "nodlopen": "nodlopen:Nodlopen",
    "build-id": "build_id:BuildId",
    "file-mode": "file_mode:FileMode",
}


def built_in_names() -> tuple[str, ...]:
    """The names of the checks in the package, in the order in which they are shown."""
    return tuple(_WHERE)


def check_names() -> tuple[str, ...]:
    """The names of all checks, in the order in which they are shown: the built-in ones, then those of plugins."""
    return (*_WHERE, *in_force().checks)


def get_check(name: str) -> Check:
    """The check of a name.

    Raises
    ------
    PolicyError: there is none; the message names the nearest.
    """
    if name in _WHERE:
        return _built_in(name)
    if name not in in_force().checks:
        near = difflib.get_close_matches(name, check_names(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(check_names())}"
        raise PolicyError(f"unknown check {name!r}; {hint}")
    return in_force().checks[name]


@cache
def _built_in(name: str) -> Check:
    module, _, attribute = _WHERE[name].partition(":")
    check: Check = getattr(import_module(f"{__package__}.{module}"), attribute)()
    return check


def get_checks(names: Iterable[str]) -> tuple[Check, ...]:
    """The checks of several names, in the registry's order, each once."""
    wanted = {get_check(name).name for name in names}
    return tuple(get_check(name) for name in check_names() if name in wanted)
