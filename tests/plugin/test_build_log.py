"""`--hardening-build-log`: what is missing is what dpkg-buildflags asks for, and blhc finds the same commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pytest_hardening.toolchain.build_flags import hardening_flags

from .conftest import User

ROOT = Path(__file__).parents[2]
OPTION = "--hardening-build-log"
GOOD = "gcc -g -O2 -fstack-protector-strong -Wformat -Werror=format-security -D_FORTIFY_SOURCE=2 -c a.c -o a.o"


@pytest.fixture(autouse=True)
def tools(tool_for: Callable[[str], str]) -> None:
    tool_for("dpkg-buildflags")


def package(folder: Path, break_: str = "", flags: str = "hardening=+all") -> Path:
    """The log of the sample project, built with make as debian/rules would do it."""
    source = folder / "source"
    shutil.copytree(ROOT / "sample_project", source)
    environment = {"PATH": os.environ["PATH"], "DEB_BUILD_MAINT_OPTIONS": flags}
    dump = subprocess.run(
        ["dpkg-buildflags", "--dump"], cwd=source, env=environment, capture_output=True, text=True, check=True
    ).stdout
    variables: Mapping[str, str] = dict(line.split("=", 1) for line in dump.splitlines())
    words = [f"{name}={variables[name]}" for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS")]
    made = subprocess.run(
        ["make", *words, *([f"BREAK={break_}"] if break_ else [])],
        cwd=source,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    log = folder / "build.log"
    log.write_text(f"dpkg-buildpackage: info: source package demo\n{made}")
    return log


def failed(result: pytest.RunResult) -> set[str]:
    return {line.split(" ")[1].partition("::")[2] for line in result.outlines if re.match(r"FAILED build\.log::", line)}


@pytest.mark.parametrize(
    ("break_", "expected"),
    [
        ("", set()),
        ("fortify-unit", {"compile:src/F.c"}),
        ("stack-protector-unit", {"compile:src/F.c"}),
        ("bind-now", {f"link:build-make/{name}" for name in ("libSHARED.so", "PROGRAM", "plugin.so", "HOST")}),
    ],
)
def test_package(user: User, break_: str, expected: set[str]) -> None:
    package(user.path, break_)
    result = user.pytest(OPTION, "build.log")
    assert failed(result) == expected
    assert result.ret == bool(expected)
    result.stdout.fnmatch_lines(["hardening: build log build.log, by dpkg-buildflags"])
    if break_ == "fortify-unit":
        result.stdout.fnmatch_lines(
            [
                "build.log: src/F.c compiled without -D_FORTIFY_SOURCE=2 (CPPFLAGS)",
                "  line 7: cc *-O2* ... *-c -o build-make/F.o src/F.c",
                "  fix: let it get CPPFLAGS of dpkg-buildflags, *",
            ]
        )


def blamed_by_blhc(log: Path) -> set[tuple[str, str]]:
    """(variable, command) of what blhc finds missing; it asks for -g -O2 and -fPIE -pie too, which are the default."""
    lines = subprocess.run(["blhc", "--all", "--debian", log], capture_output=True, text=True, check=False).stdout
    found = set()
    for variable, missing, command in re.findall(r"^(\w+) missing \((.*?)\): (.*)$", lines, re.MULTILINE):
        if set(shlex.split(missing)) - {"-g", "-O2", "-fPIE", "-pie"}:
            found.add((variable, command.split(" ")[-1]))
    return found


@pytest.mark.parametrize("break_", ["fortify-unit", "stack-protector-unit", ""])
@pytest.mark.parametrize("flags", ["hardening=+all", "hardening=-all", "hardening=+all,-format,-relro"])
def test_blhc_finds_the_same(user: User, tool_for: Callable[[str], str], break_: str, flags: str) -> None:
    """The project's own flags stand in the commands too: so what is missing differs from command to command."""
    tool_for("blhc")
    log = package(user.path, break_, flags)
    text = re.sub(r" -Wformat -Werror=format-security -U_FORTIFY_SOURCE| -Wl,-z,now", "", log.read_text(), count=3)
    log.write_text(text)
    result = user.pytest(OPTION, "build.log")
    ours = set()
    for line in result.outlines:
        if found := re.match(r"build\.log: \S+ (?:compiled|linked) without (.*)", line):
            variables = set(re.findall(r"\((\w+)\)", found[1]))
        elif found := re.match(r"  line \d+: .* (\S+)$", line):
            ours |= {(variable, found[1]) for variable in variables}
    assert ours == blamed_by_blhc(log)


