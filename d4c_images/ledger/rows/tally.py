"""The counters that reports read, kept by the transaction that changes the rows. Reads no rows itself."""

from __future__ import annotations

import sqlite3
from collections import defaultdict

ADD_IMAGES = """
INSERT INTO tallies (host_id, status, error_type, n, n_final, size_bytes) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (host_id, status, error_type) DO UPDATE SET
    n = n + excluded.n, n_final = n_final + excluded.n_final, size_bytes = size_bytes + excluded.size_bytes
"""
ADD_RECORDS = "INSERT INTO record_tallies (status, n) VALUES (?, ?) ON CONFLICT (status) DO UPDATE SET n = n + excluded.n"


class Tally:
    """Differences gathered over one transaction; `write` adds them to the tables."""

    def __init__(self) -> None:
        self._images: defaultdict[tuple[int, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        self._records: defaultdict[str, int] = defaultdict(int)

    def image(self, sign: int, host_id: int, status: str, error_type: str | None, *, final: bool, size_bytes: int = 0) -> None:
        """Count an image in (`sign` 1) or out (-1)."""
        cell = self._images[host_id, status, error_type or ""]
        cell[0] += sign
        cell[1] += sign * final
        cell[2] += sign * size_bytes

    def record(self, sign: int, status: str) -> None:
        self._records[status] += sign

    def write(self, db: sqlite3.Connection) -> None:
        db.executemany(ADD_IMAGES, [(*key, *cell) for key, cell in self._images.items() if any(cell)])
        db.executemany(ADD_RECORDS, [(status, n) for status, n in self._records.items() if n])
        self._images.clear()
        self._records.clear()
