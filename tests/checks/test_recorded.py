"""What the checks of recorded flags share: where a record stands, whose it is, and what is no proof."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_hardening.checks.recorded import explicit_option, is_hardened, options_of, version_of
from pytest_hardening.elf.facts import Unit
from pytest_hardening.engine import inspect
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome, Verdict

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

F = "int twice(int a) { int b[4]; b[a & 3] = a; return b[a & 3] * 2; }\n"
G = "int thrice(int a) { return a * 3; }\n"
MAIN = "int twice(int), thrice(int); int main(int c, char **v) { (void)v; return twice(c) - thrice(c); }\n"
PROGRAM = {"F.c": F, "G.c": G, "main.c": MAIN}


class Case(NamedTuple):
    """A check with flags that conform and flags that violate only it."""

    check: str
    good: list[str]
    bad: list[str]
    parameters: dict[str, Any]


OPTIMIZATION = Case("optimization", ["-O1"], ["-O1", "-O0"], {})
VARIABLES = Case("auto-var-init", ["-O1", "-ftrivial-auto-var-init=zero"], ["-O1"], {})
REGISTERS = Case("zero-call-used-regs", ["-O1", "-fzero-call-used-regs=used-gpr"], ["-O1"], {})
ARRAYS = Case("strict-flex-arrays", ["-O1", "-fstrict-flex-arrays=3"], ["-O1"], {})
FLAGS = Case(
    "recorded-flags",
    ["-O1", "-fno-strict-aliasing"],
    ["-O1", "-fno-strict-aliasing", "-fstrict-aliasing"],
    {"with_flags": ["-fno-strict-aliasing"]},
)
BY_GCC = [OPTIMIZATION, VARIABLES, REGISTERS, FLAGS]
BY_CLANG = [*BY_GCC, ARRAYS]
RECORDS = [
    pytest.param(compiler, record, case, id=f"{compiler}-{'-'.join(record)}-{case.check}")
    for compilers, records, cases in [
        (["gcc", "g++"], [["-gdwarf-4"], ["-gdwarf-5"], ["-frecord-gcc-switches"]], BY_GCC),
        (["gcc-11"], [["-g"]], [OPTIMIZATION, REGISTERS]),
        (
            ["clang-19", "clang++-19"],
            [["-gdwarf-4", "-grecord-command-line"], ["-gdwarf-5", "-grecord-command-line"], ["-frecord-command-line"]],
            BY_CLANG,
        ),
        (["clang-14"], [["-g", "-grecord-command-line"]], [OPTIMIZATION, FLAGS]),
        (["gcc -m32", "aarch64-linux-gnu-gcc", "riscv64-linux-gnu-gcc", "s390x-linux-gnu-gcc"], [["-g"]], [VARIABLES]),
    ]
    for compiler in compilers
    for record in records
    for case in cases
]


def base_names(names: tuple[str, ...]) -> list[str]:
    return [Path(name).name for name in names]


@pytest.mark.parametrize(("compiler", "record", "case"), RECORDS)
def test_objects(build: CompileC, verdict: VerdictOf, compiler: str, record: list[str], case: Case) -> None:
    name = "F.cc" if "++" in compiler else "F.c"
    good = verdict(
        build({name: F}, kind="object", flags=[*record, *case.good], compiler=compiler), case.check, **case.parameters
    )
    assert (good.outcome, good.observed) == (Outcome.PASS, {"units": 1, "failing": 0, "unknown": 0})
    bad = verdict(
        build({name: F}, kind="object", flags=[*record, *case.bad], compiler=compiler), case.check, **case.parameters
    )
    assert (bad.outcome, base_names(bad.culprits)) == (Outcome.FAIL, [name])
    assert f"{name} compiled with" in bad.summary
    assert bad.remedy.startswith("compile ")


@pytest.mark.parametrize("case", BY_GCC, ids=lambda case: case.check)
@pytest.mark.parametrize("kind", [["-fPIE", "-pie"], ["-fPIC", "-shared"], ["-no-pie", "-fno-pie"]])
def test_mixed_builds_name_the_unit(build: CompileC, verdict: VerdictOf, case: Case, kind: list[str]) -> None:
    flags = [*kind, "-g", *case.good]
    good = verdict(build(PROGRAM, flags=flags), case.check, **case.parameters)
    assert (good.outcome, good.observed["units"]) == (Outcome.PASS, 3)
    path = build(PROGRAM, flags=[*kind, "-g"], unit_flags={"F.c": case.good, "G.c": case.bad, "main.c": case.good})
    bad = verdict(path, case.check, **case.parameters)
    assert (bad.outcome, base_names(bad.culprits)) == (Outcome.FAIL, ["G.c"])
    assert bad.observed == {"units": 3, "failing": 1, "unknown": 0}


@pytest.mark.parametrize("case", BY_CLANG, ids=lambda case: case.check)
def test_mixed_builds_of_clang(build: CompileC, verdict: VerdictOf, case: Case) -> None:
    record = ["-g", "-grecord-command-line"]
    units = {"F.c": case.good, "G.c": case.bad, "main.c": case.good}
    path = build(PROGRAM, flags=record, unit_flags=units, compiler="clang-19")
    bad = verdict(path, case.check, **case.parameters)
    assert (bad.outcome, base_names(bad.culprits)) == (Outcome.FAIL, ["G.c"])


@pytest.mark.parametrize("case", BY_GCC, ids=lambda case: case.check)
def test_archives_name_the_member(build: CompileC, verdict: VerdictOf, case: Case) -> None:
    units = {"F.c": case.good, "G.c": case.bad}
    path = build({"F.c": F, "G.c": G}, kind="archive", flags=["-g"], unit_flags=units, name="FG.a")
    bad = verdict(path, case.check, **case.parameters)
    assert (bad.outcome, bad.culprits) == (Outcome.FAIL, ("G.o",))
    good = build({"F.c": F, "G.c": G}, kind="archive", flags=["-g", *case.good], name="FG.a")
    assert verdict(good, case.check, **case.parameters).outcome is Outcome.PASS


@pytest.mark.parametrize("case", BY_GCC, ids=lambda case: case.check)
@pytest.mark.parametrize("state", ["good", "bad"])
def test_nothing_on_record(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path, case: Case, state: str
) -> None:
    """Neither a file without record nor a stripped one tells, whatever the flags were."""
    flags = case.good if state == "good" else case.bad
    without = verdict(build(PROGRAM, flags=flags), case.check, **case.parameters)
    record = "compile with -g or -frecord-gcc-switches (clang: -grecord-command-line)"
    assert (without.outcome, without.summary, without.remedy) == (Outcome.UNKNOWN, "no flags on record", record)
    whole = build(PROGRAM, flags=["-g", *flags])
    subprocess.run([tool_for("strip"), "-o", tmp_path / "stripped", whole], check=True)
    stripped = verdict(tmp_path / "stripped", case.check, **case.parameters)
    assert (stripped.outcome, stripped.summary) == (Outcome.UNKNOWN, "no flags on record")
    assert stripped.remedy == f"judge it before it is stripped, and {record}"


def test_debug_file_that_was_not_read(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    """The flags are on record, elsewhere: the fix is no flag of the compiler."""
    whole = build(PROGRAM, flags=["-g", "-O2"])
    objcopy = tool_for("objcopy")
    program, debug = tmp_path / "program", tmp_path / "program.debug"
    subprocess.run([objcopy, "--only-keep-debug", whole, debug], check=True)
    subprocess.run([objcopy, "-S", f"--add-gnu-debuglink={debug}", whole, program], check=True)
    found = verdict(program, "optimization")
    assert (found.outcome, found.summary) == (Outcome.UNKNOWN, "no flags on record")
    where = "its debug file (.gnu_debuglink) was not read: say where it is, --hardening-debug-root DIR"
    assert found.remedy == where
    read = inspect(program, ["optimization"], debug_roots=(str(tmp_path),)).verdict("optimization")
    assert read.outcome is Outcome.PASS


def test_clang_without_its_option_records_nothing(build: CompileC, verdict: VerdictOf) -> None:
    for flags in (OPTIMIZATION.good, OPTIMIZATION.bad):
        path = build({"F.c": F}, kind="object", flags=["-g", *flags], compiler="clang")
        assert verdict(path, "optimization").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("case", BY_GCC, ids=lambda case: case.check)
def test_one_unit_without_record_leaves_it_unknown(build: CompileC, verdict: VerdictOf, case: Case) -> None:
    """The symbol table names it; what it was compiled with stands nowhere."""
    path = build(PROGRAM, flags=case.good, unit_flags={"F.c": ["-g"], "main.c": ["-g"]})
    found = verdict(path, case.check, **case.parameters)
    assert found.outcome is Outcome.UNKNOWN
    assert found.summary == "G.c: no flags on record"
    assert found.remedy.startswith("compile with -g or ")
    assert found.observed == {"units": 3, "failing": 0, "unknown": 1}


def test_a_failing_unit_weighs_more_than_one_without_record(build: CompileC, verdict: VerdictOf) -> None:
    path = build(PROGRAM, flags=["-O2"], unit_flags={"F.c": ["-g", "-O0"], "main.c": ["-g"]})
    found = verdict(path, "optimization")
    assert (found.outcome, base_names(found.culprits)) == (Outcome.FAIL, ["F.c"])


@pytest.mark.parametrize("case", BY_GCC, ids=lambda case: case.check)
def test_link_time_optimisation(build: CompileC, verdict: VerdictOf, case: Case) -> None:
    hidden = {"F.c": ["-g"], "main.c": ["-g"]}
    linked = build(PROGRAM, flags=["-flto", *case.good], unit_flags=hidden)
    found = verdict(linked, case.check, **case.parameters)
    assert (found.outcome, "link-time optimisation" in found.summary) == (Outcome.UNKNOWN, True)
    linked = build(PROGRAM, flags=["-flto", "-g", *case.good])
    found = verdict(linked, case.check, **case.parameters)
    if case is REGISTERS:  # GCC takes that from the link step
        assert (found.outcome, "link-time optimisation" in found.summary) == (Outcome.UNKNOWN, True)
    else:
        assert (found.outcome, found.observed["units"]) == (Outcome.PASS, 3)
        linked = build(
            PROGRAM, flags=["-flto", "-g"], unit_flags={"F.c": case.bad, "G.c": case.good, "main.c": case.good}
        )
        found = verdict(linked, case.check, **case.parameters)
        assert (found.outcome, base_names(found.culprits)) == (Outcome.FAIL, ["F.c"])


@pytest.mark.parametrize("compiler", ["gcc", "gcc-11"])
@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "__attribute__((noinline)) int thrice(int a) { volatile int b = a * 3; return b; }\n",
            "thrice() lies in no unit",
        ),
        (G, "part of others"),
    ],
    ids=["whole", "inlined"],
)
def test_link_time_optimisation_of_a_unit_without_debug_information(
    build: CompileC, verdict: VerdictOf, compiler: str, source: str, told: str
) -> None:
    """Its function stands in the symbol table; or it was put into main(), which DWARF tells without its name."""
    units = {"F.c": ["-g"], "main.c": ["-g"]}
    path = build({**PROGRAM, "G.c": source}, flags=["-O2", "-flto"], unit_flags=units, compiler=compiler)
    found = verdict(path, "optimization")
    assert (found.outcome, told in found.summary) == (Outcome.UNKNOWN, True)


def test_link_time_optimisation_of_clang(build: CompileC, verdict: VerdictOf) -> None:
    """It puts functions into others without a trace."""
    flags = ["-O2", "-g", "-grecord-command-line", "-flto"]
    found = verdict(build(PROGRAM, flags=flags, link_flags=["-fuse-ld=lld"], compiler="clang-19"), "optimization")
    assert (found.outcome, "leaves no trace" in found.summary) == (Outcome.UNKNOWN, True)


@pytest.mark.parametrize("compiler", ["gcc", "gcc-11"])
@pytest.mark.parametrize("debug", [[], ["-g"]])
def test_bytecode_of_gcc_keeps_options(build: CompileC, verdict: VerdictOf, compiler: str, debug: list[str]) -> None:
    cases = [OPTIMIZATION, FLAGS] + [VARIABLES] * (compiler == "gcc")
    for case in cases:
        good = build({"F.c": F}, kind="object", flags=["-flto", *debug, *case.good], compiler=compiler)
        found = verdict(good, case.check, **case.parameters)
        assert (found.outcome, found.observed["units"]) == (Outcome.PASS, 1)
        bad = build({"F.c": F}, kind="object", flags=["-flto", *debug, *case.bad], compiler=compiler)
        found = verdict(bad, case.check, **case.parameters)
        assert (found.outcome, found.culprits, found.evidence[0].where) == (Outcome.FAIL, ("F.c",), ".gnu.lto_.opts")
    registers = build({"F.c": F}, kind="object", flags=["-flto", *REGISTERS.good], compiler=compiler)
    assert verdict(registers, REGISTERS.check).outcome is Outcome.UNKNOWN  # the link step decides
    sanitized = build({"F.c": F}, kind="object", flags=["-flto", "-fsanitize=undefined"], compiler=compiler)
    for parameter in ("with_flags", "without_flags"):  # an option of the driver, which is not kept
        found = verdict(sanitized, "recorded-flags", **{parameter: ["-fsanitize=undefined"]})
        assert found.outcome is Outcome.UNKNOWN


def test_bytecode_of_several_units(build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str]) -> None:
    good = build({"F.c": F}, kind="object", flags=["-flto", "-O2"])
    bad = build({"G.c": G}, kind="object", flags=["-flto", "-O0"])
    both = good.parent / "both.o"
    subprocess.run([tool_for("ld"), "-r", good, bad, "-o", both], check=True)
    found = verdict(both, "optimization")
    assert (found.outcome, found.culprits, found.observed["units"]) == (Outcome.FAIL, ("G.c",), 2)


@pytest.mark.parametrize(
    ("flags", "outcome"),
    [
        (["-fstack-protector-strong"], Outcome.PASS),
        (["-fstack-protector-all", "-fno-stack-protector"], Outcome.FAIL),
        (["-fstack-protector"], Outcome.FAIL),
        ([], Outcome.UNKNOWN),
    ],
)
def test_bytecode_of_gcc_keeps_its_stack_protector(
    build: CompileC, verdict: VerdictOf, flags: list[str], outcome: Outcome
) -> None:
    """Compilers are configured with a default, which is not kept."""
    found = verdict(build({"F.c": F}, kind="object", flags=["-flto", *flags]), "stack-protector")
    assert (found.outcome, found.culprits) == (outcome, ("F.c",) if outcome is Outcome.FAIL else ())


def test_bytecode_of_other_languages(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "f.f90").write_text("subroutine f(x)\nreal :: x\nx = x * 2\nend subroutine f\n")
    subprocess.run([tool_for("gfortran"), "-flto", "-c", "f.f90"], cwd=tmp_path, check=True)
    assert verdict(tmp_path / "f.o", "optimization").outcome is Outcome.NOT_APPLICABLE


HIDDEN = [
    pytest.param(G, "thrice() lies in no unit", id="global"),
    pytest.param(
        "static int own(int a) { return a * 3; }\nint (*const thrice_of[])(int) = {own};\n",
        "does not name the sources",
        id="local",
    ),
]


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize(("source", "told"), HIDDEN)
def test_linkers_that_drop_the_names_of_sources(
    build: CompileC, verdict: VerdictOf, linker: str, source: str, told: str
) -> None:
    """G.c has no debug information, and no name in the symbol table tells of it."""
    units = {"F.c": ["-g", "-O2"], "G.c": ["-O0"], "main.c": ["-g", "-O2"]}
    main = MAIN if "int thrice(" in source else MAIN.replace(", thrice(int)", "; extern int (*const thrice_of[])(int)")
    main = main if "int thrice(" in source else main.replace("thrice(c)", "thrice_of[0](c)")
    link = ["-Wl,-x", f"-fuse-ld={linker}"]
    path = build({"F.c": F, "G.c": source, "main.c": main}, unit_flags=units, link_flags=link)
    found = verdict(path, "optimization")
    assert (found.outcome, told in found.summary) == (Outcome.UNKNOWN, True)


@pytest.mark.parametrize(("source", "told"), HIDDEN)
def test_debug_files_of_what_was_linked_without_names(
    build: CompileC, tool_for: Callable[[str], str], tmp_path: Path, source: str, told: str
) -> None:
    """The stripped file has no symbol table; the debug file's tells as much as that of the whole file."""
    units = {"F.c": ["-g", "-O2"], "G.c": ["-O0"]}
    program = {"F.c": F, "G.c": source}
    for link in ([], ["-Wl,-x"]):
        path = build(program, "shared-library", ["-fPIC"], unit_flags=units, link_flags=link)
        found = split_verdict(path, tool_for, tmp_path)
        assert found.outcome is Outcome.UNKNOWN
        assert (told if link else "G.c: no flags on record") in found.summary
    good = build(program, "shared-library", ["-fPIC", "-g", "-O2"])
    assert split_verdict(good, tool_for, tmp_path).outcome is Outcome.PASS


