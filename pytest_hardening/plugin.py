"""pytest hook implementations only; what they need is imported inside them, so that an unused plugin costs nothing."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .options import add_options, settings_of

if TYPE_CHECKING:
    from .model import Artifact

pytest_plugins = [
    "pytest_hardening.fixtures",
    "pytest_hardening.toolchain_fixtures",
    "pytest_hardening.session.posture_items",
]

#: The user property of a test with the marker that passed although a file does not tell: "check: summary".
_UNKNOWN = "hardening_unknown"


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from . import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "hardening(*globs, profile=None, checks=None): run the test once per artifact that the globs match, through "
        "the fixture `artifact`; with profile or checks, the artifact must have what they require",
    )
    from .errors import ComparisonError, PolicyError
    from .extending import take_additions
    from .session.package_ids import share_unpacked, with_packages_found

    config.args = with_packages_found(config)
    share_unpacked(config)
    try:
        take_additions(config)
    except PolicyError as error:
        raise pytest.UsageError(f"hardening: {error}") from None
    if config.getoption("hardening_build_logs") or config.getini("hardening_build_log"):
        from .session.build_log_items import register

        register(config)
    settings = settings_of(config)
    if not settings.active and not settings.idle:
        return
    from .session.gate import GATE, Gate, policy_of

    if not settings.active:
        try:
            policy_of(config)
        except PolicyError as error:
            raise pytest.UsageError(f"hardening: {error}") from None
        return

    try:
        config.stash[GATE] = Gate(config)
        if settings.compare is not None:
            from .session.comparison import COMPARING, Comparing

            config.stash[COMPARING] = Comparing(config)
            config.pluginmanager.register(config.stash[COMPARING], "hardening-comparison")
    except (ComparisonError, PolicyError) as error:
        raise pytest.UsageError(f"hardening: {error}") from None
    if not hasattr(config, "workerinput"):
        from .session.accounts import Accounts
        from .session.summary import Gatherer

        config.pluginmanager.register(Accounts(config), "hardening-accounts")
        config.pluginmanager.register(Gatherer(config), "hardening-gatherer")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    if not config.getoption("hardening_show_policy"):
        return None
    from .errors import PolicyError
    from .extending import take_additions
    from .policy.shown import shown_policy
    from .session.gate import policy_of

    try:
        take_additions(config)  # pytest is not configured yet
        settings = settings_of(config)
        lines = list(shown_policy(policy_of(config), settings.values, settings.baseline))
    except PolicyError as error:
        raise pytest.UsageError(f"hardening: {error}") from None
    for line in lines:
        print(line)  # noqa: T201
    return pytest.ExitCode.OK


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """pytest-xdist: a worker is about to start."""
    from .session.package_ids import give_unpacked

    give_unpacked(node.workerinput)


def pytest_report_header(config: pytest.Config) -> str | None:
    settings = settings_of(config)
    if not settings.active:
        if settings.picked and (settings.paths or settings.builds):
            option = "--hardening" if config.getoption("hardening_paths") else "hardening_paths"
            if not settings.paths:
                option = "--hardening-build"
            return f"hardening: the paths of {option} are not judged: the ids among the arguments say what runs"
        if settings.idle:
            return (
                f"hardening: nothing is judged: no --hardening PATH ({', '.join(settings.idle)} here for the marker "
                "and the fixture alone)"
            )
        return None
    from .session.gate import GATE

    return f"hardening: {config.stash[GATE].title}"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if str(file_path) not in settings_of(parent.config).named:
        return None
    from .session.collection import collector_at

    return collector_at(file_path, parent)


@pytest.hookimpl(tryfirst=True)  # before -k and -m deselect, so that they see these items too
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    from .extending import late_additions

    if late := list(late_additions(config)):
        if not hasattr(config, "workerinput"):
            raise pytest.UsageError("hardening: " + "; ".join(": ".join(one) for one in late))
        from .session.collection import problem_items  # of workers xdist passes on no usage error

        items += problem_items(session, late)
    settings = settings_of(config)
    if not settings.active:
        return
    from .session.collection import CheckItem, UnjudgedItem, collect_items, each_once, none_judged
    from .session.gate import GATE
    from .session.target_items import collect_targets

    found = [] if settings.picked else [*collect_targets(session), *collect_items(session, settings.paths)]
    items[:] = each_once([*items, *found])
    if problems := none_judged(session, items):
        items[:] = [*(item for item in items if not isinstance(item, UnjudgedItem)), *problems]
    checks = ((item.artifact, item.check) for item in items if isinstance(item, CheckItem))
    config.stash[GATE].note_collected(checks)


def pytest_collection_finish(session: pytest.Session) -> None:
    if not settings_of(session.config).active:
        return
    from .session.collection import CheckItem
    from .session.gate import GATE

    chosen = ((item.artifact, item.check) for item in session.items if isinstance(item, CheckItem))
    session.config.stash[GATE].select(chosen)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is None or not settings_of(session.config).active:
        return
    from .session.gate import GATE

    gate = session.config.stash[GATE]
    output["hardening_left_out"] = dict(gate.left_out)
    output["hardening_survey"] = tuple(gate.surveyed() or ())


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    if report.when != "call" or not report.skipped:
        return None
    properties = dict(report.user_properties)
    decision = properties.get(
        "hardening_decision", properties.get("hardening_outcome")
    )  # of a comparison there is none
    if decision in ("undecided", "unknown"):
        return "unknown", "?", ("UNKNOWN", {"yellow": True})
    if decision in ("skipped", "ignored", "not-applicable"):
        return "not applicable", "-", ("N/A", {"yellow": False})
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("hardening")
    if marker is None:
        return
    from .errors import PolicyError
    from .session.marker import NO_ARTIFACT, artifacts_of

    if "artifact" not in metafunc.fixturenames:
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {NO_ARTIFACT}")
    try:
        found = artifacts_of(marker, metafunc.config)
    except PolicyError as error:
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {error}") from None
    metafunc.parametrize("artifact", found, ids=[artifact.display for artifact in found], indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tests with the marker pass where a file does not tell; that they did is told."""
    passed = terminalreporter.stats.get("passed", [])
    told = [(one.nodeid, text) for one in passed for name, text in one.user_properties if name == _UNKNOWN]
    if told:
        terminalreporter.section("hardening: unknown in tests that passed", yellow=True)
        for nodeid, text in dict.fromkeys(told):
            terminalreporter.write_line(f"? {nodeid}: {text}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    why_needless = ""
    marker = item.get_closest_marker("hardening")
    artifact: Artifact | None = getattr(item, "funcargs", {}).get("artifact")
    if marker is not None and isinstance(item, pytest.Function):
        from .session.marker import NO_ARTIFACT, require

        if artifact is None:  # the methods of unittest.TestCase take no fixtures
            pytest.fail(NO_ARTIFACT, pytrace=False)
        if marker.kwargs.get("profile") is not None or marker.kwargs.get("checks") is not None:
            told = require(marker, artifact, item.config)
            why_needless = told.nothing
            item.user_properties += [(_UNKNOWN, text) for text in told.unknown]
    result = yield
    if why_needless:  # after the body, which may ask for something else
        pytest.skip(why_needless)
    return result
