"""What a build description has to do with a failing verdict: the target, the unit, the option at fault and its line.

Nothing here changes an outcome. What a build system records is told beside what the file shows; a culprit is brought
together with a command only where there is no doubt that it is the same unit.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..artifacts.build_systems.output import Build
from ..artifacts.names import display
from ..checks.functions import parsed
from ..elf.image import printable
from ..model import Evidence, Outcome, Verdict
from ..recipe import CompileCommand, Recipe
from .switches import COMPILE, LINK, PIC, SWITCHES, Given, Switch, compiler_options, linker_options

__all__ = ["attributed"]

_MOST_UNITS = 3
_MOST_SIBLINGS = 3
_MOST_SHOWN = 160
_LINK_STEP = "link step"
_TYPES = {
    "EXECUTABLE": "executable",
    "SHARED": "shared library",
    "MODULE": "module",
    "STATIC": "static library",
    "OBJECT": "object library",
}
_LINKER_FLAGS = {
    "EXECUTABLE": "CMAKE_EXE_LINKER_FLAGS",
    "SHARED": "CMAKE_SHARED_LINKER_FLAGS",
    "MODULE": "CMAKE_MODULE_LINKER_FLAGS",
}
_PIE_OPTIONS = ("-pie", "-static-pie")
_PIE_UNITS = Switch(COMPILE, "-fPIE", r"-f(PIE|pie|PIC|pic)", r"-fno-(pie|PIE|pic|PIC)")


def attributed(verdict: Verdict, recipe: Recipe, build: Build, base: str = "/") -> Verdict:
    """A failing verdict on a file with what its build system says of the cause; any other as it is.

    Parameters
    ----------
    recipe: how the file is made; one of the build's.
    base: the folder that names of sources are relative to.
    """
    if verdict.outcome is not Outcome.FAIL:
        return verdict
    case = _Case(verdict, recipe, build, base)
    evidence = tuple(case.evidence())
    return replace(verdict, evidence=(*verdict.evidence, *evidence), remedy=case.remedy())


@dataclass(frozen=True, slots=True)
class _Finding:
    """What the commands say of a switch that is not on.

    Parameters
    ----------
    given: the option that switches it off, or None where there is none.
    is_undone: whether an earlier option switches it on.
    unit: of a compile step, what is compiled.
    """

    switch: Switch
    given: Given | None
    is_undone: bool = False
    unit: CompileCommand | None = None


class _Case:
    """One failing verdict."""

    def __init__(self, verdict: Verdict, recipe: Recipe, build: Build, base: str) -> None:
        self._verdict, self._recipe, self._build, self._base = verdict, recipe, build, base
        self._is_cmake = build.system == "CMake"
        self._link = linker_options(recipe.link)
        switches = SWITCHES.get(verdict.check, ())
        if recipe.type == "EXECUTABLE":  # for which -fPIE is as good
            switches = tuple(_PIE_UNITS if one is PIC else one for one in switches)
        is_linked = recipe.type not in ("", "STATIC")  # without a type nothing is known of the link step
        self._linking = [one for one in switches if one.step == LINK] if is_linked else []
        units = _culprits(verdict, recipe)
        self._compiling = [
            finding for one in switches if one.step == COMPILE for unit in units for finding in _of_unit(one, unit)
        ]
        self._off = [finding for one in self._linking for finding in self._of_link(one)]

    def evidence(self) -> Iterator[Evidence]:
        """What is told beside the evidence of the file."""
        if self._recipe.target:
            kind = _TYPES.get(self._recipe.type, self._recipe.type)
            parts = (kind, self._recipe.configuration, self._recipe.defined_at)
            yield Evidence(f"target {printable(self._recipe.target)}", ", ".join(filter(None, map(printable, parts))))
        yield from self._of_units()
        if self._verdict.check == "nx-stack":
            yield from self._assembly()
        if missing := [one.switch.wanted for one in self._off if one.given is None]:
            yield Evidence(_LINK_STEP, _lacking(missing, self._shown_link()))
        for finding in self._off:
            if finding.given is not None:
                yield Evidence(_LINK_STEP, f"has {self._from(finding)}")
        if self._verdict.check == "pie":
            yield from self._pie()
        yield from self._siblings()

    def remedy(self) -> str:
        """The verdict's, and behind it what that means in the build description."""
        remedies = dict.fromkeys(filter(None, (*map(_mended, (*self._compiling, *self._off)), *self._added())))
        told = "; ".join([*remedies][:_MOST_UNITS])
        return f"{self._verdict.remedy}: {told}" if self._verdict.remedy and told else self._verdict.remedy or told

    def _added(self) -> Iterator[str]:
        """What to write into the CMakeLists.txt where an option is given nowhere."""
        if not self._is_cmake or not self._recipe.target or self._verdict.check == "nx-stack":
            return  # an executable stack is mended where an object asks for it
        if self._verdict.check == "pie" and self._lacks_check_pie_supported():
            yield "cmake_policy(SET CMP0083 NEW), include(CheckPIESupported), check_pie_supported() before the target"
            return
        wanted: dict[tuple[str, str], dict[str, None]] = {}
        for finding in (*self._compiling, *self._off):
            if finding.given is None:
                owner = self._recipe if finding.unit is None else self._owner(finding.unit)
                if owner is not None:
                    options = wanted.setdefault((finding.switch.step, owner.target), {})
                    options[finding.switch.wanted] = None
        for (step, target), options in wanted.items():
            yield f"target_{step}_options({printable(target)} PRIVATE {' '.join(options)})"

    def _of_link(self, switch: Switch) -> Iterator[_Finding]:
        if self._verdict.check == "rpath":  # all of them count, not the last one
            values = [found.unit for found in map(parsed, self._verdict.culprits) if found.is_entry]
            for given in self._link:
                if not set(values).isdisjoint(given.option.partition("=")[2].split(":")) and switch.last([given]):
                    yield _Finding(switch, given)
            return
        finding = _found(switch, self._link)
        if finding is not None:
            yield finding

    def _of_units(self) -> Iterator[Evidence]:
        """Equal findings are told once, with the first units."""
        told: dict[str, list[_Finding]] = {}
        for finding in self._compiling:
            if finding.given is not None:
                text = f"compiled with {self._from(finding)}"
            else:
                text = _lacking([finding.switch.wanted], _code_options(finding.unit) if finding.unit else "")
            told.setdefault(text, []).append(finding)
        for text, findings in [*told.items()][:_MOST_UNITS]:
            names = [self._unit_name(finding.unit) for finding in findings[:_MOST_UNITS] if finding.unit is not None]
            more = f" and {len(findings) - len(names)} more" if len(findings) > len(names) else ""
            yield Evidence(", ".join(names) + more, text)

    def _from(self, finding: _Finding) -> str:
        """The option that switches something off, and its line, or what may have brought it where there is none."""
        if finding.given is None:
            return ""
        place = f" from {finding.given.where}" if finding.given.where else ""
        if not place and self._is_cmake and self._verdict.check != "rpath":
            unit = finding.unit
            name = f"CMAKE_{unit.language}_FLAGS" if unit is not None else _LINKER_FLAGS.get(self._recipe.type, "")
            if finding.given.option == "-no-pie":
                name += " or from POSITION_INDEPENDENT_CODE OFF"
            place = f", for which CMake gives no line: from a variable such as {name}" if name else ""
        return _quoted(finding.given.text) + place

    def _unit_name(self, unit: CompileCommand) -> str:
        name = display(unit.source, self._base)
        owner = self._owner(unit)
        if owner is None or owner.target == self._recipe.target:
            return name
        place = f", {owner.defined_at}" if owner.defined_at else ""
        return f"{name} (target {printable(owner.target)}{place})"

    def _owner(self, unit: CompileCommand | None) -> Recipe | None:
        """The one target that compiles a unit: a static library where it comes from one; None where several may."""
        archives = self._archives.get(id(unit), [])
        return archives[0] if len(archives) == 1 else None if archives else self._recipe

    @cached_property
    def _archives(self) -> dict[int, list[Recipe]]:
        """The static libraries that hold each unit."""
        found: dict[int, list[Recipe]] = {}
        for recipe in (output.recipe for output in self._build.outputs):
            for unit in recipe.units if recipe.type == "STATIC" else ():
                found.setdefault(id(unit), []).append(recipe)
        return found

    def _assembly(self) -> Iterator[Evidence]:
        names = [self._unit_name(unit) for unit in self._recipe.units if unit.language.startswith("ASM")]
        if names:
            why = "assembly: an object without .note.GNU-stack, or with an executable one, asks for an executable stack"
            yield Evidence(", ".join(names[:_MOST_UNITS]), why)

    def _pie(self) -> Iterator[Evidence]:
        if self._lacks_check_pie_supported():
            yield Evidence(
                "CMake",
                "POSITION_INDEPENDENT_CODE gives -fPIE to the compile step alone; the link step gets -pie only with "
                "policy CMP0083 NEW, include(CheckPIESupported) and check_pie_supported() before "
                f"{self._recipe.defined_at or 'the target'} (CMake 3.14)",
            )

    def _lacks_check_pie_supported(self) -> bool:
        """Whether units are compiled for a PIE and nobody says -pie when they are linked."""
        if not self._is_cmake or self._recipe.type != "EXECUTABLE":
            return False
        if any(given.option in _PIE_OPTIONS for given in self._link):
            return False
        own = [unit for unit in self._recipe.units if id(unit) not in self._archives]
        last = [_PIE_UNITS.last(compiler_options(unit.fragments)) for unit in own]
        return any(one is not None and _PIE_UNITS.is_on(one) and not one.where for one in last)

    def _siblings(self) -> Iterator[Evidence]:
        """Targets of the same build that are linked with what this one lacks."""
        lacking = [finding.switch for finding in self._off if finding.given is None]
        if not lacking or not self._recipe.target:
            return
        groups: dict[tuple[str, ...], list[tuple[Recipe, str]]] = {}
        for output in self._build.outputs:
            one = output.recipe
            if one.type in ("", "STATIC", "OBJECT") or one.target == self._recipe.target:
                continue
            if one.configuration != self._recipe.configuration:
                continue
            given = linker_options(one.link)
            if all((last := switch.last(given)) is not None and switch.is_on(last) for switch in lacking):
                texts, where = self._hardening(given)
                groups.setdefault(texts, []).append((one, where))
        for texts, found in [*groups.items()][:_MOST_SIBLINGS]:
            names = ", ".join(printable(one.target) for one, _ in found[:_MOST_SIBLINGS])
            more = f" and {len(found) - _MOST_SIBLINGS} more" if len(found) > _MOST_SIBLINGS else ""
            are = "are" if len(found) > 1 else "is"
            place = next((f" from {where}" for _, where in found if where), "")
            yield Evidence(
                "other targets",
                f"{names}{more} {are} linked with {_quoted(' '.join(texts))}{place}; "
                f"{printable(self._recipe.target)} is not",
            )
        if groups and self._is_cmake:
            yield from self._variable(groups)

    def _hardening(self, given: Sequence[Given]) -> tuple[tuple[str, ...], str]:
        """The options of a link step that switch hardening on and that this file's lacks, and where they come from."""
        own = {one.option for one in self._link}
        wanted = [switch for switches in SWITCHES.values() for switch in switches if switch.step == LINK and switch.on]
        kept = [one for one in given if one.option not in own and any(switch.is_on(one) for switch in wanted)]
        kept = [one for one in kept if one.option not in _PIE_OPTIONS]
        places = {one.where for one in kept}
        return tuple(dict.fromkeys(one.text for one in kept)), places.pop() if len(places) == 1 else ""

    def _variable(self, groups: dict[tuple[str, ...], list[tuple[Recipe, str]]]) -> Iterator[Evidence]:
        """Where only targets of other types have the options, and no line gives them: this type's variable has none."""
        variable = _LINKER_FLAGS.get(self._recipe.type)
        alike = [one for found in groups.values() for one, _ in found if one.type == self._recipe.type]
        from_lines = all(where and not where.startswith("CMAKE_") for found in groups.values() for _, where in found)
        if variable is None or alike or from_lines:
            return
        value = self._build.settings.get(variable)
        stored = f" is {_quoted(value)} in the cache, and" if value is not None else ""
        yield Evidence(
            variable,
            f"it{stored} had none of these options when CMake generated the build: a variable that one function sets "
            "twice with PARENT_SCOPE, for example, loses the first value",
        )

    def _shown_link(self) -> str:
        return _cut([one for one in dict.fromkeys(given.text for given in self._link) if _is_of_linker(one)])


