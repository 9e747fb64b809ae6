"""The log of `work`: it distinguishes a job that is only waiting from one that is working."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from d4c_images.model import Outcome, Report, Status, Verdict
from d4c_images.runners.crew_log import CREW_LOG_EVERY_S, CrewLog, Notes
from tests.cluster.nodes import start_workers
from tests.publishers.client import Publishers
from tests.support.patience import PATIENCE_S
from tests.support.program import Collection, multimedia, reach

GOOD, BAD = Verdict(Status.SUCCESS), Verdict(Status.FAILED_PERMANENT, "http_404")


class Told:
    """A log of two workers, whose minutes go by when the test says so."""

    def __init__(self) -> None:
        self.now, self.lines = 0.0, list[str]()
        self.log = CrewLog(2, self.lines.append, lambda: self.now)

    def look(self, after_s: float = 0.0) -> list[str]:
        self.now += after_s
        self.log.look()
        lines, self.lines[:] = list(self.lines), []
        return lines


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.log.close()


@pytest.fixture
def worker(told: Told, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has a worker with this number write what it did since the last time."""
    notes = {pid: Notes(told.log.fd) for pid in (1, 2)}

    def works(pid: int, *verdicts: Verdict) -> None:
        monkeypatch.setattr(os, "getpid", lambda: pid)
        outcomes = tuple(Outcome(number, verdict, received_bytes=1500) for number, verdict in enumerate(verdicts))
        notes[pid].count(Report(1, outcomes))
        notes[pid].write(is_joined=True)

    return works


def test_a_line_when_the_first_has_joined_and_one_when_all_have(told: Told, worker: Callable[..., None]) -> None:
    assert told.look() == []
    worker(1)
    assert told.look() == ["joined the coordinator: 1 of 2 workers"]
    worker(1)
    assert told.look() == []
    worker(2)
    worker(1)
    assert told.look() == ["joined the coordinator: 2 of 2 workers"]


def test_a_line_a_minute_with_what_all_have_done_in_it(told: Told, worker: Callable[..., None]) -> None:
    assert told.look(CREW_LOG_EVERY_S) == ["waiting for a coordinator"]
    worker(1, GOOD, BAD)
    worker(2, GOOD)
    told.look()
    worker(1, GOOD)
    assert told.look(CREW_LOG_EVERY_S) == [
        "3 images stored, 1 attempt failed, 6.0 kB received in the last minute; 2 of 2 workers at work"
    ]
    assert told.look(CREW_LOG_EVERY_S - 1) == []
    assert told.look(1) == ["0 images stored, 0 attempts failed, 0 B received in the last minute; 2 of 2 workers at work"]


def test_a_coordinator_that_has_gone_is_said_once(told: Told, worker: Callable[..., None]) -> None:
    worker(1)
    worker(2)
    told.look()
    for pid, lines in ((1, []), (2, ["no coordinator any more: waiting for the next one"]), (3, [])):
        told.log.gone(pid)
        assert told.look() == lines
    worker(2)
    assert told.look() == ["joined the coordinator: 1 of 2 workers"]


def test_what_was_done_since_the_last_line_is_said_at_the_end(worker: Callable[..., None], told: Told) -> None:
    worker(1, GOOD)
    told.look()
    again = CrewLog(1, told.lines.append)
    notes = Notes(again.fd)
    notes.count(Report(1, (Outcome(1, GOOD, received_bytes=7),)))
    notes.write(is_joined=True)
    again.close()
    assert told.lines == ["joined the coordinator: 1 of 1 worker", "1 image stored, 0 attempts failed, 7 B received since then"]


def test_a_parent_that_reads_nothing_holds_no_worker_up(told: Told, worker: Callable[..., None]) -> None:
    for _ in range(5_000):  # more than a pipe holds
        worker(1)
    told.look()
    worker(1, GOOD)
    assert told.look(CREW_LOG_EVERY_S)[-1].startswith("1 image stored, 0 attempts failed")


@pytest.mark.slow
def test_the_log_of_a_job_says_when_it_joined_and_what_it_did(tmp_path: Path, publishers: Publishers) -> None:
    collection = Collection(tmp_path)
    rows = [(800 + n, f"http://a.example.org/{n}.jpg") for n in range(20)]
    collection.load(multimedia(tmp_path / "multimedia.txt", rows))
    job = start_workers(tmp_path / "cluster", "--processes", 1)
    coordinator = collection.run("download", *reach(publishers), "--cluster", tmp_path / "cluster")
    output, _ = job.communicate(timeout=PATIENCE_S)
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"
    assert re.search(rf"^{moment} joined the coordinator: 1 of 1 worker$", output, re.M), output
    assert re.search(rf"^{moment} 20 images stored, 0 attempts failed, \S+ kB received since then$", output, re.M), output
    assert re.search(rf"^{moment} 1 worker ends: nothing left to do$", output, re.M), output
    assert re.search(rf"^{moment} workers: 1 on 1 node$", coordinator, re.M), coordinator
