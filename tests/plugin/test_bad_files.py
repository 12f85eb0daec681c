"""Bad input: a bad file is one clear error, never a verdict or a traceback, and the others are judged all the same."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_hardening.checks.base import Check
from pytest_hardening.checks.registry import get_check
from pytest_hardening.elf.facts import ElfFacts
from pytest_hardening.model import Verdict

if TYPE_CHECKING:
    from tests.plugin.conftest import User


def cut(size: int) -> Callable[[Path, Path], None]:
    return lambda build, path: _write(path, (build / "PROGRAM").read_bytes()[:size])


def edited(offset: int, data: bytes, product: str = "PROGRAM") -> Callable[[Path, Path], None]:
    def make(build: Path, path: Path) -> None:
        content = bytearray((build / product).read_bytes())
        content[offset : offset + len(data)] = data
        _write(path, content)

    return make


def contents(data: bytes) -> Callable[[Path, Path], None]:
    return lambda build, path: _write(path, data)


def _write(path: Path, data: bytes | bytearray) -> None:
    path.write_bytes(data)


def _archive_with_text(build: Path, path: Path) -> None:
    shutil.copy(build / "AB.a", path)
    (path.parent / "notes.txt").write_text("notes")
    subprocess.run(["ar", "r", path, path.parent / "notes.txt"], check=True, capture_output=True)


def _thin_archive(build: Path, path: Path) -> None:
    shutil.copy(build / "A.o", path.parent / "gone.o")
    subprocess.run(["ar", "rcT", path.name, "gone.o"], cwd=path.parent, check=True, capture_output=True)
    (path.parent / "gone.o").unlink()


# file name -> (how it is made, the error that is shown)
BAD: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "empty.so": (contents(b""), "empty file"),
    "text.so": (contents(b"#!/bin/sh\n"), "not an ELF file"),
    "magic.so": (contents(b"\x7fELF"), "truncated*"),
    "head.so": (cut(40), "truncated*"),
    "cut.so": (cut(5000), "truncated*"),
    "class.so": (edited(4, b"\7"), "malformed: EI_CLASS 7*"),
    "order.so": (edited(5, b"\7"), "malformed: *EI_DATA 7*"),
    "headers.so": (edited(32, b"\xff" * 8), "truncated*"),
    "dangling.so": (lambda build, path: path.symlink_to("nowhere"), "dangling link: its target does not exist"),
    "loop.so": (lambda build, path: path.symlink_to("loop.so"), "a link that leads to itself"),
    "cut.a": (
        lambda build, path: _write(path, (build / "AB.a").read_bytes()[:2000]),
        "archive is truncated: its symbol index names members behind the end",
    ),
    "header.a": (edited(8 + 58, b"XX", "AB.a"), "archive is damaged: no member header at 0x8"),
    "size.a": (edited(8 + 48, b"-1        ", "AB.a"), "archive is damaged: no member header at 0x8"),
    "text.a": (_archive_with_text, "member notes.txt: not an ELF file"),
    "thin.a": (_thin_archive, "member gone.o: does not exist"),
}
# met in a folder these are no business of ours; named, they are errors like the others
NAMED: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "script.so": (contents(b"/* GNU ld script */\nGROUP ( libc.so.6 )\n"), "not an ELF file*"),
    "fifo.so": (lambda build, path: os.mkfifo(path), "not a regular file, not an ELF file"),
    "socket.so": (lambda build, path: _socket(path), "*"),
    "null.so": (lambda build, path: path.symlink_to("/dev/null"), "not a regular file, not an ELF file"),
    "notes": (contents(b"notes\n"), "not an ELF file"),
}
GOOD = {f"out/good/{name}::bind-now" for name in ("HOST", "PROGRAM", "libSHARED.so", "plugin.so")}
CHECKS = ("--hardening-check", "bind-now", "--hardening-check", "nx-stack")


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


@pytest.fixture
def bad(user: User) -> User:
    """A user whose folder `out` holds good files and every kind of bad file."""
    build = user.build("out/good")
    folder = user.path / "out/bad"
    folder.mkdir()
    for name, (make, _) in {**BAD, **NAMED}.items():
        make(build, folder / name)
    (folder / "folder.so").mkdir()
    (folder / "up").symlink_to("..")
    return user


def matches(errors: dict[str, str], expected: dict[str, str]) -> None:
    assert set(errors) == set(expected)
    for name, pattern in expected.items():
        assert fnmatchcase(errors[name], pattern), (name, errors[name])
        assert "please report" not in errors[name]


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_met_in_a_folder(bad: User, workers: tuple[str, ...]) -> None:
    run = bad.run("--hardening", "out", *CHECKS, *workers, subprocess=True)
    matches(run.errors, {f"out/bad/{name}": error for name, (_, error) in BAD.items()})
    assert {name for name in run.verdicts if name.endswith("::bind-now")} == GOOD
    assert set(run.verdicts.values()) == {"pass"}
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    run.result.stdout.fnmatch_lines(["left out: linker scripts (1), objects (10)"])
    for name in BAD:
        run.result.stdout.fnmatch_lines([f"out/bad/{name}*ERROR", f"FAILED out/bad/{name}::artifact - *"])
    assert "Traceback" not in str(run.result.stdout) + str(run.result.stderr)
    assert "INTERNALERROR" not in str(run.result.stdout)


def test_a_bad_file_is_one_item(bad: User) -> None:
    failed = [line for line in bad.pytest("--hardening", "out/bad").outlines if line.startswith("FAILED")]
    ids = [line.split()[1].removeprefix("out/bad/") for line in failed]
    assert sorted(ids) == sorted(f"{name}::artifact" for name in BAD)


def test_named(bad: User) -> None:
    paths = [f"out/bad/{name}" for name in [*BAD, *NAMED]]
    run = bad.run(*(word for path in [*paths, "out/good"] for word in ("--hardening", path)), *CHECKS, subprocess=True)
    expected = {f"out/bad/{name}": error for name, (_, error) in {**BAD, **NAMED}.items()}
    expected["/dev/null"] = expected.pop("out/bad/null.so")  # its real name
    matches(run.errors, expected)
    assert {name for name in run.verdicts if name.endswith("::bind-now")} == GOOD
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED


def test_inspect_says_the_same(bad: User) -> None:
    run = bad.run("--hardening", "out", *CHECKS)
    command = [sys.executable, "-m", "pytest_hardening", "inspect", "--format=json", "out"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=bad.path, timeout=60)
    assert result.returncode == 2
    assert result.stderr == "left out: linker scripts (1), objects (10)\n"
    entries = json.loads(result.stdout)["artifacts"]
    assert {entry["path"]: entry["error"] for entry in entries if entry["error"] and not entry["member"]} == run.errors


def test_other_members_of_a_bad_archive_are_judged(bad: User) -> None:
    command = [sys.executable, "-m", "pytest_hardening", "inspect", "--format=json", "out/bad/text.a"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=bad.path, timeout=60)
    entries = {entry["member"]: entry for entry in json.loads(result.stdout)["artifacts"]}
    assert entries["notes.txt"]["error"] == "not an ELF file"
    assert entries["A.o"]["verdicts"]
    assert entries[None]["verdicts"] == []


NAMES = {
    b"latin-\xe9.so": r"latin-\xe9.so",
    b"new\nline.so": r"new\nline.so",
    b"red\x1b[31m.so": r"red\x1b[31m.so",
    b"bell\x07\r.so": r"bell\x07\r.so",
    "right-to-left\u202e.so".encode(): r"right-to-left\u202e.so",
    rb"latin-\xe9.so": r"latin-\\xe9.so",
    "é ü.so".encode(): "é ü.so",
    b"a::b[c].so": "a::b[c].so",
    b"--help.so": "--help.so",
    b"<tag>&.so": "<tag>&.so",
}


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_strange_names_are_judged_and_escaped(user: User, workers: tuple[str, ...]) -> None:
    build = user.build("broken", "bind-now")
    folder = os.fsencode(user.path / "out")
    os.mkdir(folder)
    for name in NAMES:
        shutil.copy(os.fsencode(build / "plugin.so"), os.path.join(folder, name))
    arguments = ["--hardening", "out", "--hardening-check", "bind-now", "--junitxml", "junit.xml", *workers]
    run = user.run(*arguments, subprocess=True)
    expected = {f"out/{shown}::bind-now" for shown in NAMES.values()}
    ids = {name.replace("a::b", r"a:\x3ab") for name in expected}
    assert run.having("fail") == expected
    output = "\n".join([*run.result.outlines, *run.result.errlines])
    for shown in ids:
        assert f"FAILED {shown}" in output
    assert all(character.isprintable() for character in output.replace("\n", ""))
    assert "INTERNALERROR" not in output
    tree = ElementTree.parse(user.path / "junit.xml")  # noqa: S314 - our own file
    texts = [item.attrib["value"] for item in tree.iter("property") if item.attrib["name"] == "hardening_verdict"]
    assert {json.loads(text)["path"] for text in texts} == {name.removesuffix("::bind-now") for name in expected}


def test_strange_names_in_inspect(user: User) -> None:
    build = user.build()
    folder = os.fsencode(user.path / "out")
    os.mkdir(folder)
    for name in NAMES:
        shutil.copy(os.fsencode(build / "plugin.so"), os.path.join(folder, name))
    command = [sys.executable, "-m", "pytest_hardening", "inspect", "out", "--check", "bind-now"]
    for encoding in ("utf-8", "ascii"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        result = subprocess.run(command, capture_output=True, cwd=user.path, env=environment, timeout=60)
        assert (result.returncode, result.stderr) == (0, b"")
        text = result.stdout.decode(encoding)
        for shown in NAMES.values():
            assert f"out/{shown.encode(encoding, 'backslashreplace').decode(encoding)}: (module, x86-64)\n" in text


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_file_that_vanishes_after_collection(user: User, workers: tuple[str, ...]) -> None:
    user.build("out")
    user.pytester.makeconftest(
        """
        def pytest_runtest_protocol(item):
            path = item.config.rootpath / "out/PROGRAM"
            path.unlink(missing_ok=True)
        """
    )
    run = user.run("--hardening", "out", *CHECKS, *workers, subprocess=True)
    assert run.errors == {"out/PROGRAM": "does not exist"}
    assert {name for name in run.verdicts if name.endswith("::bind-now")} == {
        "out/HOST::bind-now",
        "out/libSHARED.so::bind-now",
        "out/plugin.so::bind-now",
    }
    assert run.result.ret == pytest.ExitCode.TESTS_FAILED
    run.result.stdout.fnmatch_lines(["FAILED out/PROGRAM::bind-now - does not exist"])
    assert "INTERNALERROR" not in str(run.result.stdout)


def test_file_that_is_cut_after_collection(user: User) -> None:
    user.build("out")
    user.pytester.makeconftest(
        """
        import os

        def pytest_runtest_protocol(item):
            os.truncate(item.config.rootpath / "out/PROGRAM", 5000)
        """
    )
    run = user.run("--hardening", "out", *CHECKS)
    assert list(run.errors) == ["out/PROGRAM"]
    assert run.errors["out/PROGRAM"].startswith("truncated or malformed: ")


def test_defect_of_ours_is_an_error_of_that_file_alone(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    user.build("out")
    check = type(get_check("bind-now"))
    judge = check.judge

    def broken(self: Check, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        if facts.kind.is_executable:
            raise IndexError("list index\nout of range")
        return judge(self, facts, parameters)

    monkeypatch.setattr(check, "judge", broken)
    run = user.run("--hardening", "out", *CHECKS)
    text = "cannot be judged (IndexError: list index out of range); please report this file"
    assert run.errors == {"out/PROGRAM": text, "out/HOST": text}
    assert run.verdicts["out/plugin.so::bind-now"] == "pass"


def test_defect_of_ours_in_a_member_spares_the_other_members(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    user.build("out")
    check = type(get_check("nx-stack"))
    judge = check.judge
    calls: list[int] = []

    def broken(self: Check, facts: ElfFacts, parameters: Mapping[str, Any]) -> Verdict:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError(facts.kind)
        return judge(self, facts, parameters)

    monkeypatch.setattr(check, "judge", broken)
    run = user.run("--hardening", "out/AB.a", "--hardening-check", "nx-stack")
    assert list(run.errors) == ["out/AB.a"]
    assert run.errors["out/AB.a"].startswith("member A.o: cannot be judged (KeyError: ")
    assert len(calls) == 2


def test_file_that_one_worker_could_read_and_the_other_not(user: User) -> None:
    """An error wins over verdicts: the file changed while it was judged."""
    user.build("out")
    user.pytester.makeconftest(
        """
        import json
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(report):
            for index, (name, value) in enumerate(report.user_properties):
                if name == "hardening_verdict" and report.nodeid == "out/PROGRAM::relro":
                    data = {**json.loads(value), "error": "does not exist", "verdicts": []}
                    report.user_properties[index] = (name, json.dumps(data))
        """
    )
    run = user.run("--hardening", "out/PROGRAM")
    assert run.errors == {"out/PROGRAM": "does not exist"}
    assert run.verdicts == {}
    run.result.stdout.fnmatch_lines(["out/PROGRAM  ERROR", "1 artifact: 1 could not be judged"])
