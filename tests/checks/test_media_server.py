"""The media server of the sample project: it runs, it passes its gate, and loses one mitigation at a time."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from pytest_hardening.checks.registry import check_names
from pytest_hardening.engine import inspect
from pytest_hardening.errors import BuildError
from pytest_hardening.fixtures import CProject
from pytest_hardening.model import Outcome
from pytest_hardening.toolchain import Compiler, copy_project, shipped_sample_project

SOURCES = shipped_sample_project() / "media_server"
PLUGIN, MODULE = "plugins/libgstnoisegate.so", "modules/libgatemodule.so"
LIBRARY, SERVER, ARCHIVE = "libmediacore.so.6.7.0", "mediaserver", "libsamples.a"
LOADED = (PLUGIN, MODULE)
LINKED = (LIBRARY, SERVER, *LOADED)
PRODUCTS = (ARCHIVE, *LINKED)

# What fails beyond the hardened build, by product and check.
EXPECTED: dict[str, set[tuple[str, str]]] = {
    "format-security": set(),  # warnings leave no trace in files
    "fortify": {(name, "fortify") for name in PRODUCTS},
    "unoptimised": {(name, check) for name in PRODUCTS for check in ("fortify", "optimization")},
    "stack-protector-unit": {(PLUGIN, "stack-protector")},
    "relro": {(name, "relro") for name in LINKED},
    "bind-now": {(name, check) for name in LINKED for check in ("relro", "bind-now")},  # full RELRO needs both
    "parent-scope": {(SERVER, "relro"), (SERVER, "bind-now")},
    "pie-link": {(SERVER, "pie")},
    "pic-member": {(ARCHIVE, "pic"), (LIBRARY, "pic"), (LIBRARY, "text-relocations")},
    "nx-stack": {(PLUGIN, "nx-stack")},
    "nodlopen": {(PLUGIN, "nodlopen")},
}
# What the project never asks its compilers for, and some of them do not have.
UNUSED = {"auto-var-init", "strict-flex-arrays", "zero-call-used-regs"}


class MediaServer(Protocol):
    def __call__(self, *definitions: str, compiler: str = "gcc") -> Path: ...


@pytest.fixture
def media_server(gstreamer: None, c_project: CProject, compiler_for: Callable[[str], Compiler]) -> MediaServer:
    """Builds the media server and returns the build folder; each way is built once in a session."""

    def media_server(*definitions: str, compiler: str = "gcc") -> Path:
        project = c_project(SOURCES.parent, compiler=compiler_for(compiler))
        return project.cmake(*definitions, folder=SOURCES.name)

    return media_server


def failures(build: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """The culprits of every failed verdict of every product, by product and check."""
    parameters: dict[str, dict[str, str]] = {name: {} for name in check_names() if name not in UNUSED} | {
        "nodlopen": {"expect": "forbidden"}
    }
    found = {}
    for name in PRODUCTS:
        report = inspect(build / name, parameters)
        assert report.artifact.error is None
        for verdict in report.artifact.verdicts:
            if verdict.outcome is Outcome.FAIL:
                found[name, verdict.check] = verdict.culprits
    return found


def gate(tmp_path: Path, build: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the gate as the project's README says, in a folder with the build and the project's policy."""
    for name in ("hardening.toml", "pytest.ini"):
        shutil.copy(SOURCES / name, tmp_path)
    shutil.copytree(build, tmp_path / "build", symlinks=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--hardening", "build", *words]
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "200"}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_hardened_build_is_green(media_server: MediaServer, tmp_path: Path, compiler: str) -> None:
    build = media_server(compiler=compiler)
    assert failures(build) == {}
    result = gate(tmp_path, build, "--hardening-profile", "kms-6.7", "--hardening-strict")
    assert result.returncode == 0, result.stdout
    assert "5 artifacts: 27 ok\n" in result.stdout  # none is unknown


def test_policy_of_the_project(media_server: MediaServer, tmp_path: Path) -> None:
    result = gate(tmp_path, media_server())
    assert result.returncode == 0, result.stdout
    assert "5 artifacts: 34 ok\n" in result.stdout


@pytest.mark.parametrize("switch", ["nx-stack", "nodlopen"])
def test_policy_of_the_project_asks_for_more(media_server: MediaServer, tmp_path: Path, switch: str) -> None:
    result = gate(tmp_path, media_server(f"BREAK={switch}"))
    assert result.returncode == 1
    assert f"FAILED build/{PLUGIN}::{switch} " in result.stdout
    assert "33 ok, 1 failed\n" in result.stdout


@pytest.mark.parametrize("switch", EXPECTED)
def test_exactly_the_expected_fails(media_server: MediaServer, switch: str) -> None:
    assert set(failures(media_server(f"BREAK={switch}"))) == EXPECTED[switch]


def test_units_are_named(media_server: MediaServer) -> None:
    culprits = failures(media_server("BREAK=stack-protector-unit"))[PLUGIN, "stack-protector"]
    assert {Path(culprit.partition(":")[0]).name for culprit in culprits} == {"gstnoisegate.c"}
    assert {culprit.partition(": ")[2] for culprit in culprits} == {"sink_event()", "transform_in_place()"}
    assert failures(media_server("BREAK=pic-member"))[ARCHIVE, "pic"] == ("pcm.c.o",)


