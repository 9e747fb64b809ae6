"""What is known of a backup: a small file beside it, which sha256sum(1) can check, too. Reads no ledger but for `about`.

    <backup>.sha256    # d4c-images backup {"ledger_id": "1f0c...", "taken_at": 1796000000, ...}
                       <SHA-256>  <name of the backup>

The note is complete before its backup gets its name, so a backup with a name has one.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path

from d4c_images.ledger.file.copying import size_bytes

NOTE_SUFFIX = ".sha256"
NOTE_HEAD = "# d4c-images backup "  # sha256sum skips lines that begin with #
NOTE_BYTES = 1 << 16

FIRST_RUN = "SELECT host, pid, pid_started, started_at FROM runs ORDER BY run_id LIMIT 1"
COUNTED_IMAGES = "SELECT status, error_type, n, n_final, size_bytes FROM image_totals ORDER BY status, error_type"
COUNTED_RECORDS = "SELECT status, n FROM record_tallies ORDER BY status"


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What a ledger says of itself at once, at any size. Equal for a ledger and its copy."""

    ledger_id: str  # of the run that created it: the same for all its backups
    version: int
    size_bytes: int
    n_images: int
    n_stored: int
    counters: str  # digest of the counters of images and records


@dataclass(frozen=True, slots=True)
class BackupNote:
    """A backup as its note describes it."""

    ledger_id: str
    taken_at: int  # unix time
    version: int
    n_images: int
    n_stored: int
    size_bytes: int
    sha256: str


def facts(connection: sqlite3.Connection) -> LedgerFacts:
    """Of a ledger of version 2 or later."""
    first = connection.execute(FIRST_RUN).fetchone()
    images, records = connection.execute(COUNTED_IMAGES).fetchall(), connection.execute(COUNTED_RECORDS).fetchall()
    return LedgerFacts(
        ledger_id=hashlib.sha256(json.dumps(first).encode()).hexdigest()[:16],
        version=connection.execute("PRAGMA user_version").fetchone()[0],
        size_bytes=size_bytes(connection),
        n_images=sum(row[2] for row in images),
        n_stored=sum(row[2] for row in images if row[0] == "success"),
        counters=hashlib.sha256(json.dumps([images, records]).encode()).hexdigest(),
    )


def note_of(backup: Path) -> Path:
    return backup.with_name(f"{backup.name}{NOTE_SUFFIX}")


def text(note: BackupNote, name: str) -> bytes:
    body = {key: value for key, value in asdict(note).items() if key != "sha256"}
    return f"{NOTE_HEAD}{json.dumps(body)}\n{note.sha256}  ".encode() + os.fsencode(name) + b"\n"


def read(backup: Path) -> BackupNote | None:
    """The note of a backup; None if there is none, or it is not ours. Raises `OSError`."""
    try:
        with note_of(backup).open("rb") as file:
            head, line = file.read(NOTE_BYTES).decode(errors="surrogateescape").split("\n")[:2]
        body = json.loads(head.removeprefix(NOTE_HEAD)) if head.startswith(NOTE_HEAD) else {}
        note = BackupNote(**body, sha256=line.partition("  ")[0])
        are_numbers = all(isinstance(one, int) for one in (note.taken_at, note.version, note.n_images, note.size_bytes))
        return note if are_numbers and len(note.sha256) == hashlib.sha256().digest_size * 2 else None
    except (FileNotFoundError, ValueError, TypeError):
        return None
