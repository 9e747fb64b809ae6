"""Writes labels of records down: names, taxon keys, collections. Labels of records that have no image are left out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

KNOWN = "SELECT g.gbif_id FROM json_each(?) AS wanted CROSS JOIN gbif_ids AS g ON g.gbif_id = wanted.value"
INSERT = """
INSERT OR REPLACE INTO labels (gbif_id, scientific_name, taxon_key, accepted_taxon_key, kingdom_key, phylum_key, class_key,
    order_key, family_key, genus_key, species_key, family, basis_of_record, dataset_key, institution_code, collection_code,
    catalog_number)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

Labels = tuple[str | int | None, ...]
"""The cells of one record in the order of the table's columns after `gbif_id`."""


def known_records(db: sqlite3.Connection, gbif_ids: Sequence[int]) -> set[int]:
    """Those of the records that are in the ledger."""
    return {gbif_id for (gbif_id,) in db.execute(KNOWN, (json.dumps(gbif_ids),))}


def write_labels(db: sqlite3.Connection, labels: dict[int, Labels]) -> None:
    """Write the labels of records, by GBIF id, over what was there."""
    db.executemany(INSERT, [(gbif_id, *labels[gbif_id]) for gbif_id in sorted(labels)])


def count(db: sqlite3.Connection) -> int:
    """How many records have labels."""
    n: int = db.execute("SELECT count(*) FROM labels").fetchone()[0]
    return n
