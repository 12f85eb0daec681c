"""rpath: every class of element, both tags, files without section headers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

PROGRAM = "int main(void) { return 0; }\n"
SAFE = {
    "$ORIGIN": "origin",
    "${ORIGIN}": "origin",
    "$ORIGIN/../lib": "origin",
    "${ORIGIN}/plugins": "origin",
    "$ORIGIN/../../lib": "origin",
    "/usr/lib/kurento": "absolute",
    "/opt/vendor/lib": "absolute",
    "/tmpfiles/lib": "absolute",
    "/buildroots": "absolute",
}
UNSAFE = {
    "": "empty",
    "lib": "relative",
    ".": "relative",
    "../lib": "relative",
    "$ORIGINAL/lib": "relative",
    "$LIB": "relative",
    "/tmp": "world-writable",
    "/tmp/evil": "world-writable",
    "/usr/../tmp/evil": "world-writable",
    "//tmp/evil": "world-writable",
    "/var/tmp/x": "world-writable",
    "/dev/shm": "world-writable",
    "/proc/self/cwd/lib": "relative",
    "/dev/fd/3": "relative",
    "$ORIGIN/../../../../../tmp/evil": "origin-escapes",
    "/home/me/project/build": "build-directory",
    "/build/project-1.0/lib": "build-directory",
}
TAGS = {"DT_RUNPATH": "-Wl,--enable-new-dtags", "DT_RPATH": "-Wl,--disable-new-dtags"}


@pytest.mark.parametrize(("element", "kind"), (SAFE | UNSAFE).items())
def test_class_of_an_element(build: CompileC, verdict: VerdictOf, element: str, kind: str) -> None:
    """An empty element cannot be the only one on a command line: it stands behind a safe one."""
    value = element or "/usr/lib/kurento:"
    found = verdict(build(PROGRAM, link_flags=[f"-Wl,-rpath,{value}", TAGS["DT_RUNPATH"]]), "rpath")
    assert found.observed["elements"][-1] == {"tag": "DT_RUNPATH", "element": element, "class": kind}
    assert found.observed["runpath"] == value
    assert found.outcome is (Outcome.PASS if element in SAFE else Outcome.FAIL)
    if element in UNSAFE:
        assert found.remedy == "drop -Wl,-rpath (CMake: set CMAKE_BUILD_RPATH_USE_ORIGIN), or use '$ORIGIN'"
        assert repr(element) in found.summary


def test_libraries_that_are_opened_as_they_stand(build: CompileC, verdict: VerdictOf, tmp_path: Path) -> None:
    """A name with a slash in DT_NEEDED, which a library without SONAME leaves, DT_AUDIT and PT_INTERP."""
    plain = build("int f(void) { return 1; }", kind="shared-library", flags=["-fPIC"], name="libplain.so")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libplain.so").write_bytes(plain.read_bytes())
    (tmp_path / "needs.c").write_text("int f(void); int main(void) { return f(); }")
    subprocess.run(["gcc", "needs.c", "lib/libplain.so", "-o", "needs"], cwd=tmp_path, check=True)
    needs = tmp_path / "needs"
    assert verdict(needs, "rpath").outcome is Outcome.FAIL
    assert "DT_NEEDED" in verdict(needs, "rpath").summary
    for option, tag in (("--audit=/tmp/libaudit.so", "DT_AUDIT"), ("--dynamic-linker=/tmp/ld.so", "PT_INTERP")):
        found = verdict(build(PROGRAM, link_flags=[f"-Wl,{option}"]), "rpath")
        assert (found.outcome, found.summary.split()[0]) == (Outcome.FAIL, tag)


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize(("tag", "option"), TAGS.items())
@pytest.mark.parametrize("kind", ["executable", "shared-library"])
def test_both_tags_by_every_linker(
    build: CompileC, verdict: VerdictOf, linker: str, tag: str, option: str, kind: str
) -> None:
    base = ["-fPIC", "-shared"] if kind == "shared-library" else ["-fPIE", "-pie"]
    path = build(PROGRAM, flags=[*base, f"-fuse-ld={linker}"], link_flags=["-Wl,-rpath,$ORIGIN:/tmp/evil", option])
    found = verdict(path, "rpath")
    assert found.outcome is Outcome.FAIL
    assert found.summary.startswith(f"{tag} '/tmp/evil'")
    assert [item["tag"] for item in found.observed["elements"]] == [tag, tag]
    assert found.observed["rpath" if tag == "DT_RUNPATH" else "runpath"] is None


def test_no_search_path(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build(PROGRAM), "rpath")
    assert (found.outcome, found.observed) == (Outcome.PASS, {"rpath": None, "runpath": None, "elements": []})


@pytest.mark.parametrize("tag", TAGS)
def test_empty_search_path(
    build: CompileC, verdict: VerdictOf, edit: Callable[[Path], ElfEditor], tmp_path: Path, tag: str
) -> None:
    """Linkers drop an empty -rpath; chrpath and the like leave one behind: the copy's entry names the empty string."""
    editor = edit(build(PROGRAM, link_flags=["-Wl,-rpath,/usr/lib/kurento", TAGS[tag]]))
    number = {"DT_RPATH": 15, "DT_RUNPATH": 29}[tag]
    editor.set_tag(number, number, 0)
    found = verdict(editor.save(tmp_path), "rpath")
    assert found.observed["elements"] == [{"tag": tag, "element": "", "class": "empty"}]
    assert found.outcome is Outcome.FAIL


