"""`identify`: says which image a URL is about. Uses no network and no ledger."""

from __future__ import annotations

import argparse

from d4c_images.commands import arguments
from d4c_images.errors import UsageError
from d4c_images.settings import Settings


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "identify",
        run,
        "Show how a URL is identified. Prints the rule, the image key and the URLs to try, in order; sends no requests.",
        settings,
        ledger=False,
    )
    parser.add_argument("urls", nargs="*", metavar="URL", help="URL as found in an identifier cell; a cell may hold several")
    parser.add_argument(
        "--file",
        metavar="FILE",
        help="summarise a file instead: a GBIF download, an archive, a table with a column of URLs, or a list of URLs",
    )
    parser.add_argument("--limit", type=arguments.positive, metavar="N", help="read at most N rows of the file")
    parser.add_argument("--verbose", action="store_true", help="also print each row of the file")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.report.identities import explained, surveyed
    from d4c_images.sources import path_of

    if bool(args.urls) == (args.file is not None):
        raise UsageError("identify needs either URLs or --file")
    if args.file is None:
        print(explained(args.urls, as_json=args.json))
    else:
        print(surveyed(path_of(args.file), args.limit, verbose=args.verbose, as_json=args.json))
    return 0
