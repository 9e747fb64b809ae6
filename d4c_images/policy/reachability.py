"""Unreachable hosts: whether they or our own network are the cause, and when to give one up. Stores nothing.

What was counted against hosts before an outage was recognised is undone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from d4c_images.model import ErrorType, Failure
from d4c_images.policy import pace
from d4c_images.policy.outage import Outage


@dataclass(slots=True)
class Silence:
    """What one run knows about reachability."""

    policy: pace.BlockPolicy
    answered_at: float | None  # when any host last answered, according to the ledger
    outage: Outage = field(default_factory=Outage)
    has_reached: bool = False  # this run has connected to some host
    why_not_reached: str | None = None  # the latest reason
    lost: dict[int, Failure] = field(default_factory=dict)  # hosts to give up
    _before: dict[int, pace.HostPace] = field(default_factory=dict)  # of silent hosts, without the failures

    def after(self, host_id: int, before: pace.HostPace, news: pace.News, now: float) -> dict[int, pace.HostPace]:
        """New paces after news of one host: its own, and if that has revealed an outage, those of others."""
        after = pace.after_batch(before, news, now, self.policy)
        if news.is_reachable:
            self.answered_at = now
            self.has_reached = True
            self.outage.answered()
            self._before.clear()
            return {host_id: after}
        if not news.n_unreachable:
            return {host_id: after}
        if news.not_reached is not None:
            verdict = news.not_reached.verdict
            self.has_reached |= verdict.error_type == ErrorType.TLS  # so it was connected to
            self.why_not_reached = f"{verdict.error_type}: {verdict.detail}" if verdict.detail else str(verdict.error_type)
        self._before[host_id] = pace.unreached(self._before.get(host_id, before), news, now)
        is_new = self.outage.not_reached(host_id, now)
        paces = {host_id: after if self.outage.down_since is None else self._before[host_id]}
        if is_new:
            paces |= self._before
        if news.not_reached is not None and pace.is_lost(paces[host_id], self.answered_at, now, self.policy):
            self.lost[host_id] = news.not_reached
        return paces
