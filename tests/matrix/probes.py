"""What a toolchain really does with given flags: asked of compiler and linker themselves, never of the binary."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import pairwise

from .store import Store
from .toolchains import Toolchain

__all__ = ["CompileTruth", "LinkTruth", "can_mark", "compile_truth", "link_truth"]


@dataclass(frozen=True, slots=True)
class CompileTruth:
    """The mitigations in effect in one unit.

    Parameters
    ----------
    stack_protector: "", "plain", "strong" or "all": __SSP__, __SSP_STRONG__, __SSP_ALL__.
    fortify: the level: __USE_FORTIFY_LEVEL of <features.h>, which is 0 without optimisation whatever the flags.
    optimized: __OPTIMIZE__.
    position: "absolute", "pie" or "pic": __PIC__, __PIE__.
    control_flow: both halves of it: __CET__ is 3; __ARM_FEATURE_BTI_DEFAULT and __ARM_FEATURE_PAC_DEFAULT.
    landing_pads: the half of it that shows in code.
    stack_clash, auto_init: gcc -Q --help=common, clang -###.
    zero_registers, flexible_arrays, sanitizers: what the flags say; no compiler here has them on by itself.
    assertions: _GLIBCXX_ASSERTIONS.
    """

    stack_protector: str = ""
    fortify: int = 0
    optimized: bool = False
    position: str = "pic"
    control_flow: bool = False
    landing_pads: bool = False
    stack_clash: bool = False
    auto_init: bool = False
    zero_registers: bool = False
    flexible_arrays: bool = False
    sanitizers: tuple[str, ...] = ()
    assertions: bool = False


@dataclass(frozen=True, slots=True)
class LinkTruth:
    """What the linker was asked to do, its defaults filled in."""

    pie: bool
    shared: bool
    static: bool
    relro: bool
    now: bool
    stack: str  # "executable", "not-executable", or "inputs" where the inputs decide
    omagic: bool
    separate_code: bool
    rpath: tuple[str, ...]
    linker: str
    build_id: int = 0  # its size in bytes


def compile_truth(store: Store, toolchain: Toolchain, flags: tuple[str, ...]) -> CompileTruth:
    """What the compiler does with these flags."""
    if toolchain.family == "tcc":  # it has no option for any of them, and its code is position-independent on x86-64
        return CompileTruth()
    unit = f"probe{toolchain.suffix}"
    text = ((unit, "#include <features.h>\n"),)
    macros = _macros(store.answer((*toolchain.command, *flags, "-w", "-dM", "-E", unit), text))
    options = _options(store, toolchain, flags, text)
    protector = (("__SSP_ALL__", "all"), ("__SSP_STRONG__", "strong"), ("__SSP__", "plain"))
    wanted = {word.partition("=")[0]: word.partition("=")[2] for word in flags if "=" in word}
    x86, arm = int(macros.get("__CET__", "0")), "__ARM_FEATURE_BTI_DEFAULT" in macros
    return CompileTruth(
        stack_protector=next((name for macro, name in protector if macro in macros), ""),
        fortify=int(macros.get("__USE_FORTIFY_LEVEL", "0")),
        optimized="__OPTIMIZE__" in macros,
        position="pie" if "__PIE__" in macros else "pic" if "__PIC__" in macros else "absolute",
        control_flow=x86 == 3 or (arm and "__ARM_FEATURE_PAC_DEFAULT" in macros),
        landing_pads=bool(x86 & 1) or arm,
        stack_clash=options["stack-clash"],
        auto_init=options["auto-init"],
        zero_registers=wanted.get("-fzero-call-used-regs", "skip") != "skip",
        flexible_arrays=wanted.get("-fstrict-flex-arrays", "0") != "0",
        sanitizers=tuple(word.partition("=")[2] for word in flags if word.startswith("-fsanitize=")),
        assertions="_GLIBCXX_ASSERTIONS" in macros,
    )


def _macros(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        if word == "#define":
            found[name] = value
        elif word == "#undef":
            found.pop(name, None)
    return found


def _options(
    store: Store, toolchain: Toolchain, flags: tuple[str, ...], text: tuple[tuple[str, str], ...]
) -> dict[str, bool]:
    """Options for which there is no macro."""
    if toolchain.family == "clang":
        line = store.answer((*toolchain.command, *flags, "-w", "-###", "-c", text[0][0]), text)
        return {"stack-clash": '"-fstack-clash-protection"' in line, "auto-init": '"-ftrivial-auto-var-init=' in line}
    listing = store.answer((*toolchain.command, *flags, "-w", "-Q", "--help=common"))
    return {
        "stack-clash": bool(re.search(r"-fstack-clash-protection\s+\[enabled\]", listing)),
        "auto-init": bool(re.search(r"-ftrivial-auto-var-init=\S*\s+(zero|pattern)", listing)),
    }


def link_truth(store: Store, toolchain: Toolchain, flags: tuple[str, ...]) -> LinkTruth:
    """What the linker does: the command line that the driver writes for it, over its defaults.

    The defaults: GNU ld and gold print theirs with --help; those of lld are in its manual page (ld.lld(1): -z relro, no
    -z now, separate code none but code in a segment of its own).
    """
    if toolchain.linker == "tcc":  # it has no such options, and writes neither PT_GNU_RELRO nor PT_GNU_STACK
        return LinkTruth(False, "-shared" in flags, False, False, False, "executable", False, False, (), "tcc")
    unit = f"probe{toolchain.suffix}"
    words = _linker_line(store.answer((*toolchain.command, *flags, "-###", unit, "-o", "probe"), ((unit, ""),)))
    keywords = [value for word, value in pairwise(words) if word == "-z"]
    keywords += [word.removeprefix("-z") for word in words if word.startswith("-z") and word != "-z"]
    defaults = _linker_defaults(store, toolchain)

    def last(names: dict[str, bool | str], otherwise: bool | str) -> bool | str:
        return next((names[word] for word in reversed(keywords) if word in names), otherwise)

    stack = last({"execstack": "executable", "noexecstack": "not-executable"}, "inputs")
    if stack == "inputs" and toolchain.linker == "lld":  # ld.lld(1): not executable unless -z execstack
        stack = "not-executable"
    separate: dict[str, bool | str] = {"separate-code": True, "noseparate-code": False}
    return LinkTruth(
        pie="-pie" in words,
        shared="-shared" in words or "-Bshareable" in words,
        static="-static" in words or "-Bstatic" in words[: words.index("-o")],  # gcc for AArch64 says it so
        relro=bool(last({"relro": True, "norelro": False}, defaults["relro"])),
        now=bool(last({"now": True, "lazy": False}, defaults["now"])),
        stack=str(stack),
        omagic="-N" in words or "--omagic" in words,
        separate_code=bool(last(separate, defaults["separate-code"])),
        rpath=tuple(value for word, value in pairwise(words) if word == "-rpath"),
        linker=toolchain.linker,
        build_id=_build_id(store, toolchain, words[0]) if "--build-id" in words else 0,
    )


def _build_id(store: Store, toolchain: Toolchain, linker: str) -> int:
    """The bytes of a build identifier whose style is not named: sha1 with GNU ld and gold (ld(1)); lld's help says."""
    if toolchain.linker != "lld":
        return 20
    listing = store.answer((linker if linker.endswith("ld.lld") else "ld.lld", "--help"))
    return 8 if "Alias for --build-id=fast" in listing else 20


