"""Build logs as test items: one per source that is compiled, and one per file that is linked.

They are judged by what dpkg-buildflags asks for. It is run when the first item runs; nothing is run for the collection.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ..artifacts.build_log import BuildLog, Logged, Quiet, Step, read
from ..artifacts.names import display
from ..checks.required_flags import missing_in_compile, missing_in_link
from ..errors import ArtifactError, NotHardened, ToolchainError
from ..toolchain.build_flags import hardening_flags
from ..toolchain.packages import find_tool
from .gate import policy_of

__all__ = ["register"]

_COMPILED_WITH = {
    "C": ("CPPFLAGS", "CFLAGS"),
    "CXX": ("CPPFLAGS", "CXXFLAGS"),
    "OBJC": ("CPPFLAGS", "CFLAGS"),
    "OBJCXX": ("CPPFLAGS", "CXXFLAGS"),
}
_REASON = "hardening_log_unknown"
_MOST_LINES = 8
_SHOWN = 160
_VERBOSE = "V=1, ninja -v, meson compile -v, cmake --build DIR -v"


def register(config: pytest.Config) -> None:
    """Judge the logs that the options name."""
    here = str(config.invocation_params.dir)
    paths = [os.path.join(here, path) for path in config.getoption("hardening_build_logs")]
    paths = paths or [os.fspath(path) for path in config.getini("hardening_build_log")]
    try:
        find_tool("dpkg-buildflags")
    except ToolchainError as error:
        raise pytest.UsageError(f"hardening: --hardening-build-log: {error}") from None
    config.pluginmanager.register(_BuildLogs(config, paths), "hardening-build-logs")


class _BuildLogs:
    """The logs of a session."""

    def __init__(self, config: pytest.Config, paths: Sequence[str]) -> None:
        self._paths = dict.fromkeys(os.path.abspath(path) for path in paths)
        self._picked = any("::" in argument for argument in config.args)

    @cached_property
    def flags(self) -> dict[str, tuple[str, ...]]:
        """What is asked for, by variable."""
        return hardening_flags()

    def pytest_report_header(self, config: pytest.Config) -> str:
        names = ", ".join(display(path, str(config.rootpath)) for path in self._paths)
        return f"hardening: build log {names}, by dpkg-buildflags"

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        if str(file_path) not in self._paths:
            return None
        return self._collector(parent, str(file_path), path=file_path)

    @pytest.hookimpl(tryfirst=True)  # before -k and -m deselect
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        known = {item.parent.nodeid for item in items if isinstance(item, _LogItem) and item.parent is not None}
        for path in () if self._picked else self._paths:
            collector = self._collector(session, path)
            if collector.nodeid not in known:  # pytest may have come across the file
                report = collector.ihook.pytest_make_collect_report(collector=collector)
                collector.ihook.pytest_collectreport(report=report)
                items += [node for node in report.result if isinstance(node, pytest.Item)]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say of each unknown item why it is unknown."""
        for report in terminalreporter.stats.get("unknown", ()):
            if reason := dict(report.user_properties).get(_REASON):
                terminalreporter.write_line(f"? {report.nodeid}: {reason}")

    def _collector(self, parent: pytest.Collector, log: str, **arguments: Any) -> _LogCollector:
        name = display(log, os.path.realpath(parent.config.rootpath))
        node = name.replace("::", r":\x3a")
        found: _LogCollector = _LogCollector.from_parent(
            parent, name=name, nodeid=node, log=log, logs=self, **arguments
        )
        return found


