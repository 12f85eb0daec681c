"""The baseline in a run: old failures pass, new ones do not, and the file follows what was judged."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_hardening.fixtures import CompileC
    from tests.plugin.conftest import User

X = "build/libX.so::stack-protector"
Y = "build/libY.so::relro"
POLICY = 'profile = "kms-6.6"\nbaseline = "known.txt"'
COPY = "stack-protector\tbuild/libX.so\tF.c: copy()"
GROW = "stack-protector\tbuild/libX.so\tF.c: grow()"
RELRO = "relro\tbuild/libY.so\t-"
GONE = "relro\tbuild/libX.so\t-"


@pytest.fixture
def known(legacy: User) -> Path:
    """The baseline's file, not yet there."""
    legacy.policy(POLICY)
    return legacy.path / "known.txt"


def entries(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_update_writes_what_fails_and_later_runs_pass(legacy: User, known: Path, workers: list[str]) -> None:
    result = legacy.pytest("--hardening", "build", "--hardening-update-baseline", *workers)
    result.stdout.fnmatch_lines(
        [
            "*= hardening: baseline =*",
            "known.txt: 3 entries, 3 added, 0 removed",
            "+ build/libY.so::relro",
            "+ build/libX.so::stack-protector: F.c: copy()",
            "+ build/libX.so::stack-protector: F.c: grow()",
        ]
    )
    assert result.ret == pytest.ExitCode.OK
    assert entries(known) == [RELRO, COPY, GROW]
    assert {path.name for path in legacy.path.iterdir() if "known" in path.name} == {"known.txt"}
    run = legacy.run("--hardening", "build", "-rx", *workers)
    assert run.result.ret == pytest.ExitCode.OK
    assert run.having("fail") == {X, Y}
    run.result.stdout.fnmatch_lines(
        ["2 artifacts: 2 ok, 2 unknown (?), 2 in the baseline", f"XFAIL {X} - in the baseline known.txt"]
    )
    before = known.read_bytes()
    again = legacy.pytest("--hardening", "build", "--hardening-update-baseline", *workers)
    again.stdout.fnmatch_lines(["known.txt: 3 entries, 0 added, 0 removed"])
    assert known.read_bytes() == before


def test_new_culprits_alone_are_named(legacy: User, known: Path) -> None:
    known.write_text(f"{RELRO}\n{COPY}\n", "utf-8")
    result = legacy.pytest("--hardening", "build")
    result.stdout.fnmatch_lines(
        [
            "build/libX.so: stack-protector: F.c: grow() besides what is accepted",
            "  1 more in the baseline known.txt",
            f"FAILED {X} - *",
        ]
    )
    result.assert_outcomes(failed=1, xfailed=1, passed=2)
    assert entries(known) == [RELRO, COPY]


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_entries_that_are_gone_are_told_and_fail_only_when_strict(
    legacy: User, known: Path, workers: list[str]
) -> None:
    known.write_text("\n".join((RELRO, GONE, COPY, GROW)), "utf-8")
    arguments = ["--hardening", "build", "-k", "not fortify", *workers]  # fortify is unknown, which strict refuses
    result = legacy.pytest(*arguments)
    told = ["known.txt: 1 entry not needed any more*: run with --hardening-update-baseline", "- build/libX.so::relro"]
    result.stdout.fnmatch_lines(told)
    assert result.ret == pytest.ExitCode.OK
    strict = legacy.pytest(*arguments, "--hardening-strict")
    strict.stdout.fnmatch_lines(told)
    strict.assert_outcomes(xfailed=2, passed=2)
    assert strict.ret == pytest.ExitCode.TESTS_FAILED
    legacy.pytest(*arguments, "--hardening-update-baseline").stdout.fnmatch_lines(["- build/libX.so::relro"])
    assert entries(known) == [RELRO, COPY, GROW]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hardening", "build", "-k", "libX and stack-protector"],
        ["--hardening", "build", "--hardening-check", "stack-protector"],
        ["--hardening", "build/libX.so", "--deselect", "build/libX.so::relro"],
        ["--hardening", "build", "build/libX.so::stack-protector"],
    ],
)
def test_entries_of_what_is_not_judged_stay(legacy: User, known: Path, arguments: list[str]) -> None:
    known.write_text("\n".join((RELRO, GONE, COPY)), "utf-8")
    legacy.pytest(*arguments, "--hardening-strict").stdout.no_fnmatch_line("*not needed any more*")
    legacy.pytest(*arguments, "--hardening-update-baseline")
    assert entries(known) == [GONE, RELRO, COPY, GROW]


