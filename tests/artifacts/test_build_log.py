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
        ("Compiling a.c ...", "compile:a.c"),
        ("Compiling src/a.o", "compile:src/a.o"),
        ("Compiling C source: a.c -> a.o", "compile:a.c"),
        ("compile a.c", "compile:a.c"),
        ("[CC] a.o", "compile:a.o"),
        ("CC: a.c", "compile:a.c"),
        ("  CC      a.c -> a.o", "compile:a.c"),
        ("[   12s]   CC       a.o", "compile:a.o"),
        ("[LD] program", "link:program"),
        ("Linking program ...", "link:program"),
        ("Building shared library libx.so", "link:libx.so"),
        ("CC: gcc", ""),
        ("CC: yes", ""),
        ("  CC     /usr/bin/gcc-12", ""),
        ("Compiling a.py ...", ""),
        ("Linking libx.a", ""),
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


@pytest.mark.parametrize(
    "line",
    [
        "if gcc -c a.c -o a.o; then mv x y; fi",
        "source='a.c' object='a.o' libtool=no depmode=gcc3 /bin/bash ./depcomp gcc -c -o a.o a.c",
        "/bin/bash ./compile gcc -c a.c",
        "nice -n 19 gcc -c a.c",
        "timeout 9 gcc -c a.c",
        "+ gcc -c a.c",
        "[   12s] gcc -c a.c",
        "2026-01-01T00:00:00Z gcc -c a.c",
        "[2026-01-01T00:00:00.123Z] gcc -c a.c",
        "10:11:12 gcc -c a.c",
        "#9 12.34 gcc -c a.c",
        "gcc -v -c a.c",
        "gcc -xc -c a.c",
        "{ gcc -c a.c; }",
        "(gcc -c a.c)",
        "zig cc -c a.c",
        '"/usr/bin/gcc" -c a.c',
        "CC=/usr/bin/clang ./libtool --tag=CC --mode=compile gcc -c a.c",
        "gcc 2>/dev/null -c a.c >log",
    ],
)
def test_whatever_stands_before_the_compiler(tmp_path: Path, line: str) -> None:
    log = log_of(tmp_path, f"{line}\n")
    assert (found(log), log.quiet) == (["1 compile:a.c"], ())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gcc -xc -c a.inc", "compile:a.inc"),
        ("echo x | gcc -x c -c - -o a.o", "compile:-"),
        ("gcc -c src/conftest_helpers.c", "compile:src/conftest_helpers.c"),
        ("cc -c CMakeTmpfiles/a.c", "compile:CMakeTmpfiles/a.c"),
    ],
)
def test_sources_of_any_name(tmp_path: Path, line: str, expected: str) -> None:
    assert found(log_of(tmp_path, line)) == [f"1 {expected}"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("gcc @args.rsp", "link:line 2"),
        ("gcc @args.rsp -o program", "link:program"),
        ("gcc -o program -Wl,--whole-archive -lfoo", "link:program"),
        ("gcc -c -DX='it a.c -o a.o", "compile:a.c"),
        ('gcc -c sub/a.c -DX="abc', "compile:sub/a.c"),
        ("python3 ../wrap.py gcc -c a.c -o a.o", "compile:a.c"),
        ("strace -o log gcc -c a.c", "compile:a.c"),
        ("strace -f gcc a.o -o program", "link:program"),
        ("xargs gcc -c", "compile:line 2"),
        ("sh -c 'cd x && gcc -c a.c'", "compile:a.c"),
        ("gcc $(pkg-config --cflags x) -c a.c", "link:line 2"),
        ("gcc `pkg-config --cflags x`", "link:line 2"),
        ("x=`gcc -c a.c`", "compile:a.c"),
        ("new wrapper: gcc -c a.c", "compile:a.c"),
        ("it's built with gcc -c a.c", "compile:a.c"),
        ("gcc -c a.inc", "compile:line 2"),
        ("sh -c 'gcc -E a.c; gcc -c b.c'", "compile:b.c"),
        ("gcc -E a.c; gcc -c b.c 2> /dev/null 'x", "compile:b.c"),
        ("wrap gcc -I/meson-private/x -c a.c", "compile:a.c"),
    ],
)
def test_what_is_not_understood_is_told(tmp_path: Path, line: str, name: str) -> None:
    log = log_of(tmp_path, f"make: starts\n{line}\n")
    assert [f"{one.step}:{one.name}" for one in log.quiet] == [name]
    assert log.quiet[0].line == 2
    assert "cannot be read" in log.quiet[0].reason
    assert log.found == ()


