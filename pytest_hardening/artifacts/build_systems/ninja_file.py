"""`build.ninja`: which step makes what of what, with which variables; as much of it as Meson writes.

Source: "The Ninja build system" manual, "Ninja file reference". Rules are not looked into, `include` is not followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from ...errors import ArtifactError

__all__ = ["WORD", "Step", "joined", "steps"]

_MOST_BYTES = 64 << 20
#: The words of a build statement.
WORD = re.compile(r"(?:[^\s:|$]|\$.)+|\|\||\|@|[:|]", re.DOTALL)
_ESCAPED = re.compile(r"\$(.)", re.DOTALL)


class Step(NamedTuple):
    """A build statement.

    Parameters
    ----------
    rule: the name of its rule. outputs, inputs: paths, relative to the build folder; of inputs those that the command
        names come first, then those that it depends on.
    variables: as they stand there, with Ninja's escapes undone.
    """

    rule: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    variables: dict[str, str]


def steps(folder: str) -> Iterator[Step]:
    """The build statements of a folder's `build.ninja`; none where there is no such file.

    Raises
    ------
    ArtifactError: it cannot be read, or is too large.
    """
    path = os.path.join(folder, "build.ninja")
    if not os.path.isfile(path):
        return
    if os.path.getsize(path) > _MOST_BYTES:
        raise ArtifactError(f"build.ninja is too large: more than {_MOST_BYTES >> 20} MB")
    step: Step | None = None
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            for line in joined(stream):
                if line.startswith("build "):
                    if step is not None:
                        yield step
                    step = _step(line[len("build ") :])
                elif line.startswith((" ", "\t")):
                    name, equals, value = line.partition("=")
                    if step is not None and equals:
                        step.variables[name.strip()] = _unescaped(value.strip())
                elif step is not None and line.strip():
                    yield step
                    step = None
    except OSError as error:
        raise ArtifactError(f"build.ninja: {error.strerror}") from None
    if step is not None:
        yield step


def joined(lines: Iterator[str]) -> Iterator[str]:
    """Lines, with those put together that end in `$`."""
    parts: list[str] = []
    for line in lines:
        line = line.rstrip("\n")
        if (len(line) - len(line.rstrip("$"))) % 2:
            parts.append(line[:-1] if not parts else line[:-1].lstrip())
            continue
        yield "".join((*parts, line.lstrip())) if parts else line
        parts = []
    yield "".join(parts)


def _step(text: str) -> Step | None:
    words = WORD.findall(text)
    if ":" not in words:
        return None
    colon = words.index(":")
    rule, *inputs = words[colon + 1 :] or [""]
    outputs = tuple(_unescaped(word) for word in words[:colon] if word != "|")
    return Step(rule, outputs, tuple(_unescaped(word) for word in inputs if word not in ("|", "||", "|@")), {})


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: found[1] if found[1] in " :$" else found[0], text)
