"""Instructions of x86 as capstone writes them, with what the rules need taken out of the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, NamedTuple

from .architecture import Body

__all__ = ["Instruction", "Memory", "disassembler", "instructions", "memory_in", "register_of"]


class Memory(NamedTuple):
    """A memory operand: base and scaled index by their 64-bit names, empty where there is none; bytes, 0 if not told;
    what the index is multiplied by.
    """

    base: str
    scaled: str
    displacement: int
    size: int
    segment: str
    scale: int


class Instruction(NamedTuple):
    """One instruction in Intel's syntax."""

    address: int
    size: int
    mnemonic: str
    operands: str

    @property
    def grows_stack_by(self) -> int:
        """How many bytes a constant moves the stack pointer down; 0 for everything else."""
        match = _MOVES_STACK.fullmatch(f"{self.mnemonic} {self.operands}")
        if match is None:
            return 0
        kind, number = match[1] or "lea", int(match[2] or match[4], 16)
        if number >= 1 << 31:
            number -= 1 << (32 if number < 1 << 32 else 64)
        if kind == "sub":
            return number
        if kind == "add":
            return -number
        return number if match[3] == "-" else -number


_MOVES_STACK = re.compile(r"(sub|add) [re]sp, (-?(?:0x)?[0-9a-f]+)|lea [re]sp, \[[re]sp ([+-]) ((?:0x)?[0-9a-f]+)\]")
_MEMORY = re.compile(r"(?:(\w+) ptr )?(?:(\w\w):)?\[([^\]]+)\]")
_SIZES = {
    "byte": 1, "word": 2, "dword": 4, "fword": 6, "qword": 8, "xword": 10, "xmmword": 16, "ymmword": 32, "zmmword": 64,
}  # fmt: skip
_LETTERS = {
    **{f"{prefix}{letter}x": f"r{letter}x" for letter in "abcd" for prefix in ("", "e", "r")},
    **{f"{letter}{half}": f"r{letter}x" for letter in "abcd" for half in "lh"},
    **{f"{prefix}{name}": f"r{name}" for name in ("si", "di", "sp", "bp") for prefix in ("", "e", "r")},
    **{f"{name}l": f"r{name}" for name in ("si", "di", "sp", "bp")},
    **{f"r{number}{suffix}": f"r{number}" for number in range(8, 16) for suffix in ("", "d", "w", "b")},
    **{f"{letter}mm{number}": f"xmm{number}" for number in range(32) for letter in "xyz"},
    "rip": "rip",
    "eip": "rip",
}


def register_of(text: str) -> str:
    """The 64-bit name of the register that an operand is; empty where it is none."""
    return _LETTERS.get(text, "")


@lru_cache(maxsize=8192)
def memory_in(text: str) -> Memory | None:
    """The memory operand in the text of one operand."""
    match = _MEMORY.search(text)
    if match is None:
        return None
    base = index = ""
    displacement = 0
    sign = scale = 1
    for word in match[3].split():
        if word in "+-":
            sign = 1 if word == "+" else -1
        elif "*" in word:
            name, _, number = word.partition("*")
            index, scale = register_of(name) or name, int(number)
        elif word[0].isdigit():
            displacement += sign * int(word, 0)
        elif not base:
            base = register_of(word) or word
        else:
            index = register_of(word) or word
    if index == "rsp" and scale == 1:
        base, index = index, base
    return Memory(base, index, displacement, _SIZES.get(match[1] or "", 0), match[2] or "", scale)


@cache
def disassembler(*, long: bool) -> Any:
    """Capstone for 64-bit or 32-bit code; loaded at the first function that is disassembled."""
    return _Lazy(long=long)


class _Lazy:
    def __init__(self, *, long: bool) -> None:
        self._long = long
        self._capstone: Any = None

    def __call__(self) -> Any:
        if self._capstone is None:
            import capstone

            mode = capstone.CS_MODE_64 if self._long else capstone.CS_MODE_32
            self._capstone = capstone.Cs(capstone.CS_ARCH_X86, mode)
            self._capstone.skipdata = True  # data in code is passed over, byte by byte
        return self._capstone


def instructions(disassembler: Any, body: Body, *, long: bool) -> Iterator[Instruction]:
    """The instructions of a function."""
    return map(Instruction._make, disassembler().disasm_lite(body.data, body.address))
