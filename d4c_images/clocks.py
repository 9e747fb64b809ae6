"""The clock of a run: unix time that no one sets while the run lasts. Waits for nothing itself.

A wall clock is set now and then, by NTP or by hand, by seconds or by a day. What this program waits for or measures by itself must
not change with it: a clock set back by an hour would stop all requests for an hour, one set forward would end every wait at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

LEAST_STEP_S = 1.0  # by less than this, two readings of two clocks may differ without anybody having set one


def elapsed() -> float:
    """Seconds by a clock that nobody can set, the same in all processes of this machine. It goes on while that is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class SteadyClock:
    """Unix time when it was made, and from there on by `elapsed`. It pickles: other processes of this machine read the same."""

    ahead_s: float  # of `elapsed`

    @classmethod
    def set_by_wall(cls) -> SteadyClock:
        return cls(time.time() - elapsed())

    def __call__(self) -> float:
        return self.ahead_s + elapsed()

    def from_wall(self, moment: float) -> float:
        """What this clock shows when the wall clock, as it is set now, shows `moment`."""
        return moment - self._step_s()

    def for_others(self, moment: float) -> float:
        """The time by the wall clock before which a process that starts later must not do what this one must not do before
        `moment`: later than that if the wall clock was set forward, and never earlier."""
        return moment + max(0.0, self._step_s())

    def _step_s(self) -> float:
        """By how much the wall clock was set since."""
        step_s = time.time() - self()
        return step_s if abs(step_s) >= LEAST_STEP_S else 0.0


now = SteadyClock.set_by_wall()
"""This process's clock, for everything but a time that somebody else has named by the wall clock."""
