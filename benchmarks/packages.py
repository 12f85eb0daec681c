"""Judge Debian packages and Python wheels, and print a Markdown table: python benchmarks/packages.py FOLDER [-v]

FOLDER holds the `.deb` and `.whl` files, as `apt-get download NAME ...` and `pip download --no-deps --only-binary :all:
NAME ...` bring them. Debian packages are judged by the profile `debian`, wheels by `recommended`, their extension
modules by `plugin`, as the gate does. With -v each failure is printed to stderr.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

from pytest_hardening.artifacts.discovery import discover
from pytest_hardening.engine import judge
from pytest_hardening.model import Outcome
from pytest_hardening.policy.profile import load_profile


def row(path: Path) -> str:
    """One line of the table: what fails and what is unknown, by check."""
    started = time.monotonic()
    found = discover([str(path)], base=str(path.parent))
    failed: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    judged = 0
    usual = load_profile("debian" if path.suffix == ".deb" else "recommended")
    for artifact in found.artifacts:
        profile = load_profile("plugin") if artifact.role == "plugin" else usual
        entry = list(judge(artifact, profile))[-1]
        judged += entry.error is None
        for verdict in entry.verdicts:
            failed[verdict.check] += verdict.outcome is Outcome.FAIL
            unknown[verdict.check] += verdict.outcome is Outcome.UNKNOWN
            if "-v" in sys.argv and verdict.outcome is Outcome.FAIL:
                print(f"{artifact.display}: {verdict.check}: {verdict.summary}", file=sys.stderr)
        if entry.error is not None:
            print(f"{artifact.display}: {entry.error}", file=sys.stderr)
    for name, reason in found.problems:
        print(f"{name}: {reason}", file=sys.stderr)
    name = "-".join(path.name.split("-")[:2]) if path.suffix == ".whl" else path.stem.replace("%3a", ":")
    errors = len(found.artifacts) - judged + len(found.problems)
    seconds = time.monotonic() - started
    cells = (name, judged, counted(failed), counted(unknown), *([f"{errors} errors"] if errors else []))
    return f"| {' | '.join(map(str, cells))} | {seconds:.1f} s |"


def counted(checks: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in checks.items() if number) or "none"


def main() -> None:
    print("| package | files | failed | unknown | time |\n|---|---|---|---|---|")
    for path in sorted(Path(sys.argv[1]).glob("**/*")):
        if path.suffix in (".deb", ".whl"):
            print(row(path), flush=True)


if __name__ == "__main__":
    main()
