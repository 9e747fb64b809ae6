"""Many rows in one statement: what is stored is what was given, in its order, and with the type of its column."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from d4c_images.ledger.admission import bulk
from d4c_images.ledger.admission.bulk import NOTHING


@pytest.mark.parametrize("n", [0, 1, bulk.ROWS_PER_STATEMENT - 1, bulk.ROWS_PER_STATEMENT, 2 * bulk.ROWS_PER_STATEMENT + 3])
def test_rows_are_those_of_the_columns(n: int) -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (a INTEGER, b TEXT, c INTEGER, d INTEGER)")
    missing = np.array([at % 3 if at % 3 else NOTHING for at in range(n)], np.float64)
    texts = [f"ü{at}" if at % 2 else NOTHING for at in range(n)]
    assert bulk.insert(db, "INSERT INTO t VALUES", (np.arange(n) + 2**60, texts, missing), "(?, ?, ?, 7)") == n
    expected = [(2**60 + at, f"ü{at}" if at % 2 else None, at % 3 or None, 7) for at in range(n)]
    assert db.execute("SELECT * FROM t ORDER BY rowid").fetchall() == expected
    assert {kind for (kind,) in db.execute("SELECT DISTINCT typeof(c) FROM t")} <= {"integer", "null"}
    db.close()


def test_parameters_have_no_names() -> None:
    """From Python 3.12 on `sqlite3` asks for the name of each that it binds, and SQLite looks through all of them for it."""
    statements: list[str] = []

    class Connection(sqlite3.Connection):
        def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> sqlite3.Cursor:  # type: ignore[override]
            statements.append(sql)
            return super().executemany(sql, rows)

    db = sqlite3.connect(":memory:", factory=Connection)
    db.execute("CREATE TABLE t (a INTEGER, b INTEGER)")
    bulk.insert(db, "INSERT INTO t VALUES", [np.arange(bulk.ROWS_PER_STATEMENT + 1)] * 2, "(?, ?)")
    assert len(statements) == 2
    assert not re.search(r"\?[0-9]", "".join(statements))
    db.close()
