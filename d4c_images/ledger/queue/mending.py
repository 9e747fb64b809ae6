"""What a repair changes in the rows of images, in one transaction per chunk. Looks at no file, and decides nothing.

The owner of the ledger calls it, after the files are as the rows will say: damaged ones moved away, adopted ones durable. An image
whose bytes are lost waits for its next request with no attempt counted; its records and counters follow in the same transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from d4c_images.identity import parts
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import followers, refetching, shards, untried
from d4c_images.ledger.rows import lent
from d4c_images.ledger.rows.extent import Ask
from d4c_images.ledger.rows.lent import IS_LENT
from d4c_images.ledger.rows.named import image_named
from d4c_images.ledger.rows.names import host_id_of
from d4c_images.ledger.rows.rollup import RecordChanges
from d4c_images.ledger.rows.states import is_final
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import Blob, ErrorType, Status

ORPHANS_AT_ONCE = 5_000

FIRST_URL = "substr(i.urls, 1, instr(i.urls || char(10), char(10)) - 1)"
STORED_ROWS = f"""
SELECT i.image_id, i.gbif_id, i.image_no, i.host_id, i.error_type, i.error_detail, i.file_path, i.file_offset, i.file_size,
       i.sha256, {FIRST_URL}
FROM json_each(?) AS wanted CROSS JOIN image_rows AS i ON i.image_id = wanted.value WHERE i.status = 'success'
"""  # noqa: S608 - a constant
FORMER_FILES = """
SELECT f.image_id, f.revision, f.file_path, f.file_offset, f.file_size, f.sha256
FROM json_each(?) AS wanted CROSS JOIN former_rows AS f ON f.image_id = wanted.value WHERE f.file_path IS NOT NULL
"""
# The names are passed as a JSON array of pairs.
ROWS_BY_NAME = f"""
SELECT named.key, i.image_id, i.gbif_id, i.host_id, i.status, i.error_type, i.not_before, {FIRST_URL}, i.file_path, i.file_offset,
       {IS_LENT}, (SELECT s.file_path FROM set_aside AS s WHERE s.image_id = i.image_id)
FROM (SELECT key, value ->> 0 AS gbif_id, value ->> 1 AS image_no FROM json_each(?)) AS named
CROSS JOIN image_rows AS i ON i.image_id = {image_named("named.gbif_id", "named.image_no")}
"""  # noqa: S608 - constants
WAIT_AGAIN = """
UPDATE image_rows SET status = 'pending', not_before = 0, dead_lease_id = NULL, attempts = 0, url_no = 0, redirect_url = NULL,
    hops = 0, carried_failure = NULL, host_id = ?, http_status = NULL, error_type = NULL, error_detail = NULL,
    file_path = NULL, file_offset = NULL, file_size = NULL, sha256 = NULL, original_sha256 = NULL, media_type = NULL, width = NULL,
    height = NULL, etag = NULL, last_modified = NULL
WHERE image_id = ?
"""
WAIT_FOR_OTHER = """
UPDATE image_rows SET status = 'failed_transient', not_before = NULL, file_path = NULL, file_offset = NULL, file_size = NULL,
    sha256 = NULL, original_sha256 = NULL, media_type = NULL, width = NULL, height = NULL
WHERE image_id = ?
"""
REPOINT = "UPDATE image_rows SET file_path = ?, file_offset = ? WHERE image_id = ?"
ADOPT = """
UPDATE image_rows SET status = 'success', not_before = NULL, dead_lease_id = NULL, attempts = 0, redirect_url = NULL, hops = 0,
    carried_failure = NULL, http_status = NULL, error_type = 'adopted', error_detail = ?, file_path = ?, file_offset = ?,
    file_size = ?, sha256 = ?, original_sha256 = ?, media_type = ?, width = ?, height = ?, etag = NULL, last_modified = NULL,
    last_attempt_at = ?
