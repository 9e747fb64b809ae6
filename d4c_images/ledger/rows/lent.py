"""Which images are lent, and under which lease: a short list, so that lending does not touch their rows. Decides nothing.

A row is on a page of its own as often as not, so writing it once, when the image is settled, saves a quarter of what is written
(docs/adr/0038).
Taking an image off this list is the fence (I3): a late worker finds no row to delete, so its settlement is void.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

# For the row `i` of `image_rows`.
IS_LENT = "EXISTS (SELECT 1 FROM lent WHERE lent.image_id = i.image_id)"
STATUS = f"CASE WHEN i.status <> 'success' AND {IS_LENT} THEN 'leased' ELSE i.status END"
# The revision under which its next bytes are stored.
NEXT_REVISION = """
CASE WHEN i.status = 'success' THEN (SELECT count(*) + 1 FROM former_rows AS f WHERE f.image_id = i.image_id) ELSE 0 END"""

ADD_LENT = "INSERT INTO lent (image_id, lease_id) VALUES (?, ?)"
TAKE = "DELETE FROM lent WHERE image_id IN (SELECT value FROM json_each(?)) AND lease_id = ? RETURNING image_id"
TAKE_SOME = "DELETE FROM lent WHERE image_id IN (SELECT value FROM json_each(?)) RETURNING image_id, lease_id"
TAKE_ALL = "DELETE FROM lent WHERE lease_id IN (SELECT value FROM json_each(?)) RETURNING image_id, lease_id"


def add(db: sqlite3.Connection, lease_id: int, image_ids: Iterable[int]) -> None:
    """Lend images that are not lent."""
    db.executemany(ADD_LENT, [(image_id, lease_id) for image_id in image_ids])


def take(db: sqlite3.Connection, lease_id: int, image_ids: Iterable[int]) -> list[int]:
    """Take those of the images off the list that are lent under this lease; returns them in numerical order."""
    return sorted(row[0] for row in db.execute(TAKE, (json.dumps(list(image_ids)), lease_id)))


def take_all(db: sqlite3.Connection, lease_ids: Iterable[int]) -> dict[int, int]:
    """Take off the list what is lent under these leases: image -> lease."""
    return dict(db.execute(TAKE_ALL, (json.dumps(list(lease_ids)),)).fetchall())


def take_some(db: sqlite3.Connection, image_ids: Iterable[int]) -> dict[int, int]:
    """Take images off the list, under whatever lease they are lent: image -> lease."""
    return dict(db.execute(TAKE_SOME, (json.dumps(list(image_ids)),)).fetchall())
