"""`status`: shows what the ledger says. Changes nothing."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from d4c_images.commands import arguments
from d4c_images.errors import printable
from d4c_images.report.as_json import json_text
from d4c_images.settings import Settings

if TYPE_CHECKING:
    from rich.text import Text


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "status",
        run,
        "Show the state of the collection. Instant at any size; safe while a download is running.",
        settings,
    )
    parser.add_argument("--full", action="store_true", help="show all tables even if they exceed the height of the terminal")
    arguments.add_watch(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--tables",
        type=Path,
        metavar="DIR",
        help="also write the tables as CSV and Parquet files into DIR (per host, not per image: for images see export)",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    from rich.console import Console

    from d4c_images.collection.verifications import found_by_checks
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.report.export_tables import write_tables
    from d4c_images.report.render import show_status
    from d4c_images.report.status import status_report

    arguments.check_watch(args, {"--json": args.json, "--tables": args.tables is not None})
    if args.watch is not None:
        return _watch(args)
    with open_reader(args.ledger) as ledger:
        report = status_report(ledger, time.time(), found_by_checks(args.ledger))
        if args.tables is not None:
            for path in write_tables(ledger, args.tables):
                print(printable(str(path)), file=sys.stderr)
    if args.json:
        print(json_text(report.as_dict()))
    else:
        show_status(report, Console(), full=args.full)
    return 0


def _watch(args: argparse.Namespace) -> int:
    from rich.console import Console

    from d4c_images.collection.verifications import found_by_checks
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.report.render import status_lines
    from d4c_images.report.status import status_report
    from d4c_images.report.watch import watch

    console = Console()

    def lines() -> list[Text]:
        with open_reader(args.ledger) as ledger:
            report = status_report(ledger, time.time(), found_by_checks(args.ledger))
        return status_lines(report, console, full=args.full)

    watch(lines, console, args.watch)
    return 0
