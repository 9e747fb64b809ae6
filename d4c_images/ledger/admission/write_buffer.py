"""Rows held in memory until there are so many that writing them in the order of their key pays. Knows no table.

Numbers in no order (hashes, GBIF ids) fall anywhere in a B-tree: adding 50,000 of them to a big one rewrites nearly all of it.
A million at a time, sorted, cost a twentieth of that.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RunColumn = npt.NDArray[np.int64] | npt.NDArray[np.uint32]


Keys = npt.NDArray[np.int64]

N_PARTS = 18
MAX_RUNS = 40  # a key is looked for in each of them; transactions of ordinary rows make half as many before they are frozen


class HeldRow(NamedTuple):
    """Where a row is held; its cells may be written."""

    columns: tuple[RunColumn, ...]
    at: int


class SortedRuns:
    """Rows of numbers, by the first column.

    New rows come in runs, each in the order of that column. Once there are enough, `freeze` puts all into one order, in which they
    are taken away part by part while new runs come in: so nobody has to wait until all of it is written, and what is held together
    stays about as much.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[RunColumn, ...]] = []
        self._parts: deque[tuple[RunColumn, ...]] | None = None  # of what is frozen: those that are left
        self.n_rows = 0  # in runs that are not frozen

    @property
    def is_frozen(self) -> bool:
        """There are frozen rows, or they have been dropped, but not yet the empty part behind them."""
        return self._parts is not None

    def add(self, *columns: RunColumn) -> None:
        """Add rows. Rows with the same key keep their order."""
        if len(columns[0]):
            order = _order(columns[0])
            self._runs.append(tuple(column[order] for column in columns))
            self.n_rows += len(order)
            if len(self._runs) > MAX_RUNS:
                self._join_runs()

    def _join_runs(self) -> None:
        """Make one run of the newest ones, so that runs grow with their number: each row is sorted again a few times in all."""
        first = len(self._runs) - 2
        while first > 0 and len(self._runs[first - 1][0]) <= sum(len(run[0]) for run in self._runs[first:]):
            first -= 1
        columns = [np.concatenate(column) for column in zip(*self._runs[first:], strict=True)]
        order = _order(columns[0])
        self._runs[first:] = [tuple(column[order] for column in columns)]

    def find(self, wanted: Keys) -> dict[int, HeldRow]:
        """The first row of each key that has one here. The keys are in order; a place holds until the next call of `add`."""
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
        """Put all rows into one order (those of one key: as they came). There must be no frozen ones."""
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
        """The next of the frozen rows, as columns in the order of the key; without rows behind the last of them."""
        assert self._parts is not None
        return self._parts[0] if self._parts else (np.empty(0, np.int64),)

    def drop_part(self) -> None:
        """Forget what `part` gave: it is written."""
        assert self._parts is not None
        if self._parts:
            self._parts.popleft()
        else:
            self._parts = None


def _order(keys: RunColumn) -> npt.NDArray[np.intp]:
    """The stable order of numbers that are nearly always all different: then any sort is stable, and the quickest will do."""
    order = np.argsort(keys)
    ordered = keys[order]
    return np.argsort(keys, kind="stable") if (ordered[1:] == ordered[:-1]).any() else order
