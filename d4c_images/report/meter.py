"""How fast a run is, and how long it will take, estimated from its snapshots. Shows nothing.

Speeds are those of the last minute, so that a stall shows at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from d4c_images.steward.terms import Snapshot

WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class HostSpeed:
    """One host with images left. None: no progress within the window."""

    host: str
    n_left: int
    images_per_s: float | None
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Pace:
    """Speeds over the window; None if nothing can be said yet."""

    images_per_s: float | None
    bytes_per_s: float | None
    eta_s: float | None  # without hosts that an operator has paused
    hosts: tuple[HostSpeed, ...]  # the last to finish first; before it those whose end is unknown

    def slowest(self, snapshot: Snapshot) -> HostSpeed | None:
        """The slowest host that is neither blocked nor paused."""
        return next((one for one in self.hosts if one.host not in snapshot.blocked and one.host not in snapshot.paused), None)


class Meter:
    """Takes snapshots, returns speeds. A run ends with its slowest host, so that one determines its duration."""

    def __init__(self) -> None:
        self._seen: deque[Snapshot] = deque()

    def add(self, snapshot: Snapshot) -> Pace:
        self._seen.append(replace(snapshot, in_flight={}))  # of the past nobody asks that
        while len(self._seen) > 2 and snapshot.now - self._seen[1].now >= WINDOW_S:
            self._seen.popleft()
        first = self._seen[0]
        span_s = snapshot.now - first.now
        if span_s <= 0:
            return Pace(None, None, None, tuple(HostSpeed(host.host, host.n_left, None, None) for host in snapshot.hosts))
        left_then = {host.host: host.n_left for host in first.hosts}
        hosts = [_speed(host.host, host.n_left, left_then.get(host.host, host.n_left), span_s) for host in snapshot.hosts]
        hosts.sort(key=lambda one: (one.eta_s is not None, -(one.eta_s or 0.0), -one.n_left))
        rate = (snapshot.totals.n_settled - first.totals.n_settled) / span_s
        received = snapshot.totals.received_bytes - first.totals.received_bytes
        return Pace(rate, received / span_s, _eta_s(snapshot, rate, hosts), tuple(hosts))


def _speed(host: str, n_left: int, n_left_then: int, span_s: float) -> HostSpeed:
    n_done = n_left_then - n_left
    return HostSpeed(host, n_left, n_done / span_s, n_left * span_s / n_done) if n_done > 0 else HostSpeed(host, n_left, None, None)


def _eta_s(snapshot: Snapshot, rate: float, hosts: list[HostSpeed]) -> float | None:
    if rate <= 0:
        return None
    if snapshot.n_left < snapshot.images.left:  # a limit ends it before its hosts are done
        return snapshot.n_left / rate
    working = [one for one in hosts if one.host not in snapshot.paused]
    n_paused = sum(one.n_left for one in hosts if one.host in snapshot.paused)
    ends = [
        max(0.0, snapshot.blocked.get(one.host, 0.0) - snapshot.now) + (one.eta_s or 0.0)
        for one in working
        if one.eta_s is not None or one.host in snapshot.blocked
    ]
    return max([(snapshot.n_left - n_paused) / rate, *ends]) if working else None
