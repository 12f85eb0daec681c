"""How a function of x86-64 or i386 allocates its stack: by how much at once, and whether it touches that.

Under -fstack-clash-protection, GCC and clang move the stack pointer by a page at most and touch what it then points to,
or what it pointed to before. What alloca() and arrays of variable length take is allocated in a loop of such steps
(GCC gcc/explow.cc, anti_adjust_stack_and_probe_stack_clash; LLVM X86ISelLowering.cpp, EmitLoweredProbedAlloca).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .architecture import Body, NameOf
from .x86_frame import callee_of
from .x86_text import Instruction, memory_in, register_of

__all__ = ["PAGE", "Growth", "growth_of"]

PAGE = 4096
_TOUCH = re.compile(r"\[[re]sp(?: \+ (?:0x)?[0-9a-f]{1,3})?\]")
# GCC touches the last word of a page or its first, clang the top before it moves it; only they combine it with nothing
_PROBE = re.compile(
    r"(?:(?:or|xor) [dq]word ptr \[[re]sp(?: \+ (?:0x)?[0-9a-f]{1,3})?\]|mov [dq]word ptr \[[re]sp\]), 0"
)
_ADDS_GOT = re.compile(r"add e(?:[abcd]x|si|di|bp), (?:0x[0-9a-f]{3,}|[12])$")
_NEAR_PAGE = PAGE + 1024
_COPIES = frozenset(("memcpy", "memmove"))
_LARGE_NUMBER = re.compile(r"(mov [er]dx, |push )0x[0-9a-f]{4,}$")
_NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|\d+)$")


class Growth(NamedTuple):
    """How the stack grows.

    Parameters
    ----------
    probed: it is touched where it grows by a page.
    unprobed: the largest growth, of more than a page, without that; 0 where there is none.
    large: it grows by a page or more at once. computed: it grows by a size made at run time.
    """

    probed: bool
    unprobed: int
    large: bool
    computed: bool


def growth_of(listing: list[Instruction], body: Body, name_of: NameOf) -> Growth:
    """How a function allocates its stack.

    GCC exempts arguments on the stack: a large structure passed by value, and a few bytes that it adds to the frame's
    allocation in front of the first call. So a growth by little more than a page counts only where nothing is stored to
    the new top, and none where a structure may be copied to it, or behind the first call.
    """
    probed = large = called = False
    largest = 0
    for index, instruction in enumerate(listing):
        if instruction.mnemonic == "call" and not called:
            called = not _asks_for_address(listing, index, body, name_of)
        size = instruction.grows_stack_by
        if size < PAGE:
            continue
        large = True
        near = listing[index + 1 : index + 4]
        if size == PAGE and any(map(_probes, (*listing[max(index - 1, 0) : index], *near))):
            probed = True
        elif called or any(map(_touches, near)):
            continue
        elif size > max(largest, PAGE) and not _passes_structure(listing, index + 1, size, body, name_of):
            largest = size
    return Growth(probed, largest, large, _grows_by_register(listing))


def _probes(instruction: Instruction) -> bool:
    return _PROBE.fullmatch(f"{instruction.mnemonic} {instruction.operands}") is not None


def _touches(instruction: Instruction) -> bool:
    return instruction.mnemonic in ("or", "xor", "mov", "test") and _TOUCH.search(instruction.operands) is not None


def _grows_by_register(listing: list[Instruction]) -> bool:
    """Whether a size made at run time is taken from the stack pointer: in place (GCC), or in a copy that becomes the
    stack pointer (clang).
    """
    copies: set[str] = set()
    lowered: set[str] = set()
    for i in listing:
        first, _, source = i.operands.partition(", ")
        target = register_of(first)
        if not target or i.mnemonic in ("cmp", "test", "push"):
            continue
        register = register_of(source)
        if target == "rsp":
            if (i.mnemonic == "sub" and register) or (i.mnemonic == "mov" and register in lowered):
                return True
        elif i.mnemonic == "mov" and register:
            for held, known in ((copies, "rsp"), (lowered, "")):
                held.discard(target)
                if register == known or register in held:
                    held.add(target)
        elif i.mnemonic in ("sub", "add") and (target in copies or register in copies):  # add: of what was negated
            if not _NUMBER.match(source):
                lowered.add(target)
        elif i.mnemonic != "and":
            copies.discard(target)
            lowered.discard(target)
    return False


def _asks_for_address(listing: list[Instruction], index: int, body: Body, name_of: NameOf) -> bool:
    """Whether a call only fetches the program counter, as PIC of i386 does; the GOT's distance is added to it then."""
    if callee_of(listing[index], body, name_of).startswith("__x86.get_pc_thunk"):
        return True
    return any(_ADDS_GOT.match(f"{i.mnemonic} {i.operands}") for i in listing[index + 1 : index + 5])


def _passes_structure(listing: list[Instruction], index: int, size: int, body: Body, name_of: NameOf) -> bool:
    """Whether what was allocated may be, or begin with, arguments of the next call. GCC allocates them together with
    the rest of the frame, so a canary at the other end tells nothing.
    """
    copies = False  # thousands of bytes, by a function whose name is not known
    for place, instruction in enumerate(listing[index:], index):
        if instruction.mnemonic == "call":
            if _asks_for_address(listing, place, body, name_of):
                continue
            callee = callee_of(instruction, body, name_of)
            return callee in _COPIES or (copies and not callee)
        if "movs" in instruction.mnemonic and instruction.mnemonic.startswith("rep"):
            return True
        copies |= _LARGE_NUMBER.match(f"{instruction.mnemonic} {instruction.operands}") is not None
        memory = memory_in(instruction.operands.split(", ")[0])
        on_top = memory is not None and memory.base == "rsp" and (memory.scaled or memory.displacement < 8)
        if on_top and memory is not None and (memory.scaled or size < _NEAR_PAGE):
            return True
        if instruction.mnemonic == "push" and size < _NEAR_PAGE:
            return True
    return False
