"""Our reader against others: readelf over every ELF file of the system, lief over a sample and over own builds."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from pytest_hardening.elf import layout as elf
from pytest_hardening.elf.facts import ElfFacts, Need
from pytest_hardening.elf.image import Image
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.second_opinion import disagreements, facts_by_lief, facts_by_reader
from pytest_hardening.elf.source import Source
from pytest_hardening.elf.symbols import dynamic_symbols
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Kind
from pytest_hardening.toolchain import Kind as Product

ROOTS = ("/usr/bin", "/usr/lib")
# The sections of a detached debug file are empty, the program headers are those of the program: readelf looks into one.
DEBUG_FILE_WARNING = "readelf: Error: Unable to find program interpreter name"
CHUNKS = 8
BATCH = 200  # files per readelf

TYPES = {1: "REL", 2: "EXEC", 3: "DYN", 4: "CORE"}
SEGMENTS = {
    0: "NULL", 1: "LOAD", 2: "DYNAMIC", 3: "INTERP", 4: "NOTE", 6: "PHDR", 7: "TLS", 0x6474E550: "GNU_EH_FRAME",
    0x6474E551: "GNU_STACK", 0x6474E552: "GNU_RELRO", 0x6474E553: "GNU_PROPERTY",
}  # fmt: skip
FLAG_BITS = ("ORIGIN", "SYMBOLIC", "TEXTREL", "BIND_NOW", "STATIC_TLS")
FLAG_1_BITS = {
    0x1: "NOW", 0x2: "GLOBAL", 0x4: "GROUP", 0x8: "NODELETE", 0x10: "LOADFLTR", 0x20: "INITFIRST", 0x40: "NOOPEN",
    0x80: "ORIGIN", 0x100: "DIRECT", 0x400: "INTERPOSE", 0x800: "NODEFLIB", 0x08000000: "PIE",
}  # fmt: skip
MACHINES = {
    "Advanced Micro Devices X86-64": 62, "Intel 80386": 3, "AArch64": 183, "ARM": 40, "PowerPC64": 21, "IBM S/390": 22,
    "RISC-V": 243, "Linux BPF": 247, "PowerPC": 20, "MIPS R3000": 8,
}  # fmt: skip

HEADER = re.compile(r"^  (Class|Type|Machine): +(\S.*?)$", re.M)
SEGMENT = re.compile(r"^  (\w+|<unknown>: \w+) +0x(\w+) 0x(\w+) 0x(\w+) 0x(\w+) 0x(\w+) ([R ][W ][E ]) ", re.M)
INTERPRETER = re.compile(r"\[Requesting program interpreter: (.*)\]")
DYNAMIC = re.compile(r"^ 0x[0-9a-f]+ \((\w+)\) +(.*?)$", re.M)


@cache
def system_files() -> tuple[Path, ...]:
    """Every ELF file below ROOTS; links and files without read permission left out."""
    found = []
    for root in ROOTS:
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                try:
                    if path.is_symlink() or not path.is_file():
                        continue
                    with path.open("rb") as file:
                        if file.read(4) == b"\x7fELF":
                            found.append(path)
                except OSError:
                    continue
    return tuple(sorted(found))


def facts_of(path: Path) -> ElfFacts:
    with Source.open(path) as source:
        return ElfReader(source, path.name).facts


def by_reader(path: Path) -> dict[str, Any]:
    facts = facts_of(path)
    dynamic = facts.dynamic
    found: dict[str, Any] = {
        "class": facts.bits,
        "machine": facts.machine.number,
        "interpreter": facts.interpreter,
        "segments": [
            (
                s.type,
                "".join(c if s.flags & bit else " " for c, bit in (("R", 4), ("W", 2), ("E", 1))),
                s.offset,
                s.vaddr,
                s.paddr,
                s.filesz,
                s.memsz,
            )
            for s in facts.segments
            if s.type in SEGMENTS
        ],
    }
    if dynamic is not None:
        found |= {
            "needed": list(dynamic.needed),
            "soname": dynamic.soname,
            "rpath": dynamic.rpath,
            "runpath": dynamic.runpath,
            "flags": [name for bit, name in enumerate(FLAG_BITS) if dynamic.flags >> bit & 1],
            "flags_1": [name for bit, name in FLAG_1_BITS.items() if dynamic.flags_1 & bit],
            "BIND_NOW": elf.DT_BIND_NOW in dynamic,
            "TEXTREL": elf.DT_TEXTREL in dynamic,
            "DEBUG": elf.DT_DEBUG in dynamic,
        }
    return found


def by_readelf(text: str) -> dict[str, Any]:
    header = dict(HEADER.findall(text))
    numbers = {name: number for number, name in SEGMENTS.items()}
    interpreter = INTERPRETER.search(text)
    found: dict[str, Any] = {
        "class": {"ELF32": 32, "ELF64": 64}[header["Class"]],
        "machine": MACHINES[header["Machine"]],
        "interpreter": interpreter[1] if interpreter else None,
        "segments": [
            (numbers[name], flags, *(int(value, 16) for value in values))
            for name, *values, flags in SEGMENT.findall(text)
            if name in numbers
        ],
    }
    entries = DYNAMIC.findall(text)
    if entries and header["Type"].split()[0] in ("DYN", "EXEC"):

        def last(tag: str) -> str | None:
            values = [value for name, value in entries if name == tag]
            return re.sub(r"^.*?\[(.*)\]$", r"\1", values[-1]) if values else None

        present = {name for name, _ in entries}
        found |= {
            "needed": [re.sub(r"^.*?\[(.*)\]$", r"\1", value) for name, value in entries if name == "NEEDED"],
            "soname": last("SONAME"),
            "rpath": last("RPATH"),
            "runpath": last("RUNPATH"),
            "flags": [word for word in (last("FLAGS") or "").split() if word in FLAG_BITS],
            "flags_1": [
                word for word in (last("FLAGS_1") or "").removeprefix("Flags: ").split() if word in FLAG_1_BITS.values()
            ],
            "BIND_NOW": "BIND_NOW" in present,
            "TEXTREL": "TEXTREL" in present,
            "DEBUG": "DEBUG" in present,
        }
    return found


def batches(paths: list[Path]) -> Iterator[list[Path]]:
    iterator = iter(paths)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def readelf_sections(paths: list[Path]) -> tuple[dict[Path, str], list[str]]:
    """What readelf prints for each file, and its warnings."""
    # Two files at least, or it prints no "File:" lines.
    command = ["readelf", "-hldW", *map(str, paths), "/bin/true"]
    result = subprocess.run(command, capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    parts = re.split(r"^\nFile: (.*)$", "\n" + result.stdout.decode("utf-8", "backslashreplace"), flags=re.M)
    texts = {Path(name): text for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return texts, [line for line in result.stderr.decode().splitlines() if line.strip()]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_readelf_agrees_on_every_file_of_the_system(chunk: int) -> None:
    files = list(system_files()[chunk::CHUNKS])
    assert files
    differences: list[str] = []
    warned: list[str] = []
    debug_files = 0
    for batch in batches(files):
        texts, warnings = readelf_sections(batch)
        warned += warnings
        for path in batch:
            facts = facts_of(path)
            debug_files += facts.kind is Kind.DEBUG_ONLY and facts.segment(elf.PT_INTERP) is not None
            ours, theirs = by_reader(path), by_readelf(texts[path])
            differences += [
                f"{path}: {key}: {ours.get(key)} / readelf: {theirs.get(key)}"
                for key in {*ours, *theirs}
                if ours.get(key) != theirs.get(key)
            ]
    assert differences == []
    assert warned == [DEBUG_FILE_WARNING] * debug_files


@pytest.fixture(scope="module")
def sample() -> list[Path]:
    """About 150 files of the system, small enough for lief, which reads all of a file into memory."""
    files = [path for path in system_files() if path.stat().st_size < 2_000_000]
    return files[:: max(1, len(files) // 150)]


def test_lief_agrees_on_a_sample_of_the_system(sample: list[Path]) -> None:
    assert len(sample) >= 50
    found = {str(path): disagreements(str(path)) for path in sample if facts_of(path).kind is not Kind.DEBUG_ONLY}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_pyelftools_agrees_on_a_sample_of_the_system(sample: list[Path]) -> None:
    for path in sample:
        assert imports_by_reader(path) == imports_by_pyelftools(path), path


def imports_by_reader(path: Path) -> tuple[set[str], int]:
    """Undefined names and the number of dynamic symbols; the empty set for files without dynamic symbols."""
    with Source.open(path) as source:
        reader = ElfReader(source, path.name)
        if not (reader.facts.kind.is_linked and reader.facts.dynamic):
            return set(), 0
        facts = reader.extend([Need.IMPORTS])
        count = len(dynamic_symbols(Image(source)))
    assert facts.imports is not None
    return set(facts.imports.names), count


def imports_by_pyelftools(path: Path) -> tuple[set[str], int]:
    """The same through .dynsym, whose section header knows its size."""
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".dynsym")
        if not isinstance(table, SymbolTableSection):
            return set(), 0
        symbols = list(table.iter_symbols())
        return {symbol.name for symbol in symbols if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name}, len(symbols)


BUILDS: dict[str, tuple[list[str], Product]] = {
    "pie": (["-fPIE", "-pie"], "executable"),
    "no-pie": (["-fno-pie", "-no-pie"], "executable"),
    "static": (["-fno-pie", "-static"], "executable"),
    "library": (["-fPIC"], "shared-library"),
    "object": (["-fPIC"], "object"),
}
COMPILERS = [
    "gcc",
    "clang",
    "gcc -m32",
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
    "musl-gcc",
]
PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
int shared = 1;
int work(int n) { printf("%d %s\\n", n, getenv("HOME")); return shared; }
int main(int c, char **v) { (void)v; return work(c); }
"""


