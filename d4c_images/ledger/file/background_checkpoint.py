"""Checkpoints the write-ahead log into the ledger's file in a thread, while the writer goes on. Writes nothing of its own.

All that an ingest writes goes through the log. If the writer checkpoints it, it waits for the disk each time.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from d4c_images.ledger.file.connect import Ledger

PERIOD_S = 0.2


@contextmanager
def in_background(ledger: Ledger) -> Iterator[None]:
    """Checkpoint in a thread until the end of the block. Does nothing if there is no such log."""
    if ledger.connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_fold, args=(ledger.path, ended), daemon=True, name="d4c-images log")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _fold(path: Path, ended: threading.Event) -> None:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    # A full disk or a missing file: the writer meets it too, and reports it.
    with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = NORMAL")
        while not ended.wait(PERIOD_S):
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
