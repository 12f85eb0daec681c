"""What was read from one ELF file: frozen, free of any library's objects, safe to keep after the file is closed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate
from typing import Literal, NamedTuple

from ..model import Kind
from ..recipe import Recipe
from .layout import DT_FLAGS, DT_FLAGS_1, PF_W, PT_LOAD, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, Segment
from .machines import Machine

__all__ = [
    "ENTRY",
    "Calls",
    "CfiTraces",
    "Definitions",
    "Dynamic",
    "ElfFacts",
    "EntryPoint",
    "FunctionFinding",
    "Got",
    "Imports",
    "LibraryCall",
    "Need",
    "ObjectRelocations",
    "OddName",
    "OddNames",
    "Properties",
    "Reference",
    "RuntimeSymbols",
    "Section",
    "StackArray",
    "StackArrays",
    "StackUse",
    "TextRelocation",
    "TextRelocations",
    "Unit",
    "Units",
]


_DEEPEST_RANGES = 256  # ranges inside one another that are looked at; real ones are not nested


class Need(Enum):
    """A group of facts that costs something to read; a check asks for what it needs, when it needs it."""

    IMPORTS = "undefined symbols and the calls to them"
    RUNTIME_SYMBOLS = "symbols of sanitizers, coverage, profiling and checked headers"
    SOURCE_FILES = "names of the source files in the symbol table"
    UNITS = "translation units and the flags on record"
    STACK_USE = "what functions do with their stack frames, from their code"
    CALLS = "which function calls which C library function, from the code"
    TEXT_RELOCATIONS = "run-time relocations in segments that are not writable"
    GOT = "addresses of the slots that the loader fills"
    ENTRY_POINTS = "first instructions of the global functions"
    PROPERTIES = "GNU property note"
    OBJECT_RELOCATIONS = "relocations of an object file"
    STACK_ARRAYS = "arrays on the stack, from DWARF"
    EXPORTS = "names that other files can use"
    DEFINITIONS = "names that the symbol table defines"
    ODD_NAMES = "names with characters outside of ASCII"
    CFI_TRACES = "traces of control-flow integrity made in software"
    BUILD_ID = "build identifier"


class Section(NamedTuple):
    """One section header; addresses, offsets and sizes in bytes."""

    name: str
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    entsize: int

    @property
    def allocated(self) -> bool:
        return bool(self.flags & SHF_ALLOC)

    @property
    def writable(self) -> bool:
        return bool(self.flags & SHF_WRITE)

    @property
    def executable(self) -> bool:
        return bool(self.flags & SHF_EXECINSTR)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """The dynamic section as the loader sees it: through PT_DYNAMIC, the last entry of a tag wins."""

    address: int
    size: int
    tags: Mapping[int, int]
    needed: tuple[str, ...]
    soname: str | None
    rpath: str | None
    runpath: str | None
    audit: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()  # DT_FILTER, DT_AUXILIARY: libraries whose symbols go before its own

    def __contains__(self, tag: int) -> bool:
        return tag in self.tags

    @property
    def flags(self) -> int:
        return self.tags.get(DT_FLAGS, 0)

    @property
    def flags_1(self) -> int:
        return self.tags.get(DT_FLAGS_1, 0)


@dataclass(frozen=True, slots=True)
class Imports:
    """Undefined symbols.

    Parameters
    ----------
    names: all of them.
    calls: those that are the target of a relocation which only a direct call leaves, and whose address is not taken
    by code without -fPIE: there the same relocation serves both.
    defined: functions that the file defines and exports, of those whose name begins with an underscore: names of
    runtimes and mangled names.
    """

    names: frozenset[str]
    calls: frozenset[str]
    defined: frozenset[str]


@dataclass(frozen=True, slots=True)
class RuntimeSymbols:
    """Names of the run-time support of sanitizers, coverage, profiling and of the C++ libraries' assertions.

    Parameters
    ----------
    undefined, defined: in the dynamic symbol table and in the one that `strip` removes, hidden ones too; sorted.
    stripped: whether only the dynamic symbol table is left, so that defined ones may be missing.
    traces: environment variables of such run-time support that a stripped file names in its read-only data:
    "GCOV_PREFIX" ...
    cplusplus: whether any symbol has a mangled C++ name.
    libcxx_modes: of the hardening modes of libc++ ("none", "fast", "extensive", "debug"), those that names in the
    symbol table carry.
    """

    undefined: tuple[str, ...]
    defined: tuple[str, ...]
    stripped: bool
    traces: tuple[str, ...] = ()
    cplusplus: bool = False
    libcxx_modes: tuple[str, ...] = ()


class TextRelocation(NamedTuple):
    """A run-time relocation in a segment that is not writable."""

    address: int
    symbol: str
    location: str  # the function or section it lies in; empty where the file does not tell


@dataclass(frozen=True, slots=True)
class TextRelocations:
    """`found` holds the first ones; `count` is the number of all; `packed` says that a table could not be decoded."""

    found: tuple[TextRelocation, ...]
    count: int
    packed: bool


@dataclass(frozen=True, slots=True)
class Got:
    """Address ranges (lowest, highest) of the slots that the loader fills; None where there is no such slot."""

    data_slots: tuple[int, int] | None
    call_slots: tuple[int, int] | None


#: The name of the program's entry point where no function symbol is left.
ENTRY = "entry point"


class EntryPoint(NamedTuple):
    """A global function's first bytes; where there is no function symbol, those at the entry point (`ENTRY`)."""

    name: str
    address: int
    code: bytes


