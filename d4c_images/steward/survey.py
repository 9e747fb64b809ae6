"""The start of a run: one pass over all hosts, in steps, which leaves numbers and no objects. Lends nothing, loads no host.

Afterwards the arrays of roster and agenda hold what a run must know of hosts it may not visit for days: images left, when it is due
and in which order, its group; and for each group, what its members have been through.
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from d4c_images.ledger.queue import pacing
from d4c_images.ledger.rows.extent import top_host
from d4c_images.policy import pace
from d4c_images.policy.limits import HostLimits
from d4c_images.steward.host_queue import Agenda
from d4c_images.steward.hosts import ALONE, NOT_OURS, PolitenessGroup, Roster
from d4c_images.system import clocks


class HostSurvey:
    """One pass. `answered_at`: when any host last answered, according to the ledger."""

    def __init__(self, roster: Roster, agenda: Agenda, now: float) -> None:
        self._roster, self._agenda, self._now = roster, agenda, now
        self._pauses_off_s = clocks.now.from_wall(0.0)  # pauses end by the wall clock
        self._answered_at = 0
        self._members: dict[int, _Members] = {}  # by group number
        self._kinds: list[_Kind] = []  # as in `LimitBook.kinds`

    @property
    def answered_at(self) -> float | None:
        return self._answered_at or None

    def steps(self, db: sqlite3.Connection) -> Iterator[int]:
        """Processes some hosts in each step, and yields the number of the last one. The caller may write in between."""
        roster = self._roster
        roster.go_by(db)
        roster.known_groups = pacing.load_groups(db)
        n = top_host(db.execute) + 1  # space for all at once: growing arrays fragments memory
        roster.grow(n)
        self._agenda.grow(n)
        for rows in pacing.all_hosts(db, pace.UNKNOWN_LATENCY_S, refetch=roster.scope.refetch):
            self._step(rows)
            yield rows[-1][0]
        for number, members in self._members.items():
            self._close(roster.shared[number], members)

    def _step(self, rows: list[pacing.HostRow]) -> None:
        roster, now, book = self._roster, self._now, self._roster.book
        only, kinds, answered_at, off_s = roster.scope.only, self._kinds, self._answered_at, self._pauses_off_s
        host_ids, whens, least_s = array("i"), array("d"), array("d")
        for row in rows:  # up to a million: avoid method calls
            host_id, host, n_left, latency_s, image_bytes, blocked_until, _, paused_until, _, _, last_answer_at, _, _ = row
            kind = book.kind(host)
            if kind >= len(kinds):
                kinds += map(_Kind.of, book.kinds[len(kinds) :])
            each = kinds[kind]
            is_ours = not only or host in only
            answered_at = last_answer_at if last_answer_at > answered_at else answered_at
            if each.group is not None:
                self._join(row, each.group, is_ours)
                continue
            roster.group_no[host_id] = ALONE if is_ours else NOT_OURS
            when = max(now, blocked_until, paused_until + off_s)
            if n_left > 0 and is_ours:
                roster.n_left[host_id] = n_left
                roster.n_with_work += 1
                if when < math.inf:
                    host_ids.append(host_id)
                    whens.append(when)
                    least_s.append(n_left * max(latency_s * each.share, each.interval_s, image_bytes * each.byte_s))
        self._answered_at = answered_at
        self._agenda.add_all(host_ids, whens, least_s)

    def _join(self, values: pacing.HostRow, group: str, is_ours: bool) -> None:
        row, roster = pacing.HostRow._make(values), self._roster
        number = roster.number_of(group)
        roster.group_no[row.host_id] = number if is_ours else NOT_OURS
        roster.n_left[row.host_id] = row.n_left if is_ours else 0
        roster.n_with_work += roster.n_left[row.host_id] > 0
        members = self._members.get(number)
        if members is None:
            members = self._members[number] = _Members()
        when = max(self._now, row.blocked_until, row.paused_until + self._pauses_off_s)
        members.add(row, row.n_left if is_ours else 0, when, self._now)

    def _close(self, group: PolitenessGroup, members: _Members) -> None:
        """Its members' history becomes the group's; they wait for each other, those with most images first."""
        group.n_left = members.n_left
        if members.n_requests:
            group.image_bytes = members.received_bytes / members.n_requests
        if group.name not in self._roster.known_groups and members.speed is not None:
            group.speed = members.speed
        if members.held_until > max(group.held_until, self._now):
            group.held_until, group.held_why = members.held_until, members.held_why
        for host_id in sorted(members.due, key=lambda one: -self._roster.n_left[one]):
            self._roster.stand_in_line(group, host_id)
        for host_id, when in members.later:
            self._agenda.add(host_id, when, group.least_s(), has_answered=False)


class _Members:
    """What is gathered about a group's hosts."""

    def __init__(self) -> None:
        self.n_left = self.n_requests = self.received_bytes = 0
        self.due: list[int] = []
        self.later: list[tuple[int, float]] = []
        self.held_until = 0.0
        self.held_why = ""
        self.speed: pace.Speed | None = None  # of the one that answered last
        self._newest = -1

    def add(self, row: pacing.HostRow, n_left: int, when: float, now: float) -> None:
        self.n_left += n_left
        self.n_requests += row.n_requests
        self.received_bytes += row.received_bytes
        if row.block_level == 0 and row.blocked_until > max(now, self.held_until):  # the host itself asked for it
            self.held_until, self.held_why = float(row.blocked_until), f"{row.host} asked for a wait"
        if row.width is not None and row.last_answer_at > self._newest:
            self._newest, self.speed = row.last_answer_at, pace.Speed(row.width, row.latency_s, row.narrowed_at)
        if n_left and when <= now:
            self.due.append(row.host_id)
        elif n_left and when < float("inf"):
            self.later.append((row.host_id, when))


class _Kind(NamedTuple):
    """How limits translate into the time per image (`pace.least_s`)."""

    group: str | None
    share: float  # of its time, due to connections
    interval_s: float
    byte_s: float

    @classmethod
    def of(cls, limits: HostLimits) -> _Kind:
        rates = [rate for rate in (limits.bytes_per_s, limits.bytes_per_day and limits.bytes_per_day / 86400) if rate]
        return cls(limits.group, 1 / limits.connections, limits.min_interval_s, max((1 / rate for rate in rates), default=0.0))
