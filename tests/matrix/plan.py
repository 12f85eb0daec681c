"""What is built: every mitigation taken away, by every toolchain, from all units, from one, from one in an archive.

The full product of the dimensions would be a hundred thousand files. The choice, which is the same on every run:

- every toolchain x every mitigation that it has x {all units, one unit, one unit in an archive} is built;
- a mitigation can be taken away in several forms (switched off, not asked for, a lower level, -O0): the first two
  toolchains build all of them, each other one builds one, another one each;
- optimisation, debug information, explicit or default flags and the position of the culprit rotate;
- for all units, program and library are built; for one unit, one of the two in turn; each as linked and stripped;
- the objects and archives that hold a culprit are judged too, and some that hold none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from .toolchains import TOOLCHAINS, Toolchain

__all__ = ["GROUPS", "Assembly", "Scenario", "Scope", "scenarios"]

Scope = Literal["none", "all", "unit", "archive"]
Flags = tuple[str, ...]

#: One pytest item per toolchain and group.
GROUPS = (
    "base",
    "stack-protector",
    "fortify",
    "cf-protection",
    "stack-clash",
    "pic",
    "link",
    "sections",
    "recorded",
    "mixed",
)

_TURNS: tuple[tuple[str, bool], ...] = (
    ("-O2", True),
    ("-O2", False),
    ("-O1", True),
    ("-Os", False),
    ("-O3", True),
    ("-O0", False),
    ("-O3", False),
    ("-O0", True),
    ("-Os", True),
)


class Assembly(NamedTuple):
    """A unit of assembly in the link: its name, the archive that it goes into or "", and see `sources.assembly`."""

    name: str
    archived: bool
    note: bool
    writable: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """One build of the project.

    Parameters
    ----------
    flags: of the compile steps, by feature. off: those that the affected units get instead.
    scope: which units are affected; turn: a number that rotates what is free.
    link: flags of the link step by feature.
    products: which of "library" and "program" are linked.
    parameters: of checks, where the strictest ones are not meant.
    other: the toolchain that compiles the affected units, with `off` for all flags.
    """

    toolchain: Toolchain
    group: str
    name: str
    scope: Scope
    turn: int
    flags: Mapping[str, Flags]
    off: Mapping[str, Flags] = field(default_factory=dict)
    link: Mapping[str, Flags] = field(default_factory=dict)
    assembly: Assembly | None = None
    products: tuple[str, ...] = ("library", "program")
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    other: Toolchain | None = None

    @property
    def title(self) -> str:
        return f"{self.toolchain.name}/{self.name}/{self.scope}"

    @property
    def affected(self) -> str:
        """The letters of the units that get `off`."""
        pairs = {"none": (), "all": ("ABCDEFGH",), "unit": ("CD", "GH"), "archive": ("AB", "EF")}[self.scope]
        return "".join(pair if self.scope == "all" else pair[self.turn % 2] for pair in pairs)

    @property
    def debug(self) -> bool:
        return bool(self.flags["debug"])


class _Form(NamedTuple):
    """A way to lose a mitigation: its name, the feature, the flags instead, and what the check is asked."""

    name: str
    off: Mapping[str, Flags]
    fortify: int = 2
    parameters: Mapping[str, Mapping[str, Any]] = {}


def _forms(toolchain: Toolchain, group: str) -> tuple[_Form, ...]:
    """The forms that a toolchain has, in a group of mitigations of the compile step."""
    x86, gcc = toolchain.is_x86, toolchain.family == "gcc"
    if toolchain.family == "tcc":
        return ()
    if group == "stack-protector":
        return (
            _Form("stack-protector off", {group: ("-fno-stack-protector",)}),
            _Form("stack-protector absent", {group: ()}),
        )
    if group == "stack-clash":
        return (
            _Form("stack-clash off", {group: ("-fno-stack-clash-protection",)}),
            _Form("stack-clash absent", {group: ()}),
        )
    if group == "fortify":
        levels = toolchain.fortify_levels
        forms = [_Form("fortify off", {group: ("-U_FORTIFY_SOURCE",)}), _Form("fortify O0", {"optimize": ("-O0",)})]
        if levels and not (toolchain.cplusplus and toolchain.family == "clang"):
            forms.append(_Form("fortify 1", {group: ("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=1")}))
        if 3 in levels:
            lower = {group: ("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2")}
            forms.append(_Form("fortify 2 of 3", lower, 3, {"fortify": {"level": 3}}))
        return tuple(forms)
    if group == "cf-protection" and x86 and not (toolchain.lto and gcc):  # GCC refuses to link bytecode that differs
        return (
            _Form("cf-protection off", {group: ("-fcf-protection=none",)}),
            _Form("cf-protection absent", {group: ()}),
            _Form("cf-protection branch", {group: ("-fcf-protection=branch",)}),
        )
    if group == "cf-protection" and toolchain.machine == "aarch64":
        return (
            _Form("cf-protection off", {group: ("-mbranch-protection=none",)}),
            _Form("cf-protection absent", {group: ()}),
            _Form("cf-protection bti", {group: ("-mbranch-protection=bti",)}),
        )
    if group == "pic" and toolchain.link == "dynamic" and not toolchain.lto:
        return (_Form("pic absolute", {"position": toolchain.absolute}),)
    if group == "recorded":
        return _recorded(toolchain)
    return ()


def _recorded(toolchain: Toolchain) -> tuple[_Form, ...]:
    """What shows in recorded flags, if at all."""
    forms = [_Form("optimization off", {"optimize": ("-O0",)})]
    if "-11" not in toolchain.command[0]:
        asked = {"recorded-flags": {"with_flags": ["-ftrivial-auto-var-init=pattern"]}}
        forms.append(_Form("auto-var-init off", {"auto-var-init": ()}, parameters=asked))
    if toolchain.command[0] not in ("clang-14", "clang++-14"):
        forms.append(_Form("zero-call-used-regs off", {"zero-call-used-regs": ()}))
    if toolchain.command[0] == "clang-19":
        forms.append(_Form("strict-flex-arrays off", {"strict-flex-arrays": ()}))
    if toolchain.cplusplus:
        forms.append(_Form("glibcxx-assertions off", {"glibcxx-assertions": ()}))
    if (
        toolchain.link == "dynamic"
        and toolchain.libc == "glibc"
        and toolchain.machine == "x86-64"
        and not toolchain.lto
    ):
        forms.append(_Form("sanitizers undefined", {"sanitizers": ("-fsanitize=undefined",)}))
        forms.append(_Form("sanitizers address", {"sanitizers": ("-fsanitize=address",)}))
    return tuple(forms)


def scenarios(toolchain: Toolchain, group: str) -> Iterator[Scenario]:
    """The builds of one toolchain and one group, in a fixed order."""
    number = TOOLCHAINS.index(toolchain)
    if group == "base":
        for turn in range(number, number + 3):
            yield _scenario(toolchain, group, "everything on", "none", turn)
        return
    if group in ("link", "sections"):
        yield from (_link_scenarios if group == "link" else _section_scenarios)(toolchain, number)
        return
    if group == "mixed":
        yield from _mixed_scenarios(toolchain, number)
        return
    forms = _forms(toolchain, group)
    if number not in (0, 3) and forms and group != "fortify":
        forms = (forms[number % len(forms)],)
    elif number not in (0, 3):
        forms = (*forms[:1], *((forms[1 + number % (len(forms) - 1)],) if forms[1:] else ()))
    for place, form in enumerate(forms):
        turn = number + place + GROUPS.index(group)
        if group == "fortify":
            while _TURNS[turn % len(_TURNS)][0] == "-O0":  # which switches it off for all units
                turn += 2
        for scope in ("all", "unit", "archive"):
            products = ("library", "program") if scope == "all" else (("library", "program")[(turn + len(scope)) % 2],)
            yield _scenario(
                toolchain, group, form.name, scope, turn, form.off, products=products, fortify=form.fortify,
                parameters=form.parameters,
            )  # fmt: skip


def _link_scenarios(toolchain: Toolchain, number: int) -> Iterator[Scenario]:
    """What the link step alone decides."""
    forms: list[tuple[str, Mapping[str, Flags]]] = [
        ("link defaults", {"relro": (), "now": (), "stack": (), "separate-code": ()}),
    ]
    if toolchain.linker != "tcc":
        forms += [
            ("relro off", {"relro": ("-Wl,-z,norelro",)}),
            ("relro partial", {"now": ("-Wl,-z,lazy",)}),
            ("relro and now off", {"relro": ("-Wl,-z,norelro",), "now": ("-Wl,-z,lazy",)}),
            ("execstack", {"stack": ("-Wl,-z,execstack",)}),
            ("rpath", {"rpath": ("-Wl,-rpath,/tmp/lib",)}),
            ("rpath origin", {"rpath": ("-Wl,-rpath,$ORIGIN/../lib",)}),
        ]
        if toolchain.link == "dynamic":
            forms.append(("pie off", {"kind": ("-no-pie",)}))
        elif toolchain.link == "static-pie":
            forms.append(("pie off", {"kind": ("-static", "-no-pie")}))
        if toolchain.link == "static" and (toolchain.linker == "lld" or toolchain.libc == "musl"):
            forms.append(("omagic", {"omagic": ("-Wl,-N",)}))  # with it, GNU ld cannot link glibc
        if toolchain.linker != "gold":
            forms.append(("separate-code off", {"separate-code": ("-Wl,-z,noseparate-code",)}))
    for place, (name, link) in enumerate(forms):
        products = ("program",) if name in ("pie off", "omagic") else ("library", "program")
        yield _scenario(toolchain, "link", name, "none", number + place, link=link, products=products)


def _section_scenarios(toolchain: Toolchain, number: int) -> Iterator[Scenario]:
    """Hand-written assembly that spoils the stack or the segments of all."""
    if toolchain.family == "tcc":  # its assembler is another language
        return
    for place, writable in enumerate((False, True)):
        word = "rwx-segments" if writable else "nx-stack"
        for archived in (False, True):
            unit = Assembly("patch" if writable else "gate", archived, note=writable, writable=writable)
            link = {"stack": ()}
            product = ("library", "program")[(number + place + archived) % 2]
            yield _scenario(
                toolchain, "sections", f"{word} assembly{' in an archive' if archived else ''}", "none", number + place,
                link=link, assembly=unit, products=(product,),
            )  # fmt: skip


#: Who compiles the project, who one unit of it, and which of the mitigations of the code that one gets.
_MIXED = (
    ("gcc-12", "clang-14", ()),
    ("gcc-12", "clang-19", ("stack-protector", "fortify", "stack-clash", "cf-protection")),
    ("gcc-12", "tcc", ()),
    ("gcc-11", "gcc-12", ()),
    ("clang-14", "gcc-12", ()),
    ("clang-19", "gcc-11", ("stack-protector", "fortify", "stack-clash", "cf-protection")),
    ("clang-19-lld", "clang-14", ("fortify",)),
    ("gcc-12-gold", "clang-19", ("stack-protector",)),
)


def _mixed_scenarios(toolchain: Toolchain, number: int) -> Iterator[Scenario]:
    """One unit of another compiler, protected or not."""
    for place, (name, guest, protected) in enumerate(_MIXED):
        if name != toolchain.name:
            continue
        other = next(other for other in TOOLCHAINS if other.name == guest)
        for scope in ("unit", "archive"):
            turn = number + place
            optimize, debug = _TURNS[turn % len(_TURNS)]
            optimize = "-O2" if optimize == "-O0" else optimize
            every = _base_flags(other, optimize, debug, 2, recorded=False)
            flags = {key: value for key, value in every.items() if key in (*protected, "optimize", "debug")}
            if other.family == "tcc":
                flags.pop("optimize", None)
            scenario = _scenario(
                toolchain, "mixed", f"one unit by {guest}", scope, turn, flags,
                products=("program",) if other.family == "tcc" else (("library", "program")[(turn + len(scope)) % 2],),
                link={"stack": ()},
            )  # fmt: skip
            yield replace(scenario, other=other)


def _scenario(
    toolchain: Toolchain,
    group: str,
    name: str,
    scope: Scope,
    turn: int,
    off: Mapping[str, Flags] | None = None,
    *,
    link: Mapping[str, Flags] | None = None,
    assembly: Assembly | None = None,
    products: tuple[str, ...] = ("library", "program"),
    fortify: int = 2,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> Scenario:
    optimize, debug = _TURNS[turn % len(_TURNS)]
    if toolchain.lto and optimize == "-O0":  # bytecode of -O0 is not optimised at link time either
        optimize = "-O2"
    if toolchain.link != "dynamic":
        products = ("program",)
    off = dict(off or {})
    flags = _base_flags(toolchain, optimize, debug, fortify, recorded=group == "recorded")
    extra: dict[str, Flags] = {}
    if "position" in off:
        extra["text"] = ("-Wl,-z,notext",)
        products = tuple(product for product in products if product in toolchain.absolute_products)
    if sanitizer := off.get("sanitizers"):
        extra["sanitizers"] = sanitizer  # the driver links its runtime library, which clang has in another package
        products = products if toolchain.family == "gcc" else ()
    linking = {**_base_link(toolchain), **extra, **(link or {})}
    return Scenario(
        toolchain, group, name, scope, turn, flags, off, linking, assembly, products, dict(parameters or {})
    )


def _base_flags(toolchain: Toolchain, optimize: str, debug: bool, fortify: int, recorded: bool) -> dict[str, Flags]:
    """Everything on, as far as the compiler has it."""
    flags: dict[str, Flags] = {"optimize": (optimize,), "debug": ("-g",) if debug else ()}
    if toolchain.family == "tcc":
        return {"debug": flags["debug"]}
    flags["fortify"] = ("-U_FORTIFY_SOURCE", f"-D_FORTIFY_SOURCE={fortify}")
    flags["stack-protector"] = ("-fstack-protector-strong",)
    flags["stack-clash"] = ("-fstack-clash-protection",)
    if toolchain.is_x86:
        flags["cf-protection"] = ("-fcf-protection=full",)
    if toolchain.machine == "aarch64":
        flags["cf-protection"] = ("-mbranch-protection=standard",)
    if toolchain.lto:
        flags["lto"] = ("-flto",)
    if recorded:
        names = {form.name.partition(" ")[0] for form in _recorded(toolchain)}
        every: dict[str, Flags] = {
            "auto-var-init": ("-ftrivial-auto-var-init=pattern",),  # clang 14 wants another switch for zero
            "zero-call-used-regs": ("-fzero-call-used-regs=used-gpr",),
            "strict-flex-arrays": ("-fstrict-flex-arrays=3",),
            "glibcxx-assertions": ("-D_GLIBCXX_ASSERTIONS",),
        }
        flags.update({name: value for name, value in every.items() if name in names})
    return flags


def _base_link(toolchain: Toolchain) -> dict[str, Flags]:
    """Everything on; "kind" is the program's, a library is linked with -shared."""
    if toolchain.linker == "tcc":
        return {"kind": ()}
    separate: Flags = () if toolchain.linker == "gold" else ("-Wl,-z,separate-code",)
    return {
        "kind": {"dynamic": ("-pie",), "static": ("-static",), "static-pie": ("-static-pie",)}[toolchain.link],
        "relro": ("-Wl,-z,relro",),
        "now": ("-Wl,-z,now",),
        "stack": ("-Wl,-z,noexecstack",),
        "separate-code": separate,
    }
