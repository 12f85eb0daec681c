"""fortify: levels by compiler, mixed builds, names that only look fortified, and calls that prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.checks.fortified_names import CHECKED_AT_LEVEL_2
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome
from pytest_hardening.toolchain import Kind

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

SHOW = """
#include <stdio.h>
#include <string.h>
int show(const char *s, int n) { char b[32]; strcpy(b, s); printf("%s %d\\n", b, n); return b[0]; }
"""
MAIN = "int show(const char *, int); int main(int c, char **v) { return show(v[0], c); }\n"
LINKABLE: tuple[Kind, ...] = ("object", "shared-library")
KINDS: tuple[Kind, ...] = (*LINKABLE, "executable")
REMEDY = "compile every unit with -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 (-O0 switches it off)"
FOREIGN = [
    "gcc -m32",
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
]


def level(number: int) -> list[str]:
    return ["-O2", "-fPIC", "-U_FORTIFY_SOURCE", *([f"-D_FORTIFY_SOURCE={number}"] if number else [])]


def sources(kind: Kind) -> dict[str, str]:
    return {"show.c": SHOW, "main.c": MAIN} if kind == "executable" else {"show.c": SHOW}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    ("built", "wanted", "outcome", "observed"),
    [
        (0, 1, Outcome.UNKNOWN, None),
        (0, 2, Outcome.FAIL, 0),
        (0, 3, Outcome.FAIL, 0),
        (1, 1, Outcome.PASS, 1),
        (1, 2, Outcome.FAIL, 0),
        (2, 1, Outcome.PASS, 2),
        (2, 2, Outcome.PASS, 2),
        (2, 3, Outcome.FAIL, 2),
        (3, 2, Outcome.PASS, 3),
        (3, 3, Outcome.PASS, 3),
    ],
)
def test_levels(
    build: CompileC,
    verdict: VerdictOf,
    kind: Kind,
    compiler: str,
    built: int,
    wanted: int,
    outcome: Outcome,
    observed: int | None,
) -> None:
    path = build(sources(kind), kind=kind, flags=level(built), compiler=compiler)
    found = verdict(path, "fortify", level=wanted)
    assert (found.outcome, found.observed["level"]) == (outcome, observed)
    if outcome is Outcome.FAIL:
        # a plain printf tells no more; __printf_chk is given the level
        only = "fortified at level 2 only, see " if built == 2 else "not fortified, or only at level 1, see "
        assert found.summary.startswith(only)
        assert found.observed["mixed"] is (built == 1)
        assert found.remedy == REMEDY.replace("=2", f"={wanted}")


@pytest.mark.parametrize("compiler", FOREIGN)
@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture(build: CompileC, verdict: VerdictOf, compiler: str, kind: Kind) -> None:
    good = build(sources(kind), kind=kind, flags=level(2), compiler=compiler)
    assert verdict(good, "fortify").outcome is Outcome.PASS
    bad = build(sources(kind), kind=kind, flags=level(0), compiler=compiler)
    assert verdict(bad, "fortify").outcome is Outcome.FAIL


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_without_optimisation_it_is_off(build: CompileC, verdict: VerdictOf, compiler: str, kind: Kind) -> None:
    flags = ["-O0", "-fPIC", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-Wno-cpp", "-Wno-#warnings"]
    path = build(sources(kind), kind=kind, flags=flags, compiler=compiler)
    found = verdict(path, "fortify")
    assert found.outcome is Outcome.FAIL
    assert "-O0" in found.remedy


NETWORK = """
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int take(int fd, char *d, int n) {
    char b[64]; long r = read(fd, b, n); memcpy(d, b, n); printf("%ld\\n", r); printf("%d\\n", n); return b[0]; }
