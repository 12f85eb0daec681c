"""What a file is: every kind of `model.Kind`, and the files that other tools take for something else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.engine import inspect
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Kind, Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor

PROGRAM = '#include <stdio.h>\nint main(void) { puts("x"); return 0; }\n'
FUNCTION = "int f(void) { return 1; }\n"
KERNEL_MODULE = """
.section .modinfo,"a"
.asciz "license=GPL"
.section .gnu.linkonce.this_module,"aw"
.globl __this_module
__this_module: .space 64
.text
.globl init_module
init_module: ret
.section .note.GNU-stack,"",%progbits
"""
ET_CORE = 4


def kind(path: Path) -> Kind:
    report = inspect(path, ["pie"])
    assert report.artifact.error is None
    return report.artifact.kind


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["-fno-pie", "-no-pie"], Kind.EXECUTABLE),
        (["-fPIE", "-pie"], Kind.PIE),
        (["-fno-pie", "-static"], Kind.STATIC),
        (["-fPIE", "-static-pie"], Kind.STATIC_PIE),
    ],
)
def test_programs(build: CompileC, flags: list[str], expected: Kind) -> None:
    assert kind(build(PROGRAM, flags=flags)) is expected


@pytest.mark.parametrize(
    ("name", "soname", "expected"),
    [
        ("libwork.so", [], Kind.SHARED_LIBRARY),
        ("libwork.so.1.2", [], Kind.SHARED_LIBRARY),
        ("work.so", ["-Wl,-soname,work.so"], Kind.SHARED_LIBRARY),
        ("work.so", [], Kind.MODULE),
        ("mylib.so", [], Kind.MODULE),
        ("work.cpython-311.so", [], Kind.MODULE),
    ],
)
def test_libraries_and_modules(build: CompileC, name: str, soname: list[str], expected: Kind) -> None:
    assert kind(build(FUNCTION, kind="shared-library", flags=["-fPIC"], link_flags=soname, name=name)) is expected


def test_objects_archives_and_other_files(build: CompileC, tmp_path: Path) -> None:
    assert kind(build(FUNCTION, kind="object")) is Kind.OBJECT
    assert kind(build(FUNCTION, kind="archive")) is Kind.ARCHIVE
    text = tmp_path / "script"
    text.write_text("#!/bin/sh\n")
    assert inspect(text, ["pie"]).artifact.kind is Kind.NOT_ELF


@pytest.mark.parametrize("optimisation", ["-g", "-O2"])
def test_kernel_module(build: CompileC, optimisation: str) -> None:
    path = build({"module.S": KERNEL_MODULE}, kind="object", flags=[optimisation], name="module.ko")
    assert kind(path) is Kind.KERNEL_MODULE
    for verdict in inspect(path).artifact.verdicts:
        assert verdict.outcome is (Outcome.PASS if verdict.check == "file-mode" else Outcome.NOT_APPLICABLE)
    half = build({"module.S": KERNEL_MODULE.replace(".modinfo", ".other")}, kind="object", name="module.ko")
    assert kind(half) is Kind.OBJECT


@pytest.mark.parametrize(
    ("tool", "source"),
    # llvm-objcopy 14 refuses static programs of glibc, whose .rela.plt names no symbol table
    [
        ("objcopy", "pie"),
        ("objcopy", "library"),
        ("objcopy", "static"),
        ("objcopy", "object"),
        ("llvm-objcopy", "pie"),
        ("llvm-objcopy", "library"),
        ("llvm-objcopy", "object"),
    ],
)
def test_detached_debug_file(
    build: CompileC, tool_for: Callable[[str], str], tmp_path: Path, source: str, tool: str
) -> None:
    if source == "object":
        path = build(FUNCTION, kind="object", flags=["-g"])
    else:
        flags = {"pie": ["-pie"], "library": ["-fPIC", "-shared"], "static": ["-static"]}[source]
        path = build(PROGRAM, flags=["-g", *flags])
    debug = tmp_path / "program.debug"
    subprocess.run([tool_for(tool), "--only-keep-debug", path, debug], check=True)
    assert kind(debug) is Kind.DEBUG_ONLY
    for verdict in inspect(debug).artifact.verdicts:
        assert verdict.outcome is Outcome.NOT_APPLICABLE
        assert "detached debug file" in verdict.summary
    assert kind(path) is not Kind.DEBUG_ONLY


def test_stripped_file_is_no_debug_file(build: CompileC, tool_for: Callable[[str], str], tmp_path: Path) -> None:
    stripped = tmp_path / "stripped"
    subprocess.run([tool_for("objcopy"), "--strip-all", build(PROGRAM, flags=["-g", "-pie"]), stripped], check=True)
    assert kind(stripped) is Kind.PIE


def test_sections_that_lie(build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
    """A program whose section headers claim to be empty is loaded all the same: it must not pass for a debug file."""
    editor = edit(build(PROGRAM, flags=["-g", "-no-pie"], link_flags=["-Wl,-z,norelro"]))
    for index in range(editor.header("shnum")):
        at = editor.header("shoff") + index * 64
        if editor.get("Q", at + 8) & 2 and editor.get("I", at + 4) != 7:  # SHF_ALLOC, not SHT_NOTE
            editor.put("I", at + 4, 8)
    path = editor.save(tmp_path)
    path.chmod(0o755)
    assert subprocess.run([path], capture_output=True, check=True).stdout == b"x\n"
    assert kind(path) is Kind.EXECUTABLE
    assert inspect(path).verdict("relro").outcome is Outcome.FAIL


def test_core_dump(build: CompileC, tmp_path: Path) -> None:
    """A real one, where the kernel writes cores into the working folder."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith("|") or "/" in pattern:
        pytest.skip(f"the kernel sends core dumps elsewhere: core_pattern is {pattern}")
    program = build("#include <stdlib.h>\nint main(void) { abort(); }\n")
    subprocess.run(["sh", "-c", f"ulimit -c unlimited; {program}; true"], cwd=tmp_path, check=True, capture_output=True)
    cores = list(tmp_path.iterdir())
    assert len(cores) == 1
    assert kind(cores[0]) is Kind.CORE
    assert {verdict.outcome for verdict in inspect(cores[0]).artifact.verdicts} == {Outcome.NOT_APPLICABLE}


