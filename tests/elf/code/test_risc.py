"""What the code of aarch64, arm, ppc64le, s390x and riscv64 shows of stack frames.

The truth is in the flags: a function that needs a canary under -fstack-protector-strong gets one there, and one that
gets none there is never accused.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.elf.code import aarch64, arm, power, riscv, s390
from pytest_hardening.elf.code.architecture import Body
from pytest_hardening.elf.facts import Need, StackUse
from pytest_hardening.elf.machines import machine_of
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.fixtures import CompileC
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

# each function hands an array to a C library function, on a straight way, in a loop or in a switch
ARRAYS = """
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <wchar.h>
void use(const char *); int chance(void); char *next(void);
int copies(const char *s) { char b[64]; strcpy(b, s); use(b); return atoi(b); }
int appends(const char *s, const char *t) { char b[128]; strcpy(b, s); strcat(b, t); return puts(b); }
int prints(int x) { char b[32]; sprintf(b, "%d-%d", x, 2 * x); return (int)strlen(b); }
int reads(int fd) { char b[4096]; int n, t = 0; while ((n = read(fd, b, sizeof b)) > 0) t += n; return t; }
int lines(FILE *f) { char b[256]; int n = 0; while (fgets(b, sizeof b, f)) n++; return n; }
int receives(int s) { char b[1500]; int n = recv(s, b, sizeof b, 0); if (n > 0) n = write(1, b, n); return n; }
int moves(const char *s, size_t n) { char b[300]; memcpy(b, s, n); use(b); return b[0]; }
int path(const char *d, const char *f) { char b[512]; snprintf(b, sizeof b, "%s/%s", d, f); return access(b, 0); }
int words(const char *s) { char b[40]; int x; if (sscanf(s, "%39s %d", b, &x) != 2) return -1; use(b); return x; }
int large(const char *s) { char b[70000]; snprintf(b, sizeof b, "<%s>", s); use(b); return b[9]; }
int wide(const wchar_t *s) { wchar_t b[40]; wcscpy(b, s); return (int)wcslen(b); }
int loops(FILE *f, int n) {
  char b[80];
  for (int i = 0; i < n; i++) { if (chance()) { if (fgets(b, 80, f)) use(b); } else { sprintf(b, "%d", i); use(b); } }
  return n;
}
int chooses(FILE *f, int n) {
  char b[80]; int j = 0;
  for (int i = 0; i < n; i++) switch (chance()) {
    case 0: j++; break; case 1: j--; break; case 2: strcpy(b, next()); use(b); break;
    case 3: if (fgets(b, 80, f)) j += b[0]; break; case 4: return j; case 5: j *= 2; break;
    default: sprintf(b, "%d", j); use(b); }
  return j;
}
"""
NAMES = "copies appends prints reads lines receives moves path words large wide loops chooses".split()

# GCC protects none of these: no local's address is taken, although the frame's is
HARMLESS = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
void use(const char *);
struct s8 { char b[8]; }; struct s16 { char b[16]; }; struct s40 { char b[40]; };
struct n48 { long a, b, c, d, e, f; }; struct huge { long a[1], b, c, d, e, f; struct n48 g, h, i, j, k, l, m; };
struct many { struct n48 a, b, c, d, e, f, g; };
int take(struct n48, struct n48, int); int take40(struct s40); int take_many(struct many);
int parameter(int fd, unsigned v) { return write(fd, &v, 4); }
int changed_parameter(int fd, unsigned v) { v = htonl(v) + 3; return write(fd, &v, 4); }
int reused_parameter(int fd, long v) { v = 0; if (read(fd, &v, 8) < 8) return 1; return (int)(v >> 3); }
int scanned_parameter(const char *s, int v) { return sscanf(s, "%d", &v) + v; }
int small_structure(struct s8 s) { strcat(s.b, "x"); return (int)strlen(s.b); }
int structure(struct s16 s, const char *p) { strncpy(s.b, p, 15); s.b[15] = 0; return puts(s.b); }
int large_structure(struct s40 s, const char *p) { strncpy(s.b, p, 15); s.b[15] = 0; return puts(s.b); }
int indexed_structure(struct s16 s, int i) { use(""); return s.b[i - 1] + s.b[i]; }
int indexed_large(struct s40 s, int i) { use(""); return s.b[i]; }
int by_value(struct n48 *p, struct n48 *q) { struct n48 t = *p; t.a++; return take(t, *q, 1); }
int by_value_40(struct s40 *p) { return take40(*p); }
int by_value_many(struct many *p) { return take_many(*p) + take_many(*p); }
void swaps(struct many *p, struct many *q) { struct many t = *p; *p = *q; *q = t; }
double angles(double x) { return sin(x) + cos(x); }
long double far_product(long double x, long double y) { return x * y + fmal(x, y, x); }
int shows(long double x) { return printf("%Lf", x); }
typedef int v4 __attribute__((vector_size(16)));
int element(v4 a, v4 b, int i) { v4 c = a + b; use(""); return c[i] + c[i - 1]; }
v4 replaced(v4 a, v4 b, int i, int x) { v4 c = a * b; use(""); c[i] = x; return c; }
int divided(int a, int b) { div_t d = div(a, b); return d.quot + d.rem; }
int logs(const char *f, ...) { va_list a; va_start(a, f); int n = vfprintf(stderr, f, a); va_end(a); return n; }
int sums(int n, ...) { va_list a; int t = 0; va_start(a, n); while (n--) t += va_arg(a, int); va_end(a); return t; }
"""

