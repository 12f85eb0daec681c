"""`python -m pytest_hardening compare OLD NEW`, as users run it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_hardening.fixtures import SampleProject

COMMAND = [sys.executable, "-m", "pytest_hardening"]


def run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], cwd=cwd, capture_output=True, text=True, timeout=60)


Place = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path, sample_project: SampleProject) -> Place:
    """`place("new", "bind-now")`: the sample project's build in a folder of its own."""

    def place(folder: str, break_: str | None = None) -> Path:
        ignored = shutil.ignore_patterns("*.d", "*.o", "settings", ".done")
        shutil.copytree(sample_project(break_), tmp_path / folder, ignore=ignored)
        return tmp_path / folder

    return place


def report(folder: Path, *words: str) -> Path:
    """The JSON report of a folder, made in the folder above."""
    path = folder.with_suffix(".json")
    path.write_text(run("inspect", "--format", "json", folder.name, *words, cwd=folder.parent).stdout)
    return path


def test_same_build(place: Place, tmp_path: Path) -> None:
    place("old")
    place("new")
    result = run("compare", "old", "new", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"6 files, \d+ verdicts compared: no change\n", result.stdout)


@pytest.mark.parametrize(
    ("break_", "lines"),
    [
        (
            "bind-now",
            [
                "PROGRAM lost relro: partial RELRO: GOT slots stay writable",
                "PROGRAM lost bind-now: not bound at start-up: lazy PLT relocations and none of DT_BIND_NOW, ",
                "  fix: link with -Wl,-z,now",
            ],
        ),
        ("pie-link", ["PROGRAM lost pie: "]),
        (
            "stack-protector-unit",
            [
                "EF.a(F.o) lost stack-protector in src/F.c: frame_queue_report(): ",
                "PROGRAM lost stack-protector in src/F.c: ",
            ],
        ),
        ("fortify-unit", ["EF.a(F.o) lost fortify in src/F.c: frame_queue_report(): "]),
        ("pic-member", ["AB.a(B.o) lost pic: ", "libSHARED.so lost text-relocations in src/B.c: "]),
        ("nx-stack", ["PROGRAM lost nx-stack: "]),
        ("rwx-segments", ["PROGRAM lost rwx-segments"]),
        ("rpath", ["PROGRAM lost rpath in DT_RUNPATH '/tmp/lib': "]),
    ],
)
def test_each_loss_and_gain(place: Place, tmp_path: Path, break_: str, lines: list[str]) -> None:
    place("old")
    place("new", break_)
    lost = run("compare", "old", "new", cwd=tmp_path)
    assert lost.returncode == 1
    rest = lost.stdout.splitlines()
    for line in lines:
        assert any(found.startswith(line) for found in rest), line
    gained = run("compare", "new", "old", cwd=tmp_path)
    assert gained.returncode == 0
    name = lines[0].partition(" lost ")[0]
    assert any(found.startswith(f"{name} gained ") for found in gained.stdout.splitlines())
    assert " lost" not in gained.stdout


def test_reports_and_folders_say_the_same(place: Place, tmp_path: Path) -> None:
    old, new = place("old"), place("new", "stack-protector-unit")
    (new / "plugin.so").unlink()
    shutil.copy(old / "plugin.so", new / "libplug.so")
    old_report, new_report = report(old), report(new)
    folders = run("compare", "old", "new", cwd=tmp_path)
    assert folders.returncode == 1
    assert "plugin.so removed\nlibplug.so added: fails " in folders.stdout
    for one, other in ((old_report, new_report), (old, new_report), (old_report, new)):
        found = run("compare", one.name, other.name, cwd=tmp_path)
        assert found.stdout.replace("old/", "").replace("new/", "") == folders.stdout
        assert found.returncode == 1


def test_a_report_that_other_tools_wrote_again(place: Place, tmp_path: Path) -> None:
    path = report(place("old"))
    data = json.loads(path.read_text())
    path.write_text("\n" + json.dumps(data, indent=4, sort_keys=True))
    unchanged = run("compare", path.name, "old", cwd=tmp_path).stdout
    assert re.fullmatch(r"6 files, \d+ verdicts compared: no change\n", unchanged)


