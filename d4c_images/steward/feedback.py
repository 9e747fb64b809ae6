"""The control loop: from settled answers to the pace, width and holds of hosts and groups. Lends nothing, sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from sqlite3 import Connection

from d4c_images.durations import show_span
from d4c_images.ledger.queue import pacing
from d4c_images.policy import pace
from d4c_images.policy.pace import News
from d4c_images.policy.reachability import Silence
from d4c_images.steward.hosts import Host, PolitenessGroup, Roster
from d4c_images.system import clocks


@dataclass(slots=True)
class Drawn:
    """What has changed."""

    blocked: list[Host] = field(default_factory=list)  # hosts that are now blocked for longer
    stirred: set[Host] = field(default_factory=set)  # hosts to be looked at again
    widened: set[PolitenessGroup] = field(default_factory=set)  # groups with more connections than before


def draw(db: Connection, hosts: Roster, silence: Silence, news_of: Mapping[int, News], now: float) -> Drawn:
    """Update hosts and groups from their answers, in memory and in the ledger."""
    drawn = Drawn()
    for host_id, news in news_of.items():
        host = hosts.load(db, host_id, now)
        until = host.pace.blocked_until
        for other_id, new in silence.after(host_id, host.pace, news, now).items():
            other = hosts.load(db, other_id, now)
            _set_pace(db, hosts, other, new, now if other_id == host_id and news.is_reachable else None)
            drawn.stirred.add(other)
        host.words = news.commonest() or host.words
        if host.pace.blocked_until is not None and host.pace.blocked_until != until:
            drawn.blocked.append(host)
        _share(db, host, news, now)
        _measure(db, host, news, now, drawn)
    return drawn


def _share(db: Connection, host: Host, news: News, now: float) -> None:
    """A wait that one host of a group asks for applies to all its hosts."""
    group = host.group
    if not news.retry_after_s or not group.is_shared or now + news.retry_after_s <= group.held_until:
        return
    group.held_until = now + news.retry_after_s
    group.held_why = f"{host.name} asked for {show_span(news.retry_after_s)}"
    pacing.save_hold(db, group.name, clocks.now.for_others(group.held_until), group.held_why)


def _measure(db: Connection, host: Host, news: News, now: float, drawn: Drawn) -> None:
    """Update the group's width, the time its bytes take, and its average image size."""
    group = host.group
    width = group.width
    speed = pace.speed_after(group.speed, news, group.limits.connections, now)
    if speed != group.speed:
        group.speed = speed
        if group.is_shared:
            pacing.save_group_speed(db, group.name, speed)
        else:
            pacing.save_speed(db, host.host_id, speed)
    if group.width > width:
        drawn.widened.add(group)
    group.paid_until = max(group.paid_until, now + news.rest_s)
    if news.is_reachable:
        group.interval_s = news.interval_s
    if group.by_hour is not None and news.received_bytes:
        hour = int(now) // pacing.HOUR_S
        group.by_hour[hour] = group.by_hour.get(hour, 0) + news.received_bytes
    if news.n_success:
        group.image_bytes += (news.received_bytes / news.n_success - group.image_bytes) / 16


def _set_pace(db: Connection, hosts: Roster, host: Host, new: pace.HostPace, answered_at: float | None) -> None:
    """Set and store a pace. The wait is stored in the clock of later runs, since the host itself may have asked for it."""
    if new != host.pace:
        in_ledger = None if new.blocked_until is None else clocks.now.for_others(new.blocked_until)
        host.pace = new
        hosts.note_wait(host.host_id, new.blocked_until, in_ledger)
        pacing.save_pace(db, host.host_id, replace(new, blocked_until=in_ledger), answered_at)


def go_by_limits(db: Connection, hosts: Roster, now: float) -> list[Host]:
    """Apply operators' settings. Returns one or more hosts of each group whose limits have changed."""
    changed = hosts.take_limits(db, now)
    for host in changed:
        if host.pace.blocked_why == pace.DAY_IS_OVER:  # the limit may have changed
            _set_pace(db, hosts, host, pace.HostPace(host.pace.recent_ok, host.pace.recent_bad), None)
    for group in hosts.shared:
        if group.held_why == pace.DAY_IS_OVER and group.held_until > now:
            group.held_until, group.held_why = 0.0, None
            pacing.save_hold(db, group.name, None, None)
    return changed
