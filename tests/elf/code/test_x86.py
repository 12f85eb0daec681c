"""What the code of x86-64 and i386 shows of stack frames and of fortified calls.

The truth is in the flags: what -fstack-protector-strong leaves alone is never accused, what is compiled with
-fstack-clash-protection allocates nothing unprobed, and only level 3 of FORTIFY computes sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_hardening.elf.code.chk_arguments import SIZE_ARGUMENT
from pytest_hardening.elf.facts import Calls, Need, StackUse
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.fixtures import CompileC

ON, OFF = "-fstack-protector-strong", "-fno-stack-protector"
COMPILERS = ["gcc", "clang", "gcc -m32", "clang -m32"]
LEVELS = ["-O0", "-O1", "-O2", "-Os", "-O3"]

# what -fstack-protector-strong of GCC, or of GCC and clang, leaves alone: parameters, copies of structures, temporaries
HARMLESS = """
#define _GNU_SOURCE
#include <complex.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
void use(void *); void use2(void *, void *); void none(void); int in(void); void see(int, ...);
typedef int v4 __attribute__((vector_size(16)));
struct big { long a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t; };
struct two { long a, b; }; struct odd { char c[11]; }; struct floats { float x, y, z; };
void take(struct big); void take_late(int, int, int, int, int, int, int, int, struct big);
void parameter(int x) { use(&x); }
int new_value(int x) { x = in(); use(&x); return x; }
int reused(int fd, long v) { v = 0; if (read(fd, &v, 8) < 8) return 1; return (int)(v >> 3); }
int waited(int s) { s = 0; none(); if (nanosleep((struct timespec *)0, (void *)&s)) return 1; return s; }
void pair(struct two t) { use(&t); }
void second_of_pair(struct two t) { use(&t.b); }
int letters(struct odd t, int i) { t.c[i] = 1; none(); return t.c[i + 1]; }
void middle(struct floats t) { use(&t.y); }
void late(int a, int b, int c, int d, int e, int f, char g) { use(&g); see(a, b, c, d, e, f); }
void real_number(float x) { use(&x); }
void vector(v4 v) { use(&v); }
long big_parameter(struct big b, int i) { none(); return ((long *)&b)[i]; }
void moving(const char *s) { while (*s) use2(&s, (void *)s); }
long number(char *end) { return strtol("12", &end, 10) + *end; }
void copies(struct big *p) { take(*p); }
void copies_late(struct big *p) { take_late(1, 2, 3, 4, 5, 6, 7, 8, *p); }
void through_local(struct big *p) { struct big x = *p; x.a = in(); none(); x.b = in(); take(x); }
long cleared(void) { struct big x = {0}; x.a = in(); none(); x.t = in(); return x.a + x.b + x.t + x.j; }
double sine_and_cosine(double x) { return sin(x) * cos(x); }
int element(v4 a, v4 b, int i) { v4 c = a + b; none(); return c[i] + c[i - 1]; }
v4 replaced(v4 a, v4 b, int i, int x) { v4 c = a * b; none(); c[i] = x; return c; }
void *frame(void) { use(__builtin_frame_address(0)); return __builtin_return_address(0); }
int many(int a, int b, int c, int d, int e, int f, int g) { see(a, b, c, d, e, f, g, 1, 2, 3, 4); return g; }
static __attribute__((noinline)) void set(int *p) { *p = 5; }
int set_only(int x) { set(&x); none(); return x; }
double complex product(double complex a, double complex b) { return a * b / (a + b); }
int chooses(int a) {
  switch (a) { case 0: none(); case 1: return in(); case 2: use(0); case 3: none(); case 4: return 4;
    case 5: in(); break; case 6: use(0); }
  return a;
}
__attribute__((noreturn)) void die(const char *f, ...) {
  char b[200]; va_list ap; va_start(ap, f); vsnprintf(b, sizeof b, f, ap); puts(b); abort();
}
"""

# each needs a canary under -fstack-protector-strong, and shows it at every level of optimisation
ARRAYS = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
void use(void *); void none(void); int in(void);
int text(const char *s) { char b[64]; strcpy(b, s); return b[in() & 63]; }
int prints(int n) { char b[32]; snprintf(b, sizeof b, "%d", n); return puts(b); }
int counts(const char *s) { char b[64]; for (int i = 0; (b[i & 63] = s[i]); i++) none(); return b[in() & 63]; }
int buffer(void) { char b[100]; use(b); return b[0]; }
int status(const char *p) { struct stat s; return stat(p, &s) ? -1 : (int)s.st_size; }
int reads(int fd) { char b[300]; return (int)read(fd, b, sizeof b) + b[7]; }
int moves(const void *p, size_t n) { char b[128]; memcpy(b, p, n); none(); return b[in() & 127]; }
"""
NAMES = {"text", "prints", "counts", "buffer", "status", "reads", "moves"}