def _culprits(verdict: Verdict, recipe: Recipe) -> tuple[CompileCommand, ...]:
    """The units that a verdict names; all where it names none by name."""
    named = [found for found in map(parsed, verdict.culprits) if not found.is_entry]
    names = list(dict.fromkeys(found.unit for found in named if found.unit))
    if names:
        return tuple(filter(None, (_unit(name, recipe) for name in names)))
    if not recipe.target or any(found.is_entry for found in map(parsed, verdict.culprits)):
        return ()
    return recipe.units


def _unit(name: str, recipe: Recipe) -> CompileCommand | None:
    """The command that a unit or an archive member was made by, if no other one can be meant."""
    if recipe.type == "STATIC":
        found = [unit for unit in recipe.units if unit.object and posixpath.basename(unit.object) == name]
    elif posixpath.isabs(name):
        found = [unit for unit in recipe.units if unit.source == posixpath.normpath(name)]
    elif "/" not in name and not recipe.foreign:  # of which one unit may have the same base name
        found = [unit for unit in recipe.units if posixpath.basename(unit.source) == name]
    else:
        found = []
    return found[0] if len(found) == 1 else None


def _of_unit(switch: Switch, unit: CompileCommand) -> Iterator[_Finding]:
    if unit.language.startswith("ASM"):
        return
    finding = _found(switch, compiler_options(unit.fragments))
    if finding is not None:
        yield replace(finding, unit=unit)


