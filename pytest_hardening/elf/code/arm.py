"""arm, A32 and Thumb-2: what a function does with its stack frame, and which functions it calls.

Visible: the call of `__stack_chk_fail` by its name; without names only the sequence by which GCC compares and clears
the canary. Probes: GCC stores below the stack pointer (sub ip, sp, ip; str r0, [ip, #n]) before it allocates, and so
wherever it uses alloca(), too; an allocation of a size made at run time without that is unclear. clang 14 and 19 ignore
the option.
Not visible: the load of `__stack_chk_guard` in linked files, so nothing is said of functions that
never return; probes of frames below 4 KiB; calls through the GOT (-fno-plt).

The lowest bit of a function's address says that it is Thumb code. Where it is missing, the share of words with the
condition "always" of A32 decides.

Source: Arm ARM DDI 0406C, A5 and A6 (instruction encodings); AAPCS32; GCC 12 config/arm (stack_protect_test_tls,
arm_emit_probe_stack_range).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..machines import Machine
from . import frames
from .architecture import Body, Decoder, FrameUse, NameOf
from .arm_a32 import a32_steps
from .arm_code import SP, Code
from .arm_thumb import thumb_steps
from .frames import CALL, CONST, COPY, STORE, SUB, Convention, Step
from .step_calls import StepCalls

__all__ = ["decoder"]

_IP = 12
_CONVENTION = Convention(SP, (0, 1, 2, 3), 0, frozenset((*range(4, 12), SP)))
_PROBE_BYTES = 4096


def decoder(machine: Machine) -> Decoder:
    """The decoder of 32-bit Arm; instructions are little-endian in big-endian files, too (BE8)."""
    return _Arm()


class _Arm:
    def __init__(self) -> None:
        self._calls = StepCalls(_CONVENTION)

    def frame_use(self, body: Body, name_of: NameOf) -> FrameUse:
        steps = list(_steps(body, name_of))
        probed, unprobed = _probes(steps)
        inside = range(body.address & ~1, (body.address & ~1) + len(body.data))
        effort = len(body.data) // frames.CHEAPER
        unclear = not (probed or unprobed) and frames.grows_by_register(_CONVENTION, steps, _PROBE_BYTES)
        if (
            any(n in ("__stack_chk_fail", "__stack_chk_guard") and at in inside for at, n in body.symbols.items())
            or any(step[0] == CALL and step[2] == "__stack_chk_fail" for step in steps)
            or any(step[0] == CONST and frames.clears_canary(steps, index) for index, step in enumerate(steps))
        ):
            return FrameUse(True, "", False, probed, unprobed, effort, unclear)
        use = frames.frame_use(_CONVENTION, steps)
        return use._replace(probed=probed, unprobed=unprobed, effort=effort, unclear=unclear)

    def returns(self, body: Body, name_of: NameOf) -> bool:
        return frames.returns(_steps(body, name_of))

    def calls(self, body: Body, name_of: NameOf, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        steps = list(_steps(body, name_of))
        found = [step[2] for step in steps if step[0] == CALL and step[2] and wanted(step[2])]
        yield from self._calls.of(body, steps, found, wanted)


def _probes(steps: list[Step]) -> tuple[bool, int]:
    """Whether it stores to the stack before it allocates it; else the largest allocation of a page or more."""
    probed, unprobed = False, 0
    below = False  # ip holds an address below the stack pointer
    constants: dict[int, int] = {}
    for step in steps:
        kind = step[0]
        if kind == CONST:
            constants[step[2]] = step[3]
        elif kind == SUB and step[3] == SP:
            if step[2] == _IP:
                below = True
            elif step[2] == SP:
                unprobed = max(unprobed, constants.get(step[4], 0))
        elif kind == STORE and below and step[3] == _IP:
            probed = True
        elif kind == COPY and step[2] == step[3] == SP:
            unprobed = max(unprobed, -step[4])
        elif kind == CALL:
            below = False
    return probed, 0 if probed or unprobed < _PROBE_BYTES else unprobed


def _is_thumb(body: Body) -> bool:
    if body.address & 1:
        return True
    if body.address & 2 or len(body.data) & 3:
        return True
    always = sum(byte >> 4 == 14 for byte in body.data[3::4])
    return 2 * always < len(body.data) // 4


def _steps(body: Body, name_of: NameOf) -> Iterator[Step]:
    code = Code(body, name_of)
    return thumb_steps(code) if _is_thumb(body) else a32_steps(code)
