"""The clock of a run: unix time that nobody sets during the run, and that never goes back in a ledger. Waits for nothing itself.

A wall clock is adjusted now and then, by NTP or by hand, by seconds or by a day. What this program waits for or measures must not
change with it: a clock set back by an hour would stop all requests for an hour, one set forward would end every wait at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

LEAST_STEP_S = 1.0  # smaller differences between two clocks may be due to the time between two readings


def elapsed() -> float:
    """Seconds by a clock that nobody can set, the same in all processes of this machine. It runs on during suspend."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Unix time at its creation, and from there on by `elapsed`. Picklable: other processes of this machine get the same time."""

    def __init__(self, ahead_s: float) -> None:
        """`ahead_s`: how far it is ahead of `elapsed`."""
        self.ahead_s = ahead_s

    @classmethod
    def set_by_wall(cls) -> SteadyClock:
        return cls(time.time() - elapsed())

    def __call__(self) -> float:
        return self.ahead_s + elapsed()

    @contextmanager
    def leading(self, lead_s: float) -> Iterator[None]:
        """Be ahead by `lead_s` in this block: stored times must not be in the future only because a clock was set back."""
        self.ahead_s += lead_s
        try:
            yield
        finally:
            self.ahead_s -= lead_s

    def from_wall(self, moment: float) -> float:
        """What this clock shows when the wall clock, as it is set now, shows `moment`."""
        return moment - self._step_s()

    def to_wall(self, moment: float) -> float:
        """What the wall clock, as it is set now, shows when this clock shows `moment`."""
        return moment + self._step_s()

    def for_others(self, moment: float) -> float:
        """The time to store for a wait until `moment` that a server has named and that later runs must keep.

        A later run starts with the wall clock, which may have been set forward.
        """
        return moment + max(0.0, self._step_s())

    def _step_s(self) -> float:
        """By how much the wall clock was set since. Read between two readings of this clock: a busy machine may be slow."""
        before, wall, after = self(), time.time(), self()
        step_s = min(0.0, wall - before) or max(0.0, wall - after)
        return step_s if abs(step_s) >= LEAST_STEP_S else 0.0


now = SteadyClock.set_by_wall()
"""This process's clock, for everything except times that others name by the wall clock."""
