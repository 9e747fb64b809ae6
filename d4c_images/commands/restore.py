"""`restore`: puts a backup of the ledger back. Touches no image."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from d4c_images.commands import arguments, session
from d4c_images.commands.backup import as_dict, described, until
from d4c_images.errors import printable
from d4c_images.report.as_json import json_text
from d4c_images.settings import Settings
from d4c_images.system import clocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from d4c_images.collection.restore import RestoredLedger


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "restore",
        run,
        "Put a backup of the ledger back, while no run has it. Verifies the backup first, and says what to do next; the backup "
        "stays. Deletes no ledger: the one that it replaces is kept under another name.",
        settings,
        drains=True,
    )
    parser.add_argument("backup", type=Path, metavar="FILE", help="the backup")
    parser.add_argument("--replace", action="store_true", help="replace an existing ledger, which is kept under another name")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_progress(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.collection.restore import restore
    from d4c_images.ledger.file import owner
    from d4c_images.ledger.file.replacing import Restorer
    from d4c_images.report.copy_progress import CopyProgress

    stop = session.Stop()
    me = Restorer(owner.this_process(settings.job_id), clocks.now(), session.wait(stop).patience, settings.ledger_disk)
    with stop.listening(), CopyProgress(live=session.wants_progress(args, sys.stderr)) as view:
        show = until(stop, view.show, "nothing was changed; run the same command again")
        done = restore(args.backup, args.ledger, me, show, replace=args.replace)
    following = list(_next(done))
    if args.json:
        print(json_text({
            "ledger": str(done.path), "backup": str(args.backup), "version": done.version, **as_dict(done.note),
            "kept": str(done.kept) if done.kept else None, "next": [command for command, _ in following],
        }))  # fmt: skip
        return 0
    of = f": {described(done.note)}" if done.note else ""
    print(printable(f"{done.path} is restored from {args.backup}{of}"))
    if done.kept is not None:
        print(printable(f"what was there is kept as {done.kept} (and the files next to it)"))
    print("next:")
    for command, why in following:
        print(printable(f"  {command}\n      {why}"))
    return 0


def _next(done: RestoredLedger) -> Iterator[tuple[str, str]]:
    ledger = f"--ledger {shlex.quote(str(done.path))}"
    if done.needs_migration:
        yield f"d4c-images migrate {ledger}", f"brings the backup up to date, which has ledger version {done.version}"
    yield (
        f"d4c-images check --repair {ledger}",
        "adopts the files that were stored since the backup, so that they are not fetched again",
    )
    yield f"d4c-images download {ledger}", "fetches what is still missing"
