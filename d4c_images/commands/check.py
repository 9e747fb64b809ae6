"""`check`: verifies that ledger and files agree. Changes neither, unless `--repair` is given (`check_repair`)."""

from __future__ import annotations

import argparse
import json
import sys

from d4c_images.commands import arguments, check_repair, session
from d4c_images.errors import Stopped, UsageError
from d4c_images.settings import Settings


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "check",
        run,
        "Verify that ledger and files agree, in both directions. Changes neither unless --repair is given; exits with 1 on "
        "findings. Run it again to "
        "resume after an interruption.",
        settings,
        root=True,
        drains=True,
    )
    parser.add_argument("--sha256", action="store_true", help="read every file and verify its SHA-256")
    parser.add_argument("--full", action="store_true", help="run SQLite's full integrity check instead of the quick one")
    parser.add_argument(
        "--ledger-only",
        action="store_true",
        help="check only the database, its counters and records, no files; also reports row counts",
    )
    parser.add_argument("--restart", action="store_true", help="start over instead of resuming an interrupted check")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_progress(parser)
    check_repair.add(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    from rich.console import Console

    from d4c_images.collection.check import CheckOptions, check
    from d4c_images.collection.findings import CheckProgress
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.report.check_progress import CheckProgressView
    from d4c_images.report.render import show_check

    options = CheckOptions(args.sha256, args.full, args.ledger_only, args.restart)
    if args.ledger_only and args.sha256:
        raise UsageError("--ledger-only reads no files, so it cannot be combined with --sha256")
    check_repair.check_arguments(args)
    if args.repair:
        return check_repair.run(args, settings, options)
    stop = session.Stop()
    live = session.wants_progress(args, sys.stderr)
    with stop.listening(), open_reader(args.ledger) as ledger, CheckProgressView(live=live) as view:

        def show(progress: CheckProgress) -> None:
            view.show(progress)
            if stop():
                raise Stopped(f"{stop.signal_name()}: the check was stopped; run the same command again to resume")

        report = check(ledger, args.root, options, show, session.say)
    if args.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        show_check(report, Console())
    return 0 if report.ok else 1
