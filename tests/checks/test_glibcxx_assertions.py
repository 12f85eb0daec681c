"""glibcxx-assertions: what shows them, what proves that they are missing, and what tells nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

GET = "#include <vector>\nint get(const std::vector<int> &v, int i) { return v[i]; }\n"
PUT = "#include <vector>\nvoid put(std::vector<int> &v, int i) { v[i] = i; }\n"
MAIN = """#include <vector>
int get(const std::vector<int> &, int); void put(std::vector<int> &, int);
int main(int c, char **) { std::vector<int> v(8); put(v, c); return get(v, c); }
"""
PLAIN = "int twice(int a) { return a * 2; }\n"
ON = "-D_GLIBCXX_ASSERTIONS"
COMPILERS = ["g++", "g++-11", "clang++-14", "clang++-19"]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_objects(build: CompileC, verdict: VerdictOf, compiler: str, level: str) -> None:
    on = verdict(build({"get.cc": GET}, kind="object", flags=[level, ON], compiler=compiler), "glibcxx-assertions")
    if (compiler, level) == ("g++-11", "-O2"):  # its check is inlined and calls printf and abort
        assert on.outcome is Outcome.UNKNOWN
    else:
        assert (on.outcome, on.observed) == (Outcome.PASS, {"assertions": True})
    off = verdict(build({"get.cc": GET}, kind="object", flags=[level], compiler=compiler), "glibcxx-assertions")
    if level == "-O0":
        assert (off.outcome, off.observed) == (Outcome.FAIL, {"assertions": False})
        assert off.culprits == ("get.cc",)
        assert off.remedy == "compile every C++ unit with -D_GLIBCXX_ASSERTIONS"
    else:
        assert off.outcome is Outcome.UNKNOWN  # all is inlined, and nothing tells
        assert off.remedy == "put the option on record: clang with -grecord-command-line, GCC 14 with -fhardened"


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("kind", [["-fPIE", "-pie"], ["-fPIC", "-shared"], ["-no-pie", "-fno-pie"]])
def test_linked_files_with_one_unit(build: CompileC, verdict: VerdictOf, compiler: str, kind: list[str]) -> None:
    source = {"main.cc": GET + PUT + MAIN}
    on = build(source, flags=["-O2", ON, *kind], compiler=compiler)
    assert verdict(on, "glibcxx-assertions").outcome is Outcome.PASS
    off = build(source, flags=["-O2", *kind], compiler=compiler)
    assert verdict(off, "glibcxx-assertions").outcome is Outcome.UNKNOWN


def test_a_library_that_exports_the_unchecked_operator(build: CompileC, verdict: VerdictOf) -> None:
    source = {"get.cc": "#include <vector>\ntemplate class std::vector<int>;\n" + GET}
    kind = ["-fPIC", "-shared", "-O2"]
    off = verdict(build(source, flags=kind, compiler="g++"), "glibcxx-assertions")
    assert (off.outcome, off.culprits) == (Outcome.FAIL, ("get.cc",))
    assert "_ZNSt6vectorIiSaIiEEixEm" in off.evidence[0].what
    on = verdict(build(source, flags=[*kind, ON], compiler="g++"), "glibcxx-assertions")
    assert on.outcome is Outcome.PASS


def test_vectors_of_bool_and_user_operators_prove_nothing(build: CompileC, verdict: VerdictOf) -> None:
    source = """#include <vector>
