"""stack-protector of files in which only one unit lacks it, and hides: behind doubt, a name, or a place."""

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

ON, OFF = "-fstack-protector-strong", "-fno-stack-protector"
UNITS = {
    "ok.c": "#include <string.h>\n#include <stdio.h>\n"
    "int okf(const char *s) { char b[64]; strcpy(b, s); return puts(b); }\n",
    "main.c": "int okf(const char *); int pub(const char *);\n"
    "int main(int c, char **v) { (void)c; return okf(v[0]) + pub(v[0]); }\n",
}
#: Nothing in its code proves that the array needs a canary: the second argument of a function that is not known, and
#: the only room that the code shows is that of one character.
DOUBTFUL = "void fill(int, char *);\nint pub(const char *s) { char b[64]; fill(*s, b); return b[3]; }\n"
FILL = "void fill(int n, char *b) { b[n & 63] = 3; }\n"
COPY = """
#include <string.h>
#include <stdio.h>
{attribute} int {name}(const char *s) {{ char b[64]; strcpy(b, s); return puts(b); }}
int pub(const char *s) {{ return {name}(s); }}
"""


def test_doubt_about_one_unit_is_not_settled_by_another(build: CompileC, verdict: VerdictOf) -> None:
    units = {**UNITS, "bad.c": DOUBTFUL, "fill.c": FILL}
    mixed = build(units, flags=["-O2", ON], unit_flags={"bad.c": [OFF]})
    found = verdict(mixed, "stack-protector")
    assert (found.outcome, found.observed["protected"]) == (Outcome.UNKNOWN, 1)
    assert "no unit that is known to be protected" in found.summary
    assert verdict(build(units, flags=["-O2", ON]), "stack-protector").outcome is Outcome.PASS
    named = verdict(build(units, flags=["-O2", "-g", ON], unit_flags={"bad.c": [OFF]}), "stack-protector")
    assert (named.outcome, named.culprits) == (Outcome.FAIL, ("bad.c: pub()",))


def test_doubt_in_a_relinked_object(build: CompileC, verdict: VerdictOf, tmp_path: Path) -> None:
    """`ld -r` makes one object of two; which functions came from which is lost."""
    protected = build({"ok.c": UNITS["ok.c"]}, "object", ["-O2", ON])
    for option, outcome in ((OFF, Outcome.UNKNOWN), (ON, Outcome.PASS)):
        bad = build({"bad.c": DOUBTFUL}, "object", ["-O2", option])
        both = tmp_path / f"both{option}.o"
        subprocess.run(["ld", "-r", protected, bad, "-o", both], check=True)
        assert verdict(both, "stack-protector").outcome is outcome


@pytest.mark.parametrize("name", ["binary_search", "init_object", "uw_copy", "fde_parse", "add_veneer", "_RC4_set2"])
@pytest.mark.parametrize("attribute", ["", "static __attribute__((noinline))"], ids=["global", "static"])
def test_names_that_tools_use_too(build: CompileC, verdict: VerdictOf, name: str, attribute: str) -> None:
    source = COPY.format(name=name, attribute=attribute)
    path = build({**UNITS, "bad.c": source}, flags=["-O2", ON], unit_flags={"bad.c": [OFF]})
    found = verdict(path, "stack-protector")
    assert (found.outcome, any(f"{name}()" in culprit for culprit in found.culprits)) == (Outcome.FAIL, True)
    assert verdict(build({**UNITS, "bad.c": source}, flags=["-O2", ON]), "stack-protector").outcome is Outcome.PASS


def test_the_unwinder_is_not_blamed(build: CompileC, verdict: VerdictOf) -> None:
    """libgcc is built without: its local functions stay out where it is linked in."""
    source = (
        "#include <stdexcept>\nint main(int c, char **v) { char b[64]; try { if (c > 1) throw 1; } catch (int) {}\n"
    )
    source += 'return __builtin_sprintf(b, "%s", v[0]) + b[c]; }\n'
    path = build({"main.cpp": source}, flags=["-O2", ON], link_flags=["-static-libgcc"], compiler="g++")
    assert verdict(path, "stack-protector").outcome is Outcome.PASS


