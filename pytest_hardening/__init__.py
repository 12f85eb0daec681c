"""pytest-hardening: fail the test run when a C or C++ build lost a hardening mitigation.

Everything is imported when it is first used (PEP 562): importing the package loads neither an ELF library nor pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assertions import (
        assert_bind_now,
        assert_cf_protection,
        assert_fortify,
        assert_hardened,
        assert_no_rpath,
        assert_no_rwx_segments,
        assert_no_text_relocations,
        assert_nx_stack,
        assert_pic,
        assert_pie,
        assert_relro,
        assert_stack_protector,
    )
    from .checks.base import Check, Parameter
    from .elf.facts import ElfFacts, Need
    from .engine import inspect
    from .errors import (
        ArtifactError,
        BuildError,
        ComparisonError,
        HardeningError,
        NotHardened,
        PolicyError,
        ToolchainError,
    )
    from .model import Artifact, ArtifactReport, Evidence, Kind, Outcome, Packed, Report, Verdict
    from .runtime import assert_goes_through, assert_stops

__all__ = [
    "Artifact",
    "ArtifactError",
    "ArtifactReport",
    "BuildError",
    "Check",
    "ComparisonError",
    "ElfFacts",
    "Evidence",
    "HardeningError",
    "Kind",
    "Need",
    "NotHardened",
    "Outcome",
    "Packed",
    "Parameter",
    "PolicyError",
    "Report",
    "ToolchainError",
    "Verdict",
    "assert_bind_now",
    "assert_cf_protection",
    "assert_fortify",
    "assert_goes_through",
    "assert_hardened",
    "assert_no_rpath",
    "assert_no_rwx_segments",
    "assert_no_text_relocations",
    "assert_nx_stack",
    "assert_pic",
    "assert_pie",
    "assert_relro",
    "assert_stack_protector",
    "assert_stops",
    "inspect",
]

_MODULES = {
    **dict.fromkeys(
        ("Artifact", "ArtifactReport", "Evidence", "Kind", "Outcome", "Packed", "Report", "Verdict"), "model"
    ),
    **dict.fromkeys(("Check", "Parameter"), "checks.base"),
    **dict.fromkeys(("ElfFacts", "Need"), "elf.facts"),
    **dict.fromkeys(("assert_goes_through", "assert_stops"), "runtime"),
    "inspect": "engine",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name, "assertions" if name.startswith("assert_") else "errors")
    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
