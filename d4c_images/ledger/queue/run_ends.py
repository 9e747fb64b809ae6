"""Records what a run did, and when its work is resumed, before it releases the ledger. Ends no run."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from d4c_images.ledger.file.connect import Ledger
from d4c_images.model import Totals

EARLY_S = 60.0
NOTE_DONE = """
INSERT OR REPLACE INTO run_ends (run_id, n_stored, n_failed, stored_bytes, due_at) VALUES (?, ?, ?, ?, ?)
"""
NOTE_NEXT = """
INSERT INTO run_ends (run_id, goes_on_at, goes_on_by) VALUES (?, ?, ?)
ON CONFLICT (run_id) DO UPDATE SET goes_on_at = excluded.goes_on_at, goes_on_by = excluded.goes_on_by
"""
DUE_AT = "SELECT due_at FROM run_ends WHERE run_id = ?"
BEGINNINGS = """
SELECT r.started_at, e.goes_on_at FROM runs AS r LEFT JOIN run_ends AS e ON e.run_id = r.run_id
WHERE r.command = ? AND r.job_id = ? AND r.run_id <= ? ORDER BY r.run_id DESC LIMIT 3
"""
NOTE_DUE = "UPDATE run_ends SET due_at = ? WHERE run_id = ?"
HAS_WORKED = "SELECT EXISTS (SELECT 1 FROM runs WHERE command = ? AND job_id = ? AND n_done > 0)"
ROUNDS = """
SELECT r.n_done, r.started_at, e.due_at IS NOT NULL FROM runs AS r LEFT JOIN run_ends AS e ON e.run_id = r.run_id
WHERE r.command = ? AND r.job_id = ? AND (r.ended_at IS NOT NULL OR r.run_id = ?) ORDER BY r.run_id DESC
"""


class Round(NamedTuple):
    """One run of a requeued job."""

    started_at: int
    waits: bool  # it ended because everything left had to wait


def note_done(ledger: Ledger, totals: Totals, due_at: float | None) -> None:
    """For a download. `due_at`: unix time before which nothing left may be requested; None: something may be requested now."""
    did = (totals.n_success + totals.n_changed, totals.n_failed, totals.stored_bytes)
    with ledger.transaction() as db:
        db.execute(NOTE_DONE, (ledger.run_id, *did, None if due_at is None else math.ceil(due_at)))


def note_due(ledger: Ledger, due_at: float | None) -> None:
    """For a run that has recorded what it did: change that time."""
    with ledger.transaction() as db:
        db.execute(NOTE_DUE, (None if due_at is None else int(due_at), ledger.run_id))


def note_next(ledger: Ledger, at: float, scheduler: str) -> None:
    """The scheduler was asked to start the job again at this unix time."""
    with ledger.transaction() as db:
        db.execute(NOTE_NEXT, (ledger.run_id, int(at), scheduler))


def due_at(ledger: Ledger) -> float | None:
    """What this run has recorded."""
    row = ledger.connection.execute(DUE_AT, (ledger.run_id,)).fetchone()
    return None if row is None else row[0]


def has_worked(ledger: Ledger, command: str, job_id: str) -> bool:
    """Whether any round of this job made progress, including the present one."""
    return bool(ledger.n_done or ledger.connection.execute(HAS_WORKED, (command, job_id)).fetchone()[0])


def began_early(ledger: Ledger, command: str, job_id: str) -> bool:
    """Whether this round and the previous one started well before the time requested from the scheduler."""
    rounds = ledger.connection.execute(BEGINNINGS, (command, job_id, ledger.run_id)).fetchall()
    return len(rounds) == 3 and all(
        wished_at is not None and began_at < wished_at - EARLY_S for (began_at, _), (_, wished_at) in pairwise(rounds)
    )


def rounds_without_work(ledger: Ledger, command: str, job_id: str) -> list[Round]:
    """The rounds of a job since the last progress, newest first."""
    found = []
    for n_done, started_at, waits in ledger.connection.execute(ROUNDS, (command, job_id, ledger.run_id)):
        if n_done:
            break
        found.append(Round(started_at, bool(waits)))
    return found
