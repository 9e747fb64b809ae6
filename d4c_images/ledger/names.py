"""Numbers of texts and rules that many rows share. Forgets nothing and renames nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from d4c_images.ledger import bulk

TEXT_IDS = "SELECT t.text, t.text_id FROM json_each(?) AS wanted CROSS JOIN texts AS t ON t.text = wanted.value"


class TextIds:
    """The ledger's number of each text that a maker of chunks has numbered from 0; None for the empty one."""

    def __init__(self) -> None:
        self.ids: list[int | None] = []

    def learn(self, db: sqlite3.Connection, texts: Sequence[str], *, restart: bool) -> None:
        """Take the next texts, adding to the ledger those that it has not; with `restart` forget the earlier ones."""
        if restart:
            self.ids.clear()
        if not texts:
            return
        wanted = dict.fromkeys(text for text in texts if text)
        known: dict[str, int] = dict(db.execute(TEXT_IDS, (json.dumps(list(wanted)),)))
        new = [text for text in wanted if text not in known]
        if new:
            first_id = db.execute("SELECT coalesce(max(text_id), 0) + 1 FROM texts").fetchone()[0]
            new_ids = range(first_id, first_id + len(new))
            bulk.insert(db, "INSERT INTO texts (text_id, text) VALUES", (new_ids, new))
            known.update(zip(new, new_ids, strict=True))
        self.ids += map(known.get, texts)


def rule_id_of(db: sqlite3.Connection, name: str, version: int) -> int:
    """The number of a rule, which is made where it is new."""
    row = db.execute("SELECT rule_id FROM rules WHERE name = ? AND version = ?", (name, version)).fetchone()
    if row is None:
        row = db.execute("INSERT INTO rules (name, version) VALUES (?, ?) RETURNING rule_id", (name, version)).fetchone()
    rule_id: int = row[0]
    return rule_id
