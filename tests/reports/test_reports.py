"""The pure renderers: message, listing, table, document."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from pytest_hardening.model import ArtifactReport, Evidence, Kind, Outcome, Report, Verdict
from pytest_hardening.reports.document import SCHEMA_VERSION, write_document
from pytest_hardening.reports.listing import listing
from pytest_hardening.reports.message import message, with_fix
from pytest_hardening.reports.table import table

FAILED = Verdict(
    "pic",
    Outcome.FAIL,
    "2 of 9 members",
    {"members": {"fail": 2}},
    (Evidence("relocation", "R_X86_64_32"), Evidence("symbol table", "x")),
    ("A.o", "B.o"),
    "compile with -fPIC",
)
PASSED = Verdict("nx-stack", Outcome.PASS, "stack not executable")
UNKNOWN = Verdict("fortify", Outcome.UNKNOWN, "no trace")
NEEDLESS = Verdict("pie", Outcome.NOT_APPLICABLE, "an archive")
ENTRY = ArtifactReport("lib/A.a", None, Kind.ARCHIVE, "x86-64", None, (NEEDLESS, FAILED, PASSED, UNKNOWN))
MEMBER = ArtifactReport("lib/A.a", "A.o", Kind.OBJECT, "x86-64", None, (FAILED,))
BROKEN = ArtifactReport("lib/B.so", None, Kind.NOT_ELF, "", "empty file")


def test_message_has_all_and_its_first_line_stands_alone() -> None:
    assert message("lib/A.a", FAILED).splitlines() == [
        "lib/A.a: 2 of 9 members",
        "  relocation: R_X86_64_32",
        "  symbol table: x",
        "  culprits: A.o, B.o",
        "  fix: compile with -fPIC",
        "  why: python -m pytest_hardening explain pic",
    ]
    why = "\n  why: python -m pytest_hardening explain fortify"
    assert message("lib/A.a", UNKNOWN) == f"lib/A.a: unknown: no trace{why}"
    strict = message("lib/A.a", UNKNOWN, strictness="--hardening-strict")
    assert strict == f"lib/A.a: unknown, which --hardening-strict counts as a failure: no trace{why}"
    assert message("lib/A.a", replace(UNKNOWN, check="our-own")) == "lib/A.a: unknown: no trace"  # of a plugin


def test_message_cuts_culprits() -> None:
    many = Verdict("pic", Outcome.FAIL, "bad", culprits=tuple(f"{number}.o" for number in range(10)))
    assert message("A.a", many).splitlines()[1] == "  culprits: 0.o, 1.o, 2.o, 3.o, 4.o, 5.o, 6.o, 7.o and 2 more"


def test_listing_answers_in_the_words_of_hardening_check() -> None:
    assert listing(ENTRY).splitlines() == [
        "lib/A.a: (archive, x86-64)",
        " Position Independent Executable: not applicable, an archive",
        " Position independent code: no, 2 of 9 members",
        "   culprits: A.o, B.o",
        "   fix: compile with -fPIC",
        " Non-executable stack: yes (stack not executable)",
        " Fortify Source functions: unknown, no trace",
    ]
    many = Verdict("pic", Outcome.FAIL, "bad", culprits=tuple(f"{number}.o" for number in range(10)))
    shown = listing(ArtifactReport("A.a", None, Kind.ARCHIVE, "x86-64", None, (many,))).splitlines()[2]
    assert shown == "   culprits: 0.o, 1.o, 2.o, 3.o, 4.o, 5.o, 6.o, 7.o and 2 more"
    assert listing(MEMBER).startswith("lib/A.a(A.o): (object, x86-64)\n")
    assert listing(BROKEN) == "lib/B.so: error: empty file"


ROWS: dict[str, Mapping[str, str]] = {
    "good": {"pie": "pass", "relro": "pass"},
    "bad": {"pie": "fail", "relro": "pass", "fortify": "unknown"},
    "lib": {"relro": "not-applicable", "fortify": "fail"},
    "cut": {"error": "error"},
}
CHECKS = ["pie", "relro", "rpath", "fortify"]


def test_table_shows_what_needs_attention() -> None:
    assert table(ROWS, CHECKS, 80, everything=False) == [
        "artifact  pie   fortify",
        "bad       FAIL  ?",
        "cut       ERROR",
        "lib             FAIL",
    ]


def test_table_shows_all_that_was_judged() -> None:
    assert table(ROWS, CHECKS, 80, everything=True) == [
        "artifact  pie   relro  fortify",
        "bad       FAIL  ok     ?",
        "cut       ERROR",
        "good      ok    ok",
        "lib             -      FAIL",
    ]


def test_table_of_nothing_notable_is_empty() -> None:
    assert table({"good": ROWS["good"]}, CHECKS, 80, everything=False) == []
    assert table({}, CHECKS, 80, everything=True) == []


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_table_keeps_to_the_width(width: int) -> None:
    checks = [f"check-number-{number}" for number in range(12)]
    name = "a/very/long/path/" * 6 + "libSHARED.so"
    lines = table({name: dict.fromkeys(checks, "fail")}, checks, width, everything=False)
    assert all(len(line) <= max(width, 20 + 2 + len(checks[-1])) for line in lines)
    shown = [word for line in lines for word in line.split() if word.startswith("check-")]
    assert shown == checks
    assert sum(line.count("FAIL") for line in lines) == len(checks)
    assert all("libSHARED.so" in line for line in lines if "FAIL" in line)


def test_table_cuts_many_rows_unless_everything() -> None:
    rows = {f"{number:03}": {"pie": "fail"} for number in range(100)}
    lines = table(rows, CHECKS, 80, everything=False)
    assert len(lines) == 1 + 60 + 1
    assert lines[-1] == "... and 40 more artifacts; -v shows all, so does --hardening-report FILE"
    assert len(table(rows, CHECKS, 80, everything=True)) == 101


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema that comes with the package."""
    data: dict[str, Any] = json.loads(files("pytest_hardening").joinpath("reports/schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(data)
    return data


def document(*entries: ArtifactReport | dict[str, Any]) -> dict[str, Any]:
    stream = io.StringIO()
    write_document(entries, stream)
    data: dict[str, Any] = json.loads(stream.getvalue())
    return data


def test_document_is_valid_and_complete(schema: dict[str, Any]) -> None:
    data = document(ENTRY, MEMBER.to_json(), BROKEN)
    jsonschema.validate(data, schema)
    assert data["schema_version"] == SCHEMA_VERSION == 1
    assert [ArtifactReport.from_json(entry) for entry in data["artifacts"]] == [ENTRY, MEMBER, BROKEN]
    jsonschema.validate(document(), schema)


@pytest.mark.parametrize(
    "change",
    [
        {"error": "broken"},  # an error and verdicts
        {"error": ""},
        {"kind": "program"},
        {"path": ""},
        {"extra": 1},
        {"verdicts": [{**PASSED.to_json(), "outcome": "yes"}]},
        {"verdicts": [{**PASSED.to_json(), "summary": "two\nlines"}]},
        {"verdicts": [{**PASSED.to_json(), "check": "Not-Kebab"}]},
        {"verdicts": [{**PASSED.to_json(), "evidence": [{"where": "here"}]}]},
    ],
    ids=str,
)
def test_schema_refuses(schema: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document({**ENTRY.to_json(), **change}), schema)


def test_schema_lists_every_kind_and_outcome(schema: dict[str, Any]) -> None:
    definitions = schema["$defs"]
    assert set(definitions["artifact"]["properties"]["kind"]["enum"]) == {kind.value for kind in Kind}
    assert set(definitions["verdict"]["properties"]["outcome"]["enum"]) == {outcome.value for outcome in Outcome}


def test_summary_with_its_remedy() -> None:
    assert with_fix("no symbols", "do not strip it") == "no symbols (fix: do not strip it)"
    assert with_fix("no symbols", "") == "no symbols"


def test_report_parts() -> None:
    report = Report((ENTRY, MEMBER))
    assert (report.artifact, report.members) == (ENTRY, (MEMBER,))
    assert report.verdict("pic") is FAILED
    with pytest.raises(KeyError, match=r"no verdict of 'pick'; there are: .*pic.*; did you mean 'pic'"):
        report.verdict("pick")
    damaged = Report((ArtifactReport("x.so", None, Kind.NOT_ELF, "", "empty file"),))
    with pytest.raises(KeyError, match=r"no verdict of 'pic': x\.so: empty file"):
        damaged.verdict("pic")
    assert (ENTRY.name, MEMBER.name) == ("lib/A.a", "lib/A.a(A.o)")
