"""What must be said of each artifact, from the flags that made it. No artifact is read here.

Where even the flags cannot decide, or the file cannot show it, the reason stands beside the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pytest_hardening.model import Outcome

from .build import Artifact, BuiltUnit
from .probes import CompileTruth

__all__ = ["TRUTH", "Expectation", "expect"]

Answer = Literal["ok", "violation", "not-needed", "cannot-be-told"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is true of one artifact and one check.

    Parameters
    ----------
    culprits: the units that fall short, where the file can tell them apart.
    accepted: for "cannot-be-told": outcomes that are right beside unknown, because they say what the flags say.
    reason: why it cannot be told.
    """

    answer: Answer
    culprits: tuple[BuiltUnit, ...] = ()
    accepted: frozenset[Outcome] = frozenset()
    reason: str = ""


_OK = Expectation("ok")
_NOT_NEEDED = Expectation("not-needed")
_GOOD = frozenset({Outcome.PASS, Outcome.NOT_APPLICABLE})
_BAD = frozenset({Outcome.FAIL})

_BYTECODE = "bytecode: the code is generated at link time"
_STRIPPED_STATIC = "stripped and static: nothing tells the C library's code, parts of which are unprotected on purpose"
_STATIC_STRIPPED = "static and stripped: no symbol is left that would tell which functions it holds"
_LIBC_PROPERTY = "the start files of the C library lack the note, and the linker keeps what all inputs have"
_MUSL_FORTIFY = "musl has no fortified functions: the flag changes nothing, and an object does not show its C library"
_BY_VALUE = "GCC -Os writes to the lowest bytes of such a frame as to a structure passed by value, which needs no probe"
_ASAN_FRAMES = "AddressSanitizer aligns frames and makes room in them by code that looks like an allocation"
_LARGE_MODEL = "code of the large model, which absolute code here is, calls through registers: no call names its callee"
_CLANG_FORTIFY = "where clang compiles C++, glibc's headers replace no printf, and nothing else tells level 2 from 1"
_CLANG_LEAVES = "clang replaces no read() or fgets() with these headers, and without -g no unit vouches for a function"
_NOT_FOLLOWED = "arguments on i386 lie on the stack, where only constants are followed; no unit vouches without -g"
_MUSL_RELRO = "musl does not apply RELRO in a static program without PIE (seen in /proc/self/maps); no note names musl"
_CONSTANT_SIZES = "on i386 only computed sizes tell level 3: a unit without such a size may be of level 2 or 3"
_ASSERTIONS = "a unit without assertions looks like one that uses no container"
_LTO_HIDES = "among the C library's functions one of a unit without debug information may be hidden"
_BY_DEFAULT = "compilers are configured with or without a stack protector, and record no default"
_TCC_CODE = "tcc's linker writes symbols without sizes and no unwind tables: where functions end is not told"
_LIBSTDCXX_11 = "libstdc++ 11 reports failed assertions with plain printf, as a unit without FORTIFY would call it"
_NO_SHADOW_STACK = "the code has landing pads, and a shadow stack leaves no trace in it"
_NO_SYMBOLS = "stripped: which functions other code may call through pointers, and so need a landing pad, is not told"
_FAR_ASSEMBLY = "a section of assembly stands away from the program's code, among the C library's functions"
_LTO_MERGES = "LLVM's link-time optimisation settles for one value of the flag for all units"
_LIBRARY_OR_PLUGIN = "libSHARED.so is linked without SONAME: as a plug-in would be"
_WARNINGS = "warnings leave no trace in a file, and no compile command is known"
_NOT_LOOKED_FOR = "whether functions clear registers before they return is not looked for, and no flags are recorded"
_UNRECORDED = "leaves no trace in code, and the compiler recorded no flags"


def expect(artifact: Artifact, check: str, parameters: Mapping[str, Any], marks: bool) -> Expectation:
    """The truth of one artifact and one check.

    `marks`: whether the toolchain can mark a linked file for control-flow protection at all.
    """
    return _control_flow(artifact, marks) if check == "cf-protection" else TRUTH[check](artifact, parameters)


