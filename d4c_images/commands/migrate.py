"""`migrate`: brings a ledger of an older version up to date, after a backup. Changes no image and no file of the collection."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from d4c_images.commands import arguments, session
from d4c_images.errors import UsageError, printable
from d4c_images.settings import Settings


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "migrate",
        run,
        "Upgrade a ledger written by an older version. Backs it up first; run it again to resume after an interruption.",
        settings,
        drains=True,
    )
    backup = parser.add_mutually_exclusive_group()
    backup.add_argument("--backup", type=Path, metavar="FILE", help="file to write the backup to (default: next to the ledger)")
    backup.add_argument("--no-backup", action="store_true", help="make no backup")
    arguments.add_progress(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    from rich.console import Console

    from d4c_images.ledger.file import identify, migrations, schema
    from d4c_images.report.migration_progress import MigrationProgress

    if not args.ledger.exists():
        raise UsageError(f"no ledger at {args.ledger}")
    found = identify.inspect(args.ledger)
    if found is not None and found.version == schema.SCHEMA_VERSION and not found.under_way:
        print(f"{printable(str(args.ledger))} already has the current ledger version, {found.version}: nothing to do")
        return 0
    stop = session.Stop()
    live = session.wants_progress(args, sys.stdout)
    with stop.listening(), MigrationProgress(Console(), live=live) as view:
        terms = migrations.MigrationTerms(args.backup, args.no_backup, show=view.show, stop=stop)
        with session.owned(args.ledger, "migrate", settings, session.wait(stop), terms=terms):
            pass
    return 0
