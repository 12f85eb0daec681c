"""What the arguments of a plain call tell about FORTIFY on i386, where they lie on the stack.

Only what stands in one line in front of the call is followed. That is enough: a format that some way gives to the call
is one that the compiler could not turn the checked call back for. Position-independent code finds constants by the
distance from its global offset table, whose address it makes of the program counter.
"""

from __future__ import annotations

import re

from .constants import Texts
from .plain_calls import Shape
from .x86_text import Instruction, memory_in, register_of
from .x86_values import SizeArguments

__all__ = ["StackArguments"]

_NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|\d+)$")
_READS_ONLY = frozenset("cmp test push call jmp bt nop endbr32 ret leave".split())
_JUMPS = re.compile(r"j\w+|loop\w*|ret|call")
_THUNK = re.compile(rb"\x8b[\x04\x0c\x14\x1c\x2c\x34\x3c]\x24\xc3", re.DOTALL)  # mov (%esp),%ebx; ret


class StackArguments:
    """The arguments of one function's calls.

    Parameters
    ----------
    listing: its instructions.
    sizes: which finds arguments.
    texts: constants.
    """

    def __init__(self, listing: list[Instruction], sizes: SizeArguments, texts: Texts) -> None:
        self._listing = listing
        self._sizes = sizes
        self._texts = texts
        self._tables = dict(self._find_tables())

    def plain_call(self, call: int, shape: Shape, name: str) -> str:
        """ "replaced", "left" or "", as in `plain_arguments.plain_call`."""
        if shape.form >= 0:
            text = self._text(call, shape.form)
            if text is None or b"%" not in text or text == b"%s":
                return ""
            return "replaced"
        constant = bool(shape.sizes) and all(self._sizes.at(call, n, name) == "constant" for n in shape.sizes)
        return "left" if constant else ""

    def _text(self, call: int, index: int) -> bytes | None:
        found = self._sizes.operand(call, index)
        address = self._address(*found) if found is not None else None
        return self._texts.at(address) if address is not None else None

    def _address(self, place: int, operand: str) -> int | None:
        """The constant address that an operand is, in front of the instruction at a place."""
        if _NUMBER.match(operand):
            return int(operand, 0) & 0xFFFFFFFF
        register = register_of(operand)
        while register and place > 0:
            place -= 1
            i = self._listing[place]
            if _JUMPS.match(i.mnemonic):
                return None
            operands = i.operands.split(", ")
            if i.mnemonic in _READS_ONLY or register_of(operands[0]) != register:
                continue
            if i.mnemonic == "mov" and _NUMBER.match(operands[1]):
                return int(operands[1], 0) & 0xFFFFFFFF
            memory = memory_in(operands[-1]) if i.mnemonic == "lea" else None
            if memory is None or memory.scaled or memory.base not in self._tables:
                return None
            return (self._tables[memory.base] + memory.displacement) & 0xFFFFFFFF
        return None

    def _find_tables(self) -> list[tuple[str, int]]:
        """Registers that hold the address of the global offset table from some place on: call thunk; add ebx, n."""
        writes = [
            register_of(i.operands.split(", ")[0])
            for i in self._listing
            if i.mnemonic not in _READS_ONLY and i.mnemonic != "pop"
        ]
        found = []
        for former, i in zip(self._listing, self._listing[1:], strict=False):
            operands = i.operands.split(", ")
            register = register_of(operands[0])
            if i.mnemonic != "add" or former.mnemonic != "call" or not _NUMBER.match(operands[-1]):
                continue
            thunk = self._texts.at(int(former.operands, 16)) if former.operands.startswith("0x") else None
            if thunk and _THUNK.match(thunk) and writes.count(register) == 1:
                found.append((register, i.address + int(operands[1], 0)))
        return found
