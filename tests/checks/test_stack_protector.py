"""stack-protector: what shows a canary, what proves that one is missing, and what tells nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome, Verdict
from pytest_hardening.toolchain import Kind

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

ARRAY = """
int copy(const char *s) { char buffer[64]; int i = 0; while ((buffer[i & 63] = s[i])) i++; return buffer[3]; }
"""
BUFFER = """
#include <stdio.h>
int copy(const char *s) { char buffer[64]; snprintf(buffer, sizeof buffer, "<%s>", s); return buffer[3]; }
"""
PLAIN = "int sum(const int *v, int n) { int total = 0; for (int i = 0; i < n; i++) total += v[i]; return total; }\n"
MAIN = "int copy(const char *); int main(int c, char **v) { (void)c; return copy(v[0]); }\n"
PROGRAM = {"copy.c": ARRAY, "main.c": MAIN}
ON, OFF = "-fstack-protector-strong", "-fno-stack-protector"
ARCHITECTURES = [
    "gcc",
    "clang",
    "gcc -m32",
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
    "musl-gcc",
]
# their GCC writes none for C, or the linker no index to them: stripped, nothing tells where functions begin
WITHOUT_UNWIND_TABLES = ("arm-linux-gnueabihf-gcc", "riscv64-linux-gnu-gcc", "musl-gcc")
KINDS: dict[str, list[str]] = {
    "pie": ["-fPIE", "-pie"],
    "shared": ["-fPIC", "-shared"],
    "no-pie": ["-no-pie", "-fno-pie"],
}


def is_unprotected(found: Verdict, unit: str = "copy.c") -> bool:
    assert found.remedy == "compile with -fstack-protector-strong"
    assert found.observed["unprotected"] == 1
    assert found.observed["protected"] == 0
    return found.outcome is Outcome.FAIL and found.culprits == (f"{unit}: copy()" if unit else "copy()",)


@pytest.mark.parametrize("compiler", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["pie", "shared"])
def test_linked_files(build: CompileC, verdict: VerdictOf, compiler: str, kind: str) -> None:
    flags = [*KINDS[kind], "-O2", "-g"]
    found = verdict(build(PROGRAM, flags=[*flags, ON], compiler=compiler), "stack-protector")
    assert (found.outcome, found.remedy) == (Outcome.PASS, "")
    assert (found.observed["protected"], found.observed["unprotected"]) == (1, 0)
    assert is_unprotected(verdict(build(PROGRAM, flags=[*flags, OFF], compiler=compiler), "stack-protector"))


@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_objects(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    source = {"copy.c": ARRAY}
    on = build(source, kind="object", flags=["-O2", "-g", ON], compiler=compiler)
    assert verdict(on, "stack-protector").outcome is Outcome.PASS
    off = build(source, kind="object", flags=["-O2", "-g", OFF], compiler=compiler)
    assert is_unprotected(verdict(off, "stack-protector"))


@pytest.mark.parametrize("optimisation", ["-O0", "-O1", "-Os", "-O2", "-O3"])
@pytest.mark.parametrize(
    ("compiler", "debug"),
    [("gcc", "-gdwarf-4"), ("gcc", "-gdwarf-5"), ("gcc", "-gdwarf-3"), ("clang", "-gdwarf-4"), ("clang", "-gdwarf-5")],
)
def test_debug_information_proves_the_lack(
    build: CompileC, verdict: VerdictOf, compiler: str, debug: str, optimisation: str
) -> None:
    path = build(PROGRAM, flags=[*KINDS["pie"], optimisation, debug, OFF], compiler=compiler)
    assert is_unprotected(verdict(path, "stack-protector"))


@pytest.mark.parametrize("strip", [False, True], ids=["symbols", "stripped"])
@pytest.mark.parametrize("optimisation", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_code_proves_the_lack_without_debug_information(
    build: CompileC, verdict: VerdictOf, compiler: str, optimisation: str, strip: bool
) -> None:
    units = {"copy.c": BUFFER, "main.c": MAIN}
    flags = [*KINDS["pie"], optimisation, *(["-s"] if strip else [])]
    on = verdict(build(units, flags=[*flags, ON], compiler=compiler), "stack-protector")
    if on.outcome is Outcome.PASS:
        assert on.summary == "every function that needs a canary checks one"
    if strip and compiler in WITHOUT_UNWIND_TABLES:
        assert "cannot tell whether all that need one do: " in on.summary
        assert on.remedy.startswith("judge it before it is stripped")
        off = verdict(build(units, flags=[*flags, OFF], compiler=compiler), "stack-protector")
        assert on.outcome is Outcome.UNKNOWN
        assert off.outcome in (Outcome.UNKNOWN, Outcome.FAIL)
        return
    assert (on.outcome, on.observed["protected"]) == (Outcome.PASS, 1)
    off = verdict(build(units, flags=[*flags, OFF], compiler=compiler), "stack-protector")
    assert off.outcome is Outcome.FAIL
    assert "snprintf()" in off.summary
    (culprit,) = off.culprits
    assert re.fullmatch("0x[0-9a-f]+-0x[0-9a-f]+", culprit) if strip else culprit.endswith("copy()")


@pytest.mark.parametrize("compiler", ["gcc", "clang", "aarch64-linux-gnu-gcc"])
@pytest.mark.parametrize("protector", [ON, OFF])
@pytest.mark.parametrize("debug", [[], ["-g"]])
def test_no_arrays_need_no_canary(
    build: CompileC, verdict: VerdictOf, compiler: str, protector: str, debug: list[str]
) -> None:
    path = build(PLAIN, kind="object", flags=["-O2", protector, *debug], compiler=compiler)
    found = verdict(path, "stack-protector")
    assert found.outcome is Outcome.NOT_APPLICABLE
    assert "no function keeps an array" in found.summary


@pytest.mark.parametrize(
    ("built", "wanted", "outcome"),
    [
        ("-fstack-protector", "basic", Outcome.PASS),
        ("-fstack-protector", "strong", Outcome.FAIL),
        ("-fstack-protector-strong", "strong", Outcome.PASS),
        ("-fstack-protector-strong", "all", Outcome.FAIL),
        ("-fstack-protector-all", "all", Outcome.PASS),
        ("-fstack-protector-all", "strong", Outcome.PASS),
    ],
)
def test_recorded_strength(build: CompileC, verdict: VerdictOf, built: str, wanted: str, outcome: Outcome) -> None:
    path = build({"copy.c": BUFFER}, kind="object", flags=["-O2", "-g", built])
    found = verdict(path, "stack-protector", level=wanted)
    assert found.outcome is outcome
    if outcome is Outcome.FAIL:
        assert found.culprits == ("copy.c",)
        assert found.remedy.startswith(f"compile with -fstack-protector-{wanted}")


@pytest.mark.parametrize("protector", [ON, OFF])
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", ["-static", "-no-pie", "-fno-pie"]),
        ("gcc", ["-static-pie", "-fPIE"]),
        ("musl-gcc", ["-static", "-no-pie", "-fno-pie"]),
    ],
)
@pytest.mark.parametrize("debug", [["-g"], [], ["-s"]], ids=["debug", "symbols", "stripped"])
def test_static_programs(
    build: CompileC,
    verdict: VerdictOf,
    readelf: Callable[..., str],
    protector: str,
    flags: list[str],
    compiler: str,
    debug: list[str],
) -> None:
    """glibc inside brings __stack_chk_fail along, whether the program's own code is protected or not."""
    path = build({"copy.c": BUFFER, "main.c": MAIN}, flags=["-O2", protector, *flags, *debug], compiler=compiler)
    if debug != ["-s"] and compiler == "gcc":
        assert "__stack_chk_fail" in readelf("-s", path)
    found = verdict(path, "stack-protector")
    if debug == ["-s"]:
        assert found.outcome is Outcome.UNKNOWN
        assert found.summary.startswith("cannot tell whether functions check a canary: static and stripped")
        assert found.remedy == "judge it before it is stripped"
    elif protector == OFF:
        assert found.outcome is Outcome.FAIL
        assert found.culprits[0].endswith("copy()")
    else:
        assert found.outcome is Outcome.PASS


