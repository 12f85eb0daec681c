"""What a build description has to do with a failure: real CMake builds, and commands that must not be confused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.artifacts.build_systems.build import read_build
from pytest_hardening.artifacts.build_systems.output import Build, Output
from pytest_hardening.causes.attribution import attributed
from pytest_hardening.causes.switches import SWITCHES, Given, compiler_options, linker_options
from pytest_hardening.checks.registry import check_names, get_check
from pytest_hardening.engine import inspect
from pytest_hardening.model import Outcome, Verdict
from pytest_hardening.recipe import CompileCommand, Fragment, Recipe
from pytest_hardening.toolchain import shipped_sample_project

from ..cmake_builds import configured, make, write_files


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, tool_for: Callable[[str], str]) -> Path:
    tool_for("cmake"), tool_for("ninja")
    return shutil.copytree(shipped_sample_project(), tmp_path_factory.mktemp("sample") / "project")


def explained(build: Build, target: str, check: str, base: Path, **parameters: object) -> list[str]:
    """The evidence that is added to one verdict, and its remedy."""
    (output,) = [one for one in build.outputs if one.name == target]
    verdict = inspect(output.path, {check: parameters}).verdict(check)
    assert verdict.outcome is Outcome.FAIL
    found = attributed(verdict, output.recipe, build, str(base))
    assert found.evidence[: len(verdict.evidence)] == verdict.evidence
    assert found.remedy.startswith(verdict.remedy)
    return [*map(str, found.evidence[len(verdict.evidence) :]), f"fix: {found.remedy}"]


@pytest.mark.parametrize(
    ("break_", "target", "check", "lines"),
    [
        (
            "pic-member",
            "AB",
            "pic",
            [
                "target AB: static library, CMakeLists.txt:30",
                'src/B.c: compiled with "-fno-pic" from cmake/SampleBreaks.cmake:13',
                'fix: *: take "-fno-pic" away at cmake/SampleBreaks.cmake:13',
            ],
        ),
        (
            "pic-member",
            "SHARED",
            "text-relocations",
            [
                'src/B.c (target AB, CMakeLists.txt:30): compiled with "-fno-pic" from cmake/SampleBreaks.cmake:13',
                'link step: has "-Wl,-z,notext", for which CMake gives no line: from a variable such as '
                "CMAKE_SHARED_LINKER_FLAGS",
            ],
        ),
        (
            "fortify-unit",
            "PROGRAM",
            "fortify",
            ['src/F.c (target EF, CMakeLists.txt:35): compiled with "-U_FORTIFY_SOURCE" from *SampleBreaks.cmake:17'],
        ),
        (
            "rpath",
            "PROGRAM",
            "rpath",
            [
                'link step: has "-Wl,-rpath,/tmp/lib" from cmake/SampleBreaks.cmake:20',
                'fix: *take "-Wl,-rpath,/tmp/lib" away at cmake/SampleBreaks.cmake:20',
            ],
        ),
        (
            "nx-stack",
            "SHARED",
            "nx-stack",
            [
                "src/break_nx_stack.S: assembly: an object without .note.GNU-stack, or with an executable one, *",
                'link step: no -Wl,-z,noexecstack among its options: "-Wl,-z,relro -Wl,-z,now"',
            ],
        ),
        (
            "pie-link",
            "HOST",
            "pie",
            [
                'link step: has "-no-pie", *CMAKE_EXE_LINKER_FLAGS*',
                "CMake: POSITION_INDEPENDENT_CODE gives -fPIE to the compile step alone; *CMP0083*CMakeLists.txt:40*",
            ],
        ),
    ],
)
def test_breaks_of_the_sample_project(
    source: Path, tmp_path: Path, break_: str, target: str, check: str, lines: list[str]
) -> None:
    build = read_build(str(make(configured(source, tmp_path / "b", f"-DBREAK={break_}", generator="Ninja"))))
    told = explained(build, target, check, source)
    matcher = pytest.LineMatcher(told)
    matcher.fnmatch_lines([re.sub(r"\[", "[[]", line) for line in lines])


@pytest.mark.parametrize("debug", ["-g", "-g0"])
def test_an_option_that_nobody_gave(tmp_path: Path, debug: str, tool_for: Callable[[str], str]) -> None:
    """With debug information the unit is named by path, without it by the symbol table's base name."""
    tool_for("cmake")
    text = "cmake_minimum_required(VERSION 3.18)\nproject(x C)\nadd_library(x SHARED good.c bad.c)\n"
    text += "set_source_files_properties(good.c PROPERTIES COMPILE_OPTIONS -fstack-protector-strong)\n"
    code = "void sink(char *);\nint %s(void) { char b[64]; sink(b); return b[0]; }\n"
    files = {"CMakeLists.txt": text, "good.c": code % "good", "bad.c": code % "bad"}
    folder = write_files(tmp_path / "s", files)
    build = read_build(str(make(configured(folder, tmp_path / "b", f"-DCMAKE_C_FLAGS=-O2 {debug}"))))
    told = explained(build, "x", "stack-protector", folder)
    assert told[:2] == [
        "target x: shared library, CMakeLists.txt:3",
        f'bad.c: no -fstack-protector-strong among its options: "-O2 {debug} -fPIC"',
    ]
    assert told[-1].endswith(": target_compile_options(x PRIVATE -fstack-protector-strong)")