WHERE image_id = ? AND status <> 'success'
"""
FORGET_FORMER_FILE = "UPDATE former_rows SET file_path = NULL WHERE image_id = ? AND revision = ?"
IS_NAMED_BY_DOCUMENT = "SELECT EXISTS (SELECT 1 FROM unfolded INDEXED BY unfolded_image WHERE image_id = ?)"
STATE_OF = "SELECT status, file_path, file_offset FROM image_rows WHERE image_id = ?"
ORPHANS = """
SELECT t.image_id, i.host_id, i.error_type, i.status FROM lent AS t CROSS JOIN image_rows AS i ON i.image_id = t.image_id
WHERE t.lease_id NOT IN (SELECT lease_id FROM leases) LIMIT ?
"""
COME_BACK_FROM_LEASE = "UPDATE image_rows SET not_before = 0 WHERE image_id = ?"
# A recount that was interrupted has counted rows that change now.
DROP_RECOUNT = "DELETE FROM checkpoints WHERE name = 'finalize'"
REPAIR_CHECKPOINT = "SELECT position FROM checkpoints WHERE name = 'repair'"
SET_REPAIR_CHECKPOINT = """
INSERT INTO checkpoints (name, run_id, position) VALUES ('repair', ?, ?)
ON CONFLICT (name) DO UPDATE SET run_id = excluded.run_id, position = excluded.position
"""
DROP_REPAIR_CHECKPOINT = "DELETE FROM checkpoints WHERE name = 'repair'"


class StoredImage(NamedTuple):
    """A success."""

    image_id: int
    gbif_id: int
    image_no: int
    host_id: int
    error_type: str | None
    error_detail: str | None
    path: str | None
    offset: int | None
    size_bytes: int | None
    sha256: bytes | None
    url: str  # the first candidate

    @property
    def shows(self) -> int | None:
        """The image whose file it shows, if it has none of its own."""
        if self.error_type != ErrorType.SAME_IMAGE or self.error_detail is None:
            return None
        number = self.error_detail.removeprefix("image ")
        return int(number) if number.isdecimal() else None


class FormerImage(NamedTuple):
    """What was stored of an image before its publisher changed it."""

    image_id: int
    revision: int
    path: str
    offset: int | None
    size_bytes: int | None
    sha256: bytes | None


class NamedRow(NamedTuple):
    """The row that a file's name refers to."""

    image_id: int
    gbif_id: int
    host_id: int
    status: str
    error_type: str | None
    not_before: int | None
    url: str
    path: str | None
    offset: int | None
    is_lent: int
    to_set_aside: str | None  # a placeholder's file that is still there


class Adoption(NamedTuple):
    """An image that nobody has stored as far as its row knows, and the file that was found for it."""

    row: NamedRow
    blob: Blob
    detail: str | None
    stored_at: int


class Mended(NamedTuple):
    """All that one chunk changes."""

    lost: Sequence[StoredImage] = ()  # to be requested again
    waiting: Sequence[StoredImage] = ()  # show a lost file of another image
    back: Sequence[StoredImage] = ()  # their files are in place again
    repointed: Sequence[tuple[StoredImage, str, int | None]] = ()  # their bytes are in this file, at this offset
    former: Sequence[FormerImage] = ()  # lost for good
    adopted: Sequence[Adoption] = ()

    @property
    def has_rows(self) -> bool:
        return any(self)


def stored_rows(ask: Ask, image_ids: Sequence[int]) -> dict[int, StoredImage]:
    """Those of the images that are successes."""
    return {row[0]: StoredImage(*row) for row in ask(STORED_ROWS, (json.dumps(image_ids),))}


def former_files(ask: Ask, image_ids: Sequence[int]) -> list[FormerImage]:
    return [FormerImage(*row) for row in ask(FORMER_FILES, (json.dumps(image_ids),))]


def rows_by_name(ask: Ask, names: Sequence[tuple[int, int]]) -> list[NamedRow | None]:
    """For each (gbif_id, image_no), in order, the row that shows it."""
    found: list[NamedRow | None] = [None] * len(names)
    for key, *row in ask(ROWS_BY_NAME, (json.dumps(names),)):
        found[key] = NamedRow(*row)
    return found


def position(ledger: Ledger) -> str | None:
    """Where an interrupted repair was, as `write` was given it."""
    row = ledger.connection.execute(REPAIR_CHECKPOINT).fetchone()
    return None if row is None else row[0]


def forget_position(ledger: Ledger) -> None:
    with ledger.transaction() as db:
        db.execute(DROP_REPAIR_CHECKPOINT)


def write(ledger: Ledger, mended: Mended, position: str, now: int) -> None:
    """Write a chunk, with the position after it."""
    with ledger.transaction() as db:
        if mended.has_rows:
            db.execute(DROP_RECOUNT)
            _Mending(db, now).run(mended)
        db.execute(SET_REPAIR_CHECKPOINT, (ledger.run_id or 0, position))


