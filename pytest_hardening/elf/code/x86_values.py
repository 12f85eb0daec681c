"""How the size argument of a fortified call is made: by a constant, or by something computed at run time.

Only "computed" proves _FORTIFY_SOURCE=3, so it is said only where the value certainly depends on memory, a parameter or
a call's result. A constant kept in a register over calls, spilled, or compared with a variable is none of these.

Below level 3, GCC computes one, too: where it knows the length of what a text is appended to, it turns
__strcat_chk(d, s, 64) into __strcpy_chk(d + n, s, 64 - n), and that into __memcpy_chk where it knows the length of `s`
(tree-ssa-strlen.cc, handle_builtin_strcat). So for these a value proves it only if no arithmetic was done on it.
"""

from __future__ import annotations

import re

from .x86_text import Instruction, memory_in, register_of

__all__ = ["Budget", "SizeArguments"]

_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_KEPT_64 = frozenset(("rbx", "rbp", "r12", "r13", "r14", "r15"))
_KEPT_32 = frozenset(("rbx", "rbp", "rsi", "rdi"))
_NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|\d+)$")
_JUMPS = re.compile(r"j\w+|loop\w*|ret")
_READS_ONLY = frozenset("cmp test push call jmp bt nop endbr64 endbr32 prefetcht0".split())
_ARITHMETIC = frozenset("add sub imul and or shl sal shr sar".split())
_IMPLICIT = frozenset("cdq cqo mul div idiv cpuid rdtsc xgetbv syscall cmpxchg cmpxchg16b xchg xadd sbb".split())
_WIDE_OFFSET = frozenset(("__pread64_chk",))  # an off_t of 64 bits takes two places on i386
_APPENDS = frozenset(f"__{name}_chk" for name in "strcpy stpcpy strcat memcpy mempcpy memmove".split())
_DEEPEST = 8