FRAMES = (
    "void use(void *); void none(void); struct large { char c[9000]; }; void take(struct large);\n"
    "__attribute__((noreturn)) void die(void *);\n"
    + "".join(
        f"int call_{n}(int i) {{ char b[{n}]; use(b); return b[i]; }}\n"
        f"int leaf_{n}(const char *p, int n) {{ volatile char b[{n}]; for (int i = 0; i < n; i++) b[i] = p[i]; "
        f"return b[n / 2]; }}\n"
        f"__attribute__((noreturn)) void end_{n}(void) {{ char b[{n}]; die(b); }}\n"
        f"int lots_{n}(int i, int a, int c, int d) {{ char b[{n}]; use(b); none(); return b[i] + a * c + d + b[a]; }}\n"
        f"int late_{n}(int i) {{ if (i > 3) {{ char b[{n}]; use(b); return b[i]; }} return 2; }}\n"
        for n in (2000, 4040, 4064, 4072, 4080, 4088, 4096, 4104, 4200, 8000, 8184, 8192, 12288, 65536, 200000)
    )
    + "int sized(int n) { char b[n]; use(b); return b[1]; }\nvoid by_value(struct large *p) { take(*p); }\n"
    "void by_value_late(struct large *p) { none(); take(*p); }\n"
    "void by_value_early(struct large *p) { char c[16]; take(*p); use(c); }\n"
)

SIZES = """
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
struct s { int n; char a[32]; char b[64]; }; void use(void *); int in(void); char global[100];
void straight(const char *s) { char b[64]; strcpy(b, s); use(b); strcpy(b + 3, s); use(b); strcat(b, s); use(b); }
void loop(const char **s, int n) {
  char b[64];
  for (int i = 0; i < n; i++) { strcpy(b, s[i]); use(b); strcat(b, s[i + 1]); use(b); memcpy(b, s[0], n); use(b); } }
void member(struct s *p, const char *t) { strcpy(p->a, t); strncpy(p->b, t, p->n); memcpy(p->a, t, p->n); use(p); }
void in_global(const char *t, int n) { strcpy(global, t); snprintf(global + n, 100 - n, "%d%s", n, t); use(global); }
void either(const char *t, int c) { char a[10], b[200]; char *p = c ? a : b; strcpy(p, t); use(p); }
void compared(const char *t, size_t n) { char a[64]; if (n == 64) memcpy(a, t, n); else memcpy(a, t, n); use(a); }
void appended(const char *s, const char *t) {
  char b[64]; strcpy(b, s); strcat(b, t); use(b); strcat(b, "abc"); use(b); }
void input(int fd, size_t n) {
  char b[512]; read(fd, b, n); use(b); recv(fd, b, n, 0); use(b); fgets(b, n, stdin); use(b); }
void allocated(const char *t, size_t n) { char *p = malloc(n); strcpy(p, t); use(p); }
"""


def stack_use(path: Path) -> StackUse:
    with Source.open(path) as source, ElfReader(source, path.name) as reader:
        found = reader.extend((Need.STACK_USE,)).stack_use
        assert found is not None
        return found


def calls(path: Path) -> Calls:
    with Source.open(path) as source, ElfReader(source, path.name) as reader:
        found = reader.extend((Need.CALLS,)).calls
        assert found is not None
        return found


def accused(found: StackUse) -> dict[str, str]:
    return {finding.function: finding.what for finding in found.unprotected}


def includes(compiler: str) -> list[str]:
    """Kernel headers for 32 bits are those for 64 bits."""
    return ["-idirafter", "/usr/include/x86_64-linux-gnu"] if "-m32" in compiler else []


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", LEVELS)
def test_what_needs_no_canary_is_not_accused(build: CompileC, compiler: str, level: str) -> None:
    flags = [level, ON, "-w", *includes(compiler)]
    found = stack_use(build({"h.c": HARMLESS}, kind="object", flags=flags, compiler=compiler))
    assert accused(found) == {}
    assert found.functions > 25


@pytest.mark.parametrize(
    "flags", [["-fomit-frame-pointer", "-fPIC", "-fno-plt"], ["-fno-omit-frame-pointer", "-mavx2"]]
)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_other_ways_to_compile_the_same(build: CompileC, compiler: str, flags: Sequence[str]) -> None:
    flags = ["-O2", ON, "-w", *flags, *includes(compiler)]
    assert accused(stack_use(build({"h.c": HARMLESS}, kind="object", flags=flags, compiler=compiler))) == {}


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", LEVELS)
def test_arrays_prove_the_lack(build: CompileC, compiler: str, level: str) -> None:
    flags = [level, "-w", *includes(compiler)]
    off = stack_use(build({"a.c": ARRAYS}, kind="object", flags=[*flags, OFF], compiler=compiler))
    found = accused(off)
    # what i386 hands to functions of unknown names, or counts through memory, may be anything
    certain = NAMES - {"buffer", "counts", "moves", "reads"} if "-m32" in compiler else NAMES
    assert certain <= found.keys() <= NAMES
    assert (off.protected, off.unprotected_count) == (0, len(found))
    assert found["text"] in ("passes the address of a local to strcpy()", "indexes an array on its stack")
    on = stack_use(build({"a.c": ARRAYS}, kind="object", flags=[*flags, ON], compiler=compiler))
    assert (on.protected, on.functions, on.unprotected, on.doubtful) == (len(NAMES), len(NAMES), (), 0)


