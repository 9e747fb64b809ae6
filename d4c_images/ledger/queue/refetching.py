"""Stored images that are refetched: which are due, how they are lent, how the result is stored. Fetches nothing.

Whether an image is due follows from its row: when its publisher was last asked. The queue is derived from that and is not a second
truth. The row of a lent image stays as it is: whatever its publisher answers, it is a success of its records. Bytes that its
publisher has changed become its next revision; the earlier ones stay in the store, and in `former_rows`.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from d4c_images.identity import parts
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.rows import bounded, lent, variants
from d4c_images.ledger.rows.extent import Ask, number, top_image
from d4c_images.ledger.rows.lent import IS_LENT
from d4c_images.ledger.rows.names import host_id_of
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import Claim, Move, Outcome, OwnCode, Status, Stored, Verdict

# A refusal is an answer, too. What failed transiently is asked for again with the next `--refetch`.
DUE = f"""
SELECT i.image_id, i.urls, i.url_no, i.etag IS NULL AND i.last_modified IS NULL FROM image_rows AS i
WHERE i.image_id > ? AND i.image_id <= ? AND i.status = 'success' AND coalesce(i.error_type, '') <> 'same_image'
  AND i.file_path IS NOT NULL AND i.sha256 IS NOT NULL AND NOT {IS_LENT} AND coalesce(i.last_attempt_at, 0) < ?
  AND NOT EXISTS (SELECT 1 FROM refetch_failures AS f
                  WHERE f.image_id = i.image_id AND f.status = 'failed_permanent' AND f.asked_at >= ?)
ORDER BY i.image_id
"""  # noqa: S608 - constants
QUEUE = "INSERT OR IGNORE INTO refetch_queue (host_id, image_id, redirect_url, hops) VALUES (?, ?, ?, ?)"
COUNT_WAITING = """
INSERT INTO refetch_hosts (host_id, n_waiting) VALUES (?, ?)
ON CONFLICT (host_id) DO UPDATE SET n_waiting = n_waiting + excluded.n_waiting
"""
ANY_TO_REFETCH = "SELECT EXISTS (SELECT 1 FROM refetch_queue WHERE host_id = ?)"
ANYBODY = "SELECT host_id, image_id FROM refetch_queue ORDER BY host_id, image_id LIMIT ?"
FORGET_UPTO = "DELETE FROM refetch_queue WHERE (host_id, image_id) <= (?, ?)"
N_WAITING = "SELECT coalesce(sum(n_waiting), 0) FROM refetch_hosts"
NEXT = """
SELECT i.status, i.image_id, i.gbif_id, i.image_no, i.urls, i.url_no, q.redirect_url, q.hops, i.dead_lease_id, i.file_path,
       i.file_offset, i.file_size, coalesce(i.original_sha256, i.sha256), i.etag, i.last_modified,
       (SELECT coalesce(max(revision) + 1, 0) FROM former_rows AS f WHERE f.image_id = i.image_id)
FROM (SELECT * FROM refetch_queue WHERE host_id = ? LIMIT ?) AS q CROSS JOIN image_rows AS i ON i.image_id = q.image_id
"""
TAKE_OUT = "DELETE FROM refetch_queue WHERE host_id = ? AND image_id = ?"
MAY_BE_STORED = "UPDATE image_rows SET dead_lease_id = ? WHERE image_id = ?"
NOTE_FAILURE = """
INSERT OR REPLACE INTO refetch_failures (image_id, asked_at, status, http_status, error_type, error_detail)
VALUES (?, ?, ?, ?, ?, ?)
"""
ANSWERED = "DELETE FROM refetch_failures WHERE image_id = ?"
# Validators in a 304 are ignored: they might belong to other bytes than the stored ones.
SAME = """
UPDATE image_rows SET dead_lease_id = NULL, last_attempt_at = :now,
    etag = CASE WHEN :is_told THEN :etag ELSE etag END,
    last_modified = CASE WHEN :is_told THEN :last_modified ELSE last_modified END