def test_the_report_of_a_pytest_run(place: Place, tmp_path: Path) -> None:
    place("old")
    place("new", "relro")
    words = [sys.executable, "-m", "pytest", "-q", "--hardening", "old", "--hardening-report", "pytest.json"]
    subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=60)
    result = run("compare", "pytest.json", "new", "--check", "relro", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.count(" lost relro: no RELRO") == 4


def test_only_some_checks(place: Place, tmp_path: Path) -> None:
    place("old")
    place("new", "bind-now")
    assert run("compare", "old", "new", "--check", "pie", cwd=tmp_path).returncode == 0
    assert " lost " not in run("compare", "old", "new", "--check", "pie", cwd=tmp_path).stdout
    assert run("compare", "old", "new", "--profile", "debian-all", cwd=tmp_path).returncode == 1
    (tmp_path / "partial.toml").write_text('[checks]\nrelro = { level = "partial" }\n')
    levels = run("compare", "old", "new", "--profile", "partial.toml", cwd=tmp_path)
    assert levels.returncode == 1
    assert "PROGRAM lost relro, full -> partial: partial RELRO" in levels.stdout
    wrong = run("compare", "old", "new", "--check", "pi", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_other_check_sets(place: Place, tmp_path: Path) -> None:
    one = report(place("old"), "--check", "pie", "--check", "relro")
    two = report(place("new"), "--check", "pie", "--check", "rpath")
    result = run("compare", one.name, two.name, cwd=tmp_path)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert "not compared, only old.json was judged by it: relro" in lines
    assert "not compared, only new.json was judged by it: rpath" in lines
    assert lines[-1] == "6 files, 8 verdicts compared: no change"
    nothing = run("compare", one.name, "new", "--check", "rpath", cwd=tmp_path)
    assert nothing.returncode == 2
    assert nothing.stderr == "error: no check was run on both old.json and new: nothing to compare\n"


def test_json(place: Place, tmp_path: Path) -> None:
    place("old")
    new = place("new", "bind-now")
    (new / "HOST").rename(new / "HOST2")
    result = run("compare", "old", "new", "--check", "bind-now", "--format", "json", cwd=tmp_path)
    data: dict[str, Any] = json.loads(result.stdout)
    assert (result.returncode, data["loss"], data["strict"]) == (1, True, False)
    assert (data["comparison_version"], data["old"], data["new"]) == (1, "old", "new")
    assert data["added"] == [{"path": "HOST2", "fails": ["bind-now"]}]
    assert data["removed"] == [{"path": "HOST"}]
    assert [file["path"] for file in data["files"]] == ["AB.a", "EF.a", "PROGRAM", "libSHARED.so", "plugin.so"]
    first = data["changes"][0]
    assert (first["path"], first["name"], first["check"], first["effect"]) == ("PROGRAM", "PROGRAM", "bind-now", "lost")
    assert (first["before"], first["after"], first["remedy"]) == ("pass", "fail", "link with -Wl,-z,now")
    assert set(first) == set("path name check effect before after parts level more summary remedy".split())


def test_strict(place: Place, tmp_path: Path) -> None:
    place("old")
    new = place("new")
    (new / "HOST").unlink()
    result = run("compare", "old", "new", cwd=tmp_path)
    assert (result.returncode, "HOST removed" in result.stdout) == (0, True)
    assert run("compare", "old", "new", "--strict", cwd=tmp_path).returncode == 1


def test_unreadable_files(place: Place, tmp_path: Path) -> None:
    place("old")
    new = place("new", "relro")
    (new / "plugin.so").write_bytes((new / "plugin.so").read_bytes()[:900])
    result = run("compare", "old", "new", "--check", "relro", cwd=tmp_path)
    assert result.returncode == 2  # and what was lost is said all the same
    assert "plugin.so: error: not readable: " in result.stdout
    assert "PROGRAM lost relro: " in result.stdout
    assert result.stdout.splitlines()[-1].endswith("3 lost, 1 not comparable")


DAMAGED = {
    "empty": "",
    "half": '{"schema_version": 1, "tool": {"name": "x"}, "artifacts": [\n{"path": "a.so", "mem',
    "no-comma": '{"schema_version": 1 "artifacts": []}',
    "more": '{"schema_version": 1, "tool": {}, "artifacts": []}{}',
    "no-version": '{"artifacts": []}',
    "no-artifacts": '{"schema_version": 1}',
    "nothing": '{"schema_version": 1, "artifacts": []}',
    "foreign": '{"runs": []}',
    "version": '{"schema_version": 2, "tool": {}, "files": {}}',
    "version-text": '{"schema_version": "1", "artifacts": []}',
    "version-true": '{"schema_version": true, "artifacts": []}',
    "late-version": '{"artifacts": [], "schema_version": 7}',
    "entry": '{"schema_version": 1, "artifacts": [5]}',
    "keys": '{"schema_version": 1, "artifacts": [{"path": "x"}]}',
    "path": '{"schema_version": 1, "artifacts": [{"path": 5, "member": null, "kind": "pie", "machine": "", '
    '"error": null, "verdicts": []}]}',
    "kind": '{"schema_version": 1, "artifacts": [{"path": "x", "member": null, "kind": "exe", "machine": "", '
    '"error": null, "verdicts": []}]}',
    "twice": '{"schema_version": 1, "artifacts": ['
    + ",".join(['{"path": "x", "member": null, "kind": "pie", "machine": "", "error": null, "verdicts": []}'] * 2)
    + "]}",
    "member": '{"schema_version": 1, "artifacts": [{"path": "x", "member": "y", "kind": "object", "machine": "", '
    '"error": null, "verdicts": []}]}',
    "deep": '{"schema_version": 1, "artifacts": ' + "[" * 100_000,
    "digits": '{"schema_version": ' + "1" * 10_000 + "}",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_and_foreign_reports(place: Place, tmp_path: Path, name: str) -> None:
    place("new")
    (tmp_path / "old.json").write_text(DAMAGED[name])
    result = run("compare", "old.json", "new", "--check", "pie", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "") or "error: not readable" in result.stdout
    assert "Traceback" not in result.stderr
    assert "old.json" in result.stderr + result.stdout


def test_words_on_damaged_reports(place: Place, tmp_path: Path) -> None:
    place("new")

    def words(text: str) -> str:
        (tmp_path / "old.json").write_text(text)
        return run("compare", "old.json", "new", "--check", "pie", cwd=tmp_path).stderr

    assert words(DAMAGED["half"]).startswith("error: old.json: damaged JSON: ")
    assert words(DAMAGED["version"]) == "error: old.json: a report of schema version 2; this version reads 1\n"
    assert words(DAMAGED["kind"]).startswith("error: old.json: damaged report: entry 1: ")
    assert words(DAMAGED["nothing"]) == "error: old.json: no file is in it\n"


@pytest.mark.parametrize("content", [b'{"\xff', b"{\0", b"{" + b"\xc3\x28" * 70_000])
def test_bytes_that_are_no_text(place: Place, tmp_path: Path, content: bytes) -> None:
    place("new")
    (tmp_path / "old.json").write_bytes(content)
    result = run("compare", "old.json", "new", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: old.json: ")


def test_nothing_at_the_path(place: Place, tmp_path: Path) -> None:
    place("new")
    (tmp_path / "empty").mkdir()
    for old, reason in (("no", "does not exist"), ("empty", "a folder without linked ELF files or static archives")):
        result = run("compare", old, "new", cwd=tmp_path)
        assert (result.returncode, result.stderr) == (2, f"error: {old}: {reason}\n")
    result = run("compare", "new", "empty", cwd=tmp_path)
    assert result.returncode == 2


def test_a_hostile_report_writes_nothing_else_to_the_terminal(place: Place, tmp_path: Path) -> None:
    path = report(place("old"), "--check", "pie")
    data = json.loads(path.read_text())
    data["artifacts"][-1]["path"] = "x\x1b[31m\nPROGRAM gained pie"
    path.write_text(json.dumps(data))
    result = run("compare", path.name, "old", "--check", "pie", cwd=tmp_path)
    assert result.returncode == 0
    assert "\x1b" not in result.stdout
    assert "\nPROGRAM gained" not in result.stdout
