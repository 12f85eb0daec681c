"""What Meson leaves in a build folder: targets, their units with those of their static libraries, link steps."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.artifacts.build_systems.meson import read
from pytest_hardening.artifacts.build_systems.output import Output
from pytest_hardening.engine import inspect
from pytest_hardening.errors import ArtifactError
from pytest_hardening.model import Artifact, Outcome
from pytest_hardening.recipe import command_of

MESON = """
project('demo', 'c', version: '1.2', default_options: ['buildtype=debug', 'b_pie=true'])
subdir('lib')
generated = custom_target(output: 'made.c', command: ['cp', files('made.txt'), '@OUTPUT@'])
executable('program', 'main.c', generated, link_with: two, link_args: ['-Wl,-z,now', '-Wl,-rpath,/a b'])
shared_module('plugin', 'plugin.c')
custom_target('data', output: 'data.txt', command: ['cp', files('made.txt'), '@OUTPUT@'], build_by_default: true)
"""
LIBRARY = """
inner = static_library('inner', 'inner.c', pic: true)
two = static_library('two', 'two.c', 'mark.S', c_args: ['-DTEXT="a b"', '-Wno-format-security'], link_with: inner)
shared_library('shared', 'two.c', 'mark.S', version: '1.2.3', link_with: inner)
"""
UNIT = "int {0}(int a);\nint {0}(int a) {{ return a + 1; }}\n"


@pytest.fixture
def project(tmp_path: Path, tool_for: Callable[[str], str]) -> Path:
    for tool in ("meson", "ninja"):
        tool_for(tool)
    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "meson.build").write_text(MESON)
    (folder / "lib/meson.build").write_text(LIBRARY)
    for name in ("lib/inner", "lib/two", "plugin"):
        (folder / f"{name}.c").write_text(UNIT.format(Path(name).name))
    (folder / "made.txt").write_text(UNIT.format("made"))
    (folder / "lib/mark.S").write_text('.globl mark\nmark: ret\n.section .note.GNU-stack,"",%progbits\n')
    (folder / "main.c").write_text(
        "int two(int), inner(int), made(int), mark(void);\n"
        "int main(void) { return two(inner(made(0))) + (mark != 0); }\n"
    )
    return folder


def configured(project: Path, *words: str) -> Path:
    options = ("-Dc_args=-Wformat -Werror=format-security", "-Dc_link_args=-Wl,-z,relro", *words)
    subprocess.run(["meson", "setup", "build", *options], cwd=project, check=True, capture_output=True)
    return project / "build"


def built(project: Path, *words: str) -> dict[str, Output]:
    folder = configured(project, *words)
    subprocess.run(["ninja", "-C", folder], check=True, capture_output=True)
    build = read(str(folder))
    assert (build.system, build.folder, build.problems, build.of_any_file) == ("Meson", str(folder), (), None)
    return {output.name: output for output in build.outputs}


def names(output: Output) -> set[str]:
    return {Path(command.source).name for command in output.recipe.units}


def test_targets(project: Path) -> None:
    found = built(project)
    types = {"program": "EXECUTABLE", "plugin": "MODULE", "shared": "SHARED", "two": "STATIC", "inner": "STATIC"}
    assert {name: output.recipe.type for name, output in found.items()} == types
    assert all(Path(output.path).is_file() for output in found.values())
    assert Path(found["shared"].path).name == "libshared.so.1.2.3"
    assert {output.recipe.configuration for output in found.values()} == {"debug"}
    assert found["two"].recipe.defined_at == "lib/meson.build"
    assert found["program"].recipe.defined_at == "meson.build"
    assert names(found["program"]) == {"main.c", "made.c", "two.c", "mark.S", "inner.c"}
    assert names(found["plugin"]) == {"plugin.c"}
    assert names(found["shared"]) == {"two.c", "mark.S", "inner.c"}


def test_units(project: Path) -> None:
    found = built(project)
    for output in found.values():
        assert all(Path(command.source).is_file() for command in output.recipe.units)
        assert all(Path(command.object).is_file() for command in output.recipe.units)
    two = command_of(found["program"].recipe, "two.c")
    assert two is not None
    assert ("C", str(project / "lib/two.c")) == (two.language, two.source)
    assert '-DTEXT="a b"' in two.arguments
    given = next(fragment for fragment in two.fragments if fragment.where)
    assert (given.arguments, given.where) == (("-Wformat", "-Werror=format-security"), "option c_args")
    assert two.arguments.index("-Werror=format-security") < two.arguments.index("-Wno-format-security")
    mark = command_of(found["program"].recipe, "mark.S")
    assert mark is not None
    assert mark.language == "ASM"


def test_link_steps(project: Path) -> None:
    found = built(project)
    words = tuple(found["program"].recipe.link_arguments)
    assert {"-pie", "-Wl,-z,now", "-Wl,-rpath,/a b", "-Wl,-z,relro"} <= set(words)
    assert ("-Wl,-z,relro", "option c_link_args") in {(part.text, part.where) for part in found["plugin"].recipe.link}
    assert "-shared" in tuple(found["plugin"].recipe.link_arguments)
    assert found["two"].recipe.link == ()


def test_judged_by_its_commands(project: Path) -> None:
    found = built(project)
    outcomes = {}
    for name, output in found.items():
        artifact = Artifact(output.path, name, recipe=output.recipe)
        outcomes[name] = inspect(artifact, ["format-security"]).verdict("format-security")
    fails = {name for name, verdict in outcomes.items() if verdict.outcome is Outcome.FAIL}
    assert fails == {"two", "program"}
    assert outcomes["program"].culprits == ("../lib/two.c",)
    assert outcomes["plugin"].outcome is Outcome.PASS


def test_sources_united(project: Path) -> None:
    found = built(project, "-Dunity=on")
    program = found["program"].recipe
    assert [command for command in program.units if "unity" in command.source and "-Wformat" in command.arguments]
    artifact = Artifact(found["plugin"].path, "plugin", recipe=found["plugin"].recipe)
    assert inspect(artifact, ["format-security"]).verdict("format-security").outcome is Outcome.PASS


def test_not_built_yet(project: Path) -> None:
    assert len(read(str(configured(project))).outputs) == 5


class TestDamage:
    """Neither of the files is trusted."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "meson-info").mkdir()
        return tmp_path

    def write(self, folder: Path, data: object, name: str = "intro-targets") -> Path:
        (folder / f"meson-info/{name}.json").write_text(data if isinstance(data, str) else json.dumps(data))
        return folder

    @pytest.mark.parametrize("data", ["", "{", "{}", "[" * 100_000, "7"])
    def test_no_targets(self, folder: Path, data: str) -> None:
        with pytest.raises(ArtifactError, match=r"intro-targets\.json"):
            read(str(self.write(folder, data)))

    def test_no_meson(self, tmp_path: Path) -> None:
        with pytest.raises(
            ArtifactError, match=r"no meson-info/intro-targets\.json in it: `meson setup DIR` writes it"
        ):
            read(str(tmp_path))

    def test_what_is_missing_is_told(self, folder: Path) -> None:
        good = {"name": "x", "type": "executable", "filename": [f"{folder}/x"], "target_sources": []}
        bad = [7, {"type": "executable"}, {**good, "target_sources": [{"parameters": 1}]}, {**good, "filename": []}]
        bad.append({**good, "name": "y", "target_sources": None})
        build = read(str(self.write(folder, [good, *bad, {"type": "custom"}])))
        assert [output.name for output in build.outputs] == ["x"]
        assert build.problems == (
            ("target 2", "is no object"),
            ("target 3", "lacks `name` or `filename`"),
            ("x", "has `parameters` that is no list of texts"),
            ("x", "lacks `name` or `filename`"),
            ("y", "lacks `target_sources`"),
        )

    @pytest.mark.parametrize(
        "text", ["build", "build x", "build x:", "build : :\n a", "build $\n$\n", "\0\xff =", " a = b"]
    )
    def test_build_ninja(self, folder: Path, text: str) -> None:
        sources = [{"language": "c", "parameters": [], "sources": [f"{folder}/a.c"]}]
        target = {"name": "x", "type": "executable", "filename": [f"{folder}/x"], "target_sources": sources}
        (folder / "build.ninja").write_text(text + "\nbuild x: c_LINKER x.o\n LINK_ARGS = -pie a$ b $\n   -z$:now\n")
        for name in ("intro-buildoptions", "meson-info"):
            self.write(folder, "[[]]", name)
        [output] = read(str(self.write(folder, [target]))).outputs
        assert tuple(output.recipe.link_arguments) == ("-pie", "a", "b", "-z:now")
        assert [command.source for command in output.recipe.units] == [f"{folder}/a.c"]

    def test_a_library_in_itself(self, folder: Path) -> None:
        (folder / "build.ninja").write_text("build x.a: STATIC_LINKER y.a\nbuild y.a: STATIC_LINKER x.a\n")
        target = {"name": "x", "type": "static library", "filename": [f"{folder}/x.a"], "target_sources": []}
        [output] = read(str(self.write(folder, [target]))).outputs
        assert output.recipe.units == ()

    def test_linker_told_by_later_versions(self, folder: Path) -> None:
        sources = [
            {"language": "c", "parameters": [], "sources": []},
            {"linker": ["cc"], "parameters": ["-pie", "a b"]},
        ]
        target = {"name": "x", "type": "executable", "filename": [f"{folder}/x"], "target_sources": sources}
        [output] = read(str(self.write(folder, [target]))).outputs
        assert tuple(output.recipe.link_arguments) == ("-pie", "a b")


