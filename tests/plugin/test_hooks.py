"""What a conftest.py or a plugin adds: checks, profiles, finders, reporters; and what is said of one that is wrong."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.added import in_force
from pytest_hardening.checks.registry import built_in_names, check_names
from pytest_hardening.fixtures import CompileC

if TYPE_CHECKING:
    from tests.plugin.conftest import User

WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])

PAGE = """\
    What it protects
    ----------------
    Against small pages of memory.

    Evidence
    --------
    p_align of every PT_LOAD.

    When it does not apply
    ----------------------
    Objects, and so archives.

    Fix
    ---
    Link with -Wl,-z,max-page-size=N.

    References
    ----------
    System V gABI, program header.
"""

CHECK = f'''
from pytest_hardening import Check, Evidence, Kind, Parameter

class PageSize(Check):
    """Large pages are supported.

{PAGE}
    """

    name = "page-size"
    label = "Large pages"
    kinds = frozenset(kind for kind in Kind if kind.is_linked)
    parameters = {{"bytes": Parameter(16384, (8192, 16384), "the largest page size")}}

    def judge(self, facts, parameters):
        least = min(segment.align for segment in facts.segments if segment.type == 1)
        if least < parameters["bytes"]:
            return self.failed(f"aligned to {{least}}", remedy="link with -Wl,-z,max-page-size=16384", align=least)
        return self.passed(f"aligned to {{least}}", align=least)
'''
ADDS = CHECK + "\ndef pytest_hardening_checks():\n    return [PageSize()]\n"


def linked(user: User, build: CompileC, name: str, page_size: int) -> None:
    """A program below build/."""
    (user.path / "build").mkdir(exist_ok=True)
    flags = [f"-Wl,-z,max-page-size={page_size}"]
    shutil.copy(build("int main(void) { return 0; }", link_flags=flags, name=name), user.path / "build")


@pytest.fixture
def pages(user: User, build: CompileC) -> User:
    """A user with one program that supports large pages, one that does not, and the check in conftest.py."""
    linked(user, build, "LARGE", 16384)
    linked(user, build, "SMALL", 4096)
    user.pytester.makeconftest(ADDS)
    return user


def error_of(result: pytest.RunResult) -> str:
    """The one error of a run that judged nothing."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in (*result.outlines, *result.errlines) if "hardening: " in line]
    assert "Traceback" not in "\n".join((*result.outlines, *result.errlines))
    assert len(set(lines)) == 1, lines
    return lines[0].partition("hardening: ")[2]


@WORKERS
def test_check_of_a_conftest(pages: User, workers: tuple[str, ...]) -> None:
    words = ("--hardening=build", "--hardening-check=page-size", "--hardening-check=nx-stack", *workers)
    run = pages.run(*words, subprocess=bool(workers))
    assert run.having("fail") == {"build/SMALL::page-size"}
    assert {"build/LARGE::page-size", "build/SMALL::nx-stack"} <= run.having("pass")
    run.result.stdout.fnmatch_lines(["*fix: link with -Wl,-z,max-page-size=16384*"])


def test_policy_files_know_the_check(pages: User) -> None:
    pages.policy('profile = "plugin"\n[checks]\npage-size = { bytes = 8192, unknown = "fail" }\nrelro = false')
    result = pages.pytest("--hardening=build", "--hardening-show-policy")
    result.stdout.fnmatch_lines(["page-size.bytes = 8192 *# hardening.toml"])
    run = pages.run("--hardening=build")
    assert "build/SMALL::page-size" in run.having("fail")
    pages.policy(
        '[checks]\npage-size = {}\n[[waiver]]\npath = "build/SMALL"\nchecks = ["page-size"]\nreason = "old boards"'
    )
    run = pages.run("--hardening=build", "--hardening-check=page-size")
    run.result.assert_outcomes(passed=1, xfailed=1)


