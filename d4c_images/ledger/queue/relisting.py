"""Compares the lists of untried images with the rows and corrects them, in committed pieces. Lends nothing.

Only for a repair, by the owner of the ledger: no run of this program leaves them different.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable

from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import untried
from d4c_images.ledger.queue.untried import BLOCK_IMAGES
from d4c_images.ledger.rows.extent import top_image
from d4c_images.ledger.rows.lent import IS_LENT

LISTS_AT_ONCE = 200
IMAGES_AT_ONCE = 50 * BLOCK_IMAGES

NEXT_LISTS = "SELECT host_id, block FROM untried WHERE (host_id, block) > (?, ?) ORDER BY host_id, block LIMIT ?"
ARE_UNTRIED = f"""
SELECT i.image_id FROM json_each(?) AS listed CROSS JOIN image_rows AS i ON i.image_id = listed.value
WHERE i.host_id = ? AND i.status = 'pending' AND i.not_before IS NULL AND NOT {IS_LENT}
"""  # noqa: S608 - a constant
UNTRIED_IN_RANGE = f"""
SELECT i.image_id, i.host_id FROM image_rows AS i
WHERE i.image_id > ? AND i.image_id <= ? AND i.status = 'pending' AND i.not_before IS NULL AND NOT {IS_LENT}
"""  # noqa: S608 - a constant


def relist(ledger: Ledger, progress: Callable[[int, int], object]) -> int:
    """Take what is not untried off the lists, and list what is. Returns how many images were corrected.

    `progress(done, total)` counts image numbers, once the lists are done.
    """
    n, at = 0, (-1, -1)
    while lists := ledger.connection.execute(NEXT_LISTS, (*at, LISTS_AT_ONCE)).fetchall():
        n += _unlist(ledger, lists)
        at = lists[-1]
        progress(0, 0)
    top = top_image(ledger.connection.execute)
    for low in range(-1, top, IMAGES_AT_ONCE):
        n += _list(ledger, low, low + IMAGES_AT_ONCE)
        progress(min(top, low + IMAGES_AT_ONCE), top)
    return n


def _unlist(ledger: Ledger, lists: list[tuple[int, int]]) -> int:
    n = 0
    with ledger.transaction() as db:
        for host_id, block in lists:
            listed = untried.of_block(db, host_id, block)
            sound = {row[0] for row in db.execute(ARE_UNTRIED, (json.dumps(listed), host_id))}
            for image_id in set(listed) - sound:
                untried.drop(db, image_id, host_id)
                n += 1
    return n


def _list(ledger: Ledger, low: int, high: int) -> int:
    wanted: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for image_id, host_id in ledger.connection.execute(UNTRIED_IN_RANGE, (low, high)):
        wanted[host_id, image_id // BLOCK_IMAGES].append(image_id)
    with ledger.transaction() as db:
        lacking = []
        for (host_id, block), image_ids in wanted.items():
            listed = set(untried.of_block(db, host_id, block))
            lacking += [(host_id, image_id) for image_id in image_ids if image_id not in listed]
        for host_id, image_id in lacking:
            untried.put_back(db, host_id, (image_id,))
    return len(lacking)
