"""bind-now: the three encodings, alone and together, and files in which nothing is bound late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = '#include <stdio.h>\nint main(int c, char **v) { printf("%d %s\\n", c, v[0]); return 0; }\n'
ARCHITECTURES = [
    "gcc -m32",
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
    "musl-gcc",
]
NOBODYS_TAG = 0x6FFFFEF0  # in the range DT_VALRNGLO..DT_VALRNGHI and not assigned
DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1 = 24, 30, 0x6FFFFFFB
DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 8, 1, 0x08000000


@pytest.mark.parametrize(
    ("compiler", "flags", "tags"),
    [
        ("gcc", ["-fuse-ld=bfd"], ["DF_BIND_NOW", "DF_1_NOW"]),
        ("gcc", ["-fuse-ld=bfd", "-Wl,--disable-new-dtags"], ["DT_BIND_NOW", "DF_1_NOW"]),
        ("gcc", ["-fuse-ld=lld"], ["DF_BIND_NOW", "DF_1_NOW"]),
        ("gcc", ["-fuse-ld=gold"], ["DF_BIND_NOW", "DF_1_NOW"]),
        ("clang", ["-fuse-ld=lld"], ["DF_BIND_NOW", "DF_1_NOW"]),
        ("clang", ["-fuse-ld=lld", "-Wl,--disable-new-dtags"], ["DF_BIND_NOW", "DF_1_NOW"]),
    ],
)
@pytest.mark.parametrize("kind", ["executable", "shared-library"])
def test_encodings_that_linkers_write(
    build: CompileC,
    verdict: VerdictOf,
    readelf: Callable[..., str],
    compiler: str,
    flags: list[str],
    tags: list[str],
    kind: str,
) -> None:
    base = ["-fPIC", "-pie"] if kind == "executable" else ["-fPIC", "-shared"]
    bound = build(PROGRAM, flags=[*base, *flags], link_flags=["-Wl,-z,now"], compiler=compiler)
    found = verdict(bound, "bind-now")
    assert found.outcome is Outcome.PASS
    assert found.observed == {"tags": tags}
    assert found.remedy == ""
    lazy = build(PROGRAM, flags=[*base, *flags], link_flags=["-Wl,-z,lazy"], compiler=compiler)
    assert "BIND_NOW" not in readelf("-d", lazy)
    found = verdict(lazy, "bind-now")
    assert found.outcome is Outcome.FAIL
    assert found.observed == {"tags": []}
    assert found.remedy == "link with -Wl,-z,now"


@pytest.mark.parametrize("encoding", ["DT_BIND_NOW", "DF_BIND_NOW", "DF_1_NOW"])
def test_one_encoding_alone(
    build: CompileC,
    verdict: VerdictOf,
    edit: Callable[[Path], ElfEditor],
    readelf: Callable[..., str],
    tmp_path: Path,
    encoding: str,
) -> None:
    """Every linker at hand writes two of the three; in a copy the others are taken away."""
    editor = edit(build(PROGRAM, flags=["-fPIE", "-pie"], link_flags=["-fuse-ld=bfd", "-Wl,-z,now"]))
    tag, value = {"DT_BIND_NOW": (DT_BIND_NOW, 0), "DF_BIND_NOW": (DT_FLAGS, DF_BIND_NOW)}.get(
        encoding, (NOBODYS_TAG, 0)
    )
    editor.set_tag(DT_FLAGS, tag, value)
    editor.set_tag(DT_FLAGS_1, DT_FLAGS_1, DF_1_PIE | (DF_1_NOW if encoding == "DF_1_NOW" else 0))
    path = editor.save(tmp_path)
    shown = readelf("-d", path)
    assert ("(BIND_NOW)" in shown, "(FLAGS) " in shown, ": NOW" in shown) == (
        encoding == "DT_BIND_NOW",
        encoding == "DF_BIND_NOW",
        encoding == "DF_1_NOW",
    )
    found = verdict(path, "bind-now")
    assert found.outcome is Outcome.PASS
    assert found.observed == {"tags": [encoding]}


def test_no_encoding_left(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    editor = edit(build(PROGRAM, flags=["-fPIE", "-pie"], link_flags=["-fuse-ld=bfd", "-Wl,-z,now"]))
    editor.set_tag(DT_FLAGS, DT_FLAGS, 1)  # DF_ORIGIN: another flag in the same word
    editor.set_tag(DT_FLAGS_1, DT_FLAGS_1, DF_1_PIE | 8)  # DF_1_NODELETE
    assert verdict(editor.save(tmp_path), "bind-now").outcome is Outcome.FAIL


@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_every_architecture(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    flags = ["-fPIE", "-pie"]
    bound = build(PROGRAM, flags=flags, link_flags=["-Wl,-z,now"], compiler=compiler)
    assert verdict(bound, "bind-now").outcome is Outcome.PASS
    lazy = build(PROGRAM, flags=flags, link_flags=["-Wl,-z,lazy"], compiler=compiler)
    assert verdict(lazy, "bind-now").outcome is Outcome.FAIL


def test_now_without_relro_is_still_bound_now(build: CompileC, verdict: VerdictOf) -> None:
    path = build(PROGRAM, flags=["-fPIE", "-pie"], link_flags=["-Wl,-z,norelro", "-Wl,-z,now"])
    assert verdict(path, "bind-now").outcome is Outcome.PASS


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
def test_calls_without_plt_are_not_lazy(build: CompileC, verdict: VerdictOf, linker: str) -> None:
    """Without the start files, that is: their __cxa_finalize goes through a PLT slot that lld and gold make lazy."""
    path = build(
        PROGRAM,
        kind="shared-library",
        flags=["-fPIC", "-fno-plt", "-nostartfiles"],
        link_flags=[f"-fuse-ld={linker}", "-Wl,-z,lazy"],
    )
    found = verdict(path, "bind-now")
    assert found.outcome is Outcome.NOT_APPLICABLE
    assert "DT_JMPREL" in found.summary


def test_library_that_calls_nothing(build: CompileC, verdict: VerdictOf) -> None:
    path = build(
        "int f(void) { return 1; }\n", kind="shared-library", flags=["-fPIC", "-nostdlib"], link_flags=["-Wl,-z,lazy"]
    )
    assert verdict(path, "bind-now").outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("flags", [["-static"], ["-static-pie", "-fPIE"]])
@pytest.mark.parametrize("binding", ["now", "lazy"])
def test_static_programs(build: CompileC, verdict: VerdictOf, flags: list[str], binding: str) -> None:
    found = verdict(build(PROGRAM, flags=flags, link_flags=[f"-Wl,-z,{binding}"]), "bind-now")
    assert found.outcome is Outcome.NOT_APPLICABLE
    assert "static" in found.summary


def test_objects_and_archives(build: CompileC, verdict: VerdictOf) -> None:
    assert verdict(build(PROGRAM, kind="object"), "bind-now").outcome is Outcome.NOT_APPLICABLE
    assert verdict(build(PROGRAM, kind="archive"), "bind-now").outcome is Outcome.NOT_APPLICABLE