def split_verdict(path: Path, tool_for: Callable[[str], str], folder: Path) -> Verdict:
    """What is said of a file whose debug information was moved into a file of its own."""
    stripped, debug = folder / "lib.so", folder / "lib.debug"
    subprocess.run([tool_for("objcopy"), "--only-keep-debug", path, debug], check=True)
    subprocess.run([tool_for("strip"), "-o", stripped, path], check=True)
    subprocess.run([tool_for("objcopy"), f"--add-gnu-debuglink={debug}", stripped], check=True, cwd=folder)
    return inspect(stripped, ["optimization"], debug_roots=(str(folder),)).verdict("optimization")


@pytest.mark.parametrize("compiler", ["gcc", "clang-19 -grecord-command-line", "riscv64-linux-gnu-gcc"])
@pytest.mark.parametrize("version", ["-gdwarf-4", "-gdwarf-5"])
def test_objects_that_were_linked_together(build: CompileC, verdict: VerdictOf, compiler: str, version: str) -> None:
    """b.c has no debug information: with its name it is a unit without record, without it a function of no unit."""
    words = ["-nostdlib", "-r", "-O1"]
    flags = {"F.c": [version, "-ftrivial-auto-var-init=zero"], "G.c": ["-O0"]}
    command = compiler.split()
    for more in ([], ["-Wl,-x"], ["-ffunction-sections"], ["-ffunction-sections", "-Wl,-x"]):
        path = build(
            {"F.c": F, "G.c": G}, "executable", [*words, *command[1:], *more], unit_flags=flags, compiler=command[0]
        )
        for check in ("optimization", "auto-var-init"):
            assert verdict(path, check).outcome is Outcome.UNKNOWN
    whole = build(
        {"F.c": F, "G.c": G}, "executable", [*words, *command[1:], version, "-ffunction-sections"], compiler=command[0]
    )
    found = verdict(whole, "optimization")
    assert (found.outcome, found.observed["units"]) == (Outcome.PASS, 2)


