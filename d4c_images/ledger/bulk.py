"""Inserts many rows from columns, many to a statement. Knows no table.

One small row costs 0.8 µs in a statement of its own, and 0.3 to 0.4 µs among 200 in one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

ROWS_PER_STATEMENT = 200


def insert(db: sqlite3.Connection, into: str, columns: Sequence[Sequence[object]], constant: int | None = None) -> int:
    """Run `into` (all up to `VALUES`) for the rows that the columns make; returns how many rows were inserted.

    `constant` is one column more that is the same in all rows.
    """
    n, width = len(columns[0]), len(columns)
    row = f"({', '.join('?' * width)})" if constant is None else f"({', '.join('?' * width)}, {constant:d})"
    whole = n - n % ROWS_PER_STATEMENT
    inserted = 0
    if whole:
        flat: list[object] = [None] * (whole * width)
        for at, column in enumerate(columns):
            flat[at::width] = column[:whole]
        step = ROWS_PER_STATEMENT * width
        statement = f"{into} {', '.join([row] * ROWS_PER_STATEMENT)}"
        inserted += db.executemany(statement, (flat[at : at + step] for at in range(0, whole * width, step))).rowcount
    if n > whole:
        rest = zip(*(column[whole:] for column in columns), strict=True)
        inserted += db.executemany(f"{into} {row}", rest).rowcount
    return inserted
