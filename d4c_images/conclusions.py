"""What answers that were written down say of hosts and their groups: pace, width, holds. Lends nothing, tells nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from sqlite3 import Connection

from d4c_images import pace
from d4c_images.ledger import pacing
from d4c_images.pace import News
from d4c_images.roster import Host, Roster
from d4c_images.silence import Silence


@dataclass(slots=True)
class Drawn:
    """What has changed."""

    blocked: list[Host] = field(default_factory=list)  # hosts that are to be left alone for longer than was known
    stirred: set[Host] = field(default_factory=set)  # hosts that are worth a look


def draw(db: Connection, hosts: Roster, silence: Silence, news_of: Mapping[int, News], now: float) -> Drawn:
    """Change hosts and groups as their answers ask for, and write it down."""
    drawn = Drawn()
    for host_id, news in news_of.items():
        host = hosts[host_id]
        until = host.pace.blocked_until
        for other_id, new in silence.after(host_id, host.pace, news, now).items():
            _set_pace(db, hosts[other_id], new, now if other_id == host_id and news.is_reachable else None)
        host.words = news.commonest() or host.words
        if host.pace.blocked_until is not None and host.pace.blocked_until != until:
            drawn.blocked.append(host)
        drawn.stirred.add(host)
        _share(db, host, news, now, drawn)
        _measure(db, host, news, now, drawn)
    return drawn


def _share(db: Connection, host: Host, news: News, now: float, drawn: Drawn) -> None:
    """A wait that one host of a group asks for is one of all its hosts."""
    if not news.retry_after_s:
        return
    for mate in host.group.hosts:
        held = pace.held_back(mate.pace, news.retry_after_s, now, host.name)
        if mate is not host and held != mate.pace:
            _set_pace(db, mate, held, None)
            drawn.stirred.add(mate)


def _measure(db: Connection, host: Host, news: News, now: float, drawn: Drawn) -> None:
    """The group's width, the time that its bytes take, and how much a picture of it weighs."""
    group = host.group
    width = group.width
    speed = pace.speed_after(group.speed, news, group.limits.connections, now)
    if speed != group.speed:
        group.speed = speed
        told = [host] if group.width == width else group.hosts
        pacing.save_speed(db, (one.host_id for one in told), speed)
    if group.width > width:
        drawn.stirred |= set(group.line())
    group.paid_until = max(group.paid_until, now + news.rest_s)
    if news.is_reachable:
        group.interval_s = news.interval_s
    if news.n_success:
        group.image_bytes += (news.received_bytes / news.n_success - group.image_bytes) / 16


def _set_pace(db: Connection, host: Host, new: pace.HostPace, answered_at: float | None) -> None:
    if new != host.pace:
        host.pace = new
        pacing.save_pace(db, host.host_id, new, answered_at)


def go_by_wishes(db: Connection, hosts: Roster) -> list[Host]:
    """Take over what people want of hosts. Returns those for which something has changed."""
    changed = hosts.take_wishes(db)
    for host in changed:
        if host.pace.blocked_why == pace.DAY_IS_OVER:  # by a limit that may be another one now
            _set_pace(db, host, pace.HostPace(host.pace.recent_ok, host.pace.recent_bad), None)
    return changed


def rates(hosts: Iterable[Host], before: Mapping[int, int], span_s: float) -> list[tuple[int, float]]:
    """Images per second of hosts that have done something since there were so many left."""
    done = ((host.host_id, before.get(host.host_id, host.n_left) - host.n_left) for host in hosts)
    return [(host_id, n / span_s) for host_id, n in done if n > 0]
