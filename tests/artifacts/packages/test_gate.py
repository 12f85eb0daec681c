"""Packages through pytest and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.__main__ import main
from pytest_hardening.fixtures import CompileC

from .conftest import Built, Layout, link, tar_of, zip_of

TOOL = "dist/x.deb!/usr/bin/tool"


@pytest.fixture
def user(pytester: pytest.Pytester, deb: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user with a package in dist."""
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]\n")
    (pytester.path / "dist").mkdir()
    deb().rename(pytester.path / "dist/x.deb")
    return pytester


def failed(result: pytest.RunResult) -> list[str]:
    lines = (line.split(" - ")[0] for line in result.outlines)
    return sorted(line.removeprefix("FAILED ") for line in lines if line.startswith("FAILED "))


RELRO = ["--hardening-check", "relro"]
THIN = b"!<thin>\n" + bytes(100)


def test_items(user: pytest.Pytester) -> None:
    for paths in (["dist/x.deb"], ["dist"], ["dist/*.deb"], ["dist/x.deb", "dist"]):
        options = [word for path in paths for word in ("--hardening", path)]
        result = user.runpytest_inprocess(*options, *RELRO)
        assert result.parseoutcomes() == {"failed": 1, "passed": 1}  # what is in static archives is not linked
        assert failed(result) == [f"{TOOL}::relro"]


def test_as_an_argument(user: pytest.Pytester) -> None:
    """As the shell leaves them of `--hardening dist/*.deb`."""
    (user.path / "dist/y.deb").write_bytes((user.path / "dist/x.deb").read_bytes())
    result = user.runpytest_inprocess("--hardening", "dist/x.deb", "dist/y.deb", *RELRO)
    assert failed(result) == [f"{TOOL}::relro", f"{TOOL}::relro".replace("x.deb", "y.deb")]


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_ids(user: pytest.Pytester, workers: list[str]) -> None:
    """The ids that are printed can be given back, wherever pytest runs."""
    result = user.runpytest_inprocess("--hardening", "dist", f"{TOOL}::relro", f"{TOOL}::pie", *workers)
    assert result.parseoutcomes() == {"failed": 1, "passed": 1}
    assert failed(result) == [f"{TOOL}::relro"]