def _found(switch: Switch, options: Sequence[Given]) -> _Finding | None:
    """What is wrong with a switch; None where nothing is."""
    last = switch.last(options)
    if last is None:
        return _Finding(switch, None) if switch.wanted else None
    if switch.is_on(last):
        return None
    return _Finding(switch, last, any(switch.is_on(given) for given in options))


def _mended(finding: _Finding) -> str:
    """What to do about an option that switches something off."""
    if finding.given is None:
        return ""
    where = finding.given.where
    at = f" {'in' if where.startswith('CMAKE_') else 'at'} {where}" if where else ""
    if finding.is_undone or not finding.switch.wanted:
        return f"take {_quoted(finding.given.text)} away{at}"
    return f"put {finding.switch.wanted} in place of {_quoted(finding.given.text)}{at}"


def _lacking(wanted: Iterable[str], options: str) -> str:
    among = f" among its options: {_quoted(options)}" if options else "; it has no options of this kind"
    return f"no {', no '.join(wanted)}{among}"


def _code_options(unit: CompileCommand) -> str:
    """The options of a unit that change the code; the rest is of no use here."""
    options = [given.text for given in compiler_options(unit.fragments)]
    return _cut(one for one in options if one.startswith(("-f", "-O", "-m", "-g", "-D_FORTIFY", "-U_FORTIFY")))


def _is_of_linker(text: str) -> bool:
    return text.startswith(("-Wl,", "-z", "-Xlinker", "-pie", "-no-pie", "-static", "-shared", "-r"))


def _cut(options: Iterable[str]) -> str:
    text = " ".join(options)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} ..."


def _quoted(text: str) -> str:
    return f'"{printable(text)}"'
