"""`pytest --hardening-posture`: items, the saved file, losses behind a wrapper, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_hardening.toolchain import PROBES

POSTURE = "--hardening-posture"
SAVED = "hardening-posture.json"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pytest's cache folder of all sessions here: the programs are built once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(pytester: pytest.Pytester, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """`run("-k", "relro")`: pytest with toolchains on PATH in front of which a wrapper `cc` may stand."""
    for name in ("CI", "BUILD_NUMBER"):  # with these pytest repeats whole messages in its short summary
        monkeypatch.delenv(name, raising=False)
    pytester.makeini(f"[pytest]\ncache_dir = {cache}\n")

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*arguments)

    return run


@pytest.fixture
def dropping(pytester: pytest.Pytester) -> Callable[[str], str]:
    """`dropping("-Wl,-z,now")`: a wrapper of gcc-12 that drops one argument without a word."""

    def dropping(argument: str) -> str:
        script = pytester.path / "wrapped-cc"
        script.write_text(
            '#!/bin/bash\nkept=(); for one in "$@"; do '
            f'[ "$one" = "{argument}" ] || kept+=("$one"); done\nexec gcc-12 "${{kept[@]}}"\n'
        )
        script.chmod(0o755)
        return str(script)

    return dropping


def test_an_item_for_each_mitigation(run: Callable[..., pytest.RunResult]) -> None:
    result = run(POSTURE, "--hardening-toolchain", "gcc-12", "--collect-only", "-q")
    ids = [line.partition("::") for line in result.outlines if "::" in line]
    assert [name for _, _, name in ids] == [probe.name for probe in PROBES]
    assert {toolchain for toolchain, _, _ in ids} == {ids[0][0]}
    assert ids[0][0].startswith("gcc-12.")


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_saved_and_compared(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    asked = (POSTURE, "--hardening-toolchain", "gcc-12", *workers)
    first = run(*asked, "--hardening-update-posture", "-v")
    first.stdout.fnmatch_lines(
        ["mitigation * gcc-12.*-x86_64", "stack-protector * flag", "saved: hardening-posture.json"]
    )
    assert first.ret == pytest.ExitCode.OK
    text = (pytester.path / SAVED).read_text("utf-8")
    data = json.loads(text)
    (saved,) = data["toolchains"]
    assert [cell["mitigation"] for cell in saved["mitigations"]] == [probe.name for probe in PROBES]
    assert str(pytester.path) not in text
    assert "/tmp/" not in text
    again = run(POSTURE, "--hardening-toolchain", "gcc-12")
    assert again.ret == pytest.ExitCode.OK
    assert "lost" not in again.stdout.str()
    run(POSTURE, "--hardening-toolchain", "gcc-12", "--hardening-update-posture")
    assert (pytester.path / SAVED).read_text("utf-8") == text


@pytest.mark.parametrize(
    ("argument", "lost"),
    [("-fstack-protector-strong", "stack-protector"), ("-Wl,-z,now", "bind-now"), ("-D_FORTIFY_SOURCE=2", "fortify-2")],
)
def test_a_loss_fails(
    run: Callable[..., pytest.RunResult], dropping: Callable[[str], str], argument: str, lost: str
) -> None:
    chosen = ("-k", f"{lost} or relro or nx-stack", POSTURE, "saved.json")
    assert run(*chosen, "--hardening-update-posture", "--hardening-toolchain", "gcc-12").ret == 0
    result = run(*chosen, "--hardening-toolchain", dropping(argument))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"gcc-12.*-x86_64: {lost} lost: was on with {'-U_FORTIFY_SOURCE ' if 'FORT' in argument else ''}{argument}, *"]
    )
    result.stdout.fnmatch_lines([f"FAILED gcc-12.*-x86_64::{lost} - {lost} lost: was on with*"])


def test_a_gain_is_a_note(run: Callable[..., pytest.RunResult], dropping: Callable[[str], str]) -> None:
    chosen = ("-k", "bind-now", POSTURE)
    run(*chosen, "--hardening-update-posture", "--hardening-toolchain", dropping("-Wl,-z,now"))
    result = run(*chosen, "--hardening-toolchain", "gcc-12")
    result.assert_outcomes(passed=1, deselected=len(PROBES) - 1)
    result.stdout.fnmatch_lines(["*bind-now gained: was without effect: -Wl,-z,now, is on with -Wl,-z,now"])


def test_without_a_loss_what_is_missing_is_skipped(run: Callable[..., pytest.RunResult]) -> None:
    result = run(POSTURE, "--hardening-toolchain", "tcc", "-k", "bind-now or stack-clash", "-rs")
    result.assert_outcomes(skipped=2, deselected=len(PROBES) - 2)
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED*not available (-Wl,-z,now): error: unsupported linker option '-z,now'",
            "SKIPPED*without effect: -fstack-clash-protection: no stack clash protection in large()*",
            "stack-clash  NO EFFECT",
        ]
    )


def test_ids_among_the_arguments_say_what_runs(run: Callable[..., pytest.RunResult], pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it="def test_it(): pass")
    run(POSTURE, "saved.json", "--hardening-update-posture", "test_it.py::test_it").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((POSTURE, "."), "*--hardening-posture: its FILE ends in .json; '.' does not: *"),
        ((POSTURE, "none.json"), "*--hardening-posture: *none.json: No such file or directory"),
        (("--hardening-update-posture",), "*--hardening-update-posture needs --hardening-posture"),
        ((POSTURE, "bad.json"), "*bad.json: no JSON: it is damaged, or no file of postures"),
    ],
)
def test_what_is_refused(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester, arguments: tuple[str, ...], message: str
) -> None:
    (pytester.path / "bad.json").write_text("{")
    result = run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_a_file_that_cannot_be_written(run: Callable[..., pytest.RunResult]) -> None:
    result = run(POSTURE, "no/folder.json", "--hardening-update-posture", "-k", "relro")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["postures not saved: *no/folder.json: No such file or directory"])


HOOK = """
def pytest_hardening_probes(config):
    from pytest_hardening.toolchain import FlagProbe, PROBES

    return [{}]
