"""The search over a file's own functions: what they do with their stack, and what they call.

Its cost is bounded by counts, not by time, so that a verdict does not depend on the machine: of a large file only every
second, third ... function is looked at, spread over all of it, and `incomplete` says so.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from ...errors import ArtifactError
from ...model import Kind
from ..facts import Calls, ElfFacts, FunctionFinding, LibraryCall, StackUse, Unit, Units
from ..image import Image
from ..machines import EM_386, EM_AARCH64, EM_ARM, EM_PPC64, EM_RISCV, EM_S390, EM_X86_64, Machine
from ..relocations import object_relocations_by_section
from ..symbols import source_files, symbol_section
from .architecture import Body, Decoder, FrameUse, NameOf
from .constants import NO_TEXTS, texts_of_object, texts_of_program
from .coverage import uncovered_code
from .functions import Code, Function, functions_of, joins_functions
from .languages import calls_rust_main, is_foreign, languages_in
from .own_code import is_cold, is_hidden_runtime, is_runtime, is_runtime_file, is_start_file, own_functions, whole_name
from .plain_calls import FORTIFIABLE, KEPT
from .stubs import stub_names

__all__ = ["calls", "stack_use"]

_DECODERS = {
    EM_X86_64: "x86",
    EM_386: "x86",
    EM_AARCH64: "aarch64",
    EM_ARM: "arm",
    EM_PPC64: "power",
    EM_S390: "s390",
    EM_RISCV: "riscv",
}
#: by the machine's name: other byte orders and word sizes of the same number have no decoder
_NAMES = frozenset(("x86-64", "x32", "i386", "aarch64", "arm", "ppc64le", "s390x", "riscv64"))

_MOST_FUNCTIONS = 10_000
_MOST_BYTES = 6 << 20
_MOST_EFFORT = 100_000  # bytes disassembled
_MOST_FOUND = 64
_MOST_CALLS = 4096
_MOST_RELOCATIONS = 1 << 20
_CHECKED_OPEN = frozenset(f"__{name}_2" for name in KEPT)
_NOTHING: Mapping[int, str] = {}


class _Search:
    """What both searches share: decoder, functions, names, units.

    Parameters
    ----------
    image, facts, units: the file.

    Attributes
    ----------
    incomplete: why not all code could be looked at.
    left_out: functions were left out that may call what others do: of other languages, of the compiler's library.
    only_unit: the one unit that all functions of an object come from; None in every other file.
    """

    def __init__(self, image: Image, facts: ElfFacts, units: Units) -> None:
        self.incomplete: list[str] = []
        self.left_out = False
        self._wholes: dict[str, int] | None = None
        self._facts = facts
        self._units = units
        self._object = facts.kind is Kind.OBJECT
        # `ld -r` makes one object of several, each of which names its source
        single = self._object and len(units.found) == 1 and len(source_files(image)) == 1
        self.only_unit = units.found[0] if single else None
        # without a record of units it may be one nonetheless
        self.one_unit = self._object and len(units.found) <= 1 and len(source_files(image)) == 1
        self._thumb = facts.machine.number == EM_ARM
        self._symbols = _relocated(image) if self._object else {}
        self._code = Code(image, facts)
        self._texts_of = texts_of_object(image) if self._object else {}
        self._texts = NO_TEXTS if self._object else texts_of_program(image)
        self._functions = functions_of(image, facts)
        own = own_functions(image, facts, self._functions, self._units)
        self._stubs = {} if self._object else stub_names(image, facts.machine)
        if own.incomplete:
            self.incomplete.append(own.incomplete)
        elif self._object:
            if not len(self._functions) and facts.has_code:
                self.incomplete.append("no symbol tells where its functions are")
        elif not facts.kind.is_static and (lost := uncovered_code(image, facts, self._functions, self._stubs)):
            self.incomplete.append(f"neither symbols nor unwind tables tell of {lost} bytes of its code")
        if self._thumb and self._functions.has_unnamed and joins_functions(image):
            self.incomplete.append("unwind tables of Arm join neighbouring functions")
        self._own = own.indices
        self._strays = frozenset(self._functions[index].address for index in own.strays)
        self._rust = calls_rust_main(symbol_section(image).strings)
        self._entry = 0 if self._object else image.header.entry  # a start file's

    @property
    def name_of(self) -> NameOf:
        """Names of imports and of the file's own functions by address; objects go by relocations."""
        if self._object:
            return lambda address: ""
        stubs, functions = self._stubs, self._functions
        return lambda address: stubs.get(address) or functions.name_at(address)

    @property
    def import_name_of(self) -> NameOf:
        """Names of imports; of a static program those of all functions: the C library's are among them."""
        if self._facts.kind.is_static:
            return self.name_of
        stubs = self._stubs
        return lambda address: stubs.get(address, "")

    def start_of(self, function: Function) -> int:
        """The function's first byte: without Arm's mark of Thumb code."""
        return function.address & ~1 if self._thumb else function.address

    def unit_of(self, function: Function) -> Unit | None:
        if self._object and self._units.tell_places:
            return None  # no addresses before linking
        return self._units.at(self.start_of(function))

    def bodies(self, *, cold: bool = False) -> Iterator[tuple[Function, Body]]:
        """The file's own functions in order of address, with their code.

        Parameters
        ----------
        cold: code that was split off functions as well: it makes calls, but has no frame of its own.
        """
        indices = list(self._own)
        step = max(1, -(-len(indices) // _MOST_FUNCTIONS))
        left = _MOST_BYTES * step
        seen = 0
        for index in indices[::step] if step > 1 else indices:
            function = self._functions[index]
            unit = self.unit_of(function)
            if unit is not None and unit.language and not unit.is_c_family:
                self.left_out = True
                continue
            split = is_cold(function.name)
            if split and not cold:
                continue
            if self._is_made_by_tools(index, function, unit):
                continue
            left -= function.size
            if left < 0:
                self.incomplete.append(
                    f"more than {_MOST_BYTES >> 20} MB of code: the first {seen} functions were looked at"
                )
                return
            seen += 1
            data = self._code.of(function, thumb=self._thumb)
            texts = self._texts_of.get(function.section, self._texts)
            yield function, Body(function.address, data, self._near(function), texts, not split)
        if step > 1:
            self.incomplete.append(f"{len(indices)} functions: one of {step} was looked at")

    def _is_made_by_tools(self, index: int, function: Function, unit: Unit | None) -> bool:
        """Whether it comes from a start file, the compiler's library or another language, or is the PLT, for which
        linkers write unwind tables: the first stub stands at its start or behind a header of 16 or 32 bytes.
        """
        name = whole_name(function.name)
        if not name:
            address = self.start_of(function)
            return address == self._entry or any(address + header in self._stubs for header in (0, 16, 32))
        if unit is not None and unit.is_c_family and not is_runtime_file(unit.name):
            return False  # whatever it is called
        if is_start_file(name):
            return True
        # what stands in front of a static program's libraries is the user's
        hidden = not self._object and not self._facts.kind.is_static and is_hidden_runtime(self._functions, index)
        tools = hidden or is_runtime(name) or is_foreign(name) or (name == "main" and self._rust)
        self.left_out = self.left_out or tools
        return tools

    def whole(self, function: Function) -> Function:
        """The function that code was split off, where its name tells; else the same."""
        if not is_cold(function.name):
            return function
        if self._wholes is None:
            names = [self._functions.name(index) for index in range(len(self._functions))]
            split = {whole_name(name) for name in names if is_cold(name)}
            found: dict[str, list[int]] = {}
            for index, name in enumerate(names):
                if name in split:
                    found.setdefault(name, []).append(index)
            self._wholes = {name: places[0] for name, places in found.items() if len(places) == 1}
        place = self._wholes.get(whole_name(function.name))
        return function if place is None else self._functions[place]

    def is_stray(self, function: Function) -> bool:
        """Whether it may be a library's."""
        return function.address in self._strays

    def _near(self, function: Function) -> Mapping[int, str]:
        table = self._symbols.get(function.section)
        if not table:
            return _NOTHING
        start = self.start_of(function)
        if len(table) < function.size:
            return {at: name for at, name in table.items() if start <= at < start + function.size}
        return {at: table[at] for at in range(start, start + function.size) if at in table}


def stack_use(image: Image, facts: ElfFacts, units: Units) -> StackUse:
    """What the functions of the file's own code do with their stack frames; functions of units that were not compiled
    from C or its relatives are left out where the file tells.

    Raises
    ------
    ArtifactError: tables or code are damaged.
    """
    decoder = _decoder(facts)
    if decoder is None:
        return StackUse(0, 0, (), 0, 0, 0, (), 0, 0, f"no decoder for {facts.machine.name}")
    search = _Search(image, facts, units)
    tally = _Tally()
    found = facts.stack_arrays.found if facts.stack_arrays is not None else ()
    arrays = {(array.section, array.address): array for array in found}
    name_of = search.name_of
    for function, body in search.bodies():
        use = decoder.frame_use(body, name_of)
        array = arrays.get((function.section, search.start_of(function)))
        if array is not None and not use.canary and decoder.returns(body, name_of):
            use = use._replace(array=f"keeps the array {array.variable} on its stack")
        unit = search.unit_of(function)
        if search.is_stray(function):
            tally.add_stray(use)
        else:
            tally.add(function, unit, use, unit if unit is not None else search.only_unit)
        if tally.effort > _MOST_EFFORT:
            search.incomplete.append(f"too much code to look at: only the first {tally.functions} functions")
            break
    if tally.accuses_unknown_units and (languages := languages_in(image, facts)):
        tally.forget_unknown_units()
        search.incomplete.append(f"it holds code of {', '.join(languages)}: which functions are C cannot be told")
    return tally.result("; ".join(search.incomplete))


def is_fortifiable(name: str) -> bool:
    """Whether FORTIFY replaces the function, or it is a replacement."""
    return name in FORTIFIABLE or name in _CHECKED_OPEN or (name.startswith("__") and name.endswith(("_chk", "_chk2")))


def _finding(function: Function, unit: Unit | None, what: str) -> FunctionFinding:
    return FunctionFinding(function.name, function.address, function.size, unit.name if unit is not None else "", what)


class _Findings:
    """The first findings of a kind and the number of all, with those apart for which no unit tells the language."""

    def __init__(self) -> None:
        self.known: list[FunctionFinding] = []
        self.unknown: list[FunctionFinding] = []
        self.known_count = self.unknown_count = 0

    def add(self, function: Function, unit: Unit | None, what: str) -> None:
        """Note one. Units that are no C were left out before."""
        known = unit is not None and bool(unit.language)
        found = self.known if known else self.unknown
        self.known_count += known
        self.unknown_count += not known
        if len(found) < _MOST_FOUND:
            found.append(_finding(function, unit, what))

    def forget_unknown(self) -> int:
        """Take back those of which the language is not known; how many they were."""
        count, self.unknown_count = self.unknown_count, 0
        self.unknown.clear()
        return count

    @property
    def count(self) -> int:
        return self.known_count + self.unknown_count

    @property
    def first(self) -> tuple[FunctionFinding, ...]:
        return tuple(sorted(self.known + self.unknown, key=lambda finding: finding.address)[:_MOST_FOUND])


class _Tally:
    """Counts of `StackUse` while they grow."""

    def __init__(self) -> None:
        self.functions = self.effort = 0
        self._protected = self._probed = self._unclear = 0
        self._unprotected = _Findings()
        self._unprobed = _Findings()
        self._doubtful = 0  # in no unit that is known
        self._doubtful_in: Counter[int] = Counter()  # units by their identity
        self._protected_in: set[int] = set()

    def add(self, function: Function, unit: Unit | None, use: FrameUse, owner: Unit | None) -> None:
        """Note a function.

        Parameters
        ----------
        unit: where it comes from, for messages. owner: the unit whose options it was compiled with, where that is
        certain.
        """
        self.functions += 1
        self.effort += use.effort
        self._probed += use.probed
        self._protected += use.canary
        self._unclear += use.unclear
        if use.canary and owner is not None:
            self._protected_in.add(id(owner))
        if not use.canary and use.array:
            self._unprotected.add(function, unit, use.array)
        elif not use.canary and use.doubtful:
            if owner is None:
                self._doubtful += 1
            else:
                self._doubtful_in[id(owner)] += 1
        if use.unprobed:
            what = f"allocates {use.unprobed} bytes of stack at once and touches none of them"
            self._unprobed.add(function, unit, what)

    def add_stray(self, use: FrameUse) -> None:
        """Note a function that may be a library's: nothing in it is proof."""
        self.effort += use.effort
        self._doubtful += not use.canary and bool(use.array or use.doubtful)
        self._unclear += use.unclear or bool(use.unprobed)

    @property
    def accuses_unknown_units(self) -> bool:
        """Whether anything was found in functions of which no unit tells the language."""
        return bool(self._unprotected.unknown_count or self._unprobed.unknown_count)

    def forget_unknown_units(self) -> None:
        """Take back what was found in such functions."""
        self._doubtful += self._unprotected.forget_unknown()
        self._unprobed.forget_unknown()

    def result(self, incomplete: str) -> StackUse:
        return StackUse(
            self.functions,
            self._protected,
            self._unprotected.first,
            self._unprotected.count,
            self._doubtful + sum(n for unit, n in self._doubtful_in.items() if unit not in self._protected_in),
            self._probed,
            self._unprobed.first,
            self._unprobed.count,
            self._unclear,
            incomplete,
        )


def calls(image: Image, facts: ElfFacts, units: Units) -> Calls:
    """Which of the file's own functions call what FORTIFY replaces, and its replacements.

    Raises
    ------
    ArtifactError: tables or code are damaged.
    """
    decoder = _decoder(facts)
    if decoder is None:
        return Calls((), f"no decoder for {facts.machine.name}")
    search = _Search(image, facts, units)
    found: dict[LibraryCall, None] = {}
    name_of = search.import_name_of
    strays = 0
    for function, body in search.bodies(cold=True):
        for callee, tells in decoder.calls(body, name_of, is_fortifiable):
            if search.is_stray(function):
                strays += 1
                continue
            whole = search.whole(function)
            caller = _finding(whole, search.unit_of(function) or search.unit_of(whole), f"calls {callee}()")
            found.setdefault(LibraryCall(callee, caller, tells))
        if len(found) >= _MOST_CALLS:
            search.incomplete.append(f"only the first {_MOST_CALLS} calls were looked at")
            break
    if strays:
        search.incomplete.append(f"{strays} calls stand in functions that may be the C library's")
    return Calls(tuple(found), "; ".join(search.incomplete), search.one_unit, search.left_out)


def _decoder(facts: ElfFacts) -> Decoder | None:
    module = _DECODERS.get(facts.machine.number)
    if module is None or facts.machine.name not in _NAMES:
        return None
    make: Callable[[Machine], Decoder] = importlib.import_module(f".{module}", __package__).decoder
    return make(facts.machine)


def _relocated(image: Image) -> dict[int, dict[int, str]]:
    """The names in an object's code relocations, by section index and offset; the field's own for section symbols."""
    table = symbol_section(image)
    sections = {id(section): index for index, section in enumerate(image.sections)}
    names: dict[int, dict[int, str]] = {}
    count = 0
    for section, relocations in object_relocations_by_section(image):
        if not section.executable:
            continue
        target = names.setdefault(sections[id(section)], {})
        for relocation in relocations:
            count += 1
            if count > _MOST_RELOCATIONS:
                raise ArtifactError(f"more than {_MOST_RELOCATIONS} relocations of code")
            name = table.name_at(relocation.symbol)
            if name:  # R_RISCV_RELAX stands at the same place and names nothing
                target[relocation.offset] = name
    return names
