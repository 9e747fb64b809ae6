"""Distances in time, in simulated runs: between requests of a politeness group, and from an answer that names a wait.

The steward is the real one. The workers are modelled: they keep to their turns and to waits that they have heard themselves, as
the real one does (test_waits.py), and are as fast as that allows; orders and reports take their time.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_images.model import Blob, Claim, Orders, Outcome, Report, Status, Turn, Verdict
from d4c_images.policy.limits import parse_hosts
from d4c_images.steward.steward import Steward
from d4c_images.steward.terms import Ending, Event, Joined, Plan, Reported, Watcher
from tests.support.simulation import STARTED, counts, ledger_of

TABLE = parse_hosts(
    """
    [default]
    connections = 4
    [hosts."*.group.org"]
    group = "shared"
    connections = 6
    [hosts."*.calm.org"]
    group = "calm"
    connections = 4
    min_interval_s = 0.7
    [hosts."wide.org"]
    connections = 20
    [hosts."slow.org"]
    min_interval_s = 1.3
    """
)
INTERVALS = {"calm": 0.7, "slow.org": 1.3}
HOSTS = ("a.group.org", "b.group.org", "c.group.org", "a.calm.org", "b.calm.org", "slow.org", "x.org")
TINY = 1e-6


class Sent(NamedTuple):
    at: float
    worker: int
    host: str
    group: str


class Named(NamedTuple):
    """An answer has arrived that names a wait."""

    n_sent: int  # requests before it
    at: float
    worker: int
    group: str
    until: float


@dataclass(eq=False)
class Job:
    worker: int
    turn: Turn
    unstarted: deque[Claim]
    n_in_flight: int = 0
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass(eq=False)
class Lane:
    jobs: list[Job] = field(default_factory=list)
    next_start: float = 0.0

    @property
    def n_in_flight(self) -> int:
        return sum(job.n_in_flight for job in self.jobs)


@dataclass
class World:
    """Durations, and how many of a host's responses there are to one that names a wait."""

    latency_s: float
    wire_s: float  # for orders, and for reports
    one_in: int
    wait_s: float
    interval_s: float = 0.0  # that all answers ask for


class Workers:
    """Modelled workers at a simulated clock."""

    def __init__(self, n: int, world: World) -> None:
        self.now = STARTED
        self.sent: list[Sent] = []
        self.named: list[Named] = []
        self._world = world
        self._events: list[Event] = [Joined(number) for number in range(n)]
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._lanes: dict[tuple[int, str, int], Lane] = {}
        self._waits: dict[tuple[int, str], float] = {}  # worker, group -> until when
        self._n_asked: Counter[str] = Counter()

    # what the steward sees

    def clock(self) -> float:
        return self.now

    def send(self, worker: int, orders: Orders) -> None:
        self.at(self.now + self._world.wire_s, lambda: self._take(worker, orders))

    def receive(self, timeout_s: float) -> list[Event]:
        until = self.now + max(timeout_s, 0.01)
        while not self._events and self._agenda and self._agenda[0][0] <= until:
            self.now, _, act = heapq.heappop(self._agenda)
            act()
        if not self._events:
            self.now = until
        events, self._events = self._events, []
        return events

    def kill(self, worker: int) -> None: ...

    def close(self) -> None: ...

    # what the workers do

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._order), act))

    def _take(self, worker: int, orders: Orders) -> None:
        for turn in orders.turns:
            lane = self._lanes.setdefault((worker, turn.host, turn.lane), Lane())
            lane.jobs.append(Job(worker, turn, deque(turn.claims)))
        for key, lane in list(self._lanes.items()):
            if key[0] == worker:
                for job in lane.jobs:
                    if job.turn.lease_id in orders.end or orders.drain:
                        self._give_back(job)
                self._go_on(lane)

    def _give_back(self, job: Job) -> None:
        job.outcomes += [Outcome(claim.image_id) for claim in job.unstarted]
        job.unstarted.clear()

    def _go_on(self, lane: Lane) -> None:
        """Start what may be started, and report."""
        for job in lane.jobs:
            if self.now < self._waits.get((job.worker, group_of(job.turn)), 0.0):
                self._give_back(job)
        while (job := next((job for job in lane.jobs if job.unstarted), None)) is not None:
            if lane.n_in_flight >= lane.jobs[-1].turn.connections:
                break
            if self.now < lane.next_start:
                self.at(lane.next_start, lambda: self._go_on(lane))
                break
            lane.next_start = self.now + job.turn.min_interval_s
            self._ask(lane, job, job.unstarted.popleft())
        for job in list(lane.jobs):
            is_finished = not job.unstarted and not job.n_in_flight
            if is_finished or any(outcome.hold_s for outcome in job.outcomes) or len(job.outcomes) * 2 > len(job.turn.claims):
                self._report(Report(job.turn.lease_id, tuple(job.outcomes), finished=is_finished), job.worker)
                job.outcomes = []
            if is_finished:
                lane.jobs.remove(job)

    def _report(self, report: Report, worker: int) -> None:
        if report.outcomes or report.finished:
            self.at(self.now + self._world.wire_s, lambda: self._events.append(Reported(worker, report)))

    def _ask(self, lane: Lane, job: Job, claim: Claim) -> None:
        job.n_in_flight += 1
        self.sent.append(Sent(self.now, job.worker, job.turn.host, group_of(job.turn)))
        self.at(self.now + self._world.latency_s, lambda: self._answered(lane, job, claim))

    def _answered(self, lane: Lane, job: Job, claim: Claim) -> None:
        world, host, group = self._world, job.turn.host, group_of(job.turn)
        self._n_asked[host] += 1
        job.n_in_flight -= 1
        what = {"requests": 1, "elapsed_s": world.latency_s, "interval_s": world.interval_s}
        if self._n_asked[host] % world.one_in == 0:
            until = self.now + world.wait_s
            self.named.append(Named(len(self.sent), self.now, job.worker, group, until))
            self._waits[job.worker, group] = max(until, self._waits.get((job.worker, group), 0.0))
            verdict = Verdict(Status.FAILED_TRANSIENT, "server_error", wait_s=world.wait_s, host_trouble=True)
            outcome = Outcome(claim.image_id, verdict, http_status=503, hold_s=world.wait_s, **what)  # type: ignore[arg-type]
        else:
            blob = Blob(f"{claim.image_id}.jpg", 10, claim.image_id.to_bytes(32), "image/jpeg", 1, 1)
            outcome = Outcome(claim.image_id, Verdict(Status.SUCCESS), blob=blob, http_status=200, **what)  # type: ignore[arg-type]
        job.outcomes.append(outcome)
        for one in [one for key, one in self._lanes.items() if key[0] == job.worker and one.jobs]:
            self._go_on(one)


