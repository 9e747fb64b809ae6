"""Shows what goes through a whole collection at work: a bar for each part on a terminal, a line each half minute in a job log.

Changes nothing.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from d4c_images.report.check import CheckProgress

LOG_EVERY_S = 30.0


class CheckProgressView:
    """Use as a context; `show` takes what `check` tells. On standard error, so that `--json` stays whole."""

    def __init__(self, *, live: bool, doing: str = "checking the") -> None:
        self._doing = doing
        self._told_at = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None
        if live:
            self._bars = Progress(
                TextColumn("{task.description:<9}"),
                BarColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, progress: CheckProgress) -> None:
        of_total = "" if progress.total is None else f" of {progress.total:,}"
        figures = f"{progress.done:,}{of_total}" if progress.done or progress.total else ""
        if self._bars is not None:
            if progress.what not in self._tasks:
                self._tasks[progress.what] = self._bars.add_task(progress.what, total=progress.total, figures=figures)
            self._bars.update(self._tasks[progress.what], completed=progress.done, total=progress.total, figures=figures)
        elif time.monotonic() - self._told_at >= LOG_EVERY_S:
            self._told_at = time.monotonic()
            print(f"{self._doing} {progress.what}: {figures}", file=sys.stderr, flush=True)
