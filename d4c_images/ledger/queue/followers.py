"""Images that wait for another one to be stored take over its file as soon as it is. Does not decide which ones wait.

If very many images wait for one, they follow in pieces (`deferred`).
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence

from d4c_images.ledger.rows import bounded
from d4c_images.ledger.rows.rollup import RecordChanges
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import ErrorType, Status

PARENTS_AT_ONCE = 5_000
"""Images looked at in one transaction because they may wait for those it stores; the rest is deferred (`deferred`)."""

STORED_BLOB = """
SELECT image_id, file_path, file_size, sha256, media_type, width, height, original_sha256, file_offset FROM image_rows
WHERE image_id = ? AND status = 'success'
"""
# Images that stood for a document which names this one, in order; a covering index.
PARENTS = """
SELECT u.image_id, u.parent_id FROM json_each(?) AS stored CROSS JOIN unfolded AS u INDEXED BY unfolded_image
ON u.image_id = stored.value AND u.parent_id > ? LIMIT ?
"""
FOLLOWERS = """
SELECT i.image_id, i.gbif_id, i.host_id, length(i.urls)
FROM json_each(?) AS parents CROSS JOIN image_rows AS i ON i.image_id = parents.value
WHERE i.error_type = 'same_image' AND i.status = 'failed_transient' AND i.error_detail = ?
"""
LEAVE_FOLLOWERS = "INSERT OR REPLACE INTO follower_changes (image_id, after_parent_id) VALUES (?, ?)"
FOLLOW = """
UPDATE image_rows SET status = 'success', file_path = ?, file_size = ?, sha256 = ?, media_type = ?, width = ?, height = ?,
    original_sha256 = ?, file_offset = ?, last_attempt_at = ?
WHERE image_id = ?
"""


def follow(db: sqlite3.Connection, stored: Sequence[int], records: RecordChanges, tally: Tally, now: int) -> None:
    """Holders whose documents named nothing but images that have just been stored become successes, too."""
    room = bounded.BYTES
    while stored:
        pairs = db.execute(PARENTS, (json.dumps(stored), 0, PARENTS_AT_ONCE + 1)).fetchall()
        if len(pairs) > PARENTS_AT_ONCE:
            for image_id in stored:
                leave_followers(db, image_id, 0)
            return
        parents: defaultdict[int, list[int]] = defaultdict(list)
        for image_id, parent_id in pairs:
            parents[image_id].append(parent_id)
        stored = []
        for image_id, ids in parents.items():
            rows, are_all = _waiting(db, image_id, ids, room)
            if not are_all:
                leave_followers(db, image_id, rows[-1][0] if rows else 0)
            room -= sum(row[-1] for row in rows)
            stored += _follow(db, image_id, rows, records, tally, now)


def follow_some(db: sqlite3.Connection, image_id: int, after: int, n: int, now: int) -> int | None:
    """As `follow`, for the next `n` images that may wait for a stored one, or fewer if their rows are long.

    Returns the last one; None if there are no more.
    """
    parents = [row[1] for row in db.execute(PARENTS, (json.dumps([image_id]), after, n))]
    rows, are_all = _waiting(db, image_id, parents, bounded.BYTES)
    records, tally = RecordChanges(), Tally()
    follow(db, _follow(db, image_id, rows, records, tally, now), records, tally, now)
    records.write(db, tally, now)
    tally.write(db)
    if not are_all:
        return int(rows[-1][0])
    return parents[-1] if len(parents) == n else None


def _waiting(
    db: sqlite3.Connection, image_id: int, parents: Sequence[int], most_bytes: int
) -> tuple[list[tuple[int, int, int, int]], bool]:
    """Those of the images that wait for this one, as far as the byte limit allows, and whether those are all."""
    if most_bytes <= 0:
        return [], False
    found = db.execute(FOLLOWERS, (json.dumps(parents), f"image {image_id}"))
    return bounded.some(found, lambda row: row[-1], len(parents), most_bytes)


def leave_followers(db: sqlite3.Connection, image_id: int, after: int) -> None:
    """Defer: the images after `after` that may show what this one shows become what it is (`deferred`)."""
    db.execute(LEAVE_FOLLOWERS, (image_id, after))


def _follow(
    db: sqlite3.Connection,
    image_id: int,
    rows: Sequence[tuple[int, int, int, int]],
    records: RecordChanges,
    tally: Tally,
    now: int,
) -> list[int]:
    """Images that wait for a stored one, given as rows of `FOLLOWERS`, take over its file."""
    stored = db.execute(STORED_BLOB, (image_id,)).fetchone() if rows else None
    if stored is None:
        return []
    _, *blob = stored
    for follower_id, gbif_id, host_id, _ in rows:
        db.execute(FOLLOW, (*blob, now, follower_id))
        tally.image(-1, host_id, Status.FAILED_TRANSIENT, ErrorType.SAME_IMAGE, final=True)
        tally.image(1, host_id, Status.SUCCESS, ErrorType.SAME_IMAGE, final=True, size_bytes=blob[1])
        records.image(follower_id, gbif_id, n_success=1, n_failed=-1)
    return [row[0] for row in rows]
