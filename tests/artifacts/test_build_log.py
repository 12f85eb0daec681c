"""Logs of builds: calls of compilers, lines that hide one, and what only looks like one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pytest_hardening.artifacts.build_log import BuildLog, read
from pytest_hardening.errors import ArtifactError


def log_of(folder: Path, text: str) -> BuildLog:
    path = folder / "build.log"
    path.write_text(text)
    return read(str(path))


def found(log: BuildLog) -> list[str]:
    return [f"{one.line} {one.step}:{one.name}" for one in log.found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gcc -O2 -c src/a.c -o a.o", ["compile:src/a.c"]),
        ("gcc -O2 a.c b.cc -o program", ["compile:a.c", "compile:b.cc", "link:program"]),
        ("\tcc a.o -lm", ["link:a.out"]),
        ("[12/34] /usr/bin/c++ -c ../a.cpp -o a.o", ["compile:../a.cpp"]),
        ("[1/6] : && /usr/bin/cc -shared -o libx.so x.o && :", ["link:libx.so"]),
        ("[ 50%] /usr/bin/cc -c a.c", ["compile:a.c"]),
        ("\x1b[32mgcc -c a.c\x1b[0m", ["compile:a.c"]),
        ("cd sub && gcc -c ../a.c", ["compile:a.c"]),
        ("cd /b && cmake -E __run_co_compile --source=a.c -- ccache gcc -c /b/a.c", ["compile:/b/a.c"]),
        ("x86_64-linux-gnu-gcc-12 -ffile-prefix-map=/b/pkg=. -c /b/pkg/src/a.c", ["compile:src/a.c"]),
        ("CC=gcc env LC_ALL=C distcc clang-19 -c a.c 2>&1 | tee log", ["compile:a.c"]),
        ("libtool: compile:  gcc -c a.c  -fPIC -o .libs/a.o", ["compile:a.c"]),
        ("libtool: link: gcc -shared .libs/a.o -o .libs/libx.so.1", ["link:.libs/libx.so.1"]),
        ("gcc -c a.c && gcc a.o -o program; strip program", ["compile:a.c", "link:program"]),
        ("gcc -r a.o b.o -o c.o", []),
        ("gcc -E a.c -o a.i", []),
        ("gcc --version", []),
        ("checking whether gcc accepts -g... yes", []),
        ("checking for gcc... gcc", []),
        ("gcc version 12.2.0 (Debian 12.2.0-14)", []),
        ("echo gcc -c a.c", []),
        ("gcc: error: a.c: No such file", []),
        ("it's built with gcc -c a.c", []),
        ("ar rcs libx.a a.o", []),
    ],
)
def test_lines(tmp_path: Path, line: str, expected: list[str]) -> None:
    assert found(log_of(tmp_path, f"make: starts\n{line}\n")) == [f"2 {name}" for name in expected]


def test_lines_that_go_on(tmp_path: Path) -> None:
    assert found(log_of(tmp_path, "x\ngcc -O2 \\\n -c \\\n a.c\ngcc -c b.c \\")) == ["2 compile:a.c", "5 compile:b.c"]


def test_probes_are_left_out(tmp_path: Path) -> None:
    lines = ("gcc -c conftest.c", "gcc -o conftest conftest.c", "cc -o cmTC_1 CMakeFiles/cmTC_1.dir/x.c.o", "cc -c a.c")
    log = log_of(tmp_path, "\n".join(lines))
    assert (found(log), log.probes) == (["4 compile:a.c"], 4)


def test_libtool_says_twice_what_it_does(tmp_path: Path) -> None:
    shown = (
        "/bin/bash ./libtool --tag=CC --mode=link gcc -o libconv.la a.lo",
        "libtool: link: ar cr .libs/libconv.a .libs/a.o",
        "/bin/bash ./libtool --tag=CC --mode=link gcc -o program a.o",
        "libtool: link: gcc -o program a.o",
    )
    assert found(log_of(tmp_path, "\n".join(shown))) == ["4 link:program"]
    silent = "\n".join(line for line in shown if not line.startswith("libtool:"))
    assert found(log_of(tmp_path, silent)) == ["2 link:program"]
    library = "libtool --mode=link gcc -rpath /usr/lib -o libx.la a.lo"
    assert found(log_of(tmp_path, library)) == ["1 link:libx.la"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("  CC       src/a.o", "compile:src/a.o"),
        ("  CC [M]  drivers/a.o", "compile:drivers/a.o"),
        ("  CXXLD    program", "link:program"),
        ("[1/6] Building C object CMakeFiles/x.dir/a.c.o", "compile:CMakeFiles/x.dir/a.c.o"),
        ("[ 50%] Linking CXX executable program", "link:program"),
        ("[1/8] Compiling C++ object x.p/a.cpp.o", "compile:x.p/a.cpp.o"),
        ("[4/8] Linking target program", "link:program"),
        ("Compiling a.c...", "compile:a.c"),
        ("[4/8] Linking static target libx.a", ""),
        ("[100%] Built target x", ""),
        ("  AR       libx.a", ""),
        ("  GEN      a.h", ""),
    ],
)
def test_quiet_lines(tmp_path: Path, line: str, name: str) -> None:
    log = log_of(tmp_path, f"{line}\n")
    assert [f"{one.step}:{one.name}" for one in log.quiet] == ([name] if name else [])
    assert log.found == ()


def test_cmake_announces_commands_that_it_shows(tmp_path: Path) -> None:
    lines = (
        "[ 50%] Building C object x.dir/a.c.o",
        "/usr/bin/cc -o x.dir/a.c.o -c /p/a.c",
        "[ 90%] Building C object x.dir/b.c.o",
    )
    assert [quiet.name for quiet in log_of(tmp_path, "\n".join(lines)).quiet] == ["x.dir/b.c.o"]


def test_files_that_are_none(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "no file"), (tmp_path / "none", "does not exist")):
        with pytest.raises(ArtifactError, match=reason):
            read(str(path))


def test_whatever_stands_in_it(tmp_path: Path) -> None:
    path = tmp_path / "build.log"
    start = time.monotonic()
    for data in (
        b"\xff\x00gcc -c \xfe.c\n",
        b"gcc " * 500_000,
        b"gcc -c '" * 100_000,
        b"\\\n" * 100_000,
        b"gcc -c a.c;" * 50_000,
    ):
        path.write_bytes(data)
        read(str(path))
    assert time.monotonic() - start < 20
