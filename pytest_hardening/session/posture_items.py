"""`pytest --hardening-posture`: one item per toolchain and mitigation, which fails where something was lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ..errors import BuildError, ComparisonError, NotHardened, PolicyError, ToolchainError

if TYPE_CHECKING:
    from ..toolchain import Cell, Posture, Prober, Toolchain

__all__ = ["PostureItem", "Postures"]

#: The user property that carries what an item found out from a worker to the controller, as JSON.
PROPERTY = "hardening_posture"
#: The file of a session that is given none.
DEFAULT_FILE = "hardening-posture.json"

_POSTURES = pytest.StashKey["Postures"]()
_SHOWN = {"default": "on by default", "flag": "with flags"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hardening")
    group.addoption(
        "--hardening-posture",
        nargs="?",
        const="",
        default=None,
        metavar="FILE.json",
        help="ask the toolchains which mitigations they have, and fail where one was lost since this file was saved "
        f"(default: {DEFAULT_FILE} in the root folder, if it is there)",
    )
    group.addoption(
        "--hardening-update-posture", action="store_true", default=False, help="save what the toolchains have now"
    )
    group.addoption(
        "--hardening-run",
        action="store_true",
        default=False,
        help="with --hardening-posture: also run programs that do what each mitigation stops (see docs/behaviour.md)",
    )
    parser.addini("hardening_posture", "file of saved postures, relative to the ini file", default="")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("hardening_posture") is None:
        if config.getoption("hardening_update_posture"):
            raise pytest.UsageError("--hardening-update-posture needs --hardening-posture")
        if config.getoption("hardening_run"):
            raise pytest.UsageError("--hardening-run needs --hardening-posture")
        return
    try:
        config.stash[_POSTURES] = Postures(config)
    except (ComparisonError, PolicyError, ToolchainError) as error:
        raise pytest.UsageError(f"--hardening-posture: {error}") from None
    config.pluginmanager.register(config.stash[_POSTURES], "hardening-postures")


class Postures:
    """A plugin object: what is asked of which toolchains, what was saved before, and what came out.

    Raises
    ------
    ToolchainError: a toolchain that was asked for is not there.
    ComparisonError: the saved file cannot be read.
    PolicyError: a plugin adds a probe that is none.
    """

    def __init__(self, config: pytest.Config) -> None:
        from ..extending import added_probes
        from ..runtime import at_run_time
        from ..toolchain import PROBES, Prober
        from ..toolchain.snapshot import load_postures
        from ..toolchain_fixtures import persistent_cache, selected_toolchains

        self._config = config
        self.updates = bool(config.getoption("hardening_update_posture"))
        self.path, is_named = self._file()
        self.old: dict[str, Posture] = {}
        if os.path.exists(self.path) or (is_named and not self.updates):
            self.old = load_postures(self.path)
        selection = selected_toolchains(config)
        self._left_out = selection.left_out
        probes = (*PROBES, *added_probes(config))
        cache = persistent_cache(config)
        self.runs = bool(config.getoption("hardening_run"))
        run = at_run_time if self.runs else None
        self._probers = {one.id: Prober(one, cache, probes, run) for one in selection.toolchains}
        self._selected: dict[str, list[str]] = {}
        self._found: dict[str, Posture] = {}
        self._save_error = ""

    def _file(self) -> tuple[str, bool]:
        """The file of saved postures, and whether somebody named it."""
        config = self._config
        given = str(config.getoption("hardening_posture"))
        if given:
            if not given.endswith(".json"):
                what = (
                    f"its FILE ends in .json; {given!r} does not: an argument of pytest's own stands before the option"
                )
                raise ComparisonError(what)
            return os.path.join(config.invocation_params.dir, given), True
        name = str(config.getini("hardening_posture"))
        return os.path.join(config.rootpath, name or DEFAULT_FILE), bool(name)

    def prober(self, toolchain: str) -> Prober:
        """Who asks one toolchain. All that this process will be asked is found out at the first call, side by side."""
        prober = self._probers[toolchain]
        if not hasattr(self._config, "workerinput"):  # a worker of pytest-xdist is given single items
            prober.prepare(self._selected.pop(toolchain, ()))
        return prober

    def older(self, toolchain: Toolchain) -> Posture | None:
        """What was saved of a toolchain, or of the version before it."""
        from ..toolchain.snapshot import counterpart

        return counterpart(toolchain.to_json(), self.old, self._probers)

    @pytest.hookimpl(tryfirst=True)  # before -k and -m deselect, so that they see these items too
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        if any("::" in argument for argument in session.config.args):  # ids say what runs
            return
        for toolchain, prober in self._probers.items():
            collector = ToolchainCollector.from_parent(session, name=toolchain, nodeid=toolchain, probes=prober.probes)
            report = collector.ihook.pytest_make_collect_report(collector=collector)
            collector.ihook.pytest_collectreport(report=report)
            items += report.result

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            if isinstance(item, PostureItem):
                self._selected.setdefault(item.toolchain, []).append(item.name)

    def pytest_report_header(self) -> str:
        saved = os.path.relpath(self.path, self._config.rootpath)
        against = f"compared with {saved}" if self.old else f"nothing saved in {saved}"
        return f"hardening: posture of {', '.join(self._probers)}; {against}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        text = dict(report.user_properties).get(PROPERTY) if report.when == "call" else None
        if isinstance(text, str):
            from ..toolchain import Posture
            from ..toolchain.snapshot import merged

            self._found = merged(self._found, [Posture.from_json(json.loads(text))])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self.updates or hasattr(self._config, "workerinput") or self._config.option.collectonly:
            return
        from ..toolchain import save_postures
        from ..toolchain.snapshot import merged

        found = [self._ordered(posture, self._probers[posture.id]) for posture in self._found.values()]
        try:
            save_postures(self.path, merged(self.old, found).values())
        except OSError as error:
            self._save_error = f"postures not saved: {self.path}: {error.strerror}"
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._config.option.collectonly or not self._found:
            return
        from ..elf.image import printable
        from ..toolchain.tables import text_table

        terminalreporter.ensure_newline()
        terminalreporter.section("hardening: posture", sep="=")
        postures = [self._ordered(self._found[one], self._probers[one]) for one in self._probers if one in self._found]
        verbose = self._config.get_verbosity() > 0
        width = self._config.get_terminal_writer().fullwidth
        for line in (*text_table(postures, width, reasons=verbose), *self._changes()):
            terminalreporter.write_line(printable(line))
        for command, reason in self._left_out:
            terminalreporter.write_line(f"left out: {command}: {reason}")
        if self._save_error:
            terminalreporter.write_line(self._save_error, red=True)
        elif self.updates:
            terminalreporter.write_line(f"saved: {os.path.relpath(self.path, self._config.rootpath)}")

    def _ordered(self, posture: Posture, prober: Prober) -> Posture:
        """In the order of the probes, and not of arrival, which the workers' speed decides."""
        cells = {name: posture.cells[name] for name in prober.probes if name in posture.cells}
        return replace(posture, cells=cells)

    def _changes(self) -> Iterator[str]:
        """What is not as it was saved."""
        from ..toolchain.snapshot import counterpart, facts_changed, posture_changes

        if not self.old:
            return
        for posture in self._found.values():
            older = counterpart(posture.toolchain, self.old, self._found)
            if older is None:
                yield f"{posture.id}: nothing was saved of it"
                continue
            if older.id != posture.id:
                yield f"{posture.id}: compared with {older.id}"
            yield from (f"{posture.id}: {line}" for line in facts_changed(older.toolchain, posture.toolchain))
            yield from map(str, posture_changes(older, posture))


