"""The sample project loses one mitigation at a time: exactly the expected verdicts turn to fail, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from pytest_hardening.checks.registry import check_names
from pytest_hardening.engine import inspect
from pytest_hardening.fixtures import SampleProject
from pytest_hardening.model import Outcome

System = Literal["make", "cmake"]
ARCHIVES = ("AB.a", "EF.a")
LIBRARIES = ("libSHARED.so", "plugin.so")
PROGRAMS = ("PROGRAM", "HOST")
LINKED = LIBRARIES + PROGRAMS
PRODUCTS = ARCHIVES + LINKED

# What fails beyond the hardened build, as (artifacts, check, why).
EXPECTED: dict[str, list[tuple[tuple[str, ...], str, str]]] = {
    "pie-link": [(PROGRAMS, "pie", "the link step lost -pie; the objects stay position-independent")],
    "pic-member": [
        (("AB.a",), "pic", "one member is absolute code"),
        (("libSHARED.so",), "pic", "the member went into the library"),
        (("libSHARED.so",), "text-relocations", "where the loader has to patch it"),
    ],
    "relro": [(LINKED, "relro", "-z norelro")],
    "bind-now": [
        (LINKED, "bind-now", "-z lazy"),
        (LINKED, "relro", "RELRO without immediate binding is partial"),
    ],
    "stack-protector": [(PRODUCTS, "stack-protector", "every unit has an array on the stack, and -g shows it")],
    "stack-protector-unit": [
        (("EF.a",), "stack-protector", "F has an array and no canary"),
        (("PROGRAM",), "stack-protector", "its function has no canary in the program either"),
    ],
    "fortify": [
        (ARCHIVES, "fortify", "F calls fprintf, the others snprintf with formats that level 2 does not leave plain"),
        (LINKED, "fortify", "each calls printf or fprintf"),
    ],
    "fortify-unit": [
        (("EF.a",), "fortify", "F calls plain fprintf"),
        (("PROGRAM",), "fortify", "beside the __fprintf_chk of other units"),
    ],
    "format-security": [],  # compile-time warnings leave no trace
    "nx-stack": [(("libSHARED.so", "PROGRAM"), "nx-stack", "an assembly file asks for an executable stack")],
    "rwx-segments": [
        (("libSHARED.so", "PROGRAM"), "rwx-segments", "a section is writable and executable"),
        (("libSHARED.so", "PROGRAM"), "separate-code", "other data lies in the segment that it makes"),
    ],
    "rpath": [(("libSHARED.so", "PROGRAM"), "rpath", "-rpath /tmp/lib")],
    "cf-protection": [(PRODUCTS, "cf-protection", "neither notes nor landing pads")],
    "parent-scope": [
        (PROGRAMS, "bind-now", "CMAKE_EXE_LINKER_FLAGS lost its first value"),
        (PROGRAMS, "relro", "and with -z now the full RELRO"),
    ],
}
CULPRITS = {
    ("pic-member", "AB.a", "pic"): ("B",),
    ("stack-protector-unit", "EF.a", "stack-protector"): ("F",),
    ("fortify-unit", "EF.a", "fortify"): ("F",),
    ("fortify", "AB.a", "fortify"): ("A", "B"),
    ("fortify", "EF.a", "fortify"): ("E", "F"),
    ("stack-protector", "EF.a", "stack-protector"): ("E", "F"),
    ("cf-protection", "AB.a", "cf-protection"): ("A", "B"),
    ("rwx-segments", "PROGRAM", "rwx-segments"): ("generated_code",),
}
BUILDS: list[tuple[System, str, str]] = [
    *(("make", "gcc", switch) for switch in EXPECTED if switch != "parent-scope"),
    *(
        ("cmake", "gcc", switch)
        for switch in ("pie-link", "pic-member", "bind-now", "stack-protector-unit", "parent-scope")
    ),
    *(("make", "clang", switch) for switch in ("pic-member", "stack-protector", "fortify", "cf-protection")),
    ("cmake", "clang", "stack-protector-unit"),
]


# what the sample project never asks its compilers for, and some of them do not have
UNUSED = {"auto-var-init", "strict-flex-arrays", "zero-call-used-regs"}


def failures(folder: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """The culprits of every failed verdict of every product, by product and check."""
    found = {}
    for name in PRODUCTS:
        report = inspect(folder / name, [check for check in check_names() if check not in UNUSED])
        assert report.artifact.error is None
        for verdict in report.artifact.verdicts:
            if verdict.outcome is Outcome.FAIL:
                assert verdict.remedy
                found[name, verdict.check] = verdict.culprits
    return found


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("system", ["make", "cmake"])
def test_hardened_build_fails_nothing(sample_project: SampleProject, system: System, compiler: str) -> None:
    assert failures(sample_project(None, system, compiler)) == {}


@pytest.mark.parametrize(("system", "compiler", "switch"), BUILDS, ids=["-".join(build) for build in BUILDS])
def test_exactly_the_expected_fails(sample_project: SampleProject, system: System, compiler: str, switch: str) -> None:
    found = failures(sample_project(switch, system, compiler))
    expected = {(name, check) for names, check, _ in EXPECTED[switch] for name in names}
    assert set(found) == expected
    for (where, name, check), culprits in CULPRITS.items():
        if where == switch:
            units = dict.fromkeys(item.lstrip(".").partition(".")[0] for item in found[name, check])
            assert tuple(units) == culprits


def test_units_are_named_in_linked_files(sample_project: SampleProject) -> None:
    found = failures(sample_project("stack-protector"))["PROGRAM", "stack-protector"]
    assert {Path(item.split(":")[0]).name for item in found} == {"E.c", "F.c", "G.c", "H.c"}


def test_every_switch_is_expected(sample_project: SampleProject) -> None:
    from pytest_hardening.toolchain import shipped_sample_project

    text = (shipped_sample_project() / "README.md").read_text()
    table = [line.split("|")[1].strip(" `") for line in text.splitlines() if line.startswith("| `")]
    assert set(table) - {*PRODUCTS, "BREAK="} == set(EXPECTED)
