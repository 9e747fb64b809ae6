"""What a run reports about unreachable hosts before it has reached any: one line about the node instead of one per host.

Until a host has answered, lines about unreachable hosts are held back. They are reported when one answers, or if too few hosts have
been tried to judge the node, and dropped once the line about the node has been reported. Lends and settles nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from d4c_images.policy.outage import SILENT_HOSTS
from d4c_images.policy.reachability import Silence
from d4c_images.steward.hosts import Host
from d4c_images.steward.terms import Ending, Watcher


class FirstContact:
    """The state of one run."""

    def __init__(self, silence: Silence, watcher: Watcher) -> None:
        self._silence, self._watcher = silence, watcher
        self._held: list[tuple[str, float, str]] = []  # host, until, reason
        self._is_in_doubt = False  # the line about the node has been reported
        self._has_told_idle = False  # ... and a wait of the whole run

    def blocked(self, hosts: Iterable[Host], now: float) -> None:
        """Report hosts that are blocked, or hold that back."""
        for host in hosts:
            line = (host.name, host.blocked_until or now, host.blocked_why or "")
            if self._silence.has_reached or not host.pace.n_unreachable:
                self._watcher.host_blocked(*line)
            else:
                self._held.append(line)

    def network_down(self, is_down: bool) -> None:
        """Report an outage that begins or ends, unless the line about the node has said so."""
        if self._silence.has_reached and not self._is_in_doubt:
            self._watcher.network_down(is_down)

    def look(self, *, is_idle: bool) -> None:
        """Report what is certain by now. `is_idle`: every host that may be tried has been tried."""
        if self._silence.has_reached:
            if self._is_in_doubt:
                self._is_in_doubt = False
                self._watcher.network_down(False)
            self._release()
        elif self._is_in_doubt:
            self._held.clear()
        elif is_idle or self._silence.outage.down_since is not None:
            self._conclude()

    def may_tell_idle(self) -> bool:
        """Whether a wait is worth a line: while nobody can be reached, only the first one is."""
        is_news = not (self._is_in_doubt and self._has_told_idle)
        self._has_told_idle = self._is_in_doubt
        return is_news

    @property
    def is_in_doubt(self) -> bool:
        return self._is_in_doubt

    def ending(self, ending: Ending) -> Ending:
        """The ending to report: if no host was reached, that is the reason that nothing was done, not a limit or a wait."""
        n_silent = 0 if self._silence.has_reached else len(self._silence.outage.silent)
        is_outage = (ending is Ending.LIMIT and n_silent > 0) or (ending is Ending.WAITING and self._is_in_doubt)
        return Ending.OUTAGE if is_outage else ending

    def _conclude(self) -> None:
        n_silent, why = len(self._silence.outage.silent), self._silence.why_not_reached
        if n_silent >= SILENT_HOSTS and why is not None:
            self._is_in_doubt = True
            self._held.clear()
            self._watcher.no_way_out(n_silent, why)
        else:
            self._release()

    def _release(self) -> None:
        for line in self._held:
            self._watcher.host_blocked(*line)
        self._held.clear()
