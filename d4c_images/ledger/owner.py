"""Who may write: one run at a time, with a claim that the dead give up. Knows runs, not images.

A claim is the row in `owner`. It is taken in a write transaction, so two runs cannot both have it, and each later transaction of
the run checks it (`Ledger.transaction`), so a run that was taken for dead stops instead of writing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from d4c_images.errors import LedgerBusy
from d4c_images.ledger.connect import Ledger

SILENCE_S = 180  # a run on another host that has shown no sign of life for so long is taken for dead
HEARTBEAT_S = 15
CLUSTER = "download --cluster"
"""The command of a run whose workers are on other nodes."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process as the ledger names it. `started` tells it from a later one with the same number."""

    host: str
    pid: int
    started: str | None
    job_id: str | None = None


def this_process(job_id: str | None = None) -> Process:
    pid = os.getpid()
    return Process(socket.gethostname(), pid, _started(pid), job_id)


def take(ledger: Ledger, command: str, process: Process, now: float) -> int:
    """Make `process` the owner of the ledger and return its run id.

    Raises `LedgerBusy`, naming host and pid, while another living run owns it. A run on this host is alive while its process is;
    one on another host while its heartbeat is younger than `SILENCE_S`.
    """
    with ledger.transaction() as db:
        row = db.execute(
            """SELECT r.run_id, r.command, r.host, r.pid, r.pid_started, r.job_id, r.started_at, r.heartbeat_at
               FROM owner AS o JOIN runs AS r ON r.run_id = o.run_id"""
        ).fetchone()
        if row is not None:
            run_id, other_command, host, pid, pid_started, job_id, started_at, heartbeat_at = row
            silence_s = max(0.0, now - heartbeat_at)
            other = Process(host, pid, pid_started, job_id)
            if is_alive(other, process, silence_s):
                raise LedgerBusy(f"{ledger.path} is in use by {described(other_command, other, started_at, silence_s)}")
            db.execute(
                "UPDATE runs SET ended_at = ?, ending = 'died' WHERE run_id = ? AND ended_at IS NULL", (int(now), run_id)
            )
        cursor = db.execute(
            "INSERT INTO runs (command, host, pid, pid_started, job_id, started_at, heartbeat_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (command, process.host, process.pid, process.started, process.job_id, int(now), int(now)),
        )
        new_run_id = cursor.lastrowid
        assert new_run_id is not None
        db.execute("INSERT OR REPLACE INTO owner (one, run_id) VALUES (1, ?)", (new_run_id,))
    ledger.run_id = new_run_id
    return new_run_id


def beat(ledger: Ledger, now: float) -> None:
    """Leave a sign of life. Raises `LedgerLost` where the ledger is not ours any more, or not there any more."""
    ledger.check_place()
    with ledger.transaction() as db:
        db.execute("UPDATE runs SET heartbeat_at = ? WHERE run_id = ?", (int(now), ledger.run_id))
    if ledger.guard is not None:
        ledger.guard.beat(now)


class Heart:
    """Beats when it is time to, for work that calls it often. Then all that is committed goes to the disk, too."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger, self._clock = ledger, clock
        self._last_at = clock()

    def beat_if_due(self) -> bool:
        """Whether it was time to."""
        now = self._clock()
        if now - self._last_at < HEARTBEAT_S:
            return False
        beat(self._ledger, now)
        self._ledger.sync()
        self._last_at = now
        return True


def give_back(ledger: Ledger, ending: str, now: float) -> None:
    """End the run; the ledger is free. Raises `LedgerLost` as `beat` does."""
    ledger.check_place()
    with ledger.transaction() as db:
        db.execute(
            "UPDATE runs SET ended_at = ?, heartbeat_at = ?, ending = ?, n_done = ? WHERE run_id = ?",
            (int(now), int(now), ending, ledger.n_done, ledger.run_id),
        )
        db.execute("DELETE FROM owner")
    ledger.run_id = None


def idle_runs(ledger: Ledger, command: str, job_id: str) -> int:
    """How many of a job's ended runs, from the last one backwards, have done nothing."""
    n = 0
    for (n_done,) in ledger.connection.execute(
        "SELECT n_done FROM runs WHERE command = ? AND job_id = ? AND ended_at IS NOT NULL ORDER BY run_id DESC", (command, job_id)
    ):
        if n_done:
            break
        n += 1
    return n


def described(command: str, process: Process, since: float, silence_s: float) -> str:
    """Who has a ledger, for the line that refuses somebody else."""
    job = f", job {process.job_id}" if process.job_id else ""
    return (
        f"'{command}' on host {process.host}, pid {process.pid}{job}, since {datetime.fromtimestamp(since):%Y-%m-%d %H:%M:%S} "
        f"(last sign of life {silence_s:.0f} s ago)"
    )


def is_alive(other: Process, me: Process, silence_s: float) -> bool:
    """Whether a run's process lives, as far as `me` can tell; `silence_s` is the age of its last heartbeat."""
    if other.host != me.host:
        return silence_s < SILENCE_S
    return _started(other.pid) is not None and (other.started is None or _started(other.pid) == other.started)


def _started(pid: int) -> str | None:
    """Boot id and start time of a process (field 22 of /proc/PID/stat, see proc(5)); None where there is none, or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"
