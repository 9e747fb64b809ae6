"""Writes what occurrence tables say about records. Rows about records without an image are left out.

Ids come in no order, and a row inserted at a random place in the B-tree rewrites a page of it. So labels are held in memory and
written in id order. The checkpoint comes with the last of them: what was held when a process died is read again.

Cells that records share are interned (`label_taxa`, `label_shared`, `texts`) and stay there even when no record uses them any more.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from sys import getsizeof
from typing import Any, TypeVar

import numpy as np

from d4c_images.ledger.admission import texts
from d4c_images.model import Labels, OwnCells, SharedCells, TaxonCells

KNOWN_RECORDS = "SELECT g.gbif_id FROM json_each(?) AS wanted CROSS JOIN gbif_ids AS g ON g.gbif_id = wanted.value"
INSERT = """
INSERT OR REPLACE INTO label_rows (gbif_id, taxon_id, shared_id, catalog_number, occurrence_id, event_date, decimal_latitude,
    decimal_longitude, coordinate_uncertainty_in_meters, recorded_by_id, information_withheld_id, data_generalizations_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
FIND_TAXON = "SELECT taxon_id FROM label_taxa WHERE digest = ?"
ADD_TAXON = """
INSERT INTO label_taxa (digest, scientific_name, taxon_key, accepted_taxon_key, kingdom_key, phylum_key, class_key, order_key,
    family_key, genus_key, species_key, family, checklist_key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
FIND_SHARED = "SELECT shared_id FROM label_shared WHERE digest = ?"
ADD_SHARED = """
INSERT INTO label_shared (digest, basis_of_record, dataset_key, institution_code, collection_code, license, country_code, country,
    geodetic_datum, type_status, sex, life_stage)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# From the table of version 1, which had numeric keys and fewer cells.
OF_VERSION_1 = """
SELECT gbif_id, scientific_name, CAST(taxon_key AS TEXT), CAST(accepted_taxon_key AS TEXT), CAST(kingdom_key AS TEXT),
       CAST(phylum_key AS TEXT), CAST(class_key AS TEXT), CAST(order_key AS TEXT), CAST(family_key AS TEXT),
       CAST(genus_key AS TEXT), CAST(species_key AS TEXT), family, basis_of_record, dataset_key, institution_code, collection_code,
       catalog_number
FROM labels WHERE gbif_id > :after AND gbif_id <= :upto ORDER BY gbif_id
"""

HELD_LABEL_BYTES = 64 << 20  # about a quarter of a million of GBIF's rows
ROWS_PER_TRANSACTION = 20_000
BYTES_PER_TRANSACTION = 16 << 20
PLACES_BYTES = 4 * 8  # of a row, in the lists
INTERNED_BYTES = 100  # of an entry in the dictionary

AnyCells = TypeVar("AnyCells", bound=tuple[str | None, ...])


def known_records(db: sqlite3.Connection, gbif_ids: Sequence[int]) -> set[int]:
    """Which of the records are in the ledger."""
    return {gbif_id for (gbif_id,) in db.execute(KNOWN_RECORDS, (json.dumps(gbif_ids),))}


def write_labels(db: sqlite3.Connection, labels: Mapping[int, Labels]) -> None:
    """Write the labels of records, by GBIF id, replacing all that these had."""
    in_order = sorted(labels.items())
    taxa = _numbered(db, (one.taxon for _, one in in_order), FIND_TAXON, ADD_TAXON)
    shared = _numbered(db, (one.shared for _, one in in_order), FIND_SHARED, ADD_SHARED)
    numbers = texts.number(db, dict.fromkeys(text for _, one in in_order for text in _texts(one.own) if text))
    db.executemany(
        INSERT,
        [
            (gbif_id, taxa[one.taxon], shared[one.shared], *one.own[:6], *(numbers.get(text or "") for text in _texts(one.own)))
            for gbif_id, one in in_order
        ],
    )


def _texts(own: OwnCells) -> tuple[str | None, ...]:
    """The cells after the first six: many records name the same people and have the same remarks."""
    return own.recorded_by, own.information_withheld, own.data_generalizations


def take_over(db: sqlite3.Connection, keys: Mapping[str, int]) -> None:
    """Rewrite the labels of a ledger of version 1 whose ids are in `:after < id <= :upto`. Their checklist is unknown."""
    old = db.execute(OF_VERSION_1, keys).fetchall()
    write_labels(db, {one[0]: Labels(TaxonCells(*one[1:12]), SharedCells(*one[12:16]), OwnCells(one[16])) for one in old})


def _numbered(db: sqlite3.Connection, all_cells: Iterable[AnyCells], find: str, add: str) -> dict[AnyCells, int | None]:
    """Intern these groups of cells: the number of each, new ones added. A group of empty cells has none."""
    numbers: dict[AnyCells, int | None] = dict.fromkeys(all_cells)
    for cells in numbers:
        if any(cells):
            digest = hashlib.blake2b(json.dumps(cells).encode(), digest_size=16).digest()
            row = db.execute(find, (digest,)).fetchone()
            numbers[cells] = row[0] if row else db.execute(add, (digest, *cells)).lastrowid
    return numbers


class HeldLabels:
    """Labels waiting to be written. Many records share all but their own cells."""

    def __init__(self) -> None:
        self._n_rows = 0
        self._clear()

    def _clear(self) -> None:
        self._ids = array("q")
        self._taxa: list[TaxonCells] = []
        self._shared: list[SharedCells] = []
        self._own: list[bytes] = []
        self._interned: dict[tuple[str | None, ...], Any] = {}
        self.size_bytes = 0

    def add(self, labels: Iterable[tuple[int, Labels]]) -> None:
        for gbif_id, (taxon, shared, own) in labels:
            packed = marshal.dumps(tuple(own))
            self._ids.append(gbif_id)
            self._taxa.append(self._intern(taxon))
            self._shared.append(self._intern(shared))
            self._own.append(packed)
            self.size_bytes += getsizeof(packed) + PLACES_BYTES
            self._n_rows += 1

    def _intern(self, cells: AnyCells) -> AnyCells:
        known: AnyCells | None = self._interned.get(cells)
        if known is None:
            self._interned[cells] = known = cells
            self.size_bytes += getsizeof(cells) + sum(map(getsizeof, filter(None, cells))) + INTERNED_BYTES
        return known

    def take(self) -> Iterator[dict[int, Labels]]:
        """All labels in id order, some thousands at a time; for a repeated id the last. Forgets them."""
        ids, taxa, shared, own = self._ids, self._taxa, self._shared, self._own
        n_rows = min(ROWS_PER_TRANSACTION, max(1, BYTES_PER_TRANSACTION * len(ids) // max(self.size_bytes, 1)))
        self._clear()
        order = np.argsort(np.frombuffer(ids, np.int64), kind="stable")
        for start in range(0, len(order), n_rows):
            some = order[start : start + n_rows].tolist()
            yield {ids[at]: Labels(taxa[at], shared[at], OwnCells(*marshal.loads(own[at]))) for at in some}

    def take_count(self) -> int:
        """How many rows had labels since the last call, counting each row of a record."""
        n_rows, self._n_rows = self._n_rows, 0
        return n_rows
