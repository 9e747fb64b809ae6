"""Rows held in memory until there are so many that writing them in the order of their key pays. Knows no table.

Numbers in no order (hashes, GBIF ids) fall anywhere in a B-tree: adding 50,000 of them to a big one rewrites nearly all of it.
A million at a time, sorted, cost a twentieth of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.int64] | npt.NDArray[np.uint32]


PARTS = 16
SAMPLE_EVERY = 1024


class Place(NamedTuple):
    """Where a row is held; its cells may be written."""

    columns: tuple[Column, ...]
    at: int


class SortedRuns:
    """Rows of numbers, by the first column; in each run in the order of that column."""

    def __init__(self) -> None:
        self._runs: list[tuple[Column, ...]] = []
        self.n_rows = 0

    def add(self, *columns: Column) -> None:
        """Add rows. Rows with the same key keep their order."""
        if len(columns[0]):
            order = np.argsort(columns[0], kind="stable")
            self._runs.append(tuple(column[order] for column in columns))
            self.n_rows += len(order)

    def find(self, keys: Iterable[int]) -> dict[int, Place]:
        """The first row of each key that has one."""
        wanted = np.array(sorted(keys), np.int64)
        found: dict[int, Place] = {}
        if not len(wanted):
            return found
        for run in reversed(self._runs):
            places = np.searchsorted(run[0], wanted)
            places[places == len(run[0])] = 0
            for at in np.flatnonzero(run[0][places] == wanted).tolist():
                found[int(wanted[at])] = Place(run, int(places[at]))
        return found

    def parts(self) -> Iterator[list[Column]]:
        """All rows as columns, in the order of their key (rows of one key: as they came), in some parts of about one size."""
        if not self._runs:
            return
        sample = np.sort(np.concatenate([run[0][::SAMPLE_EVERY] for run in self._runs]))
        borders = np.unique(sample[:: max(1, len(sample) // PARTS)][1:])
        cuts = [np.concatenate(([0], np.searchsorted(run[0], borders), [len(run[0])])) for run in self._runs]
        for part in range(len(borders) + 1):
            slices = [(run, slice(cut[part], cut[part + 1])) for run, cut in zip(self._runs, cuts, strict=True)]
            columns = [np.concatenate([run[at][rows] for run, rows in slices]) for at in range(len(self._runs[0]))]
            if len(columns[0]):
                order = np.argsort(columns[0], kind="stable")
                yield [column[order] for column in columns]

    def clear(self) -> None:
        self._runs.clear()
        self.n_rows = 0
