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
from .plain_arguments import level_of, plain_call
from .plain_calls import FLAG_ARGUMENT, PLAIN, Shape
from .x86_frame import frame_of
from .x86_origins import X86Flow
from .x86_probes import PAGE, growth_of
from .x86_stack_arguments import StackArguments
from .x86_text import Instruction, disassembler, instructions
from .x86_values import Budget, SizeArguments

__all__ = ["decoder"]

_MOST_FOLLOWED = 1 << 15  # bytes of a function whose values are followed
_MOST_FLOW = 1 << 18  # steps of following them in one file
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

# what a function without any of these cannot do: lea of a frame address, a copy of the stack pointer, the same added to
# an index; in 64-bit code REX makes r8 to r15 of the registers
_SP_BASE = rb"[\x04\x0c\x14\x1c\x2c\x34\x3c\x44\x4c\x54\x5c\x6c\x74\x7c\x84\x8c\x94\x9c\xac\xb4\xbc]\x24"
_BP_BASE = rb"[\x45\x4d\x55\x5d\x6d\x75\x7d\x85\x8d\x95\x9d\xad\xb5\xbd]"
_IS_SP = rb"[\xc4\xcc\xd4\xdc\xec\xf4\xfc]"
_TAKES_64 = (
    rb"[\x48\x4c]\x8d(?:" + _SP_BASE + rb"|" + _BP_BASE + rb")|\x4c\x8d(?:[\x24\x64\xa4]\x24|[\x65\xa5])"
    rb"|\x48\x89[\xe0-\xe3\xe6\xe7]|\x49\x89[\xe0-\xe7]|\x48\x8b[\xc4\xcc\xd4\xdc\xf4\xfc]|\x4c\x8b[\xc4\xcc\xd4\xdc\xe4\xec\xf4\xfc]"
    rb"|(?<!\x55)\x48\x89\xe5|[\x48\x49]\x01[\xe0-\xe3\xe5-\xe7]|[\x48\x4c]\x03" + _IS_SP
)
_TAKES_32 = (
    rb"\x8d(?:" + _SP_BASE + rb"|" + _BP_BASE + rb")|\x89[\xe0-\xe3\xe6\xe7]|\x8b[\xc4\xcc\xd4\xdc\xf4\xfc]|\x54"
    rb"|(?<!\x55)\x89\xe5|\x01[\xe0-\xe3\xe5-\xe7]|\x03" + _IS_SP
)
_TAKES_X32 = rb"\x44\x8d(?:[\x24\x64\xa4]\x24|[\x65\xa5])|\x41\x89[\xe0-\xe7]"
# an index in the frame: opcode, ModRM, and a SIB byte whose base is rsp, or rbp with a displacement; a REX prefix with
# its lowest bit set would make these r12 and r13, and one with the next bit makes "no index" r12
_PLAIN = (
    rb"[\x01\x03\x09\x0b\x21\x23\x29\x2b\x31\x33\x38-\x3b\x63\x69\x6b"
    rb"\x80\x81\x83\x88-\x8b\x8d\xc6\xc7\xd9\xdd\xf6\xf7\xff]"
)
_NO_BASE = rb"(?<![\x41\x43\x45\x47\x49\x4b\x4d\x4f])"
_OPCODE = (
    rb"(?:"
    + _NO_BASE
    + _PLAIN
    + rb"|"
    + _NO_BASE
    + rb"\x0f[\x10\x11\x28\x29\x2a\x58\x59\x5c\x5e\x6f\x7f\xaf\xb6\xb7\xbe\xbf\xd6]"
    rb"|\xc5[\x80-\xff][\x10\x11\x28\x29\x58\x59\x5c\x5e\x6f\x7f])"
)
_INDEXES = _pattern(
    _OPCODE + rb"[\x04\x0c\x14\x1c\x24\x2c\x34\x3c\x44\x4c\x54\x5c\x64\x6c\x74\x7c\x84\x8c\x94\x9c\xa4\xac\xb4\xbc]"
    rb"[\x04\x0c\x14\x1c\x2c\x34\x3c\x44\x4c\x54\x5c\x6c\x74\x7c\x84\x8c\x94\x9c\xac\xb4\xbc\xc4\xcc\xd4\xdc\xec\xf4\xfc]"
    rb"|[\x42\x46\x4a\x4e](?:\x0f.|" + _PLAIN + rb")"
    rb"[\x04\x0c\x14\x1c\x24\x2c\x34\x3c\x44\x4c\x54\x5c\x64\x6c\x74\x7c\x84\x8c\x94\x9c\xa4\xac\xb4\xbc][\x24\x64\xa4\xe4]"
)
_INDEXES_RBP = _pattern(
    _OPCODE + rb"[\x44\x4c\x54\x5c\x64\x6c\x74\x7c\x84\x8c\x94\x9c\xa4\xac\xb4\xbc]"
    rb"[\x05\x0d\x15\x1d\x2d\x35\x3d\x45\x4d\x55\x5d\x6d\x75\x7d\x85\x8d\x95\x9d\xad\xb5\xbd\xc5\xcd\xd5\xdd\xed\xf5\xfd]"
)
_FRAME_POINTER = b"\x89\xe5"
_COPIES_RBP = _pattern(rb"[\x01\x89][\xe8-\xef]|\x03[\xc5\xcd\xd5\xdd\xe5\xed\xf5\xfd]")