def _linker_line(text: str) -> list[str]:
    """The last command that a driver would run to link."""
    commands = [line for line in text.splitlines() if line.startswith(" ")]
    words = next(
        words for words in map(shlex.split, reversed(commands)) if re.search(r"/(collect2|ld[\w.-]*)$", words[0])
    )
    return [*words]


def _linker_defaults(store: Store, toolchain: Toolchain) -> dict[str, bool]:
    if toolchain.linker == "lld":
        return {"relro": True, "now": False, "separate-code": False}
    listing = store.answer((f"{toolchain.prefix}ld.{toolchain.linker}", "--help"))
    emulation = {"relro": "-z relro", "now": "-z now", "separate-code": "-z separate-code"}
    return {
        name: bool(re.search(rf"^\s*{option}\s.*\(default\)", listing, re.MULTILINE))
        for name, option in emulation.items()
    }


def can_mark(store: Store, toolchain: Toolchain) -> bool:
    """Whether any file that the toolchain links can carry the mark of control-flow protection.

    Asked with a program without code of its own and with everything switched on; readelf is the referee. On Debian 12
    it is the start files of the C library that lack the note.
    """
    if toolchain.family == "tcc" or not (toolchain.is_x86 or toolchain.machine == "aarch64"):
        return False
    flag = "-fcf-protection=full" if toolchain.is_x86 else "-mbranch-protection=standard"
    unit = f"empty{toolchain.suffix}"
    text = ((unit, "int main(void) { return 0; }\n"),)
    path = store.product("empty", (), text, (*toolchain.command, flag, *toolchain.link_flags, unit, "-o", "empty"))
    notes = store.answer(("readelf", "-nW", str(path)))
    return "IBT, SHSTK" in notes or "BTI, PAC" in notes