WHERE image_id = :image_id
"""
TO_FORMER = """
INSERT INTO former_rows (image_id, revision, replaced_at, stored_at, http_status, error_type, error_detail, file_path, file_offset,
    file_size, sha256, original_sha256, media_type, width, height, etag, last_modified)
SELECT image_id, (SELECT coalesce(max(revision) + 1, 0) FROM former_rows AS f WHERE f.image_id = i.image_id), ?, last_attempt_at,
    http_status, error_type, error_detail,
    CASE WHEN ? THEN NULL ELSE file_path END, file_offset, file_size, sha256, original_sha256, media_type, width,
    height, etag, last_modified
FROM image_rows AS i WHERE image_id = ?
"""
REPLACE = """
UPDATE image_rows SET dead_lease_id = NULL, http_status = :http_status, error_type = :error_type,
    error_detail = :error_detail, file_path = :file_path, file_offset = :file_offset, file_size = :file_size, sha256 = :sha256,
    original_sha256 = :original_sha256, media_type = :media_type, width = :width, height = :height, etag = :etag,
    last_modified = :last_modified, robots_tag = :robots_tag, last_attempt_at = :now
WHERE image_id = :image_id
"""
LAST_FORMER = """
SELECT revision, http_status, error_type, error_detail, file_path, file_offset, file_size, sha256, original_sha256, media_type,
       width, height, etag, last_modified
FROM former_rows WHERE image_id = ? AND file_path IS NOT NULL AND coalesce(original_sha256, sha256) <> ?
ORDER BY revision DESC LIMIT 1
"""
RESTORE_FORMER = """
UPDATE image_rows SET http_status = ?, error_type = ?, error_detail = ?, file_path = ?, file_offset = ?, file_size = ?, sha256 = ?,
    original_sha256 = ?, media_type = ?, width = ?, height = ?, etag = ?, last_modified = ?
