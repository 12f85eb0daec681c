"""text-relocations: position-dependent code in libraries and PIE, with every combination of tags."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome, Verdict

if TYPE_CHECKING:
    from tests.conftest import ElfEditor, VerdictOf

CODE = """
extern int counter;
int counter = 3;
int *patched(void) { return &counter; }
"""
MAIN = CODE + "int main(void) { return *patched() - 3; }\n"
ABSOLUTE = ["-fno-pic", "-mcmodel=large"]
ALLOWED = ["-Wl,-z,notext"]
NOBODYS_TAG = 0x6FFFFEF0
DT_TEXTREL, DT_FLAGS, DT_FLAGS_1 = 22, 30, 0x6FFFFFFB
DF_TEXTREL = 4
REMEDY = "compile every object with -fPIC (-fPIE for an executable); link with -Wl,-z,text to be told"


def functions_of(found: Verdict) -> set[str]:
    """The functions among the culprits, without the units that they are in."""
    return {culprit.rpartition(" ")[2] for culprit in found.culprits}


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", [*ABSOLUTE, "-fuse-ld=bfd"]),
        ("gcc", [*ABSOLUTE, "-fuse-ld=lld"]),
        ("gcc", [*ABSOLUTE, "-fuse-ld=gold"]),
        ("clang", [*ABSOLUTE, "-fuse-ld=lld"]),
        ("gcc -m32", ["-fno-pic", "-fuse-ld=bfd"]),
        ("gcc -m32", ["-fno-pic", "-fuse-ld=lld"]),
        ("arm-linux-gnueabihf-gcc", ["-fno-pic", "-fuse-ld=bfd", "-march=armv5t", "-marm", "-mfloat-abi=soft"]),
        ("musl-gcc", ABSOLUTE),
    ],
)
def test_library_of_absolute_code(
    build: CompileC, verdict: VerdictOf, readelf: Callable[..., str], compiler: str, flags: list[str]
) -> None:
    link = [*ALLOWED, "-nostdlib"]
    path = build(CODE, kind="shared-library", flags=flags, link_flags=link, compiler=compiler)
    assert "TEXTREL" in readelf("-d", path)
    found = verdict(path, "text-relocations")
    assert found.outcome is Outcome.FAIL
    assert found.observed["count"] >= 1
    assert functions_of(found) == {"patched()"}
    assert "patched()" in str(found.evidence[1])
    assert found.remedy == REMEDY
    path = build(CODE, kind="shared-library", flags=["-fPIC", *flags[1:]], link_flags=["-nostdlib"], compiler=compiler)
    found = verdict(path, "text-relocations")
    assert (found.outcome, found.observed) == (Outcome.PASS, {"count": 0, "tags": []})


@pytest.mark.parametrize(("compiler", "flags"), [("gcc", ABSOLUTE), ("gcc -m32", ["-fno-pic"])])
def test_pie_of_absolute_code(build: CompileC, verdict: VerdictOf, compiler: str, flags: list[str]) -> None:
    path = build(MAIN, flags=[*flags, "-pie"], link_flags=["-Wl,-z,notext"], compiler=compiler)
    assert verdict(path, "pie").outcome is Outcome.PASS
    found = verdict(path, "text-relocations")
    assert found.outcome is Outcome.FAIL
    assert {"patched()"} <= functions_of(found) <= {"patched()", "main()"}


@pytest.mark.parametrize(
    "tags",
    [["DT_TEXTREL", "DF_TEXTREL"], ["DT_TEXTREL"], ["DF_TEXTREL"], []],
    ids=lambda tags: "+".join(tags) or "none",
)
@pytest.mark.parametrize("compiler", ["gcc", "gcc -m32"])
def test_tags(
    build: CompileC,
    verdict: VerdictOf,
    edit: Callable[[Path], ElfEditor],
    tmp_path: Path,
    compiler: str,
    tags: list[str],
) -> None:
    """GNU ld writes both tags here; in a copy one or both are taken away. The relocations tell all the same."""
    flags = ABSOLUTE if compiler == "gcc" else ["-fno-pic"]
    path = build(CODE, kind="shared-library", flags=flags, link_flags=[*ALLOWED, "-nostdlib"], compiler=compiler)
    editor = edit(path)
    if "DT_TEXTREL" not in tags:
        editor.set_tag(DT_TEXTREL, NOBODYS_TAG)
    if "DF_TEXTREL" not in tags:
        editor.set_tag(DT_FLAGS, NOBODYS_TAG)
    found = verdict(editor.save(tmp_path), "text-relocations")
    assert found.outcome is Outcome.FAIL
    assert found.observed["tags"] == tags
    assert found.observed["count"] >= 1
    assert functions_of(found) == {"patched()"}
    assert verdict(editor.save(tmp_path), "pic").outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("tag", "value", "shown"), [(DT_TEXTREL, 0, "DT_TEXTREL"), (DT_FLAGS, DF_TEXTREL, "DF_TEXTREL")]
)
def test_tag_without_relocation(
    build: CompileC,
    verdict: VerdictOf,
    edit: Callable[[Path], ElfEditor],
    tmp_path: Path,
    tag: int,
    value: int,
    shown: str,
) -> None:
    """The loader makes the text writable for the tag's sake. A copy gets the tag that nothing justifies."""
    path = build(CODE, kind="shared-library", flags=["-fPIC", "-nostdlib"], link_flags=["-Wl,-z,now"])
    editor = edit(path)
    editor.set_tag(DT_FLAGS, tag, value)
    found = verdict(editor.save(tmp_path), "text-relocations")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"count": 0, "tags": [shown]})


