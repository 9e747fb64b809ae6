"""Links records to the images that the documents they show have brought. Creates no image, and reads no document.

If very many records show one document, they are linked in pieces (`deferred`).
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from d4c_images.ledger.rows.rollup import BEFORE_ALL
from d4c_images.ledger.rows.states import failed_for_good, record_state
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import RecordStatus, Status

MAX_LINKED = 5_000

# The links of records to the holder; the further images take over their licence.
LINKS_OF_HOLDER = """
SELECT gbif_id, license_id, creator_id, rights_holder_id, references_url, archive_id, row_no,
       EXISTS (SELECT 1 FROM picture_links AS p WHERE p.gbif_id = l.gbif_id AND p.image_id = l.image_id)
FROM link_rows AS l INDEXED BY link_shared WHERE image_id = ? AND gbif_id > ? AND gbif_id <= ? ORDER BY gbif_id LIMIT ?
"""
# The first of them, if its image's row holds it.
LINK_IN_LINE = """
SELECT gbif_id, license_id, creator_id, rights_holder_id, references_url, coalesce(archive_id, 0), coalesce(row_no, 0), 0
FROM image_rows AS i WHERE image_id = :image_id
  AND NOT EXISTS (SELECT 1 FROM link_rows AS l INDEXED BY link_shared WHERE l.image_id = :image_id AND l.gbif_id = i.gbif_id)
"""
LEAVE_LINKS = """
INSERT INTO link_changes (parent_id, after_gbif_id, upto_gbif_id) VALUES (?, ?, ?)
ON CONFLICT (parent_id, after_gbif_id) DO UPDATE SET upto_gbif_id = max(upto_gbif_id, excluded.upto_gbif_id)
"""
IS_PARENT = "SELECT EXISTS (SELECT 1 FROM unfolded WHERE parent_id = ?)"
SHOWN_BY_RECORD = """
SELECT wanted.value FROM json_each(?) AS wanted
WHERE EXISTS (SELECT 1 FROM link_rows AS l INDEXED BY link_shared WHERE l.image_id = wanted.value AND l.gbif_id = ?)
"""
BEHIND = """
SELECT c.image_id, c.after_gbif_id, c.n_success, c.n_failed FROM json_each(?) AS wanted
CROSS JOIN record_changes AS c INDEXED BY record_changes_by_image ON c.image_id = wanted.value
"""
RECORD_COUNTS = "SELECT n_images, n_success, n_failed, status, completed_at FROM gbif_ids WHERE gbif_id = ?"
GROW = "UPDATE gbif_ids SET n_images = ?, n_success = ?, n_failed = ?, status = ?, completed_at = ? WHERE gbif_id = ?"
IMAGE_STATES = """
SELECT i.image_id, i.gbif_id, i.status, i.not_before, i.last_attempt_at FROM json_each(?) AS wanted
CROSS JOIN image_rows AS i ON i.image_id = wanted.value
"""
INSERT_NAMED_LINK = """
INSERT INTO link_rows (gbif_id, image_no, image_id, is_first, license_id, creator_id, rights_holder_id, references_url, archive_id,
    row_no)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
NUMBER = "UPDATE image_rows SET image_no = ? WHERE image_id = ?"
BELOW = """
WITH RECURSIVE below (image_id) AS (
    SELECT value FROM json_each(?)
    UNION
    SELECT u.image_id FROM below CROSS JOIN unfolded AS u ON u.parent_id = below.image_id
    LIMIT ?
)
SELECT image_id FROM below
"""
NAMED_IMAGES = "SELECT image_id FROM unfolded WHERE parent_id = ? ORDER BY position"


def leave_links(db: sqlite3.Connection, parent_id: int, after: int, upto: int) -> None:
    """Defer: the records with `after` < number <= `upto` that show an image are linked with what its documents brought."""
    db.execute(LEAVE_LINKS, (parent_id, after, upto))


def note_newcomers(db: sqlite3.Connection, links: Iterable[tuple[int, int]]) -> None:
    """Records now show images (gbif_id, image_id): if these stood for documents, link what those brought as well."""
    for gbif_id, image_id in links:
        if db.execute(IS_PARENT, (image_id,)).fetchone()[0]:
            leave_links(db, image_id, gbif_id - 1, gbif_id)


