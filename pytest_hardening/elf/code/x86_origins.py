"""Where the arguments of a call come from on x86-64: every value that can reach the register, over all paths.

Values are followed back through the function's own jumps, so the answer holds for optimised code as well. What cannot
be followed is "?", and the work for one function is limited.
"""

from __future__ import annotations

import re

from .architecture import Body, NameOf
from .origins import NO_RETURN, UNKNOWN, Origin
from .x86_text import Instruction, memory_in, register_of

__all__ = ["ARGUMENTS", "X86Flow"]

ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")

_KEPT = frozenset(("rbx", "rbp", "r12", "r13", "r14", "r15"))
_NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|\d+)$")
_READS_ONLY = frozenset("cmp test push call bt nop endbr64 endbr32 ret hlt ud2 leave".split())
_MOVES = frozenset("mov movabs movzx movsx movsxd".split())
_SUMS = frozenset("add sub and or imul shl sal shr sar neg not inc dec".split())
_WIDE = frozenset("cdq cqo cdqe mul div idiv cpuid rdtsc xgetbv syscall cmpxchg cmpxchg16b xchg xadd sbb".split())
_PADDING = frozenset(("nop", "int3", "data16 nop"))
_MOST_STEPS = 60_000
_DEEPEST = 4


class X86Flow:
    """The function's instructions with the ways between them.

    Parameters
    ----------
    listing: all its instructions.
    body, name_of: the function, and the names of functions by address.

    Attributes
    ----------
    steps: how many were taken.
    """

    def __init__(self, listing: list[Instruction], body: Body, name_of: NameOf) -> None:
        self._listing = listing
        self._body = body
        self._name_of = name_of
        self._operands = [i.operands.split(", ") for i in listing]
        self._places = {i.address: place for place, i in enumerate(listing)}
        self._framed = any(i.mnemonic == "mov" and i.operands == "rbp, rsp" for i in listing[:16])
        self._stores: dict[tuple[str, int], list[int]] | None = None
        self._taken: set[tuple[str, int]] = set()
        self._before = self._ways()
        self._written = [self._target_of(place) for place in range(len(listing))]
        self._summing: set[int] = set()
        self.steps = 0

    def place_of(self, address: int) -> int:
        """The number of the instruction at an address; -1 where none is."""
        return self._places.get(address, -1)

    def argument(self, number: int, place: int) -> frozenset[Origin]:
        """What an integer argument of the call at a place may be."""
        if number >= len(ARGUMENTS) or place < 0:
            return frozenset((UNKNOWN,))
        return self._origins(ARGUMENTS[number], place, 0)

    def _ways(self) -> list[list[int]]:
        before: list[list[int]] = [[] for _ in self._listing]
        indirect = []
        last = len(self._listing) - 1
        for place, i in enumerate(self._listing):
            mnemonic = i.mnemonic
            jump = mnemonic[0] == "j" or mnemonic.startswith(("loop", "notrack jmp"))
            if jump:
                target = self._places.get(int(i.operands, 16), -1) if i.operands.startswith("0x") else -1
                if target >= 0:
                    before[target].append(place)
                elif not i.operands.startswith("0x"):
                    indirect.append(place)
            ends = mnemonic in ("jmp", "ret", "hlt", "ud2", "notrack jmp") or (
                mnemonic == "call" and self._callee(i) in NO_RETURN
            )
            if not ends and place < last:
                before[place + 1].append(place)
        for place in range(1, last + 1):
            if before[place]:
                continue
            if self._listing[place].mnemonic in _PADDING:  # it only seems to lead to what follows
                if place < last and place in before[place + 1]:
                    before[place + 1].remove(place)
            elif indirect:  # a switch: its cases are those that nothing else leads to
                before[place] = indirect
        return before

    def _target_of(self, place: int) -> str:
        """The register that an instruction writes; "*" where it may be others as well."""
        mnemonic = self._listing[place].mnemonic
        if mnemonic == "call" or mnemonic in _WIDE or mnemonic.startswith("rep"):
            return "*"
        if mnemonic in _READS_ONLY or mnemonic[0] == "j":
            return ""
        return register_of(self._operands[place][0])

    def _callee(self, i: Instruction) -> str:
        if self._body.symbols:
            return self._body.symbols.get(i.address + i.size - 4, "")
        if i.operands.startswith("0x"):
            return self._name_of(int(i.operands, 16))
        memory = memory_in(i.operands)
        if memory is not None and memory.base == "rip":
            return self._name_of(i.address + i.size + memory.displacement)
        return ""

    def _origins(self, register: str, place: int, depth: int) -> frozenset[Origin]:
        found: set[Origin] = set()
        seen: set[tuple[str, int]] = set()
        todo = [(register, place)]
        while todo:
            item = todo.pop()
            if item in seen:
                continue
            seen.add(item)
            register, place = item
            self.steps += 1
            while len(self._before[place]) == 1 and self._written[former := self._before[place][0]] not in (
                "*",
                register,
            ):
                self.steps += 1  # an endless loop of code that nothing else leads to goes round and round
                if (place := former) == 0 or self.steps > _MOST_STEPS:
                    break
            if self.steps > _MOST_STEPS:
                return frozenset((UNKNOWN,))
            if place == 0:
                passed = register in ARGUMENTS and self._body.entered
                found.add(Origin("parameter") if passed else UNKNOWN)
            elif not self._before[place]:
                found.add(UNKNOWN)
            for former in self._before[place]:
                self._step(register, former, depth, found, todo)
        return frozenset(found)

    def _step(self, register: str, place: int, depth: int, found: set[Origin], todo: list[tuple[str, int]]) -> None:
        """What an instruction makes of a register: it is left alone, copied from another one, or a new value."""
        i = self._listing[place]
        mnemonic = i.mnemonic
        if mnemonic == "call":
            if register == "rax":
                found.add(Origin("call", 0, self._callee(i), place))
            elif register in _KEPT or not self._callee(i):
                todo.append((register, place))  # GCC knows which registers a function of the same file changes
            return  # nobody reads others behind a call: it does not return
        if mnemonic.startswith("rep") or mnemonic in _WIDE:
            if register in ("rax", "rdx", "rcx", "rsi", "rdi") or mnemonic in ("xchg", "xadd", "sbb"):
                found.add(UNKNOWN)
            else:
                todo.append((register, place))
            return
        operands = self._operands[place]
        if self._written[place] != register:
            todo.append((register, place))
            return
        if mnemonic in _MOVES or mnemonic.startswith("cmov"):
            if mnemonic.startswith("cmov"):
                todo.append((register, place))
            if _NUMBER.match(operands[-1]) and self._relocated(place):
                found.add(Origin("data", self._field(place)))
            else:
                self._source(operands[-1], place, found, todo)
        elif mnemonic == "lea":
            self._address(operands[-1], place, depth, found, todo)
        elif mnemonic == "xor" and operands[0] == operands[-1]:
            found.add(Origin("constant"))
        elif mnemonic in _SUMS:
            if len(operands) == 1 or _NUMBER.match(operands[1]):
                if mnemonic == "or" and operands[1] in ("-1", "0xffffffff", "0xffffffffffffffff"):
                    found.add(Origin("constant", -1))
                else:
                    todo.append((register, place))
            else:
                other = register_of(operands[1])
                found.update(self._sum([register, other] if other else [register], place, depth))
        elif mnemonic == "pop" and place and self._listing[place - 1].mnemonic == "push":
            self._source(self._operands[place - 1][0], place - 1, found, todo)
        else:
            found.add(UNKNOWN if mnemonic == "pop" else Origin("computed"))

    def _source(self, text: str, place: int, found: set[Origin], todo: list[tuple[str, int]]) -> None:
        if _NUMBER.match(text):
            found.add(Origin("constant", int(text, 0)))
            return
        register = register_of(text)
        if register == "rsp":
            found.add(Origin("frame"))
        elif register:
            todo.append((register, place))
        else:
            self._loaded(text, place, found, todo)

    def _loaded(self, text: str, place: int, found: set[Origin], todo: list[tuple[str, int]]) -> None:
        memory = memory_in(text)
        if memory is None:
            found.add(UNKNOWN)
        elif memory.base == "rip":
            i = self._listing[place]
            slot = i.address + i.size + memory.displacement
            # an object may load an address or a variable here
            unclear = bool(self._body.symbols) or self._body.texts.is_slot(slot)
            found.add(UNKNOWN if unclear else Origin("memory"))
        elif self._is_frame(memory.base):
            self._spilled((memory.base, memory.displacement), found, todo)
        else:
            found.add(Origin("memory"))

    def _spilled(self, slot: tuple[str, int], found: set[Origin], todo: list[tuple[str, int]]) -> None:
        if self._stores is None:
            self._stores = {}
            for place, i in enumerate(self._listing):
                if i.mnemonic == "mov" and self._operands[place][-1] == "rsp" and i.operands != "rbp, rsp":
                    self._taken.add(("rsp", 0))
                text = self._operands[place][-1 if i.mnemonic == "lea" else 0]
                memory = memory_in(text) if "[" in text and i.mnemonic in ("lea", "mov") else None
                if memory is None or not self._is_frame(memory.base) or memory.scaled:
                    continue
                if i.mnemonic == "lea":
                    self._taken.add((memory.base, memory.displacement))
                else:
                    self._stores.setdefault((memory.base, memory.displacement), []).append(place)
        stores = self._stores.get(slot, ())
        for place in stores:
            source = self._operands[place][-1]
            if _NUMBER.match(source):
                found.add(Origin("constant", int(source, 0)))
            elif register := register_of(source):
                todo.append((register, place))
            else:
                found.add(UNKNOWN)
        if slot in self._taken or (self._taken and not stores):
            found.add(Origin("memory"))  # another function stored it
        elif not stores:
            found.add(UNKNOWN)

    def _field(self, place: int) -> int:
        """The address of an instruction's last four bytes."""
        i = self._listing[place]
        return i.address + i.size - 4

    def _relocated(self, place: int) -> bool:
        return self._body.texts.is_relocated(self._field(place))

    def _is_frame(self, base: str) -> bool:
        return base == "rsp" or (base == "rbp" and self._framed)

    def _address(self, text: str, place: int, depth: int, found: set[Origin], todo: list[tuple[str, int]]) -> None:
        memory = memory_in(text)
        if memory is None:
            found.add(UNKNOWN)
        elif memory.base == "rip":
            i = self._listing[place]
            target = i.address + i.size + memory.displacement
            found.add(Origin("data", self._field(place) if self._relocated(place) else target))
        elif self._is_frame(memory.base):
            found.add(Origin("frame"))
        elif memory.base and not memory.scaled:
            todo.append((memory.base, place))
        else:
            found.update(self._sum([name for name in (memory.base, memory.scaled) if name], place, depth))

    def _sum(self, registers: list[str], place: int, depth: int) -> set[Origin]:
        """The origins of a sum: an address and what is added to it is still an address of that kind."""
        if place in self._summing:
            return set()  # a loop adds to its own result: that makes no new kind
        if depth >= _DEEPEST:
            return {UNKNOWN}
        self._summing.add(place)
        parts: set[Origin] = set()
        for register in registers:
            parts |= self._origins(register, place, depth + 1)
        self._summing.discard(place)
        addresses = {part for part in parts if part.kind in ("frame", "data", "?")}
        if addresses:
            return addresses
        pointers = {part for part in parts if part.kind in ("call", "memory", "parameter")}
        return pointers or {Origin("computed")}
