"""Who may write: one run at a time, with a claim that others can take over once it is dead. Knows runs, not images.

A claim is the row in `owner`. It is taken in a write transaction, so two runs cannot both have it, and each later transaction of
the run checks it (`Ledger.transaction`), so a run that was wrongly taken for dead stops instead of writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from d4c_images.errors import LedgerBusy
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.file.liveness import SILENT_PATIENCE, LedgerHolder, Patience, Process, await_end, this_process

__all__ = ["Process", "this_process"]

HEARTBEAT_S = 15
CLUSTER = "download --cluster"
"""The command of a run whose workers are on other nodes."""

OWNER = """
SELECT r.run_id, r.command, r.host, r.pid, r.pid_started, r.job_id, r.started_at, r.heartbeat_at
FROM owner AS o JOIN runs AS r ON r.run_id = o.run_id
"""


LATEST = "SELECT coalesce(max(heartbeat_at), 0) FROM runs"
BEAT = "UPDATE runs SET heartbeat_at = max(heartbeat_at + 1, ?), n_done = ? WHERE run_id = ?"  # it always changes
END_RUN = """
UPDATE runs SET ended_at = max(heartbeat_at, ?1), heartbeat_at = max(heartbeat_at, ?1), ending = ?2, n_done = ?3 WHERE run_id = ?4
"""


def take(
    ledger: Ledger,
    command: str,
    process: Process,
    now: float,
    *,
    patience: Patience = SILENT_PATIENCE,
    dead: Process | None = None,
) -> int:
    """Make `process` the owner of the ledger and return its run id. `dead`: a process that is known to be dead already.

    Raises `LedgerBusy`, naming host and pid, while another living run owns it; for a run that cannot be seen from here this is
    found out by waiting (`liveness`). If the clock is behind the last heartbeat of any run, time continues from that
    (`Ledger.lead_s`): waits written then last as long as intended.
    """

    def find() -> LedgerHolder | None:
        found = holder(ledger)
        return None if found is not None and found.process == dead else found

    gone = await_end(find, process, ledger.path, patience)
    with ledger.transaction() as db:
        found = holder(ledger)
        if found is not None and found != gone and found.process != dead:  # alive after all, or somebody else was quicker
            raise LedgerBusy(f"{ledger.path} is in use by {found.described()}")
        if found is not None:
            db.execute(
                "UPDATE runs SET ended_at = ?, ending = 'died' WHERE run_id = ? AND ended_at IS NULL", (int(now), int(found.token))
            )
        ledger.lead_s = max(0.0, db.execute(LATEST).fetchone()[0] - now)
        now += ledger.lead_s
        cursor = db.execute(
            "INSERT INTO runs (command, host, pid, pid_started, job_id, started_at, heartbeat_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (command, process.host, process.pid, process.started, process.job_id, int(now), int(now)),
        )
        new_run_id = cursor.lastrowid
        assert new_run_id is not None
        db.execute("INSERT OR REPLACE INTO owner (one, run_id) VALUES (1, ?)", (new_run_id,))
    ledger.run_id = new_run_id
    return new_run_id


def holder(ledger: Ledger) -> LedgerHolder | None:
    """The run that owns the ledger, dead or alive."""
    return held_by(ledger.connection.execute)


def held_by(ask: Callable[[str], Iterable[tuple[Any, ...]]]) -> LedgerHolder | None:
    """The same, for who reads."""
    return next((LedgerHolder(str(row[0]), *row[1:]) for row in ask(OWNER)), None)


def last_sign_at(ask: Callable[[str], Iterable[tuple[Any, ...]]]) -> float:
    """When a run has last left a sign of life, by its clock; 0: none has."""
    return float(next(iter(ask(LATEST)))[0])


def sign(ledger: Ledger, now: float) -> None:
    """Record a heartbeat in the open transaction."""
    ledger.connection.execute(BEAT, (int(now), ledger.n_done, ledger.run_id))


def beat(ledger: Ledger, now: float) -> None:
    """Record a heartbeat. Raises `LedgerLost` if the ledger is no longer ours, or no longer there."""
    ledger.check_place()
    with ledger.transaction():
        sign(ledger, now)
    if ledger.guard is not None:
        ledger.guard.beat(now)


class Heart:
    """Beats when it is due, for work that calls it often. Then all that is committed is made durable, too."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger, self._clock = ledger, clock
        self._last_at = clock()

    def beat_if_due(self) -> bool:
        """Beat if it is due; returns whether it was."""
        now = self._clock()
        if now - self._last_at < HEARTBEAT_S:
            return False
        beat(self._ledger, now)
        self._ledger.sync()
        self._last_at = now
        return True


def give_back(ledger: Ledger, ending: str, now: float) -> None:
    """End the run; the ledger has no owner then. Raises `LedgerLost` as `beat` does."""
    ledger.check_place()
    with ledger.transaction() as db:
        db.execute(END_RUN, (int(now), ending, ledger.n_done, ledger.run_id))
        db.execute("DELETE FROM owner")
    ledger.run_id = None