FRAMES = """
void use(char *);
void small(void) { char b[3000]; use(b); }
void large(void) { char b[6000]; use(b); }
void huge(void) { char b[80000]; use(b); }
void larger(void) { char b[300000]; use(b); }
"""


def compiler_of(name: str) -> tuple[str, list[str]]:
    command, *flags = COMPILERS[name].split()
    return command, flags


def use_of(path: Path) -> StackUse:
    with Source.open(path) as source:
        use = ElfReader(source, path.name).extend([Need.UNITS, Need.STACK_ARRAYS, Need.STACK_USE]).stack_use
    assert use is not None
    assert not use.incomplete
    return use


def unprotected(path: Path) -> set[str]:
    return {finding.function for finding in use_of(path).unprotected}


@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("name", COMPILERS)
def test_arrays_are_found_in_objects(build: CompileC, name: str, level: str) -> None:
    compiler, flags = compiler_of(name)
    on = use_of(build(ARRAYS, "object", [*flags, level, ON], compiler=compiler))
    off = build(ARRAYS, "object", [*flags, level, OFF], compiler=compiler)
    inlined = {"copies", "wide"} if name == "s390x" else set()  # mvst does what strcpy() does
    assert unprotected(off) >= set(NAMES) - inlined
    assert (on.functions, on.protected, on.unprotected_count) == (len(NAMES), len(NAMES), 0)
    assert use_of(off).protected == 0


@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os", "-O3"])
@pytest.mark.parametrize("name", COMPILERS)
def test_what_gcc_leaves_alone_is_never_accused(build: CompileC, name: str, level: str) -> None:
    compiler, flags = compiler_of(name)
    for protection in (ON, OFF):
        use = use_of(build(HARMLESS, "object", [*flags, level, protection], compiler=compiler))
        if protection == ON:
            assert use.protected < use.functions / 3  # most of it really is left alone
        assert use.unprotected == ()


