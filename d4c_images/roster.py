"""The hosts that a run works on, in their politeness groups, as it knows them now. Lends nothing and writes nothing but limits.

A group is what limits hold for: hosts that share a server, or mostly one host alone, whose group then has its name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from d4c_images import pace
from d4c_images.ledger import pacing
from d4c_images.limits import HostLimits, HostTable
from d4c_images.model import Turn


@dataclass(slots=True)
class Lease:
    turn: Turn
    host: Host
    worker: int
    outstanding: set[int]  # image ids without an outcome
    lent_at: float


@dataclass(slots=True)
class HostLane:
    """One worker's share of a host: turns that follow each other."""

    number: int
    worker: int
    connections: int = 0  # of its group's and its worker's: the most that a turn under way may have
    leases: list[int] = field(default_factory=list)  # the turn under way and at most one behind it


@dataclass(slots=True, eq=False)
class Group:
    """Hosts that share limits."""

    name: str
    limits: HostLimits
    speed: pace.Speed = field(default_factory=pace.Speed)
    image_bytes: float = 0.0  # what a request brings
    hosts: list[Host] = field(default_factory=list)
    member_ids: set[int] = field(default_factory=set)  # with those that the run has no work for
    rests_until: float = 0.0  # the interval between two requests, kept from one turn to the next
    paid_until: float = 0.0  # ... and the time that its bytes take at bytes_per_s
    interval_s: float = 0.0  # that its answers ask for

    @property
    def width(self) -> int:
        """Connections that it may have now, within its limits."""
        return max(1, min(self.limits.connections, int(self.speed.width)))

    @property
    def reach(self) -> int:
        """How many more of them its lanes may take by themselves while pictures come in: until it was in trouble, all."""
        return (self.limits.connections if self.speed.narrowed_at is None else self.width) - self.granted

    @property
    def granted(self) -> int:
        return sum(lane.connections for host in self.hosts for lane in host.lanes.values())

    @property
    def n_left(self) -> int:
        return sum(host.n_left for host in self.hosts)

    def line(self) -> list[Host]:
        """Its hosts that wait for a connection, first come first served."""
        return sorted((host for host in self.hosts if host.in_line_since is not None), key=lambda one: one.in_line_since or 0.0)

    def least_s(self) -> float:
        """The least time that what is left of it takes."""
        return pace.least_s(self.n_left, self.limits, self.speed.latency_s, self.image_bytes)


@dataclass(slots=True, eq=False)
class Host:
    host_id: int
    name: str
    group: Group
    pace: pace.HostPace
    n_left: int = 0  # images, about
    lanes: dict[int, HostLane] = field(default_factory=dict)  # by number
    due: float | None = None  # when it is looked at next; None: something else will bring it back
    waits_since: float | None = None  # its time has come, but there is no room
    in_line_since: float | None = None  # ... or others of its group have all its connections
    has_answered: bool = False  # in this run, and lately: else it gets one connection
    claims_each: int = 2  # claims for a connection, in its next turn: few at first, so that more connections come soon
    paused_until: float | None = None  # by a person; infinity: until somebody says otherwise
    words: str = ""  # the latest trouble with it
    n_given_up: int = 0  # images, while it is being given up

    def is_paused(self, now: float) -> bool:
        return self.paused_until is not None and now < self.paused_until


class Roster:
    """Hosts by their number and groups by their name."""

    def __init__(self, table: HostTable, only: Collection[str]) -> None:
        """`table` is what comes under the ledger's own limits; `only` names the hosts to know, all where there is none."""
        self._table, self._only = table, only
        self._wanted = table
        self._hosts: dict[int, Host] = {}
        self._groups: dict[str, Group] = {}

    def __contains__(self, host_id: int) -> bool:
        return host_id in self._hosts

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def __getitem__(self, host_id: int) -> Host:
        return self._hosts[host_id]

    def get(self, host_id: int) -> Host | None:
        return self._hosts.get(host_id)

    @property
    def groups(self) -> Collection[Group]:
        return self._groups.values()

    def rest(self, host_ids: Iterable[int], until: float) -> None:
        """Have no lane begin before, at any host that shares its limits with one of these: somebody may still be asking there."""
        for group in self._groups.values():
            if not group.member_ids.isdisjoint(host_ids):
                group.rests_until = max(group.rests_until, until)

    def know(self, db: sqlite3.Connection, host_id: int, name: str, now: float) -> Host | None:
        """Take a host in, with what the ledger remembers of it; None where the run leaves it alone."""
        if self._only and name not in self._only:
            return None
        limits = self._wanted.limits(name)
        group = self._groups.get(limits.group or name)
        if group is None:
            group = self._groups[limits.group or name] = self._open(db, host_id, limits.group or name, limits)
        group.member_ids.add(host_id)
        known = pacing.load(db, host_id)
        host = Host(host_id, name, group, known.pace, paused_until=known.paused_until)
        held_until = pacing.held_until(db, group.member_ids, now)
        if held_until is not None:
            host.pace = pace.held_back(host.pace, held_until - now, now, group.name)
        group.hosts.append(host)
        self._hosts[host_id] = host
        pacing.save_limits(db, host_id, group.limits)
        return host

    def _open(self, db: sqlite3.Connection, host_id: int, name: str, limits: HostLimits) -> Group:
        if limits.group is not None:
            limits = self._wanted.group_limits(name)
        member_ids = {host_id} if limits.group is None else {host_id, *pacing.members(db, name)}
        speed, image_bytes = pacing.load_speed(db, member_ids), pacing.image_bytes(db, member_ids)
        return Group(name, limits, speed, image_bytes, member_ids=member_ids)

    def take_wishes(self, db: sqlite3.Connection) -> list[Host]:
        """Go by what people want of hosts, as the ledger has it now. Returns the hosts for which something has changed."""
        self._wanted = pacing.wanted_limits(db).over(self._table)
        changed = []
        for group in self._groups.values():
            limits = self._limits_of(group)
            has_changed = limits != group.limits
            group.limits = limits
            for host in group.hosts:
                paused_until = pacing.load(db, host.host_id).paused_until
                if has_changed:
                    pacing.save_limits(db, host.host_id, limits)
                if has_changed or paused_until != host.paused_until:
                    host.paused_until = paused_until
                    changed.append(host)
        return changed

    def _limits_of(self, group: Group) -> HostLimits:
        return self._wanted.group_limits(group.name) if group.limits.group is not None else self._wanted.limits(group.name)
