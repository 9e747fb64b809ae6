"""Progress of a backup or a restore: a bar with bytes per second and ETA on a terminal, a line each half minute in a job log.

Changes nothing. Writes to standard error, so that `--json` stays intact.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from d4c_images.collection.backup import CopyStep
from d4c_images.durations import show_moment, show_size, show_span
from d4c_images.report.progress_view import ProgressView

DOING = {"copy": "copying", "verify": "verifying", "hash": "hashing"}


class CopyProgress(ProgressView):
    """`show` takes the steps."""

    logs_by_itself = True

    def __init__(self, *, live: bool) -> None:
        self._step: CopyStep | None = None
        self._since = time.monotonic()
        self._task: TaskID | None = None
        bars = None
        if live:
            columns = (TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.fields[figures]}"), TimeElapsedColumn())
            bars = Progress(*columns, console=Console(stderr=True), transient=True)
        super().__init__(bars)

    def show(self, step: CopyStep) -> None:
        is_new = self._step is None or self._step.what != step.what
        if is_new:
            self._since = time.monotonic()
        self._step = step
        if self._bars is not None:
            if is_new and self._task is not None:
                self._bars.remove_task(self._task)
            if is_new or self._task is None:
                self._task = self._bars.add_task(DOING[step.what], total=step.total, figures="")
            figures = figures_of(step, time.monotonic() - self._since)
            self._bars.update(self._task, completed=step.done, total=step.total, figures=figures)

    def line(self) -> str | None:
        step = self._step
        if step is None:
            return None
        took_s = time.monotonic() - self._since
        return f"{show_moment(time.time())} {DOING[step.what]}: {figures_of(step, took_s) or f'for {show_span(took_s)}'}"


def figures_of(step: CopyStep, took_s: float) -> str:
    """`1.5 GB of 25.0 GB (6.0 %), 210 MB/s, ETA 1 min 52 s`."""
    if step.total is None:
        return ""
    share = f" ({100 * step.done / step.total:.1f} %)" if step.total else ""
    rate = step.done / took_s if took_s > 0 else 0.0
    speed = f", {show_size(rate)}/s, ETA {show_span((step.total - step.done) / rate)}" if rate > 0 else ""
    return f"{show_size(step.done)} of {show_size(step.total)}{share}{speed}"
