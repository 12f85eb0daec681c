"""What both instruction sets of 32-bit Arm share: a function's code, and steps of instructions that both have.

Source: Arm ARM DDI 0406C, A5 and A6 (instruction encodings).
"""

from __future__ import annotations

from collections.abc import Iterator

from .architecture import Body, NameOf
from .frames import ADD, CALL, CONST, COPY, END, FORGET, JUMP, LOAD, MIX, ROUND, STORE, SUB, Step

__all__ = [
    "LR",
    "PC",
    "SCRATCH",
    "SP",
    "Code",
    "coprocessor",
    "multiple",
    "signed",
    "transfer",
    "vector_memory",
    "with_number",
    "with_register",
]

SP, LR, PC = 13, 14, 15
SCRATCH = 16  # no register: the sum of a base and a shifted index


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Code:
    """A function's code with what both instruction sets need of it."""

    def __init__(self, body: Body, name_of: NameOf) -> None:
        self.data = body.data
        self.start = body.address & ~1
        self.end = self.start + len(body.data)
        self.symbols = body.symbols
        self.name_of = name_of
        self.literals: set[int] = set()  # addresses of words that code loads from near itself

    def name(self, at: int, target: int) -> str:
        return self.symbols.get(at) or self.name_of(target) or self.name_of(target | 1)

    def branch(self, at: int, target: int, conditional: bool) -> Iterator[Step]:
        if at not in self.symbols and self.start <= target < self.end:
            yield JUMP, at, target, conditional
        else:
            yield CALL, at, self.name(at, target)
            if not conditional:
                yield END, at, True


def with_number(at: int, operation: int, target: int, first: int, number: int) -> Step:
    """Data processing with a constant, by A32's operation codes."""
    if operation == 13:
        return CONST, at, target, number
    if operation == 15:
        return CONST, at, target, ~number
    if first == PC:
        return CONST, at, target, at
    if operation in (2, 4):  # sub, add
        return COPY, at, target, first, number if operation == 4 else -number
    if operation in (0, 14):  # and, bic
        return ROUND, at, target, first
    return MIX, at, target, (first,)


def with_register(at: int, operation: int, target: int, first: int, second: int, shift: int) -> Step:
    """Data processing with a register, shifted left by `shift` bits; -1: otherwise."""
    if operation == 13:
        if shift == 0:
            return (COPY, at, target, second, 0) if second != PC else (CONST, at, target, at)
        return ROUND, at, target, second
    if PC in (first, second):
        return MIX, at, target, ()
    if operation in (2, 4) and shift >= 0:
        return (ADD if operation == 4 else SUB), at, target, first, second, shift
    if operation == 1 and shift == 0:
        return MIX, at, target, (first, second), "xor"
    return MIX, at, target, (second,) if operation == 15 else (first, second)


def transfer(
    at: int,
    registers: tuple[int, ...],
    base: int,
    offset: int,
    index: int | None,
    size: int,
    loads: bool,
    before: bool,
    moves: bool,
) -> Iterator[Step]:
    """A load or store; `before`: the offset counts for it; `moves`: the base register is changed by the offset."""
    if index is not None:
        offset = 0
    place = offset if before else 0
    place_index = index if before else None
    if loads:
        yield LOAD, at, registers, base, place, place_index, size
    else:
        yield STORE, at, registers, base, place, place_index, size
    if moves and base >= 0:
        if index is None:
            yield COPY, at, base, base, offset
        else:
            yield FORGET, at, (base,)


def multiple(at: int, base: int, bits: int, loads: int, moves: int, mode: int, always: bool) -> Iterator[Step]:
    """ldm, stm, push, pop. mode: bit 0 upwards; bit 1 is not used (w >> 23 is U, w >> 24 is P)."""
    registers = tuple(register for register in range(16) if bits >> register & 1)
    size = 4 * len(registers)
    up, first = mode & 1, mode >> 1 & 1
    offset = (4 if first else 0) if up else (-size if first else 4 - size)
    if loads and PC in registers:
        if always:
            yield END, at, True
        return
    if loads:
        yield LOAD, at, tuple(r for r in registers if r != base or not moves), base, offset, None, 4
    elif moves:
        yield COPY, at, base, base, size if up else -size
        yield STORE, at, registers, base, offset - (size if up else -size), None, 4
    else:
        yield STORE, at, registers, base, offset, None, 4
    if loads and moves:
        yield COPY, at, base, base, size if up else -size


def coprocessor(at: int, w: int) -> Iterator[Step]:
    """Floating point and vector: loads, stores, and moves from and to general registers."""
    base = w >> 16 & 15
    if w >> 25 & 7 == 6 and w & 0x0FE00000 != 0x0C400000:
        number = (w & 0xFF) * 4
        single = w >> 24 & 1 and not w >> 21 & 1
        moves = w >> 21 & 1
        up = w >> 23 & 1
        if moves and not up:
            yield COPY, at, base, base, -number
        if not w >> 20 & 1:
            size = (8 if w >> 8 & 1 else 4) if single else number
            yield STORE, at, (None,), base, (number if up else -number) if single else 0, None, size
        if moves and up:
            yield COPY, at, base, base, number
    elif w >> 20 & 1 or w & 0x0FE00000 == 0x0C400000:
        yield FORGET, at, (w >> 12 & 15, base)


def vector_memory(at: int, w: int) -> Iterator[Step]:
    base = w >> 16 & 15
    if not w >> 21 & 1:
        yield STORE, at, (None,), base, 0, None, 16
    if w & 15 != PC:
        yield FORGET, at, (base,)
