"""soname: libraries with and without one, names that tell and names that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

SOURCE = "int twice(int a) { return 2 * a; }\n"
ARCHITECTURES = [
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
    "gcc -m32",
    "musl-gcc",
]
DT_SONAME = 14
# the file's name, what is said of it without a SONAME, and what with plugins = "required"
NAMES = {
    "libtwice.so.1": (Outcome.FAIL, Outcome.FAIL),
    "libtwice.so.1.2.3": (Outcome.FAIL, Outcome.FAIL),
    "libtwice.so": (Outcome.UNKNOWN, Outcome.FAIL),
    "libtwice-2.31.so": (Outcome.UNKNOWN, Outcome.FAIL),
    "twice.so": (Outcome.NOT_APPLICABLE, Outcome.FAIL),
    "_twice.abi3.so": (Outcome.NOT_APPLICABLE, Outcome.FAIL),
}


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize(("name", "outcomes"), NAMES.items())
def test_names(
    build: CompileC, verdict: VerdictOf, linker: str, name: str, outcomes: tuple[Outcome, Outcome], tmp_path: Path
) -> None:
    flags = ["-fPIC", f"-fuse-ld={linker}"]
    path = tmp_path / name
    copyfile(build(SOURCE, kind="shared-library", flags=flags), path)
    found = verdict(path, "soname")
    assert (found.outcome, verdict(path, "soname", plugins="required").outcome) == outcomes
    if found.outcome is Outcome.FAIL:
        assert found.remedy == "link with -Wl,-soname,libNAME.so.N"
        for other in ("forbidden-needed", "dynamic-section", "entry-point"):
            assert verdict(path, other).outcome is Outcome.PASS
    copyfile(build(SOURCE, kind="shared-library", flags=flags, link_flags=["-Wl,-soname,libtwice.so.1"]), path)
    found = verdict(path, "soname", plugins="required")
    assert (found.outcome, found.observed) == (Outcome.PASS, {"soname": "libtwice.so.1"})


@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_every_architecture(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    for link, outcome in ((["-Wl,-soname,libtwice.so.1"], Outcome.PASS), ([], Outcome.FAIL)):
        path = build(SOURCE, kind="shared-library", flags=["-fPIC"], link_flags=link, compiler=compiler)
        assert verdict(path, "soname", plugins="required").outcome is outcome


@pytest.mark.parametrize("soname", ["./libtwice.so", "/usr/lib/libtwice.so"])
def test_path(build: CompileC, verdict: VerdictOf, soname: str) -> None:
    path = build(SOURCE, kind="shared-library", flags=["-fPIC"], link_flags=[f"-Wl,-soname,{soname}"])
    found = verdict(path, "soname")
    assert (found.outcome, found.summary) == (Outcome.FAIL, f"SONAME {soname!r} is a path")


def test_empty(build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
    editor = edit(build(SOURCE, kind="shared-library", flags=["-fPIC"], link_flags=["-Wl,-soname,libtwice.so.1"]))
    editor.set_tag(DT_SONAME, DT_SONAME, 0)
    found = verdict(editor.save(tmp_path), "soname")
    assert (found.outcome, found.summary) == (Outcome.FAIL, "SONAME '' is empty")


def test_programs_objects_and_archives(build: CompileC, verdict: VerdictOf) -> None:
    assert verdict(build("int main(void) { return 0; }\n"), "soname").outcome is Outcome.NOT_APPLICABLE
    for kind in ("object", "archive"):
        assert verdict(build({"F.c": SOURCE}, kind=kind), "soname").outcome is Outcome.NOT_APPLICABLE
