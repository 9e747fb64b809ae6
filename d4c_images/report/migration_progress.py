"""Shows a migration of the ledger: a bar with time left on a terminal, a line each half minute in a job log. Changes nothing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from d4c_images.durations import show_moment, show_span
from d4c_images.ledger.file import migrations
from d4c_images.system.echo import QuietKeys

LOG_EVERY_S = 30.0


class MigrationProgress:
    """Use as a context; `show` takes what `migrations` reports. Each part of the work has its own bar and its own time left."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self._first: migrations.PartProgress | None = None
        self._started_at = self._told_at = time.monotonic()
        self._bar: Progress | None = None
        self._keys = QuietKeys(console.file)  # type: ignore[arg-type]
        self._task: TaskID | None = None
        if live:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._keys.start()
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._keys.stop()

    def show(self, progress: migrations.PartProgress) -> None:
        now = time.monotonic()
        if self._first is None or progress.what != self._first.what:
            self._first, self._started_at = progress, now
            if self._bar is not None:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(progress.what, total=progress.total)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=progress.done)
        elif now - self._told_at >= LOG_EVERY_S:
            self._told_at = now
            n = progress.done - self._first.done
            left_s = (progress.total - progress.done) * (now - self._started_at) / n if n else None
            print(
                f"{show_moment(time.time())} {progress.what}: {progress.done / max(progress.total, 1):.1%}, "
                f"ETA {show_span(left_s) if left_s is not None else 'unknown'}",
                flush=True,
            )
