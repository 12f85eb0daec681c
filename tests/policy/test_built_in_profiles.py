"""Every built-in profile lets a hardened build through, and rejects each build that lacks one thing, for that thing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_hardening.engine import inspect
from pytest_hardening.fixtures import CompileC
from pytest_hardening.model import Artifact, ArtifactReport, Kind, Outcome
from pytest_hardening.policy.profile import Target, built_in_profiles, load_profile

from .profile_builds import BREAKS, CET, PRODUCTS, TOOLCHAINS, Break, Product, Toolchain, make, recorded, toolchain_of
from .profile_tables import PAGE, with_tables

if TYPE_CHECKING:
    from tests.conftest import ElfEditor

Made = Callable[[Toolchain, Break], Path]
Recorded = Callable[[Toolchain, Break], Artifact]

DEMANDED = [(profile, check) for profile in built_in_profiles() for check in load_profile(profile).checks]


@pytest.fixture(scope="session")
def made_before() -> dict[tuple[Toolchain, Break], Path]:
    return {}


@pytest.fixture
def made(build: CompileC, made_before: dict[tuple[Toolchain, Break], Path]) -> Made:
    """Each product is built once for all profiles."""

    def made(toolchain: Toolchain, how: Break) -> Path:
        if (toolchain, how) not in made_before:
            made_before[toolchain, how] = make(build, toolchain, how)
        return made_before[toolchain, how]

    return made


@pytest.fixture
def with_commands(made: Made) -> Recorded:
    """The same products, with the commands that made them."""
    return lambda toolchain, how: recorded(made(toolchain, how), toolchain, how)


def judged(path: Path | Artifact, profile: str) -> ArtifactReport:
    report = inspect(path, load_profile(profile)).artifact
    assert report.error is None
    return report


def rejected(report: ArtifactReport) -> set[str]:
    """The checks for which a gate without further options does not let the file through."""
    return {
        verdict.check
        for verdict in report.verdicts
        if verdict.outcome is Outcome.FAIL
        or (verdict.outcome is Outcome.UNKNOWN and report.unknown[verdict.check] == "fail")
    }


@pytest.mark.parametrize("profile", built_in_profiles())
def test_hardened_build(with_commands: Recorded, profile: str) -> None:
    """Nothing is rejected, and everything that is demanded is seen to be there in some product."""
    reports = [judged(with_commands(toolchain_of(profile), Break(product)), profile) for product in PRODUCTS]
    assert [rejected(report) for report in reports] == [set()] * len(PRODUCTS)
    passed = {v.check for report in reports for v in report.verdicts if v.outcome is Outcome.PASS}
    assert passed == set(load_profile(profile).checks)


@pytest.mark.parametrize(("profile", "check"), DEMANDED, ids=[f"{p}-{c}" for p, c in DEMANDED])
def test_build_that_lacks_one_thing(with_commands: Recorded, profile: str, check: str) -> None:
    how = BREAKS[check]
    expected = {check}
    if how.full_relro and load_profile(profile).checks["relro"]["level"] == "full":
        expected.add("relro")
    report = judged(with_commands(toolchain_of(profile), how), profile)
    assert rejected(report) == expected


def test_every_check_that_is_demanded_can_be_broken() -> None:
    assert {check for _, check in DEMANDED} <= set(BREAKS)


# What a target lacks, a profile that excepts it, one that does not, and what this one says.
UNPROBED, BTI = ("-fno-stack-clash-protection",), "-mbranch-protection=standard"
EXCEPTIONS = [
    ("gcc", "program", (CET,), ("-static", "-no-pie"), "debian", "recommended", {"pie"}),
    ("gcc -m32", "module", UNPROBED, (), "debian", "recommended", set()),
    ("gcc -m32", "module", (*UNPROBED, "-fcf-protection=none"), (), "debian", "arch", {"stack-clash", "cf-protection"}),
    ("aarch64-linux-gnu-gcc", "object", (), (), "gcc-fhardened", "debian", {"cf-protection"}),
    ("aarch64-linux-gnu-gcc", "object", (BTI,), (), "debian", "recommended", set()),
    ("aarch64-linux-gnu-gcc", "module", (BTI,), ("-Wl,-z,lazy",), "ubuntu", "recommended", {"bind-now", "relro"}),
    ("musl-gcc", "program", (CET,), ("-static", "-no-pie"), "alpine", "kms-6.7", {"pie"}),
    ("arm-linux-gnueabihf-gcc", "module", UNPROBED, (), "fedora", "debian", {"stack-clash"}),
    ("s390x-linux-gnu-gcc", "module", UNPROBED, (), "debian", "fedora", {"stack-clash"}),
    ("powerpc64le-linux-gnu-gcc", "module", UNPROBED, (), "debian", "fedora", {"stack-clash"}),
    ("riscv64-linux-gnu-gcc", "module", (), (), "debian-all", "recommended", {"relro"}),
    ("riscv64-linux-gnu-gcc", "module", (), (), "fedora", "kms-6.7", {"relro"}),
]


@pytest.mark.parametrize(
    ("compiler", "product", "compile_flags", "link_flags", "excepting", "other", "missing"),
    EXCEPTIONS,
    ids=[f"{row[4]}-{row[0].partition('-')[0]}-{row[1]}" for row in EXCEPTIONS],
)
def test_exceptions(
    build: CompileC,
    compiler: str,
    product: Product,
    compile_flags: tuple[str, ...],
    link_flags: tuple[str, ...],
    excepting: str,
    other: str,
    missing: set[str],
) -> None:
    path = make(build, Toolchain(compiler), Break(product, compile_flags, link_flags))
    assert rejected(judged(path, excepting)) == set()
    assert rejected(judged(path, other)) == missing


@pytest.mark.parametrize("profile", built_in_profiles())
def test_fortify_is_not_demanded_of_musl(made: Made, profile: str) -> None:
    report = judged(made(TOOLCHAINS["musl"], Break("module")), profile)
    found = {verdict.check: verdict for verdict in report.verdicts}
    if profile == "android":  # has a C library of its own, with these functions
        assert found["fortify"].outcome is Outcome.UNKNOWN
    elif profile != "alpine":
        assert found["fortify"].outcome is Outcome.NOT_APPLICABLE
        assert "musl's headers have no FORTIFY" in found["fortify"].summary


def test_what_unknown_does() -> None:
    x86 = Target(Kind.MODULE, "x86-64", "glibc")
    for profile in built_in_profiles():
        demands = load_profile(profile).demands(x86)
        strict = {check for check in demands.requests if demands.unknown[check] != "warn"}
        assert strict == ({"nx-stack", "sanitizers"} if profile == "plugin" else set())


def test_format_checks_are_demanded_where_commands_are_known() -> None:
    x86 = Target(Kind.MODULE, "x86-64", "glibc")
    demanding = {name for name in built_in_profiles() if "format-security" in load_profile(name).checks}
    assert demanding == {"kms-6.6", "kms-6.7", "debian", "debian-all"}
    for name in demanding:
        profile = load_profile(name)
        assert "format-security" in profile.demands(replace(x86, recorded=True)).requests
        assert "format checks leave no trace" in profile.demands(x86).dropped["format-security"]


class TestPlugin:
    """What the profile for plug-ins demands beyond the others."""

    def test_missing_stack_mark(self, made: Made, edit: Callable[[Path], ElfEditor], tmp_path: Path) -> None:
        plugin = edit(made(TOOLCHAINS["gcc"], Break("module")))
        plugin.set_segment_type(0x6474E551, 0)  # PT_GNU_STACK
        assert rejected(judged(plugin.save(tmp_path), "plugin")) == {"nx-stack"}

    def test_search_path_of_its_own(self, made: Made) -> None:
        how = Break("module", link=("-Wl,-rpath,$ORIGIN/../lib",))
        assert rejected(judged(made(TOOLCHAINS["gcc"], how), "plugin")) == set()

    def test_code_for_programs_only(self, made: Made) -> None:
        path = made(TOOLCHAINS["gcc"], Break("object", compile=("-fPIE",)))
        assert rejected(judged(path, "plugin")) == {"pic"}
        assert rejected(judged(path, "recommended")) == set()

    def test_text_relocations(self, made: Made) -> None:
        how = Break("module", compile=BREAKS["text-relocations"].compile, link=BREAKS["text-relocations"].link)
        assert rejected(judged(made(TOOLCHAINS["gcc"], how), "plugin")) == {"pic", "text-relocations"}

    def test_perhaps_instrumented(self, made: Made) -> None:
        """A stripped file with coverage counters names what their library reads, and no more: unknown, and refused."""
        how = Break("module", compile=("--coverage",), link=("--coverage", "-s"))
        report = judged(made(TOOLCHAINS["gcc"], how), "plugin")
        unknown = {verdict.check for verdict in report.verdicts if verdict.outcome is Outcome.UNKNOWN}
        assert "sanitizers" in unknown & rejected(report)


@pytest.mark.parametrize("profile", built_in_profiles())
def test_every_line_names_its_source(profile: str) -> None:
    text = files("pytest_hardening").joinpath(f"policy/profiles/{profile}.toml").read_text("utf-8")
    assert text.startswith("# ")
    general = text.partition("[[when]]")[0].partition("[checks]\n")[2].splitlines()
    lines = [line for line in general if " = " in line and not line.startswith("#") and not line.endswith("[")]
    assert lines
    lines += [line for line in text.splitlines() if line.startswith("[[when]]")]
    assert [line for line in lines if not re.search(r"  # \S", line)] == []


def test_page_of_the_profiles() -> None:
    page = PAGE.read_text("utf-8")
    assert with_tables(page) == page
    assert re.findall(r"^\*\*([\w.-]+)\*\* - ", page, re.MULTILINE) == list(built_in_profiles())