def test_lld_announces_what_the_option_allows(build: CompileC, verdict: VerdictOf, readelf: Callable[..., str]) -> None:
    """lld writes both tags for -z notext alone: the code is clean, the link option is to blame."""
    path = build(CODE, kind="shared-library", flags=["-fPIC", "-nostdlib"], link_flags=["-fuse-ld=lld", *ALLOWED])
    assert "TEXTREL" in readelf("-d", path)
    found = verdict(path, "text-relocations")
    assert (found.outcome, found.observed) == (Outcome.FAIL, {"count": 0, "tags": ["DT_TEXTREL", "DF_TEXTREL"]})
    assert found.remedy == "link without -Wl,-z,notext: no relocation needs the tag"
    assert verdict(path, "pic").outcome is Outcome.PASS


def test_stripped_file_names_its_exported_function(
    build: CompileC, verdict: VerdictOf, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    path = build(CODE, kind="shared-library", flags=ABSOLUTE, link_flags=[*ALLOWED, "-nostdlib"])
    stripped = tmp_path / "stripped.so"
    subprocess.run([tool_for("llvm-objcopy"), "--strip-sections", path, stripped], check=True)
    assert functions_of(verdict(stripped, "text-relocations")) == {"patched()"}


def test_relocation_in_read_only_data(build: CompileC, verdict: VerdictOf) -> None:
    """A table of pointers that only -fno-pic code puts into .rodata: patched data, not code, and no less writable."""
    source = "extern int a, b; int a, b; int *const table[] = {&a, &b};\n"
    path = build(source, kind="shared-library", flags=["-fno-pic", "-nostdlib"], link_flags=ALLOWED)
    found = verdict(path, "text-relocations")
    assert (found.outcome, found.observed["count"]) == (Outcome.FAIL, 2)
    path = build(source, kind="shared-library", flags=["-fPIC", "-nostdlib"], link_flags=ALLOWED)
    assert verdict(path, "text-relocations").outcome is Outcome.PASS


@pytest.mark.parametrize("linker", ["bfd", "lld"])
def test_one_absolute_object_in_an_archive_spoils_the_library(build: CompileC, verdict: VerdictOf, linker: str) -> None:
    archive = build(
        {"A.c": "int a(void) { return 1; }\n", "B.c": CODE},
        kind="archive",
        name="AB.a",
        flags=["-fPIC"],
        unit_flags={"B.c": ABSOLUTE},
    )
    path = build(
        {"C.c": "int *patched(void); int a(void); int c(void) { return a() + *patched(); }\n"},
        kind="shared-library",
        flags=["-fPIC", "-nostdlib"],
        objects=[archive],
        link_flags=[*ALLOWED, f"-fuse-ld={linker}"],
    )
    assert functions_of(verdict(path, "text-relocations")) == {"patched()"}


def test_not_applicable(build: CompileC, verdict: VerdictOf) -> None:
    assert verdict(build(MAIN, flags=["-static", "-no-pie"]), "text-relocations").outcome is Outcome.NOT_APPLICABLE
    assert verdict(build(MAIN, kind="object"), "text-relocations").outcome is Outcome.NOT_APPLICABLE
    assert verdict(build(MAIN, flags=["-no-pie"]), "text-relocations").outcome is Outcome.PASS
    assert verdict(build(MAIN, flags=["-static-pie", "-fPIE"]), "text-relocations").outcome is Outcome.PASS


def test_more_than_are_shown_are_counted(build: CompileC, verdict: VerdictOf) -> None:
    names = [f"counter{number}" for number in range(9)]
    source = "".join(f"int {name}; int *get_{name}(void) {{ return &{name}; }}\n" for name in names)
    path = build(source, kind="shared-library", flags=ABSOLUTE, link_flags=[*ALLOWED, "-nostdlib"])
    for check in ("text-relocations", "pic"):
        found = verdict(path, check)
        assert "9 text relocation(s)" in found.summary
        shown = [item.what for item in found.evidence if item.where == "relocation"]
        assert len(shown) == 5
        assert all(line.startswith("at 0x") for line in shown[:4])
        assert shown[4] == "and 5 more"
    few = build(CODE, kind="shared-library", flags=ABSOLUTE, link_flags=[*ALLOWED, "-nostdlib"])
    assert "more" not in str(verdict(few, "text-relocations").evidence)
