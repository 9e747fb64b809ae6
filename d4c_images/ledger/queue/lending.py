"""Lends a host's images to a worker, and takes back what a dead worker held. Decides no pace and fetches nothing."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from d4c_images import crash
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import carried, refetching, untried
from d4c_images.ledger.rows import bounded, lent, variants
from d4c_images.ledger.rows.lent import IS_LENT
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import Claim, PublishedHash, Status, Turn

WAITING = """
    i.image_id, i.gbif_id, i.image_no, i.urls, i.attempts, i.url_no, i.redirect_url, i.hops, i.dead_lease_id, i.status,
    i.error_type, i.carried_failure, i.not_before"""
CANDIDATES = f"""
SELECT {WAITING}
FROM image_rows AS i INDEXED BY image_queue
WHERE host_id = ? AND not_before <= ? AND NOT {IS_LENT}
ORDER BY not_before, image_id LIMIT ?
"""  # noqa: S608 - constants
LAST_GIVEN_BACK = f"""
SELECT {WAITING}
FROM image_rows AS i INDEXED BY image_queue
WHERE host_id = ? AND not_before <= 0 AND NOT {IS_LENT}
ORDER BY not_before DESC, image_id DESC LIMIT 1
"""  # noqa: S608 - constants
UNTRIED_CLAIMS = f"""
SELECT {WAITING}
FROM json_each(?) AS wanted CROSS JOIN image_rows AS i ON i.image_id = wanted.value
WHERE i.status = 'pending'
"""  # noqa: S608 - constants
EARLIEST = f"""
SELECT not_before FROM image_rows AS i INDEXED BY image_queue
WHERE host_id = ? AND not_before IS NOT NULL AND NOT {IS_LENT}
ORDER BY not_before LIMIT 1
"""  # noqa: S608 - constants
LENT = """
SELECT i.image_id, i.host_id, i.error_type, i.status
FROM json_each(?) AS held CROSS JOIN image_rows AS i ON i.image_id = held.value
"""
GIVE_BACK_IMAGE = "UPDATE image_rows SET dead_lease_id = ?, not_before = 0 WHERE image_id = ?"
LEFT_LENT = """
SELECT t.image_id, t.lease_id FROM lent AS t CROSS JOIN leases AS l ON l.lease_id = t.lease_id
WHERE l.run_id <> ? AND t.image_id > ? ORDER BY t.image_id LIMIT ?
"""
TAKE_BACK_AT_ONCE = 5_000
TURN_BYTES = 4 << 20  # of URLs, all of which go to the worker: an image may have many long ones
LOST_LANE = -1
"""Of a lease without images: a lost worker may still be sending requests to the host."""


@dataclass(frozen=True, slots=True)
class TurnTerms:
    """The terms of one turn, as the steward derives them from the host's limits and pace."""

    lane: int
    connections: int
    min_interval_s: float
    max_claims: int
    expires_at: float  # unix time
    bytes_per_s: float | None = None
    max_bytes: int | None = None
    refetch: bool = False  # add stored images that wait to be refetched, if there is room
    from_end: bool = False  # only one image: the last untried one, if there is one


class _Waiting(NamedTuple):
    """A row of `WAITING`: a lendable image."""

    image_id: int
    gbif_id: int
    image_no: int
    urls: str  # candidates, best first, joined by line feeds
    attempts: int
    url_no: int
    redirect_url: str | None
    hops: int
    dead_lease_id: int | None
    status: str
    error_type: str | None
    carried_failure: str | None
    not_before: int | None


class Asked(NamedTuple):
    """A host, and the run that sends requests to it."""

    run_id: int
    host_id: int


def earliest(db: sqlite3.Connection, host_id: int, *, refetch: bool = False) -> int | None:
    """Unix time from which the host's next image may be requested; None if nothing is waiting."""
    if untried.any_of(db, host_id) or (refetch and refetching.any_of(db, host_id)):
        return 0
    row = db.execute(EARLIEST, (host_id,)).fetchone()
    return None if row is None else int(row[0])


def lend(
    db: sqlite3.Connection, run_id: int, host_id: int, host: str, terms: TurnTerms, max_attempts: int, now: float
) -> Turn | None:
    """Lend up to `terms.max_claims` waiting images of one host; None if none is waiting now."""
    rows = _last(db, host_id) if terms.from_end else []
    rows = rows or _candidates(db, host_id, terms.max_claims, int(now))
    again = refetching.waiting(db, host_id, terms.max_claims - len(rows)) if terms.refetch else []
    if not rows and not again:
        return None
    lease_id = db.execute(
        "INSERT INTO leases (run_id, host_id, lane, lent_at, expires_at) VALUES (?, ?, ?, ?, ?)",
        (run_id, host_id, terms.lane, int(now), int(terms.expires_at)),
    ).lastrowid
    assert lease_id is not None
    lent.add(db, lease_id, (row.image_id for row in rows))
    tally = Tally()
    hashes = variants.hashes_of(db, {row.image_id: row.urls.split("\n") for row in rows})
    for row in rows:
        tally.image(-1, host_id, row.status, row.error_type, final=False)
        tally.image(1, host_id, Status.LEASED, row.error_type, final=False)
    claims = [_claim(row, hashes.get(row.image_id, ()), max_attempts) for row in rows]
    tally.write(db)
    claims += refetching.lend(db, lease_id, host_id, again)
    pace = (terms.lane, terms.connections, terms.min_interval_s, terms.expires_at)
    return Turn(lease_id, host, *pace, tuple(claims), terms.bytes_per_s, terms.max_bytes)


