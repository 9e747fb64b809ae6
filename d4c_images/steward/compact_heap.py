"""A compact priority queue of numbers: 12 bytes an entry, at any length. Does not know what the numbers mean.

New entries go into an ordinary heap. When that has grown, it becomes a sorted run of two arrays; runs are merged when they get as
long as their neighbours (a log-structured merge tree), so there are few of them, and each entry is moved O(log n) times.
numpy is imported with the first run: most queues never have one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Keys = npt.NDArray[np.float64]
    Numbers = npt.NDArray[np.int32]

MAX_NEW = 4096  # entries of the ordinary heap, some 150 bytes each
LEAST_PRUNED = 20_000  # entries; pruning fewer is not worth it


@dataclass(slots=True, eq=False)  # a run is itself: arrays do not compare to one truth
class _Run:
    keys: Keys
    numbers: Numbers
    at: int = 0  # index of the first one left
    front: float = 0.0  # its key

    def __post_init__(self) -> None:
        self.front = float(self.keys[0])

    @property
    def n_left(self) -> int:
        return len(self.keys) - self.at

    def advance(self, n: int) -> bool:
        """Skip `n` entries; returns whether any are left."""
        self.at += n
        if self.at >= len(self.keys):
            return False
        self.front = float(self.keys[self.at])
        return True


class CompactHeap:
    """Entries in key order, smallest first; equal ones in order of arrival.

    `counts(keys, numbers)` says which entries are still valid; the others are dropped once they may be the majority.
    """

    def __init__(self, counts: Callable[[Keys, Numbers], npt.NDArray[np.bool_]]) -> None:
        self._counts = counts
        self._new: list[tuple[float, int, int]] = []  # key, order, number
        self._runs: list[_Run] = []  # the oldest entries first
        self._order = 0
        self._n = 0
        self._prune_at = LEAST_PRUNED

    def __len__(self) -> int:
        """Including invalid entries."""
        return self._n

    def push(self, key: float, number: int) -> None:
        self._order += 1
        self._n += 1
        heapq.heappush(self._new, (key, self._order, number))
        if len(self._new) > MAX_NEW:
            self._spill()

    def extend(self, keys: Keys, numbers: Numbers) -> None:
        """Push many at once."""
        if len(keys):
            self._spill()
            self._n += len(keys)
            self._add_run(keys, numbers)

    def first(self) -> tuple[float, int] | None:
        run = self._first_run()
        if run is not None:
            return run.front, int(run.numbers[run.at])
        return (self._new[0][0], self._new[0][2]) if self._new else None

    def drop_first(self) -> None:
        run = self._first_run()
        self._n -= 1
        if run is None:
            heapq.heappop(self._new)
        elif not run.advance(1):
            self._runs.remove(run)

    def take_new(self, key: float) -> list[tuple[float, int]]:
        """Entries up to this key, with their keys: only those in the ordinary heap."""
        taken = []
        while self._new and self._new[0][0] <= key:
            entry = heapq.heappop(self._new)
            taken.append((entry[0], entry[2]))
        self._n -= len(taken)
        return taken

    def take_runs(self, key: float) -> Iterator[tuple[Keys, Numbers]]:
        """Entries up to this key in the runs."""
        for run in list(self._runs):
            n = int(run.keys[run.at :].searchsorted(key, side="right"))
            taken = run.keys[run.at : run.at + n], run.numbers[run.at : run.at + n]
            self._n -= n
            if n and not run.advance(n):
                self._runs.remove(run)
            if n:
                yield taken

    def _first_run(self) -> _Run | None:
        """The run with the first entry; None if that is a new one, or there is none."""
        if not self._runs:
            return None
        run = min(self._runs, key=lambda one: one.front)
        return None if self._new and self._new[0][0] < run.front else run

    def _spill(self) -> None:
        if self._new:
            import numpy as np

            self._new.sort()
            keys = np.array([entry[0] for entry in self._new], np.float64)
            numbers = np.array([entry[2] for entry in self._new], np.int32)
            self._new = []
            self._add_run(keys, numbers, is_sorted=True)

    def _add_run(self, keys: Keys, numbers: Numbers, *, is_sorted: bool = False) -> None:
        self._runs.append(_Run(keys, numbers) if is_sorted else _sorted(keys, numbers))
        if self._n > self._prune_at:
            self._prune()
        while len(self._runs) > 1 and 2 * self._runs[-1].n_left > self._runs[-2].n_left:
            self._merge_last(2)

    def _prune(self) -> None:
        self._merge_last(len(self._runs))
        run = self._runs[-1]
        is_left = self._counts(run.keys[run.at :], run.numbers[run.at :])
        keys, numbers = run.keys[run.at :][is_left], run.numbers[run.at :][is_left]
        self._runs = [_Run(keys, numbers)] if len(keys) else []
        self._n = len(self._new) + len(keys)
        self._prune_at = max(LEAST_PRUNED, 2 * self._n)

    def _merge_last(self, n: int) -> None:
        import numpy as np

        last = self._runs[-n:]
        keys = np.concatenate([run.keys[run.at :] for run in last])
        numbers = np.concatenate([run.numbers[run.at :] for run in last])
        self._runs[-n:] = [_sorted(keys, numbers)]


def _sorted(keys: Keys, numbers: Numbers) -> _Run:
    order = keys.argsort(kind="stable")
    return _Run(keys[order], numbers[order])
