"""The one way from a file to facts: `ElfReader` opens it once, `extend` reads more where a check needs more."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import ArtifactError
from ..model import Kind
from ..recipe import Recipe
from . import layout as elf
from .facts import Dynamic, ElfFacts, Need, Section, StackArrays, Units
from .image import Image
from .kind import kind_of, sections_are_debug_only
from .machines import machine_of
from .notes import has_abi_tag
from .source import Source

if TYPE_CHECKING:
    from .debug_info import DebugInfo

__all__ = ["ElfReader"]


class ElfReader:
    """One ELF file or archive member, open while its checks run. As a context manager it closes what it opened.

    Parameters
    ----------
    source: the bytes; the reader does not close it.
    name: the file's or member's name, for the facts.
    build_root: see `ElfFacts.build_root`.
    debug_folders: where a debug file that it names may be looked for; by default no other file is opened.
    recipe: see `ElfFacts.recipe`.

    Raises
    ------
    ArtifactError: the file is truncated or malformed.
    """

    def __init__(
        self,
        source: Source,
        name: str,
        build_root: str | None = None,
        debug_folders: tuple[str, ...] = (),
        recipe: Recipe | None = None,
    ) -> None:
        self._image = Image(source)
        self._debug = _Debug(self._image, debug_folders)
        self.facts = replace(_base_facts(self._image, name, build_root), recipe=recipe)

    def __enter__(self) -> ElfReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._debug.close()

    def extend(self, needs: Iterable[Need]) -> ElfFacts:
        """Facts that hold at least the groups in `needs`.

        Raises
        ------
        ArtifactError: a table that is needed is damaged.
        """
        for need in needs:
            if need in _AFTER_UNITS:
                self.extend((Need.UNITS,))
            if need not in self.facts.known:
                field, read = _READERS[need]
                group: dict[str, Any] = {field: read(self._image, self.facts, self._debug)}
                self.facts = replace(self.facts, known=self.facts.known | {need}, **group)
        return self.facts


class _Debug:
    """The debug information of a file, from the file itself or from a debug file; opened when it is asked for.

    Parameters
    ----------
    image: the file.
    folders: where a debug file may be looked for.
    """

    def __init__(self, image: Image, folders: tuple[str, ...]) -> None:
        self._file = image
        self._folders = folders
        self._source: Source | None = None
        self.problems: tuple[str, ...] = ()

    @cached_property
    def image(self) -> Image:
        """The file that holds the debug information: the file itself where there is no other."""
        from .debug_files import find_debug_file, has_debug_info

        if self._folders and not has_debug_info(self._file):
            self._source, self.problems = find_debug_file(self._file, self._folders)
        return Image(self._source) if self._source is not None else self._file

    @cached_property
    def info(self) -> DebugInfo | None:
        """Its DWARF; None where there is none that can be read: `problems` says why."""
        from .debug_files import has_debug_info
        from .debug_info import DebugInfo

        try:
            return DebugInfo(self.image) if has_debug_info(self.image) else None
        except ArtifactError as error:
            self.problems += (f"debug information is not readable: {error}",)
            return None

    def close(self) -> None:
        if self._source is not None:
            self._source.close()


def _base_facts(image: Image, name: str, build_root: str | None) -> ElfFacts:
    sections = image.sections
    machine = machine_of(image.header.machine, image.layout.bits, image.layout.order)
    debug_only = sections_are_debug_only(sections) and not _holds_code(image)
    dynamic = interpreter = None
    if not debug_only:
        image.check_segments()
        if image.header.type in (elf.ET_EXEC, elf.ET_DYN):
            dynamic, interpreter = image.dynamic, image.interpreter
    kind = (
        Kind.DEBUG_ONLY
        if debug_only
        else kind_of(image.header.type, os.path.basename(name), sections, dynamic, interpreter)
    )
    return ElfFacts(
        name=name,
        kind=kind,
        machine=machine,
        bits=image.layout.bits,
        order=image.layout.order,
        mode=image.source.mode,
        build_root=build_root,
        interpreter=interpreter,
        segments=image.segments,
        sections=sections,
        dynamic=dynamic,
        libc=_libc_of(image, kind, dynamic, interpreter),
        compilers=_compilers(image, sections),
        oldest_gcc=_oldest_gcc(image, sections),
        bytecode=kind is Kind.OBJECT and _is_bytecode(sections),
        entry=image.header.entry,
        flags=image.header.flags,
    )


def _holds_code(image: Image) -> bool:
    """Whether a file whose sections claim to be empty is a program or library all the same: sections may lie.

    objcopy's debug files have no contents in executable segments; eu-strip's keep the sizes of the file that they were
    split from, and only a dynamic section that can be read tells the two cases apart.

    Raises
    ------
    ArtifactError: it holds code by its segments and cannot be read as a program or library.
    """
    loaded = [s for s in image.segments if s.type == elf.PT_LOAD and s.flags & elf.PF_X and s.filesz]
    if image.header.type not in (elf.ET_EXEC, elf.ET_DYN) or not loaded:
        return False
    try:
        image.check_segments()
        if image.dynamic is not None:
            return True
        reason = "static"
    except ArtifactError as error:
        reason = str(error)
    raise ArtifactError(
        f"its section headers are those of a detached debug file, and its segments hold code ({reason}): "
        "what it is cannot be told"
    )


def _libc_of(image: Image, kind: Kind, dynamic: Dynamic | None, interpreter: str | None) -> str | None:
    if kind.is_static:
        # only glibc's start files carry this note (csu/abi-note.c)
        return "glibc" if has_abi_tag(image) else None
    return _libc(interpreter, dynamic.needed if dynamic else (), dynamic.soname if dynamic else None)


def _libc(interpreter: str | None, needed: tuple[str, ...], soname: str | None) -> str | None:
    names = [os.path.basename(interpreter or ""), *needed, soname or ""]
    if any(name.startswith(("ld-musl-", "libc.musl-")) for name in names) or "libc.so" in needed:
        if any(name.startswith("linker") for name in names):
            return "bionic"
        # bionic's library is called libc.so too; its programs name /system/bin/linker, its libraries libdl.so
        return "bionic" if "libdl.so" in needed and interpreter is None else "musl"
    if any(name.startswith(("ld-linux", "ld64.so", "ld.so.1", "libc.so.6")) for name in names):
        return "glibc"
    return None


_GCC_VERSION = re.compile(rb"GCC: \([^)]*\) (\d{1,3})\.")
_COMPILER_MARKS = (
    (b"GCC: (", "gcc"),
    (b"clang version", "clang"),
    (b"rustc version", "rustc"),
    (b"ldc version", "d"),
    (b"Go cmd/compile", "go"),
    (b"GHC ", "ghc"),
)


def _compilers(image: Image, sections: tuple[Section, ...]) -> tuple[str, ...]:
    found = []
    for section in sections:
        if section.name == ".comment":
            text = _comment(image, section)
            found += [family for mark, family in _COMPILER_MARKS if mark in text]
        elif section.name in (".note.go.buildid", ".go.buildinfo", ".gopclntab"):
            found.append("go")
        elif section.name == ".rustc":
            found.append("rustc")
    return tuple(dict.fromkeys(found))


def _oldest_gcc(image: Image, sections: tuple[Section, ...]) -> int | None:
    comments = [_comment(image, section) for section in sections if section.name == ".comment"]
    return min((int(number) for text in comments for number in _GCC_VERSION.findall(text)), default=None)


def _comment(image: Image, section: Section) -> bytes:
    if section.type != elf.SHT_PROGBITS:
        return b""
    return image.source.read(section.offset, min(section.size, 1 << 16))


def _is_bytecode(sections: tuple[Section, ...]) -> bool:
    """Whether an object holds only bytecode for link-time optimisation (GCC's slim objects)."""
    bytecode = any(section.name.startswith((".gnu.lto_", ".gnu.debuglto_", ".llvm.lto")) for section in sections)
    return bytecode and not any(section.executable and section.size for section in sections)


def _imports(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .symbols import imports_of_image, imports_of_object

    read = imports_of_object if facts.kind is Kind.OBJECT else imports_of_image
    return read(image, facts.machine)


def _runtime_symbols(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .runtime_symbols import runtime_symbols

    return runtime_symbols(image, facts)


def _source_files(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .symbols import source_files

    return source_files(image)


def _units(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .units import units_of

    return units_of(image, debug.image, debug.info, debug.problems, static=facts.kind.is_static)


def _stack_use(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .code.search import stack_use

    return stack_use(image, facts, facts.units or Units(()))


def _calls(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .code.search import calls

    return calls(image, facts, facts.units or Units(()))


def _text_relocations(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .text_relocations import text_relocations

    return text_relocations(image)


def _got(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .relocations import got_of

    return got_of(image, facts.machine)


def _entry_points(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .code.entry_points import entry_points

    return entry_points(image, facts, facts.units or Units(()))


def _properties(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .notes import properties_of

    return properties_of(image, facts.machine)


def _object_relocations(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .object_relocations import object_relocations

    return object_relocations(image, facts.machine)


def _stack_arrays(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .dwarf import stack_arrays

    return stack_arrays(debug.info) if debug.info is not None else StackArrays((), complete=not debug.problems)


def _build_id(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .notes import loaded_build_id

    return loaded_build_id(image)


def _exports(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .names import exports

    return exports(image)


def _definitions(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .names import definitions

    return definitions(image)


def _odd_names(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .names import odd_names

    return odd_names(image)


def _cfi_traces(image: Image, facts: ElfFacts, debug: _Debug) -> Any:
    from .software_cfi import cfi_traces

    return cfi_traces(image)


_READERS: dict[Need, tuple[str, Callable[[Image, ElfFacts, _Debug], Any]]] = {
    Need.IMPORTS: ("imports", _imports),
    Need.RUNTIME_SYMBOLS: ("runtime_symbols", _runtime_symbols),
    Need.SOURCE_FILES: ("source_files", _source_files),
    Need.UNITS: ("units", _units),
    Need.STACK_USE: ("stack_use", _stack_use),
    Need.CALLS: ("calls", _calls),
    Need.TEXT_RELOCATIONS: ("text_relocations", _text_relocations),
    Need.GOT: ("got", _got),
    Need.ENTRY_POINTS: ("entry_points", _entry_points),
    Need.PROPERTIES: ("properties", _properties),
    Need.OBJECT_RELOCATIONS: ("object_relocations", _object_relocations),
    Need.STACK_ARRAYS: ("stack_arrays", _stack_arrays),
    Need.EXPORTS: ("exports", _exports),
    Need.DEFINITIONS: ("definitions", _definitions),
    Need.ODD_NAMES: ("odd_names", _odd_names),
    Need.CFI_TRACES: ("cfi_traces", _cfi_traces),
    Need.BUILD_ID: ("build_id", _build_id),
}

#: What needs the units of the file to say where a function comes from.
_AFTER_UNITS = frozenset((Need.STACK_USE, Need.CALLS, Need.ENTRY_POINTS))
