from __future__ import annotations

import os

import pytest

from pytest_hardening.errors import ToolchainError
from pytest_hardening.toolchain import debian_package, find_tool


@pytest.mark.parametrize(
    ("command", "package"),
    [
        ("gcc", "gcc"),
        ("/usr/bin/cc", "gcc"),
        ("g++-11", "g++-11"),
        ("clang++", "clang"),
        ("clang++-14", "clang-14"),
        ("ninja", "ninja-build"),
        ("musl-gcc", "musl-tools"),
        ("llvm-ar-14", "llvm-14"),
        ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        ("aarch64-linux-gnu-g++-11", "g++-11-aarch64-linux-gnu"),
        ("arm-linux-gnueabihf-ar", "binutils-arm-linux-gnueabihf"),
        ("x86_64-linux-gnux32-gcc", "gcc-x86-64-linux-gnux32"),
        (f"{os.uname().machine}-linux-gnu-g++-11", "g++-11"),
        ("arm-none-eabi-gcc", "gcc-arm-none-eabi"),
        ("vax-linux-gnu-gcc", None),
        ("acme-cc", None),
    ],
)
def test_debian_package_of_a_command(command: str, package: str | None) -> None:
    assert debian_package(command) == package


def test_missing_tool_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolchainError, match=r"'cmake' not found: install it with: apt-get install cmake$"):
        find_tool("cmake")
    with pytest.raises(ToolchainError, match="no Debian package is known"):
        find_tool("acme-tool")
