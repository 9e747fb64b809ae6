"""Finds identical bytes for many records of one host, and marks their images as placeholders. Touches no file.

While a download settles, `Watch` counts recent hashes; a pass over all rows (`find`) sees the rest. Both mark rows
(`mark_placeholders`) in a transaction that also lists the files to be quarantined: until they are, `check` finds them in that list.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import NamedTuple

from d4c_images import crash
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.queue import deferred, mark_placeholders, shards
from d4c_images.ledger.queue.mark_placeholders import Marked, mark, placeholder
from d4c_images.ledger.rows import bounded
from d4c_images.ledger.rows.extent import number, top_image
from d4c_images.ledger.rows.names import HOST_NAME
from d4c_images.ledger.rows.rollup import RecordChanges
from d4c_images.ledger.rows.tally import Tally
from d4c_images.model import Blob, ErrorType, Status
from d4c_images.policy.placeholder_list import MIN_RECORDS, PlaceholderList

RECENT = 1 << 18  # hashes seen once recently, over all hosts: 4 MB
MAX_SEVERAL = 2_000  # ... for several records
CELLS = 1 << 24  # of the first pass of `find`: 64 MB, whatever the number of rows
IMAGES_PER_CHUNK = 50_000
MARK_CHUNK = 2_000
RESTORE_CHUNK = 100  # files are written before the rows: a kill costs at most those of one transaction
MAX_HELD_RECORDS = 500_000  # records of hashes that may be placeholders, and placeholders: some 100 bytes each
MAX_SHARES = 1 << 12

PLACEHOLDER_STATES = "SELECT host_id, sha256, state FROM placeholders"
SET_STATE = """
INSERT INTO placeholders (host_id, sha256, state, n_marked, found_at) VALUES (?, ?, ?, 0, ?)
ON CONFLICT (host_id, sha256) DO UPDATE SET state = excluded.state
"""
N_MARKED = "SELECT coalesce(sum(n_marked), 0) FROM placeholders"
FACTS = """
SELECT i.image_id, i.gbif_id, i.host_id, coalesce(i.original_sha256, i.sha256), i.file_size
FROM json_each(?) AS wanted CROSS JOIN image_rows AS i ON i.image_id = wanted.value
WHERE i.status = 'success' AND i.sha256 IS NOT NULL AND coalesce(i.error_type, '') <> 'same_image'
"""
RECEIVED_BYTES_OF_STORED = """
SELECT image_id, gbif_id, host_id, coalesce(original_sha256, sha256), file_size FROM image_rows
WHERE image_id > ? AND image_id <= ? AND status = 'success' AND sha256 IS NOT NULL AND coalesce(error_type, '') <> 'same_image'
"""
SIZES = """
SELECT i.image_id, length(i.urls) FROM json_each(?) AS wanted CROSS JOIN image_rows AS i ON i.image_id = wanted.value
"""
TO_SET_ASIDE = """
SELECT s.image_id, s.file_path, s.file_offset, s.file_size, s.sha256,
       i.status = 'failed_permanent' AND i.error_type = 'placeholder' AS is_placeholder,
       i.status = 'success' AND i.file_path = s.file_path AS is_an_image
FROM set_aside AS s CROSS JOIN image_rows AS i ON i.image_id = s.image_id ORDER BY s.image_id LIMIT ?
"""
FORGET_FILE = "DELETE FROM set_aside WHERE image_id = ?"
MARKED = """
SELECT image_id, gbif_id, image_no, host_id FROM image_rows
WHERE image_id > ? AND image_id <= ? AND status = 'failed_permanent' AND error_type = 'placeholder'
  AND coalesce(original_sha256, sha256) = ?
