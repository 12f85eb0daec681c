"""Functions with an array on the stack, from DWARF.

Such a function is what -fstack-protector-strong protects: it has a local array of any type and size, or a local
structure or union that holds one (GCC manual, "Program Instrumentation Options"; GCC cfgexpand.cc,
stack_protect_classify_type; LLVM StackProtector.cpp, ContainsProtectableArray).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import ArtifactError
from .debug_abbreviations import Abbreviation, Attribute, Entry, leb128
from .debug_info import Budget, DebugInfo, DebugUnit
from .dwarf_codes import (
    CONSTANTS,
    DW_AT_ABSTRACT_ORIGIN,
    DW_AT_BYTE_SIZE,
    DW_AT_COUNT,
    DW_AT_DWO_NAME,
    DW_AT_ENCODING,
    DW_AT_EXTERNAL,
    DW_AT_GNU_DWO_NAME,
    DW_AT_GNU_VECTOR,
    DW_AT_LANGUAGE,
    DW_AT_LANGUAGE_NAME,
    DW_AT_LOCATION,
    DW_AT_LOWER_BOUND,
    DW_AT_NAME,
    DW_AT_PRODUCER,
    DW_AT_SPECIFICATION,
    DW_AT_TYPE,
    DW_AT_UPPER_BOUND,
    DW_OP_DEREF,
    DW_OP_FBREG,
    DW_TAG_ARRAY_TYPE,
    DW_TAG_BASE_TYPE,
    DW_TAG_CLASS_TYPE,
    DW_TAG_COMPILE_UNIT,
    DW_TAG_INHERITANCE,
    DW_TAG_MEMBER,
    DW_TAG_STRUCTURE_TYPE,
    DW_TAG_SUBPROGRAM,
    DW_TAG_SUBRANGE_TYPE,
    DW_TAG_UNION_TYPE,
    QUALIFIERS,
)
from .facts import StackArray, StackArrays
from .producer import language_of, producer_of

__all__ = ["stack_arrays"]

_MOST_FOUND = 4096
_MOST_UNITS = 20_000
_MOST_ENTRIES = 60_000  # 0.05 s
_MOST_BYTES = 1 << 26
_DEEPEST_TYPE = 16
_MOST_MEMBERS = 512
_C_FAMILY = frozenset(("c", "c++", "objective-c", "objective-c++"))
_AGGREGATES = frozenset((DW_TAG_STRUCTURE_TYPE, DW_TAG_CLASS_TYPE, DW_TAG_UNION_TYPE))
_DW_ATE_CHARACTERS = frozenset((0x06, 0x08, 0x10))  # signed_char, unsigned_char, UTF


class _Array(NamedTuple):
    """What a type says of arrays in it.

    Parameters
    ----------
    found: whether there is any. characters: the bytes of the largest one of characters; 0 where there is none.
    dynamic: its size is known at run time only.
    """

    found: bool = False
    characters: int = 0
    dynamic: bool = False


_NONE = _Array()


def stack_arrays(debug: DebugInfo) -> StackArrays:
    """The functions of C and C++ units that have an array on the stack, each with its largest one.

    Units whose recorded flags switch the stack protector off come first, those that switch it on last.
    """
    search = _Search(debug)
    try:
        units = sorted(search.units(), key=lambda unit: unit[1])
        for unit, _ in units:
            search.read(unit)
            if search.full:
                break
    except (ArtifactError, IndexError, ValueError):
        search.complete = False
    return StackArrays(tuple(search.found), search.complete and not debug.notes)


class _Function:
    """A function while its entries are read."""

    __slots__ = ("best", "entry", "level", "variable")

    def __init__(self, level: int, entry: Entry) -> None:
        self.level = level
        self.entry = entry
        self.best = _NONE
        self.variable: Entry = {}


class _Search:
    """Reads the entries of units, one after the other, and remembers what was found."""

    def __init__(self, debug: DebugInfo) -> None:
        self.found: list[StackArray] = []
        self.complete = True
        self._debug = debug
        self._budget = Budget(_MOST_ENTRIES)
        self._bytes = _MOST_BYTES
        self._types: dict[int, _Array] = {}
        self._texts: dict[str, str] = {}  # most functions of a file share the text of its producer
        self._gcc = True

    @property
    def full(self) -> bool:
        if self._budget.exceeded or len(self.found) >= _MOST_FOUND:
            self.complete = False
        return not self.complete

    def units(self) -> Iterator[tuple[DebugUnit, int]]:
        """The units of C compilers, and when to read each. GCC records flags that were given; the last one wins."""
        for count, unit in enumerate(self._debug.units()):
            abbreviation, top = unit.top
            if count >= _MOST_UNITS or not top.keys().isdisjoint((DW_AT_DWO_NAME, DW_AT_GNU_DWO_NAME)):
                self.complete = False  # the rest stands in a .dwo file
            if count >= _MOST_UNITS:
                return
            producer = producer_of(unit.text(top.get(DW_AT_PRODUCER)))
            codes = unit.constant(top.get(DW_AT_LANGUAGE)), unit.constant(top.get(DW_AT_LANGUAGE_NAME))
            if abbreviation.tag == DW_TAG_COMPILE_UNIT and language_of(producer, *codes) in _C_FAMILY:
                flags = [
                    flag
                    for flag in producer.flags or ()
                    if flag.startswith(("-fstack-protector", "-fno-stack-protector"))
                ]
                yield unit, (1 if not flags else 0 if flags[-1].startswith("-fno") else 2)

    def read(self, unit: DebugUnit) -> None:
        """Read one unit; damage ends it, and what was found before stands."""
        self._bytes -= unit.end - unit.offset
        if self._bytes < 0:
            self.complete = False
            return
        top = unit.top[1]
        self._gcc = producer_of(unit.text(top.get(DW_AT_PRODUCER))).compiler == "gcc"
        try:
            self._walk(unit)
        except (ArtifactError, IndexError, ValueError, RecursionError):
            self.complete = False
        unit.forget()

    def _walk(self, unit: DebugUnit) -> None:
        functions: list[_Function] = []
        for level, tag, entry in unit.walk(self._budget):
            while functions and functions[-1].level >= level:
                self._add(unit, functions.pop())
            if tag == DW_TAG_SUBPROGRAM:
                functions.append(_Function(level, entry))
            elif functions:
                self._look_at(unit, functions[-1], entry)
        if not self._budget.exceeded:
            for function in functions:
                self._add(unit, function)

    def _look_at(self, unit: DebugUnit, function: _Function, variable: Entry) -> None:
        """Note a variable that is an array on the stack, if it is the first one or larger than those before."""
        location = variable[DW_AT_LOCATION].value
        if not isinstance(location, bytes) or len(location) < 2 or location[0] != DW_OP_FBREG:
            return
        after = leb128(location, 1)[1]
        operations = location[after:]
        if operations not in (b"", bytes((DW_OP_DEREF,))):
            return
        array = self._type_of(unit, variable, 0)
        if array.dynamic != bool(operations):  # the address of a variable-length array lies on the stack
            return
        if array.found and (not function.variable or array.characters > function.best.characters):
            function.best, function.variable = array, variable

    def _add(self, unit: DebugUnit, function: _Function) -> None:
        if not function.variable:
            return
        code = next(unit.ranges(function.entry, self._budget), None)
        if code is None:
            return
        source, name = self._named(unit, function.entry)
        producer = source.text(source.top[1].get(DW_AT_PRODUCER))
        self.found.append(
            StackArray(
                unit=source.text(source.top[1].get(DW_AT_NAME)),
                function=name,
                variable=self._named(unit, function.variable)[1],
                producer=self._texts.setdefault(producer, producer),
                address=code.start,
                size=code.end - code.start,
                section=code.section,
                characters=function.best.characters,
            )
        )

    def _named(self, unit: DebugUnit, entry: Entry) -> tuple[DebugUnit, str]:
        """The unit and the name of an entry. An inlined or cloned one refers to its origin, a method to its class;
        after link-time optimisation the origin lies in the unit of the source.
        """
        for _ in range(4):
            origin = entry.get(DW_AT_ABSTRACT_ORIGIN) or entry.get(DW_AT_SPECIFICATION)
            if DW_AT_NAME in entry or origin is None:
                break
            unit, entry = self._follow(unit, origin)[0::2]
        return unit, unit.text(entry.get(DW_AT_NAME))

    def _follow(self, unit: DebugUnit, attribute: Attribute) -> tuple[DebugUnit, Abbreviation, Entry]:
        self._budget.spend("entries")
        offset = unit.reference(attribute)
        if offset is None:
            raise ArtifactError("a reference into another file")
        if not unit.offset <= offset < unit.end:
            unit = self._debug.unit_at(offset)
        return unit, *unit.at(offset)

    def _type_of(self, unit: DebugUnit, entry: Entry, depth: int) -> _Array:
        """What the type of a variable or member holds."""
        for _ in range(4):
            if DW_AT_TYPE in entry or DW_AT_ABSTRACT_ORIGIN not in entry:
                break
            unit, _tag, entry = self._follow(unit, entry[DW_AT_ABSTRACT_ORIGIN])
        if DW_AT_TYPE not in entry or depth > _DEEPEST_TYPE:
            return _NONE
        offset = unit.reference(entry[DW_AT_TYPE])
        if offset is None:  # a type unit, or a file that several share
            self.complete = False
            return _NONE
        if offset not in self._types:
            self._types[offset] = _NONE  # should it lead back to itself
            self._budget.spend("entries")
            if not unit.offset <= offset < unit.end:
                unit = self._debug.unit_at(offset)
            self._types[offset] = self._read_type(unit, offset, depth)
        return self._types[offset]

    def _read_type(self, unit: DebugUnit, offset: int, depth: int) -> _Array:
        abbreviation, entry = unit.at(offset)
        if abbreviation.tag in QUALIFIERS:
            return self._type_of(unit, entry, depth + 1)
        if abbreviation.tag == DW_TAG_ARRAY_TYPE:
            # a vector is a SIMD register's value, not a buffer
            return _NONE if DW_AT_GNU_VECTOR in entry else self._array(unit, offset, entry)
        # LLVM forgets which members a union has
        if abbreviation.tag not in _AGGREGATES or (abbreviation.tag == DW_TAG_UNION_TYPE and not self._gcc):
            return _NONE
        best = _NONE
        for tag, member in self._children(unit, offset):
            if tag in (DW_TAG_MEMBER, DW_TAG_INHERITANCE) and DW_AT_EXTERNAL not in member:
                array = self._type_of(unit, member, depth + 1)
                if array.found and not array.dynamic and (not best.found or array.characters > best.characters):
                    best = array
        return best

    def _array(self, unit: DebugUnit, offset: int, entry: Entry) -> _Array:
        elements, dynamic = 1, False
        for tag, part in self._children(unit, offset):
            if tag != DW_TAG_SUBRANGE_TYPE:
                continue
            bound = part.get(DW_AT_COUNT) or part.get(DW_AT_UPPER_BOUND)
            if bound is None:  # a flexible array at the end of a structure, or one of no elements
                elements = 0
            elif bound.form not in CONSTANTS:
                dynamic = True
            else:
                lower = 1 if DW_AT_COUNT in part else unit.constant(part.get(DW_AT_LOWER_BOUND)) or 0
                elements *= (unit.constant(bound) or 0) - lower + 1
        if dynamic:
            return _Array(True, 0, True)
        # GCC writes the upper bound of an array without elements as the largest number
        if not 0 < elements < 1 << 31:
            return _NONE
        tag, element = self._element(unit, entry)
        if elements == 1 and not self._gcc and tag not in _AGGREGATES:
            return _NONE  # LLVM may turn it into its only element
        character = tag == DW_TAG_BASE_TYPE and unit.constant(element.get(DW_AT_ENCODING)) in _DW_ATE_CHARACTERS
        return _Array(True, elements if character and unit.constant(element.get(DW_AT_BYTE_SIZE)) == 1 else 0)

    def _element(self, unit: DebugUnit, entry: Entry) -> tuple[int, Entry]:
        """Tag and attributes of the type of an array's elements; tag 0 where it cannot be read."""
        for _ in range(_DEEPEST_TYPE):
            if DW_AT_TYPE not in entry or unit.reference(entry[DW_AT_TYPE]) is None:
                break
            unit, abbreviation, entry = self._follow(unit, entry[DW_AT_TYPE])
            if abbreviation.tag not in QUALIFIERS:
                return abbreviation.tag, entry
        return 0, {}

    def _children(self, unit: DebugUnit, offset: int) -> Iterator[tuple[int, Entry]]:
        """Tags and attributes of the entries right below one; those below them are passed over."""
        data, position = unit.data, offset - unit.offset
        level = 0
        for _ in range(_MOST_MEMBERS):
            self._budget.spend("entries")
            code, position = leb128(data, position)
            if not code:
                level -= 1
            else:
                abbreviation = unit.abbreviation(code)
                entry, position = unit.entry(abbreviation, data, position, unit.offset)
                if level == 1:
                    yield abbreviation.tag, entry
                if abbreviation.children:
                    level += 1
            if level <= 0:
                return
        self.complete = False
