"""riscv64 with compressed instructions: what a function does with its stack frame, and which functions it calls.

Visible: the call of `__stack_chk_fail`, or the GOT slot of `__stack_chk_guard`, by their names; without names only the
sequence by which GCC compares and clears the canary.
A frame of 64 KiB or more that is allocated at once: nothing probes it, whatever the flags were. GCC 12 accepts
-fstack-clash-protection and probes what alloca() takes, but not frames of a fixed size, and clang 14 and 19 ignore the
option, so such a frame does not tell whether the option is missing, but the file is as open as without it.
Not visible: probes, and with them whether smaller frames need any: compilers that probe may leave up to 64 KiB alone.
Canaries of clang in static, stripped files; frames made by -msave-restore.

Source: The RISC-V Instruction Set Manual, volume I, 20191213 (RV64GC) and Zba; RISC-V psABI 1.0; GCC 12 config/riscv
(stack_protect_test).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..machines import Machine
from . import frames
from .architecture import Body, Decoder, FrameUse, NameOf
from .frames import ADD, CALL, CONST, COPY, END, FORGET, JUMP, LOAD, MIX, ROUND, STORE, SUB, Convention, Step
from .step_calls import StepCalls

__all__ = ["decoder"]

_RA, _SP, _FP = 1, 2, 8
_GUARD_BYTES = 1 << 16
_CONVENTION = Convention(
    _SP,
    tuple(range(10, 18)),
    10,
    frozenset((_SP, 3, 4, 8, 9, *range(18, 28))),
    frame_ends_at_pointer=True,
)


def decoder(machine: Machine) -> Decoder:
    """The decoder of 64-bit RISC-V."""
    return _Riscv()


class _Riscv:
    def __init__(self) -> None:
        self._calls = StepCalls(_CONVENTION)

    def frame_use(self, body: Body, name_of: NameOf) -> FrameUse:
        named = any(
            name in ("__stack_chk_fail", "__stack_chk_guard") and 0 <= at - body.address < len(body.data)
            for at, name in body.symbols.items()
        )
        steps = list(_steps(body, name_of))
        unprobed = _unprobed(steps)
        if named:
            return FrameUse(True, unprobed=unprobed)
        effort = len(body.data) // frames.CHEAPER
        if any(step[0] == CALL and step[2] == "__stack_chk_fail" for step in steps) or _has_canary(steps, name_of):
            return FrameUse(True, unprobed=unprobed, effort=effort)
        if not any(map(_makes_address, steps)):  # nothing to follow
            return FrameUse(False, unprobed=unprobed, effort=effort)
        return frames.frame_use(_CONVENTION, steps)._replace(unprobed=unprobed, effort=effort)

    def returns(self, body: Body, name_of: NameOf) -> bool:
        return frames.returns(_steps(body, name_of))

    def calls(self, body: Body, name_of: NameOf, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        steps = list(_steps(body, name_of))
        found = [step[2] for step in steps if step[0] == CALL and step[2] and wanted(step[2])]
        yield from self._calls.of(body, steps, found, wanted)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _unprobed(steps: list[Step]) -> int:
    """The largest single allocation of the guard's size or more; 0 if there is none."""
    largest = 0
    constants: dict[int, int] = {}
    for step in steps:
        kind = step[0]
        if kind == CONST:
            constants[step[2]] = step[3]
        elif kind in (COPY, ADD, SUB):
            if step[2] == step[3] == _SP:
                size = -step[4] if kind == COPY else constants.get(step[4], 0) * (1 if kind == SUB else -1)
                largest = max(largest, size)
            elif kind == COPY and step[3] in constants:
                constants[step[2]] = constants[step[3]] + step[4]
            else:
                constants.pop(step[2], None)
        elif kind in (LOAD, FORGET):
            for register in step[2]:
                constants.pop(register, None)
        elif kind in (MIX, ROUND):
            constants.pop(step[2], None)
        elif kind == CALL:
            constants.clear()
    return largest if largest >= _GUARD_BYTES else 0


