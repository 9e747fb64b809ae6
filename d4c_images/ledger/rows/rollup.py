"""Keeps `gbif_ids` correct: incrementally as images settle, and by a recount in committed chunks. Settles nothing itself."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from d4c_images import crash
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.rows import recount
from d4c_images.ledger.rows.extent import n_records, top_image
from d4c_images.ledger.rows.recount import Position, Step
from d4c_images.ledger.rows.states import record_state
from d4c_images.ledger.rows.tally import Tally

FINALIZE = "init --finalize-only"
"""The command of a run that recounts."""
HOSTS_PER_CHUNK = 10_000

SHARED_AT_ONCE = 5_000
"""Records, apart from the images' first ones, that one transaction updates; the rest is deferred (ledger/queue/deferred.py)."""

SHARED = """
SELECT wanted.value FROM json_each(?) AS wanted
WHERE EXISTS (SELECT 1 FROM link_rows AS l INDEXED BY link_shared WHERE l.image_id = wanted.value AND l.is_first = 0)
"""
# A WITHOUT ROWID table's index contains its primary key: this is a covering index, read in order.
SHOWN_BY = """
SELECT gbif_id FROM link_rows INDEXED BY link_shared
WHERE image_id = ? AND gbif_id > ? AND gbif_id <> ? ORDER BY gbif_id LIMIT ?
"""
BEFORE_ALL = -(2**63)  # less than any gbif_id
WAITING_CHANGES = "SELECT image_id FROM record_changes WHERE image_id IN (SELECT value FROM json_each(?))"
LEAVE_CHANGE = "INSERT INTO record_changes (image_id, n_success, n_failed, changed_at, after_gbif_id) VALUES (?, ?, ?, ?, ?)"
RECORDS_TO_CHANGE = """
SELECT g.gbif_id, g.n_images, g.n_success, g.n_failed, g.status
FROM json_each(?) AS wanted CROSS JOIN gbif_ids AS g ON g.gbif_id = wanted.value
"""
UPDATE_RECORD = "UPDATE gbif_ids SET n_success = ?, n_failed = ?, status = ?, completed_at = ? WHERE gbif_id = ?"
MEND_RECORD = "UPDATE gbif_ids SET n_images = ?, n_success = ?, n_failed = ?, status = ?, completed_at = ? WHERE gbif_id = ?"
RECOUNT_CHECKPOINT = "SELECT run_id, position FROM checkpoints WHERE name = 'finalize'"
SET_CHECKPOINT = """
INSERT INTO checkpoints (name, run_id, position) VALUES ('finalize', ?, ?)
ON CONFLICT (name) DO UPDATE SET run_id = excluded.run_id, position = excluded.position
"""
OTHER_RUNS = "SELECT EXISTS (SELECT 1 FROM runs WHERE run_id > ? AND run_id < ? AND command <> ?)"
ADD_RECOUNTED = """
INSERT INTO recounted_tallies (host_id, status, error_type, n, n_final, size_bytes) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (host_id, status, error_type) DO UPDATE SET
    n = n + excluded.n, n_final = n_final + excluded.n_final, size_bytes = size_bytes + excluded.size_bytes
"""
# Replace the tallies of some hosts by the recounted ones: the next hosts that have any; wrong cells; superfluous cells.
NEXT_HOSTS = """
SELECT max(host_id) FROM (
    SELECT host_id FROM (SELECT DISTINCT host_id FROM recounted_tallies WHERE host_id > ?1 ORDER BY host_id LIMIT ?2)
    UNION SELECT host_id FROM (SELECT DISTINCT host_id FROM tallies WHERE host_id > ?1 ORDER BY host_id LIMIT ?2)
    ORDER BY host_id LIMIT ?2)
"""
MEND_TALLIES = """
INSERT INTO tallies (host_id, status, error_type, n, n_final, size_bytes)
SELECT host_id, status, error_type, n, n_final, size_bytes FROM recounted_tallies WHERE host_id > ? AND host_id <= ?
ON CONFLICT (host_id, status, error_type) DO UPDATE SET n = excluded.n, n_final = excluded.n_final, size_bytes = excluded.size_bytes
WHERE n <> excluded.n OR n_final <> excluded.n_final OR size_bytes <> excluded.size_bytes
"""
DROP_TALLIES = """
DELETE FROM tallies WHERE host_id > ? AND host_id <= ? AND NOT EXISTS (
    SELECT 1 FROM recounted_tallies AS r
    WHERE r.host_id = tallies.host_id AND r.status = tallies.status AND r.error_type = tallies.error_type)
"""