template class std::vector<bool>;
struct line { int operator[](unsigned long i) const; };
int line::operator[](unsigned long i) const { return static_cast<int>(i); }
"""
    path = build({"get.cc": source}, kind="object", flags=["-O0"], compiler="g++")
    assert verdict(path, "glibcxx-assertions").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("put", [[ON], []])
def test_several_units_are_not_told_apart(build: CompileC, verdict: VerdictOf, put: list[str]) -> None:
    """One call is enough for the symbol, so it does not speak for the others."""
    units = {"get.cc": GET, "put.cc": PUT, "main.cc": MAIN}
    path = build(
        units, flags=["-O2", "-g"], compiler="g++", unit_flags={"get.cc": [ON], "put.cc": put, "main.cc": [ON]}
    )
    found = verdict(path, "glibcxx-assertions")
    assert found.outcome is Outcome.UNKNOWN
    assert "whether all do cannot be told" in found.summary
    assert found.remedy == "judge the objects"


def test_archives(build: CompileC, verdict: VerdictOf) -> None:
    units = {"get.cc": GET, "put.cc": PUT}
    on = build(units, kind="archive", flags=["-O2", ON], compiler="g++")
    assert verdict(on, "glibcxx-assertions").outcome is Outcome.PASS
    mixed = build(units, kind="archive", flags=["-O0"], compiler="g++", unit_flags={"get.cc": [ON]})
    found = verdict(mixed, "glibcxx-assertions")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, ("put.o",))


@pytest.mark.parametrize("link", [[], ["-Wl,-x"]])
def test_objects_that_were_linked_together(build: CompileC, verdict: VerdictOf, link: list[str]) -> None:
    """The other unit has no debug information; without its name its functions tell of it."""
    units = {"get.cc": ["-g", ON]}
    flags = ["-O2", "-nostdlib", "-r"]
    path = build({"get.cc": GET, "put.cc": PUT}, flags=flags, link_flags=link, compiler="g++", unit_flags=units)
    assert verdict(path, "glibcxx-assertions").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("record", [["-gdwarf-4", "-grecord-command-line"], ["-frecord-command-line"]])
@pytest.mark.parametrize("spelling", [[ON], ["-D", "_GLIBCXX_ASSERTIONS"], [f"{ON}=1"], ["-D_GLIBCXX_DEBUG"]])
def test_record_of_clang(build: CompileC, verdict: VerdictOf, record: list[str], spelling: list[str]) -> None:
    """It holds -D, so that even a unit without containers can be judged."""
    path = build({"twice.cc": PLAIN}, kind="object", flags=[*record, *spelling], compiler="clang++-19")
    assert verdict(path, "glibcxx-assertions").outcome is Outcome.PASS
    for flags in ([*spelling, "-U_GLIBCXX_ASSERTIONS"], []):
        path = build({"twice.cc": PLAIN}, kind="object", flags=[*record, *flags], compiler="clang++-19")
        assert verdict(path, "glibcxx-assertions").outcome is Outcome.UNKNOWN


def test_static_programs(build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path) -> None:
    """libstdc++'s own units lie inside; stripped, not even C++ shows."""
    path = build({"main.cc": GET + PUT + MAIN}, flags=["-O2", "-static", ON], compiler="g++")
    assert verdict(path, "glibcxx-assertions").outcome is Outcome.UNKNOWN
    plain = build({"twice.c": PLAIN + "int main(void) { return twice(0); }\n"}, flags=["-static"])
    assert verdict(plain, "glibcxx-assertions").outcome is Outcome.NOT_APPLICABLE
    subprocess.run([tool_for("strip"), "-o", tmp_path / "stripped", plain], check=True)
    assert verdict(tmp_path / "stripped", "glibcxx-assertions").outcome is Outcome.UNKNOWN


