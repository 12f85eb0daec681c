"""What a function does with its stack frame, told from the few things its instructions do to registers.

Each architecture turns its instructions into steps (`copy`, `load`, `call` ...). `Tracker` follows them once, from the
first instruction to the last, and knows at each call which registers hold addresses of the function's own frame. Where
code is reached by a jump from above it goes on with what was known there; where nothing is known of how code is
reached, only the stack pointer and the registers that calls preserve are. So what it knows of a register holds on some
path of the program, and that is enough: code that passes the address of a local on one path needs a canary on all.

What counts as proof is narrow, because GCC leaves more functions alone than "no local's address is taken" suggests
(verified with GCC 12 and clang 14):

- the address of a *parameter*, spilled to the frame, does not count for GCC, so a place that holds an incoming argument
  is no proof, and for pointers to small objects no place is that code stores to at a constant address: the parameter
  may have been changed before it was spilled;
- large structures are passed by reference to a copy on aarch64, riscv64 and s390x, and copied by calls of memcpy() that
  the compiler makes itself: only the functions of `pointer_arguments` count, and blocks only with a computed size;
- vectors are indexed through a copy in the frame: an index is proof only where no store to a constant address is near;
- hand-written assembly uses the stack as it likes: an index counts only in a function that calls others, and a stack
  pointer moved by a computed size is only doubtful until the address is passed on;
- loops are not followed: what one changes counts as what it was before. An access through such a register, or by such
  an index, raises a doubt and proves nothing, for compilers copy and clear structures by loops of their own;
- a call of `__stack_chk_fail` may go unnoticed in a file that names no function: there nothing is proof;
- the vararg save area and arguments on the stack lie in the caller's frame and are left out by their offset; code split
  off a function (".cold") allocates nothing, so nothing in it is in its own frame.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import Any, Final, NamedTuple

from .architecture import FrameUse
from .pointer_arguments import BLOCKS, OBJECTS, TEXTS, base_name

__all__ = [
    "ADD",
    "CALL",
    "CHEAPER",
    "CONST",
    "COPY",
    "END",
    "FORGET",
    "JUMP",
    "LOAD",
    "MIX",
    "ROUND",
    "STORE",
    "SUB",
    "Convention",
    "Step",
    "Tracker",
    "Value",
    "argument_kind",
    "clears_canary",
    "frame_use",
    "grows_by_register",
    "returns",
]

# What a step does. A step is (operation, address of its instruction, and then:)
COPY: Final = 0  # destination, source, number: destination = source + number
CONST: Final = 1  # destination, number
ADD: Final = 2  # destination, source, source, shift of the second one
SUB: Final = 3  # destination, source, source, shift of the second one
MIX: Final = 4  # destination, sources: any other arithmetic
ROUND: Final = 5  # destination, source: a number rounded, for alignment
LOAD: Final = 6  # destinations, base, offset, index or None, size of each in bytes; base -1: the constants of the code
STORE: Final = (
    7  # sources (None for one that is no general register), base, offset, index or None, size of each in bytes
)
FORGET: Final = 8  # registers that now hold something unknown
CALL: Final = 9  # name of the callee, or ""
JUMP: Final = 10  # target, whether it is conditional
END: Final = 11  # whether the function returns here; else it goes on where the instruction does not tell

#: As above; the tuples differ in length, so the type says no more.
Step = tuple[Any, ...]


class Value(NamedTuple):
    """What a register holds. kind: one of the constants below. number: the offset or the constant, None if unknown.
    loose: the number is only what a loop begins with, or the address has an index.
    """

    kind: int
    number: int | None = None
    loose: bool = False


FRAME: Final = (
    0  # an address in a stack frame; the number is its distance from the stack pointer at the function's start
)
INDEXED: Final = 1  # such an address plus something computed
LOOSE: Final = 2  # somewhere in the own frame: no proof of anything, but a doubt
NUMBER: Final = 3  # a constant, or an address that the code holds
COMPUTED: Final = 4  # made at run time, and no constant
ARGUMENT: Final = 5  # what the caller passed

_COMPUTED: Final = Value(COMPUTED)
_ARGUMENT: Final = Value(ARGUMENT)
_NUMBER: Final = Value(NUMBER)
_DYNAMIC: Final = Value(INDEXED)
_LOOSE: Final = Value(LOOSE)

#: How many bytes are followed here in the time that a general disassembler needs for one (measured: 4 to 6).
CHEAPER: Final = 4

_VECTOR_BYTES = 16  # how far from a store an index does not count: elements of a vector, members of a parameter
_FARTHEST = 1 << 40  # offsets beyond are not a frame's
# Limits for code made to waste time. Where stores were left out, nothing counts as proof.
_MOST_STORES, _MOST_SLOTS, _MOST_WAITING, _MOST_CANDIDATES = 4096, 128, 1024, 64
_MOST_STEPS = 1 << 19  # of a function: what is longer was not written by hand, and is only doubtful
_MOST_IN_LOOPS = 1 << 18


class Convention(NamedTuple):
    """The registers of a calling convention, by the decoder's numbers.

    Parameters
    ----------
    stack: the stack pointer. arguments: those for arguments, in order. result: the one for the first result.
    preserved: those that a call leaves alone, the stack pointer among them. red_zone: bytes below the stack pointer
    that functions without calls may use. result_place: the one for the address of a large result, where that is no
    argument; -1 elsewhere. frame_ends_at_pointer: the frame pointer holds the address behind the frame, so that code
    adds indices to that. own_address: the one that holds the function's own address when it is entered; -1 elsewhere.
    """

    stack: int
    arguments: tuple[int, ...]
    result: int
    preserved: frozenset[int]
    red_zone: int = 0
    result_place: int = -1
    frame_ends_at_pointer: bool = False
    own_address: int = -1


_Registers = dict[int, Value]


class Tracker:
    """Follows the steps of one function; see the module.

    Attributes
    ----------
    registers: what each register holds now; those that are missing hold something unknown.
    stores: the ranges of the own frame that were stored to at constant addresses, and whether arguments were.
    taken: an address of the own frame was stored. indexed: where in it (None if unknown) an index was used.
    named: whether it calls a function by a name that is known. returns: it has an end that is no jump. dynamic: it
    moved the stack pointer by a computed size. walks: it used an address that a loop moves over the own frame, or an
    index into it. at: the address of the call it is at.
    """

    def __init__(self, convention: Convention) -> None:
        self.convention = convention
        self.registers: _Registers = {convention.stack: Value(FRAME, 0)}
        self.registers.update((register, _ARGUMENT) for register in convention.arguments)
        self.stores: set[tuple[int, int, bool]] = set()
        self.indexed: list[int] = []
        self.taken = False
        self.named = self.returns = self.dynamic = self.walks = False
        self.at = 0
        self._slots: dict[int, Value] = {}
        self._waiting: dict[int, tuple[_Registers, dict[int, Value]]] = {}
        self._targets: list[int] = []  # the keys of it, the lowest in front
        self._body: tuple[_Registers, dict[int, Value]] = ({convention.stack: Value(FRAME, 0)}, {})

    def calls(self, steps: Iterable[Step], loops: Mapping[int, Iterable[int]] | None = None) -> Iterator[str]:
        """The name of each callee ("" if unknown), yielded while `registers` holds what it is called with.

        loops: the registers that each loop changes, by the address it begins at.
        """
        alive = after_call = True
        for step in steps:
            kind, at = step[0], step[1]
            waiting = None
            while self._targets and self._targets[0] <= at:  # what a jump leads to may be no step
                waiting = self._waiting.pop(heappop(self._targets))
            if not alive:
                registers, slots = waiting or self._body
                self.registers, self._slots = dict(registers), dict(slots)
                alive = True
            elif waiting is not None and after_call:
                self.registers, self._slots = waiting  # the call may be one that does not return
            after_call = False
            if loops and at in loops:
                self._loosen(loops[at])
            if kind < LOAD:
                self._compute(kind, step)
            elif kind == LOAD:
                self._load(step)
            elif kind == STORE:
                self._store(step)
            elif kind == FORGET:
                for register in step[2]:
                    self.registers.pop(register, None)
            elif kind == CALL:
                self.named = self.named or bool(step[2])
                self.at = at
                yield step[2]
                self._keep_preserved()
                self.registers[self.convention.result] = _COMPUTED
                after_call = True
            elif kind == JUMP:
                if step[2] > at and step[2] not in self._waiting and len(self._waiting) < _MOST_WAITING:
                    self._waiting[step[2]] = (dict(self.registers), dict(self._slots))
                    heappush(self._targets, step[2])
                if not step[3]:
                    if self.depth < 0:
                        self._keep_preserved()
                    alive = False
            else:
                self.returns = self.returns or step[2]
                alive = False

    @property
    def depth(self) -> int:
        """The stack pointer's distance from where it was at the function's start, where it is known; else very low."""
        value = self.registers.get(self.convention.stack)
        return value.number if value and value.kind == FRAME and value.number is not None else -_FARTHEST

    def _loosen(self, changed: Iterable[int]) -> None:
        for register in changed:
            value = self.registers.get(register)
            if value is not None and value.kind in (FRAME, NUMBER):
                self.registers[register] = value._replace(loose=True)

    def _near(self, number: int | None) -> bool:
        """Whether an offset lies in the own frame or in the red zone; the stack pointer itself may stand for that."""
        zone = self.convention.red_zone
        return number is not None and (self.depth - zone <= number < 0 or (zone > 0 and number == self.depth))

    def own(self, value: Value | None) -> bool:
        """Whether a value is an address in the function's own frame, or in what it allocated below it."""
        if value is None or value.kind > LOOSE:
            return False
        if value.number is None:
            return True
        return self.depth <= value.number < 0

    def _keep_preserved(self) -> None:
        keep = self.convention.preserved
        self.registers = {register: value for register, value in self.registers.items() if register in keep}
        self._body = (dict(self.registers), dict(self._slots))

    def _set(self, register: int, value: Value | None) -> None:
        if value is None or (value.number is not None and not -_FARTHEST < value.number < 1 << 64):
            self.registers.pop(register, None)
        else:
            self.registers[register] = value

    def _compute(self, kind: int, step: Step) -> None:
        get = self.registers.get
        if kind == COPY:
            value = get(step[3])
            if value is not None and step[4]:
                if value.number is not None:
                    value = Value(value.kind, value.number + step[4], value.loose)
                elif value.kind == ARGUMENT:
                    value = _COMPUTED
            if step[2] == self.convention.stack and (value is None or value.kind == LOOSE):
                value, self.dynamic = None, True
            self._set(step[2], value)
        elif kind == CONST:
            self._set(step[2], Value(NUMBER, step[3]))
        elif kind == ADD:
            value = self._sum(get(step[3]), get(step[4]), step[5])
            if step[2] == self.convention.stack and value is not None and value.kind == INDEXED:
                value, self.dynamic = _DYNAMIC, True
            elif step[2] == self.convention.stack and value == _LOOSE:
                value = None
            self._set(step[2], value)
        elif kind == SUB:
            self._set(step[2], self._difference(step[2], get(step[3]), get(step[4]), step[5]))
        elif kind == MIX:
            self._set(step[2], _mixed([get(register) for register in step[3]]))
        else:  # ROUND keeps what matters of an address: whose frame it is in
            value = get(step[3])
            if value is not None and value.kind >= NUMBER:
                value = _mixed([value])
            self._set(step[2], value)

    def _sum(self, a: Value | None, b: Value | None, shift: int) -> Value | None:
        if b is not None and b.kind <= LOOSE and not shift:
            a, b = b, a
        if a is None:
            return None
        if a.kind <= LOOSE:
            return self._place(a, b, shift, 1)
        if b is None:
            return None
        if a.kind == b.kind == NUMBER:
            loose = a.loose or b.loose
            if a.number is None or b.number is None:
                return Value(NUMBER, None, loose)
            return Value(NUMBER, _signed(a.number + (b.number << shift)), loose)
        return _mixed([a, b])

    def _place(self, address: Value, index: Value | None, shift: int, sign: int) -> Value | None:
        """An address in a frame plus (sign 1) or minus (sign -1) something."""
        if address.kind == LOOSE:
            return None if index is not None and index.kind <= LOOSE else _LOOSE
        if index is not None and index.kind == NUMBER and index.number is not None and address.number is not None:
            number = _signed(address.number + sign * (index.number << shift))
            return Value(address.kind, number, address.loose or index.loose)
        near = self._near(address.number) or (self.convention.frame_ends_at_pointer and address.number == 0)
        if index is not None and index.kind >= COMPUTED and sign > 0:
            return Value(INDEXED, address.number, address.loose or near)
        counted = index is None or index.kind >= COMPUTED or (index.kind == NUMBER and index.loose)
        return _LOOSE if counted and near else None

    def _difference(self, target: int, a: Value | None, b: Value | None, shift: int) -> Value | None:
        if a is None:
            return None
        if a.kind <= LOOSE:
            # an address minus something computed may be a length; the stack pointer stays an address
            if target == self.convention.stack and (b is None or b.kind != NUMBER or b.number is None):
                self.dynamic = True
                return None if b is None or b.kind < COMPUTED else _DYNAMIC
            return self._place(a, b, shift, -1)
        if b is None:
            return None
        if a.kind == b.kind == NUMBER and a.number is not None and b.number is not None:
            return Value(NUMBER, _signed(a.number - (b.number << shift)), a.loose or b.loose)
        return _mixed([a, b])

    def _load(self, step: Step) -> None:
        _, _, targets, base, offset, index, size = step
        address = self._address(base, offset, index)
        # what lies behind a passed pointer may be an argument, too: s390x copies small structures from there
        passed = index is None and base >= 0 and self.registers.get(base) == _ARGUMENT
        for position, target in enumerate(targets):
            value: Value | None = _ARGUMENT if passed else _COMPUTED
            if base < 0 or (address is not None and address.kind == NUMBER):
                value = None  # may be a constant that the compiler keeps in memory
            elif address is not None and address.kind == FRAME:
                value = self._slots.get((address.number or 0) + position * size)
                if value is not None and value.kind == NUMBER:
                    value = None  # it may have changed since
            self._set(target, value)

    def _store(self, step: Step) -> None:
        _, _, sources, base, offset, index, size = step
        address = self._address(base, offset, index)
        in_frame = address is not None and address.kind == FRAME and address.number is not None
        for position, source in enumerate(sources):
            value = self.registers.get(source) if source is not None else None
            near = value is not None and value.kind == FRAME and self._near(value.number)
            if (near or self.own(value)) and source != self.convention.stack:
                self.taken = True
            if in_frame and address is not None and address.number is not None:
                low = address.number + position * size
                if low < 0 and len(self.stores) < _MOST_STORES:
                    self.stores.add((low, low + size, value is not None and value.kind == ARGUMENT))
                if value is not None and (low in self._slots or len(self._slots) < _MOST_SLOTS):
                    self._slots[low] = value
                else:
                    self._slots.pop(low, None)

    def _address(self, base: int, offset: int, index: int | None) -> Value | None:
        """What the address of a load or store is made of; notes an index into the own frame."""
        value = self.registers.get(base)
        if value is None:
            return None
        if index is not None:
            value = self._sum(value, self.registers.get(index), 0)
            if value is None:
                return None
        if value.kind == LOOSE or (value.kind == INDEXED and value.loose):
            self.walks = True
        if value.number is not None:
            value = Value(value.kind, value.number + offset, value.loose)
            self.walks = self.walks or (value.kind == FRAME and value.loose and self._near(value.number))
            if value.kind == INDEXED and self.own(value) and len(self.indexed) < _MOST_CANDIDATES:
                self.indexed.append(value.number or 0)
        return value


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _mixed(values: list[Value | None]) -> Value | None:
    """What arithmetic makes of its sources: a number of numbers, else something computed; of addresses nothing."""
    if any(value is None or value.kind <= LOOSE for value in values):
        return None
    if any(value is not None and value.kind >= COMPUTED for value in values):
        return _COMPUTED
    return Value(NUMBER, None, True) if any(value is not None and value.loose for value in values) else _NUMBER


