"""Which of the options that a distribution asks for are in force in a command."""

from __future__ import annotations

import pytest

from pytest_hardening.checks.required_flags import missing_in_compile, missing_in_link

FORTIFY, STRONG = "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong"
FORMAT = ("-Wformat", "-Werror=format-security")
NOT_OPTIMISED = (f"-O2, as {FORTIFY} does nothing without,",)


@pytest.mark.parametrize(
    ("given", "wanted", "missing"),
    [
        ("-O2 -D_FORTIFY_SOURCE=2", (FORTIFY,), ()),
        ("-O2 -D_FORTIFY_SOURCE=3", (FORTIFY,), ()),
        ("-O2 -D _FORTIFY_SOURCE=2", (FORTIFY,), ()),
        ("-O2 -Wp,-D_FORTIFY_SOURCE=2", (FORTIFY,), ()),
        ("-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2", (FORTIFY,), ()),
        ("-O2 -D_FORTIFY_SOURCE=2 -U_FORTIFY_SOURCE", (FORTIFY,), (FORTIFY,)),
        ("-O2 -D_FORTIFY_SOURCE=2 -D_FORTIFY_SOURCE=0", (FORTIFY,), (FORTIFY,)),
        ("-O2 -D_FORTIFY_SOURCE", (FORTIFY,), (FORTIFY,)),
        ("-O2 -D_FORTIFY_SOURCE=x", (FORTIFY,), (FORTIFY,)),
        ("-O2", (FORTIFY,), (FORTIFY,)),
        ("-D_FORTIFY_SOURCE=2", (FORTIFY,), NOT_OPTIMISED),
        ("-O2 -D_FORTIFY_SOURCE=2 -O0", (FORTIFY,), NOT_OPTIMISED),
        ("-O2 -D_FORTIFY_SOURCE=2 -Og", (FORTIFY,), ()),
        ("-fstack-protector-strong", (STRONG,), ()),
        ("-fstack-protector-all", (STRONG,), ()),
        ("-fstack-protector-strong -fno-stack-protector", (STRONG,), (STRONG,)),
        ("-fstack-protector", (STRONG,), (STRONG,)),
        ("-fno-stack-protector -fstack-protector-strong", (STRONG,), ()),
        ("-Wformat -Werror=format-security", FORMAT, ()),
        ("-Wall -Werror=format-security", FORMAT, ()),
        ("-Wformat=2 -Werror", FORMAT, ()),
        ("-Wall", FORMAT, ("-Werror=format-security",)),
        ("-Werror=format-security", FORMAT, ("-Wformat",)),
        ("-Wformat -Werror=format-security -Wno-format-security", FORMAT, ("-Werror=format-security",)),
        ("-Wformat -Werror=format-security -w", FORMAT, ("-Werror=format-security",)),
        ("", FORMAT, FORMAT),
        ("-fcf-protection=full", ("-fcf-protection",), ()),
        ("-fcf-protection -fcf-protection=none", ("-fcf-protection",), ("-fcf-protection",)),
        ("-fstack-clash-protection", ("-fstack-clash-protection",), ()),
        ("-fno-stack-clash-protection", ("-fstack-clash-protection",), ("-fstack-clash-protection",)),
        ("", ("-fstack-clash-protection",), ("-fstack-clash-protection",)),
    ],
)
def test_compile(given: str, wanted: tuple[str, ...], missing: tuple[str, ...]) -> None:
    assert tuple(missing_in_compile(given.split(), wanted, "gcc")) == missing


def test_clang_needs_the_error_alone() -> None:
    assert not list(missing_in_compile(["-Werror=format-security"], FORMAT, "clang"))


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("-Wl,-z,relro -Wl,-z,now", ()),
        ("-Wl,-z,relro,-z,now", ()),
        ("-Wl,-z -Wl,relro -Wl,-znow", ()),
        ("-z relro -znow", ()),
        ("-Xlinker -z -Xlinker relro -Xlinker -z -Xlinker now", ()),
        ("-Wl,-z,now", ("-Wl,-z,relro",)),
        ("-Wl,-z,relro -Wl,-z,now -Wl,-z,norelro", ("-Wl,-z,relro",)),
        ("-Wl,-z,relro -Wl,-z,now -Wl,-z,lazy", ("-Wl,-z,now",)),
        ("-Wl,-z,lazy -Wl,-z,relro -Wl,-z,now", ()),
        ("relro now", ("-Wl,-z,relro", "-Wl,-z,now")),
    ],
)
def test_link(given: str, missing: tuple[str, ...]) -> None:
    assert tuple(missing_in_link(given.split(), ("-Wl,-z,relro", "-Wl,-z,now"))) == missing


def test_other_linker_options() -> None:
    assert not list(missing_in_link(["-Wl,-Bsymbolic-functions"], ["-Wl,-Bsymbolic-functions"]))
    assert list(missing_in_link(["-Wl,-z,now"], ["-specs=/x", "-Wl,-O1"])) == ["-specs=/x", "-Wl,-O1"]
