"""Turns successes into placeholders, with the images that show the same files. Does not decide which images are placeholders.

Images that show another one's file are marked in the same transaction if they are few. The others are deferred (`deferred`) and
marked in committed pieces. Until that is done, no file is quarantined.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from d4c_images.ledger.queue import followers, refetching
from d4c_images.ledger.rows import bounded
from d4c_images.ledger.rows.lent import IS_LENT
from d4c_images.ledger.rows.rollup import RecordChanges
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import ErrorType, Status

IMAGES_TO_MARK = f"""
SELECT i.image_id, i.gbif_id, i.host_id, i.error_type, i.file_path, i.file_offset, i.file_size, length(i.urls)
FROM json_each(?) AS wanted CROSS JOIN image_rows AS i ON i.image_id = wanted.value
WHERE i.status = 'success' AND NOT {IS_LENT} AND i.dead_lease_id IS NULL
"""  # noqa: S608 - constants
SHOWING = f"{IMAGES_TO_MARK} AND i.error_type = 'same_image' AND i.error_detail = ?"
ARE_NAMED = """
SELECT wanted.value FROM json_each(?) AS wanted
WHERE EXISTS (SELECT 1 FROM unfolded AS u INDEXED BY unfolded_image WHERE u.image_id = wanted.value)
"""
MARK = """
UPDATE image_rows SET status = 'failed_permanent', error_type = 'placeholder', error_detail = ?, file_path = NULL,
    file_offset = NULL, file_size = NULL
WHERE image_id = ?
"""
MARKED_AS = "SELECT host_id, error_detail, coalesce(original_sha256, sha256) FROM image_rows WHERE image_id = ?"
LIST_FILE = """
INSERT OR REPLACE INTO set_aside (image_id, file_path, file_offset, file_size, sha256) VALUES (?, ?, ?, ?, ?)
"""
COUNT_MARKED = "UPDATE placeholders SET n_marked = n_marked + ? WHERE host_id = ? AND sha256 = ?"
# For an image at another host that showed a file of this host.
COUNT_ELSEWHERE = """
UPDATE placeholders SET n_marked = n_marked + ?1
WHERE sha256 = ?2 AND host_id = (SELECT min(host_id) FROM placeholders WHERE sha256 = ?2)
"""


@dataclass(slots=True)
class Marked:
    """Counts of what was marked."""

    n: int = 0
    n_back: int = 0  # have an earlier revision, and show it again
    size_bytes: int = 0
    records: RecordChanges = field(default_factory=RecordChanges)  # of this transaction


class Placeholder(NamedTuple):
    """Bytes that a host sends in place of images."""

    host_id: int
    detail: str  # noted in each image's row
    sha256: bytes


def placeholder(host_id: int, host: str, sha256: bytes) -> Placeholder:
    return Placeholder(host_id, f"the bytes that {host} sends for other images, too; sha256 {sha256.hex()}", sha256)


def mark(db: sqlite3.Connection, image_ids: Iterable[int], what: Placeholder, now: int, marked: Marked) -> None:
    """Turn successes into placeholders, and list their files for quarantine; images that show the same files follow.

    Images that are no longer successes stay as they are, and so do those being refetched. If an image had other bytes before, those
    are its image again.
    """
    marking = _Marking(db, what, marked)
    marks = marking.these(db.execute(IMAGES_TO_MARK, (json.dumps(list(dict.fromkeys(image_ids))),)).fetchall())
    marking.showing([(image_id, 0) for image_id in marks])
    marking.write(now)


def mark_showing(db: sqlite3.Connection, image_id: int, after: int, now: int) -> None:
    """Mark the next images, those after `after`, that show a placeholder's file. What is too much for one piece is deferred."""
    marking = _Marking(db, Placeholder(*db.execute(MARKED_AS, (image_id,)).fetchone()), Marked())
    marking.showing([(image_id, after)])
    marking.write(now)


def list_file(db: sqlite3.Connection, image_id: int, place: tuple[str, int | None, int], sha256: bytes) -> None:
    """List a file for quarantine: its path, the offset in it, its size."""
    db.execute(LIST_FILE, (image_id, *place, sha256))


class _Marking:
    """Marks images as one placeholder within one transaction."""

    def __init__(self, db: sqlite3.Connection, what: Placeholder, marked: Marked) -> None:
        self._db, self._what, self._marked, self._tally = db, what, marked, Tally()
        self._n = 0

    def these(self, rows: Iterable[tuple[int, int, int, str | None, str, int | None, int | None, int]]) -> list[int]:
        """Mark images, given as rows of `IMAGES_TO_MARK`. Returns those left with nothing to show."""
        db, tally, marks = self._db, self._tally, []
        for image_id, gbif_id, host_id, error_type, file_path, file_offset, file_size, _ in rows:
            if error_type != ErrorType.SAME_IMAGE:  # otherwise the file belongs to another image
                list_file(db, image_id, (file_path, file_offset, file_size or 0), self._what.sha256)
                if refetching.come_back(db, image_id, self._what.sha256, tally):
                    self._marked.n_back += 1
                    continue
            db.execute(MARK, (self._what.detail, image_id))
            marks.append(image_id)
            tally.image(-1, host_id, Status.SUCCESS, error_type, final=True, size_bytes=file_size or 0)
            tally.image(1, host_id, Status.FAILED_PERMANENT, ErrorType.PLACEHOLDER, final=True)
            self._marked.records.image(image_id, gbif_id, n_success=-1, n_failed=1)
            self._marked.size_bytes += file_size or 0
        self._n += len(marks)
        return marks

    def showing(self, marks: Sequence[tuple[int, int]]) -> None:
        """Mark the images that show the files of these (image_id, last one looked at), recursively.

        No more are looked at than a transaction should have; the rest is deferred.
        """
        left, n, n_bytes = self._named(marks), followers.PARENTS_AT_ONCE, bounded.BYTES
        while left:
            image_id, after = left.popleft()
            if n <= 0 or n_bytes <= 0:
                followers.leave_followers(self._db, image_id, after)
                continue
            parents = [row[1] for row in self._db.execute(followers.PARENTS, (json.dumps([image_id]), after, n))]
            found = self._db.execute(SHOWING, (json.dumps(parents), f"image {image_id}"))
            rows, are_all = bounded.some(found, lambda row: row[-1], most_bytes=n_bytes)
            if not are_all:
                followers.leave_followers(self._db, image_id, rows[-1][0])
                n = 0
            elif len(parents) == n:
                left.append((image_id, parents[-1]))
            n -= max(1, len(parents))
            n_bytes -= sum(row[-1] for row in rows)
            left += self._named([(one, 0) for one in self.these(rows)])

    def _named(self, marks: Sequence[tuple[int, int]]) -> deque[tuple[int, int]]:
        """Those that some document names: only these can have their file shown by another image."""
        named = {row[0] for row in self._db.execute(ARE_NAMED, (json.dumps([image_id for image_id, _ in marks]),))}
        return deque(one for one in marks if one[0] in named)

    def write(self, now: int) -> None:
        db, what = self._db, self._what
        self._marked.records.write(db, self._tally, now)
        self._tally.write(db)
        if self._n and not db.execute(COUNT_MARKED, (self._n, what.host_id, what.sha256)).rowcount:
            db.execute(COUNT_ELSEWHERE, (self._n, what.sha256))
        self._marked.n += self._n
