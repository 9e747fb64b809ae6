"""Hosts by when they will end: limits, pace, state and what is left of each. Changes nothing.

A run ends with its slowest host. When that is, is told by the pace that was observed of late; where there is none, by the least
time that the limits allow.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from d4c_images import pace
from d4c_images.ledger.overview import HostInWork
from d4c_images.limits import HostLimits


class State(StrEnum):
    DONE = "done"  # nothing is left
    PAUSED = "paused"  # by a person
    LEFT_ALONE = "left alone"  # it has asked for it, or is in trouble
    WORKING = "working"
    WAITING = "waiting"  # for a run, for room, for its next try


@dataclass(frozen=True, slots=True)
class HostLine:
    """One host, as a report shows it."""

    host: str
    group: str | None
    state: State
    until: int | None  # unix time, of a pause or of being left alone; None: no end is known
    why: str | None
    n_images: int
    n_left: int
    connections: int  # the limits: of its group, where it has one
    min_interval_s: float
    bytes_per_s: float | None
    bytes_per_day: float | None
    width: int | None  # connections that it gets now
    images_per_s: float | None
    eta_s: float | None  # seconds until its last image; None: not known

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def host_lines(hosts: Iterable[HostInWork], limits_of: Callable[[HostInWork], HostLimits], now: float) -> list[HostLine]:
    """The host that ends last comes first, those with nothing left come last."""
    lines = [_line(host, limits_of(host), now) for host in hosts]
    return sorted(lines, key=lambda one: (not one.n_left, -(math.inf if one.eta_s is None else one.eta_s), -one.n_left, one.host))


def matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that one of the patterns (`*` for anything) stands for."""
    wanted = [pattern.lower() for pattern in patterns]
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in wanted)]


def ledgers_limits(host: HostInWork) -> HostLimits:
    """As the last run went by them."""
    limits = HostLimits(bytes_per_s=host.bytes_per_s, bytes_per_day=host.bytes_per_day, group=host.group)
    if host.connections is None:
        return limits
    return dataclasses.replace(limits, connections=host.connections, min_interval_s=host.min_interval_s or 0.0)


def ends_last(lines: Iterable[HostLine]) -> HostLine | None:
    """Of the hosts whose end can be told."""
    return max((one for one in lines if one.n_left and one.eta_s is not None), key=lambda one: one.eta_s or 0.0, default=None)


def _line(host: HostInWork, limits: HostLimits, now: float) -> HostLine:
    state, until, why = _state(host, now)
    return HostLine(
        host.host,
        limits.group,
        state,
        until,
        why,
        host.n_images,
        host.n_left,
        limits.connections,
        limits.min_interval_s,
        limits.bytes_per_s,
        limits.bytes_per_day,
        None if host.width is None else max(1, min(limits.connections, int(host.width))),
        host.images_per_s,
        _eta_s(host, limits, state, until, now),
    )


def _state(host: HostInWork, now: float) -> tuple[State, int | None, str | None]:
    if not host.n_left:
        return State.DONE, None, None
    if host.paused_at is not None and (host.paused_until is None or host.paused_until > now):
        return State.PAUSED, host.paused_until, None
    if host.blocked_until is not None and host.blocked_until > now:
        return State.LEFT_ALONE, host.blocked_until, host.blocked_why
    return (State.WORKING if host.n_leased else State.WAITING), None, None


def _eta_s(host: HostInWork, limits: HostLimits, state: State, until: int | None, now: float) -> float | None:
    if not host.n_left or (state is State.PAUSED and until is None):
        return None
    waits_s = 0.0 if until is None else until - now
    if host.images_per_s:
        return waits_s + host.n_left / host.images_per_s
    if host.latency_s is None:
        return None
    image_bytes = host.received_bytes / max(1, host.n_requests)
    return waits_s + pace.least_s(host.n_left, limits, host.latency_s, image_bytes)
