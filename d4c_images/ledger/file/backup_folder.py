"""Backups in a folder: which there are, which may go, and what killed processes left there. Makes none.

Only a file with a note of ours (`backup_note`), and of the size that the note gives, counts as a backup. No other is removed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from d4c_images import crash
from d4c_images.ledger.file import backup_note, drafts
from d4c_images.ledger.file.backup_note import NOTE_HEAD, NOTE_SUFFIX, BackupNote


@dataclass(frozen=True, slots=True)
class KeptBackup:
    """A backup of some ledger in the folder."""

    path: Path
    note: BackupNote
    is_whole: bool  # of the size that the note gives


def free_name(folder: Path, ledger: Path, taken_at: int) -> Path:
    """`ledger-20261130T221519Z.sqlite`: the ledger's name, and the time in UTC, so that names sort by age."""
    moment = datetime.fromtimestamp(taken_at, UTC).strftime("%Y%m%dT%H%M%SZ")
    name, n = f"{ledger.stem}-{moment}{ledger.suffix}", 1
    while (folder / name).exists() or drafts.is_being_written(folder / name):
        n += 1
        name = f"{ledger.stem}-{moment}-{n}{ledger.suffix}"
    return folder / name


def backups_in(folder: Path, ledger_id: str) -> list[KeptBackup]:
    """Those of one ledger, the newest first."""
    found = []
    for path in sorted(folder.glob(f"*{NOTE_SUFFIX}")):
        backup = path.with_name(path.name.removesuffix(NOTE_SUFFIX))
        note = backup_note.read(backup)
        if note is not None and note.ledger_id == ledger_id and backup.is_file():
            found.append(KeptBackup(backup, note, backup.stat().st_size == note.size_bytes))
    return sorted(found, key=lambda one: (one.note.taken_at, one.path.name), reverse=True)


def forget(folder: Path, newest: Path, ledger_id: str, keep: int) -> tuple[list[Path], list[Path]]:
    """Remove all but the `keep` newest backups of a ledger; `newest` has just been verified and stays, whatever the clock says.

    Returns what was removed, and what is not of the size that its note gives: that is not counted and not removed.
    """
    mine = backups_in(folder, ledger_id)
    whole = [one.path for one in mine if one.is_whole and one.path != newest]
    removed = whole[keep - 1 :]
    for path in removed:
        path.unlink()
        crash.point("backup.forgotten")
        backup_note.note_of(path).unlink(missing_ok=True)
    return removed, [one.path for one in mine if not one.is_whole]


def sweep(folder: Path) -> None:
    """Remove what killed processes left: drafts, and notes without a backup."""
    drafts.sweep(folder)
    for path in folder.glob(f"*{NOTE_SUFFIX}"):
        backup = path.with_name(path.name.removesuffix(NOTE_SUFFIX))
        with suppress(OSError):
            if not backup.exists() and not drafts.is_being_written(backup) and _is_ours(path):
                path.unlink()


def _is_ours(note: Path) -> bool:
    with note.open("rb") as file:
        return file.read(len(NOTE_HEAD)) == NOTE_HEAD.encode()
