"""The public API: what `pytest_hardening` exports, what importing it costs, and the installed package."""

from __future__ import annotations

import importlib.metadata
import inspect as introspection
import os
import subprocess
import sys
import typing
from enum import Enum
from importlib.resources import files
from pathlib import Path

import pytest

import pytest_hardening
from pytest_hardening import hookspecs, testing
from pytest_hardening.fixtures import SampleProject

HEAVY = ("lief", "elftools", "pytest_hardening.engine", "pytest_hardening.checks", "pytest_hardening.elf")


def loaded(code: str, cwd: Path, *interesting: str) -> list[str]:
    """Which of the interesting modules a fresh interpreter has loaded after `code`."""
    probe = f"import sys\n{code}\nprint(*[m for m in sys.modules if m.startswith({interesting!r})], file=sys.stderr)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(
        [sys.executable, "-c", probe], cwd=cwd, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return result.stderr.split()


@pytest.mark.parametrize("name", pytest_hardening.__all__)
def test_public_name_is_importable_documented_and_annotated(name: str) -> None:
    thing = getattr(pytest_hardening, name)
    assert thing.__name__ == name
    assert introspection.getdoc(thing)
    if introspection.isfunction(thing):
        hints = typing.get_type_hints(thing, vars(sys.modules[thing.__module__]))
        parameters = set(introspection.signature(thing).parameters)
        assert parameters | {"return"} <= set(hints)
    elif not issubclass(thing, Exception | Enum):
        for member, value in vars(thing).items():
            if introspection.isfunction(value) and not member.startswith("_"):
                assert "return" in value.__annotations__, f"{name}.{member}"


def test_all_is_sorted_and_complete() -> None:
    assert sorted(pytest_hardening.__all__) == list(pytest_hardening.__all__) == dir(pytest_hardening)
    from pytest_hardening import assertions, errors, model

    for_authors = {"Check", "ElfFacts", "Need", "Parameter"}
    of_programs = {"assert_goes_through", "assert_stops"}
    names = {*assertions.__all__, *errors.__all__, *model.__all__, *for_authors, *of_programs, "inspect"}
    assert set(pytest_hardening.__all__) == names


@pytest.mark.parametrize("name", testing.__all__)
def test_harness_is_documented_and_annotated(name: str) -> None:
    thing = getattr(testing, name)
    assert introspection.getdoc(thing)
    assert {*introspection.signature(thing).parameters, "return"} <= set(typing.get_type_hints(thing))


@pytest.mark.parametrize("name", hookspecs.__all__)
def test_hooks_are_documented_and_annotated(name: str) -> None:
    thing = getattr(hookspecs, name)
    assert "config: pytest's." in (introspection.getdoc(thing) or "")
    assert {*introspection.signature(thing).parameters, "return"} <= set(thing.__annotations__)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'pytest_hardening' has no attribute 'assert_nothing'"):
        pytest_hardening.__getattr__("assert_nothing")


def test_errors_form_one_tree_with_public_names() -> None:
    from pytest_hardening import errors

    for name in errors.__all__:
        error = getattr(errors, name)
        assert error.__module__ == "pytest_hardening"
        assert issubclass(error, errors.NotHardened if name == "NotHardened" else errors.HardeningError)
    assert issubclass(errors.NotHardened, AssertionError)


def test_importing_the_package_loads_nothing(tmp_path: Path) -> None:
    assert loaded("import pytest_hardening", tmp_path, "pytest", "lief", "elftools") == ["pytest_hardening"]


def test_unused_plugin_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(): pass")
    code = "import pytest\nassert pytest.main(['-q', '-p', 'no:cacheprovider']) == 0"
    assert loaded(code, tmp_path, *HEAVY) == []
    assert "pytest_hardening.plugin" in loaded(code, tmp_path, "pytest_hardening")
    (tmp_path / "conftest.py").write_text("def pytest_hardening_find_artifacts(path): pass\n")
    assert loaded(code, tmp_path, *HEAVY) == []


@pytest.mark.parametrize("format_", ["text", "json"])
def test_inspect_loads_no_lief_and_no_pytest(sample_project: SampleProject, format_: str) -> None:
    code = f"from pytest_hardening.__main__ import main\nassert main(['inspect', '--format={format_}', 'PROGRAM']) < 2"
    modules = loaded(code, sample_project(), "lief", "pytest", "_pytest")
    assert [name for name in modules if not name.startswith("pytest_hardening")] == []
    assert "pytest_hardening.engine" in modules


def test_gate_loads_no_lief(sample_project: SampleProject, tmp_path: Path) -> None:
    words = ["-q", "-p", "no:cacheprovider", f"--hardening={sample_project()}/PROGRAM"]
    assert loaded(f"import pytest\nassert pytest.main({words!r}) == 0", tmp_path, "lief") == []


def test_installed_package_is_the_wheel() -> None:
    """The tests run against what users get: the installed wheel, not the checkout."""
    package = Path(str(files("pytest_hardening")))
    assert package.resolve() != Path(__file__).resolve().parent.parent / "pytest_hardening"
    recorded = {str(file) for file in importlib.metadata.files("pytest-hardening") or ()}
    sample = ("sample_project/Makefile", "sample_project/media_server/hardening.toml")
    for name in ("py.typed", "reports/schema.json", "policy/profiles/kms-6.7.toml", *sample):
        assert f"pytest_hardening/{name}" in recorded
        assert (package / name).is_file()
    (entry,) = importlib.metadata.entry_points(group="pytest11", name="hardening")
    assert entry.value == "pytest_hardening.plugin"
