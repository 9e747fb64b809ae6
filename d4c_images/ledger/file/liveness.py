"""Is the process that holds a ledger still alive? Knows processes and clocks, not what a ledger is.

A process of this kernel and PID namespace can be looked up by its number and start time. Of any other process only the heartbeat
is visible, and whether it *changes* while time passes here: the clocks of two machines may differ by hours, two nodes or
containers may have the same host name, and two containers have the same process numbers.
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

DEAD_AFTER_S = 180.0  # a process that cannot be looked up counts as dead if its heartbeat has not changed for this long
HOLDER_POLL_S = 2.0
MOST_STEP_S = 10.0  # cap on the time counted between two looks: after a longer gap this process was suspended, or the disk hung


@dataclass(frozen=True, slots=True)
class Process:
    """A process as the ledger names it. `started` identifies it uniquely: boot id, start time, PID namespace."""

    host: str
    pid: int
    started: str | None
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerHolder:
    """Who has a ledger, in its own words."""

    token: str  # a new one for each run
    command: str
    host: str
    pid: int
    started: str | None
    job_id: str | None
    since: float
    beat_at: float  # by its own clock: only a change means anything here

    @property
    def process(self) -> Process:
        return Process(self.host, self.pid, self.started, self.job_id)

    def described(self) -> str:
        job = f", job {self.job_id}" if self.job_id else ""
        return f"'{self.command}' on host {self.host}, pid {self.pid}{job}, since {show_moment(self.since)}"


@dataclass(frozen=True, slots=True)
class Patience:
    """How to wait for a ledger whose holder may be dead."""

    say: Callable[[str], None] = lambda text: None  # called with a line when a wait begins
    is_over: Callable[[], str | None] = lambda: None  # a reason to stop waiting
    job_id: str | None = None  # an earlier run of this job is awaited even if alive: it is being ended, or out of reach
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


SILENT_PATIENCE = Patience()
"""Says nothing, and waits until it is known whether the holder lives."""


def this_process(job_id: str | None = None) -> Process:
    pid = os.getpid()
    try:
        started = _started(pid)
    except OSError:
        started = None
    return Process(socket.gethostname(), pid, started, job_id)


def lives(other: Process, me: Process) -> bool | None:
    """Whether a process is alive; None if `me` cannot see it."""
    if other.started is None or me.started is None or _kernel(other.started) != _kernel(me.started):
        return None
    try:
        return _started(other.pid) == other.started
    except OSError:
        return None


def await_end(find: Callable[[], LedgerHolder | None], me: Process, ledger: Path, patience: Patience) -> LedgerHolder | None:
    """Wait until nobody holds a ledger, or until its holder is known to be dead; returns what the dead one wrote last.

    Raises `LedgerBusy` as soon as the holder is known to be alive, and `LedgerAwaited` when the patience is over.
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
                f"{ledger} was last held by {holder.described()}: waiting until it releases the ledger or shows no sign of life "
                f"for {DEAD_AFTER_S:.0f} s"
            )
        patience.sleep(HOLDER_POLL_S)
    return None


class _Watch:
    """Watches a heartbeat."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last: LedgerHolder | None = None
        self._looked_at = 0.0
        self._unchanged_s = 0.0

    def look(self, holder: LedgerHolder) -> bool | None:
        """True: it has changed since the last look; False: unchanged long enough to count as dead; None: not known yet."""
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
    """The scope of process numbers: boot id and PID namespace (an older version wrote only the former)."""
    boot, _, rest = started.partition("/")
    return boot, rest.partition("/")[2]


def _started(pid: int) -> str | None:
    """What distinguishes a process of this PID namespace from all others (field 22 of /proc/PID/stat, see proc(5)).

    None if there is no such process, or only a zombie. Raises `OSError` if that cannot be seen.
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
    """Raise `OSError` if the process exists but /proc does not show it: /proc may hide those of other users."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return
    raise OSError("/proc does not show this process")