int pass(char *d, const char *s) { strcpy(d, s); return printf("%s\\n", d); }
"""


@pytest.mark.parametrize(("level", "unit"), [("-O0", "src/net.c"), ("-O2", "src/net.c")])
def test_functions_are_counted_and_each_is_told_once(
    build: CompileC, verdict: VerdictOf, level: str, unit: str
) -> None:
    """One unit of two is not fortified; take() makes several plain calls, two of them of printf."""
    units = {
        unit: NETWORK,
        "src/main.c": "#include <stdio.h>\nint take(int, char *, int);\n"
        'int main(int c, char **v) { printf("%d %s\\n", c, v[0]); return take(0, v[0], c); }\n',
    }
    flags = ["-O2", "-g", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
    path = build(units, flags=flags, unit_flags={unit: ["-U_FORTIFY_SOURCE", level]})
    found = verdict(path, "fortify")
    assert found.outcome is Outcome.FAIL
    assert [culprit.rpartition(": ")[2] for culprit in found.culprits] == ["take()", "pass()"]
    seen = [item.what for item in found.evidence if item.where == "code"]
    assert [line.partition(" of ")[0] for line in seen] == ["take()", "pass()"]
    if level == "-O0":
        place = found.culprits[0].partition(": ")[0]
        switched_off = f"{place} was compiled without optimisation, which switches FORTIFY off"
        assert found.summary == f"{switched_off}: take() calls plain memcpy, printf, read (and 1 more)"
        assert seen[0] == f"take() of {place} calls plain memcpy, printf, read"
    else:
        assert " and 1 more: calls plain printf, which level 2 replaces" in found.summary


def test_levels_that_cannot_be_told_apart(build: CompileC, verdict: VerdictOf) -> None:
    """The reason is that of the file: what its calls pass, or what could not be looked at."""
    copies = "#include <string.h>\nchar b[8];\nvoid copy(const char *s, int n) { memcpy(b, s, n); }\n"
    found = verdict(build({"copy.c": copies}, kind="object", flags=level(2)), "fortify", level=3)
    same = "level 3 would look the same here (all buffer sizes are constants)"
    assert (found.outcome, found.summary.partition("; ")[2]) == (Outcome.UNKNOWN, same)
    computed = (
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
        'void *take(int n, const char *s) { char *p = malloc(n); strcpy(p, s); printf("%s", p); return p; }\n'
    )
    path = build({"a.c": computed, "b.c": copies}, kind="shared-library", flags=[*level(3), "-g"])
    found = verdict(path, "fortify", level=3)
    assert (found.outcome, found.observed) == (Outcome.UNKNOWN, {"level": 3})
    assert found.summary.startswith("level 3 in some places; others would look the same at level 2")


ARGUMENTS = {
    "printf": '"%d", n',
    "fprintf": 'stderr, "%d", n',
    "vprintf": '"%d", ap',
    "vfprintf": 'stderr, "%d", ap',
    "dprintf": '2, "%d", n',
    "vdprintf": '2, "%d", ap',
    "asprintf": '&p, "%d", n',
    "vasprintf": '&p, "%d", ap',
    "wprintf": 'L"%d", n',
    "fwprintf": 'stderr, L"%d", n',
    "vwprintf": 'L"%d", ap',
    "vfwprintf": 'stderr, L"%d", ap',
    "obstack_printf": 'o, "%d", n',
    "obstack_vprintf": 'o, "%d", ap',
}


def caller(name: str, arguments: str) -> str:
    return f"""
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <wchar.h>
#define obstack_chunk_alloc malloc
#define obstack_chunk_free free
#include <obstack.h>
int call(struct obstack *o, char *p, int n, ...) {{
    va_list ap; va_start(ap, n); (void)o; {name}({arguments}); va_end(ap); return p != 0; }}