@pytest.mark.parametrize("target", [name for name in COMPILERS if name != "arm A32"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_clang(build: CompileC, compiler_for: Callable[[str], Compiler], target: str, level: str) -> None:
    triple = COMPILERS[target].removesuffix("-gcc")
    compiler_for(COMPILERS[target])  # for its headers
    flags = [f"--target={triple}", f"--sysroot=/usr/{triple}", "-isystem", f"/usr/{triple}/include", level]
    on = use_of(build(ARRAYS, "object", [*flags, ON], compiler="clang"))
    assert (on.functions, on.protected, on.unprotected_count) == (len(NAMES), len(NAMES), 0)
    inlined = {"copies", "wide", "moves", "large"} if target == "s390x" else set()
    assert unprotected(build(ARRAYS, "object", [*flags, OFF], compiler="clang")) >= set(NAMES) - inlined
    # it protects some of these, because parameters are variables to it
    assert use_of(build(HARMLESS, "object", [*flags, ON], compiler="clang")).unprotected == ()


FLAGS = {"pie": "-fPIE", "no-pie": "-fno-pie", "shared": "-fPIC"}


@pytest.mark.parametrize("kind", FLAGS)
@pytest.mark.parametrize("name", COMPILERS)
def test_arrays_are_found_in_stripped_files(
    build: CompileC, tool_for: Callable[[str], str], name: str, kind: str
) -> None:
    compiler, flags = compiler_of(name)
    rest = "void use(const char *s) { (void)s; } int chance(void) { return 1; } char *next(void) { return 0; }\n"
    rest += "int copies(const char *); int main(int c, char **v) { return c > 1 ? copies(v[1]) : 0; }\n"
    for protection, count in ((ON, 0), (OFF, len(NAMES))):
        path = build(
            {"arrays.c": ARRAYS, "rest.c": rest},
            "shared-library" if kind == "shared" else "executable",
            # without unwind tables nothing tells where the functions of a stripped program for arm begin
            [*flags, "-O2", "-funwind-tables", protection, FLAGS[kind]],
            ["-no-pie"] if kind == "no-pie" else ["-pie"] if kind == "pie" else [],
            compiler,
        )
        subprocess.run([tool_for(compiler.replace("-gcc", "-strip")), path], check=True)
        use = use_of(path)
        assert (use.protected >= 0.9 * len(NAMES)) is (protection == ON)
        assert 0.9 * count - (2 if name == "s390x" else 0) <= use.unprotected_count <= count


@pytest.mark.parametrize("name", COMPILERS)
def test_noreturn_functions_are_not_accused(build: CompileC, name: str) -> None:
    """GCC stores a canary there and checks none; clang 14 has none."""
    compiler, flags = compiler_of(name)
    source = """
    #include <stdlib.h>
    #include <string.h>
    void use(const char *);
    _Noreturn void dies(const char *s) { char b[40]; strcpy(b, s); use(b); exit(1); }
    """
    assert use_of(build(source, "object", [*flags, "-O2", ON], compiler=compiler)).unprotected == ()
    clang = [f"--target={compiler.removesuffix('-gcc')}", "-isystem", f"/usr/{compiler.removesuffix('-gcc')}/include"]
    for debug in ("-g0", "-g"):  # debug information tells of the array, which is no reason either
        assert use_of(build(source, "object", [*clang, "-O2", debug, ON], compiler="clang")).unprotected == ()
    returns = source.replace("_Noreturn ", "").replace(" exit(1);", "")
    assert unprotected(build(returns, "object", [*clang, "-O2", "-g", OFF], compiler="clang")) == {"dies"}
    rest = "void use(const char *s) { (void)s; }\n"
    linked = build({"dies.c": source, "rest.c": rest}, "shared-library", [*flags, "-O2", "-fPIC", ON], [], compiler)
    assert use_of(linked).unprotected == ()


# ISA: (functions that probe with -fstack-clash-protection, functions that are seen not to without it)
PROBES = {
    "aarch64": ({"huge", "larger"}, {"huge", "larger"}),
    "arm": ({"small", "large", "huge", "larger"}, {"large", "huge", "larger"}),
    "arm A32": ({"small", "large", "huge", "larger"}, {"large", "huge", "larger"}),
    "ppc64le": ({"large", "huge", "larger"}, {"large", "huge", "larger"}),
    "s390x": ({"large", "huge", "larger"}, {"large", "huge", "larger"}),
    "riscv64": (set(), {"huge", "larger"}),
}


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("name", COMPILERS)
def test_probes(build: CompileC, name: str, level: str) -> None:
    compiler, flags = compiler_of(name)
    probing, bare = PROBES[name]
    on = use_of(build(FRAMES, "object", [*flags, level, "-fstack-clash-protection"], compiler=compiler))
    off = use_of(build(FRAMES, "object", [*flags, level, "-fno-stack-clash-protection"], compiler=compiler))
    still_bare = bare if name == "riscv64" else set()  # GCC 12 has no code for it there
    assert (on.probed, {finding.function for finding in on.unprobed}) == (len(probing), still_bare)
    assert (off.probed, {finding.function for finding in off.unprobed}) == (0, bare)


CHECKED = """
#include <string.h>
#include <stdio.h>
#include <stdlib.h>
void use(const char *);
void fixed(const char *s) { char b[64]; strcpy(b, s); use(b); }
void grown(const char *s, size_t n) { char *b = malloc(n); if (b) { strcpy(b, s); use(b); } }
void shown(const char *s) { printf("%s %s\\n", s, s); }
"""


@pytest.mark.parametrize("name", COMPILERS)
@pytest.mark.parametrize("level", [2, 3])
def test_size_arguments(build: CompileC, name: str, level: int) -> None:
    compiler, flags = compiler_of(name)
    path = build(
        CHECKED, "object", [*flags, "-O2", "-U_FORTIFY_SOURCE", f"-D_FORTIFY_SOURCE={level}"], compiler=compiler
    )
    with Source.open(path) as source:
        calls = ElfReader(source, path.name).extend([Need.UNITS, Need.CALLS]).calls
    assert calls is not None
    seen = {(call.caller.function, call.callee, call.tells) for call in calls.found}
    grown = ("grown", "__strcpy_chk", "computed") if level == 3 else ("grown", "strcpy", "left at level 2")
    assert seen >= {("fixed", "__strcpy_chk", "constant"), grown, ("shown", "__printf_chk", f"level {level}")}


@pytest.mark.parametrize("name", COMPILERS)
def test_code_that_is_none(build: CompileC, name: str) -> None:
    """Garbage is read to its end, in time that follows its length, and proves nothing without names."""
    module, number, bits, order = {
        "aarch64": (aarch64, 183, 64, "little"),
        "arm": (arm, 40, 32, "little"),
        "arm A32": (arm, 40, 32, "little"),
        "ppc64le": (power, 21, 64, "little"),
        "s390x": (s390, 22, 64, "big"),
        "riscv64": (riscv, 243, 64, "little"),
    }[name]
    decoder = module.decoder(machine_of(number, bits, order))
    seed = 12345
    noise = bytearray()
    for _ in range(1 << 15):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        noise.append(seed >> 16 & 0xFF)
    for data in (b"", b"\0", b"\xff" * 7, bytes(noise), bytes(noise[1:]), b"\0" * 4096, b"\xff" * 4096):
        for address in (0, 1, (1 << 64) - 4):
            body = Body(address, data, {})
            assert decoder.frame_use(body, lambda _: "").array == ""
            decoder.frame_use(body, lambda _: "strcpy")
            found = {callee for callee, _ in decoder.calls(body, lambda _: "", lambda _: True)}
            assert found <= ({"strcpy", "memset"} if name == "s390x" else set())  # instructions, not calls
            list(decoder.calls(body, lambda _: "__strcpy_chk", lambda _: True))
