"""The table at the end of a pytest run: artifacts by checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["CELLS", "table"]

CELLS = {
    "pass": "ok",
    "fail": "FAIL",
    "unknown": "?",
    "not-applicable": "-",
    "error": "ERROR",
    "waived": "waived",
    "known": "known",
    "unchanged": "as before",
}
_MOST_ROWS = 60


def table(rows: Mapping[str, Mapping[str, str]], checks: Sequence[str], width: int, *, everything: bool) -> list[str]:
    """Lines of the table.

    Parameters
    ----------
    rows: artifact name -> check name -> outcome ("pass", "fail", "unknown", "not-applicable"), or "waived", "known"
        or "unchanged" where that is what the policy, or a comparison, makes of it; an artifact that could not be judged
        has the one key "error".
    checks: the columns, in order.
    width: columns of the terminal.
    everything: show all rows, and all columns that were judged, not only those with a failure, an unknown or a waiver.
    """
    notable = ("fail", "unknown", "error", "waived")
    shown = {
        name: row for name, row in rows.items() if everything or any(outcome in notable for outcome in row.values())
    }
    columns = {
        check: max(len(check), len(CELLS["fail"]), *(len(_cell(row, check)) for row in shown.values()))
        for check in checks
        if any(check in row if everything else row.get(check) in notable for row in shown.values())
    }
    if not shown:
        return []
    names = sorted(shown)
    kept = names if everything else names[:_MOST_ROWS]
    first = min(max(map(len, [*kept, "artifact"])), max(20, width // 2))
    lines: list[str] = []
    for block in _blocks(columns, width - first):
        if lines:
            lines.append("")
        lines.append(
            "  ".join(["artifact".ljust(first), *(check.ljust(size) for check, size in block.items())]).rstrip()
        )
        lines += ["  ".join([_short(name, first), *_cells(shown[name], block)]).rstrip() for name in kept]
    if len(names) > len(kept):
        lines.append(f"... and {len(names) - len(kept)} more artifacts; -v shows all, so does --hardening-report FILE")
    return lines


def _cell(row: Mapping[str, str], check: str) -> str:
    return CELLS.get(row.get(check, ""), "")


def _cells(row: Mapping[str, str], block: Mapping[str, int]) -> list[str]:
    if "error" in row:
        return [CELLS["error"], *("" for _ in [*block][1:])]
    return [_cell(row, check).ljust(size) for check, size in block.items()]


def _blocks(columns: Mapping[str, int], room: int) -> list[dict[str, int]]:
    """The columns, with their widths, in as many blocks as the width asks for; an empty block where there is none."""
    blocks: list[dict[str, int]] = [{}]
    used = 0
    for check, size in columns.items():
        if blocks[-1] and used + size + 2 > room:
            blocks.append({})
            used = 0
        blocks[-1][check] = size
        used += size + 2
    return blocks


def _short(name: str, width: int) -> str:
    return name.ljust(width) if len(name) <= width else "..." + name[-(width - 3) :]
