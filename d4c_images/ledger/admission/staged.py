"""Passes columns of numbers to SQLite as a table in memory, without binding values or creating Python objects. Knows no ledger.

SQLite creates a small database once, with a table whose cells are numbers of eight bytes each. For each batch of rows the bytes of
the cells are overwritten in place, and the connection gets a copy as its attached database `staged` (`deserialize`). Texts do not
fit in: they are bound as one blob, and the table has the position of each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

STAGED_ROWS = 1 << 13  # of a batch: half as many cost 2 % of the writer, twice as many gain nothing
FIRST_PLACE = 1 << 14  # from here on a rowid takes three bytes, so that all rows have one length
WIDEST_PAGE = 1 << 16  # SQLite allows
CELL_MARK = int.from_bytes(b"Mark") << 32  # plus the number of the cell: its first value, by which its bytes are found

ATTACHED = "SELECT name FROM pragma_database_list"  # not its file: the path of the ledger need not be UTF-8
ATTACH = "ATTACH ':memory:' AS staged"
SET_PAGE_SIZE = f"PRAGMA page_size = {WIDEST_PAGE}"

NumberColumn = npt.NDArray[np.int64] | npt.NDArray[np.uint32] | npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TableShape:
    """The columns of a staged table. `place` numbers its rows, from `FIRST_PLACE`."""

    table: str
    integers: tuple[str, ...]
    floats: tuple[str, ...] = ()  # SQLite reads NaN as NULL

    @property
    def columns(self) -> tuple[str, ...]:
        return self.integers + self.floats

    def creation(self, schema: str) -> str:
        return f"CREATE TABLE {schema}.{self.table} (place INTEGER PRIMARY KEY, {', '.join(self.columns)})"

    @property
    def filling(self) -> str:
        return f"INSERT INTO {self.table} VALUES (?{', ?' * len(self.columns)})"  # noqa: S608 - our own name


class _Page(NamedTuple):
    """The cells of one page of the database, as views of either type (big-endian) on its bytes."""

    start: int
    integers: npt.NDArray[np.int64]
    floats: npt.NDArray[np.float64]


class Staged:
    """Stages rows of one shape on a connection. There is one staged table at a time: each `load` replaces it."""

    def __init__(self, db: sqlite3.Connection, shape: TableShape) -> None:
        if ("staged",) not in db.execute(ATTACHED).fetchall():
            db.execute(ATTACH)
        self._db = db
        self._n_integers = len(shape.integers)
        self._database = _made(shape)
        self._pages = _pages(self._database, self._n_integers + len(shape.floats))

    def load(self, columns: Sequence[NumberColumn]) -> int:
        """Stage up to `STAGED_ROWS` rows, given as columns in the order of the shape; returns the place after the last row."""
        n = len(columns[0])
        for page in self._pages:
            if page.start >= n:
                break
            end = min(n, page.start + len(page.integers))
            for at, column in enumerate(columns):
                cells = page.integers if at < self._n_integers else page.floats
                cells[: end - page.start, at] = column[page.start : end]
        self._db.deserialize(self._database.data, name="staged")
        return FIRST_PLACE + n

    def insert(self, statement: str, columns: Sequence[NumberColumn]) -> int:
        """Run a statement that inserts the rows below a given place, batch by batch; returns the number of rows inserted."""
        n = 0
        for start in range(0, len(columns[0]), STAGED_ROWS):
            below = self.load([column[start : start + STAGED_ROWS] for column in columns])
            n += self._db.execute(statement, (below,)).rowcount
        return n


def _made(shape: TableShape) -> npt.NDArray[np.uint8]:
    """The database, with a mark in each cell of the table."""
    n_integers, width = len(shape.integers), len(shape.columns)
    marks = CELL_MARK + np.arange(STAGED_ROWS * width).reshape(STAGED_ROWS, width)
    floats = marks.view(np.float64)
    rows = ((*marks[n, :n_integers].tolist(), *floats[n, n_integers:].tolist()) for n in range(STAGED_ROWS))  # one at a time
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute(SET_PAGE_SIZE)
        db.execute(shape.creation("main"))
        db.execute("BEGIN")
        db.executemany(shape.filling, ((FIRST_PLACE + n, *row) for n, row in enumerate(rows)))
        db.execute("COMMIT")
        return np.frombuffer(db.serialize(), np.uint8).copy()


def _pages(database: npt.NDArray[np.uint8], width: int) -> list[_Page]:
    """Find the cells by their marks. On each page the rows are equally far apart."""
    found = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(database, 4).view("S4")[:, 0] == b"Mark")
    numbers = np.zeros(len(found), np.int64)
    for at in range(8):  # the bytes of each mark; all at once would take eight times the memory
        numbers = numbers << 8 | database[found + at]
    numbers -= CELL_MARK
    cells = np.empty(STAGED_ROWS * width, np.int64)
    cells[numbers] = found
    rows = cells.reshape(STAGED_ROWS, width)
    if len(found) != len(cells) or (np.diff(rows) != 8).any():
        raise AssertionError("SQLite does not store the marks as expected")
    steps = np.diff(rows[:, 0])
    starts = [0, *(np.flatnonzero(steps != steps[0]) + 1).tolist(), STAGED_ROWS]
    pages = []
    for start, end in pairwise(starts):
        shape, offset, strides = (end - start, width), int(rows[start, 0]), (int(steps[0]), 8)
        pages.append(
            _Page(start, np.ndarray(shape, ">i8", database, offset, strides), np.ndarray(shape, ">f8", database, offset, strides))
        )
    return pages
