"""sanitizers: instrumentation in every way that a file keeps it, and names that are none."""

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

TABLE = "int table[4]; int put(int c) { table[c] = c << c; return table[c & 3]; }\n"
MAIN = "int put(int); int main(int c, char **v) { (void)v; return put(c); }\n"
PROGRAM = {"table.c": TABLE, "main.c": MAIN}
GCC = {
    "-fsanitize=address": "address",
    "-fsanitize=undefined": "undefined",
    "-fsanitize=thread": "thread",
    "--coverage": "coverage",
    "-fprofile-generate": "coverage",
    "-pg": "profiling",
    "-finstrument-functions": "profiling",
}
CLANG = {
    "-fsanitize=address": "address",
    "-fsanitize=undefined": "undefined",
    "-fsanitize=thread": "thread",
    "-fsanitize=memory": "memory",
    "-fsanitize=hwaddress": "hwaddress",
    "-fprofile-instr-generate": "coverage",
    "-fprofile-generate": "coverage",
    "--coverage": "coverage",
    "-pg": "profiling",
}
BUILDS = [("gcc", flag, family) for flag, family in GCC.items()]
BUILDS += [("clang-14", flag, family) for flag, family in CLANG.items()]


@pytest.fixture
def strip(tool_for: Callable[[str], str], tmp_path: Path) -> Callable[[Path], Path]:
    def strip(path: Path) -> Path:
        subprocess.run([tool_for("strip"), "-o", tmp_path / "stripped", path], check=True)
        return tmp_path / "stripped"

    return strip


@pytest.mark.parametrize(("compiler", "flag", "family"), BUILDS)
def test_linked_files(build: CompileC, verdict: VerdictOf, compiler: str, flag: str, family: str) -> None:
    # GNU ld cannot relax the tagged addresses of HWAddressSanitizer
    path = build(PROGRAM, flags=["-O1", flag], link_flags=["-Wl,--no-relax"], compiler=compiler)
    found = verdict(path, "sanitizers")
    assert found.outcome is Outcome.FAIL
    assert family in found.observed["found"]
    assert found.observed["found"] == [family] or compiler == "clang-14"  # its libraries hold parts of one another
    assert found.summary.startswith("instrumented with ")
    assert found.remedy.startswith("build without ")


@pytest.mark.parametrize("compiler", ["gcc", "clang-14", "gcc -m32", "aarch64-linux-gnu-gcc", "musl-gcc"])
@pytest.mark.parametrize("kind", [["-fPIE", "-pie"], ["-fPIC", "-shared"], ["-static", "-no-pie"]])
def test_without_instrumentation(build: CompileC, verdict: VerdictOf, compiler: str, kind: list[str]) -> None:
    path = build(PROGRAM, flags=["-O1", *kind], compiler=compiler)
    found = verdict(path, "sanitizers")
    assert (found.outcome, found.observed) == (Outcome.PASS, {"found": []})


@pytest.mark.parametrize(
    ("compiler", "flag", "family"),
    [
        *BUILDS,
        ("gcc", "-fsanitize-coverage=trace-pc", "coverage"),
        ("clang-19", "-fsanitize-coverage=trace-pc-guard", "coverage"),
        ("clang-19", "-fsanitize=address", "address"),
        ("arm-linux-gnueabihf-gcc", "-pg", "profiling"),
        ("aarch64-linux-gnu-gcc", "-pg", "profiling"),
        ("s390x-linux-gnu-gcc", "-pg", "profiling"),
        ("powerpc64le-linux-gnu-gcc", "-pg", "profiling"),
        ("riscv64-linux-gnu-gcc", "-pg", "profiling"),
        ("gcc -pg", "-mfentry", "profiling"),
    ],
)
def test_objects(build: CompileC, verdict: VerdictOf, compiler: str, flag: str, family: str) -> None:
    path = build({"table.c": TABLE}, kind="object", flags=["-O1", flag], compiler=compiler)
    found = verdict(path, "sanitizers")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"found": [family]})
    plain = build({"table.c": TABLE}, kind="object", flags=["-O1"], compiler=compiler.partition(" ")[0])
    assert verdict(plain, "sanitizers").outcome is Outcome.PASS


