"""The fixtures `toolchain`, `link`, `build_matrix`, the marker and --hardening-toolchain, in a user's project."""

from __future__ import annotations

from pathlib import Path

import pytest

TWO = ("--hardening-toolchain", "gcc-12", "--hardening-toolchain", "clang-14")

TESTS = """
import subprocess
import pytest

SOURCE = "int main(void) { return 3; }\\n"


def test_each(toolchain, compile_c):
    program = compile_c(SOURCE, flags=["-g"])
    text = subprocess.run(["readelf", "-p", ".comment", program], capture_output=True, text=True).stdout
    # the start files are gcc's anyway
    assert ("clang" in text) is (toolchain.family == "clang")
    assert subprocess.run([program]).returncode == 3


def test_an_explicit_compiler_wins(toolchain, compile_c):
    text = compile_c(SOURCE, compiler="clang-14", kind="object").read_bytes()
    assert b"clang version" in text


def test_link(toolchain, compile_c, link):
    unit = compile_c({"main.c": SOURCE}, kind="object", flags=["-fPIC"])
    assert subprocess.run([link([unit], flags=["-s"], name="p")]).returncode == 3
    assert link([unit, "-Wl,-z,now"], kind="shared-library").name == "library.so"
    with pytest.raises(Exception, match="what is linked is"):
        link([unit], kind="object")


@pytest.mark.toolchain(family="gcc", min="12", max="12", target="x86_64-*", libc="glibc")
def test_gcc(toolchain):
    assert toolchain.id.startswith("gcc-12.")


@pytest.mark.toolchain(target="sparc64-*")
def test_sparc(toolchain):
    raise AssertionError("never run")


@pytest.mark.parametrize("toolchain", ["mine"])
def test_own_parameters(toolchain, compile_c):
    assert toolchain == "mine"
    compile_c(SOURCE, kind="object")


@pytest.mark.toolchain(family="clang")
def test_project(toolchain, sample_project):
    assert (sample_project() / "PROGRAM").is_file()


def test_matrix(build_matrix):
    builts = build_matrix({"a": SOURCE, "b": {"x.c": SOURCE}}, flags=[["-O1"], ["-O2", "-g"]])
    assert len({built.path for built in builts}) == len({built.id for built in builts}) == len(builts)
    assert {built.flags for built in builts} == {("-O1",), ("-O2", "-g")}
    assert not any(b"hardening-builds" in built.path.read_bytes() for built in builts)
    with pytest.raises(Exception, match="nothing to build"):
        build_matrix({}, flags=[[]])
    with pytest.raises(Exception, match="expected a list of lists"):
        build_matrix({"a": SOURCE}, flags=["-O1"])


def test_matrix_of_one(toolchain, build_matrix):
    (built,) = build_matrix({"a": SOURCE})
    assert built.toolchain is toolchain
"""


@pytest.fixture(scope="session")
def ini(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An ini file's beginning: one cache folder for all sessions here, so that toolchains are asked once."""
    return f"[pytest]\ncache_dir = {tmp_path_factory.mktemp('cache')}\n"


@pytest.fixture
def user(pytester: pytest.Pytester, ini: str) -> pytest.Pytester:
    """A project with tests for toolchains."""
    pytester.makepyfile(test_tools=TESTS)
    pytester.makeini(ini)
    return pytester


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_once_per_toolchain(user: pytest.Pytester, workers: tuple[str, ...]) -> None:
    result = user.runpytest_inprocess(*TWO, *workers, "-rs", "-v")
    result.assert_outcomes(passed=12, skipped=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED*no selected toolchain is target='sparc64-[*]'; there are: gcc-12.*, clang-14.*"]
    )
    result.stdout.fnmatch_lines_random(["*test_each[[]gcc-12.*-x86_64[]]*", "*test_each[[]clang-14.*-x86_64[]]*"])


def test_the_native_compiler_without_any(user: pytest.Pytester) -> None:
    result = user.runpytest_inprocess("-k", "test_each or test_matrix_of_one", "-v")
    result.assert_outcomes(passed=2, deselected=7)
    result.stdout.fnmatch_lines(["*test_each[[]gcc-*"])


def test_ini_option(user: pytest.Pytester, ini: str) -> None:
    user.makeini(f"{ini}hardening_toolchains =\n    gcc-12 -m32\n    gcc-11\n")
    result = user.runpytest_inprocess("-k", "test_each", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test_each[[]gcc-12.*-i386[]]", "*test_each[[]gcc-11.*-x86_64[]]"])
    user.makeini(f"{ini}hardening_cc = clang-14\n")
    result = user.runpytest_inprocess("-k", "test_each", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test_each[[]clang-14.*-x86_64[]]"])
    user.makeini(f"{ini}hardening_toolchains = gcc-99\n")
    result = user.runpytest_inprocess("-k", "test_each")
    result.stdout.fnmatch_lines(["*test_each: 'gcc-99' not found: install it with: apt-get install gcc-99*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_what_is_wrong_is_an_error(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--hardening-toolchain", "gcc-99")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --hardening-toolchain: 'gcc-99' not found: install it with: apt-get install gcc-99"]
    )
    for body, message in {
        "@pytest.mark.toolchain(family='gcc')\ndef test_it(): pass": "*must take the fixture `toolchain`",
        "@pytest.mark.toolchain(famly='gcc')\ndef test_it(toolchain): pass": "*toolchain: unknown argument famly=: *",
        "@pytest.mark.toolchain('gcc')\ndef test_it(toolchain): pass": "*takes keyword arguments only*",
    }.items():
        pytester.makepyfile(f"import pytest\n{body}")
        result = pytester.runpytest_inprocess()
        result.stdout.fnmatch_lines([message])
        result.assert_outcomes(errors=1)


def test_nothing_is_written_beside_the_cache(user: pytest.Pytester) -> None:
    before = set(Path(user.path).rglob("*"))
    user.runpytest_subprocess("-p", "no:cacheprovider", "-k", "test_each").assert_outcomes(passed=1, deselected=8)
    new = {path.name for path in set(Path(user.path).rglob("*")) - before}
    assert not {name for name in new if "toolchain" in name or name == ".pytest_cache"}
