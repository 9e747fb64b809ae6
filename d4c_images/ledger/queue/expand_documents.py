"""Turns what a IIIF document names into images, known or new, linked to every record that shows it. Reads no document.

The image that stood for a document (the *holder*) now stands for its first picture that no other image stands for; the others get
rows of their own after the record's last `image_no`. All of it happens in the settlement's transaction, except links to very many
records, which follow in pieces (`deferred`). It is idempotent: an image is found by its key, a link by its record, and the holder
by the key that it has taken on.

What a document names is inserted after it among the holder's candidates, and is requested from there on; so each document is read
once, and documents that name each other come to an end.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from d4c_images import crash
from d4c_images.identity import DocumentKind, parts
from d4c_images.ledger.queue.followers import STORED_BLOB
from d4c_images.ledger.queue.record_links import LINK_IN_LINE, LINKS_OF_HOLDER, Linking, leave_links
from d4c_images.ledger.rows.extent import TOP_IMAGE
from d4c_images.ledger.rows.hashes import key_hash
from d4c_images.ledger.rows.names import host_id_of, rule_id_of
from d4c_images.ledger.rows.rollup import BEFORE_ALL
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import MAX_CANDIDATES, Blob, ErrorType, Image, Status, Unfolding, Verdict

MAX_DEPTH = 4  # documents that lead to a picture: collections of collections of manifests
MAX_MADE = 2_000  # images that one row of an archive may bring
LINKS_AT_ONCE = 5_000
"""Links that the documents of one transaction make; the rest is deferred (`deferred`)."""
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
LINK_OF = """
SELECT gbif_id, license_id, creator_id, rights_holder_id, references_url, archive_id, row_no, 0
FROM link_rows INDEXED BY link_shared WHERE image_id = ? AND gbif_id = ?
"""
IS_SHARED = "SELECT EXISTS (SELECT 1 FROM link_rows INDEXED BY link_shared WHERE image_id = ? AND gbif_id <> ?)"


class DocumentHolder(NamedTuple):
    """The image that stands for a document."""

    image_id: int
    gbif_id: int  # its first record
    carried_failure: str | None  # as stored in its row


@dataclass(slots=True)
class Unfolded:
    """What became of the holder: it continues at a host, or it ends (`verdict` None: as if there were no document)."""

    host_id: int | None = None
    verdict: Verdict | None = None
    blob: Blob | None = None
    new_host_ids: set[int] = field(default_factory=set)  # hosts whose queue has grown


@dataclass(slots=True)
class LinkBudget:
    """How many links a transaction may still make."""

    n_links: int = field(default_factory=lambda: LINKS_AT_ONCE)


def unfold(db: sqlite3.Connection, unfolding: Unfolding, holder: DocumentHolder, now: int, room: LinkBudget) -> Unfolded:
    """Take in what a document names. What this transaction has settled so far must be written (`RecordChanges.write`)."""
    return _Unfolding(db, unfolding, holder, now, room).run()


class _Unfolding:
    """One document being taken into the ledger."""

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
        """How many documents led here, and the image that it all began with."""
        image_id = self._holder.image_id
        depth, root_id = self._db.execute(ORIGIN, (image_id,)).fetchone() or (0, image_id)
        return depth + self._db.execute(N_READ, (image_id, self._unfolding.url)).fetchone()[0], root_id

    def _own(self, found: dict[str, int]) -> int | None:
        """The position of what the holder stands for: what it stood for before, else the first that belongs to no other image.

        A collection may name itself, or what led to it; that is skipped.
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
        """The images of all that is not the holder's own, found or created within the limits, linked to the holder's records."""
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
        """Link what the document names to the holder's records, within the budget; at least new images to the first record."""
        db, holder, room = self._db, self._holder, self._room
        linking = Linking(db, holder.image_id, further, made)
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
        """Create an image in its host's queue. Its `image_no` comes with its link."""
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
        # If keys or records are behind, recovery covers this image too.
        db.execute(SET_CAUGHT_UP, (image_id if keyed == top else keyed, image_id if recorded == top else recorded))
        tally = Tally()
        tally.image(1, host_id, Status.PENDING, None, final=False)
        tally.write(db)
        self._new_host_ids.add(host_id)
        return image_id

    def _go_on(self, more: Iterable[str]) -> Unfolded:
        """Insert what is to be requested after the document, and queue the holder for whatever comes next."""
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
        """The holder is another image: it takes that one's file now, or as soon as it is stored (`followers`)."""
        same = f"image {image_id}"
        row = self._db.execute(STORED_BLOB, (image_id,)).fetchone()
        if row is None:
            result.verdict = Verdict(Status.FAILED_TRANSIENT, ErrorType.SAME_IMAGE, same)
        else:
            _, *blob = row
            result.verdict, result.blob = Verdict(Status.SUCCESS, ErrorType.SAME_IMAGE, same), Blob(*blob)


def find(db: sqlite3.Connection, keys: Sequence[str]) -> dict[str, int]:
    """The images that have these keys. Keys must be caught up."""
    wanted = set(keys)
    hashes = json.dumps([key_hash(key) for key in wanted])
    found: dict[str, int] = {key: image_id for image_id, key in db.execute(BY_HASH, (hashes,)) if key in wanted}
    found.update(db.execute(BY_FURTHER_KEY, (json.dumps([key for key in wanted if key not in found]),)))
    return found
