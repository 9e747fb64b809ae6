"""Staged numbers: SQLite reads exactly the rows that were staged, in order, also within a transaction of the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from d4c_images.ledger.admission.staged import STAGED_ROWS, Staged, TableShape

SHAPE = TableShape("numbers", ("a", "b"), ("x",))
INSERT = "INSERT OR IGNORE INTO t (a, b, x) SELECT a, b, x FROM staged.numbers WHERE place < ? ORDER BY place"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(tmp_path / "t", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (at INTEGER PRIMARY KEY, a INTEGER, b INTEGER UNIQUE, x INTEGER)")
    yield db
    db.close()


def rows(db: sqlite3.Connection) -> list[tuple[object, ...]]:
    return db.execute("SELECT a, b, x FROM t ORDER BY at").fetchall()


@pytest.mark.parametrize("n", [0, 1, STAGED_ROWS - 1, STAGED_ROWS, 2 * STAGED_ROWS + 3])
def test_rows_are_those_of_the_columns(db: sqlite3.Connection, n: int) -> None:
    floats = np.where(np.arange(n) % 3 == 0, np.nan, np.arange(n, dtype=float))
    columns = (np.arange(n, dtype=np.uint32), 2**62 - np.arange(n), floats)
    assert Staged(db, SHAPE).insert(INSERT, columns) == n
    assert rows(db) == [(at, 2**62 - at, at if at % 3 else None) for at in range(n)]
    assert {kind for (kind,) in db.execute("SELECT DISTINCT typeof(x) FROM t")} <= {"integer", "null"}


@pytest.mark.parametrize("number", [-(2**63), -1, 0, 1, 2**63 - 1])
def test_any_integer_is_stored_unchanged(db: sqlite3.Connection, number: int) -> None:
    Staged(db, SHAPE).insert(INSERT, (np.array([number]), np.array([7]), np.array([float(2**53)])))
    assert rows(db) == [(number, 7, 2**53)]


def test_rows_of_an_earlier_longer_batch_are_not_read(db: sqlite3.Connection) -> None:
    staged = Staged(db, SHAPE)
    for n in (5, 2):
        staged.insert(INSERT, (np.arange(n), np.arange(n) + 10 * n, np.ones(n)))
    assert [b for _, b, _ in rows(db)] == [50, 51, 52, 53, 54, 20, 21]


def test_rows_that_are_ignored_are_not_counted(db: sqlite3.Connection) -> None:
    staged = Staged(db, SHAPE)
    assert staged.insert(INSERT, (np.arange(3), np.array([1, 1, 2]), np.ones(3))) == 2


def test_two_shapes_take_turns_on_one_connection(db: sqlite3.Connection) -> None:
    first, second = Staged(db, SHAPE), Staged(db, TableShape("others", ("a",)))
    for at in range(2):
        first.insert(INSERT, (np.array([at]), np.array([at]), np.array([1.0])))
        second.insert("INSERT INTO t (a) SELECT a FROM staged.others WHERE place < ? ORDER BY place", (np.array([at + 7]),))
    assert rows(db) == [(0, 0, 1), (7, None, None), (1, 1, 1), (8, None, None)]


def test_a_transaction_that_stages_rows_commits_and_rolls_back(db: sqlite3.Connection) -> None:
    staged = Staged(db, SHAPE)
    for n, end in ((1, "COMMIT"), (2, "ROLLBACK"), (3, "COMMIT")):
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO t (a) VALUES (?)", (n,))
        staged.insert(INSERT, (np.array([n]), np.array([n]), np.array([0.0])))
        staged.insert(INSERT, (np.array([n]), np.array([-n]), np.array([0.0])))
        db.execute(end)
    assert rows(db) == [(n, b, x) for n in (1, 3) for b, x in ((None, None), (n, 0), (-n, 0))]
    assert db.execute("PRAGMA main.integrity_check").fetchone() == ("ok",)
