"""`runs`: lists the commands that have written to the ledger, what each did and how it ended. Changes nothing."""

from __future__ import annotations

import argparse
import dataclasses
import time

from d4c_images.commands import arguments
from d4c_images.errors import printable
from d4c_images.report.as_json import json_text
from d4c_images.settings import Settings


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "runs",
        run,
        "List the latest runs and how they ended. Shows when and where each command that writes the ledger ran, and what it did.",
        settings,
    )
    parser.add_argument("--limit", type=arguments.positive, default=10, metavar="N", help="list at most N runs")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.report import run_states

    with open_reader(args.ledger) as ledger:
        runs = run_states.run_states(ledger, time.time(), args.limit)
    if args.json:
        print(json_text([dataclasses.asdict(one) for one in runs]))
        return 0
    for one in runs:
        for line in run_states.lines_of(one):
            print(printable(line))
    if not runs:
        print("no runs so far")
    return 0