class _LogCollector(pytest.Collector):
    """One log."""

    def __init__(self, log: str, logs: _BuildLogs, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._log, self._logs = log, logs

    def collect(self) -> list[pytest.Item]:
        """An item for each source and each linked file, in the order of the log."""
        try:
            log = read(self._log)
        except ArtifactError as error:
            return [self._problem(str(error))]
        if not log.found:
            hint = f"; it is not verbose: build with {_VERBOSE}" if any(one.is_hidden for one in log.quiet) else ""
            probes = f" beside {log.probes} that try out the compiler" if log.probes else ""
            return [self._problem(f"no command in it that compiles or links{probes}{hint}")]
        found = _parts(log)
        if not found:
            return [self._problem("no command in it that compiles C or C++ or links")]
        return [_LogItem.from_parent(self, name=part.name, part=part, logs=self._logs, reason="") for part in found]

    def _problem(self, reason: str) -> pytest.Item:
        item: _LogItem = _LogItem.from_parent(self, name="log", part=None, logs=self._logs, reason=reason)
        return item


class _Part(NamedTuple):
    """What becomes one item: all that a log does to one file in one step."""

    step: Step
    file: str
    logged: tuple[Logged, ...]
    quiet: tuple[Quiet, ...]

    @property
    def name(self) -> str:
        """`compile:src/a.c`"""
        return f"{self.step}:{self.file.replace('::', ':')}"


def _parts(log: BuildLog) -> list[_Part]:
    found: dict[tuple[Step, str], tuple[list[Logged], list[Quiet]]] = {}
    for logged in log.found:
        if logged.step == "link" or logged.language in _COMPILED_WITH:
            found.setdefault((logged.step, logged.name), ([], []))[0].append(logged)
    for quiet in log.quiet:
        found.setdefault((quiet.step, quiet.name), ([], []))[1].append(quiet)
    return [_Part(step, file, tuple(logged), tuple(short)) for (step, file), (logged, short) in found.items()]


class _LogItem(pytest.Item):
    """What was done to one file; without a part, what is wrong with the log."""

    def __init__(self, part: _Part | None, logs: _BuildLogs, reason: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._part, self._logs, self._reason = part, logs, reason
        self.add_marker("hardening")

    @property
    def _log(self) -> str:
        return self.parent.name if self.parent is not None else ""

    def runtest(self) -> None:
        part = self._part
        if part is None:
            raise ArtifactError(f"{self._log}: {self._reason}")
        short = [(logged, missing) for logged in part.logged if (missing := _missing(logged, self._logs.flags))]
        certain = [(logged, missing) for logged, missing in short if not _unread(logged)]
        if certain:
            raise NotHardened(_message(self._log, part, certain))
        if short:
            logged, missing = short[0]
            self._unknown(f"line {logged.line} reads options from {_unread(logged)}, and shows no {' '.join(missing)}")
        if part.quiet:
            quiet = part.quiet[0]
            hint = f": build with {_VERBOSE}" if quiet.is_hidden else ""
            self._unknown(f"line {quiet.line} {quiet.reason} ({_brief(quiet.text)}){hint}")

    def _unknown(self, reason: str) -> None:
        if policy_of(self.config).is_strict:
            raise NotHardened(f"{self._log}: {self.name}: unknown: {reason}")
        self.user_properties += [("hardening_outcome", "unknown"), (_REASON, reason)]
        pytest.skip(f"unknown: {reason}")

    @property
    def location(self) -> tuple[str, int | None, str]:
        return self._log, None, f"{self._log} :: {self.name}"

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.path, None, self.location[2]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, NotHardened | ArtifactError | ToolchainError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


def _missing(logged: Logged, flags: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The options that a command lacks, each with its variable."""
    words = logged.call.words
    if logged.step == "link":
        return tuple(f"{option} (LDFLAGS)" for option in missing_in_link(words, flags["LDFLAGS"]))
    name = os.path.basename(logged.call.compiler)
    compiler = "clang" if "clang" in name else "gcc" if "gcc" in name or "g++" in name else ""
    optimising = _COMPILED_WITH[logged.language][-1]
    return tuple(
        f"{option} ({optimising if option.startswith('-O') else variable})"
        for variable in _COMPILED_WITH[logged.language]
        for option in missing_in_compile(words, flags[variable], compiler)
    )


def _unread(logged: Logged) -> str:
    """What gives a command options that the log does not show: a file, a variable, another command; empty for none."""
    return next((word for word in logged.call.words if word.startswith(("@", "$", "`"))), "")


def _message(log: str, part: _Part, short: Sequence[tuple[Logged, tuple[str, ...]]]) -> str:
    options = list(dict.fromkeys(option for _, missing in short for option in missing))
    done = "compiled" if part.step == "compile" else "linked"
    return "\n".join((f"{log}: {part.file} {done} without {', '.join(options)}", *_lines(short), _fix(options)))


def _lines(short: Sequence[tuple[Logged, tuple[str, ...]]]) -> Iterator[str]:
    differ = len({missing for _, missing in short}) > 1
    for logged, missing in short[:_MOST_LINES]:
        lacks = f" (without {', '.join(missing)})" if differ else ""
        yield f"  line {logged.line}{lacks}: {_brief(logged.text)}"
    if len(short) > _MOST_LINES:
        yield f"  and {len(short) - _MOST_LINES} more"


def _brief(text: str) -> str:
    """A command; of a long one the beginning and the end, where the file stands."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 3]} ... {text[-2 * _SHOWN // 3 :]}"


def _fix(options: Sequence[str]) -> str:
    names = dict.fromkeys(option.rpartition("(")[2].rstrip(")") for option in options if option.endswith("FLAGS)"))
    variables = " and ".join(names)
    return f"  fix: let it get {variables} of dpkg-buildflags, and let nothing that takes them back follow"
