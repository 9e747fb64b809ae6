"""What the views of a command's progress share: begin and end, on a terminal and in a job log. Shows no figures itself."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import IO, Self

from rich.progress import Progress

from d4c_images.system.echo import QuietKeys

LOG_EVERY_S = 30.0


class ProgressView:
    """A context manager: bars on a terminal, whose keys are hidden meanwhile. In a job log there are no bars (None).

    Then `line` is asked every half minute what to write to the log, if `logs_by_itself`: from a thread, since one SQLite statement
    may take minutes. Other views write their own lines when they are given progress.
    """

    logs_by_itself = False

    def __init__(self, bars: Progress | None, terminal: IO[str] | None = None) -> None:
        """`terminal`: the one with the bars; None: standard error, so that `--json` stays intact."""
        self._bars = bars
        self._keys = QuietKeys(terminal or sys.stderr)
        self._is_over = threading.Event()
        self._log: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._keys.start()
            self._bars.start()
        elif self.logs_by_itself:
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

    def line(self) -> str | None:
        """For a job log; None if there is nothing to say yet."""
        return None

    def _write_log(self) -> None:
        while not self._is_over.wait(LOG_EVERY_S):
            line = self.line()
            if line is not None:
                print(line, file=sys.stderr, flush=True)
