"""The rules that every check keeps, built-in or not: a name, a label, kinds, parameters, a manual page."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping

from ..model import Evidence, Kind, Outcome, Verdict
from .base import Check, Parameter
from .registry import built_in_names

__all__ = ["HEADINGS", "NAME", "mistakes_of", "mistakes_of_manual", "mistakes_of_verdict"]

#: The headings of a manual page, each underlined, in this order.
HEADINGS = ("What it protects", "Evidence", "When it does not apply", "Fix", "References")

#: Names of checks: kebab-case, as the schema of the JSON report has them.
NAME = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")

_FEWEST_WORDS = 3


def mistakes_of(check: object) -> Iterator[str]:
    """What keeps an object from being a check; the first words name it."""
    if isinstance(check, type) and issubclass(check, Check):
        yield f"{check.__name__} is a class: give an instance, {check.__name__}()"
        return
    if not isinstance(check, Check):
        yield f"{check!r} is no Check"
        return
    who, name = type(check).__name__, getattr(check, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield f"{who}: name = {name!r}: expected kebab-case, such as 'own-check'"
        return
    if name in built_in_names():
        yield f"{who}: the name {name!r} is taken by a built-in check"
    label, kinds = getattr(check, "label", None), getattr(check, "kinds", None)
    if not isinstance(label, str) or not label.strip():
        yield f"{name}: label = {label!r}: expected a text, such that 'label: yes' is good news"
    if not isinstance(kinds, frozenset) or not kinds or not all(isinstance(kind, Kind) for kind in kinds):
        yield f"{name}: kinds = {kinds!r}: expected a frozenset of Kind that is not empty"
    yield from _mistakes_of_parameters(name, check.parameters)
    yield from (f"{name}: {text}" for text in mistakes_of_manual(check))


def _mistakes_of_parameters(name: str, parameters: object) -> Iterator[str]:
    if not isinstance(parameters, Mapping):
        yield f"{name}: parameters = {parameters!r}: expected a mapping of names to Parameter"
        return
    for key, parameter in parameters.items():
        if not isinstance(parameter, Parameter):
            yield f"{name}: parameters[{key!r}] = {parameter!r}: expected a Parameter"
        elif key == "unknown":
            yield f"{name}: the parameter name 'unknown' is taken: it says what an unknown verdict does"
        elif parameter.choices and parameter.default not in parameter.choices:
            yield f"{name}: parameters[{key!r}]: the default {parameter.default!r} is not among the choices"


def mistakes_of_manual(check: Check) -> Iterator[str]:
    """What is wrong with the manual page: the docstring of the check's own class."""
    lines = inspect.cleandoc(type(check).__dict__.get("__doc__") or "").splitlines()
    if not lines:
        yield f"no docstring: it is the manual page, with the headings {', '.join(HEADINGS)}"
        return
    if not lines[0].endswith("."):
        yield "the docstring's first line is no sentence that ends with a full stop"
    starts = [number for number, line in enumerate(lines) if number and line and not line.strip("-")]
    found = tuple(lines[number - 1] for number in starts)
    if missing := [heading for heading in HEADINGS if heading not in found]:
        yield f"the docstring lacks the heading {', '.join(missing)}, underlined with '-'"
    elif found != HEADINGS:
        yield f"the docstring's headings are {', '.join(found)}; expected {', '.join(HEADINGS)}"
    ends = [number - 1 for number in starts[1:]] + [len(lines)]
    for start, end in zip(starts, ends, strict=False):  # where there is no heading there is an end all the same
        if len(lines[start]) != len(lines[start - 1]):
            yield f"the line below the heading {lines[start - 1]} is not as long as it"
        if len(" ".join(lines[start + 1 : end]).split()) < _FEWEST_WORDS:
            yield f"nothing stands below the heading {lines[start - 1]}"


def mistakes_of_verdict(check: Check, verdict: object) -> str:
    """What is wrong with what a check returned, to be read behind its name; empty when it can travel and be shown."""
    if not isinstance(verdict, Verdict) or not isinstance(verdict.outcome, Outcome):
        return f"returned {verdict!r}: expected a Verdict"
    if verdict.check != check.name:
        return f"returned a verdict of the check {verdict.check!r}"
    if not isinstance(verdict.summary, str) or not verdict.summary or "\n" in verdict.summary:
        return f"returned the summary {verdict.summary!r}: expected one line"
    if not isinstance(verdict.culprits, tuple) or not all(isinstance(culprit, str) for culprit in verdict.culprits):
        return f"returned the culprits {verdict.culprits!r}: expected a tuple of texts"
    if not all(isinstance(item, Evidence) for item in verdict.evidence):
        return f"returned the evidence {verdict.evidence!r}: expected Evidence"
    if verdict.outcome is Outcome.FAIL and not verdict.remedy:
        return "returned a failure without a remedy"
    try:
        json.dumps(verdict.to_json(), allow_nan=False)
    except (TypeError, ValueError) as error:
        return f"returned what is not JSON: {error}"
    return ""