class ToolchainCollector(pytest.Collector):
    """One toolchain; its node id is the toolchain's."""

    def __init__(self, probes: Mapping[str, Any], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.probes = probes

    def collect(self) -> list[pytest.Item]:
        """An item per mitigation; nothing is compiled for it."""
        return [PostureItem.from_parent(self, name=name, toolchain=self.name) for name in self.probes]


class PostureItem(pytest.Item):
    """One mitigation of one toolchain: `gcc-12.2-x86_64::stack-protector`."""

    def __init__(self, toolchain: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.toolchain = toolchain
        self.add_marker("hardening")

    @property
    def location(self) -> tuple[str, int | None, str]:
        return self.toolchain, None, f"{self.toolchain} :: {self.name}"

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.path, None, self.location[2]

    def runtest(self) -> None:
        postures = self.config.stash[_POSTURES]
        prober = postures.prober(self.toolchain)
        cell = prober.cell(self.name)
        found = {"toolchain": prober.toolchain.to_json(), "mitigations": [cell.to_json()]}
        self.user_properties.append((PROPERTY, json.dumps(found)))
        older = postures.older(prober.toolchain)
        if older is not None and not postures.updates:
            self._require_no_loss(older, cell)
        if cell.contradiction:
            raise NotHardened(f"{self.toolchain}: {self.name}: {cell.contradiction}\n  {cell.summary}")
        if cell.state.value not in _SHOWN:
            from ..toolchain.snapshot import cell_text

            pytest.skip(f"{cell_text(cell)}: {cell.summary}")
        if postures.runs and older is not None and not postures.updates and not cell.at_run_time:
            self._require_run(older)

    def _require_run(self, older: Posture) -> None:
        """Skip where it worked at run time, and this time nothing could be told."""
        from ..toolchain.probes import WORKS

        was = older.cells.get(self.name)
        if was is not None and was.at_run_time == WORKS:
            pytest.skip("unknown whether it still works at run time: the programs end in another way, or cannot be run")

    def _require_no_loss(self, older: Posture, cell: Cell) -> None:
        from ..elf.image import printable
        from ..toolchain import Effect
        from ..toolchain.snapshot import cell_change

        change = cell_change(self.toolchain, older.cells.get(self.name), cell)
        if change is not None and change.effect is Effect.LOST:
            saved = [f"  compared with {older.id}"] if older.id != self.toolchain else []
            evidence = (f"  {one}" for one in cell.evidence)
            raise NotHardened("\n".join(map(printable, (str(change), *saved, *evidence))))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if not isinstance(excinfo.value, NotHardened | ToolchainError | BuildError):
            return super().repr_failure(excinfo, style)
        shown = excinfo.getrepr(style="value", chain=False)
        if shown.reprcrash is not None:  # what the short summary and JUnit XML show, behind the id
            shown.reprcrash.message = str(excinfo.value).removeprefix(f"{self.toolchain}: ")
            shown.reprcrash.path, shown.reprcrash.lineno = self.toolchain, 0
        return shown
