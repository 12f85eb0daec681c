"""Which functions a function calls by name, and what the arguments tell, from its steps (`frames`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from .architecture import Body
from .chk_arguments import SIZE_ARGUMENT
from .frames import NUMBER, Convention, Step, Tracker, argument_kind
from .origins import Origin, StepFlow
from .plain_arguments import plain_call
from .plain_calls import FLAG_ARGUMENT, PLAIN, Shape

__all__ = ["Inlined", "StepCalls"]

_MOST_FOLLOWED = 1 << 13  # steps of a function whose values are followed
_MOST_TAKEN = 1 << 18  # steps back in one file

#: What stands in place of a call: the address of the instruction, the name, the registers that hold the address of the
#: target and the number of bytes, -1 where that is not known before.
Inlined = tuple[int, str, int, int]


class StepCalls:
    """The calls of one file's functions.

    Parameters
    ----------
    convention: of the calls.
    """

    def __init__(self, convention: Convention) -> None:
        self._convention = convention
        self._left = _MOST_TAKEN

    def of(
        self,
        body: Body,
        steps: Iterable[Step],
        found: Sequence[str],
        wanted: Callable[[str], bool],
        inlined: Sequence[Inlined] = (),
    ) -> Iterator[tuple[str, str]]:
        """What `Decoder.calls` yields.

        Parameters
        ----------
        steps: of the function; followed only where a call's arguments matter.
        found: the names of the wanted callees.
        inlined: instructions that compilers write in place of calls.
        """
        fortified = any(name in SIZE_ARGUMENT for name in found)
        if fortified:  # beside a fortified call only formats matter
            inlined = ()
        follows = [name for name in found if name in PLAIN and (PLAIN[name].form >= 0 or not fortified)]
        if not (fortified or inlined or follows or any(name in FLAG_ARGUMENT for name in found)):
            yield from ((name, "") for name in found)
            return
        listing = list(steps)
        flow = None
        if (follows or inlined) and len(listing) <= _MOST_FOLLOWED and self._left > 0:
            flow = StepFlow(self._convention, listing, entered=body.entered, relocated=bool(body.symbols))
        tracker = Tracker(self._convention)
        for name in tracker.calls(listing):
            if name and wanted(name):
                position = SIZE_ARGUMENT.get(name)
                size = "" if position is None else argument_kind(tracker, position)
                level = _level(tracker, FLAG_ARGUMENT.get(name))
                plain = _plain(flow, flow.place_of(tracker.at), body, name) if flow and name in follows else ""
                yield name, level or size or plain
        for address, name, *registers in inlined:
            tells = ""
            if flow is not None and not flow.switches and registers[0] >= 0:
                shape = Shape(0, (1,) if registers[1] >= 0 else ())
                place = flow.place_of(address)
                tells = plain_call(_Registers(flow, place, registers), place, shape, body.texts)
            yield name, tells
        if flow is not None:
            self._left -= flow.taken + len(listing)


class _Registers:
    """The arguments of what stands in place of a call; of other calls their own."""

    def __init__(self, flow: StepFlow, place: int, registers: Sequence[int]) -> None:
        self._flow = flow
        self._place = place
        self._registers = registers

    def argument(self, number: int, place: int) -> frozenset[Origin]:
        if place != self._place:
            return self._flow.argument(number, place)
        return self._flow.register(self._registers[number], place, repeats=place)  # a loop may lead back to it


def _plain(flow: StepFlow, place: int, body: Body, name: str) -> str:
    """What a plain call tells. Where not all ways are followed, some way may give it what FORTIFY would check."""
    tells = plain_call(flow, place, PLAIN[name], body.texts)
    return tells if tells == "replaced" or not flow.switches else ""


def _level(tracker: Tracker, position: int | None) -> str:
    """ "level 1", "level 2" or "level 3" where the flag of a fortified call at an argument's position says so."""
    registers = tracker.convention.arguments
    if position is None or position >= len(registers):
        return ""
    value = tracker.registers.get(registers[position])
    known = value is not None and value.kind == NUMBER and value.number in (0, 1, 2)
    return f"level {value.number + 1}" if known and value is not None and value.number is not None else ""
