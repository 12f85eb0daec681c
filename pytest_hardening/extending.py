"""Asks plugins for what they add (`hookspecs.py`), and says which plugin is wrong where one is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from .added import Added, put_in_force, raised, withdraw
from .errors import PolicyError

if TYPE_CHECKING:
    from .artifacts.discovery import Discovery
    from .checks.base import Check
    from .model import Artifact
    from .toolchain import Probe

__all__ = ["added_probes", "find_artifacts", "late_additions", "report_to_plugins", "take_additions"]

_CHECKS, _PROFILES = "pytest_hardening_checks", "pytest_hardening_profiles"
_PROBES = "pytest_hardening_probes"
_FINDERS, _REPORTERS = "pytest_hardening_find_artifacts", "pytest_hardening_report"
_PROBE_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PROFILE_NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_ASKED = pytest.StashKey[tuple[object, ...]]()


class _Plugin(NamedTuple):
    """One plugin that has a hook: its name in messages, the file that it is in, how to call the hook of it alone."""

    name: str
    file: str
    call: Callable[[], Any]

    def answer(self, hook: str) -> Any:
        """What it returns, None where it returns nothing.

        Raises
        ------
        PolicyError: it raised an exception.
        """
        try:
            return self.call()
        except Exception as error:
            raise self.error(hook, f"raised {raised(error, self.file)}") from error

    def items(self, hook: str, answer: object) -> list[Any]:
        """What is in an iterable that it returned; a text is none."""
        if isinstance(answer, str | bytes | Mapping) or not isinstance(answer, Iterable):
            raise self.error(hook, f"returned {answer!r}: expected a list")
        try:
            return list(answer)
        except Exception as error:
            raise self.error(hook, f"raised {raised(error, self.file)}") from error

    def error(self, hook: str, text: str) -> PolicyError:
        return PolicyError(f"{self.name}: {hook}: {text}")


def _plugins(config: pytest.Config, hook: str, **more: Any) -> Iterator[_Plugin]:
    """The plugins that have a hook, in the order in which pytest would call them; hook wrappers wrap each call."""
    caller = getattr(config.hook, hook)
    found = [one for one in reversed(caller.get_hookimpls()) if not (one.hookwrapper or one.wrapper)]
    for one in found:
        others = [other.plugin for other in found if other.plugin is not one.plugin]
        alone = config.pluginmanager.subset_hook_caller(hook, others)
        call = partial(_first, alone, is_single=bool(caller.spec.opts.get("firstresult")), config=config, **more)
        file = getattr(getattr(one.function, "__code__", None), "co_filename", "")
        yield _Plugin(_name(config, one.plugin, one.plugin_name), file, call)


def _first(caller: Callable[..., Any], *, is_single: bool, **arguments: Any) -> Any:
    answer = caller(**arguments)
    return answer if is_single else next(iter(answer), None)


def _name(config: pytest.Config, plugin: object, name: str) -> str:
    if os.path.isabs(name):  # a conftest.py
        from .artifacts.names import display

        return display(name, str(config.rootpath))
    return f"plugin {type(plugin).__qualname__ if name.isdigit() else name}"


def take_additions(config: pytest.Config) -> None:
    """Put the checks and profiles that plugins add in force until the session ends.

    Raises
    ------
    PolicyError: one of them is wrong; the message names the plugin.
    """
    if _ASKED in config.stash:
        return
    config.stash[_ASKED] = tuple(_having(config))
    plugins: dict[str, str] = {}
    checks = dict(sorted(_checks(config, plugins)))
    added = Added(checks, dict(sorted(_profiles(config))), plugins)
    put_in_force(added)
    config.add_cleanup(partial(withdraw, added))


def _having(config: pytest.Config) -> Iterator[object]:
    for hook in (_CHECKS, _PROFILES):
        yield from (one.plugin for one in getattr(config.hook, hook).get_hookimpls())


def late_additions(config: pytest.Config) -> Iterator[tuple[str, str]]:
    """Who adds checks or profiles and was not asked, as pytest loaded it during collection, and what to do about it.

    They are not in force; in silence less would be judged than somebody wanted.
    """
    asked = config.stash[_ASKED]
    for hook in (_CHECKS, _PROFILES):
        for plugin in getattr(config.hook, hook).get_hookimpls():
            if not any(plugin.plugin is one for one in asked):
                name = _name(config, plugin.plugin, plugin.plugin_name)
                yield (
                    name,
                    f"{hook}: pytest loads this file too late, during collection: move the hook to the conftest.py of "
                    "the root folder, or into a plugin",
                )


def _checks(config: pytest.Config, plugins: dict[str, str]) -> Iterator[tuple[str, Check]]:
    """The checks by name; `plugins` takes down who added each."""
    for plugin in _plugins(config, _CHECKS):
        answer = plugin.answer(_CHECKS)
        if answer is None:
            continue
        from .checks.rules import mistakes_of

        for check in plugin.items(_CHECKS, answer):
            mistakes = list(mistakes_of(check))
            if mistakes:
                raise plugin.error(_CHECKS, "; ".join(mistakes))
            if check.name in plugins:
                raise plugin.error(_CHECKS, f"the name {check.name!r} is taken by {plugins[check.name]}")
            plugins[check.name] = plugin.name
            yield check.name, check


def _profiles(config: pytest.Config) -> Iterator[tuple[str, str]]:
    """The files of profiles by name."""
    taken: dict[str, str] = {}
    for plugin in _plugins(config, _PROFILES):
        answer = plugin.answer(_PROFILES)
        if answer is None:
            continue
        from .policy.library import built_in_profiles

        if not isinstance(answer, Mapping):
            raise plugin.error(_PROFILES, f"returned {answer!r}: expected a mapping of names to TOML files")
        for name, file in answer.items():
            if not isinstance(name, str) or not _PROFILE_NAME.fullmatch(name) or name.endswith(".toml"):
                raise plugin.error(_PROFILES, f"the name {name!r}: expected small letters, digits, '.' and '-'")
            owner = "a built-in profile" if name in built_in_profiles() else taken.get(name)
            if owner:
                raise plugin.error(_PROFILES, f"the name {name!r} is taken by {owner}")
            if not isinstance(file, str | os.PathLike):
                raise plugin.error(_PROFILES, f"{name} = {file!r}: expected the path of a TOML file")
            path = os.path.join(config.rootpath, file)
            if not os.path.isfile(path):
                raise plugin.error(_PROFILES, f"{name}: there is no file {path}")
            taken[name] = plugin.name
            yield name, path


def added_probes(config: pytest.Config) -> list[Probe]:
    """The probes of toolchains that plugins add.

    Raises
    ------
    PolicyError: one of them is wrong; the message names the plugin.
    """
    found: list[Probe] = []
    for plugin in _plugins(config, _PROBES):
        answer = plugin.answer(_PROBES)
        if answer is None:
            continue
        from .toolchain import PROBES

        for probe in plugin.items(_PROBES, answer):
            name = getattr(probe, "name", None)
            if (
                not isinstance(name, str)
                or not _PROBE_NAME.fullmatch(name)
                or not callable(getattr(probe, "run", None))
            ):
                raise plugin.error(_PROBES, f"returned {probe!r}: expected a probe, with a kebab-case name and run()")
            if any(other.name == name for other in (*PROBES, *found)):
                raise plugin.error(_PROBES, f"the name {name!r} is taken")
            found.append(probe)
    return found


def find_artifacts(
    config: pytest.Config, paths: Iterable[str], *, objects: bool, base: str
) -> tuple[Discovery, frozenset[str]]:
    """What paths lead to, by plugins or as usual; and the real names of the files that were named one by one.

    A plugin that is wrong is a problem of the path that it was asked for.

    Parameters
    ----------
    objects, base: as in `discover`.
    """
    from .artifacts.discovery import Discovery, discover
    from .artifacts.names import display

    ordinary: list[str] = []
    own: dict[str, Artifact] = {}
    problems: list[tuple[str, str]] = []
    for path in paths:
        try:
            files, artifacts = _found(config, path) or ([path], [])
        except PolicyError as error:
            problems.append((display(path, base), str(error)))
            continue
        ordinary += files
        own.update((artifact.path, artifact) for artifact in artifacts)
    found = discover(ordinary, objects=objects, base=base, objects_option="--hardening-objects")
    merged = {**{artifact.path: artifact for artifact in found.artifacts}, **own}
    problems += [*_shown_alike(one for artifact in merged.values() for one in artifact.names), *found.problems]
    ordered = sorted(merged.values(), key=lambda artifact: artifact.display)
    named = {*own, *(os.path.realpath(path) for path in ordinary if os.path.isfile(path))}
    return Discovery(tuple(ordered), tuple(problems), found.left_out), frozenset(named)


def _found(config: pytest.Config, path: str) -> tuple[list[str], list[Artifact]] | None:
    """The paths and the artifacts that a plugin finds behind a path; None when none answers."""
    for plugin in _plugins(config, _FINDERS, path=Path(path)):
        answer = plugin.answer(_FINDERS)
        if answer is None:
            continue
        from .model import Artifact

        items = plugin.items(_FINDERS, answer)
        if not items:
            raise plugin.error(_FINDERS, "found nothing in it")
        for item in items:
            if not _is_path(item):
                raise plugin.error(_FINDERS, f"returned {item!r}: expected a path or an Artifact")
        files = [os.path.join(config.rootpath, item) for item in items if not isinstance(item, Artifact)]
        return files, [_resolved(config, item) for item in items if isinstance(item, Artifact)]
    return None


def _is_path(item: object) -> bool:
    try:
        path = os.fspath(item)  # type: ignore[call-overload]
    except TypeError:  # also of an Artifact whose path is no text
        return False
    return isinstance(path, str) and bool(path)


def _resolved(config: pytest.Config, artifact: Artifact) -> Artifact:
    """The same under its real name, shown with no character that is not safe to show."""
    from dataclasses import replace

    from .elf.image import printable

    path = os.path.realpath(os.path.join(config.rootpath, artifact.path))
    name = (artifact.display or path).encode("utf-8", "backslashreplace").decode("utf-8")
    return replace(artifact, path=path, display=printable(name))


def _shown_alike(artifacts: Iterable[Artifact]) -> Iterator[tuple[str, str]]:
    """Files of one name: their items could not be told from one another, and one of them would not be judged."""
    first: dict[str, str] = {}
    for artifact in artifacts:
        if first.setdefault(artifact.display, artifact.path) != artifact.path:
            yield artifact.display, f"the name of two files: {first[artifact.display]} and {artifact.path}"


def report_to_plugins(config: pytest.Config, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Call every reporter, and return what is to be told of those that failed."""
    failed = []
    for plugin in _plugins(config, _REPORTERS, entries=entries):
        try:
            plugin.answer(_REPORTERS)
        except PolicyError as error:
            failed.append(str(error))
    return failed