@pytest.mark.parametrize(
    ("policy", "words", "message"),
    [
        (
            "[checks]\npage-sise = {}",
            (),
            "hardening.toml: checks.page-sise: unknown check *; did you mean 'page-size'?",
        ),
        ("[checks]\npage-size = { bytes = 5 }", (), "hardening.toml: checks.page-size.bytes: expected one of 8192, *"),
        ("[checks]\npage-size = { byte = 5 }", (), "*: unknown parameter 'byte'; did you mean 'bytes'?"),
        ("", ("--hardening-check=page-sizes",), "unknown check 'page-sizes'; did you mean 'page-size'?"),
    ],
)
def test_mistakes_name_the_added_check(pages: User, policy: str, words: tuple[str, ...], message: str) -> None:
    pages.policy(policy)
    pages.pytest("--hardening=build", *words).stderr.fnmatch_lines([f"*hardening: {message}*"])


def test_tests_know_the_check(pages: User) -> None:
    pages.pytester.makepyfile(
        """
        import pytest
        from pytest_hardening import NotHardened, assert_hardened, inspect

        @pytest.mark.hardening("build/LARGE", checks=["page-size"])
        def test_marker(artifact):
            assert inspect(artifact).verdict("page-size").observed == {"align": 16384}

        def test_assertion():
            with pytest.raises(NotHardened, match="aligned to 4096"):
                assert_hardened("build/SMALL", checks=["page-size"])
        """
    )
    pages.pytest().assert_outcomes(passed=2)


def test_nothing_is_left_after_the_session(pages: User) -> None:
    before = in_force()
    pages.pytest("--hardening=build", "--hardening-check=page-size")
    pages.pytest("--hardening=build", "--hardening-show-policy")
    pages.pytest("--hardening=build", "--hardening-check=no-such")
    assert in_force() is before
    assert check_names() == built_in_names()


def test_sessions_inside_one_another_do_not_see_each_other(pages: User) -> None:
    pages.pytester.makepyfile(
        f"""
        pytest_plugins = ["pytester"]

        def test_inner(pytester):
            from pytest_hardening.checks.registry import check_names
            pytester.makeconftest({ADDS!r})
            pytester.makepyfile("def test(): pass")
            pytester.runpytest_inprocess().assert_outcomes(passed=1)
            assert "page-size" in check_names()
        """
    )
    pages.pytester.makeconftest(ADDS)
    pages.pytest(subprocess=True).assert_outcomes(passed=1)


def test_two_plugins(pages: User) -> None:
    other = ADDS.replace("page-size", "a-page-size").replace("aligned", "also aligned")
    pages.pytester.makepyfile(other_plugin=other)
    words = ("--hardening=build/SMALL", "--hardening-check=page-size", "--hardening-check=a-page-size")
    run = pages.run("-p", "other_plugin", *words, subprocess=True)
    assert list(run.verdicts) == ["build/SMALL::a-page-size", "build/SMALL::page-size"]
    pages.pytester.makepyfile(other_plugin=ADDS)
    result = pages.pytest("-p", "other_plugin", *words, subprocess=True)
    assert "pytest_hardening_checks: the name 'page-size' is taken by " in error_of(result)


BAD_CHECKS = [
    ("return 5", "conftest.py: pytest_hardening_checks: returned 5: expected a list"),
    ("return 'ab'", "conftest.py: pytest_hardening_checks: returned 'ab': expected a list"),
    ("return [5]", "conftest.py: pytest_hardening_checks: 5 is no Check"),
    ("return [PageSize]", "*: PageSize is a class: give an instance, PageSize()"),
    ("PageSize.name = 'relro'; return [PageSize()]", "*: the name 'relro' is taken by a built-in check"),
    ("PageSize.name = 'Page_Size'; return [PageSize()]", "*: name = 'Page_Size': expected kebab-case*"),
    ("del PageSize.name; return [PageSize()]", "*: PageSize: name = None: expected kebab-case*"),
    ("return [PageSize(), PageSize()]", "*: the name 'page-size' is taken by conftest.py"),
    ("PageSize.__doc__ = None; return [PageSize()]", "*: page-size: no docstring: it is the manual page*"),
    ("PageSize.__doc__ = 'Short.'; return [PageSize()]", "*: page-size: the docstring lacks the heading What it*"),
    ("PageSize.kinds = (); return [PageSize()]", "*: page-size: kinds = (): expected a frozenset of Kind*"),
    ("PageSize.label = ''; return [PageSize()]", "*: page-size: label = '': expected a text*"),
    ("PageSize.parameters = {'a': 5}; return [PageSize()]", "*: parameters[[]'a'] = 5: expected a Parameter"),
    ("raise ValueError('broken\\nhere')", "*: pytest_hardening_checks: raised ValueError: broken here (conftest.py:*)"),
    ("yield PageSize(); raise KeyError(1)", "*: pytest_hardening_checks: raised KeyError: 1 (conftest.py:*)"),
]


