"""pic: objects of every architecture by flag, libraries, archives; the linker is the referee."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.engine import inspect
from pytest_hardening.errors import BuildError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

# One unit for each way in which code can depend on its address.
UNITS = {
    "nothing.c": "int nothing(int i) { return i + 1; }\n",
    "global.c": "int global = 1; int *get_global(void) { return &global; }\n",
    "external.c": "extern int other; int get_other(void) { return other; }\n",
    "table.c": "int one(void) { return 1; } int (*const table[])(void) = {one, one}; "
    "int at(int i) { return table[i](); }\n",
    "index.c": "static int data[100]; int *set(int i) { data[i & 63]++; return 0; }\n",
    "string.c": 'const char *text(void) { return "hello"; }\n',
    "switch.c": 'const char *name(int i) { switch (i) { case 0: return "a"; case 1: return "bb"; case 2: return "ccc"; '
    'case 3: return "d"; case 4: return "eee"; case 5: return "f"; } return 0; }\n',
    "tls.c": "_Thread_local int tls = 1; int get_tls(void) { return tls; }\n",
    "external_tls.c": "extern _Thread_local int other_tls; int get_other_tls(void) { return other_tls; }\n",
    "hidden.c": '__attribute__((visibility("hidden"))) int hidden = 1; int get_hidden(void) { return hidden; }\n',
    "static.c": "static int counter; int count(int i) { return counter += i; }\n",
    "call.c": "int called(void); int call(void) { return called() + 1; }\n",
    "address.c": "int called(void); int (*address(void))(void) { return called; }\n",
    "weak.c": "extern int weak __attribute__((weak)); int *get_weak(void) { return &weak; }\n",
}
X86_64, I386, ARM, RISCV = "gcc", "gcc -m32", "arm-linux-gnueabihf-gcc", "riscv64-linux-gnu-gcc"
ARCHITECTURES = [
    X86_64,
    "clang",
    I386,
    ARM,
    RISCV,
    "aarch64-linux-gnu-gcc",
    "powerpc64le-linux-gnu-gcc",
    "s390x-linux-gnu-gcc",
    "clang --target=aarch64-linux-gnu",
]
# What -fno-pic leaves: these architectures put addresses into instructions, the others count from the instruction.
ABSOLUTE = {
    X86_64: {"global.c", "table.c", "index.c", "string.c", "switch.c"},
    "clang": {"global.c", "table.c", "index.c", "string.c", "switch.c"},
    I386: {
        "global.c",
        "external.c",
        "table.c",
        "index.c",
        "string.c",
        "switch.c",
        "hidden.c",
        "static.c",
        "address.c",
        "weak.c",
    },
    ARM: {
        "global.c",
        "external.c",
        "table.c",
        "index.c",
        "string.c",
        "switch.c",
        "hidden.c",
        "static.c",
        "address.c",
        "weak.c",
    },
    RISCV: {"global.c", "table.c", "index.c", "string.c", "switch.c", "hidden.c", "static.c"},
}


def codes(path: Path) -> dict[str, str]:
    """What the check observes of each member of an archive, by the name of its source."""
    report = inspect(path, ["pic"])
    assert report.artifact.error is None
    return {
        f"{(entry.member or '').removesuffix('.o')}.c": str(entry.verdicts[0].observed["code"])
        for entry in report.members
    }


@pytest.mark.parametrize("optimisation", ["-O0", "-O2"])
@pytest.mark.parametrize("compiler", ARCHITECTURES)
@pytest.mark.parametrize("flag", ["-fPIC", "-fpic"])
def test_pic_fits_everywhere(build: CompileC, compiler: str, flag: str, optimisation: str) -> None:
    path = build(UNITS, kind="archive", flags=[flag, optimisation], compiler=compiler)
    assert codes(path) == dict.fromkeys(UNITS, "position-independent")


@pytest.mark.parametrize("optimisation", ["-O0", "-O2"])
@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_pie_is_position_independent(build: CompileC, verdict: VerdictOf, compiler: str, optimisation: str) -> None:
    path = build(UNITS, kind="archive", flags=["-fPIE", optimisation], compiler=compiler)
    assert set(codes(path).values()) <= {"position-independent", "pie-only"}
    assert codes(path)["nothing.c"] == "position-independent"
    assert codes(path)["static.c"] == "position-independent"
    assert verdict(path, "pic").outcome is Outcome.PASS


@pytest.mark.parametrize("compiler", ARCHITECTURES)
def test_no_pic_where_it_shows(build: CompileC, compiler: str) -> None:
    path = build(
        UNITS,
        kind="archive",
        flags=["-fno-pic", "-O2", "-fno-section-anchors"] if "clang" not in compiler else ["-fno-pic", "-O2"],
        compiler=compiler,
    )
    found = codes(path)
    dependent = {name for name, code in found.items() if code == "position-dependent"}
    assert dependent >= ABSOLUTE.get(compiler, set())
    # GNU ld makes a text relocation of an i386 call without a PLT reference, in a PIE too
    assert ("call.c" in dependent) is (compiler == I386)
    assert "nothing.c" not in dependent


@pytest.mark.parametrize("flag", ["-fno-pic", "-fPIE", "-fPIC"])
@pytest.mark.parametrize(
    "compiler", [X86_64, I386, ARM, RISCV, "aarch64-linux-gnu-gcc", "powerpc64le-linux-gnu-gcc", "s390x-linux-gnu-gcc"]
)
def test_linker_agrees(build: CompileC, compiler: str, flag: str) -> None:
    """What we call position-independent the linker puts into a shared library without any text relocation."""
    for name, text in UNITS.items():
        path = build({name: text}, kind="object", flags=[flag, "-O2"], compiler=compiler)
        observed = inspect(path, ["pic"]).verdict("pic").observed["code"]
        if observed == "position-independent":
            build(
                [],
                kind="shared-library",
                objects=[path],
                flags=["-nostdlib"],
                link_flags=["-Wl,-z,text"],
                compiler=compiler,
            )


def test_linker_refuses_what_we_refuse(build: CompileC, verdict: VerdictOf) -> None:
    for name in ("global.c", "table.c", "string.c", "external.c"):
        path = build({name: UNITS[name]}, kind="object", flags=["-fno-pic", "-O2"])
        found = verdict(path, "pic", destination="shared-library")
        assert found.outcome is Outcome.FAIL
        with pytest.raises(BuildError):
            build([], kind="shared-library", objects=[path], flags=["-nostdlib"], link_flags=["-Wl,-z,text"])


@pytest.mark.parametrize("compiler", ["gcc", "clang", I386, ARM, RISCV])
def test_remedy_and_evidence(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    path = build({"string.c": UNITS["string.c"]}, kind="object", flags=["-fno-pic", "-O2"], compiler=compiler)
    found = verdict(path, "pic")
    assert found.outcome is Outcome.FAIL
    assert found.remedy == "compile this unit with -fPIC (-fPIE is enough for an executable)"
    assert "text()" in str(found.evidence[0])


@pytest.mark.parametrize("unit", ["tls.c", "global.c"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_destination(build: CompileC, verdict: VerdictOf, compiler: str, unit: str) -> None:
    """Thread-local offsets fixed at link time, and direct references to what a library may preempt."""
    path = build({unit: UNITS[unit]}, kind="object", flags=["-fPIE", "-O2"], compiler=compiler)
    assert verdict(path, "pic").outcome is Outcome.PASS
    found = verdict(path, "pic", destination="shared-library")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"code": "pie-only"})
    assert found.remedy == "compile this unit with -fPIC instead of -fPIE"
    path = build({unit: UNITS[unit]}, kind="object", flags=["-fPIC", "-O2"], compiler=compiler)
    assert verdict(path, "pic", destination="shared-library").outcome is Outcome.PASS


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("flag", ["-fPIC", "-fPIE"])
def test_cplusplus_and_debug_information(build: CompileC, verdict: VerdictOf, compiler: str, flag: str) -> None:
    """Virtual tables, exceptions, function-local statics; debug sections are full of absolute addresses."""
    source = """
