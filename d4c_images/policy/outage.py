"""Is it the hosts that are silent, or our own network? Gets `now`, asks nobody.

One silent host says nothing; several at once, with nobody answering for a while, are a cable, a proxy or a name server on our side.
Then nothing is counted against any host, and one request now and then finds out when it is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SILENT_HOSTS = 3  # silent at once
NETWORK_SILENCE_S = 10.0  # since the first of them, without an answer of anybody
FIRST_WAIT_S = 15.0  # until the next request, doubled each time
LONGEST_PROBE_WAIT_S = 300.0


@dataclass(slots=True)
class Outage:
    """What one run has seen of its own network."""

    down_since: float | None = None
    next_probe_at: float = 0.0  # while it is down
    silent: dict[int, float] = field(default_factory=dict)  # hosts that could not be reached since the last answer, and when
    _wait_s: float = FIRST_WAIT_S

    def answered(self) -> None:
        """Somebody has."""
        self.down_since = None
        self._wait_s = FIRST_WAIT_S
        self.silent.clear()

    def not_reached(self, host_id: int, now: float) -> bool:
        """A host could not be reached. Says whether that makes it an outage."""
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
        """Whether anybody may be asked now; while it is down, one request."""
        return self.down_since is None or now >= self.next_probe_at

    def is_hopeless(self, now: float, patience_s: float) -> bool:
        """Whether it has lasted longer than somebody wants to wait, or will."""
        down_since = self.down_since
        return down_since is not None and max(now - down_since, self.next_probe_at - now) > patience_s

    def asked(self, now: float) -> None:
        """A request is under way."""
        if self.down_since is None:
            return
        self._wait_s = min(LONGEST_PROBE_WAIT_S, 2 * self._wait_s)
        self.next_probe_at = now + self._wait_s