@pytest.mark.parametrize("libc", ["gcc", "musl-gcc"])
@pytest.mark.parametrize("place", ["constructor", "hot", "cold", 'section("mine")'])
def test_code_in_other_places_of_a_static_program(build: CompileC, verdict: VerdictOf, place: str, libc: str) -> None:
    """Compilers move such functions away from the rest, to where code of the C library lies, too."""
    source = COPY.format(name="inner", attribute=f"__attribute__(({place}))").replace("return inner(s);", "return *s;")
    if place == "constructor":
        source = source.replace("inner(const char *s)", "inner(void)").replace("strcpy(b, s)", "strcpy(b, gets_it())")
        source = (
            source.replace("\n__attr", "\nconst char *gets_it(void);\n__attr")
            + "const char *gets_it(void) { return __FILE__; }\n"
        )
    units = {**UNITS, "bad.c": source}
    flags = ["-O2", ON, "-static"]
    mixed = verdict(build(units, flags=flags, unit_flags={"bad.c": [OFF]}, compiler=libc), "stack-protector")
    assert mixed.outcome in (Outcome.FAIL, Outcome.UNKNOWN)
    assert verdict(build(units, flags=flags, compiler=libc), "stack-protector").outcome is Outcome.PASS


@pytest.mark.parametrize("name", ["sem_pub", "pthread_pub", "_dl_x", "_Pub", "__pub"])
def test_reserved_names_in_a_static_program(build: CompileC, verdict: VerdictOf, name: str) -> None:
    units = {**UNITS, "bad.c": COPY.format(name=name, attribute="")}
    path = build(units, flags=["-O2", ON, "-static"], unit_flags={"bad.c": [OFF]})
    assert verdict(path, "stack-protector").outcome in (Outcome.FAIL, Outcome.UNKNOWN)


BASIC = {
    "ints": "void use(int *);\nint ints(int n) { int x[16]; use(x); return x[n]; }\n",
    "stat": "#include <sys/stat.h>\nlong size(const char *p) { struct stat s; stat(p, &s); return s.st_size; }\n",
}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("debug", ["-g", "-g0"])
@pytest.mark.parametrize("shape", BASIC)
def test_what_the_basic_level_leaves_alone(
    build: CompileC, verdict: VerdictOf, compiler: str, debug: str, shape: str
) -> None:
    """-fstack-protector protects arrays of eight characters and more, and nothing else."""
    path = build({"a.c": BASIC[shape]}, "object", ["-O2", debug, "-fstack-protector"], compiler=compiler)
    assert verdict(path, "stack-protector", level="basic").outcome is Outcome.UNKNOWN
    assert verdict(path, "stack-protector").outcome is Outcome.FAIL
    copy = COPY.format(name="copy", attribute="")
    on = build({"a.c": copy}, "object", ["-O2", debug, "-fstack-protector"], compiler=compiler)
    assert verdict(on, "stack-protector", level="basic").outcome is Outcome.PASS
    off = build({"a.c": copy}, "object", ["-O2", "-g", OFF], compiler=compiler)
    assert verdict(off, "stack-protector", level="basic").outcome is Outcome.FAIL


def test_another_word_of_the_thread_is_no_canary(build: CompileC, verdict: VerdictOf) -> None:
    """fs:0x18 is the canary's place under x32 alone."""
    source = COPY.format(name="copy", attribute="").replace(
        "char b[64];", 'char b[64]; long word; __asm__ volatile("mov %%fs:0x18, %0" : "=r"(word)); b[0] = (char)word;'
    )
    found = verdict(build({"a.c": source}, "object", ["-O2", OFF]), "stack-protector")
    assert (found.outcome, found.observed["protected"]) == (Outcome.FAIL, 0)


def test_main_of_rust(build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path) -> None:
    """rustc makes `main` itself, and its stack frame is none of C's."""
    rust = tmp_path / "main.rs"
    rust.write_text('extern "C" { fn okf(s: *const u8) -> i32; }\nfn main() { unsafe { okf("x\\0".as_ptr()); } }\n')
    rustc = "/usr/bin/rustc" if Path("/usr/bin/rustc").exists() else tool_for("rustc")
    for option, outcome in ((ON, Outcome.PASS), (OFF, Outcome.FAIL)):
        unit = build({"ok.c": UNITS["ok.c"]}, "object", ["-O2", "-g", option])
        program = tmp_path / "PROGRAM"
        subprocess.run([rustc, "-O", "-C", f"link-arg={unit}", rust, "-o", program], check=True)
        assert verdict(program, "stack-protector").outcome is outcome