@pytest.mark.parametrize("form", BUILDS)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_lief_and_pyelftools_agree_on_builds(build: CompileC, compiler: str, form: str) -> None:
    flags, kind = BUILDS[form]
    path = build(PROGRAM, kind=kind, flags=flags, compiler=compiler)
    assert disagreements(str(path)) == []
    assert imports_by_reader(path) == imports_by_pyelftools(path)


@pytest.mark.parametrize(
    "link_flags",
    [
        ["-fuse-ld=lld"],
        ["-fuse-ld=gold"],
        ["-Wl,-rpath,/usr/lib/x:$ORIGIN", "-Wl,--enable-new-dtags"],
        ["-Wl,-rpath,/usr/lib/x:$ORIGIN", "-Wl,--disable-new-dtags"],
        ["-Wl,-soname,libwork.so.1"],
        ["-Wl,-z,now", "-Wl,-z,nodelete", "-Wl,-z,origin"],
        ["-Wl,-z,execstack"],
        ["-Wl,-z,norelro"],
        ["-Wl,--hash-style=sysv"],
        ["-Wl,--hash-style=gnu"],
    ],
    ids=" ".join,
)
def test_lief_and_pyelftools_agree_on_linker_options(build: CompileC, link_flags: list[str]) -> None:
    path = build(PROGRAM, kind="shared-library", flags=["-fPIC"], link_flags=link_flags)
    assert disagreements(str(path)) == []
    assert imports_by_reader(path) == imports_by_pyelftools(path)


