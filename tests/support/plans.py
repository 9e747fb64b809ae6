"""Takes the plan of a statement under statistics that are made up, and names what in it grows with the ledger. Runs no statement.

SQLite chooses a plan by the sizes that `ANALYZE` has noted in sqlite_stat1, or by fixed guesses if nobody has run it. A ledger may
be in either state, and the notes may be of a minute when it held little: a plan has to do under all of
them.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from d4c_images.ledger.admission import staged
from d4c_images.ledger.file import schema, views
from tests.support import statements
from tests.support.statements import Statement

# Tables that stay small whatever the ledger holds, with the reason; all others count as big, new ones too.
SMALL_TABLES = {
    "runs": "one row for each command that was run",
    "owner": "one row",
    "archives": "one row for each stream",
    "caught_up": "one row",
    "ledger_migrations": "one row for each migration",
    "verifications": "one row for each check, or part of one, of the last 400 days",
    "checkpoints": "one row for each command that goes on after a kill",
    "politeness_groups": "one row for each group of hosts that share limits",
    "image_totals": "one row for each status and error type",
    "store": "one row",
    "rules": "one row for each rule of identity and version",
    "wanted_limits": "what a person has typed",
    "leases": "one row for each turn that is out",
    "record_tallies": "one row for each of four statuses",
    "reject_counts": "one row for each reason and stream",
    "note_counts": "one row for each note and stream",
    "rejected_rows": "a sample: so many of each reason and stream",
    "sqlite_schema": "the schema",
    "sqlite_master": "the schema",
}


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Rows by table, and for an index how many rows one value of its first column has. None for all: nobody has run ANALYZE."""

    name: str
    rows: Mapping[str, int] | None
    other: int = 0  # rows of tables that are not named
    per_value: Mapping[str, int] = field(default_factory=dict)


GBIF = {
    "image_rows": 50_000_000, "gbif_ids": 44_000_000, "link_rows": 2_000_000, "image_keys": 50_000_000,
    "label_rows": 44_000_000, "label_taxa": 1_000_000, "label_shared": 200_000, "untried": 200_000,
    "texts": 400_000, "host_rows": 2_000, "tallies": 8_000, "lent": 5_000, "former_rows": 1_000,
    "documents": 500,
}  # fmt: skip
FEW = 100  # rows of a table that ANALYZE saw early in a run; those of an earlier run are dropped when a writer opens the ledger
STATISTICS = (
    Statistics("none", None),
    Statistics("like GBIF's", GBIF, 1_000),
    Statistics(
        "skewed",
        {"link_rows": 10_000_000, "host_rows": 1_000_000, "tallies": 3_000_000, "image_rows": 10_000_000, "gbif_ids": 10_000_000},
        1_000_000,
        {"link_shared": 1_000_000, "link_rows": 1_000_000, "image_queue": 5_000_000, "unfolded_image": 1_000_000},
    ),
    Statistics("of the first minute", {}, FEW),
    Statistics("of a moment before the images came", {"image_rows": FEW, "gbif_ids": FEW, "image_keys": FEW}, 10_000_000),
    Statistics("of a moment before the links came", {**GBIF, "link_rows": FEW, "host_rows": FEW, "tallies": FEW}, FEW),
)