@pytest.mark.parametrize(("body", "message"), BAD_CHECKS, ids=[body for body, _ in BAD_CHECKS])
def test_wrong_checks_are_one_error(pages: User, body: str, message: str) -> None:
    pages.pytester.makeconftest(f"{CHECK}\ndef pytest_hardening_checks():\n    {body}\n")
    error = error_of(pages.pytest("--hardening=build"))
    pytest.LineMatcher([error]).fnmatch_lines([message])
    assert error.startswith("conftest.py: pytest_hardening_checks: ")
    assert in_force().checks == {}


def test_a_wrong_plugin_ends_a_distributed_run_too(pages: User) -> None:
    pages.pytester.makeconftest("def pytest_hardening_checks():\n    return [5]\n")
    error = error_of(pages.pytest("--hardening=build", "-n2", subprocess=True))
    assert error == "conftest.py: pytest_hardening_checks: 5 is no Check"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return {}['align']", "raised KeyError: 'align' (conftest.py:*)"),
        ("return None", "returned None: expected a Verdict"),
        ("return self.passed('')", "returned the summary '': expected one line"),
        ("return self.passed('ok', align={1})", "returned what is not JSON: *"),
        ("return self.failed('no', remedy='')", "returned a failure without a remedy"),
    ],
)
@WORKERS
def test_a_check_that_is_wrong_passes_nothing(pages: User, body: str, message: str, workers: tuple[str, ...]) -> None:
    judge = "def judge(self, facts, parameters):\n"
    pages.pytester.makeconftest(ADDS.replace(judge, f"{judge}        {body}\n"))
    words = ("--hardening=build", "--hardening-check=page-size", "--hardening-check=nx-stack", *workers)
    run = pages.run(*words, subprocess=bool(workers))
    assert run.verdicts == {}
    error = f"cannot be judged: the check 'page-size' of conftest.py {message}"
    pytest.LineMatcher(list(run.errors.values())).fnmatch_lines([error, error])
    run.result.assert_outcomes(failed=4)


def test_profile(pages: User) -> None:
    pages.pytester.makeconftest(ADDS + "\ndef pytest_hardening_profiles(config):\n    return {'ours': 'p/ours.toml'}\n")
    (pages.path / "p").mkdir()
    (pages.path / "p/base.toml").write_text("[checks]\npage-size = {}\n")
    (pages.path / "p/ours.toml").write_text('extends = "base.toml"\n[checks]\nnx-stack = {}\n')
    run = pages.run("--hardening=build", "--hardening-profile=ours")
    run.result.stdout.fnmatch_lines(["hardening: profile ours (2 checks): nx-stack, page-size"])
    assert run.having("fail") == {"build/SMALL::page-size"}
    (pages.path / "mine.toml").write_text('extends = "ours"\n[checks]\npage-size = false\n')
    assert pages.run("--hardening=build", "--hardening-profile=mine.toml").having("fail") == set()
    result = pages.pytest("--hardening=build", "--hardening-profile=our")
    assert error_of(result).startswith("unknown profile 'our'; did you mean 'ours'?")
    (pages.path / "p/ours.toml").write_text("[checks]\npie = { levle = 1 }\n")
    result = pages.pytest("--hardening=build", "--hardening-profile=ours")
    assert error_of(result).startswith("profile ours: checks.pie.levle: unknown parameter 'levle'")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("['a']", "returned ['a']: expected a mapping of names to TOML files"),
        ("{'a': 5}", "a = 5: expected the path of a TOML file"),
        ("{'a': 'no-such.toml'}", "a: there is no file */no-such.toml"),
        ("{'kms-6.7': 'a.toml'}", "the name 'kms-6.7' is taken by a built-in profile"),
        ("{'x/y': 'a.toml'}", "the name 'x/y': expected small letters, digits, '.' and '-'"),
        ("{'a.toml': 'a.toml'}", "the name 'a.toml': expected small letters, digits, '.' and '-'"),
        ("1 / 0", "raised ZeroDivisionError: division by zero (conftest.py:2)"),
    ],
)
def test_wrong_profiles_are_one_error(pages: User, answer: str, message: str) -> None:
    pages.pytester.makeconftest(f"def pytest_hardening_profiles():\n    return {answer}\n")
    error = error_of(pages.pytest("--hardening=build"))
    pytest.LineMatcher([error]).fnmatch_lines(
        [f"conftest.py: pytest_hardening_profiles: {message}".replace("[", "[[]")]
    )


