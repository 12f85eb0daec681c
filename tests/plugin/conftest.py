"""A user's project with the sample project's build in it, and a way to run the gate that also reads its report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_hardening.fixtures import CompileC, SampleProject


@dataclass
class Run:
    """What a run of pytest printed, and its validated JSON report."""

    result: pytest.RunResult
    document: dict[str, Any]

    @property
    def verdicts(self) -> dict[str, str]:
        """`{"build/PROGRAM::pie": "pass"}` of all artifacts, without the members of archives."""
        return {
            f"{entry['path']}::{verdict['check']}": verdict["outcome"]
            for entry in self.document["artifacts"]
            if entry["member"] is None
            for verdict in entry["verdicts"]
        }

    @property
    def errors(self) -> dict[str, str]:
        """The files that could not be judged, and why."""
        entries = self.document["artifacts"]
        return {entry["path"]: entry["error"] for entry in entries if entry["member"] is None and entry["error"]}

    def having(self, outcome: str) -> set[str]:
        """The items with one outcome."""
        return {name for name, found in self.verdicts.items() if found == outcome}


class User:
    """A user who types `pytest --hardening ...` in a folder of their own."""

    def __init__(self, pytester: pytest.Pytester, sample_project: SampleProject) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self._sample_project = sample_project

    def build(self, folder: str = "build", break_: str | None = None) -> Path:
        """The products of the sample project in a folder of the user's."""
        path = self.path / folder
        ignored = shutil.ignore_patterns("*.d", "settings", ".done")
        shutil.copytree(self._sample_project(break_), path, ignore=ignored)
        return path

    def policy(self, *texts: str) -> None:
        """Write hardening.toml."""
        (self.path / "hardening.toml").write_text("\n".join(texts), "utf-8")

    def run(self, *arguments: str | Path, subprocess: bool = False) -> Run:
        """Run pytest with a JSON report, here or in a process of its own."""
        report = self.path / "report.json"
        report.unlink(missing_ok=True)
        result = self.pytest(*arguments, "--hardening-report", report, subprocess=subprocess)
        document = json.loads(report.read_text("utf-8"))
        jsonschema.validate(document, json.loads(files("pytest_hardening").joinpath("reports/schema.json").read_text()))
        return Run(result, document)

    def pytest(self, *arguments: str | Path, subprocess: bool = False) -> pytest.RunResult:
        """Run pytest, here or in a process of its own."""
        if subprocess:
            return self.pytester.runpytest_subprocess(*arguments, timeout=60)
        return self.pytester.runpytest_inprocess(*arguments)


@pytest.fixture
def user(pytester: pytest.Pytester, sample_project: SampleProject, monkeypatch: pytest.MonkeyPatch) -> User:
    """A folder of a user's, empty at first."""
    for name in ("CI", "BUILD_NUMBER"):  # with these pytest repeats whole messages in its short summary
        monkeypatch.delenv(name, raising=False)
    return User(pytester, sample_project)


@pytest.fixture
def bitcode_archive() -> Callable[[Path], None]:
    """Write an archive of LLVM bitcode, of which every check says unknown: its code is generated at link time."""

    def bitcode_archive(path: Path) -> None:
        header = b"".join((b"unit.o/".ljust(16), b"0".ljust(12), b"0".ljust(6), b"0".ljust(6), b"644".ljust(8)))
        path.write_bytes(b"!<arch>\n" + header + b"4".ljust(10) + b"`\n" + b"BC\xc0\xde")

    return bitcode_archive


@pytest.fixture
def legacy(user: User, build: CompileC) -> User:
    """A user whose build/libX.so has two functions without canary, and whose build/libY.so has no RELRO."""
    source = {
        "F.c": """
            #include <string.h>
            void sink(char *);
            int copy(const char *s) { char b[64]; strcpy(b, s); sink(b); return b[0]; }
            int grow(const char *s) { char b[32]; strcpy(b, s); sink(b); return b[1]; }
            """,
        "G.c": """
            void sink(char *b) { b[2] = 0; }
            int safe(const char *s) { char b[16]; b[0] = *s; sink(b); return b[0]; }
            """,
    }
    full = ["-Wl,-z,relro,-z,now"]
    flags = ["-g", "-O2", "-fPIC", "-fstack-protector-strong"]
    unprotected = {"F.c": ["-fno-stack-protector"]}
    folder = user.path / "build"
    folder.mkdir()
    shutil.copy(build(source, "shared-library", flags, full, name="libX.so", unit_flags=unprotected), folder)
    shutil.copy(build(source, "shared-library", flags, ["-Wl,-z,norelro"], name="libY.so"), folder)
    user.policy('profile = "kms-6.6"')
    return user
