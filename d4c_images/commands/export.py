"""`export`: writes the list of a collection. Copies no image."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from d4c_images.commands import arguments, session
from d4c_images.errors import D4CError
from d4c_images.settings import Settings


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "export",
        run,
        "Write the list of what is stored: a row for each image of each record, with its file, hash, size, source, licence, "
        "creator and the labels that init has taken in. Changes nothing and may run beside a download.",
        settings,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="NAME.parquet or NAME.csv; written beside it first, then renamed")
    parser.add_argument("--json", action="store_true", help="the summary for scripts")
    arguments.add_progress(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.export import files
    from d4c_images.ledger import collected
    from d4c_images.ledger.reader import open_reader
    from d4c_images.report.check import CheckProgress
    from d4c_images.report.check_progress import CheckProgressView

    files.check_name(args.file)
    live = session.wants_progress(args, sys.stderr)
    with open_reader(args.ledger) as ledger, CheckProgressView(live=live, doing="listing") as view:

        def show(done: int, total: int) -> None:
            view.show(CheckProgress("images", done, total))

        try:
            args.file.absolute().parent.mkdir(parents=True, exist_ok=True)
            n_rows = files.write(collected.COLLECTION, collected.steps(ledger, show), [args.file])
            size_bytes = args.file.stat().st_size
        except OSError as error:
            raise D4CError(f"cannot write {args.file}: {error.strerror or error}") from error
    if args.json:
        print(json.dumps({"file": str(args.file), "n_rows": n_rows, "size_bytes": size_bytes}, indent=2))
    else:
        print(f"{args.file}: {n_rows:,} rows, one for each image of each record ({size_bytes / 1e6:,.1f} MB)")
    return 0