def test_last_failed_updates_what_it_runs(legacy: User, known: Path) -> None:
    known.write_text(GONE, "utf-8")
    legacy.pytest("--hardening", "build")
    result = legacy.pytest("--hardening", "build", "--lf", "--hardening-update-baseline")
    result.assert_outcomes(xfailed=2, deselected=4)
    assert entries(known) == [GONE, RELRO, COPY, GROW]


def test_nothing_is_written_by_collect_only(legacy: User, known: Path) -> None:
    legacy.pytest("--hardening", "build", "--hardening-update-baseline", "--collect-only")
    assert not known.exists()


def test_nothing_is_written_when_nothing_was_run(legacy: User, known: Path) -> None:
    result = legacy.pytest("--hardening", "build", "--hardening-update-baseline", "-k", "nothing")
    result.stdout.fnmatch_lines(["baseline known.txt: not written, as the run did not come to its end"])
    assert not known.exists()


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_nothing_is_written_when_the_run_is_interrupted(legacy: User, known: Path, workers: list[str]) -> None:
    known.write_text(GONE, "utf-8")
    (legacy.path / "test_slow.py").write_text(
        "import pathlib, time\ndef test_slow():\n    pathlib.Path('started').touch()\n    time.sleep(60)\n", "utf-8"
    )
    command = [sys.executable, "-m", "pytest", "--hardening=build", "--hardening-update-baseline", "test_slow.py"]
    # a shell starts what runs in its background with SIGINT ignored, and children inherit that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen([*command, *workers], cwd=legacy.path, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        while not (legacy.path / "started").exists():
            assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=50)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "baseline known.txt: not written, as the run did not come to its end" in output
    assert entries(known) == [GONE]


