"""The Thumb-2 instructions of 32-bit Arm as steps.

Source: Arm ARM DDI 0406C, A6 (Thumb instruction set encoding).
"""

from __future__ import annotations

from collections.abc import Iterator

from .arm_code import (
    LR,
    PC,
    SCRATCH,
    SP,
    Code,
    coprocessor,
    multiple,
    signed,
    transfer,
    vector_memory,
    with_number,
    with_register,
)
from .frames import ADD, CALL, CONST, COPY, END, FORGET, JUMP, LOAD, MIX, ROUND, STORE, SUB, Step

__all__ = ["thumb_steps"]


def thumb_steps(code: Code) -> Iterator[Step]:
    data, start = code.data, code.start
    position, size = 0, len(data)
    conditional = 0  # instructions left in an IT block
    while position + 2 <= size:
        at = start + position
        if at in code.literals:
            position += 4
            continue
        half = data[position] | data[position + 1] << 8
        always = conditional <= 0
        conditional -= 1
        if half >> 11 < 0x1D:
            if half & 0xFF00 == 0xBF00 and half & 15:
                conditional = 4 - ((half & -half).bit_length() - 1)
            else:
                if not always:
                    yield JUMP, at, at + 2, True  # or it does nothing
                yield from _thumb_16(code, at, half, always)
            position += 2
        elif position + 4 <= size:
            second = data[position + 2] | data[position + 3] << 8
            if not always:
                yield JUMP, at, at + 4, True
            yield from _thumb_32(code, at, half, second, always)
            position += 4
        else:
            return


def _thumb_16(code: Code, at: int, h: int, always: bool) -> Iterator[Step]:
    low, middle, high = h & 7, h >> 3 & 7, h >> 6 & 7
    top = h >> 12
    if top in (0, 1):
        if h < 0x1800:  # shifts; movs
            yield (COPY, at, low, middle, 0) if h < 0x40 else (ROUND, at, low, middle)
        elif h & 0x400:
            yield COPY, at, low, middle, -high if h & 0x200 else high
        else:
            yield (SUB if h & 0x200 else ADD), at, low, middle, high, 0
    elif top in (2, 3):
        register, number = h >> 8 & 7, h & 0xFF
        operation = h >> 11 & 3
        if operation == 0:
            yield CONST, at, register, number
        elif operation >= 2:
            yield COPY, at, register, register, number if operation == 2 else -number
    elif top == 4:
        yield from _thumb_registers(code, at, h, always)
    elif top == 5:
        kind = h >> 9 & 7
        if kind < 3:
            yield STORE, at, (low,), middle, 0, high, (4, 2, 1)[kind]
        else:
            yield LOAD, at, (low,), middle, 0, high, (1, 4, 2, 1, 2)[kind - 3]
    elif top in (6, 7, 8):
        size = {6: 4, 7: 1, 8: 2}[top]
        yield (LOAD if h & 0x800 else STORE), at, (low,), middle, (h >> 6 & 31) * size, None, size
    elif top == 9:
        yield (LOAD if h & 0x800 else STORE), at, (h >> 8 & 7,), SP, (h & 0xFF) * 4, None, 4
    elif top == 10:
        if h & 0x800:
            yield COPY, at, h >> 8 & 7, SP, (h & 0xFF) * 4
        else:
            yield CONST, at, h >> 8 & 7, (at + 4 & ~3) + (h & 0xFF) * 4
    elif top == 11:
        yield from _thumb_other(at, h, always)
    elif top == 12:
        base, bits = h >> 8 & 7, h & 0xFF
        moves = not (h & 0x800 and bits >> base & 1)
        yield from multiple(at, base, bits, h >> 11 & 1, int(moves), 1, always)
    elif top == 13:
        if h >> 8 & 15 < 14:
            yield JUMP, at, at + 4 + 2 * signed(h, 8), True
        elif h >> 8 & 15 == 14:
            yield END, at, False
        else:
            yield FORGET, at, (0,)
    elif top == 14:
        yield from code.branch(at, at + 4 + 2 * signed(h, 11), not always)


