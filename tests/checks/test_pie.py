"""pie: every linker's four kinds of program, and libraries that look like programs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.engine import inspect
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Kind, Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n'
PIE = ["-fPIE", "-pie"]
NO_PIE = ["-fno-pie", "-no-pie"]
STATIC_PIE = ["-fPIE", "-static-pie"]
STATIC = ["-fno-pie", "-static"]
DT_NULL, DT_DEBUG, DT_FLAGS_1 = 0, 21, 0x6FFFFFFB
FOREIGN = [
    "gcc -m32",
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
    "musl-gcc",
]


# gold 1.16 does not know --no-dynamic-linker, so it cannot link a static PIE
LINKERS = {
    Kind.PIE: ["bfd", "lld", "gold"],
    Kind.EXECUTABLE: ["bfd", "lld", "gold"],
    Kind.STATIC_PIE: ["bfd", "lld"],
    Kind.STATIC: ["bfd", "lld", "gold"],
}
FLAGS = {Kind.PIE: PIE, Kind.EXECUTABLE: NO_PIE, Kind.STATIC_PIE: STATIC_PIE, Kind.STATIC: STATIC}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    ("kind", "linker"),
    [(kind, linker) for kind, linkers in LINKERS.items() for linker in linkers],
    ids=lambda value: value.value if isinstance(value, Kind) else value,
)
def test_every_linker(build: CompileC, tool_for: Callable[[str], str], compiler: str, linker: str, kind: Kind) -> None:
    tool_for(f"ld.{linker}")
    flags = FLAGS[kind]
    path = build(
        PROGRAM,
        flags=[*flags, "-Wno-unused-command-line-argument"],
        link_flags=[f"-fuse-ld={linker}"],
        compiler=compiler,
    )
    report = inspect(path, ["pie"])
    found = report.verdict("pie")
    assert report.artifact.kind is kind
    assert found.outcome is (Outcome.PASS if kind in (Kind.PIE, Kind.STATIC_PIE) else Outcome.FAIL)
    assert found.observed == {"type": "DYN" if found.outcome is Outcome.PASS else "EXEC"}
    if kind is Kind.EXECUTABLE:
        assert found.remedy == "link with -pie, and compile every unit with -fPIE or -fPIC"
    if kind is Kind.STATIC:
        assert found.remedy.startswith("link with -static-pie,")


@pytest.mark.parametrize("compiler", FOREIGN)
@pytest.mark.parametrize(
    ("flags", "kind"),
    [(PIE, Kind.PIE), (NO_PIE, Kind.EXECUTABLE), (STATIC, Kind.STATIC)],
    ids=["pie", "no-pie", "static"],
)
def test_every_architecture(build: CompileC, compiler: str, flags: list[str], kind: Kind) -> None:
    report = inspect(build(PROGRAM, flags=flags, compiler=compiler), ["pie"])
    assert report.artifact.kind is kind
    assert report.verdict("pie").outcome is (Outcome.PASS if kind is Kind.PIE else Outcome.FAIL)


def test_old_linker_without_df_1_pie(
    build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path, verdict: VerdictOf
) -> None:
    """Old linkers write DT_DEBUG only; no linker at hand leaves DF_1_PIE out, so the flag is taken away in a copy."""
    editor = edit(build(PROGRAM, flags=PIE))
    editor.set_tag(DT_FLAGS_1, DT_FLAGS_1, 0)
    found = verdict(editor.save(tmp_path), "pie")
    assert found.outcome is Outcome.PASS
    assert "DF_1_PIE absent" in str(found.evidence[1])


def test_df_1_pie_without_dt_debug(
    build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path, verdict: VerdictOf
) -> None:
    """`-z rodynamic` and some loaders' tools leave DT_DEBUG out: DF_1_PIE alone is enough."""
    editor = edit(build(PROGRAM, flags=PIE))
    editor.set_tag(DT_DEBUG, 0x6FFFFEF0, 0)  # a tag of the DT_VALRNG range that nobody reads
    assert verdict(editor.save(tmp_path), "pie").outcome is Outcome.PASS


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize("soname", [[], ["-Wl,-soname,libX.so.1"]], ids=["plug-in", "library"])
def test_library_is_no_executable(build: CompileC, verdict: VerdictOf, linker: str, soname: list[str]) -> None:
    path = build(
        "int f(void) { return 1; }\n",
        kind="shared-library",
        flags=["-fPIC"],
        name="x.so",
        link_flags=[f"-fuse-ld={linker}", *soname],
    )
    assert inspect(path, ["pie"]).artifact.kind is (Kind.SHARED_LIBRARY if soname else Kind.MODULE)
    found = verdict(path, "pie")
    assert found.outcome is Outcome.NOT_APPLICABLE
    assert "library" in found.summary


def test_lld_library_with_pt_phdr(build: CompileC, verdict: VerdictOf, readelf: Callable[..., str]) -> None:
    path = build("int f(void) { return 1; }\n", kind="shared-library", flags=["-fPIC"], link_flags=["-fuse-ld=lld"])
    assert " PHDR " in readelf("-l", path)
    assert verdict(path, "pie").outcome is Outcome.NOT_APPLICABLE


RUNNABLE_LIBRARY = """
#include <unistd.h>
const char interpreter[] __attribute__((section(".interp"))) = "/lib64/ld-linux-x86-64.so.2";
int answer(void) { return 42; }
void start(void) { _exit(answer()); }
"""


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
def test_library_with_interpreter(
    build: CompileC, verdict: VerdictOf, readelf: Callable[..., str], linker: str
) -> None:
    path = build(
        RUNNABLE_LIBRARY,
        kind="shared-library",
        flags=["-fPIC"],
        link_flags=["-Wl,-e,start", f"-fuse-ld={linker}"],
        name="libanswer.so",
    )
    assert " INTERP " in readelf("-l", path)
    assert inspect(path, ["pie"]).artifact.kind is Kind.SHARED_LIBRARY
    assert verdict(path, "pie").outcome is Outcome.NOT_APPLICABLE


def test_c_library_itself(build: CompileC, verdict: VerdictOf, readelf: Callable[..., str]) -> None:
    program = build(PROGRAM, flags=PIE)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libc = next(line.split()[2] for line in listed.splitlines() if "libc.so.6" in line)
    assert " INTERP " in readelf("-l", libc)
    assert inspect(libc, ["pie"]).artifact.kind is Kind.SHARED_LIBRARY
    assert verdict(libc, "pie").outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("flags", [["-fPIE"], ["-fno-pie"]])
def test_objects_and_archives_are_left_to_pic(build: CompileC, verdict: VerdictOf, flags: list[str]) -> None:
    assert verdict(build(PROGRAM, kind="object", flags=flags), "pie").outcome is Outcome.NOT_APPLICABLE
    assert verdict(build(PROGRAM, kind="archive", flags=flags), "pie").outcome is Outcome.NOT_APPLICABLE