"""
RESTORE = """
UPDATE image_rows SET status = 'success', error_type = NULL, error_detail = NULL, file_path = ?, file_offset = ?, file_size = ?
WHERE image_id = ?
"""
OVERVIEW = """
SELECT h.host, lower(hex(p.sha256)), p.state, p.n_marked FROM placeholders AS p JOIN host_rows AS h USING (host_id)
ORDER BY p.state DESC, p.n_marked DESC, h.host
"""


class StoredBytes(NamedTuple):
    """What matters here of a success. `sha256` is that of the bytes as received."""

    image_id: int
    gbif_id: int
    host_id: int
    sha256: bytes
    size_bytes: int | None


@dataclass(slots=True)
class _Candidate:
    images: list[int] = field(default_factory=list)
    records: set[int] = field(default_factory=set)


class Judgement:
    """What is known about a host's bytes: from the lists, and from the ledger."""

    def __init__(self, db: sqlite3.Connection, listed: PlaceholderList, min_records: int) -> None:
        self._listed, self._min_records = listed, min_records
        states = db.execute(PLACEHOLDER_STATES)
        self._states: dict[tuple[int, bytes], str] = {(host_id, sha256): state for host_id, sha256, state in states}
        self._allowed = {sha256 for (_, sha256), state in self._states.items() if state == "allowed"} | listed.allowed
        self._hosts: dict[int, str] = {}

    def host(self, db: sqlite3.Connection, host_id: int) -> str:
        if host_id not in self._hosts:
            self._hosts[host_id] = db.execute(HOST_NAME, (host_id,)).fetchone()[0]
        return self._hosts[host_id]

    def is_allowed(self, sha256: bytes) -> bool:
        return sha256 in self._allowed

    def is_known(self, db: sqlite3.Connection, one: StoredBytes) -> bool:
        known = (one.host_id, one.sha256) in self._states or self._listed.is_known(self.host(db, one.host_id), one.sha256)
        return known and not self.is_allowed(one.sha256)

    def suspected_from(self, db: sqlite3.Connection, one: StoredBytes) -> int | None:
        return self._listed.suspected_from(self.host(db, one.host_id), one.size_bytes)

    def least(self, db: sqlite3.Connection, one: StoredBytes) -> int:
        """How many records with the same bytes make a placeholder."""
        return min(self.suspected_from(db, one) or self._min_records, self._min_records)

    def learn(self, db: sqlite3.Connection, host_id: int, sha256: bytes, now: int) -> None:
        self._states[host_id, sha256] = "placeholder"
        db.execute(SET_STATE, (host_id, sha256, "placeholder", now))


class _Recent:
    """Which image recently had these bytes. Of fixed size: now and then a newer hash overwrites an older one."""

    def __init__(self) -> None:
        self._marks = array("Q", bytes(8 * RECENT))
        self._images = array("q", bytes(8 * RECENT))

    def swap(self, host_id: int, sha256: bytes, image_id: int) -> int | None:
        """Remember the image; returns the one remembered for the same bytes, compared by 64 bits."""
        place = (int.from_bytes(sha256[:8], "little") + host_id) % RECENT
        mark = int.from_bytes(sha256[8:16], "little")
        earlier = self._images[place] if self._marks[place] == mark else 0
        self._marks[place], self._images[place] = mark, image_id
        return earlier or None


class Watch:
    """Watches what is being settled. Memory is bounded: what it forgets, and what came before it, `find` sees."""

    def __init__(self, db: sqlite3.Connection, listed: PlaceholderList, min_records: int = MIN_RECORDS) -> None:
        self._judgement = Judgement(db, listed, min_records)
        self._recent = _Recent()
        self._several: OrderedDict[tuple[int, bytes], _Candidate] = OrderedDict()

    def knows(self, db: sqlite3.Connection, host_id: int, blob: Blob) -> bool:
        """Whether these bytes are a placeholder of the host, as far as known yet."""
        return self._judgement.is_known(db, StoredBytes(0, 0, host_id, blob.original_sha256 or blob.sha256, blob.size_bytes))

    def look(self, db: sqlite3.Connection, image_ids: Sequence[int], now: int) -> Marked:
        """Mark those of the images, and of earlier ones, that turn out to be placeholders."""
        found: dict[tuple[int, bytes], list[int]] = {}
        for one in _stored(db, image_ids):
            key = (one.host_id, one.sha256)
            if self._judgement.is_known(db, one):
                found.setdefault(key, []).append(one.image_id)
            elif not self._judgement.is_allowed(one.sha256):
                candidate = self._count(db, key, one)
                if candidate is not None and len(candidate.records) >= self._judgement.least(db, one):
                    self._judgement.learn(db, *key, now)
                    found.setdefault(key, []).extend(candidate.images)
                    del self._several[key]
        marked = Marked()
        for (host_id, sha256), images in found.items():
            self._judgement.learn(db, host_id, sha256, now)
            mark(db, images, placeholder(host_id, self._judgement.host(db, host_id), sha256), now, marked)
        return marked

    def _count(self, db: sqlite3.Connection, key: tuple[int, bytes], one: StoredBytes) -> _Candidate | None:
        candidate = self._several.get(key)
        if candidate is None:
            earlier = self._recent.swap(*key, one.image_id)
            first = next(iter(_stored(db, [earlier])), None) if earlier else None
            if first is None or (first.host_id, first.sha256) != key:
                return None
            candidate = self._several[key] = _Candidate([first.image_id], {first.gbif_id})
            if len(self._several) > MAX_SEVERAL:
                self._several.popitem(last=False)
        self._several.move_to_end(key)
        if len(candidate.images) < 10 * MIN_RECORDS:
            candidate.images.append(one.image_id)
        candidate.records.add(one.gbif_id)
        return candidate


