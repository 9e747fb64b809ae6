"""Progress of commands that walk a whole collection: a bar per part on a terminal, a line each half minute in a job log.

Changes nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from d4c_images.collection.findings import CheckProgress
from d4c_images.durations import show_moment, show_size, show_span
from d4c_images.system.echo import QuietKeys

LOG_EVERY_S = 30.0


class CheckProgressView:
    """A context manager; `show` takes the progress of `check`. Writes to standard error, so that `--json` stays intact."""

    def __init__(self, *, live: bool, doing: str = "checking the") -> None:
        self._doing = doing
        self._first: dict[str, tuple[float, int, int]] = {}  # of each part: when it was first seen, its progress and bytes then
        self._last: tuple[CheckProgress, float] | None = None
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None
        self._keys = QuietKeys(sys.stderr)
        self._is_over = threading.Event()
        self._log: threading.Thread | None = None
        if live:
            self._bars = Progress(
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

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._keys.start()
            self._bars.start()
        else:  # a thread, since one SQLite statement may take minutes
            self._log = threading.Thread(target=self._write_log, daemon=True)
            self._log.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()
        if self._bars is not None:
            self._bars.stop()
            self._keys.stop()
        if self._log is not None:
            self._log.join()

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
        """For a job log; None if there is nothing to say yet."""
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

    def _write_log(self) -> None:
        while not self._is_over.wait(LOG_EVERY_S):
            line = self.line()
            if line is not None:
                print(line, file=sys.stderr, flush=True)