def test_options_of_the_environment(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    (user.path / "build.log").write_text(GOOD.replace("-Wformat -Werror=format-security ", ""))
    assert failed(user.pytest(OPTION, "build.log")) == {"compile:a.c"}
    monkeypatch.setenv("DEB_BUILD_MAINT_OPTIONS", "hardening=+all,-format")
    assert failed(user.pytest(OPTION, "build.log")) == set()
    assert "-Wformat" not in hardening_flags()["CFLAGS"]


def test_quiet_lines_are_unknown(user: User) -> None:
    (user.path / "build.log").write_text(f"{GOOD}\n  CC       b.o\n")
    result = user.pytest(OPTION, "build.log", "-rs")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "[?] build.log::compile:b.o: line 2 does not show the command (CC       b.o): build with V=1, *",
            "*1 passed, 1 unknown*",
        ]
    )
    assert failed(user.pytest(OPTION, "build.log", "--hardening-strict")) == {"compile:b.o"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no command in it that compiles or links"),
        ("  CC  a.o\n", "no command in it that compiles or links; it is not verbose: build with V=1, ninja -v, *"),
        ("gcc -c conftest.c\n", "no command in it that compiles or links beside 1 that try out the compiler"),
        ("gcc -c a.S\n", "no command in it that compiles C or C++ or links"),
        (None, "does not exist"),
    ],
)
def test_nothing_is_no_success(user: User, text: str | None, reason: str) -> None:
    if text is not None:
        (user.path / "build.log").write_text(text)
    result = user.pytest(OPTION, "build.log")
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"build.log: {reason}"])


def test_response_files_are_unknown(user: User) -> None:
    (user.path / "build.log").write_text("gcc @flags -c a.c\n")
    result = user.pytest(OPTION, "build.log", "-rs")
    result.stdout.fnmatch_lines(
        ["[?] build.log::compile:a.c: line 1 reads options from @flags, and shows no -D_FORTIFY_SOURCE=2*"]
    )


@pytest.mark.parametrize(
    ("line", "name", "reason"),
    [
        (
            "python3 wrap.py gcc -c b.c",
            "compile:b.c",
            "names a compiler and cannot be read (python3 wrap.py gcc -c b.c)",
        ),
        ("gcc @args.rsp", "link:line 2", "names a compiler and cannot be read (gcc @args.rsp)"),
        ('gcc -c b.c -DX="ab', "compile:b.c", 'names a compiler and cannot be read (gcc -c b.c -DX="ab)'),
        ("gcc -c b.c $CFLAGS", "compile:b.c", "reads options from $CFLAGS, and shows no -D_FORTIFY_SOURCE=2 *"),
        ("gcc `pkg-config x` -c b.c", "compile:b.c", "reads options from `pkg-config, and shows no *"),
        ("gcc -c b.c $(pkg-config x)", "compile:b.c", "reads options from $, and shows no *"),
    ],
)
def test_commands_that_are_not_understood_are_unknown(user: User, line: str, name: str, reason: str) -> None:
    (user.path / "build.log").write_text(f"{GOOD}\n{line}\n")
    result = user.pytest(OPTION, "build.log", "-rs")
    result.stdout.fnmatch_lines(["*1 passed, 1 unknown*"])
    result.stdout.fnmatch_lines([f"[?] build.log::{name}: line 2 {reason}"])
    assert failed(user.pytest(OPTION, "build.log", "--hardening-strict"))


def test_a_wrapped_command_is_beside_those_of_its_file(user: User) -> None:
    (user.path / "build.log").write_text(f"{GOOD}\nwrap gcc -c a.c\n")
    user.pytest(OPTION, "build.log", "-rs").stdout.fnmatch_lines(["*1 unknown*"])


def test_commands_for_one_file_are_one_item(user: User) -> None:
    (user.path / "build.log").write_text(f"{GOOD}\ngcc -c a.c\n{GOOD} -fno-stack-protector\n")
    result = user.pytest(OPTION, "build.log", "-v")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "  line 2 (without -D_FORTIFY_SOURCE=2 (CPPFLAGS), *): gcc -c a.c",
            "  line 3 (without -fstack-protector-strong (CFLAGS)): gcc *",
        ]
    )


@pytest.mark.parametrize("arguments", [(), ("-n", "2"), ("-p", "no:xdist")])
def test_ids_and_ways_to_run(user: User, arguments: tuple[str, ...]) -> None:
    (user.path / "build.log").write_text(f"{GOOD}\ngcc -c b.c\n")
    (user.path / "pytest.ini").write_text("[pytest]\nhardening_build_log = build.log\n")
    result = user.pytest(*arguments, subprocess=True)
    assert failed(result) == {"compile:b.c"}
    result.assert_outcomes(passed=1, failed=1)
    one = user.pytest(*arguments, "build.log::compile:b.c", subprocess=True)
    one.assert_outcomes(failed=1)
    user.pytest(*arguments, "-k", "compile:a", subprocess=True).assert_outcomes(passed=1)
    user.pytest(*arguments, "-m", "not hardening", subprocess=True).assert_outcomes()


def test_without_the_tool(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    (user.path / "build.log").write_text(GOOD)
    monkeypatch.setenv("PATH", str(user.path))
    result = user.pytest(OPTION, "build.log")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: hardening: --hardening-build-log: 'dpkg-buildflags' not found: * apt-get install dpkg-dev"]
    )
