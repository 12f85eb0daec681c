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
from pytest_hardening.model import Outcome

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
    slim = build({"F.c": F}, kind="object", flags=["-g", "-flto", *case.good])
    found = verdict(slim, case.check, **case.parameters)
    assert (found.outcome, "bytecode" in found.summary) == (Outcome.UNKNOWN, True)
    hidden = {"F.c": ["-g"], "main.c": ["-g"]}
    for flags, units in [(["-g", *case.good], None), (case.good, hidden)]:
        linked = build(PROGRAM, flags=["-flto", *flags], unit_flags=units)
        found = verdict(linked, case.check, **case.parameters)
        assert (found.outcome, "link-time optimisation" in found.summary) == (Outcome.UNKNOWN, True)
    if case is not REGISTERS:  # GCC takes that from the link step
        linked = build(
            PROGRAM, flags=["-flto", "-g"], unit_flags={"F.c": case.bad, "G.c": case.good, "main.c": case.good}
        )
        found = verdict(linked, case.check, **case.parameters)
        assert (found.outcome, base_names(found.culprits)) == (Outcome.FAIL, ["F.c"])


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
def test_linkers_that_drop_the_names_of_sources(build: CompileC, verdict: VerdictOf, linker: str) -> None:
    """G.c has no debug information, and no symbol tells of it."""
    units = {"F.c": ["-g", "-O2"], "G.c": ["-O0"], "main.c": ["-g", "-O2"]}
    path = build(PROGRAM, unit_flags=units, link_flags=["-Wl,-x", f"-fuse-ld={linker}"])
    found = verdict(path, "optimization")
    assert found.outcome is Outcome.UNKNOWN
    assert "does not name the sources" in found.summary


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
