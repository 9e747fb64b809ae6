"""Puts a ledger in the place of another one, or of one that is lost. Deletes neither: the old one gets another name.

SQLite keeps parts of a ledger in files beside it, which it finds by name: a log of the old ledger would be applied to the new one.
So nothing of the old one may be open, its log is folded into it first, and all that is beside it goes with it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from d4c_images import crash
from d4c_images.errors import LedgerBusy, LedgerLocked
from d4c_images.ledger.file import copying, filesystem, owner
from d4c_images.ledger.file.beside import SQLITE_SUFFIXES, files_of_checks
from d4c_images.ledger.file.connect import explain
from d4c_images.ledger.file.exclusive_name import NO_LINKS
from d4c_images.ledger.file.filesystem import Reservation
from d4c_images.ledger.file.liveness import LedgerHolder, Patience, Process, await_end
from d4c_images.settings import Disk

BESIDE = (*SQLITE_SUFFIXES, ".snapshot", ".snapshot.new", ".owner")
REPLACE_BUSY_TIMEOUT_S = 10.0
LEASES_PER_RESTORE = 10**9
"""More than are lent after a backup: no worker of that time has a lease of the same number as one of the restored ledger's."""
RAISE_LEASES = "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'leases'"
FIRST_LEASES = "INSERT INTO sqlite_sequence (name, seq) VALUES ('leases', ?)"


@dataclass(frozen=True, slots=True)
class Restorer:
    """The process that replaces a ledger."""

    process: Process
    now: float
    patience: Patience
    disk: Disk | None  # overrides the file system's type


def fence(new: Path) -> None:
    """Make sure that leases of the restored ledger are not those of workers that the ledger had after the backup (I3)."""
    connection = copying.alone(new)
    try:
        if not connection.execute(RAISE_LEASES, (LEASES_PER_RESTORE,)).rowcount:
            connection.execute(FIRST_LEASES, (LEASES_PER_RESTORE,))
    finally:
        connection.close()
    copying.make_durable(new)


def check_free(path: Path, me: Restorer) -> None:
    """Raise `LedgerBusy` if a living run has the ledger. Changes nothing; `put_in_place` finds it out again."""
    if filesystem.may_be_held(path, me.process):
        found = filesystem.holder(path)
        raise LedgerBusy(f"{path} is in use by {found.described() if found else 'another process'}: end that run first")
    if path.exists():
        with _opened(path, me) as connection:
            if connection is not None:
                _await_owner(connection, path, me)


def put_in_place(new: Path, path: Path, me: Restorer) -> Path | None:
    """Give the complete file `new` the name of the ledger, in one step. Returns the new name of what was there, if anything was.

    Raises `LedgerBusy` if a run owns the old ledger, and `LedgerLocked` if any other process has it open.
    """
    _drop_second_names(path)
    reservation = None
    if (me.disk or filesystem.disk_of(path)) is Disk.SHARED:
        reservation = Reservation(path, "restore", me.process, me.now, me.patience)
    elif filesystem.may_be_held(path, me.process):
        raise LedgerBusy(f"{path} is in use by another process: end that run first")
    try:
        kept = _free_name(path, me.now)
        if not path.exists():
            return _switch(new, path, kept, is_reserved=reservation is not None)
        with _opened(path, me) as connection:
            if connection is not None:
                _close_to_others(connection, path, me)
            _second_name(path, kept)
            return _switch(new, path, kept, is_reserved=reservation is not None)
    finally:
        if reservation is not None:
            reservation.give_back()


def _switch(new: Path, path: Path, kept: Path, *, is_reserved: bool) -> Path | None:
    crash.point("restore.kept")
    for beside in _beside(path):
        if not (is_reserved and beside == filesystem.reservation_of(path)):
            beside.rename(kept.with_name(f"{kept.name}{beside.name.removeprefix(path.name)}"))
    crash.point("restore.cleared")
    new.replace(path)
    copying.sync_folder(path.absolute().parent)
    crash.point("restore.in_place")
    return kept if kept.exists() or _beside(kept) else None


def _beside(path: Path) -> list[Path]:
    named = [path.with_name(f"{path.name}{suffix}") for suffix in BESIDE]
    checks = files_of_checks(path)  # they describe a collection that the new ledger does not know
    return [one for one in (*named, *checks) if one.exists()]


@contextmanager
def _opened(path: Path, me: Restorer) -> Iterator[sqlite3.Connection | None]:
    """The old ledger; None if it is too damaged for SQLite to open it, so that no run can have it open either."""
    try:
        with closing(sqlite3.connect(path, timeout=REPLACE_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            if (me.disk or filesystem.disk_of(path)) is Disk.SHARED:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # a log left here is then read without shared memory
            is_readable = True
            try:
                connection.execute("SELECT 1 FROM owner").fetchall()
            except sqlite3.DatabaseError as error:
                _check_possible(error, path)
                is_readable = False
            yield connection if is_readable else None
    except sqlite3.DatabaseError as error:
        raise explain(error, path) from error


def _await_owner(connection: sqlite3.Connection, path: Path, me: Restorer) -> LedgerHolder | None:
    """The dead run that owns it, if any. Raises `LedgerBusy` if it is alive."""
    return await_end(lambda: owner.held_by(connection.execute), me.process, path, me.patience)


def _close_to_others(connection: sqlite3.Connection, path: Path, me: Restorer) -> None:
    """Until the connection is closed, nobody else has the old ledger open, and it is one file without a log."""
    dead = _await_owner(connection, path, me)
    try:
        connection.execute("PRAGMA journal_mode = DELETE")  # folds the log in; refused if anybody else has it open
        connection.execute("BEGIN EXCLUSIVE")
        found = owner.held_by(connection.execute)
    except sqlite3.DatabaseError as error:
        _check_possible(error, path)
        return  # damaged: its log goes with it as it is
    if found != dead:
        raise LedgerBusy(f"{path} was taken by another process just now")


def _check_possible(error: sqlite3.DatabaseError, path: Path) -> None:
    """Raise for an error that says nothing of the ledger's content."""
    text = str(error)
    if "locked" in text or "busy" in text:
        raise LedgerLocked(
            f"{path} is open in another process (a report, an export, a check, sqlite3): end it, then run the same command again"
        ) from error
    if any(words in text for words in ("readonly", "unable to open", "disk I/O error", "locking protocol", "full")):
        raise explain(error, path) from error  # whether a run has it open is not known


def _free_name(path: Path, now: float) -> Path:
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    first = path.with_name(f"{path.name}.replaced-{moment}")
    name, n = first, 1
    while name.exists() or _beside(name):
        n += 1
        name = first.with_name(f"{first.name}-{n}")
    return name


def _second_name(path: Path, kept: Path) -> None:
    """By a link, so that there is a ledger with the old name at every moment; without links, there is none for a moment."""
    try:
        os.link(path, kept)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        path.rename(kept)


def _drop_second_names(path: Path) -> None:
    """A restore that was killed before it had replaced the ledger left this one with two names."""
    if path.exists():
        for other in path.parent.iterdir():
            if other.name.startswith(f"{path.name}.replaced-") and other.samefile(path):
                with suppress(OSError):
                    other.unlink()
