"""The commands and the code in the documentation run, and print what the documentation shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_hardening.checks.registry import check_names
from pytest_hardening.fixtures import SampleProject
from pytest_hardening.policy.profile import built_in_profiles, load_profile
from pytest_hardening.reports.manual import markdown
from pytest_hardening.toolchain import shipped_sample_project

from ..cmake_builds import configured, make

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
STORIES = EXTENDING, CMAKE = ROOT / "docs" / "extending.md", ROOT / "docs" / "cmake.md"  # each is run as a whole


def blocks(language: str) -> list[object]:
    """The fenced code blocks of a language in all pages, as test parameters named by page and line."""

    def found() -> Iterator[object]:
        for page in PAGES:
            if page in STORIES:
                continue
            text = page.read_text("utf-8")
            for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
                line = text[: match.start()].count("\n") + 1
                yield pytest.param(match[1], id=f"{page.name}-{line}")

    return list(found())


@pytest.fixture
def project(tmp_path: Path, sample_project: SampleProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a build folder: the sample project, its PROGRAM linked without -z now; and the last release."""
    shutil.copytree(sample_project(), tmp_path / "release")
    build = tmp_path / "build"
    shutil.copytree(sample_project(), build)
    shutil.copy(sample_project(break_="bind-now") / "PROGRAM", build)
    write_log(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_log(folder: Path) -> None:
    """What make prints while it builds the sample project as Debian does, one unit without FORTIFY."""
    flags = subprocess.run(["dpkg-buildflags", "--dump"], capture_output=True, text=True, check=True).stdout
    words = ["make", "-n", "BREAK=fortify-unit", *(line for line in flags.splitlines() if "FLAGS=" in line)]
    # without what a make that runs the tests would have it print
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    printed = subprocess.run(
        words, cwd=ROOT / "sample_project", capture_output=True, text=True, check=True, env=environment
    )
    (folder / "build.log").write_text(printed.stdout)


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a documented command with this interpreter's environment; of pipes and shells we document nothing."""
    words = shlex.split(command)
    tools = {"pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"], "python": [sys.executable]}
    tools |= {name: [name] for name in ("cmake", "ctest")}
    environment = {"COLUMNS": "200", "PATH": os.environ["PATH"], "VIRTUAL_ENV": sys.prefix}  # as `activate` sets it
    return subprocess.run(
        [*tools[words[0]], *words[1:]], capture_output=True, text=True, check=False, timeout=120, env=environment
    )


@pytest.mark.parametrize("block", blocks("console"))
def test_console_blocks(block: str, project: Path, request: pytest.FixtureRequest) -> None:
    if "cd sample_project/media_server\n" in block:
        request.getfixturevalue("gstreamer")
        shutil.copytree(shipped_sample_project(), project / "sample_project")
    elif "--hardening-build" in block:
        shutil.rmtree(project / "build")
        configured(shipped_sample_project(), project / "build", "-DBREAK=parent-scope")
        make(project / "build")
    run_console(block)


def run_console(block: str) -> None:
    """Run the commands of a block, and find the lines below each in its output, in this order."""
    output: list[str] = []
    for line in block.splitlines():
        if line.startswith("$ cd "):
            os.chdir(line[5:])  # the fixture `project` goes back
            continue
        if line.startswith("$ "):
            result = run(line[2:])
            assert result.returncode in (0, 1), result.stdout + result.stderr
            output = result.stdout.splitlines()
            continue
        while output and line not in output[0]:
            output.pop(0)
        assert output, f"not printed, or not in this order: {line}"


@pytest.mark.parametrize("block", blocks("python"))
def test_python_blocks(block: str, project: Path) -> None:
    (project / "test_block.py").write_text(block)
    result = run("pytest test_block.py")
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout


def test_extending(project: Path) -> None:
    tell(EXTENDING, project)


def test_cmake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy of the sample project."""
    project = shutil.copytree(shipped_sample_project(), tmp_path / "project")
    (project / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(project)
    tell(CMAKE, project)


def tell(page: Path, project: Path) -> None:
    """Files are written, those "continued" appended to, and commands run, from top to bottom."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        language, block = match[1], match[2]
        if language == "console":
            run_console(block)
            continue
        head = re.match(r"# ([\w.]+)(, continued)?\n", block)
        assert head is not None, block
        with (project / head[1]).open("a" if head[2] else "x", encoding="utf-8") as stream:
            stream.write(block)


@pytest.mark.parametrize("block", blocks("toml"))
def test_toml_blocks(block: str, project: Path) -> None:
    if "[tool.pytest.ini_options]" in block:
        (project / "pytest.ini").unlink()
        (project / "pyproject.toml").write_text(block)
        result = run("pytest")
        assert "build/PROGRAM::bind-now" in result.stdout
        assert result.returncode == 1
    elif block.startswith("#") or "[tool.pytest-hardening]" in block:
        name = "hardening.toml" if block.startswith("#") else "pyproject.toml"
        (project / name).write_text(block)
        result = run("pytest --hardening build/HOST")
        assert f"hardening: policy {name}, profile kms-6.7 " in result.stdout
        assert result.returncode in (0, 1)
    else:
        profile = project / "own.toml"
        profile.write_text(block)
        assert load_profile(str(profile)).checks["fortify"] == {"level": 3}


def test_every_language_is_run_by_some_test() -> None:
    languages = {name for page in PAGES for name in re.findall(r"^```(\w+)$", page.read_text("utf-8"), re.MULTILINE)}
    assert languages <= {"console", "python", "toml", "cmake", "sh"}
    # the one sh block is what .ci/run calls
    assert [re.findall(r"^make \w+", text.values[0], re.MULTILINE) for text in blocks("sh")] == [  # type: ignore[attr-defined]
        ["make demo", "make test"]
    ]
    assert re.findall(r"make \w+", (ROOT / ".ci" / "run").read_text()) == ["make demo", "make test"]


def test_checks_page_is_generated() -> None:
    assert (ROOT / "docs" / "checks.md").read_text("utf-8") == markdown()


def test_readme_names_every_check_and_profile() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in (*check_names(), *built_in_profiles()) if f"`{name}`" not in readme] == []


def test_readme_tells_which_checks_are_recommended() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (yes|no) \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    recommended = load_profile("recommended").checks
    assert dict(rows) == {name: "yes" if name in recommended else "no" for name in check_names()}


def test_links_lead_to_files() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
