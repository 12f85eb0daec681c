"""The functions of a file: by symbols, by unwind tables, without section headers; and which of them are its own.

readelf and objdump, which go by symbols and section headers, are the referees.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.elf.code.functions import Function, functions_of
from pytest_hardening.elf.code.own_code import is_runtime, own_functions
from pytest_hardening.elf.code.search import _Search
from pytest_hardening.elf.code.stubs import stub_names
from pytest_hardening.elf.facts import Need, StackUse, Unit, Units
from pytest_hardening.elf.image import Image
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.errors import ArtifactError
from pytest_hardening.fixtures import CompileC

if TYPE_CHECKING:
    from tests.conftest import ElfEditor

MAIN = """
#include <stdio.h>
#include <stdlib.h>
int helper(int);
__attribute__((noinline)) static int hidden(int x) { return x * 3 + getpid_(x); }
__attribute__((noinline)) int getpid_(int x) { return x + 1; }
int main(int c, char **v) { printf("%s %d", getenv(v[0]), hidden(c)); return helper(c); }
""".replace("__attribute__((noinline)) static", "int getpid_(int);\n__attribute__((noinline)) static")
HELPER = """
#include <stdio.h>
#include <string.h>
__attribute__((constructor)) void early(void) { puts("early"); }
__attribute__((hot)) void often(void) { puts("hot"); }
__attribute__((noinline)) int second(const char *s) { return (int)strlen(s) + puts(s); }
int helper(int x) { often(); return x ? second("a") : 2; }
"""
PROGRAM = {"main.c": MAIN, "helper.c": HELPER}
OWN = {"main", "hidden", "getpid_", "helper", "second", "often", "early"}


def read(path: Path) -> tuple[list[Function], set[str]]:
    """All functions of a file, and the names of its own."""
    with Source.open(path) as source:
        image, facts = Image(source), ElfReader(source, path.name).facts
        functions = functions_of(image, facts)
        own = own_functions(image, facts, functions, Units(()))
        return list(functions), {functions.name(index) for index in own.indices}


def symbols(path: Path) -> dict[str, tuple[int, int]]:
    """Address and size of the functions that have a size, as readelf reads them."""
    text = subprocess.run(["readelf", "-Ws", path], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in text.splitlines())
    return {
        row[7]: (int(row[1], 16), int(row[2], 0))
        for row in rows
        if len(row) == 8 and row[3] == "FUNC" and row[6] != "UND" and int(row[2], 0)
    }


@pytest.mark.parametrize("compiler", ["gcc", "clang", "gcc -m32", "musl-gcc", "arm-linux-gnueabihf-gcc"])
def test_symbols(build: CompileC, compiler: str) -> None:
    path = build(PROGRAM, flags=["-O2"], compiler=compiler)
    functions, own = read(path)
    found = {f.name: (f.address, f.size) for f in functions if f.name}  # the PLT has none
    assert found == {name: place for name, place in symbols(path).items() if name in found}
    assert found.keys() >= OWN
    assert own >= OWN


LINKS = [
    ("gcc", []),
    ("gcc", ["-fuse-ld=lld"]),
    ("gcc", ["-fuse-ld=gold"]),
    ("clang", []),
    ("clang", ["-fuse-ld=lld"]),
    ("gcc -m32", []),
    ("aarch64-linux-gnu-gcc", []),
    ("riscv64-linux-gnu-gcc", []),
]


@pytest.mark.parametrize(("compiler", "link_flags"), LINKS, ids=str)
@pytest.mark.parametrize("sections", [True, False], ids=["with sections", "without sections"])
def test_stripped(
    build: CompileC,
    edit: Callable[[Path], ElfEditor],
    tmp_path: Path,
    compiler: str,
    link_flags: Sequence[str],
    sections: bool,
) -> None:
    """The unwind tables name the same places as the symbols did."""
    flags = ["-O2", "-fasynchronous-unwind-tables"]
    truth = symbols(build(PROGRAM, flags=flags, link_flags=link_flags, compiler=compiler))
    path = build(PROGRAM, flags=flags, link_flags=[*link_flags, "-s"], compiler=compiler)
    if not sections:
        path = edit(path).without_sections().save(tmp_path)
    functions, _ = read(path)
    assert {(f.address, f.size) for f in functions} >= {truth[name] for name in OWN}


def test_arm_without_symbols(build: CompileC) -> None:
    """The index of .ARM.exidx tells starts, with the mark of Thumb code, and the next start tells the end."""
    compiler = "arm-linux-gnueabihf-gcc"
    flags = ["-O2", "-funwind-tables"]
    truth = symbols(build(PROGRAM, flags=flags, compiler=compiler))
    functions, _ = read(build(PROGRAM, flags=flags, link_flags=["-s"], compiler=compiler))
    starts = {f.address & ~1 for f in functions}
    # equal entries that follow each other are merged into one
    assert {truth["main"][0] & ~1, truth["helper"][0] & ~1} <= starts


@pytest.mark.parametrize("compiler", ["gcc", "clang", "gcc -m32", "aarch64-linux-gnu-gcc"])
@pytest.mark.parametrize("flag", ["-ffunction-sections", "-fno-function-sections"])
def test_objects(build: CompileC, compiler: str, flag: str) -> None:
    path = build({"helper.c": HELPER}, kind="object", flags=["-O2", flag], compiler=compiler)
    functions, own = read(path)
    assert own == {"early", "often", "second", "helper"}
    with Source.open(path) as source:
        sections = Image(source).sections
        assert all(sections[f.section].executable for f in functions)
        assert all(f.address + f.size <= sections[f.section].size for f in functions)


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", ["-static"]),
        ("gcc", ["-static-pie", "-fPIE"]),
        ("gcc", ["-static", "-ffunction-sections", "-Wl,--gc-sections"]),
        ("gcc", ["-static", "-fuse-ld=gold"]),
        ("gcc", ["-static", "-fuse-ld=lld"]),
        ("clang", ["-static"]),
        ("musl-gcc", ["-static"]),
        ("aarch64-linux-gnu-gcc", ["-static"]),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_static_programs(build: CompileC, compiler: str, flags: Sequence[str]) -> None:
    """Rather one of the program's own functions too few than one of the C library's."""
    path = build(PROGRAM, flags=["-O2", *flags], compiler=compiler)
    functions, own = read(path)
    assert len(functions) > 60
    assert {"main", "second", "helper"} <= own <= OWN | {""}


def test_static_program_of_cplusplus(build: CompileC) -> None:
    """libstdc++ stands between the program's code and the C library's, and its templates inside the program's."""
    source = """
#include <iostream>
#include <map>
#include <string>
struct Item { std::string name; virtual ~Item() {} virtual int size() const { return (int)name.size(); } };
int count(const std::map<std::string, Item> &all) { int n = 0; for (auto &i : all) n += i.second.size(); return n; }
int main(int c, char **v) { std::map<std::string, Item> all; all[v[0]].name = v[c - 1]; std::cout << count(all); }
"""
    _, own = read(build({"main.cpp": source}, flags=["-O1", "-static"], compiler="g++"))
    assert own >= {"main"}
    assert all("Item" in name or "5count" in name for name in own - {"main"} if not name.startswith("_GLOBAL__sub_I_"))


