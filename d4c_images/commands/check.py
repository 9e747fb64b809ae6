"""`check`: holds ledger and files against each other. Changes nothing."""

from __future__ import annotations

import argparse
import json
import sys

from d4c_images.commands import arguments, session
from d4c_images.settings import Settings


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "check",
        run,
        "Hold ledger and files against each other, both ways. Changes nothing; exit code 1 on findings.",
        settings,
        root=True,
    )
    parser.add_argument("--sha256", action="store_true", help="read every file and compare its hash")
    parser.add_argument("--full", action="store_true", help="SQLite's full integrity check instead of the quick one")
    parser.add_argument("--json", action="store_true", help="the findings for scripts")
    arguments.add_progress(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    from rich.console import Console

    from d4c_images.ledger.reader import open_reader
    from d4c_images.report import check as checking
    from d4c_images.report.check_progress import CheckProgressView
    from d4c_images.report.render import show_check

    live = session.wants_progress(args, sys.stderr)
    with open_reader(args.ledger) as ledger, CheckProgressView(live=live) as view:
        report = checking.check(ledger, args.root, checking.CheckOptions(sha256=args.sha256, full=args.full), view.show)
    if args.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        show_check(report, Console())
    return 0 if report.ok else 1