def test_ids_from_another_folder(user: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(user.path / "dist")
    shown = f"{TOOL}::relro".removeprefix("dist/")  # pytest shows ids relative to the current folder
    assert failed(user.runpytest_inprocess(shown)) == [shown]
    assert failed(user.runpytest_inprocess("x.deb!/usr/bin/tool", *RELRO)) == [shown]
    result = user.runpytest_inprocess("x.deb!/usr/bin/nothing::relro", *RELRO)
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_last_failed(user: pytest.Pytester) -> None:
    user.runpytest_inprocess("--hardening", "dist", *RELRO)
    result = user.runpytest_inprocess("--hardening", "dist", *RELRO, "--lf", "-v")
    assert result.parseoutcomes() == {"failed": 1, "deselected": 1}


def temporary(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith("pytest-hardening-")]


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files of processes go that are started from now on."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(folder))
    return folder


@pytest.mark.parametrize("workers", [[], ["-n2"]])
def test_nothing_is_left(user: pytest.Pytester, temp: Path, workers: list[str]) -> None:
    result = user.runpytest_subprocess("--hardening", "dist", *RELRO, *workers, timeout=60)
    assert failed(result) == [f"{TOOL}::relro"]
    assert temporary(temp) == []


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_interrupted(user: pytest.Pytester, temp: Path, workers: list[str]) -> None:
    """Ctrl-C while a test of the user's runs, after packages were unpacked."""
    user.makepyfile(
        """
        import pathlib, pytest, time

        @pytest.mark.hardening("dist/x.deb")
        def test_wait(artifact):
            pathlib.Path("started").touch()
            time.sleep(60)
        """
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *workers]
    # a shell starts what runs in its background with SIGINT ignored, and children inherit that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, cwd=user.path, stdout=subprocess.DEVNULL, start_new_session=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        for _ in range(300):
            if (user.path / "started").exists():
                break
            time.sleep(0.1)
        assert len(temporary(temp)) == 1
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == pytest.ExitCode.INTERRUPTED
    assert temporary(temp) == []


def test_problems_are_items(user: pytest.Pytester, built: Built) -> None:
    (user.path / "dist/bad.whl").write_bytes(b"PK\3\4")
    (user.path / "dist/all.whl").write_bytes(zip_of({"pkg/__init__.py": b""}))
    (user.path / "dist/two.whl").write_bytes(zip_of({"../x.so": built.plugin, "pkg/x.so": built.plugin}))
    result = user.runpytest_inprocess("--hardening", "dist", *RELRO)
    assert failed(result) == ["dist/bad.whl::artifact", "dist/two.whl!/../x.so::artifact", f"{TOOL}::relro"]
    result.stdout.fnmatch_lines(["left out: *packages without ELF files (1)*"])
    result = user.runpytest_inprocess("--hardening", "dist/all.whl", *RELRO)
    assert failed(result) == ["dist/all.whl::artifact"]
    result.stdout.fnmatch_lines(["*dist/all.whl: holds no linked ELF file or static archive*"])


def test_policy_matches_names_in_packages(user: pytest.Pytester, built: Built) -> None:
    (user.path / "dist/two.whl").write_bytes(zip_of({"../x.so": built.plugin, "pkg/x.so": built.plugin}))
    (user.path / "hardening.toml").write_text(
        'exclude = ["*.whl!/../*"]\n[[artifact]]\npath = "*.deb!/usr/bin/*"\nchecks = { relro = false, pie = false }\n'
    )
    result = user.runpytest_inprocess("--hardening", "dist")
    assert f"{TOOL}::relro" not in failed(result)
    assert not any("artifact" in name for name in failed(result))


def exclude(user: pytest.Pytester, *globs: str) -> None:
    (user.path / "hardening.toml").write_text(f"exclude = {list(globs)}\n")


def test_exclusion_of_one_name_of_several(user: pytest.Pytester, built: Built) -> None:
    """A hard link is judged once, under a name that is not excluded."""
    members = {"a/x": built.tool, "b/ok": built.library, "usr/x": link("usr/x", "a/x", b"1")}
    blob = f"blobs/sha256/{'a' * 64}"  # as in a container image, which this is none
    parts = {blob: built.tool, "u": link("u", blob, b"1"), "v": link("v", "u", b"1")}
    (user.path / "y.tar").write_bytes(tar_of(parts))
    exclude(user, "*!/blobs/*", "*!/u")
    assert failed(user.runpytest_inprocess("--hardening", "y.tar", *RELRO)) == ["y.tar!/v::relro"]
    (user.path / "x.tar").write_bytes(tar_of(members))
    for globs, name in ((["nothing"], "a/x"), (["*!/a/*"], "usr/x"), (["*!/usr/*"], "a/x"), (["*!/a/*", "*/x"], "")):
        exclude(user, *globs)
        for workers in ([], ["-n1"]):
            result = user.runpytest_inprocess("--hardening", "x.tar", *RELRO, *workers)
            assert failed(result) == ([f"x.tar!/{name}::relro"] if name else [])
            assert "matches no" not in result.stdout.str()
    exclude(user, "*!/a/*")
    assert failed(user.runpytest_inprocess("--hardening", "x.tar!/usr", *RELRO)) == ["x.tar!/usr/x::relro"]
    assert failed(user.runpytest_inprocess("x.tar!/usr/x::relro")) == ["x.tar!/usr/x::relro"]


def test_exclusion_of_one_name_of_a_package(user: pytest.Pytester, built: Built) -> None:
    """What is in it, and what is wrong with it, has as many names as the package."""
    inner = tar_of({"x": built.tool, "y": link("y", "x", b"1"), "libt.a": THIN, "t": link("t", "libt.a", b"1")})
    members = {"a/i.tar": inner, "usr/i.tar": link("usr/i.tar", "a/i.tar", b"1")}
    (user.path / "x.tar").write_bytes(tar_of(members))
    names = ["x.tar!/usr/i.tar!/libt.a::artifact", "x.tar!/usr/i.tar!/t::artifact", "x.tar!/usr/i.tar!/x::relro"]
    exclude(user, "*!/a/*")
    assert failed(user.runpytest_inprocess("--hardening", "x.tar", *RELRO)) == names
    exclude(user, "*!/a/*", "*/x", "*/libt.a")
    names = ["x.tar!/usr/i.tar!/t::artifact", "x.tar!/usr/i.tar!/y::relro"]
    assert failed(user.runpytest_inprocess("--hardening", "x.tar", *RELRO)) == names


def test_exclusion_of_one_name_in_an_image(user: pytest.Pytester, built: Built) -> None:
    thin = {"a/libt.a": THIN, "usr/libt.a": link("usr/libt.a", "a/libt.a", b"1")}
    layout = Layout()
    layout.image(tar_of({"a/x": built.tool, "usr/x": link("usr/x", "/a/x", b"1"), **thin}))
    layout.write(user.path / "image")
    exclude(user, "*!/a/*")
    names = ["image!/usr/libt.a::artifact", "image!/usr/x::relro"]
    assert failed(user.runpytest_inprocess("--hardening", "image", *RELRO)) == names


def test_exclusion_of_one_name_in_a_folder(user: pytest.Pytester, built: Built) -> None:
    (user.path / "build/vendor").mkdir(parents=True)
    (user.path / "build/tool").write_bytes(built.tool)
    (user.path / "build/vendor/tool").hardlink_to(user.path / "build/tool")
    for globs, name in ((["build/vendor/*"], "build/tool"), (["build/tool"], "build/vendor/tool")):
        exclude(user, *globs)
        assert failed(user.runpytest_inprocess("--hardening", "build", *RELRO)) == [f"{name}::relro"]
    exclude(user, "build/*")
    result = user.runpytest_inprocess("--hardening", "build", *RELRO)
    result.stdout.fnmatch_lines(["*excludes everything in it*"])


@pytest.fixture
def wheel(user: pytest.Pytester, build: CompileC) -> pytest.Pytester:
    """A wheel with an extension module that nobody can dlopen, and a vendored library without RELRO."""
    closed = build("int x;", "shared-library", ["-O2", "-fPIC"], ["-Wl,-z,nodlopen"], name="x.so")
    vendored = build("int y;", "shared-library", ["-O2", "-fPIC"], ["-Wl,-z,norelro"], name="liby.so")
    path = user.path / "dist/pkg-1-cp311-cp311-linux_x86_64.whl"
    members = {"pkg/x.abi3.so": closed.read_bytes(), "pkg.libs/liby-0123.so": vendored.read_bytes()}
    path.write_bytes(zip_of(members))
    return user


def test_extension_modules_are_plugins(wheel: pytest.Pytester) -> None:
    name = "dist/pkg-1-cp311-cp311-linux_x86_64.whl!/pkg/x.abi3.so::nodlopen"
    paths = ["--hardening", "dist/pkg-1-cp311-cp311-linux_x86_64.whl"]
    for workers in ([], ["-n1"]):
        result = wheel.runpytest_inprocess(*paths, *workers, "--hardening-report=r.json")
        assert name in failed(result)
        entries = json.loads((wheel.path / "r.json").read_text())["artifacts"]
        assert [entry["profile"] for entry in entries] == ["recommended", "plugin"]
    assert name not in failed(wheel.runpytest_inprocess(*paths, "--hardening-profile", "recommended"))
    (wheel.path / "hardening.toml").write_text('[[artifact]]\npath = "*.abi3.so"\nprofile = "recommended"\n')
    assert name not in failed(wheel.runpytest_inprocess(*paths))
    (wheel.path / "hardening.toml").write_text("[checks]\nnodlopen = false\n")
    assert name not in failed(wheel.runpytest_inprocess(*paths))


def test_vendored_libraries_are_shown_as_such(wheel: pytest.Pytester) -> None:
    result = wheel.runpytest_inprocess("--hardening", "dist", *RELRO)
    text = "a library that the wheel brings along, built elsewhere: its own build has to change"
    result.stdout.fnmatch_lines(["*liby-0123.so: no RELRO*", f"*wheel: {text}"])


def test_marker(user: pytest.Pytester) -> None:
    user.makepyfile(
        """
        import pytest
        from pytest_hardening import assert_pie

        @pytest.mark.hardening("dist/*.deb!/usr/bin", checks=["pie"])
        def test_pie(artifact):
            assert_pie(artifact)
            assert_pie("dist/x.deb!/usr/bin/tool")
        """
    )
    assert user.runpytest_inprocess().parseoutcomes() == {"passed": 1}


@pytest.fixture
def versions(tmp_path: Path, build: CompileC, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two versions of a package; the tool of the second lost RELRO, and a file is gone."""
    source, flags = "int main(void) { return 0; }", ["-O2", "-fPIE", "-pie"]
    good = build(source, flags=flags, link_flags=["-Wl,-z,relro,-z,now"], name="tool").read_bytes()
    bad = build(source, flags=flags, link_flags=["-Wl,-z,norelro"], name="tool").read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x_1.0.tar").write_bytes(tar_of({"x-1.0/bin/tool": good, "x-1.0/bin/other": good}))
    (tmp_path / "x_1.1.tar").write_bytes(tar_of({"x-1.1/bin/tool": bad}))
    return tmp_path / "x_1.0.tar", tmp_path / "x_1.1.tar"


def test_compare(versions: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *map(str, versions), "--check", "relro"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "x-1.1/bin/tool lost relro: no RELRO: relocation tables and GOT stay writable",
        "  fix: link with -Wl,-z,relro -Wl,-z,now",
        "x-1.0/bin/other removed",
        "1 file, 1 verdict compared: 1 lost, 1 removed",
    ]
    assert main(["compare", *map(str, reversed(versions)), "--check", "relro"]) == 0


def test_compare_items(versions: tuple[Path, Path], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pytester.path)
    for version in versions:
        (pytester.path / version.name).write_bytes(version.read_bytes())
    pytester.makeini("[pytest]\n")
    old, new = (version.name for version in versions)
    result = pytester.runpytest_inprocess("--hardening", new, "--hardening-compare", old, *RELRO)
    assert failed(result) == ["x_1.1.tar!/x-1.1/bin/tool::keeps-relro"]
    result.stdout.fnmatch_lines(["removed: x-1.0/bin/other"])
    user_report = pytester.runpytest_inprocess("--hardening", old, "--hardening-report", "old.json", *RELRO)
    assert user_report.ret == 0
    result = pytester.runpytest_inprocess("--hardening", new, "--hardening-compare", "old.json", *RELRO)
    assert failed(result) == ["x_1.1.tar!/x-1.1/bin/tool::keeps-relro"]


def test_inspect(user: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "dist/x.deb", "--check", "pie"]) == 0
    assert "dist/x.deb!/usr/bin/tool: (pie, x86-64)" in capsys.readouterr().out
    assert main(["inspect", "dist/x.deb", "--format", "json"]) == 1
    entries = json.loads(capsys.readouterr().out)["artifacts"]
    assert {(entry["path"].partition("!/")[2], entry["member"]) for entry in entries} == {
        ("usr/bin/tool", None),
        ("usr/lib/libx.a", None),
        ("usr/lib/libx.a", "source.o"),
        ("usr/lib/libx.so.1", None),
    }
    (user.path / "broken.whl").write_bytes(b"PK\3\4")
    assert main(["inspect", "broken.whl"]) == 2
    assert "broken.whl: error: damaged zip archive" in capsys.readouterr().out
