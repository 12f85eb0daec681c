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
    from .model import Artifact, ArtifactReport, Evidence, Kind, Outcome, Report, Verdict

__all__ = [
    "Artifact",
    "ArtifactError",
    "ArtifactReport",
    "BuildError",
    "ComparisonError",
    "Evidence",
    "HardeningError",
    "Kind",
    "NotHardened",
    "Outcome",
    "PolicyError",
    "Report",
    "ToolchainError",
    "Verdict",
    "assert_bind_now",
    "assert_cf_protection",
    "assert_fortify",
    "assert_hardened",
    "assert_no_rpath",
    "assert_no_rwx_segments",
    "assert_no_text_relocations",
    "assert_nx_stack",
    "assert_pic",
    "assert_pie",
    "assert_relro",
    "assert_stack_protector",
    "inspect",
]

_MODEL = frozenset({"Artifact", "ArtifactReport", "Evidence", "Kind", "Outcome", "Report", "Verdict"})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name.startswith("assert_"):
        module = "assertions"
    elif name == "inspect":
        module = "engine"
    else:
        module = "model" if name in _MODEL else "errors"
    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
