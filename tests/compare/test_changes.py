"""Real builds that lose or gain something: what is said of it, down to the unit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.compare.changes import Change, Comparison, Effect
from pytest_hardening.errors import ComparisonError
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Outcome

Compared = Callable[..., Comparison]
Folder = Callable[..., Path]

ARRAY = "void fill(char *); int {0}(void) {{ char line[64]; fill(line); return line[0]; }}\n"
UNITS = {"a.c": ARRAY.format("first"), "b.c": ARRAY.format("second")}
ON, OFF = "-fstack-protector-strong", "-fno-stack-protector"
LEVELS = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
char *copy(const char *text, size_t size)
{
    char *found = malloc(size);
    if (found != NULL) {
        strcpy(found, text);
        printf("%zu %s\\n", size, found);
    }
    return found;
}
"""


def only(comparison: Comparison) -> Change:
    """The one change."""
    (change,) = comparison.changes
    return change


@pytest.fixture
def library(build: CompileC) -> Callable[..., Path]:
    """`library("a.c")`: a shared library of two units, of which those named have no stack protector."""

    def library(*bare: str, flags: tuple[str, ...] = ("-g",), name: str = "libx.so") -> Path:
        unit_flags = {unit: [OFF] for unit in bare}
        return build(UNITS, "shared-library", ["-O2", "-fPIC", ON, *flags], name=name, unit_flags=unit_flags)

    return library


def test_nothing_changed(library: Callable[..., Path], compared: Compared) -> None:
    found = compared(library(), library())
    assert list(found.changes) == []
    assert found.files[0].compared >= 20
    assert not found.is_loss(strict=True)


def test_lost_and_gained_name_the_unit(library: Callable[..., Path], compared: Compared) -> None:
    found = compared(library(), library("b.c"))
    lost = only(found)
    assert (lost.check, lost.effect, lost.before, lost.after) == (
        "stack-protector",
        Effect.LOST,
        Outcome.PASS,
        Outcome.FAIL,
    )
    assert lost.parts == ("b.c: second()",)
    assert lost.remedy == f"compile with {ON}"
    assert found.is_loss()
    gained = only(compared(library("b.c"), library()))
    assert (gained.check, gained.effect) == ("stack-protector", Effect.GAINED)


def test_new_unit_of_a_file_that_failed_already(library: Callable[..., Path], compared: Compared) -> None:
    lost = only(compared(library("a.c"), library("a.c", "b.c")))
    assert (lost.effect, lost.before, lost.parts) == (Effect.LOST, Outcome.FAIL, ("b.c: second()",))
    gained = only(compared(library("a.c", "b.c"), library("a.c")))
    assert (gained.effect, gained.after, gained.parts) == (Effect.GAINED, Outcome.FAIL, ("b.c: second()",))
    moved = compared(library("a.c"), library("b.c"))
    assert [(change.effect, change.parts) for change in moved.changes] == [
        (Effect.LOST, ("b.c: second()",)),
        (Effect.GAINED, ("a.c: first()",)),
    ]
    assert moved.is_loss()
    assert list(compared(library("a.c"), library("a.c")).changes) == []


def test_debug_information_on_one_side_is_no_difference(library: Callable[..., Path], compared: Compared) -> None:
    with_units, without = library("a.c"), library("a.c", flags=("-g0",))
    assert list(compared(with_units, without, stack_protector={}).changes) == []
    assert list(compared(without, with_units, stack_protector={}).changes) == []
    both = library("a.c", "b.c", flags=("-g0",))
    assert only(compared(with_units, both, stack_protector={})).parts == ("second()",)
    assert only(compared(without, library("a.c", "b.c"), stack_protector={})).parts == ("b.c: second()",)


def test_stripped_functions_are_counted(library: Callable[..., Path], compared: Compared) -> None:
    one, two = (library(*bare, flags=("-g0", "-s", "-fvisibility=hidden")) for bare in (("a.c",), ("a.c", "b.c")))
    lost = only(compared(one, two, stack_protector={}))
    assert (lost.effect, lost.more, lost.parts) == (Effect.LOST, 1, ())
    gained = only(compared(two, one, stack_protector={}))
    assert (gained.effect, gained.more) == (Effect.GAINED, -1)
    # where one side has names and the other has not, too
    assert only(compared(library("a.c"), two, stack_protector={})).more == 1
    assert list(compared(library("b.c"), one, stack_protector={}).changes) == []


