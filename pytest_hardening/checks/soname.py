from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts
from ..model import Evidence, Kind, Verdict
from .base import Check, Parameter

__all__ = ["Soname"]


class Soname(Check):
    """A library says by which name programs shall need it.

    What it protects
    ----------------
    The linker copies DT_SONAME into the DT_NEEDED of what is linked with a library. Without it the path of the link
    step lands there, and the loader opens that path of the build machine as it stands; Android's refuses it.

    Evidence
    --------
    DT_SONAME: present, not empty, without slash. Where it is absent, the file's name decides: lib*.so.N is a library
    and fails; lib*.so may be a plug-in, which needs none: unknown; any other name is one. With plugins = "required"
    all three fail, as Android's loader wants it. Whether the name fits the file's is not looked at: libpthread.so.0
    may be the SONAME of libpthread-2.31.so.

    When it does not apply
    ----------------------
    Programs, objects and archives; plug-ins, unless the parameter says otherwise.

    Fix
    ---
    Link the library with -Wl,-soname,libNAME.so.N. CMake does it for SHARED libraries (not with NO_SONAME), libtool
    without -module; for Rust: cargo:rustc-cdylib-link-arg.

    References
    ----------
    System V gABI, "Shared Object Dependencies"; Android, "linker changes for NDK developers" (Missing SONAME, API level
    23); lintian, "sharedobject-in-library-directory-missing-soname"; annocheck, "rhivos".
    """

    name = "soname"
    label = "Library name recorded"
    kinds = frozenset({Kind.SHARED_LIBRARY, Kind.MODULE})
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "plugins": Parameter("exempt", ("exempt", "required"), "whether plug-ins need one too, as on Android")
    }

    def why_not_kind(self, kind: Kind) -> str:
        return "a program: nothing is linked with it" if kind.is_executable else super().why_not_kind(kind)

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        name = facts.dynamic.soname if facts.dynamic is not None else None
        remedy = "link with -Wl,-soname,libNAME.so.N"
        if name is None:
            seen = Evidence("dynamic section", "no DT_SONAME")
            if parameters["plugins"] == "exempt":
                if facts.kind is Kind.MODULE:
                    return self.not_applicable("a plug-in: nothing is linked with it")
                if not re.search(r"\.so\.\d", facts.name):
                    summary = "no SONAME: right for a plug-in, and the name does not tell whether it is one"
                    return self.unknown(summary, seen, remedy=remedy, soname=None)
            return self.failed(
                "no SONAME: what is linked with it needs it by its path", seen, remedy=remedy, soname=None
            )
        seen = Evidence("dynamic section", f"DT_SONAME {name!r}")
        if not name or "/" in name:
            why = "is a path" if name else "is empty"
            return self.failed(f"SONAME {name!r} {why}", seen, remedy=remedy, soname=name)
        return self.passed(f"SONAME {name}", seen, soname=name)
