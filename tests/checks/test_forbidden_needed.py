"""forbidden-needed: libraries needed by path, forbidden ones, and those that stand in for others."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome
from pytest_hardening.toolchain import Compiler

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = "#include <math.h>\nint main(int c, char **v) { (void)v; return (int)cos(c); }\n"
LIBRARY = "int f(void) { return 1; }\n"
COMPILERS = {
    "gcc": "libc.so.6",
    "gcc -m32": "libc.so.6",
    "aarch64-linux-gnu-gcc": "libc.so.6",
    "arm-linux-gnueabihf-gcc": "libc.so.6",
    "powerpc64le-linux-gnu-gcc": "libc.so.6",
    "s390x-linux-gnu-gcc": "libc.so.6",
    "riscv64-linux-gnu-gcc": "libc.so.6",
    "musl-gcc": "libc.so",
}
DT_NEEDED, DT_AUXILIARY = 1, 0x7FFFFFFD


@pytest.mark.parametrize(("compiler", "libc"), COMPILERS.items())
def test_forbidden(build: CompileC, verdict: VerdictOf, compiler: str, libc: str) -> None:
    path = build("int main(void) { return 0; }\n", compiler=compiler, link_flags=["-Wl,--no-as-needed"])
    assert verdict(path, "forbidden-needed").outcome is Outcome.PASS
    found = verdict(path, "forbidden-needed", forbid=["libc.so*"])
    assert (found.outcome, found.culprits) == (Outcome.FAIL, (libc,))
    assert found.summary == f"DT_NEEDED {libc!r} is forbidden"
    assert "--as-needed" in found.remedy
    assert verdict(path, "forbidden-needed", forbid=["libm.so*"]).outcome is Outcome.PASS


def test_only_those_allowed(build: CompileC, verdict: VerdictOf) -> None:
    path = build(PROGRAM, flags=["-O0"], link_flags=["-lm"])
    found = verdict(path, "forbidden-needed", forbid=["*"], allow=["libc.so.6"])
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("libm.so.6",))
    assert verdict(path, "forbidden-needed", forbid=["*"], allow=["libc.so.6", "libm.so.6"]).outcome is Outcome.PASS


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
def test_library_by_its_path(
    build: CompileC, verdict: VerdictOf, compiler_for: Callable[[str], Compiler], tmp_path: Path, linker: str
) -> None:
    """What a link step with the path of a library without SONAME leaves behind, relative and absolute."""
    gcc = compiler_for("gcc").path
    for name, soname in (("plain", []), ("named", ["-Wl,-soname,libnamed.so.1"])):
        library = build(LIBRARY, kind="shared-library", flags=["-fPIC"], link_flags=soname, name=f"lib{name}.so")
        (tmp_path / f"lib{name}.so").write_bytes(library.read_bytes())
    (tmp_path / "main.c").write_text("int f(void); int main(void) { return f(); }")
    for given, needed, outcome in (
        ("./libplain.so", "./libplain.so", Outcome.FAIL),
        (f"{tmp_path}/libplain.so", f"{tmp_path}/libplain.so", Outcome.FAIL),
        (f"{tmp_path}/libnamed.so", "libnamed.so.1", Outcome.PASS),
    ):
        subprocess.run([gcc, f"-fuse-ld={linker}", "main.c", given, "-o", "program"], cwd=tmp_path, check=True)
        found = verdict(tmp_path / "program", "forbidden-needed")
        assert needed in found.observed["needed"]
        assert found.outcome is outcome
        assert found.culprits == ((needed,) if outcome is Outcome.FAIL else ())
        assert verdict(tmp_path / "program", "forbidden-needed", allow=["*/libplain.so"]).outcome is Outcome.PASS


def test_installed_path(build: CompileC, verdict: VerdictOf) -> None:
    """A path of the system is no place that others control (rpath), and no name all the same."""
    flags = ["-fPIC", "-nostdlib"]
    named = build(LIBRARY, kind="shared-library", flags=flags, link_flags=["-Wl,-soname,/usr/lib/libf.so"])
    program = build({"main.c": "int f(void); int main(void) { return f(); }"}, objects=[named])
    found = verdict(program, "forbidden-needed")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("/usr/lib/libf.so",))
    for other in ("rpath", "interpreter", "dynamic-section", "entry-point"):
        assert verdict(program, other).outcome is Outcome.PASS


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize("option", ["--filter", "--auxiliary"])
def test_filters(build: CompileC, verdict: VerdictOf, linker: str, option: str) -> None:
    flags = ["-fPIC", f"-fuse-ld={linker}"]
    link = [f"-Wl,{option}=libreal.so.1", f"-Wl,{option}=/opt/libreal.so"]
    found = verdict(build(LIBRARY, kind="shared-library", flags=flags, link_flags=link), "forbidden-needed")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("/opt/libreal.so",))
    path = build(LIBRARY, kind="shared-library", flags=flags, link_flags=link[:1])
    assert verdict(path, "forbidden-needed").outcome is Outcome.PASS
    assert verdict(path, "forbidden-needed", forbid=["libreal*"]).culprits == ("libreal.so.1",)


def test_empty_name(build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
    editor = edit(build("int main(void) { return 0; }\n"))
    editor.set_tag(DT_NEEDED, DT_NEEDED, 0)
    found = verdict(editor.save(tmp_path), "forbidden-needed")
    assert (found.outcome, found.summary) == (Outcome.FAIL, "DT_NEEDED '' is no name")


def test_needs_nothing(build: CompileC, verdict: VerdictOf) -> None:
    alone = build(LIBRARY, kind="shared-library", flags=["-fPIC", "-nostdlib"])
    found = verdict(alone, "forbidden-needed", forbid=["*"])
    assert (found.outcome, found.summary) == (Outcome.PASS, "needs no library")
    static = build("int main(void) { return 0; }\n", flags=["-static", "-no-pie"])
    assert verdict(static, "forbidden-needed").outcome is Outcome.NOT_APPLICABLE
    for kind in ("object", "archive"):
        assert verdict(build({"F.c": LIBRARY}, kind=kind), "forbidden-needed").outcome is Outcome.NOT_APPLICABLE
