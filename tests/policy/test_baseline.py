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
from pytest_hardening.policy.culprits import Culprit, Culprits

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
    path.write_bytes(b"# known\r\n\r\nrelro\tbuild/libX.so\t-\r\n")
    assert load_baseline(str(path)).entries == {RELRO}


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


def keys(*found: Culprit, rest: Outcome | None = Outcome.PASS, fail_on_unknown: bool = False) -> list[str]:
    return keys_of(Outcome.FAIL, Culprits(found, rest), found, fail_on_unknown=fail_on_unknown)


def test_culprits_are_keys_where_they_are_all_and_keep_their_names() -> None:
    copy, file = Culprit("F.c: copy()", "F.c", "copy"), Culprit("G.c", "G.c")
    assert keys(copy, file) == ["F.c: copy()", "G.c"]
    assert keys(copy, file, rest=None) == [WHOLE]
    assert keys(copy, Culprit("F.c: 0x10-0x20", "F.c")) == [WHOLE]
    assert keys() == [] == keys_of(Outcome.FAIL, Culprits((), Outcome.PASS), (), fail_on_unknown=True)
    assert keys(rest=None) == [WHOLE]


def test_what_is_unknown_of_the_rest_is_a_key_where_it_fails() -> None:
    copy = Culprit("copy()", "", "copy")
    assert keys(copy, rest=Outcome.UNKNOWN) == ["copy()"]
    assert keys(copy, rest=Outcome.UNKNOWN, fail_on_unknown=True) == ["copy()", UNKNOWN]
    assert keys_of(Outcome.UNKNOWN, Culprits((), None), (), fail_on_unknown=True) == [UNKNOWN]


def test_keys_hold_no_absolute_path_and_no_tab() -> None:
    assert keys(Culprit("/home/alice/F.c: co\tpy()", "/home/alice/F.c", "co\tpy")) == [r"F.c: co\tpy()"]
