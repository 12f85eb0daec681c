from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.errors import ToolchainError
from pytest_hardening.toolchain import Compiler, find_archiver, find_compiler


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("command", "family", "target", "language"),
    [
        ("gcc", "gcc", "x86_64-linux-gnu", "c"),
        ("g++", "gcc", "x86_64-linux-gnu", "c++"),
        ("clang", "clang", "x86_64-pc-linux-gnu", "c"),
        ("clang++-14", "clang", "x86_64-pc-linux-gnu", "c++"),
        ("musl-gcc", "gcc", "x86_64-linux-gnu", "c"),
        ("aarch64-linux-gnu-gcc", "gcc", "aarch64-linux-gnu", "c"),
        ("clang --target=aarch64-linux-gnu", "clang", "aarch64-unknown-linux-gnu", "c"),
        ("env g++ -m64", "gcc", "x86_64-linux-gnu", "c++"),
    ],
)
def test_identifies_a_compiler(command: str, family: str, target: str, language: str) -> None:
    compiler = find_compiler(command)
    assert (compiler.family, compiler.target, compiler.language) == (family, target, language)
    assert re.fullmatch(r"\d+\.\d+\.\d+", compiler.version)
    assert compiler.path.is_absolute()
    assert compiler.command == (str(compiler.path), *command.split()[1:])


def test_tcc_tells_its_target_with_its_version(compiler_for: Callable[[str], Compiler]) -> None:
    compiler = compiler_for("tcc -DX")
    assert compiler.family == "tcc"
    assert compiler.target.endswith("-linux")


def test_words_and_a_shell_quoted_string_are_the_same_command() -> None:
    assert find_compiler("gcc -DTEXT='a b'") == find_compiler(["gcc", "-DTEXT=a b"])


def test_identity_follows_the_file_and_the_arguments(tmp_path: Path) -> None:
    command = script(tmp_path / "cc", 'exec gcc "$@"')
    first = find_compiler(command)
    assert find_compiler(command).identity == first.identity
    assert find_compiler(f"{command} -m64").identity != first.identity
    script(tmp_path / "cc", 'exec clang "$@"')
    second = find_compiler(command)
    assert second.family == "clang"
    assert second.identity != first.identity


def test_identity_follows_the_compiler_behind_a_wrapper(tmp_path: Path) -> None:
    command = script(tmp_path / "cc", 'exec gcc "$@"')
    first = find_compiler(f"env {command}")
    os.utime(command, (0, 0))
    assert find_compiler(f"env {command}").identity != first.identity


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("mips-linux-gnu-gcc", "'mips-linux-gnu-gcc' not found: install it with: apt-get install gcc-mips-linux-gnu"),
        ("gcc-4", "'gcc-4' not found: install it with: apt-get install gcc-4"),
        ("env gcc-4 -m32", "'gcc-4', started by /usr/bin/env, not found: install it with: apt-get install gcc-4"),
        ("acme-cc", "'acme-cc' not found: it is not on PATH, and no Debian package is known for it"),
        ("", "no compiler: the command is empty"),
        ("gcc '", 'cannot read the compiler command "gcc \'": No closing quotation'),
    ],
)
def test_missing_compiler_says_how_to_get_it(command: str, message: str) -> None:
    with pytest.raises(ToolchainError) as caught:
        find_compiler(command)
    assert str(caught.value) == message


def test_a_program_that_is_no_compiler_is_refused() -> None:
    with pytest.raises(
        ToolchainError, match=r"/true is no compiler: it has no answer to -dumpmachine; --version: true"
    ):
        find_compiler("true")


def test_a_compiler_that_does_not_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_hardening.toolchain.compilers._QUESTION_TIMEOUT", 0.2)
    with pytest.raises(ToolchainError, match=r"--version does not answer within 0\.2 s"):
        find_compiler(script(tmp_path / "cc", "sleep 60"))


def test_a_file_that_cannot_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cc").write_bytes(b"\x7fELF")
    (tmp_path / "cc").chmod(0o755)
    with pytest.raises(ToolchainError, match="Exec format error"):
        find_compiler(str(tmp_path / "cc"))


@pytest.mark.parametrize(
    ("command", "archiver"),
    [
        ("gcc", "ar"),
        ("musl-gcc", "ar"),
        ("clang", "ar"),
        ("aarch64-linux-gnu-gcc", "(aarch64-linux-gnu-)?ar"),
        ("clang --target=aarch64-linux-gnu", "aarch64-linux-gnu-ar"),
        # No binutils are installed for this target, and llvm's ar knows all.
        ("clang --target=hexagon-linux-gnu", "llvm-ar"),
    ],
)
def test_archiver_belongs_to_the_compiler(command: str, archiver: str) -> None:
    found = find_archiver(find_compiler(command))
    assert re.fullmatch(archiver, found.name)
    assert os.access(found, os.X_OK)
    if "aarch64" in command:
        assert "aarch64-linux-gnu" in str(found)
