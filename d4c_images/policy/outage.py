"""Is it the hosts that do not respond, or our own network? Takes `now`, sends nothing.

One silent host proves nothing; several at once, with no answer from anybody for a while, point to a cable, a proxy or a name server
on our side. Then nothing counts against any host, and a probe now and then finds out when it is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SILENT_HOSTS = 3  # silent at once
NETWORK_SILENCE_S = 10.0  # since the first of them, without any answer
FIRST_WAIT_S = 15.0  # until the next request, doubled each time
LONGEST_PROBE_WAIT_S = 300.0


@dataclass(slots=True)
class Outage:
    """What one run has observed of its own network."""

    down_since: float | None = None
    next_probe_at: float = 0.0  # while it is down
    silent: dict[int, float] = field(default_factory=dict)  # hosts unreachable since the last answer, and since when
    _wait_s: float = FIRST_WAIT_S

    def answered(self) -> None:
        """A host answered: the network is up."""
        self.down_since = None
        self._wait_s = FIRST_WAIT_S
        self.silent.clear()

    def not_reached(self, host_id: int, now: float) -> bool:
        """A host could not be reached. Returns whether that makes it an outage."""
        self.silent.setdefault(host_id, now)
        if self.down_since is not None:
            return False
        since = min(self.silent.values())
        if len(self.silent) < SILENT_HOSTS or now - since < NETWORK_SILENCE_S:
            return False
        self.down_since = since
        self.next_probe_at = now + self._wait_s
        return True

    def may_ask(self, now: float) -> bool:
        """Whether requests are allowed now; during an outage, one probe."""
        return self.down_since is None or now >= self.next_probe_at

    def is_hopeless(self, now: float, patience_s: float) -> bool:
        """Whether it has lasted, or will last, longer than `patience_s`."""
        down_since = self.down_since
        return down_since is not None and max(now - down_since, self.next_probe_at - now) > patience_s

    def asked(self, now: float) -> None:
        """A request has been sent."""
        if self.down_since is None:
            return
        self._wait_s = min(LONGEST_PROBE_WAIT_S, 2 * self._wait_s)
        self.next_probe_at = now + self._wait_s
