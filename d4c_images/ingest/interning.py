"""Numbers values in the order of their first appearance, so that a short number travels instead of a text. Knows no ledger."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from sys import getsizeof
from typing import Generic, TypeVar

import numpy as np

from d4c_images.ledger.admission.chunk import Small

HASH_SLOTS = 1 << 19

Value = TypeVar("Value", bound=Hashable)


class Numbering(dict[Value, int], Generic[Value]):
    """Numbers a few values that come again and again, from 0."""

    def __init__(self) -> None:
        self._new: list[Value] = []
        self.size_bytes = 0  # of the values, in memory

    def __missing__(self, value: Value) -> int:
        self._new.append(value)
        self.size_bytes += getsizeof(value)
        self[value] = number = len(self)
        return number

    def numbers(self, values: Sequence[Value]) -> Small:
        """The number of each value."""
        return np.fromiter(map(self.__getitem__, values), np.int32, len(values))

    def take_new(self) -> list[Value]:
        """The values that have got their number since the last call."""
        new, self._new = self._new, []
        return new

    def clear(self) -> None:
        """Forget all: numbers begin at 0 again."""
        super().clear()
        self.size_bytes = 0


class ManyNumbering(Generic[Value]):
    """Numbers many values in no order, from 0.

    A big dictionary answers each question from another place of the memory, half a microsecond for a name of an observer. So the
    last value of each slot is kept with its number in two arrays, where thousands are found at once. Their 64-bit hashes, which are
    different in each process, stand for the values: two of 100,000 values are alike in one of 10^9 processes.
    """

    def __init__(self) -> None:
        self._numbering: Numbering[Value] = Numbering()
        self._hashes = np.zeros(HASH_SLOTS, np.int64)
        self._numbers = np.full(HASH_SLOTS, -1, np.int32)

    def __len__(self) -> int:
        return len(self._numbering)

    @property
    def size_bytes(self) -> int:
        """Of the values, in memory."""
        return self._numbering.size_bytes

    def numbers(self, columns: Sequence[Sequence[Value]]) -> Small:
        """The number of each value, column by column. They are given row by row, so they do not hang on where a chunk ends."""
        n, width = len(columns[0]), len(columns)
        hashes = np.empty((n, width), np.int64)
        for column, values in enumerate(columns):
            hashes[:, column] = np.fromiter(map(hash, values), np.int64, n)
        slots = hashes & (HASH_SLOTS - 1)
        numbers: Small = self._numbers[slots]
        rows, places = np.nonzero((self._hashes[slots] != hashes) | (numbers < 0))
        for at, column in zip(rows.tolist(), places.tolist(), strict=True):
            numbers[at, column] = self._numbering[columns[column][at]]
        new = slots[rows, places]
        self._hashes[new], self._numbers[new] = hashes[rows, places], numbers[rows, places]
        return np.ascontiguousarray(numbers.T)

    def take_new(self) -> list[Value]:
        """The values that have got their number since the last call."""
        return self._numbering.take_new()

    def clear(self) -> None:
        """Forget all: numbers begin at 0 again."""
        self._numbering.clear()
        self._numbers.fill(-1)
