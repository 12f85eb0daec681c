"""The manual page of a check, from its docstring."""

from __future__ import annotations

from collections.abc import Iterable

from ..checks.base import Check
from ..checks.registry import check_names, get_check

__all__ = ["manual_page", "markdown"]


def manual_page(check: Check, required_by: Iterable[str] = ()) -> str:
    """The page as plain text: name, docstring, parameters, the profiles that require it."""
    page = f"{check.name}\n{'=' * len(check.name)}\n\n{check.manual()}\n{_parameters(check, 'Parameter')}"
    return f"{page}\nRequired by: {', '.join(required_by) or 'no built-in profile'}\n"


def markdown() -> str:
    """The pages of all checks as one Markdown document (docs/checks.md)."""
    pages = ["# Checks\n\nGenerated with `python -m pytest_hardening explain --all`.\n"]
    for name in check_names():
        check = get_check(name)
        title, *lines = check.manual().splitlines()
        body: list[str] = []
        for line in lines:
            if line and not line.strip("-"):
                body[-1] = f"### {body[-1]}\n"  # the docstring underlines its headings
            else:
                body.append(line)
        pages.append(f"## {name}\n\n**{title}**\n" + "\n".join(body) + f"\n{_parameters(check, '- parameter')}")
    return "\n".join(pages)


def _parameters(check: Check, word: str) -> str:
    lines = []
    for name, parameter in check.parameters.items():
        choices = f" (one of {', '.join(map(str, parameter.choices))})" if parameter.choices else ""
        default = "none" if parameter.default == () else parameter.default
        lines.append(f"\n{word} {name}{choices}, default {default}: {parameter.meaning}.\n")
    return "".join(lines)
