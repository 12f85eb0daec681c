"""Programs of units of one role each: one unit of them without one mitigation, the others with all.

Whether a unit differs at all without a mitigation is asked of the compiler: where its assembly is the same with and
without, nothing is built.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pytest_hardening.model import Outcome

from .build import BuiltUnit
from .languages import Program
from .roles import HEAD, MAIN, ROLES, Role
from .store import Store
from .toolchains import TOOLCHAINS, Toolchain
from .truth import Expectation

__all__ = ["SETTINGS", "Setting", "role_programs", "roles_of"]

_ON = {
    "stack-protector": ("-fstack-protector-strong",),
    "fortify": ("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"),
    "stack-clash": ("-fstack-clash-protection",),
}
_OFF = {
    "stack-protector": ("-fno-stack-protector",),
    "fortify": ("-U_FORTIFY_SOURCE",),
    "stack-clash": ("-fno-stack-clash-protection",),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """How the programs of a toolchain are built, and of which roles; none: a third of all, another for each setting."""

    toolchain: Toolchain
    optimize: str
    debug: bool = False
    static: bool = False
    roles: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        words = (self.toolchain.name, self.optimize, "-g" if self.debug else "", "static" if self.static else "")
        return " ".join(filter(None, words))

    def flags(self, without: str = "") -> tuple[str, ...]:
        features = {**_ON, **({without: _OFF[without]} if without else {})}
        return (self.optimize, "-fPIE", *(word for words in features.values() for word in words))


_OK = Expectation("ok")
_GOOD = frozenset({Outcome.PASS, Outcome.NOT_APPLICABLE})
_BAD = frozenset({Outcome.FAIL})

# Where code alone proves that something is missing. An array that is given to a function of the C library:
_PROVEN_ARRAYS = frozenset("sprint snprint copied input line folder target".split())
# Plain functions that FORTIFY always replaces, and those that it replaces because of their format:
_ALWAYS_REPLACED = frozenset("report tail jumps".split())
_REPLACED_BY_FORMAT = frozenset("sprint snprint global_text".split())
# What only glibc's inline functions check, which clang leaves (see `truth.py`):
_LEFT_BY_CLANG = frozenset("folder input line target".split())
# Where GCC makes debug information of no array, or clang places a canary for the address of a local alone:
_NO_ARRAY = frozenset("address given returned_some sized".split())
# called like the C library's functions, or local and perhaps the unit's last one
_ENDS_OWN_CODE = frozenset("division strings local pointed static_search unwinder starts".split())
_COPIES_BY_REFERENCE = ("aarch64", "arm", "riscv64", "s390x")
_COMPUTED = frozenset("sized given".split())
_UNPROBED = frozenset("sixteen huge".split())  # whatever the flags, where the compiler has no code for them

_PLAIN_CALL = "a plain call whose size the compiler may have known to fit: only -D tells, which nothing records"
_USER_FUNCTION = "an address given to a function of the program may be that of a parameter or of a copy"
_STATIC = "static: without -g the C library's functions, or C++, are not told from the program's"
_LIBRARY_NAME = "static: what stands behind a function that may be the C library's is not certainly the program's"
_NEVER_RETURNS = "the function never returns: clang places no canary in it, and GCC one that nothing checks"
_COPY = "the copy of a structure that is passed by value is no local"
_NO_PROBES = "GCC 12 has no code for probes on RISC-V"
_GROWS = "a size made at run time is touched by code that may also be written by hand"


def _truth_with(setting: Setting, name: str, check: str, unit: BuiltUnit) -> Expectation:
    """What is true of a program whose units all have everything."""
    toolchain = setting.toolchain
    if check == "stack-clash" and toolchain.machine == "riscv64":
        return Expectation("violation", (unit,)) if name in _UNPROBED else _told(_NO_PROBES, _GOOD)
    if check == "fortify" and toolchain.family == "clang" and name in _LEFT_BY_CLANG:
        return _told(_PLAIN_CALL, _GOOD)
    if check == "stack-protector" and name == "value" and toolchain.machine in _COPIES_BY_REFERENCE:
        return _told(_COPY, _GOOD)
    if check == "stack-protector" and name == "last":
        return _told(_NEVER_RETURNS, _GOOD)
    if setting.static and not setting.debug and name in _ENDS_OWN_CODE:
        return _told(_LIBRARY_NAME, _GOOD)
    return _OK


def _truth_without(setting: Setting, name: str, check: str, unit: BuiltUnit, *, stripped: bool) -> Expectation:
    """What is true of a program one unit of which is without a mitigation; never that it has it."""
    toolchain = setting.toolchain
    seen = setting.debug and not stripped
    reason = ""
    if setting.static and not seen and (stripped or check == "fortify" or name in _ENDS_OWN_CODE):
        reason = _STATIC
    elif check == "stack-protector":
        clang_places = toolchain.family == "clang" and name in _NO_ARRAY
        reason = "" if name in _PROVEN_ARRAYS or (seen and not clang_places) else _USER_FUNCTION
    elif check == "fortify":
        by_format = name in _REPLACED_BY_FORMAT and toolchain.machine != "arm"  # whose constants are not followed
        reason = "" if name in _ALWAYS_REPLACED or by_format else _PLAIN_CALL
    elif name in _COMPUTED or (name == "page" and toolchain.machine == "x86"):
        reason = _GROWS
    elif toolchain.machine == "riscv64" and name not in _UNPROBED:
        reason = _NO_PROBES
    return _told(reason, _BAD, unit) if reason else Expectation("violation", (unit,))


def _told(reason: str, accepted: frozenset[Outcome], *units: BuiltUnit) -> Expectation:
    return Expectation("cannot-be-told", units, accepted, reason)


def _checks(setting: Setting, role: Role) -> Iterator[str]:
    """The mitigations that tell in a setting: FORTIFY needs optimisation and glibc."""
    for check in role.checks:
        if check != "fortify" or (setting.optimize != "-O0" and setting.toolchain.libc == "glibc"):
            yield check


def _text(name: str) -> str:
    return HEAD + (MAIN if name == "main" else ROLES[name].text)


def assembly(store: Store, setting: Setting, name: str, without: str = "") -> str:
    """What the compiler makes of a role."""
    file = name + setting.toolchain.suffix
    argv = (*setting.toolchain.command, *setting.flags(without), "-w", "-S", file, "-o", "-")
    return store.answer(argv, ((file, _text(name)),))


def _is_placed(check: str, text: str) -> bool:
    """Whether the assembly shows that the compiler did what it was asked for; stack probes only differ."""
    if check == "stack-protector":
        return "__stack_chk_fail" in text
    return check != "fortify" or re.search(r"\b__(?!stack)\w+_chk\b", text) is not None


def _compile(store: Store, setting: Setting, name: str, without: str = "") -> BuiltUnit:
    """An object; without debug information of the assembly that is compared anyway, which takes half the time."""
    debug = ("-g",) if setting.debug else ()
    file = name + setting.toolchain.suffix
    argv = (*setting.toolchain.command, *setting.flags(without), *debug, "-c", file, "-o", f"{name}.o")
    if setting.debug:
        path = store.product(f"{name}.o", (), ((file, _text(name)),), argv)
    else:
        text = (f"{name}.s", assembly(store, setting, name, without))
        path = store.product(f"{name}.o", (), (text,), (*setting.toolchain.command, "-c", text[0], "-o", f"{name}.o"))
    functions = () if name == "main" else ROLES[name].functions
    return BuiltUnit(file, setting.toolchain, functions, path, shlex.join(argv), None)


def role_programs(store: Store, setting: Setting, names: Iterable[str] = ROLES) -> Iterator[Program]:
    """All of one setting: a program for each role, and one for each mitigation that its unit can be without."""
    main = _compile(store, setting, "main")
    for name in names:
        checks = tuple(_checks(setting, ROLES[name]))
        if not checks:
            continue
        unit = _compile(store, setting, name)
        for stripped in (False, True):
            truth = {check: _truth_with(setting, name, check, unit) for check in checks}
            if setting.static and stripped:
                truth = {check: _told(_STATIC, _GOOD) if known == _OK else known for check, known in truth.items()}
            yield _linked(store, setting, name, (main, unit), truth, stripped=stripped)
        whole = assembly(store, setting, name)
        for check in checks:
            if not _is_placed(check, whole) or assembly(store, setting, name, check) == whole:
                continue
            unit = _compile(store, setting, name, check)
            for stripped in (False, True):
                truth = {check: _truth_without(setting, name, check, unit, stripped=stripped)}
                yield _linked(store, setting, f"{name} without {check}", (main, unit), truth, stripped=stripped)


def _linked(
    store: Store,
    setting: Setting,
    title: str,
    units: tuple[BuiltUnit, ...],
    truth: dict[str, Expectation],
    *,
    stripped: bool,
) -> Program:
    toolchain = setting.toolchain
    kind = "-static" if setting.static else "-pie"
    argv = (*toolchain.command, *toolchain.link_flags, kind, "-Wl,-z,relro,-z,now", "-o", "PROGRAM",
            *(unit.object for unit in units))  # fmt: skip
    path = store.product("PROGRAM", [(unit.object, unit.path) for unit in units], (), argv)
    commands = (*(unit.command for unit in units), shlex.join(argv))
    title = f"{setting.title}/{title}"
    if not stripped:
        return Program(title, path, truth, units, False, commands)
    path = store.product("PROGRAM", [("linked", path)], (), (toolchain.strip, "-o", "PROGRAM", "linked"))
    return Program(f"{title} stripped", path, truth, units, True, commands)


def roles_of(setting: Setting) -> tuple[str, ...]:
    """All roles for the first setting; for each other one a third, another third for the next."""
    place = SETTINGS.index(setting)
    return setting.roles or tuple(name for number, name in enumerate(ROLES) if place == 0 or number % 3 == place % 3)


def _variant(name: str, flag: str) -> Toolchain:
    toolchain = _BY_NAME[name]
    return replace(toolchain, name=f"{name}{flag}", command=(*toolchain.command, flag))


_AMONG_THE_LIBRARIES = "unwinder static_search division strings local sprint report tail_memory huge"
# what older and newer processors change
_ON_OTHER_PROCESSORS = "sprint memory fill copied tail_memory leaf returned_some sized page huge"
_BY_NAME = {toolchain.name: toolchain for toolchain in TOOLCHAINS}
#: What is built of them; all together takes about a minute.
SETTINGS = tuple(
    Setting(_BY_NAME[name], optimize, debug, static)
    for name, optimize, debug, static in (
        ("gcc-12", "-O2", False, False),
        ("gcc-12", "-Os", True, False),
        ("gcc-12", "-O2", True, True),
        ("clang-14", "-O2", True, False),
        ("clang-19", "-O2", False, False),
        ("gcc-12-m32", "-O2", True, False),
        ("gcc-12-m32", "-Os", False, False),
        ("aarch64", "-Os", False, False),
        ("aarch64", "-O2", False, False),
        ("aarch64", "-O2", True, True),
        ("armhf", "-Os", False, False),
        ("ppc64le", "-O2", False, False),
        ("ppc64le", "-O0", True, True),
        ("s390x", "-O2", False, False),
        ("s390x", "-Os", True, False),
        ("riscv64", "-O2", False, False),
        ("riscv64", "-O0", False, False),
        ("musl", "-O2", False, False),
    )
)
SETTINGS += tuple(
    Setting(_BY_NAME[name], "-O2", static=True, roles=tuple(_AMONG_THE_LIBRARIES.split()))
    for name in ("gcc-12", "clang-14")
)
SETTINGS += tuple(
    Setting(_variant(name, flag), "-O2", debug, roles=tuple(_ON_OTHER_PROCESSORS.split()))
    for name, flag, debug in (
        ("ppc64le", "-mcpu=power10", False),
        ("s390x", "-march=z9-109", True),
        ("armhf", "-marm", False),
    )
)
