"""ppc64le (ELFv2): what a function does with its stack frame, and which functions it calls.

Visible: the canary, without any name, as the load of the thread's word at -28688(r13); probes, because the stack grows
by stdu, which stores to the new top: with -fstack-clash-protection by no more than 4 KiB at once, and from a copy of
the back chain in another register; what alloca() takes grows in a loop of that, and by stdux alone without the option,
which is unclear.
Not visible: probes of frames below 4 KiB, for there are none; calls through inlined
PLT sequences (-fno-plt, -mlongcall).

Source: Power ISA 3.1 appendix "opcode maps"; 64-bit ELFv2 ABI 2.2 to 2.4; GCC 12 config/rs6000 (stack_protect_setdi,
rs6000_emit_probe_stack_range_stack_clash); clang 14 PPCFrameLowering.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ..machines import Machine
from . import frames
from .architecture import Body, Decoder, FrameUse, NameOf
from .frames import ADD, CALL, CONST, COPY, END, FORGET, JUMP, LOAD, MIX, ROUND, STORE, SUB, Convention, Step
from .step_calls import StepCalls

__all__ = ["decoder"]

_SP, _TOC = 1, 2
_CONVENTION = Convention(_SP, tuple(range(3, 11)), 3, frozenset((_SP, _TOC, *range(13, 32))), 288, own_address=12)
_RESTORES_TOC = 0xE8410018  # ld r2, 24(r1)
_PROBE_BYTES = 4096  # both compilers' interval between two stores to the stack

# operations of primary opcode 31, by extended opcode: bytes, whether the base register is updated
_LOADS = {87: 1, 279: 2, 343: 2, 23: 4, 341: 4, 21: 8, 119: 1, 311: 2, 375: 2, 55: 4, 373: 4, 53: 8}
_STORES = {215: 1, 407: 2, 151: 4, 149: 8, 247: 1, 439: 2, 183: 4, 181: 8}
_UPDATES = frozenset((119, 311, 375, 55, 373, 53, 247, 439, 183, 181))
_VECTOR_STORES = frozenset((231, 487, 972, 908, 396, 940, 1004, 716, 140, 663, 727))
_VECTOR_LOADS = frozenset((103, 359, 844, 780, 268, 332, 812, 876, 588, 12, 76, 524, 535, 599, 855))
_NO_TARGET = frozenset(
    (0, 32, 4, 68, 144, 467, 598, 854, 54, 86, 278, 246, 1014, 982, 128, 192, 224, 179, 211, 243, 30)
)
_INTO_A = frozenset((28, 60, 124, 284, 316, 412, 476, 24, 536, 27, 539, 792, 794, 824, 826, 827, 954, 922, 986, 26, 58))
_INTO_A |= frozenset((890, 891, 506, 378, 122, 538, 570, 51, 115, 508, 154, 186))


def decoder(machine: Machine) -> Decoder:
    """The decoder of 64-bit Power in the byte order of `machine`."""
    return _Power("<" if machine.name.endswith("le") else ">")


class _Power:
    def __init__(self, order: str) -> None:
        self._order = order
        self._calls = StepCalls(_CONVENTION)

    def frame_use(self, body: Body, name_of: NameOf) -> FrameUse:
        words = self._words(body)
        probed, unprobed = _probes(words)
        unclear = (
            not (probed or unprobed)
            and any(w & 0xFC1F07FF == 0x7C01016A for w in words)  # stdux rX, r1, rY
            and frames.grows_by_register(_CONVENTION, _steps(body, words, name_of), _PROBE_BYTES)
        )
        if _has_canary(body, words, name_of):
            return FrameUse(True, "", False, probed, unprobed, unclear=unclear)
        if not any(map(_makes_address, words)):  # nothing to follow
            return FrameUse(False, "", False, probed, unprobed, unclear=unclear)
        use = frames.frame_use(_CONVENTION, _steps(body, words, name_of))
        effort = len(body.data) // frames.CHEAPER
        return use._replace(probed=probed, unprobed=unprobed, effort=effort, unclear=unclear)

    def returns(self, body: Body, name_of: NameOf) -> bool:
        return frames.returns(_steps(body, self._words(body), name_of))

    def calls(self, body: Body, name_of: NameOf, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        words = self._words(body)
        end = body.address + len(body.data)
        found = []
        for index, w in enumerate(words):
            if w >> 26 == 18:
                at = body.address + 4 * index
                target = _target(at, w)
                if w & 1 or at in body.symbols or not body.address <= target < end:
                    name = body.symbols.get(at) or _name_at(target, name_of)
                    if name and wanted(name):
                        found.append(name)
        yield from self._calls.of(body, _steps(body, words, name_of), found, wanted)

    def _words(self, body: Body) -> tuple[int, ...]:
        count = len(body.data) // 4
        return struct.unpack(f"{self._order}{count}I", body.data[: 4 * count])


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


_INDEXED = frozenset((266, 40, *_LOADS, *_STORES))


def _makes_address(w: int) -> bool:
    """Whether it may make an address in the frame: addi r3, r1, 32; add r3, r9, r31; stbx r3, r1, r9; mr r3, r1."""
    if w & 0xFC1F0000 in (0x38010000, 0x381F0000):
        return True
    if w >> 26 != 31:
        return False
    if w & 0xFFE0FFFF == 0x7C200B78:
        return w >> 16 & 31 != 31  # else the frame pointer
    return w >> 1 & 0x3FF in _INDEXED and (w >> 16 & 31 in (1, 31) or w >> 11 & 31 in (1, 31))


def _name_at(target: int, name_of: NameOf) -> str:
    """The name of what a branch leads to: a function's own file enters it behind the code that makes its TOC pointer
    (ELFv2 ABI, "Function Prologue"; that code has 8 bytes).
    """
    return name_of(target) or name_of(target - 8)


def _target(at: int, w: int) -> int:
    offset = _signed(w & 0x3FFFFFC, 26)
    return offset if w & 2 else at + offset


def _has_canary(body: Body, words: tuple[int, ...], name_of: NameOf) -> bool:
    if any(w & 0xFC1FFFFF == 0xE80D8FF0 for w in words):  # ld rX, -28688(r13)
        return True
    for index, w in enumerate(words):
        if w & 0xFC000003 == 0x48000001:
            at = body.address + 4 * index
            if (body.symbols.get(at) or name_of(_target(at, w))) == "__stack_chk_fail":
                return True
    return False


def _prefixed(prefix: int, suffix: int) -> int:
    """The number in an instruction of two words (Power ISA 3.1, "Prefixed Instructions"): 34 bits of both."""
    return _signed((prefix & 0x3FFFF) << 16 | suffix & 0xFFFF, 34)


def _prefixed_step(at: int, prefix: int, suffix: int) -> Step | None:
    """What an instruction of two words does: paddi, loads and stores with long offsets, perhaps from its own place."""
    top, target, a = suffix >> 26, suffix >> 21 & 31, suffix >> 16 & 31
    number, relative = _prefixed(prefix, suffix), prefix >> 20 & 1
    if prefix >> 24 & 3 == 2 and top == 14:  # paddi
        if a:
            return COPY, at, target, a, number
        return CONST, at, target, at + number if relative else number
    stores = top in ((36, 38, 44, 52, 54) if prefix >> 24 & 3 == 2 else (46, 47, 54, 55, 60, 61))
    if stores and not relative:
        general = top in (36, 38, 44, 61) and not (prefix >> 24 & 3 == 0 and top != 61)
        return STORE, at, (target if general else None,), a, number, None, 8
    return None if stores else (FORGET, at, (target,))


def _probes(words: tuple[int, ...]) -> tuple[bool, int]:
    """Whether the stack is probed while it is allocated, and the largest single allocation that skips a page."""
    probed, unprobed = False, 0
    constants: dict[int, int] = {}
    copied = False  # r0 holds the back chain, for all steps of the prologue; alloca() takes other registers
    prefix = 0
    for index, w in enumerate(words):
        top = w >> 26
        if prefix:
            constants.pop(w >> 21 & 31, None)
            if top == 14 and not w >> 16 & 31 and not prefix >> 20 & 1:  # pli
                constants[w >> 21 & 31] = _prefixed(prefix, w)
            prefix = 0
        elif top == 1:
            prefix = w
        elif top == 62:
            if w & 0x1F0003 == 0x10001 and w & 0x8000:  # stdu rX, -n(r1)
                size, source = -_signed(w & 0xFFFC, 16), w >> 21 & 31
                probed = probed or (source == 0 and copied) or (size == _PROBE_BYTES and _loops(words, index))
                unprobed = max(unprobed, size)
        elif w == 0x7C200B78:  # mr r0, r1
            copied = True
        elif top == 31:
            if w & 0xFFFF07FE == 0x7C21016A:  # stdux r1, r1, rX
                unprobed = max(unprobed, -constants.get(w >> 11 & 31, 0))
            elif w & 0xFC1F07FF == 0x7C01016A:  # clang -O0 keeps the page's size in memory
                probed = probed or _loops(words, index)
        elif top == 15 and not w >> 16 & 31:  # lis
            constants[w >> 21 & 31] = _signed(w, 16) << 16
        elif top == 24 and w >> 16 & 31 in constants:  # ori
            constants[w >> 16 & 31] = constants.get(w >> 21 & 31, 0) | w & 0xFFFF
    return probed, unprobed if unprobed > _PROBE_BYTES else 0


def _loops(words: tuple[int, ...], index: int) -> bool:
    """Whether an allocation is repeated until the stack pointer is low enough: soon a branch leads back to it."""
    for distance, w in enumerate(words[index + 1 : index + 5], 1):
        if w >> 26 in (16, 18) and not w & 1:
            target = distance + (_signed(w & 0xFFFC, 16) if w >> 26 == 16 else _signed(w & 0x3FFFFFC, 26)) // 4
            return -6 <= target <= 0
    return False


def _steps(body: Body, words: tuple[int, ...], name_of: NameOf) -> Iterator[Step]:
    at = body.address
    end = at + len(body.data)
    prefix = 0
    for w in words:
        top = w >> 26
        target, a = w >> 21 & 31, w >> 16 & 31
        if prefix:
            step = _prefixed_step(at - 4, prefix, w)
            if step is not None:
                yield step
            prefix = 0
        elif top == 1:
            prefix = w
        elif top in (14, 15):  # addi, addis
            number = _signed(w, 16) << (16 if top == 15 else 0)
            if a:
                yield COPY, at, target, a, number
            else:
                yield CONST, at, target, number
        elif top == 31:
            yield from _extended(at, w)
        elif w == _RESTORES_TOC:
            pass  # what it was in front of the call
        elif top in (58, 62) or 32 <= top <= 55:
            yield from _memory(at, w, top)
        elif top in (16, 18, 19):
            yield from _branch(body, at, w, end, name_of)
        elif top == 24:  # ori fills the lower half of what lis made
            if w & 0xFFFF or target != a:  # else it does nothing, as padding
                yield COPY, at, a, target, w & 0xFFFF
        elif top == 30 and w >> 2 & 7 == 1:  # rldicr, clrrdi
            yield ROUND, at, a, target
        elif top in (21, 23, 25, 26, 27, 28, 29, 30):
            yield MIX, at, a, (target,)
        elif top == 20:
            yield MIX, at, a, (target, a)
        elif top in (7, 8, 12, 13):
            yield MIX, at, target, (a,)
        elif top == 61:
            if w & 7 in (2, 3, 5, 6, 7):  # vector and floating point
                yield STORE, at, (None,), a, _signed(w & 0xFFF0, 16), None, 16
        elif top in (4, 56) or (top == 60 and w >> 2 & 0x1FF == 347):
            yield FORGET, at, (target,)
        elif top == 17:
            yield FORGET, at, (0, *range(3, 13))
        at += 4


def _extended(at: int, w: int) -> Iterator[Step]:
    operation = w >> 1 & 0x3FF
    target, a, b = w >> 21 & 31, w >> 16 & 31, w >> 11 & 31
    if operation in _LOADS or operation in _STORES:
        base, index = (a, b) if a else (b, None)
        if operation in _STORES:
            yield STORE, at, (target,), base, 0, index, _STORES[operation]
        if operation in _UPDATES:
            yield ADD, at, a, a, b, 0
            base, index = a, None
        if operation in _LOADS:
            yield LOAD, at, (target,), -1 if _TOC in (a, b) else base, 0, index, _LOADS[operation]
    elif operation in _VECTOR_STORES:
        base, index = (a, b) if a else (b, None)
        yield STORE, at, (None,), base, 0, index, 16
    elif operation == 444:  # or; mr
        if target == b:
            yield COPY, at, a, target, 0
        else:
            yield MIX, at, a, (target, b)
    elif operation in _INTO_A:
        yield MIX, at, a, (target,)
    elif operation & 0x1FF == 266:
        yield ADD, at, target, a, b, 0
    elif operation & 0x1FF == 40:  # subf: b - a
        yield SUB, at, target, b, a, 0
    elif operation & 0x1FF in (233, 235, 489, 491, 457, 459, 73, 75, 9, 11, 104, 8, 10, 136, 138, 202, 200, 234, 232):
        yield MIX, at, target, (a,) if operation & 0x1FF in (104, 200, 202, 232, 234) else (a, b)
    elif operation == 339:  # mfspr: the link register and others
        yield FORGET, at, (target,)
    elif operation not in _NO_TARGET and operation not in _VECTOR_LOADS:
        yield FORGET, at, (target, a)


def _memory(at: int, w: int, top: int) -> Iterator[Step]:
    target, a = w >> 21 & 31, w >> 16 & 31
    offset = _signed(w & 0xFFFC if top in (58, 62) else w, 16)
    if top in (58, 62):
        updates, stores, size = w & 3 == 1, top == 62, 4 if top == 58 and w & 3 == 2 else 8
        general = True
    elif top in (46, 47):  # lmw, stmw
        yield FORGET, at, tuple(range(target, 32)) if top == 46 else ()
        return
    else:
        updates, stores, general = bool(top & 1), top in (36, 37, 38, 39, 44, 45, 52, 53, 54, 55), top < 48
        size = 8 if top in (50, 51, 54, 55) else {0: 4, 1: 1, 2: 2, 3: 2}[top >> 1 & 1 if top < 40 else 2]
        if top >= 48:
            size = 8 if top & 2 else 4
    base = a if a else -2
    if stores:
        yield STORE, at, (target if general else None,), base, offset, None, size
    elif general:
        yield LOAD, at, (target,), -1 if a == _TOC else base, offset, None, size
    if updates and a:
        yield COPY, at, a, a, offset


def _branch(body: Body, at: int, w: int, end: int, name_of: NameOf) -> Iterator[Step]:
    top = w >> 26
    if top == 18:
        target = _target(at, w)
        if w & 1:
            yield CALL, at, body.symbols.get(at) or _name_at(target, name_of)
        elif at not in body.symbols and body.address <= target < end:
            yield JUMP, at, target, False
        else:
            yield CALL, at, body.symbols.get(at) or _name_at(target, name_of)
            yield END, at, True
    elif top == 16:
        if not w & 1:
            yield JUMP, at, at + _signed(w & 0xFFFC, 16), w >> 21 & 20 != 20
    elif w >> 1 & 0x3FF in (16, 528):  # blr, bctr
        if w & 1:
            yield CALL, at, ""
        elif w >> 21 & 20 == 20:
            yield END, at, w >> 1 & 0x3FF == 16
