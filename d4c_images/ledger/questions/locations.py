"""Where the bytes of images are, according to a ledger opened for reading. Opens no file."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from d4c_images.ledger.file.reader import Reader, Row
from d4c_images.ledger.rows.extent import top_image
from d4c_images.ledger.rows.named import image_named

STORED_FILES = """
SELECT image_id, gbif_id, image_no, file_path, file_offset, file_size, sha256 FROM image_rows
WHERE image_id > ? AND image_id <= ? AND status = 'success' AND coalesce(error_type, '') <> 'same_image'
ORDER BY file_path, file_offset
"""
LINE = "SELECT first_image_id, first_image_id + n_in_line FROM gbif_ids WHERE gbif_id = ?"
SHOWN_IN_LINE = """
SELECT i.image_no, i.status = 'success' AND i.sha256 IS NOT NULL,
       i.image_id, i.gbif_id, i.image_no, i.file_path, i.file_offset, i.file_size, i.sha256
FROM image_rows AS i WHERE i.image_id >= max(?1 + 1, ?2) AND i.image_id < ?3 ORDER BY i.image_id LIMIT ?4
"""
SHOWN_BY_LINKS = """
SELECT l.image_no, i.status = 'success' AND i.sha256 IS NOT NULL,
       i.image_id, i.gbif_id, i.image_no, i.file_path, i.file_offset, i.file_size, i.sha256
FROM link_rows AS l INDEXED BY sqlite_autoindex_link_rows_1 LEFT JOIN image_rows AS i ON i.image_id = l.image_id
WHERE l.gbif_id = ? AND l.image_no > ? ORDER BY l.image_no LIMIT ?
"""
SHOWN_AS = f"""
SELECT i.image_id, i.gbif_id, i.image_no, i.file_path, i.file_offset, i.file_size, i.sha256
FROM image_rows AS i WHERE i.image_id = {image_named("?1", "?2")} AND i.status = 'success'
"""  # noqa: S608 - constants
RECORDS = """
SELECT one.value, g.n_images, g.n_success FROM json_each(?) AS one LEFT JOIN gbif_ids AS g ON g.gbif_id = one.value
"""
SHELF_STEP_ROWS = 5_000


class Shelved(NamedTuple):
    """A success, and where its bytes are."""

    image_id: int
    gbif_id: int  # with image_no: the first record that shows it; they name the file
    image_no: int
    path: str
    offset: int | None
    size_bytes: int
    sha256: bytes


def n_stored(ledger: Reader) -> int:
    n: int = ledger.rows("SELECT coalesce(sum(n), 0) FROM tallies WHERE status = 'success' AND error_type <> 'same_image'")[0][0]
    return n


def all_stored(ledger: Reader) -> Iterator[Shelved]:
    """Every image once, in steps, each step in disk order. An image that shares another one's file comes with that one."""
    top = top_image(ledger.rows)
    for low in range(0, top, SHELF_STEP_ROWS):
        yield from map(Shelved._make, ledger.rows(STORED_FILES, (low, low + SHELF_STEP_ROWS)))


class RecordState(NamedTuple):
    gbif_id: int
    n_images: int | None  # None: the ledger has no such record
    n_stored: int | None


def records(ledger: Reader, gbif_ids: Sequence[int]) -> Iterator[RecordState]:
    """What the ledger says of these records, in their order."""
    for at in range(0, len(gbif_ids), SHELF_STEP_ROWS):
        some = json.dumps(list(gbif_ids[at : at + SHELF_STEP_ROWS]))
        yield from map(RecordState._make, ledger.rows(RECORDS, (some,)))


def shown_by(ledger: Reader, gbif_ids: Sequence[int]) -> Iterator[Shelved]:
    """The images that these records show, once per record, by image number."""
    for gbif_id in gbif_ids:
        shown = heapq.merge(_in_line(ledger, gbif_id), _by_links(ledger, gbif_id), key=itemgetter(0))
        yield from (Shelved._make(row[2:]) for row in shown if row[1])


def _in_line(ledger: Reader, gbif_id: int) -> Iterator[Row]:
    """Image number, whether it is stored, and where, of all images of the record's own run, in steps."""
    line = ledger.rows(LINE, (gbif_id,))
    at = -1
    while line and (rows := ledger.rows(SHOWN_IN_LINE, (at, *line[0], SHELF_STEP_ROWS))):
        yield from (row for row in rows if row[3] == gbif_id)
        at = rows[-1][2]


def _by_links(ledger: Reader, gbif_id: int) -> Iterator[Row]:
    at = -1
    while rows := ledger.rows(SHOWN_BY_LINKS, (gbif_id, at, SHELF_STEP_ROWS)):
        yield from rows
        at = rows[-1][0]


def shown_as(ledger: Reader, gbif_id: int, image_no: int) -> Shelved | None:
    """The image that a record shows under this number; None if there is none, or it is not stored."""
    rows = ledger.rows(SHOWN_AS, (gbif_id, image_no))
    return Shelved._make(rows[0]) if rows else None
