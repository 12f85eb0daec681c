from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need
from ..model import Evidence, Verdict
from .base import LINKED, Check, Parameter

__all__ = ["BuildId"]


class BuildId(Check):
    """The file says which build it comes from.

    What it protects
    ----------------
    With a build identifier a running process, a core dump or a stripped file leads to exactly the binary, the debug
    information and the sources that it was made of. Without it nobody can say afterwards which code had the flaw, and
    whether what is installed is what was judged.

    Evidence
    --------
    A note of owner GNU and type NT_GNU_BUILD_ID in a PT_NOTE, where debuggers, perf and the core dump find it, of at
    least as many bytes as the parameter `bytes` says. rpmbuild refuses fewer than 16; --build-id of GNU ld and gold
    makes 20 (sha1), md5 and uuid make 16, older lld without =STYLE 8.

    When it does not apply
    ----------------------
    Objects and archives: the linker makes it.

    Fix
    ---
    Link with -Wl,--build-id=sha1. GCC and clang of most distributions ask for one by themselves; older lld wants the
    =sha1.

    References
    ----------
    ld manual (--build-id); lld manual page; glibc elf.h (NT_GNU_BUILD_ID); rpm build/files.c (generateBuildIDs);
    Fedora, "Releases/FeatureBuildId".
    """

    name = "build-id"
    label = "Build identifier"
    kinds = LINKED
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "bytes": Parameter(16, (1, 8, 16, 20, 32), "the smallest size that is accepted")
    }

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return frozenset({Need.BUILD_ID})

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        found, least = facts.build_id, parameters["bytes"]
        if found is None:
            return self.unknown("its notes were not read")
        remedy = "link with -Wl,--build-id=sha1"
        if not found:
            return self.failed(
                "no build identifier",
                Evidence("program headers", "no NT_GNU_BUILD_ID in any PT_NOTE"),
                remedy=remedy,
                build_id="",
            )
        seen = Evidence("note", f"NT_GNU_BUILD_ID {found.hex()[:64]}")
        if len(found) < least:
            return self.failed(
                f"build identifier of {len(found)} bytes, fewer than {least}", seen, remedy=remedy, build_id=found.hex()
            )
        return self.passed(f"build identifier of {len(found)} bytes", seen, build_id=found.hex()[:128])
