"""Tries what SQLite needs of the ledger's disk, in temporary files in the ledger's folder. Opens no ledger."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from d4c_images.errors import LedgerError
from d4c_images.ledger.file import filesystem
from d4c_images.settings import Disk

TRIAL_BUSY_TIMEOUT_S = 10.0
TRIAL_VERSION = 7  # any number


def trial(folder: Path, disk: Disk) -> None:
    """Locks between two processes; on a disk of this machine also the shared memory of a write-ahead log, which ledgers use there.

    Raises `LedgerError`, naming the remedy if there is one.
    """
    filesystem.check_locks(folder, Disk.SHARED)  # the full check here, too: nothing is waiting for us
    if disk is Disk.LOCAL:
        _try_log(folder)


def _try_log(folder: Path) -> None:
    """Two connections to one file: one writes, the other one reads that through the log."""
    probe = folder / f".d4c-images.{os.getpid()}.log-probe"
    try:
        with closing(_opened(probe)) as writer, closing(_opened(probe)) as reader:
            mode = writer.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise LedgerError(
                    f"{folder} takes no write-ahead log of SQLite ({filesystem.file_system(folder)}): D4C_LEDGER_DISK=shared"
                )
            writer.execute(f"PRAGMA user_version = {TRIAL_VERSION}")
            if reader.execute("PRAGMA user_version").fetchone() != (TRIAL_VERSION,):
                raise LedgerError(f"what one process writes in {folder} is not what another reads: {filesystem.REMEDY}")
    except sqlite3.Error as error:
        raise LedgerError(f"a write-ahead log of SQLite does not work in {folder} ({error}): D4C_LEDGER_DISK=shared") from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):  # what stays is swept by the next download
                probe.with_name(probe.name + suffix).unlink()


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=TRIAL_BUSY_TIMEOUT_S, isolation_level=None)