class RecordChanges:
    """What one transaction changes in the records' counts.

    `write` updates each image's first record, and up to `SHARED_AT_ONCE` other records that show it, over all images. The rest is
    stored in `record_changes` and follows in pieces.
    """

    def __init__(self) -> None:
        self._images: dict[int, tuple[int, int]] = {}
        self._first: dict[int, int] = {}
        self._room = SHARED_AT_ONCE  # for the whole transaction, however often it writes

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
        # Changes of an image are counted in order.
        behind = {row[0] for row in db.execute(WAITING_CHANGES, (json.dumps(shared),))} if shared else set()
        for image_id in shared:
            gbif_ids = shown_by(db, image_id, BEFORE_ALL, self._first[image_id], self._room + 1)
            if len(gbif_ids) > self._room or image_id in behind:
                db.execute(LEAVE_CHANGE, (image_id, *self._images[image_id], now, BEFORE_ALL))
                continue
            self._room -= len(gbif_ids)
            for gbif_id in gbif_ids:
                counts.add(gbif_id, *self._images[image_id], now)
        counts.write(db, tally)
        self._images, self._first = {}, {}


def shown_by(db: sqlite3.Connection, image_id: int, after: int, first_gbif_id: int, n: int) -> list[int]:
    """Up to `n` records that show an image, in order, after the record `after` and except its first one."""
    return [row[0] for row in db.execute(SHOWN_BY, (image_id, after, first_gbif_id, n))]


class CountChanges:
    """Changes of records' counts, by record. Each record in it has an image that was tried."""

    def __init__(self) -> None:
        self._records: dict[int, list[int]] = {}  # n_success, n_failed, when

    def add(self, gbif_id: int, n_success: int, n_failed: int, at: int) -> None:
        change = self._records.setdefault(gbif_id, [0, 0, at])
        change[0] += n_success
        change[1] += n_failed
        change[2] = max(change[2], at)

    def write(self, db: sqlite3.Connection, tally: Tally) -> None:
        updates = []
        for gbif_id, n_images, n_success, n_failed, old in db.execute(RECORDS_TO_CHANGE, (json.dumps(list(self._records)),)):
            success, failed, at = self._records[gbif_id]
            status, completed_at = record_state(n_images, n_success + success, n_failed + failed, at, tried=True)
            if status == old and not success and not failed:
                continue
            updates.append((n_success + success, n_failed + failed, status.value, completed_at, gbif_id))
            if status != old:
                tally.record(-1, old)
                tally.record(1, status)
        db.executemany(UPDATE_RECORD, updates)


@dataclass(frozen=True, slots=True)
class RollUpProgress:
    records: int
    total: int
    corrected: int
    images: int = 0  # counted for the tallies, once all records are done
    n_images: int = 0
    records_before: int | None = None  # done by an earlier run that this one resumes; None if it started over
    images_before: int = 0


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """The checkpoint of a recount, committed with each chunk."""

    position: Position = field(default_factory=Position)
    records: int = 0
    corrected: int = 0
    by_status: tuple[tuple[str, int], ...] = ()
    are_records_done: bool = False
    image_id: int = 0  # the images up to here are counted in recounted_tallies
    are_images_done: bool = False
    host_id: int = 0  # the tallies of the hosts up to here are correct

    def as_json(self) -> str:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields | {"position": self.position.as_json()})

    @classmethod
    def of_json(cls, text: str) -> _Checkpoint:
        fields = json.loads(text)
        by_status = tuple((str(status), int(n)) for status, n in fields["by_status"])
        return cls(**fields | {"position": Position.of_json(fields["position"]), "by_status": by_status})


def finalize(
    ledger: Ledger, progress: Callable[[RollUpProgress], None], chunk: int = 2 * recount.RECOUNT_STEP_ROWS
) -> RollUpProgress:
    """Recount every record from its images and repair what differs, a committed chunk at a time; then the tallies.

    `progress` is called after each chunk, those of the tallies too (then all records are done); what it raises ends the recount.
    Safe to kill and to repeat: each chunk leaves `gbif_ids` and `record_tallies` consistent, and is committed with a checkpoint.
    The next call resumes there, unless a run other than a recount has owned the ledger in between.
    """
    return _Finalizing(ledger, progress, chunk).run()


