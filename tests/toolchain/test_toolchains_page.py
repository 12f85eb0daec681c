"""docs/toolchains.md says what the compilers say that are installed here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.toolchain import Posture, Toolchain
from pytest_hardening.toolchain.tables import markdown_table

from ..conftest import missing
from .toolchains_here import HERE

PAGE = (Path(__file__).parents[2] / "docs" / "toolchains.md").read_text("utf-8")
TABLE = PAGE.partition("<!-- table -->\n")[2]


def columns(table: str = TABLE) -> dict[str, dict[str, str]]:
    """The words of the page, or of a table: id -> mitigation -> word."""
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    start = next(place for place, cells in enumerate(lines) if cells[0] == "mitigation")
    end = next(place for place, cells in enumerate(lines) if cells == ["mitigation", "flags"])
    ids = lines[start][1:]
    return {name: {cells[0]: cells[1 + place] for cells in lines[start + 1 : end]} for place, name in enumerate(ids)}


@pytest.mark.parametrize("command", [here.command for here in HERE], ids=[here.id for here in HERE])
def test_the_table_is_true(
    command: str, toolchain_for: Callable[[str], Toolchain], posture_for: Callable[[str], Posture]
) -> None:
    toolchain = toolchain_for(command)
    if toolchain.id not in columns() or toolchain.libc_version not in ("2.36", "1.2.3"):
        missing(f"the page describes Debian 12, here are {toolchain.id} and {toolchain.libc} {toolchain.libc_version}")
    made = columns("\n".join(markdown_table([posture_for(command)])))
    assert made[toolchain.id] == columns()[toolchain.id]


def test_the_table_has_every_toolchain_of_the_tests() -> None:
    assert len(columns()) == len(HERE)
