"""fortify where the code tells nothing: what is in force in the commands that a build recorded."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.artifacts.build_systems.cmake import read
from pytest_hardening.engine import inspect
from pytest_hardening.model import Artifact, Outcome
from pytest_hardening.toolchain import Compiler

from ..cmake_builds import configured, make, write_files
from .test_format_security import Built

# the size of its object is known to nobody, so that FORTIFY leaves strcpy alone at level 2
SILENT = "#include <string.h>\nextern char *o_NAME;\nchar *o_NAME;\nvoid NAME(const char *x) { strcpy(o_NAME, x); }\n"
PROVEN = '#include <stdio.h>\nvoid NAME(int n) { printf("%d\\n", n); printf("%d %d\\n", n, n); }\n'
ON = ("-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2")
CASES = [
    (("-O2", "-D_FORTIFY_SOURCE=2", "-U_FORTIFY_SOURCE"), False, "with -U_FORTIFY_SOURCE, which switches FORTIFY off"),
    (("-O2", "-D", "_FORTIFY_SOURCE=2", "-U", "_FORTIFY_SOURCE"), False, "with -U_FORTIFY_SOURCE"),
    ((*ON, "-Wp,-U_FORTIFY_SOURCE"), False, "with -U_FORTIFY_SOURCE"),
    (("-O2", "-D_FORTIFY_SOURCE=0"), False, "with -D_FORTIFY_SOURCE=0, which switches FORTIFY off"),
    (("-O2", "-D_FORTIFY_SOURCE"), False, "with -D_FORTIFY_SOURCE, below level 2"),
    (("-O2", "-D_FORTIFY_SOURCE=1"), False, "with -D_FORTIFY_SOURCE=1, below level 2"),
    (("-D_FORTIFY_SOURCE=2",), False, "without -O1 or higher, which switches FORTIFY off"),
    ((*ON, "-O0"), False, "with -O0, which switches FORTIFY off"),
    (ON, True, "with -D_FORTIFY_SOURCE=2 -O2"),
    (("-O0", "-Os", "-D_FORTIFY_SOURCE=3"), True, "with -D_FORTIFY_SOURCE=3 -Os"),
    (("-O1", "-Wp,-U_FORTIFY_SOURCE,-D_FORTIFY_SOURCE=2"), True, "with -D_FORTIFY_SOURCE=2 -O1"),
    (("-O2", "-Wp,-D_FORTIFY_SOURCE=2", "-U_FORTIFY_SOURCE"), True, "with -D_FORTIFY_SOURCE=2 -O2"),
    (("-O2", "-Xpreprocessor", "-D_FORTIFY_SOURCE=2", "-D_FORTIFY_SOURCE=1"), True, "with -D_FORTIFY_SOURCE=2 -O2"),
    (("-O2",), None, "no -D_FORTIFY_SOURCE among its options"),
    (("-O2", "-D_FORTIFY_SOURCE=TWO"), None, ""),
]


@pytest.fixture(params=["gcc", "clang-19"])
def compiled(tmp_path: Path, request: pytest.FixtureRequest, compiler_for: Callable[[str], Compiler]) -> Built:
    compiler_for(request.param)
    return Built(tmp_path, request.param)


def unit(built: Built, name: str, *options: str, text: str = SILENT, recorded: tuple[str, ...] | None = None) -> str:
    (built.folder / f"{name}.c").write_text(text.replace("NAME", name))
    words = ("-fPIC", "-g", "-w", *options)
    return built.compile(f"{name}.c", *words, recorded=recorded)


@pytest.mark.parametrize(("options", "conforms", "seen"), CASES)
def test_what_is_in_force(compiled: Built, options: tuple[str, ...], conforms: bool | None, seen: str) -> None:
    """The compiler's own macros are the truth."""
    run = subprocess.run(
        [compiled.compiler, *options, "-w", "-dM", "-E", "-x", "c", "/dev/null"], capture_output=True, text=True
    )
    macros = dict(re.findall(r"#define (__OPTIMIZE__|_FORTIFY_SOURCE) (\S+)", run.stdout))
    if conforms is not None:
        assert ("__OPTIMIZE__" in macros and int(macros.get("_FORTIFY_SOURCE", 0)) >= 2) is conforms
    found = compiled.judge(compiled.link(unit(compiled, "a", *options), unit(compiled, "b", *ON)), "fortify")
    assert found.outcome is {True: Outcome.PASS, False: Outcome.FAIL, None: Outcome.UNKNOWN}[conforms]
    if "compiled without optimisation" in found.summary:
        assert compiled.compiler == "gcc"  # which records in the file that it did not optimise
        return
    assert seen in " ".join((found.summary, *map(str, found.evidence)))
    if conforms is False:
        assert found.summary == f"a.c compiled {found.summary.partition(' compiled ')[2]}"
        assert (found.culprits, found.rest) == (("a.c",), Outcome.PASS)
        assert found.remedy.startswith("compile every unit with -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2")
    elif conforms:
        assert found.summary.startswith("fortified by the recorded commands: 2 unit(s) compiled with ")
    elif seen:
        assert found.summary.endswith("; a.c: no -D_FORTIFY_SOURCE among its options")
        assert "what a compiler is configured with is not recorded" in found.remedy


