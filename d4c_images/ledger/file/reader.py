"""Opens the ledger for reading, during a download or without one. Writes nothing and has no queries of its own.

Reads work in a read-only folder too. A shared file system returns an I/O error now and then; such a read is retried on a fresh
connection, up to three times in all.
"""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from d4c_images.errors import LedgerError, LedgerUnusable, UsageError, of_a_named_path
from d4c_images.ledger.file import filesystem, identify, liveness, migrations, schema, snapshot
from d4c_images.ledger.file.connect import explain

READER_BUSY_TIMEOUT_S = 10.0
TRIES = 3
WAIT_S = 0.2  # before the second try; twice as long before the third
FETCH_ROWS = 10_000
TRANSIENT = (
    "disk i/o error",
    "file is not a database",
    "locking protocol",
    "disk image is malformed",
    "database schema has changed",
)

Params = Sequence[object] | Mapping[str, object]
Row = tuple[Any, ...]
T = TypeVar("T")

_readers: weakref.WeakSet[Reader] = weakref.WeakSet()  # of this process


class Reader:
    """A read-only connection. Use it in a `with` block."""

    def __init__(self, path: Path, copy: Path | None = None) -> None:
        """`copy` is read instead of the live file if the writer keeps that locked (`snapshot`)."""
        self.path = path
        self.copied_at = None if copy is None else int(copy.stat().st_mtime)  # unix time; None: the live file
        self._file = copy or path
        self._connection: sqlite3.Connection | None = None
        self._in_snapshot = False
        _readers.add(self)

    def rows(self, sql: str, params: Params = ()) -> list[Row]:
        """All rows of a result that is known to be small."""
        return self.table(sql, params)[1]

    def table(self, sql: str, params: Params = ()) -> tuple[list[str], list[Row]]:
        """Column names and all rows."""
        for attempt in range(1, TRIES + 1):
            try:
                cursor = self._connected().execute(sql, params)
                return [column[0] for column in cursor.description or ()], cursor.fetchall()
            except sqlite3.DatabaseError as error:
                if self._in_snapshot or attempt == TRIES or not _is_transient(error):
                    raise self._explained(error) from error
            self._wait_and_forget(attempt)
        raise AssertionError("unreachable")

    def head(self, sql: str, params: Params, n_chars: int, texts: Callable[[Row], Row]) -> tuple[list[Row], bool]:
        """The first rows of a result, and whether those are all: at least one, until the cells that `texts` picks add up to that
        many characters. If these are the cells that may be long, memory is bounded.
        """
        for attempt in range(1, TRIES + 1):
            try:
                return _head(self._connected().execute(sql, params), n_chars, texts)
            except sqlite3.DatabaseError as error:
                if self._in_snapshot or attempt == TRIES or not _is_transient(error):
                    raise _explain(error, self.path) from error
            self._wait_and_forget(attempt)
        raise AssertionError("unreachable")

    def stream(self, sql: str, params: Params = (), n_rows: int = FETCH_ROWS) -> Iterator[tuple[list[str], list[Row]]]:
        """Column names and rows, at most `n_rows` at a time (once without rows, if the result is empty).

        Until it is exhausted, a running download cannot checkpoint its write-ahead log fully, so the log grows.
        """
        try:
            cursor = self._connected().execute(sql, params)
            names = [column[0] for column in cursor.description or ()]
            rows = cursor.fetchmany(n_rows)
            yield names, rows
            while len(rows) == n_rows:
                rows = cursor.fetchmany(n_rows)
                if rows:
                    yield names, rows
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from error

    def at_one_moment(self, ask: Callable[[], T]) -> T:
        """The result of `ask`; all its reads see one state of the ledger, whatever a run commits meanwhile."""
        for attempt in range(1, TRIES + 1):
            try:
                self._connected().execute("BEGIN")
                self._in_snapshot = True
                return ask()
            except (sqlite3.DatabaseError, LedgerError) as error:
                cause = error if isinstance(error, sqlite3.DatabaseError) else error.__cause__
                if not isinstance(cause, sqlite3.DatabaseError):
                    raise
                if attempt == TRIES or not _is_transient(cause):
                    raise self._explained(cause) from cause
            finally:
                self._in_snapshot = False
                if self._connection is not None and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            self._wait_and_forget(attempt)
        raise AssertionError("unreachable")

    @contextmanager
    def one_moment(self) -> Iterator[sqlite3.Connection]:
        """The connection; until the end of the block, all that is read through it is one state of the ledger.

        A running download cannot checkpoint its write-ahead log fully meanwhile, so the log grows.
        """
        self.rows("SELECT 1 FROM sqlite_schema LIMIT 1")  # meets a transient I/O error, with its three tries
        connection = self._connected()
        try:
            connection.execute("BEGIN")
            self._in_snapshot = True
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # a transaction begins with its first read
            yield connection
        finally:
            self._in_snapshot = False
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def another(self) -> Reader:
        """A second connection to the same file, for another thread. A copy may have been replaced since, or be gone."""
        other = Reader(self.path)
        other._file, other.copied_at = self._file, self.copied_at
        return other

    def interrupt(self) -> None:
        """From another thread: what is being read here ends with a `LedgerError`."""
        connection = self._connection
        if connection is not None:
            with suppress(sqlite3.ProgrammingError):  # closed meanwhile
                connection.interrupt()

    def version(self) -> int:
        """Of the ledger's schema."""
        found: int = self.rows("PRAGMA user_version")[0][0]
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _connect(self._file, self.path)
        return self._connection

    def _explained(self, error: sqlite3.DatabaseError) -> LedgerError:
        text = str(error)
        if "no such table" in text or "no such column" in text:
            version: int = self._connected().execute("PRAGMA user_version").fetchone()[0]  # `rows` would come here again
            if version < schema.SCHEMA_VERSION:
                return identify.outdated(self.path, version, f" for this ({text})")
        return _explain(error, self.path)

    def _wait_and_forget(self, attempt: int) -> None:
        try:
            self.close()
        except sqlite3.DatabaseError:
            self._connection = None
        time.sleep(WAIT_S * attempt)


