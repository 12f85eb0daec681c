"""What a function of x86-64 or i386 does with addresses in its stack frame, from its instructions.

The stack pointer is followed from the first instruction to the last; code that only jumps from below reach is looked
at with what the first pass told of it. Offsets are counted from the return address: below zero is the function's own
frame, above it are arguments on the stack. What it comes to is judged in `x86_proof`.
"""

from __future__ import annotations

import re

from .architecture import Body, NameOf
from .x86_proof import Seen, Taken, overlaps, proof
from .x86_text import Instruction, Memory, memory_in, register_of

__all__ = ["callee_of", "frame_of"]

_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_VECTOR_ARGUMENTS = tuple(f"xmm{number}" for number in range(8))
_CALLEE_SAVED = frozenset(("rbx", "rbp", "r12", "r13", "r14", "r15"))
_CALLEE_SAVED_32 = frozenset(("rbx", "rbp", "rsi", "rdi"))
# they write their first operand only in part, or not at all
_READS_ONLY = frozenset(
    "cmp test push call jmp bt nop endbr64 endbr32 prefetcht0 ucomiss ucomisd comiss comisd ptest vptest".split()
)
_KEEPS_ARGUMENT = frozenset(
    "add sub and or xor shl shr sar sal inc dec neg not movzx movsx movsxd cvtsd2ss cvtss2sd cvttsd2si bswap".split()
)
_IMPLICIT = {
    "cdq": ("rdx",), "cqo": ("rdx",), "mul": ("rax", "rdx"), "div": ("rax", "rdx"), "idiv": ("rax", "rdx"),
    "cpuid": ("rax", "rbx", "rcx", "rdx"), "rdtsc": ("rax", "rdx"), "rdtscp": ("rax", "rcx", "rdx"),
    "xgetbv": ("rax", "rdx"), "syscall": ("rax", "rcx", "r11"), "int": ("rax",), "cdqe": ("rax",), "cwde": ("rax",),
    "cbw": ("rax",), "cmpxchg": ("rax",), "cmpxchg16b": ("rax", "rdx"), "cmpxchg8b": ("rax", "rdx"), "lahf": ("rax",),
}  # fmt: skip
_STRING = re.compile(r"(?:rep\w* )?(stos|lods|movs|cmps|scas)[bwdq]?$")
_JUMPS = re.compile(r"j\w+|loop\w*")
_NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|\d+)$")


class _Address:
    """An address in the frame that registers hold.

    Parameters
    ----------
    offset: from the return address; None in memory that alloca() gave.
    used: it was read or written through, so the register may hold it for that alone.
    """

    __slots__ = ("offset", "used")

    def __init__(self, offset: int | None) -> None:
        self.offset = offset
        self.used = False


def frame_of(listing: list[Instruction], body: Body, name_of: NameOf, *, long: bool) -> tuple[str, bool, bool]:
    """Why a function needs a canary, as a phrase; whether it takes an address in its frame for a purpose that is not
    clear; and whether it may return.
    """
    walk = _Walk(listing, body, name_of, long=long)
    seen = walk.run()
    phrase = proof(seen)
    if not phrase and walk.lost:  # blocks that only later code jumps to: now it is known how deep the stack is there
        seen = walk.run()
        phrase = proof(seen)
    return phrase, bool(not phrase and (seen.taken or seen.indexed or seen.loose)), seen.returns


def callee_of(instruction: Instruction, body: Body, name_of: NameOf) -> str:
    """The name of what a call or jump leads to; empty where that is not known."""
    text = instruction.operands
    if body.symbols:
        return body.symbols.get(instruction.address + instruction.size - 4, "")
    if text.startswith("0x"):
        return name_of(int(text, 16))
    memory = memory_in(text)
    if memory is not None and memory.base == "rip" and not memory.scaled:
        return name_of(instruction.address + instruction.size + memory.displacement)
    return ""