def frame_use(convention: Convention, steps: Iterable[Step]) -> FrameUse:
    """Whether a function without a canary needs one: `array` and `doubtful`; the rest is the architecture's to say.

    Nothing is proof in a function that never returns: there GCC stores a canary and checks none, and clang 14 has none.
    """
    listing = list(islice(steps, _MOST_STEPS + 1))
    if len(listing) > _MOST_STEPS:
        return FrameUse(False, "", doubtful=True)
    placed = _calls_with_place(listing, convention.result_place)
    tracker = Tracker(convention)
    doubtful = False
    candidates: list[tuple[int | None, str, bool]] = []
    for name in tracker.calls(listing, _changed_by_loops(listing, convention.stack)):
        if tracker.at in placed and tracker.own(tracker.registers.get(convention.result_place)):
            doubtful = True
        texts, objects = _pointers(tracker, base_name(name)) if name else ((), ())
        for position, register in enumerate(convention.arguments):
            value = tracker.registers.get(register)
            if value is None or not tracker.own(value):
                continue
            doubtful = True
            named = position in texts or position in objects
            if named and value.kind != LOOSE and len(candidates) < _MOST_CANDIDATES:
                candidates.append((value.number, name, position in objects or value.kind == INDEXED))
    array = _proof(tracker, candidates) if tracker.returns else ""
    doubtful = doubtful or tracker.taken or tracker.dynamic or tracker.walks or bool(tracker.indexed)
    doubtful = doubtful and not array
    return FrameUse(False, array, doubtful)


