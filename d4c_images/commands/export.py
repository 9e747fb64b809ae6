"""`export`: writes the list of a collection, or of all its images. Copies no image."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from d4c_images.commands import arguments, session
from d4c_images.durations import counted, show_size
from d4c_images.errors import D4CError, of_a_named_path, printable
from d4c_images.report.as_json import json_text
from d4c_images.settings import Settings

EXPORT_COLLECTION, EXPORT_ALL, EXPORT_FAILED = "collection", "all images", "failed images"
ROWS_OF_EXPORT = {
    EXPORT_COLLECTION: "one for each image of each record",
    EXPORT_ALL: "one for each image, stored or not",
    EXPORT_FAILED: "one for each image that has failed",
}


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "export",
        run,
        "Write the list of stored images as Parquet or CSV. One row per record and image, with file, hash, size, source, licence, "
        "creator and the labels imported by init. Changes nothing; safe while a download is running.",
        settings,
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="NAME.parquet or NAME.csv; written under a temporary name, then renamed"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--all-images",
        dest="which",
        action="store_const",
        const=EXPORT_ALL,
        default=EXPORT_COLLECTION,
        help="write one row per image instead, stored or not, with status and errors: the columns of the view `images`",
    )
    which.add_argument(
        "--failed",
        dest="which",
        action="store_const",
        const=EXPORT_FAILED,
        help="write one row per failed image instead, with the same columns",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON summary")
    arguments.add_progress(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.collection.findings import CheckProgress
    from d4c_images.export import files
    from d4c_images.ledger.file.reader import open_reader
    from d4c_images.ledger.questions import collection_list, tables
    from d4c_images.report.check_progress import CheckProgressView

    files.check_name(args.file)
    live = session.wants_progress(args, sys.stderr)
    with open_reader(args.ledger) as ledger, CheckProgressView(live=live, doing="listing") as view:

        def show(what: str, done: int, total: int | None) -> None:
            view.show(CheckProgress(what, done, total))

        choices = {EXPORT_COLLECTION: collection_list.COLLECTION, EXPORT_ALL: tables.IMAGES, EXPORT_FAILED: tables.FAILED_IMAGES}
        table = choices[args.which]
        of_links = args.which == EXPORT_COLLECTION
        steps = collection_list.steps(ledger, show) if of_links else tables.image_steps(ledger, table=table, progress=show)
        try:
            args.file.absolute().parent.mkdir(parents=True, exist_ok=True)
            n_rows = files.write(table, steps, [args.file])
            size_bytes = args.file.stat().st_size
        except OSError as error:
            raise of_a_named_path(D4CError, f"cannot write {args.file}: {error.strerror or error}", error) from error
    if args.json:
        print(json_text({"file": str(args.file), "n_rows": n_rows, "size_bytes": size_bytes}))
    else:
        print(f"{printable(str(args.file))}: {counted(n_rows, 'row')}, {ROWS_OF_EXPORT[args.which]} ({show_size(size_bytes)})")
    return 0