#include <stdexcept>
#include <string>
struct Base { virtual ~Base() = default; virtual int run() { return 1; } };
struct Derived : Base { int run() override { return 2; } };
int work(Base *b) { static std::string s = "x";
    try { return b->run(); } catch (const std::runtime_error &e) { throw; } }
Base *make() { return new Derived; }
"""
    path = build(source, kind="object", flags=[flag, "-O2", "-g"], compiler=compiler)
    assert verdict(path, "pic").outcome is Outcome.PASS
    if flag == "-fPIC":
        assert verdict(path, "pic", destination="shared-library").outcome is Outcome.PASS


def test_assembler(build: CompileC, verdict: VerdictOf) -> None:
    bad = build({"a.S": ".globl f\nf: mov $data, %eax\n ret\n.data\ndata: .long 1\n"}, kind="object")
    assert verdict(bad, "pic").outcome is Outcome.FAIL
    good = build({"a.S": ".globl f\nf: lea data(%rip), %rax\n ret\n.data\ndata: .quad data\n"}, kind="object")
    assert verdict(good, "pic", destination="shared-library").outcome is Outcome.PASS


@pytest.mark.parametrize("compiler", [X86_64, I386, "s390x-linux-gnu-gcc"])
def test_absolute_address_in_the_unwind_table(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    """.eh_frame is read-only data like any other: without -fPIC and .cfi directives it holds the code's address."""
    flags = ["-fno-dwarf2-cfi-asm", "-O2"]
    source = {"nothing.c": UNITS["nothing.c"]}
    absolute = build(source, kind="object", flags=[*flags, "-fno-pic"], compiler=compiler)
    found = verdict(absolute, "pic")
    assert found.outcome is Outcome.FAIL
    assert ".eh_frame+" in str(found.evidence[0])
    link_flags = ["-nostdlib", "-Wl,-z,text"]
    with pytest.raises(BuildError):
        build([], kind="shared-library", objects=[absolute], link_flags=link_flags, compiler=compiler)
    relative = build(source, kind="object", flags=[*flags, "-fPIC"], compiler=compiler)
    assert verdict(relative, "pic", destination="shared-library").outcome is Outcome.PASS
    build([], kind="shared-library", objects=[relative], link_flags=link_flags, compiler=compiler)


