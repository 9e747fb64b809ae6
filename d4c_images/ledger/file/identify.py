"""What a file is: our ledger or not, of which version, and whether it has that version's tables. Changes nothing.

`inspect` looks at a file before it is really opened: it leaves the bytes as they are and creates no files next to it. `judge` looks
through a connection. Objects that are not ours are ignored: users add their own tables, indexes, views and triggers, and
`ANALYZE` adds statistics. Our views are ignored too, since each migration recreates them.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from d4c_images.errors import LedgerError, LedgerUnusable
from d4c_images.ledger.file import schema, versions

MAGIC = b"SQLite format 3\0"
SQLITE_HEADER_BYTES = 100  # https://www.sqlite.org/fileformat2.html#the_database_header
APPLICATION_ID_AT = 68
PROBE_BUSY_TIMEOUT_S = 10.0

OBJECTS = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
IS_EMPTY = "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)"
UNFINISHED = "SELECT EXISTS (SELECT 1 FROM ledger_migrations WHERE finished_at IS NULL)"

# Comments and whitespace are dropped; a quoted name equals the bare one: ALTER TABLE ... RENAME adds quotes.
SQL_TOKEN = re.compile(
    r"""(?P<left_out>\s+|--[^\n]*|/\*.*?\*/) | (?P<text>'(?:[^']|'')*')
        | "(?P<double>\w+)" | `(?P<back>\w+)` | \[(?P<square>\w+)\] | (?P<word>[\w$]+) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class FoundLedger:
    """A file that may be used as a ledger. Version 0: empty."""

    version: int
    under_way: bool = False  # a migration to this version has begun and not finished


@functools.lru_cache(maxsize=1_000)  # a ledger is looked at twice when it is opened
def normalised(sql: str) -> str:
    """A statement without comments, line breaks and meaningless quotes."""
    return " ".join(match[match.lastgroup or 0] for match in SQL_TOKEN.finditer(sql) if match.lastgroup != "left_out")


def objects(connection: sqlite3.Connection) -> dict[str, str]:
    """`table image_rows` and the digest of its statement, for each table, index, view and trigger."""
    return {
        f"{kind} {name}": hashlib.sha256(normalised(sql).encode()).hexdigest()[:12]
        for kind, name, sql in connection.execute(OBJECTS)
    }


def digest(found: Mapping[str, str]) -> str:
    """One digest of all these objects."""
    return hashlib.sha256("\n".join(f"{name} {value}" for name, value in sorted(found.items())).encode()).hexdigest()[:12]


def stored(found: Mapping[str, str]) -> dict[str, str]:
    """Those that hold rows, without views and triggers."""
    return {name: value for name, value in found.items() if name.startswith(("table ", "index "))}


def inspect(path: Path, *, may_be_new: bool = False) -> FoundLedger | None:
    """What the file is, as `judge` says, before anything is written: no byte changes, and no `-wal` or `-shm` is created.

    None: that cannot be said without changing something (a killed process's transaction must be rolled back first), or the file
    cannot be read; opening the ledger then runs into the same and must `judge` it. Raises `LedgerError` as `judge` does.
    """
    try:
        with path.open("rb") as file:
            header = file.read(SQLITE_HEADER_BYTES)
    except OSError:
        return None
    if not header:
        return None
    if header[: len(MAGIC)] != MAGIC:
        raise LedgerUnusable(f"{path} is not an SQLite file, so not a ledger")
    if _begins_with_content(Path(f"{path}-journal")):
        if int.from_bytes(header[APPLICATION_ID_AT : APPLICATION_ID_AT + 4]) not in (0, schema.APPLICATION_ID):
            raise _foreign(path)
        return None
    try:
        with looking_at(path) as connection:
            return judge(connection, path, may_be_new=may_be_new)
    except sqlite3.DatabaseError:
        return None


@contextmanager
def looking_at(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing, to a file that `inspect` describes."""
    # Without a log the file alone is complete; opened as immutable, it is read without locks and without files next to it. An
    # existing log has its `-shm` next to it, whether its process is alive or was killed, and a read-only connection leaves both.
    options = "mode=ro" if _begins_with_content(Path(f"{path}-wal")) else "mode=ro&immutable=1"
    uri = f"file:{quote(os.fsencode(path.absolute()))}?{options}"
    with closing(sqlite3.connect(uri, uri=True, timeout=PROBE_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
        yield connection


def judge(connection: sqlite3.Connection, path: Path, *, may_be_new: bool = False) -> FoundLedger:
    """What the open file is. Raises `LedgerError`, naming the file and what it is, if we can neither use nor migrate it."""
    application_id: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    is_empty: int = connection.execute(IS_EMPTY).fetchone()[0]
    if may_be_new and is_empty and application_id in (0, schema.APPLICATION_ID) and version == 0:
        return FoundLedger(0)
    if application_id != schema.APPLICATION_ID:
        raise _foreign(path)
    if version > schema.SCHEMA_VERSION:
        raise LedgerError(
            f"{path} was written by a newer d4c-images (ledger version {version}; this one supports up to "
            f"{schema.SCHEMA_VERSION}): upgrade d4c-images first"
        )
    present = objects(connection)
    if "table ledger_migrations" in present and version > 1 and connection.execute(UNFINISHED).fetchone()[0]:
        return FoundLedger(version, under_way=True)
    _compare(present, version, path)
    return FoundLedger(version)


def _compare(present: Mapping[str, str], version: int, path: Path) -> None:
    """Raise `LedgerError` unless all tables and indexes of this version are there, unaltered."""
    expected = stored(versions.SHAPES.get(version, {}))
    wrong = [name for name, value in expected.items() if present.get(name) != value]
    if expected and not wrong:
        return
    early = versions.EARLY.get(digest(stored(present)))
    if early is not None:
        commit, day = early
        raise LedgerError(
            f"{path} is a ledger of an early development version of d4c-images 0.1.0 (commit {commit}, {day}), which no release "
            "can read or migrate: use that commit, or create a new ledger with 'd4c-images init SOURCE --ledger OTHER'"
        )
    what = f"{wrong[0]} is {'not as in that version' if wrong[0] in present else 'missing'}" if wrong else "there is none"
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    raise LedgerError(
        f"{path} claims to have ledger version {version}, but {what}{more}: it was written by an early development version of "
        "d4c-images 0.1.0, from before 2026-11-29, or changed by hand. Use the program that wrote it, or create a new ledger "
        "with 'd4c-images init SOURCE --ledger OTHER'"
    )


def unfinished(path: Path, version: int) -> LedgerError:
    """The error for a ledger between two versions."""
    return LedgerError(
        f"{path} is in the middle of a migration to ledger version {version}, under way or interrupted: "
        f"'d4c-images migrate --ledger {path}' resumes it"
    )


def outdated(path: Path, version: int, why: str) -> LedgerError:
    """The error for an older ledger that must be migrated first."""
    return LedgerError(
        f"{path} has ledger version {version}, but this d4c-images needs version {schema.SCHEMA_VERSION}{why}: "
        f"run 'd4c-images migrate --ledger {path}'"
    )


def _foreign(path: Path) -> LedgerError:
    return LedgerUnusable(f"{path} is an SQLite file, but not a d4c-images ledger")


def _begins_with_content(path: Path) -> bool:
    """Whether the file exists and its first byte is not zero: SQLite's own rule for a journal (TRUNCATE, PERSIST)."""
    try:
        with path.open("rb") as file:
            return file.read(1) not in (b"", b"\0")
    except OSError:
        return False
