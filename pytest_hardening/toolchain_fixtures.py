"""The toolchains of a session: their options, the marker that filters them, and the fixtures that build with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from operator import methodcaller
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import pytest

from .errors import BuildError, HardeningError, ToolchainError

if TYPE_CHECKING:
    from .toolchain import BuildCache, BuildLog, Kind, Selection, Sources, Toolchain

__all__ = ["BuildMatrix", "Link", "MatrixBuild", "persistent_cache", "selected_toolchains"]

# pytest leaves this module out of the traceback of an error of ours: the message says all.
__tracebackhide__ = methodcaller("errisinstance", HardeningError)

_CACHE = pytest.StashKey["BuildCache"]()
_SELECTION = pytest.StashKey["Selection"]()
# Compilers run side by side.
_SIDE_BY_SIDE = 2


class NoToolchain(NamedTuple):
    """Stands for the toolchains of a test of which the marker leaves none."""

    reason: str


class MatrixBuild(NamedTuple):
    """One product of `build_matrix`: what it was made with, and its path."""

    toolchain: Toolchain
    flags: tuple[str, ...]
    source: str
    path: Path

    @property
    def id(self) -> str:
        """A readable name: `gcc-12.2-x86_64/-O2 -g/source.c`."""
        return f"{self.toolchain.id}/{' '.join(self.flags) or 'no flags'}/{self.source}"


class Link(Protocol):
    """The type of the fixture `link`."""

    def __call__(
        self,
        objects: Sequence[str | Path],
        kind: Literal["executable", "shared-library"] = "executable",
        flags: Sequence[str] = (),
        toolchain: Toolchain | None = None,
        name: str | None = None,
    ) -> Path: ...


class BuildMatrix(Protocol):
    """The type of the fixture `build_matrix`."""

    def __call__(
        self,
        sources: Mapping[str, Sources],
        flags: Iterable[Sequence[str]] = ((),),
        toolchains: Iterable[Toolchain] | None = None,
        kind: Kind = "executable",
    ) -> tuple[MatrixBuild, ...]: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hardening")
    group.addoption(
        "--hardening-toolchain",
        action="append",
        default=[],
        metavar="SPEC",
        dest="hardening_toolchains",
        help="toolchain of the fixture `toolchain` and of --hardening-posture (repeatable): a command such as gcc-12, "
        "a glob on ids, or all (default: hardening_cc)",
    )
    parser.addini("hardening_toolchains", "toolchains: commands, globs on ids, or all; one a line", type="linelist")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "toolchain(family, min, max, target, libc, language): run the test with those of the selected toolchains that "
        "are such ones, through the fixture `toolchain`",
    )
    if config.getoption("hardening_toolchains"):
        try:
            selected_toolchains(config)
        except ToolchainError as error:
            raise pytest.UsageError(f"--hardening-toolchain: {error}") from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("toolchain")
    if "toolchain" not in metafunc.fixturenames:
        if marker is not None:
            needs = "a test with @pytest.mark.toolchain must take the fixture `toolchain`"
            raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {needs}")
        return
    if _has_parameters(metafunc):  # a test's own idea of what a toolchain is
        return
    try:
        found = _wanted(marker, metafunc.config)
    except ToolchainError as error:
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {error}") from None
    ids = [one.id if not isinstance(one, NoToolchain) else "none" for one in found]
    metafunc.parametrize("toolchain", found, ids=ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def toolchain(request: pytest.FixtureRequest) -> Toolchain:
    """A toolchain: the test runs once for each that --hardening-toolchain or `hardening_toolchains` selects; without
    these, with that of the fixture `cc`.

    `@pytest.mark.toolchain(family="gcc", min="12", target="aarch64-*", libc="musl")` takes those that fit; where none
    does, the test is skipped. `compile_c`, `c_project`, `sample_project`, `link` and `build_matrix` build with it.
    """
    found: Toolchain | NoToolchain | None = getattr(request, "param", None)
    if isinstance(found, NoToolchain):
        pytest.skip(found.reason)
    if found is not None:
        return found
    try:
        return selected_toolchains(request.config).toolchains[0]
    except ToolchainError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)  # not in the handler: pytest would show the error twice


@pytest.fixture
def link(request: pytest.FixtureRequest, _hardening_builds: BuildCache, _hardening_build_log: BuildLog) -> Link:
    """Link finished objects: `link(objects, kind="executable", flags=(), toolchain=None, name=None) -> Path`.

    `objects` are objects, archives and libraries, and linker options that stand between them; `kind` is `executable` or
    `shared-library`; without `toolchain` it is that of the test, else the first that is selected.
    """
    from .toolchain import Builder

    builder = Builder(_hardening_builds, _hardening_build_log, base=request.path.parent)

    def link(
        objects: Sequence[str | Path],
        kind: Literal["executable", "shared-library"] = "executable",
        flags: Sequence[str] = (),
        toolchain: Toolchain | None = None,
        name: str | None = None,
    ) -> Path:
        if kind not in ("executable", "shared-library"):
            raise BuildError(f"kind {kind!r}: what is linked is an executable or a shared-library")
        compiler = _of_test(request, toolchain).compiler
        return builder.compile(compiler, (), kind=kind, flags=flags, objects=objects, name=name)

    return link


@pytest.fixture
def build_matrix(
    request: pytest.FixtureRequest, _hardening_builds: BuildCache, _hardening_build_log: BuildLog
) -> BuildMatrix:
    """Build sources by flags by toolchains: `build_matrix(sources, flags=[[]], toolchains=None, kind="executable")`.

    `sources` maps names to what `compile_c` takes, `flags` is a list of lists; without `toolchains` it is that of the
    test, else all that are selected. Returns a tuple of products, each with `toolchain`, `flags`, `source` (its name),
    `path` and a readable `id`. Paths of the build's folder are left out of debug information where the compiler can do
    that (-ffile-prefix-map), so that equal builds are equal bytes on every machine. A failing command raises
    `BuildError`.
    """
    from .toolchain import Builder

    builder = Builder(_hardening_builds, _hardening_build_log, base=request.path.parent, hide_folder=True)

    def build_matrix(
        sources: Mapping[str, Sources],
        flags: Iterable[Sequence[str]] = ((),),
        toolchains: Iterable[Toolchain] | None = None,
        kind: Kind = "executable",
    ) -> tuple[MatrixBuild, ...]:
        if toolchains is not None:
            used = tuple(toolchains)
        elif "toolchain" in request.fixturenames:
            used = (_of_test(request, None),)
        else:
            used = selected_toolchains(request.config).toolchains
        sets = [_words(words) for words in flags]
        if not (sources and sets and used):
            raise BuildError("build_matrix: nothing to build: no sources, no flags ([[]] is no flag) or no toolchains")
        from concurrent.futures import ThreadPoolExecutor

        every = list(product(used, sets, sources))

        def build(one: tuple[Toolchain, tuple[str, ...], str]) -> MatrixBuild:
            toolchain, words, name = one
            path = builder.compile(toolchain.compiler, sources[name], kind=kind, flags=words)
            return MatrixBuild(toolchain, words, name, path)

        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            return tuple(pool.map(build, every))

    return build_matrix


def selected_toolchains(config: pytest.Config) -> Selection:
    """The toolchains that the command line or the ini file selects; that of the fixture `cc` where neither does.

    Raises
    ------
    ToolchainError: a specification leads to nothing.
    """
    if _SELECTION not in config.stash:
        from .toolchain import select_toolchains

        specs = config.getoption("hardening_toolchains") or config.getini("hardening_toolchains")
        specs = specs or [config.getini("hardening_cc")]
        config.stash[_SELECTION] = select_toolchains(specs, cache=persistent_cache(config))
    return config.stash[_SELECTION]


def persistent_cache(config: pytest.Config) -> BuildCache:
    """Where what is known of toolchains is kept: in pytest's cache, so that the next session knows it; a temporary
    folder for a session without one.
    """
    if _CACHE not in config.stash:
        from .toolchain import BuildCache

        if config.pluginmanager.has_plugin("cacheprovider") and config.cache is not None:
            folder = config.cache.mkdir("hardening-toolchains")
        else:
            temporary = TemporaryDirectory(prefix="hardening-toolchains-")
            config.add_cleanup(temporary.cleanup)
            folder = Path(temporary.name)
        config.stash[_CACHE] = BuildCache(folder)
    return config.stash[_CACHE]


def _has_parameters(metafunc: pytest.Metafunc) -> bool:
    """Whether `@pytest.mark.parametrize` gives the argument `toolchain` already."""
    for marker in metafunc.definition.iter_markers("parametrize"):
        names = marker.args[0] if marker.args else marker.kwargs.get("argnames", ())
        listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        if "toolchain" in listed:
            return True
    return False


def _wanted(marker: pytest.Mark | None, config: pytest.Config) -> Sequence[Toolchain | NoToolchain]:
    """The selected toolchains that a marker wants; a reason to skip where there is none."""
    from .toolchain import Wanted

    selected = selected_toolchains(config).toolchains
    if marker is None:
        return selected
    if marker.args:
        raise ToolchainError("@pytest.mark.toolchain takes keyword arguments only, as in family='gcc'")
    try:
        wanted = Wanted.of(marker.kwargs)
    except ToolchainError as error:
        raise ToolchainError(f"@pytest.mark.toolchain: {error}") from None
    fitting = [one for one in selected if wanted.fits(one)]
    found = ", ".join(one.id for one in selected)
    return fitting or [NoToolchain(f"no selected toolchain is {wanted}; there are: {found}")]


def _of_test(request: pytest.FixtureRequest, given: Toolchain | None) -> Toolchain:
    """The toolchain of one call: what is given, that of the test, or the first that is selected."""
    if given is not None:
        return given
    found: Toolchain = request.getfixturevalue("toolchain")
    return found


def _words(flags: Sequence[str]) -> tuple[str, ...]:
    if isinstance(flags, str):
        raise BuildError(f"flags={flags!r}: expected a list of lists of strings, as in flags=[[{flags!r}]]")
    return tuple(flags)