class _Mending:
    """The changes of one transaction."""

    def __init__(self, db: sqlite3.Connection, now: int) -> None:
        self._db, self._now = db, now
        self._tally, self._records = Tally(), RecordChanges()

    def run(self, mended: Mended) -> None:
        db = self._db
        db.executemany(FORGET_FORMER_FILE, [(one.image_id, one.revision) for one in mended.former])
        lent.take_some(db, [one.image_id for one in (*mended.lost, *mended.waiting)])  # being refetched by a dead run
        for image in mended.lost:
            self._lose(image)
        for image in mended.waiting:
            self._wait_for_other(image)
        for image, path, offset in mended.repointed:
            db.execute(REPOINT, (path, offset, image.image_id))
            if offset is not None:
                shards.note(db, [(path, offset + (image.size_bytes or 0))])
            self._followed(image.image_id)
        for image in mended.back:
            self._followed(image.image_id)
        stored = [one.row.image_id for one in mended.adopted if self._adopt(one)]
        followers.follow(db, stored, self._records, self._tally, self._now)
        self._records.write(db, self._tally, self._now)
        self._tally.write(db)

    def _lose(self, image: StoredImage) -> None:
        """If its publisher had changed it and the earlier bytes are there, those are its image again."""
        db = self._db
        db.execute(refetching.ANSWERED, (image.image_id,))
        if refetching.come_back(db, image.image_id, image.sha256 or b"", self._tally):
            self._followed(image.image_id)
            return
        host_id = host_id_of(db, parts(image.url).host)
        db.execute(WAIT_AGAIN, (host_id, image.image_id))
        self._tally.image(-1, image.host_id, Status.SUCCESS, image.error_type, final=True, size_bytes=image.size_bytes or 0)
        self._tally.image(1, host_id, Status.PENDING, None, final=False)
        self._records.image(image.image_id, image.gbif_id, n_success=-1, n_failed=0)

    def _wait_for_other(self, image: StoredImage) -> None:
        """Until the image that it shows is stored again; if that has another file by now, it shows that at once."""
        self._db.execute(WAIT_FOR_OTHER, (image.image_id,))
        self._tally.image(-1, image.host_id, Status.SUCCESS, image.error_type, final=True, size_bytes=image.size_bytes or 0)
        self._tally.image(1, image.host_id, Status.FAILED_TRANSIENT, image.error_type, final=True)
        self._records.image(image.image_id, image.gbif_id, n_success=-1, n_failed=1)
        other = None if image.shows is None else self._db.execute(STATE_OF, (image.shows,)).fetchone()
        if image.shows is not None and other is not None and other[0] == Status.SUCCESS and other[1:] != (image.path, image.offset):
            followers.leave_followers(self._db, image.shows, 0)

    def _followed(self, image_id: int) -> None:
        """Images that wait for it show its file again."""
        if self._db.execute(IS_NAMED_BY_DOCUMENT, (image_id,)).fetchone()[0]:
            followers.leave_followers(self._db, image_id, 0)

    def _adopt(self, one: Adoption) -> bool:
        db, row, blob = self._db, one.row, one.blob
        bytes_of = (blob.path, blob.offset, blob.size_bytes, blob.sha256, blob.original_sha256)
        values = (one.detail, *bytes_of, blob.media_type, blob.width, blob.height, one.stored_at, row.image_id)
        if not db.execute(ADOPT, values).rowcount:
            return False  # by an earlier one of this chunk
        untried.drop(db, row.image_id, row.host_id)
        if blob.offset is not None:
            shards.note(db, [(blob.path, blob.offset + blob.size_bytes)])
        was_final = is_final(row.status, row.not_before)
        self._tally.image(-1, row.host_id, row.status, row.error_type, final=was_final)
        self._tally.image(1, row.host_id, Status.SUCCESS, ErrorType.ADOPTED, final=True, size_bytes=blob.size_bytes)
        self._records.image(row.image_id, row.gbif_id, n_success=1, n_failed=-was_final)
        return True


def release_orphans(ledger: Ledger) -> int:
    """Take back images that are lent under leases that do not exist, in committed pieces. Returns how many."""
    n = 0
    while rows := ledger.connection.execute(ORPHANS, (ORPHANS_AT_ONCE,)).fetchall():
        with ledger.transaction() as db:
            tally = Tally()
            db.execute(DROP_RECOUNT)
            lent.take_some(db, [row[0] for row in rows])
            for image_id, host_id, error_type, status in rows:
                if status == Status.SUCCESS:
                    continue  # the next `--refetch` asks for it again
                db.execute(COME_BACK_FROM_LEASE, (image_id,))
                tally.image(-1, host_id, Status.LEASED, error_type, final=False)
                tally.image(1, host_id, status, error_type, final=False)
            tally.write(db)
        n += len(rows)
    return n
