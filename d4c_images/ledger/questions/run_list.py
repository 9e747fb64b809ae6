"""Which commands have written to the ledger, what each did and how it ended. Judges nothing: `report.run_states` does."""

from __future__ import annotations

import json
from dataclasses import dataclass

from d4c_images.ledger.file.reader import Reader, Row

RUN = """
SELECT r.run_id, r.command, r.host, r.pid, r.pid_started, r.job_id, r.started_at, r.heartbeat_at, r.ended_at, r.ending, r.n_done,
       r.run_id = (SELECT o.run_id FROM owner AS o) AS owns
FROM runs AS r
"""
LATEST_RUNS = f"{RUN} ORDER BY r.run_id DESC LIMIT ?"
LAST_DOWNLOAD = f"{RUN} WHERE r.command IN ('download', 'download --cluster') ORDER BY r.run_id DESC LIMIT 1"
LAST_OTHER_RUN = f"{RUN} WHERE r.command NOT IN ('download', 'download --cluster', 'hosts') ORDER BY r.run_id DESC LIMIT 1"
HAS_RUN_ENDS = "SELECT 1 FROM sqlite_schema WHERE name = 'run_ends'"
RUN_ENDS = """
SELECT e.run_id, e.n_stored, e.n_failed, e.stored_bytes, e.due_at, e.goes_on_at, e.goes_on_by
FROM json_each(?) AS one CROSS JOIN run_ends AS e ON e.run_id = one.value
"""


@dataclass(frozen=True, slots=True)
class RunRow:
    run_id: int
    command: str
    host: str
    pid: int
    pid_started: str | None
    job_id: str | None
    started_at: int
    heartbeat_at: int
    ended_at: int | None
    ending: str | None
    n_done: int
    owns: int | None  # 1: it has not released the ledger
    # Recorded by a run at its end:
    n_stored: int | None = None
    n_failed: int | None = None
    stored_bytes: int | None = None
    due_at: int | None = None
    goes_on_at: int | None = None
    goes_on_by: str | None = None


def latest_runs(ledger: Reader, limit: int) -> list[RunRow]:
    """The newest first."""
    return _with_ends(ledger, ledger.rows(LATEST_RUNS, (limit,)))


def last_download(ledger: Reader) -> RunRow | None:
    return next(iter(_with_ends(ledger, ledger.rows(LAST_DOWNLOAD))), None)


def last_other_run(ledger: Reader) -> RunRow | None:
    """For a command that is neither `download` nor `hosts`."""
    return next(iter(_with_ends(ledger, ledger.rows(LAST_OTHER_RUN))), None)


def _with_ends(ledger: Reader, rows: list[Row]) -> list[RunRow]:
    """Also reads a ledger of version 2, which has nothing about the ends of its runs."""
    if not rows or not ledger.rows(HAS_RUN_ENDS):
        return [RunRow(*row) for row in rows]
    ends = {row[0]: row[1:] for row in ledger.rows(RUN_ENDS, (json.dumps([row[0] for row in rows]),))}
    return [RunRow(*row, *ends.get(row[0], ())) for row in rows]