def _makes_address(step: Step) -> bool:
    """Whether it may make an address in the frame."""
    if step[0] == COPY:
        return step[3] in (_SP, _FP) and step[2] != _SP and (step[2] != _FP or step[3] == _FP)
    return step[0] in (ADD, SUB) and (step[3] in (_SP, _FP) or step[4] in (_SP, _FP))


def _has_canary(steps: list[Step], name_of: NameOf) -> bool:
    """Whether it loads the GOT slot of `__stack_chk_guard`, or compares and clears the canary as GCC does."""
    pages: dict[int, int] = {}
    for index, step in enumerate(steps):
        kind = step[0]
        if kind == CONST:
            pages[step[2]] = step[3]
            if step[3] == 0 and frames.clears_canary(steps, index):
                return True
        elif kind == LOAD:
            slot = pages.get(step[3])
            if slot is not None and slot > 0 and name_of(slot + step[4]) == "__stack_chk_guard":
                return True
            for target in step[2]:
                pages.pop(target, None)
        elif kind == CALL:
            pages.clear()
    return False


def _steps(body: Body, name_of: NameOf) -> Iterator[Step]:
    data, start = body.data, body.address
    end = start + len(data)
    position, size = 0, len(data)
    upper: dict[int, int] = {}  # what auipc made, for the call that follows
    while position + 2 <= size:
        at = start + position
        half = data[position] | data[position + 1] << 8
        if half & 3 != 3:
            yield from _compressed(body, at, half, end, name_of)
            position += 2
        elif position + 4 <= size:
            w = half | data[position + 2] << 16 | data[position + 3] << 24
            yield from _word(body, at, w, end, name_of, upper)
            position += 4
        else:
            return


def _word(body: Body, at: int, w: int, end: int, name_of: NameOf, upper: dict[int, int]) -> Iterator[Step]:
    opcode, rd, rs1, rs2, function = w & 0x7F, w >> 7 & 31, w >> 15 & 31, w >> 20 & 31, w >> 12 & 7
    immediate = _signed(w >> 20, 12)
    if opcode in (0x03, 0x13, 0x1B, 0x33, 0x3B, 0x17, 0x37) and not rd:
        return
    if opcode == 0x13 or opcode == 0x1B:
        yield _arithmetic(at, rd, rs1, function, immediate)
    elif opcode == 0x03:
        yield LOAD, at, (rd,), rs1, immediate, None, 1 << (function & 3)
    elif opcode in (0x23, 0x27):
        offset = _signed(w >> 25 << 5 | rd, 12)
        yield STORE, at, (rs2 if opcode == 0x23 and rs2 else None,), rs1, offset, None, 1 << (function & 3)
    elif opcode == 0x33:
        yield _registers(at, rd, rs1, rs2, function, w >> 25)
    elif opcode == 0x3B:
        yield MIX, at, rd, tuple(r for r in (rs1, rs2) if r)
    elif opcode == 0x37:
        yield CONST, at, rd, _signed(w >> 12, 20) << 12
    elif opcode == 0x17:
        upper[rd] = at + (_signed(w >> 12, 20) << 12)
        if at in body.symbols:
            upper[-rd] = at  # a call's relocation is at its first instruction
        yield CONST, at, rd, upper[rd]
    elif opcode in (0x63, 0x67, 0x6F):
        yield from _branch(body, at, w, end, name_of, upper)
    elif opcode in (0x2F, 0x73, 0x57) or (opcode == 0x53 and w >> 25 >= 0x50):
        yield FORGET, at, (rd,)


def _arithmetic(at: int, rd: int, rs1: int, function: int, immediate: int) -> Step:
    if function == 0:
        return (COPY, at, rd, rs1, immediate) if rs1 else (CONST, at, rd, immediate)
    if (function in (1, 5, 7) and immediate < 0x400) or (function == 6 and rs1):  # slli, srli, andi; ori adds
        return (ROUND, at, rd, rs1)
    return (MIX, at, rd, (rs1,) if rs1 else ())


