"""Compare `inspect` with Debian's hardening-check, file by file: PIE, RELRO, immediate binding, control flow.

    python benchmarks/compare_hardening_check.py [--files 200]

Prints every difference, grouped, with the readelf line that decides it, in Markdown; docs/comparison.md holds such a
run. Debian package: devscripts.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter

from files import system_files

from pytest_hardening import Outcome, inspect

_CHECKS = {
    "pie": "Position Independent Executable",
    "relro": "Read-only relocations",
    "bind-now": "Immediate binding",
    "cf-protection": "Control flow integrity",
}
_PROOF = {
    "pie": ("-hSW", r"Type:.*(DYN|EXEC)|NOBITS.* AX "),
    "relro": ("-lSW", r"GNU_RELRO|NOBITS.* AX "),
    "bind-now": ("-dSW", r"\((FLAGS|FLAGS_1|BIND_NOW|JMPREL)\)|There is no dynamic|NOBITS.* AX "),
    "cf-protection": ("-nW", r"x86 feature"),
}


# check, ours, theirs -> who is right; written after looking at the files
_WHO_IS_RIGHT = {
    ("bind-now", "n/a", "no"): "Ours. A static program, a detached debug file or a library without DT_JMPREL binds "
    "nothing while it runs: there is nothing that -z now would change. hardening-check looks for the flags alone.",
    ("cf-protection", "n/a", "no"): "Ours. Files for architectures without such a mark, and detached debug files. "
    "hardening-check looks for the x86 note in every file.",
    ("cf-protection", "unknown", "no"): "Both, about the mark: there is none, and `observed` in our verdict says so "
    "(`ibt` and `shstk` are false). Ours is no failure, because these files have no symbol left that would tell "
    "whether their units were compiled with -fcf-protection, and on Debian 12 the start files of the toolchain lack "
    "the note: no linked file can carry it, whatever its maker's flags. Where symbols show functions without landing "
    "pads, both say no.",
    ("pie", "n/a", "no"): "Ours. Shared libraries and detached debug files are no executables; hardening-check prints "
    "`no, regular shared library (ignored)` for libraries.",
    ("pie", "n/a", "yes"): "Ours. A shared library linked by lld, which writes PT_PHDR into libraries too; "
    "hardening-check takes PT_PHDR for the mark of an executable. The file has neither DF_1_PIE nor DT_DEBUG.",
    ("relro", "n/a", "yes"): "Ours. Detached debug files are never loaded; the program headers in them describe the "
    "file that they were split from.",
}


def theirs(path: str) -> dict[str, str]:
    """hardening-check's answers: "yes", "no" or what else it prints."""
    output = subprocess.run(["hardening-check", path], capture_output=True, text=True, check=False).stdout
    answers = dict(line.strip().split(": ", 1) for line in output.splitlines() if ": " in line)
    return {check: re.split(r"[,( ]", answers.get(label, "?"), maxsplit=1)[0] for check, label in _CHECKS.items()}


def ours(path: str) -> dict[str, str]:
    """Our answers in the same words; RELRO as they mean it, partial."""
    report = inspect(path, {check: ({"level": "partial"} if check == "relro" else {}) for check in _CHECKS})
    words = {Outcome.PASS: "yes", Outcome.FAIL: "no", Outcome.NOT_APPLICABLE: "n/a", Outcome.UNKNOWN: "unknown"}
    return {verdict.check: words[verdict.outcome] for verdict in report.artifact.verdicts}


def proof(path: str, check: str) -> str:
    """The line of readelf that decides a check."""
    option, pattern = _PROOF[check]
    text = subprocess.run(["readelf", option, path], capture_output=True, text=True, check=False).stdout
    lines = [" ".join(line.split()) for line in text.splitlines() if re.search(pattern, line)]
    if any("NOBITS" in line for line in lines):
        return "its code sections (flags AX) are NOBITS: a detached debug file"
    return lines[-1] if lines else "readelf -n: no line 'x86 feature'" if check == "cf-protection" else "no such tag"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    files = system_files()[: parser.parse_args().files]
    same: Counter[tuple[str, str]] = Counter()
    different: dict[tuple[str, str, str], list[str]] = {}
    for path in files:
        left, right = ours(path), theirs(path)
        for check in _CHECKS:
            if left.get(check) == right[check]:
                same[check, right[check]] += 1
            else:
                different.setdefault((check, left.get(check, "error"), right[check]), []).append(path)
    print(f"{len(files)} files. The same answer:", ", ".join(f"{c} {w}: {n}" for (c, w), n in sorted(same.items())))
    for (check, left_word, right_word), paths in sorted(different.items()):
        print(f"\n### {check}: ours {left_word}, theirs {right_word}: {len(paths)} files\n")
        print(f"Who is right: {_WHO_IS_RIGHT.get((check, left_word, right_word), 'not looked at yet')}\n")
        print("<details><summary>the files, each under the line of readelf that decides it</summary>\n")
        by_proof: dict[str, list[str]] = {}
        for path in paths:
            by_proof.setdefault(proof(path, check), []).append(path)
        for line, members in sorted(by_proof.items()):
            print(f"`{line}`\n")
            for path in members:
                print(f"- {path}")
            print()
        print("</details>")
    return 0


if __name__ == "__main__":
    sys.exit(main())