def _stored(db: sqlite3.Connection, image_ids: Sequence[int]) -> list[StoredBytes]:
    """Those of the images that are successes with their own bytes."""
    return list(map(StoredBytes._make, db.execute(FACTS, (json.dumps(list(image_ids)),))))


def list_file(db: sqlite3.Connection, image_id: int, blob: Blob) -> None:
    """List a file for quarantine that did not replace a stored image."""
    mark_placeholders.list_file(db, image_id, (blob.path, blob.offset, blob.size_bytes), blob.original_sha256 or blob.sha256)


SearchProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""

Hashes = set[tuple[int, bytes]]  # host and sha256


def find(ledger: Ledger, listed: PlaceholderList, min_records: int, now: int, progress: SearchProgress) -> int:
    """Scan all successes, and mark placeholders in committed chunks. Returns how many were marked.

    A kill while reading loses nothing, and what was marked stays marked. If there are more hashes to remember than memory allows,
    they are handled in two halves, or four quarters, and so on.
    """
    judgement = Judgement(ledger.connection, listed, min_records)
    shares, n = [_Share(0, 1)], 0
    while shares:
        share = shares.pop()
        found = _common(ledger.connection, judgement, share, min_records, progress)
        if found is None:
            shares += [_Share(share.number, 2 * share.n), _Share(share.number + share.n, 2 * share.n)]
        elif found:
            n += _mark_all(ledger, judgement, found, now, progress)
    return n


class _Share(NamedTuple):
    """Every `n`-th of all hashes."""

    number: int
    n: int

    def has(self, one: StoredBytes) -> bool:
        return self.n == 1 or int.from_bytes(one.sha256[16:24], "little") % self.n == self.number


def _common(
    db: sqlite3.Connection, judgement: Judgement, share: _Share, min_records: int, progress: SearchProgress
) -> Hashes | None:
    """The placeholders among a share of the hashes; None if too many had to be remembered.

    The first pass counts hashes in cells, so that the second has to remember only possible ones.
    """
    cells = array("I", bytes(4 * CELLS))
    for one in _successes(db, lambda done, top: progress("counting", done, top)):
        if share.has(one):
            cells[_cell(one)] += 1
    found: Hashes = set()
    records: dict[tuple[int, bytes], set[int]] = {}
    n_held = 0
    for one in _successes(db, lambda done, top: progress("comparing", done, top)):
        key = (one.host_id, one.sha256)
        if key in found or not share.has(one) or judgement.is_allowed(one.sha256):
            continue
        known, suspected = judgement.is_known(db, one), judgement.suspected_from(db, one)
        if not (known or suspected or cells[_cell(one)] >= min_records):
            continue
        held = records.setdefault(key, set())
        n_held += one.gbif_id not in held
        held.add(one.gbif_id)
        if known or len(held) >= judgement.least(db, one):
            found.add(key)
            n_held -= len(records.pop(key))
        if n_held + len(found) > MAX_HELD_RECORDS and share.n < MAX_SHARES:
            return None
    return found


def _mark_all(ledger: Ledger, judgement: Judgement, found: Hashes, now: int, progress: SearchProgress) -> int:
    """Mark all images with these bytes, and those that show the same files, some per transaction."""
    before = number(ledger.connection.execute, N_MARKED)
    n = n_back = 0
    successes = _successes(ledger.connection, lambda done, top: progress("marking", done, top))
    for chunk in _chunks(ledger.connection, (one for one in successes if _key(one) in found)):
        images: dict[tuple[int, bytes], list[int]] = {}
        for one in chunk:
            images.setdefault(_key(one), []).append(one.image_id)
        marked = Marked()
        with ledger.transaction() as db:
            for (host_id, sha256), image_ids in images.items():
                judgement.learn(db, host_id, sha256, now)
                mark(db, image_ids, placeholder(host_id, judgement.host(db, host_id), sha256), now, marked)
        crash.point("placeholders.marked")
        n_back += marked.n_back
        deferred.drain(ledger, partial(progress, "marked", n, n))
        n = number(ledger.connection.execute, N_MARKED) - before + n_back
        progress("marked", n, n)
    return n


def _key(one: StoredBytes) -> tuple[int, bytes]:
    return one.host_id, one.sha256


def _chunks(db: sqlite3.Connection, images: Iterable[StoredBytes]) -> Iterator[list[StoredBytes]]:
    """As many as one transaction marks: their rows are rewritten, with all their URLs."""
    images = iter(images)
    while some := list(islice(images, MARK_CHUNK)):
        sizes: dict[int, int] = dict(db.execute(SIZES, (json.dumps([one.image_id for one in some]),)))
        while some:
            chunk, _ = bounded.some(some, partial(_size, sizes))
            some = some[len(chunk) :]
            yield chunk


