"""The worker processes of one job on one node: started, and restarted when a coordinator has ended. Does no work itself."""

from __future__ import annotations

import pickle
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from pathlib import Path
from typing import IO

from d4c_images.errors import D4CError
from d4c_images.runners.crew_log import CrewLog
from d4c_images.runners.rendezvous import MeetingPlace
from d4c_images.system import child_process

POOL_POLL_S = 0.2
MAX_DEATHS = 10  # in a row
LIVED_S = 60.0  # a process that lived this long does not count
MEMBER_END_S = 10.0  # for processes to end, in addition to their grace period


class Exit(IntEnum):
    """Exit codes of a worker process."""

    OVER = 0  # nothing is left to do
    UNFIT = 1  # it cannot work here, and has reported why
    AGAIN = 10  # it has worked; the next one waits for the next coordinator
    IDLE = 11  # it found no coordinator
    OTHER_VERSION = 12  # than the coordinator's
    NO_DASK = 13  # which cannot be imported with the settings found here


class PoolEnding(Enum):
    OVER = "nothing left to do"
    NOBODY = "no coordinator appeared"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """What a worker process gets from its parent."""

    folder: Path
    grace_s: float  # for requests in flight when it is to leave
    max_wait_s: float  # for a coordinator
    over_before: str | None  # `MeetingPlace.over` before the job began: about earlier work
    notes_fd: int | None = None  # for `Notes`


class Crew:
    """`n` worker processes."""

    def __init__(self, n: int, terms: PoolTerms, say: Callable[[str], None] = lambda line: None) -> None:
        """`say` gets the lines of the log (`CrewLog`)."""
        self._log = CrewLog(n, say)
        self._terms = replace(terms, notes_fd=self._log.fd)
        self._deaths = 0
        self.has_worked = False  # for any coordinator
        self._members = [self._start() for _ in range(n)]

    def work(self, is_over: Callable[[], bool], is_hurried: Callable[[], bool] = lambda: False) -> PoolEnding:
        """Until nothing is left, no coordinator appears, or `is_over()`; then end all in an orderly way, if `is_hurried()` at once.
        Raises `D4CError`."""
        try:
            while not is_over():
                self._log.look()
                for place, member in enumerate(self._members):
                    try:
                        code = member.process.wait(POOL_POLL_S / len(self._members))
                    except subprocess.TimeoutExpired:
                        continue
                    ending = self._ending(code)
                    if ending is not None:
                        return ending
                    self._members[place] = self._replace(member, code)
            return PoolEnding.STOPPED
        finally:
            self._dismiss(is_hurried)
            self._log.close()

    def _ending(self, code: int) -> PoolEnding | None:
        place = MeetingPlace(self._terms.folder)
        if code != Exit.OVER and place.over() not in (None, self._terms.over_before):
            return PoolEnding.OVER  # however it ended while its coordinator ended
        if code == Exit.OTHER_VERSION:
            raise D4CError(place.other_version() or "version mismatch between coordinator and worker")
        if code == Exit.NO_DASK:
            from d4c_images.runners import dask_check

            dask_check.check()
            raise D4CError("Dask cannot be imported in a worker process, although it can be imported here")
        if code == Exit.UNFIT:
            raise D4CError("the workers of this node cannot continue; see the line above")
        self.has_worked |= code in (Exit.AGAIN, Exit.OVER)
        return {Exit.OVER: PoolEnding.OVER, Exit.IDLE: PoolEnding.NOBODY}.get(Exit(code)) if code in set(Exit) else None

    def _replace(self, member: _Member, code: int) -> _Member:
        self._log.gone(member.process.pid)
        member.told.close()
        if code == Exit.AGAIN or time.monotonic() - member.started_at > LIVED_S:
            self._deaths = 0
        else:
            self._deaths += 1
        if self._deaths > MAX_DEATHS:
            raise D4CError(f"worker processes keep dying ({child_process.ending(code)})")
        return self._start()

    def _start(self) -> _Member:
        process = child_process.start(["-m", "d4c_images.runners.dask_start"], self._log.fd)
        assert process.stdin is not None
        try:
            pickle.dump(self._terms, process.stdin)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died already; `work` will notice
        return _Member(process, process.stdin, time.monotonic())

    def _dismiss(self, is_hurried: Callable[[], bool]) -> None:
        """Tell them to leave by closing their standard input."""
        for member in self._members:
            member.told.close()
        end_at = time.monotonic() + self._terms.grace_s + MEMBER_END_S
        for member in self._members:
            code = member.process.poll()
            while code is None and (left_s := end_at - time.monotonic()) > 0 and not is_hurried():
                with suppress(subprocess.TimeoutExpired):
                    code = member.process.wait(min(POOL_POLL_S, left_s))
            if code is None:
                member.process.kill()
                member.process.wait()
            self.has_worked |= code in (Exit.AGAIN, Exit.OVER)


@dataclass(frozen=True, slots=True)
class _Member:
    process: subprocess.Popen[bytes]
    told: IO[bytes]  # closed: leave
    started_at: float
