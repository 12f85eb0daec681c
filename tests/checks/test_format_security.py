"""format-security: what compilers refuse, and commands that a build recorded, for objects, archives and linked files.

The commands that compile.json records here are those that were run.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from pytest_hardening.artifacts.build_systems.compile_commands import read, recipe_of
from pytest_hardening.checks.format_warnings import refuses_format
from pytest_hardening.checks.recorded import options_of
from pytest_hardening.elf.facts import Unit
from pytest_hardening.engine import inspect
from pytest_hardening.fixtures import CompileC, SampleProject
from pytest_hardening.model import Artifact, Kind, Outcome, Verdict
from pytest_hardening.recipe import CompileCommand, Fragment, Recipe
from pytest_hardening.toolchain import Compiler

GOOD = '#include <stdio.h>\nvoid show(const char *text) { printf("%s", text); }\n'
BAD = GOOD.replace('"%s", ', "")
CHECKED = ("-Wformat", "-Werror=format-security")
OPTIONS = (
    "-Wall -Wno-all -Wformat -Wformat=1 -Wformat=2 -Wformat=0 -Wno-format -Wformat-security -Wno-format-security "
    "-Werror=format-security -Wno-error=format-security -Werror -Wno-error -Werror=format -Wno-error=format "
    "-Wformat-nonliteral -Wno-format-nonliteral -Wextra -w -Werror=all -Wno-error=all "
    "-Wformat=2 -Werror=format-security -Wformat -Wall -Werror -Wformat-security "
    "--no-warnings --all-warnings --warn-format --warn-no-format-security --warn-error=format-security"
).split()


def accepts(command: str, options: Sequence[str], source: Path) -> bool:
    words = [command, *options, "-fsyntax-only", str(source)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("command", ["gcc", "gcc-11", "clang-19"])
def test_what_compilers_refuse(compiler_for: Callable[[str], Compiler], tmp_path: Path, command: str) -> None:
    """Options in random order: what a compiler does is the truth. Where it refuses good code too, nothing is asked."""
    compiler_for(command)
    source = random.Random(command)  # noqa: S311
    family = command.partition("-")[0]
    (tmp_path / "good.c").write_text(GOOD)
    (tmp_path / "bad.c").write_text(BAD)
    counts = {True: 0, False: 0}
    for _ in range(90):
        options = [source.choice(OPTIONS) for _ in range(source.randrange(1, 6))]
        if not accepts(command, options, tmp_path / "good.c"):
            continue
        accepted, told = accepts(command, options, tmp_path / "bad.c"), refuses_format(options, family)
        assert told is not accepted, options
        counts[accepted] += 1
        assert refuses_format(options, "") in (None, told)
    assert min(counts.values()) > 5


def test_what_clang_is_handed_unseen(compiler_for: Callable[[str], Compiler], tmp_path: Path) -> None:
    """Options behind -Xclang come after all others, wherever they stand."""
    compiler_for("clang-19")
    source = random.Random("-Xclang")  # noqa: S311
    (tmp_path / "bad.c").write_text(BAD)
    counts = {True: 0, False: 0}
    for _ in range(60):
        chosen = [source.choice(OPTIONS) for _ in range(source.randrange(1, 5))]
        options = [word for one in chosen for word in (["-Xclang", one] if source.random() < 0.4 else [one])]
        if any(one.startswith("--") for one in options):
            continue  # which its compiler does not know
        told = refuses_format(options_of(Unit("bad.c", "c", flags=tuple(options))), "clang")
        accepted = accepts("clang-19", options, tmp_path / "bad.c")
        assert told is not accepted, options
        counts[accepted] += 1
    assert min(counts.values()) > 5


def test_gcc_without_the_warning_that_the_error_needs(tmp_path: Path) -> None:
    """GCC then refuses all code, so that whoever compiled something had a GCC that was configured with -Wformat."""
    (tmp_path / "good.c").write_text(GOOD)
    run = subprocess.run(["gcc", "-Werror=format-security", "-c", "good.c"], cwd=tmp_path, capture_output=True)
    assert run.returncode != 0
    assert refuses_format(["-Werror=format-security"], "gcc") is None


class Built:
    """Units that were compiled in a folder, each with its own options, and the record of it."""

    def __init__(self, folder: Path, compiler: str = "gcc") -> None:
        self.folder = folder
        self.compiler = compiler
        self.debug = False
        self.entries: list[dict[str, str | list[str]]] = []

    def compile(self, source: str, *options: str, made: str = "", recorded: Sequence[str] | None = None) -> str:
        path = self.folder / source
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            name = f"{Path(source).stem}_{Path(source).parent.name}"
            path.write_text(f"int {name}(int a);\nint {name}(int a) {{ return a * 2; }}\n")
        made = made or source.replace("/", "_") + ".o"
        command = [self.compiler, *options, "-c", source, "-o", made]
        self.run(*command)
        shown = command if recorded is None else [self.compiler, *recorded, "-c", source, "-o", made]
        self.entries.append({"directory": str(self.folder), "file": source, "arguments": shown})
        return made

    def run(self, *words: str) -> None:
        subprocess.run(words, cwd=self.folder, check=True, capture_output=True)

    def link(self, *objects: str, name: str = "libx.so") -> str:
        self.run(self.compiler, "-shared", *objects, "-o", name)
        return name

    def archive(self, *objects: str) -> str:
        self.run("ar", "rc", "x.a", *objects)
        return "x.a"

    def judge(self, name: str, check: str = "format-security", **parameters: list[str]) -> Verdict:
        (self.folder / "compile_commands.json").write_text(json.dumps(self.entries))
        path = str(self.folder / name)
        artifact = Artifact(path, name, recipe=recipe_of(read(str(self.folder)), path))
        report = inspect(artifact, {check: parameters})
        assert report.artifact.error is None
        return report.verdict(check)


@pytest.fixture(params=["gcc", "gcc -g", "clang-19", "clang-19 -g"])
def built(tmp_path: Path, request: pytest.FixtureRequest, compiler_for: Callable[[str], Compiler]) -> Built:
    compiler, _, debug = request.param.partition(" ")
    compiler_for(compiler)
    found = Built(tmp_path, compiler)
    found.debug = bool(debug)
    found.compile = lambda source, *options, **rest: Built.compile(  # type: ignore[method-assign]
        found, source, "-fPIC", *([debug] if debug else []), *options, **rest
    )
    return found


def test_object_archive_and_library(built: Built) -> None:
    good = [built.compile("a.c", *CHECKED), built.compile("b.c", "-Wall", "-Werror=format-security")]
    bad = built.compile("c.c", *CHECKED, "-Wno-format-security")
    for path in (*good, built.archive(*good)):
        assert built.judge(path).outcome is Outcome.PASS, path
    told = Outcome.PASS if built.debug else Outcome.UNKNOWN  # else the file may hold units that nothing names
    assert built.judge(built.link(*good)).outcome is told
    found = built.judge(bad)
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("c.c",))
    assert found.summary == f"c.c compiled with {' '.join((*CHECKED, '-Wno-format-security'))}, which is no error"
    assert found.remedy.startswith("compile with -Wformat -Werror=format-security")
    found = built.judge(built.archive(*good, bad))
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("c.c.o",))
    found = built.judge(built.link(*good, bad))
    assert (found.outcome, found.culprits, found.rest) == (Outcome.FAIL, ("c.c",), told)
    assert str(found.evidence[0]).startswith("compile_commands.json: c.c")


def test_what_is_missing_is_said(built: Built) -> None:
    error = "-Werror=format-security"
    words = {(): f"without -Wformat {error}", ("-Wformat",): f"without {error}", ("-Wall",): f"without {error}"}
    for number, (options, seen) in enumerate(words.items()):
        found = built.judge(built.compile(f"f{number}.c", *options))
        assert found.summary == f"f{number}.c compiled {seen}"


def test_without_commands(built: Built) -> None:
    path = built.compile("a.c", *CHECKED)
    built.compile("b.c")
    built.entries.pop(0)
    found = built.judge(path)
    assert (found.outcome, "the build's record has no command of it" in found.remedy) == (Outcome.UNKNOWN, True)
    both = built.judge(built.link(path, built.compile("c.c", *CHECKED)))
    assert (both.outcome, both.summary.partition(":")[0]) == (Outcome.UNKNOWN, "a.c")
    report = inspect(built.folder / path, ["format-security"])
    assert "--hardening-build DIR" in report.verdict("format-security").remedy
    built.run("strip", built.link(path))
    found = built.judge("libx.so")
    assert (found.outcome, "before it is stripped" in found.remedy) == (Outcome.UNKNOWN, True)


def test_equal_names_are_no_proof(built: Built) -> None:
    """Two units are called so, and only of one the command is known: with debug information its folder tells which."""
    first, second = built.compile("one/a.c", *CHECKED), built.compile("two/a.c", *CHECKED)
    built.entries.pop()
    found = built.judge(built.link(first, second))
    assert found.outcome is Outcome.UNKNOWN
    assert found.observed["unknown"] == (1 if built.debug else 2)


def test_one_source_compiled_in_two_ways(built: Built) -> None:
    for folder in ("one", "two"):
        (built.folder / folder).mkdir()
    first = built.compile("a.c", *CHECKED, made="one/a.o")
    second = built.compile("a.c", made="two/a.o")
    assert built.judge(first).outcome is Outcome.PASS
    assert built.judge(second).outcome is Outcome.FAIL
    assert built.judge(built.link(first)).outcome is Outcome.UNKNOWN
    built.compile("b.c", *CHECKED, made="one/b.o")
    built.compile("b.c", *CHECKED, "-O2", made="two/b.o")
    assert built.judge("two/b.o").outcome is Outcome.PASS
    both = built.judge(built.link("two/b.o"))  # both commands say so
    assert both.outcome is (Outcome.PASS if built.debug else Outcome.UNKNOWN)
    assert both.observed["unknown"] == 0


def test_response_files_are_not_guessed_at(built: Built) -> None:
    (built.folder / "flags").write_text(" ".join(CHECKED))
    assert built.judge(built.compile("a.c", "@flags")).outcome is Outcome.UNKNOWN


def test_clang_records_it_in_the_file(tmp_path: Path, compiler_for: Callable[[str], Compiler]) -> None:
    compiler_for("clang-19")
    for options, outcome in ((CHECKED, Outcome.PASS), ((*CHECKED, "-Wno-format"), Outcome.FAIL)):
        built = Built(tmp_path, "clang-19")
        path = built.compile("a.c", "-g", "-grecord-command-line", *options)
        report = inspect(tmp_path / path, ["format-security"])
        assert report.verdict("format-security").outcome is outcome
    found = Built(tmp_path, "clang-19")
    path = found.compile("a.c", "-g", "-grecord-command-line", *CHECKED, recorded=["-Wno-format"])
    verdict = found.judge(path)
    assert verdict.outcome is Outcome.PASS
    assert str(verdict.evidence[-1]) == (
        "compile_commands.json: a.c: with -Wno-format, which is no error; the file is right: it was compiled with "
        "-Wformat -Werror=format-security"
    )


class TestRecordedFlags:
    """recorded-flags, where the file does not tell."""

    def test_what_gcc_does_not_record(self, tmp_path: Path) -> None:
        built = Built(tmp_path)
        path = built.compile("a.c", "-g", "-O2", "-Wp,-D_FORTIFY_SOURCE=2", "-Werror=format-security", *CHECKED)
        flags = ["-D_FORTIFY_SOURCE=2", "-Wformat", "-Werror=format-security", "-O2"]
        found = built.judge(path, "recorded-flags", with_flags=flags, without_flags=["-DNDEBUG"])
        assert found.outcome is Outcome.PASS
        assert "with -D_FORTIFY_SOURCE=2 (compile_commands.json)" in found.summary
        assert "with -O2," in found.summary  # which the file tells
        found = built.judge(path, "recorded-flags", with_flags=["-D_FORTIFY_SOURCE=3"])
        assert (found.outcome, found.culprits) == (Outcome.FAIL, ("a.c",))
        found = built.judge(path, "recorded-flags", with_flags=["-Wl,-z,now"])
        assert found.outcome is Outcome.UNKNOWN  # no compile command has it

    @pytest.mark.parametrize("compiler", ["gcc", "clang-19"])
    def test_files_without_record(self, tmp_path: Path, compiler: str, compiler_for: Callable[[str], Compiler]) -> None:
        compiler_for(compiler)
        built = Built(tmp_path, compiler)
        good, bad = built.compile("a.c", "-fPIC", "-O2"), built.compile("b.c", "-fPIC", "-O0")
        assert built.judge(good, "optimization").outcome is Outcome.PASS
        found = built.judge(built.link(good, bad), "optimization")
        assert (found.outcome, found.culprits) == (Outcome.FAIL, ("b.c",))
        assert str(found.evidence[0]).startswith("compile_commands.json: b.c")
        assert built.judge(good, "recorded-flags", with_flags=["-fPIC"]).outcome is Outcome.PASS

    def test_the_file_is_right(self, tmp_path: Path) -> None:
        built = Built(tmp_path)
        flag = "-fstack-protector-strong"
        path = built.compile("a.c", "-g", "-fno-stack-protector", recorded=["-g", flag])
        found = built.judge(path, "recorded-flags", with_flags=[flag])
        assert (found.outcome, found.summary) == (Outcome.FAIL, f"a.c compiled without {flag}")
        assert str(found.evidence[-1]) == (
            f"compile_commands.json: a.c: with {flag}; the file is right: it was compiled without {flag}"
        )


class TestStripped:
    """A stripped file names no unit; the commands of its target do, where the build system knows that."""

    def recipe(self, folder: Path, *options: str, foreign: Sequence[str] = ()) -> Recipe:
        command = CompileCommand(str(folder / "a.c"), "C", tuple(map(Fragment, options)), recorded_in="test")
        return Recipe("x", "SHARED", units=(command,), foreign=tuple(foreign))

    @pytest.mark.parametrize(
        ("options", "foreign", "outcome"),
        [
            (CHECKED, [], Outcome.PASS),
            (("-Wall",), [], Outcome.FAIL),
            (CHECKED, ["/usr/lib/libforeign.a"], Outcome.UNKNOWN),
            (CHECKED, ["-lforeign"], Outcome.UNKNOWN),
            ((), ["other.o"], Outcome.FAIL),
        ],
    )
    def test_target(self, tmp_path: Path, options: Sequence[str], foreign: Sequence[str], outcome: Outcome) -> None:
        built = Built(tmp_path)
        name = built.link(built.compile("a.c", "-fPIC", *options))
        built.run("strip", name)
        artifact = Artifact(str(tmp_path / name), name, recipe=self.recipe(tmp_path, *options, foreign=foreign))
        assert inspect(artifact, ["format-security"]).verdict("format-security").outcome is outcome

    def test_no_target(self, tmp_path: Path) -> None:
        built = Built(tmp_path)
        name = built.link(built.compile("a.c", "-fPIC", *CHECKED))
        built.run("strip", name)
        assert built.judge(name).outcome is Outcome.UNKNOWN


def test_other_languages_and_no_code(tmp_path: Path, build: CompileC) -> None:
    built = Built(tmp_path)
    (tmp_path / "d.S").write_text('.globl d\nd: ret\n.section .note.GNU-stack,"",%progbits\n')
    assert built.judge(built.compile("d.S")).outcome is Outcome.NOT_APPLICABLE
    (tmp_path / "e.c").write_text("")
    assert built.judge(built.compile("e.c")).outcome is Outcome.NOT_APPLICABLE


def test_sample_project(sample_project: SampleProject, tmp_path: Path, tool_for: Callable[[str], str]) -> None:
    """Its switch takes the options away from every unit."""
    tool_for("cmake")
    outcomes: Mapping[str, Outcome] = {"": Outcome.PASS, "format-security": Outcome.FAIL}
    for switch, outcome in outcomes.items():
        folder = sample_project(switch or None, "cmake")
        path = str(folder / "libSHARED.so")
        entries = Path(folder, "compile_commands.json")
        assert entries.exists()
        found = inspect(Artifact(path, "libSHARED.so", recipe=recipe_of(read(str(folder)), path)), ["format-security"])
        assert found.artifact.kind is Kind.SHARED_LIBRARY
        assert found.verdict("format-security").outcome is outcome