def test_core_by_its_header(build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
    """Where no core can be had: e_type alone decides, so a program's is overwritten."""
    editor = edit(build(PROGRAM))
    editor.set_header("type", ET_CORE)
    assert kind(editor.save(tmp_path)) is Kind.CORE


def test_x32_object(build: CompileC) -> None:
    """ELFCLASS32 with EM_X86_64: neither i386 nor x86-64."""
    path = build(FUNCTION, kind="object", flags=["-mx32", "-fPIC"])
    report = inspect(path)
    assert report.artifact.error is None
    assert report.artifact.machine == "x32"
    assert report.verdict("pic").outcome is Outcome.PASS
    assert report.verdict("nx-stack").outcome is Outcome.PASS
    dependent = build('const char *f(void) { return "x"; }\n', kind="object", flags=["-mx32", "-fno-pic"])
    assert inspect(dependent).verdict("pic").outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("compiler", "machine", "bits", "order"),
    [
        ("gcc", "x86-64", 64, "little"),
        ("gcc -m32", "i386", 32, "little"),
        ("aarch64-linux-gnu-gcc", "aarch64", 64, "little"),
        ("arm-linux-gnueabihf-gcc", "arm", 32, "little"),
        ("powerpc64le-linux-gnu-gcc", "ppc64le", 64, "little"),
        ("s390x-linux-gnu-gcc", "s390x", 64, "big"),
        ("riscv64-linux-gnu-gcc", "riscv64", 64, "little"),
        ("clang --target=powerpc-linux-gnu", "ppc", 32, "big"),
        ("clang --target=mips-linux-gnu", "mips", 32, "big"),
        ("clang --target=mips64el-linux-gnuabi64", "mips64el", 64, "little"),
        ("clang --target=powerpc64-linux-gnu", "ppc64", 64, "big"),
        ("clang --target=aarch64_be-linux-gnu", "aarch64_be", 64, "big"),
        ("clang --target=armeb-linux-gnueabihf", "armeb", 32, "big"),
        ("clang --target=riscv32-linux-gnu", "riscv32", 32, "little"),
        ("clang --target=sparc-linux-gnu", "sparc", 32, "big"),
    ],
)
def test_machine_class_and_byte_order(build: CompileC, compiler: str, machine: str, bits: int, order: str) -> None:
    """Objects need no C library, so clang makes them for architectures that no cross compiler is at hand for."""
    flags = ["-fintegrated-as"] if "clang" in compiler else []
    path = build(FUNCTION, kind="object", flags=flags, compiler=compiler)
    with Source.open(path) as source:
        facts = ElfReader(source, path.name).facts
    assert (facts.machine.name, facts.bits, facts.order) == (machine, bits, order)
    assert facts.kind is Kind.OBJECT
    assert inspect(path).artifact.error is None
