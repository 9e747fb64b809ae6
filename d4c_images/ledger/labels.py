"""Writes labels of records down: names, taxon keys, collections. Labels of records that have no image are left out.

Ids stand in a table in no order, and a label that goes anywhere in the B-tree rewrites a page of it. So labels are held in memory
and written in the order of the ids. The checkpoint comes with the last of them: what was held when a process died is read again.
"""

from __future__ import annotations

import json
import marshal
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Sequence
from sys import getsizeof

import numpy as np

KNOWN = "SELECT g.gbif_id FROM json_each(?) AS wanted CROSS JOIN gbif_ids AS g ON g.gbif_id = wanted.value"
INSERT = """
INSERT OR REPLACE INTO labels (gbif_id, scientific_name, taxon_key, accepted_taxon_key, kingdom_key, phylum_key, class_key,
    order_key, family_key, genus_key, species_key, family, basis_of_record, dataset_key, institution_code, collection_code,
    catalog_number)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

HELD_BYTES = 64 << 20  # half a million of GBIF's rows, about
ROWS_PER_TRANSACTION = 20_000
PLACES_BYTES = 3 * 8  # of a row, in the lists
INTERNED_BYTES = 100  # of an entry in the dictionary

Labels = tuple[str | int | None, ...]
"""The cells of one record in the order of the table's columns after `gbif_id`."""


def known_records(db: sqlite3.Connection, gbif_ids: Sequence[int]) -> set[int]:
    """Those of the records that are in the ledger."""
    return {gbif_id for (gbif_id,) in db.execute(KNOWN, (json.dumps(gbif_ids),))}


def write_labels(db: sqlite3.Connection, labels: dict[int, Labels]) -> None:
    """Write the labels of records, by GBIF id, over what was there."""
    db.executemany(INSERT, [(gbif_id, *labels[gbif_id]) for gbif_id in sorted(labels)])


class HeldLabels:
    """Labels that wait to be written. Records of one taxon in one collection have all but the last cell in common."""

    def __init__(self) -> None:
        self._n_rows = 0
        self._clear()

    def _clear(self) -> None:
        self._ids = array("q")
        self._common: list[bytes] = []
        self._last: list[str | int | None] = []
        self._interned: dict[bytes, bytes] = {}
        self.size_bytes = 0

    def add(self, labels: Iterable[tuple[int, Labels]]) -> None:
        for gbif_id, cells in labels:
            packed = marshal.dumps(cells[:-1])
            common = self._interned.setdefault(packed, packed)
            if common is packed:
                self.size_bytes += getsizeof(packed) + INTERNED_BYTES
            self._ids.append(gbif_id)
            self._common.append(common)
            self._last.append(cells[-1])
            self.size_bytes += getsizeof(cells[-1]) + PLACES_BYTES
            self._n_rows += 1

    def take(self) -> Iterator[dict[int, Labels]]:
        """All labels in the order of the ids, some thousands at a time; of one id the last. Forgets them."""
        ids, common, last = self._ids, self._common, self._last
        self._clear()
        order = np.argsort(np.frombuffer(ids, np.int64), kind="stable")
        for start in range(0, len(order), ROWS_PER_TRANSACTION):
            some = order[start : start + ROWS_PER_TRANSACTION].tolist()
            yield {ids[at]: (*marshal.loads(common[at]), last[at]) for at in some}

    def take_count(self) -> int:
        """How many rows had labels since the last call, those of one record counted each."""
        n_rows, self._n_rows = self._n_rows, 0
        return n_rows
