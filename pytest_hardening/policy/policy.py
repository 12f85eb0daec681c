"""The policy in force: defaults, ini file, policy file and command line, the later the stronger."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..artifacts.names import display
from ..checks.registry import check_names
from ..errors import PolicyError
from ..model import Artifact, Kind, Role
from .document import ArtifactRule, Checks, PolicyDocument, Rules
from .given import COMMAND_LINE, Given
from .globs import TARGET, first_match, literal, matches
from .problems import parsed, read
from .profile import DEFAULT_PROFILE, Layer, Profile, load_profile
from .waiver import Waiver

__all__ = ["PLUGINS", "Policy", "load_policy"]

#: The profile of what is loaded with dlopen.
PLUGINS = "plugin"

_FILE, _PYPROJECT, _TABLE = "hardening.toml", "pyproject.toml", "tool.pytest-hardening"
_MISSPELT = ("pytest_hardening", "hardening", "pytest-harden")


@dataclass(frozen=True)
class Policy:
    """What is required of every artifact of a project.

    Parameters
    ----------
    file: the policy file's name, empty where there is none.
    folder: the folder that it lies in: pytest's root folder.
    document: what it says.
    profile_given: the profile that the command line, the ini file or nobody named. The command line's alone says what
        is required: what the policy file says of checks then does not hold.
    strict_given: whether unknown fails, and who says so.
    only: only these checks; empty for all.
    modules: the shown names of files that are built to be loaded with dlopen: below what is required of all, they need
        what the profile `plugin` demands, unless the command line names the profile or a rule matches them.
    as_written: the document without the files of targets, where they were put into `document`.
    """

    file: str
    folder: str
    document: PolicyDocument
    profile_given: Given
    strict_given: Given
    only: tuple[str, ...]
    modules: frozenset[str] = frozenset()
    as_written: PolicyDocument | None = None
    _profiles: dict[tuple[int, ...] | None, Profile] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def written(self) -> PolicyDocument:
        """What the user wrote: where `document` has files beside a glob with `target:`, that glob alone."""
        return self.as_written or self.document

    @property
    def profile_named(self) -> Given:
        """The profile of all artifacts for which no rule names another, and who named it."""
        if self.profile_given.source != COMMAND_LINE and self.document.profile is not None:
            return Given(self.document.profile, self.file)
        return self.profile_given

    @property
    def profile(self) -> Profile:
        """What is required of artifacts that no rule matches."""
        return self._of(())

    @property
    def is_strict(self) -> bool:
        """Whether unknown fails where nothing else is said of a check or an artifact."""
        return self.profile.unknown == "fail"

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        return self.document.waiver

    @property
    def baseline(self) -> str | None:
        """The baseline's file, absolute, or None."""
        return None if self.document.baseline is None else os.path.join(self.folder, self.document.baseline)

    @cached_property
    def checks(self) -> tuple[str, ...]:
        """The names of all checks that any artifact may need, in the order in which they are shown."""
        named = {name for profile in self._every for name in profile.checks}
        return tuple(name for name in check_names() if name in named)

    @property
    def why_idle(self) -> str:
        """Why nothing could ever fail; empty where something can."""
        reasons = [profile.why_idle for profile in self._every]
        return reasons[0] if all(reasons) else ""

    @property
    def _every(self) -> Iterator[Profile]:
        """The profile of artifacts that no rule matches, and those of what one rule matches."""
        yield self._of(())
        for number in range(len(self.document.artifact)):
            yield self._of((number,))
        if self.has_plugins:
            yield self._of(None)

    @property
    def has_plugins(self) -> bool:
        """Whether anything may be required of plug-ins because the build system calls them so."""
        return bool(self.modules) and not self.is_forced

    def for_artifact(self, name: str, kind: Kind, role: Role = "") -> Profile:
        """What is required of one artifact.

        Parameters
        ----------
        name: as it is shown.
        kind: what it is, of a static archive `Kind.ARCHIVE`.
        role: what it is for: plug-ins need what the profile `plugin` demands below what is required of all, unless the
            command line names the profile or a rule matches.
        """
        numbers = tuple(n for n, rule in enumerate(self.document.artifact) if _matches(rule, name, kind))
        is_plugin = (role == "plugin" or name in self.modules) and not self.is_forced
        return self._of(None if is_plugin and not numbers else numbers)

    def with_targets(self, names: Mapping[str, str], modules: frozenset[str]) -> Policy:
        """The same where globs that begin with `target:` match the files that targets make.

        Parameters
        ----------
        names: the target's name by the shown name of its file.
        """

        def resolved(globs: Iterable[str]) -> tuple[str, ...]:
            return tuple(one for glob in globs for one in (glob, *_files(glob, names)))

        rules = tuple(
            rule if rule.path is None else rule.model_copy(update={"path": resolved(rule.path)})
            for rule in self.document.artifact
        )
        waivers = tuple(one.model_copy(update={"path": resolved(one.path)}) for one in self.waivers)
        exclude = resolved(self.document.exclude)
        changes = {"artifact": rules, "waiver": waivers, "exclude": exclude}
        document = self.document.model_copy(update=changes)
        return replace(self, document=document, modules=modules, as_written=self.written)

    def excluded(self, name: str) -> str | None:
        """The glob that leaves an artifact out, or None."""
        return first_match(name, self.document.exclude)

    def kept(self, artifact: Artifact) -> Artifact | None:
        """A file under the first of its names that is not left out; None where all of them are."""
        return next((one for one in artifact.names if not self.excluded(one.display)), None)

    def with_profile(self, name: str) -> Profile:
        """What a profile requires that a test names; what unknown does is as the policy says.

        Parameters
        ----------
        name: a built-in profile's, or an absolute path.
        """
        return self._over(name, {}, ())

    def _of(self, numbers: tuple[int, ...] | None) -> Profile:
        """The profile of artifacts that the rules of these numbers match; of plug-ins that none matches for None."""
        if numbers not in self._profiles:
            profile = self._laid(numbers) if numbers is not None else self._of_plugins()
            self._profiles[numbers] = profile.narrowed(self.only) if self.only else profile
        return self._profiles[numbers]

    def _of_plugins(self) -> Profile:
        """What the profile `plugin` demands, and over it what is required of all."""
        plugin, usual = load_profile(PLUGINS), self._laid(())
        below = {layer.source for layer in plugin.layers}
        layers = (*plugin.layers, *(layer for layer in usual.layers if layer.source not in below))
        name = PLUGINS if self.profile_named.value in (DEFAULT_PROFILE, PLUGINS) else f"{usual.name} and {PLUGINS}"
        return replace(usual, name=name, layers=layers)

    def _laid(self, numbers: tuple[int, ...]) -> Profile:
        named, general = self.profile_named.value, self.document.checks
        rules: list[Layer] = []
        for number in numbers:
            rule = self.document.artifact[number]
            if rule.profile is not None and not self.is_forced:  # its checks, and not those of what stands before
                named, general = rule.profile, {}
                rules = [Layer(layer.source, Rules(unknown=layer.rules.unknown)) for layer in rules]
            asked = {} if self.is_forced else rule.checks
            source = f"{self.file}, artifact[{number}]"
            rules.append(Layer(source, Rules.model_construct(unknown=rule.unknown, checks=asked)))
        return self._over(named, {} if self.is_forced else general, rules)

    @property
    def is_forced(self) -> bool:
        """Whether the command line names the profile: then it alone says what is required."""
        return self.profile_given.source == COMMAND_LINE

    def _over(self, name: str, checks: Checks, rules: Iterable[Layer]) -> Profile:
        """A profile with what the policy says of all artifacts, and of some, over it."""
        when = () if self.is_forced else self.document.when
        own = Rules.model_construct(unknown=self.document.unknown, checks=checks, when=when)
        strict = Layer(self.strict_given.source, Rules(unknown="fail" if self.strict_given.value else None))
        layers = (Layer(self.file, own), *rules)
        layers = (*layers, strict) if strict.source == COMMAND_LINE else (strict, *layers)
        return load_profile(name, self.folder).over(*layers)


