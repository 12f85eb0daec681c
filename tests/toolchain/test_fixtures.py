from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PRODUCTS = ["AB.a", "EF.a", "HOST", "PROGRAM", "libSHARED.so", "plugin.so"]


@pytest.mark.parametrize("arguments", [(), ("-n2",), ("-p", "no:cacheprovider")], ids=["plain", "xdist", "no-cache"])
def test_fixtures_build_and_run(user: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    user.makepyfile(
        """
        import subprocess
        from pathlib import Path

        def test_cc(cc, cxx):
            assert (cc.path.name, cxx.path.name) == ("gcc", "g++")
            assert (cc.language, cxx.language) == ("c", "c++")

        def test_text(compile_c):
            program = compile_c("int main(void) { return 3; }", name="three")
            assert subprocess.run([program]).returncode == 3

        def test_file_beside_the_test(compile_c):
            assert subprocess.run([compile_c(Path("four.c"), compiler="clang")]).returncode == 4

        def test_project_is_copied(c_project):
            project = c_project("project")
            (project.path / "main.c").write_text("int main(void) { return 6; }")
            assert subprocess.run([project.make("prog") / "prog"]).returncode == 6
            assert "return 5" in Path(__file__).with_name("project").joinpath("main.c").read_text()
        """
    )
    (user.path / "four.c").write_text("int main(void) { return 4; }")
    (user.path / "project").mkdir()
    (user.path / "project/main.c").write_text("int main(void) { return 5; }")
    (user.path / "project/Makefile").write_text("prog: main.c\n\t$(CC) -o $@ $<\n")
    user.runpytest_subprocess(*arguments).assert_outcomes(passed=4)


def test_failing_test_shows_the_commands_of_its_builds(user: pytest.Pytester) -> None:
    user.makepyfile(
        """
        import pytest

        @pytest.fixture
        def library(compile_c):
            return compile_c("int x;", "shared-library", flags=["-fPIC"], name="libX.so")

        @pytest.mark.parametrize("turn", ["first", "second (cached)"])
        def test_it(compile_c, library, turn):
            compile_c("int main(void) { return 0; }", flags=["-O1"], link_flags=["-Wl,-z,now"])
            assert False
        """
    )
    result = user.runpytest_subprocess()
    result.assert_outcomes(failed=2)
    shown = [
        "*Captured build of libX.so setup*",
        "$ */gcc -fPIC -c -o source.o source.c",
        "*Captured build of program call*",
        "$ */gcc -O1 -c -o source.o source.c",
        "$ */gcc -O1 -o program source.o -Wl,-z,now",
    ]
    result.stdout.fnmatch_lines(
        ["*test_it?first?*", *shown, "*test_it?second*", *shown[:1], "(built before*", *shown[1:]]
    )


def test_passing_test_shows_nothing(user: pytest.Pytester) -> None:
    user.makepyfile("def test_it(compile_c): compile_c('int main(void) { return 0; }')")
    result = user.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*gcc -c*")


def test_failing_compile_is_told_without_our_frames(user: pytest.Pytester) -> None:
    user.makepyfile(
        """
        def test_it(compile_c):
            compile_c("int main(void) { return nonsense; }")
        """
    )
    result = user.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       compile_c("int main(void) { return nonsense; }")',
            "E       pytest_hardening.BuildError: command failed with exit status 1: * -c -o source.o source.c",
            "E       *'nonsense' undeclared*",
            "*Captured build of program call*",
            "$ */gcc -c -o source.o source.c",
            "[[]exit status 1]",
        ]
    )
    result.stdout.no_fnmatch_line("*toolchain/commands.py*")


def test_failing_project_build_is_told_without_our_frames(user: pytest.Pytester) -> None:
    user.makepyfile(
        """
        def test_it(c_project):
            c_project(".").make("absent")
        """
    )
    # Where the session's own temporary files are, within the project, is no part of it.
    (user.path / "Makefile").write_text("all:\n")
    result = user.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       c_project(?.?).make(?absent?)", "E *No rule to make target 'absent'*"])
    result.stdout.no_fnmatch_line("*toolchain/*.py*")


