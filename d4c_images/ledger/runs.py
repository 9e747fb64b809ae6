"""Rows held in memory until there are so many that writing them in the order of their key pays. Knows no table.

Numbers in no order (hashes, GBIF ids) fall anywhere in a B-tree: adding 50,000 of them to a big one rewrites nearly all of it.
A million at a time, sorted, cost a twentieth of that.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain

PARTS = 16
SAMPLE_EVERY = 1024


class SortedRuns:
    """Rows of numbers, by the first column; in each run in the order of that column."""

    def __init__(self) -> None:
        self._runs: list[tuple[array[int], ...]] = []
        self.n_rows = 0

    def add(self, *columns: Sequence[int]) -> None:
        """Add rows. Rows with the same key keep their order."""
        keys = columns[0]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self._runs.append(tuple(array("q", map(column.__getitem__, order)) for column in columns))
        self.n_rows += len(keys)

    def find(self, key: int) -> tuple[tuple[array[int], ...], int] | None:
        """The first row of this key, as its run's columns and its place in them."""
        for run in self._runs:
            at = bisect_left(run[0], key)
            if at < len(run[0]) and run[0][at] == key:
                return run, at
        return None

    def keys(self) -> Iterator[array[int]]:
        return (run[0] for run in self._runs)

    def parts(self) -> Iterator[list[list[int]]]:
        """All rows as columns, in the order of their key (rows of one key: as they came), in some parts of about one size."""
        sample = sorted(chain.from_iterable(run[0][::SAMPLE_EVERY] for run in self._runs))
        borders = sorted({*sample[:: max(1, len(sample) // PARTS)][1:]})
        starts = [0] * len(self._runs)
        for border in [*borders, None]:
            ends = [len(run[0]) if border is None else bisect_left(run[0], border) for run in self._runs]
            cut = list(zip(self._runs, starts, ends, strict=True))
            columns = [
                list(chain.from_iterable(run[at][start:end] for run, start, end in cut)) for at in range(len(self._runs[0]))
            ]
            order = sorted(range(len(columns[0])), key=columns[0].__getitem__)
            if order:
                yield [list(map(column.__getitem__, order)) for column in columns]
            starts = ends

    def clear(self) -> None:
        self._runs.clear()
        self.n_rows = 0
