"""Where the bytes of images are, asked of a ledger that is read. Opens no file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from d4c_images.ledger.reader import Reader

TOP_IMAGE = "SELECT coalesce(max(image_id), 0) FROM image_rows"
STORED = """
SELECT image_id, gbif_id, image_no, file_path, file_offset, file_size, sha256 FROM image_rows
WHERE image_id > ? AND image_id <= ? AND status = 'success' AND coalesce(error_type, '') <> 'same_image'
ORDER BY file_path, file_offset
"""
SHOWN_BY = """
SELECT i.image_id, i.gbif_id, i.image_no, i.file_path, i.file_offset, i.file_size, i.sha256
FROM links AS l JOIN image_rows AS i ON i.image_id = l.image_id
WHERE l.gbif_id = ? AND i.status = 'success' AND i.sha256 IS NOT NULL
ORDER BY l.image_no
"""
SHOWN_AS = """
SELECT i.image_id, i.gbif_id, i.image_no, i.file_path, i.file_offset, i.file_size, i.sha256
FROM links AS l JOIN image_rows AS i ON i.image_id = l.image_id
WHERE l.gbif_id = ? AND l.image_no = ? AND i.status = 'success'
"""
STEP_ROWS = 5_000


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
    """Every image once, in steps, those of one step in the order of the disk. What is another image's file comes with that one."""
    top: int = ledger.rows(TOP_IMAGE)[0][0]
    for low in range(0, top, STEP_ROWS):
        yield from map(Shelved._make, ledger.rows(STORED, (low, low + STEP_ROWS)))


def shown_by(ledger: Reader, gbif_ids: Sequence[int]) -> Iterator[Shelved]:
    """The images that these records show, each once for each of them."""
    for gbif_id in gbif_ids:
        yield from map(Shelved._make, ledger.rows(SHOWN_BY, (gbif_id,)))


def shown_as(ledger: Reader, gbif_id: int, image_no: int) -> Shelved | None:
    """The image that a record shows under this number; None where there is none, or none is stored."""
    rows = ledger.rows(SHOWN_AS, (gbif_id, image_no))
    return Shelved._make(rows[0]) if rows else None
