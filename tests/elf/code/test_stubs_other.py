"""Call stubs of architectures other than x86, by name; objdump, which reads section headers, is the referee."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.elf.code.stubs import slot_names
from pytest_hardening.elf.code.stubs_other import stub_names_other
from pytest_hardening.elf.image import Image
from pytest_hardening.elf.machines import machine_of
from pytest_hardening.elf.source import Source
from pytest_hardening.fixtures import CompileC
from pytest_hardening.toolchain import Compiler

if TYPE_CHECKING:
    from tests.conftest import ElfEditor

SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int work(int c, char **v) { char *p = getenv(v[1]); printf("%s %d", v[2], c); return p ? rename(p, v[1]) : 0; }
int main(int c, char **v) { return c > 2 ? work(c, v) : abs(c); }
"""
WANTED = {"getenv", "printf", "rename"}
COMPILERS = {
    "aarch64": ("aarch64-linux-gnu-gcc", []),
    "aarch64 with landing pads": ("aarch64-linux-gnu-gcc", ["-mbranch-protection=standard"]),
    "arm": ("arm-linux-gnueabihf-gcc", []),
    "arm A32": ("arm-linux-gnueabihf-gcc", ["-marm"]),
    "ppc64le": ("powerpc64le-linux-gnu-gcc", []),
    "ppc64le Power10": ("powerpc64le-linux-gnu-gcc", ["-mcpu=power10"]),
    "s390x": ("s390x-linux-gnu-gcc", []),
    "riscv64": ("riscv64-linux-gnu-gcc", []),
}
KINDS: dict[str, list[str]] = {
    "pie": ["-fPIE", "-pie"],
    "shared": ["-fPIC", "-shared"],
    "no-pie": ["-fno-pie", "-no-pie", "-Wl,-z,now"],
}


def stubs_of(path: Path) -> dict[int, str]:
    with Source.open(path) as source:
        image = Image(source)
        machine = machine_of(image.header.machine, image.layout.bits, image.layout.order)
        return dict(stub_names_other(image, machine, slot_names(image, machine)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COMPILERS)
def test_every_call_is_named(
    build: CompileC,
    tool_for: Callable[[str], str],
    edit: Callable[[Path], ElfEditor],
    tmp_path: Path,
    name: str,
    kind: str,
) -> None:
    compiler, flags = COMPILERS[name]
    path = build(SOURCE, "executable", [*KINDS[kind][:1], "-O2", *flags], [*KINDS[kind][1:], *flags], compiler)
    stubs = stubs_of(path)
    assert set(stubs.values()) >= WANTED
    text = subprocess.run(
        [tool_for(compiler.replace("-gcc", "-objdump")), "-d", path], capture_output=True, text=True, check=True
    ).stdout
    called = re.findall(r"\s(?:bl|blx|brasl|jal|jalr)\s.*?([0-9a-f]+) <(?:[0-9a-f]+\.plt_call\.)?(\w+)(?:@\S*)?>", text)
    for address, callee in called:
        if callee in WANTED:
            assert stubs[int(address, 16)] == callee
    entries = re.findall(r"^([0-9a-f]+) <(?:[0-9a-f]+\.plt_call\.(\w+).*|(\w+)@plt)>:", text, re.MULTILINE)
    assert {one or other for _, one, other in entries} >= WANTED
    if not name.startswith("ppc64le"):  # there these names are of branches that the loader enters by
        assert {address: stubs.get(int(address, 16)) for address, _, _ in entries} == {
            address: one or other for address, one, other in entries
        }
    subprocess.run([tool_for(compiler.replace("-gcc", "-strip")), path], check=True)
    assert stubs_of(edit(path).without_sections().save(tmp_path)) == stubs


@pytest.mark.parametrize("target", ["aarch64", "arm", "ppc64le", "riscv64"])
def test_lld(
    build: CompileC, compiler_for: Callable[[str], Compiler], tool_for: Callable[[str], str], target: str
) -> None:
    tool_for("ld.lld")
    compiler, _ = COMPILERS[target]
    compiler_for(compiler)
    triple = compiler.removesuffix("-gcc")
    source = "#include <string.h>\nint work(char *a, const char *b) { strcpy(a, b); return (int)strlen(a); }\n"
    flags = [f"--target={triple}", f"--sysroot=/usr/{triple}", "-isystem", f"/usr/{triple}/include", "-fPIC", "-O2"]
    link = [f"--target={triple}", "-fuse-ld=lld", "-nostdlib", "-shared"]
    stubs = stubs_of(build(source, "executable", flags, link, "clang"))
    assert sorted(set(stubs.values())) == ["strcpy", "strlen"]


def test_other_slots_name_nothing(build: CompileC) -> None:
    path = build(SOURCE, compiler="aarch64-linux-gnu-gcc")
    with Source.open(path) as source:
        image = Image(source)
        machine = machine_of(image.header.machine, image.layout.bits, image.layout.order)
        assert not stub_names_other(image, machine, {})
        assert not stub_names_other(
            image, machine, {slot + 1: name for slot, name in slot_names(image, machine).items()}
        )
        assert not stub_names_other(image, machine_of(8, 32, "big"), slot_names(image, machine))