@pytest.mark.parametrize("mode", [0o4755, 0o2755])
@pytest.mark.parametrize("element", ["$ORIGIN/../lib", "${ORIGIN}"])
def test_origin_in_a_set_user_id_program(
    build: CompileC, verdict: VerdictOf, tmp_path: Path, element: str, mode: int
) -> None:
    path = tmp_path / "program"
    copyfile(build(PROGRAM, link_flags=[f"-Wl,-rpath,{element}"]), path)
    path.chmod(0o755)
    assert verdict(path, "rpath").outcome is Outcome.PASS
    path.chmod(mode)
    found = verdict(path, "rpath")
    assert found.outcome is Outcome.FAIL
    assert found.observed["elements"][0]["class"] == "origin-setuid"


def test_build_directory_of_the_file(build: CompileC, verdict: VerdictOf, tmp_path: Path) -> None:
    """/srv is nobody's build place by name, but a build tree's root is one for the files that lie in it."""
    from pytest_hardening.checks.rpath import classify

    assert classify("/srv/project/build/lib", "/srv/project/build") == "build-directory"
    assert classify("/srv/project/builder/lib", "/srv/project/build") == "absolute"
    (tmp_path / "CMakeCache.txt").write_text("")
    path = tmp_path / "program"
    copyfile(build(PROGRAM, link_flags=[f"-Wl,-rpath,{tmp_path}/lib"]), path)
    found = verdict(path, "rpath")
    assert found.outcome is Outcome.FAIL
    assert found.observed["elements"][0]["class"] in ("build-directory", "world-writable")


def test_allow_list(build: CompileC, verdict: VerdictOf) -> None:
    path = build(PROGRAM, link_flags=["-Wl,-rpath,/tmp/vendor/lib:/tmp/evil"])
    found = verdict(path, "rpath", allow=["/tmp/vendor/*"])
    assert found.outcome is Outcome.FAIL
    assert [item["class"] for item in found.observed["elements"]] == ["allowed", "world-writable"]
    assert verdict(path, "rpath", allow=["/tmp/vendor/*", "/tmp/evil"]).outcome is Outcome.PASS


@pytest.mark.parametrize("tag", TAGS)
def test_file_without_section_headers(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path, tag: str
) -> None:
    path = build(PROGRAM, link_flags=["-Wl,-rpath,/tmp/evil", TAGS[tag]])
    stripped = tmp_path / "stripped"
    subprocess.run([tool_for("llvm-objcopy"), "--strip-sections", path, stripped], check=True)
    found = verdict(stripped, "rpath")
    assert found.outcome is Outcome.FAIL
    assert found.summary.startswith(f"{tag} '/tmp/evil'")


@pytest.mark.parametrize(
    "compiler",
    [
        "gcc -m32",
        "aarch64-linux-gnu-gcc",
        "arm-linux-gnueabihf-gcc",
        "powerpc64le-linux-gnu-gcc",
        "s390x-linux-gnu-gcc",
        "riscv64-linux-gnu-gcc",
    ],
)
def test_every_architecture(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    path = build(PROGRAM, link_flags=["-Wl,-rpath,/tmp/evil"], compiler=compiler)
    assert verdict(path, "rpath").observed["elements"][0]["class"] == "world-writable"


def test_not_applicable(build: CompileC, verdict: VerdictOf) -> None:
    assert verdict(build(PROGRAM, flags=["-static", "-no-pie"]), "rpath").outcome is Outcome.NOT_APPLICABLE
    assert verdict(build(PROGRAM, kind="object"), "rpath").outcome is Outcome.NOT_APPLICABLE