# What follows rests on no file: which command belongs to which culprit, and which option counts.


def command(source: str, *options: str, object_: str = "", where: str = "") -> CompileCommand:
    return CompileCommand(source, "C", tuple(Fragment(option, where) for option in options), object_)


def failing(check: str, *culprits: str) -> Verdict:
    return Verdict(check, Outcome.FAIL, "falls short", culprits=culprits, remedy="mend it")


def told_of(verdict: Verdict, recipe: Recipe, *others: Recipe, system: str = "CMake") -> list[str]:
    outputs = tuple(Output(one.target, f"/b/{one.target}", one) for one in (recipe, *others))
    return [str(one) for one in attributed(verdict, recipe, Build(system, "/b", outputs), "/s").evidence]


BAD = "-fno-stack-protector"


@pytest.mark.parametrize(
    ("culprit", "is_told"),
    [
        ("/s/a.c: f()", True),
        ("/s/x/../a.c: f()", True),
        ("a.c: f()", True),
        ("/t/a.c: f()", False),
        ("s/a.c", False),
        ("b.c: f()", False),  # of which there are two
        ("/s/x/b.c", True),
    ],
)
def test_a_culprit_is_matched_exactly_or_not_at_all(culprit: str, is_told: bool) -> None:
    units = (command("/s/a.c", BAD), command("/s/x/b.c", BAD), command("/s/y/b.c", BAD))
    told = told_of(failing("stack-protector", culprit), Recipe("t", "SHARED", units=units))
    assert [line for line in told if "compiled with" in line] == (
        [
            f'{"x/b.c" if "b.c" in culprit else "a.c"}: compiled with "{BAD}", for which CMake gives no line: from a '
            "variable such as CMAKE_C_FLAGS"
        ]
        if is_told
        else []
    )


def test_a_base_name_proves_nothing_beside_foreign_code() -> None:
    recipe = Recipe("t", "SHARED", units=(command("/s/a.c", BAD),), foreign=("x.o",))
    assert not [line for line in told_of(failing("stack-protector", "a.c: f()"), recipe) if "compiled" in line]
    assert [line for line in told_of(failing("stack-protector", "/s/a.c: f()"), recipe) if "compiled" in line]


def test_code_of_a_program_needs_no_more_than_pie() -> None:
    units = (command("/s/a.c", "-fPIE"), command("/s/b.c", "-fno-pic"))
    told = told_of(failing("text-relocations"), Recipe("t", "EXECUTABLE", units=units))
    assert [line.partition(":")[0] for line in told[1:]] == ["b.c"]
    told = told_of(failing("text-relocations"), Recipe("t", "SHARED", units=units))
    assert [line.partition(":")[0] for line in told[1:]] == ["a.c", "b.c"]


def test_members_of_an_archive_go_by_their_objects() -> None:
    units = (command("/s/a.c", BAD, object_="/b/x/a.c.o"), command("/s/y/a.c", BAD, object_="/b/y/a.c.o"))
    recipe = Recipe("t", "STATIC", units=(*units, command("/s/c.c", BAD, object_="/b/c.c.o")))
    for culprit, number in (("a.c.o", 0), ("a.c.o#2", 0), ("c.c.o", 1), ("c.c.o: f()", 1), ("c.o", 0)):
        told = told_of(failing("stack-protector", culprit), recipe)
        assert len([line for line in told if "compiled with" in line]) == number, culprit


