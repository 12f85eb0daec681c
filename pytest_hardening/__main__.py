"""`python -m pytest_hardening`: inspect files, compare builds, ask toolchains, explain checks, print schemas."""

from __future__ import annotations

import argparse
import difflib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .errors import BuildError, ComparisonError, PolicyError, ToolchainError
from .model import ArtifactReport, Kind, Outcome

if TYPE_CHECKING:
    from .engine import Demanding, Requests
    from .toolchain import BuildCache, Posture, Selection

__all__ = ["main"]

_EXIT_STATUS = """\
exit status: 0 every file was judged and nothing fails, 1 a check fails, 2 a file could not be judged, the output could
not be written, the command line is wrong or no check of --profile applies. What is unknown does not change it."""

_EXIT_STATUS_OF_COMPARE = """\
OLD and NEW are folders, files, patterns or the JSON reports that `inspect --format json` and `pytest
--hardening-report` write. exit status: 0 nothing was lost, 1 something was, 2 a file could not be read or compared, a
report is damaged or of another schema version, OLD and NEW have nothing in common, or the command line is wrong."""


_EXIT_STATUS_OF_TOOLCHAIN = """\
SPEC is a command (gcc-12, "gcc-12 -m32"), an id or a glob on the ids of what is on PATH ("clang-*"), or all; without
any, cc. exit status: 0 nothing was lost, 1 --compare shows a loss, 2 a toolchain was not found or does not work, a file
could not be read, or the command line is wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is described in its help."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks
    try:
        status = int(options.run(options))
        sys.stdout.flush()
    except (BuildError, ComparisonError, PolicyError, ToolchainError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # `... | head` needs no message
            print(f"error: output not written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in its buffer goes nowhere
        return 2
    return status


class _PrintFolder(argparse.Action):
    """Prints what CMake's find_package(PytestHardening) needs as PytestHardening_DIR."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(os.path.join(os.path.dirname(os.path.abspath(__file__)), "cmake"))
        parser.exit()


