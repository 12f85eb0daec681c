"""aarch64: what a function does with its stack frame, and which functions it calls.

Visible: the call of `__stack_chk_fail`, or the GOT slot of `__stack_chk_guard`, by their names; without names only the
sequence by which GCC compares and clears the canary. The prologue's probes: GCC leaves frames up to 64 KiB alone, whose
first 1 KiB the caller has room for, so only a single allocation of 64 KiB or more without a store to the stack behind
it says that nothing probes; smaller frames tell nothing. clang 19 probes every 4 KiB (14 ignores the option). Both
probe what alloca() takes in a loop of the same kind; an allocation of a size made at run time without any is unclear.
Not visible: canaries of clang in static, stripped files; calls through the GOT (-fno-plt).

Source: Arm ARM DDI 0487, C4.1 "A64 instruction set encoding"; AAPCS64; GCC 12 config/aarch64 (stack_protect_test,
aarch64_allocate_and_probe_stack_space); clang 19 AArch64FrameLowering (inlineStackProbe).
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

_SP = 31  # also the number of the zero register; the decoder tells them apart
_CONVENTION = Convention(_SP, tuple(range(8)), 0, frozenset((*range(19, 30), _SP)), result_place=8)
_GUARD_BYTES = 1 << 16  # GCC's stack-clash-protection-guard-size on aarch64
_CLANG_BYTES = 1 << 12  # clang's stack-probe-size
_STORES_TOP = 0xF90003FF  # str xzr, [sp]


def decoder(machine: Machine) -> Decoder:
    """The decoder of little-endian 64-bit Arm; instructions are little-endian in big-endian files, too."""
    return _Aarch64()


class _Aarch64:
    def __init__(self) -> None:
        self._calls = StepCalls(_CONVENTION)

    def frame_use(self, body: Body, name_of: NameOf) -> FrameUse:
        words = _words(body)
        probed, unprobed = _probes(words)
        unclear = (
            not (probed or unprobed)
            and any(map(_may_grow, words))
            and frames.grows_by_register(_CONVENTION, _steps(body, words, name_of), _GUARD_BYTES)
        )
        if _has_canary(body, words, name_of):
            return FrameUse(True, "", False, probed, unprobed, unclear=unclear)
        if not any(map(_makes_address, words)):  # nothing to follow
            return FrameUse(False, "", False, probed, unprobed, unclear=unclear)
        use = frames.frame_use(_CONVENTION, _steps(body, words, name_of))
        if use.array and _loads_guard(body, words, name_of):
            return FrameUse(True, "", False, probed, unprobed, unclear=unclear)
        effort = len(body.data) // frames.CHEAPER
        return use._replace(probed=probed, unprobed=unprobed, effort=effort, unclear=unclear)

    def returns(self, body: Body, name_of: NameOf) -> bool:
        return frames.returns(_steps(body, _words(body), name_of))

    def calls(self, body: Body, name_of: NameOf, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        words = _words(body)
        end = body.address + len(body.data)
        found = []
        for index, w in enumerate(words):
            if w >> 26 in (0x25, 0x05):  # bl, b
                at = body.address + 4 * index
                target = at + _signed(w, 26) * 4
                if w >> 31 or at in body.symbols or not body.address <= target < end:
                    name = body.symbols.get(at) or name_of(target)
                    if name and wanted(name):
                        found.append(name)
        yield from self._calls.of(body, _steps(body, words, name_of), found, wanted)


def _words(body: Body) -> tuple[int, ...]:
    count = len(body.data) // 4
    return struct.unpack(f"<{count}I", body.data[: 4 * count])


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _makes_address(w: int) -> bool:
    """Whether it may make an address in the frame: add x0, sp, #n; sub x0, x29, #n; add x0, sp, x1; add x0, x1, x29;
    strb w0, [sp, x1].
    """
    if w & 0xBF8003E0 in (0x910003E0, 0x910003A0) or w & 0xBFE003E0 == 0x8B2003E0:
        return w & 31 not in (29, 31)
    if w & 0xBF200000 == 0x8B000000:
        return w >> 5 & 31 == 29 or w >> 16 & 31 == 29
    return w & 0x3B2003C0 in (0x382003C0, 0x38200380) and w & 0x3B200C00 == 0x38200800 and w >> 5 & 31 in (29, 31)


def _has_canary(body: Body, words: tuple[int, ...], name_of: NameOf) -> bool:
    if body.symbols:
        inside = range(body.address, body.address + len(body.data))
        return any(
            name in ("__stack_chk_fail", "__stack_chk_guard") and at in inside for at, name in body.symbols.items()
        )
    for index, w in enumerate(words):
        if w >> 26 == 0x25:
            if name_of(body.address + 4 * (index + _signed(w, 26))) == "__stack_chk_fail":
                return True
        elif w & 0xFFFFFFE0 == 0xD2800000 and index >= 3 and _compares_canary(words, index):
            return True
    return False


def _compares_canary(words: tuple[int, ...], index: int) -> bool:
    """Whether "mov x2, #0" ends what GCC emits as one: ldr x1, [sp, #n]; ldr x2, [x0]; subs x1, x1, x2; mov x2, #0."""
    scratch = words[index] & 31
    stored, guard, compare = words[index - 3 : index]
    return (
        guard & 0xFFC0001F == 0xF9400000 | scratch
        and stored & 0xFFC00000 in (0xF9400000, 0xF8400000)
        and (compare & 0xFFE0FC00 in (0xEB000000, 0xCA000000) and compare >> 16 & 31 == scratch)
        and compare >> 5 & 31 == stored & 31
    )


def _loads_guard(body: Body, words: tuple[int, ...], name_of: NameOf) -> bool:
    """Whether it loads the GOT slot of `__stack_chk_guard`: adrp x0, page; ldr x0, [x0, #n]."""
    pages: dict[int, int] = {}
    for index, w in enumerate(words):
        if w & 0x9F000000 == 0x90000000:
            page = (body.address + 4 * index) & ~0xFFF
            pages[w & 31] = page + (_signed(w >> 5 & 0x7FFFF, 19) << 14) + ((w >> 29 & 3) << 12)
        elif w & 0xFFC00000 == 0xF9400000:
            slot = pages.get(w >> 5 & 31)
            if slot is not None and name_of(slot + (w >> 10 & 0xFFF) * 8) == "__stack_chk_guard":
                return True
    return False


def _probes(words: tuple[int, ...]) -> tuple[bool, int]:
    """Whether the stack is probed while it is allocated, and the largest single allocation that is not."""
    probed, unprobed = False, 0
    constants: dict[int, int] = {}
    for index, w in enumerate(words):
        top = w >> 24
        if top == 0xD1 and w & 0xFF8003FF == 0xD10003FF:  # sub sp, sp, #n
            size = (w >> 10 & 0xFFF) << (12 if w >> 22 & 1 else 0)
        elif top == 0xCB and w & 0xFFE0FFFF == 0xCB2063FF:  # sub sp, sp, x16
            size = constants.get(w >> 16 & 31, 0)
        else:
            if w & 0xFF800000 == 0xD2800000:  # movz
                constants[w & 31] = (w >> 5 & 0xFFFF) << 16 * (w >> 21 & 3)
            elif w & 0xFF800000 == 0xF2800000 and w & 31 in constants:  # movk
                constants[w & 31] |= (w >> 5 & 0xFFFF) << 16 * (w >> 21 & 3)
            elif top in (0x94, 0x97):
                constants.clear()
            continue
        if size >= _GUARD_BYTES:
            if index + 1 < len(words) and words[index + 1] & 0xFFC003FF == 0xF90003FF:  # str xzr, [sp, #1024]
                probed = True
            else:
                unprobed = max(unprobed, size)
        elif size == _CLANG_BYTES and _touches_page(words[index + 1 : index + 9]):
            probed = True
    return probed, unprobed


def _touches_page(words: tuple[int, ...]) -> bool:
    """Whether what follows the allocation of a page is clang's probe: a loop that compares the stack pointer and stores
    to its top, or such a store in front of the next allocation. The store alone may be that of a local.
    """
    if words and words[0] & 0xFFE0FFFF == 0xEB2063FF:  # cmp sp, x9
        return _STORES_TOP in words[1:3]
    return words[:1] == (_STORES_TOP,) and any(w & 0xFF8003FF == 0xD10003FF for w in words)


def _may_grow(w: int) -> bool:
    """Whether it may set the stack pointer by a register: sub sp, sp, x0; mov sp, x19; and sp, x9, #n."""
    if w & 0xFFE063FF == 0xCB2063FF or w & 0xFF80001F == 0x9200001F:
        return True
    return w & 0xFF80001F == 0x9100001F and w >> 5 & 31 not in (29, 31)


def _steps(body: Body, words: tuple[int, ...], name_of: NameOf) -> Iterator[Step]:
    constants: dict[int, int] = {}
    at = body.address
    end = at + len(body.data)
    for w in words:
        group = w >> 25 & 15
        if group & 14 == 8:
            yield from _immediate(at, w, constants)
        elif group & 14 == 10:
            yield from _branch(body, at, w, end, name_of)
        elif group & 5 == 4:
            yield from _memory(at, w)
        elif group & 7 == 5:
            yield from _register(at, w)
        elif group & 7 == 7:
            # of vector and floating point operations only these write a general register
            if w & 0x5F20FC00 == 0x1E200000 or w & 0x5F200000 == 0x1E000000 or w & 0xBFE0E400 == 0x0E002400:
                yield FORGET, at, (w & 31,)
        else:
            yield FORGET, at, (w & 31, w >> 5 & 31, w >> 16 & 31)
        at += 4


def _immediate(at: int, w: int, constants: dict[int, int]) -> Iterator[Step]:
    target, source = w & 31, w >> 5 & 31
    kind = w >> 23 & 7
    wide = w >> 31
    if kind in (0, 1):  # adr, adrp
        offset = (_signed(w >> 5, 19) << 2) + (w >> 29 & 3)
        yield CONST, at, target, (at & ~0xFFF) + (offset << 12) if wide else at + offset
    elif kind == 2:  # add, sub
        if w >> 29 & 1 and target == 31:
            return  # cmp
        number = (w >> 10 & 0xFFF) << (12 if w >> 22 & 1 else 0)
        if wide:
            yield COPY, at, target, source, -number if w >> 30 & 1 else number
        else:
            yield MIX, at, target, (source,)
    elif kind == 4:  # and, orr, eor with a mask
        operation = w >> 29 & 3
        if operation == 3 and target == 31:
            return
        if operation == 0 or (operation == 1 and source != 31):  # orr adds to what is aligned
            yield ROUND, at, target, source
        else:
            yield MIX, at, target, () if source == 31 else (source,)
    elif kind == 5:  # movn, movz, movk
        operation, shift = w >> 29 & 3, 16 * (w >> 21 & 3)
        number = (w >> 5 & 0xFFFF) << shift
        if operation == 3:
            number |= constants.get(target, 0) & ~(0xFFFF << shift)
        elif operation == 0:
            number = ~number
        constants[target] = number
        if target != 31:
            yield CONST, at, target, number
    elif kind == 6 and w >> 29 == 6:  # ubfm: lsl, lsr, ubfx
        yield ROUND, at, target, source
    elif target != 31:  # other bit fields
        yield MIX, at, target, (source, target) if w >> 29 & 3 == 1 else (source,)


def _register(at: int, w: int) -> Iterator[Step]:
    target, first, second = w & 31, w >> 5 & 31, w >> 16 & 31
    if w & 0x1F000000 == 0x0B000000:  # add, sub
        extended = w >> 21 & 1
        sets_flags = w >> 29 & 1
        if target == 31 and (sets_flags or not extended):
            return
        shift = w >> 10 & (7 if extended else 63)
        if not w >> 31 or (not extended and (w >> 22 & 3 or first == 31)) or second == 31:
            yield MIX, at, target, tuple(r for r in (first, second) if r != 31)
        else:
            yield (SUB if w >> 30 & 1 else ADD), at, target, first, second, shift
        return
    if target == 31 or w & 0x1FE00000 == 0x1A400000:  # ccmp writes none
        return
    if w & 0x7FE0FFE0 == 0x2A0003E0:  # mov
        if second == 31:
            yield CONST, at, target, 0
        else:
            yield COPY, at, target, second, 0
    elif w & 0x1F000000 == 0x1B000000:
        yield MIX, at, target, tuple(r for r in (first, second, w >> 10 & 31) if r != 31)
    elif w & 0x5FE00000 == 0x5AC00000:  # one source
        yield MIX, at, target, () if first == 31 else (first,)
    else:
        yield MIX, at, target, tuple(r for r in (first, second) if r != 31)


def _branch(body: Body, at: int, w: int, end: int, name_of: NameOf) -> Iterator[Step]:
    if w >> 26 in (0x05, 0x25):
        target = at + _signed(w, 26) * 4
        if w >> 31:
            yield CALL, at, body.symbols.get(at) or name_of(target)
        elif at not in body.symbols and body.address <= target < end:
            yield JUMP, at, target, False
        else:
            yield CALL, at, body.symbols.get(at) or name_of(target)
            yield END, at, True
    elif w & 0xFF000000 == 0x54000000 or w & 0x7E000000 == 0x34000000:
        yield JUMP, at, at + _signed(w >> 5, 19) * 4, True
    elif w & 0x7E000000 == 0x36000000:
        yield JUMP, at, at + _signed(w >> 5, 14) * 4, True
    elif w & 0xFE000000 == 0xD6000000:
        if w >> 21 & 7 == 1:  # blr
            yield CALL, at, ""
        else:
            yield END, at, w >> 21 & 7 == 2
    elif w & 0xFFE0001F == 0xD4200000:  # brk
        yield END, at, False
    elif w & 0xFF000000 == 0xD4000000:
        yield FORGET, at, (0,)
    elif w & 0xFFD00000 in (0xD5100000, 0xD5300000, 0xD5000000) and w >> 21 & 1:  # mrs, sysl
        yield FORGET, at, (w & 31,)


def _memory(at: int, w: int) -> Iterator[Step]:
    target, base = w & 31, w >> 5 & 31
    vector = w >> 26 & 1
    if w & 0x3A000000 == 0x28000000:
        yield from _pair(at, w)
    elif w & 0x3B000000 == 0x18000000:  # literal
        if not vector:
            yield LOAD, at, (target,), -1, 0, None, 8
    elif w & 0x3A000000 == 0x38000000:
        scale = w >> 30 | (w >> 21 & 4 if vector else 0)
        operation = w >> 22 & 3
        loads = operation & 1 if vector else operation
        if not vector and w >> 30 == 3 and operation == 2:
            return  # prfm
        offset, index, moves = 0, None, 0
        if w >> 24 & 1:
            offset = (w >> 10 & 0xFFF) << scale
        elif not w >> 21 & 1:
            number, mode = _signed(w >> 12, 9), w >> 10 & 3
            offset, moves = (number if mode != 1 else 0), (number if mode & 1 else 0)
        elif w >> 10 & 3 == 2:
            index = w >> 16 & 31
        else:  # atomic, authenticated
            yield FORGET, at, (target, base) if w >> 10 & 1 else (target,)
            return
        if not loads:
            yield STORE, at, (None if vector or target == 31 else target,), base, offset, index, 1 << scale
        elif not vector and target != 31:
            yield LOAD, at, (target,), base, offset, index, 1 << scale
        if moves:
            yield COPY, at, base, base, moves
    elif w & 0x3F000000 == 0x0C000000 or w & 0x3F000000 == 0x0D000000:  # vector structures
        if not w >> 22 & 1:
            yield STORE, at, (None,), base, 0, None, 16
        if w >> 23 & 1:
            yield FORGET, at, (base,)
    else:  # exclusive, compare and swap
        yield FORGET, at, (target, w >> 10 & 31, w >> 16 & 31)


def _pair(at: int, w: int) -> Iterator[Step]:
    first, base, second = w & 31, w >> 5 & 31, w >> 10 & 31
    vector = w >> 26 & 1
    scale = 2 + (w >> 30) if vector else 2 + (w >> 31)
    number, mode = _signed(w >> 15, 7) << scale, w >> 23 & 3
    offset = 0 if mode == 1 else number
    moves = number if mode & 1 else 0
    registers = (None, None) if vector else tuple(None if r == 31 else r for r in (first, second))
    if not w >> 22 & 1:
        yield STORE, at, registers, base, offset, None, 1 << scale
    elif not vector:
        targets = tuple(r for r in (first, second) if r != 31)
        yield LOAD, at, targets, base, offset, None, 1 << scale
    if moves:
        yield COPY, at, base, base, moves
