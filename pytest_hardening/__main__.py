"""`python -m pytest_hardening`: inspect files, explain checks, print the schema of policy files."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence

from .errors import PolicyError
from .model import ArtifactReport, Kind, Outcome

__all__ = ["main"]

_EXIT_STATUS = """\
exit status: 0 every file was judged and nothing fails, 1 a check fails, 2 a file could not be judged, the output could
not be written, the command line is wrong or no check of --profile applies. What is unknown does not change it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is described in its help."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks
    try:
        status = int(options.run(options))
        sys.stdout.flush()
    except PolicyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # `... | head` needs no message
            print(f"error: output not written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in its buffer goes nowhere
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_hardening", description="Judge the hardening of ELF files.")
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
    explain = commands.add_parser("explain", help="print the manual page of a check")
    explain.add_argument("check", nargs="?", help="a check's name; without it, the names of all")
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


def _entries(options: argparse.Namespace) -> Iterator[ArtifactReport]:
    from .artifacts.discovery import counted, discover
    from .engine import Demanding, Requests, judge, requests_of

    requests: Requests | Demanding
    if options.profile is None:
        requests = requests_of(options.check)
    else:
        from .policy.profile import load_profile

        profile = load_profile(options.profile)
        requests = profile if options.check is None else profile.narrowed(options.check)
    for root in options.debug_root:
        if not os.path.isdir(root):
            raise PolicyError(f"--debug-root needs a folder: {root!r} is none")
    found = discover(options.paths, objects=options.objects)
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


def _explain(options: argparse.Namespace) -> int:
    from .checks.registry import CHECK_NAMES, get_check
    from .reports.manual import manual_page, markdown

    if options.all:
        print(markdown(), end="")
        return 0
    if options.check is None:
        for name in CHECK_NAMES:
            print(f"{name:20}{get_check(name).manual().splitlines()[0]}")
        return 0
    print(manual_page(get_check(options.check)), end="")
    return 0


def _schema(options: argparse.Namespace) -> int:
    from .policy.schema import policy_schema, profile_schema, written

    print(written(profile_schema() if options.profile else policy_schema()), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
