"""A full copy of a ledger before it is migrated. Made by the connection of the process that owns it; changes nothing in it.

It is written under another name, made durable, then renamed: a file with the name of a backup is complete.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from d4c_images import crash
from d4c_images.errors import LedgerError
from d4c_images.ledger.file import copying
from d4c_images.ledger.file.connect import Ledger, sqlite_words


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
        copying.copy_pages(ledger.connection, new, show)  # the only connection that could write in between is the one that copies
        copying.make_free(new)
        crash.point("backup.before_rename")
        new.rename(target)
        copying.sync_folder(target.parent)
        crash.point("backup.after_rename")
    except (sqlite3.Error, OSError) as error:
        _remove(new)
        raise LedgerError(f"cannot write the backup {target} ({_words_of(error)}); the ledger is unchanged") from error
    except BaseException:
        _remove(new)
        raise


def _words_of(error: sqlite3.Error | OSError) -> str:
    return sqlite_words(error) if isinstance(error, sqlite3.Error) else str(error)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):  # what was wrong before is what is reported
            path.with_name(f"{path.name}{suffix}").unlink()