@dataclass(frozen=True, slots=True)
class Properties:
    """GNU property notes: `features` is the AND mask of the architecture's FEATURE_1, None where there is no note."""

    features: int | None


class Reference(NamedTuple):
    """A relocation of an object file that decides on its position independence."""

    relocation: str
    symbol: str
    section: str
    offset: int
    function: str


@dataclass(frozen=True, slots=True)
class ObjectRelocations:
    """What the relocations of an object file say of position independence.

    Parameters
    ----------
    position_dependent: relocations that need a fixed load address; the first ones.
    executable_only: relocations that fit a PIE but no shared library; the first ones.
    count: the number of relocations in sections that are loaded.
    undecided: relocation types that the tables do not hold.
    """

    position_dependent: tuple[Reference, ...]
    executable_only: tuple[Reference, ...]
    count: int
    undecided: tuple[str, ...]


class StackArray(NamedTuple):
    """A function with an array on the stack, from DWARF, and its largest one.

    Parameters
    ----------
    unit: the source file. function, variable: names. producer: what compiled it, with the flags on record.
    address, size: of the function's code, in bytes; in object files relative to `section`.
    section: the index of its section in object files; else 0.
    characters: bytes of the array where it is one of characters; else 0. Plain -fstack-protector goes by this.
    """

    unit: str
    function: str
    variable: str
    producer: str
    address: int
    size: int
    section: int = 0
    characters: int = 0