WHERE image_id = ?
"""
FORGET_FROM = "DELETE FROM former_rows WHERE image_id = ? AND revision >= ?"


class Lost(NamedTuple):
    """A stored image whose lease is taken back, and the host lent with it."""

    host_id: int
    image_id: int
    lease_id: int


class Due(NamedTuple):
    """The size of a refetch."""

    n: int
    n_unconditional: int  # of them: without validators, so their bytes are transferred again


class Waiting(NamedTuple):
    """A row of `NEXT`: an image waiting to be refetched."""

    status: str
    image_id: int
    gbif_id: int
    image_no: int
    urls: str  # candidates, joined by line feeds
    url_no: int  # of the one that brought the bytes
    redirect_url: str | None
    hops: int
    dead_lease_id: int | None
    path: str
    offset: int | None
    size_bytes: int
    received_sha256: bytes
    etag: str | None
    last_modified: str | None
    revision: int  # of the stored bytes


class _Place(NamedTuple):
    """The parameters of `QUEUE`: where an image waits, and where it is requested."""

    host_id: int
    image_id: int
    redirect_url: str | None = None
    hops: int = 0


class _Candidate(NamedTuple):
    """A row of `DUE`."""

    image_id: int
    urls: str
    url_no: int
    is_unconditional: int  # 0 or 1: there are no validators

    @property
    def host(self) -> str:
        return parts(self.urls.split("\n")[self.url_no]).host


def queue(
    ledger: Ledger, before: float, only_hosts: Collection[str], progress: Callable[[int, int], object], chunk: int = 50_000
) -> Due:
    """Queue the stored images that nobody has requested since `before` (unix time), at all hosts or only at these.

    The earlier queue is dropped first. If killed, it can be called again. `progress(done, total)` counts image numbers looked at.
    """
    top = top_image(ledger.connection.execute)
    _forget_all(ledger, lambda: progress(0, top))
    n = n_unconditional = low = 0
    while low < top:
        high = min(low + chunk, top)
        rows = ledger.connection.execute(DUE, (low, high, int(before), int(before)))
        due, is_all = bounded.some(map(_Candidate._make, rows), lambda row: len(row.urls))
        asked = [(row, row.host) for row in due]
        asked = [(row, host) for row, host in asked if not only_hosts or host in only_hosts]
        if asked:
            with ledger.transaction() as db:
                _wait(db, [_Place(host_id_of(db, host), row.image_id) for row, host in asked])
        n += len(asked)
        n_unconditional += sum(row.is_unconditional for row, _ in asked)
        low = high if is_all else due[-1].image_id
        progress(low, top)
    return Due(n, n_unconditional)


def _forget_all(ledger: Ledger, beat: Callable[[], object]) -> None:
    """Empty the queue, in committed pieces."""
    while rows := ledger.connection.execute(ANYBODY, (bounded.ROWS,)).fetchall():
        with ledger.transaction() as db:
            db.execute(FORGET_UPTO, rows[-1])
            db.executemany(COUNT_WAITING, [(host_id, -n) for host_id, n in Counter(host_id for host_id, _ in rows).items()])
        beat()
    with ledger.transaction() as db:
        db.execute("DELETE FROM refetch_hosts")


def n_waiting(ask: Ask) -> int:
    return number(ask, N_WAITING)


def any_of(db: sqlite3.Connection, host_id: int) -> bool:
    """Whether an image of the host is waiting."""
    return bool(db.execute(ANY_TO_REFETCH, (host_id,)).fetchone()[0])


def drop(db: sqlite3.Connection, host_id: int, n: int) -> int:
    """Drop up to `n` images of a host that is given up: the next refetch queues them. Returns how many; 0 if none is waiting."""
    image_ids = [row[0] for row in db.execute("SELECT image_id FROM refetch_queue WHERE host_id = ? LIMIT ?", (host_id, n))]
    _take_out(db, host_id, image_ids)
    return len(image_ids)


def waiting(db: sqlite3.Connection, host_id: int, n: int) -> list[Waiting]:
    """Up to `n` waiting images of a host, for `lend`."""
    if n <= 0:
        return []
    rows, _ = bounded.some(map(Waiting._make, db.execute(NEXT, (host_id, n))), lambda row: len(row.urls))
    stored = [row for row in rows if row.status == Status.SUCCESS]
    if len(stored) == len(rows):
        return stored
    _take_out(db, host_id, [row.image_id for row in rows if row.status != Status.SUCCESS])  # found to be placeholders meanwhile
    return waiting(db, host_id, n)


def lend(db: sqlite3.Connection, lease_id: int, host_id: int, rows: Iterable[Waiting]) -> list[Claim]:
    """Lend what `waiting` returned. Each is requested where its bytes came from, and nowhere else."""
    claims = [_claim(db, row) for row in rows]
    image_ids = [claim.image_id for claim in claims]
    lent.add(db, lease_id, image_ids)
    _take_out(db, host_id, image_ids)
    return claims


def _claim(db: sqlite3.Connection, row: Waiting) -> Claim:
    url = row.urls.split("\n")[row.url_no]
    return Claim(
        image_id=row.image_id,
        gbif_id=row.gbif_id,
        image_no=row.image_no,
        urls=(url,),
        attempt=1,
        redirect_url=row.redirect_url,
        hops=row.hops,
        may_be_stored=row.dead_lease_id is not None,
        hashes=variants.hashes_of(db, {row.image_id: [url]}).get(row.image_id, ()),
        stored=Stored(row.path, row.offset, row.size_bytes, row.received_sha256, row.etag, row.last_modified),
        revision=row.revision + 1,
    )


def take_back(db: sqlite3.Connection, images: Sequence[Lost]) -> None:
    """Queue them again; the workers that held them are dead, and may have stored new bytes."""
    db.executemany(MAY_BE_STORED, [(lost.lease_id, lost.image_id) for lost in images])
    _wait(db, [_Place(lost.host_id, lost.image_id) for lost in images])


def give_back(db: sqlite3.Connection, lease_id: int, host_id: int, outcome: Outcome) -> int:
    """Queue an image without an answer again, here or where its `move` leads. Returns the number of that host.

    A redirect that names a wait is followed after it: until then the image waits at the host that named it, which is blocked.
    """
    move = outcome.move or Move("", 0)
    new_host_id = host_id_of(db, move.host) if move.host and not move.wait_s else host_id
    _note_death(db, lease_id, outcome)
    _wait(db, [_Place(new_host_id, outcome.image_id, move.redirect_url, move.hops)])
    return new_host_id


def fail(db: sqlite3.Connection, lease_id: int, outcome: Outcome, verdict: Verdict, now: int) -> None:
    """The refetch failed: note that; what is stored stays."""
    _note_death(db, lease_id, outcome)
    detail = None if verdict.detail is None else verdict.detail[:2000]
    db.execute(NOTE_FAILURE, (outcome.image_id, now, verdict.status.value, outcome.http_status, verdict.error_type, detail))


def renew(db: sqlite3.Connection, outcome: Outcome, now: int) -> None:
    """The publisher's image is unchanged."""
    is_told = outcome.http_status != 304 and (outcome.etag is not None or outcome.last_modified is not None)
    said = {"is_told": is_told, "etag": outcome.etag, "last_modified": outcome.last_modified}
    db.execute(SAME, {**said, "now": now, "image_id": outcome.image_id})
    db.execute(ANSWERED, (outcome.image_id,))


