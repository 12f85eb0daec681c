"""exported-symbols: what a library offers, by visibility, version script and linker; what linkers add."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

HIDDEN = '__attribute__((visibility("hidden")))'
PROTECTED = '__attribute__((visibility("protected")))'
TIDY = f"{HIDDEN} int helper(int a) {{ return a + 1; }}\nint kms_open(int a) {{ return helper(a); }}\n"
LOOSE = "int helper(int a) { return a + 1; }\nint kms_open(int a) { return helper(a); }\n"
MACHINES = ["gcc -m32", "aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc", "powerpc64le-linux-gnu-gcc"]
TOOLS = [(compiler, linker) for compiler in ("gcc", "clang-19") for linker in ("bfd", "gold", "lld")]
ALLOW = ["kms_*"]


@pytest.mark.parametrize(("compiler", "linker"), [*TOOLS, *((machine, "bfd") for machine in MACHINES)])
def test_libraries(build: CompileC, verdict: VerdictOf, compiler: str, linker: str) -> None:
    flags = ["-fPIC", f"-fuse-ld={linker}"]
    tidy = verdict(build({"F.c": TIDY}, "shared-library", flags, compiler=compiler), "exported-symbols", allow=ALLOW)
    assert (tidy.outcome, tidy.observed) == (Outcome.PASS, {"exported": 1, "extra": 0})
    loose = verdict(build({"F.c": LOOSE}, "shared-library", flags, compiler=compiler), "exported-symbols", allow=ALLOW)
    assert (loose.outcome, loose.culprits) == (Outcome.FAIL, ("helper",))
    assert loose.observed == {"exported": 2, "extra": 1}
    assert loose.summary == "exports 1 symbol(s) that are not allowed: helper"


@pytest.mark.parametrize(
    ("declaration", "exported"),
    [
        ("int extra;", True),
        ("int extra = 3;", True),
        ("__thread int extra;", True),
        ("const int extra = 3;", True),
        (f"{PROTECTED} int extra(void) {{ return 3; }}", True),
        ("__attribute__((weak)) int extra(void) { return 3; }", True),
        ('static int twice(void) { return 3; } int extra(void) __attribute__((alias("twice")));', True),
        ('static void *twice(void) { return 0; } int extra(void) __attribute__((ifunc("twice")));', True),
        ("static int extra(void) { return 3; } int kms_two(void) { return extra(); }", False),
        (f"{HIDDEN} int extra = 3;", False),
        ("int extra(void); int kms_two(void) { return extra(); }", False),  # an import
    ],
)
def test_kinds_of_symbols(build: CompileC, verdict: VerdictOf, declaration: str, exported: bool) -> None:
    path = build({"F.c": f"{TIDY}{declaration}\n"}, "shared-library", ["-fPIC"])
    found = verdict(path, "exported-symbols", allow=ALLOW)
    assert found.outcome is (Outcome.FAIL if exported else Outcome.PASS)
    assert found.culprits == (("extra",) if exported else ())


def test_version_script(build: CompileC, verdict: VerdictOf, tmp_path: Path) -> None:
    """It keeps the helper local, and its version node becomes a symbol that is none."""
    script = tmp_path / "map"
    script.write_text("KMS_1.0 { global: kms_*; local: *; };\n")
    for linker in ("bfd", "gold", "lld"):
        flags = ["-fPIC", f"-fuse-ld={linker}", f"-Wl,--version-script={script}"]
        found = verdict(build({"F.c": LOOSE}, "shared-library", flags), "exported-symbols", allow=ALLOW)
        assert (found.outcome, found.observed) == (Outcome.PASS, {"exported": 1, "extra": 0})
    script.write_text("KMS_1.0 { global: kms_*; }; KMS_2.0 { global: helper; } KMS_1.0;\n")
    flags = ["-fPIC", f"-Wl,--version-script={script}", "-Wl,--build-id=none"]
    found = verdict(build({"F.c": LOOSE}, "shared-library", flags), "exported-symbols", allow=ALLOW)
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("helper",))


def test_plug_ins(build: CompileC, verdict: VerdictOf) -> None:
    path = build({"F.c": LOOSE}, "shared-library", ["-fPIC"], name="plugin.so")
    assert verdict(path, "exported-symbols", allow=ALLOW).outcome is Outcome.FAIL
    assert verdict(path, "exported-symbols", allow=["kms_open", "help?r"]).outcome is Outcome.PASS
    assert verdict(path, "exported-symbols", allow=["kms_open", "help"]).outcome is Outcome.FAIL


def test_what_linkers_make(build: CompileC, verdict: VerdictOf) -> None:
    source = """
extern char _end[], __bss_start[], _edata[]; extern int __start_box[], __stop_box[];
__attribute__((section("box"), used)) static int inside = 3;
long kms_size(void) { return _end - __bss_start + (_edata - _end) + (__stop_box - __start_box); }
"""
    for linker in ("bfd", "gold"):
        path = build({"F.c": source}, "shared-library", ["-fPIC", f"-fuse-ld={linker}", "-Wl,--export-dynamic"])
        assert verdict(path, "exported-symbols", allow=ALLOW).outcome is Outcome.PASS


def test_cplusplus_templates_count(build: CompileC, verdict: VerdictOf) -> None:
    source = {"F.cc": "#include <vector>\nint kms_sum(int n) { std::vector<int> v; v.push_back(n); return v.at(0); }\n"}
    flags = ["-fPIC", "-O0", "-fvisibility=hidden"]
    found = verdict(build(source, "shared-library", flags, compiler="g++"), "exported-symbols", allow=["_Z7kms_sumi"])
    assert found.outcome is Outcome.FAIL
    assert "_ZNSt6vectorIiSaIiEE2atEm" in found.culprits
    assert "_Z7kms_sumi" not in found.culprits


@pytest.mark.parametrize("kind", ["executable", "object", "archive"])
def test_other_kinds(build: CompileC, verdict: VerdictOf, kind: str) -> None:
    source = {"F.c": LOOSE + "int main(void) { return 0; }\n"}
    path = build(source, kind, flags=["-rdynamic"] if kind == "executable" else [])  # type: ignore[arg-type]
    assert verdict(path, "exported-symbols", allow=ALLOW).outcome is Outcome.NOT_APPLICABLE


def test_nothing_allowed_is_nothing_asked(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build({"F.c": LOOSE}, "shared-library", ["-fPIC"]), "exported-symbols")
    assert (found.outcome, found.summary) == (Outcome.NOT_APPLICABLE, "no list of symbols that may be exported")
