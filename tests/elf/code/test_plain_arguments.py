"""What the arguments of plain calls tell of FORTIFY, on every architecture, and what stands in place of calls.

The truth is in the compilers' rules: what level 2 replaces in the same source is said to be "replaced", and what it
leaves is never that.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_hardening.elf.facts import Calls, Need
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome
from pytest_hardening.toolchain import Kind
from tests.conftest import VerdictOf

RISC = {
    "aarch64": "aarch64-linux-gnu-gcc",
    "ppc64le": "powerpc64le-linux-gnu-gcc",
    "s390x": "s390x-linux-gnu-gcc",
    "riscv64": "riscv64-linux-gnu-gcc",
}
FOLLOWED = {"x86-64": "gcc", "x86-64 clang": "clang", **RISC}
PLAIN = ["-O2", "-fPIC", "-U_FORTIFY_SOURCE", "-fno-stack-protector"]

CALLS = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
void use(const char *);
char *next(void);
int text(const char *s, int n) { char b[64]; int r = snprintf(b, sizeof b, "%s-%d", s, n); use(b); return r; }
int either(const char *s, int n) { char b[64]; int r = snprintf(b, sizeof b, n ? "%s" : "<%s>", s); use(b); return r; }
int form(const char *f, int n) { char b[64]; int r = snprintf(b, sizeof b, f, n); use(b); return r; }
int same(const char *s) { char b[64]; int r = snprintf(b, sizeof b, "%s", s); use(b); return r; }
void passed(char *to, const char *s, size_t n) { memcpy(to, s, n); use(to); }
void loaded(char **to, const char *s, size_t n) { memcpy(to[1], s, n); use(*to); }
void cleared(int n) { char b[70000]; memset(b, n, sizeof b); use(b); }
void made(const char *s, size_t n) { char *b = malloc(n); if (b) strcpy(b, s); use(b); }
void held(const char *s, size_t n) { char b[80]; memcpy(b, s, n); use(b); }
char kept[80];
void global(const char *s, size_t n, int at) { memcpy(kept + at, s, n); use(kept); }
void mixed(char *to, const char *s, size_t n) { char b[80]; memcpy(n > 9 ? to : b, s, n); use(b); }
"""


def calls_of(path: Path) -> Calls:
    with Source.open(path) as source:
        calls = ElfReader(source, path.name).extend([Need.UNITS, Need.CALLS]).calls
    assert calls is not None
    return calls


def told(path: Path) -> dict[str, set[str]]:
    """By function: what its plain calls tell."""
    found: dict[str, set[str]] = {}
    for call in calls_of(path).found:
        found.setdefault(call.caller.function, set()).add(call.tells)
    return found


@pytest.mark.parametrize("name", FOLLOWED)
@pytest.mark.parametrize("level", ["-O1", "-O2", "-Os", "-O3"])
def test_what_plain_calls_are_given(build: CompileC, name: str, level: str) -> None:
    found = told(build(CALLS, "shared-library", [*PLAIN, level], compiler=FOLLOWED[name]))
    assert {function: found[function] for function in ("text", "form", "passed", "loaded")} == {
        "text": {"replaced"}, "form": {"replaced"}, "passed": {"left"}, "loaded": {"left"},
    }  # fmt: skip
    assert found["either"] <= {"replaced", ""} or "replaced" in found["either"]  # a call for each of the formats
    assert found["same"] <= {"left", ""}
    assert found.get("cleared", {""}) <= {"left", ""}
    assert found.get("made", {""}) <= {"left at level 2", ""}
    # of the address of a known object nothing is said, and of one of two it is enough to be unknown
    assert found.get("held", {""}) == found.get("global", {""}) == {""}
    assert found["mixed"] <= {"left", ""}


@pytest.mark.parametrize("flags", [[], ["-fno-pic"]], ids=["pic", "absolute"])
def test_formats_on_i386(build: CompileC, flags: list[str]) -> None:
    kind: Kind = "executable" if flags else "shared-library"
    sources = {"calls.c": CALLS, "main.c": "void use(const char *s) { (void)s; }\nint main(void) { return 0; }\n"}
    link = ["-no-pie"] if flags else []
    found = told(build(sources, kind, [*PLAIN, *flags], link_flags=link, compiler="gcc -m32"))
    assert (found["text"], found["same"], found["held"], found["cleared"]) == ({"replaced"}, {""}, {""}, {"left"})


