"""Inserts many rows from columns, many per statement. Knows no table.

One small row costs 0.8 µs in a statement of its own, and 0.3 to 0.4 µs among 200 in one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

ROWS_PER_STATEMENT = 200

Floats = npt.NDArray[np.float64]
BulkColumn = Sequence[object] | npt.NDArray[np.int64] | npt.NDArray[np.uint32] | Floats
"""Values that SQLite accepts: str, int, `NOTHING`."""

NOTHING = float("nan")
"""SQLite stores NaN as NULL, and a whole float as an integer in an integer column: so numbers with gaps can be an array of floats.
Binding NaN costs 0.03 µs; None costs 0.37, since `sqlite3` looks for an adapter first."""


def insert(db: sqlite3.Connection, into: str, columns: Sequence[BulkColumn], row: str) -> int:
    """Run `into` (everything up to `VALUES`) for each row that the columns make; returns how many rows were inserted.

    `row` is the row to insert, with a `?` for the cell of each column: "(?, ?, 7)". Numbered parameters would save transposing
    columns to rows, but from Python 3.12 on `sqlite3` asks for the name of each, which takes 3 µs among thousands.
    """
    n = len(columns[0])
    whole = n - n % ROWS_PER_STATEMENT
    inserted = 0
    for start, end, size in ((0, whole, ROWS_PER_STATEMENT), (whole, n, 1)):
        if end > start:
            statement = f"{into} {', '.join([row] * size)}"
            inserted += db.executemany(statement, _cells(columns, start, end, size)).rowcount
    return inserted


def _cells(columns: Sequence[BulkColumn], start: int, end: int, size: int) -> Iterator[list[object]]:
    """The cells of rows `start` to `end`, row after row. A column is assigned by one slice, without a loop over rows."""
    width = len(columns)
    for at in range(start, end, size):
        cells: list[object] = [None] * (size * width)
        for place, column in enumerate(columns):
            some = column[at : at + size]
            cells[place::width] = some.tolist() if isinstance(some, np.ndarray) else some
        yield cells
