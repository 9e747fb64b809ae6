"""What a IIIF document names becomes images: found again or new, linked to every record that shows the document. Reads no document.

The image that stood for a document (the *holder*) stands from now on for the first picture of it that no other image is; the others
become rows of their own behind the record's last `image_no`. All of it happens in the settlement's transaction, except links to
very many records, which follow in pieces (`deferred`). Doing it again changes nothing: an image is found by its key, a link by its
record, and the holder by the key that it has taken on.

What a document names stands behind it among the holder's candidates, and is asked from there on; so each document is read once by
itself, and documents that name each other come to an end.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from d4c_images import crash
from d4c_images.identity import DocumentKind, parts
from d4c_images.ledger.rows import bounded
from d4c_images.ledger.rows.extent import TOP_IMAGE
from d4c_images.ledger.rows.hashes import key_hash
from d4c_images.ledger.rows.names import host_id_of, rule_id_of
from d4c_images.ledger.rows.rollup import BEFORE_ALL, RecordChanges
from d4c_images.ledger.rows.states import failed_for_good, record_state
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import MAX_CANDIDATES, Blob, ErrorType, Image, RecordStatus, Status, Unfolding, Verdict

MAX_DEPTH = 4  # documents that lead to a picture: collections of collections of manifests
MAX_MADE = 2_000  # images that one row of an archive may bring
MAX_LINKED = 5_000
LINKS_AT_ONCE = 5_000
"""Links that the documents of one transaction make; the rest is left to `deferred`."""
PARENTS_AT_ONCE = 5_000
"""Images that may wait for those that a transaction stores, and are looked at in it; likewise."""
LAST_OF_ALL = 2**63 - 1  # no gbif_id is greater

HOLDER_URLS = """
SELECT coalesce(image_key, urls), urls FROM image_rows WHERE image_id = ?
"""
BY_HASH = """
SELECT i.image_id, coalesce(i.image_key, i.urls)
FROM json_each(?) AS wanted CROSS JOIN image_keys AS k ON k.key_hash = wanted.value
CROSS JOIN image_rows AS i ON i.image_id = k.image_id
"""
BY_FURTHER_KEY = """
SELECT t.image_key, t.image_id FROM json_each(?) AS wanted CROSS JOIN image_key_twins AS t ON t.image_key = wanted.value
"""
INSERT_IMAGE = """
INSERT INTO image_rows (gbif_id, image_no, host_id, rule_id, image_key, urls, not_before) VALUES (?, 0, ?, ?, ?, ?, 0)
RETURNING image_id
"""
INSERT_NAMED_KEY = "INSERT OR IGNORE INTO image_keys (key_hash, image_id) VALUES (?, ?)"
INSERT_FURTHER_KEY = "INSERT OR IGNORE INTO image_key_twins (image_key, image_id) VALUES (?, ?)"
CAUGHT_UP_AND_TOP = f"SELECT keyed_image_id, recorded_image_id, ({TOP_IMAGE}) FROM caught_up"  # noqa: S608 - a constant
SET_CAUGHT_UP = "UPDATE caught_up SET keyed_image_id = ?, recorded_image_id = ?"
GO_ON = """
UPDATE image_rows SET not_before = 0, image_key = ?, urls = ?, url_no = ?, host_id = ?, redirect_url = NULL, hops = 0,
    carried_failure = ?
WHERE image_id = ?
"""
ORIGIN = "SELECT depth, root_id FROM unfolded INDEXED BY unfolded_image WHERE image_id = ? AND is_made"
N_READ = "SELECT count(*) FROM documents WHERE image_id = ? AND url <> ?"
N_MADE = "SELECT count(*) FROM unfolded INDEXED BY unfolded_root WHERE root_id = ? AND is_made"
INSERT_UNFOLDED = """
INSERT INTO unfolded (parent_id, image_id, position, is_made, depth, root_id) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (parent_id, image_id) DO UPDATE SET position = excluded.position
"""
INSERT_DOCUMENT = """
INSERT OR REPLACE INTO documents (image_id, url, kind, n_named, n_taken, read_at) VALUES (?, ?, ?, ?, ?, ?)
"""
# The links of records to the holder, which say under which licence the further images come too.
LINKS_OF_HOLDER = """
SELECT gbif_id, license_id, creator_id, rights_holder_id, references_url, archive_id, row_no,
       EXISTS (SELECT 1 FROM picture_links AS p WHERE p.gbif_id = l.gbif_id AND p.image_id = l.image_id)