def _thumb_registers(code: Code, at: int, h: int, always: bool) -> Iterator[Step]:
    low, middle = h & 7, h >> 3 & 7
    if h >= 0x4800:  # literal
        code.literals.add((at + 4 & ~3) + (h & 0xFF) * 4)
        yield LOAD, at, (h >> 8 & 7,), -1, 0, None, 4
    elif h < 0x4400:
        operation = h >> 6 & 15
        if operation == 1:
            yield MIX, at, low, (low, middle), "xor"
        elif operation not in (8, 10, 11):
            yield MIX, at, low, (middle,) if operation in (9, 15) else (low, middle)
    else:
        operation, target, source = h >> 8 & 3, h & 7 | h >> 4 & 8, h >> 3 & 15
        if operation == 3:  # bx, blx
            if h & 0x80:
                yield CALL, at, ""
            elif always:
                yield END, at, source == LR
        elif operation != 1:
            if target == PC:
                if always:
                    yield END, at, source == LR
            else:
                yield with_register(at, 4 if operation == 0 else 13, target, target, source, 0)


def _thumb_other(at: int, h: int, always: bool) -> Iterator[Step]:
    if h & 0xFF00 == 0xB000:
        number = (h & 0x7F) * 4
        yield COPY, at, SP, SP, -number if h & 0x80 else number
    elif h & 0xF500 == 0xB100:  # cbz, cbnz
        yield JUMP, at, at + 4 + ((h >> 9 & 1) << 6 | (h >> 3 & 31) << 1), True
    elif h & 0xFE00 == 0xB400:
        yield from multiple(at, SP, h & 0xFF | (h & 0x100) << 6, 0, 1, 2, always)
    elif h & 0xFE00 == 0xBC00:
        yield from multiple(at, SP, h & 0xFF | (h & 0x100) << 7, 1, 1, 1, always)
    elif h & 0xFF00 in (0xB200, 0xBA00):
        yield MIX, at, h & 7, (h >> 3 & 7,)


def _thumb_32(code: Code, at: int, first: int, second: int, always: bool) -> Iterator[Step]:
    kind = first >> 9 & 0x7F  # with its three leading ones
    if first & 0xEC00 == 0xEC00:
        if first & 0x1000 and first & 0x0300 == 0x0300:
            return
        yield from coprocessor(at, (first << 16 | second) & 0x0FFFFFFF)
    elif kind == 0x74:  # 1110 100x
        yield from _thumb_pairs(at, first, second, always)
    elif kind == 0x75:
        yield from _thumb_shifted(at, first, second, always)
    elif first & 0xF800 == 0xF000:
        if second & 0x8000:
            yield from _thumb_branch(code, at, first, second, always)
        else:
            yield from _thumb_number(at, first, second)
    elif kind == 0x7C:
        yield from _thumb_transfer(code, at, first, second, always)
    elif first & 0xFF00 == 0xFA00:
        sources = (first & 15, second & 15) if first & 15 != 15 else (second & 15,)
        yield MIX, at, second >> 8 & 15, sources
    elif first & 0xFF00 == 0xFB00:
        yield FORGET, at, (second >> 8 & 15, second >> 12 & 15) if first & 0x80 else (second >> 8 & 15,)


def _thumb_pairs(at: int, first: int, second: int, always: bool) -> Iterator[Step]:
    base = first & 15
    if not first & 0x40:
        yield from multiple(
            at, base, second, first >> 4 & 1, first >> 5 & 1, (first >> 7 & 1) | (first >> 7 & 2), always
        )
    elif first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000:  # tbb, tbh
        yield END, at, False
    elif first & 0x0120:  # ldrd, strd
        number = (second & 0xFF) * 4 if first & 0x80 else -(second & 0xFF) * 4
        registers = (second >> 12, second >> 8 & 15)
        loads = bool(first & 0x10)
        if base == PC:
            yield FORGET, at, registers
        else:
            yield from transfer(at, registers, base, number, None, 4, loads, bool(first & 0x100), bool(first & 0x20))
    else:
        yield FORGET, at, (second >> 12, second >> 8 & 15, second & 15)


_THUMB_OPERATIONS = {0: 0, 1: 14, 2: 12, 3: 6, 4: 1, 8: 4, 10: 5, 11: 6, 13: 2, 14: 3}  # to A32's


