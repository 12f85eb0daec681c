"""file-mode: special bits of programs, libraries and kernel modules on disk, and none of archive members."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.checks.registry import get_check
from pytest_hardening.engine import inspect
from pytest_hardening.errors import PolicyError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

PROGRAM = "int main(void) { return 0; }\n"
LIBRARY = "int f(void) { return 1; }\n"
MODES = {
    0o755: [],
    0o644: [],
    0o555: [],
    0o775: [],
    0o1755: [],
    0o4755: ["set-user-id"],
    0o4711: ["set-user-id"],
    0o4644: ["set-user-id"],
    0o2755: ["set-group-id"],
    0o2745: [],  # without the execute bit of the group it is a mark for locking
    0o6755: ["set-user-id", "set-group-id"],
    0o757: ["world-writable"],
    0o4777: ["set-user-id", "world-writable"],
}


@pytest.fixture
def program(build: CompileC, tmp_path: Path) -> Path:
    path = tmp_path / "program"
    copyfile(build(PROGRAM), path)
    return path


@pytest.mark.parametrize(
    ("mode", "special"), MODES.items(), ids=lambda value: f"{value:o}" if isinstance(value, int) else ""
)
def test_modes(verdict: VerdictOf, program: Path, mode: int, special: list[str]) -> None:
    program.chmod(mode)
    found = verdict(program, "file-mode")
    assert found.outcome is (Outcome.FAIL if special else Outcome.PASS)
    assert found.observed == {"mode": f"{mode:04o}", "special": special}
    assert verdict(program, "file-mode", allow=special).outcome is Outcome.PASS
    if special:
        assert verdict(program, "file-mode", allow=special[1:]).outcome is Outcome.FAIL
        assert found.remedy.startswith("chmod ")
    for other in ("rpath", "interpreter", "forbidden-needed"):
        assert verdict(program, other).outcome is Outcome.PASS


def test_link_leads_to_the_file(verdict: VerdictOf, program: Path, tmp_path: Path) -> None:
    """Links have all bits; the file's count."""
    program.chmod(0o755)
    (tmp_path / "link").symlink_to(program)
    assert verdict(tmp_path / "link", "file-mode").outcome is Outcome.PASS


def test_libraries(build: CompileC, verdict: VerdictOf, tmp_path: Path) -> None:
    path = tmp_path / "libf.so"
    copyfile(build(LIBRARY, kind="shared-library", flags=["-fPIC"]), path)
    path.chmod(0o644)
    assert verdict(path, "file-mode").outcome is Outcome.PASS
    path.chmod(0o666)
    found = verdict(path, "file-mode")
    assert (found.outcome, found.summary) == (Outcome.FAIL, "can be overwritten by every user")
    assert found.remedy == "chmod o-w"


def test_kernel_modules(build: CompileC, verdict: VerdictOf, tmp_path: Path) -> None:
    """Who can write to one runs code in the kernel."""
    text = '.section .modinfo,"a"\n.string "license=GPL"\n.section .gnu.linkonce.this_module,"aw"\n.quad 0\n'
    path = tmp_path / "module.ko"
    copyfile(build({"module.S": text}, kind="object"), path)
    for mode, outcome in ((0o644, Outcome.PASS), (0o646, Outcome.FAIL)):
        path.chmod(mode)
        assert verdict(path, "file-mode").outcome is outcome


def test_objects_and_members_of_archives(build: CompileC, verdict: VerdictOf, tmp_path: Path) -> None:
    """Members have the archive's bits in our hands, which say nothing of them, programs in an archive included."""
    program = tmp_path / "program"
    copyfile(build(PROGRAM), program)
    subprocess.run(["ar", "rcs", "tools.a", "program"], cwd=tmp_path, check=True)
    (tmp_path / "tools.a").chmod(0o4777)
    report = inspect(tmp_path / "tools.a", ["file-mode", "rpath"])
    assert [entry.verdicts[-1].outcome for entry in report.members] == [Outcome.NOT_APPLICABLE]
    assert report.members[0].verdicts[-1].summary == "a member of an archive has no mode of its own"
    for kind in ("object", "archive"):
        path = tmp_path / kind
        copyfile(build({"F.c": LIBRARY}, kind=kind), path)
        path.chmod(0o666)
        assert verdict(path, "file-mode").outcome is Outcome.NOT_APPLICABLE


def test_unknown_name() -> None:
    with pytest.raises(PolicyError, match=r"file-mode\.allow = 'setuid': expected some of set-user-id"):
        get_check("file-mode").settings({"allow": ["setuid"]})