class _Walk:
    """One function.

    Attributes
    ----------
    lost: some code was reached without knowing how deep the stack is there.
    """

    def __init__(self, listing: list[Instruction], body: Body, name_of: NameOf, *, long: bool) -> None:
        self._listing = listing
        self._body = body
        self._name_of = name_of
        self._long = long
        self._word = 8 if long else 4
        self._saved = _CALLEE_SAVED if long else _CALLEE_SAVED_32
        self._end = body.address + len(body.data)
        self._targets = {
            int(i.operands, 16) for i in listing if _JUMPS.match(i.mnemonic) and i.operands.startswith("0x")
        }
        self._depths: dict[int, int] = {}
        self._pointer_is_kept = self._frame_pointer_is_kept()
        self._written_once = self._registers_written_once()
        self.lost = False

    def _frame_pointer_is_kept(self) -> bool:
        """Whether rbp, once it is set from the stack pointer, keeps its value up to the end of the function."""
        name = "rbp" if self._long else "ebp"
        writes = [
            i
            for i in self._listing
            if i.operands.startswith(name) and i.mnemonic not in _READS_ONLY and i.mnemonic not in ("pop", "leave")
        ]
        return len(writes) == 1 and (writes[0].mnemonic, writes[0].operands) == ("mov", name + ", " + name[0] + "sp")

    def _registers_written_once(self) -> frozenset[str]:
        """Preserved registers that keep what the function puts into them: no other instruction but pop writes them."""
        writes = [
            register_of(i.operands.split(", ")[0])
            for i in self._listing
            if i.mnemonic not in _READS_ONLY and i.mnemonic != "pop"
        ]
        return frozenset(register for register in self._saved if writes.count(register) == 1)

    def run(self) -> Seen:
        """One pass from the first instruction to the last."""
        self.seen = Seen(long=self._long)
        self.lost = False
        self._depth: int | None = 0
        self._pointer: int | None = None
        self._switch: int | None = None
        self._dynamic = False
        self._addresses: dict[str, _Address] = {}
        self._valid = set(_ARGUMENTS)
        self._constants: set[str] = set()
        self._slots: dict[int, _Address | None] = {}
        self._given = set(_ARGUMENTS + _VECTOR_ARGUMENTS) if self._long else set()
        self._growing = True
        alive = True
        for instruction in self._listing:
            at = instruction.address
            if at in self._targets or not alive:
                self._begin_block()
                if not alive:
                    self._depth = self._depths.get(at, self._switch)
                    self.lost |= self._depth is None
                alive = True
            alive = self._step(instruction)
        return self.seen

    def _begin_block(self) -> None:
        self._addresses = {name: held for name, held in self._addresses.items() if name in self._written_once}
        self._slots.clear()
        self._constants.clear()
        self._valid.clear()

    def _step(self, i: Instruction) -> bool:
        """Follow one instruction; False where the next one is not reached from it."""
        mnemonic = i.mnemonic.removeprefix("bnd ").removeprefix("notrack ").removeprefix("lock ")
        if mnemonic == "call":
            self._call(i)
            return True
        if mnemonic in ("ret", "hlt", "ud2", "iretq", "retf"):
            self.seen.returns |= mnemonic == "ret"
            return False
        if _JUMPS.match(mnemonic):
            return self._jump(i, mnemonic)
        operands = i.operands.split(", ")
        if not self._stack(mnemonic, operands):
            self._other(mnemonic, operands)
        return True

    def _jump(self, i: Instruction, mnemonic: str) -> bool:
        if i.operands.startswith("0x"):
            target = int(i.operands, 16)
            if self._body.address <= target < self._end and not self._leaves(i):
                if self._depth is not None:
                    self._depths[target] = self._depth
            elif mnemonic == "jmp":
                self.seen.returns = True
        elif mnemonic == "jmp":
            if self._depth == 0:
                self.seen.returns = True
            elif self._switch is None:
                self._switch = self._depth
        return mnemonic != "jmp"

    def _leaves(self, i: Instruction) -> bool:
        return (
            bool(self._body.symbols)
            and self._body.address + len(self._body.data) >= i.address + i.size
            and (i.address + i.size - 4 in self._body.symbols)
        )

    # ---- the stack pointer

    def _stack(self, mnemonic: str, operands: list[str]) -> bool:
        """Follow the stack pointer; whether the instruction was about that."""
        first = register_of(operands[0]) if operands else ""
        if mnemonic == "push":
            self._push(operands[0])
        elif mnemonic == "pop":
            self._move(self._word)
            if first:
                self._write(first)
        elif mnemonic == "leave":
            self._depth = self._pointer + self._word if self._pointer is not None else None
        elif first == "rsp":
            self._set_stack(mnemonic, operands)
        elif first == "rbp" and mnemonic == "mov" and register_of(operands[1]) == "rsp":
            self._write("rbp")
            if self._pointer_is_kept and self._depth is not None:
                self._pointer = self._depth
        else:
            return False
        return True

    def _push(self, operand: str) -> None:
        register = register_of(operand)
        self._use(operand)
        self._move(-self._word)
        if self._depth is None:
            return
        self._slots[self._depth] = self._addresses.get(register)
        if self._growing and register in self._saved:
            self.seen.top = self._depth

    def _set_stack(self, mnemonic: str, operands: list[str]) -> None:
        source = operands[1] if len(operands) > 1 else ""
        if mnemonic in ("sub", "add") and _NUMBER.match(source):
            number = int(source, 0)
            number -= (1 << 64 if self._long else 1 << 32) if number >= 1 << (63 if self._long else 31) else 0
            self._move(-number if mnemonic == "sub" else number)
            self._growing = False
        elif mnemonic == "lea":
            memory = memory_in(source)
            self._depth = self._offset(memory) if memory is not None and not memory.scaled else None
        elif mnemonic == "mov" and register_of(source) == "rbp":
            self._depth = self._pointer
        elif mnemonic == "and":
            if self._depth is not None and self._growing:
                self.seen.top = self._depth  # the caller's part ends here, and what follows is aligned
        elif mnemonic not in ("cmp", "test"):
            self._dynamic |= mnemonic == "sub"
            self._depth = None

    def _move(self, by: int) -> None:
        if self._depth is not None:
            self._depth += by

    # ---- everything else

    def _offset(self, memory: Memory) -> int | None:
        """Where in the frame a memory operand lies, without its index; None where it is elsewhere or not known."""
        if memory.segment or not memory.base:
            return None
        if memory.base == "rsp":
            base = self._depth
        elif memory.base == "rbp" and self._pointer is not None:
            base = self._pointer
        else:
            address = self._addresses.get(memory.base)
            base = address.offset if address is not None else None
        return base + memory.displacement if base is not None else None

    def _use(self, operand: str) -> None:
        """Note a memory operand that is read or written."""
        if "[" not in operand:
            return
        memory = memory_in(operand)
        if memory is None:
            return
        for register in (memory.base, memory.scaled):
            if register in self._addresses:
                self._addresses[register].used = True
        offset = self._offset(memory)
        if offset is not None and offset < 0:
            if memory.scaled and memory.size == memory.scale:  # words at a byte's step are how structures are copied
                self.seen.indexed.append(offset)
            self.seen.references.add(offset)

    def _write(self, register: str, address: _Address | None = None) -> None:
        self._constants.discard(register)
        if address is None:
            self._addresses.pop(register, None)
        else:
            self._addresses[register] = address
        self._valid.add(register)

    def _other(self, mnemonic: str, operands: list[str]) -> None:
        string = _STRING.match(mnemonic)
        if string and not operands[0].startswith("xmm"):
            self._string()
            return
        for register in _IMPLICIT.get(mnemonic, ()):
            self._write(register)
            self._given.discard(register)
        if mnemonic == "lea":
            self._lea(register_of(operands[0]), operands[1])
            return
        for operand in operands:
            self._use(operand)
        if not operands or mnemonic in _READS_ONLY:
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
        address: _Address | None = None
        if mnemonic == "mov" and register == "rsp":
            address = _Address(self._depth) if self._depth is not None or self._dynamic else None
        elif mnemonic == "mov" and register == "rbp" and self._pointer is not None:
            address = _Address(self._pointer)
        elif mnemonic == "mov" and register:
            address = self._addresses.get(register)
            if address is not None and register in self._saved:  # which keeps it for other uses, too
                address = _Address(address.offset)
        elif mnemonic in ("add", "sub") and first in self._addresses and _NUMBER.match(source):
            offset = self._addresses[first].offset
            number = int(source, 0) if mnemonic == "add" else -int(source, 0)
            address = _Address(offset + number if offset is not None and abs(number) < 1 << 30 else None)
            address.used = self._addresses[first].used
        elif mnemonic == "add" and (first in self._addresses or register in self._addresses):
            held = self._addresses.get(first) or self._addresses[register]
            if held.offset is not None:
                self.seen.loose = True
        given = self._is_given(mnemonic, first, source)
        if mnemonic == "xchg" and register:
            self._write(register)
            self._given.discard(register)
        self._write(first, address)
        if given:
            self._given.add(first)
        else:
            self._given.discard(first)
        if (mnemonic == "mov" and _NUMBER.match(source)) or (mnemonic == "xor" and source == operands[0]):
            self._constants.add(first)

    def _is_given(self, mnemonic: str, first: str, source: str) -> bool:
        """Whether a register then holds an argument of the function, or something made of one."""
        if mnemonic in _KEEPS_ARGUMENT and (_NUMBER.match(source) or not source):
            return first in self._given
        if "[" in source:
            memory = memory_in(source)
            offset = self._offset(memory) if memory is not None and not memory.scaled else None
            return offset is not None and offset > 0
        return register_of(source) in self._given

    def _lea(self, target: str, source: str) -> None:
        memory = memory_in(source)
        if memory is None or not target:
            return
        offset = self._offset(memory)
        if memory.scaled:
            if offset is not None and offset < 0 and memory.scaled != target:
                self.seen.loose = True
            self._write(target)
        elif offset is not None:
            held = self._addresses.get(memory.base)
            address = _Address(offset)
            address.used = held.used if held is not None else False
            self._write(target, address)
            if offset < 0:
                self.seen.references.add(offset)
        else:
            self._write(target)
        if memory.base not in self._given and memory.scaled not in self._given:
            self._given.discard(target)
        else:
            self._given.add(target)

    def _store(self, mnemonic: str, operands: list[str]) -> None:
        memory = memory_in(operands[0])
        if memory is None or memory.scaled:
            return
        offset = self._offset(memory)
        source = operands[1] if len(operands) > 1 else ""
        register = register_of(source)
        if register in self._addresses and (self._addresses[register].offset or 0) < self.seen.top:
            self.seen.loose = True
        if offset is None:
            return
        if memory.base == "rsp":
            self._slots[offset] = self._addresses.get(register)
        if offset >= 0:
            return
        size = memory.size or self._word
        self.seen.stores.append((offset, size))
        if register in self._given or (mnemonic in _KEEPS_ARGUMENT and overlaps(offset, size, self.seen.parameters)):
            self.seen.parameters.append((offset, size))
        if register.startswith("xmm") or size >= 16:
            self.seen.vectors.append((offset, size))

    def _string(self) -> None:
        for register in ("rdi", "rsi"):
            address = self._addresses.get(register)
            if address is not None:
                address.used = True
                if address.offset is not None and address.offset < 0:
                    self.seen.references.add(address.offset)
        for register in ("rdi", "rsi", "rcx", "rax"):
            self._addresses.pop(register, None)
            self._constants.discard(register)
            self._valid.discard(register)
            self._given.discard(register)

    # ---- calls

    def _call(self, i: Instruction) -> None:
        self.seen.calls = True
        self._use(i.operands)
        callee = callee_of(i, self._body, self._name_of)
        if self._long:
            self._registers_given(callee)
        elif self._depth is not None:
            self._slots_given(callee, self._depth)
        saved = self._saved
        for register in [name for name in self._addresses if name not in saved]:
            del self._addresses[register]
        self._given.intersection_update(saved)
        self._constants.intersection_update(saved)
        self._valid.clear()
        self._slots.clear()

    def _registers_given(self, callee: str) -> None:
        for index, register in enumerate(_ARGUMENTS):
            if register not in self._valid:
                return
            address = self._addresses.get(register)
            if address is not None and not address.used and self._is_below_top(address):
                self.seen.taken.append(Taken(address.offset, callee, index, "rdx" in self._constants))

    def _slots_given(self, callee: str, depth: int) -> None:
        for index in range(6):
            offset = depth + 4 * index
            if offset not in self._slots:
                return
            address = self._slots[offset]
            if address is not None and not address.used and self._is_below_top(address):
                # a third argument that is a constant is not followed here: taken for one
                self.seen.taken.append(Taken(address.offset, callee, index, True))

    def _is_below_top(self, address: _Address) -> bool:
        if address.offset is None:
            return True
        return address.offset < self.seen.top and (self._depth is None or address.offset >= self._depth)