def _head(cursor: sqlite3.Cursor, n_chars: int, texts: Callable[[Row], Row]) -> tuple[list[Row], bool]:
    rows: list[Row] = []
    for row in cursor:
        rows.append(row)
        n_chars -= sum(map(len, filter(None, texts(row))))
        if n_chars <= 0:
            cursor.close()
            return rows, False
    return rows, True


def open_reader(path: Path) -> Reader:
    """Open a ledger for reading.

    It may be of an older version, as long as its content means what it means now; a query that needs more is refused, naming the
    version. Raises `UsageError` if there is no such file, `LedgerError` if it is not a ledger of this program or a newer version
    wrote it.
    """
    reader = _open_here(path) or _open_first(path)
    reader.rows("SELECT 1 FROM sqlite_schema LIMIT 1")  # meets a transient I/O error here, with its three tries
    return reader


def _open_here(path: Path) -> Reader | None:
    """Another connection, if this process has one to the same ledger.

    To look at the file before SQLite opens it means to open and close it, and then the system drops all locks that this process
    has on it (POSIX). A writer that ends would remove the log that the first connection still reads.
    """
    there = path.absolute()
    connected = (one for one in list(_readers) if one.is_connected and one.copied_at is None and one.path.absolute() == there)
    first = next(connected, None)
    return None if first is None else first.another()


def _open_first(path: Path) -> Reader:
    try:
        with path.open("rb") as file:
            magic = file.read(len(identify.MAGIC))
    except FileNotFoundError:
        raise UsageError(f"no ledger at {path}: create one with 'd4c-images init SOURCE --ledger {path}'") from None
    except OSError as error:
        raise of_a_named_path(LedgerError, f"cannot read the ledger {path}: {error.strerror}", error) from error
    if magic != identify.MAGIC:
        raise LedgerUnusable(f"{path} is not an SQLite file, so not a ledger")
    copy = _copy(path)
    identify.inspect(copy or path)  # a foreign file stays as it is, with no new file next to it
    return Reader(path, copy)


def _copy(path: Path) -> Path | None:
    """The copy to read if a process on a shared disk keeps the ledger locked, or has died doing so."""
    holder, copy = filesystem.holder(path), snapshot.snapshot_of(path)
    if holder is None:
        return None
    if copy.exists():
        return copy
    if liveness.lives(holder.process, liveness.this_process()) is not False:  # the next writer finds out
        raise LedgerError(f"{path} is in use by {holder.described()}; its read-only copy does not exist yet: try again soon")
    return None


def _connect(file: Path, path: Path) -> sqlite3.Connection:
    """A connection to a ledger that has been checked to be ours. `file` is that of `path`, or its copy for readers."""
    try:
        return _checked(file, path, "mode=ro")
    except sqlite3.OperationalError as error:
        # Without permission or room for the two files next to it, a ledger in WAL mode opens only as immutable.
        wal = Path(f"{file}-wal")
        is_forbidden, has_log = "unable to open" in str(error) or "readonly" in str(error), wal.exists() and wal.stat().st_size > 0
        if not is_forbidden and (has_log or "disk I/O error" not in str(error)):
            raise
        if has_log:
            raise LedgerError(
                f"{path} has a write-ahead log, but its folder is not writable: copy both files elsewhere and open them there"
            ) from error
        return _checked(file, path, "mode=ro&immutable=1")


def _checked(file: Path, path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(file.absolute()))}?{options}", uri=True, timeout=READER_BUSY_TIMEOUT_S, isolation_level=None
    )
    try:
        _check_readable(connection, path)
        connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_readable(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `LedgerError` as `identify.judge` does, and if the ledger must be migrated before it can be read."""
    found = identify.judge(connection, path)
    if found.under_way:
        raise identify.unfinished(path, found.version)
    if not migrations.is_readable(found.version):
        raise identify.outdated(path, found.version, "")


def _is_transient(error: sqlite3.DatabaseError) -> bool:
    return any(words in str(error).lower() for words in TRANSIENT)


def _explain(error: sqlite3.DatabaseError, path: Path) -> LedgerError:
    text = str(error)
    if isinstance(error, sqlite3.OperationalError) and ("no such" in text or "syntax error" in text):
        return LedgerError(f"query failed on {path}: {text}")
    if "readonly" in text or "read-only" in text:
        return LedgerError(f"{path} is opened read-only: {text}")
    return explain(error, path)
