from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_hardening.errors import BuildError
from pytest_hardening.toolchain import BuildCache, BuildLog, CommandResult, run


def slow_build(folder: Path, commands: list[CommandResult]) -> None:
    """Leaves a line in `count`, two folders above the entry, for each time that it runs."""
    with (folder.parents[2] / "count").open("a") as count:
        count.write("built\n")
    time.sleep(0.5)
    run(["sh", "-c", "echo content > product"], cwd=folder, log=commands)


# A process of its own has no way to import this file: what it runs is text.
SLOW_GET = """
import sys, time
from pathlib import Path
from pytest_hardening.toolchain import BuildCache, run

def slow_build(folder, commands):
    with (folder.parents[2] / "count").open("a") as count:
        count.write("built\\n")
    time.sleep(0.5)
    run(["sh", "-c", "echo content > product"], cwd=folder, log=commands)

print((BuildCache(Path(sys.argv[1])).get("key", slow_build) / "product").read_text(), end="")
"""


def test_second_get_returns_the_first_build_and_its_commands(tmp_path: Path) -> None:
    log = BuildLog()
    cache = BuildCache(tmp_path / "cache")
    first = cache.get("key", slow_build, title="one", log=log)
    second = BuildCache(tmp_path / "cache").get("key", slow_build, title="two", log=log)
    assert first == second
    assert (tmp_path / "count").read_text() == "built\n"
    assert [(record.title, record.cached) for record in log.records] == [("one", False), ("two", True)]
    assert log.records[0].commands == log.records[1].commands
    assert log.records[0].commands[0].argv[0] == "sh"


def test_processes_that_want_the_same_build_make_it_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW_GET, str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["content\n"] * 4
    assert (tmp_path / "count").read_text() == "built\n"


def test_threads_that_want_the_same_build_make_it_once(tmp_path: Path) -> None:
    cache = BuildCache(tmp_path / "cache")
    threads = [threading.Thread(target=cache.get, args=("key", slow_build)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (tmp_path / "count").read_text() == "built\n"


def test_failed_build_leaves_no_entry_and_logs_its_commands(tmp_path: Path) -> None:
    cache, log = BuildCache(tmp_path / "cache"), BuildLog()

    def fail(folder: Path, commands: list[CommandResult]) -> None:
        (folder / "half").touch()
        run(["sh", "-c", "echo why; exit 1"], cwd=folder, log=commands)

    with pytest.raises(BuildError):
        cache.get("key", fail, log=log)
    assert not (cache.root / "key").exists()
    assert "why" in log.text()
    assert not log.records[0].cached
    assert (cache.get("key", slow_build) / "product").exists()


def test_leftovers_of_a_killed_builder_are_removed(tmp_path: Path) -> None:
    cache = BuildCache(tmp_path / "cache")
    leftover = cache.root / "key" / "files" / "leftover"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    folder = cache.get("key", slow_build)
    assert [path.name for path in folder.iterdir()] == ["product"]


def test_damaged_record_is_an_error_of_ours(tmp_path: Path) -> None:
    cache = BuildCache(tmp_path / "cache")
    (cache.get("key", slow_build).parent / "commands.json").write_text("[{]")
    with pytest.raises(BuildError, match="is damaged"):
        cache.get("key", slow_build)
