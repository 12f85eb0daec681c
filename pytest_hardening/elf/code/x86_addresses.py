"""Where a function of x86-64 or i386 holds addresses in its stack frame, instruction by instruction.

Offsets are counted from the return address: below zero is the function's own frame, above it are arguments on the
stack. What becomes of an address and is not understood sets `Seen.loose`: it is no proof, but nothing harmless either.
"""

from __future__ import annotations

import re

from .x86_proof import Seen, overlaps
from .x86_text import Memory, memory_in, register_of

__all__ = ["ARGUMENTS", "NUMBER", "READS_ONLY", "Address", "Addresses"]

ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_VECTOR_ARGUMENTS = tuple(f"xmm{number}" for number in range(8))
# they write their first operand only in part, or not at all
READS_ONLY = frozenset(
    "cmp test push call jmp bt nop endbr64 endbr32 prefetcht0 ucomiss ucomisd comiss comisd ptest vptest".split()
)
NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|\d+)$")
_KEEPS_ARGUMENT = frozenset(
    "add sub and or xor shl shr sar sal inc dec neg not movzx movsx movsxd cvtsd2ss cvtss2sd cvttsd2si bswap".split()
)
_IMPLICIT = {
    "cdq": ("rdx",), "cqo": ("rdx",), "mul": ("rax", "rdx"), "div": ("rax", "rdx"), "idiv": ("rax", "rdx"),
    "cpuid": ("rax", "rbx", "rcx", "rdx"), "rdtsc": ("rax", "rdx"), "rdtscp": ("rax", "rcx", "rdx"),
    "xgetbv": ("rax", "rdx"), "syscall": ("rax", "rcx", "r11"), "int": ("rax",), "cdqe": ("rax",), "cwde": ("rax",),
    "cbw": ("rax",), "cmpxchg": ("rax",), "cmpxchg16b": ("rax", "rdx"), "cmpxchg8b": ("rax", "rdx"), "lahf": ("rax",),
}  # fmt: skip
# what the kernel is given: psABI, "Linux Conventions", and its relative for i386
_KERNEL = {"syscall": ("rdi", "rsi", "rdx", "r10", "r8", "r9"), "int": ("rbx", "rcx", "rdx", "rsi", "rdi", "rbp")}
_STRING = re.compile(r"(?:rep\w* )?(stos|lods|movs|cmps|scas)[bwdq]?$")
_CHANGES = frozenset(("inc", "dec", "or", "xor", "neg", "not", "shl", "shr", "sar", "adc", "sbb"))


class Address:
    """An address in the frame that registers hold.

    Parameters
    ----------
    offset: from the return address; None in memory that alloca() gave, and where the depth of the stack is not known.
    sure: false where it is told only by a path that may never be taken, and where the depth is not known.
    used: it was read or written through, so the register may hold it for that alone.
    """

    __slots__ = ("offset", "sure", "used")

    def __init__(self, offset: int | None, *, sure: bool = True, used: bool = False) -> None:
        self.offset = offset
        self.sure = sure
        self.used = used


