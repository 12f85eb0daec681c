"""The pages of docs/howto: each is run from top to bottom in an empty folder, and prints what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_hardening.policy.profile import built_in_profiles

from ..conftest import missing

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
TOOLS: Mapping[str, tuple[str, ...]] = {
    "autotools": ("autoreconf", "automake", "libtoolize", "make"),
    "bazel": (),
    "ci": ("make",),
    "cmake": ("cmake", "make"),
    "debian-package": ("dpkg-buildpackage", "dh", "make"),
    "make": ("make",),
    "meson": ("meson", "ninja"),
    "rpm": ("rpmbuild",),
    "wheel": (),
}
# What only CI says: it prepares the machine.
PREPARES = ("pip install ", "apt-get ", "python3 -m venv ", "venv/bin/pip install ", "export PATH=")
# What is shown and not run. Debian has no Bazel: the test makes what it would.
SHOWN = {"bazel", "bazelrc", "yaml"}


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of the fenced blocks of a page."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "200",
        "PIP_NO_INDEX": "1",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    return subprocess.run(
        ["sh", "-euc", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )


def run_console(block: str, folder: Path) -> None:
    """Run the commands, and find the lines below each in its output, in this order. Those that fail say so."""
    for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
        result = shell(command, folder)
        assert (result.returncode != 0) == ("FAILED" in shown), result.stdout
        output = result.stdout.splitlines()
        for line in shown.splitlines():
            while output and line not in output[0]:
                output.pop(0)
            assert output, f"not printed, or not in this order: {line}\n{result.stdout}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    return path


def prepare_bazel(folder: Path) -> None:
    """What `bazel build` leaves behind: a link to a folder elsewhere, with objects, results and runfiles."""
    output = folder.parent / "execroot" / "bin"
    (output / "_objs").mkdir(parents=True)
    (output / "external").mkdir()
    (folder / "bazel-bin").symlink_to(output)
    (folder / "greet.c").write_text(
        "#include <stdio.h>\n"
        'int main(int c, char **v) { char line[64]; snprintf(line, 64, "%d %s", c, v[0]); return puts(line); }\n'
    )
    flags = "-O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIC"
    target = shlex.quote(str(output))
    for command in (
        f"gcc {flags} -c -o {target}/_objs/greet.pic.o greet.c",
        f"gcc -pie -Wl,-z,relro -Wl,-z,now -o {target}/greet {target}/_objs/greet.pic.o",
        f"gcc -no-pie -fno-pie -o {target}/external/theirs greet.c",
        f"mkdir {target}/greet.runfiles && ln -s {target}/greet {target}/greet.runfiles/greet",
    ):
        assert shell(command, folder).returncode == 0


def need_python_headers() -> None:
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.is_file():
        missing(f"{header} is missing; for Debian's Python install it with: apt-get install python3-dev")


@pytest.mark.parametrize("page", sorted(path.stem for path in HOWTO.glob("*.md") if path.stem != "README"))
def test_page(page: str, folder: Path, tool_for: Callable[[str], str]) -> None:
    for tool in ("gcc", *TOOLS[page]):
        tool_for(tool)
    if page == "bazel":
        prepare_bazel(folder)
    if page == "wheel":
        need_python_headers()
    if page == "debian-package" and shell("dpkg-query -W build-essential", folder).returncode != 0:
        missing("dpkg-buildpackage demands build-essential; install it with: apt-get install build-essential")
    for language, block in blocks(HOWTO / f"{page}.md"):
        if language == "sh":
            result = shell(block, folder)
            assert result.returncode == 0, result.stdout
        elif language == "console":
            run_console(block, folder)
        else:
            assert language in SHOWN
    if page == "debian-package":
        run_autopkgtest(folder)


def run_autopkgtest(folder: Path) -> None:
    """The test of the package, with the package unpacked instead of installed."""
    (folder / "tmp").mkdir()
    result = shell(
        "dpkg-deb -x greet_1.0_*.deb installed; export AUTOPKGTEST_TMP=$PWD/tmp PATH=$PWD/installed/usr/bin:$PATH;"
        "greet-1.0/debian/tests/hardening",
        folder,
    )
    assert result.returncode == 0, result.stdout
    assert re.search(r"1 artifact: [4-6] ok", result.stdout), result.stdout


def commands_of(document: Any) -> Iterator[str]:
    """The commands of a workflow of GitHub or of the jobs of GitLab."""
    for job in (document.get("jobs") or document).values():
        if not isinstance(job, dict):
            continue
        lines = [*job.get("before_script", ()), *job.get("script", ())]
        lines += [step["run"] for step in job.get("steps", ()) if "run" in step]
        for line in lines:
            yield from line.splitlines()


def test_ci_runs_the_commands_of_its_page() -> None:
    found = dict.fromkeys(("sh", "yaml"), "")
    workflows = []
    for language, block in blocks(HOWTO / "ci.md"):
        found[language] += block
        if language == "yaml":
            workflows.append(yaml.safe_load(block))
    assert len(workflows) == 2
    for document in workflows:
        commands = list(commands_of(document))
        gates = [command for command in commands if not command.startswith(PREPARES)]
        assert [command.split()[0] for command in gates] == ["make", "pytest"]
        assert set(gates) <= set(found["sh"].splitlines())


def test_links_lead_to_files() -> None:
    for page in HOWTO.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_profiles_exist() -> None:
    for page in HOWTO.glob("*.md"):
        named = set(re.findall(r"--hardening-profile ([a-z0-9.-]+)", page.read_text("utf-8")))
        assert named <= set(built_in_profiles())


def test_index_names_every_page() -> None:
    text = (HOWTO / "README.md").read_text("utf-8")
    assert [page.name for page in HOWTO.glob("*.md") if page.stem != "README" and f"({page.name})" not in text] == []