# an allocation of 256 bytes or more: sub, add of a negative number, lea; with a REX prefix on x86-64
_ALLOCATES = _pattern(rb"\x81\xec(.{4})|\x81\xc4(.{4})|\x8d\xa4\x24(.{4})")
# a size made at run time: sub rsp, reg; mov rsp, reg, which puts back what was saved, too
_GROWS_64 = (
    rb"[\x48\x4c]\x29[\xc4\xcc\xd4\xdc\xe4\xec\xf4\xfc]|[\x48\x49]\x2b[\xe0-\xe7]"
    rb"|\x48\x89[\xc4\xcc\xd4\xdc\xf4\xfc]|\x4c\x89[\xc4\xcc\xd4\xdc\xe4\xec\xf4\xfc]|\x48\x8b[\xe0-\xe3\xe6\xe7]|\x49\x8b[\xe0-\xe7]"
)
_GROWS_32 = rb"\x29" + _IS_SP + rb"|\x2b[\xe0-\xe3\xe5-\xe7]|\x89[\xc4\xcc\xd4\xdc\xf4\xfc]|\x8b[\xe0-\xe3\xe6\xe7]"
_BRANCH = _pattern(rb"(?=([\xe8\xe9]|\xff[\x15\x25])(.{4}))")
_JUMP_IF = _pattern(rb"(?=\x0f[\x80-\x8f](.{4}))")  # to another function, with -Os
# what compilers write in place of memcpy() and memset() when they optimise for size
_STRINGS = _pattern(rb"\xf3\x48?[\xa4\xa5\xaa\xab]")
_STRING_NAMES = {"movs": "memcpy", "stos": "memset"}
_STRING_SHAPE = Shape(0, (3,))  # the fourth argument's register holds the count


# What code made to waste time costs at most: bytes of one function that are disassembled, bytes of all whose calls
# or sizes made at run time matter, and steps back from all calls (`Budget`).
_LONGEST = 100_000
_MOST_LISTED = 2 << 20
_MOST_STEPS = 1 << 21


def decoder(machine: Machine) -> Decoder:
    """The decoder of a file of x86-64, x32 or i386."""
    if machine.number != EM_X86_64:
        return _X86(_CANARY_32, _TAKES_32, _GROWS_32, long=False)
    if machine.name == "x32":  # addresses are computed in 32 bits, or in 64
        takes, grows = (rb"|".join(forms) for forms in ((_TAKES_64, _TAKES_32, _TAKES_X32), (_GROWS_64, _GROWS_32)))
        return _X86(_CANARY_X32, takes, grows, long=True)
    return _X86(_CANARY_64, _TAKES_64, _GROWS_64, long=True)