def group_of(turn: Turn) -> str:
    return turn.group or turn.host


def run(images: dict[str, int], workers: Workers) -> dict[str, int]:
    """Returns how many images have which status."""
    end_at = workers.now + 20_000
    with ledger_of(images) as ledger:
        plan = Plan(TABLE, max_attempts=100, retry_base_s=0.5, retry_cap_s=2.0, max_connections=24)
        ending = Steward(ledger, workers, plan, Watcher(), workers.clock, lambda: workers.now > end_at).run()
        assert ending is Ending.DONE
        return counts(ledger)


def check_intervals(workers: Workers, intervals: dict[str, float]) -> None:
    """Whatever host of the group is asked, in whatever lane, by whatever worker."""
    for group, interval_s in intervals.items():
        starts = [sent.at for sent in workers.sent if sent.group == group]
        assert all(after - before >= interval_s - TINY for before, after in pairwise(starts)), group


def check_waits(workers: Workers, wire_s: float) -> None:
    """Who has heard it starts nothing; another worker nothing any more once word can have come, by way of the steward."""
    for named in workers.named:
        for sent in workers.sent[named.n_sent :]:
            if sent.at >= named.until - TINY:
                break
            if sent.group == named.group:
                assert sent.worker != named.worker, (named, sent)
                assert sent.at <= named.at + 2 * wire_s + TINY, (named, sent)


def test_nothing_is_asked_too_early() -> None:
    world = World(latency_s=0.4, wire_s=0.1, one_in=7, wait_s=5.0)
    workers = Workers(3, world)
    images = {"a.group.org": 25, "b.group.org": 25, "c.group.org": 25, "a.calm.org": 6, "b.calm.org": 6, "slow.org": 4, "x.org": 15}
    assert run(images, workers) == {"success": sum(images.values())}
    check_intervals(workers, INTERVALS)
    check_waits(workers, world.wire_s)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.sampled_from(HOSTS), st.integers(1, 40), min_size=1),
    st.integers(1, 3),
    st.builds(
        World,
        latency_s=st.sampled_from((0.05, 0.4, 2.0)),
        wire_s=st.sampled_from((0.0, 0.02, 0.3)),
        one_in=st.integers(3, 12),
        wait_s=st.sampled_from((0.5, 5.0, 61.5)),
    ),
)
def test_nothing_is_ever_asked_too_early(images: dict[str, int], n_workers: int, world: World) -> None:
    workers = Workers(n_workers, world)
    assert run(images, workers) == {"success": sum(images.values())}
    check_intervals(workers, INTERVALS)
    check_waits(workers, world.wire_s)


def test_a_dozen_hosts_of_which_each_names_a_wait_now_and_then() -> None:
    """Turns are on their way all the time, a second and more before they arrive."""
    world = World(latency_s=0.06, wire_s=0.3, one_in=10, wait_s=5.0)
    workers = Workers(2, world)
    images = {f"h{n}.org": 45 for n in range(12)}
    assert run(images, workers) == {"success": 12 * 45}
    assert len(workers.named) >= 45
    check_waits(workers, world.wire_s)


def test_an_interval_that_answers_ask_for_is_one_of_all_lanes() -> None:
    """Once it is known: from then on one lane keeps it, however many there were."""
    world = World(latency_s=0.5, wire_s=0.02, one_in=10**9, wait_s=0.0)
    workers = Workers(3, world)
    workers.at(STARTED + 8.0, lambda: setattr(world, "interval_s", 2.0))
    assert run({"wide.org": 500}, workers) == {"success": 500}
    early, late = ([sent for sent in workers.sent if (sent.at > STARTED + 30.0) is is_late] for is_late in (False, True))
    assert len({sent.worker for sent in early}) > 1
    assert len(late) > 30
    late = [sent.at for sent in late]
    assert all(after - before >= 2.0 - TINY for before, after in pairwise(late))
