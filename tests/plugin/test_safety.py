"""Files under test are untrusted: nothing of them runs, and nothing is written but what was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_hardening.fixtures import CompileC

if TYPE_CHECKING:
    from tests.plugin.conftest import User

MARK = """
#include <stdio.h>
#include <stdlib.h>
static void mark(void) {{ FILE *file = fopen("{path}", "w"); if (file) fclose(file); }}
__attribute__((constructor)) static void loaded(void) {{ mark(); }}
int main(void) {{ mark(); return 0; }}
"""


def test_nothing_is_executed_and_nothing_else_is_written(user: User, compile_c: CompileC, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    source = MARK.format(path=mark)
    out = user.path / "out"
    out.mkdir()
    (out / "program").write_bytes(compile_c(source).read_bytes())
    (out / "library.so").write_bytes(compile_c(source, "shared-library", flags=["-fPIC"]).read_bytes())
    for path in out.iterdir():
        path.chmod(0o755)
    (out / "hook.py").write_text(f"open({str(mark)!r}, 'w')")
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*words: str) -> int:
        command = [sys.executable, "-m", *words]
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=60).returncode

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert run("pytest", "-p", "no:cacheprovider", f"--hardening={out}", "--hardening-report=report.json") == 1
    assert run("pytest_hardening", "inspect", "--second-opinion", str(out)) == 1
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert [path.name for path in work.iterdir()] == ["report.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work"]
    subprocess.run([out / "program"], check=True)
    assert mark.exists()  # so it would have shown