class _Finalizing:
    """A recount by the owner of the ledger. Nobody else changes rows meanwhile, so it reads outside its transactions."""

    def __init__(self, ledger: Ledger, progress: Callable[[RollUpProgress], None], chunk: int) -> None:
        self._ledger, self._progress, self._chunk = ledger, progress, chunk
        self._total = n_records(self._ask)
        self._n_images = top_image(self._ask)
        stored = self._stored()
        self._before = stored
        self._at = stored or _Checkpoint()

    def run(self) -> RollUpProgress:
        if self._before is None:
            with self._ledger.transaction() as db:
                db.execute("DELETE FROM recounted_tallies")
                self._save(db, self._at)
        if not self._at.are_records_done:
            self._recount_records()
        if not self._at.are_images_done:
            self._recount_images()
        self._replace_tallies()
        return self._reached()

    def _stored(self) -> _Checkpoint | None:
        """The checkpoint of an earlier run, if what it recounted is still valid."""
        row = self._ledger.connection.execute(RECOUNT_CHECKPOINT).fetchone()
        mine = self._ledger.run_id
        if row is None or mine is None or self._ask(OTHER_RUNS, (row[0], mine, FINALIZE))[0][0]:
            return None
        return _Checkpoint.of_json(row[1])

    def _recount_records(self) -> None:
        for step in recount.record_steps(self._ask, self._at.position, self._chunk):
            tally = Tally()
            by_status = dict(self._at.by_status)
            for status, n in step.by_status.items():
                by_status[status] = by_status.get(status, 0) + n
            _mend(step, tally, by_status)
            done = replace(
                self._at,
                position=step.position,
                records=self._at.records + step.n_records,
                corrected=self._at.corrected + len(step.untrue),
                by_status=tuple(by_status.items()),
            )
            with self._ledger.transaction() as db:
                db.executemany(MEND_RECORD, [_mended(record) for record in step.untrue])
                tally.write(db)
                self._save(db, done)
            crash.point("finalize.records_committed")
            self._progress(self._reached())
        with self._ledger.transaction() as db:
            self._save(db, replace(self._at, are_records_done=True))

    def _recount_images(self) -> None:
        while (step := recount.next_images(self._ask, self._at.image_id, self._chunk * 5)) is not None:
            cells = [row[:6] for row in recount.count_images(self._ask, step)]
            with self._ledger.transaction() as db:
                db.executemany(ADD_RECOUNTED, cells)
                self._save(db, replace(self._at, image_id=step[1]))
            crash.point("finalize.images_committed")
            self._progress(self._reached())
        with self._ledger.transaction() as db:
            self._save(db, replace(self._at, are_images_done=True))

    def _replace_tallies(self) -> None:
        while (upto := self._ask(NEXT_HOSTS, (self._at.host_id, HOSTS_PER_CHUNK))[0][0]) is not None:
            hosts = (self._at.host_id, upto)
            with self._ledger.transaction() as db:
                db.execute(MEND_TALLIES, hosts)
                db.execute(DROP_TALLIES, hosts)
                self._save(db, replace(self._at, host_id=upto))
            crash.point("finalize.tallies_committed")
            self._progress(self._reached())
        with self._ledger.transaction() as db:
            db.execute("DELETE FROM record_tallies")
            db.executemany("INSERT INTO record_tallies (status, n) VALUES (?, ?)", [row for row in self._at.by_status if row[1]])
            db.execute("DELETE FROM recounted_tallies")
            db.execute("DELETE FROM checkpoints WHERE name = 'finalize'")

    def _save(self, db: sqlite3.Connection, at: _Checkpoint) -> None:
        """Commit this checkpoint with the transaction."""
        db.execute(SET_CHECKPOINT, (self._ledger.run_id or 0, at.as_json()))
        self._at = at

    def _reached(self) -> RollUpProgress:
        at, before = self._at, self._before
        total = at.records if at.are_records_done else max(self._total, at.records)
        images = min(at.image_id, self._n_images)
        progress = RollUpProgress(at.records, total, at.corrected, images, self._n_images)
        return progress if before is None else replace(progress, records_before=before.records, images_before=before.image_id)

    def _ask(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._ledger.connection.execute(sql, values).fetchall()


def _mend(step: Step, tally: Tally, by_status: dict[str, int]) -> None:
    """Count the records of a step under their corrected statuses."""
    for record in step.untrue:
        tally.record(-1, record.status)
        tally.record(1, record.true_status)
        if record.status in by_status:
            by_status[record.status] -= 1
        by_status[record.true_status.value] = by_status.get(record.true_status.value, 0) + 1


def _mended(record: recount.Untrue) -> tuple[object, ...]:
    counts = record.counts
    status, completed_at = counts.state(record.completed_at or counts.last_attempt_at)
    return counts.links, counts.success, counts.failed, status.value, completed_at, record.gbif_id
