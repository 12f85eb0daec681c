"""One open ELF file: header, sections, segments and the dynamic section, every bound checked.

The loader reads segments and so does this module: section headers serve only for what exists nowhere else. They may be
absent; where they are present they must lie inside the file, or the file is truncated.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ..errors import ArtifactError
from . import layout as elf
from .facts import Dynamic, Section
from .layout import Header, Layout, RawSection, Segment, layout
from .source import Source

if TYPE_CHECKING:
    from .code.functions import FunctionList

__all__ = ["Image", "printable", "string_at"]

_PAGE = 0x1000
_ONLY_ONCE = {
    elf.PT_DYNAMIC: "PT_DYNAMIC",
    elf.PT_INTERP: "PT_INTERP",
    elf.PT_GNU_STACK: "PT_GNU_STACK",
    elf.PT_GNU_RELRO: "PT_GNU_RELRO",
}
_MOST_STRING = 1 << 16  # a name longer than this is damage, not a name
_MOST_DYNAMIC = 1 << 16  # entries; the largest real dynamic sections hold a few hundred
_MOST_HEADERS = 1 << 18  # section or program headers; -ffunction-sections reaches some ten thousand
_MOST_STRINGS = 1 << 26  # bytes of a string table; the largest browsers have some ten million


class Image:
    """The tables of one ELF file, read on demand from a `Source`.

    Raises
    ------
    ArtifactError: from the constructor and from every attribute, when the file is truncated or malformed.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.layout, self.header = _read_header(source)
        self._strings: dict[tuple[int, int], bytes] = {}
        self.dynamic_symbol_data: bytes | None = None
        self.symbol_data: tuple[bytes, bytes] | None = None
        self.functions: FunctionList | None = None  # several searches of the code need them

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """All section headers with their names; empty where the file has none."""
        header = self.header
        if header.shoff == 0:
            if header.shnum:
                raise ArtifactError("malformed: e_shnum is set and e_shoff is not")
            return ()
        record = self.layout.section
        if header.shentsize != record.size:
            raise ArtifactError(f"malformed: section headers of {header.shentsize} bytes, this class has {record.size}")
        first = RawSection._make(record.unpack(self.source.read(header.shoff, record.size)))
        count = header.shnum or first.size
        names_index = first.link if header.shstrndx == elf.SHN_XINDEX else header.shstrndx
        if count > _MOST_HEADERS:
            raise ArtifactError(f"malformed: {count} section headers")
        raw = [
            RawSection._make(fields)
            for chunk in self.source.chunks(header.shoff, count * record.size, record.size)
            for fields in record.iter_unpack(chunk)
        ]
        for section in raw:
            if section.type not in (elf.SHT_NOBITS, elf.SHT_NULL) and section.offset + section.size > self.source.size:
                raise ArtifactError(
                    f"truncated or malformed: a section ends at {section.offset + section.size:#x}, "
                    f"the file at {self.source.size:#x}"
                )
        return self._named(raw, names_index)

    def _named(self, raw: list[RawSection], names_index: int) -> tuple[Section, ...]:
        names = b""
        if 0 < names_index < len(raw) and raw[names_index].type == elf.SHT_STRTAB:
            names = self.source.read(raw[names_index].offset, min(raw[names_index].size, _MOST_STRINGS))
        elif self.header.type == elf.ET_REL:  # the linker goes by the names; the loader does not know of them
            raise ArtifactError("malformed: e_shstrndx names no string table")
        budget = len(raw) * 16 + 4 * len(names)  # names may overlap, and a file may name one long text over and over
        sections = []
        for s in raw:
            name = string_at(names, s.name)
            budget -= len(name)
            if budget < 0:
                raise ArtifactError("malformed: section names larger than their table")
            sections.append(Section(name, s.type, s.flags, s.addr, s.offset, s.size, s.link, s.info, s.entsize))
        return tuple(sections)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """All program headers, not yet checked against the file's size."""
        header = self.header
        if header.phnum == 0:
            return ()
        record = self.layout.segment
        if header.phentsize != record.size:
            raise ArtifactError(f"malformed: program headers of {header.phentsize} bytes, this class has {record.size}")
        count = header.phnum
        if count == elf.PN_XNUM and header.shoff:
            first = RawSection._make(
                self.layout.section.unpack(self.source.read(header.shoff, self.layout.section.size))
            )
            count = first.info or count
        # the kernel's limit for what it loads (fs/binfmt_elf.c, load_elf_phdrs); core dumps may have more
        most = _MOST_HEADERS if header.type == elf.ET_CORE else (1 << 16) // record.size
        if count > most:
            raise ArtifactError(f"malformed: {count} program headers")
        return self.layout.segments(self.source.read(header.phoff, count * record.size))

    def check_segments(self) -> None:
        """Raise ArtifactError unless every segment lies inside the file and inside the address space."""
        limit = 1 << self.layout.bits
        for segment in self.segments:
            if segment.type == 0:
                continue
            if segment.filesz and segment.offset + segment.filesz > self.source.size:
                raise ArtifactError(
                    f"truncated or malformed: a segment ends at {segment.offset + segment.filesz:#x}, "
                    f"the file at {self.source.size:#x}"
                )
            if segment.vaddr + segment.memsz > limit:
                raise ArtifactError("malformed: a segment reaches beyond the address space")
            if segment.type == elf.PT_LOAD and segment.filesz > segment.memsz:
                raise ArtifactError("malformed: a PT_LOAD is larger in the file than in memory")
        if self.header.type in (elf.ET_EXEC, elf.ET_DYN):
            self._check_loaded()

    def _check_loaded(self) -> None:
        """No linker writes two of these; kernel and loader would take the last, other readers the first."""
        kinds = [segment.type for segment in self.segments]
        for kind, name in _ONLY_ONCE.items():
            if kinds.count(kind) > 1:
                raise ArtifactError(f"malformed: more than one {name}")
        loads = sorted((s.vaddr, s.end) for s in self.segments if s.type == elf.PT_LOAD and s.memsz)
        for (_, end), (start, _) in pairwise(loads):
            if start < end:
                raise ArtifactError("malformed: PT_LOAD segments overlap")

    def offset_of(self, address: int, size: int = 1) -> int:
        """The file offset that the loader maps to `address`.

        Raises
        ------
        ArtifactError: no PT_LOAD holds `size` bytes there.
        """
        # whole pages are mapped, one segment after the other: of a page that two share, the last one's stays
        for segment in reversed(self.segments):
            if (
                segment.type == elf.PT_LOAD
                and segment.vaddr & -_PAGE <= address
                and address + size <= segment.vaddr + segment.filesz
                and segment.offset + address >= segment.vaddr
            ):
                return segment.offset + address - segment.vaddr
        raise ArtifactError(f"malformed: address {address:#x} ({size} bytes) lies in no PT_LOAD")

    def at(self, address: int, size: int) -> bytes:
        """`size` bytes at a run-time address."""
        return self.source.read(self.offset_of(address, size), size)

    @cached_property
    def interpreter(self) -> str | None:
        segment = next((s for s in self.segments if s.type == elf.PT_INTERP), None)
        if segment is None:
            return None
        if segment.filesz > _MOST_STRING:
            raise ArtifactError("malformed: PT_INTERP is no path")
        text = self.source.read(segment.offset, segment.filesz).split(b"\0", 1)[0]
        return printable(text.decode("utf-8", "backslashreplace"))

    @cached_property
    def dynamic(self) -> Dynamic | None:
        """The dynamic section, found by the address that the loader uses."""
        segments = [s for s in self.segments if s.type == elf.PT_DYNAMIC]
        if not segments:
            return None
        segment = segments[-1]
        if segment.filesz == 0:
            raise ArtifactError("malformed: PT_DYNAMIC is empty")
        offset = self.offset_of(segment.vaddr, segment.filesz)
        if offset != segment.offset:
            raise ArtifactError("malformed: offset and address of PT_DYNAMIC name different places")
        tags, names = self._tags(offset, segment.filesz)
        if elf.DT_STRTAB not in tags or elf.DT_SYMTAB not in tags:  # mandatory (gABI, "Dynamic Array Tags")
            raise ArtifactError("malformed: the dynamic section has no DT_STRTAB or no DT_SYMTAB")

        def string(tag: int) -> str | None:
            return self.string(tags[tag], tags) if tag in tags else None

        return Dynamic(
            address=segment.vaddr,
            size=segment.memsz,
            tags=tags,
            needed=self._names(names[elf.DT_NEEDED], tags),
            filters=self._names(names[elf.DT_FILTER] + names[elf.DT_AUXILIARY], tags),
            audit=tuple(string(tag) or "" for tag in (elf.DT_AUDIT, elf.DT_DEPAUDIT) if tag in tags),
            soname=string(elf.DT_SONAME),
            rpath=string(elf.DT_RPATH),
            runpath=string(elf.DT_RUNPATH),
        )

    def _names(self, offsets: list[int], tags: dict[int, int]) -> tuple[str, ...]:
        names: list[str] = []
        budget = 16 * len(offsets) + 4 * len(self.dynamic_strings(tags)) if offsets else 0
        for offset in offsets:
            names.append(self.string(offset, tags))
            budget -= len(names[-1])
            if budget < 0:
                raise ArtifactError("malformed: names of libraries larger than their table")
        return tuple(names)

    def _tags(self, offset: int, size: int) -> tuple[dict[int, int], dict[int, list[int]]]:
        """The last value of each tag, and all values of those of which there may be several."""
        record = self.layout.dynamic
        size = min(size - size % record.size, _MOST_DYNAMIC * record.size)
        tags: dict[int, int] = {}
        names: dict[int, list[int]] = {elf.DT_NEEDED: [], elf.DT_FILTER: [], elf.DT_AUXILIARY: []}
        for tag, value in record.iter_unpack(self.source.read(offset, size)):
            if tag == elf.DT_NULL:
                return tags, names
            if tag in names:
                names[tag].append(value)
            tags[tag] = value
        raise ArtifactError("malformed: the dynamic section does not end with DT_NULL")

    def string(self, offset: int, tags: dict[int, int] | None = None) -> str:
        """A string of the dynamic string table, which is found by DT_STRTAB and DT_STRSZ."""
        table = self.dynamic_strings(tags)
        if offset >= len(table):
            raise ArtifactError("malformed: a name lies outside the dynamic string table")
        return string_at(table, offset)

    def dynamic_strings(self, tags: dict[int, int] | None = None) -> bytes:
        """The dynamic string table."""
        if tags is None:
            tags = dict(self.dynamic.tags) if self.dynamic else {}
        if elf.DT_STRTAB not in tags:
            raise ArtifactError("malformed: names are used and there is no DT_STRTAB")
        key = (tags[elf.DT_STRTAB], tags.get(elf.DT_STRSZ, 0))
        if key[1] > _MOST_STRINGS:
            raise ArtifactError(f"malformed: a dynamic string table of {key[1]:#x} bytes")
        if key not in self._strings:
            self._strings[key] = self.at(*key)
        return self._strings[key]

    def table(self, address_tag: int, size_tag: int) -> tuple[int, int] | None:
        """File offset and size of a table that two dynamic tags describe; None where it is absent or empty."""
        tags = self.dynamic.tags if self.dynamic else {}
        address, size = tags.get(address_tag), tags.get(size_tag, 0)
        if address is None or size == 0:
            return None
        return self.offset_of(address, size), size