@pytest.mark.parametrize("name", RISC)
def test_nothing_is_said_where_ways_are_unknown(build: CompileC, name: str) -> None:
    """The cases of a switch are reached by a table: what they are given on other ways is not all."""
    cases = "".join(f"case {n}: p = q + {n * n}; n += next({n});\n" for n in range(12))
    source = f"""
#include <string.h>
char kept[90]; int next(int); void use(char *);
void chooses(char *q, const char *s, unsigned n, int way) {{
  char *p = kept;
  switch (way) {{ {cases} }}
  memcpy(p, s, n);
  use(p);
}}
"""
    found = told(build(source, "shared-library", [*PLAIN, "-fno-tree-switch-conversion"], compiler=RISC[name]))
    assert found == {"chooses": {""}}


STRINGS = """
#include <string.h>
void use(char *); extern char *text;
char kept[64];
void fills(char **w, unsigned n) { memset(kept, n, n); use(kept); }
void copies(char **w, unsigned n) { memcpy(kept, w[0], n); use(kept); }
void moves(char **w) { strcpy(kept, w[0]); use(kept); }
void passed(char *to, unsigned n) { memset(to, 1, n); use(to); }
"""


@pytest.mark.parametrize("level", ["-Os", "-O2"])
@pytest.mark.parametrize("compiler", ["gcc", "gcc -m32", "s390x-linux-gnu-gcc"])
def test_instructions_in_place_of_calls(build: CompileC, verdict: VerdictOf, compiler: str, level: str) -> None:
    """rep movs, mvst and so on are calls that FORTIFY would have replaced."""
    path = build(STRINGS, "shared-library", [*PLAIN, level], compiler=compiler)
    found = told(path)
    assert {"fills", "copies", "moves"} <= set(found)
    assert all(found[function] == {""} for function in ("fills", "copies", "moves"))
    assert found["passed"] == {"left"} or compiler == "gcc -m32"
    assert verdict(path, "fortify").outcome is Outcome.UNKNOWN
    on = build(STRINGS, "shared-library", [*PLAIN, "-D_FORTIFY_SOURCE=2", level], compiler=compiler)
    assert verdict(on, "fortify").outcome in (Outcome.PASS, Outcome.UNKNOWN)


COLD = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
char kept[64];
int works(int n, char **w) {
  if (__builtin_expect(n > 40, 0)) { memcpy(kept, w[0], (unsigned)n * 2); fputs(kept, stderr); abort(); }
  return w[0][0] + n;
}
int main(int c, char **v) { return works(c, v); }
"""


def test_cold_code_belongs_to_its_function(build: CompileC, verdict: VerdictOf) -> None:
    found = told(build(COLD, flags=PLAIN))
    assert found == {"works": {""}}
    chatty = {"show.c": '#include <stdio.h>\nvoid show(int n) { printf("%d\\n", n); }\n', "cold.c": COLD}
    path = build(chatty, flags=PLAIN, unit_flags={"show.c": ["-D_FORTIFY_SOURCE=2"]})
    assert verdict(path, "fortify").outcome is Outcome.UNKNOWN


TAIL = """
#include <string.h>
char kept[64];
void *works(char **w, unsigned n) { return memcpy(kept, w[0], n); }
"""
SHOWS = '#include <stdio.h>\nvoid show(int n) { printf("%d\\n", n); }\n'


@pytest.mark.parametrize("compiler", ["gcc", "gcc -m32", "arm-linux-gnueabihf-gcc", *RISC.values()])
@pytest.mark.parametrize("flags", [[], ["-fno-plt"]], ids=["plt", "no-plt"])
def test_calls_in_the_last_place(build: CompileC, verdict: VerdictOf, compiler: str, flags: list[str]) -> None:
    """However a unit without FORTIFY calls, the unit beside it does not speak for it."""
    path = build(
        {"show.c": SHOWS, "tail.c": TAIL},
        "shared-library",
        [*PLAIN, *flags],
        unit_flags={"show.c": ["-D_FORTIFY_SOURCE=2"]},
        compiler=compiler,
    )
    assert verdict(path, "fortify").outcome is Outcome.UNKNOWN
