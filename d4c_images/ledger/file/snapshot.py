"""Copies, for readers on any node, of a ledger that its writer keeps locked. Made by the writer's own connection.

On a shared disk only the writer may touch the live file. So now and then the writer leaves a full copy next to it, written under
another name first, so that a reader sees an old copy or a new one and never half of one. A copy of a big ledger takes minutes; the
next one is made after `WORK_PER_COPY` times as much work, so copying costs a twentieth of the time.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

MIN_AGE_S = 60.0
WORK_PER_COPY = 20
SNAPSHOT_PAGES_PER_STEP = 5_000  # 40 MB: durable before the next ones, so that no step takes long


def snapshot_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.snapshot")


def draft_of(path: Path) -> Path:
    """The copy being made."""
    return path.with_name(f"{path.name}.snapshot.new")


class Snapshots:
    """Keeps the copy of one ledger fresh. `beat` is called now and then while copying."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        clock: Callable[[], float],
        beat: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._path, self._connection, self._clock = path, connection, clock
        self._beat, self._say = beat, say
        self._due_at = clock()

    def refresh_if_due(self) -> None:
        """Not within a transaction. If there is no space for a copy the work goes on, and readers have an older one."""
        began = self._clock()
        if began < self._due_at:
            return
        try:
            self._refresh()
        except (sqlite3.Error, OSError) as error:
            self._say(f"cannot write the read-only copy of {self._path}: {error}")
        self._due_at = self._clock() + max(MIN_AGE_S, WORK_PER_COPY * (self._clock() - began))

    def _refresh(self) -> None:
        new = draft_of(self._path)
        new.unlink(missing_ok=True)
        try:
            with closing(sqlite3.connect(new, isolation_level=None)) as copy, new.open("rb+") as file:

                def after_step(status: int, remaining: int, total: int) -> None:
                    os.fsync(file.fileno())
                    self._beat()

                copy.execute("PRAGMA journal_mode = OFF")
                copy.execute("PRAGMA synchronous = OFF")
                # Copying in steps is safe: the only connection that could write in between is the one that copies.
                self._connection.backup(copy, pages=SNAPSHOT_PAGES_PER_STEP, progress=after_step)
                os.fsync(file.fileno())
            new.replace(snapshot_of(self._path))
        except BaseException:
            new.unlink(missing_ok=True)
            raise
