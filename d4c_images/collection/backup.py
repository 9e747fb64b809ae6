"""Makes and verifies backups of a ledger. Changes nothing in the ledger, and may run while others write to it."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from d4c_images import crash
from d4c_images.durations import show_size
from d4c_images.errors import LedgerError, LedgerUnusable, UsageError, of_a_named_path
from d4c_images.ledger.file import backup_folder, backup_note, copying, drafts, identify
from d4c_images.ledger.file.backup_note import BackupNote, LedgerFacts
from d4c_images.ledger.file.connect import sqlite_words
from d4c_images.ledger.file.identify import FoundLedger
from d4c_images.ledger.file.reader import Reader

SPARE_FOR_NOTES_BYTES = 1 << 20  # for notes and folders


@dataclass(frozen=True, slots=True)
class CopyStep:
    """How far a part of the work is, in bytes. `total` is None if that cannot be said."""

    what: str  # copy, verify, hash
    done: int
    total: int | None


ShowStep = Callable[[CopyStep], None]


@dataclass(frozen=True, slots=True)
class MadeBackup:
    path: Path
    note: BackupNote


def make(ledger: Reader, target: Path, now: float, show: ShowStep) -> MadeBackup:
    """Write a backup: into `target`, or with the date in its name if that is a folder.

    It is one moment of the ledger: what a read transaction sees, held while the pages are copied. No file has the backup's name
    before it is complete, durable and verified. Raises `LedgerError`, `UsageError`, and what `show` raises.
    """
    taken_at = int(ledger.copied_at or now)
    folder = target if target.is_dir() else target.parent
    backup_folder.sweep(folder)
    path = backup_folder.free_name(folder, ledger.path, taken_at) if target.is_dir() else target
    if path.exists():
        raise UsageError(f"{path} exists, and a backup replaces nothing: choose another name, or a folder, where it gets the date")
    try:
        with drafts.draft(path) as new:
            found = _copy(ledger, new, path, show)
            note = _verified(new, path, found, taken_at, show)
            with drafts.draft(backup_note.note_of(path)) as small:
                small.write_bytes(backup_note.text(note, path.name))
                copying.make_durable(small)
                small.replace(backup_note.note_of(path))
            crash.point("backup.noted")
            new.chmod(stat.S_IMODE(ledger.path.stat().st_mode))  # what others may not read, they may not read there
            new.rename(path)
            copying.sync_folder(folder)
            crash.point("backup.named")
    except OSError as error:
        raise of_a_named_path(LedgerError, f"cannot write the backup {path}: {error.strerror}", error) from error
    finally:
        backup_folder.sweep(folder)  # a note whose backup has failed
    return MadeBackup(path, note)


def _copy(ledger: Reader, new: Path, path: Path, show: ShowStep) -> LedgerFacts:
    with ledger.one_moment() as connection:
        found = backup_note.facts(connection)
        check_room(path, found.size_bytes)
        crash.point("backup.begun")
        try:
            copying.copy_pages(connection, new, in_bytes(found.size_bytes, show))
        except sqlite3.Error as error:
            raise LedgerError(f"cannot copy {ledger.path} to {path}: {sqlite_words(error)}") from error
    crash.point("backup.copied")
    return found


def _verified(new: Path, path: Path, found: LedgerFacts, taken_at: int, show: ShowStep) -> BackupNote:
    """Does the copy say of itself what the ledger said at that moment, and is it sound when it is read back from the disk?"""
    try:
        with copying.looked_at(new) as connection:
            if backup_note.facts(connection) != found:
                raise LedgerError(f"the backup {path} is not what the ledger was, and was removed: is its disk sound?")
        copying.make_free(new)
    except sqlite3.Error as error:
        raise LedgerError(f"the backup {path} is damaged, and was removed: {sqlite_words(error)}") from error
    check_sound(new, f"the backup {path} is damaged, and was removed", found.size_bytes, show)
    sha256 = copying.digest(new, lambda done, total: show(CopyStep("hash", done, total)))
    crash.point("backup.verified")
    return BackupNote(found.ledger_id, taken_at, found.version, found.n_images, found.n_stored, new.stat().st_size, sha256)


def verify(backup: Path, show: ShowStep) -> tuple[FoundLedger, BackupNote | None]:
    """Whether a backup is what was written: by the hash in its note, or, if it has none, by SQLite's quick check.

    Raises `LedgerError` if it is damaged, or is no ledger of this program. Changes nothing.
    """
    try:
        note, size = backup_note.read(backup), backup.stat().st_size
        backup.open("rb").close()
    except OSError as error:
        raise of_a_named_path(LedgerError, f"cannot read the backup {backup}: {error.strerror}", error) from error
    for suffix in ("-wal", "-journal"):
        beside = Path(f"{backup}{suffix}")
        if beside.exists() and beside.stat().st_size:
            raise LedgerError(f"{backup} has been written to since: part of it is in {beside}")
    if note is not None:
        if size != note.size_bytes:
            raise LedgerError(f"{backup} is damaged: it has {size:,} bytes, but was written with {note.size_bytes:,}")
        try:
            sha256 = copying.digest(backup, lambda done, total: show(CopyStep("hash", done, total)))
        except OSError as error:
            raise of_a_named_path(LedgerError, f"cannot read the backup {backup}: {error.strerror}", error) from error
        if sha256 != note.sha256:
            raise LedgerError(f"{backup} is damaged: its SHA-256 is {sha256}, but was {note.sha256} when it was written")
    found = identify.inspect(backup)
    if found is None:
        raise LedgerUnusable(f"{backup} is not a ledger" if not size else f"{backup} is damaged: SQLite cannot read it")
    if note is None:
        check_sound(backup, f"{backup} is damaged", size, show)
    return found, note


def in_bytes(size: int, show: ShowStep) -> copying.Show:
    """From pages of a file of this size to bytes."""
    return lambda done, total: show(CopyStep("copy", size * done // max(1, total), size))


def check_sound(path: Path, what: str, size: int, show: ShowStep) -> None:
    show(CopyStep("verify", 0, None))
    trouble = copying.damage_of(path, lambda: show(CopyStep("verify", size, None)))
    if trouble is not None:
        raise LedgerError(f"{what}: {trouble}")


def check_room(path: Path, size: int) -> None:
    """Raise `LedgerError` if the folder has too little space for this file."""
    free = shutil.disk_usage(path.absolute().parent).free
    if free < size + SPARE_FOR_NOTES_BYTES:
        raise LedgerError(
            f"no space for {path}: it takes {show_size(size + SPARE_FOR_NOTES_BYTES)}, and {path.absolute().parent} has "
            f"{show_size(free)} free. Nothing was written"
        )
