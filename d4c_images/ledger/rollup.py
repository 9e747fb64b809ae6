"""Keeps `gbif_ids` true: by differences as images settle, and by a recount in committed chunks. Settles nothing itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from d4c_images.ledger.connect import Ledger
from d4c_images.ledger.lent import IS_LENT, STATUS
from d4c_images.ledger.tally import Tally
from d4c_images.model import RecordStatus

AT_ONCE = 5_000
"""Records, beside the images' first ones, that one transaction updates; the rest follows in pieces (ledger/following.py)."""

SHARED = """
SELECT wanted.value FROM json_each(?) AS wanted
WHERE EXISTS (SELECT 1 FROM link_rows AS l INDEXED BY link_shared WHERE l.image_id = wanted.value AND l.is_first = 0)
"""
# An index of a table without row numbers holds its primary key: this reads nothing but the index, in order.
SHOWN_BY = """
SELECT gbif_id FROM link_rows INDEXED BY link_shared
WHERE image_id = ? AND gbif_id > ? AND gbif_id <> ? ORDER BY gbif_id LIMIT ?
"""
BEFORE_ALL = -(2**63)  # less than any gbif_id
WAITING = "SELECT image_id FROM record_changes WHERE image_id IN (SELECT value FROM json_each(?))"
LEAVE = "INSERT INTO record_changes (image_id, n_success, n_failed, changed_at, after_gbif_id) VALUES (?, ?, ?, ?, ?)"
RECORDS = """
SELECT g.gbif_id, g.n_images, g.n_success, g.n_failed, g.status
FROM json_each(?) AS wanted CROSS JOIN gbif_ids AS g ON g.gbif_id = wanted.value
"""
UPDATE_RECORD = "UPDATE gbif_ids SET n_success = ?, n_failed = ?, status = ?, completed_at = ? WHERE gbif_id = ?"
RECOUNT = """
WITH wanted AS MATERIALIZED (SELECT * FROM gbif_ids WHERE gbif_id > ? ORDER BY gbif_id LIMIT ?),
shown AS MATERIALIZED (
    SELECT g.gbif_id, i.image_id, i.status, i.not_before, i.last_attempt_at
    FROM wanted AS g CROSS JOIN image_rows AS i
    WHERE i.image_id >= g.first_image_id AND i.image_id < g.first_image_id + g.n_in_line AND i.gbif_id = g.gbif_id
    UNION ALL
    SELECT g.gbif_id, i.image_id, i.status, i.not_before, i.last_attempt_at
    FROM wanted AS g CROSS JOIN link_rows AS l ON l.gbif_id = g.gbif_id CROSS JOIN image_rows AS i ON i.image_id = l.image_id
)
SELECT g.gbif_id, g.n_images, g.n_success, g.n_failed, g.status, g.completed_at, count(i.image_id) AS links,
       coalesce(sum(i.status = 'success'), 0) AS success,
       coalesce(sum(i.status = 'failed_permanent' OR (i.status = 'failed_transient' AND i.not_before IS NULL)), 0) AS failed,
       coalesce(sum(i.last_attempt_at IS NOT NULL), 0) AS tried, max(i.last_attempt_at) AS last_attempt_at
FROM wanted AS g LEFT JOIN shown AS i ON i.gbif_id = g.gbif_id
GROUP BY g.gbif_id ORDER BY g.gbif_id
"""
RECOUNT_IMAGES = f"""
SELECT host_id, {STATUS} AS status, coalesce(error_type, ''), count(*),
       sum(i.status IN ('success', 'failed_permanent') OR (i.status = 'failed_transient' AND not_before IS NULL)),
       coalesce(sum(file_size), 0), sum(i.status = 'pending' AND not_before IS NULL AND NOT {IS_LENT}) AS n_untried
FROM image_rows AS i WHERE image_id > ? AND image_id <= ? GROUP BY 1, 2, 3
"""  # noqa: S608 - constants


def record_status(n_images: int, n_success: int, n_failed: int, *, tried: bool) -> RecordStatus:
    """The status of a record with these counts (DESIGN: `gbif_ids.status`)."""
    if n_success == n_images:
        return RecordStatus.DONE
    if n_success + n_failed == n_images:
        return RecordStatus.FAILED
    return RecordStatus.PARTIAL if tried else RecordStatus.PENDING


class RecordChanges:
    """What one transaction changes of the records' counts.

    `write` updates each image's first record, and the other records that show it while they are no more than `AT_ONCE` in all.
    What that leaves out is written down in `record_changes` and follows in pieces.
    """

    def __init__(self) -> None:
        self._images: dict[int, tuple[int, int]] = {}
        self._first: dict[int, int] = {}
        self._room = AT_ONCE  # for the whole transaction, however often it writes

    def image(self, image_id: int, gbif_id: int, *, n_success: int, n_failed: int) -> None:
        """An image has been tried: count it for its records. `gbif_id` is the first record that shows it."""
        success, failed = self._images.get(image_id, (0, 0))
        self._images[image_id] = (success + n_success, failed + n_failed)
        self._first[image_id] = gbif_id

    def write(self, db: sqlite3.Connection, tally: Tally, now: int) -> None:
        if not self._images:
            return
        counts = CountChanges()
        for image_id, gbif_id in self._first.items():
            counts.add(gbif_id, *self._images[image_id], now)
        shared = [row[0] for row in db.execute(SHARED, (json.dumps(list(self._images)),))]
        # What has happened to an image is counted in its order.
        behind = {row[0] for row in db.execute(WAITING, (json.dumps(shared),))} if shared else set()
        for image_id in shared:
            gbif_ids = shown_by(db, image_id, BEFORE_ALL, self._first[image_id], self._room + 1)
            if len(gbif_ids) > self._room or image_id in behind:
                db.execute(LEAVE, (image_id, *self._images[image_id], now, BEFORE_ALL))
                continue
            self._room -= len(gbif_ids)
            for gbif_id in gbif_ids:
                counts.add(gbif_id, *self._images[image_id], now)
        counts.write(db, tally)
        self._images, self._first = {}, {}


