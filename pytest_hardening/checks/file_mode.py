from __future__ import annotations

import stat
from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts
from ..errors import PolicyError
from ..model import Evidence, Kind, Verdict
from .base import LINKED, Check, Parameter

__all__ = ["FileMode"]

_MEANING = {
    "set-user-id": "runs with the rights of its owner (set-user-ID)",
    "set-group-id": "runs with the rights of its group (set-group-ID)",
    "world-writable": "can be overwritten by every user",
}
_REMEDIES = {"set-user-id": "chmod u-s", "set-group-id": "chmod g-s", "world-writable": "chmod o-w"}


class FileMode(Check):
    """The file gives nobody rights that it should not.

    What it protects
    ----------------
    A set-user-ID or set-group-ID program is attack surface for every local user: who finds a flaw in it gains the
    rights of its owner. Who can write to a program or library runs code as everybody who uses it.

    Evidence
    --------
    The mode of the file, read from the open file: S_ISUID; S_ISGID together with S_IXGRP, without which the kernel
    gives it another meaning; S_IWOTH. Links are followed. The parameter `allow` takes the names of what is accepted:
    set-user-id, set-group-id, world-writable. Capabilities in extended attributes and access control lists are not
    looked at, nor the folders that the file lies in.

    When it does not apply
    ----------------------
    Members of archives, whose mode means nothing; objects, which are not installed.

    Fix
    ---
    chmod u-s, g-s or o-w; set umask 022 for builds and installations. Where a program needs more rights, prefer
    capabilities (setcap) or a service to set-user-ID; where it must be, allow it by name for this one program.

    References
    ----------
    inode(7); execve(2); Linux fs/exec.c (bprm_fill_uid); lintian, "non-standard-setuid-executable-perm"
    and "non-standard-executable-perm"; CWE-732.
    """

    name = "file-mode"
    label = "No special file mode"
    kinds = LINKED | {Kind.KERNEL_MODULE}
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "allow": Parameter((), (), f"what is accepted, some of: {', '.join(_MEANING)}")
    }

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        settings = super().settings(values)
        for name in settings["allow"]:
            if name not in _MEANING:
                raise PolicyError(f"{self.name}.allow = {name!r}: expected some of {', '.join(_MEANING)}")
        return settings

    def why_not_kind(self, kind: Kind) -> str:
        return "an object file: it is not installed" if kind is Kind.OBJECT else super().why_not_kind(kind)

    def inapplicable(self, facts: ElfFacts) -> str:
        return "" if facts.mode else "a member of an archive has no mode of its own"

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        mode = stat.filemode(facts.mode)
        seen = Evidence("file", f"mode {stat.S_IMODE(facts.mode):04o} ({mode})")
        found = _found(facts.mode)
        bad = [name for name in found if name not in parameters["allow"]]
        observed: dict[str, Any] = {"mode": f"{stat.S_IMODE(facts.mode):04o}", "special": found}
        if not bad:
            return self.passed(f"mode {mode}{' (allowed)' if found else ''}", seen, **observed)
        return self.failed(
            " and ".join(_MEANING[name] for name in bad),
            seen,
            remedy=", ".join(_REMEDIES[name] for name in bad),
            **observed,
        )


def _found(mode: int) -> list[str]:
    marks = {
        "set-user-id": mode & stat.S_ISUID,
        "set-group-id": mode & stat.S_ISGID and mode & stat.S_IXGRP,
        "world-writable": mode & stat.S_IWOTH,
    }
    return [name for name, mark in marks.items() if mark]
