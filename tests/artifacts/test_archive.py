"""Static archives: those that ar(1) writes, and damaged ones."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from pytest_hardening.artifacts.archive import is_archive, members, open_member
from pytest_hardening.elf.source import Source
from pytest_hardening.engine import inspect
from pytest_hardening.errors import ArtifactError
from pytest_hardening.fixtures import CompileC

LONG = "a_name_that_is_longer_than_sixteen_bytes.o"


def header(name: bytes, size: int | bytes, end: bytes = b"`\n") -> bytes:
    """A member's header."""
    text = size if isinstance(size, bytes) else str(size).encode()
    return name.ljust(16) + b"0".ljust(12) + b"0".ljust(6) + b"0".ljust(6) + b"644".ljust(8) + text.ljust(10) + end


def listed(path: Path) -> dict[str, bytes]:
    """The members that we read, and their contents."""
    with Source.open(path) as source:
        assert is_archive(source)
        found = {}
        for member in members(source, str(path)):
            with open_member(source, member) as content:
                found[member.name] = content.read(0, content.size)
        return found


@pytest.fixture
def objects(tmp_path: Path) -> dict[str, bytes]:
    """Files to put into an archive, in tmp_path."""
    contents = {"a.o": b"first", "b.o": b"second, of even size", LONG: b"third", "spa ce.o": b""}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return contents


def ar(folder: Path, *words: str, tool: str = "ar") -> Path:
    subprocess.run([tool, *words], cwd=folder, check=True, capture_output=True)
    return folder / words[1]


@pytest.mark.parametrize("letters", ["rc", "rcs", "rcD", "rcU", "rcT"])
def test_gnu_archives(tmp_path: Path, objects: dict[str, bytes], letters: str) -> None:
    path = ar(tmp_path, letters, "lib.a", *objects)
    assert listed(path) == objects
    assert list(listed(path)) == list(objects)


@pytest.mark.parametrize("format_", ["gnu", "bsd", "darwin"])
def test_llvm_archives(tmp_path: Path, objects: dict[str, bytes], format_: str) -> None:
    path = ar(tmp_path, "rc", "lib.a", *objects, f"--format={format_}", tool="llvm-ar")
    found = listed(path)
    assert set(found) == set(objects)
    # these formats pad the contents
    assert {name: data[: len(objects[name])] for name, data in found.items()} == objects


def test_members_of_the_same_name(tmp_path: Path) -> None:
    for folder in ("one", "two", "three"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "unit.o").write_text(folder)
    path = ar(tmp_path, "qc", "lib.a", "one/unit.o", "two/unit.o", "three/unit.o")
    assert listed(path) == {"unit.o": b"one", "unit.o#2": b"two", "unit.o#3": b"three"}


def test_thin_archive_finds_its_members_beside_it(
    tmp_path: Path, objects: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ar(tmp_path, "rcT", "lib.a", *objects)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert listed(path) == objects
    (tmp_path / "b.o").unlink()
    with pytest.raises(ArtifactError, match="does not exist"):
        listed(path)


def test_symbol_table_is_no_member(tmp_path: Path, compile_c: CompileC) -> None:
    path = compile_c({"one.c": "int one;", "two.c": "int two;"}, "archive", name="lib.a")
    assert b"/               " in path.read_bytes()[:80]
    assert sorted(listed(path)) == ["one.o", "two.o"]


def test_names_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "lib.a"
    path.write_bytes(b"!<arch>\n" + header(b"a\x1b[2J\xff.o/", 0) + header(b"new\nline.o/", 0))
    assert list(listed(path)) == [r"a\x1b[2J\xff.o", r"new\nline.o"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header(b"a.o/", 4)[:50], "archive is truncated inside the header at 0x8"),
        (header(b"a.o/", 100) + b"data", "archive is truncated: the member at 0x8 reaches beyond the file"),
        (header(b"a.o/", 4, b"``") + b"data", "archive is damaged: no member header at 0x8"),
        (header(b"a.o/", b"-4") + b"data", "archive is damaged: no member header at 0x8"),
        (header(b"a.o/", b"") + b"data", "archive is damaged: no member header at 0x8"),
        (header(b"a.o/", b"9" * 10) + b"data", "archive is truncated: the member at 0x8 reaches beyond the file"),
        (header(b"/7", 4) + b"data", "archive is damaged: a long name lies outside the name table"),
        (header(b"//", 4) + b"a.o/" + header(b"/0", 0), "archive is damaged: a long name lies outside the name table"),
        (header(b"#1/9", 4) + b"data", "archive is damaged: a name of 9 bytes in a member of 4"),
    ],
)
def test_damaged_archives(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "lib.a"
    path.write_bytes(b"!<arch>\n" + data)
    with pytest.raises(ArtifactError, match=message.replace("(", r"\(")):
        listed(path)
    assert inspect(path).artifact.error == message


def test_a_member_never_reaches_out_of_a_plain_archive(tmp_path: Path) -> None:
    """Only a thin archive names other files; `/0` of a plain one is a label."""
    (tmp_path / "secret.o").write_text("secret")
    path = tmp_path / "lib.a"
    path.write_bytes(b"!<arch>\n" + header(b"//", 12) + b"../secret.o/" + header(b"x.o/", 4) + b"data")
    assert listed(path) == {"x.o": b"data"}


def test_damage_anywhere_is_an_error_or_a_report(tmp_path: Path, compile_c: CompileC) -> None:
    """Bytes overwritten and tails cut at random: every member is told apart, nothing is raised, nothing is ours."""
    whole = compile_c({"one.c": "int one(void){return 1;}", LONG[:-2] + ".c": "int two;"}, "archive").read_bytes()
    path = tmp_path / "lib.a"
    generator = random.Random(1)  # noqa: S311 - repeatable, not secret
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(generator.randrange(1, 6)):
            data[generator.randrange(8, len(data))] = generator.randrange(256)
        path.write_bytes(data[: generator.choice([len(data), generator.randrange(8, len(data))])])
        report = inspect(path, ["pic", "nx-stack"])
        for entry in report.artifacts:
            assert (entry.error is None) == bool(entry.verdicts)
            assert "please report" not in (entry.error or "")


def test_other_files_are_no_archives(tmp_path: Path) -> None:
    for data in (b"", b"!<arch>", b"\x7fELF" + bytes(60)):
        path = tmp_path / "file"
        path.write_bytes(data)
        with Source.open(os.fspath(path)) as source:
            assert not is_archive(source)


def test_cut_between_two_members(compile_c: CompileC, tmp_path: Path) -> None:
    units = {"a.c": "int first(void) { return 1; }", "b.c": "int second(void) { return 2; }"}
    whole = compile_c(units, kind="archive")
    assert inspect(whole).artifact.error is None
    last = whole.read_bytes().rindex(b"b.o/")
    cut = tmp_path / "cut.a"
    cut.write_bytes(whole.read_bytes()[:last])
    assert inspect(cut).artifact.error == "archive is truncated: its symbol index names members behind the end"
    assert inspect(cut).artifact.verdicts == ()