def test_libraries(build: CompileC, verdict: VerdictOf) -> None:
    sources = {"global.c": UNITS["global.c"], "string.c": UNITS["string.c"]}
    good = build(sources, kind="shared-library", flags=["-fPIC"])
    assert (verdict(good, "pic").outcome, verdict(good, "pic").observed) == (
        Outcome.PASS,
        {"code": "position-independent"},
    )
    bad = build(
        sources,
        kind="shared-library",
        flags=["-fPIC"],
        link_flags=["-Wl,-z,notext"],
        unit_flags={"string.c": ["-fno-pic", "-mcmodel=large"]},
    )
    found = verdict(bad, "pic")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("text()",))
    assert "static archives" in found.remedy


def test_executables_are_left_to_pie(build: CompileC, verdict: VerdictOf) -> None:
    for flags in (["-pie"], ["-no-pie"], ["-static"]):
        path = build("int main(void) { return 0; }\n", flags=flags)
        assert verdict(path, "pic").outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("thin", [False, True], ids=["ordinary", "thin"])
def test_archive_names_the_bad_member(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path, thin: bool
) -> None:
    for name, flag in (("good", "-fPIC"), ("bad", "-fno-pic")):
        made = build({"string.c": UNITS["string.c"]}, kind="object", flags=[flag, "-O2"])
        (tmp_path / f"{name}.o").write_bytes(made.read_bytes())
    path = tmp_path / "mixed.a"
    subprocess.run([tool_for("ar"), "rcsT" if thin else "rcs", path, "good.o", "bad.o"], cwd=tmp_path, check=True)
    assert path.read_bytes().startswith(b"!<thin>\n" if thin else b"!<arch>\n")
    found = verdict(path, "pic")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("bad.o",))
    assert found.observed == {"members": {"fail": 1, "pass": 1}}
    assert "bad.o" in found.summary


def test_archive_with_two_members_of_one_name(build: CompileC, verdict: VerdictOf) -> None:
    sources = {"a/F.c": UNITS["nothing.c"], "b/F.c": UNITS["string.c"]}
    path = build(sources, kind="archive", flags=["-fPIC", "-O2"], unit_flags={"b/F.c": ["-fno-pic"]})
    report = inspect(path, ["pic"])
    assert [entry.member for entry in report.members] == ["F.o", "F.o#2"]
    assert verdict(path, "pic").culprits == ("F.o#2",)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_link_time_optimisation(build: CompileC, compiler: str) -> None:
    """GCC's slim objects hold no code, clang's are no ELF files at all; fat ones are judged by their code."""
    path = build({"string.c": UNITS["string.c"]}, kind="archive", flags=["-flto", "-fno-pic", "-O2"], compiler=compiler)
    assert inspect(path, ["pic"]).verdict("pic").outcome is Outcome.UNKNOWN
    if compiler == "gcc":
        fat = build(
            {"string.c": UNITS["string.c"]}, kind="object", flags=["-flto", "-ffat-lto-objects", "-fno-pic", "-O2"]
        )
        assert inspect(fat, ["pic"]).verdict("pic").outcome is Outcome.FAIL
