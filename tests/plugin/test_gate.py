"""`pytest --hardening build`: what is collected, what fails, what is printed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.checks.base import Check
from pytest_hardening.checks.registry import get_check
from pytest_hardening.model import Verdict

if TYPE_CHECKING:
    from tests.plugin.conftest import User

WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
LINKED = ["HOST", "PROGRAM", "libSHARED.so", "plugin.so"]
ARCHIVES = ["AB.a", "EF.a"]
FOR_ALL = ["nx-stack", "rwx-segments", "stack-protector", "fortify"]
FOR_LINKED = [*FOR_ALL, "text-relocations", "relro", "bind-now", "rpath"]
ITEMS = {
    "AB.a": [*FOR_ALL, "pic"],
    "EF.a": [*FOR_ALL, "pic"],
    "HOST": [*FOR_LINKED, "pie"],
    "PROGRAM": [*FOR_LINKED, "pie"],
    "libSHARED.so": [*FOR_LINKED, "pic"],
    "plugin.so": [*FOR_LINKED, "pic"],
}


def test_hardened_build_is_green(user: User) -> None:
    user.build()
    run = user.run("--hardening", "build")
    assert run.result.ret == pytest.ExitCode.OK
    assert set(run.verdicts) == {f"build/{name}::{check}" for name, checks in ITEMS.items() for check in checks}
    assert run.having("fail") == set()
    assert run.errors == {}
    for name in LINKED:
        assert {run.verdicts[f"build/{name}::{check}"] for check in ITEMS[name]} == {"pass"}


@pytest.mark.parametrize(
    ("break_", "files", "checks"),
    [
        ("pie-link", ["PROGRAM", "HOST"], ["pie"]),
        ("relro", LINKED, ["relro"]),
        ("bind-now", LINKED, ["bind-now"]),
        ("stack-protector", [*LINKED, *ARCHIVES], ["stack-protector"]),
        ("fortify", [*LINKED, *ARCHIVES], ["fortify"]),
        ("nx-stack", ["PROGRAM", "libSHARED.so"], ["nx-stack"]),
        ("rwx-segments", ["PROGRAM", "libSHARED.so"], ["rwx-segments"]),
        ("rpath", ["PROGRAM", "libSHARED.so"], ["rpath"]),
    ],
)
def test_lost_mitigation_is_red(user: User, break_: str, files: list[str], checks: list[str]) -> None:
    user.build("broken", break_)
    run = user.run("--hardening", "broken", "--hardening-profile", "recommended")
    expected = {f"broken/{name}::{check}" for name in files for check in checks}
    # without immediate binding, RELRO is only partial: one flag, two of the profile's requirements
    expected |= {f"broken/{name}::relro" for name in files} if break_ == "bind-now" else set()
    assert run.having("fail") == expected
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    failed = [line for line in run.result.outlines if line.startswith("FAILED ")]
    assert {line.split(" - ")[0].removeprefix("FAILED ") for line in failed} == expected
    assert all(" - broken/" not in line for line in failed)  # the id names the file already


def test_one_object_of_an_archive_names_the_culprit(user: User) -> None:
    user.build("broken", "pic-member")
    run = user.run("--hardening", "broken")
    assert run.having("fail") == {
        "broken/AB.a::pic",
        "broken/libSHARED.so::pic",
        "broken/libSHARED.so::text-relocations",
    }
    run.result.stdout.fnmatch_lines(
        ["broken/AB.a: 1 of 2 members (B.o): *", "  culprits: B.o", "  fix: compile this unit with -fPIC*"]
    )
    members = {entry["member"]: entry for entry in run.document["artifacts"] if entry["path"] == "broken/AB.a"}
    outcomes = {
        name: next(verdict["outcome"] for verdict in entry["verdicts"] if verdict["check"] == "pic")
        for name, entry in members.items()
    }
    assert outcomes == {None: "fail", "A.o": "pass", "B.o": "fail"}


def test_failure_says_evidence_and_fix_without_a_traceback(user: User) -> None:
    user.build("broken", "bind-now")
    result = user.pytest("--hardening", "broken/PROGRAM", "--hardening-check", "bind-now")
    result.stdout.fnmatch_lines(
        [
            "*_ broken/PROGRAM :: bind-now _*",
            "broken/PROGRAM: not bound at start-up*",
            "  dynamic section: *",
            "  fix: link with -Wl,-z,now",
            "  why: python -m pytest_hardening explain bind-now",
            "*= hardening: recommended =*",
            "artifact        bind-now",
            "broken/PROGRAM  FAIL",
            "1 artifact: 1 failed",
            "FAILED broken/PROGRAM::bind-now - not bound at start-up*",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_hardening/*")


def test_tb_line_is_one_line(user: User) -> None:
    user.build("broken", "bind-now")
    result = user.pytest("--hardening", "broken/PROGRAM", "--hardening-check", "bind-now", "--tb=line")
    result.stdout.fnmatch_lines(["broken/PROGRAM:0: not bound at start-up: *"])
    assert str(result.stdout).count("not bound at start-up") == 2  # there, and in the short summary
    result.stdout.no_fnmatch_line("  fix: *")


def test_header_of_some_checks_names_no_profile_that_may_not_require_them(user: User) -> None:
    user.build()
    words = ["--hardening", "build/PROGRAM", "--hardening-check", "build-id"]
    user.pytest(*words).stdout.fnmatch_lines(["hardening: 1 check: build-id"])
    chosen = user.pytest(*words, "--hardening-check", "pie", "--hardening-profile", "kms-6.7", "--hardening-strict")
    chosen.stdout.fnmatch_lines(["hardening: profile kms-6.7, 2 checks, strict: pie, build-id"])


@WORKERS
def test_a_run_in_which_no_check_applied_is_red(user: User, workers: tuple[str, ...]) -> None:
    """Only the sections say that no function needs stack-clash protection: at collection nobody knows."""
    user.build()
    words = ["--hardening-check", "glibcxx-assertions", *workers]
    run = user.run("--hardening", "build/libSHARED.so", *words, subprocess=True)
    assert run.verdicts == {"build/libSHARED.so::glibcxx-assertions": "not-applicable"}
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    run.result.stdout.fnmatch_lines(
        [
            "- build/libSHARED.so: glibcxx-assertions: *",
            "1 artifact: no check applies",
            "nothing was judged: no required check applies to any file that was given (glibcxx-assertions)",
        ]
    )
    among_others = user.run("--hardening", "build/libSHARED.so", *words, "--hardening-check", "pic", subprocess=True)
    assert among_others.result.ret == pytest.ExitCode.OK
    among_others.result.stdout.no_fnmatch_line("nothing was judged*")


def test_header_names_the_profile(user: User) -> None:
    user.build()
    result = user.pytest("--hardening", "build", "--hardening-profile", "kms-6.6", "--hardening-strict")
    result.stdout.fnmatch_lines(
        ["hardening: profile kms-6.6 (4 checks, strict): relro, stack-protector, fortify, format-security"]
    )
    user.pytest("--hardening", "build", "-q").stdout.no_fnmatch_line("hardening: profile*")
    user.pytest().stdout.no_fnmatch_line("*hardening:*")


def test_table_shows_all_when_verbose(user: User) -> None:
    user.build()
    arguments = ["--hardening", "build", "--hardening-check", "pie", "--hardening-check", "pic"]
    user.pytest(*arguments).stdout.no_fnmatch_line("artifact  *")
    user.pytest(*arguments, "-v").stdout.fnmatch_lines(
        [
            "build/AB.a::pic PASSED *",
            "artifact            pie   pic",
            "build/AB.a                ok",
            "build/EF.a                ok",
            "build/HOST          ok",
            "build/PROGRAM       ok",
            "build/libSHARED.so        ok",
            "build/plugin.so           ok",
            "6 artifacts: 6 ok",
        ]
    )


@pytest.mark.parametrize("folder", ["build", "dist", "out/build/debug"])
def test_folders_that_pytest_leaves_out_are_walked(user: User, folder: str) -> None:
    user.build(folder)
    run = user.run("--hardening", folder.partition("/")[0], "--hardening-check", "pie")
    assert run.having("pass") == {f"{folder}/PROGRAM::pie", f"{folder}/HOST::pie"}


def test_paths_repeat_and_a_file_is_judged_once(user: User) -> None:
    build = user.build()
    (build / "PROGRAM.link").symlink_to("PROGRAM")
    (user.path / "again").mkdir()
    (user.path / "again/PROGRAM.hard").hardlink_to(build / "PROGRAM")
    (user.path / "link").symlink_to("build")
    paths = ["build/PROGRAM.link", "build", "again", "build/PROG*", "link", "link/PROGRAM"]
    run = user.run(*(word for path in paths for word in ("--hardening", path)), "--hardening-check", "pie")
    assert run.having("pass") == {"build/PROGRAM::pie", "build/HOST::pie"}
    run.result.assert_outcomes(passed=2)


def test_objects_only_when_asked_for(user: User) -> None:
    user.build()
    check = ("--hardening-check", "nx-stack")
    user.pytest("--hardening", "build", *check).stdout.fnmatch_lines(["left out: objects (10)"])
    assert len(user.run("--hardening", "build", *check, "--hardening-objects").verdicts) == 16
    assert set(user.run("--hardening", "build/A.o", *check).verdicts) == {"build/A.o::nx-stack"}
    assert len(user.run("--hardening", "build/*.o", *check).verdicts) == 10


def test_probes_of_build_systems_are_counted(user: User) -> None:
    build = user.build()
    places = [
        "CMakeFiles/3.25.1/CompilerIdC/a.out",
        "CMakeFiles/3.25.1/CMakeDetermineCompilerABI_C.bin",
        "CMakeFiles/CMakeScratch/TryCompile-x/cmTC_1f",
        "meson-private/sanitycheckc.exe",
        "conftest",
    ]
    for place in places:
        (build / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(build / "PROGRAM", build / place)
    (build / "CMakeFiles/PROGRAM.dir").mkdir()
    shutil.copy(build / "plugin.so", build / "CMakeFiles/PROGRAM.dir/real.so")
    run = user.run("--hardening", "build", "--hardening-check", "bind-now")
    assert {name.partition("::")[0] for name in run.verdicts} == {
        *(f"build/{name}" for name in LINKED),
        "build/CMakeFiles/PROGRAM.dir/real.so",
    }
    run.result.stdout.fnmatch_lines(["left out: * probes of the build system (5)"])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nope", "does not exist"),
        ("PROGRAM/nope", "does not exist"),
        ("x" * 300, "does not exist"),
        ("*.so", "matches no file"),
        ("empty", "a folder without linked ELF files or static archives"),
        ("empty/**", "matches no linked ELF files or static archives"),
        (
            "objects",
            "a folder without linked ELF files or static archives; left out: objects (1) "
            "(judge objects with --hardening-objects)",
        ),
    ],
)
def test_nothing_matched_is_never_green(user: User, path: str, reason: str) -> None:
    build = user.build()
    (user.path / "empty").mkdir()
    (user.path / "objects").mkdir()
    shutil.copy(build / "A.o", user.path / "objects")
    shutil.copy(build / "PROGRAM", user.path)
    run = user.run("--hardening", path, "--hardening", "build", "--hardening-check", "pie")
    assert run.errors == {path: reason}
    assert run.having("pass") == {"build/PROGRAM::pie", "build/HOST::pie"}
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    assert user.pytest("--hardening", path).ret == pytest.ExitCode.TESTS_FAILED


def test_a_path_that_leads_nowhere_says_where_it_was_looked_for(user: User) -> None:
    user.pytester.makeini("[pytest]\nhardening_paths = *.so")
    result = user.pytest("--hardening", "buidl", "--hardening", "/nowhere/buidl")
    result.stdout.fnmatch_lines([f"buidl: does not exist below {user.path}"])
    result.stdout.fnmatch_lines(["/nowhere/buidl: does not exist"])
    result.stdout.fnmatch_lines(["2 artifacts: 2 could not be judged"])
    run = user.run()
    run.result.stdout.fnmatch_lines([f"[*].so: matches no file below {user.path} (hardening_paths in tox.ini)"])
    assert run.errors == {"*.so": "matches no file"}  # the report is the same on every machine


def test_files_without_a_required_check_are_never_green(user: User) -> None:
    user.build()
    run = user.run("--hardening", "build/*.a", "--hardening-check", "pie")
    assert run.errors == {"build/*.a": "nothing in it that the required checks apply to (pie)"}
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    run = user.run("--hardening", "build", "--hardening-check", "pie")
    assert run.errors == {}
    run.result.stdout.fnmatch_lines(["left out: files that no required check applies to (4), objects (10)"])


def test_node_ids_are_relative_to_the_root_folder(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    user.pytester.makeini("[pytest]")
    build = user.build()
    monkeypatch.chdir(build)
    run = user.run("--hardening", "PROGRAM", "--hardening", "../build/HOST", "--hardening-check", "pie")
    assert run.having("pass") == {"build/PROGRAM::pie", "build/HOST::pie"}


def test_files_outside_the_root_folder_have_absolute_names(user: User, tmp_path: Path) -> None:
    shutil.copy(user.build() / "PROGRAM", tmp_path / "tool")
    run = user.run(f"--hardening={tmp_path}", "--hardening-check", "pie")
    assert run.having("pass") == {f"{tmp_path}/tool::pie"}


def test_items_stand_beside_ordinary_tests(user: User) -> None:
    user.build()
    user.pytester.makepyfile(test_them="def test_it(): pass\ndef test_other(): pass")
    arguments = ["--hardening", "build", "--hardening-check", "pie"]
    user.pytest(*arguments).assert_outcomes(passed=4)
    user.pytest(*arguments, "-m", "hardening").assert_outcomes(passed=2, deselected=2)
    user.pytest(*arguments, "-m", "not hardening").assert_outcomes(passed=2, deselected=2)
    user.pytest(*arguments, "-k", "PROGRAM").assert_outcomes(passed=1, deselected=3)
    user.pytest(*arguments, "-k", "test_it or HOST").assert_outcomes(passed=2, deselected=2)
    user.pytest(*arguments, "--deselect", "build/HOST::pie").assert_outcomes(passed=3, deselected=1)


def test_only_selected_checks_are_run(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    def judge(check: Check, *_: object) -> Verdict:
        judged.append(check.name)
        return check.passed("judged")

    for name in ("relro", "bind-now"):
        monkeypatch.setattr(type(get_check(name)), "judge", judge)
    user.build()
    run = user.run("--hardening", "build", "-k", "bind-now")
    assert {name.rpartition("::")[2] for name in run.verdicts} == set(judged) == {"bind-now"}
    assert len(judged) == 4


def test_unknown_is_shown_and_fails_only_when_strict(user: User, bitcode_archive: Callable[[Path], None]) -> None:
    bitcode_archive(user.path / "lto.a")
    arguments = ["--hardening", "lto.a", "--hardening-check", "pic"]
    run = user.run(*arguments, "-v")
    assert run.verdicts == {"lto.a::pic": "unknown"}
    assert run.result.ret == pytest.ExitCode.OK
    run.result.stdout.fnmatch_lines(
        [
            "lto.a::pic UNKNOWN *",
            "artifact  pic",
            "lto.a     ?",
            "[?] lto.a: pic: 1 of 1 members (unit.o): LLVM bitcode*",
            "1 artifact: 1 unknown (?)",
            "*= 1 unknown in *",
        ]
    )
    strict = user.run(*arguments, "--hardening-strict")
    assert strict.verdicts == run.verdicts
    assert strict.result.ret == pytest.ExitCode.TESTS_FAILED
    unknown = "unknown, which --hardening-strict counts as a failure: 1 of 1 members*"
    strict.result.stdout.fnmatch_lines([f"lto.a: {unknown}", "FAILED lto.a::pic - unknown, which --hardening-strict *"])
    user.pytester.makeini("[pytest]\nhardening_strict = yes")
    user.pytest(*arguments).stdout.fnmatch_lines(["lto.a: unknown, which hardening_strict counts as a failure: *"])
    user.policy('unknown = "fail"')
    user.pytest(*arguments).stdout.fnmatch_lines(["lto.a: unknown, which the policy counts as a failure: *"])


def test_reasons_of_many_unknown_are_cut_unless_verbose(user: User, bitcode_archive: Callable[[Path], None]) -> None:
    for number in range(12):
        bitcode_archive(user.path / f"{number:02}.a")
    arguments = ["--hardening", "*.a", "--hardening-check", "pic"]
    user.pytest(*arguments).stdout.fnmatch_lines(["[?] 09.a: *", "[?] ... and 2 more; -v shows all", "12 artifacts: *"])
    user.pytest(*arguments, "-v").stdout.fnmatch_lines(["[?] 11.a: *", "12 artifacts: *"], consecutive=True)


def test_checks_of_recorded_files_make_no_item_of_others(user: User) -> None:
    """The file's commands are not known here: --hardening-strict has nothing to complain about."""
    user.build()
    run = user.run("--hardening", "build/PROGRAM", "--hardening-profile", "kms-6.6", "--hardening-strict")
    assert run.result.ret == 0
    assert set(run.verdicts) == {f"build/PROGRAM::{check}" for check in ("relro", "stack-protector", "fortify")}
