"""Creates records and lets them grow as links come in. Numbers the images of a record; settles none.

Nearly every record is new, and all its images are new and consecutive: nothing needs to be looked up, and it is held in memory
(`write_buffer`) until many can be written in id order. The others are looked up one by one. What was held when a process died is
rebuilt from the images, by `recovery.catch_up`, before anybody else may write.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from d4c_images.ledger.admission.chunk import Numbers, SeenFilter
from d4c_images.ledger.admission.pouring import HeldRows
from d4c_images.ledger.admission.recovery import SET_RECORDED, catch_up
from d4c_images.ledger.admission.staged import Staged, TableShape
from d4c_images.ledger.admission.write_buffer import HeldRow, RunColumn
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.rows.states import record_state
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import RecordStatus

STORED_RECORDS = """
SELECT g.gbif_id, g.n_images, g.n_success, g.n_failed, g.status, g.completed_at, g.first_image_id, g.n_in_line, 1
FROM json_each(?) AS wanted CROSS JOIN gbif_ids AS g ON g.gbif_id = wanted.value
"""
NEW_RECORDS = TableShape("new_records", ("gbif_id", "n_images", "first_image_id"))
INSERT_NEW = """
INSERT OR IGNORE INTO gbif_ids (gbif_id, n_images, first_image_id, n_in_line)
SELECT gbif_id, n_images, first_image_id, n_images FROM staged.new_records WHERE place < ? ORDER BY place
"""
PUT_RECORD = """
INSERT INTO gbif_ids (gbif_id, n_images, n_success, n_failed, status, completed_at, first_image_id, n_in_line)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (gbif_id) DO UPDATE SET n_images = excluded.n_images, n_success = excluded.n_success, n_failed = excluded.n_failed,
    status = excluded.status, completed_at = excluded.completed_at, first_image_id = excluded.first_image_id,
    n_in_line = excluded.n_in_line
"""


@dataclass(slots=True)
class Effect:
    """What has already happened to the images that a record newly shows."""

    n_success: int = 0
    n_failed: int = 0
    tried: bool = False


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The rows of one transaction, as far as they concern records."""

    gbif_ids: Numbers
    starts: Numbers  # positions whose record differs from the previous row's
    maybe_known: Numbers  # those of `starts` whose record may be known; all others are new
    image_ids: Numbers
    old_images: Sequence[int]  # positions whose image is known
    repeated: set[int]  # positions whose record shows that image already
    effects: Mapping[int, Effect]  # by record


@dataclass(slots=True)
class _Record:
    """A record that must be looked at individually."""

    gbif_id: int
    n_images: int = 0
    n_success: int = 0
    n_failed: int = 0
    status: str = RecordStatus.PENDING
    completed_at: int | None = None
    first_image_id: int | None = None
    n_in_line: int = 0
    is_stored: bool = False
    held: HeldRow | None = None
    has_grown: bool = False

    def show(self, image_id: int, *, is_new: bool) -> bool:
        """Add an image; returns whether it continues the run of the record's first image."""
        self.n_images += 1
        self.has_grown = True
        if not is_new:
            return False
        if self.n_in_line == 0:
            self.first_image_id = image_id
        elif self.first_image_id is None or self.first_image_id + self.n_in_line != image_id:
            return False
        self.n_in_line += 1
        return True

    def suffer(self, effect: Effect, now: int) -> None:
        """Bring the status in line with the images."""
        tried = effect.tried or self.status != RecordStatus.PENDING
        self.n_success += effect.n_success
        self.n_failed += effect.n_failed
        counts = self.n_images, self.n_success, self.n_failed
        status, self.completed_at = record_state(*counts, self.completed_at or now, tried=tried)
        self.status = status.value


