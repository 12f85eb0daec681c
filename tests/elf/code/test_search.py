"""The search over a file's functions: which ones it looks at, what it says of the rest, and what it costs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.elf.code.languages import is_foreign
from pytest_hardening.elf.code.search import calls, stack_use
from pytest_hardening.elf.facts import Calls, StackUse, Unit, Units
from pytest_hardening.elf.image import Image
from pytest_hardening.elf.reader import ElfReader
from pytest_hardening.elf.source import Source
from pytest_hardening.errors import ArtifactError
from pytest_hardening.fixtures import CompileC

if TYPE_CHECKING:
    from tests.conftest import ElfEditor

ON, OFF = "-fstack-protector-strong", "-fno-stack-protector"
MAIN = """
#include <stdio.h>
#include <string.h>
int weak(const char *, char *), strong(const char *);
void use(char *s) { puts(s); }
int main(int c, char **v) { printf("%d", c); return weak(v[0], v[1]) + strong(v[0]); }
"""
WEAK = """
#include <string.h>
void use(char *);
int weak(const char *s, char *t) { char b[64]; strcpy(b, s); use(b); return b[3] + *t; }
"""
STRONG = WEAK.replace("weak(const char *s, char *t)", "strong(const char *s)").replace(" + *t", "")
MIXED = {"main.c": MAIN, "weak.c": WEAK, "strong.c": STRONG}
NO_UNITS = Units(())


def look(path: Path, units: Units = NO_UNITS) -> StackUse:
    with Source.open(path) as source, ElfReader(source, path.name) as reader:
        return stack_use(Image(source), reader.facts, units)


def callees(path: Path, units: Units = NO_UNITS) -> Calls:
    with Source.open(path) as source, ElfReader(source, path.name) as reader:
        return calls(Image(source), reader.facts, units)


def place_of(path: Path, name: str) -> tuple[int, int]:
    text = subprocess.run(["nm", "-S", path], capture_output=True, text=True, check=True).stdout
    words = next(line.split() for line in text.splitlines() if line.endswith(f" {name}"))
    return int(words[0], 16), int(words[0], 16) + int(words[1], 16)


@pytest.fixture
def mixed(build: CompileC) -> Callable[..., Path]:
    """A program in which one unit was compiled without the protector."""

    def mixed(*flags: str, compiler: str = "gcc", link_flags: Sequence[str] = ()) -> Path:
        return build(
            MIXED, flags=["-O2", ON, *flags], unit_flags={"weak.c": [OFF]}, compiler=compiler, link_flags=link_flags
        )

    return mixed


@pytest.mark.parametrize("compiler", ["gcc", "clang", "gcc -m32", "aarch64-linux-gnu-gcc"])
def test_one_unit_of_a_mixed_build(mixed: Callable[..., Path], compiler: str) -> None:
    path = mixed(compiler=compiler)
    found = look(path)
    assert [finding.function for finding in found.unprotected] == ["weak"]
    assert (found.unprotected_count, found.protected >= 1, found.incomplete) == (1, True, "")
    start, end = place_of(path, "weak")
    assert (found.unprotected[0].address, found.unprotected[0].size) == (start & ~1, end - start)
    named = look(path, Units((Unit("weak.c", "c", ranges=((start, end),)),)))
    assert [finding.unit for finding in named.unprotected] == ["weak.c"]


@pytest.mark.parametrize("compiler", ["gcc", "clang", "gcc -m32"])
def test_stripped(mixed: Callable[..., Path], compiler: str) -> None:
    path = mixed("-fasynchronous-unwind-tables", compiler=compiler)
    stripped = mixed("-fasynchronous-unwind-tables", compiler=compiler, link_flags=["-s"])
    found = look(stripped)
    assert [(finding.function, finding.address) for finding in found.unprotected] == [("", place_of(path, "weak")[0])]
    assert found.unprotected[0].what == "passes the address of a local to strcpy()"


def test_units_of_other_languages_are_left_out(mixed: Callable[..., Path]) -> None:
    path = mixed()
    for language in ("assembler", "rust", "fortran", "ada", "go", "d"):
        found = look(path, Units((Unit("weak.s", language, ranges=(place_of(path, "weak"),)),)))
        assert found.unprotected == ()
    found = look(path, Units((Unit("weak.c", ranges=(place_of(path, "weak"),)),)))
    assert len(found.unprotected) == 1  # a unit of unknown language


def test_text_of_another_language_takes_proofs_back(build: CompileC) -> None:
    """A stripped file that holds Rust's run-time library: the function may be Rust's."""
    rust = 'const char *rust_text(void) { return "library/core/src/option.rs"; }\n'
    path = build({**MIXED, "rust.c": rust}, flags=["-O2", OFF], link_flags=["-s", "-Wl,--export-dynamic"])
    found = look(path)
    assert (found.unprotected, found.unprotected_count) == ((), 0)
    assert found.doubtful > 0
    assert "Rust" in found.incomplete
    path = build({**MIXED, "rust.c": rust}, flags=["-O2", OFF])
    known = look(path, Units((Unit("weak.c", "c", ranges=(place_of(path, "weak"),)),)))
    assert [finding.function for finding in known.unprotected] == ["weak"]


@pytest.mark.parametrize(
    "name", ["_RNvCs1234_3foo3bar", "_ZN4core3fmt9Formatter3new17h0528cf3fef9d146eE", "main.main", "camlStdlib__map_1"]
)
def test_names_of_other_languages(name: str) -> None:
    assert is_foreign(name)


@pytest.mark.parametrize(
    "name",
    ["main", "f.constprop.0", "main.cold", "_ZN3foo3barEv", "_Recover", "read_info", "g.llvm.123", "_Data", "inner.0"],
)
def test_names_of_c_and_cplusplus(name: str) -> None:
    assert not is_foreign(name)


@pytest.mark.parametrize("link_flags", [[], ["-s"]], ids=["symbols", "stripped"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_calls(build: CompileC, compiler: str, link_flags: list[str]) -> None:
    """One fortified unit beside one that is not."""
    path = build(
        MIXED,
        flags=["-O2", OFF, "-U_FORTIFY_SOURCE"],
        unit_flags={"strong.c": ["-D_FORTIFY_SOURCE=2"]},
        link_flags=link_flags,
        compiler=compiler,
    )
    truth = build(
        MIXED,
        flags=["-O2", OFF, "-U_FORTIFY_SOURCE"],
        unit_flags={"strong.c": ["-D_FORTIFY_SOURCE=2"]},
        compiler=compiler,
    )
    by_place = {(call.callee, call.caller.address, call.tells) for call in callees(path).found}
    places = {name: place_of(truth, name)[0] for name in ("main", "weak", "strong")}
    assert by_place == {
        ("printf", places["main"], ""),
        ("strcpy", places["weak"], ""),
        ("__strcpy_chk", places["strong"], "constant"),
    }


def test_objects_and_their_units(build: CompileC) -> None:
    path = build({"weak.c": WEAK}, kind="object", flags=["-O2", OFF, "-ffunction-sections"])
    found = look(path, Units((Unit("weak.c", "c"),)))
    assert [(finding.function, finding.unit) for finding in found.unprotected] == [("weak", "weak.c")]
    assert look(path, Units((Unit("weak.rs", "rust"),))).functions == 0


@pytest.mark.parametrize("flags", [["-static"], ["-static-pie", "-fPIE"]], ids=" ".join)
def test_static_programs(mixed: Callable[..., Path], flags: list[str]) -> None:
    """The C library inside is neither counted nor accused; stripped, nothing can be told."""
    found = look(mixed(*flags))
    assert [finding.function for finding in found.unprotected] == ["weak"]
    assert found.functions <= 5
    stripped = look(mixed(*flags, link_flags=["-s"]))
    assert (stripped.functions, stripped.protected, stripped.unprotected) == (0, 0, ())
    assert stripped.incomplete.startswith("static and stripped")


def test_no_decoder(build: CompileC, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
    editor = edit(build(MIXED))
    editor.set_header("machine", 258)
    path = editor.save(tmp_path)
    assert look(path).incomplete == callees(path).incomplete == "no decoder for loongarch64"


def test_function_outside_of_code(
    mixed: Callable[..., Path], edit: Callable[[Path], ElfEditor], tmp_path: Path
) -> None:
    path = mixed()
    editor = edit(path)
    start, end = place_of(path, "weak")
    symbol = start.to_bytes(8, "little") + (end - start).to_bytes(8, "little")
    position = bytes(editor.data).index(symbol)
    editor.put("Q", position + 8, 0x1FFFFF)
    with pytest.raises(ArtifactError, match="lies in no code"):
        look(editor.save(tmp_path))


def test_cost_is_bounded(build: CompileC) -> None:
    """Of many functions every second, third ... is looked at; disassembly stops at some point; both are said."""
    many = "void use(char *);\n" + "".join(
        f"int f{n}(int x) {{ char b[{n % 90 + 9}]; use(b); return b[x] * {n}; }}\n" for n in range(19_000)
    )
    path = build({"many.c": many}, kind="object", flags=["-O0", OFF])
    started = time.process_time()
    found = look(path)
    assert time.process_time() - started < 6
    assert 1000 < found.functions < 20_000
    assert "too much code" in found.incomplete
    protected = look(build({"many.c": many}, kind="object", flags=["-O0", ON]))
    assert protected.functions == 9_500
    assert protected.protected == 9_500
    assert "one of 2" in protected.incomplete


def test_nothing_is_imported_before_it_is_needed(build: CompileC) -> None:
    """capstone costs a tenth of a second; a protected program does not need it."""
    path = build(MIXED, flags=["-O2", ON])
    program = (
        "import sys; from pytest_hardening.elf.reader import ElfReader\n"
        "from pytest_hardening.elf.source import Source\n"
        "from pytest_hardening.elf.facts import Need\n"
        f"reader = ElfReader(Source.open({str(path)!r}), 'x'); reader.extend([Need.STACK_USE])\n"
        "assert reader.facts.stack_use.protected == 2, reader.facts.stack_use\n"
        "assert 'capstone' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
