"""Whether a compiler, given some options, refuses `printf(text)`: a format that is no literal, without arguments.

Sources: GCC manual, "Warning Options" (-Wformat, -Wformat-security, -Werror=), and gcc/c-family/c.opt for what -Wall
and -Wformat=2 bring; clang's "Diagnostic flags" and DiagnosticGroups.td for its groups. GCC lets what was given by name
win over what -Wall and -Wformat=2 bring, wherever it stands; in clang the last option that concerns a warning wins. The
tests compile such a call with options in random order, and compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["given_warnings", "refuses_format"]

_SECURITY, _NONLITERAL, _FORMAT = "format-security", "format-nonliteral", "format"
_WARNING = re.compile(r"-W(no-)?(error=)?(format(?:=\d|-security|-nonliteral)?|all|most|everything|error)")
# other names of options (gcc/gcc.cc and gcc/common.opt; clang's Options.td): those that begin with --warn- as well
_LONG = {"--no-warnings": "-w", "--all-warnings": "-Wall"}
# the groups that have -Wformat-security in them
_CLANG_GROUPS = frozenset((_FORMAT, "format=2", _SECURITY, "all", "most", "everything"))


def given_warnings(options: Iterable[str]) -> Iterator[str]:
    """Of some options, those that decide, in their order; long ones as what they stand for."""
    short = (_LONG.get(option, option).replace("--warn-", "-W", 1) for option in options)
    return (option for option in short if option == "-w" or _WARNING.fullmatch(option))


def refuses_format(options: Iterable[str], compiler: str) -> bool | None:
    """Whether such a call is an error.

    Parameters
    ----------
    options: all that were given, in order.
    compiler: "gcc" or "clang"; of any other it is told only where both agree.

    Returns
    -------
    None where it is not told. So it is where GCC has -Werror=format-security without -Wformat: it compiles nothing
    then, unless it was configured with -Wformat, as Ubuntu's is.
    """
    given = list(given_warnings(options))
    if compiler == "gcc":
        return _gcc(given)
    if compiler == "clang":
        return _clang(given)
    answers = {_gcc(given), _clang(given)}
    return answers.pop() if len(answers) == 1 else None


def _parts(option: str) -> tuple[bool, bool, str]:
    """Whether it switches on, whether it is about errors, and the warning: "" for all."""
    found = _WARNING.fullmatch(option)
    if found is None:
        return True, False, ""
    return (not found[1], True, "") if found[3] == "error" else (not found[1], bool(found[2]), found[3])


def _gcc(given: list[str]) -> bool | None:
    if "-w" in given:
        return False
    is_all = brought = False  # by -Wall; by -Wformat=2
    level: int | None = None
    named: dict[str, bool] = {}
    errors: dict[str, bool] = {}
    for option in given:
        on, is_error, name = _parts(option)
        if is_error and (not on or name == ""):
            errors[name] = on
            continue
        name, _, value = name.partition("=")
        if is_error and (name == _FORMAT or (name == "all" and level is None)):
            # what a group brings becomes an error with it, unless it was named before
            errors.update({one: True for one in (_SECURITY, _NONLITERAL) if one not in named})
        if name == "all":
            is_all = on
        elif name == _FORMAT:
            level = int(value or 1) if on else 0
            brought = level > 1
        elif name in (_SECURITY, _NONLITERAL):
            named[name] = on
            if is_error:
                errors[name] = True
    if not (is_all if level is None else level):
        return None if named.get(_SECURITY) and level is None and errors.get(_SECURITY) else False
    for name in (_SECURITY, _NONLITERAL):
        if named.get(name, brought):
            return errors.get(name, errors.get("", False))
    return False


def _clang(given: list[str]) -> bool:
    if "-w" in given:
        return False
    enabled, error, never = True, False, False
    all_errors = False
    for option in given:
        on, is_error, name = _parts(option)
        if name == "":
            all_errors = on
        elif name == "format=0":
            enabled, error = False, False
        elif name not in _CLANG_GROUPS:
            continue
        elif is_error:
            enabled, error, never = enabled or on, on, not on
        else:
            enabled, error = on, error and on
    return enabled and (error or (all_errors and not never))