def _claim(row: _Waiting, hashes: tuple[PublishedHash, ...], max_attempts: int) -> Claim:
    attempt = row.attempts + 1
    return Claim(
        image_id=row.image_id,
        gbif_id=row.gbif_id,
        image_no=row.image_no,
        urls=tuple(row.urls.split("\n")),
        attempt=attempt,
        last_attempt=attempt >= max_attempts,
        url_no=row.url_no,
        redirect_url=row.redirect_url,
        hops=row.hops,
        may_be_stored=row.dead_lease_id is not None,
        failure=carried.unpacked(row.carried_failure),
        hashes=hashes,
    )


def _candidates(db: sqlite3.Connection, host_id: int, n: int, now: int) -> list[_Waiting]:
    """Up to `n` images that may be requested now: those given back or moved here, then untried ones, then retries."""
    due, _ = bounded.some(_rows(db, CANDIDATES, host_id, now, n), _size, n, TURN_BYTES)
    given_back = [row for row in due if row.not_before == 0]
    image_ids = untried.take(db, host_id, n - len(given_back)) if len(given_back) < n else []
    fresh, is_all = bounded.some(_rows(db, UNTRIED_CLAIMS, json.dumps(image_ids)), _size, n, TURN_BYTES)
    if not is_all:
        untried.put_back(db, host_id, image_ids[len(fresh) :])
        return given_back + fresh
    retries = due[len(given_back) :]  # rows are sorted by `not_before`
    return given_back + fresh + retries[: n - len(given_back) - len(fresh)]


def _last(db: sqlite3.Connection, host_id: int) -> list[_Waiting]:
    rows = list(_rows(db, UNTRIED_CLAIMS, json.dumps(untried.take_last(db, host_id))))
    return rows or list(_rows(db, LAST_GIVEN_BACK, host_id))


def _rows(db: sqlite3.Connection, sql: str, *parameters: object) -> Iterator[_Waiting]:
    return map(_Waiting._make, db.execute(sql, parameters))


def _size(row: _Waiting) -> int:
    return len(row.urls)


def take_back_left(ledger: Ledger, run_id: int, beat: Callable[[], object]) -> int:
    """Take back the images that earlier runs have left lent, in committed pieces. Returns how many.

    Their leases stay until `take_back`: they say which hosts lost workers may still be sending requests to (`asked_by_the_lost`).
    """
    n, last = 0, 0
    while rows := ledger.connection.execute(LEFT_LENT, (run_id, last, TAKE_BACK_AT_ONCE)).fetchall():
        with ledger.transaction() as db:
            _give_back(db, lent.take_some(db, [row[0] for row in rows]))
        crash.point("take_back.piece")
        n, last = n + len(rows), rows[-1][0]
        beat()
    return n


def take_back(db: sqlite3.Connection, lease_ids: Sequence[int]) -> int:
    """End the leases of dead workers: their images wait again, marked as possibly stored. Returns how many images."""
    held = lent.take_all(db, lease_ids)
    _give_back(db, held)
    db.executemany("DELETE FROM leases WHERE lease_id = ?", [(lease_id,) for lease_id in lease_ids])
    return len(held)


def _give_back(db: sqlite3.Connection, held: dict[int, int]) -> None:
    """Images, with the leases they were lent under, wait again."""
    tally = Tally()
    stored = []
    hosts = {lease_id: host_of(db, lease_id) for lease_id in set(held.values())}
    for image_id, host_id, error_type, status in db.execute(LENT, (json.dumps(list(held)),)).fetchall():
        if status == Status.SUCCESS:
            stored.append(refetching.Lost(hosts[held[image_id]], image_id, held[image_id]))
            continue
        db.execute(GIVE_BACK_IMAGE, (held[image_id], image_id))
        tally.image(-1, host_id, Status.LEASED, error_type, final=False)
        tally.image(1, host_id, status, error_type, final=False)
    refetching.take_back(db, stored)
    tally.write(db)


def host_of(db: sqlite3.Connection, lease_id: int) -> int:
    """The number of the host lent under a lease."""
    host_id = host_if_held(db, lease_id)
    assert host_id is not None
    return host_id


def host_if_held(db: sqlite3.Connection, lease_id: int) -> int | None:
    """The same; None if the lease has ended."""
    row = db.execute("SELECT host_id FROM leases WHERE lease_id = ?", (lease_id,)).fetchone()
    return None if row is None else row[0]


def leases_of_others(db: sqlite3.Connection, run_id: int) -> list[int]:
    """Leases that earlier runs left behind."""
    return [row[0] for row in db.execute("SELECT lease_id FROM leases WHERE run_id <> ?", (run_id,))]


def note_lost(db: sqlite3.Connection, asked: Iterable[Asked], now: float, until: float) -> None:
    """Workers whose leases are taken back may go on sending requests to these hosts until then: later runs must know it as well."""
    for run_id, host_id in asked:
        db.execute("DELETE FROM leases WHERE host_id = ? AND lane = ?", (host_id, LOST_LANE))
        db.execute(
            "INSERT INTO leases (run_id, host_id, lane, lent_at, expires_at) VALUES (?, ?, ?, ?, ?)",
            (run_id, host_id, LOST_LANE, int(now), math.ceil(until)),
        )


def asked_by_the_lost(db: sqlite3.Connection, run_id: int, now: float) -> set[Asked]:
    """Hosts that workers on other nodes may still be asking for an earlier run: such workers do not always die with their run."""
    rows = db.execute(
        """SELECT run_id, host_id FROM leases JOIN runs USING (run_id)
           WHERE run_id <> ? AND command = ? AND (lane <> ? OR expires_at > ?)""",
        (run_id, owner.CLUSTER, LOST_LANE, now),
    )
    return {Asked(*row) for row in rows}
