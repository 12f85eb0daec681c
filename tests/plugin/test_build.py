"""`pytest --hardening-build DIR`: what the targets of a CMake build have made, named by target."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.toolchain import shipped_sample_project

from ..cmake_builds import GENERATORS, cmake, configured, make, write_files

if TYPE_CHECKING:
    from tests.plugin.conftest import User

WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
TARGETS = ("AB", "EF", "HOST", "PROGRAM", "SHARED", "plugin")
FILES = {"AB": "AB.a", "EF": "EF.a", "SHARED": "libSHARED.so", "plugin": "plugin.so"}


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory, tool_for: Callable[[str], str]) -> Callable[..., Path]:
    """`sample("parent-scope", "Ninja")`: the sample project built with CMake; not to be changed."""
    for tool in ("cmake", "ninja", "make"):
        tool_for(tool)
    known: dict[tuple[str, str], Path] = {}
    source = shutil.copytree(shipped_sample_project(), tmp_path_factory.mktemp("sample") / "sample_project")

    def sample(break_: str = "", generator: str = GENERATORS[1]) -> Path:
        if (break_, generator) not in known:
            build = tmp_path_factory.mktemp("cmake") / "build"
            known[break_, generator] = make(configured(source, build, f"-DBREAK={break_}", generator=generator))
        return known[break_, generator]

    return sample


@pytest.fixture
def built(user: User, sample: Callable[..., Path]) -> Callable[..., Path]:
    """`built("parent-scope")`: such a build in the user's folder, `build` by name."""

    def built(break_: str = "", generator: str = GENERATORS[1], folder: str = "build") -> Path:
        return shutil.copytree(sample(break_, generator), user.path / folder, copy_function=shutil.copy2, symlinks=True)

    return built


@pytest.mark.parametrize(
    ("generator", "workers"), [*((generator, ()) for generator in GENERATORS), (GENERATORS[1], ("-n2",))]
)
def test_a_hardened_build_is_green(
    user: User, built: Callable[..., Path], generator: str, workers: tuple[str, ...]
) -> None:
    built(generator=generator)
    run = user.run("--hardening-build", "build", "-v", *workers, subprocess=bool(workers))
    assert run.result.ret == pytest.ExitCode.OK
    assert run.having("fail") == set()
    folder = "Debug/" if "Multi" in generator else ""
    if not workers:
        for name in ("SHARED::pic", "PROGRAM::bind-now", "AB::fortify", "plugin::nodlopen"):
            run.result.stdout.fnmatch_lines([f"{folder}{name} PASSED *"])
    targets = {entry["path"]: entry["target"] for entry in run.document["artifacts"]}
    assert targets == {f"build/{folder}{FILES.get(name, name)}": name for name in TARGETS}


def test_nothing_else_in_the_folder_is_judged(user: User, built: Callable[..., Path]) -> None:
    build = built()
    shutil.copy(build / "PROGRAM", build / "stray")
    run = user.run("--hardening-build", "build", "--hardening-check", "pie")
    assert run.having("pass") == {"build/HOST::pie", "build/PROGRAM::pie"}
    both = user.run("--hardening-build", "build", "--hardening", "build", "--hardening-check", "pie")
    assert both.having("pass") == {"build/HOST::pie", "build/PROGRAM::pie", "build/stray::pie"}
    both.result.assert_outcomes(passed=3)


@pytest.mark.parametrize("generator", GENERATORS)
def test_flags_that_only_executables_lost(user: User, built: Callable[..., Path], generator: str) -> None:
    """PARENT_SCOPE twice in one function: the mission of this option."""
    built("parent-scope", generator)
    run = user.run("--hardening-build", "build", "--hardening-check", "bind-now")
    folder = "Debug/" if "Multi" in generator else ""
    assert run.having("fail") == {f"build/{folder}HOST::bind-now", f"build/{folder}PROGRAM::bind-now"}
    run.result.stdout.fnmatch_lines(
        [
            f"*_ {folder}PROGRAM :: bind-now _*",
            f"build/{folder}PROGRAM: not bound at start-up: *",
            "  target PROGRAM: executable,* CMakeLists.txt:36",
            '  link step: no -Wl,-z,now among its options: "-Wl,-z,noexecstack -pie *',
            '  other targets: SHARED, plugin are linked with "-Wl,-z,relro -Wl,-z,now"; PROGRAM is not',
            '  CMAKE_EXE_LINKER_FLAGS: it is "" in the cache, and had none of these options when CMake generated *'
            "PARENT_SCOPE*",
            "  fix: link with -Wl,-z,now: target_link_options(PROGRAM PRIVATE -Wl,-z,now)",
            f"FAILED {folder}PROGRAM::bind-now - not bound at start-up: *",
        ]
    )


