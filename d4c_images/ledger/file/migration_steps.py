"""The kinds of steps that make up a migration, and how each changes a ledger. Knows no version, and commits nothing itself."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from d4c_images.ledger.file import schema

CHUNK_ROWS = 20_000

TABLE_NAMES = "SELECT name FROM sqlite_schema WHERE type = 'table'"


@dataclass(frozen=True, slots=True)
class Tables:
    """New tables: created by the statements in `schema.TABLES`, with their indexes and first rows."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewColumn:
    """A new column, the last one of its table, with a constant default or none."""

    table: str
    definition: str


@dataclass(frozen=True, slots=True)
class Script:
    """Statements whose cost does not grow with the images: DROP and RENAME of tables and columns that a `Walk` has replaced, and
    what is filled per host."""

    statements: str


Change = Callable[[sqlite3.Connection, Mapping[str, int]], None]
"""What one statement cannot do; called with the keys `after` and `upto` of a chunk."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A change applied to a table chunk by chunk: to the rows with `:after < key <= :upto`."""

    table: str
    key: str  # the table's INTEGER PRIMARY KEY, or the first column of its primary key if that is an integer
    change: str | Change  # a statement, or a function
    then: str | None = None  # a second statement for the same chunk
    grows_by: float = 0.0  # growth of the ledger, as a share of its size
    chunk_rows: int = CHUNK_ROWS

    def span(self) -> str:
        """The query for the first key and the last; two subqueries, since SQLite uses the index only for a single min or max."""
        of = f"FROM {self.table}"
        return f"SELECT (SELECT min({self.key}) {of}), (SELECT max({self.key}) {of})"

    def chunk_end(self) -> str:
        """The query for the last key of the chunk after a key."""
        keys = f"SELECT {self.key} AS key FROM {self.table} WHERE {self.key} > ? ORDER BY {self.key} LIMIT ?"  # noqa: S608 - likewise
        return f"SELECT max(key) FROM ({keys})"  # noqa: S608

    def count(self) -> str:
        """The query for the number of rows, up to a limit."""
        return f"SELECT count(*) FROM (SELECT 1 FROM {self.table} LIMIT ?)"  # noqa: S608

    def run(self, db: sqlite3.Connection, after: int, upto: int) -> None:
        """Change one chunk's rows."""
        keys = {"after": after, "upto": upto}
        if isinstance(self.change, str):
            db.execute(self.change, keys)
        else:
            self.change(db, keys)
        if self.then is not None:
            db.execute(self.then, keys)


MigrationStep = Tables | NewColumn | Script | Walk


@dataclass(frozen=True, slots=True)
class Migration:
    """From the previous version to this one. A step may find its work done: a table or column that exists is skipped."""

    version: int
    steps: tuple[MigrationStep, ...]


def change(db: sqlite3.Connection, step: MigrationStep) -> None:
    """Take a step, within one transaction."""
    if isinstance(step, Tables):
        create(db, step.names)
    elif isinstance(step, NewColumn):
        names = {row[1] for row in db.execute(f"PRAGMA table_info({step.table})")}
        if step.definition.split()[0] not in names:
            db.execute(f"ALTER TABLE {step.table} ADD COLUMN {step.definition}")
    elif isinstance(step, Script):
        for statement in schema.statements(step.statements):
            db.execute(statement)
    else:
        first, last = db.execute(step.span()).fetchone()
        if first is not None:
            step.run(db, first - 1, last)


def create(db: sqlite3.Connection, names: Sequence[str]) -> None:
    present = {name for (name,) in db.execute(TABLE_NAMES)}
    for name in names:
        if name not in present:
            for statement in _statements_of(name):
                db.execute(statement)


OF_TABLE = re.compile(
    r"\s*(?:--[^\n]*\n\s*)*"
    r"(?:CREATE TABLE|INSERT INTO|CREATE (?:UNIQUE )?INDEX \w+ ON|CREATE TRIGGER \w+ AFTER \w+ ON) (\w+)"
)


def _statements_of(table: str) -> Iterator[str]:
    """A table, its indexes and its first rows, from the schema."""
    for statement in schema.statements(schema.TABLES):
        match = OF_TABLE.match(statement)
        if match is not None and match[1] == table:
            yield statement
