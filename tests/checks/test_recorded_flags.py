"""recorded-flags: options in force or taken back, groups, and options that leave no record. See test_recorded.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_hardening.checks.recorded_flags import RecordedFlags
from pytest_hardening.checks.registry import get_check
from pytest_hardening.elf.facts import Unit
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.errors import PolicyError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

F = "int twice(int a) { return a * 2; }\n"
RECORDS = {"gcc": ["-g"], "clang-19": ["-g", "-grecord-command-line"]}
# the flag asked for, the flags given, and whether it is in force (None: the record does not tell), by both compilers
GIVEN: list[tuple[str, list[str], bool | None]] = [
    ("-fstack-clash-protection", ["-fstack-clash-protection"], True),
    ("-fstack-clash-protection", ["-fstack-clash-protection", "-fno-stack-clash-protection"], False),
    ("-fstack-clash-protection", [], None),  # a compiler may be configured with it
    ("-fwrapv", [], False),
    ("-fwrapv", ["-fno-wrapv", "-fwrapv"], True),
    ("-fno-strict-aliasing", ["-fno-strict-aliasing"], True),
    ("-fno-strict-aliasing", ["-fno-strict-aliasing", "-fstrict-aliasing"], False),
    ("-fstack-protector-strong", ["-fstack-protector-strong"], True),
    ("-fstack-protector-strong", ["-fstack-protector-strong", "-fstack-protector"], False),
    ("-fstack-protector-strong", ["-fstack-protector-strong", "-fno-stack-protector"], False),
    ("-fstack-protector-strong", [], None),
    ("-fPIC", ["-fPIE", "-fPIC"], True),
    ("-fPIC", ["-fPIC", "-fPIE"], False),
    ("-fPIC", ["-fPIC", "-fno-pic"], False),
    ("-fPIC", [], None),
    ("-O2", ["-O0", "-O2"], True),
    ("-O2", ["-O2", "-Os"], False),
    ("-O1", ["-O"], True),
    ("-fcf-protection", ["-fcf-protection=full"], True),
    ("-fcf-protection=full", ["-fcf-protection=full", "-fcf-protection=none"], False),
    ("-fsanitize=bounds", ["-fsanitize=shift", "-fsanitize=bounds,null"], True),
    ("-fsanitize=bounds,shift", ["-fsanitize=shift", "-fsanitize=bounds"], True),
    ("-fsanitize=bounds", ["-fsanitize=bounds", "-fno-sanitize=bounds"], False),
    ("-fsanitize=bounds", ["-fsanitize=bounds", "-fno-sanitize=all"], False),
    ("-mno-red-zone", ["-mno-red-zone"], True),
    ("-mno-red-zone", ["-mno-red-zone", "-mred-zone"], False),
    ("-march=native", [], None),
]


@pytest.mark.parametrize("compiler", RECORDS)
@pytest.mark.parametrize(
    ("flag", "given", "state"), GIVEN, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_in_force(
    build: CompileC, verdict: VerdictOf, compiler: str, flag: str, given: list[str], state: bool | None
) -> None:
    path = build({"F.c": F}, kind="object", flags=[*RECORDS[compiler], *given], compiler=compiler)
    outcomes = {True: Outcome.PASS, False: Outcome.FAIL, None: Outcome.UNKNOWN}
    with_it = verdict(path, "recorded-flags", with_flags=[flag])
    assert with_it.outcome is outcomes[state]
    without = verdict(path, "recorded-flags", without_flags=[flag])
    assert without.outcome is outcomes[None if state is None else not state]
    if state is False:
        assert (with_it.summary, with_it.culprits) == (f"F.c compiled without {flag}", ("F.c",))
        assert with_it.remedy == f"compile every unit with {flag}"
    elif state is True:
        assert (without.summary, without.culprits) == (f"F.c compiled with {flag}", ("F.c",))
        assert without.remedy == f"compile every unit without {flag}"


@pytest.mark.parametrize("flag", ["-DNDEBUG", "-Wall", "-Wl,-z,now", "-pthread", "-fdiagnostics-color"])
def test_what_gcc_does_not_record(build: CompileC, verdict: VerdictOf, flag: str) -> None:
    for given in ([flag], []):
        path = build({"F.c": F}, kind="object", flags=["-g", *given])
        for name in ("with_flags", "without_flags"):
            found = verdict(path, "recorded-flags", **{name: [flag]})
            assert found.outcome is Outcome.UNKNOWN
            assert found.remedy == f"remove {flag} from {name}: GCC never records it"


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (["-DNDEBUG"], True),
        (["-D", "NDEBUG"], True),
        (["-DNDEBUG=1"], True),
        (["-DNDEBUG", "-UNDEBUG"], False),
        (["-DNDEBUG=2"], False),
        ([], False),
    ],
)
def test_clang_records_macros(build: CompileC, verdict: VerdictOf, given: list[str], state: bool) -> None:
    path = build({"F.c": F}, kind="object", flags=[*RECORDS["clang-19"], *given], compiler="clang-19")
    found = verdict(path, "recorded-flags", with_flags=["-DNDEBUG"])
    assert found.outcome is (Outcome.PASS if state else Outcome.FAIL)


def test_several_flags(build: CompileC, verdict: VerdictOf) -> None:
    path = build({"F.c": F}, kind="object", flags=["-g", "-O2", "-fwrapv"])
    asked = {"with_flags": ["-O2", "-fwrapv"], "without_flags": ["-ffast-math"]}
    found = verdict(path, "recorded-flags", **asked)
    assert found.summary == "1 unit(s) compiled with -O2, with -fwrapv, without -ffast-math"
    found = verdict(path, "recorded-flags", with_flags=["-O2", "-DX"], without_flags=["-fwrapv"])
    assert (found.outcome, found.summary) == (Outcome.FAIL, "F.c compiled with -fwrapv")
    assert found.remedy == "compile every unit without -fwrapv"  # what is as asked for is no part of the fix
    found = verdict(path, "recorded-flags", with_flags=["-O2", "-fno-strict-aliasing"], without_flags=["-fwrapv"])
    assert found.remedy == "compile every unit with -fno-strict-aliasing and without -fwrapv"
    found = verdict(path, "recorded-flags", with_flags=["-O2", "-DX"])
    assert (found.outcome, found.summary) == (Outcome.UNKNOWN, "F.c: the record does not tell -DX")
    assert found.remedy == "remove -DX from with_flags: GCC never records it"


def test_units_that_lack_different_flags(build: CompileC, verdict: VerdictOf) -> None:
    units = {"F.c": F, "G.c": F.replace("twice", "thrice")}
    each = {"F.c": ["-fwrapv"], "G.c": ["-fno-strict-aliasing"]}
    path = build(units, kind="shared-library", flags=["-g", "-fPIC"], unit_flags=each)
    found = verdict(path, "recorded-flags", with_flags=["-fno-strict-aliasing"], without_flags=["-fwrapv"])
    assert found.remedy == "compile every unit with -fno-strict-aliasing and without -fwrapv"
    found = verdict(path, "recorded-flags", with_flags=["-fno-strict-aliasing", "-fwrapv"])
    assert found.remedy == "compile every unit with -fno-strict-aliasing; compile every unit with -fwrapv"


def test_how_to_make_known_what_the_record_does_not_tell(build: CompileC, verdict: VerdictOf) -> None:
    path = build({"F.c": F}, kind="object", flags=["-g"])
    default = "what a compiler is configured with is not recorded"
    found = verdict(path, "recorded-flags", with_flags=["-fPIC"])
    assert found.remedy == f"compile every unit with -fPIC: {default}"
    found = verdict(path, "recorded-flags", without_flags=["-fPIC"])
    assert found.remedy == f"compile every unit with the opposite of -fPIC: {default}"
    found = verdict(path, "recorded-flags", with_flags=["-march=native"])
    assert found.remedy == "name the machine that -march=native stands for: the record does"
    native = build({"F.c": F}, kind="object", flags=["-g", "-march=native"])
    assert verdict(native, "recorded-flags", without_flags=["-march=native"]).outcome is Outcome.UNKNOWN


def test_nothing_asked_for(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build({"F.c": F}, kind="object", flags=["-g"]), "recorded-flags")
    assert (found.outcome, found.summary) == (Outcome.NOT_APPLICABLE, "no flags asked for")


@pytest.mark.parametrize("flag", ["O2", "", "-D X", "-"])
def test_what_is_no_flag(flag: str) -> None:
    with pytest.raises(PolicyError, match=r"recorded-flags.with_flags = .*: expected one option in one word"):
        get_check("recorded-flags").settings({"with_flags": [flag]})


@pytest.mark.parametrize(
    ("flag", "given", "state"),
    [
        ("-fstack-clash-protection", ["-fhardened"], True),
        ("-fstack-clash-protection", ["-fno-stack-clash-protection", "-fhardened"], False),
        ("-ftrivial-auto-var-init=zero", ["-fhardened"], True),
        ("-ftrivial-auto-var-init=zero", ["-ftrivial-auto-var-init=pattern", "-fhardened"], False),
        ("-fPIE", ["-fhardened"], True),
        ("-D_GLIBCXX_ASSERTIONS", ["-fhardened"], True),
        ("-fcf-protection", ["-fhardened", "-fno-hardened"], None),
        ("-fzero-call-used-regs=used", ["-fhardened"], False),
    ],
)
def test_group_of_gcc_14(build: CompileC, flag: str, given: list[str], state: bool | None) -> None:
    """No compiler at hand has -fhardened yet: the record as GCC 14 writes it."""
    with Source.open(str(build({"F.c": F}, kind="object"))) as source, ElfReader(source, "F.o", None) as reader:
        facts = reader.facts
    check = get_check("recorded-flags")
    assert isinstance(check, RecordedFlags)
    unit = Unit("F.c", "c", "gcc", "14.2.0", ("-O2", *given))
    answer = check.answer(facts, unit, {"with_flags": (flag,), "without_flags": ()})
    assert answer.conforms is state
