"""DWARF: read as pyelftools and readelf read it, in every packing; stack arrays as the compiler protects them."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from elftools.dwarf.descriptions import describe_form_class
from elftools.elf.elffile import ELFFile

from pytest_hardening.elf import debug_sections, dwarf
from pytest_hardening.elf.debug_files import debug_folders
from pytest_hardening.elf.debug_info import Budget, DebugInfo
from pytest_hardening.elf.dwarf_codes import DW_AT_NAME, DW_AT_PRODUCER, DW_TAG_SUBPROGRAM
from pytest_hardening.elf.facts import ElfFacts, Need, StackArrays, Units
from pytest_hardening.elf.image import Image
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.fixtures import CompileC
from pytest_hardening.toolchain import Kind

if TYPE_CHECKING:
    from tests.conftest import ElfEditor

ARCHITECTURES = [
    "gcc",
    "clang",
    "clang-19",
    "gcc -m32",
    "gcc -mx32",
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "riscv64-linux-gnu-gcc",
]
PACKINGS = [
    ["-gdwarf-2", "-gstrict-dwarf"],
    ["-gdwarf-3"],
    ["-gdwarf-4"],
    ["-gdwarf-5"],
    ["-gdwarf-5", "-gdwarf64"],
    ["-gdwarf-4", "-fdebug-types-section"],
    ["-g", "-gz=zlib"],
    ["-g", "-gz=zlib-gnu"],
]

COPY = """
void use(char *);
int copy(const char *s) { char buffer[64]; use(buffer); return buffer[*s & 63]; }
int sum(const int *v, int n) { int total = 0; for (int i = 0; i < n; i++) total += v[i]; return total; }
"""
MAIN = """
void use(char *text) { text[0] = 1; }
int copy(const char *);
int sum(const int *, int);
__attribute__((cold, noinline)) static int rare(int c) { char line[32]; use(line); return line[c & 31]; }
int main(int c, char **v) { int n[3] = {c, c, c}; return copy(v[0]) + sum(n, 3) + (c > 9 ? rare(c) : 0); }
"""
CLASSES = """
void use(char *);
namespace space {
struct Thing { int method(int x) { char b[40]; use(b); return b[x]; } static int other(int); };
int Thing::other(int x) { char c[30]; use(c); return c[x]; }
template<class T> int instance(T x) { T a[12]; use((char *)a); return a[x]; }
}
int outer(int y) {
  auto lambda = [&](int z) { char q[20]; use(q); return q[z] + y; };
  struct Local { int inner(int k) { char w[10]; use(w); return w[k]; } } local;
  return lambda(3) + local.inner(4) + space::Thing().method(y) + space::Thing::other(2) + space::instance<int>(3);
}
"""


def extended(path: Path, need: Need, folders: tuple[str, ...] = ()) -> ElfFacts:
    with Source.open(path) as source, ElfReader(source, path.name, debug_folders=folders) as reader:
        return reader.extend({need})


def units(path: Path, folders: tuple[str, ...] = ()) -> Units:
    found = extended(path, Need.UNITS, folders).units
    assert found is not None
    return found


def arrays(path: Path) -> StackArrays:
    found = extended(path, Need.STACK_ARRAYS).stack_arrays
    assert found is not None
    return found


@contextmanager
def debug_info(path: Path) -> Iterator[DebugInfo]:
    with Source.open(path) as source:
        yield DebugInfo(Image(source))


Functions = set[tuple[int, int]]


def by_us(path: Path) -> list[tuple[str, str, Functions]]:
    """Name and producer of each unit, with the place and size of its functions that have one place only."""
    with debug_info(path) as info:
        return [
            (
                unit.text(unit.top[1].get(DW_AT_NAME)),
                unit.text(unit.top[1].get(DW_AT_PRODUCER)),
                {
                    (ranges[0][0], ranges[0][1] - ranges[0][0])
                    for _, tag, entry in unit.walk(Budget(10**6))
                    if tag == DW_TAG_SUBPROGRAM and len(ranges := tuple(unit.ranges(entry, Budget(10**6)))) == 1
                },
            )
            for unit in info.units()
        ]


def by_pyelftools(path: Path) -> list[tuple[str, str, Functions]]:
    with path.open("rb") as stream:
        found = []
        for unit in ELFFile(stream).get_dwarf_info().iter_CUs():
            functions: Functions = set()
            for entry in unit.iter_DIEs():
                low, high = entry.attributes.get("DW_AT_low_pc"), entry.attributes.get("DW_AT_high_pc")
                if entry.tag == "DW_TAG_subprogram" and low and high:
                    absolute = describe_form_class(high.form) == "address"
                    functions.add((low.value, high.value - (low.value if absolute else 0)))
            top = unit.get_top_DIE().attributes
            if "DW_AT_name" in top:
                found.append((top["DW_AT_name"].value.decode(), top["DW_AT_producer"].value.decode(), functions))
        return found


@pytest.mark.parametrize("compiler", [name for name in ARCHITECTURES if "x32" not in name])  # no library for it
def test_linked_files_as_pyelftools_reads_them(build: CompileC, compiler: str) -> None:
    path = build({"copy.c": COPY, "main.c": MAIN}, flags=["-O2", "-g", "-ffunction-sections"], compiler=compiler)
    found = by_us(path)
    assert len(found) == 2
    assert found == by_pyelftools(path)
    assert all(functions for _, _, functions in found)


@pytest.mark.parametrize("packing", PACKINGS, ids=" ".join)
def test_every_version_and_packing(build: CompileC, packing: list[str]) -> None:
    path = build({"copy.c": COPY, "main.c": MAIN}, flags=["-O2", *packing])
    assert found_names(path) == {"copy", "main", "rare"}
    assert found_names(build({"copy.c": COPY}, kind="object", flags=["-O2", *packing])) == {"copy"}
    if "-gz=zlib-gnu" not in packing:  # pyelftools stops at an assertion
        assert by_us(path) == by_pyelftools(path)


def found_names(path: Path) -> set[str]:
    found = arrays(path)
    assert found.complete
    return {array.function for array in found.found}


def symbols(readelf: Callable[..., str], path: Path) -> dict[str, tuple[int, int, int]]:
    """Address, size and section of the functions in the symbol table."""
    mask = ~1 if "Machine: ARM" in re.sub(" +", " ", readelf("-h", path)) else -1  # bit 0 says that it is Thumb code
    return {
        words[-1]: (int(words[1], 16) & mask, int(words[2]), int(words[-2]))
        for words in map(str.split, readelf("-s", path).splitlines())
        if len(words) >= 8 and words[3] == "FUNC" and words[-2].isdigit()
    }


@pytest.mark.parametrize("compiler", ARCHITECTURES)
@pytest.mark.parametrize("sections", ["-ffunction-sections", "-fno-function-sections"])
def test_objects_need_relocations(build: CompileC, readelf: Callable[..., str], compiler: str, sections: str) -> None:
    """Addresses, sizes and sections as the symbol table has them; RISC-V writes sizes as sums of relocations."""
    source = COPY + "int other(const char *s) { char text[32]; use(text); return text[*s & 31]; }\n"
    path = build({"copy.c": source}, kind="object", flags=["-O2", "-g", sections], compiler=compiler)
    found = arrays(path)
    assert {array.function for array in found.found} == {"copy", "other"}
    for array in found.found:
        assert (array.address, array.size, array.section) == symbols(readelf, path)[array.function]
        assert (array.unit, array.variable) == ("copy.c", {"copy": "buffer", "other": "text"}[array.function])
        assert array.characters == {"copy": 64, "other": 32}[array.function]


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("optimisation", ["-O0", "-O2"])
def test_methods_templates_and_local_functions(
    build: CompileC, readelf: Callable[..., str], compiler: str, optimisation: str
) -> None:
    flags = [optimisation, "-g", "-fno-inline", "-fno-ipa-cp"]
    path = build({"classes.cpp": CLASSES}, kind="object", flags=flags, compiler=compiler)
    found = arrays(path).found
    names = {array.function.partition("<")[0]: array.variable for array in found}
    assert names == {"method": "b", "other": "c", "instance": "a", "operator()": "q", "inner": "w"}
    places = set(symbols(readelf, path).values())
    assert all((array.address, array.size, array.section) in places for array in found)


@pytest.mark.parametrize("version", ["-gdwarf-4", "-gdwarf-5"])
def test_functions_split_in_two_begin_where_they_are_entered(
    build: CompileC, readelf: Callable[..., str], version: str
) -> None:
    source = """
