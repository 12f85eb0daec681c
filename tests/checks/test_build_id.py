"""build-id: every linker, style and size, and files without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = "int main(void) { return 0; }\n"
BARE = "void _start(void) { for (;;) ; }\n"
ARCHITECTURES = [
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
    "gcc -m32",
    "musl-gcc",
]
SIZES = {"sha1": 20, "md5": 16, "uuid": 16, "0x0123456789abcdef": 8, "0x" + "ab" * 32: 32}
PT_NOTE = 4


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize(("style", "size"), SIZES.items())
def test_styles(build: CompileC, verdict: VerdictOf, linker: str, style: str, size: int) -> None:
    path = build(PROGRAM, flags=[f"-fuse-ld={linker}"], link_flags=[f"-Wl,--build-id={style}"])
    found = verdict(path, "build-id", bytes=1)
    assert (found.outcome, len(found.observed["build_id"])) == (Outcome.PASS, 2 * size)
    for least in (8, 16, 20, 32):
        expected = Outcome.PASS if size >= least else Outcome.FAIL
        assert verdict(path, "build-id", bytes=least).outcome is expected
    if style.startswith("0x"):
        assert found.observed["build_id"] == style[2:]


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize("kind", [["-fPIC", "-shared"], ["-fPIE", "-pie"]], ids="".join)
def test_without(build: CompileC, verdict: VerdictOf, linker: str, kind: list[str]) -> None:
    path = build(PROGRAM, flags=[*kind, f"-fuse-ld={linker}"], link_flags=["-Wl,--build-id=none"])
    found = verdict(path, "build-id", bytes=1)
    assert (found.outcome, found.summary) == (Outcome.FAIL, "no build identifier")
    assert found.remedy == "link with -Wl,--build-id=sha1"
    for other in ("rpath", "forbidden-needed", "dynamic-section", "entry-point"):
        assert verdict(path, other).outcome in (Outcome.PASS, Outcome.NOT_APPLICABLE)


def test_eight_bytes_of_lld(build: CompileC, verdict: VerdictOf) -> None:
    """The style that older lld takes where none is named."""
    path = build(PROGRAM, flags=["-fuse-ld=lld"], link_flags=["-Wl,--build-id=fast"])
    found = verdict(path, "build-id")
    assert (found.outcome, found.summary) == (Outcome.FAIL, "build identifier of 8 bytes, fewer than 16")


@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_every_architecture(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    good = build(PROGRAM, compiler=compiler, link_flags=["-Wl,--build-id=sha1"])
    assert verdict(good, "build-id", bytes=20).outcome is Outcome.PASS
    bad = build(PROGRAM, compiler=compiler, link_flags=["-Wl,--build-id=none"])
    assert verdict(bad, "build-id").outcome is Outcome.FAIL


@pytest.mark.parametrize("flags", [["-static", "-no-pie"], ["-static-pie", "-fPIE"]], ids="".join)
def test_static_programs(build: CompileC, verdict: VerdictOf, flags: list[str]) -> None:
    path = build(BARE, flags=[*flags, "-nostdlib"], link_flags=["-Wl,--build-id=sha1"])
    assert verdict(path, "build-id").outcome is Outcome.PASS
    path = build(BARE, flags=[*flags, "-nostdlib"], link_flags=["-Wl,--build-id=none"])
    assert verdict(path, "build-id").outcome is Outcome.FAIL


def test_segments_decide(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    """Without section headers it is found; in no PT_NOTE it is not there for a core dump."""
    path = build(PROGRAM, link_flags=["-Wl,--build-id=sha1"])
    assert verdict(edit(path).without_sections().save(tmp_path, "bare"), "build-id").outcome is Outcome.PASS
    editor = edit(path)
    editor.set_segment_type(PT_NOTE, 0)
    assert verdict(editor.save(tmp_path, "lost"), "build-id").outcome is Outcome.FAIL


def test_objects_and_archives(build: CompileC, verdict: VerdictOf) -> None:
    for kind in ("object", "archive"):
        assert verdict(build({"F.c": PROGRAM}, kind=kind), "build-id").outcome is Outcome.NOT_APPLICABLE
