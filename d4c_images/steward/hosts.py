"""The hosts that a run works on, in their politeness groups, as far as it knows them now. Lends nothing and writes only limits.

A group is what limits apply to: hosts that share a server, or usually one host alone, whose group then has its name.

There may be a million hosts, so most of them are a few numbers in arrays (index `host_rows.host_id`: the numbers start at 1 and
have no gaps). A host is loaded, as an object, when it is due, and unloaded when nothing of it is lent; if more than `HOSTS_LOADED`
are loaded, also while it waits. What is unloaded can be read from the ledger, or is in the arrays.
"""

from __future__ import annotations

import heapq
import math
import sqlite3
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from d4c_images.ledger.questions import from_counters
from d4c_images.ledger.queue import pacing
from d4c_images.model import Turn
from d4c_images.policy import pace
from d4c_images.policy.limits import HostLimits, HostTable, LimitBook
from d4c_images.system import clocks

HOSTS_LOADED = 8192  # loaded hosts, apart from those with leases
ALONE = -1  # group number of a host that shares its limits with none
NOT_OURS = -2  # group number of a host outside this run's scope
NOT_MET = -3
HOSTS_PER_QUESTION = 10_000
FEW = 10_000  # for up to this many hosts numpy is not imported
FORGET_RESTS_S = 3600.0  # after a rest's end: an interval that a host's answers asked for is kept this long


@dataclass(slots=True)
class Lease:
    turn: Turn
    host: Host
    worker: int
    outstanding: set[int]  # image ids without an outcome
    lent_at: float
    is_probe: bool = False  # of a blocked host: the answer says whether it works again


@dataclass(slots=True)
class HostLane:
    """One worker's share of a host: consecutive turns."""

    number: int
    worker: int
    connections: int = 0  # taken from its group and its worker: the most that an active turn may use
    leases: list[int] = field(default_factory=list)  # the active turn and at most one queued after it


class Line:
    """Hosts, by number, first come first served."""

    def __init__(self) -> None:
        self._host_ids = array("i")
        self._at = 0

    def __len__(self) -> int:
        return len(self._host_ids) - self._at

    def append(self, host_id: int) -> None:
        self._host_ids.append(host_id)

    def push_front(self, host_id: int) -> None:
        """Put a host that was called back in its place."""
        if self._at:
            self._at -= 1
            self._host_ids[self._at] = host_id
        else:
            self._host_ids.insert(0, host_id)

    def pop(self) -> int:
        host_id = self._host_ids[self._at]
        self._at += 1
        if self._at > 1024 and 2 * self._at > len(self._host_ids):
            del self._host_ids[: self._at]
            self._at = 0
        return host_id


@dataclass(slots=True, eq=False)
class PolitenessGroup:
    """Hosts that share limits."""

    name: str
    limits: HostLimits
    speed: pace.Speed = field(default_factory=pace.Speed)
    image_bytes: float = 0.0  # per request, on average
    is_shared: bool = False  # False: one host alone
    n_left: int = 0  # approximate, over all its hosts
    granted: int = 0  # connections granted to lanes of its hosts
    line: Line = field(default_factory=Line)  # hosts waiting for a connection
    called: set[int] = field(default_factory=set)  # hosts from its front for which one is reserved
    rests_until: float = 0.0  # the interval between two requests, kept from one turn to the next
    paid_until: float = 0.0  # likewise, the time that its bytes take at bytes_per_s
    interval_s: float = 0.0  # requested by its answers
    held_until: float = 0.0  # a wait that one of its hosts asked for, for all of them
    held_why: str | None = None
    by_hour: dict[int, int] | None = None  # bytes of the last day; None: not loaded yet

    @property
    def width(self) -> int:
        """Its congestion window, in connections, within its limits."""
        return max(1, min(self.limits.connections, int(self.speed.width)))

    @property
    def reach(self) -> int:
        """How many more its lanes may take on their own while images come in: all of them, if it was never narrowed."""
        return (self.limits.connections if self.speed.narrowed_at is None else self.width) - self.granted

    @property
    def free(self) -> int:
        """Connections for new lanes."""
        return 0 if self.limits.is_for_one_lane and self.granted else self.width - self.granted

    @property
    def n_waiting(self) -> int:
        """Hosts waiting for a connection."""
        return len(self.line) + len(self.called) if self.is_shared else 0

    def opens_at(self) -> float:
        """When a lane may start, according to its waits."""
        return max(self.rests_until, self.paid_until, self.held_until)

    def n_to_call(self, now: float) -> int:
        """For how many hosts a connection is free, or will be as soon as its wait is over."""
        is_for_one = self.limits.is_for_one_lane or self.opens_at() > now
        return min(1, self.free) if is_for_one else self.free

    def least_s(self) -> float:
        """The minimum time for all that is left of it."""
        return pace.least_s(self.n_left, self.limits, self.speed.latency_s, self.image_bytes)


