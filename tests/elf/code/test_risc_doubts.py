"""What the code of aarch64, arm, ppc64le, s390x and riscv64 leaves in doubt: arrays that a loop or an index reaches,
and stack of a size made at run time.

The truth is in the flags: a function that gets a canary under -fstack-protector-strong is not passed over without it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.elf.facts import Need, StackUse
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome, Verdict
from pytest_hardening.toolchain import Compiler

COMPILERS = {
    "aarch64": "aarch64-linux-gnu-gcc",
    "arm": "arm-linux-gnueabihf-gcc",
    "arm A32": "arm-linux-gnueabihf-gcc -marm",
    "ppc64le": "powerpc64le-linux-gnu-gcc",
    "s390x": "s390x-linux-gnu-gcc",
    "riscv64": "riscv64-linux-gnu-gcc",
}
ON, OFF = "-fstack-protector-strong", "-fno-stack-protector"

# each needs a canary; those without a call prove nothing by the code alone
ARRAYS = """
#include <alloca.h>
extern int n; extern char source[]; void fill(char *); int sum(int, int, int, int, int, int, char *);
int index_only(void) { volatile char b[64]; for (int i = 0; i < n; i++) b[i] = source[i]; return b[n & 63]; }
int walk(void) {
  char b[64], *p = b; const char *q = source; int s = 0;
  while ((*p++ = *q++)) ; for (p = b; *p; p++) s += *p; return s;
}
int write_one(void) { volatile char b[8]; b[n] = 1; return b[n + 1]; }
int backwards(void) { volatile int b[40]; for (int i = n; i > 0; i--) b[40 - i] = i; return b[n % 40]; }
int grown(void) { char *b = alloca(n); fill(b); return b[3]; }
int seventh(void) { char b[64]; return sum(1, 2, 3, 4, 5, 6, b) + b[1]; }
int compared(int c, char **w) {
  char b[64]; int at, s = 0;
  for (at = 0; at < c; at++) b[at] = (char)(w[0][at] ^ c);
  for (at = 0; at < c; at++) s += b[at ^ 1];
  return s;
}
struct large { long words[40]; }; struct large make(int);
int returned(int c) { return (int)make(c).words[3]; }
"""
NEEDY = 8

# GCC protects none of these
HARMLESS = """
struct n48 { long a, b, c, d, e, f; };
extern int n;
int loops(int x) { int t = 0; for (int i = 0; i < n; i++) { t += i * x; x ^= t; } return t; }
long fields(long x) { struct n48 s = {x, n, 3, 4, 5, 6}; for (int i = 0; i < n; i++) s.a += s.b; return s.a + s.c; }
int spilled(int x) { volatile int t = x; for (int i = 0; i < n; i++) t += i; return t; }
"""

GROWS = "void fill(char *); extern int n; int grows(void) { char b[n]; fill(b); return b[3]; }\n"


def use_of(path: Path) -> StackUse:
    with Source.open(path) as source:
        use = ElfReader(source, path.name).extend([Need.UNITS, Need.STACK_USE]).stack_use
    assert use is not None
    assert not use.incomplete
    return use


def clang(version: str, triple: str) -> tuple[str, list[str]]:
    return f"clang-{version}", [f"--target={triple}", "-isystem", f"/usr/{triple}/include"]


@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("name", COMPILERS)
def test_no_array_is_passed_over(build: CompileC, name: str, level: str) -> None:
    compiler, *flags = COMPILERS[name].split()
    on = use_of(build(ARRAYS, "object", [*flags, level, ON], compiler=compiler))
    assert (on.functions, on.protected, on.doubtful) == (NEEDY, NEEDY, 0)
    off = use_of(build(ARRAYS, "object", [*flags, level, OFF], compiler=compiler))
    assert (off.protected, off.unprotected_count + off.doubtful) == (0, NEEDY)


@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("name", COMPILERS)
def test_loops_alone_raise_no_doubt(build: CompileC, name: str, level: str) -> None:
    compiler, *flags = COMPILERS[name].split()
    use = use_of(build(HARMLESS, "object", [*flags, level, ON], compiler=compiler))
    assert (use.functions, use.protected, use.unprotected_count, use.doubtful) == (3, 0, 0, 0)


@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("name", [name for name in COMPILERS if name != "riscv64"])
def test_sizes_made_at_run_time(build: CompileC, name: str, level: str) -> None:
    compiler, *flags = COMPILERS[name].split()
    for protector in (ON, OFF):
        given = [*flags, level, protector]
        on = use_of(build(GROWS, "object", [*given, "-fstack-clash-protection"], compiler=compiler))
        off = use_of(build(GROWS, "object", [*given, "-fno-stack-clash-protection"], compiler=compiler))
        assert (on.probed, on.unprobed_count, on.unclear) == (1, 0, 0)
        assert on.doubtful == off.doubtful == (protector == OFF)
        assert (off.probed, off.unprobed_count, off.unclear) == (0, 0, 1)


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("triple", ["aarch64-linux-gnu", "powerpc64le-linux-gnu", "s390x-linux-gnu"])
def test_clang_probes(build: CompileC, triple: str, level: str) -> None:
    compiler, flags = clang("19", triple)
    frames = GROWS + "int large(void) { char b[90000]; fill(b); return b[1]; }\n"
    frames += "int aligned(void) { char b[90000] __attribute__((aligned(64))); fill(b); return b[1]; }\n"
    on = use_of(build(frames, "object", [*flags, level, "-fstack-clash-protection"], compiler=compiler))
    assert (on.probed, on.unprobed_count, on.unclear) == (3, 0, 0)
    off = use_of(build(frames, "object", [*flags, level], compiler=compiler))
    assert (off.probed, off.unprobed_count + off.unclear) == (0, 3)
    assert off.unprobed_count


@pytest.mark.parametrize("name", [name for name in COMPILERS if name != "riscv64"])
def test_a_probing_unit_does_not_speak_for_another(build: CompileC, verdict: Callable[..., Verdict], name: str) -> None:
    compiler, *flags = COMPILERS[name].split()
    probed = "void fill(char *b) { *b = 1; } int n = 5; void use(char *);\n"
    probed += "int large(void) { char b[90000]; use(b); return b[1]; } void use(char *b) { *b = 2; }\n"
    path = build(
        {"grows.c": GROWS, "probed.c": probed},
        "shared-library",
        [*flags, "-O1", "-fPIC", "-fno-inline"],
        unit_flags={"grows.c": ["-fno-stack-clash-protection"], "probed.c": ["-fstack-clash-protection"]},
        compiler=compiler,
    )
    assert verdict(path, "stack-clash").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("flag", ["-fstack-clash-protection", "-fno-stack-clash-protection"])
def test_riscv64_never_probes_large_frames(
    build: CompileC, verdict: Callable[..., Verdict], compiler_for: Callable[[str], Compiler], flag: str
) -> None:
    compiler_for("riscv64-linux-gnu-gcc")
    clang_19, clang_flags = clang("19", "riscv64-linux-gnu")
    frame = "void fill(char *); int keeps(void) {{ char b[{}]; fill(b); return b[1]; }}\n"
    for compiler, flags in (("riscv64-linux-gnu-gcc", []), (clang_19, clang_flags)):
        for protector in (ON, OFF):
            given = [*flags, "-O2", "-w", flag, protector]
            found = verdict(build(frame.format(90000), "object", given, compiler=compiler), "stack-clash")
            assert found.outcome is Outcome.FAIL
            assert "compiler" in found.remedy
            assert found.culprits
            small = verdict(build(frame.format(9000), "object", given, compiler=compiler), "stack-clash")
            assert small.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", COMPILERS)
def test_code_in_a_section_of_its_own(build: CompileC, verdict: Callable[..., Verdict], name: str) -> None:
    """The linker's call stubs for Power stand beside it."""
    compiler, *flags = COMPILERS[name].split()
    source = """
#include <stdio.h>
#define APART __attribute__((section("own_code"), noinline))
APART int works(const char *s) { char b[64]; sprintf(b, "%s", s); return puts(b); }
int main(int c, char **v) { return works(v[c - 1]); }
"""
    for protector, outcome in ((ON, Outcome.PASS), (OFF, Outcome.FAIL)):
        path = build(source, flags=[*flags, "-O2", "-U_FORTIFY_SOURCE", protector], compiler=compiler)
        assert verdict(path, "stack-protector").outcome is outcome