FINDS = """
from pytest_hardening import Artifact

def pytest_hardening_find_artifacts(config, path):
    if path.suffix == ".list":
        return path.read_text().split()
    if path.suffix == ".deb":
        return [Artifact(str(config.rootpath / "build" / name), f"app.deb/{name}") for name in ("LARGE", "SMALL")]
    if path.suffix == ".twice":
        return [Artifact(str(config.rootpath / "build" / name), "app.deb/same") for name in ("LARGE", "SMALL")]
    if path.suffix == ".bad":
        raise ValueError("bad package")
    if path.suffix == ".odd":
        return [5]
    return [] if path.suffix == ".empty" else None
"""


@WORKERS
def test_finder(pages: User, workers: tuple[str, ...]) -> None:
    pages.pytester.makeconftest(FINDS)
    (pages.path / "ship.list").write_text("build/LARGE build/NONE")
    words = ("--hardening=ship.list", "--hardening=x.deb", "--hardening-check=nx-stack", *workers)
    run = pages.run(*words, "--hardening=build/SMALL", subprocess=bool(workers))
    # the file that the list names has its name from the plugin's Artifact; the other one is named by both as well
    assert set(run.verdicts) == {"app.deb/LARGE::nx-stack", "app.deb/SMALL::nx-stack"}
    run.result.assert_outcomes(passed=2, failed=1)
    run.result.stdout.fnmatch_lines(["*build/NONE*does not exist*"])


def test_rules_match_the_name_that_a_finder_gives(pages: User) -> None:
    pages.pytester.makeconftest(ADDS + FINDS)
    pages.policy('[checks]\nnx-stack = {}\n[[artifact]]\npath = "app.deb/S*"\nchecks.page-size = {}')
    run = pages.run("--hardening=x.deb")
    assert run.having("fail") >= {"app.deb/SMALL::page-size"}
    assert "app.deb/LARGE::page-size" not in run.verdicts


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x.empty", "conftest.py: pytest_hardening_find_artifacts: found nothing in it"),
        ("x.bad", "conftest.py: pytest_hardening_find_artifacts: raised ValueError: bad package (conftest.py:11)"),
        ("x.odd", "conftest.py: pytest_hardening_find_artifacts: returned 5: expected a path or an Artifact"),
    ],
)
def test_a_finder_that_is_wrong_fails_for_its_path(pages: User, path: str, message: str) -> None:
    pages.pytester.makeconftest(FINDS)
    run = pages.run(f"--hardening={path}", "--hardening=build/LARGE", "--hardening-check=nx-stack")
    assert run.errors == {path: message}
    run.result.assert_outcomes(passed=1, failed=1)


def test_two_files_of_one_name_are_not_taken_for_one(pages: User) -> None:
    pages.pytester.makeconftest(FINDS)
    result = pages.pytest("--hardening=x.twice", "--hardening-check=nx-stack")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["app.deb/same: the name of two files: */LARGE and */SMALL"])


