"""The JSON document read back, in whatever pieces it comes."""

from __future__ import annotations

import io
import json

import pytest

from pytest_hardening.errors import ComparisonError
from pytest_hardening.model import ArtifactReport, Evidence, Kind, Outcome, Verdict
from pytest_hardening.reports.document import write_document
from pytest_hardening.reports.reading import read_document

FAILED = Verdict(
    "pic", Outcome.FAIL, "2 of 9", {"members": {"fail": 2}}, (Evidence("relocation", '\u2028 \\ "'),), ("A.o",), "fix"
)
ENTRIES = [
    ArtifactReport("lib/A.a", "A.o", Kind.OBJECT, "x86-64", None, (FAILED,)),
    ArtifactReport("lib/A.a", None, Kind.ARCHIVE, "x86-64", None, (FAILED,)),
    ArtifactReport("lib/B.so", None, Kind.NOT_ELF, "", "empty file"),
]


class Trickle(io.StringIO):
    """A stream that gives one character at a time, whatever is asked for."""

    def read(self, size: int | None = -1, /) -> str:
        return super().read(1)


def text() -> str:
    stream = io.StringIO()
    write_document(ENTRIES, stream)
    return stream.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Trickle])
def test_round_trip(stream: type[io.StringIO]) -> None:
    assert list(read_document(stream(text()))) == ENTRIES
    again = json.dumps(json.loads(text()), indent=3, sort_keys=True)
    assert list(read_document(stream(f"\n {again} \n"))) == ENTRIES


def test_entries_come_before_the_end_is_known() -> None:
    entries = read_document(Trickle(text()[:-4]))
    assert [next(entries) for _ in ENTRIES] == ENTRIES
    with pytest.raises(ComparisonError, match="ends early"):
        next(entries)


def test_every_cut_is_damage() -> None:
    whole = text().rstrip()
    for length in range(len(whole)):
        with pytest.raises(ComparisonError):
            list(read_document(io.StringIO(whole[:length])))


@pytest.mark.parametrize("version", ["12", "1.0", "10", "-1", "null", '"1"', "true", "[1]"])
def test_other_versions(version: str) -> None:
    changed = text().replace('"schema_version": 1', f'"schema_version": {version}')
    with pytest.raises(ComparisonError, match="schema version"):
        list(read_document(Trickle(changed)))


@pytest.mark.parametrize("key", ["path", "member", "kind", "machine", "error", "verdicts"])
@pytest.mark.parametrize("value", [5, {}, [5], True])
def test_wrong_types(key: str, value: object) -> None:
    data = json.loads(text())
    data["artifacts"][0][key] = value
    with pytest.raises(ComparisonError, match="damaged report: entry 1: "):
        list(read_document(io.StringIO(json.dumps(data))))


@pytest.mark.parametrize("key", ["check", "outcome", "summary", "observed", "evidence", "culprits", "remedy"])
@pytest.mark.parametrize("value", [5, [5], None, "\x1b[31m"])
def test_wrong_types_in_verdicts(key: str, value: object) -> None:
    data = json.loads(text())
    data["artifacts"][0]["verdicts"][0][key] = value
    if isinstance(value, str) and key in ("check", "summary", "remedy"):
        assert list(read_document(io.StringIO(json.dumps(data))))
        return
    with pytest.raises(ComparisonError, match="damaged report: entry 1: ") as caught:
        list(read_document(io.StringIO(json.dumps(data))))
    assert "\x1b" not in str(caught.value)
