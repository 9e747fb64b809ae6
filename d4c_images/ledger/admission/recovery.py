"""Crash recovery: finishes what a killed process left, in committed pieces, before anybody else writes. Makes no record twice.

Records and keys that were held in memory are rebuilt from their images; changes that were too much for one transaction are worked
off (`deferred`). Imports as little as possible: each download starts with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter

from d4c_images import crash
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import deferred
from d4c_images.ledger.rows.extent import top_image
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import RecordStatus

RECORDED_AND_KEYED = "SELECT recorded_image_id, keyed_image_id FROM caught_up"
ROWS_AFTER = """
SELECT image_id, gbif_id FROM image_rows WHERE image_id > ? AND row_no IS NOT NULL ORDER BY image_id LIMIT ?
"""
INSERT_RECORD = "INSERT OR IGNORE INTO gbif_ids (gbif_id, n_images, first_image_id, n_in_line) VALUES (?, ?, ?, ?)"
SET_RECORDED = "UPDATE caught_up SET recorded_image_id = ?"

RECORDS_PER_PIECE = 10_000
"""Records created per transaction."""
PAGE = 50_000
"""Images read at a time."""


def catch_up(ledger: Ledger, beat: Callable[[], object] = lambda: None) -> None:
    """Write what a process held in memory when it died, and what it had deferred, calling `beat` between committed pieces.

    Call this before settling images.
    """
    recorded, keyed = ledger.connection.execute(RECORDED_AND_KEYED).fetchone()
    top = top_image(ledger.connection.execute)
    if top > recorded:
        _catch_up_records(ledger, recorded, top, beat)
    if top > keyed:
        from d4c_images.ledger.admission.keys import KeyIndex  # loads numpy

        KeyIndex(ledger, beat)
    deferred.drain(ledger, beat)


def _catch_up_records(ledger: Ledger, recorded: int, top: int, beat: Callable[[], object]) -> None:
    """Create the records of the images after `recorded` that have none.

    All images of a record that was only held in memory are consecutive; one with others as well was written with them, and stays as
    it is.
    """
    records: list[tuple[int, int, int, int]] = []
    for gbif_id, images in groupby(_rows_after(ledger, recorded, beat), key=itemgetter(1)):
        first, last, n = _span(images)
        records.append((gbif_id, n, first, n))
        if len(records) == RECORDS_PER_PIECE:
            _write(ledger, records, last)
            records = []
            beat()
    _write(ledger, records, top)


def _span(images: Iterator[tuple[int, int]]) -> tuple[int, int, int]:
    """The first and the last of a record's images, and their number."""
    first = last = next(images)[0]
    n = 1
    for image_id, _ in images:
        last, n = image_id, n + 1
    return first, last, n


def _rows_after(ledger: Ledger, last: int, beat: Callable[[], object]) -> Iterator[tuple[int, int]]:
    while rows := ledger.connection.execute(ROWS_AFTER, (last, PAGE)).fetchall():
        yield from rows
        last = rows[-1][0]
        beat()


def _write(ledger: Ledger, records: list[tuple[int, int, int, int]], upto: int) -> None:
    """Write some records, and up to which image they are now complete."""
    with ledger.transaction() as db:
        tally = Tally()
        tally.record(db.executemany(INSERT_RECORD, sorted(records)).rowcount if records else 0, RecordStatus.PENDING)
        tally.write(db)
        db.execute(SET_RECORDED, (upto,))
    crash.point("catch_up.piece")
