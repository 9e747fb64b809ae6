"""Holds rows in memory until there are enough for writing them in key order to pay off. Knows no table.

Numbers in no order (hashes, GBIF ids) land at random places in a B-tree: adding 50,000 of them to a big one rewrites nearly all of
it. A million at a time, sorted, cost a twentieth of that.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RunColumn = npt.NDArray[np.int64] | npt.NDArray[np.uint32]


Keys = npt.NDArray[np.int64]

N_PARTS = 18
MAX_RUNS = 40  # a lookup searches each; ordinary transactions make half as many before they are frozen


class HeldRow(NamedTuple):
    """Where a row is held; its cells may be overwritten."""

    columns: tuple[RunColumn, ...]
    at: int


class SortedRuns:
    """Rows of numbers, sorted by the first column.

    New rows come in sorted runs. Once there are enough, `freeze` merges all of them, and the merged rows are taken away part by
    part while new runs come in: so nobody waits for everything to be written, and the total held stays about the same.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[RunColumn, ...]] = []
        self._parts: deque[tuple[RunColumn, ...]] | None = None  # of the frozen rows: those still left
        self.n_rows = 0  # in runs that are not frozen

    @property
    def is_frozen(self) -> bool:
        """True while there are frozen rows, and until the empty part after them has been dropped."""
        return self._parts is not None

    def add(self, *columns: RunColumn) -> None:
        """Add rows. Rows with equal keys keep their order."""
        if len(columns[0]):
            order = _order(columns[0])
            self._runs.append(tuple(column[order] for column in columns))
            self.n_rows += len(order)
            if len(self._runs) > MAX_RUNS:
                self._join_runs()

    def _join_runs(self) -> None:
        """Merge the newest runs, so that run lengths grow and each row is sorted only a few times."""
        first = len(self._runs) - 2
        while first > 0 and len(self._runs[first - 1][0]) <= sum(len(run[0]) for run in self._runs[first:]):
            first -= 1
        columns = [np.concatenate(column) for column in zip(*self._runs[first:], strict=True)]
        order = _order(columns[0])
        self._runs[first:] = [tuple(column[order] for column in columns)]

    def find(self, wanted: Keys) -> dict[int, HeldRow]:
        """The first row of each key that has one here. The keys are sorted; a place is valid until the next call of `add`."""
        found: dict[int, HeldRow] = {}
        if not len(wanted):
            return found
        for run in reversed([*(self._parts or ()), *self._runs]):
            places = np.searchsorted(run[0], wanted)
            places[places == len(run[0])] = 0
            for at in np.flatnonzero(run[0][places] == wanted).tolist():
                found[int(wanted[at])] = HeldRow(run, int(places[at]))
        return found

    def freeze(self) -> None:
        """Merge all rows (those with equal keys stay in order of arrival). There must be no frozen ones."""
        assert self._parts is None
        if not self._runs:
            return
        columns = list(zip(*self._runs, strict=True))
        self._runs, self.n_rows = [], 0
        keys = np.concatenate(columns.pop(0))
        order = _order(keys)
        orders = np.array_split(order, N_PARTS) if len(order) > N_PARTS else [order]
        pieces = [[keys[some] for some in orders]]
        del keys
        while columns:  # one at a time, so that there never are three of each
            column = np.concatenate(columns.pop(0))
            pieces.append([column[some] for some in orders])
        self._parts = deque(zip(*pieces, strict=True))

    def part(self) -> tuple[RunColumn, ...]:
        """The next part of the frozen rows, as columns in key order; empty after the last one."""
        assert self._parts is not None
        return self._parts[0] if self._parts else (np.empty(0, np.int64),)

    def drop_part(self) -> None:
        """Drop what `part` returned: it is written."""
        assert self._parts is not None
        if self._parts:
            self._parts.popleft()
        else:
            self._parts = None


def _order(keys: RunColumn) -> npt.NDArray[np.intp]:
    """The stable order of numbers that are nearly always distinct: then any sort is stable, and the quickest will do."""
    order = np.argsort(keys)
    ordered = keys[order]
    return np.argsort(keys, kind="stable") if (ordered[1:] == ordered[:-1]).any() else order
