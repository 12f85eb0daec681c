"""Postures as a table: mitigations by toolchains, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from pytest_hardening.toolchain.posture import Posture
from pytest_hardening.toolchain.probes import Cell, State

__all__ = ["LEGEND", "markdown_table", "text_table", "toolchain_lines"]

_WORDS = {
    State.DEFAULT: "default",
    State.FLAG: "flag",
    State.NOT_VISIBLE: "hidden",
    State.NO_EFFECT: "NO EFFECT",
    State.UNAVAILABLE: "-",
}

#: What the words in the table mean.
LEGEND = (
    "default: on without being asked for; flag: on with the flags below; hidden: the flags are taken, the file does "
    "not tell; NO EFFECT: the flags are taken, and the file shows that they did nothing; -: the flags are refused"
)


def text_table(postures: Sequence[Posture], width: int, *, reasons: bool = True) -> Iterator[str]:
    """Lines for a terminal of `width` columns: mitigations downwards, in several blocks where they do not fit; flags.

    - `reasons`: whether to say why something is hidden, has no effect or is refused.
    """
    names = _mitigations(postures)
    first = max(map(len, ["mitigation", *names]))
    for block in _blocks(postures, width - first):
        sizes = list(map(_size, block))
        heads = (posture.id.ljust(size) for posture, size in zip(block, sizes, strict=True))
        yield "  ".join(["mitigation".ljust(first), *heads]).rstrip()
        for name in names:
            cells = (_word(posture.cells.get(name)).ljust(size) for posture, size in zip(block, sizes, strict=True))
            yield "  ".join([name.ljust(first), *cells]).rstrip()
        yield ""
    yield from wrap(LEGEND, width)
    yield ""
    yield from _flag_lines(postures, names)
    if reasons:
        yield from _reason_lines(postures, names)


def markdown_table(postures: Sequence[Posture]) -> Iterator[str]:
    """The same as Markdown: what the toolchains are, the table, the flags, the reasons."""
    names = _mitigations(postures)
    yield "| toolchain | command | target | C library | linker |"
    yield "|---|---|---|---|---|"
    for posture in postures:
        tool = posture.toolchain
        yield f"| {posture.id} | `{tool['command']}` | {tool['target']} | {tool['libc']} | {tool['linker']} |"
    yield ""
    yield f"| mitigation | {' | '.join(posture.id for posture in postures)} |"
    yield f"|---|{'---|' * len(postures)}"
    for name in names:
        yield f"| {name} | {' | '.join(_word(posture.cells.get(name)) for posture in postures)} |"
    yield ""
    yield "| mitigation | flags |"
    yield "|---|---|"
    for name in names:
        if flags := _flags(postures, name):
            yield f"| {name} | {'; '.join(f'`{text}`{_whose(ids, postures)}' for text, ids in flags.items())} |"
    yield ""
    for line in _reason_lines(postures, names):
        yield f"- {line}"


def toolchain_lines(postures: Sequence[Posture]) -> Iterator[str]:
    """One line about each toolchain."""
    for posture in postures:
        tool = posture.toolchain
        yield f"{posture.id}: {tool['command']}, {tool['target']}, {tool['libc'] or 'no C library'}, {tool['linker']}"


def _mitigations(postures: Sequence[Posture]) -> list[str]:
    return list(dict.fromkeys(name for posture in postures for name in posture.cells))


def _word(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"{_WORDS[cell.state]} ({cell.at_run_time})" if cell.at_run_time else _WORDS[cell.state]


def _flags(postures: Sequence[Posture], name: str) -> dict[str, list[str]]:
    """The flags that turn a mitigation on, and for which toolchains."""
    found: dict[str, list[str]] = {}
    for posture in postures:
        cell = posture.cells.get(name)
        if cell is not None and cell.state in (State.FLAG, State.NOT_VISIBLE):
            found.setdefault(" ".join(cell.flags), []).append(posture.id)
    return found


def _whose(ids: Sequence[str], postures: Sequence[Posture]) -> str:
    """For whom, where it is few of them."""
    return f" ({', '.join(ids)})" if len(ids) <= len(postures) // 2 else ""


def _flag_lines(postures: Sequence[Posture], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if flags := _flags(postures, name):
            yield f"{name}: {'; '.join(f'{text}{_whose(ids, postures)}' for text, ids in flags.items())}"


def _reason_lines(postures: Sequence[Posture], names: Sequence[str]) -> Iterator[str]:
    """Why something is hidden, has no effect or is refused; once for all toolchains of which the same is told."""
    for name in names:
        reasons: dict[tuple[State, str], list[str]] = {}
        for posture in postures:
            cell = posture.cells.get(name)
            if cell is not None and cell.state not in (State.DEFAULT, State.FLAG):
                reasons.setdefault((cell.state, cell.summary), []).append(posture.id)
        for (state, summary), ids in reasons.items():
            whose = f" ({', '.join(ids)})" if len(ids) < len(postures) else ""
            yield f"{name} {_WORDS[state]}{whose}: {summary}"


def _size(posture: Posture) -> int:
    """The width of a toolchain's column."""
    return max(len(posture.id), *map(len, _WORDS.values()), *map(len, map(_word, posture.cells.values())))


def _blocks(postures: Sequence[Posture], room: int) -> Iterator[list[Posture]]:
    block: list[Posture] = []
    used = 0
    for posture in postures:
        size = _size(posture) + 2
        if block and used + size > room:
            yield block
            block, used = [], 0
        block.append(posture)
        used += size
    yield block
