"""`python -m pytest_hardening toolchain`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_hardening.toolchain import PROBES


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the probes of all commands."""
    return tmp_path_factory.mktemp("probes")


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_hardening", "toolchain", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_table_json_and_comparison(cache: Path, tmp_path: Path) -> None:
    kept = ("--cache", cache)
    table = run("gcc-12", *kept)
    assert (table.returncode, table.stderr) == (0, "")
    assert [line.split()[0] for line in table.stdout.splitlines()[1 : 1 + len(PROBES)]] == [p.name for p in PROBES]
    assert "bind-now: -Wl,-z,now\n" in table.stdout
    saved = tmp_path / "saved.json"
    saved.write_text(run("gcc-12", "--format", "json", *kept).stdout)
    assert run("gcc-12", "--compare", saved, *kept).stdout == table.stdout
    data = json.loads(saved.read_text())
    cells = {cell["mitigation"]: cell for cell in data["toolchains"][0]["mitigations"]}
    cells["bind-now"].update(state="default", flags=[])
    cells["pie"].update(state="flag", flags=["-pie"])
    saved.write_text(json.dumps(data))
    compared = run("gcc-12", "--compare", saved, *kept)
    assert compared.returncode == 1
    lost, gained = sorted(compared.stdout.splitlines()[-2:])
    assert "bind-now lost: was on by default, is on with -Wl,-z,now: " in lost
    assert "pie gained: was on with -pie, is on by default" in gained
    changes = json.loads(run("gcc-12", "--compare", saved, "--format", "json", *kept).stdout)["changes"]
    assert {change["mitigation"]: change["effect"] for change in changes} == {"bind-now": "lost", "pie": "gained"}
    assert "| bind-now | flag |\n" in run("gcc-12", "--format", "md", *kept).stdout


def test_list_says_what_they_are(cache: Path) -> None:
    result = run("--list", "gcc-12", "musl-gcc", "--cache", cache)
    first, second = result.stdout.splitlines()
    assert first.endswith(", GNU ld 2.40") or "GNU ld" in first
    assert "/gcc-12, x86_64-linux-gnu, glibc 2." in first
    assert "/musl-gcc, x86_64-linux-musl, musl 1." in second


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("gcc-99",), "error: 'gcc-99' not found: install it with: apt-get install gcc-99\n"),
        (("gcc", "--compare", "/none.json"), "error: /none.json: No such file or directory\n"),
        (("clang --target=hexagon-linux-gnu",), "error: clang --target=hexagon-linux-gnu: it makes no program: "),
    ],
)
def test_errors(words: tuple[str, ...], message: str) -> None:
    result = run(*words)
    assert result.returncode == 2
    assert result.stderr.startswith(message)