def test_without_named_culprits_the_commands_are_told() -> None:
    units = (command("/s/a.c", "-O2"), command("/s/b.c", "-O2"), command("/s/c.c", "-O2", "-fstack-protector-strong"))
    told = told_of(failing("stack-protector", "0x1000-0x1010"), Recipe("t", "EXECUTABLE", units=units))
    assert told == ["target t: executable", 'a.c, b.c: no -fstack-protector-strong among its options: "-O2"']


def test_other_build_systems_get_no_advice_for_cmake() -> None:
    recipe = Recipe("t", "EXECUTABLE", units=(command("/s/a.c", "-fPIE"),), link=(Fragment("-Wl,-z,relro"),))
    other = Recipe("u", "SHARED", link=(Fragment("-Wl,-z,relro,-z,now", "meson.build:3"),))
    for check in ("pie", "bind-now"):
        verdict = attributed(failing(check), recipe, Build("Meson", "/b", (Output("u", "/b/u", other),)), "/s")
        assert "CM" not in " ".join(map(str, verdict.evidence)) + verdict.remedy
    told = told_of(failing("bind-now"), recipe, other, system="Meson")
    assert told[-1] == 'other targets: u is linked with "-Wl,-z,relro,-z,now" from meson.build:3; t is not'


def test_nothing_is_said_of_what_does_not_fail() -> None:
    for outcome in (Outcome.PASS, Outcome.UNKNOWN, Outcome.NOT_APPLICABLE):
        verdict = Verdict("pie", outcome, "so it is")
        assert attributed(verdict, Recipe("t", "EXECUTABLE"), Build("CMake", "/b", ())) is verdict


def test_the_last_option_counts() -> None:
    good = "-fstack-protector-strong"
    for options, number in (((BAD, good), 0), ((good, BAD), 1), ((f"{good} {BAD}",), 1), ((), 1)):
        recipe = Recipe("t", "SHARED", units=(command("/s/a.c", *options),))
        assert len(told_of(failing("stack-protector", "a.c"), recipe)) == 1 + number, options
    verdict = attributed(
        failing("stack-protector", "a.c"),
        Recipe("t", "SHARED", units=(command("/s/a.c", good, BAD, where="meson.build:7"),)),
        Build("Meson", "/b", ()),
    )
    assert verdict.remedy == f'mend it: take "{BAD}" away at meson.build:7'


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("-Wl,-z,relro,-z,now", ["-z relro", "-z now"]),
        ("-Wl,-z -Wl,now", ["-z now"]),
        ("-z now", ["-z now"]),
        ("-znow", ["-z now"]),
        ("-Xlinker -z -Xlinker now", ["-z now"]),
        ("-Wl,-rpath,/a:/b -Wl,-rpath=/c -Wl,-R,/d", ["-rpath=/a:/b", "-rpath=/c", "-rpath=/d"]),
        ("-pie -Wl,--build-id=none", ["-pie", "--build-id=none"]),
        ("-Wl,-z", []),
        ("-Wl, '", ["", "'"]),
    ],
)
def test_options_of_the_linker(text: str, options: list[str]) -> None:
    assert [given.option for given in linker_options([Fragment(text)])] == options


def test_options_of_the_compiler() -> None:
    fragments = [Fragment("-D A=1 -DB", "x:1"), Fragment("-U"), Fragment("C -Wp,-DD,-UE -O2", "x:2")]
    assert list(compiler_options(fragments)) == [
        Given("-DA=1", "-D A=1", "x:1"),
        Given("-DB", "-DB", "x:1"),
        Given("-UC", "-U C", "x:2"),
        Given("-DD", "-Wp,-DD,-UE", "x:2"),
        Given("-UE", "-Wp,-DD,-UE", "x:2"),
        Given("-O2", "-O2", "x:2"),
    ]


def test_the_table() -> None:
    assert set(SWITCHES) <= set(check_names())
    for name, switches in SWITCHES.items():
        assert get_check(name).name == name
        for switch in switches:
            read = linker_options if switch.step == "link" else compiler_options
            wanted = list(read([Fragment(switch.wanted)])) if switch.wanted else []
            assert all(switch.is_on(given) for given in wanted), name