@pytest.mark.parametrize(
    "line",
    [
        "checking whether gcc understands -c and -o together... yes",
        "checking whether gcc accepts -g -c a.c... it's",
        "configure:12: gcc -c conftest.c >&5",
        "-- Check for working C compiler: /usr/bin/cc - skipped",
        "echo gcc -c a.c",
        "if true; then echo 'gcc -c a.c'; fi",
        "sh -c 'echo gcc -c a.c'",
        "printf '%s' \"gcc -c a.c\"",
        "make CC=gcc a.o",
        "make -C src/gcc a.o",
        "dh_auto_configure -- CC=/usr/bin/gcc a.c",
        "/usr/lib/qt5/bin/moc -I/usr/mkspecs/linux-g++ -c a.h -o moc_a.cpp",
        "swig -c++ -o a_wrap.cpp a.i",
        "gcc -E a.c -o a.i",
        "python3 wrap.py gcc -E a.c",
        "gcc -r a.o -o b.o",
        "gcc -c a.h -o a.h.gch",
        "gcc -x c++-header a.h -o a.h.gch",
        "gcc -MM a.c",
        "rm -f gcc a.o",
        "gcc-ar cr libx.a a.o",
        "The following packages will be installed: g++ g++-12 gcc libc6-dev",
        "make[1]: Entering directory '/b/gcc'",
        "# gcc -c a.c",
        ' "/usr/lib/llvm-19/bin/clang" -cc1 -triple x86_64-pc-linux-gnu -x c a.c',
        "libdir=`gcc -print-file-name=libgcc.a`",
        'C compiler for the host machine: cc (gcc 12.2.0 "cc (Debian 12.2.0-14) 12.2.0")',
        "gcc -xc - -o /dev/null",
    ],
)
def test_what_compiles_nothing_is_not_told(tmp_path: Path, line: str) -> None:
    log = log_of(tmp_path, f"{line}\n")
    assert (log.found, log.quiet) == ((), ())


def test_quiet_lines_of_other_folders(tmp_path: Path) -> None:
    lines = ("gcc -c a/util.c -o a/util.o", "  CC       b/util.o", "  CC       ./a/util.o", "  CC       a/util.o")
    assert [quiet.line for quiet in log_of(tmp_path, "\n".join(lines)).quiet] == [2, 4]


def test_cmake_announces_with_the_folder_of_the_build(tmp_path: Path) -> None:
    lines = (
        "[ 50%] Building C object sub/CMakeFiles/x.dir/a.c.o",
        "cd /b/sub && /usr/bin/cc -ffile-prefix-map=/b=. -o CMakeFiles/x.dir/a.c.o -c /p/a.c",
        "[ 90%] Linking C executable ../bin/x",
        "/usr/bin/cc -rdynamic CMakeFiles/x.dir/a.c.o -o ../bin/x",
        "[ 92%] Linking C shared library libx.so",
        "/usr/bin/cc -shared -o libx.so.5.2 CMakeFiles/x.dir/a.c.o",
        "[ 95%] Building C object other/CMakeFiles/x.dir/a.c.o",
    )
    assert [quiet.name for quiet in log_of(tmp_path, "\n".join(lines)).quiet] == ["other/CMakeFiles/x.dir/a.c.o"]


def test_lines_that_are_too_long(tmp_path: Path) -> None:
    long = "x" * (3 << 20)
    log = log_of(tmp_path, f"gcc -c a.c\n{long}\ngcc -c b.c {long}\n{long} gcc \ngcc -c c.c\n" + "y \\\n" * (1 << 19))
    assert found(log) == ["1 compile:a.c", "5 compile:c.c"]
    assert [(one.line, one.name) for one in log.quiet] == [(3, "line 3"), (4, "line 4")]
    assert all("too long" in one.reason and len(one.text) < 1000 for one in log.quiet)


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