"""


def test_table_of_level_2_is_complete() -> None:
    assert {f"__{name}_chk" for name in ARGUMENTS} == CHECKED_AT_LEVEL_2


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_what_level_2_replaces_and_level_1_leaves(
    build: CompileC, verdict: VerdictOf, compiler: str, name: str
) -> None:
    """Each name of the table, proved by the compilers: at level 1 plain, at level 2 checked."""
    flags = ["-Wno-unused-result"]
    source = caller(name, ARGUMENTS[name])
    found = verdict(build(source, kind="object", flags=[*level(2), *flags], compiler=compiler), "fortify")
    assert (found.outcome, found.observed["level"]) == (Outcome.PASS, 2)
    found = verdict(build(source, kind="object", flags=[*level(1), *flags], compiler=compiler), "fortify")
    assert found.outcome is Outcome.FAIL
    assert f"plain {name}," in found.summary


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(("name", "arguments"), [("syslog", '1, "%d", n'), ("vsyslog", '1, "%d", ap')])
def test_what_level_1_replaces_always(
    build: CompileC, verdict: VerdictOf, compiler: str, name: str, arguments: str
) -> None:
    source = caller(name, arguments)
    found = verdict(build(source, kind="object", flags=level(1), compiler=compiler), "fortify", level=1)
    assert (found.outcome, found.observed["level"]) == (Outcome.PASS, 1)
    found = verdict(build(source, kind="object", flags=level(0), compiler=compiler), "fortify", level=1)
    assert found.outcome is Outcome.FAIL


@pytest.mark.parametrize("kind", ["shared-library", "archive"])
def test_mixed_build(build: CompileC, verdict: VerdictOf, readelf: Callable[..., str], kind: Kind) -> None:
    units = {"a.c": SHOW.replace("show", "one"), "b.c": SHOW.replace("show", "two")}
    path = build(units, kind=kind, flags=level(2), unit_flags={"b.c": ["-U_FORTIFY_SOURCE"]})
    found = verdict(path, "fortify")
    assert found.outcome is Outcome.FAIL
    if kind == "archive":
        assert found.culprits == ("b.o: two()",)
        assert found.summary.startswith("1 of 2 members (b.o): not fortified, or only at level 1, see two()")
    else:
        assert "__printf_chk" in readelf("--dyn-syms", path)
        assert found.observed == {"level": 0, "mixed": True}
        assert found.summary.startswith("some units are not fortified, or only at level 1")
    assert found.remedy == REMEDY


@pytest.mark.parametrize("number", [2, 0])
def test_names_that_only_look_fortified(build: CompileC, verdict: VerdictOf, number: int) -> None:
    """Functions of the user's own called *_chk, and the stack protector's, are no evidence."""
    source = """
int my_chk(int), __my_chk(int), printf_chk(int), __not_memcpy_chk(int), __longjmp_checked(int);
int call(int n) { char b[64]; b[n] = 1; my_chk(b[0]);
    return __my_chk(n) + printf_chk(n) + __not_memcpy_chk(n) + __longjmp_checked(n); }
"""
    path = build(source, kind="object", flags=[*level(number), "-fstack-protector-all"])
    found = verdict(path, "fortify")
    assert found.outcome is Outcome.NOT_APPLICABLE
    with_printf = source + '#include <stdio.h>\nint show(int n) { return printf("%d", n); }\n'
    path = build(with_printf, kind="shared-library", flags=level(0))
    found = verdict(path, "fortify")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"level": 0, "mixed": False})
    assert found.summary.startswith("not fortified, or only at level 1, see ")


@pytest.mark.parametrize("kind", ["object", "shared-library"])
def test_only_read_is_checked(build: CompileC, verdict: VerdictOf, readelf: Callable[..., str], kind: Kind) -> None:
    source = "#include <unistd.h>\nlong get(int n) { char b[32]; long r = read(n, b, n); return r + b[1]; }\n"
    path = build(source, kind=kind, flags=level(2))
    assert "__read_chk" in readelf("-s", path)
    assert verdict(path, "fortify", level=1).observed == {"level": 1}
    assert verdict(path, "fortify", level=1).outcome is Outcome.PASS
    found = verdict(path, "fortify")
    assert found.outcome is Outcome.UNKNOWN
    assert found.summary == "at least level 1; level 2 would look the same here (no call that tells them apart)"


def test_library_that_defines_a_checked_function(build: CompileC, verdict: VerdictOf) -> None:
    """libasan does. What a file defines, it does not call in the C library."""
    source = """
int printf(const char *, ...);
int __sprintf_chk(char *s, int f, unsigned long n, const char *t, ...) { return s == t; }
int __printf_chk(int f, const char *t, ...) { return f + !t; }
int show(int n) { return printf("%d", n); }
"""
    path = build(source, kind="shared-library", flags=["-fPIC", "-O2", "-w"])
    found = verdict(path, "fortify")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"level": 0, "mixed": False})


@pytest.mark.parametrize("compiler", ["gcc", "clang", *FOREIGN])
@pytest.mark.parametrize("flags", [["-fPIE", "-pie"], ["-fno-pie", "-no-pie"]], ids=["pie", "no-pie"])
@pytest.mark.parametrize("number", [0, 2])
def test_address_of_printf_is_no_call(
    build: CompileC, verdict: VerdictOf, compiler: str, flags: list[str], number: int
) -> None:
    """A program without -fPIE gets a PLT slot for the address alone, which no unit need have called."""
    source = """
