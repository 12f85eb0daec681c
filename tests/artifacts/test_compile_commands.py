"""compile_commands.json, as real build systems write it, and as nobody should."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.artifacts.build_systems.compile_commands import read, recipe_of
from pytest_hardening.artifacts.build_systems.output import Build
from pytest_hardening.artifacts.build_systems.targets import find_targets
from pytest_hardening.errors import ArtifactError
from pytest_hardening.recipe import CompileCommand, Recipe, command_of, commands_of

Tool = Callable[[str], str]

CMAKE = """
cmake_minimum_required(VERSION 3.18)
project(Demo C)
add_library(two STATIC lib/b.c)
target_compile_options(two PRIVATE -Wformat -Werror=format-security "-DTEXT=\\"a b\\"")
add_library(shared SHARED lib/b.c)
add_executable(program a.c)
target_link_libraries(program two)
"""
MESON = """
project('demo', 'c', default_options: ['buildtype=plain'])
two = static_library('two', 'lib/b.c', c_args: ['-Wformat', '-Werror=format-security', '-DTEXT="a b"'])
shared_library('shared', 'lib/b.c', c_args: '-DSHARED')
executable('program', 'a.c', link_with: two)
"""
MAKE = """
program: a.o libtwo.a
	$(CC) -o $@ $^
libtwo.a: b.o
	$(AR) rc $@ $^
a.o: a.c
	$(CC) -g -c $<
b.o: lib/b.c
	cd lib && $(CC) -g -Wformat -Werror=format-security '-DTEXT="a b"' -c b.c -o ../b.o
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "a.c").write_text("int twice(int); int main(void) { return twice(0); }\n")
    (folder / "lib/b.c").write_text("int twice(int a) { return a * 2; }\n")
    for name, text in (("CMakeLists.txt", CMAKE), ("meson.build", MESON), ("Makefile", MAKE)):
        (folder / name).write_text(text)
    return folder


def run(*words: str | Path, folder: Path) -> str:
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout


def by_cmake(project: Path, generator: str = "Ninja") -> Path:
    run("cmake", "-S", ".", "-B", "build", "-G", generator, "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", folder=project)
    run("cmake", "--build", "build", folder=project)
    return project / "build"


def by_makefiles(project: Path) -> Path:
    return by_cmake(project, "Unix Makefiles")


def by_compdb(project: Path) -> Path:
    build = by_cmake(project)
    (build / "compile_commands.json").write_text(run("ninja", "-t", "compdb", folder=build))
    return build


def by_meson(project: Path) -> Path:
    run("meson", "setup", "build", folder=project)
    run("ninja", "-C", "build", folder=project)
    return project / "build"


def by_bear(project: Path) -> Path:
    run("bear", "--", "make", folder=project)
    return project


@pytest.mark.parametrize("how", [by_cmake, by_makefiles, by_compdb, by_meson, by_bear])
def test_build_systems(project: Path, tool_for: Tool, how: Callable[[Path], Path]) -> None:
    for tool in ("meson", "ninja") if how is by_meson else ("bear",) if how is by_bear else ("cmake", "ninja"):
        tool_for(tool)
    build = read(str(how(project)))
    assert (build.system, build.problems) == ("compile_commands.json", ())
    recipe = build.of_any_file
    assert recipe is not None
    made = {"libtwo.a", "program", *([] if how is by_bear else ["libshared.so"])}
    assert {output.name for output in build.outputs} == made
    assert all(output.recipe is recipe and output.path == f"{build.folder}/{output.name}" for output in build.outputs)
    assert {command.source for command in recipe.units} == {f"{project}/a.c", f"{project}/lib/b.c"}
    assert all(Path(command.object).is_file() for command in recipe.units)
    assert {(command.language, command.recorded_in) for command in recipe.units} == {("C", "compile_commands.json")}
    [program] = commands_of(recipe, "a.c")
    assert command_of(recipe, f"{project}/a.c") is program
    several = commands_of(recipe, f"{project}/lib/b.c")
    assert len(several) == (1 if how is by_bear else 2)
    static = next(command for command in several if '-DTEXT="a b"' in command.arguments)
    words = ("-Wformat", "-Werror=format-security", '-DTEXT="a b"')
    assert tuple(word for word in static.arguments if word in words) == words
    assert not {"-c", "-o", "cc", static.source, "-MF", "-MD"}.intersection(static.arguments)
    assert recipe_of(build, static.object) == Recipe(units=(static,))
    assert recipe_of(build, f"{build.folder}/program") is recipe


