"""What in a function of x86-64 or i386 proves that it needs a canary.

-fstack-protector-strong protects functions with local arrays, or whose locals have their address taken. Not everything
whose address is taken is such a local, and these are left out (verified with GCC 12 and clang 14):

- parameters: GCC protects no function for the address of one. A register parameter is spilled to the frame, and what is
  stored first may be a new value. So a small object (up to 16 bytes travel in registers) counts only where nothing is
  stored to it, and no object counts that an argument register is stored to;
- what the compiler does with addresses on its own account: clearing and copying (`rep stos`, memset() or memcpy() of a
  constant size), arguments on the stack, sincos() and other helpers with temporaries, vectors indexed through a copy;
- clang places no canary in functions that never return;
- registers that hold an address from earlier use: an argument must be set behind the last call or label, with all
  arguments in front of it, and the address must not have been used for anything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .pointer_arguments import BLOCKS, OBJECTS, TEXTS, base_name

__all__ = ["Seen", "Taken", "overlaps", "proof"]

_PARAMETER = 16  # bytes of the largest structure that travels in registers (psABI, "Parameter Passing")
_LARGE = 48  # a parameter and what alignment may leave free beside it
_VECTOR = 64  # bytes of the largest vector

# besides those of `OBJECTS`: they write a single small object, which counts only where nothing is stored to it
_RESULTS = {
    "clock_gettime": 1, "gettimeofday": 0, "strtod": 1, "strtof": 1, "strtol": 1, "strtold": 1, "strtoll": 1,
    "strtoul": 1, "strtoull": 1, "time": 0, "wait": 0, "waitpid": 1,
}  # fmt: skip


@dataclass
class Taken:
    """An address that a call is given: its offset, the callee's name, the argument's index, and whether the third
    argument is a constant.
    """

    offset: int | None
    callee: str
    index: int
    sized: bool


@dataclass
class Seen:
    """What one pass saw.

    Parameters
    ----------
    taken: addresses given to calls. indexed: offsets that an index was added to. references: every offset in use.
    stores: offset and bytes of what was stored at constant offsets; parameters: those whose value may be an argument's.
    vectors: stores of vectors. long: 64-bit code. top: locals lie below this offset. returns, calls: whether it does.
    loose: an address was taken for another purpose. by_hand: it begins as no compiler begins a function, so what it
    does is doubtful and proves nothing of the flags.
    """

    taken: list[Taken] = field(default_factory=list)
    indexed: list[int] = field(default_factory=list)
    references: set[int] = field(default_factory=set)
    stores: list[tuple[int, int]] = field(default_factory=list)
    parameters: list[tuple[int, int]] = field(default_factory=list)
    vectors: list[tuple[int, int]] = field(default_factory=list)
    long: bool = True
    top: int = 0
    returns: bool = False
    calls: bool = False
    loose: bool = False
    by_hand: bool = False


def proof(seen: Seen) -> str:
    if not seen.returns or seen.by_hand:
        return ""
    for taken in seen.taken:
        if _is_local(taken, seen):
            callee = f"{taken.callee}()" if taken.callee else "another function"
            what = "the address of a local" if taken.offset is not None else "memory from alloca()"
            return f"passes {what} to {callee}"
    if seen.calls and any(_is_array(offset, seen) for offset in seen.indexed):
        return "indexes an array on its stack"
    return ""


def _is_local(taken: Taken, seen: Seen) -> bool:
    name = base_name(taken.callee)
    if name in BLOCKS:
        return not taken.sized and taken.index in BLOCKS[name][:-1] and _room(taken.offset, seen) >= _LARGE
    if _is_helper(taken.callee) or (not taken.callee and taken.sized):
        return False
    if taken.offset is not None and overlaps(taken.offset, 1, seen.parameters):
        return False
    if _room(taken.offset, seen) >= _LARGE:
        return True
    known = taken.index in (*TEXTS.get(name, ()), *OBJECTS.get(name, ())) or taken.index == _RESULTS.get(name)
    return known and taken.offset is not None and not overlaps(taken.offset, _PARAMETER, seen.stores)


def _is_helper(name: str) -> bool:
    """Whether compilers call it with temporaries of their own, or it is a library's inner function."""
    if name.startswith("__isoc") or (name.startswith("__") and name.endswith("_chk")):
        return False
    return name.startswith(("__", "_Unwind", "sincos", "_dl_", "_mcount"))


def _room(offset: int | None, seen: Seen) -> int:
    """Bytes from a local to the next thing in the frame that the code refers to."""
    if offset is None:
        return 1 << 30
    return min((other for other in seen.references if other > offset), default=seen.top) - offset


def _is_array(offset: int, seen: Seen) -> bool:
    """Whether what is indexed is neither a parameter's copy nor a vector's. The offset may lie an element or two beside
    the array's start: compilers fold a constant part of the index into it.
    """
    if offset >= seen.top or overlaps(offset, _PARAMETER, seen.parameters):
        return False
    if not seen.long and all(overlaps(offset + 4 * word, 1, seen.stores) for word in (0, 1)):
        return False  # without SSE, a vector is stored word by word
    vectors = [(start, size) for start, size in seen.vectors if abs(start - offset) <= 4 * _VECTOR]
    return not vectors or sum(size for _, size in set(vectors)) > 6 * _VECTOR


def overlaps(offset: int, size: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(start < offset + size and offset < start + length for start, length in ranges)
