"""Interns texts that many rows share: text to number, append-only. Removes and renames nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence

import numpy as np

from d4c_images.ledger.admission import bulk
from d4c_images.ledger.admission.bulk import NOTHING, Floats

TEXT_IDS = "SELECT t.text, t.text_id FROM json_each(?) AS wanted CROSS JOIN texts AS t ON t.text = wanted.value"
TEXT_ID = "SELECT text_id FROM texts WHERE text = ?"


class TextIds:
    """The ledger's number of each text of a chunk's dictionary; `NOTHING` for the empty one."""

    def __init__(self) -> None:
        self._ids: Floats = np.empty(1024)
        self._n = 0

    @property
    def ids(self) -> Floats:
        return self._ids[: self._n]

    def learn(self, db: sqlite3.Connection, texts: Sequence[str], *, restart: bool) -> None:
        """Add the next texts, to the ledger as well if they are new; with `restart` forget the earlier ones."""
        if restart:
            self._n = 0
        if not texts:
            return
        known = number(db, dict.fromkeys(text for text in texts if text))
        end = self._n + len(texts)
        if end > len(self._ids):
            self._ids = np.append(self.ids, np.empty(end))
        self._ids[self._n : end] = [known.get(text, NOTHING) for text in texts]
        self._n = end


def number(db: sqlite3.Connection, wanted: Collection[str]) -> dict[str, int]:
    """The ledger's number of each of these texts, none empty, no duplicates; new ones are added."""
    known: dict[str, int] = dict(db.execute(TEXT_IDS, (json.dumps(list(wanted)),)))
    for text in wanted:
        if "\0" in text and (row := db.execute(TEXT_ID, (text,)).fetchone()):  # SQLite ends a JSON string at a NUL
            known[text] = row[0]
    new = [text for text in wanted if text not in known]
    if new:
        first_id = db.execute("SELECT coalesce(max(text_id), 0) + 1 FROM texts").fetchone()[0]
        new_ids = range(first_id, first_id + len(new))
        bulk.insert(db, "INSERT INTO texts (text_id, text) VALUES", (new_ids, new), "(?, ?)")
        known.update(zip(new, new_ids, strict=True))
    return known
