"""The baseline's file: what it says, what is refused, how it changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_hardening.errors import PolicyError
from pytest_hardening.model import Outcome
from pytest_hardening.policy.baseline import (
    UNKNOWN,
    WHOLE,
    Entry,
    keys_of,
    load_baseline,
    updated,
    write_baseline,
)
from pytest_hardening.policy.culprits import Culprits, read_culprit

RELRO = Entry("relro", "build/libX.so", WHOLE)
COPY = Entry("stack-protector", "build/libX.so", "F.c: copy()")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "baseline.txt"
    write_baseline(str(path), [RELRO, COPY])
    assert path.read_text("utf-8").splitlines()[-2:] == [
        "relro\tbuild/libX.so\t-",
        "stack-protector\tbuild/libX.so\tF.c: copy()",
    ]
    baseline = load_baseline(str(path))
    assert baseline.entries == {RELRO, COPY}
    assert set(baseline.known("stack-protector", "build/libX.so")) == {"F.c: copy()"}
    assert not baseline.known("relro", "build/libY.so")
    assert [entry.name for entry in tmp_path.iterdir()] == ["baseline.txt"]


def test_a_file_keeps_its_permissions_and_a_link_its_target(tmp_path: Path) -> None:
    real = tmp_path / "real.txt"
    real.touch(0o640)
    real.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    write_baseline(str(link), [RELRO])
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert load_baseline(str(real)).entries == {RELRO}


def test_a_new_file_is_as_open_as_the_user_wants(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_baseline(str(tmp_path / "baseline.txt"), [])
    finally:
        os.umask(mask)
    assert (tmp_path / "baseline.txt").stat().st_mode & 0o777 == 0o640


def test_comments_and_empty_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "baseline.txt"
    path.write_bytes(b"# known\r\n\r\n \t\t\nrelro\tbuild/libX.so\t-\r\n")
    assert load_baseline(str(path)).entries == {RELRO}


def test_comments_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "baseline.txt"
    path.write_text(
        "# file\n\n# on COPY\n# still\nstack-protector\tbuild/libX.so\tF.c: copy()\n# gone\nrelro\ta\t-\n# end"
    )
    baseline = load_baseline(str(path))
    for _ in range(2):
        write_baseline(str(path), [RELRO, COPY], baseline.comments)
        lines = path.read_text("utf-8").splitlines()
        assert lines[2:6] == ["# file", "# end", "# gone", ""]
        assert lines[6:] == ["\t".join(RELRO), "# on COPY", "# still", "\t".join(COPY)]
        baseline = load_baseline(str(path))


def test_every_bad_line_is_told(tmp_path: Path) -> None:
    path = tmp_path / "baseline.txt"
    path.write_text("# head\n<<<<<<< ours\nrelo\ta\t-\nrelro\ta\t-\nrelro a -\nrelro\t\t-\n", "utf-8")
    with pytest.raises(PolicyError) as caught:
        load_baseline(str(path))
    fields = "expected three fields with tabs between: check, artifact, culprit"
    assert str(caught.value).splitlines() == [
        f"baseline {path}, line 2: {fields}: <<<<<<< ours",
        f"baseline {path}, line 3: unknown check 'relo'; did you mean 'relro'?: relo\\ta\\t-",
        f"baseline {path}, line 5: {fields}: relro a -",
        f"baseline {path}, line 6: a field is empty: relro\\t\\t-",
    ]


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="No such file or directory; --hardening-update-baseline makes it"):
        load_baseline(str(tmp_path / "none.txt"))


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "baseline.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="not UTF-8"):
        load_baseline(str(tmp_path / "baseline.txt"))


def test_update_keeps_what_was_not_judged() -> None:
    judged = {("stack-protector", "build/libX.so"): ("F.c: grow()",), ("pie", "build/X"): ()}
    grow = COPY._replace(culprit="F.c: grow()")
    assert updated([RELRO, COPY], judged) == ([RELRO, grow], [grow], [COPY])


def test_update_keeps_what_could_not_be_told() -> None:
    assert updated([COPY], {("stack-protector", "build/libX.so"): None}) == ([COPY], [], [])


def test_update_takes_no_file_outside_the_project() -> None:
    assert updated([], {("relro", "/usr/lib/libX.so"): (WHOLE,)}) == ([], [], [])


def keys(
    *names: str, rest: Outcome | None = Outcome.PASS, fail_on_unknown: bool = False, root: str = "/src"
) -> list[str]:
    found = tuple(read_culprit(name, root) for name in names)
    return keys_of(Outcome.FAIL, Culprits(found, rest), found, fail_on_unknown=fail_on_unknown)


def test_culprits_are_keys_where_they_are_all_and_keep_their_names() -> None:
    copy = "F.c: copy()"
    assert keys(copy, "G.c") == ["F.c: copy()", "G.c"]
    assert keys(copy, "G.c", rest=None) == [WHOLE]
    assert keys(copy, "F.c: 0x10-0x20") == [WHOLE]
    assert keys() == [] == keys_of(Outcome.FAIL, Culprits((), Outcome.PASS), (), fail_on_unknown=True)
    assert keys(rest=None) == [WHOLE]


def test_what_is_unknown_of_the_rest_is_a_key_where_it_fails() -> None:
    copy = "copy()"
    assert keys(copy, rest=Outcome.UNKNOWN) == ["copy()"]
    assert keys(copy, rest=Outcome.UNKNOWN, fail_on_unknown=True) == ["copy()", UNKNOWN]
    assert keys_of(Outcome.UNKNOWN, Culprits((), None), (), fail_on_unknown=True) == [UNKNOWN]


def test_keys_hold_no_absolute_path_and_no_tab() -> None:
    assert keys("/home/alice/F.c: co\tpy()") == [r"F.c: co\tpy()"]


def test_units_of_the_project_keep_their_folder() -> None:
    assert keys("/src/core/util.c: init()", "/src/net/util.c: init()") == ["core/util.c: init()", "net/util.c: init()"]
    assert keys("/src/build/../core/util.c") == ["core/util.c"]
    assert keys("/srcs/util.c") == ["util.c"]
    assert keys("/src/util.c", root="") == ["util.c"]


def test_each_of_one_name_is_a_key() -> None:
    assert keys("/a/util.c: init()", "/b/util.c: init()") == ["util.c: init()", "util.c: init() #2"]
    assert keys("copy()", "copy()") == ["copy()", "copy() #2"]


def test_pieces_that_a_compiler_makes_are_the_function() -> None:
    for symbol in ("work.constprop.0", "work.isra.0.part.2", "work.cold", "work.lto_priv.3", "work.llvm.8123"):
        assert keys(f"a.c: {symbol}()") == ["a.c: work()"]
        assert keys("a.c: work()", f"b.c: {symbol}()") == ["a.c: work()", "b.c: work()"]
    assert keys("work()", "work.part.0()", "work.constprop.1()") == ["work()"]
    assert keys("work()", "work.part.0()", "work()") == ["work()", "work() #2"]
    assert keys("init.lto_priv.0()", "init.lto_priv.1()") == ["init()", "init() #2"]
    assert keys("main.copy()", "main.read()") == ["main.copy()", "main.read()"]  # Go


def test_no_unit_has_the_name_of_the_whole_check() -> None:
    assert keys("-", "?", "./-", " ") == [r"\x2d", r"\x3f", "./-", r"\x20"]


def test_entries_of_the_dynamic_section_are_kept_as_they_are() -> None:
    assert keys("DT_RUNPATH '/tmp/lib'", "DT_RUNPATH '/home/lib'", "DT_RUNPATH ''") == [
        "DT_RUNPATH '/tmp/lib'",
        "DT_RUNPATH '/home/lib'",
        "DT_RUNPATH ''",
    ]
    assert keys("DT_RUNPATH '/src/build/lib'") == ["DT_RUNPATH '<root>/build/lib'"]
