"""Specifications, and that each compiler is found once whatever its names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.errors import ToolchainError
from pytest_hardening.toolchain import BuildCache, select_toolchains


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH besides what compilers need: names that lead to Debian's compilers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, target in {
        "gcc": "gcc-12",
        "gcc-12": "gcc-12",
        "x86_64-linux-gnu-gcc-12": "gcc-12",
        "cc": "gcc-12",
        "clang": "clang-14",
        "clang-14": "clang-14",
        "clang++-14": "clang-14",
        "gcc-ar": "gcc-ar-12",
        "as": "as",
        "ld": "ld",
    }.items():
        (folder / name).symlink_to(Path("/usr/bin") / target)
    broken = folder / "riscv64-unknown-elf-gcc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/no-such-folder")
    return folder


@pytest.fixture
def ids(shared: Path) -> Callable[..., list[str]]:
    """`ids("clang-*")`: the ids of what specifications lead to."""

    def ids(*specs: str) -> list[str]:
        return [one.id for one in select_toolchains(specs, cache=BuildCache(shared)).toolchains]

    return ids


def test_all_is_each_once(path: Path, shared: Path) -> None:
    found = select_toolchains(["all", "gcc", "gcc-12 -m32"], cache=BuildCache(shared))
    assert [one.compiler.path.name for one in found.toolchains] == ["clang-14", "gcc-12", "gcc-12"]
    assert [one.machine for one in found.toolchains] == ["x86_64", "x86_64", "i386"]
    ((command, reason),) = found.left_out
    assert command == "riscv64-unknown-elf-gcc"
    assert "is no compiler" in reason


def test_one_file_that_looks_at_its_name_is_several(path: Path, ids: Callable[..., list[str]]) -> None:
    """As the links of ccache are."""
    multi = path.parent / "multi"
    multi.write_text('#!/bin/sh\nexec "/usr/bin/${0##*/}" "$@"\n')
    multi.chmod(0o755)
    for name in ("gcc-11", "gcc-12"):
        (path / name).unlink(missing_ok=True)
        (path / name).symlink_to(multi)
    assert [one.partition(".")[0] for one in ids("gcc-11", "gcc-12", "gcc-11")] == ["gcc-11", "gcc-12"]


def test_globs_and_ids(path: Path, ids: Callable[..., list[str]]) -> None:
    (clang,) = ids("clang-[0-9]*")
    assert ids(clang) == ids("clang-14") == [clang]
    assert [one.partition("-")[0] for one in ids("*clang*")] == ["clang++", "clang"]
    assert ids() == ids("cc") == ids("gcc")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gcc-99", "'gcc-99' not found: install it with: apt-get install gcc-99"),
        ("icc-*", "icc-*: neither a command nor the id of a toolchain; found: clang++-14."),
        ("gcc-9.1-x86_64", "gcc-9.1-x86_64: neither a command nor the id of a toolchain; found: "),
        (" ", "an empty toolchain: expected a command such as gcc-12, a glob on ids, or all"),
        ("as", "is no compiler"),
    ],
)
def test_what_leads_to_nothing(path: Path, ids: Callable[..., list[str]], spec: str, message: str) -> None:
    with pytest.raises(ToolchainError) as caught:
        ids(spec)
    assert message in str(caught.value)


def test_no_compiler_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"^all: no C compiler on PATH makes a program$"):
        select_toolchains(["all"])
    with pytest.raises(ToolchainError, match="'cc' not found: install it with: apt-get install gcc"):
        select_toolchains([])


def test_a_wrapper_never_takes_the_id_of_its_compiler(wrapper: Callable[..., str], shared: Path) -> None:
    script = wrapper("gcc-12", {}, "my-cc")
    cache = BuildCache(shared)
    (alone,) = select_toolchains([script], cache=cache).toolchains
    first, second, third = select_toolchains(
        [script, "gcc-12", wrapper("gcc-12", {}, "other-cc")], cache=cache
    ).toolchains
    assert alone.id == second.id
    assert (first.id, third.id) == (f"{second.id}+my-cc", f"{second.id}+other-cc")