"""


def test_probes_of_a_plugin(run: Callable[..., pytest.RunResult], pytester: pytest.Pytester) -> None:
    pytester.makeconftest(HOOK.format('FlagProbe("no-lazy", "no lazy binding", "bind-now", (("-Wl,-z,now",),))'))
    run(POSTURE, "-k", "no-lazy").assert_outcomes(passed=1, deselected=len(PROBES))
    for probe, message in {"PROBES[0]": "the name 'pie' is taken", "3": "returned 3: expected a probe*"}.items():
        pytester.makeconftest(HOOK.format(probe))
        result = pytester.runpytest_subprocess(POSTURE)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*conftest.py: pytest_hardening_probes: {message}"])


def test_a_compiler_that_stops_working_is_an_error_of_its_items(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    script = pytester.path / "breaking-cc"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *-Werror*) echo "error: out of order"; exit 1;; esac\nexec gcc-12 "$@"\n'
    )
    script.chmod(0o755)
    result = run(POSTURE, "--hardening-toolchain", str(script), "-k", "relro")
    result.assert_outcomes(failed=2, deselected=len(PROBES) - 2)
    result.stdout.fnmatch_lines(["gcc-12.*-x86_64 does not compile the probe: error: out of order"])


def test_what_works_when_programs_run(run: Callable[..., pytest.RunResult], pytester: pytest.Pytester) -> None:
    asked = (POSTURE, "--hardening-run", "--hardening-toolchain", "gcc-12")
    result = run(*asked, "--hardening-update-posture")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["full-relro * flag (works)", "build-id * default", "stack-protector * flag (works)"])
    result = run(*asked)
    assert result.ret == pytest.ExitCode.OK
    assert " lost" not in result.stdout.str()
    # of a run that starts nothing nothing is lost either
    result = run(POSTURE, "--hardening-toolchain", "gcc-12")
    assert result.ret == pytest.ExitCode.OK


def test_a_mitigation_that_files_show_and_that_stops_nothing(
    run: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    """A compiler whose programs bring a __stack_chk_fail() of their own, which lets everything pass."""
    (pytester.path / "harmless.c").write_text("void _exit(int); void __stack_chk_fail(void) { _exit(42); }\n")
    script = pytester.path / "careless-cc"
    harmless = pytester.path / "harmless.o"
    script.write_text(
        f'#!/bin/sh\ncase " $* " in *" -c "*|*" -E "*) exec gcc-12 "$@" ;; esac\n'
        f'gcc-12 -c -o {harmless} {pytester.path}/harmless.c && exec gcc-12 "$@" {harmless}\n'
    )
    script.chmod(0o755)
    result = run(POSTURE, "--hardening-run", "--hardening-toolchain", str(script), "-k", "stack-protector")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*: stack-protector: the file has it, but nothing stopped the offence when the program ran", "FAILED *"]
    )


def test_what_cannot_be_run_any_more_is_not_passed(
    run: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (POSTURE, "--hardening-run", "--hardening-toolchain", "gcc-12", "-k", "stack-protector or build-id")
    assert run(*asked, "--hardening-update-posture").ret == pytest.ExitCode.OK
    monkeypatch.setattr("pytest_hardening.runtime.at_run_time", lambda *_: "")
    result = run(*asked, "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *unknown whether it still works at run time: *"])


def test_running_without_a_posture(run: Callable[..., pytest.RunResult]) -> None:
    result = run("--hardening-run")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --hardening-run needs --hardening-posture"])
