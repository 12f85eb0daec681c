"""nodlopen: the mark on plug-ins, on libraries and on programs, and what the loaders make of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

SOURCE = "int twice(int a) { return 2 * a; }\n"
PROGRAM = "int main(void) { return 0; }\n"
OPENS = (
    "#include <dlfcn.h>\n#include <stdio.h>\n"
    'int main(int c, char **v) { (void)c; puts(dlopen(v[1], RTLD_NOW) ? "loaded" : dlerror()); return 0; }\n'
)
ARCHITECTURES = [
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
    "gcc -m32",
]
MARK = "-Wl,-z,nodlopen"


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
def test_plug_in(build: CompileC, verdict: VerdictOf, linker: str) -> None:
    flags = ["-fPIC", f"-fuse-ld={linker}"]
    good = build(SOURCE, kind="shared-library", flags=flags, name="plugin.so")
    bad = build(SOURCE, kind="shared-library", flags=flags, link_flags=[MARK], name="plugin.so")
    for expect in ("plugins", "required", "forbidden"):
        assert verdict(good, "nodlopen", expect=expect).outcome is Outcome.PASS
        found = verdict(bad, "nodlopen", expect=expect)
        assert (found.outcome, found.observed) == (Outcome.FAIL, {"nodlopen": True})
        assert found.summary == "a plug-in that dlopen() refuses"
    for other in ("soname", "bind-now", "forbidden-needed", "dynamic-section"):
        assert verdict(bad, other).outcome is verdict(good, other).outcome


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize(
    ("flags", "plugins", "required", "forbidden"),
    [
        ([], Outcome.NOT_APPLICABLE, Outcome.FAIL, Outcome.PASS),
        ([MARK], Outcome.NOT_APPLICABLE, Outcome.PASS, Outcome.FAIL),
    ],
    ids=["without", "with"],
)
def test_library(
    build: CompileC,
    verdict: VerdictOf,
    linker: str,
    flags: list[str],
    plugins: Outcome,
    required: Outcome,
    forbidden: Outcome,
) -> None:
    path = build(
        SOURCE,
        kind="shared-library",
        flags=["-fPIC", f"-fuse-ld={linker}"],
        link_flags=["-Wl,-soname,libtwice.so.1", *flags],
        name="libtwice.so",
    )
    assert verdict(path, "nodlopen").outcome is plugins
    assert verdict(path, "nodlopen", expect="required").outcome is required
    assert verdict(path, "nodlopen", expect="forbidden").outcome is forbidden


@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_every_architecture(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    for flags, outcome in (([], Outcome.PASS), ([MARK], Outcome.FAIL)):
        path = build(
            SOURCE, kind="shared-library", flags=["-fPIC"], link_flags=flags, compiler=compiler, name="plugin.so"
        )
        assert verdict(path, "nodlopen").outcome is outcome


def test_what_the_loaders_do(build: CompileC, verdict: VerdictOf, tmp_path: Path) -> None:
    """glibc refuses a marked plug-in, musl loads it."""
    plugin = build(SOURCE, kind="shared-library", flags=["-fPIC", "-nostdlib"], link_flags=[MARK], name="plugin.so")

    def opened(compiler: str) -> str:
        command = [build(OPENS, compiler=compiler), plugin]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "cannot be dlopen()ed" in opened("gcc")
    assert verdict(plugin, "nodlopen").outcome is Outcome.FAIL
    assert opened("musl-gcc") == "loaded\n"
    of_musl = build(
        SOURCE, kind="shared-library", flags=["-fPIC"], link_flags=[MARK], compiler="musl-gcc", name="plugin.so"
    )
    found = verdict(of_musl, "nodlopen")
    assert (found.outcome, found.summary) == (Outcome.NOT_APPLICABLE, "musl does not look at the mark")


def test_programs_objects_and_archives(build: CompileC, verdict: VerdictOf) -> None:
    """lld keeps the mark on a program, GNU ld and gold drop it; it means nothing there."""
    for linker in ("bfd", "lld", "gold"):
        path = build(PROGRAM, flags=[f"-fuse-ld={linker}"], link_flags=[MARK])
        assert verdict(path, "nodlopen", expect="required").outcome is Outcome.NOT_APPLICABLE
    for kind in ("object", "archive"):
        assert verdict(build({"F.c": SOURCE}, kind=kind), "nodlopen").outcome is Outcome.NOT_APPLICABLE