def test_clang_places_no_canary_where_nothing_returns(build: CompileC) -> None:
    """Neither the code nor the debug information accuses such a function; GCC protects it."""
    source = HARMLESS[HARMLESS.index("__attribute__((noreturn))") :]
    source = "#include <stdarg.h>\n#include <stdio.h>\n#include <stdlib.h>\n" + source
    for compiler, canaries in (("clang", 0), ("gcc", 1)):
        found = stack_use(build({"d.c": source}, kind="object", flags=["-O2", "-g", ON], compiler=compiler))
        assert (found.protected, found.unprotected) == (canaries, ())


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", [["-mstack-protector-guard=global"], ["-mstack-protector-guard=tls"]])
def test_where_the_canary_is_kept(build: CompileC, compiler: str, flags: Sequence[str]) -> None:
    flags = ["-O2", ON, "-fPIC", *flags]
    path = build({"a.c": ARRAYS}, kind="object", flags=flags, compiler=compiler)
    assert (stack_use(path).protected, stack_use(path).unprotected) == (len(NAMES), ())
    stubs = {"s.c": "long __stack_chk_guard; void use(void *p) {} void none(void) {} int in(void) { return 1; }\n"}
    library = build({"a.c": ARRAYS, **stubs}, kind="shared-library", flags=flags, link_flags=["-s"], compiler=compiler)
    assert stack_use(library).unprotected == ()


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    "link_flags",
    [["-shared"], ["-shared", "-s"], ["-shared", "-s", "-Wl,-z,ibtplt"], ["-shared", "-s", "-fuse-ld=lld"]],
    ids=" ".join,
)
def test_linked(build: CompileC, compiler: str, link_flags: Sequence[str]) -> None:
    """Callees have names in stripped libraries, too."""
    flags = ["-O2", "-fPIC", OFF, *includes(compiler)]
    path = build({"a.c": ARRAYS}, kind="shared-library", flags=flags, link_flags=link_flags, compiler=compiler)
    reasons = {finding.what for finding in stack_use(path).unprotected}
    assert {"passes the address of a local to strcpy()", "passes the address of a local to stat()"} <= reasons


@pytest.mark.parametrize("kind", ["object", "shared-library"])
def test_calls_without_stubs(build: CompileC, kind: str) -> None:
    """-fno-plt calls through the GOT."""
    path = build({"a.c": ARRAYS}, kind=kind, flags=["-O2", "-fPIC", "-fno-plt", OFF])  # type: ignore[arg-type]
    assert accused(stack_use(path))["text"] == "passes the address of a local to strcpy()"
    assert {call.callee for call in calls(path).found} >= {"strcpy", "snprintf", "read", "memcpy"}


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", LEVELS)
def test_stack_clash(build: CompileC, compiler: str, level: str) -> None:
    def found(*flags: str) -> StackUse:
        return stack_use(build({"f.c": FRAMES}, kind="object", flags=[level, *flags], compiler=compiler))

    for protector in (ON, OFF):
        on = found("-fstack-clash-protection", protector)
        assert on.unprobed == ()
        assert on.probed > 20
    off = found("-fno-stack-clash-protection", OFF)
    assert off.probed == 0
    if "-m32" not in compiler:  # its arguments on the stack look like what touches it
        assert off.unprobed_count > 30


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", ["-O1", "-O2", "-Os", "-O3"])
def test_sizes_of_fortified_calls(build: CompileC, compiler: str, level: str) -> None:
    """Only level 3 computes sizes, and GCC where it knows how long a text is that another one is appended to."""

    def sizes(fortify: int) -> dict[str, set[str]]:
        flags = [level, "-w", "-U_FORTIFY_SOURCE", f"-D_FORTIFY_SOURCE={fortify}", *includes(compiler)]
        found = calls(build({"s.c": SIZES}, kind="object", flags=flags, compiler=compiler)).found
        by_caller: dict[str, set[str]] = {}
        for call in found:
            if call.callee in SIZE_ARGUMENT and not call.tells.startswith("level"):
                by_caller.setdefault(call.caller.function, set()).add(call.tells)
        return by_caller

    for fortify in (1, 2):
        found = sizes(fortify)
        assert set().union(*found.values()) <= {"", "constant"}
        assert "constant" in found["straight"]
    if "-m32" not in compiler:
        assert "computed" in sizes(3)["allocated"]
