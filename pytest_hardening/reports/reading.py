"""The JSON document read back (schema version 1): entry by entry, so that memory does not follow its size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from ..elf.image import printable
from ..errors import ComparisonError
from ..model import ArtifactReport
from .document import SCHEMA_VERSION

__all__ = ["read_document"]

_PIECE = 1 << 16
_MOST_VALUE = 1 << 26  # characters of one entry; the largest real ones have some 100,000
_BEHIND = 3  # characters behind a value that tell whether a number goes on: "1" may be the beginning of "1e+2"
_SPACE = " \t\n\r"


def read_document(stream: TextIO) -> Iterator[ArtifactReport]:
    """The entries of a document that `write_document` wrote, in their order; other programs may have indented it or
    sorted its keys.

    Raises
    ------
    ComparisonError: it is not one, has another schema version, or is damaged. What cannot be known before the end is
        raised at the end.
    OSError, UnicodeDecodeError: the stream cannot be read.
    """
    values = _Values(stream)
    version: object = None
    listed = False
    values.take("{")
    while values.next_char() != "}":
        key = values.value()
        values.take(":")
        if key == "artifacts" and not listed:
            listed = True
            yield from _entries(values)
        else:
            value = values.value()
            if key == "schema_version":
                version = value
                if type(version) is not int or version != SCHEMA_VERSION:
                    raise ComparisonError(
                        f"a report of schema version {json.dumps(version)[:20]}; this version reads {SCHEMA_VERSION}"
                    )
        if values.next_char() != "}":
            values.take(",")
    values.take("}")
    if values.next_char():
        raise ComparisonError("damaged JSON: something follows its end")
    if version is None or not listed:
        raise ComparisonError("not a report of pytest-hardening: it has no schema_version and artifacts")


def _entries(values: _Values) -> Iterator[ArtifactReport]:
    values.take("[")
    number = 0
    while values.next_char() != "]":
        number += 1
        yield _entry(values.value(), number)
        if values.next_char() != "]":
            values.take(",")
    values.take("]")


def _entry(data: Any, number: int) -> ArtifactReport:
    try:
        lists = [data["verdicts"], *(verdict[key] for verdict in data["verdicts"] for key in ("culprits", "evidence"))]
        if not all(isinstance(found, list) for found in lists):
            raise TypeError("a list is expected")
        report = ArtifactReport.from_json(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = printable(f"{type(error).__name__}: {error}")
        raise ComparisonError(f"damaged report: entry {number}: {reason}") from None
    texts = [report.path, report.machine, *(text for text in (report.member, report.error) if text is not None)]
    for verdict in report.verdicts:
        texts += [verdict.check, verdict.summary, verdict.remedy, *verdict.culprits]
        texts += [text for item in verdict.evidence for text in (item.where, item.what)]
    if not all(isinstance(text, str) for text in texts):
        raise ComparisonError(f"damaged report: entry {number}: a value that is not text")
    if not all(isinstance(verdict.observed, dict) for verdict in report.verdicts):
        raise ComparisonError(f"damaged report: entry {number}: a verdict whose observed is no object")
    return report


class _Values:
    """JSON values and the marks between them, from a window on a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0

    def next_char(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, mark: str) -> None:
        """Go past a mark, which must be the next."""
        found = self.next_char()
        if found != mark:
            raise ComparisonError(f"damaged JSON: {found!r} where {mark!r} is expected" if found else _ENDS_EARLY)
        self._at += 1

    def value(self) -> Any:
        """The next value."""
        if not self.next_char():
            raise ComparisonError(_ENDS_EARLY)
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if isinstance(error, RecursionError) or len(self._text) - self._at > _MOST_VALUE:
                    raise ComparisonError("damaged JSON: a value that is too large") from None
                if not self._more():
                    raise ComparisonError(f"damaged JSON: {getattr(error, 'msg', error)}") from None
            else:
                if end + _BEHIND < len(self._text) or not self._more():
                    self._at = end
                    return value

    def _more(self) -> bool:
        """Widen the window, or say that nothing is left."""
        rest = self._text[self._at :]
        piece = self._stream.read(max(_PIECE, len(rest)))
        if piece:
            self._text, self._at = rest + piece, 0
        return bool(piece)


_ENDS_EARLY = "damaged JSON: it ends early"
