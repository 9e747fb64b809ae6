"""Two images for one picture, according to their records' rows: one now points to the other. Finds none itself.

Nothing is deleted and no byte moves: the image that is given up keeps its row, its number and its links, and shows the other one's
file as soon as that is stored (`followers.follow`), flagged `same_image`. An image that is stored, lent or a document stays,
and so does one shown by any record whose rows do not say this: they may mean something else by its URL.

This is done at the end of an ingest, since only then all records are written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from d4c_images.ledger.queue import expand_documents, followers, untried
from d4c_images.ledger.rows.hashes import key_hash
from d4c_images.ledger.rows.lent import STATUS
from d4c_images.ledger.rows.rollup import BEFORE_ALL, RecordChanges, shown_by
from d4c_images.ledger.rows.states import is_final
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import ErrorType, Status

JOINED_AT_ONCE = 1_000
MAX_RECORDS = 100
"""Most records that may show an image for it to be given up."""

LEAVE_JOINED = "INSERT OR IGNORE INTO joined_images (image_id, same_as, joined_at) VALUES (?, ?, ?)"
SOME = "SELECT image_id, same_as, joined_at FROM joined_images ORDER BY image_id, same_as LIMIT ?"
DONE = "DELETE FROM joined_images WHERE image_id = ? AND same_as = ?"
IMAGE_TO_GIVE_UP = f"""
SELECT i.gbif_id, i.host_id, {STATUS}, i.error_type, i.not_before, coalesce(i.image_key, i.urls),
       EXISTS (SELECT 1 FROM unfolded AS u WHERE u.parent_id = i.image_id) OR
       EXISTS (SELECT 1 FROM documents AS d WHERE d.image_id = i.image_id)
FROM image_rows AS i WHERE i.image_id = ?
"""  # noqa: S608 - a constant
SAYS = "SELECT EXISTS (SELECT 1 FROM picture_rows WHERE gbif_id = ? AND key_hash = ? AND image_id = ?)"
GIVE_UP = """
UPDATE image_rows SET image_key = ?, status = ?, http_status = NULL, error_type = 'same_image', error_detail = ?, not_before = NULL,
    redirect_url = NULL, hops = 0, carried_failure = NULL, last_attempt_at = ?, file_path = ?, file_size = ?, sha256 = ?,
    media_type = ?, width = ?, height = ?, original_sha256 = ?, file_offset = ?
WHERE image_id = ?
"""


def leave(db: sqlite3.Connection, same: Iterable[tuple[int, int]], now: int) -> None:
    """Once the ingest has ended, the first image of each pair becomes the other, by their numbers."""
    db.executemany(LEAVE_JOINED, [(*pair, now) for pair in same])


def give_up_some(db: sqlite3.Connection) -> bool:
    """Look at the next deferred images. False if there are none."""
    tally, records = Tally(), RecordChanges()
    some = db.execute(SOME, (JOINED_AT_ONCE,)).fetchall()
    for image_id, same_as, joined_at in some:
        _give_up(db, image_id, same_as, joined_at, records, tally)
        db.execute(DONE, (image_id, same_as))
        records.write(db, tally, joined_at)
    tally.write(db)
    return bool(some)


def _give_up(db: sqlite3.Connection, image_id: int, same_as: int, now: int, records: RecordChanges, tally: Tally) -> None:
    """One image becomes another, if all records that show it agree."""
    gbif_id, host_id, status, error_type, not_before, key, is_document = db.execute(IMAGE_TO_GIVE_UP, (image_id,)).fetchone()
    if is_document or status in (Status.SUCCESS, Status.LEASED):
        return
    shown = [gbif_id, *shown_by(db, image_id, BEFORE_ALL, gbif_id, MAX_RECORDS)]
    hashed = key_hash(key)
    if len(shown) > MAX_RECORDS or not all(db.execute(SAYS, (one, hashed, same_as)).fetchone()[0] for one in shown):
        return
    stored = db.execute(followers.STORED_BLOB, (same_as,)).fetchone()
    new = Status.FAILED_TRANSIENT if stored is None else Status.SUCCESS
    blob = (None,) * 8 if stored is None else stored[1:]
    # Its key becomes free: whoever names it later may mean another picture.
    row = (f"same_image:{image_id}:{key}", new.value, f"image {same_as}", now, *blob, image_id)
    db.execute(GIVE_UP, row)
    db.execute(expand_documents.INSERT_UNFOLDED, (image_id, same_as, 0, 0, 0, image_id))
    untried.drop(db, image_id, host_id)
    was_final = is_final(status, not_before)
    size_bytes = 0 if stored is None else stored[2]
    tally.image(-1, host_id, status, error_type, final=was_final)
    tally.image(1, host_id, new, ErrorType.SAME_IMAGE, final=True, size_bytes=size_bytes)
    records.image(image_id, gbif_id, n_success=stored is not None, n_failed=(stored is None) - was_final)