def test_static_and_stripped(build: CompileC) -> None:
    path = build(PROGRAM, flags=["-O2", "-static"], link_flags=["-s"])
    with Source.open(path) as source:
        image, facts = Image(source), ElfReader(source, path.name).facts
        own = own_functions(image, facts, functions_of(image, facts), Units(()))
        assert (tuple(own.indices), own.incomplete.split(":")[0]) == ((), "static and stripped")


def test_static_program_with_units(build: CompileC) -> None:
    """Units of known places tell of all functions, those in front of main, too."""
    path = build(PROGRAM, flags=["-O2", "-static"])
    places = symbols(path)
    ranges = tuple((places[name][0], places[name][0] + places[name][1]) for name in OWN)
    units = Units((Unit("all.c", "c", ranges=ranges),))
    with Source.open(path) as source:
        image, facts = Image(source), ElfReader(source, path.name).facts
        functions = functions_of(image, facts)
        own = own_functions(image, facts, functions, units)
        assert ({functions.name(index) for index in own.indices}, own.incomplete) == (OWN, "")


@pytest.mark.parametrize("name", "_start _init frame_dummy __x86.get_pc_thunk.bx _Unwind_Resume".split())
def test_names_of_tools(name: str) -> None:
    assert is_runtime(name)


@pytest.mark.parametrize("name", "main start init divide add_item f.part.0 f.constprop.0 subject __divmod4".split())
def test_names_of_users(name: str) -> None:
    assert not is_runtime(name)


# functions that are called like those of libgcc, and take the address of a local
LIKE_LIBGCC = """
int use(char *);
{linkage}__attribute__((noinline)) int {name}(int n) {{ char b[40]; return use(b) + b[n]; }}
int main(int c, char **v) {{ return {name}(c) + v[0][0]; }}
"""
USE = "int use(char *b) { return b[3]; }\n"


@pytest.mark.parametrize("compiler", ["gcc", "clang", "aarch64-linux-gnu-gcc"])
@pytest.mark.parametrize("name", ["__divmod4", "__udivmoddi4", "__aeabi_idiv", "uw_update_context", "binary_search"])
@pytest.mark.parametrize("link_flags", [[], ["-static"]], ids=["dynamic", "static"])
def test_functions_called_like_those_of_libgcc(
    build: CompileC, compiler: str, name: str, link_flags: Sequence[str]
) -> None:
    """What others can call is the program's own: libgcc's functions are hidden."""
    sources = {"main.c": LIKE_LIBGCC.format(linkage="", name=name), "use.c": USE}
    path = build(sources, flags=["-O2", "-fno-stack-protector"], link_flags=link_flags, compiler=compiler)
    with Source.open(path) as source:
        use = ElfReader(source, path.name).extend([Need.UNITS, Need.STACK_USE]).stack_use
    assert use is not None
    assert use.doubtful or use.incomplete or use.unprotected