def _size(sizes: dict[int, int], one: StoredBytes) -> int:
    return sizes[one.image_id]


def _cell(one: StoredBytes) -> int:
    return (int.from_bytes(one.sha256[:8], "little") + one.host_id * 0x9E3779B97F4A7C15) % CELLS


def _successes(db: sqlite3.Connection, progress: Callable[[int, int], None]) -> Iterable[StoredBytes]:
    top = top_image(db.execute)
    for low in range(0, top, IMAGES_PER_CHUNK):
        yield from map(StoredBytes._make, db.execute(RECEIVED_BYTES_OF_STORED, (low, low + IMAGES_PER_CHUNK)).fetchall())
        progress(min(top, low + IMAGES_PER_CHUNK), top)


class ToSetAside(NamedTuple):
    """A placeholder's file that is still among the images."""

    image_id: int
    path: str
    offset: int | None
    size_bytes: int
    sha256: bytes
    is_placeholder: bool | None  # otherwise the image has new attempts since, and the file may be a later one
    is_an_image: bool | None  # a success names it: one of those attempts brought it


def to_set_aside(ledger: Ledger, n: int) -> list[ToSetAside]:
    """Up to `n` files; none while an image may still show one of them."""
    if deferred.is_left(ledger.connection):
        return []
    return [ToSetAside._make(row) for row in ledger.connection.execute(TO_SET_ASIDE, (n,))]


def forget_files(ledger: Ledger, image_ids: Iterable[int]) -> None:
    with ledger.transaction() as db:
        db.executemany(FORGET_FILE, [(image_id,) for image_id in image_ids])


class Claimed(NamedTuple):
    """An image that will become a success again."""

    image_id: int
    gbif_id: int
    image_no: int
    host_id: int


class Restored(NamedTuple):
    """The durable location of such an image's bytes."""

    path: str
    offset: int | None
    size_bytes: int


Restore = Callable[[Sequence[Claimed]], Sequence[Restored]]


def allow(ledger: Ledger, sha256: bytes, now: int, restore: Restore, progress: SearchProgress = lambda *_: None) -> int:
    """Reverse a placeholder: its images become successes again, in committed chunks. Returns how many.

    `restore` returns the place of each image's bytes, once they are durable. Raises what `restore` raises; then nothing of that
    chunk has changed, and the same call resumes there.
    """
    db = ledger.connection
    host_ids = [row[0] for row in db.execute(PLACEHOLDER_STATES + " WHERE sha256 = ?", (sha256,))]
    with ledger.transaction() as writing:
        writing.executemany(SET_STATE, [(host_id, sha256, "allowed", now) for host_id in host_ids])
    top = top_image(db.execute)
    n = 0
    for low in range(0, top, IMAGES_PER_CHUNK):
        rows = [Claimed(*row) for row in db.execute(MARKED, (low, low + IMAGES_PER_CHUNK, sha256))]
        for at in range(0, len(rows), RESTORE_CHUNK):
            _restore(ledger, rows[at : at + RESTORE_CHUNK], restore, now)
            deferred.drain(ledger, partial(progress, "restored", n, n))
            n += len(rows[at : at + RESTORE_CHUNK])
            progress("restored", n, n)
        progress("looked at", min(top, low + IMAGES_PER_CHUNK), top)
    return n


def _restore(ledger: Ledger, rows: Sequence[Claimed], restore: Restore, now: int) -> None:
    files = restore(rows)  # the bytes first, then the rows (I1)
    crash.point("placeholders.restored")
    with ledger.transaction() as db:
        tally, records = Tally(), RecordChanges()
        for one, file in zip(rows, files, strict=True):
            db.execute(RESTORE, (*file, one.image_id))
            db.execute(FORGET_FILE, (one.image_id,))
            tally.image(-1, one.host_id, Status.FAILED_PERMANENT, ErrorType.PLACEHOLDER, final=True)
            tally.image(1, one.host_id, Status.SUCCESS, None, final=True, size_bytes=file.size_bytes)
            records.image(one.image_id, one.gbif_id, n_success=1, n_failed=-1)
        shards.note(db, [(file.path, file.offset + file.size_bytes) for file in files if file.offset is not None])
        records.write(db, tally, now)
        tally.write(db)


def overview(ledger: Ledger) -> list[tuple[str, str, str, int]]:
    """Host, sha256 in hex, state, and number of images marked."""
    return ledger.connection.execute(OVERVIEW).fetchall()