def _thumb_shifted(at: int, first: int, second: int, always: bool) -> Iterator[Step]:
    operation, base, target = first >> 5 & 15, first & 15, second >> 8 & 15
    if target == PC:
        return  # tst, teq, cmn, cmp
    shift = (second >> 10 & 0x1C) | (second >> 6 & 3) if not second & 0x30 else -1
    if operation in (2, 3) and base == PC:
        yield with_register(at, 13 if operation == 2 else 15, target, 0, second & 15, shift)
    else:
        yield with_register(at, _THUMB_OPERATIONS.get(operation, 12), target, base, second & 15, shift)


def _thumb_number(at: int, first: int, second: int) -> Iterator[Step]:
    operation, base, target = first >> 5 & 15, first & 15, second >> 8 & 15
    low = (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    if first & 0x200:  # plain 12 or 16 bits
        if operation in (0, 5):  # addw, subw; adr
            if base == PC:
                yield CONST, at, target, (at + 4 & ~3) + (low if operation == 0 else -low)
            else:
                yield COPY, at, target, base, low if operation == 0 else -low
        elif operation == 2:  # movw
            yield CONST, at, target, (first & 15) << 12 | low
        else:
            yield MIX, at, target, (target,) if operation == 6 else (target, base) if base != PC else (target,)
        return
    if target == PC:
        return
    number = _expand(low)
    if operation in (2, 3) and base == PC:
        yield CONST, at, target, number if operation == 2 else ~number
    else:
        yield with_number(at, _THUMB_OPERATIONS.get(operation, 12), target, base, number)


def _expand(low: int) -> int:
    """ThumbExpandImm: the constant that twelve bits stand for."""
    byte = low & 0xFF
    if low >> 10:
        number = byte & 0x7F | 0x80
        turn = low >> 7
        return (number >> turn | number << (32 - turn)) & 0xFFFFFFFF
    return (byte, byte << 16 | byte, byte << 24 | byte << 8, byte * 0x01010101)[low >> 8]


def _thumb_branch(code: Code, at: int, first: int, second: int, always: bool) -> Iterator[Step]:
    sign = first >> 10 & 1
    j1, j2 = second >> 13 & 1, second >> 11 & 1
    if second & 0x5000 == 0x0000:
        if first >> 7 & 7 != 7:  # conditional
            number = sign << 20 | j2 << 19 | j1 << 18 | (first & 0x3F) << 12 | (second & 0x7FF) << 1
            yield from code.branch(at, at + 4 + signed(number, 21), True)
        elif first & 0xFFE0 == 0xF3E0:  # mrs
            yield FORGET, at, (second >> 8 & 15,)
        return
    i1, i2 = int(j1 == sign), int(j2 == sign)
    number = signed(sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1, 25)
    if second & 0x4000:  # bl, blx
        target = at + 4 + number
        yield CALL, at, code.name(at, target if second & 0x1000 else target & ~3)
    else:
        yield from code.branch(at, at + 4 + number, not always)


def _thumb_transfer(code: Code, at: int, first: int, second: int, always: bool) -> Iterator[Step]:
    base, target, loads = first & 15, second >> 12, bool(first & 0x10)
    if first & 0xFF10 == 0xF900:  # vector
        yield from vector_memory(at, base << 16 | (first << 16 & 0x200000) | second & 15)
        return
    size = 1 << (first >> 5 & 3)
    if base == PC:
        number = second & 0xFFF
        code.literals.add((at + 4 & ~3) + (number if first & 0x80 else -number))
        yield LOAD, at, (target,), -1, 0, None, 4
        return
    offset, index, before, moves = 0, None, True, False
    if first & 0x80:
        offset = second & 0xFFF
    elif second & 0x800:
        offset = second & 0xFF if second & 0x200 else -(second & 0xFF)
        before, moves = bool(second & 0x400), bool(second & 0x100)
    else:
        index = second & 15
    if loads and target == PC:
        if size == 4 and always:
            yield END, at, base == SP
        return
    if index is not None and second & 0x30:
        yield ADD, at, SCRATCH, base, index, second >> 4 & 3
        base, index = SCRATCH, None
    yield from transfer(at, (target,), base, offset, index, size, loads, before, moves)