@pytest.mark.parametrize("flags", [["-static", "-no-pie"], ["-pie", "-fPIE"]])
def test_recorded_flags_name_the_unit_among_protected_ones(
    build: CompileC, verdict: VerdictOf, flags: list[str]
) -> None:
    """GCC records the flags of each unit in its DWARF; the last of them counts."""
    units = {
        "main.c": "void on(void); void off(void); int main(void) { on(); off(); return 0; }",
        "on.c": "void fill(char *p) { *p = 1; } void on(void) { char line[64]; fill(line); }",
        "off.c": "void fill(char *); void off(void) { char text[64]; fill(text); }",
    }
    built = {"flags": ["-O2", "-g", "-fno-ipa-cp", "-fno-inline", ON, *flags]}
    whole = build(units, **built)  # type: ignore[arg-type]
    assert verdict(whole, "stack-protector").outcome is not Outcome.FAIL
    path = build(units, **built, unit_flags={"off.c": [OFF]})  # type: ignore[arg-type]
    found = verdict(path, "stack-protector")
    assert found.outcome is Outcome.FAIL
    assert [culprit.rpartition("/")[2] for culprit in found.culprits] == ["off.c: off()"]
    again = build(units, **built, unit_flags={"off.c": [OFF, ON]})  # type: ignore[arg-type]
    assert verdict(again, "stack-protector").outcome is not Outcome.FAIL


