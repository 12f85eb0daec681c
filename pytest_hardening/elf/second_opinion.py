"""The same facts through lief, an independent parser: where two readers disagree, one of them is being fooled.

Importing lief takes half a second and it reads the whole file into memory, so it is used on request only. A child
object of lief must not outlive its Binary: everything is copied inside one function.
"""

from __future__ import annotations

import os

from ..errors import ArtifactError
from .facts import ElfFacts
from .layout import PT_DYNAMIC, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_LOAD
from .reader import ElfReader
from .source import Source

__all__ = ["disagreements", "facts_by_lief", "facts_by_reader"]

_SEGMENTS = {
    "LOAD": PT_LOAD,
    "DYNAMIC": PT_DYNAMIC,
    "INTERP": PT_INTERP,
    "GNU_STACK": PT_GNU_STACK,
    "GNU_RELRO": PT_GNU_RELRO,
}


def disagreements(path: str) -> list[str]:
    """The facts on which lief and our reader differ, as "name: ours / lief's"; empty when they agree.

    Static archives are not compared.

    Raises
    ------
    ArtifactError: our reader cannot read the file.
    """
    with Source.open(path) as source:
        if not source.read(0, min(4, source.size)).startswith(b"\x7fELF"):
            return []
        ours = facts_by_reader(ElfReader(source, os.path.basename(path)).facts)
    theirs = facts_by_lief(path)
    return [f"{name}: {ours[name]} / lief: {theirs[name]}" for name in ours if ours[name] != theirs[name]]


def facts_by_reader(facts: ElfFacts) -> dict[str, object]:
    """The facts to compare, from ours."""
    dynamic = facts.dynamic
    return {
        "machine": facts.machine.number,
        "class": facts.bits,
        "interpreter": facts.interpreter or "",
        "segments": [
            (kind, s.flags, s.vaddr, s.memsz)
            for s in facts.segments
            for kind, number in _SEGMENTS.items()
            if s.type == number
        ],
        "needed": list(dynamic.needed) if dynamic else [],
        "soname": dynamic.soname or "" if dynamic else "",
        "rpath": dynamic.rpath or "" if dynamic else "",
        "runpath": dynamic.runpath or "" if dynamic else "",
        "flags": dynamic.flags if dynamic else 0,
        "flags_1": dynamic.flags_1 if dynamic else 0,
    }


def facts_by_lief(path: str) -> dict[str, object]:
    """The same facts, from lief.

    Raises
    ------
    ArtifactError: lief cannot read the file.
    """
    import lief

    lief.logging.disable()
    binary = lief.ELF.parse(path)
    if binary is None:
        raise ArtifactError("lief cannot read it")
    tags: dict[str, int] = {}
    texts: dict[str, str] = {"SONAME": "", "RPATH": "", "RUNPATH": ""}
    needed: list[str] = []
    for entry in binary.dynamic_entries:
        name = entry.tag.name
        if isinstance(entry, lief.ELF.DynamicEntryLibrary):
            needed.append(str(entry.name))
        elif isinstance(entry, lief.ELF.DynamicSharedObject):
            texts["SONAME"] = str(entry.name)
        elif isinstance(entry, lief.ELF.DynamicEntryRpath):
            texts["RPATH"] = str(entry.rpath)
        elif isinstance(entry, lief.ELF.DynamicEntryRunPath):
            texts["RUNPATH"] = str(entry.runpath)
        else:
            tags[name] = int(entry.value)
    segments = [
        (s.type.name, int(s.flags), int(s.virtual_address), int(s.virtual_size))
        for s in binary.segments
        if s.type.name in _SEGMENTS
    ]
    return {
        "machine": int(binary.header.machine_type.value),
        "class": 64 if binary.header.identity_class == lief.ELF.Header.CLASS.ELF64 else 32,
        "interpreter": str(binary.interpreter) if binary.has_interpreter else "",
        "segments": segments,
        "needed": needed,
        "soname": texts["SONAME"],
        "rpath": texts["RPATH"],
        "runpath": texts["RUNPATH"],
        "flags": tags.get("FLAGS", 0),
        "flags_1": tags.get("FLAGS_1", 0),
    }