def test_the_code_is_right(compiled: Built) -> None:
    """Its commands say the contrary of what its calls show."""
    good = unit(compiled, "a", *ON, text=PROVEN, recorded=("-O2", "-U_FORTIFY_SOURCE"))
    assert compiled.judge(compiled.link(good), "fortify").outcome is Outcome.PASS
    found = compiled.judge(compiled.link(good, unit(compiled, "b", *ON)), "fortify")
    assert (found.outcome, found.observed) == (Outcome.PASS, {"level": 2})
    bad = unit(compiled, "c", "-O2", "-U_FORTIFY_SOURCE", text=PROVEN, recorded=ON)
    found = compiled.judge(compiled.link(bad), "fortify")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("c.c: c()",))


def test_a_command_that_is_not_the_one(compiled: Built) -> None:
    path = unit(compiled, "a", "-O2", recorded=(*ON, "-O0"))
    wanted = Outcome.UNKNOWN if compiled.compiler == "gcc" else Outcome.FAIL  # clang does not record its options
    assert compiled.judge(compiled.link(path), "fortify").outcome is wanted


def test_units_without_command_and_hidden_ones(compiled: Built) -> None:
    first, second = unit(compiled, "a", *ON), unit(compiled, "b", *ON)
    del compiled.entries[0]
    found = compiled.judge(compiled.link(first, second), "fortify")
    assert found.outcome is Outcome.UNKNOWN
    assert any("a.c" in str(seen) and "no compile command of it is known" in str(seen) for seen in found.evidence)
    bare = compiled.compile("b.c", "-fPIC", *ON)
    assert compiled.judge(compiled.link(bare), "fortify").outcome is Outcome.UNKNOWN


def test_a_library_that_is_not_told(compiled: Built) -> None:
    """musl has no FORTIFY, and an object does not tell whether it is for musl."""
    found = compiled.judge(unit(compiled, "a", *ON), "fortify")
    assert (found.outcome, "which C library is not told" in found.summary) == (Outcome.UNKNOWN, True)
    assert compiled.judge(unit(compiled, "b", *ON, "-U_FORTIFY_SOURCE"), "fortify").outcome is Outcome.FAIL


def test_musl(tmp_path: Path, compiler_for: Callable[[str], Compiler]) -> None:
    compiler_for("musl-gcc")
    built = Built(tmp_path, "musl-gcc")
    for options in (ON, ("-O2", "-U_FORTIFY_SOURCE")):
        found = built.judge(built.link(unit(built, "a", *options)), "fortify")
        assert (found.outcome, "musl" in found.summary) == (Outcome.UNKNOWN, True)


def test_stripped_targets(tmp_path: Path) -> None:
    """What CMake says of a target stands in for names that are gone; not where an archive may bring more."""
    lists = """cmake_minimum_required(VERSION 3.20)
project(x C)
set(CMAKE_C_FLAGS "-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2")
add_library(good SHARED a.c)
add_library(bad SHARED a.c b.c)
set_source_files_properties(b.c PROPERTIES COMPILE_OPTIONS -D_FORTIFY_SOURCE=1)
add_library(foreign SHARED a.c)
target_link_libraries(foreign PRIVATE ${CMAKE_SOURCE_DIR}/more.a)
add_library(untold SHARED c.c)
set_source_files_properties(c.c PROPERTIES COMPILE_OPTIONS -U_FORTIFY_SOURCE)
"""
    sources = {f"{name}.c": SILENT.replace("NAME", name) for name in "abc"}
    write_files(tmp_path, {"CMakeLists.txt": lists, "more.c": SILENT.replace("NAME", "more"), **sources})
    subprocess.run(["gcc", "-fPIC", "-O2", "-c", "more.c"], cwd=tmp_path, check=True)
    subprocess.run(["ar", "rc", "more.a", "more.o"], cwd=tmp_path, check=True)
    build = make(configured(tmp_path, tmp_path / "build"))
    found = {}
    for output in read(str(build)).outputs:
        subprocess.run(["strip", output.path], check=True)
        name = output.recipe.target
        found[name] = inspect(Artifact(output.path, name, recipe=output.recipe), ["fortify"]).verdict("fortify")
    outcomes = {name: verdict.outcome.value for name, verdict in found.items()}
    assert outcomes == {"good": "pass", "bad": "fail", "foreign": "unknown", "untold": "fail"}
    assert found["bad"].summary.endswith("b.c compiled with -D_FORTIFY_SOURCE=1, below level 2")
    assert found["untold"].summary.endswith("c.c compiled with -U_FORTIFY_SOURCE, which switches FORTIFY off")


def test_level_3_needs_a_compiler_that_has_it(tmp_path: Path, compiler_for: Callable[[str], Compiler]) -> None:
    """gcc-11 takes it for 2, and says nothing where warnings are off."""
    compiler_for("gcc-11")
    built = Built(tmp_path, "gcc-11")
    path = built.link(unit(built, "a", "-O2", "-D_FORTIFY_SOURCE=3"))
    found = built.judge(path, "fortify", level=3)  # type: ignore[arg-type]
    assert (found.outcome, "takes for 2" in found.summary) == (Outcome.UNKNOWN, True)
    assert built.judge(path, "fortify").outcome is Outcome.PASS