def test_the_first_finder_that_answers_decides(pages: User) -> None:
    pages.pytester.makepyfile(
        other_plugin="""
        def pytest_hardening_find_artifacts(path):
            return ["build/SMALL"] if path.name[0] == "x" else 5
        """
    )
    pages.pytester.makeconftest(
        "def pytest_hardening_find_artifacts(path):\n    return ['build/LARGE'] if path.suffix else None"
    )
    pages.pytester.syspathinsert()
    run = pages.run("-p", "other_plugin", "--hardening=x.y", "--hardening=x", "--hardening-check=nx-stack")
    assert set(run.verdicts) == {"build/LARGE::nx-stack", "build/SMALL::nx-stack"}
    run = pages.run("-p", "other_plugin", "--hardening=y", "--hardening-check=nx-stack")
    assert run.errors == {"y": "plugin other_plugin: pytest_hardening_find_artifacts: returned 5: expected a list"}


REPORTS = """
import json

def pytest_hardening_report(config, entries):
    assert not hasattr(config, "workerinput")
    with open(config.rootpath / "calls.jsonl", "a") as stream:
        stream.write(json.dumps(list(entries)) + "\\n")
"""


@WORKERS
def test_reporter(pages: User, workers: tuple[str, ...]) -> None:
    pages.pytester.makeconftest(REPORTS)
    run = pages.run("--hardening=build", "--hardening-check=nx-stack", *workers, subprocess=bool(workers))
    (line,) = (pages.path / "calls.jsonl").read_text().splitlines()
    assert json.loads(line) == run.document["artifacts"] != []
    pages.pytest("--hardening=build", "--collect-only")
    pages.pytest()
    assert len((pages.path / "calls.jsonl").read_text().splitlines()) == 1
    pages.pytest("--hardening=build", "--hardening-check=nx-stack")  # without a report
    assert (pages.path / "calls.jsonl").read_text().splitlines()[1] == line


def test_a_reporter_that_raises_is_told_and_the_others_are_called(pages: User) -> None:
    pages.pytester.makepyfile(
        first_plugin=REPORTS, last_plugin="def pytest_hardening_report(entries):\n    return entries[9]\n"
    )
    pages.pytester.makeconftest("def pytest_hardening_report(entries):\n    open('/no/such/file')\n")
    words = ("-p", "first_plugin", "-p", "last_plugin", "--hardening=build", "--hardening-check=nx-stack")
    result = pages.pytest(*words, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(
        [
            "conftest.py: pytest_hardening_report: raised FileNotFoundError: * (conftest.py:2)",
            "plugin last_plugin: pytest_hardening_report: raised IndexError: * (last_plugin.py:2)",
        ]
    )
    assert (pages.path / "calls.jsonl").is_file()


def test_conftest_of_a_folder_that_is_named(pages: User) -> None:
    folder = pages.path / "sub"
    folder.mkdir()
    (pages.path / "conftest.py").rename(folder / "conftest.py")
    (folder / "test_it.py").write_text("def test_it(): pass")
    run = pages.run("--hardening=build", "--hardening-check=page-size", "sub")
    assert run.having("fail") == {"build/SMALL::page-size"}


@WORKERS
def test_a_conftest_that_is_loaded_too_late_is_refused(pages: User, workers: tuple[str, ...]) -> None:
    folder = pages.path / "below/sub"
    folder.mkdir(parents=True)
    (pages.path / "conftest.py").rename(folder / "conftest.py")
    (folder / "test_it.py").write_text("def test_it(): pass")
    result = pages.pytest(*workers, subprocess=True)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if workers else pytest.ExitCode.USAGE_ERROR)
    text = "\n".join((*result.outlines, *result.errlines))
    assert "below/sub/conftest.py: pytest_hardening_checks: pytest loads this file too late" in text


def test_late_finders_and_reporters_work(pages: User) -> None:
    folder = pages.path / "below/sub"
    folder.mkdir(parents=True)
    (pages.path / "conftest.py").unlink()
    (folder / "conftest.py").write_text(FINDS + REPORTS)
    (folder / "test_it.py").write_text("def test_it(): pass")
    run = pages.run("--hardening=x.deb", "--hardening-check=nx-stack")
    assert set(run.verdicts) == {"app.deb/LARGE::nx-stack", "app.deb/SMALL::nx-stack"}
    assert (pages.path / "calls.jsonl").is_file()