void use(char *);
struct Guard { ~Guard(); };
int split(int c) { Guard guard; char line[32]; use(line); if (c > 3) throw 5; return line[c]; }
"""
    path = build({"split.cpp": source}, kind="object", flags=["-O2", version], compiler="g++")
    table = symbols(readelf, path)
    assert "_Z5spliti.cold" in table
    (found,) = arrays(path).found
    assert (found.address, found.size, found.section) == table["_Z5spliti"]


FORMS = """
#include <stdarg.h>
#include <stdlib.h>
struct inner { int tag; short values[3]; };
struct outer { long first; struct inner in; };
union either { char text[16]; long number; };
typedef char line[64];
typedef int vector __attribute__((vector_size(16)));
void use(void *); int list(const char *, va_list);
int characters(int n) { char a[64]; use(a); return a[n]; }
int few(int n) { char a[3]; use(a); return a[n]; }
int numbers(int n) { long a[4]; use(a); return a[n]; }
int structure(int n) { struct outer a; use(&a); return a.in.values[n]; }
int united(int n) { union either a; use(&a); return a.text[n]; }
int named(int n) { line a; use(a); return a[n] + 1; }
int matrix(int n) { char a[4][5]; use(a); return a[n][n]; }
int structures(int n) { struct inner a[2]; use(a); return a[n].tag; }
int block(int n) { if (n > 3) { char a[24]; use(a); return a[n]; } return 0; }
int arguments(const char *s, ...) { va_list a; va_start(a, s); int r = list(s, a); va_end(a); return r; }
int dynamic(int n) { char a[n]; use(a); return a[n - 1]; }
int plain(int n) { int a = n; for (int i = 0; i < n; i++) a += i; return a; }
int registers(int n) { vector a = {n, n, n, n}; a = a + a; return a[0]; }
int fixed(int n) { static char a[64]; use(a); return a[n]; }
int parameter(char a[64]) { return a[3]; }
"""


@pytest.mark.parametrize("optimisation", ["-O0", "-O1", "-O2", "-Os"])
@pytest.mark.parametrize("compiler", ["gcc", "gcc-11", "clang", "clang-19", "aarch64-linux-gnu-gcc"])
def test_what_is_found_is_what_the_compiler_protects(
    build: CompileC, tool_for: Callable[[str], str], compiler: str, optimisation: str
) -> None:
    """The referee is the compiler: -fstack-protector-strong checks a canary in each function that is named here."""
    flags = ["-g", optimisation]
    off = build({"forms.c": FORMS}, kind="object", flags=[*flags, "-fno-stack-protector"], compiler=compiler)
    found = {array.function for array in arrays(off).found}
    on = build({"forms.c": FORMS}, kind="object", flags=[*flags, "-fstack-protector-strong"], compiler=compiler)
    tool = "aarch64-linux-gnu-objdump" if compiler.startswith("aarch64") else "objdump"
    listing = subprocess.run([tool_for(tool), "-dr", on], capture_output=True, text=True, check=True).stdout
    parts = re.split(r"^[0-9a-f]+ <(\w+)>:$", listing, flags=re.M)[1:]
    protected = {name for name, body in zip(parts[::2], parts[1::2], strict=True) if "__stack_chk_fail" in body}
    certain = {"characters", "few", "numbers", "structure", "named", "matrix", "structures", "block"}
    assert certain <= found <= protected
    assert not found & {"plain", "registers", "fixed", "parameter"}
    if optimisation == "-O0":
        # beyond arrays it protects what lets addresses out of hand; LLVM forgets which members a union has
        assert protected - found <= {"registers", "united", "dynamic", "arguments"}


def test_sizes_of_character_arrays(build: CompileC) -> None:
    """Plain -fstack-protector goes by them."""
    path = build({"forms.c": FORMS}, kind="object", flags=["-g", "-O2"])
    sizes = {array.function: array.characters for array in arrays(path).found}
    assert (sizes["characters"], sizes["few"], sizes["matrix"], sizes["united"], sizes["numbers"]) == (64, 3, 20, 16, 0)


def test_units_without_protector_come_first(build: CompileC) -> None:
    on, off = ["-fstack-protector-strong"], ["-fno-stack-protector"]
    other = COPY.replace("copy", "other").replace("sum", "total")
    path = build(
        {"copy.c": COPY, "other.c": other, "main.c": MAIN},
        flags=["-g", "-O2"],
        unit_flags={"copy.c": on, "main.c": off},
    )
    assert list(dict.fromkeys(array.unit for array in arrays(path).found)) == ["main.c", "other.c", "copy.c"]


def test_limits_are_said(build: CompileC, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build({"copy.c": COPY, "main.c": MAIN}, flags=["-g", "-O2"])
    assert len(arrays(path).found) == 3
    monkeypatch.setattr(dwarf, "_MOST_ENTRIES", 12)
    assert not arrays(path).complete
    monkeypatch.setattr(dwarf, "_MOST_ENTRIES", 10_000)
    monkeypatch.setattr(dwarf, "_MOST_FOUND", 1)
    assert not arrays(path).complete


def test_what_is_not_read_is_said(build: CompileC, monkeypatch: pytest.MonkeyPatch) -> None:
    split = build({"copy.c": COPY}, kind="object", flags=["-g", "-gsplit-dwarf"])
    assert units(split).unread == ("split debug information is not read: copy.dwo",)
    assert arrays(split) == StackArrays((), complete=False)
    zstd = build({"copy.c": COPY}, kind="object", flags=["-g", "-gz=zstd"], compiler="clang-19")
    assert units(zstd).unread == ("debug information is not readable: .debug_info is compressed with zstd",)
    assert arrays(zstd) == StackArrays((), complete=False)
    types = build({"forms.c": FORMS}, kind="object", flags=["-g", "-fdebug-types-section"])
    assert not arrays(types).complete
    packed = build({"copy.c": COPY}, kind="object", flags=["-g", "-gz"])
    monkeypatch.setattr(debug_sections, "_MOST_DECOMPRESSED", 100)
    assert re.fullmatch(r"debug information is not readable: \.debug_info has \d+ bytes .*", units(packed).unread[0])


def test_a_compressed_section_that_lies_about_its_size(
    build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path, readelf: Callable[..., str]
) -> None:
    path = build({"copy.c": COPY}, kind="object", flags=["-g", "-gz"])
    offset = next(
        int(line.split("]")[1].split()[3], 16) for line in readelf("-S", path).splitlines() if " .debug_info " in line
    )
    for size in (1, 1 << 20, 1 << 60):
        elf = edit(path)
        elf.put("Q", offset + 8, size)
        (found,) = units(elf.save(tmp_path, f"{size}.o")).unread
        assert found.startswith("debug information is not readable: .debug_info has ")


@pytest.mark.parametrize("compiler", ["gcc", "clang -gdwarf-5", "gcc -gdwarf-4 -gz"])
@pytest.mark.parametrize("kind", ["object", "shared-library"])
def test_damage_makes_no_exception(build: CompileC, tmp_path: Path, compiler: str, kind: Kind) -> None:
    """Flipped bytes in any debug section: something is read, or it is said that it cannot be; and soon."""
    command, *flags = compiler.split()
    path = build(
        {"classes.cpp": CLASSES},
        kind=kind,
        flags=["-g", "-O2", "-fPIC", *flags],
        compiler={"gcc": "g++", "clang": "clang++"}[command],
    )
    good = path.read_bytes()
    with path.open("rb") as stream:
        places = [
            (section["sh_offset"], section["sh_size"])
            for section in ELFFile(stream).iter_sections()
            if section.name.startswith((".debug_", ".rela.debug_")) and section["sh_size"]
        ]
    chance = random.Random(1)  # noqa: S311
    damaged = tmp_path / path.name
    start = time.monotonic()
    for _ in range(150):
        data = bytearray(good)
        for _ in range(chance.choice((1, 3, 30))):
            offset, size = chance.choice(places)
            data[offset + chance.randrange(size)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        damaged.write_bytes(data)
        units(damaged)
        arrays(damaged)
    assert time.monotonic() - start < 30


def test_debug_files(build: CompileC, tool_for: Callable[[str], str], tmp_path: Path) -> None:
    """Found beside the file, in .debug, below a root by path and by build identifier; only where the user said so."""
    path = build({"copy.c": COPY, "main.c": MAIN}, flags=["-g", "-O2", "-Wl,--build-id"])
    other = build({"copy.c": COPY, "main.c": MAIN}, flags=["-g", "-O1", "-Wl,--build-id"])
    program, debug = strip(path, tmp_path / "bin", tool_for("objcopy"))
    assert units(program) == Units(())
    root = tmp_path / "root"
    folders = debug_folders(str(program), (str(root),))
    (root / "unrelated").mkdir(parents=True)
    assert units(program, folders) == Units(())
    assert debug_folders(str(program), ()) == ()

    identifier = re.findall(r"Build ID: (\w+)", notes(path))[0]
    places = [
        program.parent / debug.name,
        program.parent / ".debug" / debug.name,
        root / debug.name,
        root / str(program.parent)[1:] / debug.name,
        root / ".build-id" / identifier[:2] / f"{identifier[2:]}.debug",
    ]
    _, wrong = strip(other, tmp_path / "other", tool_for("objcopy"))
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(debug, place)
        found = units(program, folders)
        assert [(unit.name, unit.source, bool(unit.ranges)) for unit in found.found] == [
            ("copy.c", "DWARF", True),
            ("main.c", "DWARF", True),
        ]
        assert found.unread == ()
        with Source.open(program) as source, ElfReader(source, "program", debug_folders=folders) as reader:
            arrays = reader.extend({Need.STACK_ARRAYS}).stack_arrays
            assert arrays is not None
            assert {array.function for array in arrays.found} == {"copy", "main", "rare"}
        shutil.copy(wrong, place)
        (problem,) = units(program, folders).unread
        assert re.fullmatch(rf"debug file {place}: it belongs to another build: its (checksum|build ident).*", problem)
        place.write_bytes(b"no ELF file")
        assert units(program, folders).unread == (f"debug file {place}: it is not readable",)
        place.unlink()


def strip(path: Path, folder: Path, objcopy: str) -> tuple[Path, Path]:
    """The program without debug information, which names its debug file, and that file, in another folder."""
    (folder / "debug").mkdir(parents=True)
    program, debug = folder / "program", folder / "debug/program.debug"
    subprocess.run([objcopy, "--only-keep-debug", path, debug], check=True)
    subprocess.run([objcopy, "--strip-all", f"--add-gnu-debuglink={debug}", path, program], check=True)
    return program, debug


def notes(path: Path) -> str:
    return subprocess.run(["readelf", "-nW", path], capture_output=True, text=True, check=True).stdout


def test_debug_files_are_closed(build: CompileC, tool_for: Callable[[str], str], tmp_path: Path) -> None:
    program, debug = strip(build(COPY + MAIN, flags=["-g"]), tmp_path / "bin", tool_for("objcopy"))
    shutil.copy(debug, program.parent)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert units(program, debug_folders(str(program), (str(tmp_path),))).found
    assert len(os.listdir("/proc/self/fd")) == before