class _PrintVersion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"pytest-hardening {version('pytest-hardening')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_hardening", description="Judge the hardening of ELF files.")
    parser.add_argument(
        "--cmake-dir", action=_PrintFolder, nargs=0, help="print the folder of PytestHardeningConfig.cmake and exit"
    )
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect = commands.add_parser(
        "inspect",
        help="judge files with every check",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inspect.add_argument("paths", nargs="+", metavar="PATH", help="file, folder or glob pattern")
    inspect.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    inspect.add_argument("--check", action="append", metavar="NAME", help="only this check (repeatable)")
    inspect.add_argument(
        "--profile",
        metavar="NAME|FILE",
        help="judge by what this profile requires, as the gate does (default: all checks)",
    )
    inspect.add_argument("--objects", action="store_true", help="also judge object files found in folders")
    inspect.add_argument(
        "--debug-root",
        action="append",
        default=[],
        metavar="DIR",
        help="look for the debug files of stripped files here and beside them (repeatable), e.g. /usr/lib/debug",
    )
    inspect.add_argument("--members", action="store_true", help="list members of static archives (json always does)")
    inspect.add_argument(
        "--second-opinion",
        action="store_true",
        help="read each file with lief as well, and report what the two readers disagree on as an error",
    )
    inspect.set_defaults(run=_inspect)
    compare = commands.add_parser(
        "compare",
        help="say what a build lost and gained against an older one",
        epilog=_EXIT_STATUS_OF_COMPARE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compare.add_argument("old", metavar="OLD", help="the build, or the report of it, to compare with")
    compare.add_argument("new", metavar="NEW", help="the build, or the report of it, that is asked about")
    compare.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    compare.add_argument("--check", action="append", metavar="NAME", help="only this check (repeatable)")
    compare.add_argument(
        "--profile", metavar="NAME|FILE", help="only the checks of this profile, with its parameters (default: all)"
    )
    compare.add_argument("--objects", action="store_true", help="also compare object files found in folders")
    compare.add_argument(
        "--debug-root",
        action="append",
        default=[],
        metavar="DIR",
        help="look for the debug files of stripped files here and beside them (repeatable)",
    )
    compare.add_argument(
        "--strict",
        action="store_true",
        help="a loss is also: what is no longer provable, a file that was removed, a new file that fails a check",
    )
    compare.set_defaults(run=_compare)
    toolchain = commands.add_parser(
        "toolchain",
        help="say which mitigations compilers have by default, and by which flags",
        epilog=_EXIT_STATUS_OF_TOOLCHAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    toolchain.add_argument("specs", nargs="*", metavar="SPEC", help="which toolchains (default: cc)")
    toolchain.add_argument("--format", choices=("text", "json", "md"), default="text", help="default: text")
    toolchain.add_argument("--list", action="store_true", help="only say what they are")
    toolchain.add_argument("--compare", metavar="FILE", help="say what changed since this file, which json wrote")
    toolchain.add_argument(
        "--run", action="store_true", dest="offences", help="also run programs that do what each mitigation stops"
    )
    toolchain.add_argument("--cache", metavar="DIR", help="keep the probes here, for the next time")
    toolchain.set_defaults(run=_toolchain)
    explain = commands.add_parser("explain", help="print the manual page of a check, or what a profile requires")
    explain.add_argument(
        "name", nargs="?", help="a check, a built-in profile or a profile's file; without it, the names of all checks"
    )
    explain.add_argument("--all", action="store_true", help="the pages of all checks, in Markdown")
    explain.set_defaults(run=_explain)
    schema = commands.add_parser("schema", help="print the JSON Schema of hardening.toml")
    schema.add_argument("--profile", action="store_true", help="of profile files instead")
    schema.set_defaults(run=_schema)
    return parser


def _inspect(options: argparse.Namespace) -> int:
    worst = 0
    applied = False

    def noted() -> Iterator[ArtifactReport]:
        nonlocal applied, worst
        for entry in _entries(options):
            applied = applied or any(verdict.outcome is not Outcome.NOT_APPLICABLE for verdict in entry.verdicts)
            failed = any(verdict.outcome is Outcome.FAIL for verdict in entry.verdicts)
            worst = max(worst, 2 if entry.error is not None else int(failed))
            yield entry
        if options.profile is not None and not worst and not applied:
            worst = 2
            print("error: nothing that the required checks apply to", file=sys.stderr)

    if options.format == "json":
        from .reports.document import write_document

        write_document(noted(), sys.stdout)
        return worst
    from .reports.listing import listing

    for entry in noted():
        if entry.member is None or options.members:
            print(listing(entry))
    return worst


def _requests(options: argparse.Namespace) -> Requests | Demanding:
    """The checks that --check and --profile ask for; --debug-root must be a folder."""
    from .engine import requests_of

    for root in options.debug_root:
        if not os.path.isdir(root):
            raise PolicyError(f"--debug-root needs a folder: {root!r} is none")
    if options.profile is None:
        return requests_of(options.check)
    from .policy.profile import load_profile

    profile = load_profile(options.profile)
    return profile if options.check is None else profile.narrowed(options.check)


def _entries(options: argparse.Namespace) -> Iterator[ArtifactReport]:
    from .artifacts.discovery import counted, discover
    from .engine import judge

    requests = _requests(options)
    found = discover(options.paths, objects=options.objects, objects_option="--objects")
    for path, reason in found.problems:
        yield ArtifactReport(path, None, Kind.NOT_ELF, "", reason)
    for artifact in found.artifacts:
        for entry in judge(artifact, requests, tuple(options.debug_root)):
            if options.second_opinion and entry.member is None and entry.error is None:
                from .elf.second_opinion import disagreements

                differences = disagreements(artifact.path)
                if differences:
                    text = f"two readers disagree: {'; '.join(differences)}"
                    yield ArtifactReport(entry.path, None, entry.kind, entry.machine, text)
                    continue
            yield entry
    if found.left_out:
        print(f"left out: {counted(found.left_out)}", file=sys.stderr)


def _compare(options: argparse.Namespace) -> int:
    from .artifacts.names import shown
    from .builds import build_at
    from .compare.changes import compare

    requests, debug_roots = _requests(options), tuple(options.debug_root)
    builds = []
    for path in (options.old, options.new):
        try:
            builds.append(build_at(path, requests, objects=options.objects, debug_roots=debug_roots))
        except ComparisonError as error:
            raise ComparisonError(f"{shown(path)}: {error}") from None
    comparison = compare(*builds)
    if options.format == "json":
        from .reports.comparison import write_comparison

        write_comparison(comparison, sys.stdout, strict=options.strict)
    else:
        from .reports.comparison import comparison_lines

        for line in comparison_lines(comparison):
            print(line)
    return 2 if comparison.problems else int(comparison.is_loss(strict=options.strict))


def _toolchain(options: argparse.Namespace) -> int:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from .toolchain import BuildCache, select_toolchains

    with TemporaryDirectory(prefix="hardening-toolchain-") as temporary:
        cache = BuildCache(Path(options.cache or temporary))
        selection = select_toolchains(options.specs, cache=cache)
        for command, reason in selection.left_out:
            print(f"left out: {command}: {reason}", file=sys.stderr)
        if options.list:
            for one in selection.toolchains:
                libc, linker = f"{one.libc} {one.libc_version}", f"{one.linker} {one.linker_version}"
                print(f"{one.id}: {' '.join(one.command)}, {one.target}, {libc.strip()}, {linker.strip()}")
            return 0
        return _postures(options, selection, cache)


def _postures(options: argparse.Namespace, selection: Selection, cache: BuildCache) -> int:
    import json
    import shutil

    from .elf.image import printable
    from .runtime import at_run_time
    from .toolchain import Effect, load_postures, posture_of
    from .toolchain.snapshot import changes_between, document
    from .toolchain.tables import markdown_table, text_table

    older = load_postures(options.compare) if options.compare else {}
    run = at_run_time if options.offences else None
    postures: list[Posture] = [posture_of(one, cache, at_run_time=run) for one in selection.toolchains]
    changes = changes_between(older, {posture.id: posture for posture in postures})
    if options.format == "json":
        data = document(postures)
        if options.compare:
            data["changes"] = [change.to_json() for change in changes]
        print(json.dumps(data, indent=1, ensure_ascii=False))
    else:
        width = shutil.get_terminal_size((120, 40)).columns
        for line in markdown_table(postures) if options.format == "md" else text_table(postures, width):
            print(printable(line))
        for change in changes:
            print(printable(str(change)))
    return int(any(change.effect is Effect.LOST for change in changes))


def _explain(options: argparse.Namespace) -> int:
    from .checks.registry import check_names, get_check
    from .reports.manual import manual_page, markdown

    if options.all:
        print(markdown(), end="")
        return 0
    if options.name is None:
        for name in check_names():
            print(f"{name:20}{get_check(name).manual().splitlines()[0]}")
        return 0
    from .policy.library import built_in_profiles, is_file_name
    from .policy.profile import load_profile

    if options.name in built_in_profiles() or is_file_name(options.name):
        from .policy.shown import shown_profile

        for line in shown_profile(load_profile(options.name)):
            print(line)
        return 0
    if options.name not in check_names():
        near = difflib.get_close_matches(options.name, (*check_names(), *built_in_profiles()), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        plugin = "(a check that a plugin adds is only known inside pytest)"
        raise PolicyError(f"unknown check or profile {options.name!r}{hint} {plugin}")
    required_by = [name for name in built_in_profiles() if options.name in load_profile(name).checks]
    print(manual_page(get_check(options.name), required_by), end="")
    return 0


def _schema(options: argparse.Namespace) -> int:
    from .policy.schema import policy_schema, profile_schema, written

    print(written(profile_schema() if options.profile else policy_schema()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
