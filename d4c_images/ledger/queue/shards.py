"""What the ledger knows of shards: how images are stored, and up to which offset rows refer to them. Opens no shard."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.rows.extent import Ask, top_image
from d4c_images.ledger.rows.named import BY_NAME

STORE = "SELECT kind, token FROM store"
SET_STORE = "INSERT INTO store (one, kind, token) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE SET kind = excluded.kind"
NOTE_SHARD_END = """
INSERT INTO shards (file_path, end_offset) VALUES (?, ?)
ON CONFLICT (file_path) DO UPDATE SET end_offset = max(end_offset, excluded.end_offset)
"""
SHARD_ENDS = "SELECT file_path, end_offset FROM shards"
ENDS_OF_ROWS = """
SELECT file_path, max(file_offset + file_size) FROM image_rows
WHERE image_id > ? AND image_id <= ? AND status = 'success' AND file_path IN (SELECT value FROM json_each(?)) GROUP BY file_path
"""
ENDS_OF_FORMER = """
SELECT file_path, max(file_offset + file_size) FROM former_rows
WHERE image_id > ? AND image_id <= ? AND file_path IN (SELECT value FROM json_each(?)) GROUP BY file_path
"""
SET_SHARD_END = "UPDATE shards SET end_offset = ? WHERE file_path = ?"
ROWS_AT_ONCE = 50_000


class StoreKind(NamedTuple):
    """How a ledger's images are stored."""

    kind: str  # files, pack
    token: str  # part of its shards' names


def store_kind(ledger: Ledger, wished: str | None) -> StoreKind:
    """As requested now, or else as last time; initially files. Remembers it."""
    row = ledger.connection.execute(STORE).fetchone()
    known = StoreKind(*row) if row else StoreKind("files", secrets.token_hex(4))
    if row is None or wished not in (None, known.kind):
        known = known._replace(kind=wished or known.kind)
        with ledger.transaction() as db:
            db.execute(SET_STORE, known)
    return known


def are_packed(ask: Ask) -> bool:
    """Whether images were kept in shards the last time."""
    return any(kind == "pack" for kind, _ in ask(STORE, ()))


def note(db: sqlite3.Connection, reached: Iterable[tuple[str, int]]) -> None:
    """Rows refer to images in these shards, up to these offsets; call it in the transaction that writes the rows."""
    ends: dict[str, int] = {}
    for path, end in reached:
        ends[path] = max(end, ends.get(path, 0))
    db.executemany(NOTE_SHARD_END, ends.items())


def ends(ledger: Ledger) -> dict[str, int]:
    """The end of the last image that a row refers to, by shard path."""
    return dict(ledger.connection.execute(SHARD_ENDS).fetchall())


def lower(ledger: Ledger, paths: Sequence[str], progress: Callable[[int, int], object]) -> None:
    """Find out again up to where rows refer to shards that have lost their ends. `progress(done, total)` counts image numbers."""
    ask, wanted, reached = ledger.connection.execute, json.dumps(list(paths)), dict.fromkeys(paths, 0)
    top = top_image(ask)
    for low in range(0, top, ROWS_AT_ONCE):
        for sql in (ENDS_OF_ROWS, ENDS_OF_FORMER):
            for path, end in ask(sql, (low, low + ROWS_AT_ONCE, wanted)):
                reached[path] = max(reached[path], end or 0)
        progress(min(top, low + ROWS_AT_ONCE), top)
    with ledger.transaction() as db:
        db.executemany(SET_SHARD_END, [(end, path) for path, end in reached.items()])


def known(ledger: Ledger, names: Sequence[tuple[int, int, int]]) -> list[bool]:
    """Whether an image exists for each (gbif_id, image_no, revision)."""
    rows = ledger.connection.execute(BY_NAME, (json.dumps([(*name, "", None) for name in names]),))
    return [status is not None for status, *_ in rows]


def wanted(ledger: Ledger, names: Sequence[tuple[int, int, int]]) -> list[bool]:
    """Whether the image of each (gbif_id, image_no, revision) was lent, and has no bytes: those of its dead worker will do."""
    rows = ledger.connection.execute(BY_NAME, (json.dumps([(*name, "", None) for name in names]),))
    return [bool(is_next and (leased or died)) for *_, leased, died, _, _, is_next in rows]