@pytest.mark.parametrize(
    ("link_flags", "keys"),
    [
        (["-Wl,-soname,libwork.so.1"], {"soname"}),
        (["-Wl,-rpath,/usr/lib/x", "-Wl,--enable-new-dtags"], {"runpath"}),
        (["-Wl,-rpath,/usr/lib/x", "-Wl,--disable-new-dtags"], {"rpath"}),
        (["-Wl,-z,nodelete"], {"flags_1"}),
        (["-Wl,-z,execstack"], {"segments"}),
        (["-lm", "-Wl,--no-as-needed", "-lm"], {"needed"}),
        (["-Bsymbolic", "-Wl,-z,defs", "-Wl,-Bsymbolic"], {"flags"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_comparison_can_tell(build: CompileC, link_flags: list[str], keys: set[str]) -> None:
    """Our facts of one file against lief's of another that differs in one option: exactly its facts differ."""
    plain = build(PROGRAM, kind="shared-library", flags=["-fPIC"])
    other = build(PROGRAM, kind="shared-library", flags=["-fPIC"], link_flags=link_flags)
    ours, theirs = facts_by_reader(facts_of(plain)), facts_by_lief(str(other))
    differing = {name for name in ours if ours[name] != theirs[name]}
    assert differing - {"segments"} == keys - {"segments"}
    assert differing >= keys
