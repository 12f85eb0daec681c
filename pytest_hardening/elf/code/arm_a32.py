"""The A32 instructions of 32-bit Arm as steps.

Source: Arm ARM DDI 0406C, A5 (ARM instruction set encoding).
"""

from __future__ import annotations

import struct
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
from .frames import ADD, CALL, CONST, END, FORGET, JUMP, MIX, Step

__all__ = ["a32_steps"]


def a32_steps(code: Code) -> Iterator[Step]:
    count = len(code.data) // 4
    at = code.start
    for w in struct.unpack(f"<{count}I", code.data[: 4 * count]):
        if at not in code.literals:
            if w >> 28 < 14:
                yield JUMP, at, at + 4, True  # or it does nothing
            yield from _a32_word(code, at, w)
        at += 4


def _a32_word(code: Code, at: int, w: int) -> Iterator[Step]:
    condition, group = w >> 28, w >> 25 & 7
    if condition == 15:
        if group == 5:  # blx
            yield CALL, at, code.name(at, at + 8 + (signed(w, 24) << 2) + (w >> 23 & 2))
        elif w & 0xFF200000 == 0xF4000000 or w & 0xFF000000 == 0xF4000000:
            yield from vector_memory(at, w)
        return
    always = condition == 14
    if group == 5:
        target = at + 8 + (signed(w, 24) << 2)
        if w >> 24 & 1:
            yield CALL, at, code.name(at, target)
        else:
            yield from code.branch(at, target, not always)
    elif group == 4:
        yield from multiple(at, w >> 16 & 15, w & 0xFFFF, w >> 20 & 1, w >> 21 & 1, w >> 23 & 3, always)
    elif group in (2, 3) and not (group == 3 and w & 0x10):
        yield from _a32_transfer(code, at, w, always)
    elif group == 3:
        yield FORGET, at, (w >> 12 & 15, w >> 16 & 15)
    elif group == 6 or (group == 7 and not w >> 24 & 1):
        yield from coprocessor(at, w)
    elif group == 7:
        yield FORGET, at, (0,)
    else:
        yield from _a32_data(at, w, always)


def _a32_data(at: int, w: int, always: bool) -> Iterator[Step]:
    operation, sets, first, target = w >> 21 & 15, w >> 20 & 1, w >> 16 & 15, w >> 12 & 15
    is_number = w >> 25 & 1
    if not is_number and w & 0x90 == 0x90:
        yield from _a32_extra(at, w)
        return
    if operation in (8, 9, 10, 11) and not sets:
        if is_number:
            if operation == 8:  # movw
                yield CONST, at, target, (w >> 4 & 0xF000) | w & 0xFFF
            elif operation == 10:  # movt
                yield MIX, at, target, (target,)
        elif w & 0x0FFFFFF0 == 0x012FFF10:  # bx
            if always:
                yield END, at, w & 15 == LR
        elif w & 0x0FFFFFF0 == 0x012FFF30:
            yield CALL, at, ""
        else:
            yield FORGET, at, (target,)
        return
    if operation in (8, 9, 10, 11):
        return
    if target == PC:
        if always:
            yield END, at, w & 0x0FFFFFFF == 0x01A0F00E
        return
    if is_number:
        number, turn = w & 0xFF, w >> 7 & 30
        number = (number >> turn | number << (32 - turn)) & 0xFFFFFFFF
        yield with_number(at, operation, target, first, number)
    else:
        shift = w >> 7 & 31 if not w & 0x70 else -1
        yield with_register(at, operation, target, first, w & 15, shift)


def _a32_extra(at: int, w: int) -> Iterator[Step]:
    """Multiplications, and loads and stores of half words and double words."""
    kind, target, base = w >> 5 & 3, w >> 12 & 15, w >> 16 & 15
    if not kind:
        yield FORGET, at, (target, base)
        return
    loads, double = w >> 20 & 1, not w >> 20 & 1 and kind >= 2
    size = 4 if double else 1 if loads and kind == 2 else 2
    registers = (target, target + 1 & 15) if double else (target,)
    number = w >> 4 & 0xF0 | w & 15
    index = None if w >> 22 & 1 else w & 15
    yield from transfer(
        at, registers, base, number if w >> 23 & 1 else -number, index, size,
        loads=bool(loads or kind == 2), before=bool(w >> 24 & 1), moves=not w >> 24 & 1 or bool(w >> 21 & 1),
    )  # fmt: skip


def _a32_transfer(code: Code, at: int, w: int, always: bool) -> Iterator[Step]:
    target, base, loads = w >> 12 & 15, w >> 16 & 15, w >> 20 & 1
    number = w & 0xFFF if w >> 23 & 1 else -(w & 0xFFF)
    index = w & 15 if w >> 25 & 1 else None
    if base == PC and index is None:
        code.literals.add(at + 8 + number & ~3)
        base = -1
    if loads and target == PC:
        if always:
            yield END, at, base == SP
        return
    if index is not None and w & 0xFE0:  # a shifted index
        if base != SP and not w & 0x60 and w >> 24 & 1 and not w >> 21 & 1:
            yield ADD, at, SCRATCH, base, index, w >> 7 & 31
            yield from transfer(at, (target,), SCRATCH, 0, None, 1 if w >> 22 & 1 else 4, bool(loads), True, False)
            return
        index = -1
    yield from transfer(
        at, (target,), base, number if index is None else 0, index, 1 if w >> 22 & 1 else 4,
        loads=bool(loads), before=bool(w >> 24 & 1), moves=not w >> 24 & 1 or bool(w >> 21 & 1),
    )  # fmt: skip
