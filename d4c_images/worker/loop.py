"""Works turns: starts what is due, reports the results. Never sees the ledger, decides no pace.

A lane is one host's queue in this worker. Consecutive turns of a lane use the same connections, which are closed when the lane has
no turn left. All lanes share one event loop; what happens to a claim is decided in `attempts`, decoding and fsync run in `threads`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from d4c_images.errors import StoreError
from d4c_images.fetch import Fetcher
from d4c_images.model import Feed, Orders, Outcome, Report
from d4c_images.policy.judge import CodePolicy
from d4c_images.stores import Store
from d4c_images.worker.attempts import Attempts
from d4c_images.worker.lanes import Attempt, Clock, Lane, OpenTurn
from d4c_images.worker.threads import Beside
from d4c_images.worker.verify import Examiner

__all__ = ["Clock", "Feed", "work"]

IDLE_S = 0.25  # how long to wait for orders if there is nothing to do
LANES_POLL_S = 0.05  # how often to look for orders, and at every lane, otherwise
REPORT_S = 0.5
MOST_SLOW = 2  # slow images of a lane waiting to be decoded: beyond that it pauses fetching, and other lanes go on
LONG_REST_S = 20.0  # a lane that must rest for longer than this and than its interval gives its place back


def work(feed: Feed, store: Store, fetcher: Fetcher, examiner: Examiner, policy: CodePolicy, clock: Clock) -> Iterator[Report]:
    """Work on turns until the feed is `closed` and none is left. Yields reports on their claims.

    `drain` releases what has not been started; `drain` with `closed` abandons what is in flight as well. Raises `StoreError` if
    images cannot be stored.
    """
    worker = _Worker(store, fetcher, examiner, policy, clock)
    try:
        yield from worker.run(feed)
    finally:
        worker.close()


class _Worker:
    def __init__(self, store: Store, fetcher: Fetcher, examiner: Examiner, policy: CodePolicy, clock: Clock) -> None:
        self._fetcher = fetcher
        self._examiner = examiner
        self._clock = clock
        self._beside = Beside(store, clock.monotonic, fetcher.wake)
        self._attempts = Attempts(store, fetcher, examiner, policy, clock, self._beside, self._end_host)
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._rests: dict[tuple[str, int], float] = {}  # rests of lanes without a turn: the next may be on its way
        self._look_at = 0.0
        self._report_at = 0.0
        self._has_decoder = False

    def run(self, feed: Feed) -> Iterator[Report]:
        closed = False
        while not closed or self._lanes:
            now = self._clock.monotonic()
            if now >= self._look_at or not self._lanes:
                orders = feed(0.0 if self._lanes else IDLE_S)
                closed = orders.closed
                now = self._clock.monotonic()  # the line above may have waited
                self._take(orders)
                self._end_turns(orders)
                self._look_at = now + LANES_POLL_S
                self._attempts.stirred.update(self._lanes.values())
            for lane in list(self._attempts.stirred):
                self._start_due(lane, now)
            if self._lanes and not self._has_decoder:  # imported while waiting for the first answers
                self._has_decoder = True
                self._beside.load(self._examiner.decoder)
            yield from self._reports()
            if self._lanes:
                self._advance()

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.connections.close()
        self._beside.close()
        for attempt in self._attempts.open:
            with suppress(StoreError):  # the others, too; what stays is swept by the ledger's next owner
                attempt.part.abort()

    def _take(self, orders: Orders) -> None:
        for turn in orders.turns:
            key = (turn.host, turn.lane)
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = Lane(key, self._fetcher.connections(turn.connections))
                lane.next_start = self._rests.pop(key, 0.0)
            lane.add(OpenTurn(turn, deque(turn.claims)))

    def _end_turns(self, orders: Orders) -> None:
        now = self._clock.steady()
        for lane in self._lanes.values():
            for job in lane.jobs:
                has_had_its_bytes = job.turn.max_bytes is not None and job.received_bytes >= job.turn.max_bytes
                is_ended = orders.drain or job.turn.lease_id in orders.end
                if is_ended or now >= job.turn.expires_at or has_had_its_bytes:
                    self._end(lane, job, spares_bodies=not is_ended)
            if orders.drain and orders.closed:
                for request, attempt in lane.in_flight.items():
                    lane.connections.cancel(request)
                    self._attempts.settle(attempt)
                lane.in_flight.clear()

    def _end(self, lane: Lane, job: OpenTurn, *, spares_bodies: bool) -> None:
        """Start no more requests of this turn, except for the rest of interrupted bodies, if those are spared."""
        job.is_over |= not spares_bodies
        if job.unstarted:
            hold_s = self._attempts.still_held_s(lane)
            job.outcomes += [Outcome(claim.image_id, hold_s=hold_s) for claim in job.unstarted]
            job.is_urgent |= hold_s > 0.0
            job.unstarted.clear()
        for attempt in [attempt for attempt in lane.ready if attempt.job is job]:
            if attempt.unfinished is None or not spares_bodies:
                lane.ready.remove(attempt)
                self._attempts.hand_back(attempt)

    def _start_due(self, lane: Lane, now: float) -> None:
        if now < self._attempts.waits_until(lane):  # a turn may have been on its way when the host named the wait
            self._end_lane(lane)
        while self._beside.has_room() and lane.has_work():
            turn = lane.jobs[-1].turn
            if lane.is_full or lane.n_slow >= MOST_SLOW:
                return
            rests_until = lane.rests_until()
            if now < rests_until:
                if rests_until > now + max(LONG_REST_S, turn.min_interval_s):
                    self._end_host(lane.host)
                self._look_at = min(self._look_at, rests_until)
                return
            attempt = lane.ready.popleft() if lane.ready else self._attempts.begin(lane)
            if attempt is not None and attempt.job.is_over:
                self._attempts.hand_back(attempt)
            elif attempt is not None:
                self._attempts.ask(attempt)
                lane.has_started(turn, self._clock.monotonic())

    def _advance(self) -> None:
        now = self._clock.monotonic()
        for request, reply in self._fetcher.poll(max(0.0, min(self._look_at - now, self._beside.wait_s(now)))):
            attempt: Attempt = request.key
            if attempt.lane.in_flight.pop(request, None) is not None:
                self._attempts.receive(request, reply)
                self._start_due(attempt.lane, self._clock.monotonic())
        self._beside.step(more_may_come=any(lane.in_flight for lane in self._lanes.values()))

    def _end_host(self, host: str) -> None:
        for lane in self._lanes.values():
            if lane.host == host:
                self._attempts.stirred.add(lane)
                self._end_lane(lane)

    def _end_lane(self, lane: Lane) -> None:
        lane.n_troubles = 0
        for job in lane.jobs:
            self._end(lane, job, spares_bodies=False)

    def _reports(self) -> Iterator[Report]:
        now = self._clock.monotonic()
        is_due = now >= self._report_at
        if is_due:
            self._report_at = now + REPORT_S
        lanes = list(self._lanes.values()) if is_due else list(self._attempts.stirred)
        self._attempts.stirred.clear()
        for lane in lanes:
            finished = [job for job in lane.jobs if job.finished]
            lane.jobs = [job for job in lane.jobs if not job.finished]
            if finished and not lane.jobs:
                lane.connections.close()  # before the steward may lend the host to another worker
                del self._lanes[lane.key]
                if lane.rests_until() > now:
                    self._rests[lane.key] = lane.rests_until()
            for job in finished:
                yield job.report(self._clock.monotonic(), finished=True)
            for job in lane.jobs:
                is_half = job.is_half_done and not job.has_said_half  # report at once: then the steward lends the next turn
                if job.held_until or (job.outcomes and (is_due or is_half or job.is_urgent)):
                    job.has_said_half |= is_half
                    yield job.report(self._clock.monotonic())