def test_vectors_and_functions_that_never_return_are_no_proof(build: CompileC, verdict: VerdictOf) -> None:
    """The compiler protects no SIMD value; and a function without return needs no check."""
    vector = "typedef int v4 __attribute__((vector_size(16))); v4 add(v4 a, v4 b) { v4 sum = a + b; return sum; }"
    path = build(vector, kind="object", flags=["-O0", "-g", ON])
    assert verdict(path, "stack-protector").outcome is Outcome.NOT_APPLICABLE
    leaves = "#include <stdlib.h>\nvoid fill(char *); void go(void) { char b[64]; fill(b); exit(0); }"
    path = build(leaves, kind="object", flags=["-O2", "-g", ON])
    assert verdict(path, "stack-protector").outcome is not Outcome.FAIL


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_user_functions_of_similar_names_are_no_canary(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    source = (
        ARRAY
        + """
extern void my__stack_chk_fail(void); extern void __stack_chk_failed(void); extern void stack_chk_fail(void);
void use(void) { my__stack_chk_fail(); __stack_chk_failed(); stack_chk_fail(); }
"""
    )
    path = build({"copy.c": source}, kind="shared-library", flags=["-fPIC", "-O2", "-g", OFF], compiler=compiler)
    assert is_unprotected(verdict(path, "stack-protector"))


def test_file_that_defines_the_handler_itself(build: CompileC, verdict: VerdictOf) -> None:
    """Its own __stack_chk_fail answers the calls, so no undefined symbol is left to see; the code shows the canary."""
    handler = "#include <stdlib.h>\nvoid __stack_chk_fail(void) { abort(); }\n"
    for protector, outcome in ((ON, Outcome.PASS), (OFF, Outcome.FAIL)):
        units = {"copy.c": ARRAY, "handler.c": handler}
        path = build(units, kind="shared-library", flags=["-fPIC", "-O2", "-g", protector])
        assert verdict(path, "stack-protector").outcome is outcome


def test_arrays_of_other_kinds(build: CompileC, verdict: VerdictOf) -> None:
    """Behind a typedef, in an inner block, in an inlined function: each is an array on the stack of copy()."""
    sources = [
        "typedef char line[64]; void use(char *); int copy(const char *s) { line b; use(b); return b[1] + *s; }\n",
        "void use(char *); int copy(const char *s) { if (*s) { char b[64]; use(b); return b[1]; } return 0; }\n",
        "void use(char *); static inline int in(void) { char b[64]; use(b); return b[1]; }\n"
        "int copy(const char *s) { return in() + *s; }\n",
        "void use(void *); int copy(const char *s) { volatile const int b[64] = {1}; use((void *)b); "
        "return b[*s & 7]; }\n",
    ]
    for text in sources:
        path = build({"copy.c": text}, kind="object", flags=["-O2", "-g", OFF])
        assert is_unprotected(verdict(path, "stack-protector")), text


def test_arrays_that_are_not_on_the_stack(build: CompileC, verdict: VerdictOf) -> None:
    source = """
void use(char *); char global[64]; extern char other[];
int copy(const char *s, char parameter[64]) {
    static char b[64]; use(b); use(global); use(other); use(parameter); return *s; }
"""
    path = build({"copy.c": source}, kind="object", flags=["-O2", "-g", OFF])
    assert verdict(path, "stack-protector").outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(("compiler", "name"), [("g++", "copy.cpp"), ("clang++", "copy.cpp")])
def test_cplusplus(build: CompileC, verdict: VerdictOf, compiler: str, name: str) -> None:
    on = build({name: ARRAY}, kind="object", flags=["-O2", "-g", ON], compiler=compiler)
    assert verdict(on, "stack-protector").outcome is Outcome.PASS
    off = build({name: ARRAY}, kind="object", flags=["-O2", "-g", OFF], compiler=compiler)
    found = verdict(off, "stack-protector")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, (f"{name}: _Z4copyPKc()",))


