"""The table at the end of a pytest run: artifacts by checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["CELLS", "table"]

CELLS = {"pass": "ok", "fail": "FAIL", "unknown": "?", "not-applicable": "-", "error": "ERROR"}
_MOST_ROWS = 60


def table(rows: Mapping[str, Mapping[str, str]], checks: Sequence[str], width: int, *, everything: bool) -> list[str]:
    """Lines of the table.

    Parameters
    ----------
    rows: artifact name -> check name -> outcome ("pass", "fail", "unknown", "not-applicable"); an artifact that could
        not be judged has the one key "error".
    checks: the columns, in order.
    width: columns of the terminal.
    everything: show all rows, and all columns that were judged, not only those with a failure or an unknown.
    """
    notable = ("fail", "unknown", "error")
    shown = {
        name: row for name, row in rows.items() if everything or any(outcome in notable for outcome in row.values())
    }
    columns = [
        check
        for check in checks
        if any(check in row if everything else row.get(check) in notable for row in shown.values())
    ]
    if not shown:
        return []
    names = sorted(shown)
    kept = names if everything else names[:_MOST_ROWS]
    first = min(max(map(len, [*kept, "artifact"])), max(20, width // 2))
    lines: list[str] = []
    for block in _blocks(columns, width - first):
        if lines:
            lines.append("")
        lines.append("  ".join(["artifact".ljust(first), *(check.ljust(_width(check)) for check in block)]).rstrip())
        lines += ["  ".join([_short(name, first), *_cells(shown[name], block)]).rstrip() for name in kept]
    if len(names) > len(kept):
        lines.append(f"... and {len(names) - len(kept)} more artifacts; -v shows all, so does --hardening-report FILE")
    return lines


def _cells(row: Mapping[str, str], block: Sequence[str]) -> list[str]:
    if "error" in row:
        return [CELLS["error"], *("" for _ in block[1:])]
    return [CELLS.get(row.get(check, ""), "").ljust(_width(check)) for check in block]


def _width(check: str) -> int:
    return max(len(check), len(CELLS["fail"]))


def _blocks(columns: Sequence[str], room: int) -> list[list[str]]:
    """The columns in as many blocks as the width asks for; one empty block where there is no column."""
    blocks: list[list[str]] = [[]]
    used = 0
    for column in columns:
        if blocks[-1] and used + _width(column) + 2 > room:
            blocks.append([])
            used = 0
        blocks[-1].append(column)
        used += _width(column) + 2
    return blocks


def _short(name: str, width: int) -> str:
    return name.ljust(width) if len(name) <= width else "..." + name[-(width - 3) :]