def replace(db: sqlite3.Connection, outcome: Outcome, verdict: Verdict, tally: Tally, now: int) -> None:
    """The publisher has changed it: the new bytes are in the store already, under their own name, and the earlier ones stay."""
    blob, image_id = outcome.blob, outcome.image_id
    assert blob is not None
    db.execute(TO_FORMER, (now, outcome.is_lost, image_id))
    _count(db, image_id, -1, tally)
    db.execute(
        REPLACE,
        {
            "http_status": outcome.http_status,
            "error_type": verdict.error_type,
            "error_detail": None if verdict.detail is None else verdict.detail[:2000],
            "file_path": blob.path,
            "file_offset": blob.offset,
            "file_size": blob.size_bytes,
            "sha256": blob.sha256,
            "original_sha256": blob.original_sha256,
            "media_type": blob.media_type,
            "width": blob.width,
            "height": blob.height,
            "etag": outcome.etag,
            "last_modified": outcome.last_modified,
            "robots_tag": outcome.robots_tag,
            "now": now,
            "image_id": image_id,
        },
    )
    _count(db, image_id, 1, tally)
    db.execute(ANSWERED, (image_id,))


def come_back(db: sqlite3.Connection, image_id: int, sha256: bytes, tally: Tally) -> bool:
    """Restore the latest revision that has a file and was received with a sha256 other than `sha256`, if there is one.

    Otherwise the lost revisions are forgotten: the image starts over, with its first name.
    """
    row = db.execute(LAST_FORMER, (image_id, sha256)).fetchone()
    if row is None:
        db.execute(FORGET_FROM, (image_id, 0))
        return False
    revision, *former = row
    _count(db, image_id, -1, tally)
    db.execute(RESTORE_FORMER, (*former, image_id))
    _count(db, image_id, 1, tally)
    db.execute(FORGET_FROM, (image_id, revision))
    return True


def _note_death(db: sqlite3.Connection, lease_id: int, outcome: Outcome) -> None:
    if outcome.http_status == OwnCode.WORKER_DIED:
        db.execute(MAY_BE_STORED, (lease_id, outcome.image_id))


def _count(db: sqlite3.Connection, image_id: int, sign: int, tally: Tally) -> None:
    """Count a success in or out, as its row is now."""
    row = db.execute("SELECT host_id, error_type, file_size FROM image_rows WHERE image_id = ?", (image_id,)).fetchone()
    host_id, error_type, size_bytes = row
    tally.image(sign, host_id, Status.SUCCESS, error_type, final=True, size_bytes=size_bytes or 0)


def _take_out(db: sqlite3.Connection, host_id: int, image_ids: list[int]) -> None:
    db.executemany(TAKE_OUT, [(host_id, image_id) for image_id in image_ids])
    db.execute(COUNT_WAITING, (host_id, -len(image_ids)))


def _wait(db: sqlite3.Connection, places: list[_Place]) -> None:
    db.executemany(QUEUE, places)
    db.executemany(COUNT_WAITING, Counter(place.host_id for place in places).items())