def test_archive_names_the_member(build: CompileC, verdict: VerdictOf) -> None:
    other = ARRAY.replace("copy", "other")
    path = build(
        {"other.c": other, "copy.c": ARRAY},
        kind="archive",
        flags=["-O2", "-g", ON],
        name="EF.a",
        unit_flags={"copy.c": [OFF]},
    )
    found = verdict(path, "stack-protector")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("copy.o: copy()",))
    assert found.observed == {"members": {"fail": 1, "pass": 1}}
    whole = build({"other.c": other, "copy.c": ARRAY}, kind="archive", flags=["-O2", "-g", ON], name="EF.a")
    assert verdict(whole, "stack-protector").outcome is Outcome.PASS
    needless = {"copy.c": ARRAY, "other.c": other, "sum.c": PLAIN}
    found = verdict(build(needless, kind="archive", flags=["-O2", "-g", ON]), "stack-protector")
    assert found.outcome is Outcome.PASS
    assert found.summary == "2 of 3 members: every function that needs a canary checks one; 1 needs none"


WORK = """
.text
.globl work
{type}
work: ret
{size}
.section .note.GNU-stack,"",%progbits
"""


def test_assembly_whose_functions_have_no_type(build: CompileC, verdict: VerdictOf) -> None:
    """The fix makes it known, and no compiler's flag does."""
    units = {"copy.c": ARRAY, "work.S": WORK.format(type="", size="")}
    found = verdict(build(units, kind="archive", flags=["-O2", "-g", ON]), "stack-protector")
    assert found.outcome is Outcome.UNKNOWN
    reason = "cannot tell whether functions check a canary: no symbol tells where its functions are"
    assert found.summary == f"1 of 2 members (work.o): {reason}"
    assert found.remedy == "in assembly, mark each function with .type NAME,%function and .size"
    units["work.S"] = WORK.format(type=".type work,%function", size=".size work,.-work")
    found = verdict(build(units, kind="archive", flags=["-O2", "-g", ON]), "stack-protector")
    assert found.outcome is Outcome.PASS