def unit(source: str, *options: str, made: str = "") -> CompileCommand:
    from pytest_hardening.recipe import Fragment

    return CompileCommand(source, "C", tuple(map(Fragment, options)), made, "test")


class TestPicking:
    """Which command made a unit: that of its source alone, and none where several may have."""

    A = unit("/w/src/a.c", "-O1", made="/w/b/x/a.o")
    OTHER = unit("/w/test/a.c", "-O2", made="/w/b/y/a.test.o")
    AGAIN = unit("/w/src/c.c", "-O1", made="/w/b/one/c.o")
    TWICE = unit("/w/src/c.c", "-O3", made="/w/b/two/c.pic.o")
    SAME = unit("/w/src/c.c", "-O1", made="/w/b/three/c.o")
    MAPPED = unit("/w/src/d.c", "-ffile-prefix-map=/w=/usr/src/demo")
    RECIPE = Recipe(units=(A, OTHER, AGAIN, TWICE, SAME, MAPPED))

    @pytest.mark.parametrize(
        ("name", "folder", "member", "found"),
        [
            ("/w/src/a.c", "", "", A),
            ("../src/a.c", "/w/b", "", A),
            ("../src/a.c", "/elsewhere/b", "", None),
            ("/w/src/../test/a.c", "", "", OTHER),
            ("src/a.c", ".", "", A),
            ("../src/a.c", ".", "", A),
            ("a.c", "", "", None),
            ("a.c", "", "a.test.o", OTHER),
            ("a.c", "", "b.o", None),
            ("b.c", "", "", None),
            ("c.c", "", "", None),
            ("c.c", "", "c.o", AGAIN),  # two commands that are alike
            ("c.c", "", "c.pic.o", TWICE),
            ("rc/a.c", ".", "", None),
            ("src/d.c", "/usr/src/demo", "", MAPPED),
            ("d.c", "/usr/src/demo", "", None),
            ("", "", "", None),
        ],
    )
    def test_picked(self, name: str, folder: str, member: str, found: CompileCommand | None) -> None:
        assert command_of(self.RECIPE, name, folder, member) in ([found, self.SAME] if found is self.AGAIN else [found])


def written(folder: Path, *entries: object) -> Build:
    (folder / "compile_commands.json").write_text(json.dumps(entries))
    return read(str(folder))


def units(build: Build) -> tuple[CompileCommand, ...]:
    assert build.of_any_file is not None
    return build.of_any_file.units


@pytest.mark.parametrize(
    ("command", "options", "made"),
    [
        ("ccache /usr/bin/gcc-12 -O2 -c a.c -o x/a.o", ("-O2",), "x/a.o"),
        ("CCACHE_DIR=/c distcc aarch64-linux-gnu-gcc -c a.c", (), "a.o"),
        ("/bin/bash ../libtool --tag=CC --mode=compile gcc -O2 -c -o a.lo a.c", ("-O2",), ""),
        ("cmake -E __run_co_compile --launcher=ccache --source=a.c -- gcc -O3 -c a.c -oa.o", ("-O3",), "a.o"),
        ("gcc -D 'A=x y' -include c.h -I i -c a.c", ("-D", "A=x y", "-include", "c.h", "-I", "i"), "a.o"),
        ("zcc -O2 -c a.c", ("-O2",), "a.o"),  # a compiler that nobody knows
        ("cd x && gcc -O1 -c a.c -o a.o", ("-O1",), "a.o"),
        ("gcc -O1 a.c -o program", ("-O1",), ""),
        ("gcc -x c -c a.c", ("-x", "c"), "a.o"),
        ("gcc -v -c a.c", ("-v",), "a.o"),
        ("gcc -xc -c a.c -o b.o", ("-xc",), "b.o"),
    ],
)
def test_commands(tmp_path: Path, command: str, options: tuple[str, ...], made: str) -> None:
    import shlex

    for key, value in (("command", command), ("arguments", shlex.split(command))):
        if key == "arguments" and "&&" in command:
            continue
        [found] = units(written(tmp_path, {"directory": "sub", "file": "a.c", key: value}))
        assert (found.source, found.arguments) == (f"{tmp_path}/sub/a.c", options)
        assert found.object == (f"{tmp_path}/sub/{made}" if made else "")