class Records:
    """The records of the ledger during an ingest."""

    def __init__(self, ledger: Ledger) -> None:
        catch_up(ledger)
        self._ledger = ledger
        self._staged = Staged(ledger.connection, NEW_RECORDS)
        # gbif_id, n_images, first_image_id
        self._held = HeldRows(ledger, self._write_part, SET_RECORDED, "records.part_written")

    def tell(self, seen: SeenFilter) -> None:
        """Add all ids to a filter."""
        seen.add_all(self._ledger.connection.execute("SELECT gbif_id FROM gbif_ids"))

    def add(self, db: sqlite3.Connection, arrivals: Arrivals, tally: Tally, now: int) -> tuple[Numbers, list[int]]:
        """Each row's `image_no`, and the positions of the rows whose link goes into `link_rows`."""
        n = len(arrivals.gbif_ids)
        gbif_ids, starts = arrivals.gbif_ids, arrivals.starts
        counts = np.diff(starts, append=n)
        image_nos: Numbers = np.arange(n) - np.repeat(starts, counts)
        has_old = np.zeros(len(starts), bool)
        has_old[np.searchsorted(starts, arrivals.old_images, "right") - 1] = True
        is_plain = ~has_old
        is_plain[np.searchsorted(starts, arrivals.maybe_known)] = False
        self._hold(arrivals, counts, is_plain)
        left = ~is_plain
        if arrivals.repeated:
            left &= ~_all_repeated(arrivals, counts)
        known = self._known(np.unique(gbif_ids[starts[left]]))
        is_new = left & ~has_old & _is_single_and_unknown(gbif_ids[starts], left, known)
        left &= ~is_new
        doubtful = zip(starts[left].tolist(), counts[left].tolist(), strict=True)
        spans = [range(start, start + count) for start, count in doubtful]
        links = self._look_at(arrivals, spans, image_nos, known)
        self._write(db, known.values(), arrivals.effects, tally, now)
        self._hold(arrivals, counts, is_new)
        return image_nos, links

    def _hold(self, arrivals: Arrivals, counts: Numbers, which: npt.NDArray[np.bool_]) -> None:
        """Hold records that are new and whose images are new and consecutive."""
        starts = arrivals.starts[which]
        self._held.rows.add(arrivals.gbif_ids[starts], *_small(counts[which], arrivals.image_ids[starts]))

    def pour(self, last_image_id: int, at_least: int) -> None:
        """Write a part of what is held, if there are `at_least` so many rows. After a kill `catch_up` rebuilds it.

        `last_image_id` is the last image that `add` saw.
        """
        self._held.pour(last_image_id, at_least)

    def flush(self, last_image_id: int) -> None:
        """Write all that is held."""
        self._held.flush(last_image_id)
        with self._ledger.transaction() as db:
            db.execute(SET_RECORDED, (last_image_id,))

    def _write_part(self, db: sqlite3.Connection, part: tuple[RunColumn, ...]) -> None:
        """Write records whose images are consecutive; the others were written individually and have a count of 0 here."""
        in_line = part[1] > 0
        tally = Tally()
        tally.record(self._staged.insert(INSERT_NEW, [column[in_line] for column in part]), RecordStatus.PENDING)
        tally.write(db)

    def _look_at(self, arrivals: Arrivals, spans: Sequence[range], image_nos: Numbers, records: dict[int, _Record]) -> list[int]:
        """Records that are known, or that show a known image. Returns the positions whose link breaks the run."""
        old_images = set(arrivals.old_images)
        gbif_ids: list[int] = arrivals.gbif_ids[[span[0] for span in spans]].tolist()
        links: list[int] = []
        for gbif_id, span in zip(gbif_ids, spans, strict=True):
            record = records.setdefault(gbif_id, _Record(gbif_id))
            for at in span:
                if at not in arrivals.repeated:
                    image_nos[at] = record.n_images
                    if not record.show(int(arrivals.image_ids[at]), is_new=at not in old_images):
                        links.append(at)
        return links

    def _known(self, gbif_ids: Numbers) -> dict[int, _Record]:
        """The records that are known. The ids are sorted and distinct."""
        known = {}
        for row in self._ledger.connection.execute(STORED_RECORDS, (json.dumps(gbif_ids.tolist()),)):
            known[row[0]] = _Record(*row)
        for gbif_id, held in self._held.rows.find(gbif_ids).items():
            if gbif_id not in known:
                n, first_image_id = (int(column[held.at]) for column in held.columns[1:])
                known[gbif_id] = _Record(gbif_id, n_images=n, first_image_id=first_image_id, n_in_line=n, held=held)
        return known

    def _write(
        self, db: sqlite3.Connection, records: Iterable[_Record], effects: Mapping[int, Effect], tally: Tally, now: int
    ) -> None:
        puts, plain = [], []
        for record in records:
            if not record.has_grown:
                continue
            in_memory = not record.is_stored and record.n_in_line == record.n_images
            if in_memory and record.held is None:
                plain.append((record.gbif_id, record.n_images, record.first_image_id or 0))
                continue
            if record.held is not None:
                record.held.columns[1][record.held.at] = record.n_images if in_memory else 0
            if in_memory:
                continue
            if record.is_stored:
                tally.record(-1, record.status)
            record.suffer(effects.get(record.gbif_id, Effect()), now)
            tally.record(1, record.status)
            puts.append(
                (
                    record.gbif_id,
                    record.n_images,
                    record.n_success,
                    record.n_failed,
                    record.status,
                    record.completed_at,
                    record.first_image_id,
                    record.n_in_line,
                )
            )
        db.executemany(PUT_RECORD, sorted(puts))
        if plain:
            new, counts, first_image_ids = np.array(plain, np.int64).T
            self._held.rows.add(new, *_small(counts, first_image_ids))


def _all_repeated(arrivals: Arrivals, counts: Numbers) -> npt.NDArray[np.bool_]:
    """Which records have only rows that are in the ledger already."""
    is_repeated = np.zeros(len(arrivals.gbif_ids), np.int64)
    is_repeated[list(arrivals.repeated)] = 1
    all_are: npt.NDArray[np.bool_] = np.add.reduceat(is_repeated, arrivals.starts) == counts
    return all_are


def _is_single_and_unknown(gbif_ids: Numbers, among: npt.NDArray[np.bool_], known: Mapping[int, _Record]) -> npt.NDArray[np.bool_]:
    """Which of `among` stand for an unknown record that occurs there only once."""
    result = np.zeros(len(gbif_ids), bool)
    ids, places, times = np.unique(gbif_ids[among], return_inverse=True, return_counts=True)
    is_unknown = ~np.isin(ids, np.fromiter(known, np.int64, len(known)))
    result[among] = (is_unknown & (times == 1))[places]
    return result


def _small(*columns: Numbers) -> list[npt.NDArray[np.uint32]]:
    """Columns of numbers below 2^32, in half the memory."""
    return [column.astype(np.uint32) for column in columns]
