"""A full copy of a ledger before it is changed. Made by the connection of the process that owns it; changes nothing in it.

It is written under another name, made durable, then renamed: a file with the name of a backup is complete.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from d4c_images import crash
from d4c_images.errors import LedgerError
from d4c_images.ledger.file.connect import Ledger

BACKUP_PAGES_PER_STEP = 2_000  # 16 MB


def free_name(path: Path, version: int) -> Path:
    """The path for the backup of a ledger of this version. An older backup is never replaced."""
    first = path.with_name(f"{path.name}.v{version}.backup")
    name, n = first, 1
    while name.exists():
        n += 1
        name = first.with_name(f"{first.name}.{n}")
    return name


def write(ledger: Ledger, target: Path, show: Callable[[int, int], None]) -> None:
    """Copy the ledger to `target`; `show` is called with the number of pages done, and of all pages.

    Raises `LedgerError` if it cannot be written; nothing with the name `target` is there then.
    """
    new = target.with_name(f"{target.name}.new")
    try:
        _remove(new)  # left by a killed attempt
        with closing(sqlite3.connect(new, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            # Copying in steps is safe: the only connection that could write in between is the one that copies.
            ledger.connection.backup(copy, pages=BACKUP_PAGES_PER_STEP, progress=lambda _, left, total: show(total - left, total))
            # Whoever restores the backup finds it without an owner.
            copy.execute("UPDATE runs SET ended_at = heartbeat_at, ending = 'ended' WHERE run_id IN (SELECT run_id FROM owner)")
            copy.execute("DELETE FROM owner")
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        crash.point("backup.before_rename")
        new.rename(target)
        _sync_folder(target.parent)
        crash.point("backup.after_rename")
    except (sqlite3.Error, OSError) as error:
        _remove(new)
        raise LedgerError(f"cannot write the backup {target} ({error}); the ledger is unchanged") from error
    except BaseException:
        _remove(new)
        raise


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):  # what was wrong before is what is reported
            path.with_name(f"{path.name}{suffix}").unlink()
