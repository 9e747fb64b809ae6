"""Folds repeated lines about one host: one an hour, with the number of those in between. Prints nothing."""

from __future__ import annotations

from dataclasses import dataclass

from d4c_images.durations import counted

FOLD_S = 3600.0
WORSE = 4  # a wait this many times the last reported one is news
MOST_FOLDED = 10_000  # remembered hosts


@dataclass(slots=True)
class _Said:
    at: float
    wait_s: float
    n_since: int = 0


class Folding:
    """Decides which lines are shown."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def again(self, host: str, now: float, wait_s: float) -> str | None:
        """What to append to a line about this host; None if the line is not to be shown. `wait_s` is how long it is blocked."""
        said = self._said.get(host)
        if said is not None and now - said.at < FOLD_S and wait_s < WORSE * said.wait_s:
            said.n_since += 1
            return None
        self._said.pop(host, None)
        self._said[host] = _Said(now, wait_s)
        if len(self._said) > MOST_FOLDED:
            del self._said[next(iter(self._said))]
        if said is None or not said.n_since:
            return ""
        return f" ({counted(said.n_since, 'more time')} since {_ago(now - said.at)})"

    @property
    def n_folded(self) -> int:
        """Lines that have not been reported in any way."""
        return sum(said.n_since for said in self._said.values())


def _ago(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
