"""forbidden-imports: who uses a function, in every form that headers give it; static programs, which hide it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.checks.forbidden_imports import spellings
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

# declared here: newer headers have no gets
GETS = "char *gets(char *); char line[64]; char *read_line(void) { return gets(line); }\n"
FGETS = "#include <stdio.h>\nchar line[64]; char *read_line(void) { return fgets(line, 64, stdin); }\n"
MAIN = "char *read_line(void); int main(void) { return read_line() == 0; }\n"
BAD, GOOD = {"line.c": GETS, "main.c": MAIN}, {"line.c": FGETS, "main.c": MAIN}
COMPILERS = ["gcc", "clang-19", "gcc -m32", "aarch64-linux-gnu-gcc", "riscv64-linux-gnu-gcc", "s390x-linux-gnu-gcc"]
CALLS = {
    "gets": "char b[9]; char *gets(char *); char *f(void) { return gets(b); }",
    "mktemp": '#include <stdlib.h>\nchar t[] = "XXXXXX"; char *f(void) { return mktemp(t); }',
    "tmpnam": "#include <stdio.h>\nchar t[L_tmpnam]; char *f(void) { return tmpnam(t); }",
    "tmpnam_r": "#include <stdio.h>\nchar t[L_tmpnam]; char *f(void) { return tmpnam_r(t); }",
    "tempnam": "#include <stdio.h>\nchar *f(void) { return tempnam(0, 0); }",
    "getwd": "#include <unistd.h>\nchar t[4096]; char *f(void) { return getwd(t); }",
    "getpw": "int getpw(unsigned, char *); char t[4096]; int f(void) { return getpw(0, t); }",
    "sigstack": "int sigstack(void *, void *); int f(void) { return sigstack(0, 0); }",
}


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("kind", [["-fPIE", "-pie"], ["-fPIC", "-shared"], ["-no-pie", "-fno-pie"]])
def test_linked_files(build: CompileC, verdict: VerdictOf, compiler: str, kind: list[str]) -> None:
    bad = verdict(build(BAD, flags=kind, compiler=compiler), "forbidden-imports")
    assert (bad.outcome, bad.observed) == (Outcome.FAIL, {"found": ["gets"]})
    assert (bad.summary, bad.remedy) == ("uses gets", "use fgets or getline instead of gets")
    good = verdict(build(GOOD, flags=kind, compiler=compiler), "forbidden-imports")
    assert (good.outcome, good.observed) == (Outcome.PASS, {"found": []})


@pytest.mark.parametrize("function", CALLS)
def test_what_glibc_warns_of(build: CompileC, verdict: VerdictOf, function: str) -> None:
    source = f"#define _GNU_SOURCE\n{CALLS[function]}\n"
    found = verdict(build({"F.c": source}, kind="object", flags=["-w"]), "forbidden-imports")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"found": [function]})
    assert found.remedy.endswith(f" instead of {function}")
    assert verdict(
        build({"F.c": source}, kind="object", flags=["-w"]), "forbidden-imports", forbid=["puts"]
    ).outcome is (Outcome.PASS)


def test_the_list_is_that_of_the_c_library(tool_for: Callable[[str], str]) -> None:
    """Every function that glibc itself calls dangerous at link time is in it."""
    found = subprocess.run(
        [tool_for("gcc"), "-print-file-name=libc.a"], capture_output=True, text=True, check=True
    ).stdout.strip()
    text = Path(found).read_bytes().decode("latin-1")
    for function in CALLS:
        assert f"`{function}'" in text


def test_objects_and_archives(build: CompileC, verdict: VerdictOf) -> None:
    found = verdict(build({"line.c": GETS}, kind="object", flags=["-g"]), "forbidden-imports")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("line.c: gets()",))
    units = {"line.c": GETS, "other.c": FGETS.replace("line", "text")}
    archive = verdict(build(units, kind="archive"), "forbidden-imports")
    assert (archive.outcome, archive.culprits) == (Outcome.FAIL, ("line.o: gets()",))
    assert verdict(build(GOOD, kind="archive"), "forbidden-imports").outcome is Outcome.PASS


def test_an_address_is_a_use_too(build: CompileC, verdict: VerdictOf) -> None:
    source = {"table.c": "char *gets(char *); char *(*table[])(char *) = {gets};\n"}
    assert verdict(build(source, kind="object"), "forbidden-imports").outcome is Outcome.FAIL
    assert verdict(build(source, kind="shared-library", flags=["-fPIC"]), "forbidden-imports").outcome is Outcome.FAIL


def test_a_function_of_ones_own(build: CompileC, verdict: VerdictOf) -> None:
    own = {"line.c": GETS + "char *gets(char *to) { to[0] = 0; return to; }\n", "main.c": MAIN}
    assert verdict(build(own, flags=["-fno-builtin"]), "forbidden-imports").outcome is Outcome.PASS
    near = {"F.c": "int fgets_all(void); int f(void) { return fgets_all(); }\n"}
    assert verdict(build(near, kind="object"), "forbidden-imports").outcome is Outcome.PASS


@pytest.mark.parametrize(("forbid", "outcome"), [("strcpy", "FAIL"), ("str*cpy", "FAIL"), ("strncpy", "PASS")])
@pytest.mark.parametrize("flags", [["-O2", "-D_FORTIFY_SOURCE=2"], ["-O0"]])
def test_fortified_forms(build: CompileC, verdict: VerdictOf, flags: list[str], forbid: str, outcome: str) -> None:
    source = {"F.c": "#include <string.h>\nchar to[64]; void f(char *from) { strcpy(to, from); }\n"}
    path = build(source, kind="object", flags=["-U_FORTIFY_SOURCE", *flags])
    found = verdict(path, "forbidden-imports", forbid=[forbid])
    assert found.outcome is Outcome[outcome]
    if found.outcome is Outcome.FAIL:
        assert found.observed["found"] == ["__strcpy_chk" if len(flags) > 1 else "strcpy"]
        assert found.remedy == "do without strcpy"


def test_forms_of_a_name() -> None:
    forms = {
        "__gets_chk": "gets",
        "__isoc99_scanf": "scanf",
        "__isoc23_strtol": "strtol",
        "__open64_2": "open",
        "fopen64": "fopen",
        "_IO_gets": "gets",
        "gets@GLIBC_2.2.5": "gets",
        "__memcpy_chk@@GLIBC_2.3.4": "memcpy",
    }
    for symbol, function in forms.items():
        assert function in spellings(symbol)
    assert spellings("crc64") == ("crc64",)
    assert spellings("my_gets_chk") == ("my_gets_chk",)


def test_policy_of_a_project(build: CompileC, verdict: VerdictOf) -> None:
    source = {"F.c": '#include <stdlib.h>\nint main(void) { return system("true"); }\n'}
    path = build(source)
    assert verdict(path, "forbidden-imports").outcome is Outcome.PASS
    found = verdict(path, "forbidden-imports", forbid=["system", "popen"])
    assert (found.outcome, found.remedy) == (Outcome.FAIL, "do without system")
    assert verdict(path, "forbidden-imports", forbid=[]).outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("compiler", "kind"),
    [("gcc", ["-static", "-no-pie"]), ("gcc", ["-static-pie", "-fPIE"]), ("musl-gcc", ["-static", "-no-pie"])],
)
def test_static_programs(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path, compiler: str, kind: list[str]
) -> None:
    assert verdict(build(GOOD, flags=kind, compiler=compiler), "forbidden-imports").outcome is Outcome.PASS
    path = build(BAD, flags=kind, compiler=compiler)
    found = verdict(path, "forbidden-imports")
    assert (found.outcome, found.remedy) == (Outcome.UNKNOWN, "judge its objects")
    assert "gets" in found.observed["found"]
    subprocess.run([tool_for("strip"), "-o", tmp_path / "stripped", path], check=True)
    assert verdict(tmp_path / "stripped", "forbidden-imports").outcome is Outcome.UNKNOWN


def test_static_programs_that_hide_symbols(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    hidden = build(BAD, flags=["-static"], link_flags=["-Wl,--exclude-libs,ALL"])
    assert verdict(hidden, "forbidden-imports").outcome is Outcome.UNKNOWN
    subprocess.run([tool_for("strip"), "-K", "main", "-o", tmp_path / "main", hidden], check=True)
    assert verdict(tmp_path / "main", "forbidden-imports").outcome is Outcome.UNKNOWN


def test_stripped_dynamic_files_tell(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    subprocess.run([tool_for("strip"), "-o", tmp_path / "stripped", build(BAD)], check=True)
    assert verdict(tmp_path / "stripped", "forbidden-imports").outcome is Outcome.FAIL


@pytest.mark.parametrize("compiler", ["gcc", "clang-19"])
def test_bytecode_is_unknown(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    path = build({"line.c": GETS}, kind="object", flags=["-flto"], compiler=compiler)
    assert verdict(path, "forbidden-imports").outcome is Outcome.UNKNOWN
    assert verdict(path, "forbidden-imports", forbid=[]).outcome is not Outcome.FAIL
