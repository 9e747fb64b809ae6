"""Adds the images that an ingest brings to the lists of `untried`. A module of its own, so that a download needs no numpy."""

from __future__ import annotations

import sqlite3
from itertools import pairwise

import numpy as np

from d4c_images.ledger.admission.chunk import Numbers
from d4c_images.ledger.queue import untried

PLACE = np.dtype("<u2")

# A blob || a blob is a text with the bytes of both.
ADD_PLACES = """
INSERT INTO untried (host_id, block, places) VALUES (?, ?, ?)
ON CONFLICT (host_id, block) DO UPDATE SET places = CAST(places || excluded.places AS BLOB)
"""


def add(db: sqlite3.Connection, image_ids: Numbers, host_ids: Numbers) -> None:
    """List images with rising numbers, greater than all that came before, each with its host."""
    if not len(image_ids):
        return
    blocks, places = image_ids // untried.BLOCK_IMAGES, (image_ids % untried.BLOCK_IMAGES).astype(PLACE)
    order = np.argsort(host_ids, kind="stable")  # the blocks stay in image order
    hosts, blocks, packed = host_ids[order], blocks[order], places[order].tobytes()
    starts = np.flatnonzero((np.diff(hosts, prepend=-1) != 0) | (np.diff(blocks, prepend=-1) != 0))
    borders = (np.append(starts, len(order)) * PLACE.itemsize).tolist()
    pieces = [packed[start:end] for start, end in pairwise(borders)]
    db.executemany(ADD_PLACES, zip(hosts[starts].tolist(), blocks[starts].tolist(), pieces, strict=True))
