"""Is the process that holds a ledger still alive? Knows processes and clocks, not what a ledger is.

A process of this kernel and this PID namespace can be looked up by its number and its start time. Of any other process there is
only its sign of life, and whether that *changes* while time passes here: the clocks of two machines may differ by hours, two nodes
or containers may have the same host name, and two containers have the same process numbers.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from d4c_images.durations import show_moment
from d4c_images.errors import LedgerAwaited, LedgerBusy

DEAD_AFTER_S = 180.0  # a process that cannot be looked up is dead when its sign of life has not changed for so long
HOLDER_POLL_S = 2.0
MOST_STEP_S = 10.0  # of the time between two looks: more than that, and this process did not run itself, or the disk hung


@dataclass(frozen=True, slots=True)
class Process:
    """A process as the ledger names it. `started` tells it from all others: boot id, start time, PID namespace."""

    host: str
    pid: int
    started: str | None
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerHolder:
    """Who has a ledger, as last written down by itself."""

    token: str  # another one for each run
    command: str
    host: str
    pid: int
    started: str | None
    job_id: str | None
    since: float
    beat_at: float  # by a clock of its own: it says nothing here, but that it changes does

    @property
    def process(self) -> Process:
        return Process(self.host, self.pid, self.started, self.job_id)

    def described(self) -> str:
        job = f", job {self.job_id}" if self.job_id else ""
        return f"'{self.command}' on host {self.host}, pid {self.pid}{job}, since {show_moment(self.since)}"


@dataclass(frozen=True, slots=True)
class Patience:
    """How to wait for a ledger whose holder may be dead."""

    say: Callable[[str], None] = lambda text: None  # gets a line when a wait begins
    is_over: Callable[[], str | None] = lambda: None  # why to wait no longer
    job_id: str | None = None  # an earlier run of this job is waited for even while it lives: it is being ended, or out of reach
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


SILENT_PATIENCE = Patience()
"""Without a word, until it is known whether the holder lives."""


def this_process(job_id: str | None = None) -> Process:
    pid = os.getpid()
    try:
        started = _started(pid)
    except OSError:
        started = None
    return Process(socket.gethostname(), pid, started, job_id)


def lives(other: Process, me: Process) -> bool | None:
    """Whether a process lives; None: `me` cannot see it."""
    if other.started is None or me.started is None or _kernel(other.started) != _kernel(me.started):
        return None
    try:
        return _started(other.pid) == other.started
    except OSError:
        return None


def await_end(find: Callable[[], LedgerHolder | None], me: Process, ledger: Path, patience: Patience) -> LedgerHolder | None:
    """Wait until nobody holds a ledger, or until its holder is known to be dead; returns what the dead one has written last.

    Raises `LedgerBusy` as soon as the holder is known to live, and `LedgerAwaited` when the patience is over.
    """
    watch, said = _Watch(patience.monotonic), ""
    while (holder := find()) is not None:
        is_alive = lives(holder.process, me)
        if is_alive is None:
            is_alive = watch.look(holder)
        if is_alive is False:
            return holder
        is_ours = holder.job_id is not None and holder.job_id == patience.job_id
        if is_alive and not is_ours:
            raise LedgerBusy(f"{ledger} is in use by {holder.described()}")
        if why := patience.is_over():
            raise LedgerAwaited(f"{ledger} may still be in use by {holder.described()} ({why})")
        if said != holder.token:
            said = holder.token
            patience.say(
                f"{ledger} was last held by {holder.described()}: waiting until it gives that back, or has shown no sign of life "
                f"for {DEAD_AFTER_S:.0f} s"
            )
        patience.sleep(HOLDER_POLL_S)
    return None


class _Watch:
    """Looks at a sign of life again and again."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last: LedgerHolder | None = None
        self._looked_at = 0.0
        self._unchanged_s = 0.0

    def look(self, holder: LedgerHolder) -> bool | None:
        """True: it has changed since the last look; False: not for so long that its process is dead; None: nobody knows yet."""
        now, before, step_s = self._monotonic(), self._last, 0.0
        if before is not None:
            step_s = min(now - self._looked_at, MOST_STEP_S)
        self._looked_at, self._last = now, holder
        if before is not None and holder != before:
            self._unchanged_s = 0.0
            return True
        self._unchanged_s += step_s
        return False if self._unchanged_s >= DEAD_AFTER_S else None


def _kernel(started: str) -> tuple[str, str]:
    """Where process numbers mean the same: boot id and PID namespace (an older version wrote down the former only)."""
    boot, _, rest = started.partition("/")
    return boot, rest.partition("/")[2]


def _started(pid: int) -> str | None:
    """What tells a process of this PID namespace from others (field 22 of /proc/PID/stat, see proc(5)).

    None if there is none, or only a zombie. Raises `OSError` if that cannot be seen.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    if Path("/proc/self/stat").read_text(errors="replace").partition(" ")[0] != str(os.getpid()):
        raise OSError("/proc shows the processes of another PID namespace")
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        _check_hidden(pid)
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}/{namespace}"


def _check_hidden(pid: int) -> None:
    """Raises `OSError` if there is a process that /proc does not show: it may hide those of other users."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return
    raise OSError("/proc does not show this process")
