"""What a toolchain says of itself, and that it is asked again when it changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.errors import ToolchainError
from pytest_hardening.model import Outcome
from pytest_hardening.toolchain import BuildCache, Compiler, Toolchain, Wanted, find_toolchain, select_toolchains
from pytest_hardening.toolchain import toolchains as module
from pytest_hardening.toolchain.bench import Bench

from .toolchains_here import HERE, Here


@pytest.mark.parametrize("here", HERE, ids=[here.id for here in HERE])
def test_identified(here: Here, toolchain_for: Callable[[str], Toolchain]) -> None:
    found = toolchain_for(here.command)
    assert (found.family, found.machine, found.target) == (here.family, here.machine, here.target)
    assert (found.libc, found.linker) == (here.libc, here.linker)
    assert found.libc_version.startswith("1." if here.libc == "musl" else "2.")
    assert found.linker_version[:1].isdigit() == bool(here.linker)
    numbers = ".".join(found.version.split(".")[:2])
    assert found.id == f"{here.family}-{numbers}-{here.machine}{'-musl' if here.libc == 'musl' else ''}"
    if here.family == "gcc":
        assert any(option.startswith("--target=") for option in found.configured)
    if here.family not in ("tcc", "zig"):
        assert "-pie" in found.defaults


@pytest.mark.parametrize(
    ("command", "linker", "suffix"),
    [
        ("clang-19 -fuse-ld=lld", "LLD", "+-fuse-ld=lld"),
        ("gcc-12 -fuse-ld=gold", "GNU gold", "+-fuse-ld=gold"),
        ("env gcc-12 -O1 -Wl,-z,now", "GNU ld", "+-O1+-Wl,-z,now"),
    ],
)
def test_arguments_are_part_of_it(
    toolchain_for: Callable[[str], Toolchain], command: str, linker: str, suffix: str
) -> None:
    found = toolchain_for(command)
    assert (found.linker, found.id.endswith(f"-x86_64{suffix}")) == (linker, True)


def test_cplusplus_is_another_one(toolchain_for: Callable[[str], Toolchain]) -> None:
    assert toolchain_for("g++-12").id.startswith("g++-12.")
    assert toolchain_for("clang++-14").id.startswith("clang++-14.")


def test_a_compiler_without_c_library_has_a_problem() -> None:
    found = find_toolchain("clang --target=hexagon-linux-gnu")
    assert found.problem.startswith("it makes no program: ")
    with pytest.raises(ToolchainError, match="it makes no program"):
        select_toolchains(["clang --target=hexagon-linux-gnu"])


def test_flags_are_probed(toolchain_for: Callable[[str], Toolchain]) -> None:
    gcc, clang = toolchain_for("gcc-11"), toolchain_for("clang-14")
    assert gcc.accepts("-fstack-clash-protection", "-Wl,-z,now")
    assert gcc.accepts("-fzero-call-used-regs=used-gpr")
    assert not clang.accepts("-fzero-call-used-regs=used-gpr")
    assert not gcc.accepts("-fno-such-flag")
    assert not gcc.accepts("-lno_such_library")  # the link step counts too
    # clang only warns of this one
    assert not clang.accepts("-fno-semantic-interpositionx")


def test_known_from_the_cache_and_asked_again_after_a_change(
    tmp_path: Path, wrapper: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Compiler] = []
    ask = module._ask

    def counted(compiler: Compiler, behind: str) -> tuple[Toolchain, tuple[str, ...]]:
        asked.append(compiler)
        return ask(compiler, behind)

    monkeypatch.setattr(module, "_ask", counted)
    header = tmp_path / "include" / "stdio.h"
    header.parent.mkdir()
    header.write_text("#include_next <stdio.h>\n")
    os.utime(header, (1, 1))
    command = f"{wrapper('gcc-12', {})} -isystem {header.parent}"
    cache = BuildCache(tmp_path / "cache")

    def identity() -> str:
        monkeypatch.setattr(module, "_KNOWN", {})  # as in another process
        return find_toolchain(command, cache=cache).identity

    first = identity()
    assert identity() == first
    assert len(asked) == 1
    header.write_text("#include_next <stdio.h>\n/* changed */\n")
    second = identity()
    assert second != first
    wrapper("gcc-11", {})
    assert identity() not in (first, second)
    assert len(asked) == 3


def test_a_file_that_comes_into_being(tmp_path: Path) -> None:
    """Options that a script reads from a file, as gcc reads `specs` and clang its configuration."""
    script, options = tmp_path / "cc", tmp_path / "options"
    script.write_text(f'#!/bin/sh\n[ ! -f {options} ] || set -- $(cat {options}) "$@"\nexec gcc-12 "$@"\n')
    script.chmod(0o755)
    cache = BuildCache(tmp_path / "cache")

    def pie() -> Outcome:
        bench = Bench(find_toolchain(str(script), cache=cache), cache)
        built = bench.build(())
        assert built.path is not None
        return bench.verdict(built.path, "pie")[0].outcome

    assert (pie(), pie()) == (Outcome.PASS, Outcome.PASS)
    options.write_text("-fno-pie -no-pie")
    assert pie() is Outcome.FAIL
    options.unlink()
    assert pie() is Outcome.PASS


@pytest.mark.parametrize("command", ["gcc-12", "clang-14", "clang-19", "g++-12", "musl-gcc", "tcc"])
def test_what_a_driver_would_start_is_told_alike_each_time(command: str) -> None:
    compiler = find_toolchain(command).compiler
    assert module._commands(compiler) == module._commands(compiler) != ""


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": 3}', '{"files": [], "id": 3}'])
def test_a_damaged_entry_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    found = []
    for _ in range(2):
        monkeypatch.setattr(module, "_KNOWN", {})  # as in another process
        found.append(find_toolchain("gcc-12", cache=BuildCache(tmp_path)))
        (entry,) = tmp_path.glob("toolchain-*.json")
        assert json.loads(entry.read_text())["id"] == found[0].id
        entry.write_text(text)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({}, True),
        ({"family": "gcc"}, True),
        ({"family": "clang"}, False),
        ({"min": "12"}, True),
        ({"min": "12.1.5", "max": "12"}, True),
        ({"max": "12.1"}, False),
        ({"min": "13"}, False),
        ({"target": "x86_64-*"}, True),
        ({"target": "aarch64-*"}, False),
        ({"libc": "musl"}, False),
        ({"language": "c++"}, False),
    ],
)
def test_wanted(toolchain_for: Callable[[str], Toolchain], wanted: dict[str, str], fits: bool) -> None:
    assert Wanted.of(wanted).fits(toolchain_for("gcc-12")) is fits


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"familly": "gcc"}, "unknown argument familly=: it takes family, min, max, target, libc, language"),
        ({"min": 12}, "min=12: expected a text, as in min='12'"),
        ({"min": "twelve"}, "min='twelve' is no version"),
    ],
)
def test_a_wrong_wish(wanted: dict[str, object], message: str) -> None:
    with pytest.raises(ToolchainError) as caught:
        Wanted.of(wanted)
    assert str(caught.value) == message
