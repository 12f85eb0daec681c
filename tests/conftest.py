"""What all tests share: compilers and tools that say what to install, verdicts of one check, edited ELF files."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

import pytest

from pytest_hardening.engine import inspect
from pytest_hardening.errors import BuildError, ToolchainError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Verdict
from pytest_hardening.toolchain import BuildCache, Builder, Compiler, Kind, Sources, find_compiler, find_tool

from .matrix.summary import pytest_configure  # noqa: F401  here, because the controller of pytest-xdist loads this file

# What a compiler needs besides itself, where that is a package of its own.
LIBRARIES = {
    "gcc -m32": "lib32gcc-12-dev libc6-dev-i386",
    "aarch64-linux-gnu-gcc": "libc6-dev-arm64-cross",
    "arm-linux-gnueabihf-gcc": "libc6-dev-armhf-cross",
    "powerpc64le-linux-gnu-gcc": "libc6-dev-ppc64el-cross",
    "s390x-linux-gnu-gcc": "libc6-dev-s390x-cross",
    "riscv64-linux-gnu-gcc": "libc6-dev-riscv64-cross",
}


def missing(message: str) -> NoReturn:
    """Fail where everything must be installed (CI is set), skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def compiler_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Compiler]:
    """`compiler_for("aarch64-linux-gnu-gcc")`: the compiler, with the C library it needs."""

    @cache
    def compiler_for(command: str) -> Compiler:
        try:
            compiler = find_compiler(command)
        except ToolchainError as error:
            missing(str(error))
        if command in LIBRARIES:
            builder = Builder(BuildCache(tmp_path_factory.mktemp("trial")))
            try:
                builder.compile(compiler, '#include <stdio.h>\nint main(void) { return puts(""); }\n')
            except BuildError as error:
                missing(
                    f"{command} cannot link a program; install it with: apt-get install {LIBRARIES[command]}\n{error}"
                )
        return compiler

    return compiler_for


@pytest.fixture(scope="session")
def tool_for() -> Callable[[str], str]:
    """`tool_for("llvm-objcopy")`: the path of a tool."""

    def tool_for(command: str) -> str:
        try:
            return str(find_tool(command))
        except ToolchainError as error:
            missing(str(error))

    return tool_for


@pytest.fixture(scope="session")
def gstreamer(tool_for: Callable[[str], str]) -> None:
    """What the media server of the sample project is built and run with."""
    for tool in ("cmake", "gst-inspect-1.0", "gst-launch-1.0"):
        tool_for(tool)
    words = [tool_for("pkg-config"), "--variable=libdir", "gstreamer-base-1.0"]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        missing("GStreamer's headers are missing; install them with: apt-get install libgstreamer1.0-dev")


@pytest.fixture
def build(compile_c: CompileC, compiler_for: Callable[[str], Compiler]) -> CompileC:
    """`compile_c` that takes commands only, gcc without one, and says what to install."""

    def build(
        source: Sources,
        kind: Kind = "executable",
        flags: Sequence[str] = (),
        link_flags: Sequence[str] = (),
        compiler: Compiler | str | Sequence[str] | None = None,
        name: str | None = None,
        unit_flags: Mapping[str, Sequence[str]] | None = None,
        objects: Sequence[str | Path] = (),
    ) -> Path:
        if compiler is None or isinstance(compiler, str):
            compiler = compiler_for(compiler or "gcc")
        return compile_c(source, kind, flags, link_flags, compiler, name, unit_flags, objects)

    return build


class VerdictOf(Protocol):
    """The type of the fixture `verdict`."""

    def __call__(self, path: str | os.PathLike[str], check: str, **parameters: Any) -> Verdict: ...


@pytest.fixture(scope="session")
def verdict() -> VerdictOf:
    """`verdict(path, "relro", level="partial")`: what one check says of a file that can be judged."""

    def verdict(path: str | os.PathLike[str], check: str, **parameters: Any) -> Verdict:
        report = inspect(path, {check: parameters})
        assert report.artifact.error is None
        return report.verdict(check)

    return verdict


@pytest.fixture(scope="session")
def readelf() -> Callable[..., str]:
    """`readelf("-d", path)`: what binutils reads; the referee where flags alone do not tell."""

    def readelf(*words: str | Path) -> str:
        return subprocess.run(["readelf", "-W", *words], capture_output=True, text=True, check=True).stdout

    return readelf