def test_missing_or_malformed_baseline_is_a_usage_error(legacy: User, known: Path) -> None:
    result = legacy.pytest("--hardening", "build")
    result.stderr.fnmatch_lines(
        ["*baseline known.txt: cannot be read: No such file*--hardening-update-baseline makes it"]
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    known.write_text("relro\nrelo\ta\t-\n", "utf-8")
    for update in ([], ["--hardening-update-baseline"]):
        result = legacy.pytest("--hardening", "build", *update)
        result.stderr.fnmatch_lines(["*known.txt, line 1: *", "*known.txt, line 2: *"])
        assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert known.read_text("utf-8").startswith("relro\nrelo")


def test_command_line_wins_over_policy_file_and_that_over_ini(legacy: User) -> None:
    for name, text in {"command.txt": f"{RELRO}\n{COPY}\n{GROW}", "policy.txt": "relo", "ini.txt": "relo"}.items():
        (legacy.path / name).write_text(text, "utf-8")
    (legacy.path / "pytest.ini").write_text("[pytest]\nhardening_baseline = ini.txt\n", "utf-8")
    legacy.pytest("--hardening", "build").stderr.fnmatch_lines(["*baseline ini.txt, line 1*"])
    legacy.policy('profile = "kms-6.6"\nbaseline = "policy.txt"')
    legacy.pytest("--hardening", "build").stderr.fnmatch_lines(["*baseline policy.txt, line 1*"])
    assert legacy.pytest("--hardening", "build", "--hardening-baseline", "command.txt").ret == pytest.ExitCode.OK


def test_update_needs_a_file_and_something_to_judge(legacy: User) -> None:
    result = legacy.pytest("--hardening", "build", "--hardening-update-baseline")
    result.stderr.fnmatch_lines(["*there is no baseline; name it with --hardening-baseline FILE*"])
    nothing = legacy.pytest("--hardening-update-baseline")
    nothing.stderr.fnmatch_lines(["*--hardening-update-baseline needs --hardening PATH*"])
    assert result.ret == nothing.ret == pytest.ExitCode.USAGE_ERROR


def test_file_that_cannot_be_written_is_an_error(legacy: User) -> None:
    legacy.policy('profile = "kms-6.6"\nbaseline = "none/known.txt"')
    result = legacy.pytest("--hardening", "build", "--hardening-update-baseline")
    result.stdout.fnmatch_lines(["baseline not written: *none/known.txt: No such file or directory"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_file_outside_the_project_is_not_written(
    legacy: User, known: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "libY.so"
    (legacy.path / "build" / "libY.so").rename(outside)
    arguments = [f"--hardening={outside}", f"--rootdir={legacy.path}", "--hardening-update-baseline"]
    result = legacy.pytest(*arguments)
    result.stdout.fnmatch_lines(["1 not written: of files outside the project, which have no lasting name"])
    result.stdout.fnmatch_lines([f"FAILED {outside}::relro - *"])
    result.stdout.no_fnmatch_line("*new in the baseline*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert entries(known) == []


def test_members_of_an_archive_are_entries(user: User) -> None:
    user.build("build", "pic-member")
    arguments = ["--hardening", "build/AB.a", "--hardening-check", "pic", "--hardening-baseline", "known.txt"]
    user.pytest(*arguments, "--hardening-update-baseline")
    assert entries(user.path / "known.txt") == ["pic\tbuild/AB.a\tB.o"]
    assert user.pytest(*arguments).ret == pytest.ExitCode.OK


def test_functions_without_a_name_are_known_as_a_whole(user: User, build: CompileC) -> None:
    source = "void sink(char *);\nint copy(const char *s) { char b[64]; b[0] = *s; sink(b); return b[0]; }"
    flags = ["-O2", "-fPIC", "-fvisibility=hidden", "-fno-stack-protector"]
    shutil.copy(build({"F.c": source}, "shared-library", flags, ["-s"], name="libX.so"), user.path)
    arguments = ["--hardening", "libX.so", "--hardening-check", "stack-protector", "--hardening-baseline", "known.txt"]
    run = user.run(*arguments, "--hardening-update-baseline")
    culprits = run.document["artifacts"][0]["verdicts"][0]["culprits"]
    assert len(culprits) == 1
    assert culprits[0].startswith("0x")
    assert entries(user.path / "known.txt") == ["stack-protector\tlibX.so\t-"]
    assert user.pytest(*arguments).ret == pytest.ExitCode.OK


BUFFER = "void sink(char *);\n\n__attribute__((noinline)) {0}int {1}(const char *s)\n"
BUFFER += "{{ char b[64]; b[0] = *s; sink(b); return b[0]; }}\n"


@pytest.fixture
def link(user: User, tool_for: Callable[[str], str]) -> Callable[..., None]:
    """`link({"core/util.c": text}, bare=["core/util.c"])`: libX.so of sources with absolute paths."""

    def link(sources: dict[str, str], bare: list[str], elsewhere: bool = False, archive: bool = False) -> None:
        objects = []
        for name, text in sources.items():
            path = user.path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
            flag = "-fno-stack-protector" if name in bare else "-fstack-protector-strong"
            objects.append(path.with_suffix(".o"))
            moved = [f"-fdebug-prefix-map={user.path}=/elsewhere"] if elsewhere else []
            options = ["-c", "-g", *moved, "-O2", "-fPIC", flag, "-o", str(objects[-1])]
            subprocess.run([tool_for("gcc"), *options, str(path)], check=True)
        if archive:
            subprocess.run([tool_for("ar"), "qcS", str(user.path / "X.a"), *map(str, objects)], check=True)
        else:
            subprocess.run(
                [tool_for("gcc"), "-shared", "-o", str(user.path / "libX.so"), *map(str, objects)], check=True
            )

    return link


PROTECTED = ["--hardening-check", "stack-protector", "--hardening-baseline", "known.txt"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_units_of_one_name_are_two(user: User, link: Callable[..., None], elsewhere: bool) -> None:
    sources = {
        f"{name}/util.c": BUFFER.format("static ", "init") + f"int {name}(const char *s) {{ return init(s) + 1; }}\n"
        for name in ("core", "net")
    }
    link(sources, ["core/util.c"], elsewhere)
    arguments = ["--hardening", "libX.so", *PROTECTED]
    user.pytest(*arguments, "--hardening-update-baseline")
    unit = "util.c" if elsewhere else "core/util.c"
    assert entries(user.path / "known.txt") == [f"stack-protector\tlibX.so\t{unit}: init()"]
    assert user.pytest(*arguments).ret == pytest.ExitCode.OK
    link(sources, ["core/util.c", "net/util.c"], elsewhere)
    result = user.pytest(*arguments)
    new = "util.c: init() #2" if elsewhere else "net/util.c: init()"
    result.stdout.fnmatch_lines([f"libX.so: stack-protector: {new} besides what is accepted"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    link(sources, ["net/util.c"], elsewhere)
    moved = user.pytest(*arguments)
    # outside the project folders have no lasting names
    assert moved.ret == (pytest.ExitCode.OK if elsewhere else pytest.ExitCode.TESTS_FAILED)


def test_new_function_of_a_known_member_fails(user: User, link: Callable[..., None]) -> None:
    link({"util.c": BUFFER.format("", "init")}, ["util.c"], archive=True)
    arguments = ["--hardening", "X.a", *PROTECTED]
    user.pytest(*arguments, "--hardening-update-baseline")
    assert entries(user.path / "known.txt") == ["stack-protector\tX.a\tutil.o: init()"]
    assert user.pytest(*arguments).ret == pytest.ExitCode.OK
    (user.path / "X.a").unlink()
    link({"util.c": BUFFER.format("", "init") + BUFFER.format("", "fresh_one")}, ["util.c"], archive=True)
    result = user.pytest(*arguments)
    result.stdout.fnmatch_lines(
        [
            "X.a: stack-protector: util.o: fresh_one() besides what is accepted",
            "  1 more in the baseline known.txt",
            'function = "fresh_one"',
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    start = result.outlines.index("[[waiver]]")
    pasted = result.outlines[start : start + 6]
    user.policy("\n".join(pasted).replace('reason = ""', 'reason = "the caller checks"'))
    assert user.pytest(*arguments).ret == pytest.ExitCode.OK


def test_function_that_the_compiler_specialises_is_the_known_one(user: User, link: Callable[..., None]) -> None:
    work = BUFFER.format("", "work").replace("(const char *s)", "(const char *s, int n)").replace("b[0];", "b[n];")
    call = "int run(const char *s) { return work(s, 3) + 1; }\n"
    link({"a.c": work + call}, ["a.c"])
    arguments = ["--hardening", "libX.so", *PROTECTED]
    user.pytest(*arguments, "--hardening-update-baseline")
    assert entries(user.path / "known.txt") == ["stack-protector\tlibX.so\ta.c: work()"]
    link({"a.c": work.replace("int work", "static int work") + call}, ["a.c"])
    run = user.run(*arguments)
    (culprit,) = run.document["artifacts"][0]["verdicts"][0]["culprits"]
    assert culprit.startswith(f"{user.path}/a.c: work.constprop.0")
    assert run.result.ret == pytest.ExitCode.OK
    run.result.stdout.no_fnmatch_line("*not needed any more*")


POLICY_OF_NAMES = """
profile = "recommended"
baseline = "known.txt"
[checks]
exported-symbols = { allow = ["kms_*"] }
forbidden-needed = { forbid = ["libm.so*", "libz.so*", "libresolv.so*"] }
forbidden-imports = { forbid = ["setenv", "system"] }
rpath = {}
"""
NAMES = ["exported-symbols", "forbidden-imports", "forbidden-needed", "rpath"]


def test_checks_that_name_everything_know_names(user: User, tool_for: Callable[[str], str]) -> None:
    user.policy(POLICY_OF_NAMES)

    def link(more: str, *options: str) -> None:
        text = f'#include <stdlib.h>\nint helper(void) {{ return setenv("A", "", 1); }}\n{more}'
        (user.path / "a.c").write_text(text, "utf-8")
        command = [tool_for("gcc"), "-shared", "-fPIC", "-g", "-o", "libX.so", "a.c", "-Wl,--no-as-needed", "-lm"]
        subprocess.run([*command, "-Wl,--enable-new-dtags", *options], cwd=user.path, check=True)

    arguments = ["--hardening", "libX.so", *(part for name in NAMES for part in ("--hardening-check", name))]
    link("", f"-Wl,-rpath,/tmp/lib:{user.path}/build/lib")
    user.pytest(*arguments, "--hardening-update-baseline")
    assert entries(user.path / "known.txt") == [
        "exported-symbols\tlibX.so\thelper",
        "forbidden-imports\tlibX.so\tsetenv()",
        "forbidden-needed\tlibX.so\tlibm.so.6",
        "rpath\tlibX.so\tDT_RUNPATH '/tmp/lib'",
        "rpath\tlibX.so\tDT_RUNPATH '<root>/build/lib'",
    ]
    user.pytest(*arguments).assert_outcomes(xfailed=4)
    more = 'int backdoor(void) { return system(""); }\n'
    link(more, f"-Wl,-rpath,/tmp/lib:{user.path}/build/lib:/home/x:.", "-lresolv")
    result = user.pytest(*arguments)
    result.stdout.fnmatch_lines_random(
        [
            "libX.so: exported-symbols: backdoor besides what is accepted",
            "libX.so: forbidden-imports: system() besides what is accepted",
            "libX.so: forbidden-needed: libresolv.so.2 besides what is accepted",
            "libX.so: rpath: DT_RUNPATH '/home/x', DT_RUNPATH '.' besides what is accepted",
        ]
    )
    result.assert_outcomes(failed=4)


WORKERS = pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["plain", "xdist"])
VANISHED = "relro\tbuild/old.so\t-"
UNDEMANDED = "pie\tbuild/libX.so\t-"
LEFT_OUT = "relro\tbuild/third.so\t-"
FOLDER = "relro\tbuild/deep/er/a.so\t-"
ELSEWHERE = "relro\telsewhere/libA.so\t-"  # the build of another machine
OBJECT = "pic\tbuild/F.o\t-"
STALE = [
    "- build/libX.so::pie (not judged by that check any more)",
    "- build/deep/er/a.so::relro (no such file any more)",
    "- build/old.so::relro (no such file any more)",
    "- build/third.so::relro (the policy excludes the file)",
]


@pytest.fixture
def stale(legacy: User, known: Path) -> Path:
    """A baseline with entries that are about nothing any more, and some that other runs need."""
    shutil.copy(legacy.path / "build" / "libX.so", legacy.path / "build" / "third.so")
    subprocess.run(["gcc", "-c", "-xc", "-", "-o", legacy.path / "build" / "F.o"], input=b"int f;", check=True)
    legacy.policy(POLICY, 'exclude = "build/third*"', "checks.fortify = false")
    lines = (RELRO, COPY, GROW, VANISHED, UNDEMANDED, LEFT_OUT, FOLDER, ELSEWHERE, OBJECT)
    known.write_text("\n".join(lines), "utf-8")
    return known


@WORKERS
def test_entries_about_nothing_are_told_and_leave(legacy: User, stale: Path, workers: list[str]) -> None:
    result = legacy.pytest("--hardening", "build", *workers)
    result.stdout.fnmatch_lines(["known.txt: 4 entries not needed any more: run with --hardening-update-baseline"])
    assert [line for line in result.outlines if line.startswith("- build")] == STALE
    result.assert_outcomes(xfailed=2, passed=2)
    assert result.ret == pytest.ExitCode.OK
    strict = legacy.pytest("--hardening", "build", "--hardening-strict", *workers)
    strict.stdout.fnmatch_lines(["known.txt: 4 entries not needed any more, which fails the run: *"])
    strict.assert_outcomes(xfailed=2, passed=2)
    assert strict.ret == pytest.ExitCode.TESTS_FAILED
    updated = legacy.pytest("--hardening", "build", "--hardening-update-baseline", *workers)
    updated.stdout.fnmatch_lines(["known.txt: 5 entries, 0 added, 4 removed"])
    assert [line for line in updated.outlines if line.startswith("- build")] == STALE
    assert entries(stale) == sorted([OBJECT, RELRO, ELSEWHERE, COPY, GROW])
    assert legacy.pytest("--hardening", "build", "--hardening-strict", *workers).ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hardening", "build/libX.so"],
        ["--hardening", "build/lib*.so"],
        ["build/libX.so", "build/libY.so"],
        ["--hardening", "build", "build/libX.so::relro"],
        ["--hardening", "build", "--hardening-check", "relro"],
        ["--hardening", "build", "--hardening-profile", "kms-6.6"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_entries_of_what_other_runs_judge_stay(legacy: User, stale: Path, arguments: list[str]) -> None:
    is_whole_file = not any("::" in argument or argument.startswith("--hardening-") for argument in arguments)
    kept = {VANISHED, LEFT_OUT, FOLDER, ELSEWHERE, OBJECT, RELRO, COPY, GROW, *([] if is_whole_file else [UNDEMANDED])}
    legacy.pytest(*arguments, "--hardening-update-baseline")
    assert set(entries(stale)) == kept
    assert legacy.pytest(*arguments, "-k", "relro").ret == pytest.ExitCode.OK


def test_a_pattern_covers_what_it_would_match(legacy: User, stale: Path) -> None:
    legacy.pytest("--hardening", "build/*.so", "--hardening-update-baseline")
    assert {VANISHED, LEFT_OUT, UNDEMANDED}.isdisjoint(entries(stale))
    assert {FOLDER, ELSEWHERE, RELRO, COPY, GROW} <= set(entries(stale))


def test_a_file_that_cannot_be_read_keeps_its_entries(legacy: User, stale: Path) -> None:
    (legacy.path / "build" / "libX.so").write_bytes(b"\x7fELF")
    legacy.pytest("--hardening", "build", "--hardening-update-baseline")
    assert {COPY, GROW, UNDEMANDED} <= set(entries(stale))


@WORKERS
def test_what_is_no_regular_file_is_not_replaced(legacy: User, known: Path, workers: list[str]) -> None:
    legacy.policy('profile = "kms-6.6"')
    os.mkfifo(legacy.path / "fifo")
    (legacy.path / "folder").mkdir()
    (legacy.path / "device").symlink_to("/dev/null")
    for name in ("fifo", "folder", "device"):
        arguments = ["--hardening=build", f"--hardening-baseline={name}", "--hardening-update-baseline"]
        result = legacy.pytest(*arguments, *workers, subprocess=True)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*--hardening-update-baseline: {name} is no regular file, so it is not replaced"])
        result.stdout.no_fnmatch_line("*::*")
    assert not Path("/dev/null").is_file()
    (legacy.path / "link").symlink_to("new.txt")
    legacy.pytest("--hardening=build", "--hardening-baseline=link", "--hardening-update-baseline")
    assert entries(legacy.path / "new.txt") == [RELRO, COPY, GROW]
    assert (legacy.path / "link").is_symlink()


def test_comments_stay_with_what_they_are_about(legacy: User, known: Path) -> None:
    lines = [
        "# The whole team knows.",
        "",
        COPY,
        "# two lines",
        "# on RELRO",
        RELRO,
        "# gone",
        VANISHED,
        "# at the end",
    ]
    known.write_text("\n".join(lines), "utf-8")
    for _ in range(2):  # the second time nothing changes
        legacy.pytest("--hardening", "build", "--hardening-update-baseline")
        own = known.read_text("utf-8").splitlines()[2:]
        top = ["# The whole team knows.", "# at the end", "# gone", ""]
        assert own == [*top, "# two lines", "# on RELRO", RELRO, COPY, GROW]


def test_baseline_is_not_updated_by_a_comparison_of_the_ini_file(legacy: User, stale: Path) -> None:
    before = stale.read_bytes()
    shutil.copytree(legacy.path / "build", legacy.path / "old")
    legacy.pytester.makeini("[pytest]\nhardening_compare = old\n")
    result = legacy.pytest("--hardening", "build", "--hardening-update-baseline")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert stale.read_bytes() == before
    compared = legacy.pytest("--hardening", "build", "--hardening-strict")
    compared.stdout.no_fnmatch_line("*not needed any more*")
