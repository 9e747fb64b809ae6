"""The only writer of a run: lends turns to workers, settles what they report, drains on a signal or at the deadline.

It fetches nothing, decides nothing about an image and contains no SQL. All that it remembers of a host can be read again from the
ledger, so a new steward resumes where a killed one stopped.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from sqlite3 import Connection

from d4c_images import crash
from d4c_images.durations import show_span
from d4c_images.ledger.file import owner
from d4c_images.ledger.file.connect import Ledger
from d4c_images.ledger.questions import from_counters
from d4c_images.ledger.queue import deferred, giving_up, lending, pacing, refetching, run_ends, settling, wishes
from d4c_images.ledger.queue.placeholders import Watch
from d4c_images.model import Claim, ErrorType, Failure, Orders, Outcome, OwnCode, Report, Status, Totals, Verdict
from d4c_images.policy import pace
from d4c_images.policy.reachability import Silence
from d4c_images.steward import feedback
from d4c_images.steward.first_contact import FirstContact
from d4c_images.steward.hosts import Host, PolitenessGroup, Roster, Scope
from d4c_images.steward.lender import TICK_S, Lender
from d4c_images.steward.shut_doors import DoorNews, Doors
from d4c_images.steward.survey import HostSurvey
from d4c_images.steward.terms import (
    NO_HURRY,
    Died,
    Drain,
    Ending,
    Event,
    Hurry,
    Joined,
    Leaving,
    Plan,
    Reported,
    Runner,
    RunScope,
    Snapshot,
    Watcher,
)  # fmt: skip
from d4c_images.system import clocks

GATHER_S = 1.0
SNAPSHOT_S = 2.0
DRAIN_SNAPSHOT_S = 1.0  # an operator may count the seconds
DEATHS_PER_ATTEMPT = 3
WORTH_TELLING_S = 5.0  # a wait that stops all work
GIVE_UP_IMAGES = 2_000  # per transaction
GIVE_UP_HOSTS = 100  # likewise
TOP_HOSTS = 100  # shown to watchers: those with most images left, and as many that end last
CANCEL_S = 5.0  # for workers to return what they hold, after the grace period


class Steward:
    """One run. `run()` returns when it has ended; call it once."""

    def __init__(
        self, ledger: Ledger, runner: Runner, plan: Plan, watcher: Watcher, clock: Callable[[], float], stop: Callable[[], bool],
        *, hurry: Hurry = NO_HURRY,
    ) -> None:  # fmt: skip
        """`stop()` turns true on a signal. The ledger must be owned (`owner.take`)."""
        assert ledger.run_id is not None
        self._ledger, self._runner, self._plan, self._watcher = ledger, runner, plan, watcher
        self._run_id = ledger.run_id
        self._clock, self._stop, self._hurry = clock, stop, hurry
        self._draining: Drain | None = None
        self._totals = Totals()
        self._started_at = clock()
        self._hosts = Roster(plan.hosts, Scope(plan.only_hosts, plan.refetch))
        self._overdue: set[int] = set()  # leases that were overdue at the last look
        self._deaths: Counter[int] = Counter()  # image id -> worker processes that died while they held it
        self._random = random.Random()
        self._watch = Watch(ledger.connection, plan.placeholders, plan.placeholder_records)
        self._retry = settling.RetryTerms(plan.max_attempts, self._retry_wait_s)
        self._silence = Silence(plan.breaker, None)
        self._contact = FirstContact(self._silence, watcher)
        self._doors = Doors(plan.breaker)
        self._lender = Lender(self._run_id, plan, self._hosts, self._silence, self._totals)
        self._rated_at = self._started_at
        self._is_idle = False
        self._stays_until = 0.0  # although everything has to wait longer than `max_idle_s`
        self._last_snapshot_at = self._started_at
        self._scope = RunScope(tuple(sorted(plan.only_hosts)), plan.max_stored, plan.max_tries)
        self._heart = owner.Heart(ledger, clock)
        self._heart_between = owner.Heart(ledger, clock)  # between the pieces of long operations

    def run(self) -> Ending:
        wishes.take_all(self._ledger, self._started_at, self._heart_between.beat_if_due)
        lending.take_back_left(self._ledger, self._run_id, self._heart_between.beat_if_due)
        with self._ledger.transaction() as db:
            still_asked = lending.asked_by_the_lost(db, self._run_id, self._started_at)
            lending.take_back(db, lending.leases_of_others(db, self._run_id))
            lending.note_lost(db, still_asked, self._started_at, self._started_at + self._plan.lost_ask_s)
        self._doors.begin(self._ledger.connection)
        self._survey()
        self._hosts.rest({asked.host_id for asked in still_asked}, self._started_at + self._plan.lost_ask_s)
        self._lender.begin(self._started_at)
        self._watcher.started(self._snapshot())
        ending = self._contact.ending(self._work())
        self._drain(self._hurry.signal_name() if ending is Ending.SIGNAL else str(ending))
        deferred.drain(  # last: on a signal, the workers' results come first
            self._ledger, self._heart_between.beat_if_due, self._hurry.is_asked
        )
        self._contact.look(is_idle=True)
        run_ends.note_done(self._ledger, self._totals, self._due_at(ending))
        self._watcher.ended(self._snapshot(), ending)
        return ending

    def _survey(self) -> None:
        """Enter all hosts with work into the agenda, some at a time."""
        survey, low = HostSurvey(self._hosts, self._lender.agenda, self._started_at), 0
        for high in survey.steps(self._ledger.connection):
            with self._ledger.transaction() as db:
                pacing.forget_old_bytes(db, self._started_at, low, high)
            low = high
            self._heart.beat_if_due()
        self._silence.answered_at = survey.answered_at

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
        """Events from the workers. Commits are expensive on a shared disk: there, one second of reports is batched."""
        events = self._runner.receive(0.0 if self._silence.lost or self._lender.is_behind else TICK_S)
        is_urgent, end_at = self._heed(events), self._clock() + GATHER_S
        while self._ledger.guard is not None and events and not is_urgent and not self._stop() and self._clock() < end_at:
            more = self._runner.receive(TICK_S)
            is_urgent = self._heed(more)
            events += more
        return events

    def _heed(self, events: list[Event]) -> bool:
        """Before anything is written: if a host has named a wait, other workers start no more requests there.

        Returns whether one was just named: a kill before it is written would lose it.
        """
        reports = [event.report for event in events if isinstance(event, Reported)]
        waiting = {report.lease_id for report in reports if report.hold_s or any(outcome.hold_s for outcome in report.outcomes)}
        self._end({lease.host.group for lease_id in waiting if (lease := self._lender.leases.get(lease_id)) is not None})
        return any(report.hold_s for report in reports)

    def _ending(self) -> Ending | None:
        now = self._clock()
        if self._stop():
            return Ending.SIGNAL
        if self._plan.deadline is not None and now >= self._plan.deadline:
            return Ending.TIME
        if self._lender.leases or self._silence.lost:
            return None
        next_at = self._lender.agenda.next_at()
        is_nothing_due = next_at is None and not self._lender.agenda.is_crowded
        if self._lender.budget == 0:
            return Ending.DONE if is_nothing_due and not self._is_any_paused(now) else Ending.LIMIT
        if is_nothing_due:
            return Ending.WAITING if self._is_any_paused(now) else Ending.DONE
        if self._silence.outage.is_hopeless(now, self._plan.max_idle_s):
            return Ending.OUTAGE
        if next_at is None or self._lender.agenda.is_crowded:  # there is no worker
            return None
        return Ending.WAITING if next_at - now > self._plan.max_idle_s and self._may_leave(next_at) else None

    def _may_leave(self, next_at: float) -> bool:
        """Whether the run may end until then. If not, it waits itself, and does not ask again for the same wait."""
        if next_at <= self._stays_until:
            return False
        if self._plan.may_leave(clocks.now.to_wall(next_at)):
            return True
        self._stays_until = next_at
        return False

    def _due_at(self, ending: Ending) -> float | None:
        """Unix time before which nothing that is left may be asked for; None: something may at once, or nobody knows."""
        now, next_at = self._clock(), self._lender.agenda.next_at()
        if ending is Ending.DONE or self._lender.agenda.is_crowded or self._lender.leases:
            return None
        if next_at is None or (next_at <= now and ending is not Ending.WAITING):
            return None
        return clocks.now.to_wall(next_at)

    # -- lending

    def _is_any_paused(self, now: float) -> bool:
        """Whether images are left that only an operator's pause holds back. Called once, at the end."""
        wall = clocks.now.to_wall(now)
        paused = from_counters.paused_with_work(self._ledger.connection, wall, refetch=self._plan.refetch)
        return any(self._hosts.is_ours(host_id) for host_id in paused)

    def _lend(self) -> None:
        """Lend turns to due hosts, as far as workers have free connections; some at a time, so that work begins soon."""
        now, has_lent = self._clock(), True
        self._lender.is_behind = False
        while has_lent and self._lender.wants_to_lend(now):
            with self._ledger.transaction() as db:
                turns = self._lender.lend(db, now)
            crash.point("lend.committed")
            for worker, turn in turns:  # only after the commit: what a worker holds must be in the ledger
                self._runner.send(worker, Orders(turns=(turn,)))
            has_lent = bool(turns)
            self._contact.blocked(self._lender.take_resting(), now)

    def _end(self, groups: Collection[PolitenessGroup]) -> None:
        """Have workers start no more requests of what was lent to hosts of these groups."""
        if not groups:
            return
        self._end_leases(lease_id for lease_id, lease in self._lender.leases.items() if lease.host.group in groups)

    def _end_leases(self, lease_ids: Iterable[int]) -> None:
        for lease_id in lease_ids:
            self._runner.send(self._lender.leases[lease_id].worker, Orders(end=frozenset((lease_id,))))

    # -- settling

    def _settle(self, events: list[Event]) -> None:
        """Settle what has come in: usually in one transaction; in pieces if it is too much for one."""
        reports = [report for event in events for report in self._reports_of(event)]
        for portion in settling.portions(reports):
            self._settle_portion(portion)
            deferred.drain(self._ledger, self._heart_between.beat_if_due, self._stop)

    def _settle_portion(self, reports: list[Report]) -> None:
        """Settle in one transaction; then update the hosts."""
        now = self._clock()
        was_down = self._silence.outage.down_since is not None
        with self._ledger.transaction() as db:
            reports, seen = self._doors.read(db, reports, self._lender.leases, now)
            settled = settling.settle(db, reports, self._retry, now, self._watch)
            self._doors.tell(seen, settled.hosts)
            self._note_probes(reports, settled.hosts)
            drawn = feedback.draw(db, self._hosts, self._silence, settled.hosts, now)
            grown = self._know(db, settled.moved_to | seen.moved_to, now)
            crash.point("settle.before_commit")
        crash.point("settle.committed")
        if settled.n_unfolded:
            crash.point("unfold.committed")
        self._take_back(reports, settled, now)
        self._end({host.group for host in drawn.blocked})
        self._be_unsure(seen, now)
        for group in drawn.widened:
            self._lender.call(group, now)
        for host in drawn.stirred.union(grown):
            self._lender.look_again(host, now)
        self._totals.add(settled.totals)
        self._ledger.n_done += settled.totals.n_settled
        self._totals.n_failed -= seen.n_back
        self._silence.lost |= seen.lost
        is_down = self._silence.outage.down_since is not None
        if is_down != was_down:
            self._contact.network_down(is_down)
            for host in list(self._hosts):
                self._lender.look_again(host, now)
        self._contact.blocked(drawn.blocked, now)
        self._contact.look(is_idle=False)
        for host_id in seen.for_people:
            if (shut := self._hosts.get(host_id)) is not None:
                self._watcher.host_shut(shut.name, seen.shut[host_id])

    def _take_back(self, reports: Iterable[Report], settled: settling.Settled, now: float) -> None:
        """Release what these reports say is no longer lent, after applying what they say about their hosts."""
        for host_id, news in settled.hosts.items():
            host = self._hosts.get(host_id)
            if host is not None and (news.has_answer or news.n_bad):
                self._lender.answered(host, news.has_answer)
        for report in reports:
            if (lease := self._lender.leases.get(report.lease_id)) is not None:
                self._hosts.changed(lease.host.host_id)
            self._lender.returned(report, now)

    def _be_unsure(self, seen: DoorNews, now: float) -> None:
        """Hold hosts whose redirects lead to one that has not answered yet, or is shut; release those for which that is over."""
        for host_id, to in seen.trusted.items():
            if (host := self._hosts.get(host_id)) is not None:
                host.leads_to = to
        for host_id, until in seen.unsure.items():
            host = self._hosts.get(host_id)
            if host is not None and host.unsure_until != until:
                host.unsure_until = until
                if until:
                    self._end_leases(lease_id for lease_id, lease in self._lender.leases.items() if lease.host is host)
                self._lender.look_again(host, now)

    def _note_probes(self, reports: Collection[Report], news_of: Mapping[int, pace.News]) -> None:
        for report in reports:
            lease = self._lender.leases.get(report.lease_id)
            if lease is not None and lease.is_probe and report.outcomes and lease.host.host_id in news_of:
                news_of[lease.host.host_id].is_probe = True

    def _know(self, db: Connection, host_ids: Collection[int], now: float) -> list[Host]:
        """Hosts whose queue has grown; not those out of scope."""
        hosts = (self._hosts.know(db, host_id, now) for host_id in host_ids)
        return [host for host in hosts if host is not None]

    def _give_up_some(self) -> None:
        """Give up some images of lost hosts; in pieces, so that many of them do not block everything else."""
        if not self._silence.lost:
            return
        now, n_images, done, grown = self._clock(), 0, list[tuple[Host, Failure]](), set[Host]()
        with self._ledger.transaction() as db:
            for host_id, failure in itertools.islice(self._silence.lost.items(), GIVE_UP_HOSTS):
                host = self._hosts.load(db, host_id, now)
                given = giving_up.give_up(db, host_id, host.name, failure, GIVE_UP_IMAGES - n_images, now)
                grown |= set(self._know(db, given.moved_to, now))
                self._totals.n_failed += given.n_failed
                self._ledger.n_done += given.n
                self._hosts.changed(host_id)
                n_dropped = 0
                if given.n == 0 and self._plan.refetch:
                    n_dropped = refetching.drop(db, host_id, GIVE_UP_IMAGES - n_images)
                host.n_given_up += given.n + n_dropped
                n_images += given.n + n_dropped
                if given.n + n_dropped == 0:
                    done.append((host, failure))
                if n_images >= GIVE_UP_IMAGES:
                    break
        deferred.drain(self._ledger, self._heart_between.beat_if_due, self._stop)
        for host in grown:
            self._lender.look_again(host, now)
        for host, failure in done:
            del self._silence.lost[host.host_id]
            self._lender.drop(host.host_id, now)
            self._watcher.host_given_up(host.name, host.n_given_up, host.blocked_why or str(failure.verdict.error_type))
            host.n_given_up = 0

    def _reports_of(self, event: Event) -> list[Report]:
        match event:
            case Reported():
                return [event.report]
            case Died():
                return self._bury(event)
            case Joined():
                self._lender.joined(event.worker)
            case Leaving():
                self._lender.left(event.worker)
                self._runner.send(event.worker, Orders(drain=True))
        return []

    def _bury(self, death: Died) -> list[Report]:
        """Return a dead worker's claims. One that is involved repeatedly may be what kills workers: that counts as an attempt."""
        self._watcher.worker_died(death.why)
        self._lender.left(death.worker)
        held = {lease_id: lease for lease_id, lease in self._lender.leases.items() if lease.worker == death.worker}
        if death.may_ask_s and held:
            self._note_lost({lease.host.host_id for lease in held.values()}, death.may_ask_s)
        return [
            Report(
                lease_id,
                tuple(self._blame(claim, death.why) for claim in lease.turn.claims if claim.image_id in lease.outstanding),
                finished=True,
            )
            for lease_id, lease in held.items()
        ]

    def _note_lost(self, host_ids: set[int], may_ask_s: float) -> None:
        """Lost workers may go on asking these hosts for that long: neither this run nor the next starts a lane there before."""
        now = self._clock()
        self._hosts.rest(host_ids, now + may_ask_s)
        with self._ledger.transaction() as db:
            lending.note_lost(db, [lending.Asked(self._run_id, host_id) for host_id in host_ids], now, now + may_ask_s)

    def _blame(self, claim: Claim, why: str) -> Outcome:
        self._deaths[claim.image_id] += 1
        if self._deaths[claim.image_id] % DEATHS_PER_ATTEMPT:
            return Outcome(claim.image_id, http_status=OwnCode.WORKER_DIED)
        verdict = Verdict(Status.FAILED_TRANSIENT, ErrorType.OTHER, f"worker processes die while processing this image ({why})")
        return Outcome(claim.image_id, verdict, http_status=OwnCode.WORKER_DIED, url_no=claim.url_no)

    def _retry_wait_s(self, attempts: int) -> float:
        return pace.retry_wait_s(attempts, self._plan.retry_base_s, self._plan.retry_cap_s, self._random.random())

    # -- time

    def _tick(self, snapshot_s: float = SNAPSHOT_S) -> None:
        now = self._clock()
        self._tell_if_idle(now)
        if self._heart.beat_if_due():
            self._end_hung(now)
            self._note_rates(now)
        if now - self._last_snapshot_at >= snapshot_s:
            taken = wishes.take_all(self._ledger, now, self._heart.beat_if_due)
            if taken:
                self._go_by_wishes(taken, now)
            self._watcher.ticked(self._snapshot())
            self._last_snapshot_at = now

    def _go_by_wishes(self, taken: Collection[wishes.Wish], now: float) -> None:
        groups: set[PolitenessGroup] = set()
        with self._ledger.transaction() as db:
            if any(wish.what in (wishes.SET, wishes.UNSET) for wish in taken):
                changed = feedback.go_by_limits(db, self._hosts, now)
                groups |= {host.group for host in changed}
                for host in changed:
                    self._lender.look_again(host, now)
        names = {name for wish in taken if wish.what in (wishes.PAUSE, wishes.RESUME) for name in wish.hosts}
        for host_id, until in self._hosts.take_pauses(wishes.pauses(self._ledger, names, self._heart.beat_if_due)):
            self._lender.paused(host_id, until, now)
            paused = self._hosts.get(host_id)
            if paused is not None and paused.is_paused(now):
                groups.add(paused.group)
        if any(wish.what == wishes.RESUME for wish in taken):
            self._ask_again(self._doors.forget_opened(self._ledger.connection), now)
        self._end(groups)
        for group in self._hosts.shared:
            self._lender.call(group, now)

    def _ask_again(self, host_ids: Collection[int], now: float) -> None:
        """Hosts that were shut until an operator reopened them."""
        with self._ledger.transaction() as db:
            for host_id in filter(self._hosts.is_ours, host_ids):
                host = self._hosts.load(db, host_id, now)
                host.pace = pacing.load(db, host_id).pace  # with the wait that the host named itself, if any
                self._lender.look_again(host, now)

    def _note_rates(self, now: float) -> None:
        """Store how fast hosts are, for reports: from what has been done since the last time."""
        self._hosts.recount(self._ledger.connection)
        rates = self._hosts.rates(max(now - self._rated_at, 1.0))
        self._rated_at = now
        with self._ledger.transaction() as db:
            pacing.save_rates(db, rates)

    def _tell_if_idle(self, now: float) -> None:
        """Report each wait of the whole run once: an operator wants to know why nothing happens."""
        first = self._lender.agenda.first()
        if self._lender.leases or self._lender.agenda.is_crowded or first is None:
            self._is_idle = False
        elif not self._is_idle and first[0] - now >= WORTH_TELLING_S:
            self._is_idle = True
            self._contact.look(is_idle=True)
            if not self._contact.may_tell_idle():
                return
            with self._ledger.transaction() as db:
                host = self._hosts.load(db, first[1], now)
            why = "" if self._contact.is_in_doubt else host.blocked_why or host.words
            self._watcher.idle(first[0], host.name, why)

    def _end_hung(self, now: float) -> None:
        """Kill workers that sit on a turn: only those still overdue at the next look, since a whole job may have been suspended."""
        overdue = {number for number, lease in self._lender.leases.items() if now > lease.turn.expires_at + self._plan.hang_s}
        for worker in {self._lender.leases[number].worker for number in overdue & self._overdue}:
            self._runner.kill(worker)
        self._overdue = overdue

    def _drain(self, why: str) -> None:
        """Have workers start no more requests, wait for those in flight, then take back what is left."""
        end_at = self._clock() + self._plan.grace_s
        self._draining = Drain(why, end_at, self._plan.grace_s, self._hurry.may_come())
        if not self._lender.leases:
            return
        self._watcher.draining(self._draining, self._in_flight())
        for worker in self._lender.workers:
            self._runner.send(worker, Orders(drain=True))
        while self._lender.leases and self._clock() < end_at and not self._hurry.is_asked():
            self._settle(self._runner.receive(TICK_S))
            self._tick(DRAIN_SNAPSHOT_S)
        if self._lender.leases:
            self._drop(self._draining)
        if self._lender.leases:
            self._note_lost({lease.host.host_id for lease in self._lender.leases.values()}, self._plan.lost_ask_s)
        with self._ledger.transaction() as db:
            lending.take_back(db, list(self._lender.leases))

    def _drop(self, draining: Drain) -> None:
        """Have workers give back what is in flight: its images are pending again, and no attempt is counted."""
        drops = "Ctrl-C again" if self._hurry.is_asked() else f"{show_span(draining.grace_s)} are over"
        self._draining = replace(draining, drops=drops)
        self._watcher.draining(self._draining, self._in_flight())
        for worker in {lease.worker for lease in self._lender.leases.values()}:
            self._runner.send(worker, Orders(drain=True, closed=True))
        end_at = self._clock() + CANCEL_S
        while self._lender.leases and self._clock() < end_at:
            self._settle(self._runner.receive(TICK_S))

    def _in_flight(self) -> Counter[str]:
        """Requests per host, at most: workers start fewer if a host requires pauses. Exact once they have returned what waits."""
        held, connections = Counter[tuple[str, int]](), dict[tuple[str, int], int]()
        for lease in self._lender.leases.values():
            lane = (lease.host.name, lease.turn.lane)
            held[lane] += len(lease.outstanding)
            connections[lane] = lease.host.lanes[lease.turn.lane].connections
        requests = Counter[str]()
        for (host, number), n in held.items():
            requests[host] += min(n, connections[host, number])
        return requests

    def _snapshot(self) -> Snapshot:
        db, now = self._ledger.connection, self._clock()
        wall = clocks.now.to_wall(now)  # pauses end by the wall clock
        self._hosts.recount(db)
        host_ids = self._hosts.top(self._lender.agenda.least_s, TOP_HOSTS)
        states = from_counters.host_states(db, host_ids)
        n_blocked, n_paused = self._n_blocked_and_paused(now, wall)
        return Snapshot(
            now,
            self._started_at,
            replace(self._totals),
            from_counters.image_counts(db.execute, refetch=self._plan.refetch, hosts=self._scope.hosts),
            tuple(from_counters.HostCount(host_id, states[host_id].host, self._hosts.n_left[host_id]) for host_id in host_ids),
            self._hosts.n_with_work,
            {
                state.host: until
                for host_id, state in states.items()
                if (until := self._hosts.waits_until(host_id, state.blocked_until)) > now
            },
            frozenset(state.host for state in states.values() if state.paused_until > wall),
            n_blocked,
            n_paused,
            self._scope,
            self._in_flight(),
            self._draining,
        )

    def _n_blocked_and_paused(self, now: float, wall: float) -> tuple[int, int]:
        """Of the hosts that this run is about."""
        db = self._ledger.connection
        if not self._scope.hosts:
            n_blocked = from_counters.n_blocked(db, now) - self._hosts.n_open_again(now) + self._hosts.n_held(db, now)
            return n_blocked, from_counters.n_paused(db, wall)
        ours = from_counters.host_states(db, from_counters.host_numbers(db, self._scope.hosts))
        n_blocked = sum(self._hosts.waits_until(number, state.blocked_until) > now for number, state in ours.items())
        return n_blocked, sum(state.paused_until > wall for state in ours.values())
