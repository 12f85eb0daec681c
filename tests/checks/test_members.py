"""From members to archive: causes that differ are told apart, and names and numbers are bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_hardening.checks.members import Summary
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Evidence, Outcome, Verdict

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

ASSEMBLER = ".text\n.globl work\nwork: ret\n"
MARKED = '.section .note.GNU-stack,"",%progbits\n'
NESTED = """
extern int apply(int (*)(int), int);
int outer(int x) { int inner(int y) { return x + y; } return apply(inner, 1); }
"""
END_THE_SOURCE = 'end the assembly source with: .section .note.GNU-stack,"",%progbits'
NO_NESTED = "avoid nested functions whose address is taken; -Wa,--noexecstack only when there is none"
ARRAYS = "void use(char *); void {0}(void) {{ char b[64]; use(b); }} void {0}_more(void) {{ char b[32]; use(b); }}\n"


def test_each_cause_has_its_own_fix(build: CompileC, verdict: VerdictOf) -> None:
    units = {"asm.S": ASSEMBLER, "nest.c": NESTED, "good.c": "int good(void) { return 1; }\n"}
    found = verdict(build(units, kind="archive", flags=["-O1"]), "nx-stack")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("asm.o", "nest.o"))
    reasons = (
        "asm.o: executable stack: no stack mark, and the default of x86-64 is executable",
        "nest.o: asks for an executable stack",
    )
    assert found.summary == f"2 of 3 members (asm.o, nest.o); {'; '.join(reasons)}"
    assert found.remedy == f"asm.o: {END_THE_SOURCE}; nest.o: {NO_NESTED}"
    assert [str(item) for item in found.evidence] == [
        "asm.o: section headers: no .note.GNU-stack",
        "nest.o: section headers: .note.GNU-stack has SHF_EXECINSTR",
    ]


def test_one_cause_has_one_fix_for_all_its_members(build: CompileC, verdict: VerdictOf) -> None:
    units = {f"asm{number}.S": ASSEMBLER.replace("work", f"work{number}") for number in range(5)}
    found = verdict(build({**units, "nest.c": NESTED}, kind="archive", flags=["-O1"]), "nx-stack")
    assert found.remedy == f"asm0.o, asm1.o, asm2.o and 2 more: {END_THE_SOURCE}; nest.o: {NO_NESTED}"
    alone = verdict(build(units, kind="archive"), "nx-stack")
    assert alone.remedy == END_THE_SOURCE
    assert alone.summary.startswith("5 of 5 members (asm0.o, asm1.o, asm2.o and 2 more): executable stack: ")


def test_one_unit_does_not_speak_for_others(build: CompileC, verdict: VerdictOf) -> None:
    units = {"util.c": "int util(void) { return 1; }\n", "table.c": "int table(void) { return 2; }\n"}
    found = verdict(build(units, kind="archive", flags=["-g", "-O2"]), "auto-var-init")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("util.o", "table.o"))
    reason = "util.o: util.c compiled without -ftrivial-auto-var-init"
    assert found.summary == f"2 of 2 members (util.o, table.o); {reason}"


def test_culprits_name_functions_of_members(build: CompileC, verdict: VerdictOf) -> None:
    units = {f"{name}.c": ARRAYS.format(name) for name in ("one", "two")}
    found = verdict(build(units, kind="archive", flags=["-g", "-O2", "-fno-stack-protector"]), "stack-protector")
    assert found.outcome is Outcome.FAIL
    assert found.culprits == ("one.o: one()", "one.o: one_more()", "two.o: two()", "two.o: two_more()")


def test_unknown_members_of_several_causes(build: CompileC, verdict: VerdictOf) -> None:
    units = {"work.S": ASSEMBLER + MARKED, "slim.c": "int slim(void) { return 1; }\n"}
    path = build(units, kind="archive", unit_flags={"slim.c": ["-flto"]})
    found = verdict(path, "stack-protector")
    assert found.outcome is Outcome.UNKNOWN
    assert found.summary.startswith("2 of 2 members (work.o, slim.o); work.o: cannot tell whether functions check")
    assert "; slim.o: only link-time-optimisation bytecode" in found.summary
    assert found.remedy == "work.o: in assembly, mark each function with .type NAME,%function and .size"


def failed(number: int, *culprits: str, remedy: str = "mend it") -> Verdict:
    seen = (Evidence("code", f"{number}"),) * 3
    return Verdict("pic", Outcome.FAIL, f"bad {number}", {}, seen, culprits, remedy)


def test_names_and_causes_are_bounded() -> None:
    summary = Summary("pic")
    for number in range(1000):
        functions = [f"F.c: f{number}_{index}()" for index in range(1000)]
        summary.add(f"{number}.o", failed(number, *functions, remedy=f"fix {number}"))
    found = summary.verdict()
    assert len(found.culprits) == 200
    assert found.culprits[1] == "1.o: f1_0()"  # a function of each, before a second one of any
    assert len(found.evidence) == 6
    assert found.remedy == "0.o: fix 0; 1.o: fix 1; 2.o: fix 2; and other causes"
    first = "1000 of 1000 members (0.o, 1.o, 2.o and 997 more)"
    assert found.summary == f"{first}; 0.o: bad 0; 1.o: bad 1; 2.o: bad 2; and other causes"


def test_functions_of_one_member_are_bounded() -> None:
    summary = Summary("pic")
    summary.add("F.o", failed(0, "F.c", "F.c: copy()", "copy()", "0x10-0x20", *(f"f{n}()" for n in range(100))))
    summary.add("G.o", failed(1, "G.c"))
    assert summary.verdict().culprits == (
        "F.o: copy()", "F.o: 0x10-0x20", *(f"F.o: f{n}()" for n in range(6)), "G.o",
    )  # fmt: skip