FROM link_rows AS l INDEXED BY link_shared WHERE image_id = ? AND gbif_id > ? AND gbif_id <= ? ORDER BY gbif_id LIMIT ?
"""
# The first of them, where its image's row holds it.
LINK_IN_LINE = """
SELECT gbif_id, license_id, creator_id, rights_holder_id, references_url, coalesce(archive_id, 0), coalesce(row_no, 0), 0
FROM image_rows AS i WHERE image_id = :image_id
  AND NOT EXISTS (SELECT 1 FROM link_rows AS l INDEXED BY link_shared WHERE l.image_id = :image_id AND l.gbif_id = i.gbif_id)
"""
LINK_OF = """
SELECT gbif_id, license_id, creator_id, rights_holder_id, references_url, archive_id, row_no, 0
FROM link_rows INDEXED BY link_shared WHERE image_id = ? AND gbif_id = ?
"""
IS_SHARED = "SELECT EXISTS (SELECT 1 FROM link_rows INDEXED BY link_shared WHERE image_id = ? AND gbif_id <> ?)"
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
STORED_BLOB = """
SELECT image_id, file_path, file_size, sha256, media_type, width, height, original_sha256, file_offset FROM image_rows
WHERE image_id = ? AND status = 'success'
"""
# Images that stood for a document which names this one, in order; read from the index alone.
PARENTS = """
SELECT u.image_id, u.parent_id FROM json_each(?) AS stored CROSS JOIN unfolded AS u INDEXED BY unfolded_image
ON u.image_id = stored.value AND u.parent_id > ? LIMIT ?
"""
FOLLOWERS = """
SELECT i.image_id, i.gbif_id, i.host_id, length(i.urls)
FROM json_each(?) AS parents CROSS JOIN image_rows AS i ON i.image_id = parents.value
WHERE i.error_type = 'same_image' AND i.status = 'failed_transient' AND i.error_detail = ?
"""
LEAVE_FOLLOWERS = "INSERT OR REPLACE INTO follower_changes (image_id, after_parent_id) VALUES (?, ?)"
FOLLOW = """
UPDATE image_rows SET status = 'success', file_path = ?, file_size = ?, sha256 = ?, media_type = ?, width = ?, height = ?,
    original_sha256 = ?, file_offset = ?, last_attempt_at = ?