def shown_by(db: sqlite3.Connection, image_id: int, after: int, first_gbif_id: int, n: int) -> list[int]:
    """Up to `n` records that show an image, in order, beyond the record `after` and except its first one."""
    return [row[0] for row in db.execute(SHOWN_BY, (image_id, after, first_gbif_id, n))]


class CountChanges:
    """Differences of records' counts, by record. Each record that is named has an image that was tried."""

    def __init__(self) -> None:
        self._records: dict[int, list[int]] = {}  # n_success, n_failed, when

    def add(self, gbif_id: int, n_success: int, n_failed: int, at: int) -> None:
        change = self._records.setdefault(gbif_id, [0, 0, at])
        change[0] += n_success
        change[1] += n_failed
        change[2] = max(change[2], at)

    def write(self, db: sqlite3.Connection, tally: Tally) -> None:
        updates = []
        for gbif_id, n_images, n_success, n_failed, old in db.execute(RECORDS, (json.dumps(list(self._records)),)):
            success, failed, at = self._records[gbif_id]
            status = record_status(n_images, n_success + success, n_failed + failed, tried=True)
            if status == old and not success and not failed:
                continue
            ended = status in (RecordStatus.DONE, RecordStatus.FAILED)
            updates.append((n_success + success, n_failed + failed, status.value, at if ended else None, gbif_id))
            if status != old:
                tally.record(-1, old)
                tally.record(1, status)
        db.executemany(UPDATE_RECORD, updates)


@dataclass(frozen=True, slots=True)
class RollUpProgress:
    records: int
    total: int
    corrected: int


def finalize(ledger: Ledger, progress: Callable[[RollUpProgress], None], chunk: int = 20_000) -> RollUpProgress:
    """Recount every record from its images and mend what differs, a committed chunk at a time; then the tallies.

    `progress` is called after each chunk, those of the tallies too (then all records are done).
    Safe to kill and to repeat: each chunk leaves `gbif_ids` and `record_tallies` agreeing with each other.
    """
    total: int = ledger.connection.execute("SELECT count(*) FROM gbif_ids").fetchone()[0]
    done = RollUpProgress(0, total, 0)
    last = -(2**63)
    while True:
        with ledger.transaction() as db:
            rows = db.execute(RECOUNT, (last, chunk)).fetchall()
            corrected = _mend(db, rows)
        if not rows:
            break
        last = rows[-1][0]
        done = RollUpProgress(done.records + len(rows), total, done.corrected + corrected)
        progress(done)
    _recount_tallies(ledger, lambda: progress(done))
    return done


def _mend(db: sqlite3.Connection, rows: list[tuple[int, ...]]) -> int:
    tally = Tally()
    updates = []
    for gbif_id, n_images, n_success, n_failed, old, completed_at, links, success, failed, tried, last_attempt_at in rows:
        status = record_status(links, success, failed, tried=tried > 0)
        if (n_images, n_success, n_failed, str(old)) == (links, success, failed, status.value):
            continue
        ended = status in (RecordStatus.DONE, RecordStatus.FAILED)
        updates.append((links, success, failed, status.value, (completed_at or last_attempt_at) if ended else None, gbif_id))
        tally.record(-1, str(old))
        tally.record(1, status)
    db.executemany(
        "UPDATE gbif_ids SET n_images = ?, n_success = ?, n_failed = ?, status = ?, completed_at = ? WHERE gbif_id = ?", updates
    )
    tally.write(db)
    return len(updates)


def _recount_tallies(ledger: Ledger, alive: Callable[[], None], chunk: int = 200_000) -> None:
    """Count all images anew, reading a chunk at a time, and replace the tallies in one short transaction.

    Nobody else changes rows meanwhile: the caller owns the ledger.
    """
    counts: dict[tuple[int, str, str], list[int]] = {}
    top: int = ledger.connection.execute("SELECT coalesce(max(image_id), 0) FROM image_rows").fetchone()[0]
    for low in range(0, top, chunk):
        for host_id, status, error_type, n, n_final, size_bytes, _ in ledger.connection.execute(
            RECOUNT_IMAGES, (low, low + chunk)
        ):
            cell = counts.setdefault((host_id, status, error_type), [0, 0, 0])
            cell[0] += n
            cell[1] += n_final
            cell[2] += size_bytes
        alive()
    records = ledger.connection.execute("SELECT status, count(*) FROM gbif_ids GROUP BY status").fetchall()
    with ledger.transaction() as db:
        db.execute("DELETE FROM tallies")
        db.executemany(
            "INSERT INTO tallies (host_id, status, error_type, n, n_final, size_bytes) VALUES (?, ?, ?, ?, ?, ?)",
            [(*key, *cell) for key, cell in counts.items()],
        )
        db.execute("DELETE FROM record_tallies")
        db.executemany("INSERT INTO record_tallies (status, n) VALUES (?, ?)", records)
