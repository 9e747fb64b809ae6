"""What has been ingested: one row per stream, with its checkpoint, counts and rejected rows. Admits nothing itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from d4c_images.errors import SourceError, printable
from d4c_images.ledger.admission import bulk
from d4c_images.model import Reject

DAMAGED = "SELECT source FROM archives WHERE damaged_at IS NOT NULL"
FIND = "SELECT archive_id, row_limit, rows_done, offset_bytes, finished_at FROM archives WHERE kind = ? AND fingerprint = ?"
# The latest earlier reading of the same stream: its fingerprint has the same start.
FORMER_FINGERPRINT = """
SELECT fingerprint FROM archives WHERE kind = ?1 AND substr(fingerprint, 1, length(?2)) = ?2 ORDER BY archive_id DESC LIMIT 1
"""
BEGIN = "INSERT INTO archives (kind, source, fingerprint, size_bytes, row_limit) VALUES (?, ?, ?, ?, ?)"
ARCHIVE_CHECKPOINT = """
UPDATE archives SET rows_done = ?, offset_bytes = ?, rows_admitted = rows_admitted + ?, new_images = new_images + ?,
    new_links = new_links + ?
WHERE archive_id = ?
"""
COUNT_REJECTS = """
INSERT INTO reject_counts (archive_id, reason, n) VALUES (?, ?, ?)
ON CONFLICT (archive_id, reason) DO UPDATE SET n = n + excluded.n
"""
COUNT_NOTES = """
INSERT INTO note_counts (archive_id, note, n) VALUES (?, ?, ?)
ON CONFLICT (archive_id, note) DO UPDATE SET n = n + excluded.n
"""
KEEP_REJECTS = "INSERT INTO rejected_rows (archive_id, row_no, byte_offset, reason, row_start, gbif_id) VALUES"
REJECTS_OF_ARCHIVE = "SELECT reason, n FROM reject_counts WHERE archive_id = ? ORDER BY n DESC, reason"
NOTES = "SELECT note, n FROM note_counts WHERE archive_id = ? ORDER BY n DESC, note"
SAMPLED = "SELECT reason, n FROM reject_counts WHERE archive_id = ?"


@dataclass(frozen=True, slots=True)
class Archive:
    """One ingested stream, and how much of it is in the ledger."""

    archive_id: int
    row_limit: int | None
    rows_done: int
    offset_bytes: int
    finished: bool  # its last row is in the ledger


@dataclass(frozen=True, slots=True)
class ArchiveCounts:
    """What became of the rows of one stream, over all runs."""

    rows: int
    admitted: int
    images: int
    links: int
    rejects: Mapping[str, int]
    notes: Mapping[str, int]
    finished: bool  # its last row is in the ledger


def find_or_begin(
    db: sqlite3.Connection, kind: str, source: str, fingerprint: str, size_bytes: int, row_limit: int | None
) -> Archive:
    """The archive with this fingerprint, wherever its file was before; a new one if there is none.

    Raises `SourceError` if the ledger holds rows of a damaged archive: nothing may be built on them.
    """
    damaged = db.execute(DAMAGED).fetchone()
    if damaged is not None:
        raise SourceError(f"the ledger has rows of {damaged[0]}, which was damaged: start over with an intact copy (init --reset)")
    row = db.execute(FIND, (kind, fingerprint)).fetchone()
    if row is None:
        archive_id = db.execute(BEGIN, (kind, printable(source), fingerprint, size_bytes, row_limit)).lastrowid
        assert archive_id is not None
        return Archive(archive_id, row_limit, 0, 0, finished=False)
    archive_id, _, rows_done, offset_bytes, finished_at = row
    db.execute("UPDATE archives SET row_limit = ? WHERE archive_id = ?", (row_limit, archive_id))
    return Archive(archive_id, row_limit, rows_done, offset_bytes, finished_at is not None)


def former_fingerprint(db: sqlite3.Connection, kind: str, start: str) -> str | None:
    """The latest fingerprint of this kind with this start."""
    row = db.execute(FORMER_FINGERPRINT, (kind, start)).fetchone()
    return None if row is None else row[0]


def checkpoint(
    db: sqlite3.Connection, archive_id: int, end_row: int, end_offset: int, *, admitted: int, images: int, links: int
) -> None:
    """Note that the stream is in the ledger up to here; call it in the transaction that writes the rows."""
    db.execute(ARCHIVE_CHECKPOINT, (end_row, end_offset, admitted, images, links, archive_id))


def spoil(db: sqlite3.Connection, archive_id: int, now: float) -> None:
    """Note that the archive is damaged somewhere before the checkpoint."""
    db.execute("UPDATE archives SET damaged_at = ? WHERE archive_id = ?", (int(now), archive_id))


def finish(db: sqlite3.Connection, archive_id: int, now: float) -> None:
    db.execute("UPDATE archives SET finished_at = ? WHERE archive_id = ?", (int(now), archive_id))


def add_rejects(
    db: sqlite3.Connection, archive_id: int, counts: Mapping[str, int], notes: Mapping[str, int], samples: Sequence[Reject]
) -> None:
    db.executemany(COUNT_REJECTS, [(archive_id, reason, n) for reason, n in counts.items()])
    db.executemany(COUNT_NOTES, [(archive_id, note, n) for note, n in notes.items()])
    if samples:
        columns = list(zip(*samples, strict=True))
        bulk.insert(db, KEEP_REJECTS, columns, f"({archive_id}, ?, ?, ?, ?, ?)")


def sampled(db: sqlite3.Connection, archive_id: int) -> dict[str, int]:
    """How many rows were rejected for each reason; of these, the first ones are kept as samples."""
    return dict(db.execute(SAMPLED, (archive_id,)))


def counts(db: sqlite3.Connection, archive_id: int) -> ArchiveCounts:
    rows, admitted, images, links, finished_at = db.execute(
        "SELECT rows_done, rows_admitted, new_images, new_links, finished_at FROM archives WHERE archive_id = ?", (archive_id,)
    ).fetchone()
    rejects = dict(db.execute(REJECTS_OF_ARCHIVE, (archive_id,)))
    notes = dict(db.execute(NOTES, (archive_id,)))
    return ArchiveCounts(rows, admitted, images, links, rejects, notes, finished_at is not None)