class Addresses:
    """What registers and the top of the stack hold.

    Parameters
    ----------
    saved: the registers that calls preserve.
    long: 64-bit code.
    """

    def __init__(self, saved: frozenset[str], *, long: bool) -> None:
        self._saved = saved
        self._long = long
        self._word = 8 if long else 4
        self.start()

    def start(self) -> None:
        """What holds at the function's first instruction."""
        self.seen = Seen(long=self._long)
        self.depth: int | None = 0
        self.pointer: int | None = None
        self.dynamic = False
        self.addresses: dict[str, Address] = {}
        self.valid = set(ARGUMENTS)
        self.constants: set[str] = set()
        self.slots: dict[int, Address | None] = {}
        self.given = set(ARGUMENTS + _VECTOR_ARGUMENTS) if self._long else set()

    def offset_of(self, memory: Memory) -> int | None:
        """Where in the frame a memory operand lies, without its index; None where it is elsewhere or not known."""
        if memory.segment or not memory.base:
            return None
        if memory.base == "rsp":
            base = self.depth
        elif memory.base == "rbp" and self.pointer is not None:
            base = self.pointer
        else:
            address = self.addresses.get(memory.base)
            base = address.offset if address is not None else None
        return base + memory.displacement if base is not None else None

    def is_local(self, address: Address | None) -> bool:
        """Whether it is an address of the function's own frame."""
        if address is None:
            return False
        if address.offset is None:
            return True
        return address.offset < self.seen.top and (self.depth is None or address.offset >= self.depth)

    def holds_own(self, register: str) -> bool:
        """Whether a register holds an address of the function's own frame, or of what lies below it: leaf functions of
        x86-64 keep locals there.
        """
        address = self.addresses.get(register)
        return address is not None and (address.offset is None or address.offset < self.seen.top)

    def stack_address(self, offset: int | None) -> Address:
        """What the stack pointer, or an offset from it, is as an address."""
        return Address(offset, sure=offset is not None or self.dynamic)

    def use(self, operand: str) -> None:
        """Note a memory operand that is read or written."""
        if "[" not in operand:
            return
        memory = memory_in(operand)
        if memory is None:
            return
        for register in (memory.base, memory.scaled):
            if register in self.addresses:
                self.addresses[register].used = True
        offset = self.offset_of(memory)
        if memory.scaled and self._is_own(memory, offset):
            if offset is not None and memory.size == memory.scale:
                self.seen.indexed.append(offset)
            else:
                self.seen.loose = True
        if offset is not None and offset < 0:
            self.seen.references.add(offset)

    def _is_own(self, memory: Memory, offset: int | None) -> bool:
        """Whether an operand with an index lies in the own frame, or may lie there."""
        if memory.segment:
            return False
        if offset is not None:
            return offset < 0
        return memory.base == "rsp" or self.holds_own(memory.base) or self.holds_own(memory.scaled)

    def write(self, register: str, address: Address | None = None) -> None:
        """Note that a register holds something new."""
        self.constants.discard(register)
        if address is None:
            self.addresses.pop(register, None)
        else:
            self.addresses[register] = address
        self.valid.add(register)

    def other(self, mnemonic: str, operands: list[str]) -> None:
        """Follow an instruction that is neither about the stack pointer nor a call or jump."""
        string = _STRING.match(mnemonic)
        if string and not operands[0].startswith("xmm"):
            self._string()
            return
        self.seen.loose |= any(map(self.holds_own, _KERNEL.get(mnemonic, ())))
        for register in _IMPLICIT.get(mnemonic, ()):
            self.write(register)
            self.given.discard(register)
        if mnemonic == "lea":
            self._lea(register_of(operands[0]), operands[1])
            return
        for operand in operands:
            self.use(operand)
        if not operands or mnemonic in READS_ONLY:
            return
        first = register_of(operands[0])
        if not first:
            if "[" in operands[0]:
                self._store(mnemonic, operands)
            return
        self._assign(mnemonic, first, operands)

    def _assign(self, mnemonic: str, first: str, operands: list[str]) -> None:
        source = operands[1] if len(operands) > 1 else ""
        register = register_of(source)
        address = self._computed(mnemonic, first, source)
        given = self._is_given(mnemonic, first, source)
        if mnemonic == "xchg" and register:
            self.write(register)
            self.given.discard(register)
        self.write(first, address)
        if given:
            self.given.add(first)
        else:
            self.given.discard(first)
        if (mnemonic == "mov" and NUMBER.match(source)) or (mnemonic == "xor" and source == operands[0]):
            self.constants.add(first)

    def _computed(self, mnemonic: str, first: str, source: str) -> Address | None:
        """The address that an instruction makes of its operands."""
        register = register_of(source)
        if mnemonic == "mov":
            return self._copied(register)
        held = self.addresses.get(first)
        if held is not None and mnemonic in ("add", "sub", "and") and NUMBER.match(source):
            self.seen.loose |= mnemonic != "and" and self.holds_own(first)  # a constant offset is part of a lea
            number = {"add": int(source, 0), "sub": -int(source, 0), "and": 0}[mnemonic]
            offset = held.offset + number if held.offset is not None and abs(number) < 1 << 30 else None
            return Address(offset, sure=held.sure, used=held.used)
        if mnemonic.startswith("cmov"):
            either = held or self.addresses.get(register)
            return Address(either.offset, sure=False, used=either.used) if either is not None else None
        if mnemonic == "add" and (register == "rsp" or (register == "rbp" and self.pointer is not None)):
            self.seen.loose = True  # an index in the frame
            return None
        if mnemonic == "sub":  # what becomes the stack pointer, or the distance of two addresses
            return Address(None, sure=False) if held is not None and held.offset == self.depth else None
        if first == register and mnemonic in ("xor", "xchg"):
            return None
        if self.holds_own(register) or (self.holds_own(first) and mnemonic in (*_CHANGES, "add", "xchg", "xadd")):
            self.seen.loose = True
        return None

    def _copied(self, register: str) -> Address | None:
        if register == "rsp":
            return self.stack_address(self.depth)
        if register == "rbp" and self.pointer is not None:
            return Address(self.pointer)
        address = self.addresses.get(register)
        if address is not None and register in self._saved:  # which keeps it for other uses, too
            return Address(address.offset, sure=address.sure)
        return address

    def _is_given(self, mnemonic: str, first: str, source: str) -> bool:
        """Whether a register then holds an argument of the function, or something made of one."""
        if mnemonic in _KEEPS_ARGUMENT and (NUMBER.match(source) or not source):
            return first in self.given
        if "[" in source:
            memory = memory_in(source)
            offset = self.offset_of(memory) if memory is not None and not memory.scaled else None
            return offset is not None and offset > 0
        return register_of(source) in self.given

    def _lea(self, target: str, source: str) -> None:
        memory = memory_in(source)
        if memory is None or not target:
            return
        offset = self.offset_of(memory)
        held = self.addresses.get(memory.base)
        if memory.scaled:
            self.seen.loose |= self._is_own(memory, offset)
            self.write(target)
        elif offset is not None:
            self.seen.loose |= memory.base == target and self.holds_own(target)  # a step through an array
            self.write(target, Address(offset, sure=held is None or held.sure, used=held is not None and held.used))
            if offset < 0:
                self.seen.references.add(offset)
        elif held is not None:
            self.write(target, Address(None, sure=held.sure, used=held.used))
        elif memory.base == "rsp":
            self.write(target, self.stack_address(None))
        else:
            self.write(target)
        if memory.base not in self.given and memory.scaled not in self.given:
            self.given.discard(target)
        else:
            self.given.add(target)

    def _store(self, mnemonic: str, operands: list[str]) -> None:
        memory = memory_in(operands[0])
        if memory is None:
            return
        offset = self.offset_of(memory)
        source = operands[1] if len(operands) > 1 else ""
        register = register_of(source)
        self.seen.loose |= self.holds_own(register)
        if offset is None or memory.scaled:
            return
        if memory.base == "rsp":
            self.slots[offset] = self.addresses.get(register)
        if offset >= 0:
            return
        size = memory.size or self._word
        self.seen.stores.append((offset, size))
        if register in self.given or (mnemonic in _KEEPS_ARGUMENT and overlaps(offset, size, self.seen.parameters)):
            self.seen.parameters.append((offset, size))
        if register.startswith("xmm") or size >= 16:
            self.seen.vectors.append((offset, size))

    def _string(self) -> None:
        for register in ("rdi", "rsi"):
            address = self.addresses.get(register)
            if address is not None:
                address.used = True
                if address.offset is not None and address.offset < 0:
                    self.seen.references.add(address.offset)
        for register in ("rdi", "rsi", "rcx", "rax"):
            self.addresses.pop(register, None)
            self.constants.discard(register)
            self.valid.discard(register)
            self.given.discard(register)