def test_library_inside_and_stripped(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    flags = ["-O2", "-static-libstdc++", "-static-libgcc", "-fvisibility=hidden", "-Wl,--exclude-libs,ALL"]
    path = build({"main.cc": "#include <iostream>\n" + GET + PUT + MAIN}, flags=flags, compiler="g++")
    subprocess.run([tool_for("strip"), "-o", tmp_path / "stripped", path], check=True)
    assert verdict(tmp_path / "stripped", "glibcxx-assertions").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("kind", ["object", "shared-library", "executable"])
def test_c_has_none(build: CompileC, verdict: VerdictOf, kind: str) -> None:
    source = PLAIN + "int main(void) { return twice(0); }\n"
    path = build({"twice.c": source}, kind=kind, flags=["-fPIC"])  # type: ignore[arg-type]
    found = verdict(path, "glibcxx-assertions")
    assert (found.outcome, found.summary) == (Outcome.NOT_APPLICABLE, "no C++")


def test_mangled_names_of_rust_are_none_of_cplusplus(build: CompileC, verdict: VerdictOf) -> None:
    source = 'void f(void) __asm__("_ZN4core9panicking5panic17h0123456789abcdefE"); void f(void) {}\n'
    path = build({"F.c": source}, kind="object")
    assert verdict(path, "glibcxx-assertions").outcome is Outcome.NOT_APPLICABLE


LIBCXX = "clang++-19 -stdlib=libc++"
AT = "#include <vector>\nint get(const std::vector<int> &v, int i) { return v.at(i); }\n"


def mode(name: str) -> str:
    return f"-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_{name.upper()}"


@pytest.mark.parametrize("name", ["fast", "extensive", "debug", "none"])
@pytest.mark.parametrize("flags", [["-O0"], ["-O2"], ["-O2", "-fno-exceptions"]])
@pytest.mark.parametrize("source", [GET, AT])
def test_modes_of_libcxx(build: CompileC, verdict: VerdictOf, name: str, flags: list[str], source: str) -> None:
    path = build({"get.cc": source}, kind="object", flags=[*flags, mode(name)], compiler=LIBCXX)
    found = verdict(path, "glibcxx-assertions")
    if source == GET and "-O2" in flags:
        assert found.outcome is Outcome.UNKNOWN  # all is inlined, and no name of libc++ is left
    elif name == "none":
        assert (found.outcome, found.observed) == (Outcome.FAIL, {"assertions": False, "mode": "none"})
        assert found.culprits == ("get.cc",)
        assert found.remedy.endswith("-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_FAST")
    else:
        assert (found.outcome, found.observed) == (Outcome.PASS, {"assertions": True, "mode": name})


def test_no_mode_is_none(build: CompileC, verdict: VerdictOf) -> None:
    """As Debian configures libc++. The macro of the other library changes nothing."""
    for flags in ([], [ON]):
        path = build({"get.cc": AT}, kind="object", flags=["-O2", *flags], compiler=LIBCXX)
        assert verdict(path, "glibcxx-assertions").outcome is Outcome.FAIL


@pytest.mark.parametrize("kind", [["-fPIE", "-pie"], ["-fPIC", "-shared"]])
def test_linked_files_with_libcxx(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path, kind: list[str]
) -> None:
    units = {"get.cc": AT, "put.cc": PUT, "main.cc": MAIN}
    on = build(units, flags=["-O1", "-g", mode("fast"), *kind], compiler=LIBCXX)
    found = verdict(on, "glibcxx-assertions")
    assert (found.outcome, found.evidence[0].what) == (Outcome.UNKNOWN, "ABI tags of libc++ with the mode fast")
    mixed = build(units, flags=["-O1", mode("fast"), *kind], compiler=LIBCXX, unit_flags={"get.cc": [mode("none")]})
    assert verdict(mixed, "glibcxx-assertions").outcome is Outcome.FAIL
    subprocess.run([tool_for("strip"), "-o", tmp_path / "stripped", mixed], check=True)
    assert verdict(tmp_path / "stripped", "glibcxx-assertions").outcome is Outcome.UNKNOWN
    one = build({"main.cc": AT + PUT + MAIN}, flags=["-O1", mode("extensive"), *kind], compiler=LIBCXX)
    assert verdict(one, "glibcxx-assertions").outcome is Outcome.PASS


def test_libcxx_inside_has_a_mode_of_its_own(build: CompileC, verdict: VerdictOf) -> None:
    source = {"main.cc": "#include <iostream>\n" + AT + PUT + MAIN}
    flags = ["-O1", "-static-libstdc++", mode("fast")]
    found = verdict(build(source, flags=flags, compiler=LIBCXX), "glibcxx-assertions")
    assert found.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("flags", "outcome"),
    [
        ([mode("fast")], Outcome.PASS),
        (["-D", mode("debug")[2:]], Outcome.PASS),
        ([mode("fast"), "-U_LIBCPP_HARDENING_MODE"], Outcome.UNKNOWN),
        ([mode("none")], Outcome.UNKNOWN),
        ([ON], Outcome.UNKNOWN),
    ],
)
def test_record_of_libcxx(build: CompileC, verdict: VerdictOf, flags: list[str], outcome: Outcome) -> None:
    record = ["-g", "-grecord-command-line", *flags]
    path = build({"twice.cc": PLAIN}, kind="object", flags=record, compiler=LIBCXX)
    assert verdict(path, "glibcxx-assertions").outcome is outcome
    other = build(
        {"twice.cc": PLAIN}, kind="object", flags=["-g", "-grecord-command-line", mode("fast")], compiler="clang++-19"
    )
    assert verdict(other, "glibcxx-assertions").outcome is Outcome.UNKNOWN


def test_abort_of_libcxx_proves_nothing(build: CompileC, verdict: VerdictOf) -> None:
    """Of versions whose names carry no mode; libc++ itself is not needed to import it."""
    source = """
namespace std { inline namespace __1 { void __libcpp_verbose_abort(const char *, ...); } }
int front(int size) { if (!size) std::__libcpp_verbose_abort("empty"); return size; }
"""
    path = build({"F.cc": source}, kind="object", compiler="clang++-19")
    found = verdict(path, "glibcxx-assertions")
    assert (found.outcome, found.summary) == (
        Outcome.UNKNOWN,
        "calls libc++'s abort, as code without exceptions does in any hardening mode",
    )
