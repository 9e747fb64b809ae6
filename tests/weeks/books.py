"""What a host writes down of those who ask it, and what it finds broken. Gets times, has no clock and no sockets.

A book is kept for each host, or for the hosts of a group together, in seconds of the host's own monotonic clock. A wait counts
from the moment when it was named to the moment that it names, without any slack, if nothing else can have been on its way then: the
only connection that was open was waiting for this very answer. Else what comes within `on_its_way_s` may have been sent before the
answer was read. Distances between requests are those between arrivals, which may be `jitter_s` less than those between what was
sent: any k + 1 requests in a row must span k intervals less that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

ROUNDED_S = 5.0  # a wait that was written down less exactly than this is another one
IN_A_ROW = 10  # distances that are looked at together
MOST_REPORTED = 20  # broken promises of one book that are reported in full


@dataclass(frozen=True, slots=True)
class Terms:
    """What may be asked of a host."""

    connections: int
    min_interval_s: float = 0.0
    jitter_s: float = 0.0
    on_its_way_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody asks before `until`."""

    host: str
    named_at: float
    until: float
    why: str
    judged_from: float
    """What comes earlier may have been on its way."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was broken."""

    what: str  # connections, interval, wait
    at: float
    text: str


@dataclass(slots=True)
class Book:
    """Of one host, or of a group."""

    terms: Terms
    most_connections: int = 0
    n_requests: int = 0
    n_waits: int = 0
    n_forgotten: int = 0  # waits that nobody can have written down
    n_broken: dict[str, int] = field(default_factory=dict)
    reported: list[Broken] = field(default_factory=list)
    _waits: list[Wait] = field(default_factory=list)
    _last: deque[float] = field(default_factory=lambda: deque(maxlen=IN_A_ROW))

    def asked(self, at: float, who: str) -> None:
        """A request has come."""
        self.n_requests += 1
        self._waits = [wait for wait in self._waits if wait.until > at]
        early = [wait for wait in self._waits if at >= wait.judged_from]
        if early:
            wait = max(early, key=lambda wait: wait.until)
            self._break("wait", at, f"{who}: {wait.until - at:.2f} s early, {at - wait.named_at:.2f} s after {wait.why}")
        interval_s = self.terms.min_interval_s
        if interval_s:
            self._look_at_distances(at, interval_s, who)
            self._last.append(at)

    def _look_at_distances(self, at: float, interval_s: float, who: str) -> None:
        for k, before in enumerate(reversed(self._last), 1):
            if at - before < k * interval_s - self.terms.jitter_s:
                self._break("interval", at, f"{who}: {k + 1} requests in {at - before:.2f} s, {interval_s:g} s apart was agreed")
                return

    def connected(self, at: float, n_open: int, who: str) -> None:
        """So many connections are open now."""
        self.most_connections = max(self.most_connections, n_open)
        if n_open > self.terms.connections:
            self._break("connections", at, f"{who}: {n_open} connections, {self.terms.connections} were agreed")

    def named(self, at: float, until: float, host: str, why: str, n_open: int) -> None:
        """An answer of a host that goes out now names a wait; `n_open` connections are open."""
        self.n_waits += 1
        judged_from = at if n_open == 1 and self.terms.connections == 1 else at + self.terms.on_its_way_s
        self._waits.append(Wait(host, at, until, why, judged_from))

    def forget(self, since: float, noted: Mapping[str, float]) -> None:
        """Their reader was killed: waits that were named since then do not count, except as far as they are written down.

        `noted` says until when each host is left alone, as the dead have written it.
        """
        kept = [wait for wait in self._waits if wait.named_at < since or noted.get(wait.host, 0.0) >= wait.until - ROUNDED_S]
        self.n_forgotten += len(self._waits) - len(kept)
        self._waits = kept

    def _break(self, what: str, at: float, text: str) -> None:
        self.n_broken[what] = self.n_broken.get(what, 0) + 1
        if len(self.reported) < MOST_REPORTED:
            self.reported.append(Broken(what, at, text))