@dataclass(slots=True, eq=False)
class Host:
    host_id: int
    name: str
    group: PolitenessGroup
    pace: pace.HostPace
    lanes: dict[int, HostLane] = field(default_factory=dict)  # by number
    has_answered: bool = False  # in this run, and recently: otherwise it gets one connection
    claims_each: int = 2  # claims per connection in its next turn: few at first, so that it soon gets more connections
    paused_until: float | None = None  # by an operator; infinity: until resumed
    words: str = ""  # its latest trouble
    n_given_up: int = 0  # images given up so far, while it is being given up
    leads_to: str = ""  # another host: many redirects to it in a row are normal
    unsure_until: float = 0.0  # no request before, then one image at a time: its redirects lead to an unknown host; 0: no limit

    def is_paused(self, now: float) -> bool:
        return self.paused_until is not None and now < self.paused_until

    @property
    def blocked_until(self) -> float | None:
        """Its own wait, or its group's."""
        until = max(self.pace.blocked_until or 0.0, self.group.held_until)
        return until or None

    @property
    def blocked_why(self) -> str | None:
        return self.group.held_why if self.group.held_until > (self.pace.blocked_until or 0.0) else self.pace.blocked_why


class Scope(NamedTuple):
    """What a run is restricted to."""

    only: Collection[str] = ()  # these hosts; if empty, all
    refetch: bool = False  # also stored images waiting to be refetched


class _Later(NamedTuple):
    """A wait that ends earlier by this run's clock than in the ledger, which keeps it for later runs (`SteadyClock.for_others`)."""

    until: float
    in_ledger: int


class _Rest(NamedTuple):
    """State of a single host's group that must survive unloading."""

    until: float
    interval_s: float