class Budget:
    """How many more instructions may be looked at on the way back from calls; one for a whole file."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self) -> bool:
        """Take one; whether there was one."""
        self._left -= 1
        return self._left >= 0


class SizeArguments:
    """The size arguments of one function's calls.

    Parameters
    ----------
    listing: the instructions of the calling function.
    budget: what following values back may cost.
    """

    def __init__(self, listing: list[Instruction], budget: Budget, *, long: bool) -> None:
        self._places = {i.address: place for place, i in enumerate(listing)}
        self._values = _Values(listing, budget, long=long)
        self._long = long

    def at(self, call: int, index: int, name: str) -> str:
        """ "constant" or "computed"; empty where it cannot be told.

        Parameters
        ----------
        call: the address of the call.
        index: of the argument.
        name: of the callee.
        """
        place = self._places.get(call)
        if place is None or (self._long and index >= len(_ARGUMENTS)):
            return ""
        if self._long:
            kind = self._values.register(_ARGUMENTS[index], place, 0)
        else:
            kind = self._values.slot(4 * (index + (name in _WIDE_OFFSET)), place)
        if kind == "d" and name in _APPENDS:
            return ""
        return {"c": "constant", "v": "computed", "d": "computed"}.get(kind, "")

    def operand(self, call: int, index: int) -> tuple[int, str] | None:
        """On i386: the place of the instruction that stores an argument, and what it stores."""
        place = self._places.get(call)
        return None if place is None or self._long else self._values.stored(4 * index, place)

    def register(self, name: str, place: int) -> str:
        """The same of a register in front of the instruction at a place in the listing."""
        return {"c": "constant", "v": "computed", "d": "computed"}.get(self._values.register(name, place, 0), "")


class _Values:
    """Follows values back. Kinds: "c" a constant, "v" a value of run time, "d" derived from one, "?" not known."""

    def __init__(self, listing: list[Instruction], budget: Budget, *, long: bool) -> None:
        self._listing = listing
        self._budget = budget
        self._long = long
        self._kept = _KEPT_64 if long else _KEPT_32
        self._anywhere_known: dict[str, str] = {}
        self._labels = {
            int(i.operands, 16) for i in listing if _JUMPS.match(i.mnemonic) and i.operands.startswith("0x")
        }
        # a register compared with a constant may stand for that constant afterwards
        self._compared = {
            register_of(i.operands.split(", ")[0])
            for i in listing
            if i.mnemonic == "cmp" and _NUMBER.match(i.operands.split(", ")[-1])
        }

    def register(self, register: str, place: int, depth: int) -> str:
        """What a register holds in front of the instruction at a place in the listing."""
        if depth > _DEEPEST:
            return "?"
        straight = True
        while place > 0:
            if not self._budget.spend():
                return "?"
            if self._listing[place].address in self._labels:
                straight = False
            place -= 1
            i = self._listing[place]
            if not straight or i.mnemonic in ("jmp", "ret", "hlt", "ud2") or i.mnemonic.startswith("notrack"):
                return self._anywhere(register) if register in self._kept else "?"
            if i.mnemonic == "call":
                if register == "rax":
                    return "v"
                if register not in self._kept:
                    return "?"
            elif self._writes(i, register):
                return self._written(i, register, place, depth)
        passed = self._long and register in _ARGUMENTS and self._listing[0].address not in self._labels
        return "v" if passed else "?"

    def _writes(self, i: Instruction, register: str) -> bool:
        if i.mnemonic in _IMPLICIT or i.mnemonic.startswith("rep"):
            return True
        return i.mnemonic not in _READS_ONLY and register_of(i.operands.split(", ")[0]) == register

    def _anywhere(self, register: str) -> str:
        """What a preserved register can hold at all: the kind that all instructions agree on that write it."""
        known = self._anywhere_known.get(register)
        if known is None:
            self._anywhere_known[register] = "?"  # for those that it is copied to and from
            known = self._anywhere_known[register] = self._agreed(register)
        return known

    def _agreed(self, register: str) -> str:
        kinds = set()
        for place, i in enumerate(self._listing):
            if not self._budget.spend():
                return "?"
            if i.mnemonic == "pop" or not self._writes(i, register):
                continue
            kinds.add(self._written(i, register, place, 2))
            if len(kinds) > 1 or "?" in kinds:
                return "?"
        return kinds.pop() if kinds else "?"

    def _written(self, i: Instruction, register: str, place: int, depth: int) -> str:
        operands = i.operands.split(", ")
        source = operands[-1]
        if len(operands) == 2 and register_of(operands[0]) == register:
            if i.mnemonic in ("mov", "movabs", "movzx", "movsx", "movsxd"):
                return self._source(source, place, depth)
            if (i.mnemonic == "xor" and operands[0] == source) or (i.mnemonic == "or" and int_of(source) == -1):
                return "c"
            if i.mnemonic == "lea":
                return self._address(source, place, depth)
            if i.mnemonic in _ARITHMETIC:
                return _join(self.register(register, place, depth + 1), self._source(source, place, depth))
        if i.mnemonic == "pop" and place > 0 and self._listing[place - 1].mnemonic == "push":
            return "c" if _NUMBER.match(self._listing[place - 1].operands) else "?"
        return "?"

    def _source(self, text: str, place: int, depth: int) -> str:
        if _NUMBER.match(text):
            return "c"
        register = register_of(text)
        if register:
            kind = self.register(register, place, depth + 1)
            return "?" if kind in "vd" and register in self._compared else kind
        memory = memory_in(text)
        # the frame may hold a constant that was spilled, and what is named by its address may be a constant, too
        if memory is None or memory.segment or memory.base in ("rsp", "rbp", "rip", ""):
            return "?"
        return "v"

    def _address(self, text: str, place: int, depth: int) -> str:
        memory = memory_in(text)
        if memory is None:
            return "?"
        kinds = [self.register(name, place, depth + 1) for name in (memory.base, memory.scaled) if name]
        if "rip" in (memory.base, memory.scaled) or not kinds or "rsp" in (memory.base, memory.scaled):
            return "?"
        return _join(kinds[0], kinds[-1])

    def slot(self, offset: int, place: int) -> str:
        """What lies at an offset from the stack pointer in front of an instruction; i386 passes arguments there."""
        found = self.stored(offset, place)
        return "?" if found is None else self._source(found[1], found[0], 0)

    def stored(self, offset: int, place: int) -> tuple[int, str] | None:
        """The place of the instruction that stores there, and the operand that it stores; None where none is found."""
        while place > 0:
            if not self._budget.spend() or self._listing[place].address in self._labels:
                return None
            place -= 1
            i = self._listing[place]
            operands = i.operands.split(", ")
            if i.mnemonic == "call" or _JUMPS.match(i.mnemonic) or offset < 0:
                return None
            if i.mnemonic == "push":
                if offset == 0:
                    return place, operands[0]
                offset -= 4
            elif i.mnemonic == "pop":
                offset += 4
            elif register_of(operands[0]) == "rsp":
                if i.mnemonic not in ("sub", "add") or not _NUMBER.match(operands[1]):
                    return None
                offset += int(operands[1], 0) if i.mnemonic == "add" else -int(operands[1], 0)
            elif i.mnemonic == "mov" and "[" in operands[0]:
                memory = memory_in(operands[0])
                if memory is not None and (memory.base, memory.scaled, memory.displacement) == ("rsp", "", offset):
                    return place, operands[1]
        return None


def int_of(text: str) -> int | None:
    """A signed number in an operand; None where it is none."""
    if not _NUMBER.match(text):
        return None
    number = int(text, 0)
    return -1 if number in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF) else number


def _join(one: str, other: str) -> str:
    if one in "vd" or other in "vd":
        return "d"
    return "c" if one == other == "c" else "?"