def test_project_with_a_build_in_its_tree_is_built_anew(user: pytest.Pytester) -> None:
    """The `Project` takes along what the test itself puts there; a failing test is told what was left out."""
    user.makepyfile(
        """
        import shutil
        import subprocess
        from pathlib import Path

        def test_anew(c_project):
            project = c_project("tree")
            assert not (project.path / "prog").exists()
            assert subprocess.run([project.make("prog", variables={"VALUE": "3"}) / "prog"]).returncode == 3

        def test_kept(c_project):
            project = c_project("tree", keep=["prog"])
            assert subprocess.run([project.make("prog", variables={"VALUE": "3"}) / "prog"]).returncode == 5

        def test_added(c_project):
            project = c_project("tree")
            shutil.copy2(Path(__file__).with_name("tree") / "prog", project.path)
            assert subprocess.run([project.make("prog", variables={"VALUE": "3"}) / "prog"]).returncode == 5

        def test_failing(c_project):
            c_project("tree").make("absent")
        """
    )
    tree = user.path / "tree"
    tree.mkdir()
    (tree / "main.c").write_text("int main(void) { return VALUE; }")
    (tree / "Makefile").write_text("prog: main.c\n\t$(CC) -DVALUE=$(VALUE) -o $@ $<\n")
    subprocess.run(["make", "-C", tree, "prog", "VALUE=5"], check=True)
    result = user.runpytest_subprocess()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*left out of the copy of tree, as built before*", "prog"])


def test_missing_compiler_is_an_error_that_says_what_to_install(user: pytest.Pytester) -> None:
    user.makeini("[pytest]\nhardening_cc = mips-linux-gnu-gcc\n")
    user.makepyfile("def test_it(compile_c): compile_c('int main(void) { return 0; }')")
    result = user.runpytest_subprocess()
    result.stdout.fnmatch_lines(
        [
            ">   def test_it(compile_c): compile_c(*",
            "E *hardening_cc: 'mips-linux-gnu-gcc' not found: install it with: apt-get install gcc-mips-linux-gnu",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.no_fnmatch_line("*_pytest/*")  # and no page of what pytest does inside
    user.makepyfile(test_cc="def test_it(cc): pass")
    result = user.runpytest_subprocess("test_cc.py")
    result.stdout.fnmatch_lines(["hardening_cc: 'mips-linux-gnu-gcc' not found: *"])
    result.stdout.no_fnmatch_line("*hidden*")


def test_ini_options_choose_the_compilers(user: pytest.Pytester) -> None:
    user.makeini("[pytest]\nhardening_cc = clang -m64\nhardening_cxx = clang++\n")
    user.makepyfile(
        """
        def test_it(cc, cxx):
            assert (cc.family, cc.arguments, cxx.family, cxx.language) == ("clang", ("-m64",), "clang", "c++")
        """
    )
    user.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["plain", "xdist"])
def test_equal_builds_run_once_per_session(user: pytest.Pytester, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    calls = tmp_path / "calls"
    compiler = tmp_path / "counting-gcc"
    compiler.write_text(f'#!/bin/sh\necho "$*" >> {calls}\nexec gcc "$@"\n')
    compiler.chmod(0o755)
    user.makeini(f"[pytest]\nhardening_cc = {compiler}\n")
    user.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_it(compile_c, number):
            assert compile_c("int main(void) { return 0; }", flags=["-O2"]).is_file()
        """
    )
    user.runpytest_subprocess(*arguments).assert_outcomes(passed=6)
    assert len([line for line in calls.read_text().splitlines() if "-c" in line.split()]) == 1


@pytest.mark.parametrize("system", ["make", "cmake"])
def test_sample_project(user: pytest.Pytester, system: str) -> None:
    user.makepyfile(
        f"""
        import os
        import subprocess
        import pytest
        from pytest_hardening.errors import BuildError

        def dynamic(path):
            return subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout

        def test_whole(sample_project):
            folder = sample_project(system={system!r})
            assert set({PRODUCTS!r}) <= set(os.listdir(folder))
            assert "NOW" in dynamic(folder / "PROGRAM")

        def test_broken(sample_project):
            assert "NOW" not in dynamic(sample_project("bind-now", system={system!r}) / "PROGRAM")

        def test_unknown(sample_project):
            with pytest.raises(BuildError):
                sample_project("no-such-break", system={system!r})
            with pytest.raises(BuildError, match="'make' or 'cmake'"):
                sample_project(system="scons")
        """
    )
    user.runpytest_subprocess().assert_outcomes(passed=3)