def test_no_longer_provable(library: Callable[..., Path], compared: Compared) -> None:
    recorded = ("-g", "-ftrivial-auto-var-init=zero")
    found = compared(library(flags=recorded), library(flags=("-g0", "-s")), auto_var_init={})
    change = only(found)
    assert (change.effect, change.before, change.after) == (Effect.UNPROVABLE, Outcome.PASS, Outcome.UNKNOWN)
    assert not found.is_loss()
    assert found.is_loss(strict=True)


def test_a_check_that_no_longer_applies(build: CompileC, compared: Compared) -> None:
    old = build(UNITS, "shared-library", ["-O2", "-fPIC", ON], name="libx.so")
    new = build("int first(void) { return 1; }", "shared-library", ["-O2", "-fPIC", OFF], name="libx.so")
    found = compared(old, new, stack_protector={})
    assert (only(found).effect, only(found).after) == (Effect.UNPROVABLE, Outcome.NOT_APPLICABLE)
    assert (found.is_loss(), found.is_loss(strict=True)) == (False, True)
    assert only(compared(new, old, stack_protector={})).effect is Effect.CHANGED


@pytest.mark.parametrize("was", [Outcome.NOT_APPLICABLE, Outcome.UNKNOWN])
def test_a_new_failure_is_a_loss_whatever_was_there(
    build: CompileC, compared: Compared, folder: Folder, was: Outcome
) -> None:
    source = "int f(void) { return 1; }\n" if was is Outcome.NOT_APPLICABLE else UNITS
    flags = ["-O2", "-fPIC", ON] if was is Outcome.NOT_APPLICABLE else ["-O0", "-fPIC", ON, "-g0"]
    check: dict[str, dict[str, object]] = (
        {"stack_protector": {}} if was is Outcome.NOT_APPLICABLE else {"optimization": {}}
    )
    old = build(source, "shared-library", flags, name="libx.so")
    new = build(UNITS, "shared-library", ["-O0", "-g", "-fPIC", OFF], name="libx.so")
    lost = only(compared(old, new, **check))
    assert (lost.effect, lost.before, lost.after) == (Effect.LOST, was, Outcome.FAIL)


def test_level_of_fortify(build: CompileC, compared: Compared) -> None:
    low, high = (
        build(LEVELS, "shared-library", ["-O2", "-g", "-fPIC", "-U_FORTIFY_SOURCE", f"-D_FORTIFY_SOURCE={level}"])
        for level in (2, 3)
    )
    lost = only(compared(high, low, fortify={"level": 3}))
    assert (lost.effect, lost.before, lost.after) == (Effect.LOST, Outcome.PASS, Outcome.FAIL)
    gained = only(compared(low, high, fortify={"level": 3}))
    assert (gained.effect, gained.before, gained.after) == (Effect.GAINED, Outcome.FAIL, Outcome.PASS)
    seen = only(compared(high, low, fortify={"level": 2}))  # by the flag that __printf_chk is given
    assert (seen.effect, seen.after, seen.level) == (Effect.LOST, Outcome.PASS, "level 3 -> level 2")


def test_level_of_relro(build: CompileC, compared: Compared) -> None:
    none, partial, full = (
        build('#include <stdio.h>\nint main(void) { return puts(""); }', link_flags=flags, name="prog")
        for flags in (["-Wl,-z,norelro"], ["-Wl,-z,relro,-z,lazy"], ["-Wl,-z,relro,-z,now"])
    )
    assert only(compared(partial, none, relro={})).level == "partial -> none"  # fails before and after
    assert only(compared(full, partial, relro={})).effect is Effect.LOST
    accepted = only(compared(full, partial, relro={"level": "partial"}))  # passes before and after
    assert (accepted.level, accepted.after) == ("full -> partial", Outcome.PASS)
    assert only(compared(none, partial, relro={})).effect is Effect.GAINED