def _units(artifact: Artifact, falls_short: Callable[[CompileTruth], bool], *, code: bool = True) -> Expectation:
    """The truth of a mitigation of the compile step.

    `code`: whether it is read from code, which is not there in bytecode, and hidden in what is stripped and static.
    """
    culprits = tuple(unit for unit in artifact.units if unit.truth is not None and falls_short(unit.truth))
    answer = Expectation("violation", culprits) if culprits else _OK
    if code and _is_bytecode(artifact):
        return _doubt(_BYTECODE)
    if code and artifact.stripped and artifact.is_static:
        return _doubt(_STRIPPED_STATIC, answer)
    return answer


def _is_bytecode(artifact: Artifact) -> bool:
    """Whether any of it holds no machine code yet: an object or an archive of units compiled with -flto."""
    return artifact.toolchain.lto and not artifact.is_linked and any(unit.truth is not None for unit in artifact.units)


def _keeps_options(artifact: Artifact) -> bool:
    """Whether it holds GCC's bytecode, and beside it the options (lto_write_options in lto-opts.cc)."""
    return _is_bytecode(artifact) and artifact.toolchain.family == "gcc"


def _doubt(reason: str, leaning: Expectation | None = None) -> Expectation:
    accepted = frozenset[Outcome]() if leaning is None else _BAD if leaning.answer == "violation" else _GOOD
    return Expectation("cannot-be-told", leaning.culprits if leaning else (), accepted, reason)


