"""Rows held in memory until there are so many that writing them in the order of their key pays. Knows no table.

Numbers in no order (hashes, GBIF ids) fall anywhere in a B-tree: adding 50,000 of them to a big one rewrites nearly all of it.
A million at a time, sorted, cost a twentieth of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.int64] | npt.NDArray[np.uint32]


PARTS = 12


class Place(NamedTuple):
    """Where a row is held; its cells may be written."""

    columns: tuple[Column, ...]
    at: int


class SortedRuns:
    """Rows of numbers, by the first column.

    New rows come in runs, each in the order of that column. Once there are enough, `freeze` makes one run of them, which is taken
    away part by part while new runs come in: so nobody has to wait until all of it is written.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Column, ...]] = []
        self._frozen: tuple[Column, ...] | None = None
        self._next = 0  # of the frozen rows: the first that was not taken
        self.n_rows = 0  # in runs that are not frozen

    @property
    def is_frozen(self) -> bool:
        """There are frozen rows, of which not all parts were taken, or not yet dropped."""
        return self._frozen is not None

    def add(self, *columns: Column) -> None:
        """Add rows. Rows with the same key keep their order."""
        if len(columns[0]):
            order = _order(columns[0])
            self._runs.append(tuple(column[order] for column in columns))
            self.n_rows += len(order)

    def find(self, keys: Iterable[int]) -> dict[int, Place]:
        """The first row of each key that has one, be it taken already or not."""
        wanted = np.array(sorted(keys), np.int64)
        found: dict[int, Place] = {}
        if not len(wanted):
            return found
        runs = self._runs if self._frozen is None else [self._frozen, *self._runs]
        for run in reversed(runs):
            places = np.searchsorted(run[0], wanted)
            places[places == len(run[0])] = 0
            for at in np.flatnonzero(run[0][places] == wanted).tolist():
                found[int(wanted[at])] = Place(run, int(places[at]))
        return found

    def freeze(self) -> None:
        """Make one run of all rows (rows of one key: as they came). There must be no frozen one."""
        assert self._frozen is None
        if self._runs:
            columns = [np.concatenate(column) for column in zip(*self._runs, strict=True)]
            order = _order(columns[0])
            self._frozen = tuple(column[order] for column in columns)
            self._runs, self._next, self.n_rows = [], 0, 0

    def take_part(self) -> list[Column]:
        """The next of some parts of the frozen rows, as columns in the order of the key; without rows once all were taken."""
        assert self._frozen is not None
        n = len(self._frozen[0])
        start, self._next = self._next, min(n, self._next + -(-n // PARTS))
        return [column[start : self._next] for column in self._frozen]

    def drop(self) -> None:
        """Forget the frozen rows."""
        self._frozen = None


def _order(keys: Column) -> npt.NDArray[np.intp]:
    """The stable order of numbers that are nearly always all different: then any sort is stable, and the quickest will do."""
    order = np.argsort(keys)
    ordered = keys[order]
    return np.argsort(keys, kind="stable") if (ordered[1:] == ordered[:-1]).any() else order