def test_cplusplus_and_assembly(tmp_path: Path) -> None:
    calls = ("g++ -c a.c", "clang++-19 -c b.cc", "gcc -c d.S", "gcc -c e.cc", "gcc -x c++ -c f.c")
    entries = [{"directory": ".", "file": call.split()[-1], "command": call} for call in calls]
    assert [one.language for one in units(written(tmp_path, *entries))] == ["CXX", "CXX", "ASM", "CXX", "CXX"]


def test_what_compiles_nothing_is_left_out(tmp_path: Path) -> None:
    commands = ("gcc -E a.c", "gcc -fsyntax-only a.c", "cc --version", "ar rc x.a a.o", "", "gcc -M a.c")
    entries = [{"directory": ".", "file": "a.c", "command": command} for command in commands]
    entries.append({"directory": ".", "file": "b.c", "command": "gcc -c b.c"})
    assert [Path(one.source).name for one in units(written(tmp_path, *entries))] == ["b.c"]


def test_equal_entries_and_response_files(tmp_path: Path) -> None:
    entry = {"directory": "/w", "file": "a.c", "command": "gcc @flags -c a.c"}
    build = written(tmp_path, entry, entry, 7, {"file": "b.c"}, {"directory": "/", "file": "b.c", "command": "cc '"})
    assert len(units(build)) == 1
    assert build.problems[1:] == (
        ("compile_commands.json, entry 3", "is no object"),
        ("compile_commands.json, entry 4", "lacks `directory` or `file`"),
        ("compile_commands.json, entry 5", "a quotation mark without a partner"),
        ("a.c", "compiled with @flags, which is not read: its options are not known"),
    )


def test_a_database_beside_what_was_built(project: Path) -> None:
    """Told whatever other builds there are: else none of its commands would be held against anything."""
    entry = {"directory": str(project), "file": "lib/b.c", "command": "gcc -fPIC -c lib/b.c -o b.o"}
    run("gcc", "-fPIC", "-c", "lib/b.c", "-o", "b.o", folder=project)
    run("gcc", "-shared", "b.o", "-o", "libb.so", folder=project)
    beside = project / "build"
    beside.mkdir()
    written(project, entry)
    written(beside, entry)
    found = find_targets([str(project), str(beside)], str(project))
    (reason,) = [reason for name, reason in found.problems if name == "build: compile_commands.json"]
    assert "no linked file and no archive lies in its folder or below it" in reason
    assert len(found.problems) == len(found.found) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ("{}", "no list of commands"),
        ("[]", "no command that compiles a unit"),
        ('["x"]', "no command that compiles a unit: is no object"),
        ('[{"directory": "/", "file": "a.c", "arguments": [1]}]', "neither `arguments` nor `command`"),
        ("\udcff", "no valid JSON"),
    ],
)
def test_damaged(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "compile_commands.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ArtifactError, match=reason) as raised:
        read(str(tmp_path))
    assert "\n" not in str(raised.value)


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"no compile_commands.json in it: cmake -DCMAKE_EXPORT_COMPILE_COMMANDS=ON"
    ):
        read(str(tmp_path))
    os.mkfifo(tmp_path / "compile_commands.json")
    with pytest.raises(ArtifactError, match="is no file"):
        read(str(tmp_path))
    shutil.rmtree(tmp_path)
    with pytest.raises(ArtifactError):
        read(str(tmp_path))


def test_a_package_in_the_folder_is_no_output(tmp_path: Path) -> None:
    shutil.copy("/bin/true", tmp_path / "program")
    with zipfile.ZipFile(tmp_path / "x-1-py3-none-any.whl", "w") as wheel:
        wheel.write("/bin/true", "x/_x.so")
    (tmp_path / "y-1-py3-none-any.whl").write_bytes(b"PK\3\4 cut off")
    entry = {"directory": ".", "file": "a.c", "command": "cc -c a.c"}
    (tmp_path / "compile_commands.json").write_text(json.dumps([entry, *[{}] * 30]))
    build = read(str(tmp_path))
    assert [output.name for output in build.outputs] == ["program"]
    assert len(build.problems) == 22
    assert build.problems[20] == ("compile_commands.json", "and 10 more of the kind")
    assert build.problems[21][0].startswith("y-1-py3")
