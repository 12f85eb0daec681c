"""What a file is: executable, PIE, shared library, object ...

Decided by what the loader and the linker use, in this order: e_type; DF_1_PIE; DT_DEBUG, which linkers write into
executables only. PT_INTERP decides nothing between PIE and library (libc.so.6 has it), nor does PT_PHDR (lld writes it
into every library), nor DT_SONAME.
"""

from __future__ import annotations

import fnmatch

from ..errors import ArtifactError
from ..model import Kind
from .facts import Dynamic, Section
from .layout import DF_1_PIE, DT_DEBUG, ET_CORE, ET_DYN, ET_EXEC, ET_REL, SHT_NOBITS, SHT_NOTE

__all__ = ["kind_of", "sections_are_debug_only"]


def kind_of(
    elf_type: int, name: str, sections: tuple[Section, ...], dynamic: Dynamic | None, interpreter: str | None
) -> Kind:
    """The kind of a file that is not a detached debug file.

    Raises
    ------
    ArtifactError: `elf_type` is none of ET_REL, ET_EXEC, ET_DYN, ET_CORE.
    """
    if elf_type == ET_REL:
        names = {section.name for section in sections}
        return Kind.KERNEL_MODULE if {".modinfo", ".gnu.linkonce.this_module"} <= names else Kind.OBJECT
    if elf_type == ET_CORE:
        return Kind.CORE
    if elf_type == ET_EXEC:
        return Kind.EXECUTABLE if dynamic is not None or interpreter is not None else Kind.STATIC
    if elf_type != ET_DYN:
        raise ArtifactError(f"malformed: e_type {elf_type:#x} is none of REL, EXEC, DYN, CORE")
    if dynamic is None:
        raise ArtifactError("malformed: e_type is DYN and there is no PT_DYNAMIC")
    if dynamic.flags_1 & DF_1_PIE or DT_DEBUG in dynamic:
        return Kind.PIE if interpreter is not None or dynamic.needed else Kind.STATIC_PIE
    named_as_library = fnmatch.fnmatchcase(name, "lib*.so") or fnmatch.fnmatchcase(name, "lib*.so.*")
    return Kind.SHARED_LIBRARY if dynamic.soname is not None or named_as_library else Kind.MODULE


def sections_are_debug_only(sections: tuple[Section, ...]) -> bool:
    """Whether the section headers are those of a detached debug file: nothing that would be loaded has contents."""
    loaded = [section for section in sections if section.allocated and section.type != SHT_NOTE]
    has_debug = any(section.name.startswith((".debug_", ".zdebug_", ".gnu_debug")) for section in sections)
    if not loaded:
        return has_debug
    return all(section.type == SHT_NOBITS for section in loaded) and (
        has_debug or any(section.executable for section in loaded)
    )