def test_leaks(build: CompileC, verdict: VerdictOf) -> None:
    """LeakSanitizer instruments nothing: its library alone shows."""
    found = verdict(build(PROGRAM, flags=["-fsanitize=leak"]), "sanitizers")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"found": ["leak"]})
    assert "DT_NEEDED liblsan.so.0" in [item.what for item in found.evidence]


@pytest.mark.parametrize("family", ["address", "undefined"])
def test_forbidden_families(build: CompileC, verdict: VerdictOf, family: str) -> None:
    path = build(PROGRAM, flags=[f"-fsanitize={family}"])
    assert verdict(path, "sanitizers", forbidden=[family]).outcome is Outcome.FAIL
    assert verdict(path, "sanitizers", forbidden=["coverage", "thread"]).outcome is Outcome.PASS
    with pytest.raises(PolicyError, match=r"sanitizers\.forbidden = 'adress': expected some of address"):
        verdict(path, "sanitizers", forbidden=["adress"])


@pytest.mark.parametrize("flag", ["-fsanitize=undefined", "-fsanitize=address", "--coverage", "-pg"])
def test_the_unit_is_named(build: CompileC, verdict: VerdictOf, flag: str) -> None:
    path = build(PROGRAM, flags=["-g"], unit_flags={"table.c": [flag]}, link_flags=[flag])
    found = verdict(path, "sanitizers")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("table.c",))
    assert found.summary.endswith(" in table.c")


def test_archive_names_the_member(build: CompileC, verdict: VerdictOf) -> None:
    path = build(PROGRAM, kind="archive", unit_flags={"table.c": ["--coverage"]})
    found = verdict(path, "sanitizers")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("table.o",))
    assert verdict(build(PROGRAM, kind="archive"), "sanitizers").outcome is Outcome.PASS


@pytest.mark.parametrize("flag", ["-fsanitize=address", "-fsanitize=undefined", "-fsanitize=thread", "-pg"])
def test_stripped_files_keep_what_they_import(
    build: CompileC, verdict: VerdictOf, strip: Callable[[Path], Path], flag: str
) -> None:
    found = verdict(strip(build(PROGRAM, flags=[flag])), "sanitizers")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"found": [GCC[flag]]})


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", ["--coverage"]),
        ("gcc", ["-fprofile-generate"]),
        ("gcc", ["--coverage", "-fPIC", "-shared"]),
        ("gcc -m32", ["--coverage"]),
        ("clang-14", ["--coverage"]),
        ("gcc", ["-fsanitize=address", "-static-libasan"]),
        ("gcc", ["-fsanitize=thread", "-static-libtsan"]),
        ("gcc", ["-fsanitize=undefined", "-static-libubsan"]),
        ("gcc", ["--coverage", "-static"]),
        ("gcc", ["-pg", "-static"]),
        ("gcc", ["-fsanitize=undefined", "-static"]),
        ("gcc", ["-static"]),
    ],
)
def test_stripped_files_whose_library_is_inside(
    build: CompileC, verdict: VerdictOf, strip: Callable[[Path], Path], compiler: str, flags: list[str]
) -> None:
    """No symbol is left, and no verdict is given for want of one."""
    whole = build(PROGRAM, flags=flags, compiler=compiler)
    assert verdict(whole, "sanitizers").outcome is (Outcome.PASS if flags == ["-static"] else Outcome.FAIL)
    found = verdict(strip(whole), "sanitizers")
    assert found.outcome is Outcome.UNKNOWN
    assert "stripped" in found.summary


def test_counters_of_clang_have_sections(build: CompileC, verdict: VerdictOf, strip: Callable[[Path], Path]) -> None:
    found = verdict(strip(build(PROGRAM, flags=["-fprofile-instr-generate"], compiler="clang-14")), "sanitizers")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"found": ["coverage"]})
    assert "__llvm_prf_cnts" in found.evidence[0].what


def test_plain_stripped_file(build: CompileC, verdict: VerdictOf, strip: Callable[[Path], Path]) -> None:
    assert verdict(strip(build(PROGRAM)), "sanitizers").outcome is Outcome.PASS


