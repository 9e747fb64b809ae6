"""Interning (dictionary encoding): numbers values by first appearance, so that numbers travel instead of texts. Knows no ledger."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from sys import getsizeof
from typing import Generic, TypeVar

import numpy as np

from d4c_images.ledger.admission.chunk import Small

HASH_SLOTS = 1 << 19

Value = TypeVar("Value", bound=Hashable)


class Numbering(dict[Value, int], Generic[Value]):
    """Numbers a few frequent values, from 0."""

    def __init__(self) -> None:
        self._new: list[Value] = []
        self.size_bytes = 0  # memory taken by the values

    def __missing__(self, value: Value) -> int:
        self._new.append(value)
        self.size_bytes += getsizeof(value)
        self[value] = number = len(self)
        return number

    def numbers(self, values: Sequence[Value]) -> Small:
        """The number of each value."""
        return np.fromiter(map(self.__getitem__, values), np.int32, len(values))

    def take_new(self) -> list[Value]:
        """The values numbered since the last call."""
        new, self._new = self._new, []
        return new

    def clear(self) -> None:
        """Forget everything: numbering restarts at 0."""
        super().clear()
        self.size_bytes = 0


class ManyNumbering(Generic[Value]):
    """Numbers many values in random order, from 0.

    Each lookup in a big dictionary touches a different place in memory, half a microsecond for an observer's name. So the last
    value of each slot is cached with its number in two arrays, where thousands are found at once. Their 64-bit hashes, which differ
    in each process, stand for the values: two of 100,000 values collide in one of 10^9 processes.
    """

    def __init__(self) -> None:
        self._numbering: Numbering[Value] = Numbering()
        self._hashes = np.zeros(HASH_SLOTS, np.int64)
        self._numbers = np.full(HASH_SLOTS, -1, np.int32)

    def __len__(self) -> int:
        return len(self._numbering)

    @property
    def size_bytes(self) -> int:
        """Memory taken by the values."""
        return self._numbering.size_bytes

    def numbers(self, columns: Sequence[Sequence[Value]]) -> Small:
        """The number of each value, column by column. Assigned row by row, so that they do not depend on chunk boundaries."""
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
        """The values numbered since the last call."""
        return self._numbering.take_new()

    def clear(self) -> None:
        """Forget everything: numbering restarts at 0."""
        self._numbering.clear()
        self._numbers.fill(-1)
