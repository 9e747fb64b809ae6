"""Images that nobody has tried yet, by host, as lists of their numbers. Knows nothing of images that have been tried.

Nearly every image of an ingest goes in here, so it costs two bytes and no entry in an index of its own: one row of `untried` lists
the images of one host among `BLOCK` image numbers that follow each other. Which images stand in which row hangs on nothing but
their numbers and hosts, not on where a transaction ended.
"""

from __future__ import annotations

import sqlite3

import numpy as np

from d4c_images.ledger.chunk import Numbers

BLOCK = 512  # so that a full row stays inside its page of 8 KiB
_SMALL = np.dtype("<u2")  # place in the block

# A blob || a blob is a text with the bytes of both.
ADD = """
INSERT INTO untried (host_id, block, places) VALUES (?, ?, ?)
ON CONFLICT (host_id, block) DO UPDATE SET places = CAST(places || excluded.places AS BLOB)
"""
OF_HOST = "SELECT block, places FROM untried WHERE host_id = ? ORDER BY block"
OF_BLOCK = "SELECT places FROM untried WHERE host_id = ? AND block = ?"
ANY = "SELECT EXISTS (SELECT 1 FROM untried WHERE host_id = ?)"
SHORTEN = "UPDATE untried SET places = ? WHERE host_id = ? AND block = ?"
DROP = "DELETE FROM untried WHERE host_id = ? AND block <= ?"
DROP_ONE = "DELETE FROM untried WHERE host_id = ? AND block = ?"
COUNT = "SELECT host_id, sum(length(places)) / 2 FROM untried GROUP BY host_id"


def add(db: sqlite3.Connection, image_ids: Numbers, host_ids: Numbers) -> None:
    """Take in images with rising numbers, greater than all that came before, each with its host."""
    if not len(image_ids):
        return
    blocks, places = image_ids // BLOCK, (image_ids % BLOCK).astype(_SMALL)
    order = np.lexsort((blocks, host_ids))
    hosts, blocks, places = host_ids[order], blocks[order], places[order]
    starts = np.flatnonzero(np.diff(hosts, prepend=-1) | np.diff(blocks, prepend=-1))
    ends = np.append(starts[1:], len(order)) * _SMALL.itemsize
    packed = places.tobytes()
    pieces = [packed[start:end] for start, end in zip((starts * _SMALL.itemsize).tolist(), ends.tolist(), strict=True)]
    db.executemany(ADD, zip(hosts[starts].tolist(), blocks[starts].tolist(), pieces, strict=True))


def take(db: sqlite3.Connection, host_id: int, n: int) -> list[int]:
    """Take out up to `n` images of a host, the lowest numbers first."""
    taken: list[int] = []
    last_block, left = -1, b""
    cursor = db.execute(OF_HOST, (host_id,))
    for last_block, places in cursor:
        found = _image_ids(last_block, places)
        left = places[(n - len(taken)) * _SMALL.itemsize :]
        taken += found[: n - len(taken)]
        if len(taken) == n:
            break
    cursor.close()
    db.execute(DROP, (host_id, last_block - bool(left)))
    if left:
        db.execute(SHORTEN, (left, host_id, last_block))
    return taken


def move(db: sqlite3.Connection, image_id: int, host_id: int, new_host_id: int) -> None:
    """An image's next request goes to another host. Nothing happens where it is none of the untried ones."""
    block, place = divmod(image_id, BLOCK)
    row = db.execute(OF_BLOCK, (host_id, block)).fetchone()
    places = np.frombuffer(row[0] if row else b"", _SMALL)
    if place not in places:
        return
    left = places[places != place]
    if len(left):
        db.execute(SHORTEN, (left.tobytes(), host_id, block))
    else:
        db.execute(DROP_ONE, (host_id, block))
    row = db.execute(OF_BLOCK, (new_host_id, block)).fetchone()
    others = np.frombuffer(row[0] if row else b"", _SMALL)
    together = np.insert(others, int(np.searchsorted(others, place)), place).astype(_SMALL)
    db.execute(DROP_ONE, (new_host_id, block))
    db.execute(ADD, (new_host_id, block, together.tobytes()))


def any_of(db: sqlite3.Connection, host_id: int) -> bool:
    """Has the host an untried image?"""
    return bool(db.execute(ANY, (host_id,)).fetchone()[0])


def _image_ids(block: int, places: bytes) -> list[int]:
    image_ids: list[int] = (np.frombuffer(places, _SMALL).astype(np.int64) + block * BLOCK).tolist()
    return image_ids
