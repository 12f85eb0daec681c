from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need, OddName
from ..model import Evidence, Kind, Outcome, Verdict
from .base import LINKED, Check, Parameter

__all__ = ["BidiNames"]

_SHOWN = 6
_MOST_CULPRITS = 200
_KINDS = ("bidi", "invisible", "non-ascii")
_WORDS = {
    "bidi": "turn the direction of text",
    "invisible": "cannot be seen",
    "non-ascii": "are outside of ASCII",
}


class BidiNames(Check):
    """No name holds characters that make it look like another one.

    What it protects
    ----------------
    Characters that turn the direction of text make a source, a list of symbols or a message look other than it is
    (Trojan Source, CVE-2021-42574): who reviews a call of one function may see another's name.

    Evidence
    --------
    The bytes of the string tables: names of symbols, source files, versions, sections, libraries (DT_NEEDED,
    DT_SONAME) and search paths. `bidi`: the characters with the property Bidi_Control (U+061C, U+200E, U+200F, U+202A
    to U+202E, U+2066 to U+2069). `invisible`: also those with Default_Ignorable_Code_Point (U+200B, U+2060, U+FEFF).
    `non-ascii`: also any other beyond ASCII, for projects that write in ASCII alone: C++, Rust and Swift may mangle
    such names otherwise, and Go's own symbols hold a middle dot. Comments and texts leave no trace in a file: this
    check does not replace one of the source (GCC: -Wbidi-chars).

    When it does not apply
    ----------------------
    Kernel modules, core dumps, detached debug files.

    Fix
    ---
    Rename what the failure names; look at its source with an editor that shows control characters.

    References
    ----------
    CVE-2021-42574; Unicode Standard Annex 9 and Technical Report 36; annobin manual, "The unicode test"
    (--test-unicode-suspicious is `invisible` here, --test-unicode-all `non-ascii`); GCC manual, -Wbidi-chars.
    """

    name = "bidi-names"
    label = "No misleading names"
    kinds = LINKED | {Kind.OBJECT}
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "forbid": Parameter("bidi", _KINDS, "the characters that no name may hold; each includes those before it")
    }

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        return frozenset() if facts.bytecode else frozenset({Need.ODD_NAMES})

    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        odd = facts.odd_names
        if odd is None:
            return self.unknown("only link-time-optimisation bytecode, which keeps its names to itself")
        forbidden = _KINDS[: _KINDS.index(parameters["forbid"]) + 1]
        found = [item for item in odd.found if item.kind in forbidden]
        if not found:
            if odd.unread:
                return self.unknown(odd.unread, names=None)
            return self.passed(f"no name with characters that {_WORDS[parameters['forbid']]}", names=[])
        names = list(dict.fromkeys(item.name for item in found))
        return self.failed(
            f"{len(names)} name(s) with characters that {_WORDS[found[0].kind]}: {names[0]}",
            *map(_evidence, found[:_SHOWN]),
            remedy="rename it in its source, which an editor must show with its control characters",
            culprits=tuple(names[:_MOST_CULPRITS]),
            rest=Outcome.PASS if len(names) <= _MOST_CULPRITS and not odd.unread else None,
            names=names[:_MOST_CULPRITS],
        )


def _evidence(item: OddName) -> Evidence:
    return Evidence(item.place, f"{item.name} ({item.kind})")