class Segment(NamedTuple):
    """A program header: where it stands in the file, its type, and its fields."""

    position: int
    type: int
    flags: int
    offset: int
    vaddr: int
    filesz: int
    memsz: int


class DynamicEntry(NamedTuple):
    """An entry of the dynamic section, and where it stands in the file."""

    position: int
    tag: int
    value: int


class ElfEditor:
    """A really built file in memory, of which single fields can be overwritten: for what no linker at hand writes.

    It parses what it needs itself, so that a test of our reader does not rest on our reader.
    """

    def __init__(self, path: Path) -> None:
        self.data = bytearray(path.read_bytes())
        self.name = path.name
        self.is_64 = self.data[4] == 2
        self.order = "<" if self.data[5] == 1 else ">"

    def get(self, code: str, position: int) -> int:
        return int(struct.unpack_from(self.order + code, self.data, position)[0])

    def put(self, code: str, position: int, value: int) -> None:
        struct.pack_into(self.order + code, self.data, position, value)

    @property
    def header_fields(self) -> dict[str, tuple[int, str]]:
        """Position and struct code of the fields of the ELF header."""
        names = "type machine version entry phoff shoff flags ehsize phentsize phnum shentsize shnum shstrndx".split()
        codes = "HHIQQQIHHHHHH" if self.is_64 else "HHIIIIIHHHHHH"
        positions = [16 + struct.calcsize("=" + codes[:index]) for index in range(len(codes))]
        return {name: (position, code) for name, position, code in zip(names, positions, codes, strict=True)}

    def header(self, name: str) -> int:
        position, code = self.header_fields[name]
        return self.get(code, position)

    def set_header(self, name: str, value: int) -> None:
        position, code = self.header_fields[name]
        self.put(code, position, value)

    def segments(self) -> Iterator[Segment]:
        size = 56 if self.is_64 else 32
        for index in range(self.header("phnum")):
            at = self.header("phoff") + index * size
            if self.is_64:
                kind, flags, offset, vaddr, _, filesz, memsz, _ = struct.unpack_from(
                    self.order + "IIQQQQQQ", self.data, at
                )
            else:
                kind, offset, vaddr, _, filesz, memsz, flags, _ = struct.unpack_from(self.order + "8I", self.data, at)
            yield Segment(at, kind, flags, offset, vaddr, filesz, memsz)

    def set_segment_type(self, old: int, new: int) -> None:
        """Turn all program headers of one type into another; PT_NULL (0) takes them away."""
        found = [segment for segment in self.segments() if segment.type == old]
        assert found
        for segment in found:
            self.put("I", segment.position, new)

    def dynamic(self) -> Iterator[DynamicEntry]:
        segment = next(segment for segment in self.segments() if segment.type == 2)
        code, size = ("QQ", 16) if self.is_64 else ("II", 8)
        for at in range(segment.offset, segment.offset + segment.filesz, size):
            tag, value = struct.unpack_from(self.order + code, self.data, at)
            yield DynamicEntry(at, tag, value)
            if tag == 0:
                return

    def tag(self, wanted: int) -> DynamicEntry:
        return next(entry for entry in self.dynamic() if entry.tag == wanted)

    def set_tag(self, old: int, new: int, value: int | None = None) -> None:
        """Turn a dynamic entry into another one, with a new value where one is given."""
        entry = self.tag(old)
        code, width = ("Q", 8) if self.is_64 else ("I", 4)
        self.put(code, entry.position, new)
        if value is not None:
            self.put(code, entry.position + width, value)

    def without_sections(self) -> ElfEditor:
        """Forget the section headers, as packers and some strips do; the loader does not miss them."""
        for name in ("shoff", "shnum", "shstrndx"):
            self.set_header(name, 0)
        return self

    def save(self, folder: Path, name: str | None = None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (name or self.name)
        path.write_bytes(self.data)
        return path


@pytest.fixture(scope="session")
def edit() -> Callable[[Path], ElfEditor]:
    """`edit(path)`: an `ElfEditor` on a copy of the file."""
    return ElfEditor