def _calls_with_place(steps: Sequence[Step], register: int) -> frozenset[int]:
    """The addresses of calls in front of which an address was made in a register that nothing has used since."""
    found = set()
    fresh = False
    for step in steps if register >= 0 else ():
        kind = step[0]
        if kind in (COPY, ADD) and step[2] == register:
            fresh = step[3] != register
        elif kind == CALL:
            if fresh:
                found.add(step[1])
            fresh = False
        elif fresh and kind in (LOAD, STORE):
            fresh = register not in step[2] and register not in (step[3], step[5])
        elif fresh and kind == FORGET:
            fresh = register not in step[2]
        elif fresh and kind < LOAD:
            sources = step[3] if kind == MIX else () if kind == CONST else step[3 : 5 if kind in (ADD, SUB) else 4]
            fresh = step[2] != register and register not in sources
    return frozenset(found)


def _changed_by_loops(steps: Sequence[Step], stack: int) -> dict[int, Iterable[int]]:
    """The registers that change between a jump backwards and where it leads to, by the address of the first step there
    (a comparison is none).
    """
    places = [step[1] for step in steps]
    ends = {places[bisect_left(places, step[2])]: step[1] for step in steps if step[0] == JUMP and step[2] <= step[1]}
    if not ends:
        return {}
    changes = [(step[1], step[2]) for step in steps if (step[0] < LOAD and step[0] != CONST) and step[2] != stack]
    everything = frozenset(register for _, register in changes)
    if any(start == end for start, end in ends.items()):  # clang's objects for riscv64 leave jumps to the linker
        count = Counter(register for _, register in changes)
        twice = frozenset(register for register in everything if count[register] > 1)
        return {step[1]: twice for step in steps}
    found: dict[int, Iterable[int]] = {}
    left = _MOST_IN_LOOPS
    for start, end in ends.items():
        first, last = bisect_left(changes, (start, -1)), bisect_left(changes, (end, 1 << 16))
        left -= last - first
        found[start] = {register for _, register in changes[first:last]} if left > 0 else everything
    return found


