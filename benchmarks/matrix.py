"""What `inspect`, hardening-check and checksec say of the linked files of tests/matrix, against the flags of the build.

    python benchmarks/matrix.py [--store FOLDER] [--only gcc-12] [--every 3]

Prints a Markdown table: per check and tool the numbers of verdicts that are right, passes on a file that falls short,
alarms on a file that does not, verdicts left open, and mixed builds whose culprit is named. A tool that has no such
check has no row. What the others are asked is what they answer: hardening-check partial RELRO, both FORTIFY of any
level; checksec reports every search path, also one relative to $ORIGIN.
Debian packages: devscripts, checksec, and what apt-packages.txt names.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pytest_hardening import Outcome, Verdict, inspect
from pytest_hardening.checks.registry import check_names
from tests.matrix.build import Artifact, build
from tests.matrix.plan import GROUPS, scenarios
from tests.matrix.probes import can_mark
from tests.matrix.results import compare_outcome, is_named
from tests.matrix.store import Store
from tests.matrix.toolchains import TOOLCHAINS
from tests.matrix.truth import TRUTH, Expectation, expect

_CHECKS = tuple(check for check in check_names() if check in TRUTH or check == "cf-protection")
_YES_NO = {"yes": Outcome.PASS, "no": Outcome.FAIL, "unknown": Outcome.UNKNOWN}

#: hardening-check(1): the label of each of its answers.
_HARDENING_CHECK = {
    "pie": "Position Independent Executable",
    "stack-protector": "Stack protected",
    "fortify": "Fortify Source functions",
    "relro": "Read-only relocations",
    "bind-now": "Immediate binding",
    "stack-clash": "Stack clash protection",
    "cf-protection": "Control flow integrity",
}

#: checksec(7): the field of each of its answers, and what its words mean. It says of RELRO whether it is full.
_CHECKSEC: Mapping[str, tuple[str, Mapping[str, Outcome]]] = {
    "pie": ("pie", {"yes": Outcome.PASS, "no": Outcome.FAIL, "dso": Outcome.NOT_APPLICABLE}),
    "stack-protector": ("canary", _YES_NO),
    "fortify": ("fortify_source", {**_YES_NO, "n/a": Outcome.NOT_APPLICABLE}),
    "relro": ("relro", {"full": Outcome.PASS, "partial": Outcome.FAIL, "no": Outcome.FAIL}),
    "nx-stack": ("nx", _YES_NO),
    "rpath": ("rpath", {"no": Outcome.PASS, "yes": Outcome.FAIL}),
}


def ours(artifact: Artifact) -> dict[str, Verdict]:
    report = inspect(artifact.path, {check: artifact.parameters.get(check, {}) for check in _CHECKS})
    return {verdict.check: verdict for verdict in report.artifact.verdicts}


def hardening_check(artifact: Artifact) -> dict[str, Verdict]:
    text = _output("hardening-check", str(artifact.path))
    found = {}
    for check, label in _HARDENING_CHECK.items():
        if match := re.search(rf"{label}: (.*)", text):
            answer = match[1]
            outcome = _YES_NO.get(re.split(r"[, (]", answer, maxsplit=1)[0], Outcome.UNKNOWN)
            if "regular shared library" in answer:
                outcome = Outcome.NOT_APPLICABLE
            found[check] = Verdict(check, outcome, answer)
    return found


def checksec(artifact: Artifact) -> dict[str, Verdict]:
    text = _output("checksec", f"--file={artifact.path}", "--format=json")
    try:
        answers = next(iter(json.loads(text).values()))
    except (ValueError, StopIteration):
        return {check: Verdict(check, Outcome.UNKNOWN, text.strip()) for check in _CHECKSEC}
    found = {}
    for check, (name, words) in _CHECKSEC.items():
        answer = str(answers.get(name, ""))
        if check == "rpath" and answers.get("runpath") == "yes":
            answer = "yes"
        found[check] = Verdict(check, words.get(answer.lower(), Outcome.UNKNOWN), answer)
    return found


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


_TOOLS: Mapping[str, Callable[[Artifact], dict[str, Verdict]]] = {
    "inspect": ours,
    "hardening-check": hardening_check,
    "checksec": checksec,
}


def linked(store: Store, only: str, every: int) -> Iterator[Artifact]:
    """The linked files of the plan, or one in every n, chosen by their names."""
    for toolchain in TOOLCHAINS:
        if only not in toolchain.name:
            continue
        for group in GROUPS:
            for scenario in scenarios(toolchain, group):
                for artifact in build(store, scenario):
                    if artifact.is_linked and zlib.crc32(artifact.title.encode()) % every == 0:
                        yield artifact


def count(tally: Counter[str], artifact: Artifact, truth: Expectation, verdict: Verdict) -> None:
    """One verdict of one tool; what nobody can tell counts for nobody, unless a tool claims it wrongly."""
    category = compare_outcome(truth, verdict.outcome)
    tally[category] += 1
    if truth.answer == "violation" and 0 < len(truth.culprits) < artifact.compiled and not artifact.stripped:
        texts = (*verdict.culprits, verdict.summary, *map(str, verdict.evidence))
        named = verdict.outcome is Outcome.FAIL and any(is_named(unit, texts) for unit in truth.culprits)
        tally["named" if named else "not named"] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="where products are kept (default: a folder that is removed)")
    parser.add_argument("--only", default="", metavar="TEXT", help="toolchains whose name holds this")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="judge one file in N")
    options = parser.parse_args()
    tallies: dict[tuple[str, str], Counter[str]] = {}
    files = 0
    with tempfile.TemporaryDirectory() as folder:
        store = Store(options.store or Path(folder))
        for artifact in linked(store, options.only, options.every):
            files += 1
            marks = can_mark(store, artifact.toolchain)
            for tool, ask in _TOOLS.items():
                for check, verdict in ask(artifact).items():
                    # the others judge RELRO and FORTIFY by levels of their own: hardening-check asks for partial RELRO
                    truth = expect(artifact, check, parameters(tool, check, artifact), marks)
                    if tool != "inspect" and check == "cf-protection" and truth.answer == "cannot-be-told":
                        truth = replace(truth, accepted=frozenset({Outcome.FAIL}))  # "no" is true of the mark
                    count(tallies.setdefault((check, tool), Counter()), artifact, truth, verdict)
    print(f"{files} linked files\n")
    for line in table(tallies):
        print(line)
    return 0


def parameters(tool: str, check: str, artifact: Artifact) -> Mapping[str, Any]:
    """What a tool is asked: ours the check's parameters, the others the question that they answer."""
    if tool == "inspect":
        return artifact.parameters.get(check, {})
    if tool == "hardening-check" and check == "relro":
        return {"level": "partial"}
    return {"level": 1} if check == "fortify" else {}


def table(tallies: Mapping[tuple[str, str], Counter[str]]) -> Iterator[str]:
    """The lines of the Markdown table."""
    yield "| check | tool | right | false OK | false alarm | unknown | cannot be told | culprit named |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    sums: dict[str, Counter[str]] = {}
    for check in _CHECKS:
        for tool in _TOOLS:
            if (tally := tallies.get((check, tool))) is not None:
                sums.setdefault(tool, Counter()).update(tally)
                yield _row(check, tool, tally)
    for tool, tally in sums.items():
        yield _row("all", tool, tally)


def _row(check: str, tool: str, tally: Counter[str]) -> str:
    counts = [tally[name] for name in ("right", "false OK", "false alarm", "unknown", "cannot be told")]
    mixed = tally["named"] + tally["not named"]
    named = f"{tally['named']} of {mixed}" if mixed else ""
    return f"| {check} | {tool} | {' | '.join(map(str, counts))} | {named} |"


if __name__ == "__main__":
    sys.exit(main())
