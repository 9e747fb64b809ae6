"""SQLite's own check of the ledger's file, in a thread with a connection of its own, while other stages read. Looks at no row.

It is one statement that takes minutes in a large ledger, and nothing of it can be resumed.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from d4c_images.collection.findings import CheckProgress
from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.file.snapshot import snapshot_of
from d4c_images.ledger.questions import audit

PASSES = 2  # SQLite's checks read each page twice: first the B-trees, then the rows
MB = 1_000_000
LEAVES_WITHIN_S = 2.0  # after an interruption; in the first pass some versions of SQLite do not notice it


class DatabaseCheck:
    """A context manager: begins the check, and interrupts it if the block ends earlier."""

    def __init__(self, ledger: Reader, *, full: bool) -> None:
        self._ledger, self._full = ledger, full
        self._n_mb = PASSES * _size_of(ledger) // MB
        self._reader: Reader | None = None
        self._lines: list[str] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for _ in range(int(LEAVES_WITHIN_S / 0.1)):
            if not self._thread.is_alive():
                return
            if self._reader is not None:
                self._reader.interrupt()
            self._thread.join(0.1)

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, at_most_s: float) -> bool:
        """Whether it is over, within this time."""
        self._thread.join(at_most_s)
        return self.is_over

    def errors(self) -> list[str]:
        """What SQLite finds wrong with the file, once it is over; empty if nothing. Raises what ended it, such as `LedgerError`."""
        if self._error is not None:
            raise self._error
        return self._lines

    def progress(self) -> CheckProgress:
        read = None if self.is_over else _bytes_read(self._thread.native_id)
        if read is None:
            return CheckProgress("database", self._n_mb if self.is_over else 0, self._n_mb if self.is_over else None, " MB")
        return CheckProgress("database", min(read // MB, self._n_mb), self._n_mb, " MB")

    def _run(self) -> None:
        try:
            with self._ledger.another() as self._reader:
                self._lines = audit.database_errors(self._reader, full=self._full)
        except BaseException as error:  # whatever it is, the database must not pass for sound
            self._error = error


def _size_of(ledger: Reader) -> int:
    return (ledger.path if ledger.copied_at is None else snapshot_of(ledger.path)).stat().st_size


def _bytes_read(thread_id: int | None) -> int | None:
    """Bytes that this thread has read so far, from cache or disk; None if the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/self/task/{thread_id}/io").read_text().split()[1])
    return None