def _registers(at: int, rd: int, rs1: int, rs2: int, function: int, seven: int) -> Step:
    if seven == 0 and function == 0:
        if not rs1 or not rs2:
            return (COPY, at, rd, rs1 or rs2, 0) if rs1 or rs2 else (CONST, at, rd, 0)
        return (ADD, at, rd, rs1, rs2, 0)
    if seven == 0x20 and function == 0 and rs1 and rs2:
        return (SUB, at, rd, rs1, rs2, 0)
    if seven == 0x10 and function in (2, 4, 6) and rs1 and rs2:  # sh1add, sh2add, sh3add
        return (ADD, at, rd, rs2, rs1, function // 2)
    sources = tuple(r for r in (rs1, rs2) if r)
    return (MIX, at, rd, sources, "xor") if seven == 0 and function == 4 else (MIX, at, rd, sources)


def _branch(body: Body, at: int, w: int, end: int, name_of: NameOf, upper: dict[int, int]) -> Iterator[Step]:
    opcode, rd, rs1 = w & 0x7F, w >> 7 & 31, w >> 15 & 31
    if opcode == 0x63:
        offset = (w >> 31 & 1) << 12 | (w >> 7 & 1) << 11 | (w >> 25 & 0x3F) << 5 | (w >> 8 & 15) << 1
        yield JUMP, at, at + _signed(offset, 13), True
    elif opcode == 0x6F:
        offset = (w >> 31 & 1) << 20 | (w >> 12 & 0xFF) << 12 | (w >> 20 & 1) << 11 | (w >> 21 & 0x3FF) << 1
        target = at + _signed(offset, 21)
        symbol = body.symbols.get(at, "")
        symbol = "" if symbol.startswith(".L") else symbol
        if rd == _RA:
            yield CALL, at, symbol or name_of(target)
        elif rd:
            yield FORGET, at, (rd,)
        elif symbol or not body.address <= target < end:
            yield CALL, at, symbol or name_of(target)
            yield END, at, True
        else:
            yield JUMP, at, target, False
    else:
        name = ""
        if rs1 in upper:
            place = upper.get(-rs1)
            symbol = body.symbols.get(place, "") if place is not None else ""
            name = ("" if symbol.startswith(".L") else symbol) or name_of(upper[rs1] + _signed(w >> 20, 12))
        upper.clear()
        if rd:
            yield CALL, at, name
        elif rs1 == _RA:
            yield END, at, True
        else:
            if name:
                yield CALL, at, name
            yield END, at, bool(name)


def _compressed(body: Body, at: int, half: int, end: int, name_of: NameOf) -> Iterator[Step]:
    quadrant, function = half & 3, half >> 13
    if quadrant == 0:
        yield from _compressed_memory(at, half, function)
    elif quadrant == 1:
        if function == 5:
            yield from _compressed_tail(body, at, half, end, name_of)
        else:
            yield from _compressed_arithmetic(at, half, function)
    else:
        rd, rs2 = half >> 7 & 31, half >> 2 & 31
        if function == 0 and rd:
            yield ROUND, at, rd, rd
        elif function in (2, 3) and rd:
            if function == 2:
                offset = (half >> 12 & 1) << 5 | (half >> 4 & 7) << 2 | (half >> 2 & 3) << 6
            else:
                offset = (half >> 12 & 1) << 5 | (half >> 5 & 3) << 3 | (half >> 2 & 7) << 6
            yield LOAD, at, (rd,), _SP, offset, None, 4 << (function & 1)
        elif function == 4:
            yield from _compressed_jump(at, half, rd, rs2)
        elif function == 6:
            yield STORE, at, (rs2 or None,), _SP, (half >> 9 & 15) << 2 | (half >> 7 & 3) << 6, None, 4
        elif function in (5, 7):
            source = rs2 or None if function == 7 else None
            yield STORE, at, (source,), _SP, (half >> 10 & 7) << 3 | (half >> 7 & 7) << 6, None, 8


def _compressed_jump(at: int, half: int, rd: int, rs2: int) -> Iterator[Step]:
    if half >> 12 & 1:
        if rs2 and rd:
            yield ADD, at, rd, rd, rs2, 0
        elif rd:
            yield CALL, at, ""
    elif rs2 and rd:
        yield COPY, at, rd, rs2, 0
    elif rd:
        yield END, at, rd == _RA


def _compressed_tail(body: Body, at: int, half: int, end: int, name_of: NameOf) -> Iterator[Step]:
    """What c.j does: a jump, or a call in the function's last place."""
    offset = (half >> 12 & 1) << 11 | (half >> 11 & 1) << 4 | (half >> 9 & 3) << 8 | (half >> 8 & 1) << 10
    offset |= (half >> 7 & 1) << 6 | (half >> 6 & 1) << 7 | (half >> 3 & 7) << 1 | (half >> 2 & 1) << 5
    target = at + _signed(offset, 12)
    if body.address <= target < end:
        yield JUMP, at, target, False
    else:
        yield CALL, at, name_of(target)
        yield END, at, True


def _compressed_memory(at: int, half: int, function: int) -> Iterator[Step]:
    base, register = 8 + (half >> 7 & 7), 8 + (half >> 2 & 7)
    if function == 0:
        offset = (half >> 7 & 15) << 6 | (half >> 11 & 3) << 4 | (half >> 5 & 1) << 3 | (half >> 6 & 1) << 2
        if offset:
            yield COPY, at, register, _SP, offset
    elif function in (2, 6):
        offset = (half >> 10 & 7) << 3 | (half >> 6 & 1) << 2 | (half >> 5 & 1) << 6
        if function == 2:
            yield LOAD, at, (register,), base, offset, None, 4
        else:
            yield STORE, at, (register,), base, offset, None, 4
    elif function in (3, 5, 7):
        offset = (half >> 10 & 7) << 3 | (half >> 5 & 3) << 6
        if function == 3:
            yield LOAD, at, (register,), base, offset, None, 8
        else:
            yield STORE, at, (register if function == 7 else None,), base, offset, None, 8
    elif function == 4:  # Zcb
        yield FORGET, at, (register,)


def _compressed_arithmetic(at: int, half: int, function: int) -> Iterator[Step]:
    rd, low = half >> 7 & 31, 8 + (half >> 7 & 7)
    immediate = _signed((half >> 12 & 1) << 5 | half >> 2 & 31, 6)
    if function in (0, 1) and rd:
        yield COPY, at, rd, rd, immediate
    elif function == 2 and rd:
        yield CONST, at, rd, immediate
    elif function == 3 and rd == _SP:
        offset = (half >> 12 & 1) << 9 | (half >> 3 & 3) << 7 | (half >> 5 & 1) << 6
        yield COPY, at, _SP, _SP, _signed(offset | (half >> 2 & 1) << 5 | (half >> 6 & 1) << 4, 10)
    elif function == 3 and rd:
        yield CONST, at, rd, immediate << 12
    elif function == 4:
        kind, other = half >> 10 & 3, 8 + (half >> 2 & 7)
        if kind in (0, 2):
            yield ROUND, at, low, low
        elif kind == 1:
            yield MIX, at, low, (low,)
        elif half >> 12 & 1 or half >> 5 & 3:
            xor = not half >> 12 & 1 and half >> 5 & 3 == 1
            yield (MIX, at, low, (low, other), "xor") if xor else (MIX, at, low, (low, other))
        else:
            yield SUB, at, low, low, other, 0
    elif function in (6, 7):
        offset = (half >> 12 & 1) << 8 | (half >> 10 & 3) << 3 | (half >> 5 & 3) << 6
        offset |= (half >> 3 & 3) << 1 | (half >> 2 & 1) << 5
        yield JUMP, at, at + _signed(offset, 9), True