def string_at(table: bytes, offset: int) -> str:
    """The NUL-terminated name at `offset`; empty outside the table.

    What a terminal would obey, or what is not UTF-8, comes as escapes: names travel into messages.

    Raises
    ------
    ArtifactError: it is longer than any name.
    """
    end = table.find(b"\0", offset, offset + _MOST_STRING)
    if end < 0:
        if len(table) - offset > _MOST_STRING:
            raise ArtifactError(f"malformed: a name of more than {_MOST_STRING} bytes")
        end = len(table)
    return printable(table[offset:end].decode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    """`text` with control characters as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _read_header(source: Source) -> tuple[Layout, Header]:
    if source.size == 0:
        raise ArtifactError("empty file")
    ident = source.read(0, min(16, source.size))
    if not ident.startswith(b"\x7fELF"):
        if b"GNU ld script" in source.read(0, min(256, source.size)):
            raise ArtifactError("not an ELF file but a linker script: name the libraries that it points to")
        raise ArtifactError("not an ELF file")
    if len(ident) < 16:
        raise ArtifactError("truncated: it ends inside the ELF header")
    bits: Literal[32, 64]
    order: Literal["little", "big"]
    if ident[4] not in (1, 2) or ident[5] not in (1, 2) or ident[6] != 1:
        raise ArtifactError(f"malformed: EI_CLASS {ident[4]}, EI_DATA {ident[5]}, EI_VERSION {ident[6]}")
    bits = 32 if ident[4] == 1 else 64
    order = "little" if ident[5] == 1 else "big"
    records = layout(bits, order)
    if source.size < records.header.size:
        raise ArtifactError("truncated: it ends inside the ELF header")
    header = Header._make(records.header.unpack(source.read(0, records.header.size)))
    if header.version != 1:
        raise ArtifactError(f"malformed: e_version is {header.version:#x}; the byte order in EI_DATA may be wrong")
    if header.ehsize != records.header.size:
        raise ArtifactError(
            f"malformed: e_ehsize is {header.ehsize}, this class has {records.header.size}; EI_CLASS may be wrong"
        )
    if header.phnum == 0 and header.shoff == 0:
        raise ArtifactError("malformed: neither program headers nor section headers")
    return records, header
