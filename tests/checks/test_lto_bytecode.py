"""lto-bytecode: what compilers, linkers and strip leave, of GCC and of LLVM."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

F = "int twice(int a) { return a * 2; }\n"
MAIN = "int twice(int); int main(void) { return twice(0); }\n"
PROGRAM = {"F.c": F, "main.c": MAIN}
GCC = ["gcc", "gcc-11", "aarch64-linux-gnu-gcc", "s390x-linux-gnu-gcc"]
SLIM = [(compiler, ["-flto"]) for compiler in [*GCC, "clang-14", "clang-19"]]
SLIM += [("gcc", ["-flto", "-g"]), ("clang-19", ["-flto=thin"])]
FAT = [(compiler, ["-flto", "-ffat-lto-objects"]) for compiler in [*GCC, "clang-19"]]
FAT += [("clang-14", ["-fembed-bitcode"]), ("clang-19", ["-fembed-bitcode"])]
DROP = [word for name in (".gnu.lto_*", ".gnu.debuglto_*", ".llvm.lto", ".llvmbc") for word in ("-R", name)]


@pytest.fixture
def strip(tool_for: Callable[[str], str], tmp_path: Path) -> Callable[..., Path]:
    def strip(path: Path, *words: str) -> Path:
        subprocess.run([tool_for("strip"), *words, "-o", tmp_path / "stripped", path], check=True)
        return tmp_path / "stripped"

    return strip


@pytest.mark.parametrize(("compiler", "flags"), SLIM)
def test_slim_objects(build: CompileC, verdict: VerdictOf, compiler: str, flags: list[str]) -> None:
    path = build({"F.c": F}, kind="object", flags=flags, compiler=compiler)
    for allow in ("none", "fat"):
        found = verdict(path, "lto-bytecode", allow=allow)
        assert (found.outcome, found.observed) == (Outcome.FAIL, {"bytecode": "slim"})


@pytest.mark.parametrize(("compiler", "flags"), FAT)
@pytest.mark.parametrize("source", [F, "int value = 3;\n"])
def test_fat_objects(build: CompileC, verdict: VerdictOf, compiler: str, flags: list[str], source: str) -> None:
    path = build({"F.c": source}, kind="object", flags=flags, compiler=compiler)
    found = verdict(path, "lto-bytecode")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"bytecode": "fat"})
    assert verdict(path, "lto-bytecode", allow="fat").outcome is Outcome.PASS


@pytest.mark.parametrize("compiler", [*GCC, "clang-14", "clang-19", "tcc"])
def test_plain_objects(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    found = verdict(build({"F.c": F}, kind="object", compiler=compiler), "lto-bytecode")
    assert (found.outcome, found.observed) == (Outcome.PASS, {"bytecode": "none"})


def test_archives(build: CompileC, verdict: VerdictOf) -> None:
    units = {"one.c": F, "two.c": F.replace("twice", "two")}
    for compiler in ("gcc", "clang-19"):
        path = build(units, kind="archive", unit_flags={"two.c": ["-flto"]}, compiler=compiler)
        found = verdict(path, "lto-bytecode")
        assert (found.outcome, found.culprits) == (Outcome.FAIL, ("two.o",))
        assert verdict(build(units, kind="archive", compiler=compiler), "lto-bytecode").outcome is Outcome.PASS


@pytest.mark.parametrize(("compiler", "flags"), [("gcc", ["-flto"]), ("clang-19", ["-flto", "-fuse-ld=lld"])])
@pytest.mark.parametrize("kind", [["-fPIE", "-pie"], ["-fPIC", "-shared"]])
def test_nothing_is_left_after_the_link(
    build: CompileC, verdict: VerdictOf, compiler: str, flags: list[str], kind: list[str]
) -> None:
    path = build(PROGRAM, flags=["-g", *flags, *kind], compiler=compiler)
    assert verdict(path, "lto-bytecode").outcome is Outcome.PASS


@pytest.mark.parametrize("linker", ["bfd", "gold", "lld"])
def test_fat_objects_linked_as_plain_ones(build: CompileC, verdict: VerdictOf, linker: str) -> None:
    """Linkers drop the bytecode, whose sections are marked to be excluded."""
    path = build(PROGRAM, flags=["-flto", "-ffat-lto-objects"], link_flags=["-fno-lto", f"-fuse-ld={linker}"])
    assert verdict(path, "lto-bytecode").outcome is Outcome.PASS


def test_embedded_bitcode_stays_in_programs(build: CompileC, verdict: VerdictOf, strip: Callable[..., Path]) -> None:
    path = build(PROGRAM, flags=["-fembed-bitcode"], compiler="clang-19")
    for made in (path, strip(path)):  # strip leaves it
        for allow in ("none", "fat"):
            found = verdict(made, "lto-bytecode", allow=allow)
            assert (found.outcome, found.observed) == (Outcome.FAIL, {"bytecode": "fat"})
    assert verdict(strip(path, *DROP), "lto-bytecode").outcome is Outcome.PASS
    marker = build(PROGRAM, flags=["-fembed-bitcode=marker"], compiler="clang-19")
    assert verdict(marker, "lto-bytecode").outcome is Outcome.PASS  # sections without contents


def test_stripped_objects(build: CompileC, verdict: VerdictOf, strip: Callable[..., Path]) -> None:
    fat = build({"F.c": F}, kind="object", flags=["-flto", "-ffat-lto-objects", "-g"])
    assert verdict(strip(fat, "-g", *DROP), "lto-bytecode").outcome is Outcome.PASS
    slim = build({"F.c": F}, kind="object", flags=["-flto"])
    found = verdict(strip(slim, "-g", *DROP), "lto-bytecode")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"bytecode": "stripped"})
    assert found.summary.startswith("empty: ")
