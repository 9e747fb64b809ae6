"""The log of a job of worker processes: a line when they join a coordinator, one a minute with what they did. Starts none of them.

The processes write what they have done into a pipe of their parent, which sums it up: a job of 16 processes has one log.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from d4c_images.durations import counted, show_size
from d4c_images.model import Report, Status

CREW_LOG_EVERY_S = 60.0
_NOTE = struct.Struct("=qqqqq")  # process, whether it works for a coordinator, images stored, attempts that failed, bytes received
_NOTES_AT_ONCE = 1000


class Notes:
    """In a worker process: what it has done since it last wrote to its parent. One thread counts, another one writes."""

    def __init__(self, fd: int | None) -> None:
        """`fd` is where to write, if anybody reads it."""
        self._fd = fd
        self._n_stored = self._n_failed = self._received_bytes = 0
        self._written = (0, 0, 0)
        if fd is not None:
            os.set_blocking(fd, False)

    def count(self, report: Report) -> None:
        for outcome in report.outcomes:
            self._received_bytes += outcome.received_bytes
            if outcome.verdict is not None:
                is_stored = outcome.verdict.status == Status.SUCCESS
                self._n_stored += is_stored
                self._n_failed += not is_stored

    def write(self, *, is_joined: bool) -> None:
        """Never waits: what the parent has no room for is written the next time."""
        now = (self._n_stored, self._n_failed, self._received_bytes)
        if self._fd is None:
            return
        since = (n - before for n, before in zip(now, self._written, strict=True))
        with suppress(OSError):
            os.write(self._fd, _NOTE.pack(os.getpid(), is_joined, *since))
            self._written = now


class CrewLog:
    """In the parent of `n` worker processes. `say` gets the lines."""

    def __init__(self, n: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._n, self._say, self._clock = n, say, clock
        self._reading, self.fd = os.pipe()  # the latter is for the workers
        os.set_blocking(self._reading, False)
        self._joined: set[int] = set()
        self._was_complete = False
        self._sums = [0, 0, 0]
        self._next_at = clock() + CREW_LOG_EVERY_S

    def gone(self, pid: int) -> None:
        """A process has ended."""
        self.look()
        if pid in self._joined:
            self._joined.discard(pid)
            if not self._joined:
                self._was_complete = False
                self._say("no coordinator any more: waiting for the next one")

    def look(self) -> None:
        """Read what the workers have written, and log what is worth it."""
        before = len(self._joined)
        with suppress(BlockingIOError):
            while notes := os.read(self._reading, _NOTES_AT_ONCE * _NOTE.size):
                for pid, is_joined, *done in _NOTE.iter_unpack(notes):
                    if is_joined:
                        self._joined.add(pid)
                    self._sums = [total + n for total, n in zip(self._sums, done, strict=True)]
        is_complete = len(self._joined) == self._n
        if self._joined and (not before or (is_complete and not self._was_complete)):
            self._say(f"joined the coordinator: {self._n_joined()}")
            self._was_complete = is_complete
        if self._clock() >= self._next_at:
            self._next_at = self._clock() + CREW_LOG_EVERY_S
            is_idle = not self._joined and not any(self._sums)
            self._say("waiting for a coordinator" if is_idle else f"{self._done()} in the last minute; {self._n_joined()} at work")

    def close(self) -> None:
        """Once the processes have ended."""
        self.look()
        if any(self._sums):
            self._say(f"{self._done()} since then")
        os.close(self._reading)
        os.close(self.fd)

    def _n_joined(self) -> str:
        return f"{len(self._joined):,} of {counted(self._n, 'worker')}"

    def _done(self) -> str:
        (n_stored, n_failed, received_bytes), self._sums = self._sums, [0, 0, 0]
        return f"{counted(n_stored, 'image')} stored, {counted(n_failed, 'attempt')} failed, {show_size(received_bytes)} received"