def _matches(rule: ArtifactRule, name: str, kind: Kind) -> bool:
    """Whether all conditions of an `[[artifact]]` hold."""
    return (rule.path is None or first_match(name, rule.path) is not None) and (
        rule.kind is None or kind.value in rule.kind
    )


def _files(glob: str, names: Mapping[str, str]) -> Iterator[str]:
    """Globs that match the files of the targets that a glob with `target:` matches."""
    if glob.startswith(TARGET):
        yield from (literal(file) for file, name in names.items() if matches(glob.removeprefix(TARGET), name))


def load_policy(
    folder: str, profile: Given | None = None, strict: Given | None = None, only: tuple[str, ...] = ()
) -> Policy:
    """The policy in force in a project.

    Parameters
    ----------
    folder: where `hardening.toml` or `pyproject.toml` are looked for; there may be neither.
    profile, strict, only: what the command line and the ini file say; names of files are absolute.

    Raises
    ------
    PolicyError: a file has mistakes, both files hold a policy, or a profile cannot be read.
    """
    file, document = _document(folder)
    given = profile or Given()
    named = given if given.value else Given(DEFAULT_PROFILE, given.source)
    policy = Policy(file, folder, document, named, strict or Given(), only)
    if policy.why_idle:
        raise PolicyError(f"{file or '--hardening-check'}: {policy.why_idle}")
    return policy


def _document(folder: str) -> tuple[str, PolicyDocument]:
    found = list(_found(folder))
    if len(found) > 1:
        raise PolicyError(f"there are two policies: {_FILE} and [{_TABLE}] of {_PYPROJECT}; one is enough")
    if not found:
        return "", PolicyDocument()
    file, data, table = found[0]
    return file, read(PolicyDocument, data, file, folder, table)


def _found(folder: str) -> Iterator[tuple[str, object, str]]:
    """The files that hold a policy, their data, and the key that it stands under."""
    for name, table in ((_FILE, ""), (_PYPROJECT, _TABLE)):
        path = os.path.join(folder, name)
        if not os.path.lexists(path):
            continue
        file = display(os.path.abspath(path), os.getcwd())
        data: object = parsed(_text(path, file), file)
        for key in filter(None, table.split(".")):
            misspelt = [name for name in (data if isinstance(data, dict) else ()) if name in _MISSPELT]
            if misspelt:
                raise PolicyError(f"{file}: [tool.{misspelt[0]}]: unknown table; did you mean [{_TABLE}]?")
            data = data.get(key) if isinstance(data, dict) else None
        if data is not None:
            yield file, data, table


def _text(path: str, file: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise PolicyError(f"{file}: cannot be read: {reason}") from None
