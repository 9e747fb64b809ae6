"""Lends turns: within the limits of groups, the pace of hosts and the free connections of workers. Settles and sends nothing.

A group's connections are divided among the lanes of its hosts; a lane is one worker's share, and its turns are consecutive. Limits
that apply from one request to the next (an interval, bytes) are kept by one lane at a time.

Hosts that share a group wait for its connections in a line, as numbers. When one is free, or will be as soon as a wait is over, it
is reserved for the host at the front, which is called: it then enters the agenda, like a host without a group.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from sqlite3 import Connection

from d4c_images.ledger.queue import lending, pacing
from d4c_images.model import Claim, OwnCode, Report, Totals, Turn
from d4c_images.policy import pace, shares
from d4c_images.policy.reachability import Silence
from d4c_images.policy.shares import Share, Spare
from d4c_images.steward.host_queue import NOWHERE, Agenda
from d4c_images.steward.hosts import Host, HostLane, Lease, PolitenessGroup, Roster
from d4c_images.steward.terms import Plan

TURN_EXPIRES_S = 120.0  # no request of a turn is started later than this
NEW_SHARE = 4  # at most one connection in this many waits for hosts that have not answered yet
MAX_TURNS = 64  # per transaction
MAX_LOOKS = 512  # likewise: hosts looked at, most in vain if there are so many
TICK_S = 0.25
MOST_CHAINS = 1000  # of redirects across hosts, whose cookies are remembered
MOST_COOKIES = 16_384  # characters per chain


class Lender:
    """The state of leases in one run."""

    def __init__(self, run_id: int, plan: Plan, hosts: Roster, silence: Silence, totals: Totals) -> None:
        self._run_id, self._plan, self._hosts, self._silence, self._totals = run_id, plan, hosts, silence, totals
        self.agenda = Agenda()
        self.leases: dict[int, Lease] = {}
        self._load: dict[int, int] = {}  # worker accepting turns -> connections granted
        self._resting: list[Host] = []  # of groups that have reached their daily limit since `take_resting`
        self._cookies: dict[int, tuple[str, ...]] = {}  # image -> those of a redirect chain that continues at another host
        self._n_out = 0  # images that are lent
        self._n_new = 0  # lanes of hosts without an answer yet
        self.is_behind = False  # more hosts are due than could be looked at

    @property
    def budget(self) -> int | None:
        """How many more images may be lent; None for no limit. Whatever is lent may be stored, so there is never more of it than
        that leaves room for."""
        plan, left = self._plan, []
        if plan.max_tries is not None:
            left.append(plan.max_tries - self._totals.n_lent)
        if plan.max_stored is not None:
            left.append(plan.max_stored - self._totals.n_kept - self._n_out)
        return max(0, min(left)) if left else None

    def wants_to_lend(self, now: float) -> bool:
        return self._silence.outage.may_ask(now) and self.budget != 0 and self.agenda.is_anybody_due(now)

    def joined(self, worker: int) -> None:
        """A worker accepts turns from now on."""
        self._load[worker] = 0

    def left(self, worker: int) -> None:
        """The worker accepts no more turns."""
        self._load.pop(worker, None)

    @property
    def workers(self) -> Collection[int]:
        return self._load.keys()

    def begin(self, now: float) -> None:
        """Call this once all hosts are known."""
        for group in self._hosts.shared:
            self.call(group, now)

    def look_again(self, host: Host, now: float) -> None:
        until = host.paused_until if host.is_paused(now) else host.blocked_until
        if until is None or until < float("inf"):
            self._come(host, max(now, until or 0.0))

    def paused(self, host_id: int, until: float | None, now: float) -> None:
        """An operator has paused a host, loaded or not, or resumed it (None)."""
        host = self._hosts.get(host_id)
        if host is not None:
            self.look_again(host, now)
        elif until is None or until <= now:
            if self._hosts.n_left[host_id]:
                self._add(host_id, now)
        elif (self.agenda.due(host_id) or now) < until:
            self.drop(host_id, now)
            if self._hosts.n_left[host_id] and until < float("inf"):
                self._add(host_id, until)

    def drop(self, host_id: int, now: float) -> None:
        """There is nothing to do at a host, at least for a while: a connection reserved for it goes to the next one."""
        self.agenda.drop(host_id)
        group = self._hosts.shared_group(host_id)
        if group is not None:
            group.called.discard(host_id)
            self.call(group, now)

    def _add(self, host_id: int, when: float) -> None:
        """For a host that is not loaded: its duration is the one it had when it was last in the agenda."""
        group = self._hosts.shared_group(host_id)
        known_s = self.agenda.least_s_of(host_id)
        least_s = known_s if group is None else group.least_s()
        self.agenda.add(host_id, when, least_s, has_answered=self.agenda.is_known(host_id))

    def _come(self, host: Host, when: float) -> None:
        self.agenda.add(host.host_id, when, host.group.least_s(), has_answered=host.has_answered)

    def call(self, group: PolitenessGroup, now: float) -> None:
        """Call as many hosts of the group's line as there are free connections; one host if all have to wait."""
        while group.is_shared and group.line and len(group.called) < group.n_to_call(now):
            host_id = self._hosts.call(group)
            host = self._hosts.get(host_id)
            is_known = host.has_answered if host is not None else self.agenda.is_known(host_id)
            self.agenda.add(host_id, max(now, group.opens_at()), group.least_s(), has_answered=is_known)

    def lend(self, db: Connection, now: float) -> list[tuple[int, Turn]]:
        """Turns for due hosts, as far as workers have free connections, with the worker for each; a limited number per call."""
        turns: list[tuple[int, Turn]] = []
        n_looks, self.is_behind = 0, False
        while self.budget != 0 and self._room() > 0 and len(turns) < MAX_TURNS:
            if turns and self._silence.outage.down_since is not None:
                break
            if n_looks == MAX_LOOKS:
                self.is_behind = True
                break
            n_looks += 1
            host_id = self.agenda.pop(now, may_be_new=NEW_SHARE * self._n_new < len(self._load) * self._plan.max_connections)
            if host_id is None:
                break
            if not self._waits_in_line(host_id, now):
                turns += self._lend_host(db, self._hosts.load(db, host_id, now), now)
        self._hosts.shed(now)
        if turns:
            self._silence.outage.asked(now)
        return turns

    def take_resting(self) -> list[Host]:
        """Hosts whose groups were found to have reached their daily limit since the last call."""
        resting, self._resting = self._resting, []
        return resting

    def _waits_in_line(self, host_id: int, now: float) -> bool:
        """Whether a due host has to wait for others of its group. One that has lanes may get more of them."""
        group = self._hosts.shared_group(host_id)
        if group is None or ((host := self._hosts.get(host_id)) is not None and host.lanes):
            return False
        if host_id in group.called:
            group.called.discard(host_id)
            if group.opens_at() <= now and group.free > 0:
                return False
            self._hosts.stand_in_front(group, host_id)
        elif not self._hosts.is_in_line(host_id):
            if group.opens_at() <= now and group.n_to_call(now) > group.n_waiting:
                return False
            self._hosts.stand_in_line(group, host_id)
        self.call(group, now)
        return True

    def returned(self, report: Report, now: float) -> None:
        """Take back what a report, settled by now, says is no longer lent."""
        lease = self.leases.get(report.lease_id)
        if lease is None:
            return
        n_before = len(lease.outstanding)
        for outcome in report.outcomes:
            lease.outstanding.discard(outcome.image_id)
            if outcome.verdict is None or outcome.verdict.is_shut_out:  # it will be lent again, here or in another host's turn
                self._totals.n_lent -= 1
            if outcome.move is not None:
                self._remember(outcome.image_id, outcome.move.cookies)
            elif self._cookies and (outcome.verdict or outcome.unfolding):
                self._cookies.pop(outcome.image_id, None)
        self._n_out -= n_before if report.finished else n_before - len(lease.outstanding)
        if not report.finished:
            return
        del self.leases[report.lease_id]
        host, lane = lease.host, lease.host.lanes[lease.turn.lane]
        lane.leases.remove(report.lease_id)
        self._measure(host, lane)
        if not lane.leases:
            self._close(host, lane, now)
        self.look_again(host, now)
        host.claims_each = shares.claims_each_after(
            host.claims_each,
            now - lease.lent_at,
            was_full=len(lease.turn.claims) >= host.claims_each * lease.turn.connections,
            has_killed=any(outcome.http_status == OwnCode.WORKER_DIED for outcome in report.outcomes),
        )

    def _remember(self, image_id: int, cookies: tuple[str, ...]) -> None:
        """Until the image has had its attempt. Not stored in the ledger: a new run gets new cookies."""
        self._cookies.pop(image_id, None)
        if cookies and sum(map(len, cookies)) <= MOST_COOKIES:
            if len(self._cookies) == MOST_CHAINS:
                del self._cookies[next(iter(self._cookies))]
            self._cookies[image_id] = cookies

    def answered(self, host: Host, has_answered: bool) -> None:
        """Record whether the host is currently responding: unless it is, it gets one connection."""
        if host.has_answered != has_answered:
            self._n_new += len(host.lanes) * (-1 if has_answered else 1)
            host.has_answered = has_answered

    def _room(self) -> int:
        """Free connections of the least busy worker."""
        return self._plan.max_connections - min(self._load.values(), default=self._plan.max_connections)

    def _close(self, host: Host, lane: HostLane, now: float) -> None:
        group = host.group
        self._n_new -= not host.has_answered
        del host.lanes[lane.number]
        group.rests_until = max(group.rests_until, now + max(group.limits.min_interval_s, group.interval_s))
        self.call(group, now)

    # one host

    def _lend_host(self, db: Connection, host: Host, now: float) -> list[tuple[int, Turn]]:
        """Turns for one host. Whatever limits it also brings it back: a date in the agenda, or the end of a turn."""
        turns = list(self._lend_lanes(db, host, now))
        self.call(host.group, now)  # the connections it left over
        if not host.lanes and self.agenda.place(host.host_id) == NOWHERE and host.host_id not in self._silence.lost:
            self._hosts.forget(host, now)  # nothing is waiting there
        return turns

    def _lend_lanes(self, db: Connection, host: Host, now: float) -> list[tuple[int, Turn]]:
        allowed = pace.allowed(host.pace, now)
        if allowed is None and self._silence.outage.down_since is not None:
            allowed = 1
        if host.is_paused(now) or allowed == 0 or now < host.group.held_until:
            self.look_again(host, now)
            return []
        if host.unsure_until:
            allowed = 1
            if now < host.unsure_until:
                self._come(host, host.unsure_until)
                return []
        if host.lanes and allowed is not None:
            return []  # a probe is under way: its end brings the host back
        turns = self._follow(db, host, now)
        while not host.lanes or (host.has_answered and allowed is None):
            turn = self._open(db, host, allowed, now)
            if turn is None:
                break
            turns.append(turn)
        return turns

    def _follow(self, db: Connection, host: Host, now: float) -> list[tuple[int, Turn]]:
        """Queue a turn after each that is half done, so that no lane runs dry: unless another host of its group waits for it."""
        group, turns = host.group, []
        has_bytes_to_count = group.limits.bytes_per_s or group.limits.bytes_per_day
        if not host.has_answered or has_bytes_to_count or group.n_waiting:
            return []
        for lane in host.lanes.values():
            if lane.worker not in self._load:  # it is leaving
                continue
            lease = self.leases[lane.leases[0]]
            n_claims = len(lease.turn.claims)
            if len(lane.leases) > 1 or n_claims < 2 or 2 * len(lease.outstanding) > n_claims:
                continue
            # While the group rests, a worker out of contact may still be using its share.
            room = 0 if now < group.rests_until else max(0, self._plan.max_connections - self._load[lane.worker])
            spare = Spare(group.width - group.granted, group.reach, room)
            turn = self._turn(db, host, lane, shares.of_next_turn(lane.connections, spare), now)
            if turn is not None:
                turns.append((lane.worker, turn))
        return turns

    def _open(self, db: Connection, host: Host, allowed: int | None, now: float) -> tuple[int, Turn] | None:
        """A turn in a new lane."""
        group, widths = host.group, [lane.connections for lane in host.lanes.values()]
        spare = Spare(group.free, group.reach, self._room(), group.n_waiting)
        share = shares.of_new_lane(spare, widths, allowed, has_answered=host.has_answered)
        if share is None:
            return None  # the end of a lane brings it back
        rests_until = max(group.rests_until, group.paid_until)
        if now < rests_until:
            self._come(host, rests_until)
            return None
        number = next(number for number in range(len(host.lanes) + 1) if number not in host.lanes)
        lane = HostLane(number, min(self._load, key=self._load.__getitem__))
        turn = self._turn(db, host, lane, share, now)
        return None if turn is None else (lane.worker, turn)

    def _turn(self, db: Connection, host: Host, lane: HostLane, share: Share, now: float) -> Turn | None:
        """The next turn of a lane; None if nothing is waiting now."""
        max_bytes = self._bytes_left(db, host, now)
        if max_bytes == 0:
            return None
        terms = self._terms(host, lane.number, share, max_bytes, now)
        turn = lending.lend(db, self._run_id, host.host_id, host.name, terms, self._plan.max_attempts, now)
        if turn is None:
            when = lending.earliest(db, host.host_id, refetch=self._plan.refetch)
            if when is not None:
                self._come(host, max(when, now + TICK_S))
            return None
        turn = replace(
            turn,
            connections=turn.connections if lane.leases else min(turn.connections, len(turn.claims)),  # one claim needs one
            claims=tuple(self._with_cookies(claim) for claim in turn.claims) if self._cookies else turn.claims,
            at_first=share.at_first,
            leads_to=host.leads_to,
            group=host.group.name if host.group.is_shared else None,
        )
        self._note_lent(turn, host, lane, now)
        return turn

    def _terms(self, host: Host, lane: int, share: Share, max_bytes: int | None, now: float) -> lending.TurnTerms:
        limits, deadline = host.group.limits, self._plan.deadline
        return lending.TurnTerms(
            lane=lane,
            connections=share.connections,
            min_interval_s=max(limits.min_interval_s, host.group.interval_s),
            max_claims=shares.max_claims(share, host.claims_each, self.budget),
            expires_at=now + TURN_EXPIRES_S if deadline is None else min(now + TURN_EXPIRES_S, deadline),
            bytes_per_s=limits.bytes_per_s,
            max_bytes=max_bytes,
            refetch=self._plan.refetch,
            # Probes alternate between both ends: what one archive lacks, another may have.
            from_end=share.max_claims == 1 and host.pace.block_level % 2 == 1,
        )

    def _note_lent(self, turn: Turn, host: Host, lane: HostLane, now: float) -> None:
        if not lane.leases:
            host.lanes[lane.number] = lane
            self._n_new += not host.has_answered
        lane.leases.append(turn.lease_id)
        outstanding = {claim.image_id for claim in turn.claims}
        is_probe = pace.allowed(host.pace, now) == 1
        self.leases[turn.lease_id] = Lease(turn, host, lane.worker, outstanding, now, is_probe)
        self._measure(host, lane)
        self._totals.n_lent += len(turn.claims)
        self._n_out += len(outstanding)

    def _with_cookies(self, claim: Claim) -> Claim:
        cookies = self._cookies.get(claim.image_id)
        return claim if cookies is None or claim.redirect_url is None else replace(claim, cookies=cookies)

    def _measure(self, host: Host, lane: HostLane) -> None:
        """Update what the lane takes from its group and its worker: requests of an earlier turn may still be in flight."""
        connections = max((self.leases[lease_id].turn.connections for lease_id in lane.leases), default=0)
        if lane.worker in self._load:
            self._load[lane.worker] += connections - lane.connections
        host.group.granted += connections - lane.connections
        lane.connections = connections

    def _bytes_left(self, db: Connection, host: Host, now: float) -> int | None:
        """Bytes that the host's group may still send today; None without such a limit. If none are left, it rests."""
        group = host.group
        if group.limits.bytes_per_day is None:
            return None
        if group.by_hour is None:
            group.by_hour = self._hosts.hours(db, host, now)
        day = pacing.day_bytes(group.by_hour, group.limits.bytes_per_day, now)
        if day.left == 0:
            self._rest_for_the_day(db, host, day.again_at)
        return day.left

    def _rest_for_the_day(self, db: Connection, host: Host, again_at: float) -> None:
        group = host.group
        if group.is_shared:
            group.held_until, group.held_why = again_at, pace.DAY_IS_OVER
            pacing.save_hold(db, group.name, again_at, pace.DAY_IS_OVER)
        else:
            host.pace = replace(host.pace, blocked_until=again_at, blocked_why=pace.DAY_IS_OVER)
            pacing.save_pace(db, host.host_id, host.pace)
        self._come(host, again_at)
        self._resting.append(host)
