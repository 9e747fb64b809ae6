"""Shows a migration of the ledger: a bar with time left on a terminal, a line each half minute in a job log. Changes nothing."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from d4c_images.durations import show_moment, show_span
from d4c_images.ledger.file import migrations
from d4c_images.report.progress_view import LOG_EVERY_S, ProgressView


class MigrationProgress(ProgressView):
    """`show` takes what `migrations` reports. Each part of the work has its own bar and its own time left."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self._first: migrations.PartProgress | None = None
        self._started_at = self._told_at = time.monotonic()
        self._task: TaskID | None = None
        bars = None
        if live:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            bars = Progress(*columns, console=console, transient=True)
        super().__init__(bars, console.file)

    def show(self, progress: migrations.PartProgress) -> None:
        now = time.monotonic()
        if self._first is None or progress.what != self._first.what:
            self._first, self._started_at = progress, now
            if self._bars is not None:
                if self._task is not None:
                    self._bars.remove_task(self._task)
                self._task = self._bars.add_task(progress.what, total=progress.total)
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=progress.done)
        elif now - self._told_at >= LOG_EVERY_S:
            self._told_at = now
            n = progress.done - self._first.done
            left_s = (progress.total - progress.done) * (now - self._started_at) / n if n else None
            print(
                f"{show_moment(time.time())} {progress.what}: {progress.done / max(progress.total, 1):.1%}, "
                f"ETA {show_span(left_s) if left_s is not None else 'unknown'}",
                flush=True,
            )
