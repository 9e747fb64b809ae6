"""The state of the collection: one frozen report, assembled from counters in milliseconds. Renders nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d4c_images.ledger.file import liveness
from d4c_images.ledger.file.reader import Reader
from d4c_images.ledger.questions import from_counters, overview
from d4c_images.ledger.questions.overview import (
    ArchiveState,
    FailureCount,
    HostCounts,
    LastHost,
    NonImageAnswer,
    NotAgain,
    RunRow,
    Traffic,
)
from d4c_images.model import RecordStatus
from d4c_images.policy.limits import HostLimits

PAUSED_LISTED = 1000
TOP = 15  # hosts in a list; `status --tables` has them all


@dataclass(frozen=True, slots=True)
class RunState:
    """The latest run. `state` is running, ended or dead (it has not ended, but shows no heartbeat).

    Without `is_certain` that is a guess by two clocks: the run's process cannot be seen from here.
    """

    state: str
    command: str
    host: str
    pid: int
    job_id: str | None
    started_at: int
    heartbeat_age_s: int
    ended_at: int | None
    ending: str | None
    is_certain: bool


@dataclass(frozen=True, slots=True)
class StatusReport:
    ledger: Path
    made_at: int  # unix time, as all times here
    copied_at: int | None  # when the copy that was read was made; None: the ledger itself was read
    ledger_bytes: int
    run: RunState | None
    archives: tuple[ArchiveState, ...]
    records: dict[str, int]  # every status, with 0 where there is none
    images: from_counters.ImageCounts
    failures: tuple[FailureCount, ...]
    not_again: tuple[NotAgain, ...]  # of refetched images
    n_former: int  # what was stored before publishers changed it
    non_image_answers: tuple[NonImageAnswer, ...]
    traffic: Traffic
    worst_hosts: tuple[HostCounts, ...]
    blocked_hosts: tuple[HostCounts, ...]
    paused_hosts: tuple[str, ...]  # some of them
    n_paused_hosts: int
    ends_last: LastHost | None  # None: nothing is left, or its end cannot be estimated
    rejected_rows: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the names are those of the fields."""
        values = dataclasses.asdict(self)
        values["ledger"] = str(self.ledger)
        del values["images"]["to_refetch"]  # only a run knows them
        del values["images"]["failures"]  # `failures` says more about them
        values["images"]["left"] = self.images.left
        return values


def status_report(ledger: Reader, now: float) -> StatusReport:
    """The state of the ledger at one moment; `now` is unix time."""
    return ledger.at_one_moment(lambda: _ask(ledger, now))


def _ask(ledger: Reader, now: float) -> StatusReport:
    run = overview.last_run(ledger)
    n_paused, paused = overview.paused_hosts(ledger, now, PAUSED_LISTED)
    return StatusReport(
        ledger=ledger.path,
        made_at=int(now),
        copied_at=ledger.copied_at,
        ledger_bytes=ledger.path.stat().st_size,
        run=None if run is None else _run_state(run, ledger.copied_at or now),
        archives=tuple(overview.archives(ledger)),
        records=dict.fromkeys([status.value for status in RecordStatus], 0) | overview.records_by_status(ledger),
        images=from_counters.image_counts(ledger.rows),
        failures=tuple(overview.failures(ledger)),
        not_again=tuple(overview.not_again(ledger)),
        n_former=overview.n_former(ledger),
        non_image_answers=tuple(overview.non_image_answers(ledger, TOP)),
        traffic=overview.traffic(ledger, now),
        worst_hosts=tuple(overview.worst_hosts(ledger, TOP)),
        blocked_hosts=tuple(overview.blocked_hosts(ledger, now, TOP)),
        paused_hosts=paused,
        n_paused_hosts=n_paused,
        ends_last=overview.ends_last(ledger, HostLimits().connections, now),
        rejected_rows=overview.rejects(ledger),
    )


def _run_state(run: RunRow, now: float) -> RunState:
    silence_s = max(0, int(now) - run.heartbeat_at)
    seen = liveness.lives(liveness.Process(run.host, run.pid, run.pid_started), liveness.this_process())
    alive = silence_s < liveness.DEAD_AFTER_S if seen is None else seen  # a command that writes waits for the next heartbeat
    state = ("running" if alive else "dead") if run.owns else "ended"
    who = (run.command, run.host, run.pid, run.job_id)
    return RunState(
        state, *who, run.started_at, silence_s, run.ended_at, run.ending, is_certain=seen is not None or not run.owns
    )