def test_code_that_the_linker_left_out(build: CompileC, verdict: VerdictOf) -> None:
    """Its debug information stays and claims the addresses from 0 on, which are those of other code here."""
    large = 'int t[9]; __attribute__((visibility("hidden"))) void large(void) { ' + "t[3]++; t[5]++; " * 900 + "}\n"
    program = {"F.c": F, "G.c": G, "large.c": large.replace("int t", "extern volatile int t")}
    flags = ["-fPIC", "-ffunction-sections", "-nostdlib", "-O1"]
    units = {"F.c": ["-g"], "large.c": ["-g"]}
    path = build(program, "shared-library", flags, ["-Wl,--gc-sections,-x"], unit_flags=units)
    found = verdict(path, "optimization")
    assert (found.outcome, "thrice() lies in no unit" in found.summary) == (Outcome.UNKNOWN, True)


def test_a_source_whose_name_was_removed(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    path = build(PROGRAM, flags=["-O2"], unit_flags={"F.c": ["-g"], "main.c": ["-g"]})
    subprocess.run([tool_for("objcopy"), "-N", "G.c", path, tmp_path / "program"], check=True)
    found = verdict(tmp_path / "program", "optimization")
    assert (found.outcome, "thrice() lies in no unit" in found.summary) == (Outcome.UNKNOWN, True)


@pytest.mark.parametrize(
    "compiler",
    [
        "gcc -ffast-math",
        "gcc -m32 -fPIE",
        "gcc -pg",
        "musl-gcc",
        "aarch64-linux-gnu-gcc",
        "arm-linux-gnueabihf-gcc",
        "powerpc64le-linux-gnu-gcc",
        "riscv64-linux-gnu-gcc -msave-restore",
        "s390x-linux-gnu-gcc",
    ],
)
def test_what_comes_with_the_toolchain_is_no_hidden_unit(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    """Start files, and of libgcc division, atomic operations, functions that save registers."""
    source = """
_Atomic int count; int twice(int);
__attribute__((noinline)) long long divide(long long a, int *b, int *c, int *d) {
    count++; *b += twice(*c); *c += twice(*d); *d += twice(*b); return a / *b + *c / *d;
}
int main(int c, char **v) { int a = c, b = c; (void)v; return (int)divide(c, &a, &b, &c); }
"""
    command, *words = compiler.split()
    path = build({"F.c": F, "main.c": source}, flags=["-g", "-Os", *words], compiler=command)
    found = verdict(path, "optimization")
    assert (found.outcome, found.observed["units"]) == (Outcome.PASS, 2)


@pytest.mark.parametrize("compiler", ["g++", "clang++-19 -grecord-command-line"])
def test_what_compilers_add_to_cplusplus_is_no_hidden_unit(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    """Virtual thunks, constructors of globals, wrappers of thread-local variables, handlers of exceptions."""
    source = """
struct A { virtual int f(int) { return 1; } virtual ~A(); };
struct B { virtual int g(int) { return 2; } virtual ~B(); };
struct C : A, virtual B { int f(int) override; int g(int) override; ~C() override; };
int C::f(int a) { return a; } int C::g(int a) { return a; }
A::~A() {} B::~B() {} C::~C() {}
int made(); int global = made(); thread_local int mine = made();
int made() { static C c; return c.f(3); }
int user() noexcept { C c; return c.g(mine); }
"""
    command = compiler.split()
    for flags in ([], ["-ffunction-sections"], ["-O2"]):
        for kind in ("object", "shared-library"):
            words = ["-g", "-fPIC", "-O1", *command[1:], *flags]
            path = build({"c.cc": source}, kind=kind, flags=words, compiler=command[0])
            assert verdict(path, "optimization").outcome is Outcome.PASS


def test_other_languages_do_not_count(build: CompileC, verdict: VerdictOf) -> None:
    assembly = '.globl thrice\nthrice: ret\n.section .note.GNU-stack,"",%progbits\n'
    path = build({"thrice.S": assembly}, kind="object", flags=["-g"])
    found = verdict(path, "optimization")
    assert (found.outcome, found.summary) == (Outcome.NOT_APPLICABLE, "no unit of C: assembler")
    both = build({"F.c": F, "thrice.S": assembly, "main.c": MAIN}, flags=["-g", "-O2"])
    assert verdict(both, "optimization").outcome is Outcome.PASS


def test_objects_without_code(build: CompileC, verdict: VerdictOf) -> None:
    path = build("int value = 3;\n", kind="object", flags=["-g", "-O0"])
    found = verdict(path, "optimization")
    assert (found.outcome, found.summary) == (Outcome.NOT_APPLICABLE, "no code")


def test_split_debug_information_is_not_read(build: CompileC, verdict: VerdictOf) -> None:
    path = build({"F.c": F}, kind="object", flags=["-g", "-gsplit-dwarf", "-O0"])
    found = verdict(path, "optimization")
    assert found.outcome is Outcome.UNKNOWN
    assert "split" in found.summary or "no flags" in found.summary


def unit(*flags: str, compiler: str = "gcc") -> Unit:
    return Unit("F.c", "c", compiler, "14.2.0", flags)


def test_the_last_option_of_a_switch_counts() -> None:
    assert explicit_option(unit("-fx", "-fno-x", "-fx=2", "-fxy"), "-fx") == "-fx=2"
    assert explicit_option(unit("-fx", "-fno-x"), "-fx") == "-fno-x"
    assert explicit_option(unit("-fxy"), "-fx") == ""
    assert is_hardened(unit("-fhardened"))
    assert not is_hardened(unit("-fhardened", "-fno-hardened"))


def test_values_in_words_of_their_own() -> None:
    assert list(options_of(unit("-D", "X=1", "--param", "a=b", "-DY", "-O2"))) == ["-DX=1", "--param=a=b", "-DY", "-O2"]
    assert version_of(unit()) == (14, 2, 0)
    assert version_of(Unit("F.c")) == ()
