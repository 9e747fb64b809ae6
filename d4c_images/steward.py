"""The one writer of a run: lends turns to workers, settles what they report, drains on a signal or when the time is up.

It fetches nothing, decides nothing about an image and knows no SQL. Everything that it remembers of a host can be read again
from the ledger, so a new steward goes on where a killed one stopped.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from sqlite3 import Connection

from d4c_images import crash, pace
from d4c_images.agenda import Agenda
from d4c_images.ledger import giving_up, lending, owner, questions
from d4c_images.ledger.connect import Ledger
from d4c_images.ledger.placeholders import Watch
from d4c_images.model import Claim, ErrorType, Orders, Outcome, OwnCode, Report, Status, Turn, Verdict
from d4c_images.roster import Host, HostLane, Lease, Roster
from d4c_images.run import Died, Ending, Event, Joined, Leaving, Plan, Reported, Runner, Snapshot, Totals, Watcher
from d4c_images.silence import Silence

TURN_EXPIRES_S = 120.0  # nothing of a turn is started later than this
LONG_TURN_S = 30.0  # a lane's turns shrink when they last longer than this
SHORT_TURN_S = 10.0  # ... and grow when they last less
MAX_CLAIMS = 512
TICK_S = 0.25
GATHER_S = 1.0
SNAPSHOT_S = 2.0
DEATHS_PER_ATTEMPT = 3
WORTH_TELLING_S = 5.0  # a wait of everybody
GIVE_UP_IMAGES = 2_000  # in one transaction
CANCEL_S = 5.0  # for workers to give back what they hold, after the grace


class Steward:
    """One run. `run()` returns when it has ended; call it once."""

    def __init__(
        self, ledger: Ledger, runner: Runner, plan: Plan, watcher: Watcher, clock: Callable[[], float], stop: Callable[[], bool]
    ) -> None:
        """`stop()` turns true when a signal has come. The ledger must be owned (`owner.take`)."""
        assert ledger.run_id is not None
        self._ledger, self._runner, self._plan, self._watcher = ledger, runner, plan, watcher
        self._run_id = ledger.run_id
        self._clock, self._stop = clock, stop
        self._totals = Totals()
        self._started_at = clock()
        self._hosts = Roster()
        self._leases: dict[int, Lease] = {}
        self._agenda = Agenda()
        self._overdue: set[int] = set()  # leases that lasted too long when last looked at
        self._load: dict[int, int] = {}  # worker that takes turns -> connections granted
        self._deaths: Counter[int] = Counter()  # image id -> worker processes that died while they held it
        self._random = random.Random()
        self._watch = Watch(ledger.connection, plan.placeholders, plan.placeholder_records)
        self._retry = lending.RetryTerms(plan.max_attempts, self._retry_wait_s)
        self._silence = Silence(plan.breaker, None)
        self._is_idle = False
        self._last_snapshot_at = self._started_at
        self._heart = owner.Heart(ledger, clock)

    def run(self) -> Ending:
        with self._ledger.transaction() as db:
            still_asked = lending.hosts_of_lost_workers(db, self._run_id)
            lending.take_back(db, lending.leases_of_others(db, self._run_id))
            self._silence.answered_at = lending.anybody_answered_at(db)
            for count in questions.hosts_with_work(db):
                self._know(db, count.host_id, count.host)
        for host_id in still_asked:
            if host_id in self._hosts:
                self._hosts.rest(self._hosts[host_id], self._started_at + self._plan.lost_ask_s)
        self._watcher.started(self._snapshot())
        ending = self._work()
        if self._leases:
            self._watcher.draining(ending)
            self._drain()
        self._watcher.ended(self._snapshot(), ending)
        return ending

    def _work(self) -> Ending:
        while True:
            ending = self._ending()
            if ending is None:
                self._lend()
                ending = self._ending()
            if ending is not None:
                return ending
            self._settle(self._receive())
            self._give_up_some()
            self._tick()

    def _receive(self) -> list[Event]:
        """What the workers have told. On a shared disk a commit is dear: there, all that they tell within a second."""
        events = self._runner.receive(0.0 if self._silence.lost else TICK_S)
        end_at = self._clock() + GATHER_S
        while self._ledger.guard is not None and events and not self._stop() and self._clock() < end_at:
            events += self._runner.receive(TICK_S)
        return events

    def _ending(self) -> Ending | None:
        now = self._clock()
        if self._stop():
            return Ending.SIGNAL
        if self._plan.deadline is not None and now >= self._plan.deadline:
            return Ending.TIME
        if self._leases or self._silence.lost:
            return None
        next_at = self._agenda.next_at()
        if next_at is None and not self._agenda.is_crowded:
            return Ending.DONE
        if self._budget() == 0:
            return Ending.LIMIT
        if self._silence.outage.is_hopeless(now, self._plan.max_idle_s):
            return Ending.OUTAGE
        if next_at is None or self._agenda.is_crowded:  # no worker is there
            return None
        return Ending.WAITING if next_at - now > self._plan.max_idle_s else None

    def _budget(self) -> int | None:
        """How many more images may be lent; None for no limit."""
        return None if self._plan.max_images is None else max(0, self._plan.max_images - self._totals.lent)

    # -- lending

    def _know(self, db: Connection, host_id: int, name: str) -> None:
        """Take a host with work into the agenda."""
        if self._plan.only_hosts and name not in self._plan.only_hosts:
            return
        limits = self._plan.hosts.limits(name)
        host = Host(host_id, name, limits, lending.load_pace(db, host_id), [HostLane() for _ in range(limits.lanes)])
        lending.save_limits(db, host_id, limits)
        self._hosts.add(host)
        self._agenda.add(host, 0.0)

    def _know_all(self, db: Connection, host_ids: set[int]) -> None:
        for host_id in host_ids:
            if host_id not in self._hosts:
                self._know(db, host_id, questions.host_name(db, host_id))

    def _lend(self) -> None:
        """Give turns to the hosts whose time has come, as far as the workers have room."""
        now = self._clock()
        next_at = self._agenda.next_at()
        if not self._silence.outage.may_ask(now):
            return
        if self._budget() == 0 or (not self._agenda.is_crowded and (next_at is None or next_at > now)):
            return
        turns: list[tuple[int, Turn]] = []
        with self._ledger.transaction() as db:
            while self._budget() != 0 and not (turns and self._silence.outage.down_since is not None):
                host = self._agenda.pop(now)
                if host is None:
                    break
                if not self._lend_host(db, host, now, turns):
                    self._agenda.found_no_room(host)
                    break
        if turns:
            self._silence.outage.asked(now)
        crash.point("lend.committed")
        for worker, turn in turns:  # only now: what a worker holds is written down first
            self._runner.send(worker, Orders(turns=(turn,)))

    def _lend_host(self, db: Connection, host: Host, now: float, turns: list[tuple[int, Turn]]) -> bool:
        """Fill the lanes of one host; False when a lane is free, but no worker has room for it."""
        in_line_since, host.in_line_since = host.in_line_since, None
        for number, lane in enumerate(host.lanes):
            allowed = pace.allowed(host.pace, now)
            if allowed is None and self._silence.outage.down_since is not None:
                allowed = 1
            if allowed == 0:
                self._agenda.add(host, host.pace.blocked_until or now + TICK_S)
                return True
            if allowed is not None and any(other.leases for other in host.lanes):
                return True  # a probe is under way: its end brings the host back
            if not lane.leases and now < host.rests_until:
                self._agenda.add(host, host.rests_until)
                continue
            if not lane.leases and self._hosts.is_group_busy(host):
                host.in_line_since = in_line_since or now
                continue
            if lane.leases and not self._may_queue(host, lane):
                continue
            worker = self._worker_for(host, lane)
            if worker is None:
                return False
            turn = self._lend_lane(db, host, number, worker, allowed, now)
            if turn is None:
                when = lending.earliest(db, host.host_id)
                if when is not None:
                    self._agenda.add(host, max(when, now + TICK_S))
                return True
            turns.append((worker, turn))
        return True  # all lanes are busy: an outcome brings the host back

    def _may_queue(self, host: Host, lane: HostLane) -> bool:
        """Whether a turn may follow the one under way: when that is half done (so that the lane never runs dry), and nobody
        waits for the place."""
        if len(lane.leases) > 1 or self._agenda.is_crowded or any(other is not host for other in self._hosts.line(host)):
            return False
        if lane.worker not in self._load:  # it leaves
            return False
        lease = self._leases[lane.leases[0]]
        return len(lease.turn.claims) > 1 and 2 * len(lease.outstanding) <= len(lease.turn.claims)

    def _worker_for(self, host: Host, lane: HostLane) -> int | None:
        """The worker that has the lane already, else the one with the least to do; None when none has room."""
        if lane.leases:
            return lane.worker
        lightest = min(self._load, key=self._load.__getitem__, default=None)
        if lightest is None:
            return None
        has_room = self._load[lightest] + host.limits.connections <= self._plan.max_connections
        return lightest if has_room or self._load[lightest] == 0 else None

    def _lend_lane(self, db: Connection, host: Host, number: int, worker: int, allowed: int | None, now: float) -> Turn | None:
        lane = host.lanes[number]
        lane.claims = lane.claims or 8 * host.limits.connections
        deadline = self._plan.deadline
        terms = lending.Terms(
            lane=number,
            connections=host.limits.connections,
            min_interval_s=host.limits.min_interval_s,
            max_claims=min(claims for claims in (lane.claims, allowed, self._budget()) if claims is not None),
            expires_at=now + TURN_EXPIRES_S if deadline is None else min(now + TURN_EXPIRES_S, deadline),
        )
        turn = lending.lend(db, self._run_id, host.host_id, host.name, terms, self._plan.max_attempts, now)
        if turn is None:
            return None
        room = max(lane.room, min(host.limits.connections, len(turn.claims)))  # one claim needs one connection
        self._load[worker] += room - lane.room
        lane.worker, lane.room = worker, room
        lane.leases.append(turn.lease_id)
        self._leases[turn.lease_id] = Lease(turn, host.host_id, worker, {claim.image_id for claim in turn.claims}, now)
        self._totals.lent += len(turn.claims)
        return turn

    # -- settling

    def _settle(self, events: list[Event]) -> None:
        """Write down what has come in, in one transaction, and draw the conclusions for the hosts."""
        reports = [report for event in events for report in self._reports_of(event)]
        if not reports:
            return
        now = self._clock()
        blocked = []
        was_down = self._silence.outage.down_since is not None
        with self._ledger.transaction() as db:
            settled = lending.settle(db, reports, self._retry, now, self._watch)
            for host_id, news in settled.hosts.items():
                before = self._hosts[host_id].pace
                for other_id, new in self._silence.after(host_id, before, news, now).items():
                    self._set_pace(db, other_id, new, now if other_id == host_id and news.has_answer else None)
                host = self._hosts[host_id]
                host.words = news.commonest() or host.words
                if host.pace.blocked_until is not None and host.pace.blocked_until != before.blocked_until:
                    blocked.append(host)
            self._know_all(db, settled.moved_to)
            crash.point("settle.before_commit")
        crash.point("settle.committed")
        if settled.n_unfolded:
            crash.point("unfold.committed")
        for report in reports:
            self._release(report, now)
        for host_id in settled.hosts.keys() | settled.moved_to:
            self._look_again(host_id, now)
        self._add(settled)
        is_down = self._silence.outage.down_since is not None
        if is_down != was_down:
            self._watcher.network_down(is_down)
            for host in self._hosts:
                self._look_again(host.host_id, now)
        for host in blocked:
            self._watcher.host_blocked(host.name, host.pace.blocked_until or now, host.pace.blocked_why or "")

    def _set_pace(self, db: Connection, host_id: int, new: pace.HostPace, answered_at: float | None) -> None:
        host = self._hosts[host_id]
        if new != host.pace:
            host.pace = new
            lending.save_pace(db, host_id, new, answered_at)

    def _give_up_some(self) -> None:
        """Some images of a host that is given up: many of them must not hold everybody else up."""
        for host_id, failure in list(self._silence.lost.items())[:1]:
            host, now = self._hosts[host_id], self._clock()
            with self._ledger.transaction() as db:
                given = giving_up.give_up(db, host_id, host.name, failure, GIVE_UP_IMAGES, now)
                self._know_all(db, given.moved_to)
            self._totals.failed += given.n_failed
            host.n_given_up += given.n
            for other_id in given.moved_to:
                self._look_again(other_id, now)
            if given.n == 0:
                del self._silence.lost[host_id]
                host.due = None  # nothing waits there any more
                self._watcher.host_given_up(host.name, host.n_given_up, host.pace.blocked_why or str(failure.verdict.error_type))
                host.n_given_up = 0

    def _reports_of(self, event: Event) -> list[Report]:
        match event:
            case Reported():
                return [event.report]
            case Died():
                return self._bury(event)
            case Joined():
                self._load[event.worker] = 0
            case Leaving():
                self._load.pop(event.worker, None)
                self._runner.send(event.worker, Orders(drain=True))
        return []

    def _bury(self, death: Died) -> list[Report]:
        """Give a dead worker's claims back. One that is there again and again may be what kills them: that counts as an attempt."""
        self._totals.worker_deaths += 1
        self._watcher.worker_died(death.why)
        self._load.pop(death.worker, None)
        reports = []
        for lease_id, lease in self._leases.items():
            if lease.worker == death.worker:
                outcomes = tuple(
                    self._blame(claim, death.why) for claim in lease.turn.claims if claim.image_id in lease.outstanding
                )
                reports.append(Report(lease_id, outcomes, finished=True))
                self._hosts.rest(self._hosts[lease.host_id], self._clock() + death.may_ask_s)
        return reports

    def _blame(self, claim: Claim, why: str) -> Outcome:
        self._deaths[claim.image_id] += 1
        if self._deaths[claim.image_id] % DEATHS_PER_ATTEMPT:
            return Outcome(claim.image_id, http_status=OwnCode.WORKER_DIED)
        verdict = Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER, f"worker processes die while they hold this image ({why})")
        return Outcome(claim.image_id, verdict, http_status=OwnCode.WORKER_DIED, url_no=claim.url_no)

    def _release(self, report: Report, now: float) -> None:
        lease = self._leases.get(report.lease_id)
        if lease is None:
            return
        for outcome in report.outcomes:
            lease.outstanding.discard(outcome.image_id)
            if outcome.verdict is None:  # it will be lent again, here or to another host's turn
                self._totals.lent -= 1
        if not report.finished:
            return
        del self._leases[report.lease_id]
        host = self._hosts[lease.host_id]
        lane = host.lanes[lease.turn.lane]
        lane.leases.remove(report.lease_id)
        if not lane.leases:
            if lease.worker in self._load:
                self._load[lease.worker] -= lane.room
            lane.room = 0
            self._hosts.rest(host, now + host.limits.min_interval_s)
            for waiting in self._hosts.line(host):
                self._look_again(waiting.host_id, now)
        self._look_again(lease.host_id, now)
        lasted_s = now - lease.lent_at
        died = any(outcome.http_status == OwnCode.WORKER_DIED for outcome in report.outcomes)
        if died or lasted_s > LONG_TURN_S:
            lane.claims = max(2 * host.limits.connections, lane.claims // 2)
        elif lasted_s < SHORT_TURN_S and len(lease.turn.claims) == lane.claims:
            lane.claims = min(MAX_CLAIMS, lane.claims * 2)

    def _look_again(self, host_id: int, now: float) -> None:
        host = self._hosts.get(host_id)  # None: a host that this run was told to leave alone
        if host is not None:
            self._agenda.add(host, max(now, host.pace.blocked_until or 0.0))

    def _add(self, settled: lending.Settled) -> None:
        totals = self._totals
        totals.settled += settled.n_settled
        self._ledger.n_done += settled.n_settled
        totals.success += settled.n_success
        totals.adopted += settled.n_adopted
        totals.failed += settled.n_failed
        totals.retries += settled.n_retry
        totals.late += settled.n_late
        totals.stored_bytes += settled.stored_bytes
        totals.received_bytes += settled.received_bytes

    def _retry_wait_s(self, attempts: int) -> float:
        return pace.retry_wait_s(attempts, self._plan.retry_base_s, self._plan.retry_cap_s, self._random.random())

    # -- time

    def _tick(self) -> None:
        now = self._clock()
        self._tell_if_idle(now)
        if self._heart.beat_if_due():
            self._end_hung(now)
        if now - self._last_snapshot_at >= SNAPSHOT_S:
            self._watcher.ticked(self._snapshot())
            self._last_snapshot_at = now

    def _tell_if_idle(self, now: float) -> None:
        """Once for each time that there is nothing to do but wait: who looks at a screen wants to know why nothing happens."""
        first = self._agenda.first()
        if self._leases or self._agenda.is_crowded or first is None:
            self._is_idle = False
        elif not self._is_idle and first.due is not None and first.due - now >= WORTH_TELLING_S:
            self._is_idle = True
            self._watcher.idle(first.due, first.name, first.pace.blocked_why or first.words)

    def _end_hung(self, now: float) -> None:
        """Kill workers that sit on a turn: those that still do at the next look, since a whole job may have been suspended."""
        overdue = {number for number, lease in self._leases.items() if now > lease.turn.expires_at + self._plan.hang_s}
        for worker in {self._leases[number].worker for number in overdue & self._overdue}:
            self._runner.kill(worker)
        self._overdue = overdue

    def _drain(self) -> None:
        """Have workers start nothing more, wait for what is in flight, then take back what is left."""
        for worker in self._load:
            self._runner.send(worker, Orders(drain=True))
        end_at = self._clock() + self._plan.grace_s
        while self._leases and self._clock() < end_at:
            self._settle(self._runner.receive(TICK_S))
            self._tick()
        if self._leases:
            for worker in {lease.worker for lease in self._leases.values()}:
                self._runner.send(worker, Orders(drain=True, closed=True))
            end_at = self._clock() + CANCEL_S
            while self._leases and self._clock() < end_at:
                self._settle(self._runner.receive(TICK_S))
        with self._ledger.transaction() as db:
            lending.take_back(db, list(self._leases))

    def _snapshot(self) -> Snapshot:
        db, now = self._ledger.connection, self._clock()
        blocked = {
            host.name: host.pace.blocked_until
            for host in self._hosts
            if host.pace.blocked_until is not None and host.pace.blocked_until > now
        }
        return Snapshot(
            now,
            self._started_at,
            replace(self._totals),
            questions.image_counts(db),
            tuple(questions.hosts_with_work(db)),
            blocked,
        )
