"""The JSON document, schema version 1 (`schema.json` beside this file)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TextIO

from ..model import ArtifactReport, Verdict
from ..policy.decision import Ruling

__all__ = ["SCHEMA_VERSION", "tool", "with_decision", "write_document"]

SCHEMA_VERSION = 1


def tool() -> dict[str, str]:
    """Name and version of this package."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("pytest-hardening")
    except PackageNotFoundError:  # a checkout that is not installed
        number = "0"
    return {"name": "pytest-hardening", "version": number}


def with_decision(verdict: Verdict, ruling: Ruling) -> dict[str, Any]:
    """A verdict's JSON form with what the policy decided, and the reason where there is one besides the verdict."""
    return {**verdict.to_json(), "decision": ruling.decision.value, "reason": "; ".join(ruling.notes) or None}


def write_document(entries: Iterable[ArtifactReport | dict[str, Any]], stream: TextIO) -> None:
    """Write the document entry by entry, so that memory does not follow the number of files.

    Parameters
    ----------
    entries: reports, or their JSON form.
    stream: where to; one line per artifact.
    """
    stream.write(f'{{"schema_version": {SCHEMA_VERSION}, "tool": {json.dumps(tool())}, "artifacts": [')
    separator = "\n"
    for entry in entries:
        data = entry.to_json() if isinstance(entry, ArtifactReport) else entry
        stream.write(separator + json.dumps(data))
        separator = ",\n"
    stream.write("\n]}\n")
