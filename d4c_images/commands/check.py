"""`check`: verifies that ledger and files agree. Changes neither, unless `--repair` is given (`check_repair`)."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from d4c_images.commands import arguments, check_repair, session
from d4c_images.errors import EXIT_ERROR, EXIT_WORK_LEFT, Stopped, UsageError
from d4c_images.report.as_json import json_text
from d4c_images.settings import Settings

if TYPE_CHECKING:
    from d4c_images.collection.check import CheckOptions
    from d4c_images.collection.findings import CheckReport, Finding

MOST_PROCESSES = 8  # unless more are asked for: with 22 MB each, a check stays below 300 MB, and faster than most disks
OF_FILES = ("sha256", "decode", "sample", "part", "ignore")


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "check",
        run,
        "Verify that ledger and files agree, in both directions. Changes neither unless --repair is given, and may run during a "
        "download. Prints a line for each finding: reason, file, image_id, detail and the command that mends it, separated by "
        "tabs; the summary goes to standard error. Exits with 0 if nothing is wrong, with 1 on findings, and with 75 if it was "
        "stopped: run it again to resume.",
        settings,
        root=True,
        drains=True,
    )
    _add_looks(parser)
    parser.add_argument("--full", action="store_true", help="run SQLite's full integrity check instead of the quick one")
    parser.add_argument(
        "--ledger-only",
        action="store_true",
        help="check only the database, its counters and records, no files; also reports row counts",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="ignore files whose name matches PATTERN (*, ?, [...]), or whose path below the image root does if it has a slash; "
        "'NAME/' is a folder with everything in it. Repeatable. Files such as .DS_Store, Thumbs.db, .nfs* and @eaDir always are",
    )
    parser.add_argument(
        "--processes",
        type=arguments.positive,
        metavar="N",
        help="number of processes that look at files (default: one per core granted by the scheduler; without --decode, at most "
        f"{MOST_PROCESSES})",
    )
    parser.add_argument("--restart", action="store_true", help="start over instead of resuming an interrupted check")
    parser.add_argument("--summary", action="store_true", help="check nothing: join the results of the last check's parts")
    parser.add_argument("--json", action="store_true", help="print JSON Lines: an object for each finding, then the summary")
    arguments.add_progress(parser)
    check_repair.add(parser)


def _add_looks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sha256", action="store_true", help="read every file and verify its SHA-256")
    parser.add_argument("--decode", action="store_true", help="read every file and decode the image, as a download does")
    parser.add_argument(
        "--sample",
        metavar="P%",
        help="read only P%% of the images, other ones each time until all have been read; implies --sha256 without --decode. "
        "Names and sizes of all files are still checked",
    )
    parser.add_argument(
        "--part",
        metavar="K/N",
        help="check only part K of N; all N parts, at once or in N nights, check everything. Part 1 includes the ledger itself",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    check_repair.check_arguments(args)
    if args.summary:
        return _summary(args)
    if args.repair:
        return check_repair.run(args, settings, _options(args, settings))
    from d4c_images.collection.check import check
    from d4c_images.collection.findings import CheckProgress
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.report.check_progress import CheckProgressView

    options = _options(args, settings)
    stop = session.Stop()
    live = session.wants_progress(args, sys.stderr)
    with stop.listening(), open_reader(args.ledger) as ledger, CheckProgressView(live=live) as view:

        def show(progress: CheckProgress) -> None:
            view.show(progress)
            if stop():
                raise Stopped(f"{stop.signal_name()}: the check was stopped; run the same command again to resume")

        def found(finding: Finding) -> None:
            _print_finding(finding, as_json=args.json)

        report = check(ledger, args.root, options, show, session.say, found=found)
    _print_summary(report, as_json=args.json)
    return 0 if report.ok else EXIT_ERROR


def _options(args: argparse.Namespace, settings: Settings) -> CheckOptions:
    from d4c_images.collection.check import CheckOptions
    from d4c_images.collection.check_parts import Part, sample_of
    from d4c_images.collection.ignored import Ignored

    for name in OF_FILES:
        if args.ledger_only and getattr(args, name):
            raise UsageError(f"--ledger-only reads no files, so it cannot be combined with --{name}")
    Ignored(args.ignore)  # complains before anything is read
    sample = None if args.sample is None else sample_of(args.sample)
    return CheckOptions(
        sha256=args.sha256 or (sample is not None and not args.decode),
        decode=args.decode,
        sample=sample,
        full=args.full,
        ledger_only=args.ledger_only,
        part=Part() if args.part is None else Part.parse(args.part),
        ignore=tuple(args.ignore),
        n_processes=args.processes or _default_processes(settings, decodes=args.decode),
        restart=args.restart,
    )


def _default_processes(settings: Settings, *, decodes: bool) -> int:
    return settings.processes if decodes else min(settings.processes, MOST_PROCESSES)


def _summary(args: argparse.Namespace) -> int:
    """Join the results of a check's parts: 1 on findings, 75 if parts are missing."""
    from rich.console import Console

    from d4c_images.collection.check_results import check_results, findings_of, joined
    from d4c_images.report.render import show_joined

    parts = joined(check_results(args.ledger))
    if parts is None:
        raise UsageError(f"no result of a check is next to {args.ledger}")
    for result in parts.results:
        for finding in findings_of(result):
            _print_finding(finding, as_json=args.json)
    if args.json:
        print(json_text(parts.as_dict(), indent=None))
    else:
        show_joined(parts, Console(stderr=True))
    if not parts.ok:
        return EXIT_ERROR
    return EXIT_WORK_LEFT if parts.missing else 0


def _print_finding(finding: Finding, *, as_json: bool) -> None:
    print(json_text(finding.as_dict(), indent=None) if as_json else finding.line())


def _print_summary(report: CheckReport, *, as_json: bool) -> None:
    from rich.console import Console

    from d4c_images.collection.check_results import check_results, joined
    from d4c_images.report.render import ranges, show_check

    if as_json:
        print(json_text(report.as_dict(), indent=None))
        return
    show_check(report, Console(stderr=True))
    if report.scope.parts > 1:
        results = check_results(report.ledger)
        own = [result for result in results if (result.scope, result.ended_at) == (report.scope, report.ended_at)]
        if own and (parts := joined(results, own[0])) is not None:
            rest = f"missing: {ranges(parts.missing)}" if parts.missing else "'d4c-images check --summary' joins their results"
            session.say(f"{len(parts.results):,} of {parts.parts:,} parts of this check are done; {rest}")
