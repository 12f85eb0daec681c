"""Translation units: name, language, compiler, flags and addresses, as the build that made them knows them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.elf import units as units_module
from pytest_hardening.elf.facts import Need, Unit, Units
from pytest_hardening.elf.producer import producer_of
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.fixtures import CompileC

COPY = "static int third(int x) { return x / 3; }\nint copy(const char *s) { return third(*s); }\n"
MAIN = "int copy(const char *); int main(int c, char **v) { (void)c; return copy(v[0]); }\n"
PROGRAM = {"copy.c": COPY, "main.c": MAIN}
LINKED = [["-pie", "-fPIE"], ["-no-pie", "-fno-pie"], ["-shared", "-fPIC"], ["-static", "-no-pie"]]


def units(path: Path) -> Units:
    with Source.open(path) as source, ElfReader(source, path.name) as reader:
        found = reader.extend({Need.UNITS}).units
    assert found is not None
    return found


def named(path: Path) -> dict[str, Unit]:
    return {unit.name: unit for unit in units(path).found}


def flags_of(unit: Unit) -> set[str]:
    """The flags that were given, of those on record."""
    assert unit.flags is not None
    return {flag for flag in unit.flags if not flag.startswith(("-m", "-fasynchronous", "-fsigned", "-secure"))}


def addresses(readelf: Callable[..., str], path: Path) -> dict[str, int]:
    return {
        words[-1]: int(words[1], 16)
        for words in map(str.split, readelf("-s", path).splitlines())
        if len(words) >= 8 and words[3] == "FUNC"
    }


@pytest.mark.parametrize("kind", LINKED, ids=" ".join)
@pytest.mark.parametrize("version", ["-gdwarf-4", "-gdwarf-5"])
def test_gcc_records_flags_and_addresses(
    build: CompileC, readelf: Callable[..., str], kind: list[str], version: str
) -> None:
    path = build(PROGRAM, flags=[version, "-O2", *kind], unit_flags={"copy.c": ["-fstack-protector-strong"]})
    found = units(path)
    assert found.unread == ()
    copy, main = (unit for unit in found.found if unit.source == "DWARF")
    assert (copy.name, copy.language, copy.compiler) == ("copy.c", "c", "gcc")
    assert copy.version.startswith("12.")
    codegen = {flag for flag in kind if flag.startswith("-f")}
    assert flags_of(copy) == {version, "-O2", "-fstack-protector-strong"} | codegen
    assert flags_of(main) == {version, "-O2"} | codegen
    places = addresses(readelf, path)
    assert found.at(places["copy"]) is copy
    assert found.at(places["main"]) is main
    assert found.at(1) is None
    if "-static" not in kind:
        assert len(found.found) == 2


@pytest.mark.parametrize(
    ("compiler", "expected"),
    [
        ("gcc-11", ("gcc", "11.")),
        ("clang", ("clang", "14.")),
        ("clang-19", ("clang", "19.")),
        ("riscv64-linux-gnu-gcc", ("gcc", "12.")),
        ("s390x-linux-gnu-gcc", ("gcc", "12.")),
        ("arm-linux-gnueabihf-gcc", ("gcc", "12.")),
    ],
)
def test_compilers(build: CompileC, compiler: str, expected: tuple[str, str]) -> None:
    for kind in ("object", "shared-library"):
        path = build(
            {"copy.c": COPY},
            kind=kind,
            flags=["-g", "-O2", "-fPIC"],
            compiler=compiler,
        )
        (unit,) = units(path).found
        assert (unit.name, unit.language, unit.compiler) == ("copy.c", "c", expected[0])
        assert unit.version.startswith(expected[1])
        assert (unit.flags is None) is (expected[0] == "clang")
        assert bool(unit.ranges) is (kind == "shared-library")


def test_units_keep_the_path_that_was_given(build: CompileC) -> None:
    path = build({"src/lib/copy.c": COPY}, kind="object", flags=["-g"])
    assert [unit.name for unit in units(path).found] == ["src/lib/copy.c"]
    path = build({"src/lib/copy.c": COPY}, kind="object")
    assert [(unit.name, unit.source) for unit in units(path).found] == [("copy.c", "symbol table")]


@pytest.mark.parametrize("option", ["-grecord-command-line", "-grecord-gcc-switches"])
def test_clang_records_its_command_line(build: CompileC, option: str) -> None:
    """All of it: preprocessor definitions as well."""
    flags = ["-g", "-O2", option, "-DTEXT=a b", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong"]
    (unit,) = units(build({"copy.c": COPY}, kind="object", flags=flags, compiler="clang")).found
    assert unit.flags is not None
    assert set(flags) - {option} <= set(unit.flags)
    assert not any(flag.endswith((".c", ".o")) for flag in unit.flags)


@pytest.mark.parametrize("compiler", ["gcc", "gcc-11", "clang", "clang-19"])
def test_recorded_command_lines(build: CompileC, compiler: str) -> None:
    """In .GCC.command.line, without DWARF. In an object it is the unit's; linked, only clang's names the source."""
    option = "-frecord-command-line" if "clang" in compiler else "-frecord-gcc-switches"
    on, off = "-fstack-protector-strong", "-fno-stack-protector"
    built = {"flags": ["-O2", option], "compiler": compiler}
    (unit,) = units(build({"copy.c": COPY}, kind="object", **built)).found  # type: ignore[arg-type]
    assert (unit.name, unit.source, unit.compiler) == ("copy.c", ".GCC.command.line", compiler.partition("-")[0])
    assert "-O2" in (unit.flags or ())
    path = build(PROGRAM, **built, unit_flags={"copy.c": [on], "main.c": [off]})  # type: ignore[arg-type]
    found = sorted(units(path).found, key=lambda unit: (not unit.name, unit.name))
    if "clang" in compiler:
        assert [(unit.name, on in (unit.flags or ()), off in (unit.flags or ())) for unit in found] == [
            ("copy.c", True, False),
            ("main.c", False, True),
        ]
    else:
        assert [(unit.name, unit.flags) for unit in found[:2]] == [("copy.c", None), ("main.c", None)]
        assert [(unit.name, unit.language, unit.source) for unit in found[2:]] == [("", "c", ".GCC.command.line")] * 2
        assert {flag for unit in found[2:] for flag in unit.flags or () if "protector" in flag} == {on, off}


def test_recorded_flags_that_dwarf_has_too_are_not_listed_twice(build: CompileC) -> None:
    path = build(PROGRAM, flags=["-O2", "-g", "-frecord-gcc-switches"], unit_flags={"copy.c": ["-g0"]})
    found = units(path).found
    assert [(unit.name, unit.source) for unit in found] == [
        ("main.c", "DWARF"),
        ("copy.c", "symbol table"),
        ("", ".GCC.command.line"),
    ]
    assert "-g0" in (found[2].flags or ())


@pytest.mark.parametrize("compiler", ["gcc", "clang", "gcc -m32", "aarch64-linux-gnu-gcc", "musl-gcc"])
def test_symbol_table_names_files_but_not_start_files(
    build: CompileC, readelf: Callable[..., str], compiler: str
) -> None:
    """Their local functions are known to be theirs; the global ones are not."""
    path = build(PROGRAM, flags=["-O0"], compiler=compiler)
    found = units(path)
    assert [(unit.name, unit.language, unit.flags, unit.source) for unit in found.found] == [
        ("copy.c", "c", None, "symbol table"),
        ("main.c", "c", None, "symbol table"),
    ]
    places = addresses(readelf, path)
    assert found.at(places["third"]) is found.found[0]
    assert found.at(places["copy"]) is None
    assert found.at(places["main"]) is None


@pytest.mark.parametrize("linker", ["lld", "gold"])
def test_linkers_that_do_not_name_every_object(build: CompileC, linker: str) -> None:
    """GNU ld writes a name before the symbols of an object that has none; these do not, so no local symbol is sure."""
    flags = ["-O0", f"-fuse-ld={linker}"]
    path = build(PROGRAM, flags=flags[:1], link_flags=flags[1:], compiler="clang")
    assert [(unit.name, unit.ranges) for unit in units(path).found] == [("copy.c", ()), ("main.c", ())]


def test_user_files_named_like_start_files(build: CompileC) -> None:
    code = "static int f(int x) { return x; } int g(int x) { return f(x); }"
    source = {"init.c": code, "main.c": MAIN, "copy.c": COPY}
    path = build(source, flags=["-O0"])
    assert "init.c" in named(path)
    assert "init.c" in named(build(source, flags=["-g"]))


def test_mixed_units(build: CompileC) -> None:
    """Units without DWARF stand beside those with it; of two files of one name both are listed."""
    source = {"a/same.c": "int a;", "b/same.c": "int b;", "copy.c": COPY, "main.c": MAIN}
    path = build(source, flags=["-g"], unit_flags={"b/same.c": ["-g0"], "copy.c": ["-g0"]})
    assert [(unit.name, unit.source) for unit in units(path).found] == [
        ("a/same.c", "DWARF"),
        ("main.c", "DWARF"),
        ("same.c", "symbol table"),
        ("copy.c", "symbol table"),
    ]


def test_stripped_files_tell_nothing(build: CompileC) -> None:
    assert units(build(PROGRAM, flags=["-g"], link_flags=["-s"])) == Units(())


@pytest.mark.parametrize("partitions", ["-flto=1", "-flto-partition=1to1"])
def test_link_time_optimisation(build: CompileC, readelf: Callable[..., str], partitions: str) -> None:
    """The code lies in units <artificial>; it belongs to the sources, whose flags are on record."""
    source = {
        "copy.c": "void use(char *);\n__attribute__((noinline)) int copy(const char *s) "
        "{ char buffer[64]; use(buffer); return buffer[*s & 63]; }",
        "use.c": "__attribute__((noinline)) void use(char *p) { for (int i = 0; i < 64; i++) p[i] = i ^ (long)p; }",
        "main.c": MAIN,
    }
    path = build(
        source,
        flags=["-O2", "-g", "-flto", "-ffat-lto-objects"],
        link_flags=["-O2", "-flto", partitions],
        unit_flags={"copy.c": ["-fno-stack-protector"], "main.c": ["-fstack-protector-strong"]},
    )
    found = units(path)
    by_name = {unit.name: unit for unit in found.found}
    assert set(by_name) == {"copy.c", "use.c", "main.c"}
    assert len(found.found) == 3
    places = addresses(readelf, path)
    for name in ("copy", "use", "main"):
        unit = found.at(places[name] if name in places else places[f"{name}.constprop.0"])
        assert unit is not None
        assert unit.name == f"{name}.c"
    assert "-fno-stack-protector" in (by_name["copy.c"].flags or ())
    assert "-fno-stack-protector" not in (by_name["main.c"].flags or ())
    with Source.open(path) as file, ElfReader(file, "program") as reader:
        arrays = reader.extend({Need.STACK_ARRAYS}).stack_arrays
    assert arrays is not None
    assert [(array.unit, array.function) for array in arrays.found] == [("copy.c", "copy")]
    assert "-fno-stack-protector" in arrays.found[0].producer


SOURCES = {
    "gfortran": ("hello.f90", 'program p\nprint *, "x"\nend program\n', ("fortran", "gcc")),
    "g++": ("hello.cc", "int main() { return 0; }\n", ("c++", "gcc")),
    "clang++": ("hello.cpp", "int main() { return 0; }\n", ("c++", "clang")),
    "rustc": ("hello.rs", "fn main() {}\n", ("rust", "rustc")),
    "gnatmake": ("hello.adb", "procedure Hello is begin null; end Hello;\n", ("ada", "gcc")),
}


@pytest.mark.parametrize("tool", SOURCES)
def test_languages(tool_for: Callable[[str], str], tool: str, tmp_path: Path) -> None:
    name, text, (language, compiler) = SOURCES[tool]
    (tmp_path / name).write_text(text)
    words = ["-g", name, *([] if tool == "gnatmake" else ["-o", "hello"])]
    subprocess.run([tool_for(tool), *words], cwd=tmp_path, check=True, capture_output=True)
    found = [unit for unit in units(tmp_path / "hello").found if Path(unit.name.partition("/@/")[0]).name == name]
    assert [(unit.language, unit.compiler, unit.source) for unit in found] == [(language, compiler, "DWARF")]
    assert found[0].ranges
    assert not found[0].is_c_family or language == "c++"


def test_go(tool_for: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hello.go").write_text("package main\n\nfunc main() { println(1) }\n")
    monkeypatch.setenv("GOCACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GOFLAGS", "-p=1")
    subprocess.run([tool_for("go"), "build", "-o", "hello", "hello.go"], cwd=tmp_path, check=True, capture_output=True)
    found = named(tmp_path / "hello")
    assert (found["main"].language, found["main"].compiler, found["main"].flags) == ("go", "go", None)
    assert not any(unit.is_c_family for unit in found.values())


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_assembler(build: CompileC, tool_for: Callable[[str], str], compiler: str, tmp_path: Path) -> None:
    (tmp_path / "code.S").write_text(".globl f\n.type f, @function\nf: ret\n.size f, .-f\n")
    subprocess.run([tool_for(compiler), "-g", "-c", "code.S"], cwd=tmp_path, check=True)
    (unit,) = units(tmp_path / "code.o").found
    assert (unit.name, unit.language, unit.flags) == ("code.S", "assembler", None)


def test_stabs_are_said(tool_for: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    subprocess.run([tool_for("tcc"), "-g", "-o", "main", "main.c"], cwd=tmp_path, check=True)
    assert units(tmp_path / "main").unread == ("debug information in the stabs format is not read",)


def test_limits_are_said(build: CompileC, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build(PROGRAM, flags=["-g"])
    monkeypatch.setattr(units_module, "_MOST_UNITS", 1)
    found = units(path)
    assert [unit.source for unit in found.found] == ["DWARF", "symbol table"]
    assert found.unread == ("only the first 1 units of the debug information were read",)


def test_what_follows_a_debug_file(build: CompileC, tool_for: Callable[[str], str], tmp_path: Path) -> None:
    """A debug file that is judged itself has units as well."""
    path = build(PROGRAM, flags=["-g"])
    subprocess.run([tool_for("objcopy"), "--only-keep-debug", path, tmp_path / "program.debug"], check=True)
    assert units(tmp_path / "program.debug").found == units(path).found
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    ("text", "compiler", "version", "flags"),
    [
        ("GNU C17 12.2.0 -O2 --param ssp-buffer-size=4", "gcc", "12.2.0", ("-O2", "--param", "ssp-buffer-size=4")),
        ("GNU C99 4.8.5 20150623 (Red Hat 4.8.5-44) -m64 -g", "gcc", "4.8.5", ("-m64", "-g")),
        ("GNU C++2a 9.4.0 -g", "gcc", "9.4.0", ("-g",)),
        ("GNU C17 12.2.0", "gcc", "12.2.0", None),
        ("GNU AS 2.40", "gas", "2.40", None),
        ("Ubuntu clang version 15.0.7", "clang", "15.0.7", None),
        ("clang version 9.0 /bin/clang -D A=x\\ y -U B -o a.o -c a.c", "clang", "9.0", ("-DA=x y", "-UB", "-c")),
        ("clang LLVM (rustc version 1.63.0 (4b91a6ea7 2022-08-08))", "rustc", "1.63.0", None),
        ("Go cmd/compile go1.19.8; -N -l regabi", "go", "1.19.8", ("-N", "-l")),
        ("zig 0.15.2", "zig", "0.15.2", None),
        ("My Compiler 3", "", "", None),
        ("", "", "", None),
    ],
)
def test_producer_strings(text: str, compiler: str, version: str, flags: tuple[str, ...] | None) -> None:
    found = producer_of(text)
    assert (found.compiler, found.version, found.flags) == (compiler, version, flags)


def test_ranges_that_overlap() -> None:
    """The innermost range decides; of equal ones the first unit's, whose copy the linker keeps."""
    whole = Unit("whole.c", ranges=((0, 100), (200, 300)))
    inner = Unit("inner.c", ranges=((10, 20), (200, 300)))
    found = Units((whole, inner))
    assert [found.at(address) for address in (5, 10, 19, 20, 99, 100, 250, 300)] == [
        whole, inner, inner, whole, whole, None, whole, None
    ]  # fmt: skip
    assert Units((Unit("only.c"),)).at(7) == Unit("only.c")
    assert found == Units((whole, inner))
