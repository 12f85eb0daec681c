"""What the arguments of a call tell about FORTIFY: its level, and whether a plain call would be replaced."""

from __future__ import annotations

from .constants import Texts
from .origins import Flow, Origin
from .plain_calls import FLAG_ARGUMENT, Shape

__all__ = ["level_of", "plain_call"]


_NULL = Origin("constant")
_NUMBERS = frozenset(("parameter", "memory", "call", "computed"))  # of which no one knows the value


def level_of(flow: Flow, place: int, name: str) -> str:
    """ "level 1", "level 2" or "level 3" where the flag of a fortified call is a constant; else empty."""
    values = flow.argument(FLAG_ARGUMENT[name], place)
    numbers = {origin.value for origin in values}
    if len(numbers) == 1 and all(origin.kind == "constant" for origin in values):
        number = numbers.pop()
        if number in (0, 1, 2):
            return f"level {number + 1}"
    return ""


def plain_call(flow: Flow, place: int, shape: Shape, texts: Texts) -> str:
    """ "replaced" where level 2 and higher replace such a call in C, "left" where all levels leave it, "left at
    level 2" where levels up to 2 do; empty where that depends on what is not known.

    A target whose address came from elsewhere has no size that the compiler could know; it is enough that it does on
    one of several ways to the call.
    """
    if shape.form >= 0:
        folds = _folds(flow.argument(shape.form, place), texts)
        if folds != "yes":
            return "replaced" if folds == "no" else ""
    if _is_constant(flow, place, shape):
        return "left"
    targets = flow.argument(shape.target, place)
    if targets == {_NULL}:
        return "left"
    if any(origin.kind in ("parameter", "memory") for origin in targets):
        return "left"
    return "left at level 2" if _is_allocated(flow, targets) else ""


def _folds(formats: frozenset[Origin], texts: Texts) -> str:
    """Whether GCC folds a checked call with such a format back into the plain one: "yes", "no", or "?".

    It does only where it knows the format, and that is "%s" or has no % (gimple_fold_builtin_sprintf_chk); clang never
    does. A constant that reached a function as its parameter was not known to the compiler.
    """
    answers = set()
    for origin in formats:
        if origin.kind in ("parameter", "memory", "call"):
            return "?" if any(other.kind == "?" for other in formats) else "no"
        text = texts.at(origin.value) if origin.kind in ("data", "constant") else None
        answers.add("?" if text is None else "no" if b"%" in text and text != b"%s" else "yes")
    if "?" in answers or not answers:
        return "?"
    return "no" if "no" in answers else "yes"


def _is_allocated(flow: Flow, targets: frozenset[Origin]) -> bool:
    """Whether another function returned the object's address on one way at least, and allocated no constant size."""
    return any(origin.kind == "call" and not _allocates_constant(flow, origin) for origin in targets)


def _allocates_constant(flow: Flow, origin: Origin) -> bool:
    """Whether the call may be to a function that allocates as many bytes as a constant says."""
    if origin.name and "alloc" not in origin.name and "memalign" not in origin.name:
        return False
    first, second = ({size.kind for size in flow.argument(number, origin.place)} for number in (0, 1))
    if "calloc" in origin.name:
        return not (first | second) & _NUMBERS
    if "realloc" in origin.name or "memalign" in origin.name or "aligned" in origin.name:
        return not second & _NUMBERS
    # of a function without a name even the number of arguments is not known
    return not first & _NUMBERS or (not origin.name and second == {"constant"})


def _is_constant(flow: Flow, place: int, shape: Shape) -> bool:
    """Whether all sizes are constants: those fit, or the compiler would have warned."""
    return bool(shape.sizes) and all(
        all(origin.kind == "constant" for origin in flow.argument(number, place)) for number in shape.sizes
    )