def test_many_parameters(tmp_path: Path) -> None:
    """Options of the build are looked for once per group of sources, and not in lists that nobody writes."""
    (tmp_path / "meson-info").mkdir()
    sources = [f"/s{number}.c" for number in range(300)]
    for size in (2000, 20000):
        group = {"language": "c", "parameters": ["a"] * size, "sources": sources}
        targets = [{"name": "x", "type": "executable", "filename": ["/x"], "target_sources": [group]}]
        (tmp_path / "meson-info/intro-targets.json").write_text(json.dumps(targets))
        given = [{"name": "c_args", "value": ["a"] * (size // 2) + ["b"]}]
        (tmp_path / "meson-info/intro-buildoptions.json").write_text(json.dumps(given))
        started = time.monotonic()
        [output] = read(str(tmp_path)).outputs
        assert len(output.recipe.units) == 300
        assert time.monotonic() - started < 20


@pytest.mark.parametrize("text", [r'"/a/\ud800"', r'"/a/\u0000"', '"/a/\udced\udca0\udc80"'])
def test_texts_that_are_no_paths(tmp_path: Path, text: str) -> None:
    (tmp_path / "meson-info").mkdir()
    targets = f'[{{"name": "x", "type": "executable", "filename": [{text}], "target_sources": []}}]'
    path = tmp_path / "meson-info/intro-targets.json"
    path.write_text(targets, errors="surrogateescape")
    with pytest.raises(ArtifactError, match="no path"):
        read(str(tmp_path))
    path.write_text(targets.replace(text, r'"/a/\ud83d\ude00"'))
    assert read(str(tmp_path)).outputs[0].path == "/a/\U0001f600"
