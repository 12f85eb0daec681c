"""The truth matrix: hundreds of artifacts of every toolchain at hand, and no verdict on any of them is wrong.

    pytest tests/matrix -n 2                      all of it
    pytest tests/matrix -k "clang-19 and fortify" one toolchain, one group

With MATRIX_STORE=FOLDER what was built stays there for the next run; MATRIX_REPORT=FILE receives all that is wrong or
open.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_hardening import inspect
from pytest_hardening.checks.registry import check_names
from pytest_hardening.model import Verdict
from pytest_hardening.toolchain.packages import install_advice

from .build import Artifact, build
from .languages import LANGUAGES, programs
from .plan import GROUPS, scenarios
from .probes import can_mark
from .results import Judged, Tally, compare
from .role_programs import SETTINGS, Setting, role_programs, roles_of
from .store import Store
from .summary import PROPERTY
from .toolchains import TOOLCHAINS, Toolchain
from .truth import TRUTH, expect

_ITEMS = [
    pytest.param(toolchain, group, id=f"{toolchain.name}-{group}")
    for toolchain in TOOLCHAINS
    for group in GROUPS
    if any(True for _ in scenarios(toolchain, group))
]
_SHOWN = 12


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One for all processes of the session."""
    if folder := os.environ.get("MATRIX_STORE"):
        return Store(Path(folder))
    base = tmp_path_factory.getbasetemp()
    return Store((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "matrix")


def test_every_check_has_a_truth() -> None:
    assert set(check_names()) <= {*TRUTH, "cf-protection"}


@pytest.mark.parametrize(("toolchain", "group"), _ITEMS)
def test_verdicts(toolchain: Toolchain, group: str, store: Store, request: pytest.FixtureRequest) -> None:
    linker = {"gold": "ld.gold", "lld": "ld.lld"}.get(toolchain.linker, "ld")
    require(toolchain.command[0], linker)
    tally = Tally()
    for scenario in scenarios(toolchain, group):
        if scenario.other is not None:
            require(scenario.other.command[0])
        for artifact in build(store, scenario):
            judge(artifact, store, tally)
    report(tally, request)


@pytest.mark.parametrize("language", LANGUAGES)
def test_other_languages(language: str, store: Store, request: pytest.FixtureRequest) -> None:
    require(LANGUAGES[language])
    tally = Tally()
    for program in programs(store, language):
        known = [check for check in check_names() if check in program.truth]
        for verdict in verdicts(program, {check: {} for check in known}, tally):
            compare(tally, program, program.truth[verdict.check], verdict)
    report(tally, request)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.title.replace(" ", ""))
def test_roles(setting: Setting, store: Store, request: pytest.FixtureRequest) -> None:
    require(setting.toolchain.command[0])
    tally = Tally()
    for program in role_programs(store, setting, roles_of(setting)):
        for verdict in verdicts(program, {check: {} for check in program.truth}, tally):
            compare(tally, program, program.truth[verdict.check], verdict)
    report(tally, request)


def report(tally: Tally, request: pytest.FixtureRequest) -> None:
    """Hand the counts on to the summary, and fail for each verdict that is wrong."""
    request.node.user_properties.append((PROPERTY, tally.to_json()))
    if tally.wrong:
        shown = "\n\n".join(tally.wrong[:_SHOWN])
        pytest.fail(f"{len(tally.wrong)} wrong verdicts:\n\n{shown}", pytrace=False)


def require(*commands: str) -> None:
    """Fail where everything must be installed (CI is set), skip elsewhere."""
    for command in commands:
        if shutil.which(command) is None:
            message = f"{command!r} not found: {install_advice(command)}"
            if os.environ.get("CI"):
                pytest.fail(message, pytrace=False)
            pytest.skip(message)


def judge(artifact: Artifact, store: Store, tally: Tally) -> None:
    """Compare all verdicts on one artifact with the truth."""
    known = [check for check in check_names() if check in TRUTH or check == "cf-protection"]
    marks = can_mark(store, artifact.toolchain)
    for verdict in verdicts(artifact, {check: artifact.parameters.get(check, {}) for check in known}, tally):
        truth = expect(artifact, verdict.check, artifact.parameters.get(verdict.check, {}), marks)
        compare(tally, artifact, truth, verdict)


def verdicts(file: Judged, checks: Mapping[str, Mapping[str, Any]], tally: Tally) -> tuple[Verdict, ...]:
    """The verdicts on a file; that it cannot be judged is wrong as well."""
    tally.artifacts += 1
    found = inspect(file.path, checks).artifact
    if found.error is not None:
        tally.wrong.append(f"not judged: {file.title}: {found.error}\n  file: {file.path}")
    return found.verdicts
