"""What happens to the jobs of a rehearsal, by a seed. Does none of it itself."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Disturbance(StrEnum):
    """What a job lives through."""

    OUTAGE = "outage"
    CLOCK_AHEAD_HOUR = "clock an hour ahead"
    CLOCK_AHEAD_DAY = "clock a day ahead"
    CLOCK_BACK_HOUR = "clock an hour back"
    CLOCK_BACK_DAY = "clock a day back"
    SUSPENDED = "suspended"
    WORKER_KILLED = "worker killed"
    PAUSED = "a host paused by a person"


class End(StrEnum):
    """How a job ends."""

    BY_ITSELF = "by itself"  # all is done or has to wait, or its time is up
    KILLED = "killed"
    CRASH_STEWARD = "killed at a point of the steward"
    CRASH_WORKER = "killed at a point of a worker"
    SIGTERM = "SIGTERM"
    SIGUSR1 = "SIGUSR1"
    SIGINT = "SIGINT"
    DISK_FULL = "disk full"  # of the images
    LEDGER_DISK_FULL = "disk of the ledger full"
    DISK_DEAD = "disk dead"  # the folder of images is gone in mid-run, and something else is in its place
    NOT_MOUNTED = "disk not mounted"  # an empty folder is in its place from the start


JUMPS_S = {
    Disturbance.CLOCK_AHEAD_HOUR: 3600.0,
    Disturbance.CLOCK_AHEAD_DAY: 86400.0,
    Disturbance.CLOCK_BACK_HOUR: -3600.0,
    Disturbance.CLOCK_BACK_DAY: -86400.0,
}
STEWARD_POINTS = ("lend.committed", "settle.before_commit", "settle.committed")
WORKER_POINTS = ("put.written", "put.synced", "put.named", "put.done")


@dataclass(frozen=True, slots=True)
class Job:
    """One job of the batch scheduler."""

    disturbance: Disturbance | None
    end: End
    crash_at: str | None = None
    after_requests: int = 0  # of this job, until its disturbance, and as many again until its end
    rest_s: float = 0.0  # until the next one begins


def jobs(chance: random.Random, n_requests: int) -> list[Job]:
    """Every trouble once, in any order; `n_requests` is about what a job gets done before its end."""
    ends = list(End)
    disturbances: list[Disturbance | None] = [*Disturbance]
    disturbances += [None] * (len(ends) - len(disturbances))
    chance.shuffle(ends)
    ends.remove(End.NOT_MOUNTED)
    ends.insert(chance.randrange(len(ends) // 2, len(ends)), End.NOT_MOUNTED)  # later, when there are images to be missed
    chance.shuffle(disturbances)
    return [_job(disturbance, end, chance, n_requests) for disturbance, end in zip(disturbances, ends, strict=True)]


def plain(rest_s: float) -> Job:
    return Job(None, End.BY_ITSELF, rest_s=rest_s)


def _job(disturbance: Disturbance | None, end: End, chance: random.Random, n_requests: int) -> Job:
    crash_at = None
    if end is End.CRASH_STEWARD:
        crash_at = f"{chance.choice(STEWARD_POINTS)}:{chance.randrange(2, 9)}"
    elif end is End.CRASH_WORKER:
        crash_at = f"{chance.choice(WORKER_POINTS)}:{chance.randrange(2, 9)}"
    after = chance.randrange(max(1, n_requests // 4), n_requests + 1)
    # A node that has died is often the job's again at once: then what was named before has to hold.
    rest_s = 0.0 if chance.random() < 0.5 else chance.uniform(600.0, 6 * 3600.0)
    return Job(disturbance, end, crash_at, after, rest_s)