WHERE image_id = ?
"""
NAMED_IMAGES = "SELECT image_id FROM unfolded WHERE parent_id = ? ORDER BY position"


class DocumentHolder(NamedTuple):
    """The image that stands for the document."""

    image_id: int
    gbif_id: int  # its first record
    carried_failure: str | None  # as its row has it


@dataclass(slots=True)
class Unfolded:
    """What has become of the holder: it goes on at a host, or it ends (`verdict` None: as if there were no document)."""

    host_id: int | None = None
    verdict: Verdict | None = None
    blob: Blob | None = None
    new_host_ids: set[int] = field(default_factory=set)  # hosts whose queue has grown


@dataclass(slots=True)
class LinkBudget:
    """How many links a transaction may still make."""

    n_links: int = field(default_factory=lambda: LINKS_AT_ONCE)


def unfold(db: sqlite3.Connection, unfolding: Unfolding, holder: DocumentHolder, now: int, room: LinkBudget) -> Unfolded:
    """Take in what a document names. What this transaction has settled before must be written (`RecordChanges.write`)."""
    return _Unfolding(db, unfolding, holder, now, room).run()


def follow(db: sqlite3.Connection, stored: Sequence[int], records: RecordChanges, tally: Tally, now: int) -> None:
    """Images that have just been stored are there, too, for holders whose documents named nothing else."""
    room = bounded.BYTES
    while stored:
        pairs = db.execute(PARENTS, (json.dumps(stored), 0, PARENTS_AT_ONCE + 1)).fetchall()
        if len(pairs) > PARENTS_AT_ONCE:
            for image_id in stored:
                leave_followers(db, image_id, 0)
            return
        parents: defaultdict[int, list[int]] = defaultdict(list)
        for image_id, parent_id in pairs:
            parents[image_id].append(parent_id)
        stored = []
        for image_id, ids in parents.items():
            rows, are_all = _waiting(db, image_id, ids, room)
            if not are_all:
                leave_followers(db, image_id, rows[-1][0] if rows else 0)
            room -= sum(row[-1] for row in rows)
            stored += _follow(db, image_id, rows, records, tally, now)


def follow_some(db: sqlite3.Connection, image_id: int, after: int, n: int, now: int) -> int | None:
    """As `follow`, for the next `n` images that may wait for a stored one, or fewer if their rows are long.

    Returns the last of them; None if there are no more.
    """
    parents = [row[1] for row in db.execute(PARENTS, (json.dumps([image_id]), after, n))]
    rows, are_all = _waiting(db, image_id, parents, bounded.BYTES)
    records, tally = RecordChanges(), Tally()
    follow(db, _follow(db, image_id, rows, records, tally, now), records, tally, now)
    records.write(db, tally, now)
    tally.write(db)
    if not are_all:
        return int(rows[-1][0])
    return parents[-1] if len(parents) == n else None


def _waiting(
    db: sqlite3.Connection, image_id: int, parents: Sequence[int], most_bytes: int
) -> tuple[list[tuple[int, int, int, int]], bool]:
    """Those of the images that wait for this one, as far as there is room for their rows, and whether those are all."""
    if most_bytes <= 0:
        return [], False
    found = db.execute(FOLLOWERS, (json.dumps(parents), f"image {image_id}"))
    return bounded.some(found, lambda row: row[-1], len(parents), most_bytes)


def leave_followers(db: sqlite3.Connection, image_id: int, after: int) -> None:
    """Have the images that may show what this one does, those after `after`, become later what it is now (`deferred`)."""
    db.execute(LEAVE_FOLLOWERS, (image_id, after))


def _follow(
    db: sqlite3.Connection,
    image_id: int,
    rows: Sequence[tuple[int, int, int, int]],
    records: RecordChanges,
    tally: Tally,
    now: int,
) -> list[int]:
    """Images that wait for a stored one, given as rows of `FOLLOWERS`, become what it is."""
    stored = db.execute(STORED_BLOB, (image_id,)).fetchone() if rows else None
    if stored is None:
        return []
    _, *blob = stored
    for follower_id, gbif_id, host_id, _ in rows:
        db.execute(FOLLOW, (*blob, now, follower_id))
        tally.image(-1, host_id, Status.FAILED_TRANSIENT, ErrorType.SAME_IMAGE, final=True)
        tally.image(1, host_id, Status.SUCCESS, ErrorType.SAME_IMAGE, final=True, size_bytes=blob[1])
        records.image(follower_id, gbif_id, n_success=1, n_failed=-1)
    return [row[0] for row in rows]


class _Unfolding:
    """One document on its way into the ledger."""

    def __init__(self, db: sqlite3.Connection, unfolding: Unfolding, holder: DocumentHolder, now: int, room: LinkBudget) -> None:
        self._db, self._unfolding, self._holder, self._now, self._room = db, unfolding, holder, now, room
        self._key, urls = db.execute(HOLDER_URLS, (holder.image_id,)).fetchone()
        self._candidates: list[str] = urls.split("\n")
        self._new_host_ids: set[int] = set()

    def run(self) -> Unfolded:
        images = self._unfolding.images
        if self._unfolding.kind == DocumentKind.INFO:
            return self._go_on(images[0].urls if images else ())
        depth, root_id = self._origin()
        if depth >= MAX_DEPTH:
            too_deep = f"a IIIF {self._unfolding.kind} below {depth} others, which are too many"
            return Unfolded(verdict=Verdict(Status.FAILED_PERMANENT, ErrorType.MANIFEST_ERROR, too_deep))
        found = find(self._db, [image.key for image in images])
        own = self._own(found)
        further = self._take_in(found, own, depth, root_id)
        result = self._go_on(() if own is None else images[own].urls)
        result.new_host_ids = self._new_host_ids
        if own is not None and images[own].key not in found and images[own].key != self._key:
            self._db.execute(INSERT_NAMED_KEY, (key_hash(images[own].key), self._holder.image_id))
            self._db.execute(INSERT_FURTHER_KEY, (images[own].key, self._holder.image_id))
        is_collection = self._unfolding.kind == DocumentKind.COLLECTION
        if result.host_id is None and further and (is_collection or self._holder.image_id not in found.values()):
            self._end_as(further[0], result)
        return result

    def _origin(self) -> tuple[int, int]:
        """How many documents led here, and the image that all began with."""
        image_id = self._holder.image_id
        depth, root_id = self._db.execute(ORIGIN, (image_id,)).fetchone() or (0, image_id)
        return depth + self._db.execute(N_READ, (image_id, self._unfolding.url)).fetchone()[0], root_id

    def _own(self, found: dict[str, int]) -> int | None:
        """The position of what the holder stands for: what it stood for before, else the first that is nobody's.

        A collection may name itself, or what led to it; that is passed over.
        """
        asked = set(self._candidates[: self._unfolding.url_no + 1])
        is_collection = self._unfolding.kind == DocumentKind.COLLECTION
        first_free = None
        for position, image in enumerate(self._unfolding.images):
            is_asked = set(image.urls) <= asked
            if found.get(image.key) == self._holder.image_id and not (is_collection and is_asked):
                return position
            if first_free is None and image.key not in found and not is_asked:
                first_free = position
        return first_free

    def _take_in(self, found: dict[str, int], own: int | None, depth: int, root_id: int) -> list[int]:
        """The images of all that is not the holder's own, found or made within the limits, and linked to the holder's records."""
        db, holder, unfolding = self._db, self._holder, self._unfolding
        room = MAX_MADE - db.execute(N_MADE, (root_id,)).fetchone()[0]
        made: set[int] = set()
        there = dict(found)
        if own is not None:
            there[unfolding.images[own].key] = holder.image_id
        rows = []
        for position, image in enumerate(unfolding.images):
            image_id = there.get(image.key)
            if image_id is None and len(made) < room:
                image_id = there[image.key] = self._make(image)
                made.add(image_id)
            if image_id is not None and image_id != holder.image_id:
                rows.append((holder.image_id, image_id, position, image_id in made, depth + 1, root_id))
        crash.point("unfold.images_written")
        db.executemany(INSERT_UNFOLDED, rows)
        further = [row[1] for row in rows]
        self._link(further, made)
        n_taken = sum(image.key in there for image in unfolding.images)
        document = (holder.image_id, unfolding.url, unfolding.kind, unfolding.n_named, n_taken, self._now)
        db.execute(INSERT_DOCUMENT, document)
        crash.point("unfold.links_written")
        return further

    def _link(self, further: Sequence[int], made: Collection[int]) -> None:
        """Link what the document names to the holder's records, as far as there is room; at least new images to the first one."""
        db, holder, room = self._db, self._holder, self._room
        linking = _Linking(db, holder.image_id, further, made)
        if not linking.wanted:
            return
        link = db.execute(LINK_OF, (holder.image_id, holder.gbif_id)).fetchone()
        link = link or db.execute(LINK_IN_LINE, {"image_id": holder.image_id}).fetchone()
        is_tight = len(linking.wanted) > room.n_links
        linking.link(link, only=made if is_tight else None)
        linking.write()
        room.n_links = max(0, room.n_links - len(linking.wanted))
        if is_tight or db.execute(IS_SHARED, (holder.image_id, holder.gbif_id)).fetchone()[0]:
            n = room.n_links // len(linking.wanted)
            links = [] if is_tight else db.execute(LINKS_OF_HOLDER, (holder.image_id, BEFORE_ALL, LAST_OF_ALL, n + 1)).fetchall()
            if is_tight or len(links) > n:
                leave_links(db, holder.image_id, BEFORE_ALL, LAST_OF_ALL)
                return
            for link in links:
                linking.link(link)
            linking.write()
            room.n_links -= len(links) * len(linking.wanted)

    def _make(self, image: Image) -> int:
        """A new image in its host's queue. Its `image_no` comes with its link."""
        db = self._db
        host_id = host_id_of(db, image.host)
        urls = "\n".join(image.urls)
        keyed, recorded, top = db.execute(CAUGHT_UP_AND_TOP).fetchone()
        row = (
            self._holder.gbif_id,
            host_id,
            rule_id_of(db, image.rule, image.version),
            None if image.key == urls else image.key,
            urls,
        )
        image_id: int = db.execute(INSERT_IMAGE, row).fetchone()[0]
        if db.execute(INSERT_NAMED_KEY, (key_hash(image.key), image_id)).rowcount == 0:
            db.execute(INSERT_FURTHER_KEY, (image.key, image_id))
        # Who has fallen behind catches up over this image too.
        db.execute(SET_CAUGHT_UP, (image_id if keyed == top else keyed, image_id if recorded == top else recorded))
        tally = Tally()
        tally.image(1, host_id, Status.PENDING, None, final=False)
        tally.write(db)
        self._new_host_ids.add(host_id)
        return image_id

    def _go_on(self, more: Iterable[str]) -> Unfolded:
        """Put what is to be asked behind the document, and the holder into the queue of whatever comes next."""
        url_no, holder = self._unfolding.url_no, self._holder
        ahead = self._candidates[: url_no + 1]
        new = [url for url in more if url not in ahead]
        after = [*new, *(url for url in self._candidates[url_no + 1 :] if url not in new)]
        if not after or len(ahead) + len(after) > MAX_CANDIDATES:
            return Unfolded()
        urls = "\n".join((*ahead, *after))
        host_id = host_id_of(self._db, parts(after[0]).host)
        image_key = None if self._key == urls else self._key
        goes_on = (image_key, urls, url_no + 1, host_id, holder.carried_failure, holder.image_id)
        self._db.execute(GO_ON, goes_on)
        return Unfolded(host_id)

    def _end_as(self, image_id: int, result: Unfolded) -> None:
        """The holder is another image: as that one is there, or as soon as it is (`follow`)."""
        same = f"image {image_id}"
        row = self._db.execute(STORED_BLOB, (image_id,)).fetchone()
        if row is None:
            result.verdict = Verdict(Status.FAILED_TRANSIENT, ErrorType.SAME_IMAGE, same)
        else:
            _, *blob = row
            result.verdict, result.blob = Verdict(Status.SUCCESS, ErrorType.SAME_IMAGE, same), Blob(*blob)


