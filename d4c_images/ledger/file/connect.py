"""Opens the ledger for its one writer: creation, validation of the file, pragmas, transactions. Queries nothing.

Readers use `ledger.file.reader`. A writer must own the ledger (`ledger.file.owner`); each transaction checks that it still does.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from d4c_images.errors import LedgerError, LedgerLocked, LedgerLost, LedgerUnusable, UsageError, of_a_named_path
from d4c_images.ledger.file import identify, schema, views

WRITER_BUSY_TIMEOUT_S = 120.0  # a run of days must survive a user's long query
PAGE_SIZE_BYTES = 8192
CACHE_KIB = 16 * 1024  # four times as much, and the system's cache after it, is 3 % faster: `bench.scale`
CHECKPOINT_PAGES = 16_000  # 128 MB of log per checkpoint: a page that changed often is written once, for two fsyncs


class Guard(Protocol):
    """Keeps others away from a ledger on a shared disk, where the row in `owner` alone cannot."""

    def check(self) -> None:
        """Raise `LedgerLost` if another process has the ledger by now."""

    def beat(self, now: float) -> None:
        """Record a heartbeat; not within a transaction."""


class Ledger:
    """The writer's connection. `run_id` is None until `owner.take` has been called."""

    def __init__(self, path: Path, connection: sqlite3.Connection, file: tuple[int, int] | None = None) -> None:
        """`file` is what had this path when it was opened (`_file_id`); None: what has it now."""
        self.path = path
        self.connection = connection
        self._file = file or _file_id(path)
        self.run_id: int | None = None
        self.guard: Guard | None = None
        self.ending = "ended"  # what `runs` will say about this run
        self.lead_s = 0.0  # how far its times are ahead of the clock, which was set back since
        self.n_done = 0  # for `runs`: images settled, or rows ingested

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: committed at the end, rolled back on any exception.

        Raises `LedgerLost` before anything is written if another run has taken over the ledger, `LedgerLocked` if the
        file stays locked for longer than the busy timeout, `LedgerError` on a full disk or an I/O error.
        """
        connection = self.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if self.run_id is not None:
                    self._check_owner()
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise explain(error, self.path) from error

    def _check_owner(self) -> None:
        if self.guard is not None:
            self.guard.check()
        row = self.connection.execute("SELECT run_id FROM owner").fetchone()
        if row is None or row[0] != self.run_id:
            raise LedgerLost(f"{self.path}: another process has taken over this ledger; stopping")

    def check_place(self) -> None:
        """Raise `LedgerLost` if the file has been deleted, moved or replaced: SQLite would go on writing to an orphaned file."""
        if _file_id(self.path) != self._file:
            raise LedgerLost(f"{self.path} was deleted, moved or replaced during this run")

    def sync(self) -> None:
        """Make durable what has been committed, while readers hold no old snapshot (docs/adr/0036)."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.DatabaseError as error:
            raise explain(error, self.path) from error

    def close(self) -> None:
        """Checkpoint the write-ahead log, so that the ledger can be copied as one file, and close."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.DatabaseError:
            pass  # a reader is using it, or its disk fails; the log stays next to the file and loses nothing
        self.connection.close()


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def open_ledger(path: Path, *, create: bool = False, on_shared_disk: bool = False) -> Ledger:
    """Open an existing ledger for writing, or make a new one with `create`. On a shared disk it stays locked until it is closed.

    It may be of an older version: `migrations` brings it up to date, once it is owned. Raises `UsageError` if there is no such
    file, and `LedgerError`, before anything is written, if it is not a ledger of this program, if a newer version wrote it, or if
    its tables match no version.
    """
    exists = path.exists() and path.stat().st_size > 0
    if not exists and not create:
        raise UsageError(f"no ledger at {path}: create one with 'd4c-images init SOURCE --ledger {path}'")
    if not exists and not path.absolute().parent.is_dir():
        raise UsageError(f"cannot create the ledger {path}: no such folder: {path.absolute().parent}")
    if exists:
        identify.inspect(path, may_be_new=True)
    connection: sqlite3.Connection | None = None
    file = _file_id(path) if exists else None
    try:
        connection = sqlite3.connect(path, timeout=WRITER_BUSY_TIMEOUT_S, isolation_level=None)
        if on_shared_disk:  # before the first read: a write-ahead log left here is then checkpointed without shared memory
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        found = identify.judge(connection, path, may_be_new=True)
        if file is not None and _file_id(path) != file:  # a log of this file would be applied to the one that has its name now
            raise LedgerLost(f"{path} was deleted, moved or replaced while it was opened")
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE_BYTES}")
        connection.execute(f"PRAGMA journal_mode = {'TRUNCATE' if on_shared_disk else 'WAL'}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if on_shared_disk else 'NORMAL'}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        if found.version == 0:
            _create(connection)
        _drop_statistics(connection)
    except sqlite3.DatabaseError as error:
        if connection is not None:
            connection.close()
        raise explain(error, path) from error
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return Ledger(path, connection, file)


def sqlite_words(error: sqlite3.Error) -> str:
    """What SQLite says, and what else that may mean: it calls a page malformed that its disk refuses to read with EIO, too.

    SQLITE_IOERR_CORRUPTFS becomes SQLITE_CORRUPT: https://www.sqlite.org/rescode.html#ioerr_corruptfs
    """
    text = str(error)
    return f"{text}, or its disk reports an error when it is read" if "malformed" in text else text


def explain(error: sqlite3.DatabaseError, path: Path) -> LedgerError:
    """One clear line for an SQLite error."""
    text = sqlite_words(error)
    if "file is not a database" in text:
        return LedgerUnusable(f"{path} is not an SQLite file, so not a ledger")
    if "locked" in text or "busy" in text:
        return LedgerLocked(
            f"{path} is still locked by another process after {WRITER_BUSY_TIMEOUT_S:.0f} s; nothing committed is lost. End that "
            "process, then run the same command again"
        )
    if "full" in text:
        return LedgerError(
            f"the disk of the ledger {path} is full; nothing committed is lost. Free some space, then run the same command again"
        )
    if "readonly" in text or "unable to open" in text:
        return _not_opened(path, text)
    return LedgerError(f"{path}: {text}")


def _not_opened(path: Path, text: str) -> LedgerError:
    """SQLite does not say why. Opens nothing: to close a file gives up the locks that this process has on it."""
    what = f"cannot open {path} for writing"
    try:
        path.absolute().parent.stat()
        exists = path.exists()
    except OSError as error:
        return of_a_named_path(LedgerError, f"{what}: {error.strerror}", error)
    if path.is_dir():
        return LedgerUnusable(f"{what}: it is a folder")
    is_forbidden = not all(os.access(one, os.W_OK) for one in (path.absolute().parent, path) if one != path or exists)
    return (LedgerUnusable if is_forbidden else LedgerError)(f"{what} ({text})")


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:  # nobody else has created it in the meantime
        for statement in schema.statements(schema.TABLES + views.VIEWS):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _drop_statistics(connection: sqlite3.Connection) -> None:
    """Undo an earlier ANALYZE: statistics of a ledger that was small then make SQLite scan all of it now (docs/adr/0044)."""
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE name IN ('sqlite_stat1', 'sqlite_stat4')").fetchall()
    if tables:
        connection.execute("BEGIN IMMEDIATE")
        for (table,) in tables:
            connection.execute(f"DROP TABLE {table}")
        connection.execute("COMMIT")
        connection.execute("PRAGMA writable_schema = RESET")  # reloads the schema, without the statistics
