"""Time `inspect` against hardening-check, checksec and scanelf over the same files, in one run.

    python benchmarks/speed.py [--sizes 30,300,3000] [--large MiB]

Prints milliseconds per file (start-up included), peak memory of the largest process, and the ratio to `inspect`:
machines are noisy, ratios of one run are not. Debian packages: devscripts, checksec, pax-utils.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from files import system_files

_BATCH = 2000  # arguments per command line
# a process's peak memory starts at that of the process that started it: this one is small
_LAUNCHER = """
import os, sys
nowhere = os.open(os.devnull, os.O_WRONLY)
actions = [(os.POSIX_SPAWN_DUP2, nowhere, 1), (os.POSIX_SPAWN_DUP2, nowhere, 2)]
process = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=actions)
print(os.wait4(process, 0)[2].ru_maxrss)
"""


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    seconds: float
    peak_kib: int


def tools() -> list[Tool]:
    """`inspect` first, then the others."""
    inspect = (sys.executable, "-m", "pytest_hardening", "inspect", "--format", "json")
    return [
        Tool("pytest-hardening inspect", inspect),
        Tool("hardening-check", ("hardening-check", "--quiet")),
        Tool("checksec", ("checksec", "--format=csv", "--listfile={list}")),
        Tool("scanelf", ("scanelf", "-q", "-a")),
    ]


def run(tool: Tool, files: Sequence[str]) -> Timing:
    """Run a tool over files; its exit status says what it thinks of the files and is ignored."""
    peak, start = 0, time.perf_counter()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listing:
        listing.write("\n".join(files) + "\n")
        listing.flush()
        for command in _commands(tool, files, listing.name):
            launched = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command]
            peak = max(peak, int(subprocess.run(launched, stdout=subprocess.PIPE, check=True).stdout))
    return Timing(time.perf_counter() - start, peak)


def _commands(tool: Tool, files: Sequence[str], listing: str) -> list[list[str]]:
    if any("{list}" in part for part in tool.command):
        return [[part.replace("{list}", listing) for part in tool.command]]
    return [[*tool.command, *files[start : start + _BATCH]] for start in range(0, len(files), _BATCH)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="30,300,3000", help="numbers of files (default: 30,300,3000)")
    parser.add_argument("--large", type=int, default=100, metavar="MiB", help="also one file of this size or more")
    options = parser.parse_args()
    present = [tool for tool in tools() if shutil.which(tool.command[0])]
    for tool in tools():
        if tool not in present:
            print(f"not installed: {tool.name}")
    everything = system_files()
    for size in map(int, options.sizes.split(",")):
        files = everything[:size]
        run(present[0], files)  # fill the page cache: nobody's first run shall pay for the disk
        table(f"{len(files)} files", present, files)
    large = [path for path in everything if os.path.getsize(path) >= options.large << 20]
    if large:
        table(f"one file of {os.path.getsize(large[0]) >> 20} MiB: {large[0]}", present, large[:1])
    return 0


def table(title: str, present: Sequence[Tool], files: Sequence[str]) -> None:
    """Time every tool and print the rows."""
    print(f"\n{title}\n{'':26}{'ms/file':>10}{'peak MiB':>10}{'ratio':>8}", flush=True)
    own = 0.0
    for tool in present:
        timing = run(tool, files)
        per_file = timing.seconds * 1000 / len(files)
        own = own or per_file
        print(f"{tool.name:26}{per_file:10.2f}{timing.peak_kib / 1024:10.1f}{per_file / own:8.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