PIE = """\
cmake_minimum_required(VERSION 3.14)
project(pie C)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
%s
add_executable(program main.c)
"""


@pytest.fixture
def fixed_gcc(tmp_path: Path) -> Path:
    """A compiler that links no PIE unless it is told to."""
    path = tmp_path / "fixed-gcc"
    path.write_text('#!/bin/sh\nexec gcc -no-pie "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("generator", GENERATORS[:2])
def test_pie_of_the_compile_step_alone(user: User, fixed_gcc: Path, generator: str) -> None:
    options = (f"-DCMAKE_C_COMPILER={fixed_gcc}",)
    source = write_files(user.path / "s", {"CMakeLists.txt": PIE % "", "main.c": "int main(void) { return 0; }\n"})
    make(configured(source, user.path / "b", *options, generator=generator))
    run = user.run("--hardening-build", "b", "--hardening-check", "pie")
    assert run.having("fail") == {"b/program::pie"}
    run.result.stdout.fnmatch_lines(
        [
            "  target program: executable, CMakeLists.txt:5",
            "  link step: no -pie*",
            "  CMake: POSITION_INDEPENDENT_CODE gives -fPIE to the compile step alone; the link step gets -pie only "
            "with policy CMP0083 NEW, include(CheckPIESupported) and check_pie_supported() before CMakeLists.txt:5*",
            "  fix: link with -pie*cmake_policy(SET CMP0083 NEW), include(CheckPIESupported), check_pie_supported() *",
        ]
    )
    supported = "include(CheckPIESupported)\ncheck_pie_supported()"
    write_files(source, {"CMakeLists.txt": PIE % supported})
    make(user.path / "b")
    assert user.run("--hardening-build", "b", "--hardening-check", "pie").having("pass") == {"b/program::pie"}


def test_one_unit_and_the_line_that_spoils_it(user: User, built: Callable[..., Path]) -> None:
    built("stack-protector-unit")
    run = user.run("--hardening-build", "build", "--hardening-check", "stack-protector")
    assert run.having("fail") == {"build/EF.a::stack-protector", "build/PROGRAM::stack-protector"}
    run.result.stdout.fnmatch_lines(
        [
            "*_ EF :: stack-protector _*",
            '  *src/F.c: compiled with "-fno-stack-protector" from cmake/SampleBreaks.cmake:15',
            '  fix: *: take "-fno-stack-protector" away at cmake/SampleBreaks.cmake:15',
            "*_ PROGRAM :: stack-protector _*",
            '  *src/F.c (target EF, CMakeLists.txt:35): compiled with "-fno-stack-protector" from *Breaks.cmake:15',
        ]
    )
    (verdict,) = [v for e in run.document["artifacts"] for v in e["verdicts"] if e["path"] == "build/PROGRAM"]
    assert {"where": "target PROGRAM", "what": "executable, CMakeLists.txt:36"} in verdict["evidence"]


def test_without_a_reply(user: User) -> None:
    source = write_files(user.path / "s", {"CMakeLists.txt": PIE % "", "main.c": "int main(void) { return 0; }\n"})
    cmake("-S", source, "-B", user.path / "b")
    make(user.path / "b")
    run = user.run("--hardening-build", "b", "--hardening-check", "pie")
    reason = f"run `cmake {user.path / 'b'}` (CMake 3.14 or later), and build"
    assert run.errors == {"b": f"CMake has not said yet what its targets are: {reason}"}
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    cmake(user.path / "b")
    assert user.run("--hardening-build", "b", "--hardening-check", "pie").having("pass") == {"b/program::pie"}


@pytest.mark.parametrize(("folder", "reason"), [("nope", "there is no such folder"), ("empty", "not a build folder *")])
def test_what_is_no_build_folder_fails(user: User, folder: str, reason: str) -> None:
    (user.path / "empty").mkdir()
    result = user.pytest("--hardening-build", folder)
    result.stdout.fnmatch_lines([f"{folder}: {reason}", f"FAILED {folder}::artifact - *"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_targets_that_were_not_built(user: User, built: Callable[..., Path]) -> None:
    build = built()
    (build / "PROGRAM").unlink()
    check = ("--hardening-check", "pie")
    run = user.run("--hardening-build", "build", *check)
    assert run.errors == {
        "build/PROGRAM": "not built: build/PROGRAM does not exist; build it, or leave out what is not built: "
        "--hardening-allow-unbuilt"
    }
    run.result.stdout.fnmatch_lines(["FAILED PROGRAM::artifact - not built: *"])
    assert {entry["path"]: entry["target"] for entry in run.document["artifacts"]}["build/PROGRAM"] == "PROGRAM"
    assert run.having("pass") == {"build/HOST::pie"}
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    allowed = user.run("--hardening-build", "build", *check, "--hardening-allow-unbuilt")
    assert allowed.result.ret == pytest.ExitCode.OK
    allowed.result.stdout.fnmatch_lines(["left out: *targets that were not built (1)"])
    for name in ("HOST", "AB.a", "EF.a", "libSHARED.so", "plugin.so"):
        (build / name).unlink()
    nothing = user.run("--hardening-build", "build", *check, "--hardening-allow-unbuilt")
    assert nothing.errors == {"build": "none of its targets was built"}
    assert nothing.result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_target_that_all_does_not_build_is_not_missed(user: User) -> None:
    text = (PIE % "") + "add_executable(extra EXCLUDE_FROM_ALL main.c)\nadd_subdirectory(sub EXCLUDE_FROM_ALL)\n"
    more = {"CMakeLists.txt": text, "sub/CMakeLists.txt": "add_executable(deep ../main.c)\n"}
    source = write_files(user.path / "s", {**more, "main.c": "int main(void) { return 0; }\n"})
    for generator in GENERATORS[:2]:
        build = make(configured(source, user.path / "b", generator=generator))
        run = user.run("--hardening-build", "b", "--hardening-check", "pie")
        assert run.having("pass") == {"b/program::pie"}
        run.result.stdout.fnmatch_lines(["left out: targets that were not built and that `all` does not build (2)"])
        make(build, "--target", "extra")
        run = user.run("--hardening-build", "b", "--hardening-check", "pie")
        assert run.having("pass") == {"b/extra::pie", "b/program::pie"}
        shutil.rmtree(build)


def test_some_targets_only(user: User, built: Callable[..., Path]) -> None:
    built()
    words = ("--hardening-build", "build", "--hardening-check", "pie", "--hardening-check", "pic")
    run = user.run(*words, "--hardening-target", "SHARED", "--hardening-target", "HOST")
    assert run.having("pass") == {"build/HOST::pie", "build/libSHARED.so::pic"}
    run = user.run(*words, "--hardening-target", "SHARED", "--hardening-target", "SHARDE")
    assert run.errors == {"SHARDE": "no such target in the build"}
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED


def test_options_that_need_a_build(user: User) -> None:
    for option in (("--hardening-target", "X"), ("--hardening-allow-unbuilt",)):
        result = user.pytest(*option)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: {option[0]} needs --hardening-build DIR"])
    result = user.pytest("--hardening-build", "")
    result.stderr.fnmatch_lines(["ERROR: --hardening-build needs a build folder: its value is empty"])


def test_last_failed_and_keywords(user: User, built: Callable[..., Path]) -> None:
    built("parent-scope")
    words = ("--hardening-build", "build", "--hardening-check", "bind-now")
    user.pytest(*words).assert_outcomes(failed=2, passed=2)
    user.pytest(*words, "--lf").assert_outcomes(failed=2, deselected=2)
    user.pytest(*words, "-k", "SHARED and bind-now").assert_outcomes(passed=1, deselected=3)
    user.pytest(*words, "--deselect", "PROGRAM::bind-now").assert_outcomes(failed=1, passed=2, deselected=1)


def test_the_ini_file(user: User, built: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    built()
    user.pytester.makeini("[pytest]\nhardening_build = build\nhardening_checks = pie")
    user.pytester.makepyfile(test_own="def test_own(): pass")
    (user.path / "sub").mkdir()
    monkeypatch.chdir(user.path / "sub")
    assert user.run().having("pass") == {"build/HOST::pie", "build/PROGRAM::pie"}
    monkeypatch.chdir(user.path)
    user.pytest("test_own.py::test_own").assert_outcomes(passed=1)
    user.pytest("--hardening-show-policy").stdout.fnmatch_lines(["hardening_build = *build*# tox.ini"])


def test_two_build_folders(user: User, built: Callable[..., Path]) -> None:
    built(folder="one")
    built("bind-now", folder="two")
    words = ("--hardening-build", "one", "--hardening-build", "two", "--hardening-build", "one/../one")
    run = user.run(*words, "--hardening-check", "bind-now")
    run.result.assert_outcomes(passed=4, failed=4)
    run.result.stdout.fnmatch_lines(["FAILED two/PROGRAM::bind-now - *"])


def test_modules_are_plug_ins(user: User, built: Callable[..., Path]) -> None:
    built()

    def profiles(*arguments: str) -> dict[str, str]:
        run = user.run("--hardening-build", "build", *arguments)
        return {entry["path"]: entry["profile"] for entry in run.document["artifacts"]}

    usual = profiles()
    assert usual["build/plugin.so"] == "plugin"
    assert {usual[path] for path in usual if path != "build/plugin.so"} == {"recommended"}
    user.pytest("--hardening-build", "build").stdout.fnmatch_lines(["hardening: *, plugin for MODULE targets: *"])
    assert set(profiles("--hardening-profile", "kms-6.7").values()) == {"kms-6.7"}
    result = user.pytest("--hardening-build", "build", "--hardening-profile", "kms-6.7")
    result.stdout.no_fnmatch_line("*for MODULE targets*")
    user.policy('profile = "kms-6.6"')
    assert profiles()["build/plugin.so"] == "kms-6.6 and plugin"
    user.policy('profile = "kms-6.6"', "[[artifact]]", 'path = "target:plugin"', 'unknown = "fail"')
    assert profiles()["build/plugin.so"] == "kms-6.6"
    shown = user.pytest("--hardening-show-policy")
    shown.stdout.fnmatch_lines(["# MODULE targets of --hardening-build: *plugin demands"])


def test_a_module_needs_both_profiles(user: User, built: Callable[..., Path]) -> None:
    """What the project asks for wins, and nothing that `plugin` asks for besides is lost."""
    built()
    user.policy("[checks]", "fortify = { level = 3 }", "rpath = false")
    run = user.run("--hardening-build", "build", "--hardening-target", "plugin")
    assert "build/plugin.so::rpath" not in run.verdicts
    assert run.verdicts["build/plugin.so::nodlopen"] == "pass"
    assert "build/plugin.so::sanitizers" in run.verdicts
    assert run.verdicts["build/plugin.so::fortify"] != "pass"  # built at level 2


def test_a_module_is_one_also_where_other_targets_are_named(user: User, built: Callable[..., Path]) -> None:
    built()
    run = user.run("--hardening", "build", "--hardening-build", "build", "--hardening-target", "PROGRAM")
    assert {entry["path"]: entry["profile"] for entry in run.document["artifacts"]}["build/plugin.so"] == "plugin"


def test_a_file_that_two_configurations_make(user: User, tool_for: Callable[[str], str]) -> None:
    """Which of them made it is not told: what both say holds, and nothing else."""
    for tool in ("cmake", "ninja"):
        tool_for(tool)
    text = """\
cmake_minimum_required(VERSION 3.18)
project(one C)
add_executable(program main.c)
target_compile_options(program PRIVATE "$<$<CONFIG:Debug>:-Wformat;-Werror=format-security>")
set_target_properties(program PROPERTIES RUNTIME_OUTPUT_DIRECTORY "$<1:${CMAKE_BINARY_DIR}>")
"""
    source = write_files(user.path / "s", {"CMakeLists.txt": text, "main.c": "int main(void) { return 0; }\n"})
    build = configured(source, user.path / "b", "-DCMAKE_C_FLAGS=-g", generator=GENERATORS[2])
    make(build, "--config", "Release")
    words = ("--hardening-build", "b", "--hardening-check", "format-security")
    run = user.run(*words)
    assert run.verdicts == {"b/program::format-security": "unknown"}
    run.result.stdout.fnmatch_lines(["*its source was compiled in several ways*"])


def test_globs_name_targets(user: User, built: Callable[..., Path]) -> None:
    built("bind-now")
    user.policy(
        'exclude = ["target:HOST"]',
        "[checks]",
        "bind-now = {}",
        "[[artifact]]",
        'path = "target:SHAR*"',
        "checks.bind-now = false",
        "[[waiver]]",
        'path = "target:PROGRAM"',
        'checks = ["bind-now", "relro"]',
        'reason = "later"',
    )
    run = user.run("--hardening-build", "build")
    run.result.stdout.fnmatch_lines(["waived build/PROGRAM: bind-now: later (waiver*"])
    run.result.stdout.fnmatch_lines(["left out: *files that hardening.toml excludes (1)*"])
    failing = {"build/PROGRAM::bind-now", "build/PROGRAM::relro", "build/libSHARED.so::relro"}
    assert run.having("fail") == {*failing, "build/plugin.so::bind-now", "build/plugin.so::relro"}
    assert "build/libSHARED.so::bind-now" not in run.verdicts
    assert "build/HOST::pie" not in run.verdicts
    run.result.assert_outcomes(xfailed=2, failed=3, passed=len(run.verdicts) - 5)


@WORKERS
def test_an_unused_waiver_of_a_target(user: User, built: Callable[..., Path], workers: tuple[str, ...]) -> None:
    built()
    user.policy("[[waiver]]", 'path = "target:PROGRAM"', 'checks = ["bind-now"]', 'reason = "later"')
    result = user.pytest("--hardening-build", "build", *workers, subprocess=bool(workers))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["hardening.toml: waiver[[]0[]]: target:PROGRAM, bind-now: covers nothing*"])


def test_a_glob_is_not_unused_because_only_targets_were_judged(user: User, built: Callable[..., Path]) -> None:
    built()
    user.policy("[[waiver]]", 'path = "*.so"', 'checks = ["bind-now"]', 'reason = "of a file that no target makes"')
    assert user.pytest("--hardening-build", "build").ret == pytest.ExitCode.OK
    assert user.pytest("--hardening-build", "build", "--hardening", "build").ret == pytest.ExitCode.TESTS_FAILED


IN_VAIN = """
exclude = ["target:HOTS", "build/third_party/*", "*.tmp"]
[[artifact]]
path = ["target:progg", "target:SHAR*", "build/libSHARED.so", "build/*.data"]
checks.bind-now = false
[[artifact]]
path = "target:PROGRAM"
kind = "shared-library"
unknown = "fail"
[[artifact]]
path = "build/PROGRAMM"
unknown = "fail"
[[waiver]]
path = ["target:nothere", "build/old.so", "elsewhere/*"]
checks = ["bind-now"]
reason = "later"
[[waiver]]
path = "target:SHARED"
checks = ["pie"]
reason = "not judged by it"
"""
NOTES = [
    "exclude[0]: target:HOTS: matches no target of the build",
    "exclude[1]: build/third_party/*: matches no file that was found",
    "exclude[2]: *.tmp: matches no file that was found",
    "artifact[0].path[0]: target:progg: matches no target of the build",
    "artifact[1].path: target:PROGRAM: matches no file that was judged and is of kind shared-library",
    "artifact[2].path: build/PROGRAMM: matches no file that was judged",
    "waiver[0].path[0]: target:nothere: matches no target of the build",
    "waiver[0].path[1]: build/old.so: matches no file that was judged",
    "waiver[1]: target:SHARED: no file that it matches is judged by pie",
]


def notes(result: pytest.RunResult) -> list[str]:
    """The lines on what is unused, without the policy's name."""
    file = "hardening.toml: "
    return [line.removeprefix(file) for line in result.outlines if line.startswith(file)]


@WORKERS
def test_what_matches_nothing_in_a_build(user: User, built: Callable[..., Path], workers: tuple[str, ...]) -> None:
    (built() / "my.data").write_text("of another run: no target makes it")
    user.policy(IN_VAIN)
    result = user.pytest("--hardening-build", "build", *workers, subprocess=bool(workers))
    assert notes(result) == NOTES
    assert result.ret == pytest.ExitCode.OK
    strict = user.pytest("--hardening-build", "build", "--hardening-strict", *workers, subprocess=bool(workers))
    assert notes(strict) == NOTES
    strict.stdout.fnmatch_lines(["each of these fails the run (--hardening-strict)"])
    assert strict.ret == pytest.ExitCode.TESTS_FAILED


def test_what_was_not_judged_is_not_in_vain(user: User, built: Callable[..., Path]) -> None:
    build = built()
    (build / "HOST").unlink()
    user.policy('exclude = "build/stray"', "[[artifact]]", 'path = ["target:HOST", "build/HOST"]', 'unknown = "fail"')
    shutil.copy(build / "PROGRAM", build / "stray")
    words = ("--hardening-build", "build", "--hardening-check", "pie")
    assert notes(user.pytest(*words, "--hardening-allow-unbuilt")) == []
    assert notes(user.pytest(*words, "--hardening-target", "PROGRAM")) == []
    user.policy("[[artifact]]", 'path = "target:HOTS"', 'unknown = "fail"')
    told = ["artifact[0].path: target:HOTS: matches no target of the build"]
    assert notes(user.pytest(*words, "--hardening-target", "PROGRAM")) == told
    (path,) = (build / ".cmake/api/v1/reply").glob("target-HOST-*")
    path.write_text("{")
    assert notes(user.pytest(*words)) == []  # it may be the one that cannot be read, which fails the run


def test_rules_of_targets_do_not_hold_without_a_build(user: User, built: Callable[..., Path]) -> None:
    built()
    rule = ("[[artifact]]", 'path = ["target:PROGRAM", "target:HOST"]')
    words = ("--hardening-check", "pie", "--hardening-check", "build-id")
    user.policy(*rule, "checks.build-id = {}")
    told = "artifact[0].path: target:PROGRAM, target:HOST: does not hold without --hardening-build"
    for given in (("--hardening", "build"), ("build/PROGRAM",)):
        run = user.pytest(*given, *words)
        assert (run.ret, notes(run)) == (pytest.ExitCode.OK, [told])
        strict = user.pytest(*given, *words, "--hardening-strict")
        assert (strict.ret, notes(strict)) == (pytest.ExitCode.TESTS_FAILED, [told])
    assert notes(user.pytest("--hardening", "build", "--hardening-build", "build", *words)) == []
    assert notes(user.pytest("--hardening", "build", "--hardening-check", "pie")) == []
    assert notes(user.pytest("--hardening", "build", *words, "--hardening-profile", "kms-6.7")) == []
    user.policy(*rule, "checks.pie = false")  # without it more is demanded, not less
    assert notes(user.pytest("--hardening", "build", *words)) == []
    user.policy(rule[0], 'path = ["target:PROGRAM", "build/PROGRAM"]', "checks.build-id = {}")
    assert notes(user.pytest("--hardening", "build", *words)) == []


def test_baseline_entries_of_files_that_are_gone(user: User, built: Callable[..., Path]) -> None:
    build = built()
    (build / "HOST").unlink()
    shutil.copy(build / "PROGRAM", build / "stray")
    lines = [f"pie\tbuild/{name}\t-" for name in ("HOST", "gone", "stray")]
    (user.path / "known").write_text("\n".join([*lines, "pie\telsewhere/gone\t-"]))
    words = ("--hardening-build", "build", "--hardening-allow-unbuilt", "--hardening-baseline", "known")
    result = user.pytest(*words)
    result.stdout.fnmatch_lines(["known: 1 entry not needed any more: *", "- build/gone::pie (no such file any more)"])
    assert user.pytest(*words, "--hardening-strict").ret == pytest.ExitCode.TESTS_FAILED


def test_the_baseline(user: User, built: Callable[..., Path]) -> None:
    built("parent-scope")
    words = ("--hardening-build", "build", "--hardening-baseline", "known")
    user.pytest(*words, "--hardening-update-baseline")
    assert user.pytest(*words).ret == pytest.ExitCode.OK
    assert user.pytest("--hardening", "build", *words[2:]).ret == pytest.ExitCode.OK  # the same files by path


def test_compared_with_an_older_build(user: User, built: Callable[..., Path]) -> None:
    built(folder="old")
    built("parent-scope")
    words = ("--hardening-build", "build", "--hardening-compare", "old", "--hardening-check", "bind-now")
    run = user.run(*words)
    run.result.stdout.fnmatch_lines(["FAILED PROGRAM::keeps-bind-now - *"])
    run.result.assert_outcomes(failed=2, passed=2)


def test_a_damaged_target_is_a_problem_and_the_others_are_judged(user: User, built: Callable[..., Path]) -> None:
    build = built()
    (path,) = (build / ".cmake/api/v1/reply").glob("target-HOST-*")
    path.write_text("{")
    run = user.run("--hardening-build", "build", "--hardening-check", "pie")
    assert run.having("pass") == {"build/PROGRAM::pie"}
    ((name, reason),) = run.errors.items()
    assert name == "build: HOST"
    assert reason.startswith("CMake's reply is damaged: target-HOST-")


def test_a_file_outside_of_the_build_tree_that_is_no_elf_file(user: User, built: Callable[..., Path]) -> None:
    build = built()
    (path,) = (build / ".cmake/api/v1/reply").glob("target-HOST-*")
    data = json.loads(path.read_text())
    data["artifacts"] = [{"path": "/etc/passwd"}]
    path.write_text(json.dumps(data))
    run = user.run("--hardening-build", "build", "--hardening-check", "pie")
    assert run.errors == {"HOST": "not an ELF file"}


_NOWHERE = "-DPYTEST_HARDENING_PYTHON=/nowhere/python"
CTEST = """\
cmake_minimum_required(VERSION 3.14)
project(tested C)
enable_testing()
find_package(PytestHardening REQUIRED)
add_executable(program main.c)
add_library(plugin MODULE plugin.c)
add_library(an::alias ALIAS plugin)
pytest_hardening_add_test(TARGETS an::alias PROFILE own.toml)
pytest_hardening_add_test(NAME all CHECKS pie build-id ARGS -v)
"""


@pytest.mark.parametrize("generator", [GENERATORS[0], GENERATORS[2]])
def test_the_cmake_module(user: User, generator: str, tool_for: Callable[[str], str]) -> None:
    tool_for("ctest")
    contents = {
        "CMakeLists.txt": CTEST,
        "own.toml": "[checks]\nnodlopen = { expect = 'forbidden' }\n",
        "main.c": "int main(void) { return 0; }\n",
        "plugin.c": "int f(void) { return 0; }\n",
        "test_own.py": "raise RuntimeError('nobody asked for this file')\n",
    }
    source = write_files(user.path / "s", contents)
    folder = subprocess.run(
        [sys.executable, "-m", "pytest_hardening", "--cmake-dir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert Path(folder) == Path(str(files("pytest_hardening") / "cmake"))
    build = user.path / "b"
    cmake(
        *("-G", generator, "-S", source, "-B", build, f"-DPytestHardening_DIR={folder}"),
        f"-DPYTEST_HARDENING_PYTHON={sys.executable}",
    )
    make(build)
    ctest = ["ctest", "--output-on-failure", "-C", "Debug"]
    first = subprocess.run(ctest, cwd=build, capture_output=True, text=True, check=False)
    assert "100% tests passed" in first.stdout, first.stdout
    cmake(build)  # now CMake has answered, and need not be asked before the tests
    second = subprocess.run([*ctest, "-V"], cwd=build, capture_output=True, text=True, check=False)
    assert "100% tests passed" in second.stdout, second.stdout
    assert "ask_cmake" not in second.stdout
    assert "1 passed" in second.stdout
    prefix = "Debug/" if "Multi" in generator else ""
    assert f"{prefix}program::pie PASSED" in second.stdout
    wrong = subprocess.run(
        ["cmake", *("-S", source, "-B", user.path / "c", f"-DPytestHardening_DIR={folder}"), _NOWHERE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode != 0
    assert "PYTEST_HARDENING_PYTHON" in wrong.stderr


def test_the_object_that_makes_the_stack_executable(user: User, built: Callable[..., Path]) -> None:
    built("nx-stack")
    run = user.run("--hardening-build", "build", "--hardening-check", "nx-stack", "--hardening-target", "SHARED")
    assert run.having("fail") == {"build/libSHARED.so::nx-stack"}
    objects = "build/CMakeFiles/SHARED.dir/src/break_nx_stack.S.o"
    told = [line for line in run.result.outlines if line.startswith("  objects: ")]
    assert told == [f"  objects: {objects} asks for it"]