def test_record_without_the_option(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build({"copy.c": ARRAY}, kind="object", flags=["-O2", "-g"]), "stack-protector")
    assert found.outcome is Outcome.FAIL
    assert "DWARF: copy.c: no -fstack-protector... option recorded" in map(str, found.evidence)
    found = verdict(build({"copy.c": ARRAY}, kind="object", flags=["-O2", "-g", OFF]), "stack-protector")
    assert f"DWARF: copy.c: recorded option: {OFF}" in map(str, found.evidence)


def test_link_time_optimisation(build: CompileC, verdict: VerdictOf) -> None:
    """A slim object holds no code yet, but its options; a fat one holds code that can be judged."""
    slim = build({"copy.c": ARRAY}, kind="object", flags=["-O2", "-flto", ON])
    assert verdict(slim, "stack-protector").outcome is Outcome.PASS
    fat = build({"copy.c": ARRAY}, kind="object", flags=["-O2", "-flto", "-ffat-lto-objects", ON])
    assert verdict(fat, "stack-protector").outcome is Outcome.PASS
    linked = build(PROGRAM, flags=["-O2", "-flto", ON])
    assert verdict(linked, "stack-protector").outcome is Outcome.PASS


def test_object_without_code(build: CompileC, verdict: VerdictOf) -> None:
    path = build("int value = 3;\n", kind="object", flags=["-g", OFF])
    assert verdict(path, "stack-protector").outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("debug", [["-gz"], ["-gsplit-dwarf"]], ids=["compressed", "split"])
def test_debug_information_elsewhere(build: CompileC, verdict: VerdictOf, debug: list[str]) -> None:
    """What is compressed is read; what is split off is not, and the code tells all the same."""
    path = build({"copy.c": BUFFER}, kind="object", flags=["-O2", "-g", *debug, OFF])
    found = verdict(path, "stack-protector")
    assert found.outcome is Outcome.FAIL
    assert found.culprits[0].endswith("copy()")


LOCAL_LAST = """
#include <stdio.h>
static int last(const char *s);
int copy(const char *s) { char b[64]; snprintf(b, sizeof b, "<%s>", s); return b[3] + last(s); }
int main(int c, char **v) { (void)c; return copy(v[0]); }
static __attribute__((noinline)) int last(const char *s) { return s[0] * 3; }
"""
NOTE_OF_RUST = '__asm__(".ident \\"rustc version 1.63.0\\"");\n'
UNSEEN: dict[str, tuple[str, list[str], list[str], str, Outcome]] = {
    "local-function-before-the-libraries": (
        LOCAL_LAST,
        ["-O1", "-static", "-fno-toplevel-reorder", ON],
        ["-g"],
        "compile every unit with -g",
        Outcome.PASS,
    ),
    "another-language": (
        NOTE_OF_RUST + BUFFER,
        ["-O2", "-fPIC", "-shared", OFF],
        ["-g"],
        "compile its units of C with -g, and judge it before it is stripped",
        Outcome.FAIL,
    ),
    "unclear-addresses": (
        ARRAY,
        ["-O2", "-c", OFF],
        ["-g"],
        "compile with -g: DWARF shows which functions need a canary",
        Outcome.FAIL,
    ),
}


@pytest.mark.parametrize(("source", "flags", "better", "fix", "outcome"), UNSEEN.values(), ids=UNSEEN)
def test_the_fix_of_an_unknown_makes_it_known(
    build: CompileC, verdict: VerdictOf, source: str, flags: list[str], better: list[str], fix: str, outcome: Outcome
) -> None:
    kind: Kind = "object" if "-c" in flags else "executable"
    flags = [flag for flag in flags if flag != "-c"]
    less = ["-s"] if "rustc" in source else []
    found = verdict(build({"copy.c": source}, kind=kind, flags=[*flags, *less]), "stack-protector")
    assert (found.outcome, found.remedy) == (Outcome.UNKNOWN, fix)
    assert verdict(build({"copy.c": source}, kind=kind, flags=[*flags, *better]), "stack-protector").outcome is outcome
