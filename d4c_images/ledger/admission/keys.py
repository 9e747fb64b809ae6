"""Which image has a key with a given hash? Finds candidates by hash; the caller checks whether the keys are equal.

The newest hashes are held in memory (`write_buffer`). Those a process held when it died are rebuilt from the images.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

import numpy as np

from d4c_images.ledger.admission.chunk import LOAD_ROWS, Numbers, SeenFilter, hashes_of
from d4c_images.ledger.admission.pouring import HeldRows
from d4c_images.ledger.admission.staged import Staged, TableShape
from d4c_images.ledger.admission.write_buffer import RunColumn
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.rows import bounded

FLUSH_ROWS = 3 << 17
"""Keys held in memory while catching up: a kill costs no more than these."""

STORED_KEYS = """
SELECT k.key_hash, k.image_id FROM json_each(?) AS wanted CROSS JOIN image_keys AS k ON k.key_hash = wanted.value
"""
KEYS_AFTER = """
SELECT image_id, coalesce(image_key, urls) FROM image_rows WHERE image_id > ? ORDER BY image_id LIMIT ?
"""
NEW_KEYS = TableShape("new_keys", ("key_hash", "image_id"))
INSERT_KEYS = """
INSERT OR IGNORE INTO image_keys (key_hash, image_id)
SELECT key_hash, image_id FROM staged.new_keys WHERE place < ? ORDER BY place
"""
SET_KEYED = "UPDATE caught_up SET keyed_image_id = ?"


class KeyIndex:
    """Image ids by key hash: the first image of each hash."""

    def __init__(self, ledger: Ledger, beat: Callable[[], object] = lambda: None) -> None:
        """First catches up with images whose keys an earlier process died before writing, calling `beat` between pieces."""
        self._ledger = ledger
        self._staged = Staged(ledger.connection, NEW_KEYS)
        self._held = HeldRows(ledger, self._write_part, SET_KEYED, "keys.part_written")
        self._last_image_id: int = ledger.connection.execute("SELECT keyed_image_id FROM caught_up").fetchone()[0]
        self._catch_up(beat)

    def _catch_up(self, beat: Callable[[], object]) -> None:
        is_all = False
        while not is_all:
            keys_after = self._ledger.connection.execute(KEYS_AFTER, (self._last_image_id, LOAD_ROWS))
            rows, is_all = bounded.some(keys_after, lambda row: len(row[1]), LOAD_ROWS)
            is_all = is_all and len(rows) < LOAD_ROWS
            if rows:
                image_ids, keys = zip(*rows, strict=True)
                self.add(hashes_of([key.encode() for key in keys]), np.array(image_ids))
            if is_all or self._held.rows.n_rows >= FLUSH_ROWS:
                self.flush(beat)
            beat()

    def tell(self, seen: SeenFilter) -> None:
        """Add all hashes to a filter."""
        seen.add_all(self._ledger.connection.execute("SELECT key_hash FROM image_keys"))

    def find(self, hashes: Numbers) -> dict[int, int]:
        """The image of each hash that has one. The hashes are sorted and distinct."""
        found: dict[int, int] = dict(self._ledger.connection.execute(STORED_KEYS, (json.dumps(hashes.tolist()),)))
        for key_hash, place in self._held.rows.find(hashes).items():
            found.setdefault(key_hash, int(place.columns[1][place.at]))
        return found

    def add(self, hashes: Numbers, image_ids: Numbers) -> None:
        """Remember new images, by rising id. They are in `image_rows` once this transaction is committed."""
        if len(image_ids):
            self._held.rows.add(hashes, image_ids.astype(np.uint32))
            self._last_image_id = int(image_ids[-1])

    def pour(self, at_least: int) -> None:
        """Write a part of what is held, if there are `at_least` so many rows. After a kill it is rebuilt."""
        self._held.pour(self._last_image_id, at_least)

    def flush(self, beat: Callable[[], object] = lambda: None) -> None:
        """Write all that is held, calling `beat` after each transaction."""
        self._held.flush(self._last_image_id, beat)

    def _write_part(self, _: sqlite3.Connection, part: tuple[RunColumn, ...]) -> None:
        self._staged.insert(INSERT_KEYS, part)