class Roster:
    """Hosts by number and groups by name."""

    def __init__(self, table: HostTable, scope: Scope) -> None:
        """`table` has lower priority than the limits in the ledger."""
        self._table, self.scope = table, scope
        self.book = LimitBook(table)
        self.known_groups: dict[str, pacing.KnownGroup] = {}
        self._loaded: dict[int, Host] = {}
        self._shared: list[PolitenessGroup] = []
        self._numbers: dict[str, int] = {}  # of shared groups
        self.n_left = array("i")  # by host: images, approximately
        self.group_no = array("i")  # by host: in `_shared`, or ALONE, ...
        self._answered = bytearray()  # by host: 1 if it had answered when it was unloaded
        self._in_line = bytearray()  # by host: 1 if it is in its group's line
        self._rests: dict[int, _Rest] = {}  # of hosts that are not loaded
        self._later: dict[int, _Later] = {}  # by host
        self._changed: set[int] = set()  # hosts whose number of images left has changed
        self._left_then: dict[int, int] = {}  # images left when rates were last observed
        self._shed_at = HOSTS_LOADED
        self.n_with_work = 0  # hosts in scope with images left

    def __len__(self) -> int:
        """How many hosts are loaded."""
        return len(self._loaded)

    def __iter__(self) -> Iterator[Host]:
        """The loaded hosts."""
        return iter(self._loaded.values())

    def get(self, host_id: int) -> Host | None:
        """The host, if it is loaded."""
        return self._loaded.get(host_id)

    # -- hosts as numbers

    def go_by(self, db: sqlite3.Connection) -> None:
        """Apply operators' settings from now on."""
        self.book = LimitBook(self._table, pacing.wanted_limits(db.execute))

    def grow(self, n: int) -> None:
        """Make space for hosts with numbers below `n`."""
        more = n - len(self.n_left)
        if more > 0:
            more = max(more, len(self.n_left) // 8)
            self.n_left.extend([0] * more)
            self.group_no.extend([NOT_MET] * more)
            self._answered.extend(bytes(more))
            self._in_line.extend(bytes(more))

    def is_new(self, host_id: int) -> bool:
        """Whether the host was added to the ledger since this run began."""
        return host_id >= len(self.group_no) or self.group_no[host_id] == NOT_MET

    def is_ours(self, host_id: int) -> bool:
        return host_id < len(self.group_no) and self.group_no[host_id] >= ALONE

    def shared_group(self, host_id: int) -> PolitenessGroup | None:
        """The host's group, if it shares its limits with others."""
        number = self.group_no[host_id]
        return self._shared[number] if number >= 0 else None

    def number_of(self, name: str) -> int:
        """The number of a shared group; a new one is created."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._shared)
            known = self.known_groups.get(name, pacing.KnownGroup(None, None, None))
            group = PolitenessGroup(name, self.book.group_limits(name), known.speed or pace.Speed(), is_shared=True)
            group.held_until, group.held_why = float(known.held_until or 0), known.held_why
            self._shared.append(group)
        return number

    @property
    def shared(self) -> Sequence[PolitenessGroup]:
        return self._shared

    def stand_in_line(self, group: PolitenessGroup, host_id: int) -> None:
        if not self._in_line[host_id]:
            self._in_line[host_id] = 1
            group.line.append(host_id)

    def stand_in_front(self, group: PolitenessGroup, host_id: int) -> None:
        self._in_line[host_id] = 1
        group.line.push_front(host_id)

    def call(self, group: PolitenessGroup) -> int:
        """Call the host at the front of the line: a connection is reserved for it."""
        host_id = group.line.pop()
        self._in_line[host_id] = 0
        group.called.add(host_id)
        return host_id

    def is_in_line(self, host_id: int) -> bool:
        return bool(self._in_line[host_id])

    def rest(self, host_ids: Iterable[int], until: float) -> None:
        """No lane may start before then at hosts that share limits with one of these: a lost worker may still be asking there."""
        for host_id in host_ids:
            self.grow(host_id + 1)
            number, host = self.group_no[host_id], self._loaded.get(host_id)
            group = self._shared[number] if number >= 0 else host.group if host is not None else None
            if group is not None:
                group.rests_until = max(group.rests_until, until)
            else:
                old = self._rests.get(host_id, _Rest(0.0, 0.0))
                self._rests[host_id] = old._replace(until=max(old.until, until))

    # -- hosts as objects

    def know(self, db: sqlite3.Connection, host_id: int, now: float) -> Host | None:
        """A host whose queue has grown; None if it is out of scope."""
        if self.is_new(host_id):
            self.grow(host_id + 1)
            name = from_counters.host_name(db, host_id)
            group = self.book.limits(name).group
            is_ours = not self.scope.only or name in self.scope.only
            self.group_no[host_id] = NOT_OURS if not is_ours else ALONE if group is None else self.number_of(group)
        if not self.is_ours(host_id):
            return None
        if not self.n_left[host_id]:
            self._count(host_id, 1)
        self._changed.add(host_id)
        return self.load(db, host_id, now)

    def load(self, db: sqlite3.Connection, host_id: int, now: float) -> Host:
        """The host, with what the ledger remembers of it. It must be in scope."""
        host = self._loaded.get(host_id)
        if host is not None:
            return host
        known = pacing.load(db, host_id)
        group = self.shared_group(host_id)
        if group is None:
            rest = self._rests.pop(host_id, _Rest(0.0, 0.0))
            limits, n_left = self.book.limits(known.name), self.n_left[host_id]
            group = PolitenessGroup(known.name, limits, known.speed, known.image_bytes, n_left=n_left)
            group.rests_until, group.interval_s = rest
        host = Host(host_id, known.name, group, known.pace, paused_until=_pause(known.paused_until))
        if host.pace.blocked_until is not None:
            host.pace = replace(host.pace, blocked_until=self._as_meant(host_id, host.pace.blocked_until))
        host.has_answered = bool(self._answered[host_id])
        self._loaded[host_id] = host
        if pacing.as_saved(group.limits) != known.limits:
            pacing.save_limits(db, host_id, group.limits)
        return host

    def forget(self, host: Host, now: float) -> None:
        """Unload the host, unless it has leases or state that would be lost."""
        if host.lanes or host.n_given_up or host.unsure_until:
            return
        group = host.group
        if not group.is_shared and (group.opens_at() > now or group.interval_s):
            if len(self._rests) > 2 * HOSTS_LOADED:
                self._rests = {number: rest for number, rest in self._rests.items() if rest.until > now - FORGET_RESTS_S}
            self._rests[host.host_id] = _Rest(max(group.opens_at(), now if group.interval_s else 0.0), group.interval_s)
        self._answered[host.host_id] = host.has_answered
        del self._loaded[host.host_id]

    def note_wait(self, host_id: int, until: float | None, in_ledger: float | None) -> None:
        """Remember that a host's wait was stored, and with which value."""
        if until is not None and in_ledger is not None and in_ledger > until:
            self._later[host_id] = _Later(until, math.ceil(in_ledger))
        else:
            self._later.pop(host_id, None)

    def _as_meant(self, host_id: int, in_ledger: float) -> float:
        later = self._later.get(host_id)
        return in_ledger if later is None or later.in_ledger != in_ledger else later.until

    def waits_until(self, host_id: int, in_ledger: float) -> float:
        """Until when a host is blocked, its group's wait included; 0: not blocked. `in_ledger` is the value in its row."""
        host = self._loaded.get(host_id)
        if host is not None:
            return host.blocked_until or 0.0
        own, group = self._as_meant(host_id, in_ledger), self.shared_group(host_id)
        return own if group is None else max(own, group.held_until)

    def n_open_again(self, now: float) -> int:
        """Hosts whose wait is over, although not yet according to the ledger."""
        self._later = {host_id: one for host_id, one in self._later.items() if one.in_ledger > now}
        return sum(one.until <= now for one in self._later.values())

    def shed(self, now: float) -> None:
        """Unload hosts that only wait, if many are loaded."""
        if len(self._loaded) <= self._shed_at:
            return
        for host in list(self._loaded.values()):
            self.forget(host, now)
        self._shed_at = max(HOSTS_LOADED, 2 * len(self._loaded))

    # -- what is left

    def changed(self, host_id: int) -> None:
        """Images of a host were added or removed; they are counted with the next `recount`."""
        self._changed.add(host_id)

    def recount(self, db: sqlite3.Connection) -> None:
        """Read how many images are left for the hosts that have changed."""
        host_ids, self._changed = list(self._changed), set()
        for at in range(0, len(host_ids), HOSTS_PER_QUESTION):
            for host_id, n_left in from_counters.n_left(db, host_ids[at : at + HOSTS_PER_QUESTION], refetch=self.scope.refetch):
                if self.is_ours(host_id):
                    self._count(host_id, n_left)

    def _count(self, host_id: int, n_left: int) -> None:
        before = self.n_left[host_id]
        self.n_with_work += (n_left > 0) - (before > 0)
        self._left_then.setdefault(host_id, before)
        self.n_left[host_id] = n_left
        group, host = self.shared_group(host_id), self._loaded.get(host_id)
        if group is not None:
            group.n_left += n_left - before
        elif host is not None:
            host.group.n_left = n_left

    def rates(self, span_s: float) -> list[tuple[int, float]]:
        """Images per second since the last call, for hosts that made progress and are not done."""
        then, self._left_then = self._left_then, {}
        done = ((host_id, before - self.n_left[host_id]) for host_id, before in then.items() if self.n_left[host_id])
        return [(host_id, n / span_s) for host_id, n in done if n > 0]

    def top(self, least_s: array[float], n: int) -> list[int]:
        """Up to `n` hosts with most images left, and up to `n` whose images take longest. Most images first."""
        left = self.n_left
        chosen = {*_most(left, n), *_most(least_s, 2 * n)}  # some of the latter may be done by now
        return sorted((host_id for host_id in chosen if host_id < len(left) and left[host_id]), key=lambda one: (-left[one], one))

    # -- what people want

    def take_limits(self, db: sqlite3.Connection, now: float) -> list[Host]:
        """Apply the current settings. Returns a host of each group whose limits have changed."""
        self.go_by(db)
        for host_id in pacing.blocked_for(db, pace.DAY_IS_OVER):  # the limit may have changed
            if self.is_ours(host_id):
                self.load(db, host_id, now)
        changed = []
        limits_of = {group: self.book.group_limits(group.name) for group in self._shared}
        for host in self._loaded.values():
            limits = limits_of.get(host.group) or self.book.limits(host.name)
            if limits != host.group.limits:
                pacing.save_limits(db, host.host_id, limits)
                changed.append(host)
        for host in changed:
            host.group.limits = limits_of.get(host.group) or self.book.limits(host.name)
        for group, limits in limits_of.items():
            group.limits = limits
        return changed

    def take_pauses(self, pauses: Iterable[tuple[int, float | None]]) -> Iterator[tuple[int, float | None]]:
        """Hosts in scope whose pause ends at a different time than before, as far as known."""
        for host_id, wanted in pauses:
            if not self.is_ours(host_id):
                continue
            until = _pause(wanted)
            host = self._loaded.get(host_id)
            if host is None or host.paused_until != until:
                if host is not None:
                    host.paused_until = until
                yield host_id, until

    def n_held(self, db: sqlite3.Connection, now: float) -> int:
        """Hosts with work that wait only because another one of their group asked for it, and are not blocked themselves."""
        held = {number for number, group in enumerate(self._shared) if group.held_until > now}
        if not held:
            return 0
        n_waiting = sum(n > 0 and number in held for number, n in zip(self.group_no, self.n_left, strict=True))
        blocked = (host_id for host_id, until in from_counters.blocked(db, now) if self._as_meant(host_id, until) > now)
        known = len(self.n_left)
        return n_waiting - sum(one < known and self.n_left[one] > 0 and self.group_no[one] in held for one in blocked)

    def hours(self, db: sqlite3.Connection, host: Host, now: float) -> dict[int, int]:
        """Bytes that a host's group has sent, by the hour: from here on they are counted."""
        group, by_hour = host.group, dict[int, int]()
        members = [host.host_id]
        if group.is_shared:
            number = self._numbers[group.name]
            members = [host_id for host_id, one in enumerate(self.group_no) if one == number]
        for host_id in members:
            for hour, n_bytes in pacing.bytes_by_hour(db, host_id, now):
                by_hour[hour] = by_hour.get(hour, 0) + n_bytes
        return by_hour


def _pause(until: float | None) -> float | None:
    """The end of a pause, which an operator set by the wall clock."""
    return None if until is None else clocks.now.from_wall(until)


def _most(values: array[int] | array[float], n: int) -> list[int]:
    """The indexes of the `n` greatest values."""
    if len(values) < FEW:
        return heapq.nlargest(n, range(len(values)), key=values.__getitem__)
    import numpy as np

    places: list[int] = np.argpartition(np.frombuffer(values, values.typecode), -n)[-n:].tolist()
    return places
