"""`backup`: copies the ledger to another file, or verifies such a copy. Changes nothing in the ledger."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d4c_images.commands import arguments, session
from d4c_images.durations import counted, show_moment, show_size
from d4c_images.errors import Stopped, UsageError, of_a_named_path, printable
from d4c_images.report.as_json import json_text
from d4c_images.settings import Settings
from d4c_images.system import clocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from d4c_images.collection.backup import CopyStep, ShowStep
    from d4c_images.ledger.file.backup_note import BackupNote


def add(subparsers: arguments.Subparsers, settings: Settings) -> None:
    parser = arguments.command(
        subparsers,
        "backup",
        run,
        "Back up the ledger, also during a download. Copies one moment of it, verifies the copy, and gives it its name when it is "
        "complete; its hash is in FILE.sha256. Changes nothing in the ledger.",
        settings,
        drains=True,
    )
    parser.add_argument(
        "target",
        metavar="FILE",
        help="file to write, or a folder, where its name has the date; a folder that ends with / is created",
    )
    parser.add_argument(
        "--keep",
        type=arguments.positive,
        metavar="N",
        help="then remove all but the N newest backups of this ledger from that folder",
    )
    parser.add_argument("--verify", action="store_true", help="verify the backup FILE instead, by its hash; needs no ledger")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments.add_progress(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    from d4c_images.report.copy_progress import CopyProgress

    stop = session.Stop()
    with stop.listening(), CopyProgress(live=session.wants_progress(args, sys.stderr)) as view:
        show = until(stop, view.show, "the backup was stopped, and nothing of it is left; run the same command again")
        result, lines = _verify(args, show) if args.verify else _make(args, show)
    print(json_text(result) if args.json else "\n".join(map(printable, lines)))
    return 0


def until(stop: session.Stop, show: ShowStep, what: str) -> Callable[[CopyStep], None]:
    """As `show`, but raises `Stopped` once a signal has come."""

    def step(progress: CopyStep) -> None:
        show(progress)
        if stop():
            raise Stopped(f"{stop.signal_name()}: {what}")

    return step


def described(note: BackupNote) -> str:
    return (
        f"{show_moment(note.taken_at)}, {show_size(note.size_bytes)}, {counted(note.n_images, 'image')}, {note.n_stored:,} stored"
    )


def as_dict(note: BackupNote | None) -> dict[str, Any]:
    return {} if note is None else asdict(note)


def _make(args: argparse.Namespace, show: ShowStep) -> tuple[dict[str, Any], list[str]]:
    """For JSON, and in words."""
    from d4c_images.collection import backup
    from d4c_images.ledger.file import backup_folder
    from d4c_images.ledger.file.reader import open_reader

    target = Path(args.target)
    with open_reader(args.ledger) as ledger:
        if args.target.endswith(os.sep):
            _create(target)
        elif not target.is_dir() and not target.absolute().parent.is_dir():
            raise UsageError(f"cannot write the backup {target}: no such folder: {target.absolute().parent}")
        made = backup.make(ledger, target, clocks.now(), show)
    lines = [f"{made.path}: {described(made.note)}; verified"]
    if ledger.copied_at is not None:
        lines.append("a run keeps the ledger locked, so this is its read-only copy of that time")
    removed: list[Path] = []
    damaged: list[Path] = []
    if args.keep is not None:
        removed, damaged = backup_folder.forget(made.path.parent, made.path, made.note.ledger_id, args.keep)
        lines += [f"removed {path}" for path in removed]
        lines += [f"{path} is damaged: it is not counted, and not removed" for path in damaged]
    paths = {"removed": list(map(str, removed)), "damaged": list(map(str, damaged))}
    return {"backup": str(made.path), **as_dict(made.note), **paths}, lines


def _verify(args: argparse.Namespace, show: ShowStep) -> tuple[dict[str, Any], list[str]]:
    """For JSON, and in words."""
    from d4c_images.collection.backup import verify

    if args.keep is not None:
        raise UsageError("--verify removes nothing, so it cannot be combined with --keep")
    path = Path(args.target)
    found, note = verify(path, show)
    line = f"{path}: the hash is right; {described(note)}" if note else f"{path}: no note next to it; SQLite finds it sound"
    return {"backup": str(path), "is_sound": True, "version": found.version, **as_dict(note)}, [line]


def _create(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise of_a_named_path(UsageError, f"cannot create the folder {folder}: {error.strerror}", error) from error
