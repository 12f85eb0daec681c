"""interpreter: the loader of every architecture, others, and what the kernel refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.engine import inspect
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = "int main(void) { return 0; }\n"
BARE = "void _start(void) { for (;;) ; }\n"
LIBRARY = "int twice(int a) { return 2 * a; }\n"
LOADERS = {
    "gcc": "/lib64/ld-linux-x86-64.so.2",
    "gcc -m32": "/lib/ld-linux.so.2",
    "aarch64-linux-gnu-gcc": "/lib/ld-linux-aarch64.so.1",
    "arm-linux-gnueabihf-gcc": "/lib/ld-linux-armhf.so.3",
    "powerpc64le-linux-gnu-gcc": "/lib64/ld64.so.2",
    "s390x-linux-gnu-gcc": "/lib/ld64.so.1",
    "riscv64-linux-gnu-gcc": "/lib/ld-linux-riscv64-lp64d.so.1",
    "musl-gcc": "/lib/ld-musl-x86_64.so.1",
    "tcc": "/lib64/ld-linux-x86-64.so.2",
    "clang": "/lib64/ld-linux-x86-64.so.2",
}
# the loader is clang's answer for the target: a second source for our table
TARGETS = {
    "x86_64-linux-gnux32": "x32",
    "i686-linux-musl": "i386",
    "aarch64_be-linux-gnu": "aarch64_be",
    "arm-linux-gnueabi": "arm",
    "arm-linux-musleabihf": "arm",
    "armeb-linux-gnueabihf": "armeb",
    "powerpc-linux-gnu": "ppc",
    "powerpc64-linux-gnu": "ppc64",
    "powerpc64le-linux-musl": "ppc64le",
    "riscv32-linux-gnu": "riscv32",
    "riscv64-linux-musl": "riscv64",
    "loongarch64-linux-gnu": "loongarch64",
    "mips-linux-gnu": "mips",
    "mipsel-linux-musl": "mipsel",
    "mips64el-linux-gnuabi64": "mips64el",
    "mips64el-linux-gnuabin32": "mipsel",
    "aarch64-linux-android21": "aarch64",
    "armv7a-linux-androideabi21": "arm",
    "i686-linux-android21": "i386",
}
PT_INTERP = 3


@pytest.mark.parametrize(("compiler", "loader"), LOADERS.items())
def test_loader_of_every_compiler(build: CompileC, verdict: VerdictOf, compiler: str, loader: str) -> None:
    found = verdict(build(PROGRAM, compiler=compiler), "interpreter")
    assert (found.outcome, found.observed) == (Outcome.PASS, {"interpreter": loader})


@pytest.mark.parametrize(("target", "machine"), TARGETS.items())
def test_targets_of_clang(build: CompileC, verdict: VerdictOf, target: str, machine: str) -> None:
    flags = ["-nostdlib", "-nostartfiles", "-fuse-ld=lld", "-fPIE", "-pie"]
    path = build(BARE, compiler=f"clang-19 --target={target}", flags=flags, link_flags=["-Wl,--export-dynamic"])
    assert inspect(path, ["interpreter"]).artifact.machine == machine
    assert verdict(path, "interpreter").outcome is Outcome.PASS


@pytest.mark.parametrize("compiler", [compiler for compiler in LOADERS if compiler not in ("tcc", "musl-gcc")])
def test_other_loader(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    """A path of another prefix, and one that is right on another machine."""
    path = build(PROGRAM, compiler=compiler, link_flags=["-Wl,--dynamic-linker=/usr/local/lib/ld.so"])
    found = verdict(path, "interpreter")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"interpreter": "/usr/local/lib/ld.so"})
    assert found.remedy == "drop -Wl,--dynamic-linker, or name the path in the parameter allow"
    assert verdict(path, "interpreter", allow=["/usr/local/*"]).outcome is Outcome.PASS
    for other in ("rpath", "entry-point", "forbidden-needed", "dynamic-section"):
        assert verdict(path, other).outcome is Outcome.PASS
    foreign = build(PROGRAM, compiler=compiler, link_flags=["-Wl,--dynamic-linker=/lib/ld-linux-mipsn8.so.1"])
    assert verdict(foreign, "interpreter").outcome is Outcome.FAIL


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("lib/ld.so", "is no absolute path"),
        ("$ORIGIN/ld.so", "is no absolute path"),
        ("/lib64/../lib64/ld-linux-x86-64.so.2", "is none of those known for x86-64"),
        ("/lib/ld-linux-aarch64.so.1", "is none of those known for x86-64"),
    ],
)
def test_wrong_paths(build: CompileC, verdict: VerdictOf, linker: str, path: str, why: str) -> None:
    flags = [f"-fuse-ld={linker}"]
    found = verdict(build(PROGRAM, flags=flags, link_flags=[f"-Wl,--dynamic-linker={path}"]), "interpreter")
    assert found.outcome is Outcome.FAIL
    assert why in found.summary


def test_without_nul(build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
    """The kernel refuses a path that its segment does not end (ENOEXEC)."""
    editor = edit(build(PROGRAM))
    segment = next(segment for segment in editor.segments() if segment.type == PT_INTERP)
    editor.put("Q", segment.position + 32, segment.filesz - 1)
    found = verdict(editor.save(tmp_path), "interpreter", allow=["*"])
    assert found.outcome is Outcome.FAIL
    assert "not ended by a NUL" in found.summary


def test_program_without_interpreter(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build(PROGRAM, link_flags=["-Wl,--no-dynamic-linker"]), "interpreter")
    assert (found.outcome, found.summary) == (Outcome.FAIL, "no program interpreter: nothing loads libc.so.6")
    alone = build(BARE, flags=["-nostdlib", "-fPIE", "-pie"], link_flags=["-Wl,--no-dynamic-linker"])
    assert verdict(alone, "interpreter").outcome is Outcome.NOT_APPLICABLE


def test_libraries_and_static_programs(build: CompileC, verdict: VerdictOf) -> None:
    assert verdict(build(LIBRARY, kind="shared-library", flags=["-fPIC"]), "interpreter").outcome is (
        Outcome.NOT_APPLICABLE
    )
    for loader, outcome in (("/lib64/ld-linux-x86-64.so.2", Outcome.PASS), ("/opt/ld.so", Outcome.FAIL)):
        text = f'const char loader[] __attribute__((section(".interp"))) = "{loader}";\n'
        runs = build(LIBRARY + text, kind="shared-library", flags=["-fPIC"], name="librun.so")
        assert verdict(runs, "interpreter").outcome is outcome
    for flags in (["-static", "-no-pie"], ["-static-pie", "-fPIE"]):
        assert verdict(build(PROGRAM, flags=flags), "interpreter").outcome is Outcome.NOT_APPLICABLE
    for kind in ("object", "archive"):
        assert verdict(build({"F.c": LIBRARY}, kind=kind), "interpreter").outcome is Outcome.NOT_APPLICABLE


def test_machine_without_known_loader(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    editor = edit(build(PROGRAM))
    editor.set_header("machine", 43)  # EM_SPARCV9
    found = verdict(editor.save(tmp_path), "interpreter")
    assert (found.outcome, found.remedy) == (Outcome.UNKNOWN, "allow the path if it is right")
