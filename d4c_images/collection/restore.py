"""Puts a backup of a ledger back, after it has been verified. Touches no image, and deletes no ledger."""

from __future__ import annotations

import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path

from d4c_images import crash
from d4c_images.collection.backup import ShowStep, check_room, in_bytes, verify
from d4c_images.errors import LedgerError, UsageError, of_a_named_path
from d4c_images.ledger.file import copying, drafts, replacing, schema
from d4c_images.ledger.file.backup_note import BackupNote
from d4c_images.ledger.file.connect import sqlite_words
from d4c_images.ledger.file.replacing import Restorer


@dataclass(frozen=True, slots=True)
class RestoredLedger:
    path: Path
    version: int
    note: BackupNote | None  # None: of a backup made by another program, or by a migration
    kept: Path | None  # the new name of what was there
    needs_migration: bool


def restore(backup: Path, path: Path, me: Restorer, show: ShowStep, *, replace: bool) -> RestoredLedger:
    """Verify a backup, copy it next to the ledger, and give the copy the ledger's name in one step; the backup stays.

    Raises `UsageError` if there is a ledger and it is not to be replaced, and `LedgerError`; then nothing has changed.
    """
    if path.exists() and not replace:
        raise UsageError(f"{path} exists: --replace puts the backup in its place, and keeps it under another name")
    if path.exists() and backup.exists() and path.samefile(backup):
        raise UsageError(f"{backup} is the ledger itself")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"cannot restore {path}: no such folder: {path.absolute().parent}")
    replacing.check_free(path, me)
    found, note = verify(backup, show)
    try:
        drafts.sweep(path.absolute().parent)
        check_room(path, backup.stat().st_size)
        with drafts.draft(path) as new:
            _copy(backup, new, show)
            kept = replacing.put_in_place(new, path, me)
    except OSError as error:
        raise of_a_named_path(LedgerError, f"cannot restore {path}: {error.strerror}", error) from error
    return RestoredLedger(path, found.version, note, kept, found.version < schema.SCHEMA_VERSION or found.under_way)


def _copy(backup: Path, new: Path, show: ShowStep) -> None:
    try:
        with copying.looked_at(backup) as source:
            copying.copy_pages(source, new, in_bytes(backup.stat().st_size, show))
        copying.make_free(new)
        replacing.fence(new)
        new.chmod(stat.S_IMODE(backup.stat().st_mode) | stat.S_IRUSR | stat.S_IWUSR)
    except sqlite3.Error as error:
        raise LedgerError(f"cannot copy {backup}: {sqlite_words(error)}. Nothing was changed") from error
    crash.point("restore.copied")
