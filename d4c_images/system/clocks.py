"""The clock of a run: unix time that nobody sets while the run lasts, and that goes back in no ledger. Waits for nothing itself.

A wall clock is set now and then, by NTP or by hand, by seconds or by a day. What this program waits for or measures by itself must
not change with it: a clock set back by an hour would stop all requests for an hour, one set forward would end every wait at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

LEAST_STEP_S = 1.0  # by less than this, two readings of two clocks may differ without anybody having set one


def elapsed() -> float:
    """Seconds by a clock that nobody can set, the same in all processes of this machine. It goes on while that is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Unix time when it was made, and from there on by `elapsed`. It pickles: other processes of this machine read the same."""

    def __init__(self, ahead_s: float) -> None:
        """`ahead_s`: of `elapsed`."""
        self.ahead_s = ahead_s

    @classmethod
    def set_by_wall(cls) -> SteadyClock:
        return cls(time.time() - elapsed())

    def __call__(self) -> float:
        return self.ahead_s + elapsed()

    @contextmanager
    def leading(self, lead_s: float) -> Iterator[None]:
        """Be ahead by so much in this block: what was written down must not lie in the future only because a clock was set back."""
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
        """The time to write down for a wait until `moment` that somebody else has named, and that a run to come must keep.

        That run begins by the wall clock, if this was set forward.
        """
        return moment + max(0.0, self._step_s())

    def _step_s(self) -> float:
        """By how much the wall clock was set since. It is read between two readings of this one: a busy machine takes its time."""
        before, wall, after = self(), time.time(), self()
        step_s = min(0.0, wall - before) or max(0.0, wall - after)
        return step_s if abs(step_s) >= LEAST_STEP_S else 0.0


now = SteadyClock.set_by_wall()
"""This process's clock, for everything but a time that somebody else has named by the wall clock."""