def returns(steps: Iterable[Step]) -> bool:
    """Whether any of the steps leaves the function for good."""
    return any(step[0] == END and step[2] for step in steps)


def grows_by_register(convention: Convention, steps: Iterable[Step], limit: int) -> bool:
    """Whether it lowers the stack pointer by a size made at run time (sub sp, sp, r3; or sub r4, sp, r3; mov sp, r4),
    or, by way of another register, by `limit` bytes or more.
    """
    stack = convention.stack
    held: dict[int, Value] = {stack: Value(FRAME, 0)}  # LOOSE: the stack pointer less a size made at run time
    for step in steps:
        kind, target = step[0], step[2]
        if kind == CALL:
            held = {register: value for register, value in held.items() if register in convention.preserved}
        elif kind in (LOAD, FORGET):
            for register in target:
                held.pop(register, None)
                if kind == LOAD and step[3] == -1:
                    held[register] = _NUMBER
            held.setdefault(stack, Value(FRAME))
        elif kind < LOAD:
            value = _held(held, kind, step)
            if target == stack:
                if value is not None and value.kind == LOOSE:
                    return True
                before, after = held[stack].number, value.number if value is not None else None
                moved = kind in (COPY, ROUND) and step[3] != stack
                if moved and before is not None and after is not None and before - after >= limit:
                    return True
                held[stack] = Value(FRAME, after)
            elif value is None or (value.number is not None and abs(value.number) > _FARTHEST):
                held.pop(target, None)
            else:
                held[target] = value
    return False


