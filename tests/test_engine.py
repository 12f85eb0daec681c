"""The pipeline with a profile: each file, and each member of an archive, is judged by what is demanded of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.engine import inspect, judge, requests_of
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Artifact, Outcome
from pytest_hardening.policy.profile import Profile, load_profile

SOURCE = '#include <stdio.h>\nint f(int n, char **v) { char b[64]; sprintf(b, v[0], n); return printf("%d %s", n, b); }'
WHEN = '[[when]]\nmachine = "{}"\nreason = "not on this machine"\nchecks.stack-protector = false\n'


@pytest.fixture
def profile(tmp_path: Path) -> Callable[[str], Profile]:
    def profile(text: str) -> Profile:
        path = tmp_path / "ours.toml"
        path.write_text(text)
        return load_profile(str(path))

    return profile


def test_members_of_several_machines(
    build: CompileC, profile: Callable[[str], Profile], tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    """Built without protector for two machines: of one it is not demanded."""
    flags = ["-O2", "-fno-stack-protector"]
    for name, compiler in (("here.o", "gcc"), ("arm.o", "aarch64-linux-gnu-gcc")):
        path = build(SOURCE, kind="object", flags=flags, compiler=compiler, name=name)
        (tmp_path / name).write_bytes(path.read_bytes())
    archive = tmp_path / "both.a"
    subprocess.run([tool_for("ar"), "rc", archive, tmp_path / "here.o", tmp_path / "arm.o"], check=True)
    ours = profile("[checks]\nstack-protector = {}\n" + WHEN.format("aarch64"))
    report = inspect(archive, ours)
    found = {entry.member: entry.verdicts[0] for entry in report.members}
    assert found["here.o"].outcome is Outcome.FAIL
    assert found["arm.o"].outcome is Outcome.NOT_APPLICABLE
    assert found["arm.o"].summary == "not demanded: not on this machine"
    assert report.artifact.verdicts[0].outcome is Outcome.FAIL
    assert report.artifact.verdicts[0].culprits == ("here.o: f()",)
    assert {entry.profile for entry in report.artifacts} == {ours.name}
    nowhere = inspect(
        archive, profile("[checks]\nstack-protector = {}\n" + WHEN.format("aarch64") + WHEN.format("x86-64"))
    )
    assert nowhere.artifact.verdicts[0].outcome is Outcome.NOT_APPLICABLE
    assert nowhere.artifact.verdicts[0].summary == "not demanded: not on this machine"


def test_parameters_follow_the_target(build: CompileC, profile: Callable[[str], Profile]) -> None:
    source = '#include <stdio.h>\nint main(void) { return puts("x"); }'
    program = build(source, flags=["-O2", "-fPIE"], link_flags=["-pie", "-Wl,-z,relro,-z,lazy"])
    text = "[checks]\nrelro = {}\n"
    assert inspect(program, profile(text)).verdict("relro").outcome is Outcome.FAIL
    text += '[[when]]\nlibc = "glibc"\nreason = "so"\nchecks.relro = { level = "partial" }'
    assert inspect(program, profile(text)).verdict("relro").outcome is Outcome.PASS


def test_the_strictest_of_an_archives_unknown_members_decides(
    bitcode: Callable[[Path], Path], profile: Callable[[str], Profile], tmp_path: Path
) -> None:
    text = "unknown = 'ignore'\n[checks]\nstack-protector = {}\nfortify = { unknown = 'fail' }"
    text += '\n[[when]]\nkind = "archive"\nreason = "so"\nchecks.stack-protector = { unknown = "warn" }'
    path = bitcode(tmp_path)
    assert inspect(path, profile(text)).artifact.unknown == {"stack-protector": "warn", "fortify": "fail"}


@pytest.fixture
def bitcode() -> Callable[[Path], Path]:
    """Write an archive of LLVM bitcode, of which every check says unknown."""

    def bitcode(folder: Path) -> Path:
        header = b"".join((b"unit.o/".ljust(16), b"0".ljust(12), b"0".ljust(6), b"0".ljust(6), b"644".ljust(8)))
        path = folder / "bitcode.a"
        path.write_bytes(b"!<arch>\n" + header + b"4".ljust(10) + b"`\nBC\xc0\xde")
        return path

    return bitcode


def test_without_a_profile_nothing_changes(build: CompileC) -> None:
    program = build("int main(void) { return 0; }")
    report = inspect(program)
    assert report.artifact.profile == ""
    assert report.artifact.to_json()["profile"] is None
    assert report.artifact.unknown == {}
    (entry,) = judge(Artifact(str(program), "program"), requests_of(["pie"]))
    assert [verdict.check for verdict in entry.verdicts] == ["pie"]


def test_files_that_cannot_be_judged_name_the_profile(tmp_path: Path) -> None:
    (tmp_path / "empty.so").touch()
    report = inspect(tmp_path / "empty.so", load_profile("kms-6.6")).artifact
    assert report.error is not None
    assert report.profile == "kms-6.6"


def test_the_model_of_policies_is_not_loaded_without_a_profile() -> None:
    code = "import sys, pytest_hardening as h; h.inspect(sys.executable, ['pie']); assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
