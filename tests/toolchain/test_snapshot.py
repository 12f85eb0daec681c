"""Saved postures: what is a loss, what is compared with what, and files that are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_hardening.errors import ComparisonError
from pytest_hardening.toolchain import Cell, Effect, Posture, State, load_postures, posture_changes, save_postures
from pytest_hardening.toolchain.snapshot import counterpart, facts_changed, merged
from pytest_hardening.toolchain.tables import markdown_table, text_table

ON = Cell("bind-now", State.FLAG, ("-Wl,-z,now",), "bound at start-up", ("dynamic section: NOW",))
STATES = {
    "default": replace(ON, state=State.DEFAULT, flags=()),
    "flag": ON,
    "hidden": replace(ON, state=State.NOT_VISIBLE),
    "vain": replace(ON, state=State.NO_EFFECT),
    "refused": replace(ON, state=State.UNAVAILABLE, summary="error: no such option"),
}


def posture(*cells: Cell, version: str = "12.2.0", **facts: Any) -> Posture:
    toolchain = {
        "id": f"gcc-{version.rpartition('.')[0]}-x86_64",
        "command": "gcc-12",
        "family": "gcc",
        "language": "c",
        "version": version,
        "machine": "x86_64",
        "target": "x86_64-linux-gnu",
        "libc": "glibc 2.36",
        "linker": "GNU ld 2.40",
        "configured": ["--enable-default-pie"],
        "defaults": ["-pie"],
        **facts,
    }
    return Posture(toolchain, {cell.mitigation: cell for cell in cells})


@pytest.mark.parametrize("was", STATES)
@pytest.mark.parametrize("now", STATES)
def test_less_is_a_loss(was: str, now: str) -> None:
    rank = {"default": 3, "flag": 2, "hidden": 1, "vain": 0, "refused": 0}
    changes = posture_changes(posture(STATES[was]), posture(STATES[now]))
    if was == now:
        assert changes == ()
        return
    (change,) = changes
    effects = {True: Effect.LOST, False: Effect.GAINED}
    expected = Effect.CHANGED if rank[was] == rank[now] else effects[rank[now] < rank[was]]
    assert change.effect is expected


def test_what_works_now_hides_no_loss() -> None:
    was = replace(STATES["default"], at_run_time="GOES THROUGH")
    (change,) = posture_changes(posture(was), posture(replace(ON, at_run_time="works")))
    assert change.effect is Effect.LOST
    (change,) = posture_changes(posture(was), posture(replace(was, at_run_time="works")))
    assert change.effect is Effect.GAINED


def test_what_is_said_of_changes() -> None:
    (loss,) = posture_changes(posture(ON), posture(STATES["refused"]))
    assert str(loss) == (
        "gcc-12.2-x86_64: bind-now lost: was on with -Wl,-z,now, is not available (-Wl,-z,now): error: no such option"
    )
    other = replace(ON, flags=("-z", "now"))
    (change,) = posture_changes(posture(ON), posture(other))
    assert str(change) == "gcc-12.2-x86_64: bind-now changed: was on with -Wl,-z,now, is on with -z now"
    (new,) = posture_changes(posture(), posture(ON))
    assert str(new) == "gcc-12.2-x86_64: bind-now gained: was not asked for, is on with -Wl,-z,now"
    assert posture_changes(posture(ON), posture()) == ()  # a part was asked


def test_the_version_before_it_is_the_counterpart() -> None:
    old = {
        one.id: one
        for one in (
            posture(version="11.3.0"),
            posture(version="12.2.0"),
            posture(version="12.2.0", libc="musl 1.2", id="gcc-12.2-x86_64-musl"),
        )
    }

    def of(*others: str, **facts: Any) -> str | None:
        found = counterpart(posture(**facts).toolchain, old, others)
        return found.id if found else None

    assert of(version="12.2.0") == "gcc-12.2-x86_64"
    assert of(version="12.3.0") == "gcc-12.2-x86_64"
    assert of(version="13.1.0") == "gcc-12.2-x86_64"
    assert of("gcc-12.2-x86_64", version="13.1.0") == "gcc-11.3-x86_64"  # 12.2 is compared itself
    assert of(version="12.1.0") == "gcc-12.2-x86_64"
    assert of(version="10.1.0") is None
    assert of(version="12.3.0", machine="i386") is None
    assert of(version="12.3.0", libc="musl 1.2", id="gcc-12.3-x86_64-musl") == "gcc-12.2-x86_64-musl"
    assert of(version="12.3.0", id="gcc-12.3-x86_64+-O1") is None


def test_facts_are_noted() -> None:
    new = posture(libc="glibc 2.40", configured=["--enable-cet"])
    assert list(facts_changed(posture().toolchain, new.toolchain)) == [
        "libc: was glibc 2.36, is glibc 2.40",
        "configured: without --enable-default-pie; with --enable-cet",
    ]


def test_saved_and_read(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    other = replace(ON, mitigation="pie")
    save_postures(str(path), [posture(ON)])
    assert load_postures(str(path)) == {"gcc-12.2-x86_64": posture(ON)}
    both = merged(load_postures(str(path)), [posture(other), posture(ON, version="13.1.0")])
    save_postures(str(path), both.values())
    assert list(load_postures(str(path))) == ["gcc-12.2-x86_64", "gcc-13.1-x86_64"]
    assert list(load_postures(str(path))["gcc-12.2-x86_64"].cells) == ["bind-now", "pie"]
    assert [one.name for one in tmp_path.iterdir()] == ["saved.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "damaged, or no file of postures"),
        ("{}", "damaged, or no file of postures"),
        ('{"schema_version": 2, "toolchains": []}', "schema version 2, this version reads 1"),
        ('{"schema_version": 1, "toolchains": 3}', "damaged"),
        ('{"schema_version": 1, "toolchains": [{"toolchain": [], "mitigations": []}]}', "damaged"),
        ('{"schema_version": 1, "toolchains": [{"toolchain": {"id": 3}, "mitigations": []}]}', "damaged"),
        ('{"schema_version": 1, "toolchains": [{"toolchain": {"id": "x"}, "mitigations": [{}]}]}', "damaged"),
    ],
)
def test_a_damaged_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "saved.json"
    path.write_text(text)
    with pytest.raises(ComparisonError, match=message):
        load_postures(str(path))


def test_a_state_that_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    save_postures(str(path), [posture(ON)])
    data = json.loads(path.read_text())
    data["toolchains"][0]["mitigations"][0]["state"] = "fine"
    path.write_text(json.dumps(data))
    with pytest.raises(ComparisonError, match="damaged"):
        load_postures(str(path))
    with pytest.raises(ComparisonError, match="No such file"):
        load_postures(str(tmp_path / "none.json"))


def test_tables() -> None:
    runs = replace(STATES["hidden"], mitigation="cf-protection", at_run_time="works")
    postures = [posture(ON, runs), posture(STATES["vain"], version="11.3.0")]
    assert list(text_table(postures, 200))[:3] == [
        "mitigation     gcc-12.2-x86_64  gcc-11.3-x86_64",
        "bind-now       flag             NO EFFECT",
        "cf-protection  hidden (works)",
    ]
    narrow = list(text_table(postures, 40))
    assert narrow.count("") == 3
    assert all(len(line) <= 40 for line in narrow[: len(narrow) - 3])
    lines = list(markdown_table(postures))
    assert "| bind-now | flag | NO EFFECT |" in lines
    assert "| bind-now | `-Wl,-z,now` (gcc-12.2-x86_64) |" in lines
    assert "- bind-now NO EFFECT (gcc-11.3-x86_64): bound at start-up" in lines
