"""Progress of commands that walk a whole collection: a bar per part on a terminal, a line each half minute in a job log.

Changes nothing.
"""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from d4c_images.collection.findings import CheckProgress
from d4c_images.durations import show_moment, show_size, show_span
from d4c_images.report.progress_view import ProgressView


class CheckProgressView(ProgressView):
    """`show` takes the progress of `check`."""

    logs_by_itself = True

    def __init__(self, *, live: bool, doing: str = "checking the") -> None:
        self._doing = doing
        self._first: dict[str, tuple[float, int, int]] = {}  # of each part: when it was first seen, its progress and bytes then
        self._last: tuple[CheckProgress, float] | None = None
        self._tasks: dict[str, TaskID] = {}
        bars = None
        if live:
            bars = Progress(
                TextColumn("{task.description:<9}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=sys.stdout.isatty(),  # otherwise what is printed into a file would be shown instead
            )
        super().__init__(bars)

    def show(self, progress: CheckProgress) -> None:
        now = time.monotonic()
        self._first.setdefault(progress.what, (now, progress.done, progress.n_bytes))
        self._last = (progress, now)
        if self._bars is not None:
            figures = self.figures(progress, now)
            if progress.what not in self._tasks:
                self._tasks[progress.what] = self._bars.add_task(progress.what, total=progress.total, figures=figures)
            self._bars.update(self._tasks[progress.what], completed=progress.done, total=progress.total, figures=figures)

    def line(self) -> str | None:
        if self._last is None:
            return None
        progress, at = self._last
        since, first, _ = self._first[progress.what]
        line = f"{show_moment(time.time())} {self._doing} {progress.what}: {self.figures(progress, at)}"
        if progress.total is None:
            return f"{line}, for {show_span(time.monotonic() - since)}"
        rate = (progress.done - first) / max(at - since, 1e-9)
        left = f"ETA {show_span((progress.total - progress.done) / rate)}" if rate > 0 else "ETA unknown"
        return f"{line}, {left}"

    def figures(self, progress: CheckProgress, now: float) -> str:
        """Progress and speed: what an earlier run has done does not count for this run's speed."""
        since, first, first_bytes = self._first[progress.what]
        of_total = ""
        if progress.total is not None:
            share = f" ({100 * progress.done / progress.total:.1f} %)" if progress.total else ""
            of_total = f" of {progress.total:,}{progress.unit}{share}"
        else:
            of_total = progress.unit
        rate = f", {(progress.done - first) / (now - since):,.0f}/s" if now > since and progress.done > first else ""
        if now > since and progress.n_bytes > first_bytes:
            rate += f", {show_size((progress.n_bytes - first_bytes) / (now - since))}/s"
        return f"{progress.done:,}{of_total}{rate}"