@dataclass(frozen=True, slots=True)
class StackArrays:
    """Functions of C and C++ units with arrays on the stack.

    Parameters
    ----------
    found: units whose flags switch the stack protector off come first, those that switch it on last.
    complete: whether these are all that the debug information has.
    """

    found: tuple[StackArray, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """One translation unit, as far as the file records it.

    Parameters
    ----------
    name: the source file as it was given to the compiler, or its base name; empty where only flags are on record.
    language: "c", "c++", "objective-c", "assembler", "fortran", "ada", "go", "rust", "d" ...; empty when unknown.
    compiler: "gcc", "clang", "tcc", "rustc", "go" ...; empty when unknown. version: its version, "12.2.0".
    flags: code generation options on record, in their order; None where the compiler recorded none.
    ranges: half-open address ranges of its code; empty for object files and where the file does not tell.
    source: where this stands: "DWARF", ".GCC.command.line", ".gnu.lto_.opts", "annobin note", "symbol table"; or the
        record of a build system that a check put in: "compile_commands.json".
    folder: what `name` is relative to, as the compiler wrote it down (DW_AT_comp_dir); empty where it did not.
    whole: whether `flags` are a whole command line as a build system recorded it, options of all kinds among them.
    """

    name: str
    language: str = ""
    compiler: str = ""
    version: str = ""
    flags: tuple[str, ...] | None = None
    ranges: tuple[tuple[int, int], ...] = ()
    source: str = ""
    folder: str = ""
    whole: bool = False

    @property
    def is_c_family(self) -> bool:
        """Whether the mitigations of C compilers apply to it."""
        return self.language in ("c", "c++", "objective-c", "objective-c++")


@dataclass(frozen=True, slots=True)
class Units:
    """The translation units of a file.

    Parameters
    ----------
    found: all that were read, in the file's order.
    unread: why others may be missing, one sentence each: split or compressed debug information, limits.
    hidden: why there may be, or is, a unit without debug information that nothing names; empty where all are known,
    or where there is no debug information at all.
    """

    found: tuple[Unit, ...]
    unread: tuple[str, ...] = ()
    hidden: str = ""
    _ranges: tuple[tuple[int, int, int], ...] = field(init=False, repr=False, compare=False)
    _reach: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # by start; what several units claim belongs to the first of them: of equal copies the linker keeps that one
        ranges = sorted(
            (start, -index, end) for index, unit in enumerate(self.found) for start, end in unit.ranges if start < end
        )
        object.__setattr__(self, "_ranges", tuple(ranges))
        object.__setattr__(self, "_reach", tuple(accumulate((end for _, _, end in ranges), max)))

    @property
    def tell_places(self) -> bool:
        """Whether any of them tells where its code is."""
        return bool(self._ranges)

    def at(self, address: int) -> Unit | None:
        """The unit that an address belongs to. An object file with one unit needs no ranges."""
        last = bisect_right(self._ranges, (address, 1, 0)) - 1
        for position in range(last, max(-1, last - _DEEPEST_RANGES), -1):
            _, index, end = self._ranges[position]
            if address < end:
                return self.found[-index]
            if self._reach[position] <= address:
                break
        return self.found[0] if len(self.found) == 1 and not self.found[0].ranges else None


class FunctionFinding(NamedTuple):
    """A function, and what was seen in it.

    Parameters
    ----------
    function: its symbol; empty where the file is stripped.
    address, size: of its code, in bytes. In object files the offset in its section.
    unit: the source file it comes from; empty when unknown.
    what: a phrase that follows the function's name: "passes the address of a local to strcpy()".
    """

    function: str
    address: int
    size: int
    unit: str
    what: str


@dataclass(frozen=True, slots=True)
class StackUse:
    """What the functions of the file's own code do with their stack frames. Start files and, in static files, the C
    library's functions are left out.

    Parameters
    ----------
    functions: how many were looked at.
    protected: how many check a canary.
    unprotected: the first ones that check none although they hold an array, or let the address of a local out of hand.
    unprotected_count: how many there are of these.
    doubtful: how many check none, take the address of a local for a purpose that is not clear, and come from no unit
    that is known to hold functions with a canary; and functions that may also be a library's.
    probed: how many probe the stack while they allocate it.
    unprobed: the first ones that allocate a page or more without touching it. unprobed_count: how many.
    unclear: how many allocate so much, or a size made at run time, where it cannot be told whether they had to.
    incomplete: why not all code could be looked at; empty when it was.
    """

    functions: int
    protected: int
    unprotected: tuple[FunctionFinding, ...]
    unprotected_count: int
    doubtful: int
    probed: int
    unprobed: tuple[FunctionFinding, ...]
    unprobed_count: int
    unclear: int
    incomplete: str = ""


class LibraryCall(NamedTuple):
    """A call of a function of another file, by name.

    Parameters
    ----------
    callee: "printf", "__strcpy_chk" ...
    caller: the function that calls.
    tells: what its arguments say. Of a fortified function: "level 1", "level 2" or "level 3" where a flag says at which
    level its unit was compiled; "constant" or "computed", how the argument that holds the object's size is made. Of a
    plain one: "replaced" where level 2 and higher replace such a call in C, "left" where all levels leave it,
    "left at level 2" where levels up to 2 do. Else empty.
    """

    callee: str
    caller: FunctionFinding
    tells: str = ""


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of the functions that FORTIFY knows, checked and plain; each function, callee and what it tells once.

    Parameters
    ----------
    found: the first thousands of them.
    incomplete: why not all code could be looked at; empty when it was.
    one_unit: an object whose functions all come from one unit.
    left_out: functions of other languages or of the compiler's library were left out, and may call what no other does.
    """

    found: tuple[LibraryCall, ...]
    incomplete: str = ""
    one_unit: bool = False
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class Definitions:
    """Names that the symbol table defines; `complete` unless it was stripped, of all or of some."""

    names: frozenset[str]
    complete: bool


class OddName(NamedTuple):
    """A name with characters outside of ASCII.

    Parameters
    ----------
    place: where it stands: "dynamic string table", "symbol table", "section headers".
    name: with escapes for what cannot be seen.
    kind: the characters: "bidi" (they turn the direction of text), "invisible" or "non-ascii" (any).
    """

    place: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class OddNames:
    """Such names, the first hundred of each kind; `unread` says why there may be others, or is empty."""

    found: tuple[OddName, ...]
    unread: str = ""


@dataclass(frozen=True, slots=True)
class CfiTraces:
    """What control-flow integrity made in software leaves behind.

    Parameters
    ----------
    symbols: names of clang's CFI and of SafeStack, the first ones.
    shadow_calls: functions that push their return address on a shadow call stack, the first ones.
    has_symbols: whether the symbol table that `strip` removes is there, with the program's entry point in it.
    """

    symbols: tuple[str, ...]
    shadow_calls: tuple[str, ...]
    has_symbols: bool


@dataclass(frozen=True, slots=True)
class ElfFacts:
    """One ELF file. Groups named in `Need` are None until they were asked for.

    Parameters
    ----------
    name: the file's or the member's base name.
    kind, machine, bits, order: what it is.
    mode: st_mode of the file; 0 for a member of an archive.
    build_root: the build tree it lies in, or None.
    interpreter: PT_INTERP, or None.
    libc: "glibc", "musl" or "bionic", or None where the file does not tell.
    compilers: families named in .comment and notes: "gcc", "clang", "rustc", "go" ...; empty where nothing is on
    record. oldest_gcc: the lowest major version of GCC in .comment. bytecode: an object that holds only
    link-time-optimisation bytecode, no machine code.
    entry, flags: e_entry and e_flags of the ELF header.
    build_id: the contents of NT_GNU_BUILD_ID in a PT_NOTE; empty where there is none.
    recipe: how a build system says that it is made, of a member of an archive the whole archive; None where nothing is
        known of that.
    """

    name: str
    kind: Kind
    machine: Machine
    bits: Literal[32, 64]
    order: Literal["little", "big"]
    mode: int
    build_root: str | None
    interpreter: str | None
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    dynamic: Dynamic | None
    libc: str | None
    compilers: tuple[str, ...]
    bytecode: bool
    oldest_gcc: int | None = None
    entry: int = 0
    flags: int = 0
    known: frozenset[Need] = frozenset()
    imports: Imports | None = None
    runtime_symbols: RuntimeSymbols | None = None
    source_files: tuple[str, ...] | None = None
    units: Units | None = None
    stack_use: StackUse | None = None
    calls: Calls | None = None
    text_relocations: TextRelocations | None = None
    got: Got | None = None
    entry_points: tuple[EntryPoint, ...] | None = None
    properties: Properties | None = None
    object_relocations: ObjectRelocations | None = None
    stack_arrays: StackArrays | None = None
    exports: tuple[str, ...] | None = None
    definitions: Definitions | None = None
    odd_names: OddNames | None = None
    cfi_traces: CfiTraces | None = None
    build_id: bytes | None = None
    recipe: Recipe | None = None

    def segment(self, kind: int) -> Segment | None:
        """The first segment of a type, or None."""
        return next((segment for segment in self.segments if segment.type == kind), None)

    def section(self, name: str) -> Section | None:
        """The first section of a name, or None; only for what exists in no segment."""
        return next((section for section in self.sections if section.name == name), None)

    def writable(self, address: int) -> bool:
        """Whether an address lies in a writable PT_LOAD."""
        return any(s.type == PT_LOAD and s.flags & PF_W and s.covers(address) for s in self.segments)

    @property
    def has_code(self) -> bool:
        """Whether an object file holds any instruction."""
        return any(section.executable and section.size for section in self.sections)