def _pie(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    if artifact.kind != "program" or artifact.link is None:
        return _NOT_NEEDED
    return _OK if artifact.link.pie else Expectation("violation")


def _pic(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    if artifact.kind == "program":
        return _NOT_NEEDED
    return _units(artifact, lambda unit: unit.position == "absolute")


def _text_relocations(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    if artifact.link is None or not (artifact.link.shared or artifact.link.pie):
        return _NOT_NEEDED
    return _units(artifact, lambda unit: unit.position == "absolute", code=False)


def _relro(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    link = artifact.link
    if link is None:
        return _NOT_NEEDED
    # ld 2.40 for RISC-V defines no separate place for .got.plt in RELRO (elfnn-riscv.c: want_got_plt, no DATA_SEGMENT_
    # RELRO_END beyond it): the GOT stays writable whatever the flags.
    outside = artifact.toolchain.machine == "riscv64" and link.linker == "bfd"
    # with -N all data is in one segment with the code, and lld and GNU ld make no PT_GNU_RELRO
    if link.static and artifact.toolchain.libc == "musl" and link.relro and not link.omagic:
        return Expectation("cannot-be-told", (), _BAD, _MUSL_RELRO)
    if parameters.get("level") == "partial":
        return _OK if link.relro and not link.omagic else Expectation("violation")
    full = link.relro and link.now and not link.omagic and not outside
    return _OK if full else Expectation("violation")


def _bind_now(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    link = artifact.link
    # tcc binds everything at start-up: it makes no table of lazily bound calls (DT_JMPREL)
    if link is None or link.static or link.linker == "tcc":
        return _NOT_NEEDED
    return _OK if link.now else Expectation("violation")


#: Where a file without stack mark gets an executable stack (glibc, sysdeps/*/stackinfo.h, DEFAULT_STACK_PERMS).
_EXECUTABLE_BY_DEFAULT = ("x86-64", "x86", "arm", "s390x")


def _nx_stack(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    bare = tuple(unit for unit in artifact.units if not unit.stack_note)
    if artifact.toolchain.machine not in _EXECUTABLE_BY_DEFAULT:
        bare = ()
    if artifact.link is None:
        return Expectation("violation", bare) if bare else _doubt(_BYTECODE) if _is_bytecode(artifact) else _OK
    stack = artifact.link.stack
    executable = stack == "executable" or (stack == "inputs" and bool(bare))
    return Expectation("violation") if executable else _OK


def _rwx_segments(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    writable = tuple(unit for unit in artifact.units if unit.writable_code)
    if artifact.link is None:
        return Expectation("violation", writable) if writable else _doubt(_BYTECODE) if _is_bytecode(artifact) else _OK
    return Expectation("violation") if writable or artifact.link.omagic else _OK


def _rpath(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    # the linker writes it into the dynamic section, which a static program without PIE has not
    if artifact.link is None or (artifact.link.static and not artifact.link.pie):
        return _NOT_NEEDED
    return Expectation("violation") if any(path.startswith("/tmp") for path in artifact.link.rpath) else _OK


def _not_all_code(artifact: Artifact) -> Expectation | None:
    """Whether the linker itself makes or leaves code that nothing tells of; else None."""
    if artifact.link is None:
        return None
    if artifact.link.linker == "tcc":
        return Expectation("cannot-be-told", (), _GOOD | _BAD, _TCC_CODE)
    return None


def _stack_protector(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    answer = _units(artifact, lambda unit: not unit.stack_protector, code=not _keeps_options(artifact))
    if _keeps_options(artifact) and not all(
        unit.truth is None or "stack-prot" in unit.command for unit in artifact.units
    ):
        return _doubt(_BY_DEFAULT, answer)
    if doubt := _not_all_code(artifact):
        return replace(doubt, accepted=_GOOD if answer.answer == "ok" else _BAD)
    return answer


def _fortify(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    if artifact.toolchain.libc == "musl":
        if all(unit.truth is None for unit in artifact.units):
            return _NOT_NEEDED
        return Expectation("cannot-be-told", (), _BAD, _MUSL_FORTIFY)
    level = parameters.get("level", 2)
    answer = _units(artifact, lambda unit: unit.fortify < level)
    told = artifact.toolchain.machine != "x86"  # there arguments lie on the stack, and the flag is not followed
    if level == 3 and not told and all(unit.truth.fortify == 2 for unit in answer.culprits if unit.truth):
        return _doubt(_CONSTANT_SIZES, answer)
    if artifact.toolchain.linker == "tcc" and artifact.is_linked:
        return _doubt(_TCC_CODE, answer)
    if artifact.toolchain.cplusplus and "-11" in artifact.toolchain.command[0]:
        return _doubt(_LIBSTDCXX_11, answer)
    if level > 1 and artifact.toolchain.cplusplus and artifact.toolchain.family == "clang":
        return _doubt(_CLANG_FORTIFY, answer)
    by_clang = any(unit.compiler.family == "clang" for unit in artifact.units if unit.truth is not None)
    if answer.answer == "ok" and by_clang and artifact.is_linked and not artifact.debug:
        return _doubt(_CLANG_LEAVES, answer)
    if answer.answer == "ok" and artifact.toolchain.machine == "x86" and artifact.is_linked and not artifact.debug:
        return _doubt(_NOT_FOLLOWED, answer)
    # calls that cannot be seen prove no violation, and where the linker tells of them, not that there is none either
    far = {unit.file for unit in artifact.units if unit.truth is not None and unit.truth.position == "absolute"}
    machine, told = artifact.toolchain.machine, artifact.toolchain.linker == "gold" and artifact.is_linked
    hidden = machine == "arm" or (machine == "x86-64" and (answer.answer == "violation" or told))
    if hidden and far and {unit.file for unit in answer.culprits} <= far:
        return _doubt(_LARGE_MODEL, answer)
    return answer


def _control_flow(artifact: Artifact, marks: bool) -> Expectation:
    if not artifact.toolchain.is_x86 and artifact.toolchain.machine != "aarch64":
        return _NOT_NEEDED
    # hand-written assembly here has neither the note nor landing pads
    short = tuple(unit for unit in artifact.units if unit.truth is None or not unit.truth.control_flow)
    if _is_bytecode(artifact) and all(unit.truth is not None for unit in short):
        return _doubt(_BYTECODE)
    if short:
        answer = Expectation("violation", short)
        if artifact.stripped and artifact.is_static:
            return _doubt(_STRIPPED_STATIC, answer)
        if artifact.link is not None and not marks:
            if all(unit.truth is not None and unit.truth.landing_pads for unit in short):
                return _doubt(_NO_SHADOW_STACK, answer)
            if artifact.is_static and all(unit.truth is None for unit in short):
                return _doubt(_FAR_ASSEMBLY, answer)
            if artifact.toolchain.lto and artifact.toolchain.family == "clang":
                return _doubt(_LTO_MERGES, answer)
            if artifact.stripped and artifact.kind == "program" and len(short) < len(artifact.units):
                return _doubt(_NO_SYMBOLS, answer)
        return answer
    return _OK if artifact.link is None or marks else _doubt(_LIBC_PROPERTY)


#: GCC 12 has no code for it in their prologues: the flag is taken and leaves large frames unprobed (RISC-V: GCC 15,
#: gcc/config/riscv/riscv.cc, riscv_allocate_and_probe_stack_space). Every unit here has such a frame.
_NO_STACK_CLASH = ("riscv64",)


def _stack_clash(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    answer = _units(artifact, lambda unit: not unit.stack_clash)
    if doubt := _not_all_code(artifact):
        return replace(doubt, accepted=_GOOD if answer.answer == "ok" else _BAD)
    if artifact.toolchain.machine in _NO_STACK_CLASH:
        if artifact.compiled:
            return _units(artifact, lambda unit: True)
        return Expectation("cannot-be-told", (), _GOOD, "probes are not visible; an assembly unit alone needs none")
    by_gcc = all(unit.compiler.family == "gcc" and " -Os " in unit.command for unit in answer.culprits)
    if answer.answer == "violation" and by_gcc and artifact.toolchain.is_x86:
        return _doubt(_BY_VALUE, answer)
    if any("address" in unit.truth.sanitizers for unit in artifact.units if unit.truth is not None):
        return _doubt(_ASAN_FRAMES, answer)
    return answer


def _separate_code(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    if artifact.link is None:
        return _NOT_NEEDED
    if any(unit.writable_code for unit in artifact.units):
        # GNU ld and gold put the section among the data, lld into a segment of its own
        reason = "lld decides by the layout whether code that is writable shares a page with data"
        everything = _GOOD | _BAD
        return (
            Expectation("cannot-be-told", (), everything, reason)
            if artifact.link.linker == "lld"
            else Expectation("violation")
        )
    return _OK if artifact.link.separate_code and not artifact.link.omagic else Expectation("violation")


def _sanitizers(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    return _units(artifact, lambda unit: bool(unit.sanitizers))


def _recorded(artifact: Artifact, falls_short: Callable[[CompileTruth], bool]) -> Expectation:
    """The truth of a flag that only a record can show: GCC records options in DWARF, clang and tcc record none."""
    kept = _keeps_options(artifact)
    answer = _units(artifact, falls_short, code=not kept)
    if answer.answer == "cannot-be-told":
        return answer
    if artifact.toolchain.lto and artifact.is_static and artifact.toolchain.family == "gcc":
        return _doubt(_LTO_HIDES, answer)
    debug = artifact.debug or kept
    recorded = [unit for unit in artifact.units if debug and unit.truth and unit.compiler.family == "gcc"]
    shown = tuple(unit for unit in answer.culprits if unit in recorded)
    if shown:
        return Expectation("violation", shown)
    return answer if len(recorded) == len(artifact.units) else _doubt(_UNRECORDED, answer)


def _assertions(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    if not artifact.toolchain.cplusplus:
        return Expectation("cannot-be-told", (), _GOOD, _BYTECODE) if _is_bytecode(artifact) else _NOT_NEEDED
    answer = _units(artifact, lambda unit: not unit.assertions)
    # where it is off nothing shows, and where it is on, only that some unit has it
    # GCC 11 inlines what fails, and no name is left of it
    named = "-11" not in artifact.toolchain.command[0]
    if answer.answer == "cannot-be-told" or (answer.answer == "ok" and named and not artifact.is_linked):
        return answer
    doubt = _doubt(_ASSERTIONS, answer)
    # stripped, and without a call into the C++ library, it looks like C
    return replace(doubt, accepted=doubt.accepted | {Outcome.NOT_APPLICABLE}) if artifact.stripped else doubt


def _zero_registers(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    if artifact.toolchain.lto and artifact.toolchain.family == "gcc":
        # not one of the options that GCC keeps per function in bytecode (common.opt: no "Optimization")
        return Expectation("cannot-be-told", (), _BAD, "the link step decides, and its flags are not on record")
    answer = _recorded(artifact, lambda unit: not unit.zero_registers)
    # zeros in front of a return are a trace; not to look for them is a limit of ours
    return replace(answer, reason=_NOT_LOOKED_FOR) if answer.reason == _UNRECORDED else answer


def _recorded_flags(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    """Of all flags, the plan asks for one alone."""
    if not parameters.get("with_flags"):
        return Expectation("cannot-be-told", (), _GOOD, _BYTECODE) if _is_bytecode(artifact) else _NOT_NEEDED
    return _recorded(artifact, lambda unit: not unit.auto_init)


def _format_security(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    """No build system stands behind these files, and none of their flags asks for the checks."""
    return _doubt(_WARNINGS, _NOT_NEEDED if artifact.compiled == 0 else None)


def _dynamic_section(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    # no scenario has a linker script, and -N stands in static programs alone
    return _NOT_NEEDED if artifact.link is None or artifact.link.static else _OK


def _entry_point(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    if artifact.link is None:
        return _NOT_NEEDED
    return Expectation("violation") if artifact.link.omagic else _OK


def _interpreter(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    # the drivers name the loader of their C library
    return _OK if artifact.kind == "program" and not artifact.is_static else _NOT_NEEDED


def _forbidden_needed(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    # no library is linked by its path
    return _NOT_NEEDED if artifact.link is None else _OK


def _soname(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    return _doubt(_LIBRARY_OR_PLUGIN) if artifact.kind == "library" else _NOT_NEEDED


def _nodlopen(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    return _NOT_NEEDED  # of a library, nothing is asked


def _build_id(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    if artifact.link is None:
        return _NOT_NEEDED
    return _OK if artifact.link.build_id >= parameters.get("bytes", 16) else Expectation("violation")


def _file_mode(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    return _OK if artifact.is_linked else _NOT_NEEDED


def _no_names(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    """No source has a name or calls a function that is forbidden; bytecode keeps them to itself."""
    return _doubt(_BYTECODE) if _is_bytecode(artifact) else _OK


def _forbidden_imports(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    hidden = artifact.stripped and artifact.is_static
    return _doubt(_STATIC_STRIPPED, _OK) if hidden else _no_names(artifact, parameters)


def _lto_bytecode(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    """The link step turns bytecode into code; before, every compiled unit is bytecode where -flto was given."""
    compiled = tuple(unit for unit in artifact.units if unit.truth is not None)
    return Expectation("violation", compiled) if _is_bytecode(artifact) else _OK


def _not_asked_for(artifact: Artifact, parameters: Mapping[str, Any]) -> Expectation:
    return _NOT_NEEDED


def _of_units(falls_short: Callable[[CompileTruth], bool]) -> Callable[[Artifact, Mapping[str, Any]], Expectation]:
    return lambda artifact, parameters: _recorded(artifact, falls_short)


#: A rule for every check, but for cf-protection, which needs to know what the toolchain can mark.
TRUTH: Mapping[str, Callable[[Artifact, Mapping[str, Any]], Expectation]] = {
    "pie": _pie,
    "pic": _pic,
    "text-relocations": _text_relocations,
    "relro": _relro,
    "bind-now": _bind_now,
    "nx-stack": _nx_stack,
    "rwx-segments": _rwx_segments,
    "rpath": _rpath,
    "stack-protector": _stack_protector,
    "fortify": _fortify,
    "stack-clash": _stack_clash,
    "separate-code": _separate_code,
    "forbidden-imports": _forbidden_imports,
    "lto-bytecode": _lto_bytecode,
    "bidi-names": _no_names,
    "exported-symbols": _not_asked_for,
    "debug-info": _not_asked_for,
    "software-cfi": _not_asked_for,
    "sanitizers": _sanitizers,
    "format-security": _format_security,
    "optimization": _of_units(lambda unit: not unit.optimized),
    "auto-var-init": _of_units(lambda unit: not unit.auto_init),
    "zero-call-used-regs": _zero_registers,
    "glibcxx-assertions": _assertions,
    "recorded-flags": _recorded_flags,
    "strict-flex-arrays": _of_units(lambda unit: not unit.flexible_arrays),
    "dynamic-section": _dynamic_section,
    "entry-point": _entry_point,
    "interpreter": _interpreter,
    "forbidden-needed": _forbidden_needed,
    "soname": _soname,
    "nodlopen": _nodlopen,
    "build-id": _build_id,
    "file-mode": _file_mode,
}
