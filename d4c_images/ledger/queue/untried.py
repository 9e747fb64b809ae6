"""Images that nobody has tried yet, by host, as lists of their numbers. Knows nothing of images that have been tried.

Nearly every image of an ingest goes in here (`new_untried`), so it costs two bytes and no index entry of its own: one row of
`untried` lists one host's images among `BLOCK_IMAGES` consecutive image numbers. Which row lists an image depends only on its
number and host, not on transaction boundaries.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from itertools import groupby

BLOCK_IMAGES = 512  # so that a full row fits into its page of 8 KiB
PLACE_BYTES = 2

OF_HOST = "SELECT block, places FROM untried WHERE host_id = ? ORDER BY block"
LAST_OF_HOST = "SELECT block, places FROM untried WHERE host_id = ? ORDER BY block DESC LIMIT 1"
OF_BLOCK = "SELECT places FROM untried WHERE host_id = ? AND block = ?"
ANY_UNTRIED = "SELECT EXISTS (SELECT 1 FROM untried WHERE host_id = ?)"
PUT_PLACES = "INSERT OR REPLACE INTO untried (host_id, block, places) VALUES (?, ?, ?)"
DROP_ONE = "DELETE FROM untried WHERE host_id = ? AND block = ?"
DROP = "DELETE FROM untried WHERE host_id = ? AND block <= ?"
COUNT_UNTRIED = f"SELECT host_id, sum(length(places)) / {PLACE_BYTES} FROM untried GROUP BY host_id"  # noqa: S608 - a constant


def take(db: sqlite3.Connection, host_id: int, n: int) -> list[int]:
    """Take out up to `n` images of a host, the lowest numbers first."""
    taken: list[int] = []
    last_block, left = -1, b""
    cursor = db.execute(OF_HOST, (host_id,))
    for last_block, places in cursor:
        room = n - len(taken)
        taken += [last_block * BLOCK_IMAGES + place for place in _unpacked(places)[:room]]
        left = places[room * PLACE_BYTES :]
        if len(taken) == n:
            break
    cursor.close()
    db.execute(DROP, (host_id, last_block))
    _put(db, host_id, last_block, left)
    return taken


def take_last(db: sqlite3.Connection, host_id: int) -> list[int]:
    """Take out the image of a host with the highest number, if any."""
    row = db.execute(LAST_OF_HOST, (host_id,)).fetchone()
    if row is None:
        return []
    block, places = row
    db.execute(DROP_ONE, (host_id, block))
    _put(db, host_id, block, places[:-PLACE_BYTES])
    return [block * BLOCK_IMAGES + _unpacked(places)[-1]]


def put_back(db: sqlite3.Connection, host_id: int, image_ids: Iterable[int]) -> None:
    """Put back images that were taken out but are not to be tried yet."""
    for block, numbers in groupby(sorted(image_ids), key=lambda image_id: image_id // BLOCK_IMAGES):
        places = {*_places(db, host_id, block), *(image_id % BLOCK_IMAGES for image_id in numbers)}
        _put(db, host_id, block, _packed(sorted(places)))


def move(db: sqlite3.Connection, image_id: int, host_id: int, new_host_id: int) -> None:
    """An image's next request goes to another host. Does nothing if it is not untried."""
    if drop(db, image_id, host_id):
        put_back(db, new_host_id, (image_id,))


def drop(db: sqlite3.Connection, image_id: int, host_id: int) -> bool:
    """Take out one image; returns whether it was there."""
    block, place = divmod(image_id, BLOCK_IMAGES)
    places = _places(db, host_id, block)
    if place not in places:
        return False
    db.execute(DROP_ONE, (host_id, block))
    _put(db, host_id, block, _packed([other for other in places if other != place]))
    return True


def of_block(db: sqlite3.Connection, host_id: int, block: int) -> list[int]:
    """The images of a host that are listed among those of one block."""
    return [block * BLOCK_IMAGES + place for place in _places(db, host_id, block)]


def any_of(db: sqlite3.Connection, host_id: int) -> bool:
    """Whether the host has an untried image."""
    return bool(db.execute(ANY_UNTRIED, (host_id,)).fetchone()[0])


def _places(db: sqlite3.Connection, host_id: int, block: int) -> tuple[int, ...]:
    row = db.execute(OF_BLOCK, (host_id, block)).fetchone()
    return _unpacked(row[0]) if row else ()


def _put(db: sqlite3.Connection, host_id: int, block: int, places: bytes) -> None:
    if places:
        db.execute(PUT_PLACES, (host_id, block, places))


def _unpacked(places: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(places) // PLACE_BYTES}H", places)


def _packed(places: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(places)}H", *places)