def link_some(db: sqlite3.Connection, parent_id: int, after: int, upto: int, n_links: int) -> int | None:
    """Link the next records after `after` that show `parent_id` with what its documents brought, unless they are linked already.

    About `n_links` links are made. Returns the record that was reached; None if all up to `upto` are done.
    """
    linking = Linking(db, parent_id, [row[0] for row in db.execute(NAMED_IMAGES, (parent_id,))], ())
    if not linking.wanted:
        return None
    n = max(1, n_links // len(linking.wanted))
    links = db.execute(LINKS_OF_HOLDER, (parent_id, after, upto, n)).fetchall()
    in_line = db.execute(LINK_IN_LINE, {"image_id": parent_id}).fetchall() if after == BEFORE_ALL else []
    for link in in_line + links:
        linking.link(link)
    linking.write()
    return links[-1][0] if len(links) == n else None


class Behind:
    """Changes of some images that have not reached all their records yet (`deferred`)."""

    def __init__(self, db: sqlite3.Connection, image_ids: Collection[int]) -> None:
        self._changes: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
        if image_ids:
            for image_id, after, n_success, n_failed in db.execute(BEHIND, (json.dumps(list(image_ids)),)):
                self._changes[image_id].append((after, n_success, n_failed))

    def to_come(self, image_id: int, gbif_id: int) -> tuple[int, int]:
        """The successes and failures still to be added to the counts of a record that shows the image from now on."""
        n_success = n_failed = 0
        for after, success, failed in self._changes.get(image_id, ()):
            if after < gbif_id:
                n_success += success
                n_failed += failed
        return n_success, n_failed


class Linking:
    """Links images, and what their own documents brought, to records that show the image `parent_id`.

    `made` are images without a link yet; they get their first one with their first record.
    """

    def __init__(self, db: sqlite3.Connection, parent_id: int, image_ids: Sequence[int], made: Collection[int]) -> None:
        self._db, self._made, self._tally = db, set(made), Tally()
        below = db.execute(BELOW, (json.dumps(list(image_ids)), MAX_LINKED)) if image_ids else ()
        self.wanted = [row[0] for row in below if row[0] != parent_id]
        self._json = json.dumps(self.wanted)
        self._states = {row[0]: row[1:] for row in db.execute(IMAGE_STATES, (self._json,))}
        self._behind = Behind(db, self.wanted)

    def link(self, link: tuple[Any, ...], only: Collection[int] | None = None) -> None:
        """Link the record of a row of `LINKS_OF_HOLDER`, unless it shows the picture but not the document; `only` these images."""
        gbif_id, *provenance, is_of_picture = link
        if is_of_picture:
            return
        shown = {row[0] for row in self._db.execute(SHOWN_BY_RECORD, (self._json, gbif_id))}
        new = [one for one in self.wanted if one not in shown and (one in self._made or self._states[one][0] != gbif_id)]
        if only is not None:
            new = [one for one in new if one in only]
        if not new:
            return
        n_images = self._grow(gbif_id, new)
        numbered = list(enumerate(new, start=n_images))
        firsts = {one for one in new if one in self._made and self._states[one][0] == gbif_id}
        self._db.executemany(INSERT_NAMED_LINK, [(gbif_id, no, one, one in firsts, *provenance) for no, one in numbered])
        self._db.executemany(NUMBER, [(no, one) for no, one in numbered if one in firsts])
        self._made -= firsts

    def _grow(self, gbif_id: int, new: Sequence[int]) -> int:
        """Count images that a record gains; returns how many it had before."""
        n_images, n_success, n_failed, old, completed_at = self._db.execute(RECORD_COUNTS, (gbif_id,)).fetchone()
        tried = old != RecordStatus.PENDING
        for one in new:
            _, status, not_before, last_attempt_at = self._states[one]
            to_come = self._behind.to_come(one, gbif_id)
            n_success += (status == Status.SUCCESS) - to_come[0]
            n_failed += failed_for_good(status, not_before) - to_come[1]
            tried |= last_attempt_at is not None
        status, completed_at = record_state(n_images + len(new), n_success, n_failed, completed_at, tried=tried)
        self._tally.record(-1, old)
        self._tally.record(1, status)
        self._db.execute(GROW, (n_images + len(new), n_success, n_failed, status.value, completed_at, gbif_id))
        return int(n_images)

    def write(self) -> None:
        self._tally.write(self._db)