def test_references_to_the_interface_are_no_instrumentation(build: CompileC, verdict: VerdictOf) -> None:
    """Projects keep weak references and hooks for the day on which they are built with a sanitizer."""
    source = """
void __asan_poison_memory_region(const void *, unsigned long) __attribute__((weak));
void __lsan_ignore_object(const void *) __attribute__((weak));
void __gcov_dump(void) __attribute__((weak));
void __llvm_profile_write_file(void) __attribute__((weak));
void __tsan_acquire(void *) __attribute__((weak));
const char *__asan_default_options(void) { return ""; }
const char *__lsan_default_suppressions(void) { return ""; }
int amcount(int n) { return n; }
int main(int c, char **v) {
    if (__asan_poison_memory_region) __asan_poison_memory_region(v, 1);
    if (__lsan_ignore_object) __lsan_ignore_object(v);
    if (__gcov_dump) __gcov_dump();
    if (__llvm_profile_write_file) __llvm_profile_write_file();
    if (__tsan_acquire) __tsan_acquire(v);
    return amcount(c);
}
"""
    for kind in ("executable", "object"):
        path = build(source, kind=kind, flags=["-rdynamic"] if kind == "executable" else [])
        assert verdict(path, "sanitizers").outcome is Outcome.PASS


def test_traps_and_minimal_handlers_are_for_production(build: CompileC, verdict: VerdictOf) -> None:
    for flags in (["-fsanitize-trap=all"], ["-fsanitize-minimal-runtime"]):
        path = build({"table.c": TABLE}, kind="object", flags=["-fsanitize=undefined", *flags], compiler="clang-14")
        assert verdict(path, "sanitizers").outcome is Outcome.PASS


@pytest.mark.parametrize("flag", ["-fsanitize=scudo", "-fsanitize=safe-stack"])
def test_what_else_the_option_turns_on(build: CompileC, verdict: VerdictOf, flag: str) -> None:
    """A hardened allocator and a second stack are made for production; Scudo's library holds UBSan's functions."""
    path = build(PROGRAM, flags=[flag], compiler="clang-14")
    others = ["address", "thread", "memory", "coverage", "profiling"]
    assert verdict(path, "sanitizers", forbidden=others).outcome is Outcome.PASS
    assert verdict(path, "sanitizers").outcome is (Outcome.UNKNOWN if "scudo" in flag else Outcome.PASS)


@pytest.mark.parametrize("flags", ["address", "hwaddress", "thread", "memory", "scudo", "address,undefined"])
def test_libraries_that_hold_those_of_another(build: CompileC, verdict: VerdictOf, flags: str) -> None:
    """Only the objects tell whether code calls UBSan's functions."""
    words = ["-O1", f"-fsanitize={flags}"]
    path = build(PROGRAM, flags=words, link_flags=["-Wl,--no-relax"], compiler="clang-14")
    found = verdict(path, "sanitizers", forbidden=["undefined"])
    assert (found.outcome, found.remedy) == (Outcome.UNKNOWN, "judge the objects")
    path = build({"table.c": TABLE}, kind="object", flags=words, compiler="clang-14")
    found = verdict(path, "sanitizers", forbidden=["undefined"])
    assert found.outcome is (Outcome.FAIL if "undefined" in flags else Outcome.PASS)


def test_xray(build: CompileC, verdict: VerdictOf, strip: Callable[[Path], Path]) -> None:
    flags = ["-O1", "-fxray-instrument", "-fxray-instruction-threshold=1"]
    program = build(PROGRAM, flags=flags, compiler="clang-14")
    for path in (program, strip(program), build(TABLE, kind="object", flags=flags, compiler="clang-14")):
        found = verdict(path, "sanitizers")
        assert (found.outcome, found.observed) == (Outcome.FAIL, {"found": ["profiling"]})


def test_the_c_library_offers_what_profiled_code_calls(verdict: VerdictOf, readelf: Callable[..., str]) -> None:
    path = subprocess.run(["gcc", "-print-file-name=libc.so.6"], capture_output=True, text=True, check=True).stdout
    assert "mcount" in readelf("--dyn-syms", path.strip())
    assert verdict(path.strip(), "sanitizers").outcome is Outcome.PASS


def test_link_time_optimisation(build: CompileC, verdict: VerdictOf) -> None:
    slim = build({"table.c": TABLE}, kind="object", flags=["-flto", "-fsanitize=undefined"])
    assert verdict(slim, "sanitizers").outcome is Outcome.UNKNOWN
