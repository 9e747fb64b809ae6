"""Gives failed images new attempts, in committed chunks. Deletes nothing: the row stays, its failure is cleared."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from d4c_images.identity import parts
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import deferred
from d4c_images.ledger.rows import bounded
from d4c_images.ledger.rows.extent import top_image
from d4c_images.ledger.rows.names import host_id_of
from d4c_images.ledger.rows.rollup import RecordChanges
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import Status

FAILED_IN_RANGE = """
SELECT image_id, gbif_id, host_id, status, error_type, substr(urls, 1, instr(urls || char(10), char(10)) - 1) FROM image_rows
WHERE image_id > ? AND image_id <= ? AND not_before IS NULL
  AND (status = 'failed_transient' OR (status = 'failed_permanent' AND ?))
ORDER BY image_id
"""
REQUEUE = """
UPDATE image_rows SET status = 'pending', not_before = 0, attempts = 0, url_no = 0, redirect_url = NULL, hops = 0,
    carried_failure = NULL, host_id = ?, http_status = NULL, error_type = NULL, error_detail = NULL
WHERE image_id = ?
"""
# A host that was unreachable may be tried again at once; one that has asked for a wait may not.
FORGIVE = """
UPDATE host_rows SET blocked_until = NULL, blocked_why = NULL, block_level = 0, unreachable_since = NULL, n_unreachable = 0
WHERE unreachable_since IS NOT NULL AND host_id IN (SELECT value FROM json_each(?))
"""

# A host that was given up because its door stayed shut gets as many probes as before, not a single one.
FORGIVE_SHUT = "UPDATE shut_doors SET n_probes = 0 WHERE host_id IN (SELECT value FROM json_each(?))"


def requeue_failed(
    ledger: Ledger,
    progress: Callable[[int, int], object],
    *,
    permanent: bool,
    only_hosts: Collection[str] = (),
    chunk: int = 50_000,
) -> int:
    """Queue images that failed for good again; with `permanent` also those that a server refused.

    With `only_hosts` those that would first be requested from one of these.
    `progress(done, total)` counts image numbers looked at. Returns how many images wait again.
    """
    top = top_image(ledger.connection.execute)
    n = low = 0
    while low < top:
        high = min(low + chunk, top)
        failed, is_all = bounded.some(ledger.connection.execute(FAILED_IN_RANGE, (low, high, permanent)), lambda row: len(row[-1]))
        wanted = [(row, host) for row in failed if (host := parts(row[-1]).host) in only_hosts or not only_hosts]
        if wanted:
            with ledger.transaction() as db:
                _requeue(db, wanted)
            n += len(wanted)
            deferred.drain(ledger, partial(progress, low, top))
        low = high if is_all else failed[-1][0]
        progress(low, top)
    return n


def _requeue(db: sqlite3.Connection, images: Sequence[tuple[tuple[Any, ...], str]]) -> None:
    """Rows of `FAILED_IN_RANGE`, each with the host from which it will first be requested."""
    tally, records, host_ids = Tally(), RecordChanges(), set[int]()
    for (image_id, gbif_id, host_id, status, error_type, _), first_host in images:
        first_host_id = host_id_of(db, first_host)
        db.execute(REQUEUE, (first_host_id, image_id))
        host_ids.add(first_host_id)
        tally.image(-1, host_id, status, error_type, final=True)
        tally.image(1, first_host_id, Status.PENDING, None, final=False)
        records.image(image_id, gbif_id, n_success=0, n_failed=-1)
    for forgive in (FORGIVE, FORGIVE_SHUT):
        db.execute(forgive, (json.dumps(sorted(host_ids)),))
    records.write(db, tally, 0)
    tally.write(db)