def test_format_checks_are_in_the_commands(media_server: MediaServer) -> None:
    def guarded(build: Path) -> set[bool]:
        commands = json.loads((build / "compile_commands.json").read_text())
        return {"-Wformat -Werror=format-security" in entry["command"] for entry in commands}

    assert guarded(media_server()) == {True}
    assert guarded(media_server("BREAK=format-security")) == {False}


def test_cmake_makes_a_pie_where_the_compiler_does_not(media_server: MediaServer) -> None:
    """What check_pie_supported() is for: -pie comes after -no-pie, which stands for such a compiler."""
    build = media_server("CMAKE_EXE_LINKER_FLAGS=-no-pie")
    assert inspect(build / SERVER, ["pie"]).verdict("pie").outcome is Outcome.PASS


def test_unknown_switch_is_refused(media_server: MediaServer) -> None:
    with pytest.raises(BuildError, match="BREAK=nothing is unknown"):
        media_server("BREAK=nothing")


# ---- It really works


def tone(amplitude: int) -> bytes:
    """20 ms at 8 kHz, as S16LE."""
    return struct.pack("<160h", *(int(amplitude * math.sin(index / 3)) for index in range(160)))


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / 'spe"ech.raw'
    path.write_bytes((tone(300) + tone(12000)) * 5)
    return path


def run(tmp_path: Path, *words: str | Path, build: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C",
        "GST_PLUGIN_PATH": str(build / "plugins"),
        "GST_REGISTRY": str(tmp_path / "registry.bin"),
    }
    return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


def test_gstreamer_loads_the_plugin(media_server: MediaServer, tmp_path: Path) -> None:
    build = media_server()
    shown = run(tmp_path, "gst-inspect-1.0", "noisegate", build=build)
    assert shown.returncode == 0, shown.stderr
    assert str(build / PLUGIN) in shown.stdout
    assert "GstNoiseGate" in shown.stdout
    assert "threshold" in shown.stdout


@pytest.mark.parametrize("switch", [None, *sorted(EXPECTED.keys() - {"nodlopen", "nx-stack"})])
def test_server_filters_a_file(media_server: MediaServer, tmp_path: Path, speech: Path, switch: str | None) -> None:
    build = media_server(*([f"BREAK={switch}"] if switch else []))
    result = run(
        tmp_path, build / SERVER, build / PLUGIN, build / MODULE, speech, tmp_path / "gated.raw", "1000", build=build
    )
    assert result.stderr == ""
    assert result.stdout == (
        "module gate wants the element noisegate\n"
        "plug-in noisegate 6.7.0 has the element noisegate\n"
        "noisegate0: 5 of 10 buffers muted, loudest [#######-------------] 36 %\n"
    )
    assert (tmp_path / "gated.raw").read_bytes() == (bytes(320) + tone(12000)) * 5


def test_gst_launch_runs_the_element(media_server: MediaServer, tmp_path: Path, speech: Path) -> None:
    caps = "audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved"
    shutil.copy(speech, tmp_path / "in.raw")
    pipeline = f"filesrc location=in.raw blocksize=320 ! {caps} ! noisegate threshold=1000 ! filesink location=out.raw"
    result = run(tmp_path, "gst-launch-1.0", "-m", *pipeline.split(), build=media_server())
    assert result.returncode == 0, result.stderr
    assert "muted=(uint)5" in result.stdout
    assert (tmp_path / "out.raw").read_bytes() == (bytes(320) + tone(12000)) * 5


def test_plugin_that_dlopen_refuses(media_server: MediaServer, tmp_path: Path, speech: Path) -> None:
    build = media_server("BREAK=nodlopen")
    assert run(tmp_path, "gst-inspect-1.0", "noisegate", build=build).returncode != 0
    result = run(tmp_path, build / SERVER, build / PLUGIN, build / MODULE, speech, "gated.raw", build=build)
    assert result.returncode == 1
    assert "cannot be dlopen()ed" in result.stderr


def test_module_of_another_version_is_refused(
    media_server: MediaServer, tmp_path: Path, speech: Path, compiler_for: Callable[[str], Compiler]
) -> None:
    build = media_server()
    (tmp_path / "other.map").write_text("MEDIA_6.6 { global: media_module_factory; local: *; };\n")
    (tmp_path / "gate.c").write_text("const void *media_module_factory(void) { return 0; }\n")
    module = tmp_path / "libgatemodule.so"
    command = [*compiler_for("gcc").command, "-shared", "-fPIC", f"-Wl,--version-script={tmp_path}/other.map"]
    subprocess.run([*command, "-o", module, tmp_path / "gate.c"], check=True)
    result = run(tmp_path, build / SERVER, build / PLUGIN, module, speech, "gated.raw", build=build)
    assert result.returncode == 1
    assert "module gate: " in result.stderr
    assert "undefined symbol: media_module_factory, version MEDIA_6.7" in result.stderr


def test_readme_commands_run(gstreamer: None, tmp_path: Path) -> None:
    copy_project(SOURCES.parent, tmp_path / "sample_project")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    blocks = re.findall(r"^```sh\n(.*?)^```$", (SOURCES / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        words = ["sh", "-euc", block]
        subprocess.run(words, cwd=tmp_path / "sample_project/media_server", env=environment, check=True)


def test_every_switch_is_documented() -> None:
    rows = [
        line.split("|")[1].strip(" `") for line in (SOURCES / "README.md").read_text().splitlines() if "| `" in line
    ]
    assert set(EXPECTED) <= set(rows)
