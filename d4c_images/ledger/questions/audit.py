"""Queries that check the ledger against itself and against file names, in steps of constant size. Looks at no file.

Each step is a short read of its own. What must be seen at one moment (a counter and the rows that it counts) is read in one
statement, or inside `Reader.at_one_moment` by a function of this module.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from d4c_images.durations import counted
from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.queue import deferred
from d4c_images.ledger.rows.extent import number
from d4c_images.ledger.rows.named import BY_NAME, FileName
from d4c_images.ledger.rows.recount import recount_one

AUDIT_STEP_ROWS = 5_000

SUCCESSES = """
SELECT image_id, file_path, file_offset, file_size, sha256, error_type FROM image_rows
WHERE image_id > ? AND image_id <= ? AND status = 'success'
"""
FORMER_IMAGES = """
SELECT image_id, file_path, file_offset, file_size, sha256, error_type, 1 FROM former_rows
WHERE image_id > ? AND image_id <= ? AND file_path IS NOT NULL
"""
SUCCESS = """
SELECT image_id, file_path, file_offset, file_size, sha256, error_type FROM image_rows
WHERE image_id = ? AND status = 'success'
"""
LEASES = "SELECT lease_id FROM leases"
STORE_TOKEN = "SELECT token FROM store"
LOST = "SELECT image_id, lease_id FROM lent WHERE lease_id NOT IN (SELECT lease_id FROM leases) LIMIT ?"
FOREIGN_KEYS = "PRAGMA foreign_key_check(owner)"
DATA_VERSION = "PRAGMA data_version"
# In a ledger whose records are in no order each image is looked up: the inner pages of its B-tree (14 MB at 50 M rows) should stay.
BIG_CACHE = "PRAGMA cache_size = -32768"
LAST_RUN_ID = "SELECT coalesce(max(run_id), 0) FROM runs"


@dataclass(frozen=True, slots=True)
class FileRow:
    """What a success row says about its file."""

    image_id: int
    path: str | None
    offset: int | None
    size_bytes: int | None
    sha256: bytes | None
    error_type: str | None  # its flag
    is_former: bool = False  # what was stored before its publisher changed it


@dataclass(frozen=True, slots=True)
class NamedImage:
    """The row that a file's name refers to; `status` is None if there is none."""

    status: str | None
    path: str | None
    offset: int | None
    is_leased: bool
    has_dead_lease: bool
    is_to_set_aside: bool  # a placeholder whose file is still there
    is_former: bool  # the file holds what was stored before its publisher changed it
    is_next: bool  # the name is that of the next revision to be stored

    @property
    def is_to_adopt(self) -> bool:
        """A worker that died has stored it: the next download adopts it."""
        return self.has_dead_lease and self.is_next

    def is_at(self, path: str, offset: int | None) -> bool:
        """Whether the file belongs to the row: its image, or what was stored before its publisher changed it."""
        return self.is_former or (self.status == "success" and (self.path, self.offset) == (path, offset))


def database_errors(ledger: Reader, *, full: bool) -> list[str]:
    """What SQLite finds wrong with the file itself; empty if nothing. One statement, which reads the whole file twice."""
    rows = ledger.rows("PRAGMA integrity_check" if full else "PRAGMA quick_check")
    return [] if rows == [("ok",)] else [row[0] for row in rows]


def stored_images(ledger: Reader, after: int, upto: int) -> list[FileRow]:
    """The successes with `after` < image_id <= `upto`."""
    return [FileRow(*row) for row in ledger.rows(SUCCESSES, (after, upto))]


def former_images(ledger: Reader, after: int, upto: int) -> list[FileRow]:
    """Earlier revisions of these images, as far as they were stored."""
    return [FileRow(*row) for row in ledger.rows(FORMER_IMAGES, (after, upto))]


def stored_image(ledger: Reader, image_id: int) -> FileRow | None:
    """The row as it is now; None if it is no longer a success."""
    rows = ledger.rows(SUCCESS, (image_id,))
    return FileRow(*rows[0]) if rows else None


def named_images(ledger: Reader, names: Sequence[FileName]) -> list[NamedImage]:
    """For each file name, in order, the row that it refers to."""
    if not names:
        return []
    rows = ledger.rows(BY_NAME, (json.dumps(names),))
    return [NamedImage(*row[:3], *map(bool, row[3:])) for row in rows]


def live_leases(ledger: Reader) -> set[int]:
    """The active leases; one per turn, thousands at most."""
    return {row[0] for row in ledger.rows(LEASES)}


def token(ledger: Reader) -> str | None:
    """The token in the names of this ledger's shards; None if there are none."""
    rows = ledger.rows(STORE_TOKEN)
    return rows[0][0] if rows else None


def lost_leases(ledger: Reader, limit: int) -> list[tuple[int, int]]:
    """(image_id, lease_id) of images lent under a lease that does not exist: they would never be returned."""
    return ledger.rows(LOST, (limit,))


def last_run(ledger: Reader) -> int:
    return number(ledger.rows, LAST_RUN_ID)


def begin(ledger: Reader) -> None:
    """Speed up reads of a whole ledger."""
    ledger.rows(BIG_CACHE)


def data_version(ledger: Reader) -> int:
    """A number that changes when another connection commits, as long as the connection is the same."""
    return number(ledger.rows, DATA_VERSION)


def lost_references(ledger: Reader) -> list[str]:
    """In the small tables; those of the images are found by `CounterRecount`."""
    rows = ledger.rows(FOREIGN_KEYS)
    return [f"{table}, row {row}: refers to a missing row of {parent}" for table, row, parent, _ in rows]


def record_trouble(ledger: Reader, gbif_id: int) -> str | None:
    """A line on a record whose counts or status differ from its images, both seen at one moment; None if they agree.

    A change of one of its images that is still to be counted for it (`deferred`) is no difference.
    """
    record, behind = ledger.at_one_moment(
        lambda: (recount_one(ledger.rows, gbif_id), deferred.behind(ledger.rows, gbif_id, gbif_id))
    )
    if record is None or record.is_true or behind:
        return None
    _, n_images, n_success, n_failed, status, _, counts = record
    return (
        f"gbifID {gbif_id}: {status}, {counted(n_images, 'image')}, {n_success} stored, {n_failed} failed; "
        f"its images say {record.true_status.value}, {counts.links}, {counts.success}, {counts.failed}"
    )
