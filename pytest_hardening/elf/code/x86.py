"""x86-64 and i386: canaries, stack probes and calls by their bytes; frames and sizes by disassembly, where bytes are
not enough.

Sources: Intel SDM volume 2 for encodings; GCC gcc/config/i386/{i386.cc,i386.md} and LLVM
lib/Target/X86/X86FrameLowering.cpp for canaries and probes; verified with GCC 12 and clang 14.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from ..machines import EM_X86_64, Machine
from .architecture import Body, Decoder, FrameUse, NameOf
from .chk_arguments import SIZE_ARGUMENT
from .plain_calls import FLAG_ARGUMENT, PLAIN
from .x86_frame import callee_of, frame_of
from .x86_origins import Flow
from .x86_plain import level_of, plain_call
from .x86_text import Instruction, disassembler, instructions, memory_in
from .x86_values import size_argument

__all__ = ["decoder"]

_PAGE = 4096
_MOST_STEPS = 1 << 18  # of following values in one file
_MOST_FOLLOWED = 1 << 15  # bytes of a function whose values are followed
_CHECKS = frozenset(("__stack_chk_fail", "__stack_chk_fail_local", "__stack_smash_handler"))
_GUARDS = frozenset(("__stack_chk_guard",))


def _pattern(text: bytes) -> re.Pattern[bytes]:
    return re.compile(text, re.DOTALL)


# mov, xor, sub or cmp of a register with fs:0x28 or gs:0x28 (kernels): segment prefix, perhaps REX, opcode, ModRM and
# SIB for a plain 32-bit address
_LOADS_TLS = rb"[\x64\x65][\x40-\x4f]?[\x03\x2b\x33\x3b\x8b][\x04\x0c\x14\x1c\x24\x2c\x34\x3c]\x25"
_CANARY_64 = _pattern(_LOADS_TLS + rb"\x28\0\0\0")
# the same with fs:0x18; in 64-bit files that place is not the canary's (glibc sysdeps/x86_64/nptl/tls.h, tcbhead_t)
_CANARY_X32 = _pattern(_LOADS_TLS + rb"\x18\0\0\0")
# the same with gs:0x14: ModRM for a plain address, or mov eax with its short form
_CANARY_32 = _pattern(rb"\x65(?:\xa1|[\x03\x2b\x33\x3b\x8b][\x05\x0d\x15\x1d\x25\x2d\x35\x3d])\x14\0\0\0")

# what a function without any of these cannot do: lea of a frame address, a copy of the stack pointer, a stack pointer
# moved by a register
_TAKES_64 = _pattern(
    rb"[\x48\x4c]\x8d(?:[\x44\x4c\x54\x5c\x6c\x74\x7c\x84\x8c\x94\x9c\xac\xb4\xbc\x04\x0c\x14\x1c\x2c\x34\x3c]\x24"
    rb"|[\x45\x4d\x55\x5d\x75\x7d\x85\x8d\x95\x9d\xb5\xbd])"
    rb"|\x48\x89[\xe0-\xe3\xe6\xe7]|\x49\x89[\xe0-\xe7]|\x48\x8b[\xc4\xcc\xd4\xdc\xf4\xfc]|\x4c\x8b[\xc4\xcc\xd4\xdc\xe4\xec\xf4\xfc]"
    rb"|[\x48\x4c]\x29[\xc4\xcc\xd4\xdc\xec\xf4\xfc]|[\x48\x49]\x2b[\xe0-\xe3\xe5-\xe7]"
)
_TAKES_32 = _pattern(
    rb"\x8d(?:[\x44\x4c\x54\x5c\x6c\x74\x7c\x84\x8c\x94\x9c\xac\xb4\xbc\x04\x0c\x14\x1c\x2c\x34\x3c]\x24"
    rb"|[\x45\x4d\x55\x5d\x75\x7d\x85\x8d\x95\x9d\xb5\xbd])"
    rb"|\x89[\xe0-\xe3\xe6\xe7]|\x8b[\xc4\xcc\xd4\xdc\xf4\xfc]|\x29[\xc4\xcc\xd4\xdc\xec\xf4\xfc]|\x54"
)
# an index in the frame: opcode, ModRM, and a SIB byte whose base is rsp, or rbp with a displacement; a REX prefix with
# its lowest bit set would make these r12 and r13, and one with the next bit makes "no index" r12
_OPCODE = (
    rb"(?:(?<![\x41\x43\x45\x47\x49\x4b\x4d\x4f])[\x01\x03\x38-\x3b\x63\x80\x83\x88-\x8b\x8d\xc6\xc7\xff]"
    rb"|(?<![\x41\x43\x45\x47\x49\x4b\x4d\x4f])\x0f[\x10\x11\xb6\xb7\xbe\xbf])"
)
_INDEXES = _pattern(
    _OPCODE + rb"[\x04\x0c\x14\x1c\x24\x2c\x34\x3c\x44\x4c\x54\x5c\x64\x6c\x74\x7c\x84\x8c\x94\x9c\xa4\xac\xb4\xbc]"
    rb"[\x04\x0c\x14\x1c\x2c\x34\x3c\x44\x4c\x54\x5c\x6c\x74\x7c\x84\x8c\x94\x9c\xac\xb4\xbc\xc4\xcc\xd4\xdc\xec\xf4\xfc]"
    rb"|[\x42\x46\x4a\x4e][\x01\x03\x38-\x3b\x63\x80\x83\x88-\x8b\x8d\xc6\xc7\xff]"
    rb"[\x04\x0c\x14\x1c\x24\x2c\x34\x3c\x44\x4c\x54\x5c\x64\x6c\x74\x7c\x84\x8c\x94\x9c\xa4\xac\xb4\xbc][\x24\x64\xa4\xe4]"
)
_INDEXES_RBP = _pattern(
    _OPCODE + rb"[\x44\x4c\x54\x5c\x64\x6c\x74\x7c\x84\x8c\x94\x9c\xa4\xac\xb4\xbc]"
    rb"[\x05\x0d\x15\x1d\x2d\x35\x3d\x45\x4d\x55\x5d\x6d\x75\x7d\x85\x8d\x95\x9d\xad\xb5\xbd\xc5\xcd\xd5\xdd\xed\xf5\xfd]"
)
_FRAME_POINTER = b"\x89\xe5"
_COPIES_RBP = _pattern(rb"\x89[\xe8-\xef]")

# an allocation of 256 bytes or more: sub, add of a negative number, lea; with a REX prefix on x86-64
_ALLOCATES = _pattern(rb"\x81\xec(.{4})|\x81\xc4(.{4})|\x8d\xa4\x24(.{4})")
# a size made at run time: sub rsp, reg
_GROWS_BY_REGISTER = _pattern(rb"[\x48\x4c]\x29[\xc4\xcc\xd4\xdc\xec\xf4\xfc]|[\x48\x49]\x2b[\xe0-\xe3\xe5-\xe7]")
# or $0,(rsp), or $0,-8(rsp,reg), mov $0,(rsp): what goes with it under -fstack-clash-protection
_PROBES = _pattern(rb"\x83[\x0c\x4c\x8c]\x24|\x83\x4c[\x04\x0c\x14\x1c\x2c\x34\x3c]\xf8\0|\xc7\x04\x24\0\0\0\0")
_BRANCH = _pattern(rb"(?=([\xe8\xe9]|\xff[\x15\x25])(.{4}))")


def decoder(machine: Machine) -> Decoder:
    """The decoder of a file of x86-64, x32 or i386."""
    if machine.number != EM_X86_64:
        return _X86(_CANARY_32, long=False)
    return _X86(_CANARY_X32 if machine.name == "x32" else _CANARY_64, long=True)


class _X86:
    """One of the three.

    Parameters
    ----------
    canary: how the canary is loaded.
    long: 64-bit code.
    """

    def __init__(self, canary: re.Pattern[bytes], *, long: bool) -> None:
        self._long = long
        self._canary = canary
        self._steps = _MOST_STEPS
        self._takes = _TAKES_64 if long else _TAKES_32
        self._disassembler = disassembler(long=long)

    def frame_use(self, body: Body, name_of: NameOf) -> FrameUse:
        data = body.data
        canary = self._canary.search(data) is not None
        takes = not canary and self._takes_address(data)
        large = self._allocates_page(data)
        by_register = self._grows_by_register(body)
        if not takes and not large:
            return FrameUse(canary, unclear=by_register)
        if not canary and self._checks(body, name_of):
            canary, takes = True, False
            if not large:
                return FrameUse(canary, unclear=by_register)
        listing = list(instructions(self._disassembler, body, long=self._long))
        array, doubtful = "", False
        if takes:
            array, doubtful, _ = frame_of(listing, body, name_of, long=self._long)
        probed, unprobed = _probes(listing, body, name_of) if large else (False, 0)
        large = large and any(instruction.grows_stack_by >= _PAGE for instruction in listing)
        unclear = (large or by_register) and not (probed or unprobed)
        return FrameUse(canary, array, doubtful, probed, unprobed, len(data), unclear)

    def returns(self, body: Body, name_of: NameOf) -> bool:
        if b"\xc3" in body.data:
            return True
        end = body.address + len(body.data)
        if body.data[-5:-4] == b"\xe9":  # a jump to another function, most often at its end
            target = end + struct.unpack("<i", body.data[-4:])[0]
            if end - 4 in body.symbols or not body.address <= target < end:
                return True
        listing = list(instructions(self._disassembler, body, long=self._long))
        return frame_of(listing, body, name_of, long=self._long)[2]

    def _grows_by_register(self, body: Body) -> bool:
        """Whether it allocates a size made at run time and touches nothing of it."""
        if _GROWS_BY_REGISTER.search(body.data) is None or _PROBES.search(body.data) is not None:
            return False
        listing = instructions(self._disassembler, body, long=self._long)
        return any(i.mnemonic == "sub" and _STACK_BY_REGISTER.match(i.operands) for i in listing)

    def _takes_address(self, data: bytes) -> bool:
        """Whether it may do something with an address in its frame; by the bytes, so it may also not."""
        return (
            self._takes.search(data) is not None
            or _INDEXES.search(data) is not None
            or (
                _FRAME_POINTER in data
                and (_INDEXES_RBP.search(data) is not None or _COPIES_RBP.search(data) is not None)
            )
        )

    def _allocates_page(self, data: bytes) -> bool:
        for match in _ALLOCATES.finditer(data):
            size = struct.unpack("<i", match[1] or match[2] or match[3])[0]
            if abs(size) >= _PAGE:
                return True
        return False

    def _checks(self, body: Body, name_of: NameOf) -> bool:
        """Whether it calls the function that ends the program, or loads a global canary."""
        if body.symbols:
            return any(name in _CHECKS or name in _GUARDS for name in body.symbols.values())
        return any(name in _CHECKS for _, name in self._branches(body, name_of)) or (
            self._long and any(name in _GUARDS for name in _loads(body, name_of))
        )

    def _branches(self, body: Body, name_of: NameOf) -> Iterator[tuple[int, str]]:
        """Address and name of whatever a call or jump leads to by name. Bytes that only look like one lead nowhere."""
        for match in _BRANCH.finditer(body.data):
            field = body.address + match.start(2)
            if body.symbols:
                name = body.symbols.get(field, "")
            elif len(match[1]) == 1:
                name = name_of(self._wrap(field + 4 + struct.unpack("<i", match[2])[0]))
            elif self._long:
                name = name_of(field + 4 + struct.unpack("<i", match[2])[0])
            else:
                name = name_of(struct.unpack("<I", match[2])[0])
            if name:
                yield body.address + match.start(), name

    def _wrap(self, address: int) -> int:
        return address if self._long else address & 0xFFFFFFFF

    def calls(self, body: Body, name_of: NameOf, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        listing: list[Instruction] | None = None
        flow: Flow | None = None
        found = [(address, name) for address, name in self._branches(body, name_of) if wanted(name)]
        # beside a fortified call only formats matter
        fortified = any(name in SIZE_ARGUMENT for _, name in found)
        for address, name in found:
            follow = (
                self._long
                and len(body.data) <= _MOST_FOLLOWED
                and self._steps > 0
                and (name in FLAG_ARGUMENT or (name in PLAIN and (PLAIN[name].form >= 0 or not fortified)))
            )
            position = SIZE_ARGUMENT.get(name)
            if listing is None and (follow or position is not None):
                listing = list(instructions(self._disassembler, body, long=self._long))
            tells = ""
            if follow and listing is not None:
                flow = flow or Flow(listing, body, name_of)
                place = flow.place_of(address)
                tells = plain_call(flow, place, name, body.texts) if name in PLAIN else level_of(flow, place, name)
            if not tells and position is not None and listing is not None:
                tells = size_argument(listing, address, position, name, long=self._long)
            yield name, tells
        if flow is not None:
            self._steps -= flow.steps + len(body.data)


_LOAD_RIP = _pattern(rb"(?=\x8b[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4}))")


def _loads(body: Body, name_of: NameOf) -> Iterator[str]:
    """Names of what `mov slot(%rip),reg` loads."""
    for match in _LOAD_RIP.finditer(body.data):
        yield name_of(body.address + match.start(1) + 4 + struct.unpack("<i", match[1])[0])


_STACK_BY_REGISTER = re.compile(r"[re]sp, r?[a-z]")
_TOUCH = re.compile(r"\[[re]sp(?: \+ (?:0x)?[0-9a-f]{1,3})?\]")
_PROBE = re.compile(r"(or|mov) [dq]word ptr \[[re]sp\], 0")
_ADDS_GOT = re.compile(r"add e(?:[abcd]x|si|di|bp), (?:0x[0-9a-f]{3,}|[12])$")
_NEAR_PAGE = _PAGE + 1024
_COPIES = frozenset(("memcpy", "memmove"))
_LARGE_NUMBER = re.compile(r"(mov [er]dx, |push )0x[0-9a-f]{4,}$")


def _probes(listing: list[Instruction], body: Body, name_of: NameOf) -> tuple[bool, int]:
    """Whether the stack is touched where it grows by a page, and the largest growth without that.

    Under -fstack-clash-protection, GCC and clang move the stack pointer by a page at most and touch what it then points
    to. GCC exempts arguments on the stack: a large structure passed by value, and a few bytes that it adds to the
    frame's allocation in front of the first call. So a growth by little more than a page counts only where nothing is
    stored to the new top, and none where a structure may be copied to it.
    """
    probed = False
    largest = 0
    for index, instruction in enumerate(listing):
        if instruction.mnemonic == "call" and not _asks_for_address(listing, index, body, name_of):
            break
        size = instruction.grows_stack_by
        if size < _PAGE:
            continue
        near = listing[index + 1 : index + 4]
        if size == _PAGE and any(_PROBE.fullmatch(f"{i.mnemonic} {i.operands}") for i in near):
            probed = True
        elif any(map(_touches, near)):
            continue
        elif size > max(largest, _PAGE) and not _passes_structure(listing, index + 1, size, body, name_of):
            largest = size
    return probed, largest


def _asks_for_address(listing: list[Instruction], index: int, body: Body, name_of: NameOf) -> bool:
    """Whether a call only fetches the program counter, as PIC of i386 does; the GOT's distance is added to it then."""
    if callee_of(listing[index], body, name_of).startswith("__x86.get_pc_thunk"):
        return True
    return any(_ADDS_GOT.match(f"{i.mnemonic} {i.operands}") for i in listing[index + 1 : index + 5])


def _touches(instruction: Instruction) -> bool:
    return instruction.mnemonic in ("or", "mov", "test") and _TOUCH.search(instruction.operands) is not None


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
