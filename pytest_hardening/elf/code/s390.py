"""s390x: what a function does with its stack frame, and which functions it calls.

Visible: the canary, without any name, as the word at 40 bytes from the thread pointer (the access registers 0 and 1);
probes: GCC and clang compare a word of each new page (cg %r0, n(%r15)) after an allocation of 4 KiB at most, in
loops where alloca() is used; without the option sgr %r15, %r1 allocates all at once, which is unclear.
Not visible: probes of frames below 4 KiB, for there are none.

Source: z/Architecture Principles of Operation, SA22-7832; ELF ABI s390x supplement 1.6; GCC 12 config/s390
(stack_protect_setdi, allocate_stack_space).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..machines import Machine
from . import frames
from .architecture import Body, Decoder, FrameUse, NameOf
from .frames import ADD, CALL, CONST, COPY, END, FORGET, JUMP, LOAD, MIX, ROUND, STORE, SUB, Convention, Step
from .step_calls import Inlined, StepCalls

__all__ = ["decoder"]

_SP = 15
_MEMORY = 16  # no register: what an instruction moves from memory to memory
_CONVENTION = Convention(_SP, (2, 3, 4, 5, 6), 2, frozenset((*range(6, 14), _SP)))
_PROBE_BYTES = 4096
_LENGTHS = (2, 4, 4, 6)  # by the two highest bits of an instruction
_GUARD_OFFSET = 40
_SETS_BY_REGISTER = frozenset((0x04, 0x09, 0x0B, 0xE9, 0xEB))  # lgr, sgr, slgr, sgrk, slgrk

# operations with a register and a memory operand: bytes that they load or store
_RX_LOADS = {0x58: 4, 0x48: 2, 0x43: 1}
_RX_STORES = {0x50: 4, 0x40: 2, 0x42: 1}
_RXY_LOADS = {4: 8, 0x14: 4, 0x16: 4, 0x17: 4, 0x90: 1, 0x91: 2, 0x15: 2, 0x77: 1, 0x76: 1, 0x58: 4, 0x94: 1, 0x95: 2}
_RXY_LOADS |= {0x78: 2, 2: 8, 0x0F: 8, 0x1E: 4, 0x1F: 2, 0x12: 4, 0x32: 4}
_RXY_STORES = {0x24: 8, 0x50: 4, 0x72: 1, 0x70: 2, 0x2F: 8, 0x3E: 4, 0x3F: 2, 0x25: 8}
_RXY_COMPARES = frozenset((0x20, 0x21, 0x30, 0x31, 0x34, 0x59, 0x55, 0x79, 0x36, 0x47))
_NO_TARGET_2 = frozenset((0x04, 0x15, 0x19, 0x29, 0x39, 0x0A, 0x01))
_FLOAT_TO_GENERAL = frozenset((*range(0x98, 0xA0), *range(0xA8, 0xB0), *range(0xB8, 0xBB), *range(0xC8, 0xCB), 0xCD))
_FLOAT_TO_GENERAL |= frozenset(range(0xE1, 0xF0))
_COMPARES_B9 = frozenset((0x20, 0x21, 0x30, 0x31, 0xCD, 0xDD, 0xCF, 0xDF, 0xAE, 0xAF))


def decoder(machine: Machine) -> Decoder:
    """The decoder of 64-bit z/Architecture."""
    return _S390()


class _S390:
    def __init__(self) -> None:
        self._calls = StepCalls(_CONVENTION)

    def frame_use(self, body: Body, name_of: NameOf) -> FrameUse:
        canary, probed, unprobed, may_grow = _scan(body, name_of)
        unclear = (
            may_grow
            and not (probed or unprobed)
            and frames.grows_by_register(_CONVENTION, _steps(body, name_of), _PROBE_BYTES)
        )
        if canary:
            return FrameUse(True, "", False, probed, unprobed, unclear=unclear)
        use = frames.frame_use(_CONVENTION, _steps(body, name_of))
        effort = len(body.data) // frames.CHEAPER
        return use._replace(probed=probed, unprobed=unprobed, effort=effort, unclear=unclear)

    def returns(self, body: Body, name_of: NameOf) -> bool:
        return frames.returns(_steps(body, name_of))

    def calls(self, body: Body, name_of: NameOf, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        found: list[str] = []
        inlined: list[Inlined] = []
        start, end = body.address, body.address + len(body.data)
        for at, code in _instructions(body):
            if len(code) == 6 and code[0] == 0xC0 and code[1] & 15 in (4, 5):  # brcl, brasl
                target = at + 2 * int.from_bytes(code[2:6], "big", signed=True)
                if code[1] & 15 == 5 or at + 2 in body.symbols or not start <= target < end:
                    name = body.symbols.get(at + 2) or name_of(target)
                    if name and wanted(name):
                        found.append(name)
            elif (string := _string(body, at, code)) is not None:
                inlined.append(string)
        yield from self._calls.of(body, _steps(body, name_of), found, wanted, inlined)


def _string(body: Body, at: int, code: bytes) -> Inlined | None:
    """What GCC writes in place of a call that FORTIFY did not replace: mvst for strcpy(), mvcle for memset() and
    memcpy(); exrl of mvc or xc, with a length of run time, for memset() (s390.cc, s390_expand_setmem).
    """
    if code[:2] == b"\xb2\x55":
        return at, "strcpy", code[3] >> 4, -1
    if len(code) == 4 and code[0] == 0xA8:
        return at, "memset", code[1] >> 4, (code[1] >> 4) + 1 & 15
    if code[0] == 0x44:  # ex, before there was exrl: of what is not followed
        return at, "memset", -1, -1
    if len(code) == 6 and code[0] == 0xC6 and code[1] & 15 == 0:
        place = at + 2 * int.from_bytes(code[2:6], "big", signed=True) - body.address
        if not 0 <= place <= len(body.data) - 6:  # clang shares them between functions
            return at, "memset", -1, -1
        if body.data[place] in (0xD2, 0xD7):
            return at, "memset", body.data[place + 2] >> 4, -1
    return None


def _instructions(body: Body) -> Iterator[tuple[int, bytes]]:
    data, start = body.data, body.address
    position, size = 0, len(data)
    while position < size:
        length = _LENGTHS[data[position] >> 6]
        if position + length > size:
            return
        yield start + position, data[position : position + length]
        position += length


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _long_offset(code: bytes) -> int:
    """The 20-bit displacement of a 6-byte instruction."""
    return _signed(code[4] << 12 | (code[2] & 15) << 8 | code[3], 20)


def _scan(body: Body, name_of: NameOf) -> tuple[bool, bool, int, bool]:
    """Whether there is a canary, whether the stack is probed, the largest single allocation that is not, and whether
    the stack pointer may be set by a register.
    """
    thread: set[int] = set()  # registers that hold half of the thread pointer, or all of it
    canary, probed, unprobed, may_grow = False, False, 0, False
    pending, just_allocated = 0, False
    for at, code in _instructions(body):
        first = code[0]
        allocated = 0
        if first == 0xB2 and code[1] == 0x4F:
            thread.add(code[3] >> 4)
        elif first == 0xA7 and code[1] == 0xFB:  # aghi %r15
            allocated = -int.from_bytes(code[2:4], "big", signed=True)
        elif first == 0xB9:
            may_grow = may_grow or (code[1] in _SETS_BY_REGISTER and code[3] >> 4 == _SP)
        elif len(code) == 6:
            if first in (0xD2, 0xD5, 0xD7):
                if code[4] >> 4 in thread and (code[4] & 15) << 8 | code[5] == _GUARD_OFFSET and code[1] == 7:
                    canary = True
            elif first == 0xE3:
                base, last = code[2] >> 4, code[5]
                if last in (4, 0x20, 0x21, 0x82) and base in thread and _long_offset(code) == _GUARD_OFFSET:
                    canary = True
                elif last == 0x20 and just_allocated and not code[1] & 15 and base == _SP:  # cg %r0, n(%r15)
                    probed, pending = True, 0
                elif last == 0x71 and code[1] == 0xF0 and base == _SP:  # lay %r15
                    allocated = -_long_offset(code)
            elif first == 0xC2 and code[1] == 0xF8:  # agfi %r15
                allocated = -int.from_bytes(code[2:6], "big", signed=True)
            elif first == 0xC2 and code[1] == 0xF4:  # slgfi %r15
                allocated = int.from_bytes(code[2:6], "big")
            elif first == 0xC0 and code[1] & 15 == 5:
                name = body.symbols.get(at + 2)
                if name is None:
                    name = name_of(at + 2 * int.from_bytes(code[2:6], "big", signed=True))
                canary = canary or name == "__stack_chk_fail"
        if allocated > 0:
            unprobed = max(unprobed, pending)
            pending = allocated
        just_allocated = allocated > 0
    unprobed = max(unprobed, pending)
    return canary, probed, unprobed if unprobed > _PROBE_BYTES else 0, may_grow


def _steps(body: Body, name_of: NameOf) -> Iterator[Step]:
    end = body.address + len(body.data)
    for at, code in _instructions(body):
        if len(code) == 6:
            yield from _six(body, at, code, end, name_of)
        elif len(code) == 4:
            yield from _four(body, at, code)
        else:
            yield from _two(at, code)


def _two(at: int, code: bytes) -> Iterator[Step]:
    first, left, right = code[0], code[1] >> 4, code[1] & 15
    if first == 0x07:  # bcr
        if right and left == 15:
            yield END, at, right == 14
    elif first == 0x18:  # lr
        yield COPY, at, left, right, 0
    elif first in (0x0D, 0x05):  # basr
        if right:
            yield CALL, at, ""
        else:
            yield FORGET, at, (left,)
    elif first in (0x1A, 0x1B, 0x14, 0x16, 0x17, 0x1E, 0x1F):
        if first in (0x17, 0x1B) and left == right:
            yield CONST, at, left, 0
        else:
            yield MIX, at, left, (left, right)
    elif first in (0x10, 0x11, 0x12, 0x13):
        yield MIX, at, left, (right,)
    elif first == 0x0E:  # mvcl
        yield FORGET, at, (left, left + 1 & 15, right, right + 1 & 15)
    elif first not in _NO_TARGET_2 and not 0x20 <= first < 0x40:
        yield FORGET, at, (left, left + 1 & 15)


def _four(body: Body, at: int, code: bytes) -> Iterator[Step]:
    first, left, index = code[0], code[1] >> 4, code[1] & 15
    base, offset = code[2] >> 4, (code[2] & 15) << 8 | code[3]
    if first == 0xA7:
        yield from _immediate(at, code, left, index)
    elif first == 0x41:  # la
        yield from _address(at, left, base, offset, index)
    elif first in _RX_LOADS:
        yield from _access(LOAD, at, left, base, offset, index, _RX_LOADS[first])
    elif first in _RX_STORES:
        yield from _access(STORE, at, left, base, offset, index, _RX_STORES[first])
    elif first in (0x60, 0x70):  # floating point
        yield from _access(STORE, at, None, base, offset, index, 8 if first == 0x60 else 4)
    elif first == 0xB9:
        yield from _b9(at, code)
    elif first == 0xA5:
        number = int.from_bytes(code[2:4], "big")
        if index >= 12:
            yield CONST, at, left, number << 16 * (15 - index)
        else:
            yield (ROUND, at, left, left) if index >= 4 and index < 8 else (MIX, at, left, (left,))
    elif first == 0x90:  # stm
        yield STORE, at, _range(left, index), base, offset, None, 4
    elif first == 0x98:
        yield FORGET, at, _range(left, index)
    elif first == 0x92:  # mvi
        yield STORE, at, (None,), base, offset, None, 1
    elif first in (0x88, 0x89, 0x8A, 0x8B):
        yield MIX, at, left, (left,)
    elif first in (0x5A, 0x5B, 0x54, 0x56, 0x57, 0x5E, 0x5F, 0x4A, 0x4B, 0x4C, 0x71):
        yield FORGET, at, (left,)
    elif first == 0xB3:  # floating point; ldgr only reads a general register, as leaf functions do to save it
        if code[1] in _FLOAT_TO_GENERAL:
            yield FORGET, at, (code[3] >> 4,)
    elif first == 0x47 and left == 15:  # b 0(%r2,%r1): the table of a switch
        yield END, at, False
    elif first == 0xB2:
        pair = () if code[1] == 0x55 else ((code[3] >> 4) + 1 & 15,)  # mvst changes no pairs
        yield FORGET, at, (code[3] >> 4, code[3] & 15, *pair)
    elif first not in (0x47, 0x91, 0x94, 0x95, 0x96, 0x97, 0x59, 0x55, 0x49) and not 0x60 <= first < 0x80:
        yield FORGET, at, (left, index)


def _immediate(at: int, code: bytes, left: int, operation: int) -> Iterator[Step]:
    number = int.from_bytes(code[2:4], "big", signed=True)
    if operation in (8, 9):  # lhi, lghi
        yield CONST, at, left, number
    elif operation in (10, 11):
        yield COPY, at, left, left, number
    elif operation == 4:  # brc
        if left:
            yield JUMP, at, at + 2 * number, left != 15
    elif operation in (6, 7):  # brct
        yield JUMP, at, at + 2 * number, True
    elif operation in (12, 13):
        yield MIX, at, left, (left,)
    elif operation == 5:  # bras: the literal pool of old code
        yield FORGET, at, (left,)


def _b9(at: int, code: bytes) -> Iterator[Step]:
    operation, left, right, third = code[1], code[3] >> 4, code[3] & 15, code[2] >> 4
    if operation in (0x04, 0x02, 0xE2, 0xF2):  # lgr, ltgr, locgr
        if operation >= 0xE0:
            yield JUMP, at, at + 4, True  # or it does nothing
        yield COPY, at, left, right, 0
    elif operation in (0x08, 0x0A):  # agr, algr
        yield ADD, at, left, left, right, 0
    elif operation in (0x09, 0x0B):
        yield SUB, at, left, left, right, 0
    elif operation in (0xE8, 0xEA):  # agrk
        yield ADD, at, left, right, third, 0
    elif operation in (0xE9, 0xEB):
        yield SUB, at, left, right, third, 0
    elif operation in (0x14, 0x16, 0x06, 0x07, 0x84, 0x85, 0x94, 0x95, 0x03, 0x13, 0x17, 0x26, 0x27, 0x12, 0x11, 0x00):
        yield MIX, at, left, (right,)
    elif operation in (0x18, 0x19, 0x1A, 0x1B, 0x80, 0x81, 0x82, 0x0C, 0x1C, 0xF6, 0xF4, 0xF7, 0xE4, 0xE6, 0xE7, 0xED):
        yield MIX, at, left, (right, third if operation >= 0xE0 else left)
    elif operation not in _COMPARES_B9:
        yield FORGET, at, (left, left + 1 & 15, right)


def _six(body: Body, at: int, code: bytes, end: int, name_of: NameOf) -> Iterator[Step]:
    first, left, second = code[0], code[1] >> 4, code[1] & 15
    if first == 0xC0:
        yield from _relative(body, at, code, end, name_of)
    elif first == 0xE3:
        base, offset, operation = code[2] >> 4, _long_offset(code), code[5]
        if operation == 0x71:  # lay
            yield from _address(at, left, base, offset, second)
        elif operation in _RXY_LOADS:
            yield from _access(LOAD, at, left, base, offset, second, _RXY_LOADS[operation])
        elif operation in _RXY_STORES:
            yield from _access(STORE, at, left, base, offset, second, _RXY_STORES[operation])
        elif operation not in _RXY_COMPARES:
            yield FORGET, at, (left, left + 1 & 15)
    elif first == 0xEB:
        yield from _rsy(at, code)
    elif first == 0xEC:
        yield from _rie(at, code)
    elif first == 0xD2:  # mvc
        yield LOAD, at, (_MEMORY,), code[4] >> 4, (code[4] & 15) << 8 | code[5], None, code[1] + 1
        yield STORE, at, (_MEMORY,), code[2] >> 4, (code[2] & 15) << 8 | code[3], None, code[1] + 1
    elif first in (0xD7, 0xD4, 0xD6):  # xc and others: bytes in memory
        yield STORE, at, (None,), code[2] >> 4, (code[2] & 15) << 8 | code[3], None, code[1] + 1
    elif first == 0xE5 and code[1] in (0x44, 0x48, 0x4C):  # mvhhi, mvghi, mvhi
        yield (
            STORE,
            at,
            (None,),
            code[2] >> 4,
            (code[2] & 15) << 8 | code[3],
            None,
            {0x44: 2, 0x48: 8, 0x4C: 4}[code[1]],
        )
    elif first == 0xC2:
        if second in (8, 9):
            yield COPY, at, left, left, int.from_bytes(code[2:6], "big", signed=True)
        elif second in (4, 10):  # slgfi, algfi
            number = int.from_bytes(code[2:6], "big")
            yield COPY, at, left, left, number if second == 10 else -number
        elif second < 12:
            yield MIX, at, left, (left,)
    elif first == 0xC4:
        if second not in (7, 11, 15):
            yield FORGET, at, (left,)
    elif first == 0xE7:
        if code[5] in (0x0E, 0x3E, 0x08, 0x09, 0x0A, 0x0B, 0x3F):  # vst, vstm, vste, vstl
            yield STORE, at, (None,), code[2] >> 4, (code[2] & 15) << 8 | code[3], None, 16
        elif code[5] == 0x21:  # vlgv
            yield FORGET, at, (left,)
    elif first == 0xED:
        if code[5] in (0x66, 0x67):
            yield STORE, at, (None,), code[2] >> 4, _long_offset(code), None, 8
    elif first in (0xC8, 0xCC):
        yield FORGET, at, (left,)


def _relative(body: Body, at: int, code: bytes, end: int, name_of: NameOf) -> Iterator[Step]:
    left, operation = code[1] >> 4, code[1] & 15
    number = int.from_bytes(code[2:6], "big", signed=True)
    target = at + 2 * number
    if operation == 5:  # brasl
        yield CALL, at, body.symbols.get(at + 2) or name_of(target)
    elif operation == 4:  # brcl
        if at + 2 not in body.symbols and body.address <= target < end:
            yield JUMP, at, target, left != 15
        elif left:
            yield CALL, at, body.symbols.get(at + 2) or name_of(target)
            if left == 15:
                yield END, at, True
    elif operation in (0, 1):  # larl, lgfi
        yield CONST, at, left, target if operation == 0 else number
    elif operation in (14, 15):
        yield CONST, at, left, (number & 0xFFFFFFFF) << (32 if operation == 14 else 0)
    elif operation in (10, 11):
        yield ROUND, at, left, left
    else:
        yield MIX, at, left, (left,)


def _rsy(at: int, code: bytes) -> Iterator[Step]:
    left, third, base, operation = code[1] >> 4, code[1] & 15, code[2] >> 4, code[5]
    if operation in (0x24, 0x90, 0x26):  # stmg, stmy, stmh
        yield STORE, at, _range(left, third), base, _long_offset(code), None, 8 if operation == 0x24 else 4
    elif operation == 0x04:  # lmg
        yield LOAD, at, _range(left, third), base, _long_offset(code), None, 8
    elif operation in (0x96, 0x98):
        yield FORGET, at, _range(left, third)
    elif operation in (0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0xDC, 0xDD, 0xDE, 0xDF):  # shifts
        yield (ROUND if operation in (0x0C, 0x0D) else MIX), at, left, third if operation in (0x0C, 0x0D) else (third,)
    elif operation == 0x52:  # mviy
        yield STORE, at, (None,), base, _long_offset(code), None, 1
    elif operation in (0x44, 0x45):
        yield FORGET, at, (left,)
    elif operation not in (0x51, 0x55, 0x54, 0x56, 0x57, 0x20, 0x21, 0x6A, 0x7A, 0x6E, 0x7E, 0xF3, 0xE3):
        yield FORGET, at, (left, third)


def _rie(at: int, code: bytes) -> Iterator[Step]:
    left, right, operation = code[1] >> 4, code[1] & 15, code[5]
    number = int.from_bytes(code[2:4], "big", signed=True)
    if operation in (0x64, 0x65, 0x76, 0x77, 0x7C, 0x7D, 0x7E, 0x7F):  # compare and branch
        yield JUMP, at, at + 2 * number, True
    elif operation in (0x44, 0x45):
        yield FORGET, at, (left,)
        yield JUMP, at, at + 2 * number, True
    elif operation in (0xD8, 0xD9):  # ahik, aghik
        yield COPY, at, left, right, number
    elif operation in (0x55, 0x59):  # risbg
        keeps = not code[3] & 0x80
        if keeps:
            yield MIX, at, left, (left, right)
        else:
            yield ROUND, at, left, right
    elif operation not in (0xE4, 0xE5, 0xF6, 0xF7, 0xFC, 0xFD, 0xFE, 0xFF, 0x70, 0x71, 0x72, 0x73):
        yield FORGET, at, (left,)


def _address(at: int, target: int, base: int, offset: int, index: int) -> Iterator[Step]:
    """la, lay: the sum of two registers and a number; register 0 stands for none."""
    if not base:
        base, index = index, 0
    if not base:
        yield CONST, at, target, offset
    elif not index:
        yield COPY, at, target, base, offset
    else:
        yield ADD, at, target, base, index, 0
        if offset:
            yield COPY, at, target, target, offset


def _access(kind: int, at: int, register: int | None, base: int, offset: int, index: int, size: int) -> Iterator[Step]:
    if not base:
        base, index = index, 0
    if base:
        yield kind, at, (register,), base, offset, index or None, size
    elif kind == LOAD:
        yield FORGET, at, (register,)


def _range(first: int, last: int) -> tuple[int, ...]:
    """The registers of a multiple load or store, which wraps around after the last one."""
    return tuple((first + i) & 15 for i in range((last - first & 15) + 1))