@pytest.mark.parametrize("name", ["__udivmodti4", "__powidf2"])
def test_functions_of_libgcc_are_left_out(build: CompileC, name: str) -> None:
    source = (
        "int use(char *); int main(int c, char **v) { unsigned __int128 a = (unsigned __int128)c << c; double d = c;"
    )
    source += " return (int)(a / (unsigned)v[0][0] + (int)__builtin_powi(d, c)); }\n"
    path = build(source, flags=["-O1"])
    assert name not in {function.name for function in read(path)[0]} or name not in looked_at(path)


def looked_at(path: Path) -> set[str]:
    """The functions whose code is looked at."""
    with Source.open(path) as source:
        image, facts = Image(source), ElfReader(source, path.name).facts
        return {function.name for function, _ in _Search(image, facts, Units(())).bodies()}


@pytest.mark.parametrize("compiler", ["gcc", "clang", "gcc -m32"])
@pytest.mark.parametrize(
    "flags",
    [
        ["-fPIE", "-pie"],
        ["-fno-pie", "-no-pie"],
        ["-fPIE", "-pie", "-fcf-protection=full", "-Wl,-z,ibtplt"],
        ["-fPIE", "-pie", "-Wl,-z,now"],
        ["-fPIE", "-pie", "-fuse-ld=lld"],
        ["-fPIE", "-pie", "-fuse-ld=gold"],
    ],
    ids=" ".join,
)
def test_stubs(
    build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path, compiler: str, flags: Sequence[str]
) -> None:
    """Every call that objdump names by a stub has that name here, without section headers."""
    path = build(PROGRAM, flags=["-O2", *flags], compiler=compiler)
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True
    ).stdout
    calls = {
        (int(words[1], 16), words[2][1:-1].removesuffix("@plt").split("@")[0])
        for line in text.splitlines()
        if "\tcall" in line and "@plt>" in line and "*ABS*" not in line
        for words in [line.split("\t")[-1].split()]
    }
    wanted = {(address, name) for address, name in calls if name in ("printf", "getenv", "puts", "strlen")}
    assert {name for _, name in wanted} >= {"printf", "getenv", "puts"}
    stripped = edit(path).without_sections().save(tmp_path)
    with Source.open(stripped) as source:
        names = stub_names(Image(source), ElfReader(source, path.name).facts.machine)
    assert {(address, names.get(address)) for address, _ in wanted} == wanted


def test_damaged_unwind_table(build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
    """A count that the table has no room for is damage, not a reason to read on."""
    path = build(PROGRAM, flags=["-O2"], link_flags=["-s"])
    editor = edit(path)
    header = next(segment for segment in editor.segments() if segment.type == 0x6474E550)
    struct.pack_into("<I", editor.data, header.offset + 8, 0x7FFFFFFF)
    with pytest.raises(ArtifactError, match="eh_frame_hdr"):
        read(editor.save(tmp_path))


PAIR = {
    "main.c": "int okf(const char *); int pub(const char *);\n"
    "int main(int c, char **v) { (void)c; return okf(v[0]) + pub(v[0]); }\n",
    "ok.c": "#include <string.h>\n#include <stdio.h>\n"
    "int okf(const char *s) { char b[64]; strcpy(b, s); return puts(b); }\n",
}
HIDDEN = """
#include <string.h>
#include <stdio.h>
static __attribute__((noinline)) int copies(const char *s) { char b[64]; strcpy(b, s); return puts(b); }
int pub(const char *s) { return copies(s) + 1; }
"""


@pytest.mark.parametrize("linker", ["bfd", "lld", "gold"])
@pytest.mark.parametrize(
    ("flags", "link_flags"),
    [
        (["-fno-asynchronous-unwind-tables"], ["-s"]),
        (["-fno-asynchronous-unwind-tables", '-DPLACE=__attribute__((section("mine")))'], ["-s"]),
        ([], ["-Wl,-x"]),
    ],
    ids=["no-tables", "section", "locals-stripped"],
)
def test_small_functions_do_not_hide(build: CompileC, linker: str, flags: list[str], link_flags: list[str]) -> None:
    """A function of 30 bytes that no table tells of leaves a gap no larger than padding may be."""
    source = HIDDEN.replace("static", "static PLACE")
    flags = flags if any("PLACE" in flag for flag in flags) else [*flags, "-DPLACE="]
    use: dict[str, StackUse] = {}
    for protector in ("-fno-stack-protector", "-fstack-protector-strong"):
        unit = build({"hidden.c": source}, "object", ["-O2", "-fPIC", protector, *flags])
        path = build(
            PAIR,
            flags=["-O2", "-fstack-protector-strong"],
            link_flags=[f"-fuse-ld={linker}", *link_flags],
            objects=[unit],
        )
        with Source.open(path) as content:
            found = ElfReader(content, path.name).extend([Need.UNITS, Need.STACK_USE]).stack_use
        assert found is not None
        use[protector] = found
    off, on = use["-fno-stack-protector"], use["-fstack-protector-strong"]
    assert off.unprotected_count or off.incomplete
    assert not on.unprotected_count
    assert link_flags == ["-s"] or not on.incomplete