def test_another_element_of_a_search_path(build: CompileC, compared: Compared) -> None:
    one, two, moved = (
        build("int main(void) { return 0; }", link_flags=[f"-Wl,-rpath,{path}"], name="prog")
        for path in ("/tmp/lib", "/tmp/lib:/var/tmp/lib", "/var/tmp/lib")
    )
    lost = only(compared(one, two, rpath={}))
    assert lost.effect is Effect.LOST
    assert ["/var/tmp/lib" in part for part in lost.parts] == [True]
    assert {change.effect for change in compared(one, moved, rpath={}).changes} == {Effect.LOST, Effect.GAINED}
    assert list(compared(two, two, rpath={}).changes) == []


def test_another_forbidden_function(build: CompileC, compared: Compared) -> None:
    one, two = (
        build(f"#include <stdlib.h>\nint main(void) {{ {calls} return 0; }}", name="prog")
        for calls in ('setenv("A", "", 1);', 'setenv("A", "", 1); if (system("")) return 1;')
    )
    forbidden = {"forbid": ["setenv", "system"]}
    lost = only(compared(one, two, forbidden_imports=forbidden))
    assert (lost.effect, lost.before, lost.parts) == (Effect.LOST, Outcome.FAIL, ("system()",))
    gained = only(compared(two, one, forbidden_imports=forbidden))
    assert (gained.effect, gained.parts) == (Effect.GAINED, ("system()",))


def test_members_of_an_archive(build: CompileC, compared: Compared) -> None:
    flags = ["-O2", "-g", "-fPIC", ON]
    good = build(UNITS, "archive", flags, name="x.a")
    first = build(UNITS, "archive", flags, name="x.a", unit_flags={"a.c": [OFF]})
    both = build(UNITS, "archive", flags, name="x.a", unit_flags={"a.c": [OFF], "b.c": [OFF]})
    lost = only(compared(good, first))
    assert (lost.name, lost.parts) == ("x.a(a.o)", ("a.c: first()",))
    lost = only(compared(first, both))
    assert (lost.name, lost.before) == ("x.a(b.o)", Outcome.PASS)


def test_members_that_come_and_go(build: CompileC, compared: Compared) -> None:
    flags = ["-O2", "-g", "-fPIC"]
    one = build({"a.c": UNITS["a.c"]}, "archive", [*flags, ON], name="x.a")
    good = build(UNITS, "archive", [*flags, ON], name="x.a")
    bad = build(UNITS, "archive", [*flags, ON], name="x.a", unit_flags={"b.c": [OFF]})
    added = compared(one, good, stack_protector={})
    assert (list(added.changes), added.files[0].notes) == ([], ("x.a(b.o) added",))
    assert compared(good, one, stack_protector={}).files[0].notes == ("x.a(b.o) removed",)
    lost = only(compared(one, bad, stack_protector={}))
    assert (lost.name, lost.effect, lost.before) == ("x.a(b.o)", Effect.LOST, None)


