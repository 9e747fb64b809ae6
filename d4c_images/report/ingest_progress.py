"""Shows an ingest: a bar with rows/s and time left on a terminal, a line each half minute in a job log. Changes nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from d4c_images.durations import counted, show_moment, show_size, show_span
from d4c_images.ingest import ingest
from d4c_images.ingest.publisher_rows import SEVERAL_URLS
from d4c_images.report.progress_view import LOG_EVERY_S, ProgressView
from d4c_images.report.reject_reasons import explained, explained_note
from d4c_images.sources.layout import ASSOCIATED


class IngestProgress(ProgressView):
    """`show` takes the progress of `ingest`. The time left follows from bytes, since the rows are unknown."""

    def __init__(self, console: Console, what: str, *, live: bool) -> None:
        self._console, self._what = console, what
        self._started_at = self._told_at = time.monotonic()
        self._first: ingest.StreamProgress | None = None
        bars = None
        if live:
            bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[rows]:,} rows  {task.fields[rate]:,.0f} rows/s"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = bars.add_task(what, total=None, rows=0, rate=0.0)
        super().__init__(bars, console.file)

    def show(self, progress: ingest.StreamProgress) -> None:
        now = time.monotonic()
        if self._first is None:  # what an earlier run has done does not count for this run's speed
            self._first = progress
            self._started_at = now
        lasted_s = max(now - self._started_at, 1e-9)
        rate = (progress.rows - self._first.rows) / lasted_s
        if self._bars is not None:
            self._bars.update(self._task, completed=progress.bytes_done, total=progress.size_bytes, rows=progress.rows, rate=rate)
        elif now - self._told_at >= LOG_EVERY_S:
            self._told_at = now
            read = progress.bytes_done - self._first.bytes_done
            left_s = (progress.size_bytes - progress.bytes_done) * lasted_s / read if read else None
            print(
                f"{show_moment(time.time())} {self._what}: {counted(progress.rows, 'row')}, "
                f"{show_size(progress.bytes_done)} of {show_size(progress.size_bytes)}, {rate:,.0f} rows/s, "
                f"ETA {show_span(left_s) if left_s is not None else 'unknown'}",
                flush=True,
            )


def summary_lines(summary: ingest.IngestSummary) -> list[str]:
    """What became of every row, human-readable."""
    of = " (associatedMedia)" if summary.kind == ASSOCIATED else ""
    n_known = 0 if SEVERAL_URLS in summary.notes else summary.admitted - summary.links
    known = f"; {counted(n_known, 'row')} already known" if n_known > 0 else ""
    lines = [
        f"{summary.source}{of}: {counted(summary.rows, 'row')}, {summary.admitted:,} of them with an image; "
        f"{counted(summary.images, 'new image')}, {counted(summary.links, 'new link')} between a record and an image{known}"
    ]
    if summary.rows == 0:
        lines.append("it has a header but no rows")
    elif summary.was_done:
        lines.append("nothing new: this source was imported before")
    elif summary.rows_before:
        lines.append(f"resumed after row {summary.rows_before:,}, where an earlier run stopped")
    if summary.rejects:
        lines.append(f"{counted(sum(summary.rejects.values()), 'row')} rejected (see the table rejected_rows):")
        lines += [f"  {n:>12,}  {explained(reason)}" for reason, n in summary.rejects.items()]
    if summary.notes:
        lines += ["imported with notes:", *note_lines(summary.notes)]
    if not summary.finished:
        lines.append("the source has more rows than --limit")
    return lines


def nothing_usable(path: Path, summaries: Sequence[ingest.IngestSummary]) -> str:
    """Why there is nothing to download, if no row of a source shows an image."""
    if not any(summary.rows for summary in summaries):
        return f"{path}: nothing to download: no media rows"
    counts = sum((Counter(summary.rejects) for summary in summaries), Counter[str]())
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in counts.most_common(4))
    return f"{path}: nothing to download: no row has a usable image URL ({reasons})"


def note_lines(notes: Mapping[str, int]) -> list[str]:
    return [f"  {n:>12,}  {explained_note(note)}" for note, n in notes.items()]