#include <stdio.h>
int (*volatile chosen)(const char *, ...);
int main(int c, char **v) { (void)v; chosen = printf; return c; }
"""
    path = build(source, flags=[*level(number), *flags], compiler=compiler)
    assert verdict(path, "fortify").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("kind", ["object", "shared-library"])
def test_snprintf_of_a_string_stays_plain_at_level_2(
    build: CompileC, verdict: VerdictOf, readelf: Callable[..., str], kind: Kind
) -> None:
    """GCC folds the checked call with "%s" back into the plain one: it proves nothing."""
    source = """
#include <stdio.h>
void use(char *); int copy(const char *s, unsigned n) { char b[64]; if (n > sizeof b) return 1;
    snprintf(b, sizeof b, "%s", s); use(b); return b[0]; }
"""
    path = build(source, kind=kind, flags=level(2))
    assert " snprintf" in readelf("-s", path)
    assert verdict(path, "fortify").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("kind", ["object", "shared-library"])
@pytest.mark.parametrize("number", [0, 2])
def test_copies_of_known_size_stay_plain(build: CompileC, verdict: VerdictOf, kind: Kind, number: int) -> None:
    source = "#include <string.h>\nvoid copy(char *d, const char *s, unsigned long n) { memcpy(d, s, n); }\n"
    path = build(source, kind=kind, flags=level(number))
    assert verdict(path, "fortify").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("kind", ["object", "shared-library"])
@pytest.mark.parametrize("number", [0, 2])
def test_nothing_to_fortify(build: CompileC, verdict: VerdictOf, kind: Kind, number: int) -> None:
    source = '#include <stdio.h>\nint hello(void) { return puts("hello"); }\n'
    path = build(source, kind=kind, flags=[*level(number), "-nostartfiles"])
    assert verdict(path, "fortify").outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_calls_without_plt(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    """-fno-plt calls through GOT slots that data uses too: the code tells which are calls."""
    for kind in LINKABLE:
        flags = [*level(2), "-fno-plt"]
        good = build(sources(kind), kind=kind, flags=flags, compiler=compiler)
        assert verdict(good, "fortify").outcome is Outcome.PASS
        flags = [*level(0), "-fno-plt"]
        plain = verdict(build(sources(kind), kind=kind, flags=flags, compiler=compiler), "fortify")
        assert (plain.outcome, plain.culprits) == (Outcome.FAIL, ("show.c: show()",))


def test_mixed_units_without_plt(build: CompileC, verdict: VerdictOf) -> None:
    units = {
        "a.c": SHOW + 'int main(void) { return show("x", 1); }\n',
        "b.c": '#include <stdio.h>\nvoid log_it(int n) { printf("%d\\n", n); }\n',
    }
    flags = [*level(2), "-fno-plt", "-g"]
    path = build(units, flags=flags, unit_flags={"b.c": ["-U_FORTIFY_SOURCE"]})
    found = verdict(path, "fortify")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("b.c: log_it()",))


@pytest.mark.parametrize("kind", KINDS)
def test_gcc_cplusplus(build: CompileC, verdict: VerdictOf, kind: Kind) -> None:
    source = {"show.cpp": SHOW + 'int main() { return show("x", 1); }\n'}
    for number, outcome in ((2, Outcome.PASS), (1, Outcome.FAIL), (0, Outcome.FAIL)):
        path = build(source, kind=kind, flags=level(number), compiler="g++")
        assert verdict(path, "fortify").outcome is outcome


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("linkage", ["", 'extern "C" '])
@pytest.mark.parametrize("link_flags", [[], ["-Wl,--as-needed"]])
def test_clang_cplusplus_leaves_printf_plain(
    build: CompileC, verdict: VerdictOf, readelf: Callable[..., str], kind: Kind, linkage: str, link_flags: list[str]
) -> None:
    """glibc's headers fortify printf in C++ for GCC only, so a plain one is no proof against clang++."""
    source = {"show.cpp": SHOW.replace("int show", f"{linkage}int show") + 'int main() { return show("x", 1); }\n'}
    path = build(source, kind=kind, flags=level(2), link_flags=link_flags, compiler="clang++")
    assert " printf" in readelf("-s", path)
    assert verdict(path, "fortify").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("flags", [["-static", "-no-pie"], ["-static-pie"]])