class _X86:
    """One of the three.

    Parameters
    ----------
    canary: how the canary is loaded.
    takes, grows: what takes an address in the frame, and what allocates a size made at run time, as patterns.
    long: 64-bit code.
    """

    def __init__(self, canary: re.Pattern[bytes], takes: bytes, grows: bytes, *, long: bool) -> None:
        self._long = long
        self._canary = canary
        self._flow_left = _MOST_FLOW
        self._takes = _pattern(takes)
        self._grows = _pattern(grows)
        self._disassembler = disassembler(long=long)
        self._last: tuple[Body, bool] | None = None  # the function looked at last, and whether it returns
        self._owed = 0  # bytes disassembled that no FrameUse told of
        self._listed = 0  # bytes disassembled for calls and sizes made at run time
        self._budget = Budget(_MOST_STEPS)

    def frame_use(self, body: Body, name_of: NameOf) -> FrameUse:
        use = self._frame_use(body, name_of)
        use, self._owed = use._replace(effort=use.effort + self._owed), 0
        return use

    def _frame_use(self, body: Body, name_of: NameOf) -> FrameUse:
        data = body.data
        canary = self._canary.search(data) is not None
        takes = not canary and self._takes_address(data)
        large = self._allocates_page(data)
        grows = large or self._grows.search(data) is not None
        if not takes and not grows:
            return FrameUse(canary)
        if len(data) > _LONGEST:
            return FrameUse(canary, doubtful=takes, unclear=grows)
        if not canary and self._checks(body, name_of):
            canary, takes = True, False
            if not grows:
                return FrameUse(canary)
        effort = len(data)
        if not takes and not large:  # cheap to tell: it has a limit of its own
            if self._listed + len(data) > _MOST_LISTED:
                return FrameUse(canary, unclear=True)
            self._listed += len(data)
            effort = 0
        listing = self._listing(body)
        array, doubtful = "", False
        if takes:
            array, doubtful, returns = frame_of(listing, body, name_of, long=self._long)
            self._last = body, returns
        probed, unprobed, unclear = False, 0, False
        if grows:
            growth = growth_of(listing, body, name_of)
            probed, unprobed = growth.probed, growth.unprobed
            unclear = (growth.large or growth.computed) and not (probed or unprobed)
        return FrameUse(canary, array, doubtful, probed, unprobed, effort, unclear)

    def returns(self, body: Body, name_of: NameOf) -> bool:
        if b"\xc3" in body.data:
            return True
        end = body.address + len(body.data)
        if body.data[-5:-4] == b"\xe9":  # a jump to another function, most often at its end
            target = end + struct.unpack("<i", body.data[-4:])[0]
            if end - 4 in body.symbols or not body.address <= target < end:
                return True
        if self._last is not None and self._last[0] is body:
            return self._last[1]
        if len(body.data) > _LONGEST:
            return False
        self._owed += len(body.data)
        return frame_of(self._listing(body), body, name_of, long=self._long)[2]

    def _listing(self, body: Body) -> list[Instruction]:
        return list(instructions(self._disassembler, body, long=self._long))

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
            if abs(size) >= PAGE:
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
        sizes: SizeArguments | None = None
        flow: X86Flow | None = None
        stack: StackArguments | None = None
        listing: list[Instruction] | None = None
        found = [(address, name) for address, name in self._branches(body, name_of) if wanted(name)]
        found += [(address, name) for address, name in self._jumps_if(body, name_of) if wanted(name)]
        # beside a fortified call only formats matter
        fortified = any(name in SIZE_ARGUMENT for _, name in found)
        strings = not fortified and _STRINGS.search(body.data) is not None
        for address, name in found:
            follow = self._follows(body, name, fortified=fortified)
            position = SIZE_ARGUMENT.get(name)
            needed = follow or position is not None
            if needed and listing is None and len(body.data) <= min(_LONGEST, _MOST_LISTED - self._listed):
                self._listed += len(body.data)
                listing = self._listing(body)
            tells = ""
            if needed and listing is not None:
                sizes = sizes or SizeArguments(listing, self._budget, long=self._long)
                if follow and self._long:
                    flow = flow or X86Flow(listing, body, name_of)
                    place = flow.place_of(address)
                    plain = name in PLAIN
                    tells = plain_call(flow, place, PLAIN[name], body.texts) if plain else level_of(flow, place, name)
                elif follow:
                    stack = stack or StackArguments(listing, sizes, body.texts)
                    tells = stack.plain_call(address, PLAIN[name], name)
                if not tells and position is not None:
                    tells = sizes.at(address, position, name)
            yield name, tells
        if strings:
            if listing is None and len(body.data) <= min(_LONGEST, _MOST_LISTED - self._listed):
                self._listed += len(body.data)
                listing = self._listing(body)
            if self._long and flow is None and listing and len(body.data) <= _MOST_FOLLOWED and self._flow_left > 0:
                flow = X86Flow(listing, body, name_of)
            yield from self._string_calls(body, listing, flow)
        if flow is not None:
            self._flow_left -= flow.steps + len(body.data)

    def _string_calls(
        self, body: Body, listing: list[Instruction] | None, flow: X86Flow | None
    ) -> Iterator[tuple[str, str]]:
        """Copies and fills of a size that is no constant, as the calls that they stand for."""
        if listing is None:
            yield "memcpy", ""
            return
        sizes = SizeArguments(listing, self._budget, long=self._long)
        for place, i in enumerate(listing):
            name = _STRING_NAMES.get(i.mnemonic[4:8]) if i.mnemonic.startswith("rep ") else None
            if name is None or sizes.register("rcx", place) == "constant":
                continue
            if flow is None:
                yield name, ""
            elif not _is_aligned(flow, place):
                yield name, plain_call(flow, place, _STRING_SHAPE, body.texts)

    def _jumps_if(self, body: Body, name_of: NameOf) -> Iterator[tuple[int, str]]:
        for match in _JUMP_IF.finditer(body.data):
            field = body.address + match.start(1)
            target = self._wrap(field + 4 + struct.unpack("<i", match[1])[0])
            if field in body.symbols or not body.address <= target < body.address + len(body.data):
                name = body.symbols.get(field, "") if body.symbols else name_of(target)
                if name:
                    yield body.address + match.start(), name

    def _follows(self, body: Body, name: str, *, fortified: bool) -> bool:
        """Whether a call's arguments are followed back, which costs more than the rest."""
        if len(body.data) > _MOST_FOLLOWED or self._flow_left <= 0:
            return False
        return (self._long and name in FLAG_ARGUMENT) or (name in PLAIN and (PLAIN[name].form >= 0 or not fortified))


def _is_aligned(flow: X86Flow, place: int) -> bool:
    """Whether a string instruction's count is a constant but for the distance of the target from where it was aligned
    (GCC i386-expand.cc, ix86_expand_set_or_cpymem).
    """
    target = {origin for origin in flow.argument(0, place) if origin.kind in ("call", "frame", "data")}
    return all(origin.kind == "constant" for origin in flow.argument(3, place) - target)


_LOAD_RIP = _pattern(rb"(?=\x8b[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4}))")


def _loads(body: Body, name_of: NameOf) -> Iterator[str]:
    """Names of what `mov slot(%rip),reg` loads."""
    for match in _LOAD_RIP.finditer(body.data):
        yield name_of(body.address + match.start(1) + 4 + struct.unpack("<i", match[1])[0])