@cache
def ledger_with(statistics: Statistics) -> sqlite3.Connection:
    """An empty ledger in memory whose planner believes these figures."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    for sql in schema.statements(schema.TABLES + views.VIEWS):
        db.execute(sql)
    for statement in statements.all_statements():
        if statements.TEMPORARY.match(statement.sql):
            db.execute(statement.sql)
    db.execute(staged.ATTACH)
    for shape in statements.STAGED:
        db.execute(shape.creation("staged"))
    if statistics.rows is not None:
        db.execute("ANALYZE sqlite_schema")  # makes sqlite_stat1
        db.executemany("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)", list(_figures(db, statistics)))
        db.execute("ANALYZE sqlite_schema")  # reads it
    return db


def _figures(db: sqlite3.Connection, statistics: Statistics) -> Iterator[tuple[str, str | None, str]]:
    for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'").fetchall():
        n = (statistics.rows or {}).get(table, statistics.other)
        if table in SMALL_TABLES:
            n = min(n, 100)
        indexes = db.execute(f"PRAGMA index_list({table})").fetchall()
        for _, index, is_unique, origin, _ in indexes:
            width = len(db.execute(f"PRAGMA index_info({index})").fetchall())
            per_value = [max(1, round(n ** (1 - (k + 1) / width))) for k in range(width)]
            # ANALYZE calls the key of a table WITHOUT ROWID by the name of the table.
            name = table if origin == "pk" else index
            per_value[0] = statistics.per_value.get(name, per_value[0] if is_unique else max(1, min(n, 10)))
            yield table, name, " ".join(map(str, [max(1, n), *per_value]))
        if not indexes:
            yield table, None, str(max(1, n))


def plan(db: sqlite3.Connection, sql: str) -> list[tuple[int, str]]:
    """(parent, line) of EXPLAIN QUERY PLAN."""
    question = f"EXPLAIN QUERY PLAN {sql}"
    named = re.findall(r"(?<!:):([a-z_]\w*)", sql)
    values: Sequence[object] | Mapping[str, object] = dict.fromkeys(named) if named else ()
    try:
        rows = db.execute(question, values).fetchall()
    except sqlite3.ProgrammingError as error:
        wanted = re.search(r"uses (\d+),", str(error))
        if wanted is None:
            raise
        rows = db.execute(question, (None,) * int(wanted[1])).fetchall()
    return [(parent, detail) for _, parent, _, detail in rows]


def findings(db: sqlite3.Connection, statement: Statement) -> set[str]:
    """What of the plan grows with the ledger, in few words: "SCAN image_rows"."""
    sql = statement.complete
    names = _names_of_tables(sql)
    is_limited = re.search(r"\bLIMIT\b", sql) is not None
    found: set[str] = set()
    sorts: set[str] = set()
    loops: dict[int, list[str]] = {}  # of one SELECT, the outer ones first
    for parent, line in plan(db, sql):
        words = line.split(" ")
        name = names.get(words[1], words[1]) if len(words) > 1 else ""
        is_big = name in _all_tables() and name not in SMALL_TABLES
        if words[0] in ("SCAN", "SEARCH"):
            loops.setdefault(parent, []).append(line)
        if " AUTOMATIC " in line:
            found.add(f"AUTOMATIC INDEX on {name}")
        elif words[0] == "BLOOM":  # filled with all rows
            found.add(f"BLOOM FILTER on {names.get(words[3], words[3])}")
        elif is_big and ((words[0] == "SCAN" and "VIRTUAL TABLE" not in line) or "ANY(" in line):  # ANY: once for each value
            found.add(f"SCAN {name}")
        elif words[0] == "SEARCH" and is_big and not is_limited and _is_open(line):
            found.add(f"SEARCH to the end of {name}")
        elif line.startswith("USE TEMP B-TREE") and not _is_a_step(loops.get(parent, [""])[0]):
            sorts.add(f"SORT for {line.partition(' FOR ')[2]}")
    for lines in loops.values():  # a loop over all rows within another one, be they few each
        over = [line.split(" ")[1] for line in lines if line.startswith("SCAN") and line != "SCAN CONSTANT ROW"]
        found |= {f"SCAN {names.get(inner, inner)} for each {names.get(over[0], over[0])}" for inner in over[1:]}
    if not found and set(names.values()) - set(SMALL_TABLES):  # what reads all may sort it too
        found = sorts
    return found


def _is_a_step(line: str) -> bool:
    """Whether the outermost loop runs over a list that is handed in, a range with two ends, or one row."""
    constraint = line.partition("(")[2]
    is_range = "<" in constraint and ">" in constraint
    return "VIRTUAL TABLE" in line or line == "SCAN CONSTANT ROW" or "(rowid=?)" in line or is_range or not line


def _is_open(line: str) -> bool:
    """A range with one end, behind no column that has a given value."""
    constraint = line.partition("(")[2]
    return constraint != "" and "=" not in constraint and not ("<" in constraint and ">" in constraint)


def _names_of_tables(sql: str) -> dict[str, str]:
    """What the statement, and the views in it, call the tables."""
    text = sql
    for name, body in re.findall(r"CREATE VIEW (\w+) AS(.*?);", views.VIEWS, re.DOTALL):
        if re.search(rf"\b(FROM|JOIN)\s+{name}\b", text):
            text += body
    names = {table: table for table in _all_tables() if re.search(rf"\b{table}\b", text)}
    return names | {alias: table for table in names for alias in re.findall(rf"\b{table}\s+AS\s+(\w+)", text)}


@cache
def _all_tables() -> frozenset[str]:
    db = ledger_with(STATISTICS[0])
    return frozenset(
        name
        for schema_table in ("sqlite_schema", "sqlite_temp_schema")
        for (name,) in db.execute(f"SELECT name FROM {schema_table} WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    )
