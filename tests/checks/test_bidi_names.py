"""bidi-names: characters that mislead, in every place where a file holds names."""

from __future__ import annotations

import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.elf import names
from pytest_hardening.errors import PolicyError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

if TYPE_CHECKING:
    from tests.conftest import VerdictOf

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
INVISIBLE = "\u00ad\u034f\u115f\u1160\u17b4\u180e\u200b\u200c\u200d\u2060\u206f\u3164\ufe00\ufe0f\ufeff\uffa0\U000e0041"
ORDINARY = "\u00e9\u05d0\u0416\u4e2d\u00b7\U0001f600"
PLAIN = "int twice(int a) { return a * 2; }\nint main(void) { return twice(0); }\n"
KINDS = {"bidi": BIDI, "invisible": INVISIBLE, "non-ascii": ORDINARY}


def named(name: str) -> str:
    """A source whose function has a name that compilers would not take."""
    return f'int twice(int a) __asm__("{name}");\n{PLAIN}'


@pytest.mark.parametrize("kind", KINDS)
def test_characters(build: CompileC, verdict: VerdictOf, kind: str) -> None:
    source = "".join(
        f'int f{index}(void) __asm__("is_{character}admin"); int f{index}(void) {{ return {index}; }}\n'
        for index, character in enumerate(KINDS[kind])
    )
    path = build({"F.c": source}, kind="object", compiler="clang-19")
    levels = list(KINDS)
    for level in levels:
        found = verdict(path, "bidi-names", forbid=level)
        if levels.index(level) < levels.index(kind):
            assert (found.outcome, found.observed) == (Outcome.PASS, {"names": []})
        else:
            assert found.outcome is Outcome.FAIL
            assert len(found.culprits) == len(KINDS[kind])
            assert found.summary.isascii() or kind == "non-ascii"  # what misleads comes as escapes


def test_patterns_are_those_of_unicode() -> None:
    """The directional characters are all those that Unicode's data has; what it calls format is not shown."""
    marks = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    for code in range(0x80, 0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        character = chr(code)
        text = character.encode()
        is_bidi = unicodedata.bidirectional(character) in marks or character in "\u061c\u200e\u200f"
        assert (names._BIDI.fullmatch(text) is not None) is is_bidi, hex(code)
        assert not (is_bidi and names._INVISIBLE.search(text))


@pytest.mark.parametrize("compiler", ["gcc", "clang-14", "clang-19", "gcc -m32", "aarch64-linux-gnu-gcc"])
@pytest.mark.parametrize("kind", ["executable", "shared-library", "object"])
def test_symbols(build: CompileC, verdict: VerdictOf, compiler: str, kind: str) -> None:
    bad = {"F.c": named("is_\u202enimda")}
    found = verdict(build(bad, kind, ["-fPIC"], compiler=compiler), "bidi-names")  # type: ignore[arg-type]
    assert (found.outcome, found.culprits) == (Outcome.FAIL, (r"is_\u202enimda",))
    assert {item.what for item in found.evidence} == {r"is_\u202enimda (bidi)"}
    good = build({"F.c": named("is_admin")}, kind, ["-fPIC"], compiler=compiler)  # type: ignore[arg-type]
    assert verdict(good, "bidi-names").outcome is Outcome.PASS


def test_other_places(build: CompileC, verdict: VerdictOf, tmp_path: Path) -> None:
    section = PLAIN.replace("int twice", '__attribute__((section("te\u2067xt"))) int twice', 1)
    soname = ["-Wl,-soname,lib\u202es.so"]
    builds = {
        "section headers": build({"F.c": section}, kind="object"),
        "symbol table": build({"F\u202ec.c": PLAIN}, kind="object"),  # the name of the source
        "dynamic string table": build({"F.c": PLAIN}, "shared-library", ["-fPIC"], soname),
    }
    for place, path in builds.items():
        found = verdict(path, "bidi-names")
        assert found.outcome is Outcome.FAIL
        assert place in {item.where for item in found.evidence}
    needing = build(
        {"F.c": PLAIN}, flags=["-Wl,--no-as-needed"], objects=[str(builds["dynamic string table"])], compiler="gcc"
    )
    found = verdict(needing, "bidi-names")
    assert (found.outcome, found.culprits) == (Outcome.FAIL, (r"lib\u202es.so",))


def test_stripped_files_keep_what_they_export(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    path = build({"F.c": named("is_\u202enimda")}, "shared-library", ["-fPIC"])
    subprocess.run([tool_for("strip"), "-o", tmp_path / "stripped", path], check=True)
    assert verdict(tmp_path / "stripped", "bidi-names").outcome is Outcome.FAIL


def test_texts_are_no_names(build: CompileC, verdict: VerdictOf) -> None:
    source = {"F.c": f'const char *text = "{BIDI}"; /* {BIDI} */\n{PLAIN}'}
    for flags in ([], ["-g3"]):
        assert verdict(build(source, flags=["-w", *flags]), "bidi-names").outcome is Outcome.PASS


def test_many_names(build: CompileC, verdict: VerdictOf) -> None:
    """Thousands are told as such, not all of them."""
    lines = (f'int f{i}(void) __asm__("f\u202e{i}"); int f{i}(void) {{ return {i}; }}' for i in range(2000))
    found = verdict(build({"F.c": "\n".join(lines)}, kind="object", compiler="clang-19"), "bidi-names")
    assert (found.outcome, len(found.culprits)) == (Outcome.FAIL, 100)


@pytest.mark.parametrize("compiler", ["gcc", "clang-19"])
def test_bytecode_is_unknown(build: CompileC, verdict: VerdictOf, compiler: str) -> None:
    path = build({"F.c": PLAIN}, kind="object", flags=["-flto"], compiler=compiler)
    assert verdict(path, "bidi-names").outcome is Outcome.UNKNOWN


def test_words(build: CompileC, verdict: VerdictOf) -> None:
    with pytest.raises(PolicyError, match=r"bidi-names\.forbid = 'all': expected one of 'bidi', 'invisible'"):
        verdict(build({"F.c": PLAIN}), "bidi-names", forbid="all")
