"""Which image has a given key's hash? Finds candidates by hash; whether the keys are the same is for the caller to see.

Hashes fall anywhere in the table, so adding 50,000 of them to a big one rewrites nearly all of it. Therefore the newest ones
are held in memory, 16 bytes each, and written a million at a time in the order of the table. What was held when a process died
is made again from the images: `keyed_images` says from where on.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

import xxhash

from d4c_images import crash
from d4c_images.ledger import bulk
from d4c_images.ledger.chunk import KEY_BITS, KeyFilter
from d4c_images.ledger.connect import Ledger

HASH_MASK = (1 << KEY_BITS) - 1
MAX_HELD = 1 << 20
PARTS = 16  # transactions in which the held ones are written
LOAD_ROWS = 50_000

STORED = """
SELECT k.key_hash, k.image_id FROM json_each(?) AS wanted CROSS JOIN image_keys AS k ON k.key_hash = wanted.value
"""
KEYS_AFTER = """
SELECT image_id, coalesce(image_key, urls) FROM image_rows WHERE image_id > ? ORDER BY image_id LIMIT ?
"""
INSERT_KEYS = "INSERT OR IGNORE INTO image_keys (key_hash, image_id) VALUES"


def hashes_of(keys: Sequence[str]) -> array[int]:
    """The hash of each key. Keys hold no tabs."""
    if not keys:
        return array("q")
    digest, mask = xxhash.xxh3_64_intdigest, HASH_MASK
    return array("q", [digest(key) & mask for key in "\t".join(keys).encode().split(b"\t")])


class KeyIndex:
    """Image ids by hash of the key: the first image of each hash."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._runs: list[tuple[array[int], array[int]]] = []  # hashes in order, and the images that have them
        self._n_held = 0
        self._last_image_id = _keyed(ledger.connection)
        for image_ids, keys in _keys_after(ledger.connection, self._last_image_id):
            self.add(hashes_of(keys), image_ids)

    def filter(self) -> KeyFilter | None:
        """A filter that knows all hashes; None where there are none."""
        if self._last_image_id == 0:
            return None
        known = KeyFilter()
        cursor = self._ledger.connection.execute("SELECT key_hash FROM image_keys")
        while rows := cursor.fetchmany(LOAD_ROWS):
            known.add([key_hash for (key_hash,) in rows])
        for hashes, _ in self._runs:
            known.add(hashes)
        return known

    def find(self, hashes: Iterable[int]) -> dict[int, int]:
        """The image of each hash that has one."""
        wanted = set(hashes)
        found: dict[int, int] = dict(self._ledger.connection.execute(STORED, (json.dumps(list(wanted)),)))
        for key_hash in wanted - found.keys():
            for run, image_ids in self._runs:
                at = bisect_left(run, key_hash)
                if at < len(run) and run[at] == key_hash:
                    found[key_hash] = image_ids[at]
                    break
        return found

    def add(self, hashes: Sequence[int], image_ids: Sequence[int]) -> None:
        """Remember new images, in the order of their ids. They are in `image_rows` when this transaction is committed."""
        if not image_ids:
            return
        order = sorted(range(len(hashes)), key=hashes.__getitem__)  # stable: of equal hashes the first image comes first
        self._runs.append((array("q", map(hashes.__getitem__, order)), array("q", map(image_ids.__getitem__, order))))
        self._n_held += len(hashes)
        self._last_image_id = image_ids[-1]

    def flush(self, *, at_least: int = 1) -> None:
        """Write what is held, in transactions of its own, once it is so much. Killed on the way, it is all held again."""
        if self._n_held < at_least:
            return
        for low in range(0, HASH_MASK + 1, max(1, (HASH_MASK + 1) // PARTS)):
            high = low + max(1, (HASH_MASK + 1) // PARTS)
            pairs = sorted(pair for run in self._runs for pair in _between(run, low, high))
            if pairs:
                with self._ledger.transaction() as db:
                    bulk.insert(db, INSERT_KEYS, tuple(zip(*pairs, strict=True)))
                crash.point("keys.part_written")
        with self._ledger.transaction() as db:
            db.execute("UPDATE keyed_images SET image_id = ?", (self._last_image_id,))
        self._runs.clear()
        self._n_held = 0


def _between(run: tuple[array[int], array[int]], low: int, high: int) -> Iterator[tuple[int, int]]:
    hashes, image_ids = run
    first, last = bisect_left(hashes, low), bisect_left(hashes, high)
    return zip(hashes[first:last], image_ids[first:last], strict=True)


def _keyed(db: sqlite3.Connection) -> int:
    image_id: int = db.execute("SELECT image_id FROM keyed_images").fetchone()[0]
    return image_id


def _keys_after(db: sqlite3.Connection, image_id: int) -> Iterator[tuple[list[int], list[str]]]:
    while rows := db.execute(KEYS_AFTER, (image_id, LOAD_ROWS)).fetchall():
        image_ids, keys = map(list, zip(*rows, strict=True))
        yield image_ids, keys
        image_id = image_ids[-1]
