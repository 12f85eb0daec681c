"""Link maps of three linkers: the objects that were linked, and which of them made the stack executable."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.artifacts.build_systems.linker_map import LinkedObject, map_of, read, with_executable_stack
from pytest_hardening.engine import inspect
from pytest_hardening.errors import ArtifactError
from pytest_hardening.model import Outcome
from pytest_hardening.recipe import Fragment, Recipe

SOURCES = {
    "main.c": "int two(void), bare(void);\nint main(void) { return two() + bare(); }\n",
    "two.c": "int two(void) { return 2; }\n",
    "bare.S": ".globl bare\nbare: xor %eax, %eax\nret\n",
    "unused.c": "int unused(void) { return 0; }\n",
    "nested.c": "int use(int (*)(void));\nint outer(void) { int x = 1; int in(void) { return x; } return use(in); }\n"
    "int use(int (*f)(void)) { return f(); }\n",
}
LINKERS = {"bfd": "ld.bfd", "gold": "ld.gold", "lld": "ld.lld"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        (tmp_path / name).write_text(text)
        options = ("-ffunction-sections", "-o", f"{Path(name).stem}.o")
        subprocess.run(["gcc", "-c", name, *options], cwd=tmp_path, check=True)
    (tmp_path / "sp ace").mkdir()
    (tmp_path / "nested.o").rename(tmp_path / "sp ace/nested.o")
    subprocess.run(["ar", "rc", "libtwo.a", "two.o", "bare.o", "unused.o"], cwd=tmp_path, check=True)
    return tmp_path


def link(folder: Path, linker: str, *objects: str) -> Path:
    words = ("gcc", *objects, "-o", "program", f"-fuse-ld={linker}", "-Wl,-Map=program.map")
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return folder / "program"


def own(found: tuple[LinkedObject, ...]) -> set[str]:
    return {str(one) for one in found if not one.path.startswith("/")}


@pytest.mark.parametrize("linker", LINKERS)
def test_objects(folder: Path, tool_for: Callable[[str], str], linker: str) -> None:
    tool_for(LINKERS[linker])
    link(folder, linker, "main.o", "libtwo.a", "sp ace/nested.o")
    found = read(str(folder / "program.map"))
    assert own(found) == {"main.o", "libtwo.a(two.o)", "libtwo.a(bare.o)", "sp ace/nested.o"}
    assert {Path(one.path).name for one in found} >= {"crti.o", "crtn.o"}


@pytest.mark.parametrize("linker", LINKERS)
def test_who_made_the_stack_executable(folder: Path, tool_for: Callable[[str], str], linker: str) -> None:
    tool_for(LINKERS[linker])
    program = link(folder, linker, "main.o", "libtwo.a", "sp ace/nested.o")
    subprocess.run(["strip", program], check=True)
    found = read(map_of(str(program)))
    culprits = {str(one) for one in with_executable_stack(found, (str(folder),))}
    assert culprits == {"libtwo.a(bare.o)", "sp ace/nested.o"}
    if linker != "lld":  # which takes no notice of what objects ask for
        assert inspect(program, ["nx-stack"]).verdict("nx-stack").outcome is Outcome.FAIL
    (folder / "libtwo.a").write_bytes(b"!<arch>\nbroken")
    assert [str(one) for one in with_executable_stack(found, ("/", str(folder)))] == ["sp ace/nested.o"]


def test_place_of_the_map(tmp_path: Path) -> None:
    for option in ("-Wl,-Map=out/a.map", "-Wl,-z,now,-Map,out/a.map", "-Wl,--Map=out/a.map,--cref"):
        recipe = Recipe(link=(Fragment(option),))
        assert map_of(str(tmp_path / "a"), recipe, str(tmp_path)) == ""
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out/a.map").touch()
        assert map_of(str(tmp_path / "a"), recipe, str(tmp_path)) == str(tmp_path / "out/a.map")
        (tmp_path / "out/a.map").unlink()
    (tmp_path / "a.map").touch()
    assert map_of(str(tmp_path / "a")) == str(tmp_path / "a.map")


@pytest.mark.parametrize("data", [b"", b"\xff\x00\n", b" .text 0x1 0x2 \n", b" 0x1 0x2 a.c\n" * 1000, b" " * 1_000_000])
def test_no_map(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.map").write_bytes(data)
    with pytest.raises(ArtifactError, match="no link map"):
        read(str(tmp_path / "x.map"))
    with pytest.raises(ArtifactError, match="no file"):
        read(str(tmp_path))