@pytest.mark.parametrize(
    ("debug", "number", "outcome"),
    [
        ("-g", 0, Outcome.FAIL),
        ("-g", 2, Outcome.PASS),
        ("-g0", 0, Outcome.FAIL),
        ("-g0", 2, Outcome.PASS),
        ("-s", 0, Outcome.UNKNOWN),
        ("-s", 2, Outcome.UNKNOWN),
    ],
)
def test_static_programs(
    build: CompileC, verdict: VerdictOf, flags: list[str], debug: str, number: int, outcome: Outcome
) -> None:
    """Symbols or DWARF tell the program's own calls from those inside the C library."""
    path = build(sources("executable"), flags=[*level(number), *flags, debug])
    found = verdict(path, "fortify")
    assert found.outcome is outcome
    if outcome is Outcome.FAIL:
        assert found.culprits[0].endswith("show()")
    elif outcome is Outcome.UNKNOWN:
        assert found.remedy == "judge it before it is stripped"


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("kind", ["executable", "shared-library"])
def test_musl_shows_nothing(build: CompileC, verdict: VerdictOf, number: int, kind: Kind) -> None:
    path = build(sources(kind), kind=kind, flags=level(number), compiler="musl-gcc")
    found = verdict(path, "fortify")
    assert found.outcome is Outcome.UNKNOWN
    assert "musl" in found.summary


def test_link_time_optimisation(build: CompileC, verdict: VerdictOf) -> None:
    for number in (0, 2):
        path = build({"show.c": SHOW}, kind="object", flags=[*level(number), "-flto"])
        assert verdict(path, "fortify").outcome is Outcome.UNKNOWN
    linked = build(sources("executable"), flags=[*level(2), "-flto"])
    assert verdict(linked, "fortify").outcome is Outcome.PASS


def test_object_without_code(build: CompileC, verdict: VerdictOf) -> None:
    assert verdict(build("int value = 3;\n", kind="object"), "fortify").outcome is Outcome.NOT_APPLICABLE


def test_flag_of_checked_snprintf_tells_the_level(
    build: CompileC, verdict: VerdictOf, readelf: Callable[..., str]
) -> None:
    """Where the length is not constant, level 1 calls __snprintf_chk as well, but with another flag."""
    source = """
#include <stdio.h>
void use(char *); int text(int n) { char b[64]; snprintf(b, n, "%d %d", n, n); use(b); return b[0]; }
"""
    for number in (1, 2):
        path = build(source, kind="object", flags=level(number))
        assert "__snprintf_chk" in readelf("-s", path)
        assert verdict(path, "fortify", level=1).outcome is Outcome.PASS
        assert verdict(path, "fortify", level=2).outcome is (Outcome.FAIL if number == 1 else Outcome.PASS)


UNITS = {
    "copy": "void bad(const char *s) { char b[32]; strcpy(b, s); use(b); }",
    "format": 'void bad(const char *s) { char b[32]; sprintf(b, "%s!", s); use(b); }',
    "length": 'void bad(const char *s) { char b[32]; snprintf(b, strlen(s), "%s!", s); use(b); }',
    "list": "void bad(const char *s, ...) { char b[32]; va_list a; va_start(a, s); vsnprintf(b, 32, s, a); use(b); }",
    "block": "void bad(const char *s) { char b[32]; memcpy(b, s, strlen(s)); use(b); }",
    "input": "void bad(const char *s) { char b[32]; read(0, b, strlen(s)); use(b); }",
    "line": "void bad(const char *s) { char b[32]; fgets(b, strlen(s), stdin); use(b); }",
}
HEADERS = "#include <stdarg.h>\n#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\nvoid use(const char *);\n"
CALLER = SHOW + "void bad(const char *, ...); void use(const char *s) { show(s, 1); }\n"


