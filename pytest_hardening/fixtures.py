"""The fixtures: thin, as the work is done by `pytest_hardening.toolchain`, which is imported when one is used."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import pytest

from pytest_hardening.errors import BuildError, HardeningError, PolicyError, ToolchainError

if TYPE_CHECKING:
    from pytest_hardening.model import Artifact
    from pytest_hardening.session.gate import Hardening
    from pytest_hardening.session.marker import Nothing
    from pytest_hardening.toolchain import BuildCache, BuildLog, Compiler, Kind, Language, Project, Sources

__all__ = ["CProject", "CompileC", "SampleProject"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)


class CompileC(Protocol):
    """The type of the fixture `compile_c`."""

    def __call__(
        self,
        source: Sources,
        kind: Kind = "executable",
        flags: Sequence[str] = (),
        link_flags: Sequence[str] = (),
        compiler: Compiler | str | Sequence[str] | None = None,
        name: str | None = None,
        unit_flags: Mapping[str, Sequence[str]] | None = None,
        objects: Sequence[str | Path] = (),
    ) -> Path: ...


class CProject(Protocol):
    """The type of the fixture `c_project`."""

    def __call__(
        self,
        folder: str | Path,
        compiler: Compiler | str | Sequence[str] | None = None,
        cxx: Compiler | str | Sequence[str] | None = None,
        keep: Sequence[str] = (),
    ) -> Project: ...


class SampleProject(Protocol):
    """The type of the fixture `sample_project`."""

    def __call__(
        self,
        break_: str | None = None,
        system: Literal["make", "cmake"] = "make",
        compiler: Compiler | str | Sequence[str] | None = None,
    ) -> Path: ...


@pytest.fixture(scope="session")
def _hardening_builds(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> BuildCache:
    """Every build of the session; the workers of pytest-xdist share one folder."""
    from pytest_hardening.toolchain import BuildCache

    base = tmp_path_factory.getbasetemp()
    # Not PYTEST_XDIST_WORKER: a session that is run by a test of another one inherits that session's environment.
    if hasattr(pytestconfig, "workerinput"):
        base = base.parent
    return BuildCache(base / "hardening-builds")


@pytest.fixture
def _hardening_build_log(request: pytest.FixtureRequest) -> BuildLog:
    """Shows every build of a test in its report, should it fail: the commands explain what was judged."""
    from pytest_hardening.toolchain import BuildLog, BuildRecord

    class ReportedLog(BuildLog):
        def add(self, record: BuildRecord) -> None:
            super().add(record)
            request.node.add_report_section(_phase(), record.title, record.text())

    return ReportedLog()


@pytest.fixture(scope="session")
def cc(pytestconfig: pytest.Config) -> Compiler:
    """The C compiler: the ini option `hardening_cc`, `gcc` by default; a `pytest_hardening.toolchain.Compiler`.

    Errors when it is missing, with the apt-get line that installs it.
    """
    return _compiler_of_session(pytestconfig, "hardening_cc", "c")


@pytest.fixture(scope="session")
def cxx(pytestconfig: pytest.Config) -> Compiler:
    """The C++ compiler: the ini option `hardening_cxx`, `g++` by default; a `pytest_hardening.toolchain.Compiler`.

    Errors when it is missing, with the apt-get line that installs it.
    """
    return _compiler_of_session(pytestconfig, "hardening_cxx", "c++")


@pytest.fixture
def compile_c(
    request: pytest.FixtureRequest, _hardening_builds: BuildCache, _hardening_build_log: BuildLog
) -> CompileC:
    """Compile C sources with exactly the flags given: `compile_c(source, kind="executable", flags=(), ...) -> Path`.

    `source` is source text, a `Path` (relative to the test's folder), a mapping of file names to texts, or a sequence
    of these; `kind` is `object`, `archive`, `shared-library` or `executable`; `flags` go to compile and link step,
    `link_flags` to the link step, `unit_flags` (by source name) to one unit; `objects` are finished files to link;
    `compiler` is a command or a `Compiler`, else that of the fixture `toolchain` where the test uses it, else `cc`.

    CFLAGS and their like in the environment have no effect. Equal calls build once per session, also across the workers
    of pytest-xdist; the returned file must not be changed. If the test fails, its report shows the commands. A failing
    command raises `BuildError` with its output.
    """
    from pytest_hardening.toolchain import Builder

    builder = Builder(_hardening_builds, _hardening_build_log, base=request.path.parent)

    def compile_c(
        source: Sources,
        kind: Kind = "executable",
        flags: Sequence[str] = (),
        link_flags: Sequence[str] = (),
        compiler: Compiler | str | Sequence[str] | None = None,
        name: str | None = None,
        unit_flags: Mapping[str, Sequence[str]] | None = None,
        objects: Sequence[str | Path] = (),
    ) -> Path:
        return builder.compile(
            _chosen(request, compiler, "cc"),
            source,
            kind=kind,
            flags=flags,
            link_flags=link_flags,
            name=name,
            unit_flags=unit_flags,
            objects=objects,
        )

    return compile_c


@pytest.fixture
def c_project(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    _hardening_builds: BuildCache,
    _hardening_build_log: BuildLog,
) -> CProject:
    """Copy a C project to a temporary folder and build it there: `c_project(folder, keep=()) -> Project`.

    `folder` is relative to the test's folder. The `Project` has `path`, the copy that the test may change, and the
    methods `make()` and `cmake()`, which return the build folder. It is built with the fixture `cc`, or with `compiler`
    and `cxx`, commands or `Compiler` objects.

    The copy is without what was built in the tree before, so that everything is made anew: ELF files, static archives,
    LLVM bitcode, CMakeCache.txt and CMakeFiles stay behind, whatever folder they are in. Binaries that belong to the
    project are named by `keep`, globs relative to `folder`: `keep=["vendor/*.a"]`.

    `make()` gives the makefile the folder to build in as `BUILD=FOLDER`; one that knows no `BUILD` builds within the
    copied tree, which is then returned.
    """
    from pytest_hardening.toolchain import Project, copy_project

    def c_project(
        folder: str | Path,
        compiler: Compiler | str | Sequence[str] | None = None,
        cxx: Compiler | str | Sequence[str] | None = None,
        keep: Sequence[str] = (),
    ) -> Project:
        source = (request.path.parent / folder).resolve()
        copy = tmp_path_factory.mktemp("c_project") / source.name
        # The session's temporary folder may lie within the project, as with --basetemp=tmp.
        left = copy_project(source, copy, leave_out=_hardening_builds.root.parent, keep=keep)
        if left:
            shown = "\n".join((*left[:20], *([f"and {len(left) - 20} more"] if len(left) > 20 else [])))
            request.node.add_report_section(_phase(), f"left out of the copy of {source.name}, as built before", shown)
        return Project(
            copy,
            _hardening_builds,
            _hardening_build_log,
            compiler=_chosen(request, compiler, "cc"),
            cxx=None if cxx is None else _chosen(request, cxx, "cxx"),
            keep=["."],  # what is in the copy now is there because somebody wants it
        )

    return c_project


@pytest.fixture
def sample_project(
    request: pytest.FixtureRequest, _hardening_builds: BuildCache, _hardening_build_log: BuildLog
) -> SampleProject:
    """Build the sample project that comes with pytest-hardening and return its build folder.

    `sample_project(break_=None, system="make", compiler=None) -> Path`. The folder holds `AB.a`, `EF.a`,
    `libSHARED.so`, `PROGRAM`, `plugin.so` and `HOST`, all hardened; `break_` names the one mitigation that is left out,
    for example `relro`. `system` is `make` or `cmake`. It is built once per session and must not be changed.
    """
    from pytest_hardening.toolchain import Project, shipped_sample_project

    def sample_project(
        break_: str | None = None,
        system: Literal["make", "cmake"] = "make",
        compiler: Compiler | str | Sequence[str] | None = None,
    ) -> Path:
        if system not in ("make", "cmake"):
            raise BuildError(f"unknown build system {system!r}: it is 'make' or 'cmake'")

        found = _chosen(request, compiler, "cc")
        project = Project(shipped_sample_project(), _hardening_builds, _hardening_build_log, compiler=found)
        if system == "make":
            return project.make(variables={"BREAK": break_} if break_ else {})
        return project.cmake(*([f"-DBREAK={break_}"] if break_ else []))

    return sample_project


@pytest.fixture
def artifact(request: pytest.FixtureRequest) -> Artifact:
    """The artifact of this run of a test that has `@pytest.mark.hardening(glob, ...)`."""
    found: Artifact | Nothing | None = getattr(request, "param", None)
    if found is None:
        pytest.fail("the fixture `artifact` needs @pytest.mark.hardening(glob) on the test", pytrace=False)
    from pytest_hardening.session.marker import Nothing

    if isinstance(found, Nothing):
        pytest.fail(found.reason, pytrace=False)
    return found


@pytest.fixture(scope="session")
def hardening(pytestconfig: pytest.Config) -> Hardening:
    """The engine with the profile and the checks that the command line and the ini file name."""
    from pytest_hardening.session.gate import Hardening

    try:
        return Hardening(pytestconfig)
    except PolicyError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


def _compiler_of_session(config: pytest.Config, name: str, language: Language) -> Compiler:
    try:
        return _compiler(config.getini(name), language)
    except ToolchainError as error:
        reason = f"{name}: {error}"
    pytest.fail(reason, pytrace=False)  # not in the handler, and no traceback: that would be pytest's own


def _compiler(command: str | Sequence[str], language: Language | None) -> Compiler:
    from pytest_hardening.toolchain import find_compiler

    return find_compiler(command, language)


def _chosen(
    request: pytest.FixtureRequest, compiler: Compiler | str | Sequence[str] | None, default: Literal["cc", "cxx"]
) -> Compiler:
    """The compiler of one call: an object, a command to find, that of the test's toolchain, or the session's."""
    from pytest_hardening.toolchain import Compiler

    if compiler is None and default == "cc" and "toolchain" in request.fixturenames:
        used = request.getfixturevalue("toolchain")
        compiler = getattr(used, "compiler", None)  # a fixture of that name may be the user's own
    if compiler is None:
        try:
            found: Compiler = request.getfixturevalue(default)
        except pytest.fail.Exception as error:
            reason = str(error)
        else:
            return found
        raise ToolchainError(reason)  # a new one, whose traceback ends at the caller
    return compiler if isinstance(compiler, Compiler) else _compiler(compiler, None)


def _phase() -> str:
    """Which of setup, call and teardown runs now, as pytest tells it to everybody."""
    phase = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition("(")[2].rstrip(")")
    return phase if phase in {"setup", "call", "teardown"} else "call"
