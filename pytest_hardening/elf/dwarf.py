"""Local variables of array type that live on the stack, from DWARF, through pyelftools.

Such a function is what every stack protector level from -fstack-protector-strong on protects (GCC manual, "Program
Instrumentation Options"). Used only where a file shows no canary at all, so it may cost milliseconds a unit.
Debug information that is compressed, split or larger than the limits is not read, nor that of object files for RISC-V,
whose relocations pyelftools does not apply; then nothing is found, and nothing is claimed.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any, cast

from .facts import StackArray
from .image import Image, printable
from .source import SourceStream

__all__ = ["stack_arrays"]

_MOST_FOUND = 16
_MOST_ENTRIES = 15_000  # debugging information entries, a third of a second
_MANY_BYTES = 1 << 20
_MOST_BYTES = 12 << 20
_SHF_COMPRESSED = 0x800
# DW_LANG_* of C and C++ (DWARF 5, table 7.17, and the list of languages at dwarfstd.org)
_C_FAMILY = frozenset((0x01, 0x02, 0x04, 0x0C, 0x1A, 0x1D, 0x21, 0x2B, 0x2C, 0x3A, 0x3B))
_QUALIFIERS = frozenset(("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_restrict_type"))
_DW_OP_FBREG = 0x91


def stack_arrays(image: Image, *, switched_off: bool) -> tuple[StackArray, ...]:
    """The first stack arrays of C and C++ units; empty where there are none or no readable DWARF.

    Parameters
    ----------
    switched_off: only of units whose recorded flags end in -fno-stack-protector; else of all units but those whose
        recorded flags switch the stack protector on. GCC records flags that were given, not its defaults; the last
        one wins.
    """
    debug = [section for section in image.sections if section.name.startswith(".debug_")]
    names = {section.name for section in debug}
    total = sum(section.size for section in debug)
    if ".debug_info" not in names or total > _MOST_BYTES or any(section.flags & _SHF_COMPRESSED for section in debug):
        return ()
    found: list[StackArray] = []
    budget = [_MOST_ENTRIES]
    # damaged debug information makes no verdict on the code; what was found before the damage stands. pyelftools has no
    # list of what it raises then: AssertionError and OverflowError are among it
    with suppress(Exception):
        _search(image, found, budget, _is_off if switched_off else _is_not_on)
    if total > _MANY_BYTES:
        gc.collect()  # pyelftools' entries refer to each other in circles: 20 MB of a large program
    return tuple(found)


def _flag(producer: str) -> str:
    flags = [word for word in producer.split() if word.startswith(("-fstack-protector", "-fno-stack-protector"))]
    return flags[-1] if flags else ""


def _is_off(producer: str) -> bool:
    return _flag(producer) == "-fno-stack-protector"


def _is_not_on(producer: str) -> bool:
    return not _flag(producer).startswith("-fstack-protector")


def _search(image: Image, found: list[StackArray], budget: list[int], wanted: Callable[[str], bool]) -> None:
    from elftools.elf.elffile import ELFFile

    dwarf = ELFFile(cast("IO[bytes]", SourceStream(image.source))).get_dwarf_info(follow_links=False)
    for unit in dwarf.iter_CUs():
        for item in _unit_arrays(unit, budget, wanted):
            found.append(item)
            if len(found) == _MOST_FOUND:
                return
        if budget[0] <= 0:
            return


def _unit_arrays(unit: Any, budget: list[int], wanted: Callable[[str], bool]) -> Iterator[StackArray]:
    top = unit.get_top_DIE()
    budget[0] -= 1
    language = top.attributes.get("DW_AT_language")
    if top.tag != "DW_TAG_compile_unit" or language is None or language.value not in _C_FAMILY:
        return
    name, producer = _text(top, "DW_AT_name"), _text(top, "DW_AT_producer")
    if not wanted(producer):
        return
    for child in _children(top, budget):
        if child.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in child.attributes:
            for variable in _variables(child, budget):
                if _is_on_stack(variable) and _is_array(variable):
                    yield StackArray(name, _name(child), _name(variable), producer)
                    break


def _children(parent: Any, budget: list[int]) -> Iterator[Any]:
    """The children of an entry. pyelftools reads all entries below one that names no sibling before it comes to the
    next; they are read here first, so that they count.
    """
    for child in parent.iter_children():
        budget[0] -= 1
        if budget[0] <= 0:
            return
        yield child
        if child.has_children and "DW_AT_sibling" not in child.attributes:
            for _ in _children(child, budget):
                pass


def _variables(scope: Any, budget: list[int], depth: int = 0) -> Iterator[Any]:
    for child in _children(scope, budget):
        if depth > 32:
            return
        if child.tag == "DW_TAG_variable":
            yield child
        elif child.tag in ("DW_TAG_lexical_block", "DW_TAG_inlined_subroutine"):
            yield from _variables(child, budget, depth + 1)


def _is_on_stack(variable: Any) -> bool:
    location = variable.attributes.get("DW_AT_location")
    return (
        location is not None
        and location.form in ("DW_FORM_exprloc", "DW_FORM_block1")
        and len(location.value) > 1
        and location.value[0] == _DW_OP_FBREG
        and all(byte & 0x80 for byte in location.value[1:-1])  # one operation: its LEB128 operand ends the expression
    )


def _is_array(variable: Any) -> bool:
    kind = _origin(variable)
    for _ in range(16):
        if "DW_AT_type" not in kind.attributes:
            return False
        kind = kind.get_DIE_from_attribute("DW_AT_type")
        if kind.tag == "DW_TAG_array_type":
            return "DW_AT_GNU_vector" not in kind.attributes  # a SIMD register's value, not a buffer
        if kind.tag not in _QUALIFIERS:
            return False
    return False


def _origin(entry: Any) -> Any:
    """The entry that carries name and type: an inlined or cloned one refers to its abstract origin."""
    for _ in range(4):
        if "DW_AT_abstract_origin" not in entry.attributes:
            break
        entry = entry.get_DIE_from_attribute("DW_AT_abstract_origin")
    return entry


def _name(entry: Any) -> str:
    return _text(_origin(entry), "DW_AT_name")


def _text(entry: Any, attribute: str) -> str:
    value = entry.attributes.get(attribute)
    return printable(value.value.decode("utf-8", "backslashreplace")) if value is not None else ""