@pytest.mark.parametrize("link_flags", [["-g"], ["-s"], ["-r"]], ids=["debug", "stripped", "relinked"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("role", UNITS)
def test_mixed_build_without_printf_never_passes(
    build: CompileC, verdict: VerdictOf, compiler: str, role: str, link_flags: list[str]
) -> None:
    """Of a bad unit that calls no printf the format tells where there is one; else it is unknown."""
    sources = {"bad.c": HEADERS + UNITS[role], "main.c": CALLER + 'int main(void) { bad("x"); return 0; }\n'}
    flags = [*level(2), "-w", *(["-g"] if link_flags == ["-g"] else [])]
    relinked = ["-r", "-nostdlib", "-no-pie"] if link_flags == ["-r"] else link_flags
    unit_flags = {"bad.c": ["-U_FORTIFY_SOURCE"]}
    mixed = verdict(
        build(sources, flags=flags, unit_flags=unit_flags, link_flags=relinked, compiler=compiler), "fortify"
    )
    assert mixed.outcome is (Outcome.FAIL if role in ("format", "length", "list") else Outcome.UNKNOWN)
    if link_flags == ["-g"]:
        assert "bad() of bad.c" in mixed.summary
    good = verdict(build(sources, flags=flags, link_flags=relinked, compiler=compiler), "fortify")
    # clang leaves these plain at level 2, too: then nothing tells
    leaves = compiler == "clang" and role in ("input", "line")
    assert good.outcome is (Outcome.UNKNOWN if leaves else Outcome.PASS)


def test_what_fortify_leaves_plain_is_no_doubt(build: CompileC, verdict: VerdictOf) -> None:
    """Constant sizes, objects of unknown size and sizes made at run time are left alone at level 2."""
    left = """
#include <stdlib.h>
void kept(char *d, const char *s, size_t n) { memcpy(d, s, n); }
void held(const char *s) { char b[32]; memcpy(b, s, 32); use(b); snprintf(b, 32, "%s", s); use(b); }
char *grown(const char *s) { size_t n = strlen(s) + 1; char *d = malloc(n); return d ? memcpy(d, s, n) : d; }
"""
    sources = {"left.c": HEADERS + left, "main.c": CALLER + "int main(void) { return 0; }\n"}
    assert verdict(build(sources, flags=[*level(2), "-s"]), "fortify").outcome is Outcome.PASS


@pytest.mark.parametrize("numbers", [(3, 2), (2, 1)])
def test_units_of_two_levels(build: CompileC, verdict: VerdictOf, numbers: tuple[int, int]) -> None:
    """The flag of each call tells the level of its unit, in an object that `ld -r` made as well."""
    high, low = numbers
    second = HEADERS + 'void two(const char *s, int n) { char b[32]; snprintf(b, n, "%s %d", s, n); use(b); }\n'
    for link_flags in ([], ["-r", "-nostdlib", "-no-pie"]):
        path = build(
            {"one.c": CALLER + "int main(void) { return 0; }\n", "two.c": second},
            flags=level(high),
            unit_flags={"two.c": level(low)},
            link_flags=link_flags,
        )
        found = verdict(path, "fortify", level=high)
        assert (found.outcome, found.observed) == (Outcome.FAIL, {"level": low, "mixed": True})
        assert verdict(path, "fortify", level=low).outcome is Outcome.PASS


@pytest.mark.parametrize("compiler", ["gcc", "clang", "clang++"])
def test_jumps_are_replaced_at_every_level(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    source = "#include <setjmp.h>\nextern jmp_buf place; void back(void) { longjmp(place, 1); }\n"
    name = "back.cpp" if compiler == "clang++" else "back.c"
    for number, outcome in ((0, Outcome.FAIL), (1, Outcome.PASS)):
        path = build({name: source}, kind="object", flags=[*level(number), "-g"], compiler=compiler)
        assert verdict(path, "fortify", level=1).outcome is outcome


def test_static_libstdcxx_is_not_the_users(build: CompileC, verdict: VerdictOf) -> None:
    """Its demangler calls plain sprintf; a stripped program does not tell whose functions those are."""
    source = {"show.cpp": SHOW + "#include <string>\nint main(int c, char **v) { throw std::string(v[c]); }\n"}
    path = build(source, flags=[*level(2), "-s"], link_flags=["-static-libstdc++", "-static-libgcc"], compiler="g++")
    assert verdict(path, "fortify").outcome is not Outcome.FAIL
