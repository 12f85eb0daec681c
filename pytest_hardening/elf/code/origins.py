"""Where the arguments of a call come from: what both ways of following values back say of them, and the one that goes
by the steps of `frames`, on every architecture but x86.

Every value that can reach a register is looked for, over all paths, so that what is said of all of them holds for
optimised code as well. What cannot be followed is "?", and the work for one function is limited.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from .frames import CALL, CONST, COPY, END, FORGET, JUMP, LOAD, MIX, ROUND, STORE, Convention, Step

__all__ = ["NO_RETURN", "UNKNOWN", "Flow", "Origin", "StepFlow"]

#: Functions behind whose calls nothing is reached.
NO_RETURN = frozenset(
    """
    abort exit _exit _Exit quick_exit __stack_chk_fail __assert_fail __assert_perror_fail __chk_fail err errx verr verrx
    longjmp _longjmp siglongjmp __longjmp_chk pthread_exit __cxa_throw _Unwind_Resume __cxa_rethrow _ZSt9terminatev
    """.split()
)
_MOST_STEPS = 20_000  # of following values in one function
_MOST_SUMS = 8  # constants that are added to one register at one place
_DEEPEST = 4
_SMALLEST_ADDRESS = 4096


class Origin(NamedTuple):
    """One value that may reach a register.

    Parameters
    ----------
    kind: "parameter", "memory" (loaded), "frame" (an address in the own frame), "data" (an address in the file),
    "constant" (with `StepFlow` that may be an address, too), "call" (what a function returned), "computed" (a number),
    or "?".
    value: of data the address or, in objects, the address of the relocated field; of a constant the number, -1 where
    it is not known.
    name: of the function that was called; empty where it has none.
    place: of a call, the number of its instruction.
    """

    kind: str
    value: int = 0
    name: str = ""
    place: int = -1


UNKNOWN = Origin("?")


class Flow(Protocol):
    """What is asked of a way to follow values back."""

    def argument(self, number: int, place: int) -> frozenset[Origin]:
        """What an integer argument of the call at a place may be."""


#: A register at a place, and what is added to it until the call; None where that is not known.
_State = tuple[int, int, int | None]


class StepFlow:
    """The function's steps with the ways between them.

    Parameters
    ----------
    convention: of its calls.
    steps: all of them.
    entered: whether callers enter at the first one.
    relocated: it is code of an object, where constants may stand for what the linker fills in.

    Attributes
    ----------
    taken: how many steps were taken back.
    switches: where some jumps lead is not known: not all ways are followed.
    """

    def __init__(self, convention: Convention, steps: Sequence[Step], *, entered: bool, relocated: bool) -> None:
        self._convention = convention
        self._steps = steps
        self._entered = entered
        self._relocated = relocated
        self._addresses = [step[1] for step in steps]
        self._before = self._ways()
        self._summing: set[int] = set()
        self.taken = 0
        self.switches = any(step[0] == END and not step[2] for step in steps)

    def place_of(self, address: int) -> int:
        """The number of the call at an address; of the first step behind where there is none."""
        place = bisect_left(self._addresses, address)
        while place + 1 < len(self._steps) and self._addresses[place + 1] == address and self._steps[place][0] != CALL:
            place += 1
        return place

    def argument(self, number: int, place: int) -> frozenset[Origin]:
        """What an integer argument of the call at a place may be."""
        registers = self._convention.arguments
        return self.register(registers[number], place) if number < len(registers) else frozenset((UNKNOWN,))

    def register(self, register: int, place: int, depth: int = 0, repeats: int = -1) -> frozenset[Origin]:
        """What a register may hold in front of the step at a place.

        Parameters
        ----------
        depth: how deep sums are followed.
        repeats: the place of a step that only goes on with what it began, and is not to be followed.
        """
        found: set[Origin] = set()
        seen: set[_State] = set()
        sums: dict[tuple[int, int], int] = {}
        todo: list[_State] = [(register, place, 0)]
        while todo:
            state = todo.pop()
            if state[2] is not None:
                count = sums[state[:2]] = sums.get(state[:2], 0) + 1
                state = state if count <= _MOST_SUMS else (*state[:2], None)
            if state in seen:
                continue
            seen.add(state)
            register, place, added = state
            if register == self._convention.stack:
                found.add(Origin("frame"))
                continue
            if place == 0 and register == self._convention.own_address and self._entered and not self._relocated:
                found.add(Origin("constant", -1 if added is None else self._addresses[0] + added))
            elif place == 0:
                passed = self._entered and register in self._convention.arguments
                found.add(Origin("parameter") if passed else UNKNOWN)
            elif not self._before[place]:
                found.add(UNKNOWN)
            for former in self._before[place]:
                if former == repeats:
                    continue
                self.taken += 1
                if self.taken > _MOST_STEPS:
                    return frozenset((UNKNOWN,))
                self._step((register, former, added), depth, found, todo)
        return frozenset(found)

    def _ways(self) -> list[list[int]]:
        before: list[list[int]] = [[] for _ in self._steps]
        last = len(self._steps) - 1
        for place, step in enumerate(self._steps):
            kind = step[0]
            if kind == JUMP:
                target = bisect_left(self._addresses, step[2])
                if target <= last:
                    before[target].append(place)
            ends = kind == END or (kind == JUMP and not step[3]) or (kind == CALL and step[2] in NO_RETURN)
            if not ends and place < last:
                before[place + 1].append(place)
        return before

    def _step(self, state: _State, depth: int, found: set[Origin], todo: list[_State]) -> None:
        """What a step makes of a register: it is left alone, copied from another one, or a new value."""
        register, place, added = state
        step = self._steps[place]
        kind = step[0]
        if kind == CALL:
            if register == self._convention.result:
                found.add(Origin("call", 0, step[2], place))
            elif register in self._convention.preserved or not step[2]:
                todo.append(state)  # compilers know which registers a function of the same file changes
            return  # nobody reads others behind a call: it does not return
        if kind in (STORE, JUMP, END):
            todo.append(state)
        elif kind in (LOAD, FORGET):
            if register not in step[2]:
                todo.append(state)
            else:
                found.add(self._loaded(step, place, depth) if kind == LOAD else UNKNOWN)
        elif step[2] != register:
            todo.append(state)
        elif kind == CONST:
            value = -1 if added is None or self._relocated else step[3] + added
            found.add(Origin("constant", value))
        elif kind == COPY:
            todo.append((step[3], place, None if added is None else added + step[4]))
        elif kind == ROUND:
            todo.append((step[3], place, None))
        else:
            sources = step[3] if kind == MIX else step[3:5]
            found.update(self._mixed(sources, place, depth, addresses=kind != MIX))

    def _loaded(self, step: Step, place: int, depth: int) -> Origin:
        """What a load gives: it is followed neither through the frame nor through what the linker keeps."""
        if step[3] < 0:
            return Origin("constant", -1)
        if depth >= _DEEPEST or place in self._summing:
            return UNKNOWN
        self._summing.add(place)
        bases = {origin.kind for origin in self.register(step[3], place, depth + 1)}
        self._summing.discard(place)
        return Origin("memory") if bases <= {"parameter", "memory", "call", "computed"} and bases else UNKNOWN

    def _mixed(self, sources: Sequence[int], place: int, depth: int, *, addresses: bool) -> set[Origin]:
        """The origins of what arithmetic makes: an address and what is added to it is still an address of that kind."""
        if place in self._summing:
            return set()  # a loop adds to its own result: that makes no new kind
        if depth >= _DEEPEST or not sources:
            return {UNKNOWN}
        self._summing.add(place)
        parts: set[Origin] = set()
        for register in sources:
            parts |= self.register(register, place, depth + 1)
        self._summing.discard(place)
        kinds = {part.kind for part in parts}
        if kinds == {"constant"}:
            return {Origin("constant", -1)}
        unclear = any(
            part.kind in ("frame", "?")
            or (part.kind == "constant" and (self._relocated or not 0 <= part.value < _SMALLEST_ADDRESS))
            for part in parts
        )
        if unclear:
            return {UNKNOWN}
        pointers = {part for part in parts if part.kind in ("call", "memory", "parameter")}
        return (addresses and pointers) or {Origin("computed")}