def test_members_that_another_build_system_names(
    build: CompileC, compared: Compared, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    bad = build({"a.c": UNITS["a.c"]}, "object", ["-O2", "-g", "-fPIC", OFF], name="a.o")
    archives = []
    for member in ("a.o", "a.c.o"):
        folder = tmp_path / member
        folder.mkdir()
        shutil.copy(bad, folder / member)
        subprocess.run([tool_for("ar"), "qc", folder / "x.a", folder / member], check=True)
        archives.append(folder / "x.a")
    found = compared(*archives)
    assert (list(found.changes), found.files[0].notes) == ([], ("x.a(a.c.o) compared with x.a(a.o)",))


def test_members_of_one_name(
    build: CompileC, compared: Compared, tool_for: Callable[[str], str], tmp_path: Path
) -> None:
    good, bad = (build({"a.c": UNITS["a.c"]}, "object", ["-O2", "-g", "-fPIC", flag]) for flag in (ON, OFF))
    archives = [tmp_path / "one.a", tmp_path / "two.a"]
    for path, second in zip(archives, (good, bad), strict=True):
        for member in (good, second):
            subprocess.run([tool_for("ar"), "qc", path, member], check=True)
    assert list(compared(archives[0], archives[0]).changes) == []
    assert only(compared(*archives)).effect is Effect.LOST


def test_added_removed_and_renamed(library: Callable[..., Path], compared: Compared, folder: Folder) -> None:
    good, bad = library(), library("a.c")
    old = folder("old", {"lib/libx.so.1.2": good, "lib/liby.so": good, "lib/libz.so": good})
    new = folder("new", {"lib/libx.so.1.3": bad, "lib64/libz.so": good, "lib/libnew.so": bad})
    found = compared(old, new, stack_protector={})
    assert [(file.name, file.was) for file in found.files] == [
        ("lib/libx.so.1.3", "lib/libx.so.1.2"),
        ("lib64/libz.so", "lib/libz.so"),
    ]
    assert only(found).name == "lib/libx.so.1.3"
    assert [record.name for record in found.added] == ["lib/libnew.so"]
    assert [record.name for record in found.removed] == ["lib/liby.so"]


def test_added_and_removed_are_losses_when_strict(
    library: Callable[..., Path], compared: Compared, folder: Folder
) -> None:
    good, bad = library(), library("a.c")
    one = folder("one", {"libx.so": good})
    more, worse = folder("more", {"libx.so": good, "p/liby.so": good}), folder("w", {"libx.so": good, "liby.so": bad})
    for old, new, strict in ((one, more, False), (more, one, True), (one, worse, True)):
        found = compared(old, new, stack_protector={})
        assert (found.is_loss(), found.is_loss(strict=True)) == (False, strict)


def test_two_named_files_are_compared_whatever_their_names(library: Callable[..., Path], compared: Compared) -> None:
    found = compared(library(name="old.so"), library("a.c", name="another.so"), stack_protector={})
    assert [(file.name, file.was) for file in found.files] == [("another.so", "old.so")]
    assert found.is_loss()


def test_one_file_of_a_build(library: Callable[..., Path], compared: Compared, folder: Folder) -> None:
    old = folder("old", {"lib/libx.so": library(), "lib/liby.so": library()})
    found = compared(old, library("a.c"), stack_protector={})
    assert (len(found.files), found.removed, found.is_loss()) == (1, (), True)
    assert compared(library(), old, stack_protector={}).added == ()


def test_unreadable_on_one_side(library: Callable[..., Path], compared: Compared, folder: Folder) -> None:
    good = library()
    old, new = folder("old", {"libx.so": good, "liby.so": good}), folder("new", {"libx.so": good, "liby.so": good})
    (new / "liby.so").write_bytes(good.read_bytes()[:700])
    found = compared(old, new, bind_now={})
    assert [name for name, _ in found.problems] == ["liby.so"]
    assert found.problems[0][1].startswith("not readable: ")
    assert compared(new, old, bind_now={}).problems[0][1].startswith("not readable in the old build: ")
    assert compared(new, new, bind_now={}).problems[0][1].startswith("not readable in either build: ")
    (new / "libx.so").unlink()
    (old / "liby.so").unlink()
    with pytest.raises(ComparisonError, match="nothing to compare"):
        compared(old, new, bind_now={})


def test_another_kind_cannot_be_compared(build: CompileC, compared: Compared, folder: Folder) -> None:
    source = "int main(void) { return 0; }"
    program, library = build(source), build(source, "shared-library", ["-fPIC"])
    static = build(source, link_flags=["-static"])
    found = compared(folder("old", {"x.so": program}), folder("new", {"x.so": library}), nx_stack={})
    assert "cannot be compared" in found.problems[0][1]
    assert compared(folder("old2", {"x": program}), folder("new2", {"x": static}), nx_stack={}).problems == ()


def test_a_program_that_is_no_longer_position_independent(build: CompileC, compared: Compared) -> None:
    source = "int main(void) { return 0; }"
    pie, fixed = (build(source, flags=flags, name="p") for flags in (["-fPIE", "-pie"], ["-fno-pie", "-no-pie"]))
    assert [change.check for change in compared(pie, fixed, pie={}, nx_stack={}).changes] == ["pie"]