def find(db: sqlite3.Connection, keys: Sequence[str]) -> dict[str, int]:
    """The images that have these keys. The ledger must be caught up with its keys."""
    wanted = set(keys)
    hashes = json.dumps([key_hash(key) for key in wanted])
    found: dict[str, int] = {key: image_id for image_id, key in db.execute(BY_HASH, (hashes,)) if key in wanted}
    found.update(db.execute(BY_FURTHER_KEY, (json.dumps([key for key in wanted if key not in found]),)))
    return found


def leave_links(db: sqlite3.Connection, parent_id: int, after: int, upto: int) -> None:
    """Have the records that show an image, those behind `after` up to `upto`, linked later with what its documents have brought."""
    db.execute(LEAVE_LINKS, (parent_id, after, upto))


def note_newcomers(db: sqlite3.Connection, links: Iterable[tuple[int, int]]) -> None:
    """Records have come to show images (gbif_id, image_id): those that stood for documents have brought more than themselves."""
    for gbif_id, image_id in links:
        if db.execute(IS_PARENT, (image_id,)).fetchone()[0]:
            leave_links(db, image_id, gbif_id - 1, gbif_id)


def link_some(db: sqlite3.Connection, parent_id: int, after: int, upto: int, n_links: int) -> int | None:
    """Link the next records that show `parent_id`, behind `after`, with what its documents have brought, where they are not yet.

    About `n_links` links are made. Returns the record that was reached; None where all were, up to the record `upto`.
    """
    linking = _Linking(db, parent_id, [row[0] for row in db.execute(NAMED_IMAGES, (parent_id,))], ())
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
        """The successes and failures that are still to be added to the counts of a record that shows the image from now on."""
        n_success = n_failed = 0
        for after, success, failed in self._changes.get(image_id, ()):
            if after < gbif_id:
                n_success += success
                n_failed += failed
        return n_success, n_failed


class _Linking:
    """Links images, and what their own documents have brought, to records that show the image `parent_id`.

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
        """Link the record of a row of `LINKS_OF_HOLDER`, unless it shows the picture and not the document; `only` these images."""
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
        """Count images that a record gains; returns how many it had."""
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
