"""software-cfi: clang's CFI, SafeStack and shadow call stacks, by record, by symbols and by code."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.errors import PolicyError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

FILL = "void fill(char *to) { to[0] = 0; }\n"
CALL = """void fill(char *); int one(int a) { return a + 1; } int two(int a) { return a + 2; }
int (*table[])(int) = {one, two};
int call(int c) { char line[64]; fill(line); return table[c & 1](c) + line[0]; }
"""
MAIN = "int call(int); int main(int c, char **v) { (void)v; return call(c); }\n"
PROGRAM = {"fill.c": FILL, "call.c": CALL, "main.c": MAIN}
ONE = {"all.c": FILL + CALL.replace("void fill(char *);", "") + MAIN.replace("int call(int);", "")}
RECORD = ["-g", "-grecord-command-line"]
CFI = ["-flto", "-fvisibility=hidden", "-fsanitize=cfi", "-fno-sanitize-ignorelist", "-fuse-ld=lld"]
SAFE = ["-fsanitize=safe-stack"]
SHADOW = ["-fsanitize=shadow-call-stack", "-ffixed-x18"]
# clang has no start files of other machines to link with
SHADOW_COMPILERS = [
    ("aarch64-linux-gnu-gcc", SHADOW),
    ("clang-19 --target=aarch64-linux-gnu", SHADOW),
    ("clang-14 --target=aarch64-linux-gnu", SHADOW),
    ("clang-19 --target=riscv64-linux-gnu", SHADOW[:1]),
    ("clang-19 --target=riscv64-linux-gnu -march=rv64g", SHADOW[:1]),
]


def test_safe_stack_by_record(build: CompileC, verdict: VerdictOf) -> None:
    compiler = "clang-14"
    good = verdict(build(PROGRAM, flags=[*RECORD, *SAFE], compiler=compiler), "software-cfi", require=["safe-stack"])
    assert (good.outcome, good.summary) == (Outcome.PASS, "3 unit(s) compiled with safe-stack")
    off = {"call.c": ["-fno-sanitize=safe-stack"]}
    path = build(PROGRAM, flags=[*RECORD, *SAFE], compiler=compiler, unit_flags=off)
    bad = verdict(path, "software-cfi", require=["safe-stack"])
    assert (bad.outcome, bad.culprits) == (Outcome.FAIL, ("call.c",))
    assert bad.remedy.startswith("compile every unit and link with -fsanitize=safe-stack")


def test_safe_stack_by_symbols(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    asked = {"require": ["safe-stack"]}
    some = verdict(build(PROGRAM, flags=SAFE, compiler="clang-14"), "software-cfi", **asked)
    assert (some.outcome, some.summary) == (
        Outcome.UNKNOWN,
        "some unit has safe-stack; whether all have cannot be told",
    )
    without = build(PROGRAM, compiler="clang-14")
    bad = verdict(without, "software-cfi", **asked)
    assert (bad.outcome, bad.summary) == (
        Outcome.FAIL,
        "without SafeStack's run-time library: not linked with -fsanitize=safe-stack",
    )
    subprocess.run([tool_for("strip"), "-o", tmp_path / "stripped", without], check=True)
    assert verdict(tmp_path / "stripped", "software-cfi", **asked).outcome is Outcome.UNKNOWN
    subprocess.run([tool_for("strip"), "-K", "main", "-o", tmp_path / "main", without], check=True)
    assert verdict(tmp_path / "main", "software-cfi", **asked).outcome is Outcome.UNKNOWN
    exporting = build(PROGRAM, link_flags=["-rdynamic"], compiler="clang-14")
    subprocess.run([tool_for("strip"), "-o", tmp_path / "exporting", exporting], check=True)
    assert verdict(tmp_path / "exporting", "software-cfi", **asked).outcome is Outcome.UNKNOWN
    library = build({"call.c": CALL}, "shared-library", ["-fPIC"], compiler="clang-14")
    assert verdict(library, "software-cfi", **asked).outcome is Outcome.UNKNOWN  # it may keep nothing there


@pytest.mark.parametrize("compiler", ["clang-14", "clang-19"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_safe_stack_of_objects(build: CompileC, verdict: VerdictOf, compiler: str, level: str) -> None:
    asked = {"require": ["safe-stack"]}
    good = build({"call.c": CALL}, kind="object", flags=[level, *SAFE], compiler=compiler)
    assert verdict(good, "software-cfi", **asked).outcome is Outcome.PASS
    needless = build({"fill.c": FILL}, kind="object", flags=[level, *SAFE], compiler=compiler)
    assert verdict(needless, "software-cfi", **asked).outcome is Outcome.UNKNOWN
    silent = build({"call.c": CALL}, kind="object", flags=[level], compiler=compiler)
    assert verdict(silent, "software-cfi", **asked).outcome is Outcome.UNKNOWN
    bad = build({"call.c": CALL}, kind="object", flags=[level, *RECORD], compiler=compiler)
    assert verdict(bad, "software-cfi", **asked).outcome is Outcome.FAIL


@pytest.mark.parametrize("compiler", ["clang-14", "clang-19"])
@pytest.mark.parametrize("kind", [["-fPIE", "-pie"], ["-fPIC", "-shared"]])
def test_cfi_of_linked_files(build: CompileC, verdict: VerdictOf, compiler: str, kind: list[str]) -> None:
    asked = {"require": ["cfi"]}
    some = verdict(build(PROGRAM, flags=[*CFI, *kind], compiler=compiler), "software-cfi", **asked)
    assert some.outcome is Outcome.UNKNOWN
    if kind == ["-fPIE", "-pie"]:  # -fvisibility=hidden leaves nothing of the library
        assert some.summary == "some unit has cfi; whether all have cannot be told"
        assert ".cfi" in some.evidence[0].what
    off = {"call.c": ["-fno-sanitize=cfi-icall"]}
    path = build(PROGRAM, flags=[*RECORD, *CFI, *kind], compiler=compiler, unit_flags=off)
    if kind == ["-fPIE", "-pie"]:
        bad = verdict(path, "software-cfi", **asked)
        assert (bad.outcome, bad.culprits) == (Outcome.FAIL, ("call.c",))


def test_cross_library_cfi_survives_strip(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    flags = ["-fPIC", *CFI, "-fvisibility=default", "-fsanitize-cfi-cross-dso"]
    path = build({"call.c": CALL}, "shared-library", flags, compiler="clang-19")
    subprocess.run([tool_for("strip"), "-o", tmp_path / "stripped", path], check=True)
    found = verdict(tmp_path / "stripped", "software-cfi", require=["cfi"])
    assert (found.outcome, [item.what for item in found.evidence]) == (Outcome.UNKNOWN, ["__cfi_check, __cfi_slowpath"])


@pytest.mark.parametrize("scheme", ["cfi", "safe-stack"])
def test_gcc_has_neither(build: CompileC, verdict: VerdictOf, scheme: str) -> None:
    found = verdict(build(PROGRAM, flags=["-g"]), "software-cfi", require=[scheme])
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("fill.c", "call.c", "main.c"))


@pytest.mark.parametrize(("compiler", "flags"), SHADOW_COMPILERS)
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_shadow_call_stack(build: CompileC, verdict: VerdictOf, compiler: str, flags: list[str], level: str) -> None:
    asked = {"require": ["shadow-call-stack"]}
    good = build({"call.c": CALL}, kind="object", flags=[level, *flags], compiler=compiler)
    found = verdict(good, "software-cfi", **asked)
    assert found.outcome is Outcome.PASS
    assert "call" in found.evidence[0].what.split(", ")  # RISC-V's clang does so without need at -O0
    silent = build({"call.c": CALL}, kind="object", flags=[level], compiler=compiler)
    assert verdict(silent, "software-cfi", **asked).outcome is Outcome.UNKNOWN
    bad = build({"call.c": CALL}, kind="object", flags=[level, *RECORD[: 1 + ("clang" in compiler)]], compiler=compiler)
    assert verdict(bad, "software-cfi", **asked).outcome is Outcome.FAIL


@pytest.mark.parametrize("extra", [[], ["-mbranch-protection=standard"]])
def test_shadow_call_stack_of_linked_files(build: CompileC, verdict: VerdictOf, extra: list[str]) -> None:
    flags = [*SHADOW, *extra]
    asked = {"require": ["shadow-call-stack"]}
    path = build(PROGRAM, flags=flags, compiler="aarch64-linux-gnu-gcc")
    assert verdict(path, "software-cfi", **asked).summary.startswith("some unit has shadow-call-stack")
    path = build(PROGRAM, flags=["-g", *flags], compiler="aarch64-linux-gnu-gcc")
    assert verdict(path, "software-cfi", **asked).outcome is Outcome.PASS
    path = build(PROGRAM, flags=["-g"], unit_flags={"call.c": flags}, compiler="aarch64-linux-gnu-gcc")
    assert verdict(path, "software-cfi", **asked).culprits == ("fill.c", "main.c")


def test_machines_without_shadow_call_stack(build: CompileC, verdict: VerdictOf) -> None:
    path = build(ONE, flags=[*RECORD, *SAFE], compiler="clang-14")
    found = verdict(path, "software-cfi", require=["shadow-call-stack"])
    assert (found.outcome, found.summary) == (
        Outcome.NOT_APPLICABLE,
        "no compiler has a shadow call stack for x86-64",
    )
    both = verdict(path, "software-cfi", require=["safe-stack", "shadow-call-stack"])
    assert both.outcome is Outcome.PASS


def test_groups_and_order(build: CompileC, verdict: VerdictOf) -> None:
    def of(*flags: str) -> Outcome:
        path = build({"call.c": CALL}, kind="object", flags=[*RECORD, *flags], compiler="clang-19")
        return verdict(path, "software-cfi", require=["safe-stack"]).outcome

    assert of("-fsanitize=safe-stack", "-fno-sanitize=all") is Outcome.FAIL
    assert of("-fno-sanitize=safe-stack", "-fsanitize=safe-stack") is Outcome.PASS
    assert of("-fsanitize=undefined,safe-stack", "-fno-sanitize=null") is Outcome.PASS


def test_nothing_required(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build(ONE), "software-cfi")
    assert (found.outcome, found.summary) == (Outcome.NOT_APPLICABLE, "nothing required")
    bitcode = build(ONE, kind="object", flags=["-flto"], compiler="clang-19")
    assert verdict(bitcode, "software-cfi").outcome is Outcome.NOT_APPLICABLE
    assert verdict(bitcode, "software-cfi", require=["cfi"]).outcome is Outcome.UNKNOWN
    with pytest.raises(PolicyError, match=r"software-cfi\.require = 'kcfi': expected some of cfi, safe-stack"):
        verdict(build(ONE), "software-cfi", require=["kcfi"])
