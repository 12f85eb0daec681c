"""What a function of x86-64 or i386 does with addresses in its stack frame, from its instructions.

The stack pointer is followed from the first instruction to the last, and with it the registers that hold addresses
(`x86_addresses`). Where jumps meet, what a register holds is told by one of the paths there; code that only jumps from
below reach is looked at with what the first pass told of it. What it comes to is judged in `x86_proof`.
"""

from __future__ import annotations

import re

from .architecture import Body, NameOf
from .x86_addresses import ARGUMENTS, NUMBER, READS_ONLY, Address, Addresses
from .x86_proof import Seen, Taken, proof
from .x86_text import Instruction, memory_in, register_of

__all__ = ["callee_of", "frame_of"]

_CALLEE_SAVED = frozenset(("rbx", "rbp", "r12", "r13", "r14", "r15"))
_CALLEE_SAVED_32 = frozenset(("rbx", "rbp", "rsi", "rdi"))
_JUMPS = re.compile(r"j\w+|loop\w*")
_PADDING = frozenset(("nop", "int3"))


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


class _Walk(Addresses):
    """One function.

    Attributes
    ----------
    lost: some code was reached without knowing how deep the stack is there.
    """

    def __init__(self, listing: list[Instruction], body: Body, name_of: NameOf, *, long: bool) -> None:
        super().__init__(_CALLEE_SAVED if long else _CALLEE_SAVED_32, long=long)
        self._listing = listing
        self._body = body
        self._name_of = name_of
        self._end = body.address + len(body.data)
        self._targets = {
            int(i.operands, 16) for i in listing if _JUMPS.match(i.mnemonic) and i.operands.startswith("0x")
        }
        self._depths: dict[int, int] = {}
        self._arrivals: dict[int, dict[str, Address]] = {}
        self._pointer_is_kept = self._frame_pointer_is_kept()
        self._written_once = self._registers_written_once()
        self.lost = False

    def _frame_pointer_is_kept(self) -> bool:
        """Whether rbp, once it is set from the stack pointer, keeps its value up to the end of the function."""
        name = "rbp" if self._long else "ebp"
        writes = [
            i
            for i in self._listing
            if i.operands.startswith(name) and i.mnemonic not in READS_ONLY and i.mnemonic not in ("pop", "leave")
        ]
        return len(writes) == 1 and (writes[0].mnemonic, writes[0].operands) == ("mov", name + ", " + name[0] + "sp")

    def _registers_written_once(self) -> frozenset[str]:
        """Preserved registers that keep what the function puts into them: no other instruction but pop writes them."""
        writes = [
            register_of(i.operands.split(", ")[0])
            for i in self._listing
            if i.mnemonic not in READS_ONLY and i.mnemonic != "pop"
        ]
        return frozenset(register for register in self._saved if writes.count(register) == 1)

    def run(self) -> Seen:
        """One pass from the first instruction to the last."""
        self.start()
        self.lost = False
        self._growing = True
        self._allocates = False
        self._aligned = False
        self._switch: int | None = None
        self._at_switch: dict[str, Address] = {}
        alive = True
        for instruction in self._listing:
            at = instruction.address
            target = at in self._targets
            if not alive and not target and instruction.mnemonic in _PADDING:
                continue
            if target or not alive:
                self._begin_block(at, alive=alive)
                alive = True
            alive = self._step(instruction)
        return self.seen

    # ---- the flow of control

    def _begin_block(self, at: int, *, alive: bool) -> None:
        """Go on where jumps lead to, or where the instruction in front does not.

        Parameters
        ----------
        alive: that instruction leads here, too.
        """
        if not alive or self.depth is None:
            self.depth = self._depths.get(at, self.depth if alive else self._switch)
            if self.depth is None and not self._allocates:
                self.depth = 0  # code split off a function uses the frame that the other part allocated
            self.lost |= self.depth is None
        kept = {}
        for name, held in self.addresses.items():
            if name in self._written_once:
                kept[name] = held
            elif alive:
                kept[name] = Address(held.offset, sure=False, used=held.used)
        for name, held in self._arrivals.get(at, {} if alive else self._at_switch).items():
            kept.setdefault(name, held)
        self.addresses = kept
        self.seen.loose |= any(map(self.is_local, self.slots.values()))
        self.slots.clear()
        self.constants.clear()
        self.valid.clear()

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
            self.other(mnemonic, operands)
        return True

    def _jump(self, i: Instruction, mnemonic: str) -> bool:
        if i.operands.startswith("0x"):
            target = int(i.operands, 16)
            if self._body.address <= target < self._end and not self._leaves(i):
                if self.depth is not None:
                    self._depths[target] = self.depth
                self._arrive(self._arrivals.setdefault(target, {}))
            elif mnemonic == "jmp":
                self.seen.returns = True
        elif mnemonic == "jmp":
            if self.depth == 0:
                self.seen.returns = True
            elif self._switch is None:
                self._switch = self.depth
                self._arrive(self._at_switch)
        return mnemonic != "jmp"

    def _arrive(self, arrival: dict[str, Address]) -> None:
        """Note what registers hold where a jump goes."""
        for name, held in self.addresses.items():
            if name not in arrival:
                arrival[name] = Address(held.offset, sure=False, used=held.used)

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
                self.write(first)
        elif mnemonic == "leave":
            self.depth = self.pointer + self._word if self.pointer is not None else None
        elif first == "rsp":
            self._set_stack(mnemonic, operands)
        elif first == "rbp" and mnemonic == "mov" and register_of(operands[1]) == "rsp":
            kept = self._pointer_is_kept and self.depth is not None
            self.write("rbp", None if kept else self.stack_address(self.depth))
            if kept:
                self.pointer = self.depth
        else:
            return False
        return True

    def _push(self, operand: str) -> None:
        register = register_of(operand)
        held = self.addresses.get(register)
        self.use(operand)
        if held is not None and (self._long or self.depth is None):
            self.seen.loose |= self.is_local(held)
        self._move(-self._word)
        if self.depth is None:
            return
        self.slots[self.depth] = held
        if self._growing and register in self._saved:
            self.seen.top = self.depth
            self.seen.by_hand |= self._aligned

    def _set_stack(self, mnemonic: str, operands: list[str]) -> None:
        source = operands[1] if len(operands) > 1 else ""
        if mnemonic in ("sub", "add") and NUMBER.match(source):
            number = int(source, 0)
            number -= (1 << 64 if self._long else 1 << 32) if number >= 1 << (63 if self._long else 31) else 0
            self._move(-number if mnemonic == "sub" else number)
            self._growing = False
        elif mnemonic == "lea":
            memory = memory_in(source)
            self.depth = self.offset_of(memory) if memory is not None and not memory.scaled else None
        elif mnemonic == "mov" and register_of(source) == "rbp":
            self.depth = self.pointer
        elif mnemonic == "mov" and (held := self.addresses.get(register_of(source))) is not None:
            self.dynamic |= held.offset is None
            self.depth = held.offset
        elif mnemonic == "and":
            if self.depth is not None and self._growing:
                self.seen.top = self.depth  # the caller's part ends here, and what follows is aligned
                # GCC and clang save registers in front of this, or set the frame pointer behind it (glibc's libmvec)
                self._aligned = self.pointer is not None
        elif mnemonic not in ("cmp", "test"):
            self.dynamic |= mnemonic == "sub"
            self.depth = None

    def _move(self, by: int) -> None:
        self._allocates |= by < 0
        if self.depth is not None:
            self.depth += by

    # ---- calls

    def _call(self, i: Instruction) -> None:
        following = i.address + i.size
        if (
            not self._long
            and i.operands in (hex(following), str(following))
            and following - 4 not in self._body.symbols
        ):
            self._move(-self._word)  # it only fetches the program counter, and pops it then
            return
        self.seen.calls = True
        self.use(i.operands)
        callee = callee_of(i, self._body, self._name_of)
        if self._long:
            self._registers_given(callee)
        else:
            self._slots_given(callee)
        for register in [name for name in self.addresses if name not in self._saved]:
            del self.addresses[register]
        self.given.intersection_update(self._saved)
        self.constants.intersection_update(self._saved)
        self.valid.clear()
        self.slots.clear()

    def _registers_given(self, callee: str) -> None:
        in_order = True
        for index, register in enumerate(ARGUMENTS):
            in_order = in_order and register in self.valid
            address = self.addresses.get(register)
            if address is None or not self.is_local(address):
                continue
            if in_order and address.sure and not address.used:
                self.seen.taken.append(Taken(address.offset, callee, index, "rdx" in self.constants))
            elif in_order or not address.used:
                self.seen.loose = True

    def _slots_given(self, callee: str) -> None:
        in_order = self.depth is not None
        for index in range(6):
            offset = (self.depth or 0) + 4 * index
            in_order = in_order and offset in self.slots
            address = self.slots.pop(offset, None) if in_order else None
            if address is not None and self.is_local(address):
                if address.sure and not address.used:
                    # a third argument that is a constant is not followed here: taken for one
                    self.seen.taken.append(Taken(address.offset, callee, index, True))
                else:
                    self.seen.loose = True
        self.seen.loose |= any(map(self.is_local, self.slots.values()))