def _held(held: Mapping[int, Value], kind: int, step: Step) -> Value | None:
    """What a step of arithmetic makes of constants and addresses near the stack pointer."""
    if kind == CONST:
        return Value(NUMBER, step[3])
    if kind == MIX:
        return _NUMBER if all(r in held and held[r].kind == NUMBER for r in step[3]) else None
    a = held.get(step[3])
    if kind in (COPY, ROUND):
        if a is None or a.kind == LOOSE or (kind == COPY and a.number is None):
            return a
        if kind == ROUND:
            return _NUMBER if a.kind == NUMBER else a
        return Value(a.kind, (a.number or 0) + step[4])
    b = held.get(step[4])
    if kind == ADD and b is not None and b.kind == FRAME:
        a, b = b, a
    if a is None or a.kind == LOOSE:
        return None
    if b is None or b.kind != NUMBER:
        lowers = a.kind == FRAME and b is None and (kind == SUB or step[2] == step[3])
        return _LOOSE if lowers else None
    if a.number is None or b.number is None:
        return Value(a.kind)
    shifted = b.number << step[5]
    return Value(a.kind, _signed(a.number - shifted if kind == SUB else a.number + shifted))


def _pointers(tracker: Tracker, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions of arguments of a call that point to text, and to other objects."""
    blocks = BLOCKS.get(name)
    if blocks is None:
        return TEXTS.get(name, ()), OBJECTS.get(name, ())
    return (), blocks[:-1] if argument_kind(tracker, blocks[-1]) == "computed" else ()


def _proof(tracker: Tracker, candidates: list[tuple[int | None, str, bool]]) -> str:
    for offset, name, any_store in candidates:
        if not _stored_at(tracker, offset, any_store, 0):
            return f"passes the address of a local to {name}()"
    if tracker.named:
        for offset in tracker.indexed:
            if not _stored_at(tracker, offset, True, _VECTOR_BYTES):
                return "indexes an array in its frame"
    return ""


def _stored_at(tracker: Tracker, offset: int | None, any_store: bool, margin: int) -> bool:
    if offset is None:  # below the fixed part of the frame: what alloca() or a variable-length array gave
        return False
    return len(tracker.stores) >= _MOST_STORES or any(
        low - margin <= offset < high + margin and (any_store or argument) for low, high, argument in tracker.stores
    )


def clears_canary(steps: Sequence[Step], index: int) -> bool:
    """Whether the step at `index` ends what only GCC emits, to compare the canary and leave no copy of it behind: load
    r2, [guard]; load r3, [frame]; r2 = r2 xor r3 (marked by a fifth element, "xor"); r3 = 0; jump if r2 is not 0.
    """
    if index < 3 or index + 1 >= len(steps):
        return False
    first, second, compare, clear, jump = steps[index - 3 : index + 2]
    return (
        first[0] == second[0] == LOAD
        and compare[0] == MIX
        and len(compare) == 5
        and clear[0] == CONST
        and clear[3] == 0
        and set(compare[3]) == {first[2][0], second[2][0]}
        and clear[2] in compare[3]
        and clear[2] != compare[2]
        and first[6] == second[6]
        and jump[0] == JUMP
        and jump[3] is True
    )


def argument_kind(tracker: Tracker, position: int) -> str:
    """How the argument at a zero-based position is made, at a call: "constant", "computed", or "" if unknown."""
    registers = tracker.convention.arguments
    value = tracker.registers.get(registers[position]) if position < len(registers) else None
    if value is None:
        return ""
    return "constant" if value.kind == NUMBER else "computed"
