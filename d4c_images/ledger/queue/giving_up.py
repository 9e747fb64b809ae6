"""Takes the images of an unreachable host out of its queue, in chunks. Does not decide that a host is given up.

An image with a further candidate at another host continues there, and takes the failure along. The others have failed for now and
are not retried automatically: `download --retry-failed transient` brings them back.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from d4c_images.identity import parts
from d4c_images.ledger.queue import untried
from d4c_images.ledger.queue.carried import packed
from d4c_images.ledger.rows import bounded
from d4c_images.ledger.rows.lent import IS_LENT
from d4c_images.ledger.rows.names import host_id_of
from d4c_images.ledger.rows.rollup import RecordChanges
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import Failure, Status

COLUMNS = "i.image_id, i.gbif_id, i.urls, i.url_no, i.status, i.error_type"
QUEUED = f"""
SELECT {COLUMNS} FROM image_rows AS i INDEXED BY image_queue
WHERE i.host_id = ? AND i.not_before IS NOT NULL AND NOT {IS_LENT} LIMIT ?
"""  # noqa: S608 - constants
UNTRIED_OF_HOST = f"""
SELECT {COLUMNS} FROM json_each(?) AS wanted CROSS JOIN image_rows AS i ON i.image_id = wanted.value WHERE i.status = 'pending'
"""  # noqa: S608 - constants
FAIL = """
UPDATE image_rows SET status = 'failed_transient', not_before = NULL, redirect_url = NULL, hops = 0, carried_failure = NULL,
    http_status = ?, error_type = ?, error_detail = ?, last_attempt_at = ?
WHERE image_id = ?
"""
MOVE_ON = """
UPDATE image_rows SET not_before = 0, host_id = ?, url_no = ?, redirect_url = NULL, hops = 0, carried_failure = ? WHERE image_id = ?
"""


@dataclass(slots=True)
class GivenUp:
    """The result of one chunk."""

    n_failed: int = 0
    n_moved: int = 0
    moved_to: set[int] = field(default_factory=set)

    @property
    def n(self) -> int:
        return self.n_failed + self.n_moved


class _Waiting(NamedTuple):
    image_id: int
    gbif_id: int
    urls: str
    url_no: int
    status: str
    error_type: str | None


def give_up(db: sqlite3.Connection, host_id: int, host: str, failure: Failure, n: int, now: float) -> GivenUp:
    """Up to `n` images, fewer if their URLs are very long; if nothing was done, the host's queue is empty."""
    given, tally, records = GivenUp(), Tally(), RecordChanges()
    verdict = failure.verdict
    for row in _waiting(db, host_id, n):
        tally.image(-1, host_id, row.status, row.error_type, final=False)
        elsewhere = _elsewhere(row, host)
        if elsewhere is None:
            db.execute(FAIL, (failure.code, verdict.error_type, verdict.detail, int(now), row.image_id))
            tally.image(1, host_id, Status.FAILED_TRANSIENT, verdict.error_type, final=True)
            records.image(row.image_id, row.gbif_id, n_success=0, n_failed=1)
            given.n_failed += 1
            continue
        url_no, new_host = elsewhere
        new_host_id = host_id_of(db, new_host)
        db.execute(MOVE_ON, (new_host_id, url_no, packed(Failure(verdict, failure.code, row.url_no)), row.image_id))
        tally.image(1, new_host_id, row.status, row.error_type, final=False)
        given.moved_to.add(new_host_id)
        given.n_moved += 1
    records.write(db, tally, int(now))
    tally.write(db)
    return given


def _waiting(db: sqlite3.Connection, host_id: int, n: int) -> Iterable[_Waiting]:
    """Images waiting at a host; untried ones are taken out of their list."""
    rows, is_all = bounded.some(db.execute(QUEUED, (host_id, n)), lambda row: len(row[2]))
    if is_all and len(rows) < n:
        image_ids = untried.take(db, host_id, n - len(rows))
        more, is_all = bounded.some(db.execute(UNTRIED_OF_HOST, (json.dumps(image_ids),)), lambda row: len(row[2]))
        if not is_all:
            untried.put_back(db, host_id, image_ids[len(more) :])
        rows += more
    return map(_Waiting._make, rows)


def _elsewhere(row: _Waiting, host: str) -> tuple[int, str] | None:
    """The next candidate that is not on `host`."""
    urls = row.urls.split("\n")
    for url_no in range(row.url_no + 1, len(urls)):
        other = parts(urls[url_no]).host
        if other != host:
            return url_no, other
    return None
