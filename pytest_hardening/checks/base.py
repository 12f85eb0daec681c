"""What every check is: a name, parameters, the kinds it applies to, and a pure function from facts to a verdict."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..elf.facts import ElfFacts, Need
from ..errors import PolicyError
from ..model import Evidence, Kind, Outcome, Verdict

__all__ = ["LINKED", "Check", "Parameter", "without_c"]

LINKED = frozenset(kind for kind in Kind if kind.is_linked)

_WHY_NOT = {
    Kind.OBJECT: "an object file: the link step decides",
    Kind.KERNEL_MODULE: "a kernel module: the kernel's configuration decides",
    Kind.DEBUG_ONLY: "a detached debug file: judge the file it was split from",
    Kind.CORE: "a core dump: judge the program that dumped it",
}


def without_c(facts: ElfFacts) -> str:
    """Why no mitigation of C compilers applies to a file of a fitting kind; empty where one may."""
    if facts.kind is Kind.OBJECT and not facts.has_code and not facts.bytecode:
        return "no code"
    if "go" in facts.compilers and facts.dynamic is None:
        return "a Go program without C"
    return ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A setting of a check that a profile may change.

    Parameters
    ----------
    default: the strictest usual value; what `inspect` uses.
    choices: the values allowed, or empty for a list of strings.
    meaning: one sentence for people.
    """

    default: Any
    choices: tuple[Any, ...]
    meaning: str

    def validate(self, check: str, name: str, value: Any) -> Any:
        """`value`, or PolicyError when it is not allowed."""
        if self.choices:
            if type(value) is bool or value not in self.choices:
                allowed = ", ".join(map(repr, self.choices))
                raise PolicyError(f"{check}.{name} = {value!r}: expected one of {allowed}")
            return value
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise PolicyError(f"{check}.{name} = {value!r}: expected a list of strings")
        return tuple(value)


class Check(ABC):
    """One mitigation.

    A subclass sets `name` (kebab-case, never reused for another meaning) and a docstring with the headings What it
    protects, Evidence, When it does not apply, Fix, References: it is the check's manual page.
    """

    name: ClassVar[str]
    label: ClassVar[str]  # so that "label: yes" is good news, in the words of Debian's hardening-check where it has any
    kinds: ClassVar[frozenset[Kind]]
    parameters: ClassVar[Mapping[str, Parameter]] = {}

    def needs(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> frozenset[Need]:
        """The groups of facts to read next; asked again after each reading until nothing new is asked for."""
        return frozenset()

    def inapplicable(self, facts: ElfFacts) -> str:
        """Why the check does not apply to a file of one of its kinds; empty when it does."""
        return ""

    def asks_nothing(self, parameters: Mapping[str, Any]) -> bool:
        """Whether with these parameters no file is ever judged, so that the check could never fail."""
        return False

    @abstractmethod
    def judge(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        """The verdict on a file that the check applies to, from facts that hold all that `needs` asked for."""

    def judge_bitcode(self, parameters: Mapping[str, Any]) -> Verdict:
        """The verdict on LLVM bitcode, which clang -flto writes instead of an object file."""
        return self.unknown("LLVM bitcode: its code is generated at link time")

    def why_not(self, facts: ElfFacts) -> str:
        """Why the check does not apply to a file; empty when it does."""
        return self.why_not_kind(facts.kind) or self.inapplicable(facts)

    def why_not_kind(self, kind: Kind) -> str:
        """Why the check does not apply to a kind of file; empty when it does."""
        if kind in self.kinds:
            return ""
        return _WHY_NOT.get(kind, f"does not apply to a file of kind {kind.value}")

    def evaluate(self, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        """The verdict on any file: not applicable with the reason, or what `judge` says."""
        reason = self.why_not(facts)
        return self.not_applicable(reason) if reason else self.judge(facts, parameters)

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, `values` over the defaults.

        Raises
        ------
        PolicyError: a name is unknown or a value is not allowed.
        """
        for name in values:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise PolicyError(f"{self.name}: unknown parameter {name!r}; it has: {known}")
        return {
            name: parameter.validate(self.name, name, values.get(name, parameter.default))
            for name, parameter in self.parameters.items()
        }

    @classmethod
    def manual(cls) -> str:
        """The check's manual page."""
        return inspect.cleandoc(cls.__doc__ or "")

    def passed(self, summary: str, *evidence: Evidence, **observed: Any) -> Verdict:
        return Verdict(self.name, Outcome.PASS, summary, observed, evidence)

    def failed(
        self,
        summary: str,
        *evidence: Evidence,
        remedy: str,
        culprits: tuple[str, ...] = (),
        rest: Outcome | None = None,
        **observed: Any,
    ) -> Verdict:
        return Verdict(self.name, Outcome.FAIL, summary, observed, evidence, culprits, remedy, rest)

    def unknown(self, summary: str, *evidence: Evidence, remedy: str = "", **observed: Any) -> Verdict:
        return Verdict(self.name, Outcome.UNKNOWN, summary, observed, evidence, remedy=remedy)

    def not_applicable(self, reason: str) -> Verdict:
        return Verdict(self.name, Outcome.NOT_APPLICABLE, reason)
